-- Usage: what an account takes up, measured by posternd from time to time.
SET LOCAL ROLE postern_owner;

CREATE TABLE postern.usage (
	account_id      bigint PRIMARY KEY REFERENCES postern.accounts (id),
	files_bytes     bigint NOT NULL,
	mail_bytes      bigint NOT NULL,
	databases_bytes bigint NOT NULL,
	backups_bytes   bigint NOT NULL,
	domains         int NOT NULL,
	mailboxes       int NOT NULL,
	databases       int NOT NULL,
	cron            int NOT NULL,
	transfer        jsonb,   -- {"2026-11": {"requests", "bytes"}}; null: no logs are read
	logs            jsonb,   -- how far they were read, as the action says
	computed_at     timestamptz NOT NULL,
	version         int NOT NULL DEFAULT 1
);
SELECT postern.wall('postern.usage', 'account_id', 'SELECT');

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('usage', 'postern.accounts', 'account');
