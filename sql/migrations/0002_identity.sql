-- Accounts (the tenants), users (who log in), roles, tokens.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.account_seq;
CREATE TABLE postern.accounts (
	id            bigint PRIMARY KEY DEFAULT nextval('postern.account_seq') CHECK (id > 0),
	name          text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 200),
	username      text NOT NULL CONSTRAINT account_username UNIQUE,
	email         text,
	home          text NOT NULL,
	max_domains   int CHECK (max_domains >= 0),     -- null: no limit
	max_mailboxes int CHECK (max_mailboxes >= 0),
	max_databases int CHECK (max_databases >= 0),
	max_disk_mb   bigint CHECK (max_disk_mb >= 0),
	status        text NOT NULL DEFAULT 'active' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error    text,
	managed       boolean NOT NULL DEFAULT true,
	version       int NOT NULL DEFAULT 1,
	created_at    timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at    timestamptz NOT NULL DEFAULT postern.clock()
);
SELECT postern.wall('postern.accounts', 'id', 'SELECT, UPDATE');
GRANT USAGE ON SEQUENCE postern.account_seq TO postern_operator;

CREATE SEQUENCE postern.role_seq;
CREATE TABLE postern.roles (
	id          bigint PRIMARY KEY DEFAULT nextval('postern.role_seq'),
	name        text NOT NULL CONSTRAINT role_name UNIQUE,
	base        text NOT NULL DEFAULT 'customer' CHECK (base IN ('viewer', 'customer', 'admin')),
	rank        int GENERATED ALWAYS AS (CASE base WHEN 'viewer' THEN 1 WHEN 'customer' THEN 2 WHEN 'admin' THEN 3 END) STORED,
	description text,
	scopes      text[] NOT NULL,
	built_in    boolean NOT NULL DEFAULT false,
	version     int NOT NULL DEFAULT 1,
	created_at  timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at  timestamptz NOT NULL DEFAULT postern.clock()
);
INSERT INTO postern.roles (name, base, description, scopes, built_in) VALUES
	('viewer', 'viewer', 'Reads the own account', '{}', true),
	('customer', 'customer', 'Reads, changes and deletes in the own account', '{}', true),
	('admin', 'admin', 'Everything', '{*}', true);
-- Roles belong to the installation; tenants may read them, as a token's `role` names one.
ALTER TABLE postern.roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON postern.roles FOR SELECT TO postern_tenant USING (true);
CREATE POLICY operator ON postern.roles TO postern_operator USING (true);
CREATE POLICY gate ON postern.roles TO postern_gate USING (true);
GRANT SELECT ON postern.roles TO postern_tenant, postern_gate;
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.roles TO postern_operator;
GRANT USAGE ON SEQUENCE postern.role_seq TO postern_operator;

-- The scopes there are, from the route tables (`postern migrate` writes them).
CREATE TABLE postern.scopes (
	scope    text PRIMARY KEY,
	resource text NOT NULL,
	rank     int NOT NULL,                          -- the least role that has a use for it
	no_wild  boolean NOT NULL DEFAULT false         -- implied by an administrator's * only
);
GRANT SELECT ON postern.scopes TO postern_tenant, postern_operator, postern_gate;

CREATE SEQUENCE postern.user_seq;
CREATE TABLE postern.users (
	account_id bigint NOT NULL DEFAULT 0,           -- 0: none
	id         bigint NOT NULL DEFAULT nextval('postern.user_seq'),
	username   text NOT NULL CONSTRAINT user_username UNIQUE,
	email      text,
	role       text NOT NULL DEFAULT 'customer' CONSTRAINT user_role REFERENCES postern.roles (name) ON UPDATE CASCADE,
	status     text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
	version    int NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX user_id ON postern.users (id);
CREATE INDEX user_by_role ON postern.users (role);
SELECT postern.wall('postern.users');
GRANT USAGE ON SEQUENCE postern.user_seq TO postern_tenant, postern_operator;

CREATE TABLE postern.tokens (
	account_id   bigint NOT NULL DEFAULT 0,         -- the account it is bound to; 0: none
	id           uuid NOT NULL DEFAULT gen_random_uuid(),
	user_id      bigint NOT NULL REFERENCES postern.users (id),
	name         text NOT NULL,
	role         text CONSTRAINT token_role REFERENCES postern.roles (name) ON UPDATE CASCADE,
	scopes       text[] NOT NULL,
	deny         text[] NOT NULL DEFAULT '{}',
	allowed_ips  cidr[] NOT NULL DEFAULT '{}',
	rate_limit   int NOT NULL DEFAULT 60 CHECK (rate_limit BETWEEN 1 AND 10000000),
	action_limit int NOT NULL DEFAULT 10 CHECK (action_limit BETWEEN 1 AND 10000000),
	expires_at   timestamptz,
	revoked_at   timestamptz,
	parent_id    uuid,
	version      int NOT NULL DEFAULT 1,
	created_at   timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at   timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX token_id ON postern.tokens (id);
CREATE UNIQUE INDEX token_name ON postern.tokens (user_id, name);
CREATE INDEX token_by_parent ON postern.tokens (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX token_by_role ON postern.tokens (role) WHERE role IS NOT NULL;
SELECT postern.wall('postern.tokens');
GRANT SELECT ON postern.tokens TO postern_gate;

-- One or two keys a token (two during a rotation's grace). Tenants and operators may add and drop keys, never read or replace digests.
CREATE TABLE postern.keys (
	key_id     text PRIMARY KEY,
	token_id   uuid NOT NULL,
	account_id bigint NOT NULL,
	digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
	pepper_id  text NOT NULL,
	expires_at timestamptz,                         -- set on the old key when a token is rotated
	created_at timestamptz NOT NULL DEFAULT postern.clock(),
	FOREIGN KEY (account_id, token_id) REFERENCES postern.tokens (account_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX key_by_token ON postern.keys (token_id);
SELECT postern.wall('postern.keys', 'account_id', 'INSERT, DELETE');
REVOKE SELECT, UPDATE ON postern.keys FROM postern_tenant, postern_operator;
GRANT SELECT (key_id, token_id, account_id, expires_at, created_at), UPDATE (expires_at) ON postern.keys
	TO postern_tenant, postern_operator;

-- The rate counts, one row a token: updated in place by every admission.
CREATE TABLE postern.rates (
	token_id            uuid PRIMARY KEY,
	account_id          bigint NOT NULL,
	window_start        timestamptz NOT NULL DEFAULT '-infinity',
	used                int NOT NULL DEFAULT 0,
	action_window_start timestamptz NOT NULL DEFAULT '-infinity',
	action_used         int NOT NULL DEFAULT 0,
	last_used_at        timestamptz,
	last_used_ip        inet,
	FOREIGN KEY (account_id, token_id) REFERENCES postern.tokens (account_id, id) ON DELETE CASCADE ON UPDATE CASCADE
) WITH (fillfactor = 50);
SELECT postern.wall('postern.rates', 'account_id', 'SELECT, INSERT');
GRANT UPDATE ON postern.rates TO postern_gate;

-- Refused requests of a window, per token and reason: the first has its row in the trail, the rest are counted here.
-- Unlogged: a flood of refusals costs no disk; a crash forgets the count, never the first row.
CREATE UNLOGGED TABLE postern.refusals (
	token_id     uuid NOT NULL,
	reason       text NOT NULL,
	account_id   bigint NOT NULL,
	token_name   text NOT NULL,
	user_id      bigint NOT NULL,
	username     text NOT NULL,
	window_start timestamptz NOT NULL,
	count        bigint NOT NULL,
	PRIMARY KEY (token_id, reason)
) WITH (fillfactor = 50);
ALTER TABLE postern.refusals ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.refusals FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON postern.refusals TO postern_gate USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.refusals TO postern_gate;

RESET ROLE;
