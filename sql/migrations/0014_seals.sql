-- The seals of the audit trail: a hash chain over its rows in the order of their commits, and signed checkpoints of it.
SET LOCAL ROLE postern_owner;

CREATE TABLE postern.seals (
	number    bigint PRIMARY KEY,                   -- 1, 2, 3 …
	count     int NOT NULL CHECK (count > 0),
	keys      bytea NOT NULL,                       -- of the rows, in their order; lib/trail.h has the bytes
	hashes    bytea NOT NULL,
	before    bytea NOT NULL CHECK (octet_length(before) = 32),
	hash      bytea NOT NULL CHECK (octet_length(hash) = 32),
	rows      bigint NOT NULL,                      -- sealed so far
	xid       xid8 NOT NULL,                        -- the last row's: where the next seal begins
	id        bigint NOT NULL,
	sealed_at timestamptz NOT NULL DEFAULT postern.clock(),
	CHECK (octet_length(keys) = 24 * count AND octet_length(hashes) = 32 * count)
);
ALTER TABLE postern.seals ALTER COLUMN keys SET STORAGE EXTERNAL, ALTER COLUMN hashes SET STORAGE EXTERNAL; -- digests do not compress
CREATE TABLE postern.checkpoints (
	number    bigint PRIMARY KEY,
	text      text NOT NULL,                        -- what is signed
	signature bytea NOT NULL CHECK (octet_length(signature) = 64),
	at        timestamptz NOT NULL DEFAULT postern.clock()
);
GRANT SELECT, INSERT ON postern.seals, postern.checkpoints TO postern_gate;

-- Where the rows of the newest transactions are: as good as nothing to keep, as they lie in that order.
CREATE INDEX audit_by_xid ON postern.audit USING brin ((xid::text::bigint)) WITH (pages_per_range = 32, autosummarize = on);

RESET ROLE;
