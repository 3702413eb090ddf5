-- PostgreSQL knows the operations, admitted requests have tickets, tokens of one family share a minute.
SET LOCAL ROLE postern_owner;

-- What an operation takes and does, whatever the endpoint says that asks for it (`postern migrate` writes them).
ALTER TABLE postern.operations
	ADD COLUMN endpoint text NOT NULL DEFAULT '',          -- '': none, the row is a scope that SQL asks for
	ADD COLUMN grants   boolean NOT NULL DEFAULT false,    -- it gives or takes away what others may
	ADD COLUMN heavy    boolean NOT NULL DEFAULT false,    -- it counts as a heavy action, too
	ADD COLUMN does     text NOT NULL DEFAULT 'write',     -- list, get, read, export, write
	ADD COLUMN reads    text[] NOT NULL DEFAULT '{}',      -- what serve() may be asked to read for it; '': nothing
	ADD COLUMN later    boolean NOT NULL DEFAULT false,    -- its row in the trail comes in a statement of its own
	ADD COLUMN call     text NOT NULL DEFAULT '',          -- the function that does it
	ADD COLUMN on_one   boolean NOT NULL DEFAULT false,    -- it is about an object that its path names
	ADD COLUMN resource text NOT NULL DEFAULT '',          -- as the trail has it: domain
	ADD COLUMN verb     text NOT NULL DEFAULT '',          -- create
	ADD COLUMN status   int NOT NULL DEFAULT 200;          -- which it answers with when all went well
GRANT SELECT ON postern.operations TO postern_tenant, postern_operator;

-- Admitted requests whose row in the trail is still to come: a change, an export, a read whose status is known when its data was
-- read. serve() makes a ticket; write() and record() use it up, in their transaction. One that nobody used is stated by gate.settle().
CREATE SEQUENCE postern.ticket_seq CACHE 32;
CREATE TABLE postern.tickets (
	id         bigint PRIMARY KEY DEFAULT nextval('postern.ticket_seq'),
	token_id   uuid NOT NULL,
	operation  text NOT NULL,
	account_id bigint NOT NULL,                            -- as the trail has it
	at         timestamptz NOT NULL,
	request_id uuid,
	ip         inet,
	insecure   boolean NOT NULL,
	admin_path boolean NOT NULL,
	object_id  text,
	method     text,
	path       text,
	user_agent text,
	stated_at  timestamptz,                                -- when its row was written: it serves an export, or whoever waits for a job
	job_id     uuid
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE postern.tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON postern.tickets TO postern_gate USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.tickets TO postern_gate;
GRANT USAGE ON SEQUENCE postern.ticket_seq TO postern_gate;
-- An answer is kept by the transaction that claimed its key.
GRANT UPDATE (status, headers, body) ON postern.kept_answers TO postern_gate;

-- Tokens that a token minted share its minute, and so do those that these minted; an unbound administrator's do not. The family has
-- the id of the token that it began with, also when that one is gone.
ALTER TABLE postern.tokens ADD COLUMN family uuid;
CREATE INDEX token_by_family ON postern.tokens (family);
-- Counts are those of families; the row of another token says when it was last used. Besides, there is a row for each account,
-- which all its tokens share: its token_id is gate.whole(account).
ALTER TABLE postern.rates DROP CONSTRAINT rates_account_id_token_id_fkey;

RESET ROLE; -- row-level security binds the owner, too
WITH RECURSIVE line (id, family) AS (
	SELECT t.id, t.id FROM postern.tokens t
	WHERE NOT EXISTS (SELECT FROM postern.tokens p WHERE p.id = t.parent_id AND p.account_id > 0)
	UNION ALL
	SELECT t.id, l.family FROM line l JOIN postern.tokens p ON p.id = l.id AND p.account_id > 0 JOIN postern.tokens t ON t.parent_id = p.id
)
UPDATE postern.tokens t SET family = l.family FROM line l WHERE l.id = t.id;
INSERT INTO postern.rates (token_id, account_id)
SELECT ('ffffffff-ffff-ffff-ffff-' || lpad(to_hex(a.id), 12, '0'))::uuid, a.id FROM postern.accounts a;

SET LOCAL ROLE postern_owner;
ALTER TABLE postern.tokens ALTER COLUMN family SET NOT NULL;
ALTER TABLE postern.standings ADD COLUMN family uuid, ADD COLUMN whole uuid, ADD COLUMN account_limit int;

RESET ROLE;
