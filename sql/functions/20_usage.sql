-- usage: what accounts take up against what their plans allow. Measured by posternd (worker/actions/usage.c), an account after the
-- other, so that those who wait for a change are not kept waiting.
DROP SCHEMA IF EXISTS usage CASCADE;
CREATE SCHEMA usage AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- The months as a list, the newest first.
CREATE FUNCTION usage.months(p_transfer jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_transfer IS NOT NULL THEN coalesce((SELECT jsonb_agg(jsonb_build_object('month', m, 'requests', t -> 'requests', 'bytes', t -> 'bytes') ORDER BY m DESC)
		FROM jsonb_each(p_transfer) x (m, t)), '[]') END
$$;
-- How many of each there are now. PostgreSQL leaves it out where rows are only counted.
CREATE FUNCTION usage.counts(p_account bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN ARRAY(SELECT accounts.used(p_account, w) FROM unnest('{domains,mailboxes,databases,cron,forwarders,backups,users,tokens,jobs}'::text[])
		WITH ORDINALITY AS x (w, n) ORDER BY x.n);
END $$;
CREATE VIEW usage.item AS
SELECT a.id, a.username AS account, u.files_bytes + u.mail_bytes + u.databases_bytes AS disk_bytes, a.max_disk_mb,
       u.files_bytes, u.mail_bytes, u.databases_bytes, u.backups_bytes,
       c.n[1] AS domains, a.max_domains, c.n[2] AS mailboxes, a.max_mailboxes, c.n[3] AS databases, a.max_databases, c.n[4] AS cron, a.max_cron,
       c.n[5] AS forwarders, a.max_forwarders, c.n[6] AS backups, a.max_backups, c.n[7] AS users, a.max_users, c.n[8] AS tokens, a.max_tokens,
       c.n[9] AS jobs, a.max_jobs,
       array_remove(ARRAY[
           CASE WHEN u.files_bytes + u.mail_bytes + u.databases_bytes > a.max_disk_mb * 1000000 THEN 'disk' END,
           CASE WHEN c.n[1] > a.max_domains THEN 'domains' END, CASE WHEN c.n[2] > a.max_mailboxes THEN 'mailboxes' END,
           CASE WHEN c.n[3] > a.max_databases THEN 'databases' END, CASE WHEN c.n[4] > a.max_cron THEN 'cron' END,
           CASE WHEN c.n[5] > a.max_forwarders THEN 'forwarders' END, CASE WHEN c.n[6] > a.max_backups THEN 'backups' END,
           CASE WHEN c.n[7] > a.max_users THEN 'users' END, CASE WHEN c.n[8] > a.max_tokens THEN 'tokens' END,
           CASE WHEN c.n[9] > a.max_jobs THEN 'jobs' END], NULL) AS exceeded,
       usage.months(u.transfer) AS transfer, u.computed_at, greatest(a.updated_at, u.computed_at) AS updated_at,
       hashtextextended(concat_ws(' ', a.version, u.version, c.n::text), 0) & 9223372036854775807 AS version, a.id AS tenant
FROM postern.accounts a LEFT JOIN postern.usage u ON u.account_id = a.id
CROSS JOIN LATERAL (SELECT usage.counts(a.id) AS n OFFSET 0) c;

-- What the actions are told.
CREATE FUNCTION usage.task(j postern.jobs) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF j.kind = 'usage.schedule' THEN
		RETURN '{}';
	END IF;
	RETURN (SELECT jsonb_build_object('username', a.username, 'home', a.home, 'logs', u.logs,
		'mailboxes', (SELECT coalesce(jsonb_agg(m.folder ORDER BY m.folder), '[]') FROM backups.mailboxes_of(a.id) m),
		'domains', (SELECT coalesce(jsonb_agg(d.domain ORDER BY d.domain), '[]') FROM postern.domains d WHERE d.account_id = a.id AND d.proven_at IS NOT NULL AND d.status <> 'deleting'))
		FROM postern.accounts a LEFT JOIN postern.usage u ON u.account_id = a.id WHERE a.id = j.object_id::bigint AND a.status <> 'deleting');
END $$;

-- What was counted since goes to what was counted before; a year of it is kept.
CREATE FUNCTION usage.added(p_before jsonb, p_more jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_object_agg(m, jsonb_build_object('requests', r, 'bytes', b)), '{}') FROM (
		SELECT m, sum((t ->> 'requests')::bigint) AS r, sum((t ->> 'bytes')::bigint) AS b
		FROM (SELECT * FROM jsonb_each(p_before) UNION ALL SELECT * FROM jsonb_each(p_more)) x (m, t)
		WHERE m ~ '^[0-9]{4}-[0-9]{2}$' GROUP BY m ORDER BY m DESC LIMIT 13) y
$$;
CREATE FUNCTION usage.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF j.kind = 'usage.measure' AND j.status = 'succeeded' AND j.result IS NOT NULL THEN
		INSERT INTO postern.usage AS u (account_id, files_bytes, mail_bytes, databases_bytes, backups_bytes, transfer, logs, computed_at)
		SELECT a.id, (j.result ->> 'files_bytes')::bigint, (j.result ->> 'mail_bytes')::bigint,
			(SELECT coalesce(sum(d.size_bytes), 0) FROM postern.databases d WHERE d.account_id = a.id),
			(SELECT coalesce(sum(b.size_bytes), 0) FROM postern.backups b WHERE b.account_id = a.id AND b.parts IS NOT NULL),
			CASE WHEN j.result ? 'transfer' THEN usage.added('{}', j.result -> 'transfer') END, j.result -> 'logs', postern.clock()
		FROM postern.accounts a WHERE a.id = j.object_id::bigint
		ON CONFLICT (account_id) DO UPDATE SET files_bytes = excluded.files_bytes, mail_bytes = excluded.mail_bytes, databases_bytes = excluded.databases_bytes,
			backups_bytes = excluded.backups_bytes, computed_at = excluded.computed_at, version = u.version + 1,
			transfer = CASE WHEN j.result ? 'transfer' THEN usage.added(coalesce(u.transfer, '{}'), j.result -> 'transfer') ELSE u.transfer END,
			logs = coalesce(excluded.logs, u.logs);
		UPDATE postern.jobs x SET result = j.result - 'logs' WHERE x.id = j.id;
	END IF;
	PERFORM usage.measure(usage.every_h()) WHERE j.kind = 'usage.measure';
END $$;

-- Every account that is due (setting usage_every_h; 0: none), two at a time. A new one is given an hour to become something.
CREATE FUNCTION usage.every_h() RETURNS int
LANGUAGE sql STABLE AS $$
	SELECT (j.result ->> 'every_h')::int FROM postern.jobs j WHERE j.account_id = 0 AND j.kind = 'usage.schedule' AND j.status = 'succeeded'
	ORDER BY j.created_at DESC LIMIT 1
$$;
CREATE FUNCTION usage.measure(p_hours int) RETURNS void
LANGUAGE sql AS $$
	SELECT gate.work(work.clockwork(), x.id, 'usage.measure', 'usage', x.id::text) FROM (
		SELECT a.id FROM postern.accounts a LEFT JOIN postern.usage u ON u.account_id = a.id
		WHERE p_hours > 0 AND a.status IN ('active', 'suspended') AND a.created_at < postern.clock() - interval '1 hour'
		AND coalesce(u.computed_at < postern.clock() - make_interval(hours => p_hours), true)
		AND NOT EXISTS (SELECT FROM postern.jobs j WHERE j.account_id = a.id AND j.kind = 'usage.measure'
			AND (j.status IN ('queued', 'running') OR j.created_at > postern.clock() - make_interval(hours => p_hours)))
		ORDER BY u.computed_at NULLS FIRST, a.id
		LIMIT greatest(2 - (SELECT count(*) FROM postern.jobs j WHERE j.kind = 'usage.measure' AND j.status IN ('queued', 'running')), 0)) x
$$;
-- The action knows the setting, so one job an hour asks it.
CREATE FUNCTION usage.due() RETURNS void
LANGUAGE sql AS $$
	SELECT gate.work(work.clockwork(), 0, 'usage.schedule', 'usage', NULL) WHERE NOT EXISTS (SELECT FROM postern.jobs j WHERE j.account_id = 0
		AND j.kind = 'usage.schedule' AND (j.status IN ('queued', 'running') OR j.created_at > postern.clock() - interval '1 hour'));
	SELECT usage.measure(usage.every_h())
$$;

RESET ROLE;
