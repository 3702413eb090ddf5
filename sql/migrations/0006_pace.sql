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

-- What the gate must know of a token, of its owner, their roles and its account, in one row: looked up for every request, so
-- one look instead of five. Kept by triggers in the transaction of each change (sql/functions/10_gate.sql).
CREATE TABLE postern.standings (
	token_id        uuid PRIMARY KEY REFERENCES postern.tokens (id) ON DELETE CASCADE,
	token_name      text NOT NULL,
	account_id      bigint NOT NULL,
	scopes          text[] NOT NULL,
	deny            text[] NOT NULL,
	allowed_ips     cidr[] NOT NULL,
	rate_limit      int NOT NULL,
	action_limit    int NOT NULL,
	expires_at      timestamptz,
	revoked_at      timestamptz,
	user_id         bigint NOT NULL,
	username        text NOT NULL,
	user_account_id bigint NOT NULL,
	user_status     text NOT NULL,
	owner_rank      int NOT NULL,
	rank            int NOT NULL,
	role_scopes     text[] NOT NULL,
	cap_scopes      text[],
	account_status  text
);
ALTER TABLE postern.standings ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.standings FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON postern.standings FOR SELECT TO postern_gate USING (true);
CREATE POLICY operator ON postern.standings TO postern_operator USING (true);
GRANT SELECT ON postern.standings TO postern_gate;
GRANT SELECT, INSERT, UPDATE ON postern.standings TO postern_operator; -- as which the triggers run

-- The row as it travels, see sql/functions/90_endpoints.sql.
ALTER TABLE postern.domains ADD COLUMN shown bytea;

RESET ROLE;
