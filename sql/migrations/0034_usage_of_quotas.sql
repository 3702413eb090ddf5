-- Usage tells of more of what a plan limits: how many of each there were when it was measured.
SET LOCAL ROLE postern_owner;

ALTER TABLE postern.usage
	ADD COLUMN forwarders int NOT NULL DEFAULT 0,
	ADD COLUMN backups    int NOT NULL DEFAULT 0,
	ADD COLUMN users      int NOT NULL DEFAULT 0,
	ADD COLUMN tokens     int NOT NULL DEFAULT 0;

RESET ROLE;
