-- jobs: work for the machine, asked for by changes of other resources and done by posternd (15_work.sql).
DROP SCHEMA IF EXISTS jobs CASCADE;
CREATE SCHEMA jobs AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- What it said and found is for those who may read what it works on.
CREATE VIEW jobs.item AS
SELECT j.id, j.kind, j.status, j.progress, CASE WHEN gate.sees_job(j.resource, j.kind) THEN j.message END AS message, j.attempts, gate.word_of(j.resource) AS resource,
       j.object_id, nullif(j.account_id, 0) AS account_id, CASE WHEN gate.sees_job(j.resource, j.kind) THEN gate.job_error(j) END AS error,
       CASE WHEN gate.sees_job(j.resource, j.kind) THEN j.result END AS result, CASE WHEN gate.sees_job(j.resource, j.kind) THEN j.log END AS log,
       j.cancel, j.source, gate.job_held_by(j) AS held_by, j.token_id, j.request_id, j.run_at, j.created_at, j.started_at, j.finished_at, j.updated_at,
       j.version, j.account_id AS tenant, j.resource AS endpoint
FROM postern.jobs j;

CREATE FUNCTION jobs.condition_resource(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT gate.of_resources('v.endpoint', 'name', given, places) $$;

-- posternd does it: it drops one that waits, and ends the action of one that runs.
CREATE FUNCTION jobs.cancel(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	j postern.jobs;
BEGIN
	SELECT * INTO j FROM postern.jobs x WHERE x.id = o::uuid;
	PERFORM gate.check_asked(c, j, 'cancel');
	IF j.status NOT IN ('queued', 'running') THEN
		PERFORM gate.fail(409, format('the job is %s already', j.status));
	END IF;
	UPDATE postern.jobs x SET cancel = true, by_tenant = x.by_tenant AND NOT gate.is_staff(c), run_at = least(x.run_at, postern.clock()), version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = j.id;
	PERFORM pg_notify('postern_jobs', '');
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION jobs.retry(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	j postern.jobs;
	v_by_tenant boolean;
BEGIN
	SELECT * INTO j FROM postern.jobs x WHERE x.id = o::uuid;
	PERFORM gate.check_asked(c, j, 'retry');
	IF j.operation IS NOT NULL AND NOT gate.may_do(c, j.operation) THEN
		PERFORM gate.fail(403, format('the job was asked for by %s, which your token may not do', j.operation));
	END IF;
	IF j.status = 'queued' AND j.attempts > 0 THEN
		NULL; -- it waits for its next attempt, which is now
	ELSIF j.status NOT IN ('failed', 'cancelled') THEN
		PERFORM gate.fail(409, format('the job is %s; only one that failed or was cancelled can be retried', j.status));
	END IF;
	v_by_tenant := CASE j.status WHEN 'queued' THEN j.by_tenant ELSE accounts.counts_job(c, j.account_id, j.kind) END;
	UPDATE postern.jobs x SET by_tenant = v_by_tenant, status = 'queued', cancel = false, run_at = postern.clock(), attempts = 0, error = NULL, message = NULL, progress = 0,
		started_at = NULL, finished_at = NULL, version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = j.id;
	PERFORM pg_notify('postern_jobs', '');
	RETURN ROW(o, NULL)::postern.done;
END $$;

RESET ROLE;
