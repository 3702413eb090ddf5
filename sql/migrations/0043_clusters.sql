-- The order of rows over clusters, and who seals.
SET LOCAL ROLE postern_owner;

-- Clusters of PostgreSQL that this database has lived in, by their system identifiers. Transactions are numbered by the cluster:
-- a dump that is restored into another one goes on with lower numbers. So each cluster is an epoch, and rows are in the order
-- of epoch, transaction and id. gate.know_cluster finds out that the cluster is another one.
CREATE TABLE postern.cluster (
	epoch             int PRIMARY KEY CHECK (epoch >= 0),
	system_identifier bigint NOT NULL,
	since             timestamptz NOT NULL DEFAULT postern.clock()
);

-- A transaction's number with its epoch: epoch * 2^44 + number. At 10,000 transactions a second 2^44 last for 55 years; up to epoch
-- 511 the sum is exact in JSON's numbers. The epoch is a constant of this function's text, which gate.know_cluster replaces, so it
-- costs a row nothing: plans have it built in, and in epoch 0 there is nothing to add.
CREATE FUNCTION postern.ordered(p_xid xid8) RETURNS xid8 LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN p_xid;
GRANT EXECUTE ON FUNCTION postern.ordered(xid8) TO postern_gate, postern_tenant, postern_operator;
ALTER TABLE postern.audit ALTER COLUMN xid SET DEFAULT postern.ordered(pg_current_xact_id());
ALTER TABLE postern.events ALTER COLUMN xid SET DEFAULT postern.ordered(pg_current_xact_id());

-- The posternd that seals the audit trail, until its lease ends; another one may then. `node` names a worker_dir of a machine
-- that is up (worker/posternd.c).
CREATE TABLE postern.sealing (
	one   boolean PRIMARY KEY DEFAULT true CHECK (one),
	node  text,
	until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO postern.sealing DEFAULT VALUES;
-- Those that offered to, and why one must not.
CREATE TABLE postern.sealers (
	node    text PRIMARY KEY,
	machine text NOT NULL,
	fault   text,
	seen_at timestamptz NOT NULL
);
GRANT SELECT, UPDATE ON postern.sealing TO postern_gate;
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.sealers TO postern_gate;

RESET ROLE;

-- A dump of before this migration may have been restored already: then what it has is of an epoch before this one.
INSERT INTO postern.cluster (epoch, system_identifier)
SELECT 0, CASE WHEN x.last > pg_current_xact_id()::text::bigint THEN 0 ELSE c.system_identifier END -- 0: one that is not known
FROM (SELECT greatest((SELECT max(s.xid::text::bigint) FROM postern.seals s), (SELECT m.xid::text::bigint FROM postern.request_mark m),
	(SELECT max(e.xid::text::bigint) FROM postern.events e)) AS last) x, pg_control_system() c;
