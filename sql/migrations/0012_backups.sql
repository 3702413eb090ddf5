-- Backups: what was kept of an account at some time, and for how long such are kept.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.backup_seq;
CREATE TABLE postern.backups (
	account_id  bigint NOT NULL REFERENCES postern.accounts (id),
	id          bigint NOT NULL DEFAULT nextval('postern.backup_seq'),
	kind        text NOT NULL CHECK (kind IN ('full', 'files', 'databases', 'mail')),
	status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'deleting', 'error')),
	last_error  text,
	parts       jsonb,                     -- what it is made of, each a snapshot of the engine; null: it was never finished
	size_bytes  bigint,
	note        text,
	keep        boolean NOT NULL DEFAULT false,
	job_id      uuid,
	started_at  timestamptz,
	finished_at timestamptz,
	verified_at timestamptz,
	version     int NOT NULL DEFAULT 1,
	created_at  timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at  timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id),
	CHECK (status <> 'active' OR parts IS NOT NULL)
);
CREATE UNIQUE INDEX backup_id ON postern.backups (id);
CREATE INDEX backup_by_age ON postern.backups (account_id, kind, finished_at) WHERE status = 'active';
SELECT postern.wall('postern.backups');
GRANT USAGE ON SEQUENCE postern.backup_seq TO postern_tenant, postern_operator;

-- How many an account keeps of each kind; null: the setting backup_keep_last, and none for longer.
ALTER TABLE postern.accounts
	ADD COLUMN backup_keep_last    int CHECK (backup_keep_last BETWEEN 1 AND 1000),
	ADD COLUMN backup_keep_daily   int CHECK (backup_keep_daily BETWEEN 0 AND 1000),
	ADD COLUMN backup_keep_weekly  int CHECK (backup_keep_weekly BETWEEN 0 AND 1000),
	ADD COLUMN backup_keep_monthly int CHECK (backup_keep_monthly BETWEEN 0 AND 1000);

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('backups', 'postern.backups', NULL);
