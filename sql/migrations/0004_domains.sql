-- Domains: names that accounts serve.
SET LOCAL ROLE postern_owner;

-- A name belongs to one account of the whole installation. Tenants claim names without seeing whose the others are.
CREATE TABLE postern.domain_names (
	domain     text PRIMARY KEY,
	account_id bigint NOT NULL
);
SELECT postern.wall('postern.domain_names', 'account_id', 'SELECT, INSERT, DELETE');

CREATE SEQUENCE postern.domain_seq;
CREATE TABLE postern.domains (
	account_id    bigint NOT NULL REFERENCES postern.accounts (id),
	id            bigint NOT NULL DEFAULT nextval('postern.domain_seq'),
	domain        text NOT NULL CHECK (octet_length(domain) <= 253 AND domain = lower(domain)),
	type          text NOT NULL CHECK (type IN ('primary', 'addon', 'subdomain', 'alias')),
	document_root text NOT NULL,
	ssl_status    text NOT NULL DEFAULT 'none'
	              CHECK (ssl_status IN ('none', 'pending', 'active', 'expiring', 'expired', 'error')),
	status        text NOT NULL DEFAULT 'active' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error    text,
	mail_enabled  boolean NOT NULL DEFAULT true,
	managed       boolean NOT NULL DEFAULT true,
	version       int NOT NULL DEFAULT 1,
	created_at    timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at    timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX domain_id ON postern.domains (id);
CREATE UNIQUE INDEX domain_name ON postern.domains (domain);
CREATE UNIQUE INDEX domain_primary ON postern.domains (account_id) WHERE type = 'primary';
SELECT postern.wall('postern.domains');
GRANT USAGE ON SEQUENCE postern.domain_seq TO postern_tenant, postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('domains', 'postern.domains', 'domain');
