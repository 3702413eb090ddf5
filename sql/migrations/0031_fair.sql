-- Jobs of all accounts have their turns: whom a job was taken of last, what is heavy, and how what waits is found.
SET LOCAL ROLE postern_owner;

-- Whose turn was when. The row of account 0 is the lock of work.take; it stays.
CREATE SEQUENCE postern.turn_seq;
CREATE TABLE postern.turns (
	account_id bigint PRIMARY KEY,
	served     bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO postern.turns VALUES (0, 0);
ALTER TABLE postern.turns ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.turns FORCE ROW LEVEL SECURITY;
CREATE POLICY operator ON postern.turns TO postern_operator USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.turns TO postern_operator;
GRANT USAGE ON SEQUENCE postern.turn_seq TO postern_operator;

-- Written when the job is taken: whether its kind is heavy is the worker's to know.
ALTER TABLE postern.jobs ADD COLUMN heavy boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX job_heavy ON postern.jobs (account_id) WHERE status = 'running' AND heavy AND account_id <> 0;
CREATE INDEX job_running ON postern.jobs (account_id) WHERE status = 'running';
CREATE INDEX job_waiting ON postern.jobs (account_id, place) WHERE status = 'queued';
CREATE INDEX job_dropped ON postern.jobs (place) WHERE status = 'queued' AND cancel;
CREATE INDEX job_open_about ON postern.jobs (resource, object_id, place) WHERE status IN ('queued', 'running');
CREATE INDEX job_open_account ON postern.jobs (account_id, place)
	WHERE status IN ('queued', 'running') AND resource = 'accounts';

RESET ROLE;
