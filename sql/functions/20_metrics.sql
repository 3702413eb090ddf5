-- metrics: what Prometheus reads, in its text form. The facts are those of server-health; no label names an account, a user or a
-- domain, nor what is named after one (other mount points, interfaces, databases).
DROP SCHEMA IF EXISTS metrics CASCADE;
CREATE SCHEMA metrics AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- Requests since the last time, by the trail: rows of transactions that nothing still open can precede.
CREATE FUNCTION metrics.count_requests() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	v_from xid8;
	v_to xid8 := gate.horizon();
BEGIN
	SELECT m.xid INTO v_from FROM postern.request_mark m FOR UPDATE;
	IF v_from >= v_to THEN
		RETURN;
	END IF;
	INSERT INTO postern.request_counts AS r (resource, class, count)
	SELECT a.resource, a.status / 100, sum(a.count) FROM postern.audit a
	WHERE (a.xid::text::bigint) >= v_from::text::bigint AND a.xid >= v_from AND a.xid < v_to AND a.actor = 'token' AND a.status IS NOT NULL
	GROUP BY a.resource, a.status / 100
	ON CONFLICT (resource, class) DO UPDATE SET count = r.count + excluded.count;
	UPDATE postern.request_mark SET xid = v_to;
END $$;
CREATE FUNCTION metrics.seen(p_machine text, p jsonb) RETURNS void
LANGUAGE sql AS $$ SELECT metrics.count_requests() $$;

-- One metric: its samples with their labels, or the one without. What is not known has none.
CREATE FUNCTION metrics.family(p_name text, p_type text, p_help text, p_samples text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN cardinality(p_samples) > 0 THEN format(E'# HELP postern_%1$s %2$s\n# TYPE postern_%1$s %3$s\n', p_name, p_help, p_type)
		|| (SELECT string_agg(format(E'postern_%s%s\n', p_name, x), '' ORDER BY n) FROM unnest(p_samples) WITH ORDINALITY u (x, n)) ELSE '' END
$$;
CREATE FUNCTION metrics.one(p_name text, p_type text, p_help text, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT metrics.family(p_name, p_type, p_help, CASE WHEN p_value IS NULL THEN '{}' ELSE ARRAY[' ' || p_value] END) $$;
CREATE FUNCTION metrics.ratio(p_percent text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT round(p_percent::numeric / 100, 4)::text $$;

CREATE FUNCTION metrics.text() RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	d jsonb := "server-health".look();
	p jsonb := d -> 'postgresql';
	j jsonb := d -> 'jobs';
	-- those whose names are the system's
	v_disks jsonb := jsonb_path_query_array(d, '$.disks[*] ? (@.mount like_regex "^/(boot|home|opt|srv|tmp|usr|var)?$")');
	v text;
BEGIN
	v := metrics.one('health_status', 'gauge', 'Verdict of server-health: 0 ok, 1 warning, 2 critical.', CASE d ->> 'status' WHEN 'ok' THEN '0' WHEN 'warning' THEN '1' ELSE '2' END)
	|| metrics.family('health_reasons', 'gauge', 'Values over their thresholds.', ARRAY(SELECT format('{severity="%s"} %s', s,
		(SELECT count(*) FROM jsonb_array_elements(d -> 'reasons') r WHERE r ->> 'severity' = s)) FROM unnest(ARRAY['warning', 'critical']) s))
	|| metrics.one('worker_up', 'gauge', 'Whether posternd is at work.', CASE d -> 'worker' ->> 'status' WHEN 'ok' THEN '1' ELSE '0' END)
	|| metrics.one('machine_seen_timestamp_seconds', 'gauge', 'When posternd looked at its machine.', extract(epoch FROM (d ->> 'machine_time')::timestamptz)::numeric(20, 3)::text)
	|| metrics.one('machine_uptime_seconds', 'gauge', 'Time since the machine was started.', d ->> 'uptime_s')
	|| metrics.one('machine_cpus', 'gauge', 'Number of CPUs.', d ->> 'cpus')
	|| metrics.one('machine_cpu_used_ratio', 'gauge', 'How busy CPUs were between the last two looks.', metrics.ratio(d -> 'cpu' ->> 'used_pct'))
	|| metrics.one('machine_load1', 'gauge', 'Load of one minute.', d -> 'load' ->> 0)
	|| metrics.one('machine_load5', 'gauge', 'Load of five minutes.', d -> 'load' ->> 1)
	|| metrics.one('machine_load15', 'gauge', 'Load of fifteen minutes.', d -> 'load' ->> 2)
	|| metrics.one('machine_memory_size_bytes', 'gauge', 'Memory of the machine.', d -> 'memory' ->> 'total_bytes')
	|| metrics.one('machine_memory_available_bytes', 'gauge', 'Memory that programs can have without swapping.', d -> 'memory' ->> 'available_bytes')
	|| metrics.one('machine_swap_size_bytes', 'gauge', 'Swap space.', d -> 'swap' ->> 'total_bytes')
	|| metrics.one('machine_swap_used_bytes', 'gauge', 'Swap space in use.', d -> 'swap' ->> 'used_bytes')
	|| metrics.one('filesystem_used_ratio_max', 'gauge', 'Share of space in use on the file system that is fullest.',
		metrics.ratio((SELECT max((x ->> 'used_pct')::numeric)::text FROM jsonb_array_elements(d -> 'disks') x)))
	|| metrics.one('filesystem_inodes_used_ratio_max', 'gauge', 'Share of inodes in use on the file system that has the fewest left.',
		metrics.ratio((SELECT max((x ->> 'inodes_used_pct')::numeric)::text FROM jsonb_array_elements(d -> 'disks') x)))
	|| metrics.family('filesystem_size_bytes', 'gauge', 'Size of one of the system''s file systems.',
		ARRAY(SELECT format('{mount=%s} %s', x -> 'mount', x ->> 'total_bytes') FROM jsonb_array_elements(v_disks) x))
	|| metrics.family('filesystem_available_bytes', 'gauge', 'What is left of it.',
		ARRAY(SELECT format('{mount=%s} %s', x -> 'mount', x ->> 'available_bytes') FROM jsonb_array_elements(v_disks) x))
	|| metrics.one('network_received_bytes_total', 'counter', 'What came over all interfaces.', (SELECT sum((x ->> 'received_bytes')::numeric)::text FROM jsonb_array_elements(d -> 'network') x))
	|| metrics.one('network_sent_bytes_total', 'counter', 'What went over all interfaces.', (SELECT sum((x ->> 'sent_bytes')::numeric)::text FROM jsonb_array_elements(d -> 'network') x))
	|| metrics.one('network_errors_total', 'counter', 'Errors of all interfaces.', (SELECT sum((x ->> 'errors')::numeric)::text FROM jsonb_array_elements(d -> 'network') x))
	|| metrics.family('service_up', 'gauge', 'Whether a service of the machine is active.',
		ARRAY(SELECT format('{service=%s} %s', to_jsonb(s.name), (s.state IN ('active', 'reloading'))::int) FROM postern.services s WHERE s.kind = 'system' ORDER BY s.name))
	|| metrics.family('service_memory_bytes', 'gauge', 'Memory that a service uses.',
		ARRAY(SELECT format('{service=%s} %s', to_jsonb(s.name), s.memory_bytes) FROM postern.services s WHERE s.kind = 'system' AND s.memory_bytes IS NOT NULL ORDER BY s.name))
	|| metrics.family('service_cpu_seconds_total', 'counter', 'CPU time that a service has used since it was started.',
		ARRAY(SELECT format('{service=%s} %s', to_jsonb(s.name), (s.cpu_ms / 1000.0)::numeric(20, 3)) FROM postern.services s WHERE s.kind = 'system' AND s.cpu_ms IS NOT NULL ORDER BY s.name))
	|| metrics.one('postgresql_connections', 'gauge', 'Connections of PostgreSQL in use.', p ->> 'connections')
	|| metrics.one('postgresql_connections_limit', 'gauge', 'Connections that PostgreSQL has for all but superusers.', p ->> 'connections_max')
	|| metrics.one('postgresql_oldest_transaction_seconds', 'gauge', 'Age of the oldest open transaction.', p ->> 'oldest_transaction_s')
	|| metrics.one('postgresql_database_size_bytes', 'gauge', 'Size of the own database.', p ->> 'own_database_bytes')
	|| metrics.one('postgresql_databases_size_bytes', 'gauge', 'Size of all databases of the server.', p ->> 'databases_bytes')
	|| metrics.one('postgresql_replicas', 'gauge', 'Replicas that are connected.', jsonb_array_length(p -> 'replicas')::text)
	|| metrics.one('postgresql_replication_lag_seconds', 'gauge', 'How far the last replica, or this server as one, is behind.',
		(SELECT coalesce(max((x ->> 'behind_s')::bigint), (p ->> 'behind_s')::bigint)::text FROM jsonb_array_elements(p -> 'replicas') x))
	|| metrics.family('jobs', 'gauge', 'Jobs by state.', ARRAY['{status="queued"} ' || (j ->> 'queued'), '{status="running"} ' || (j ->> 'running')])
	|| metrics.one('jobs_oldest_due_seconds', 'gauge', 'How long the oldest job that is due has waited.', j ->> 'oldest_due_s')
	|| metrics.one('feed_delay_seconds', 'gauge', 'How long the oldest event that is not in the feed yet has waited.', d -> 'feed' ->> 'delay_s')
	|| metrics.one('jobs_failed_last_day', 'gauge', 'Jobs of the last 24 hours that failed.', j ->> 'failed_last_day')
	|| metrics.one('certificates', 'gauge', 'Certificates in use.', d -> 'certificates' ->> 'total')
	|| metrics.one('certificates_expiring', 'gauge', 'Certificates that expire within certificate_warning_days, or have.', coalesce(d -> 'certificates' ->> 'expiring', '0'))
	|| metrics.one('certificates_expired', 'gauge', 'Certificates that have expired.', coalesce(d -> 'certificates' ->> 'expired', '0'))
	|| metrics.one('accounts', 'gauge', 'Active accounts.', d -> 'backups' ->> 'accounts')
	|| metrics.one('accounts_without_backup', 'gauge', 'Active accounts that have no good backup.', d -> 'backups' ->> 'without')
	|| metrics.one('accounts_backup_overdue', 'gauge', 'Active accounts whose last good backup is older than backup_warning_h.', d -> 'backups' ->> 'behind')
	|| metrics.one('backup_age_seconds_max', 'gauge', 'Age of the oldest of all last good backups.', d -> 'backups' ->> 'oldest_s')
	|| metrics.family('requests_total', 'counter', 'Requests with a token, by resource and class of status, as the audit trail has them.',
		ARRAY(SELECT format('{resource=%s,class="%sxx"} %s', to_jsonb(r.resource), r.class, r.count) FROM postern.request_counts r ORDER BY r.resource, r.class));
	RETURN v;
END $$;
CREATE FUNCTION metrics.show(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT to_jsonb(metrics.text()) $$;
-- For the addresses of the setting metrics_addresses.
CREATE FUNCTION metrics.open() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT to_jsonb(metrics.text()) $$;

RESET ROLE;
ALTER FUNCTION metrics.count_requests() OWNER TO postern_gate;
ALTER FUNCTION metrics.open() OWNER TO postern_operator;
