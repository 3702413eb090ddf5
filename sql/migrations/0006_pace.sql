-- What the way of a request costs less with.
SET LOCAL ROLE postern_owner;

-- Refusals of a window that is over when the next one begins, until gate.settle() has stated their number in the trail.
ALTER TABLE postern.refusals ADD COLUMN unstated bigint NOT NULL DEFAULT 0;

-- What is left of a token's bucket.
CREATE TYPE postern.bucket AS (
	spent      boolean,     -- nothing: the request is refused
	rate_limit int,
	remaining  int,
	since      timestamptz  -- when its window began
);

-- PostgreSQL reads a check's text anew for every statement; gate.outcome() knows no other words.
ALTER TABLE postern.audit DROP CONSTRAINT audit_outcome_check;

-- The row as it travels, see sql/functions/90_endpoints.sql.
ALTER TABLE postern.domains ADD COLUMN shown bytea;

RESET ROLE;
