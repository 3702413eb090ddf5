-- Quotas: what an account's plan allows, so that nothing of one account's making is without bound.
SET LOCAL ROLE postern_owner;

-- These have a preset, too; null stays an administrator's word for "no limit".
ALTER TABLE postern.accounts
	ALTER COLUMN max_domains SET DEFAULT 500,
	ALTER COLUMN max_mailboxes SET DEFAULT 1000,
	ALTER COLUMN max_databases SET DEFAULT 100;
ALTER TABLE postern.accounts
	ADD COLUMN max_forwarders           int NOT NULL DEFAULT 500 CHECK (max_forwarders >= 0),
	ADD COLUMN max_cron                 int NOT NULL DEFAULT 100 CHECK (max_cron >= 0),
	ADD COLUMN max_backups              int NOT NULL DEFAULT 50 CHECK (max_backups >= 0),
	ADD COLUMN max_users                int NOT NULL DEFAULT 50 CHECK (max_users >= 0),
	ADD COLUMN max_tokens               int NOT NULL DEFAULT 100 CHECK (max_tokens >= 0),
	ADD COLUMN max_jobs                 int NOT NULL DEFAULT 100 CHECK (max_jobs >= 1),
	ADD COLUMN max_certificate_orders   int NOT NULL DEFAULT 20 CHECK (max_certificate_orders >= 0),  -- within a week
	ADD COLUMN max_requests             int NOT NULL DEFAULT 6000 CHECK (max_requests >= 1),          -- a minute, of all its tokens
	ADD COLUMN max_database_connections int NOT NULL DEFAULT 20 CHECK (max_database_connections >= 1);

-- Asked for by a token of less than an administrator's rank: counted against max_jobs.
ALTER TABLE postern.jobs ADD COLUMN by_tenant boolean NOT NULL DEFAULT false;
GRANT UPDATE (by_tenant) ON postern.jobs TO postern_tenant; -- a retry asks again

-- Orders of certificates that tenants asked for. A row is dropped when it no longer counts.
CREATE TABLE postern.certificate_orders (
	account_id bigint NOT NULL,
	at         timestamptz NOT NULL DEFAULT postern.clock()
);
CREATE INDEX certificate_order_by_account ON postern.certificate_orders (account_id, at);
SELECT postern.wall('postern.certificate_orders', 'account_id', 'SELECT, INSERT, DELETE');

-- Answers that are kept for an account's requests: counted, so that they are no way to fill a disk. 0: an administrator's.
ALTER TABLE postern.kept_answers ADD COLUMN account_id bigint NOT NULL DEFAULT 0;
CREATE INDEX kept_answer_by_account ON postern.kept_answers (account_id) WHERE account_id > 0;
ALTER TABLE postern.kept_answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.kept_answers FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON postern.kept_answers TO postern_gate USING (true);

RESET ROLE;
