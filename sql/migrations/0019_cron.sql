-- Cron: commands that run by the clock, as an account's Unix user.
SET LOCAL ROLE postern_owner;

CREATE SEQUENCE postern.cron_seq;
CREATE TABLE postern.cron (
	account_id bigint NOT NULL REFERENCES postern.accounts (id),
	id         bigint NOT NULL DEFAULT nextval('postern.cron_seq'),
	name       text,
	schedule   text NOT NULL,
	command    text NOT NULL,
	enabled    boolean NOT NULL DEFAULT true,
	time_zone  text NOT NULL,                      -- the machine's, in which the schedule is read
	runs       timestamptz[] NOT NULL DEFAULT '{}', -- the next ones; none while it does not run
	last_run   jsonb,                              -- as answers show it
	status     text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'suspended', 'deleting', 'error')),
	last_error text,
	job_id     uuid,
	version    int NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT postern.clock(),
	updated_at timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX cron_id ON postern.cron (id);
CREATE INDEX cron_due ON postern.cron ((runs[1]));
SELECT postern.wall('postern.cron');
GRANT USAGE ON SEQUENCE postern.cron_seq TO postern_tenant, postern_operator;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('cron', 'postern.cron', NULL);
