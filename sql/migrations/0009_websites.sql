-- Websites: what a web server serves for a domain, one each. Ports: where an account's own programs may be reached.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.website_seq;
CREATE TABLE postern.websites (
	account_id     bigint NOT NULL,
	id             bigint NOT NULL DEFAULT nextval('postern.website_seq'),
	domain_id      bigint NOT NULL,
	web_server     text NOT NULL CHECK (web_server IN ('nginx', 'apache')),
	document_root  text,                            -- null: the domain's
	runtime        text NOT NULL CHECK (runtime IN ('static', 'php', 'proxy')),
	php_version    text,
	proxy_target   text,
	https_redirect boolean NOT NULL DEFAULT false,
	aliases        text[] NOT NULL DEFAULT '{}',    -- each is in postern.domain_names too
	suspended      boolean NOT NULL DEFAULT false,  -- by itself; its domain and account may be, too
	status         text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error     text,
	job_id         uuid,
	version        int NOT NULL DEFAULT 1,
	created_at     timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at     timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id),
	FOREIGN KEY (account_id, domain_id) REFERENCES postern.domains (account_id, id)
);
CREATE UNIQUE INDEX website_id ON postern.websites (id);
CREATE UNIQUE INDEX website_domain ON postern.websites (domain_id);
SELECT postern.wall('postern.websites');
GRANT USAGE ON SEQUENCE postern.website_seq TO postern_tenant, postern_operator;

ALTER TABLE postern.domains ADD COLUMN job_id uuid;

CREATE TABLE postern.account_ports (
	port       int PRIMARY KEY CHECK (port BETWEEN 1024 AND 65535),
	account_id bigint NOT NULL REFERENCES postern.accounts (id)
);
CREATE INDEX account_port ON postern.account_ports (account_id);
SELECT postern.wall('postern.account_ports', 'account_id', 'SELECT');

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('websites', 'postern.websites', 'domain');
