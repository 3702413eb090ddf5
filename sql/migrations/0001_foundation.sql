-- Roles, schemas and the few functions that tables and policies depend on. Everything else in SQL is rebuilt by every
-- `postern migrate` from sql/functions; what stands here is permanent.
--
--   postern_owner     owns tables and schemas; nobody logs in as it, and row-level security binds it too
--   postern_gate      runs the gate's functions: the only one to see a token's digest and to write the trail
--   postern_tenant    runs what a tenant asked for, confined to postern.account()
--   postern_operator  runs what an administrator without an account asked for
--   postern_<binary>, postern_cli   log in; may only EXECUTE what they are granted
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator'] LOOP
		BEGIN
			EXECUTE format('CREATE ROLE %I NOLOGIN', r);
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			NULL; -- roles belong to the whole cluster: another database may have made it
		END;
	END LOOP;
	BEGIN
		CREATE ROLE postern_cli LOGIN;
	EXCEPTION WHEN duplicate_object OR unique_violation THEN
		NULL;
	END;
	EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
	EXECUTE format('GRANT CONNECT ON DATABASE %I TO postern_cli', current_database());
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA postern AUTHORIZATION postern_owner;
GRANT USAGE ON SCHEMA postern TO postern_gate, postern_tenant, postern_operator;
GRANT USAGE ON SCHEMA postern TO postern_cli;

SET LOCAL ROLE postern_owner;

ALTER DEFAULT PRIVILEGES FOR ROLE postern_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The one clock that judges expiry and windows and stamps the trail. Only a test database replaces it.
CREATE FUNCTION postern.clock() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE AS 'SELECT pg_catalog.clock_timestamp()';

-- The tenant whose rows the current function may see; set by the gate from the admitted token's row.
CREATE FUNCTION postern.account() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT nullif(pg_catalog.current_setting('postern.account_id', true), '')::bigint $$;

GRANT EXECUTE ON FUNCTION postern.clock(), postern.account() TO postern_gate, postern_tenant, postern_operator;

-- Who is asking, as the gate found out. Operations get it; none of it comes from the request but ip and request_id.
CREATE TYPE postern.caller AS (
	kind         text,        -- token, system
	token_id     uuid,
	token_name   text,
	key_id       text,
	user_id      bigint,
	username     text,
	account_id   bigint,      -- 0: none (an unbound administrator: all)
	rank         int,         -- 1 viewer, 2 customer, 3 administrator
	scopes       text[],      -- of the token
	role_scopes  text[],      -- of the owner's present role
	deny         text[],
	allowed_ips  cidr[],
	rate_limit   int,
	action_limit int,
	expires_at   timestamptz,
	ip           inet,
	request_id   uuid
);

-- What an operation did.
CREATE TYPE postern.done AS (
	id  text,                 -- of the object made or changed; its row is the answer
	doc jsonb                 -- or a document
);

-- The endpoints that sql/functions/endpoint.sql builds: a migration that adds a resource inserts its row here.
CREATE TABLE postern.endpoints (
	name       text PRIMARY KEY,  -- schema and binary
	base_table regclass,          -- the table behind its view, or null
	key_column text               -- a unique column that serves as id too
);
GRANT SELECT ON postern.endpoints TO postern_gate;

-- The wall around a table whose rows belong to accounts. `tenant` names the column; the privileges are the tenant's.
CREATE FUNCTION postern.wall(t regclass, tenant name DEFAULT 'account_id',
                             privileges text DEFAULT 'SELECT, INSERT, UPDATE, DELETE') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
	EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
	EXECUTE format('CREATE POLICY tenant ON %s TO postern_tenant USING (%I = postern.account())', t, tenant);
	EXECUTE format('CREATE POLICY operator ON %s TO postern_operator USING (true)', t);
	EXECUTE format('CREATE POLICY gate ON %s TO postern_gate USING (true)', t);
	EXECUTE format('GRANT %s ON %s TO postern_tenant', privileges, t);
	EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO postern_operator', t);
	EXECUTE format('GRANT SELECT ON %s TO postern_gate', t);
END $$;

RESET ROLE;
