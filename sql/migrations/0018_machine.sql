-- The machine: what posternd sees of it and its services.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.service_seq;
CREATE TABLE postern.services (
	account_id      bigint NOT NULL DEFAULT 0,
	id              bigint NOT NULL DEFAULT nextval('postern.service_seq'),
	kind            text NOT NULL CHECK (kind IN ('system', 'app')), -- app: an account's own, not yet made by anything
	name            text NOT NULL,
	description     text,
	state           text NOT NULL CHECK (state IN ('active', 'reloading', 'activating', 'deactivating', 'inactive', 'failed', 'not_found', 'unknown')),
	since           timestamptz,
	pid             int,
	memory_bytes    bigint,
	cpu_ms          bigint,
	enabled         boolean,
	program_version text,
	problem         text,                          -- seen at the last look
	job_error       text,                          -- of the last job
	job_id          uuid,
	version         int NOT NULL DEFAULT 1,
	created_at      timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at      timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX service_id ON postern.services (id);
CREATE UNIQUE INDEX service_name ON postern.services (name);
SELECT postern.wall('postern.services');
GRANT USAGE ON SEQUENCE postern.service_seq TO postern_tenant, postern_operator;

-- What a worker last said: that it is there, how its machine is, and by which settings that is judged.
CREATE TABLE postern.machines (
	name     text PRIMARY KEY,
	said_at  timestamptz NOT NULL,
	limits   jsonb NOT NULL,
	facts    jsonb,                                -- null: no look was finished yet
	facts_at timestamptz
) WITH (fillfactor = 50);
GRANT SELECT ON postern.machines TO postern_gate;
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.machines TO postern_operator;
-- The sizes of databases take a while to find out.
CREATE TABLE postern.database_sizes (
	name  text PRIMARY KEY,
	bytes bigint NOT NULL,
	at    timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.database_sizes TO postern_operator;

RESET ROLE;

-- Sees what all sessions of the server do, for the few functions that count them.
DO $$ BEGIN
	CREATE ROLE postern_monitor NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
	NULL; -- roles belong to the whole cluster
END $$;
GRANT pg_read_all_stats TO postern_monitor;

INSERT INTO postern.endpoints VALUES ('services', 'postern.services', 'name'), ('server-health', NULL, NULL);
