-- What takes no scope, and what answers without a token, too; other names of resources; the scopes as a list that all may read.
SET LOCAL ROLE postern_owner;

ALTER TABLE postern.operations
	ADD COLUMN open  boolean NOT NULL DEFAULT false,       -- it answers without a token, too
	ADD COLUMN about text;                                 -- what it does, in a line
ALTER TABLE postern.scopes
	ADD COLUMN about      text NOT NULL DEFAULT '',        -- what it opens
	ADD COLUMN updated_at timestamptz NOT NULL DEFAULT postern.clock();
ALTER TABLE postern.endpoints
	ADD COLUMN alias  text,                                -- another name of it
	ADD COLUMN one    text,                                -- what people call one of its objects
	ADD COLUMN word   text,                                -- what the trail, events and kinds of jobs call one
	ADD COLUMN shared boolean NOT NULL DEFAULT false;      -- its rows are everybody's to read
-- Where programs of accounts reach what they have: databases, and mail. Said by `postern migrate`, which knows the settings.
CREATE TABLE postern.servers (
	name text PRIMARY KEY,                                 -- postgresql, mariadb, imap, smtp
	host text NOT NULL,
	port int NOT NULL CHECK (port BETWEEN 1 AND 65535)
);
GRANT SELECT ON postern.servers TO postern_tenant, postern_operator;
GRANT INSERT, UPDATE, DELETE ON postern.servers TO postern_operator;

-- What is counted is counted when it is asked for.
ALTER TABLE postern.usage DROP COLUMN domains, DROP COLUMN mailboxes, DROP COLUMN databases, DROP COLUMN cron, DROP COLUMN forwarders,
	DROP COLUMN backups, DROP COLUMN users, DROP COLUMN tokens;

-- Bounds are in characters, as the description says.
ALTER TABLE postern.accounts DROP CONSTRAINT accounts_name_check, ADD CONSTRAINT accounts_name_check CHECK (char_length(name) BETWEEN 1 AND 200);
GRANT SELECT ON postern.endpoints TO postern_tenant, postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints (name, base_table, shared) VALUES ('scopes', 'postern.scopes', true);
