-- server-health: how the machine is, with what PostgreSQL runs and what is kept there, and a verdict. The machine's part is
-- posternd's word (worker/watch.c), which tells the thresholds of the settings too; the rest is looked up when it is asked for.
DROP SCHEMA IF EXISTS "server-health" CASCADE;
CREATE SCHEMA "server-health" AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE FUNCTION "server-health".database_sizes() RETURNS TABLE (name text, bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.datname::text, pg_database_size(d.oid) FROM pg_database d WHERE d.datallowconn
$$;

-- What posternd saw. The sizes of databases are found out anew after five minutes.
CREATE FUNCTION "server-health".seen(p_machine text, p jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO postern.machines AS m (name, said_at, limits, facts, facts_at)
	VALUES (p_machine, postern.clock(), p -> 'limits', p -> 'facts', CASE WHEN p ? 'facts' THEN postern.clock() END)
	ON CONFLICT (name) DO UPDATE SET said_at = excluded.said_at, limits = excluded.limits, facts = coalesce(excluded.facts, m.facts),
		facts_at = coalesce(excluded.facts_at, m.facts_at);
	DELETE FROM postern.machines m WHERE m.said_at < postern.clock() - interval '7 days';
	IF NOT EXISTS (SELECT FROM postern.database_sizes s WHERE s.at > postern.clock() - interval '5 min') THEN
		BEGIN
			DELETE FROM postern.database_sizes;
			INSERT INTO postern.database_sizes SELECT d.name, d.bytes, postern.clock() FROM "server-health".database_sizes() d;
		EXCEPTION WHEN OTHERS THEN
			NULL; -- one that was dropped meanwhile; the next time
		END;
	END IF;
END $$;

-- What only who sees all sessions can count. A role that may not (pg_read_all_stats) finds null.
CREATE FUNCTION "server-health".sessions() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object(
		'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
		'connections_max', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		'oldest_transaction_s', CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'member') THEN (SELECT coalesce(floor(extract(epoch
			FROM max(clock_timestamp() - xact_start))), 0)::bigint FROM pg_stat_activity WHERE backend_type = 'client backend') END,
		'in_recovery', pg_is_in_recovery(),
		'behind_s', CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::bigint END,
		'replicas', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', application_name, 'state', state,
			'behind_bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint, 'behind_s', extract(epoch FROM replay_lag)::bigint) ORDER BY application_name), '[]')
			FROM pg_stat_replication WHERE NOT pg_is_in_recovery()))
$$;

CREATE FUNCTION "server-health".postgresql() RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('server_version', current_setting('server_version')) || s
		|| jsonb_build_object('connections_pct', round(100.0 * (s ->> 'connections')::int / nullif((s ->> 'connections_max')::int, 0), 1),
			'own_database_bytes', (SELECT d.bytes FROM postern.database_sizes d WHERE d.name = current_database()),
			'databases_bytes', (SELECT sum(d.bytes) FROM postern.database_sizes d), 'databases_at', (SELECT min(d.at) FROM postern.database_sizes d),
			'databases', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', d.name, 'bytes', d.bytes) ORDER BY d.bytes DESC), '[]')
				FROM (SELECT * FROM postern.database_sizes ORDER BY bytes DESC LIMIT 20) d))
	FROM "server-health".sessions() s
$$;

CREATE FUNCTION "server-health".jobs() RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('queued', count(*) FILTER (WHERE j.status = 'queued'), 'running', count(*) FILTER (WHERE j.status = 'running'),
		'oldest_due_s', coalesce(ceil(extract(epoch FROM postern.clock() - min(j.run_at) FILTER (WHERE j.status = 'queued' AND j.run_at <= postern.clock()))), 0)::bigint,
		'blocked', (SELECT count(*) FROM postern.jobs b WHERE b.blocked IS NOT NULL),
		'blocked_by', (SELECT coalesce(jsonb_agg(b.blocked ORDER BY b.n DESC, b.blocked), '[]') FROM (SELECT x.blocked, count(*) AS n
			FROM postern.jobs x WHERE x.blocked IS NOT NULL GROUP BY x.blocked ORDER BY 2 DESC, 1 LIMIT 5) b),
		'failed_last_day', (SELECT count(*) FROM postern.jobs f WHERE f.status = 'failed' AND f.created_at > postern.clock() - interval '1 day'))
	FROM postern.jobs j WHERE j.status IN ('queued', 'running')
$$;

-- Events that are in no feed yet, and for how long the oldest has waited: a change that is not committed holds them up.
CREATE FUNCTION "server-health".feed() RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('waiting', count(*),
		'delay_s', coalesce(round(extract(epoch FROM postern.clock() - min(e.at)), 3), 0))
	FROM postern.events e WHERE e.seq IS NULL
$$;

-- A list goes by the word of all lists, and by the one that it had before.
CREATE FUNCTION "server-health".with_items(p_about jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$ SELECT p_about || jsonb_build_object('list', p_about -> 'items') $$;

CREATE FUNCTION "server-health".certificates(p_days int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT "server-health".with_items(jsonb_build_object('total', (SELECT count(*) FROM postern.certificates x WHERE x.not_after IS NOT NULL), 'expiring', count(*),
		'expired', count(*) FILTER (WHERE c.not_after <= postern.clock()), 'next_s', ceil(extract(epoch FROM min(c.not_after) - postern.clock()))::bigint,
		'items', coalesce(jsonb_agg(jsonb_build_object('domain', c.domain, 'not_after', c.not_after, 'auto_renew', c.auto_renew, 'last_error', c.last_error)
			ORDER BY c.not_after) FILTER (WHERE c.place <= 100), '[]')))
	FROM (SELECT x.*, d.domain, row_number() OVER (ORDER BY x.not_after) AS place FROM postern.certificates x JOIN postern.domains d ON d.id = x.domain_id
		WHERE x.not_after < postern.clock() + make_interval(days => p_days) AND x.status <> 'deleting') c
$$;

-- Each account's newest good backup, those that need one most first; and whose newest backup lacks something, or failed.
CREATE FUNCTION "server-health".backups(p_hours int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT "server-health".with_items(jsonb_build_object('accounts', count(*), 'without', count(*) FILTER (WHERE a.at IS NULL), 'oldest_s', max(a.age_s),
		'behind', count(*) FILTER (WHERE p_hours > 0 AND (a.age_s > p_hours * 3600 OR a.at IS NULL AND a.created_at < postern.clock() - make_interval(hours => p_hours))),
		'partial', count(*) FILTER (WHERE a.newest = 'partial'), 'failed', count(*) FILTER (WHERE a.newest = 'error'),
		'items', coalesce(jsonb_agg(jsonb_build_object('account', a.username, 'last_backup_at', a.at, 'age_s', a.age_s, 'newest', a.newest) ORDER BY a.place)
			FILTER (WHERE a.place <= 100 OR a.newest <> 'active' AND a.ill <= 100), '[]')))
	FROM (SELECT x.*, ceil(extract(epoch FROM postern.clock() - x.at))::bigint AS age_s, row_number() OVER (ORDER BY coalesce(x.at, x.created_at), x.username) AS place,
			row_number() OVER (PARTITION BY x.newest = 'active' ORDER BY x.username) AS ill
		FROM (SELECT a.username, a.created_at, (SELECT b.status FROM postern.backups b WHERE b.account_id = a.id
				AND b.status IN ('active', 'partial', 'error') ORDER BY b.id DESC LIMIT 1) AS newest, (SELECT max(b.finished_at) FROM postern.backups b WHERE b.account_id = a.id AND b.status = 'active') AS at
			FROM postern.accounts a WHERE a.status = 'active' AND a.managed) x) a
$$;

-- Why the verdict is no better: a message for each value over a threshold. What is not known is no fault.
CREATE FUNCTION "server-health".over(p_subject text, p_what text, p_value numeric, p_unit text, l jsonb, p_setting text) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN x.limit IS NOT NULL THEN jsonb_build_array(jsonb_build_object('severity', x.severity, 'subject', p_subject,
		'message', format('%s: %s %s (%s from %s on: setting %s)', p_what, p_value, p_unit, x.severity, x.limit, x.setting))) ELSE '[]' END
	FROM (SELECT CASE WHEN p_value >= critical THEN critical WHEN p_value >= warning THEN warning END AS limit,
			CASE WHEN p_value >= critical THEN 'critical' ELSE 'warning' END AS severity,
			CASE WHEN p_value >= critical THEN replace(p_setting, '_warning_', '_critical_') ELSE p_setting END AS setting
		FROM (SELECT (l ->> p_setting)::numeric AS warning, (l ->> replace(p_setting, '_warning_', '_critical_'))::numeric AS critical) t) x
$$;
CREATE FUNCTION "server-health".reasons(d jsonb, l jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v jsonb := '[]';
	x jsonb;
BEGIN
	IF d -> 'worker' ->> 'status' <> 'ok' THEN
		v := v || jsonb_build_object('severity', d -> 'worker' ->> 'status', 'subject', 'worker', 'message', d -> 'worker' ->> 'message');
	ELSIF (d ->> 'machine_time')::timestamptz IS NULL OR (d ->> 'machine_time')::timestamptz < postern.clock() - make_interval(secs => 40 + 3 * (l ->> 'watch_s')::int) THEN
		v := v || jsonb_build_object('severity', 'warning', 'subject', 'machine', 'message',
			'posternd cannot finish its look at this machine; its log says why: does a file system or a service''s command hang?');
	END IF;
	FOR x IN SELECT * FROM jsonb_array_elements(d -> 'disks') LOOP
		v := v || "server-health".over('disk', format('used of %s', x ->> 'mount'), (x ->> 'used_pct')::numeric, '%', l, 'disk_warning_pct')
		       || "server-health".over('disk', format('inodes used of %s', x ->> 'mount'), (x ->> 'inodes_used_pct')::numeric, '%', l, 'disk_warning_pct');
	END LOOP;
	v := v || "server-health".over('memory', 'memory in use', (d -> 'memory' ->> 'used_pct')::numeric, '%', l, 'memory_warning_pct')
	       || "server-health".over('swap', 'swap space in use', (d -> 'swap' ->> 'used_pct')::numeric, '%', l, 'swap_warning_pct')
	       || "server-health".over('load', 'load of five minutes for each CPU', round(100 * (d -> 'load' ->> 1)::numeric / nullif((d ->> 'cpus')::int, 0)), '%', l, 'load_warning_pct')
	       || "server-health".over('postgresql', 'connections of PostgreSQL in use', (d -> 'postgresql' ->> 'connections_pct')::numeric, '%', l, 'connections_warning_pct')
	       || "server-health".over('postgresql', 'oldest transaction', (d -> 'postgresql' ->> 'oldest_transaction_s')::numeric, 's', l, 'transaction_warning_s')
	       || "server-health".over('replication', 'this server is behind by', (d -> 'postgresql' ->> 'behind_s')::numeric, 's', l, 'replication_warning_s')
	       || "server-health".over('jobs', 'oldest job that is due waits for', (d -> 'jobs' ->> 'oldest_due_s')::numeric, 's', l, 'queue_warning_s')
	       || "server-health".over('feed', 'oldest event that is not in the feed yet waits for',
	              floor((d -> 'feed' ->> 'delay_s')::numeric), 's', l, 'queue_warning_s');
	FOR x IN SELECT * FROM jsonb_array_elements(d -> 'jobs' -> 'blocked_by') LOOP
		v := v || jsonb_build_object('severity', 'warning', 'subject', 'jobs', 'message', 'jobs wait until this is mended: ' || (x #>> '{}'));
	END LOOP;
	FOR x IN SELECT * FROM jsonb_array_elements(d -> 'postgresql' -> 'replicas') LOOP
		v := v || "server-health".over('replication', format('replica %s is behind by', x ->> 'name'), (x ->> 'behind_s')::numeric, 's', l, 'replication_warning_s');
	END LOOP;
	FOR x IN SELECT * FROM jsonb_array_elements(d -> 'services') LOOP
		IF x ->> 'state' IN ('failed', 'not_found') OR x ->> 'state' = 'inactive' AND (x ->> 'enabled')::boolean THEN
			v := v || jsonb_build_object('severity', CASE x ->> 'state' WHEN 'failed' THEN 'critical' ELSE 'warning' END, 'subject', 'service',
				'message', format('service %s is %s', x ->> 'name', x ->> 'state'));
		END IF;
	END LOOP;
	IF (d -> 'certificates' ->> 'expiring')::int > 0 THEN
		v := v || jsonb_build_object('subject', 'certificates', 'severity',
			CASE WHEN (d -> 'certificates' ->> 'next_s')::bigint <= 86400 * (l ->> 'certificate_critical_days')::int THEN 'critical' ELSE 'warning' END,
			'message', format('certificates that expire within %s days: %s, of these expired: %s; first %s', l ->> 'certificate_warning_days',
				d -> 'certificates' ->> 'expiring', d -> 'certificates' ->> 'expired', d -> 'certificates' -> 'items' -> 0 ->> 'domain'));
	END IF;
	IF (d -> 'backups' ->> 'behind')::int > 0 THEN
		v := v || jsonb_build_object('severity', 'warning', 'subject', 'backups', 'message',
			format('accounts without a good backup of the last %s h: %s; first %s', l ->> 'backup_warning_h', d -> 'backups' ->> 'behind', d -> 'backups' -> 'items' -> 0 ->> 'account'));
	END IF;
	FOR x IN SELECT jsonb_build_object('newest', k.newest, 'text', k.text, 'count', d -> 'backups' -> k.key,
			'first', (SELECT b -> 'account' FROM jsonb_array_elements(d -> 'backups' -> 'items') b WHERE b ->> 'newest' = k.newest LIMIT 1))
	         FROM (VALUES ('partial', 'partial', 'lacks something, which its field missing names'), ('error', 'failed', 'failed, which its last_error explains'))
	         AS k (newest, key, text) WHERE (d -> 'backups' ->> k.key)::int > 0 LOOP
		v := v || jsonb_build_object('severity', 'warning', 'subject', 'backups', 'message',
			format('accounts whose newest backup %s: %s; first %s', x ->> 'text', x ->> 'count', x ->> 'first'));
	END LOOP;
	IF d -> 'audit' ->> 'status' <> 'ok' THEN
		v := v || jsonb_build_object('severity', d -> 'audit' ->> 'status', 'subject', 'audit', 'message', d -> 'audit' ->> 'message');
	END IF;
	RETURN v;
END $$;

-- All of it; the machine's facts are those of the worker that spoke last.
CREATE FUNCTION "server-health".look() RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	m postern.machines;
	d jsonb;
	r jsonb;
BEGIN
	SELECT * INTO m FROM postern.machines x ORDER BY x.said_at DESC LIMIT 1;
	m.limits := m.limits || settings.held_of(m.limits); -- what was changed since, holds at once
	d := jsonb_build_object('time', postern.clock(), 'machine', m.name, 'machine_time', m.facts_at, 'system', m.facts -> 'system', 'kernel', m.facts -> 'kernel',
		'architecture', m.facts -> 'architecture', 'uptime_s', m.facts -> 'uptime_s', 'cpus', m.facts -> 'cpus', 'load', m.facts -> 'load',
		'cpu', m.facts -> 'cpu', 'memory', m.facts -> 'memory', 'swap', m.facts -> 'swap', 'disks', coalesce(m.facts -> 'disks', '[]'),
		'network', coalesce(m.facts -> 'network', '[]'), 'containment', nullif(m.facts -> 'containment', 'null'),
		'worker', health.worker(), 'audit', health.audit(), 'postgresql', "server-health".postgresql(), 'jobs', "server-health".jobs(), 'feed', "server-health".feed(),
		'services', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'state', s.state, 'enabled', s.enabled) ORDER BY s.name), '[]')
			FROM postern.services s WHERE s.kind = 'system'),
		'certificates', "server-health".certificates((m.limits ->> 'certificate_warning_days')::int), 'backups', "server-health".backups((m.limits ->> 'backup_warning_h')::int),
		'thresholds', coalesce(m.limits, '{}'));
	r := "server-health".reasons(d, coalesce(m.limits, '{}'));
	RETURN jsonb_build_object('status', CASE WHEN r @> '[{"severity":"critical"}]' THEN 'critical' WHEN r <> '[]' THEN 'warning' ELSE 'ok' END, 'reasons', r) || d;
END $$;
CREATE FUNCTION "server-health".show(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT "server-health".look() $$;

RESET ROLE;
ALTER FUNCTION "server-health".database_sizes() OWNER TO postern_monitor;
ALTER FUNCTION "server-health".sessions() OWNER TO postern_monitor;
