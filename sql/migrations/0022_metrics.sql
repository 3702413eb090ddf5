-- Metrics: how many requests there were.
SET LOCAL ROLE postern_owner;

-- Requests that are in the audit trail, counted up to a transaction: those before it are all done.
CREATE TABLE postern.request_counts (
	resource text NOT NULL,
	class    int NOT NULL,                         -- 2: status 200 to 299
	count    bigint NOT NULL,
	PRIMARY KEY (resource, class)
);
CREATE TABLE postern.request_mark (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	xid xid8 NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot())
);
INSERT INTO postern.request_mark DEFAULT VALUES; -- from now on
GRANT SELECT, INSERT, UPDATE ON postern.request_counts TO postern_gate;
GRANT SELECT, UPDATE ON postern.request_mark TO postern_gate;
GRANT SELECT ON postern.request_counts TO postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('metrics', NULL, NULL);
