-- health: is the installation able to serve?
DROP SCHEMA IF EXISTS health CASCADE;
CREATE SCHEMA health AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE FUNCTION health.show(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('status', CASE WHEN r.parts @> '[{"status": "critical"}]' THEN 'critical' WHEN r.reasons <> '[]' THEN 'warning' ELSE 'ok' END,
		'reasons', r.reasons, 'time', postern.clock(),
		'database', jsonb_build_object('status', 'ok', 'server_version', current_setting('server_version'),
			'in_recovery', pg_is_in_recovery()),
		'worker', r.parts -> 0, 'audit', r.parts -> 1)
	FROM (SELECT p.parts, jsonb_path_query_array(p.parts, '$[*] ? (@.status != "ok").message') AS reasons
		FROM (SELECT jsonb_build_array(health.worker(), health.audit()) AS parts) p) r
$$;
CREATE FUNCTION health.audit() RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('status',
			CASE WHEN s.severity IS NOT NULL THEN s.severity WHEN a.in_order THEN 'ok' ELSE 'warning' END,
			'default_partition_empty', a.in_order)
		|| CASE WHEN a.in_order AND s.severity IS NULL THEN '{}'
			ELSE jsonb_build_object('message', concat_ws('; ', s.message, CASE WHEN NOT a.in_order THEN
			'rows of the audit trail lie in its default partition, as their month had none: see that posternd runs, which makes '
			'partitions ahead, and that the clock of the database is right; '
			'then run SELECT postern.audit_rehome() as a superuser' END)) END
	FROM health.audit_in_order() a (in_order), health.sealing() s
$$;
-- Why a posternd must not seal the trail (seals.elect): critical where no other does.
CREATE FUNCTION health.sealing(OUT severity text, OUT message text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN count(*) = 0 THEN NULL
			WHEN EXISTS (SELECT FROM postern.sealing x WHERE x.node IS NOT NULL AND x.until > postern.clock())
			THEN 'warning' ELSE 'critical' END,
		string_agg(format('posternd on %s does not seal the audit trail: %s', s.machine, s.fault), '; '
			ORDER BY s.machine, s.node)
	FROM postern.sealers s WHERE s.fault IS NOT NULL AND s.seen_at > postern.clock() - interval '3 min'
$$;
-- A row in the default partition means that a month's partition was missing.
CREATE FUNCTION health.audit_in_order() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT NOT EXISTS (SELECT FROM postern.audit_default)
$$;
-- What a worker last said of itself (work.seen), and whether jobs wait for it.
CREATE FUNCTION health.worker() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('status', CASE WHEN good THEN 'ok' WHEN waiting THEN 'critical' ELSE 'warning' END,
		'message', CASE WHEN good THEN 'posternd is at work'
			WHEN waiting THEN 'posternd does not run, and jobs wait for it: systemctl start posternd; journalctl -u posternd says why it does not stay'
			ELSE 'posternd does not run: changes take effect in the inventory only; systemctl enable --now posternd' END,
		'machine', m.name, 'seen_at', m.said_at)
	FROM (SELECT) x LEFT JOIN LATERAL (SELECT * FROM postern.machines ORDER BY said_at DESC LIMIT 1) m ON true,
	LATERAL (SELECT coalesce(m.said_at > postern.clock() - make_interval(secs => 10 + 3 * (m.limits ->> 'watch_s')::int), false) AS good) g,
	LATERAL (SELECT NOT g.good AND EXISTS (SELECT FROM postern.jobs j WHERE j.status = 'queued' AND j.run_at < postern.clock() - interval '1 min') AS waiting) j
$$;

RESET ROLE;
GRANT SELECT ON postern.audit_default TO postern_gate;
ALTER FUNCTION health.audit_in_order() OWNER TO postern_gate;
ALTER FUNCTION health.worker() OWNER TO postern_gate;
ALTER FUNCTION health.sealing() OWNER TO postern_gate;
