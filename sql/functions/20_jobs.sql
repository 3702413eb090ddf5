-- jobs: work for the machine, asked for by changes of other resources and done by posternd (15_work.sql).
DROP SCHEMA IF EXISTS jobs CASCADE;
CREATE SCHEMA jobs AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW jobs.item AS
SELECT j.id, j.kind, j.status, j.progress, j.message, j.attempts, j.resource, j.object_id, j.account_id, j.error, j.result, j.log,
       j.cancel, j.source, j.token_id, j.request_id, j.run_at, j.created_at, j.started_at, j.finished_at, j.updated_at,
       j.version, j.account_id AS tenant
FROM postern.jobs j;
GRANT SELECT ON jobs.item TO postern_gate; -- as answers show it: work.shown

-- posternd does it: it drops one that waits, and ends the action of one that runs.
CREATE FUNCTION jobs.cancel(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	j postern.jobs;
BEGIN
	SELECT * INTO j FROM postern.jobs x WHERE x.id = o::uuid;
	IF j.status NOT IN ('queued', 'running') THEN
		PERFORM gate.fail(409, format('the job is %s already', j.status));
	END IF;
	UPDATE postern.jobs x SET cancel = true, run_at = least(x.run_at, postern.clock()), version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = j.id;
	PERFORM pg_notify('postern_jobs', '');
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION jobs.retry(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	j postern.jobs;
BEGIN
	SELECT * INTO j FROM postern.jobs x WHERE x.id = o::uuid;
	IF j.status = 'queued' AND j.attempts > 0 THEN
		NULL; -- it waits for its next attempt, which is now
	ELSIF j.status NOT IN ('failed', 'cancelled') THEN
		PERFORM gate.fail(409, format('the job is %s; only one that failed or was cancelled can be retried', j.status));
	END IF;
	UPDATE postern.jobs x SET status = 'queued', cancel = false, run_at = postern.clock(), attempts = 0, error = NULL, message = NULL, progress = 0,
		started_at = NULL, finished_at = NULL, version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = j.id;
	PERFORM pg_notify('postern_jobs', '');
	RETURN ROW(o, NULL)::postern.done;
END $$;

RESET ROLE;
