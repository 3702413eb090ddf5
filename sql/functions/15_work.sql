-- work: how jobs are taken, told of and ended; the order of events; housekeeping. What posternd calls, and nothing else.
--
-- An endpoint's schema may offer
--   task(postern.jobs) RETURNS jsonb      what the action is told: the present state of the object; null: it is gone
--   settled(postern.jobs) RETURNS void    what becomes of the object when its job has ended, in that transaction
--   due() RETURNS void                    asks for the jobs that are due by the clock; called every minute
--   seen(text, jsonb) RETURNS void        notes what posternd saw of its machine, whose name comes first; called every few seconds
-- which run as postern_operator.
DROP SCHEMA IF EXISTS work CASCADE;
CREATE SCHEMA work AUTHORIZATION postern_owner;
GRANT USAGE ON SCHEMA work TO postern_worker, postern_gate, postern_operator;
GRANT USAGE ON SCHEMA gate TO postern_worker;
GRANT SELECT ON postern.endpoints TO postern_operator;
SET LOCAL ROLE postern_owner;

-- What tenants read, on the job and on its object, where something else on the machine is in a job's way: what that is may be another
-- tenant's or the operator's, and is kept in the job's `blocked`, for staff.
CREATE FUNCTION work.blocked_text() RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT 'something else on this server is in the way, which an administrator has to mend; this goes on by itself then'
$$;

-- A job as answers show it.
CREATE FUNCTION work.shown(p_job uuid) RETURNS json
LANGUAGE plpgsql STABLE SET timezone = 'UTC' AS $$
BEGIN
	RETURN (SELECT row_to_json(x) FROM (SELECT v.id, v.kind, v.status, v.progress, v.message, v.attempts, gate.word_of(v.resource) AS resource, gate.id_json(v.object_id) AS object_id, nullif(v.account_id, 0) AS account_id,
		gate.job_error(v) AS error, v.result, v.log, v.cancel, v.source, gate.job_held_by(v) AS held_by, v.token_id, v.request_id, v.run_at, v.created_at, v.started_at, v.finished_at, v.updated_at
		FROM postern.jobs v WHERE v.id = p_job) x);
END $$;

-- The name of an endpoint's function, where it has it. `p_resource` comes from a job: only endpoints are looked at.
CREATE FUNCTION work.function_of(p_resource text, p_name text, p_argument text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT format('%I.%I', n.nspname, p.proname) FROM postern.endpoints e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.name
	JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = p_name AND oidvectortypes(p.proargtypes) = p_argument
	WHERE e.name = p_resource
$$;

-- The trail's row and the events of a job that has ended, or is to be tried again.
CREATE FUNCTION work.note(j postern.jobs, p_type text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM gate.job_event(j.id, p_type);
	-- what was changed has its event from the request; what was done besides has it from here: ssl.renewed
	IF p_type = 'job.succeeded' AND gate.told_when_done(j.kind) THEN
		PERFORM gate.job_event(j.id, gate.past(j.kind),
			jsonb_build_object('result', j.result));
	END IF;
	IF p_type IN ('job.succeeded', 'job.failed') THEN
		INSERT INTO postern.audit (account_id, at, request_id, actor, username, resource, verb, object_id, status, outcome, reason, duration_us)
		VALUES (j.account_id, postern.clock(), j.request_id, 'system', 'posternd', split_part(j.kind, '.', 1), split_part(j.kind, '.', 2),
			j.object_id, CASE j.status WHEN 'succeeded' THEN 200 ELSE 500 END, CASE j.status WHEN 'succeeded' THEN 'allowed' ELSE 'failed' END,
			left(j.error, 500), (date_part('epoch', postern.clock() - j.started_at) * 1000000)::bigint);
	END IF;
END $$;

-- End a job: its object hears of it. What goes wrong there is a fault of ours, and fails the job with what was said.
-- What is in a job's way is told by its object, too, while it waits for its next attempt.
CREATE FUNCTION work.tell_object(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_table regclass := (SELECT e.base_table FROM postern.endpoints e WHERE e.name = j.resource);
	v_account text := coalesce((SELECT 'account_id' WHERE gate.type_of(v_table, 'account_id') IS NOT NULL), 'id');
BEGIN
	IF gate.type_of(v_table, 'last_error') IS NOT NULL AND gate.type_of(v_table, 'job_id') IS NOT NULL THEN
		EXECUTE format('UPDATE %s SET last_error = $1, version = version + 1, updated_at = postern.clock()
			WHERE %s = $2 AND job_id = $3 AND last_error IS DISTINCT FROM $1', v_table, v_account) USING j.error, j.account_id, j.id;
	END IF;
	PERFORM accounts.note_lacks(j.account_id);
END $$;
-- Others that the same was in the way of are tried at once.
CREATE FUNCTION work.unblock(p_blocked text) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.jobs x SET run_at = postern.clock() WHERE x.blocked = p_blocked AND x.status = 'queued' AND x.run_at > postern.clock()
$$;

CREATE FUNCTION work.close(j postern.jobs, p_status text, p_error text, p_result jsonb, p_log text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_settled text := work.function_of(j.resource, 'settled', 'postern.jobs');
	k postern.jobs;
BEGIN
	UPDATE postern.jobs x SET status = p_status, error = p_error, result = p_result, log = coalesce(p_log, x.log), secret = NULL, blocked = NULL,
		progress = CASE p_status WHEN 'succeeded' THEN 100 ELSE x.progress END, leased_until = NULL, leased_by = NULL,
		finished_at = postern.clock(), version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = j.id RETURNING * INTO k;
	BEGIN
		IF v_settled IS NOT NULL THEN
			EXECUTE format('SELECT %s($1)', v_settled) USING k;
		END IF;
	EXCEPTION WHEN OTHERS THEN
		UPDATE postern.jobs x SET status = 'failed', error = concat_ws('; ', p_error, 'what came of it could not be noted: ' || SQLERRM)
		WHERE x.id = j.id RETURNING * INTO k;
	END;
	PERFORM accounts.note_lacks(k.account_id);
	PERFORM work.note(k, 'job.' || k.status);
END $$;

-- Does this job wait for others? It does while an earlier one about its object is not ended; one about an account, for all of that
-- account, and they for it.
CREATE FUNCTION work.waits(x postern.jobs) RETURNS boolean
LANGUAGE plpgsql STABLE COST 10000 AS $$
BEGIN
	RETURN EXISTS (SELECT FROM postern.jobs e WHERE e.resource = x.resource AND e.object_id = x.object_id
			AND e.status IN ('queued', 'running') AND e.account_id = x.account_id AND e.place < x.place)
		OR EXISTS (SELECT FROM postern.jobs e WHERE e.resource = x.resource AND e.object_id = x.object_id
			AND e.status = 'running')
		OR EXISTS (SELECT FROM postern.jobs e WHERE e.account_id = x.account_id
			AND e.status IN ('queued', 'running') AND e.place < x.place AND e.resource = 'accounts')
		OR x.resource IS NOT DISTINCT FROM 'accounts' AND EXISTS (SELECT FROM postern.jobs e WHERE e.account_id = x.account_id
			AND e.status IN ('queued', 'running') AND e.place < x.place
			AND (e.blocked IS NULL OR x.kind = 'account.delete')); -- a suspension's other parts do not wait for somebody else
END $$;

-- The accounts whose jobs wait, those first whose turn is longest ago. They are found one after the other by the index,
-- however many jobs any of them has.
CREATE FUNCTION work.waiting() RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
	WITH RECURSIVE a (account_id) AS (
		(SELECT x.account_id FROM postern.jobs x WHERE x.status = 'queued' ORDER BY x.account_id LIMIT 1)
		UNION ALL
		SELECT (SELECT x.account_id FROM postern.jobs x WHERE x.status = 'queued' AND x.account_id > a.account_id
			ORDER BY x.account_id LIMIT 1)
		FROM a WHERE a.account_id IS NOT NULL
	)
	SELECT a.account_id FROM a LEFT JOIN postern.turns t ON t.account_id = a.account_id
	WHERE a.account_id IS NOT NULL ORDER BY coalesce(t.served, 0), a.account_id
$$;

-- Begin a job: it is at work now, and its action is to be told `task`. Null: it has ended, as it is not to be done, or cannot.
CREATE FUNCTION work.start(j postern.jobs, p_worker text, p_kinds text[], p_lease_s int, p_heavy boolean, OUT task text)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	p postern.plugins := plugins.provider(j.kind);
	v_task text := work.function_of(j.resource, 'task', 'postern.jobs');
	v_doc jsonb := j.input;
BEGIN
	IF j.cancel THEN
		PERFORM work.close(j, 'cancelled', NULL, NULL, NULL);
		RETURN;
	END IF;
	IF j.kind <> ALL (p_kinds) AND p.id IS NULL AND j.resource <> 'plugins' THEN
		PERFORM work.close(j, 'failed', format('there is no action "%s" on this machine', j.kind), NULL, NULL);
		RETURN;
	END IF;
	BEGIN
		IF v_task IS NOT NULL THEN
			EXECUTE format('SELECT %s($1)', v_task) INTO v_doc USING j;
		END IF;
	EXCEPTION WHEN OTHERS THEN -- it says why this cannot be done; the others' turn comes
		PERFORM work.close(j, 'failed', SQLERRM, NULL, NULL);
		RETURN;
	END;
	IF v_doc IS NULL THEN
		UPDATE postern.jobs x SET message = 'nothing to do: the object is gone, or is as it should be' WHERE x.id = j.id;
		PERFORM work.close(j, 'succeeded', NULL, NULL, NULL);
		RETURN;
	END IF;
	UPDATE postern.jobs x SET status = 'running', attempts = x.attempts + 1, leased_by = p_worker, progress = 0,
		error = NULL, message = NULL, leased_until = postern.clock() + make_interval(secs => p_lease_s),
		started_at = coalesce(x.started_at, postern.clock()), heavy = p_heavy, version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = j.id;
	PERFORM gate.job_event(j.id, 'job.started');
	task := v_doc::text;
END $$;

-- Take up to `p_room` jobs that are due, `p_heavy_room` heavy ones among them (kinds `p_heavy`), and say what their actions are
-- to be told. Each account has its turn, the machine's own jobs (account 0) too; whose turn is longest ago comes first, and of its
-- jobs the oldest. No account has more than `p_account_jobs` at work, nor more than one heavy one; account 0 is not counted.
CREATE FUNCTION work.take(p_worker text, p_room int, p_kinds text[], p_lease_s int, p_heavy text[], p_heavy_room int,
	p_account_jobs int)
RETURNS TABLE (id text, kind text, attempt int, task text, secret bytea,
	plugin text, plugin_secret bytea, -- the plugin that does it, if one does
	account_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	j postern.jobs;
	p postern.plugins;
	v_account bigint;
	v_task text;
	v_heavy boolean;  -- whether the account may begin one
	v_ended int := 0; -- jobs that were not to be done; they take no room, and have a limit of their own
	v_found boolean := true;
BEGIN
	PERFORM FROM postern.turns t WHERE t.account_id = 0 FOR UPDATE; -- one taker at a time: what is counted stays so
	FOR j IN SELECT * FROM postern.jobs x WHERE x.status = 'queued' AND x.cancel AND NOT work.waits(x)
	         ORDER BY x.place LIMIT 100 FOR UPDATE SKIP LOCKED LOOP
		PERFORM work.start(j, p_worker, p_kinds, p_lease_s, false);
		v_ended := v_ended + 1;
	END LOOP;
	WHILE v_found AND p_room > 0 AND v_ended < 100 LOOP
		v_found := false;
		FOR v_account IN SELECT work.waiting() LOOP
			EXIT WHEN p_room <= 0 OR v_ended >= 100;
			CONTINUE WHEN v_account <> 0 AND p_account_jobs <= (SELECT count(*) FROM postern.jobs x
				WHERE x.account_id = v_account AND x.status = 'running');
			CONTINUE WHEN EXISTS (SELECT FROM postern.jobs x
				WHERE x.account_id = v_account AND x.status = 'running' AND x.resource = 'accounts');
			v_heavy := p_heavy_room > 0 AND (v_account = 0 OR NOT EXISTS (SELECT FROM postern.jobs x
				WHERE x.account_id = v_account AND x.status = 'running' AND x.heavy));
			SELECT * INTO j FROM postern.jobs x
			WHERE x.account_id = v_account AND x.status = 'queued' AND x.run_at <= postern.clock()
				AND (v_heavy OR x.kind <> ALL (p_heavy)) AND NOT x.cancel AND NOT work.waits(x)
			ORDER BY x.place LIMIT 1 FOR UPDATE SKIP LOCKED;
			CONTINUE WHEN NOT FOUND;
			v_found := true;
			v_heavy := j.kind = ANY (p_heavy);
			v_task := work.start(j, p_worker, p_kinds, p_lease_s, v_heavy);
			INSERT INTO postern.turns AS t VALUES (v_account, nextval('postern.turn_seq'))
			ON CONFLICT (account_id) DO UPDATE SET served = excluded.served;
			IF v_task IS NULL THEN
				v_ended := v_ended + 1;
				CONTINUE;
			END IF;
			p_room := p_room - 1;
			p_heavy_room := p_heavy_room - v_heavy::int;
			p := plugins.provider(j.kind);
			RETURN QUERY SELECT j.id::text, j.kind, j.attempts + 1, v_task, j.secret,
				plugins.told(p, j.kind)::text, p.secret, j.account_id;
		END LOOP;
	END LOOP;
	IF v_ended > 0 THEN
		PERFORM pg_notify('postern_jobs', ''); -- others may have waited for them
	END IF;
END $$;

-- These are still at work. Returns those that are not to be: cancelled, or no longer this worker's.
CREATE FUNCTION work.beat(p_worker text, p_jobs text[], p_lease_s int) RETURNS TABLE (id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY WITH alive AS (
		UPDATE postern.jobs x SET leased_until = postern.clock() + make_interval(secs => p_lease_s)
		WHERE x.id = ANY (p_jobs::uuid[]) AND x.status = 'running' AND x.leased_by = p_worker RETURNING x.id, x.cancel
	)
	SELECT n FROM unnest(p_jobs) n LEFT JOIN alive a ON a.id = n::uuid WHERE a.id IS NULL OR a.cancel;
END $$;

-- How far one has come.
CREATE FUNCTION work.step(p_worker text, p_job text, p_progress int, p_message text, p_log text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	j postern.jobs;
BEGIN
	UPDATE postern.jobs x SET progress = coalesce(p_progress, x.progress), message = coalesce(p_message, x.message), log = p_log,
		version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = p_job::uuid AND x.status = 'running' AND x.leased_by = p_worker RETURNING * INTO j;
	IF FOUND THEN
		PERFORM gate.job_event(j.id, split_part(j.kind, '.', 1) || '.progress');
	END IF;
END $$;

-- An attempt has ended. With `p_again_s` it is tried again then, unless it was cancelled; `p_blocked`: as something else was in its way,
-- so that this attempt does not count, and `p_error` is for staff. False: the job is not this worker's.
CREATE FUNCTION work.finish(p_worker text, p_job text, p_good boolean, p_error text, p_result text, p_log text, p_again_s int,
	p_blocked boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	j postern.jobs;
	v_error text := CASE WHEN p_blocked THEN work.blocked_text() ELSE p_error END;
BEGIN
	SELECT * INTO j FROM postern.jobs x WHERE x.id = p_job::uuid AND x.status = 'running' AND x.leased_by = p_worker FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	ELSIF p_good THEN
		PERFORM work.close(j, 'succeeded', NULL, p_result::jsonb, p_log);
		PERFORM work.unblock(j.blocked);
	ELSIF j.cancel THEN
		PERFORM work.close(j, 'cancelled', v_error, NULL, p_log);
	ELSIF p_again_s IS NULL THEN
		PERFORM work.close(j, 'failed', v_error, p_result::jsonb, p_log);
	ELSE
		UPDATE postern.jobs x SET status = 'queued', run_at = postern.clock() + make_interval(secs => p_again_s), error = v_error,
			log = p_log, leased_by = NULL, leased_until = NULL, blocked = CASE WHEN p_blocked THEN p_error END,
			attempts = x.attempts - p_blocked::int, version = x.version + 1, updated_at = postern.clock()
		WHERE x.id = j.id RETURNING * INTO j;
		PERFORM work.tell_object(j);
		PERFORM work.note(j, 'job.retrying');
	END IF;
	RETURN true;
END $$;

-- Jobs of workers that are no more: those of this node's earlier ones, whose actions the caller has seen ended, and
-- those whose lease ran out. A node is a worker_dir of a machine since its start, by which only one worker can be at
-- work (worker/posternd.c); a lease is by `node pid random`. They are tried again at once. Returns how many.
CREATE FUNCTION work.recover(p_worker text, p_node text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	j postern.jobs;
	v_count int := 0;
BEGIN
	FOR j IN SELECT * FROM postern.jobs x WHERE x.status = 'running' AND x.leased_by <> p_worker
	         AND (starts_with(x.leased_by, p_node || ' ') OR x.leased_until < postern.clock())
	         FOR UPDATE SKIP LOCKED LOOP
		IF j.attempts >= 50 THEN -- whatever it does, it has been in the way too often
			PERFORM work.close(j, 'failed', 'given up: the worker was ended during each of 50 attempts; retry the job to try again', NULL, NULL);
			CONTINUE;
		END IF;
		UPDATE postern.jobs x SET status = 'queued', run_at = postern.clock(), leased_by = NULL, leased_until = NULL,
			message = 'the worker ended; it is done again', version = x.version + 1, updated_at = postern.clock()
		WHERE x.id = j.id RETURNING * INTO j;
		PERFORM work.note(j, 'job.retrying');
		v_count := v_count + 1;
	END LOOP;
	RETURN v_count;
END $$;

-- Number the events of transactions that nothing still running can precede, in their order. Returns how many. Whoever reads
-- up to some number has then seen all that will ever be below it.
CREATE FUNCTION work.sequence(p_max int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_horizon xid8; -- read before the rows are
	v_head bigint;
	v_count int;
BEGIN
	IF NOT EXISTS (SELECT FROM postern.events x WHERE x.seq IS NULL) THEN -- most of the time; a lock would be a write
		RETURN 0;
	END IF;
	v_horizon := gate.horizon();
	SELECT h.seq INTO v_head FROM postern.event_head h FOR UPDATE;
	WITH next AS (
		SELECT e.account_id, e.id, row_number() OVER (ORDER BY e.xid, e.place) AS n FROM (
			SELECT x.account_id, x.id, x.xid, x.place FROM postern.events x
			WHERE x.seq IS NULL AND x.xid < v_horizon ORDER BY x.xid, x.place LIMIT p_max) e
	)
	UPDATE postern.events e SET seq = v_head + next.n FROM next WHERE e.account_id = next.account_id AND e.id = next.id;
	GET DIAGNOSTICS v_count = ROW_COUNT;
	IF v_count > 0 THEN
		UPDATE postern.event_head SET seq = v_head + v_count;
		PERFORM pg_notify('postern_events', (v_head + v_count)::text);
	END IF;
	RETURN v_count;
END $$;

-- End sessions of endpoints whose transaction has been open for a minute: theirs take seconds, and what such a one wrote is in the way
-- of the feed and of whoever waits for its locks. An endpoint's role could lift its own time limits. Whatever the login
-- is called (setting role_prefix), it is an endpoint's when it may call a function `serve`; so may a superuser, who is
-- none.
CREATE FUNCTION work.end_stuck() RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))::int
	FROM pg_stat_activity a JOIN pg_roles u ON u.oid = a.usesysid
	WHERE a.datname = current_database() AND a.xact_start < clock_timestamp() - interval '60 s' AND NOT u.rolsuper
	  AND EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proname = 'serve'
		AND n.nspowner = 'postern_owner'::regrole AND has_function_privilege(u.oid, p.oid, 'EXECUTE'))
$$;

-- What is done by the clock, once a minute; each part in small steps and again at the next minute.
CREATE FUNCTION work.forget_events(p_days int) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM postern.events e WHERE e.id IN (SELECT x.id FROM postern.events x
		WHERE x.at < postern.clock() - make_interval(days => p_days) AND x.seq IS NOT NULL ORDER BY x.at LIMIT 5000)
$$;
CREATE FUNCTION work.forget_answers() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM postern.kept_answers WHERE ctid IN (SELECT k.ctid FROM postern.kept_answers k
		WHERE k.created_at <= postern.clock() - interval '24 h' LIMIT 5000 FOR UPDATE SKIP LOCKED)
$$;
CREATE FUNCTION work.have_partitions() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT postern.audit_partitions() $$;
CREATE FUNCTION work.keep_house(p_event_days int, p_job_days int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_due text;
BEGIN
	PERFORM gate.compatible_from(); -- a pooler may have moved this session to another cluster
	PERFORM work.end_stuck();
	PERFORM work.have_partitions();
	PERFORM work.forget_events(p_event_days);
	PERFORM work.forget_answers();
	DELETE FROM postern.jobs j WHERE j.id IN (SELECT x.id FROM postern.jobs x
		WHERE x.created_at < postern.clock() - make_interval(days => p_job_days) AND x.status IN ('succeeded', 'failed', 'cancelled')
		ORDER BY x.created_at LIMIT 5000);
	DELETE FROM postern.turns t WHERE t.account_id <> 0
		AND NOT EXISTS (SELECT FROM postern.accounts a WHERE a.id = t.account_id);
	FOR v_due IN SELECT work.function_of(e.name, 'due', '') FROM postern.endpoints e LOOP
		IF v_due IS NOT NULL THEN
			EXECUTE format('SELECT %s()', v_due);
		END IF;
	END LOOP;
END $$;

-- What posternd saw of its machine: {"limits", "domain_proof", "facts", "services", "age_ms"} (worker/watch.c); the first two alone where it could not look. One
-- endpoint's fault is no other's.
CREATE FUNCTION work.seen(p_machine text, p_seen text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_seen text;
BEGIN
	FOR v_seen IN SELECT work.function_of(e.name, 'seen', 'text, jsonb') FROM postern.endpoints e LOOP
		BEGIN
			IF v_seen IS NOT NULL THEN
				EXECUTE format('SELECT %s($1, $2)', v_seen) USING p_machine, p_seen::jsonb;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING '%: %', v_seen, SQLERRM;
		END;
	END LOOP;
END $$;
-- The event of something that nobody asked for.
CREATE FUNCTION work.tell(p_account bigint, p_type text, p_object text, p_data jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO postern.events (account_id, type, resource, object_id, data) VALUES (p_account, p_type, split_part(p_type, '.', 1), p_object, p_data)
$$;

-- Who asks for a job that is due by the clock.
CREATE FUNCTION work.clockwork() RETURNS postern.caller
LANGUAGE sql STABLE AS $$
	SELECT ROW('schedule', NULL, NULL, NULL, NULL, 'posternd', 0, 3, '{*}', '{*}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, 3, NULL)::postern.caller
$$;

RESET ROLE;
DO $$
DECLARE
	f regprocedure;
	v_name text;
BEGIN
	FOR f, v_name IN SELECT p.oid::regprocedure, p.proname FROM pg_proc p WHERE p.pronamespace = 'work'::regnamespace LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_operator', f);
		EXECUTE format('ALTER FUNCTION %s OWNER TO %I', f, CASE WHEN v_name IN ('note', 'tell', 'sequence', 'forget_events', 'forget_answers') THEN 'postern_gate'
			WHEN v_name = 'have_partitions' THEN 'postern_owner' WHEN v_name = 'end_stuck' THEN 'postern_monitor' ELSE 'postern_operator' END);
		IF v_name IN ('take', 'beat', 'step', 'finish', 'recover', 'sequence', 'keep_house', 'seen') THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_worker', f);
		END IF;
	END LOOP;
	GRANT EXECUTE ON FUNCTION work.shown(uuid) TO postern_gate;
	GRANT EXECUTE ON FUNCTION gate.compatible_from(), gate.settle(), gate.settings_held(int) TO postern_worker;
	EXECUTE 'ALTER ROLE postern_worker SET statement_timeout = ''60s''';
	EXECUTE 'ALTER ROLE postern_worker SET lock_timeout = ''10s''';
	EXECUTE 'ALTER ROLE postern_worker SET idle_in_transaction_session_timeout = ''30s''';
	EXECUTE 'ALTER ROLE postern_worker SET jit = off';
END $$;
