-- release-audit: what of the database is not as this release made it. Files and programs are looked at by lib/release.c.
DROP SCHEMA IF EXISTS "release-audit" CASCADE;
CREATE SCHEMA "release-audit" AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- What each role may do, against what sql/functions gives it; for `postern doctor` too. Asked by effect (has_..._privilege), so
-- that what comes by PUBLIC, membership or ownership counts as well. Where an endpoint's role forbids itself plans that are
-- wrong for single rows, these are the right ones.
CREATE FUNCTION "release-audit".grants(p_prefix text) RETURNS TABLE (role text, kind text, what text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_hashjoin = on SET enable_seqscan = on AS $$
	WITH login AS (
	 SELECT e.name, p_prefix || e.name AS role FROM postern.endpoints e UNION ALL SELECT NULL, p_prefix || 'cli'
	 UNION ALL SELECT '', p_prefix || 'worker'
	), present AS (
	 SELECT l.name, l.role, r.oid, r.rolsuper, r.rolcanlogin, concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
	  CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
	  CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END) AS powers
	 FROM login l LEFT JOIN pg_catalog.pg_roles r ON r.rolname = l.role
	), ours AS (
	 SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
	), own AS MATERIALIZED (
	 SELECT n.oid, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
	 WHERE n.nspname IN ('postern', 'gate', 'work', 'seals', 'mail', 'postern_schema') OR n.nspname IN (SELECT name FROM postern.endpoints)
	), rel AS MATERIALIZED ( -- before privileges are asked for, which costs more than finding what to ask about
	 SELECT t.oid, t.relkind FROM pg_catalog.pg_class t JOIN ours n ON n.oid = t.relnamespace
	), fn AS MATERIALIZED (
	 SELECT p.oid, n.nspname, p.proname, n.oid AS nsp FROM pg_catalog.pg_proc p JOIN ours n ON n.oid = p.pronamespace
	), due AS (
	 SELECT p.role, p.oid AS roleid, f.oid FROM present p JOIN fn f ON
	  (p.name <> '' AND (f.nspname = p.name AND f.proname IN ('serve', 'write', 'outcome', 'export', 'learn', 'open')
	    OR f.nspname = 'gate' AND f.proname IN ('settings_held', 'compatible_from', 'settle', 'record', 'keep')))
	  OR (p.name = '' AND (f.nspname = 'work' AND f.proname IN ('take', 'beat', 'step', 'finish', 'recover', 'sequence', 'keep_house', 'seen')
	    OR f.nspname = 'gate' AND f.proname IN ('settings_held', 'compatible_from', 'settle')
	    OR f.nspname = 'cron' AND f.proname IN ('note_run', 'tick')
	    OR f.nspname = 'plugins' AND f.proname = 'deliver'
	    OR f.nspname = 'seals' AND f.proname IN ('last', 'unsealed', 'add', 'add_checkpoint', 'read_checkpoints', 'drop_months', 'elect')))
	  OR (p.name IS NULL AND (f.nspname IN (SELECT name FROM postern.endpoints) AND f.proname IN ('local_read', 'local_write', 'local_export')
	    OR f.nspname = 'seals' AND f.proname IN ('read_rows', 'read_seals', 'read_checkpoints', 'last', 'add_checkpoint')
	    OR f.nspname = 'gate' AND f.proname IN ('settings_held', 'compatible_from')))
	), can AS (
	 SELECT p.role, f.oid FROM present p JOIN fn f ON pg_catalog.has_function_privilege(p.oid, f.oid, 'EXECUTE')
	  AND pg_catalog.has_schema_privilege(p.oid, f.nsp, 'USAGE') WHERE NOT p.rolsuper
	), wrong AS (
	 SELECT role, 'missing' AS kind, 'the role itself' AS what FROM present WHERE oid IS NULL
	 UNION ALL SELECT role, 'missing', 'LOGIN' FROM present WHERE NOT rolcanlogin
	 UNION ALL SELECT role, 'missing', 'CONNECT to this database' FROM present
	  WHERE NOT pg_catalog.has_database_privilege(oid, pg_catalog.current_database(), 'CONNECT')
	 UNION ALL SELECT d.role, 'missing', 'EXECUTE on ' || d.oid::regprocedure FROM (SELECT role, oid FROM due EXCEPT SELECT role, oid FROM can) d JOIN present p ON p.role = d.role
	  WHERE NOT p.rolsuper
	 UNION ALL SELECT p.role, 'missing', 'function ' || p.name || '.' || x.fn FROM present p,
	  (VALUES ('serve'), ('write'), ('outcome')) x (fn) WHERE p.name <> ''
	  AND NOT EXISTS (SELECT FROM fn f WHERE f.nspname = p.name AND f.proname = x.fn)
	 UNION ALL SELECT role, 'excess', powers FROM present WHERE powers <> ''
	 UNION ALL SELECT p.role, 'excess', 'membership of ' || m.roleid::regrole FROM present p
	  JOIN pg_catalog.pg_auth_members m ON m.member = p.oid
	 UNION ALL SELECT c.role, 'excess', 'EXECUTE on ' || c.oid::regprocedure
	  FROM (SELECT role, oid FROM can EXCEPT SELECT role, oid FROM due) c
	 UNION ALL SELECT p.role, 'excess', 'CREATE in schema ' || n.nspname FROM present p JOIN ours n
	  ON pg_catalog.has_schema_privilege(p.oid, n.oid, 'CREATE') WHERE NOT p.rolsuper
	 UNION ALL SELECT p.role, 'excess', 'privileges on ' || t.oid::regclass FROM present p
	  JOIN rel t ON t.relkind IN ('r', 'p', 'v', 'm', 'f')
	  AND (pg_catalog.has_table_privilege(p.oid, t.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
	   OR pg_catalog.has_any_column_privilege(p.oid, t.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
	  WHERE NOT p.rolsuper
	 UNION ALL SELECT p.role, 'excess', 'privileges on ' || t.oid::regclass FROM present p
	  JOIN rel t ON t.relkind = 'S' AND pg_catalog.has_sequence_privilege(p.oid, t.oid, 'USAGE, SELECT, UPDATE')
	  WHERE NOT p.rolsuper
	 -- The wall itself: whom row-level security binds, where it stands, and that the trail only grows.
	 UNION ALL SELECT r.rolname, 'excess', concat_ws(', ', CASE WHEN r.rolcanlogin THEN 'LOGIN' END,
	   CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END)
	  FROM pg_catalog.pg_roles r WHERE r.rolname IN ('postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator', 'postern_monitor')
	  AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls)
	 UNION ALL SELECT r.rolname, 'excess', 'UPDATE, DELETE or TRUNCATE on postern.audit' FROM pg_catalog.pg_roles r
	  WHERE r.rolname IN ('postern_gate', 'postern_tenant', 'postern_operator') AND NOT r.rolsuper
	  AND pg_catalog.has_table_privilege(r.oid, 'postern.audit', 'UPDATE, DELETE, TRUNCATE')
	 UNION ALL SELECT 'table ' || t.oid::regclass, 'missing', 'enabled and forced row-level security' FROM pg_catalog.pg_class t
	  WHERE EXISTS (SELECT FROM pg_catalog.pg_policy y WHERE y.polrelid = t.oid)
	  AND t.relnamespace = 'postern'::regnamespace AND NOT (t.relrowsecurity AND t.relforcerowsecurity)
	 -- Whoever else was let in: PUBLIC, or a role that is none of ours.
	 UNION ALL SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END, 'excess', x.privilege_type || ' on '
	   || CASE x.kind WHEN 'n' THEN 'schema ' || x.oid::regnamespace WHEN 'f' THEN x.oid::regprocedure::text
	      ELSE concat_ws('.', x.oid::regclass, x.attname) END
	  FROM (SELECT 'n' AS kind, n.oid, NULL::name AS attname, n.nspowner AS owner, a.* FROM own n, pg_catalog.aclexplode(n.nspacl) a
	   UNION ALL SELECT 't', t.oid, NULL, t.relowner, a.* FROM own n JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid, pg_catalog.aclexplode(t.relacl) a
	   UNION ALL SELECT 'c', t.oid, c.attname, t.relowner, a.* FROM own n JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid
	    JOIN pg_catalog.pg_attribute c ON c.attrelid = t.oid AND c.attacl IS NOT NULL, pg_catalog.aclexplode(c.attacl) a
	   UNION ALL SELECT 'f', p.oid, NULL, p.proowner, a.* FROM own n JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid,
	    pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a) x
	  WHERE x.grantee <> x.owner AND x.grantee NOT IN (SELECT p.oid FROM present p WHERE p.oid IS NOT NULL)
	  AND x.grantee NOT IN (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname IN ('postern_owner', 'postern_gate', 'postern_tenant',
	   'postern_operator', 'postern_mail', 'postern_quota'))
	 UNION ALL SELECT r.rolname, 'excess', 'SELECT of the digests in postern.keys' FROM pg_catalog.pg_roles r
	  WHERE r.rolname IN ('postern_tenant', 'postern_operator') AND pg_catalog.has_column_privilege(r.oid, 'postern.keys', 'digest', 'SELECT')
	) SELECT role::text, kind, what FROM wrong
$$;

CREATE FUNCTION "release-audit".show(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('database', jsonb_build_object('server_version', current_setting('server_version'),
			'functions_sha256', f.sha256, 'functions_applied_at', f.applied_at),
		'migrations', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', m.number, 'name', m.name, 'sha256', m.sha256) ORDER BY m.number), '[]')
			FROM postern_schema.migrations m),
		'grants', (SELECT coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.role, g.kind, g.what), '[]')
			-- the roles' prefix is that of the one that asks
			FROM "release-audit".grants(coalesce(substring(session_user FROM '^(.*)(?:release-audit|cli)$'), 'postern_')) g))
	FROM (SELECT 1) one LEFT JOIN postern_schema.functions f ON true
$$;

RESET ROLE;
GRANT USAGE ON SCHEMA postern_schema TO postern_gate;
GRANT SELECT ON postern_schema.migrations, postern_schema.functions TO postern_gate;
GRANT EXECUTE ON FUNCTION "release-audit".grants(text) TO postern_gate;
GRANT USAGE ON SCHEMA "release-audit" TO postern_gate;
ALTER FUNCTION "release-audit".grants(text) OWNER TO postern_gate;
ALTER FUNCTION "release-audit".show(postern.caller, jsonb) OWNER TO postern_gate;
