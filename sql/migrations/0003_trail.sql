-- The audit trail, jobs, events and kept answers, in their final shape.
SET LOCAL ROLE postern_owner;

-- One row a request. Append-only: no role of the API may change or remove a row. Sealing keeps its own tables.
CREATE SEQUENCE postern.audit_seq CACHE 32;
CREATE TABLE postern.audit (
	account_id  bigint NOT NULL,                    -- of the object touched; 0: the installation
	at          timestamptz NOT NULL,
	id          bigint NOT NULL DEFAULT nextval('postern.audit_seq'),
	xid         xid8 NOT NULL DEFAULT pg_current_xact_id(), -- commit order, for the sealer
	request_id  uuid,
	actor       text NOT NULL,                      -- token, system
	token_id    uuid,
	token_name  text,
	user_id     bigint,
	username    text,
	resource    text NOT NULL,                      -- domain
	verb        text NOT NULL,                      -- create
	object_id   text,
	method      text,
	path        text,
	status      int,
	outcome     text NOT NULL CHECK (outcome IN ('allowed', 'denied', 'failed')),
	reason      text,
	duration_us bigint,
	ip          inet,
	user_agent  text,
	changes     jsonb,                              -- {"before":{…},"after":{…}} of the changed fields
	count       bigint NOT NULL DEFAULT 1,          -- requests this row stands for (token.throttled)
	PRIMARY KEY (account_id, at, id)
) PARTITION BY RANGE (at);
CREATE TABLE postern.audit_default PARTITION OF postern.audit DEFAULT;
ALTER TABLE postern.audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.audit FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON postern.audit FOR SELECT TO postern_tenant USING (account_id = postern.account());
CREATE POLICY operator ON postern.audit FOR SELECT TO postern_operator USING (true);
CREATE POLICY gate_reads ON postern.audit FOR SELECT TO postern_gate USING (true);
CREATE POLICY gate_adds ON postern.audit FOR INSERT TO postern_gate WITH CHECK (true);
GRANT SELECT ON postern.audit TO postern_tenant, postern_operator;
GRANT SELECT, INSERT ON postern.audit TO postern_gate;
GRANT USAGE ON SEQUENCE postern.audit_seq TO postern_gate;

-- Make the monthly partitions from this month to `ahead` months on. Safe to run again.
CREATE FUNCTION postern.audit_partitions(ahead int DEFAULT 3) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	first date := date_trunc('month', postern.clock() AT TIME ZONE 'UTC');
	month date;
	made int := 0;
BEGIN
	FOR i IN 0 .. ahead LOOP
		month := first + make_interval(months => i);
		IF to_regclass(format('postern.audit_%s', to_char(month, 'YYYYMM'))) IS NULL THEN
			EXECUTE format('CREATE TABLE postern.audit_%s PARTITION OF postern.audit FOR VALUES FROM (%L) TO (%L)',
				to_char(month, 'YYYYMM'), month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
			made := made + 1;
		END IF;
	END LOOP;
	RETURN made;
END $$;
SELECT postern.audit_partitions();

-- Work for the machine: a row is written with the change that wants it and taken by the worker.
CREATE TABLE postern.jobs (
	account_id   bigint NOT NULL,
	id           uuid NOT NULL DEFAULT gen_random_uuid(),
	kind         text NOT NULL,                     -- domain.create
	status       text NOT NULL DEFAULT 'queued'
	             CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
	progress     int NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
	message      text,
	attempts     int NOT NULL DEFAULT 0,
	resource     text,
	object_id    text,
	input        jsonb NOT NULL DEFAULT '{}',       -- never a clear secret
	secret       bytea,                             -- encrypted to the worker's key, erased at the end
	result       jsonb,
	error        text,
	log          text,
	run_at       timestamptz NOT NULL DEFAULT postern.clock(),
	leased_until timestamptz,
	leased_by    text,
	cancel       boolean NOT NULL DEFAULT false,
	token_id     uuid,
	request_id   uuid,
	version      int NOT NULL DEFAULT 1,
	created_at   timestamptz NOT NULL DEFAULT postern.clock(),
	started_at   timestamptz,
	finished_at  timestamptz,
	updated_at   timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX job_id ON postern.jobs (id);
CREATE INDEX job_due ON postern.jobs (run_at) WHERE status IN ('queued', 'running');
CREATE INDEX job_by_object ON postern.jobs (resource, object_id);
SELECT postern.wall('postern.jobs', 'account_id', 'SELECT, INSERT');

-- The outbox: a row for each change, in the same transaction. `seq` is given in commit order by one sequencer.
CREATE TABLE postern.events (
	account_id bigint NOT NULL,
	id         uuid NOT NULL DEFAULT gen_random_uuid(),
	xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
	seq        bigint,
	type       text NOT NULL,                       -- domain.created
	at         timestamptz NOT NULL DEFAULT postern.clock(),
	resource   text NOT NULL,
	object_id  text,
	data       jsonb NOT NULL DEFAULT '{}',
	request_id uuid,
	PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX event_seq ON postern.events (seq) WHERE seq IS NOT NULL;
CREATE INDEX event_unsequenced ON postern.events (xid) WHERE seq IS NULL;
CREATE INDEX event_by_account ON postern.events (account_id, seq);
SELECT postern.wall('postern.events', 'account_id', 'SELECT');
REVOKE INSERT, UPDATE, DELETE ON postern.events FROM postern_operator;
GRANT INSERT ON postern.events TO postern_gate;

-- Answers kept for Idempotency-Key, in the transaction of the change.
CREATE TABLE postern.kept_answers (
	token_id    uuid NOT NULL,
	key         bytea NOT NULL,                     -- its digest
	fingerprint bytea NOT NULL,
	status      int NOT NULL,
	headers     text NOT NULL,
	body        text NOT NULL,
	created_at  timestamptz NOT NULL DEFAULT postern.clock(),
	PRIMARY KEY (token_id, key)
);
CREATE INDEX kept_answer_age ON postern.kept_answers (created_at);
GRANT SELECT, INSERT, DELETE, UPDATE (created_at) ON postern.kept_answers TO postern_gate; -- UPDATE: to lock what it deletes

RESET ROLE;

DO $$ BEGIN
	INSERT INTO postern.endpoints VALUES
		('accounts', 'postern.accounts', 'username'),
		('users', 'postern.users', 'username'),
		('roles', 'postern.roles', 'name'),
		('tokens', 'postern.tokens', NULL),
		('audit', 'postern.audit', NULL),
		('me', NULL, NULL),
		('health', NULL, NULL);
END $$;
