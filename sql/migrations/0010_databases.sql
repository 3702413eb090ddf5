-- Databases of accounts, on the PostgreSQL and the MariaDB server that the settings name.
SET LOCAL ROLE postern_owner;

-- What is taken on a server, and by whom. Tenants claim names without seeing whose the others are.
CREATE TABLE postern.database_names (
	engine     text NOT NULL,
	what       text NOT NULL CHECK (what IN ('database', 'user')),
	name       text NOT NULL,
	account_id bigint NOT NULL,
	PRIMARY KEY (engine, what, name)
);
SELECT postern.wall('postern.database_names', 'account_id', 'SELECT, INSERT, DELETE');

CREATE SEQUENCE postern.database_seq;
CREATE TABLE postern.databases (
	account_id bigint NOT NULL REFERENCES postern.accounts (id),
	id         bigint NOT NULL DEFAULT nextval('postern.database_seq'),
	engine     text NOT NULL CHECK (engine IN ('postgresql', 'mariadb')),
	name       text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 63),
	username   text NOT NULL CHECK (octet_length(username) BETWEEN 1 AND 63),
	charset    text NOT NULL,
	verifier   text NOT NULL,                       -- what the server keeps of the password
	marker     uuid NOT NULL DEFAULT gen_random_uuid(), -- by which it is known on the server
	suspended  boolean NOT NULL DEFAULT false,      -- by itself; its account may be, too
	size_bytes bigint NOT NULL DEFAULT 0,
	status     text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error text,
	job_id     uuid,
	version    int NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX database_id ON postern.databases (id);
CREATE UNIQUE INDEX database_name ON postern.databases (engine, name);
CREATE UNIQUE INDEX database_user ON postern.databases (engine, username);
CREATE UNIQUE INDEX database_marker ON postern.databases (marker);
SELECT postern.wall('postern.databases', 'account_id', 'INSERT, UPDATE, DELETE');
-- a tenant's functions change the verifier, but do not read it
GRANT SELECT (account_id, id, engine, name, username, charset, suspended, size_bytes, status, last_error, job_id, version, created_at, updated_at)
	ON postern.databases TO postern_tenant;
GRANT USAGE ON SEQUENCE postern.database_seq TO postern_tenant, postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('databases', 'postern.databases', NULL);
