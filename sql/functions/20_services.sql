-- services: what runs on this machine for all. posternd looks at those that its setting lists, every few seconds and after each
-- action (worker/service.c), and its word makes the rows; what is asked for here is done by jobs (worker/actions/service.c).
DROP SCHEMA IF EXISTS services CASCADE;
CREATE SCHEMA services AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW services.item AS
SELECT s.id, s.kind, s.name, s.description, s.state, s.since, s.pid, s.memory_bytes, s.cpu_ms, s.enabled, s.program_version,
       coalesce(CASE WHEN s.state IN ('unknown', 'not_found') THEN s.problem END, s.job_error, s.problem) AS last_error, s.job_id, s.created_at, s.updated_at, s.version, s.account_id AS tenant
FROM postern.services s;

CREATE FUNCTION services.ask(c postern.caller, o text, p_verb text) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	s postern.services;
BEGIN
	SELECT * INTO s FROM postern.services x WHERE x.id = o::bigint;
	IF s.state = 'not_found' THEN
		PERFORM gate.fail(409, format('there is no service %s on this machine', s.name));
	END IF;
	UPDATE postern.services x SET job_id = gate.work(c, s.account_id, 'service.' || p_verb, 'services', o), job_error = NULL,
		version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = s.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION services.start(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT services.ask(c, o, 'start') $$;
CREATE FUNCTION services.stop(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT services.ask(c, o, 'stop') $$;
CREATE FUNCTION services.restart(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT services.ask(c, o, 'restart') $$;
CREATE FUNCTION services.reload(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT services.ask(c, o, 'reload') $$;

CREATE FUNCTION services.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('name', s.name) FROM postern.services s WHERE s.id = j.object_id::bigint AND s.kind = 'system'
$$;

-- Note how one is. Another state or process is an event, the first sight of it is not.
CREATE FUNCTION services.note(p jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	old postern.services;
	new postern.services;
	v_same boolean;
	v_since timestamptz := (p ->> 'since')::timestamptz;
BEGIN
	SELECT * INTO old FROM postern.services s WHERE s.name = p ->> 'name' FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO postern.services (kind, name, state) VALUES ('system', p ->> 'name', p ->> 'state') RETURNING * INTO old;
	ELSIF old.kind <> 'system' THEN
		RETURN;
	END IF;
	v_same := old.state = p ->> 'state' AND old.pid IS NOT DISTINCT FROM (p ->> 'pid')::int;
	UPDATE postern.services s SET state = p ->> 'state', pid = (p ->> 'pid')::int, description = coalesce(p ->> 'description', s.description),
		since = CASE WHEN NOT v_same THEN coalesce(v_since, postern.clock()) ELSE coalesce(s.since, v_since) END,
		memory_bytes = (p ->> 'memory_bytes')::bigint, cpu_ms = (p ->> 'cpu_ms')::bigint, enabled = (p ->> 'enabled')::boolean,
		program_version = coalesce(p ->> 'version', CASE WHEN v_same OR p ->> 'pid' IS NULL THEN s.program_version END), problem = p ->> 'problem', job_error = CASE WHEN v_same OR p ->> 'state' <> 'active' THEN s.job_error END,
		version = s.version + 1, updated_at = postern.clock()
	WHERE s.id = old.id RETURNING * INTO new;
	IF NOT v_same AND old.version > 1 THEN
		PERFORM work.tell(new.account_id, 'service.changed', new.id::text, jsonb_build_object('kind', new.kind, 'name', new.name, 'before', old.state,
			'state', new.state, 'since', new.since, 'pid', new.pid, 'message', new.problem));
	END IF;
END $$;

-- A look: all that are listed. What the setting no longer lists goes. While a job is at work on one, its look
-- counts, as it does where this one was begun before.
CREATE FUNCTION services.seen(p_machine text, p jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_typeof(p -> 'services') = 'array' THEN
		PERFORM services.note(x) FROM jsonb_array_elements(p -> 'services') x WHERE NOT EXISTS (
			SELECT FROM postern.services s JOIN postern.jobs j ON j.account_id = s.account_id AND j.id = s.job_id
			WHERE s.name = x ->> 'name' AND (j.status = 'running' OR j.finished_at > postern.clock() - make_interval(secs => 1 + (p ->> 'age_ms')::int / 1000.0)));
		DELETE FROM postern.services s WHERE s.kind = 'system'
			AND NOT s.name IN (SELECT x ->> 'name' FROM jsonb_array_elements(p -> 'services') x);
	END IF;
END $$;

-- A job's end: its own look at the service, and why it failed.
CREATE FUNCTION services.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_typeof(j.result -> 'services') = 'array' THEN
		PERFORM services.note(x) FROM jsonb_array_elements(j.result -> 'services') x;
	END IF;
	UPDATE postern.services s SET job_error = CASE j.status WHEN 'failed' THEN j.error END, version = s.version + 1, updated_at = postern.clock()
	WHERE s.id = j.object_id::bigint AND s.job_id = j.id;
END $$;

RESET ROLE;
