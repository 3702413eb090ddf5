-- What the worker needs: the order of jobs and of events, its role, the endpoints that show both.
DO $$ BEGIN
	CREATE ROLE postern_worker LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
	NULL; -- roles belong to the whole cluster
END $$;
DO $$ BEGIN
	EXECUTE format('GRANT CONNECT ON DATABASE %I TO postern_worker', current_database());
END $$;
GRANT USAGE ON SCHEMA postern TO postern_worker;

SET LOCAL ROLE postern_owner;

ALTER TABLE postern.jobs
	ADD COLUMN place bigint GENERATED ALWAYS AS IDENTITY,  -- the order in which they were asked for
	ADD COLUMN source text NOT NULL DEFAULT 'api';         -- or schedule
-- Never two jobs at work on one object: the database says so, too.
CREATE UNIQUE INDEX job_at_work ON postern.jobs (resource, object_id) WHERE status = 'running';
CREATE INDEX job_open ON postern.jobs (account_id, place) WHERE status IN ('queued', 'running');
CREATE INDEX job_by_age ON postern.jobs (created_at);
CREATE INDEX job_by_account ON postern.jobs (account_id, created_at, id);
-- A tenant's functions cancel and retry; what a job is about stays as it was asked for.
GRANT UPDATE (status, cancel, message, attempts, run_at, error, progress, started_at, finished_at, version, updated_at) ON postern.jobs TO postern_tenant;

ALTER TABLE postern.events ADD COLUMN place bigint GENERATED ALWAYS AS IDENTITY; -- the order within one transaction
CREATE INDEX event_by_age ON postern.events (at);
GRANT UPDATE (seq), DELETE ON postern.events TO postern_gate;

-- The number of the newest event in the feed. Its lock makes one sequencer of several.
CREATE TABLE postern.event_head (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	seq bigint NOT NULL DEFAULT 0
);
INSERT INTO postern.event_head DEFAULT VALUES;
GRANT SELECT, UPDATE ON postern.event_head TO postern_gate;

ALTER TABLE postern.accounts ADD COLUMN job_id uuid;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('jobs', 'postern.jobs', NULL), ('events', 'postern.events', NULL);
