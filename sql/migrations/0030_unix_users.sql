-- Unix users of accounts: a uid that is given once and never again, and whether the user was there before the account.
SET LOCAL ROLE postern_owner;

-- Where other users of the machine have these uids: ALTER SEQUENCE postern.account_uid_seq (docs/operations.md).
CREATE SEQUENCE postern.account_uid_seq MINVALUE 20000 MAXVALUE 59999 NO CYCLE;
ALTER TABLE postern.accounts
	ADD uid bigint CONSTRAINT account_uid UNIQUE CHECK (uid BETWEEN 1 AND 4294967294), -- null: made or adopted before 0030
	ADD adopt boolean NOT NULL DEFAULT false,
	ADD unix_expires int; -- the day its user expires by the administrator's word, kept while it is suspended
UPDATE postern.accounts SET uid = nextval('postern.account_uid_seq') WHERE managed AND status = 'pending';
GRANT USAGE, UPDATE ON SEQUENCE postern.account_uid_seq TO postern_operator;

RESET ROLE;
