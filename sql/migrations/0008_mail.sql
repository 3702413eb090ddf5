-- Mailboxes and forwarders. Postfix and Dovecot read the views of sql/functions/30_mail.sql as roles of their own:
--
--   postern_mail    may SELECT those views, nothing else
--   postern_quota   may say how full a mailbox is, nothing else
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['postern_mail', 'postern_quota'] LOOP
		BEGIN
			EXECUTE format('CREATE ROLE %I LOGIN', r);
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			NULL;
		END;
		EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), r);
		EXECUTE format('ALTER ROLE %I SET statement_timeout = ''10s''', r);
		EXECUTE format('ALTER ROLE %I SET lock_timeout = ''5s''', r);
		EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''30s''', r);
	END LOOP;
END $$;

SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.mailbox_seq;
CREATE TABLE postern.mailboxes (
	account_id bigint NOT NULL,
	id         bigint NOT NULL DEFAULT nextval('postern.mailbox_seq'),
	domain_id  bigint NOT NULL,
	address    text NOT NULL CONSTRAINT mailbox_address UNIQUE CHECK (address = lower(address) AND address LIKE '_%@_%'),
	password   text NOT NULL CHECK (password LIKE '{BLF-CRYPT}$2b$%'),   -- never a clear one
	quota_mb   int CHECK (quota_mb > 0),                              -- null: as much as the plan allows
	used_bytes bigint NOT NULL DEFAULT 0,                             -- Dovecot says it
	status     text NOT NULL DEFAULT 'active' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error text,
	version    int NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id),
	FOREIGN KEY (account_id, domain_id) REFERENCES postern.domains (account_id, id)
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX mailbox_id ON postern.mailboxes (id);
CREATE INDEX mailbox_by_domain ON postern.mailboxes (account_id, domain_id);
SELECT postern.wall('postern.mailboxes');
-- Whoever asks for mailboxes gets no password: the gate's role alone reads it, for the view that Dovecot reads.
REVOKE SELECT ON postern.mailboxes FROM postern_tenant, postern_operator;
GRANT SELECT (account_id, id, domain_id, address, quota_mb, used_bytes, status, last_error, version, created_at, updated_at)
	ON postern.mailboxes TO postern_tenant, postern_operator;
GRANT USAGE ON SEQUENCE postern.mailbox_seq TO postern_tenant, postern_operator;

CREATE SEQUENCE postern.forwarder_seq;
CREATE TABLE postern.forwarders (
	account_id   bigint NOT NULL,
	id           bigint NOT NULL DEFAULT nextval('postern.forwarder_seq'),
	domain_id    bigint NOT NULL,
	address      text NOT NULL CONSTRAINT forwarder_address UNIQUE CHECK (address = lower(address) AND address LIKE '%@_%'),
	destinations text[] NOT NULL CHECK (cardinality(destinations) BETWEEN 1 AND 50),
	status       text NOT NULL DEFAULT 'active' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error   text,
	version      int NOT NULL DEFAULT 1,
	created_at   timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at   timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id),
	FOREIGN KEY (account_id, domain_id) REFERENCES postern.domains (account_id, id)
);
CREATE UNIQUE INDEX forwarder_id ON postern.forwarders (id);
CREATE INDEX forwarder_by_domain ON postern.forwarders (account_id, domain_id);
SELECT postern.wall('postern.forwarders');
GRANT USAGE ON SEQUENCE postern.forwarder_seq TO postern_tenant, postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES
	('mailboxes', 'postern.mailboxes', 'address'),
	('forwarders', 'postern.forwarders', 'address');
