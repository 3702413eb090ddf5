-- health: is the installation able to serve?
DROP SCHEMA IF EXISTS health CASCADE;
CREATE SCHEMA health AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE FUNCTION health.show(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('status', CASE WHEN a.in_order THEN 'ok' ELSE 'warning' END, 'time', postern.clock(),
		'database', jsonb_build_object('status', 'ok', 'server_version', current_setting('server_version'),
			'in_recovery', pg_is_in_recovery()),
		'worker', jsonb_build_object('status', 'absent', 'message',
			'no worker yet: changes take effect in the inventory at once, nothing on the machine is changed'),
		'audit', jsonb_build_object('status', CASE WHEN a.in_order THEN 'ok' ELSE 'warning' END, 'default_partition_empty', a.in_order)
			|| CASE WHEN a.in_order THEN '{}' ELSE jsonb_build_object('message',
				'rows of the audit trail lie in its default partition, as their month had none: see that posternd runs, which makes '
				'partitions ahead, and that the clock of the database is right; then run SELECT postern.audit_rehome() as a superuser') END)
	FROM health.audit_in_order() a (in_order)
$$;
-- A row in the default partition means that a month's partition was missing.
CREATE FUNCTION health.audit_in_order() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT NOT EXISTS (SELECT FROM postern.audit_default)
$$;

RESET ROLE;
GRANT SELECT ON postern.audit_default TO postern_gate;
ALTER FUNCTION health.audit_in_order() OWNER TO postern_gate;
