-- backups: what was kept of an account at some time. The bytes are in the engine's repository (worker/engine.h), where the tag
-- backup:<id> finds them; what a backup is made of is noted here when all of it is there and was read back.
DROP SCHEMA IF EXISTS backups CASCADE;
CREATE SCHEMA backups AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- While it is made, each step of the job is a change of what is shown.
CREATE VIEW backups.item AS
SELECT b.id, b.account_id, a.username AS account, b.kind, b.status,
       CASE WHEN b.parts IS NOT NULL THEN 100 WHEN b.status = 'pending' THEN coalesce(j.progress, 0) ELSE 0 END AS progress,
       b.size_bytes, b.parts -> 0 ->> 'snapshot_id' AS snapshot_id, b.parts, b.missing, b.note, b.keep,
       gate.held_by(b.held) AS held_by, b.deleted_account, b.account_deleted_at, b.last_error, b.job_id,
       b.started_at, b.finished_at, b.verified_at, b.created_at, b.updated_at,
       b.version + CASE b.status WHEN 'pending' THEN coalesce(j.version, 0) ELSE 0 END AS version, b.account_id AS tenant
FROM postern.backups b
LEFT JOIN postern.accounts a ON a.id = b.account_id
LEFT JOIN postern.jobs j ON j.account_id = b.account_id AND j.id = b.job_id;

-- Is it of use when its account is gone?
CREATE FUNCTION backups.outlives(x postern.backups) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT x.parts IS NOT NULL AND x.status IN ('active', 'partial', 'error') $$;

-- Of deleted accounts: of those of these names, or of any ("*").
CREATE FUNCTION backups.condition_deleted_account(given text[], places text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN '*' = ANY (given) THEN 'v.deleted_account IS NOT NULL' ELSE gate.one_of('v.deleted_account', places, 'text') END
$$;

CREATE FUNCTION backups.start(c postern.caller, p_account bigint, p_kind text, p_note text, p_keep boolean) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
BEGIN
	INSERT INTO postern.backups (account_id, kind, note, keep) VALUES (p_account, p_kind, p_note, p_keep) RETURNING id INTO v_id;
	UPDATE postern.backups SET job_id = gate.work(c, p_account, 'backup.create', 'backups', v_id::text) WHERE id = v_id;
	RETURN v_id;
END $$;

CREATE FUNCTION backups."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts;
	v_kind text := coalesce(b ->> 'kind', 'full');
BEGIN
	SELECT * INTO a FROM postern.accounts x WHERE x.id = coalesce(users.account_of(c, b), c.account_id) FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM gate.invalid('account_id', 'is required: you are bound to no account; give account or account_id');
	ELSIF a.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the account is being deleted');
	ELSIF EXISTS (SELECT FROM postern.backups x WHERE x.account_id = a.id AND x.kind = v_kind AND x.status = 'pending') THEN
		PERFORM gate.fail(409, format('a backup of kind %s is being made of this account; wait until it is there', v_kind));
	END IF;
	PERFORM accounts.check_quota(a.id, 'backups');
	RETURN ROW(backups.start(c, a.id, v_kind, b ->> 'note', coalesce((b ->> 'keep')::boolean, false)), NULL)::postern.done;
END $$;

CREATE FUNCTION backups.account_of(x postern.backups) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN x.deleted_account IS NULL THEN x.account_id ELSE 0 END $$;

-- One that is there. A job of an earlier request may still be at work on it; ours is done after that one.
CREATE FUNCTION backups.whole(o text) RETURNS postern.backups
LANGUAGE plpgsql AS $$
DECLARE
	x postern.backups;
BEGIN
	SELECT * INTO x FROM postern.backups WHERE id = o::bigint;
	IF x.status IN ('pending', 'deleting') OR x.parts IS NULL THEN
		PERFORM gate.fail(409, format('the backup is %s; only one that was finished can be used', CASE x.status
			WHEN 'pending' THEN 'still being made' WHEN 'deleting' THEN 'being deleted' ELSE 'incomplete: ' || x.last_error END));
	END IF;
	RETURN x;
END $$;
-- The job is its account's; of one that is gone, the machine's (0), or that of the account into which it is restored.
CREATE FUNCTION backups.work_on(c postern.caller, x postern.backups, p_kind text, p_input jsonb, p_account bigint DEFAULT NULL) RETURNS postern.done
LANGUAGE sql AS $$
	UPDATE postern.backups SET job_id = gate.work(c, coalesce(p_account, backups.account_of(x)), p_kind, 'backups', x.id::text, p_input),
		version = x.version + 1, updated_at = postern.clock()
	WHERE id = x.id RETURNING ROW(id::text, NULL)::postern.done
$$;

-- Back to where it was, or, for files, to a folder; or into another account, which is the only way for one whose own is gone. A
-- database goes into one that the account has, under its old name or another: who may log in there is that one's matter.
CREATE FUNCTION backups.restore(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.backups := backups.whole(o);
	a postern.accounts;
	v_what text := b ->> 'what';
	v_part jsonb;
	v_names text[];
	v_as text;
	v_target bigint;
BEGIN
	SELECT * INTO a FROM postern.accounts WHERE id = coalesce(users.account_of(c, b), x.account_id) FOR SHARE;
	IF a.id IS NULL THEN
		PERFORM gate.invalid('account', format('is required: the backup''s own account, %s, was deleted; name the account that takes what comes back',
			x.deleted_account));
	ELSIF a.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the account is being deleted');
	ELSIF b ->> 'to' IS NOT NULL AND v_what <> 'files' THEN
		PERFORM gate.invalid('to', 'is for files only; leave it out');
	ELSIF b ?| '{database,as,engine}' AND v_what <> 'database' THEN
		PERFORM gate.invalid(CASE WHEN b ? 'database' THEN 'database' WHEN b ? 'as' THEN 'as' ELSE 'engine' END, 'is for a database only; leave it out');
	ELSIF NOT EXISTS (SELECT FROM jsonb_array_elements(x.parts) p WHERE p ->> 'part' = v_what) THEN
		PERFORM gate.invalid('what', format('the backup has %s; its parts are: %s', CASE v_what WHEN 'database' THEN 'no database' ELSE 'no ' || v_what END,
			coalesce((SELECT string_agg(DISTINCT p ->> 'part', ', ') FROM jsonb_array_elements(x.parts) p), 'none')));
	ELSIF b ->> 'to' IS NOT NULL AND NOT starts_with(b ->> 'to', a.home || '/') THEN
		PERFORM gate.invalid('to', format('must lie below the account''s home, %s', a.home));
	END IF;
	IF v_what = 'database' THEN
		v_names := ARRAY(SELECT p ->> 'database' FROM jsonb_array_elements(x.parts) p WHERE p ->> 'part' = 'database'
			AND p ->> 'engine' = coalesce(b ->> 'engine', p ->> 'engine') ORDER BY 1);
		IF (SELECT count(*) FROM unnest(v_names) n WHERE n = b ->> 'database') > 1 THEN
			PERFORM gate.invalid('engine', format('is required: the backup has a database %s of PostgreSQL and one of MariaDB', b ->> 'database'));
		ELSIF NOT b ? 'database' AND cardinality(v_names) > 1 THEN
			PERFORM gate.invalid('database', format('is required: the backup has %s', gate.some_of(v_names[:20], cardinality(v_names))));
		END IF;
		SELECT p INTO v_part FROM jsonb_array_elements(x.parts) p
		WHERE p ->> 'part' = 'database' AND p ->> 'database' = coalesce(b ->> 'database', v_names[1])
			AND p ->> 'engine' = coalesce(b ->> 'engine', p ->> 'engine');
		IF NOT FOUND THEN
			PERFORM gate.invalid('database', format('is not in the backup, which has %s', gate.some_of(v_names[:20], cardinality(v_names))));
		END IF;
		PERFORM gate.check_held(c, d.held, 'database', jsonb_build_object('name', d.name)) FROM postern.databases d
		WHERE d.account_id = a.id AND d.engine = v_part ->> 'engine' AND d.name = v_part ->> 'database';
		v_as := coalesce(b ->> 'as', v_part ->> 'database');
		SELECT d.id INTO v_target FROM postern.databases d
		WHERE d.account_id = a.id AND d.name = v_as AND d.engine = v_part ->> 'engine' AND d.status = 'active';
		IF v_target IS NULL THEN
			PERFORM gate.invalid('as', format('the account has no active %s database %s; create it first, then restore into it',
				v_part ->> 'engine', v_as));
		END IF;
	END IF;
	IF v_what = 'mail' AND backups.returning_mail(x, a.id) = '[]' THEN
		PERFORM gate.fail(409, 'the account has none of the backup''s mailboxes any more; create them first, then restore');
	END IF;
	RETURN backups.work_on(c, x, 'backup.restore', jsonb_strip_nulls(jsonb_build_object('what', v_what, 'to', b ->> 'to',
		'snapshot_id', v_part ->> 'snapshot_id', 'database_id', v_target)), a.id);
END $$;

CREATE FUNCTION backups.verify(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT backups.work_on(c, backups.whole(o), 'backup.verify', '{}') $$;

CREATE FUNCTION backups.remove(c postern.caller, x postern.backups) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.backups SET status = 'deleting', job_id = gate.work(c, backups.account_of(x), 'backup.remove', 'backups', x.id::text),
		version = x.version + 2 + CASE x.status WHEN 'pending' THEN coalesce((SELECT j.version FROM postern.jobs j
			WHERE j.account_id = x.account_id AND j.id = x.job_id), 0) ELSE 0 END, updated_at = postern.clock()
	WHERE id = x.id
$$;
CREATE FUNCTION backups."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.backups;
	v_goes jsonb;
BEGIN
	SELECT * INTO x FROM postern.backups WHERE id = o::bigint;
	v_goes := jsonb_build_array(gate.thing('backups', o, o, x.size_bytes));
	IF x.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the backup is being deleted already');
	END IF;
	PERFORM backups.remove(c, x);
	RETURN gate.deleted(b, o, 'backup', CASE WHEN x.parts IS NOT NULL THEN o END, v_goes); -- else there is nothing in it
END $$;

-- The account's mailboxes, and their folders as sql/functions/30_mail.sql has them. What was kept of one goes back to that of
-- the same address, which may have been made anew since, and may be somebody else's by now.
CREATE FUNCTION backups.mailboxes_of(p_account bigint) RETURNS TABLE (address text, folder text)
LANGUAGE sql STABLE AS $$
	SELECT m.address, d.domain || '/' || split_part(m.address, '@', 1) || '-' || m.id
	FROM postern.mailboxes m JOIN postern.domains d ON d.id = m.domain_id WHERE m.account_id = p_account AND m.status <> 'deleting'
$$;
CREATE FUNCTION backups.returning_mail(x postern.backups, p_account bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('address', m.address, 'folder', k ->> 'folder', 'to', m.folder)), '[]')
	FROM jsonb_array_elements(x.parts) p, jsonb_array_elements(p -> 'mailboxes') k
	JOIN backups.mailboxes_of(p_account) m ON m.address = k ->> 'address'
$$;

-- What the actions are told.
CREATE FUNCTION backups.task(j postern.jobs) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	x postern.backups;
	a postern.accounts;
	v jsonb;
BEGIN
	IF j.kind = 'backup.retain' THEN
		RETURN '{}';
	ELSIF j.kind = 'backup.remove' THEN
		RETURN jsonb_build_object('backup', j.object_id::bigint);
	END IF;
	SELECT * INTO x FROM postern.backups WHERE id = j.object_id::bigint AND status <> 'deleting';
	IF j.kind = 'backup.verify' THEN
		RETURN (SELECT jsonb_build_object('backup', x.id, 'parts', x.parts) WHERE x.id IS NOT NULL);
	END IF;
	SELECT * INTO a FROM postern.accounts WHERE id = j.account_id;
	IF a.id IS NULL OR x.id IS NULL THEN
		RETURN NULL;
	END IF;
	v := jsonb_build_object('backup', x.id, 'account', a.id, 'username', a.username, 'home', a.home);
	IF j.kind = 'backup.create' THEN
		RETURN v || jsonb_build_object('kind', x.kind, 'mailboxes', (SELECT coalesce(jsonb_agg(m ORDER BY m.address), '[]')
			FROM backups.mailboxes_of(a.id) m), 'databases', (
			SELECT coalesce(jsonb_agg(jsonb_build_object('id', d.id, 'engine', d.engine, 'name', d.name, 'user', d.username,
				'marker', d.marker, 'charset', d.charset, 'suspended', d.suspended OR a.status = 'suspended',
				'connections', a.max_database_connections) ORDER BY d.id), '[]')
			FROM postern.databases d WHERE d.account_id = a.id AND d.status IN ('active', 'suspended')));
	END IF;
	RETURN v || j.input || jsonb_build_object('parts', x.parts, 'mailboxes', backups.returning_mail(x, a.id), 'database', (
		SELECT jsonb_build_object('id', d.id, 'engine', d.engine, 'name', d.name, 'user', d.username, 'marker', d.marker,
			'charset', d.charset, 'suspended', d.suspended OR a.status = 'suspended', 'connections', a.max_database_connections)
		FROM postern.databases d WHERE d.account_id = a.id AND d.id = (j.input ->> 'database_id')::bigint));
END $$;

-- What becomes of a backup when a job about it has ended.
CREATE FUNCTION backups.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_good boolean := j.status = 'succeeded';
	v_error text := CASE j.status WHEN 'succeeded' THEN NULL WHEN 'cancelled' THEN 'the job was cancelled' ELSE j.error END;
BEGIN
	IF j.kind = 'backup.retain' THEN
		IF v_good THEN
			PERFORM backups.retire(NULL, (j.result ->> 'keep_last')::int);
			PERFORM backups.retire_deleted((j.result ->> 'keep_deleted_days')::int);
			PERFORM backups.schedule((j.result ->> 'every_h')::int);
		END IF;
		RETURN;
	ELSIF j.kind = 'backup.remove' AND v_good THEN
		DELETE FROM postern.backups x WHERE x.id = j.object_id::bigint;
		RETURN;
	END IF;
	UPDATE postern.backups x SET version = x.version + j.version + 1, updated_at = postern.clock(), last_error = v_error,
		status = CASE
			WHEN x.status = 'deleting' AND j.kind <> 'backup.remove' THEN x.status
			WHEN j.kind = 'backup.restore' OR j.status = 'cancelled' AND x.parts IS NOT NULL THEN x.status
			WHEN v_good THEN CASE WHEN x.missing IS NULL THEN 'active' ELSE 'partial' END ELSE 'error' END,
		verified_at = CASE WHEN v_good AND j.kind = 'backup.verify' THEN postern.clock() ELSE x.verified_at END
	WHERE x.id = j.object_id::bigint AND NOT (v_good AND j.kind = 'backup.create');
	IF j.kind = 'backup.create' AND v_good THEN
		UPDATE postern.backups x SET version = x.version + j.version + 1, updated_at = postern.clock(), last_error = NULL,
			missing = nullif(j.result -> 'missing', '[]'), parts = j.result -> 'parts',
			status = CASE WHEN x.status = 'deleting' THEN x.status WHEN nullif(j.result -> 'missing', '[]') IS NULL THEN 'active' ELSE 'partial' END,
			size_bytes = (j.result ->> 'size_bytes')::bigint, started_at = j.started_at, finished_at = j.finished_at
		WHERE x.id = j.object_id::bigint;
		PERFORM work.tell(x.account_id, 'backup.partial', x.id::text, jsonb_build_object('missing', x.missing))
		FROM postern.backups x WHERE x.id = j.object_id::bigint AND x.status = 'partial';
		PERFORM backups.retire(j.account_id, (j.result ->> 'keep_last')::int);
	END IF;
END $$;

-- Delete what an account (null: every account) need not keep: of each kind stay the last ones, and the newest of each of the
-- last days, weeks and months (UTC) that have any, as many as the account keeps, else `p_last`; and the newest that lacks nothing,
-- however many partial ones came after it. Those marked `keep` stay, too.
-- Beyond max_backups the oldest go whatever that says, but for the newest one; of those that failed the newest ten stay.
CREATE FUNCTION backups.retire(p_account bigint, p_last int) RETURNS void
LANGUAGE sql AS $$
	SELECT backups.remove(work.clockwork(), x) FROM postern.backups x JOIN (
		SELECT t.id, NOT t.stays OR row_number() OVER (PARTITION BY t.account_id ORDER BY t.stays DESC, t.finished_at DESC, t.id DESC)
			> greatest(t.max_backups - (SELECT count(*) FROM postern.backups o WHERE o.account_id = t.account_id
				AND (o.status = 'pending' OR o.status IN ('active', 'partial') AND o.keep)), 1) AS goes
		FROM (SELECT r.id, r.account_id, r.finished_at, r.max_backups, p_last <= 0
				OR row_number() OVER (whole ORDER BY r.finished_at DESC, r.id DESC) <= coalesce(r.backup_keep_last, p_last)
				OR r.status = 'active' AND row_number() OVER (PARTITION BY r.account_id, r.kind, r.status ORDER BY r.finished_at DESC, r.id DESC) = 1
				OR row_number() OVER (PARTITION BY r.account_id, r.kind, r.day ORDER BY r.finished_at DESC, r.id DESC) = 1
					AND dense_rank() OVER (whole ORDER BY r.day DESC) <= coalesce(r.backup_keep_daily, 0)
				OR row_number() OVER (PARTITION BY r.account_id, r.kind, r.week ORDER BY r.finished_at DESC, r.id DESC) = 1
					AND dense_rank() OVER (whole ORDER BY r.week DESC) <= coalesce(r.backup_keep_weekly, 0)
				OR row_number() OVER (PARTITION BY r.account_id, r.kind, r.month ORDER BY r.finished_at DESC, r.id DESC) = 1
					AND dense_rank() OVER (whole ORDER BY r.month DESC) <= coalesce(r.backup_keep_monthly, 0) AS stays
			FROM (SELECT b.id, b.account_id, b.kind, b.status, b.finished_at, a.max_backups,
					a.backup_keep_last, a.backup_keep_daily, a.backup_keep_weekly, a.backup_keep_monthly,
					date_trunc('day', b.finished_at AT TIME ZONE 'UTC') AS day, date_trunc('week', b.finished_at AT TIME ZONE 'UTC') AS week,
					date_trunc('month', b.finished_at AT TIME ZONE 'UTC') AS month
				FROM postern.backups b JOIN postern.accounts a ON a.id = b.account_id
				WHERE b.status IN ('active', 'partial') AND NOT b.keep AND (p_account IS NULL OR b.account_id = p_account)) r
			WINDOW whole AS (PARTITION BY r.account_id, r.kind)) t
		UNION ALL
		SELECT f.id, row_number() OVER (PARTITION BY f.account_id ORDER BY f.created_at DESC, f.id DESC) > 10
		FROM postern.backups f WHERE f.status = 'error' AND NOT f.keep AND f.deleted_account IS NULL AND (p_account IS NULL OR f.account_id = p_account)) s ON s.id = x.id
	WHERE s.goes
$$;

-- Those of accounts that are gone, so many days after (0: never); not what is to stay until somebody deletes it.
CREATE FUNCTION backups.retire_deleted(p_days int) RETURNS void
LANGUAGE sql AS $$
	SELECT backups.remove(work.clockwork(), x) FROM postern.backups x
	WHERE p_days > 0 AND x.account_deleted_at < postern.clock() - make_interval(days => p_days) AND x.status <> 'deleting' AND NOT x.keep
$$;

-- Full backups by the clock (setting backup_every; 0: none): of each active account that had none for so long.
CREATE FUNCTION backups.schedule(p_hours int) RETURNS void
LANGUAGE sql AS $$
	SELECT backups.start(work.clockwork(), a.id, 'full', 'scheduled', false) FROM postern.accounts a
	WHERE p_hours > 0 AND a.status = 'active' AND a.managed AND NOT EXISTS (SELECT FROM postern.backups b WHERE b.account_id = a.id
		AND b.kind = 'full' AND (b.status = 'pending' OR b.created_at > postern.clock() - make_interval(hours => p_hours)))
$$;

-- The action knows the settings, so one job a day, or, where backups are made by the clock, one an hour asks it for them.
CREATE FUNCTION backups.due() RETURNS void
LANGUAGE sql AS $$
	SELECT gate.work(work.clockwork(), 0, 'backup.retain', 'backups', NULL)
	WHERE NOT EXISTS (SELECT FROM postern.jobs j WHERE j.account_id = 0 AND j.kind = 'backup.retain' AND (j.status IN ('queued', 'running')
		OR j.created_at > postern.clock() - CASE WHEN (j.result ->> 'every_h')::int > 0 THEN interval '1 hour' ELSE interval '1 day' END))
$$;

RESET ROLE;
