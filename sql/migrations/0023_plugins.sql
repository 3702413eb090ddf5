-- Plugins: what the administrator put below plugins_dir and registered; what each provides is what posternd read in its manifest.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.plugin_seq;
CREATE TABLE postern.plugins (
	id              bigint PRIMARY KEY DEFAULT nextval('postern.plugin_seq'),
	name            text NOT NULL UNIQUE,               -- of its folder
	plugin_version  text,
	description     text,
	status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'error')),
	enabled         boolean NOT NULL DEFAULT false,
	enabled_at      timestamptz,                        -- events of before are not for it
	actions         jsonb NOT NULL DEFAULT '{}',        -- kind -> what it is for, its limits, the schema of its input; or "replaces"
	kinds           text[] NOT NULL DEFAULT '{}',       -- all that posternd runs it for
	events          text[] NOT NULL DEFAULT '{}',
	settings_schema jsonb NOT NULL DEFAULT '{}',
	settings        jsonb NOT NULL DEFAULT '{}',
	secret          bytea,                              -- an object, encrypted to the worker's key
	secret_settings text[] NOT NULL DEFAULT '{}',       -- the names in it
	seen            bigint NOT NULL DEFAULT 0,          -- the last event that it was told of
	last_error      text,
	job_id          uuid,
	version         int NOT NULL DEFAULT 1,
	created_at      timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at      timestamptz NOT NULL DEFAULT postern.clock()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.plugins TO postern_operator;
GRANT USAGE ON SEQUENCE postern.plugin_seq TO postern_operator;
GRANT SELECT ON postern.event_head TO postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('plugins', 'postern.plugins', 'name');
