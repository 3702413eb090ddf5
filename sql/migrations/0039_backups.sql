-- Backups outlive their account, and one that lacks a part is a backup.
SET LOCAL ROLE postern_owner;

-- Those of an account that is gone keep its number, which no other will have, and its user name, by which an administrator finds them.
ALTER TABLE postern.backups
	DROP CONSTRAINT backups_account_id_fkey,
	DROP CONSTRAINT backups_status_check,
	ADD CONSTRAINT backups_status_check CHECK (status IN ('pending', 'active', 'partial', 'deleting', 'error')),
	ADD COLUMN deleted_account    text,
	ADD COLUMN account_deleted_at timestamptz,
	ADD COLUMN missing            jsonb, -- what could not be kept, or would not come back by itself; null: nothing
	ADD CHECK ((deleted_account IS NULL) = (account_deleted_at IS NULL)),
	ADD CHECK (status <> 'partial' OR parts IS NOT NULL);
CREATE INDEX backup_of_deleted ON postern.backups (deleted_account) WHERE deleted_account IS NOT NULL;
DROP INDEX postern.backup_by_age;
CREATE INDEX backup_by_age ON postern.backups (account_id, kind, finished_at) WHERE status IN ('active', 'partial');

RESET ROLE;
