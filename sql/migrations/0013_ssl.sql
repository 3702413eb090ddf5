-- Certificates: one a domain, issued by ACME or uploaded. Keys are in files (ssl_dir), never here.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.certificate_seq;
CREATE TABLE postern.certificates (
	account_id         bigint NOT NULL,
	id                 bigint NOT NULL DEFAULT nextval('postern.certificate_seq'),
	domain_id          bigint NOT NULL,
	source             text NOT NULL CHECK (source IN ('acme', 'upload')),
	wanted             text[] NOT NULL,             -- names to be asked for
	auto_renew         boolean NOT NULL DEFAULT true,
	-- of the certificate in force; null: there is none yet
	names              text[],
	subject            text,
	issuer             text,
	serial             text,
	not_before         timestamptz,
	not_after          timestamptz,
	days_left          int,
	fingerprint_sha256 text,
	key_type           text,
	chain_state        text CHECK (chain_state IN ('valid', 'self_signed', 'incomplete', 'unknown')),
	status             text NOT NULL DEFAULT 'pending'
	                   CHECK (status IN ('none', 'pending', 'active', 'expiring', 'expired', 'error', 'deleting')),
	last_error         text,
	failures           int NOT NULL DEFAULT 0,      -- in a row
	failed_at          timestamptz,
	job_id             uuid,
	version            int NOT NULL DEFAULT 1,
	created_at         timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at         timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id),
	FOREIGN KEY (account_id, domain_id) REFERENCES postern.domains (account_id, id)
);
CREATE UNIQUE INDEX certificate_id ON postern.certificates (id);
CREATE UNIQUE INDEX certificate_domain ON postern.certificates (domain_id);
CREATE INDEX certificate_end ON postern.certificates (not_after);
SELECT postern.wall('postern.certificates');
GRANT USAGE ON SEQUENCE postern.certificate_seq TO postern_tenant, postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('ssl', 'postern.certificates', 'domain');
