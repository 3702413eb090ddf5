-- What the audit trail is searched by. A row is written for every request, so its indexes are few. Those that end in (at, id) give
-- what they find in the list's order, whatever share of the rows that is and in whichever months they lie: without one PostgreSQL
-- would walk the whole time line past rows of others. What most requests are not (a change, a refusal) costs them little.
SET LOCAL ROLE postern_owner;

CREATE INDEX audit_by_time ON postern.audit (at, id);
CREATE INDEX audit_by_user ON postern.audit (user_id, at, id, token_id); -- null: the system; a token is its owner's
CREATE INDEX audit_by_ip ON postern.audit (ip, at, id);
CREATE INDEX audit_by_resource ON postern.audit (resource, at, id);
CREATE INDEX audit_by_change ON postern.audit (verb, resource, at, id) WHERE verb <> 'list' AND verb <> 'read';
CREATE INDEX audit_by_refusal ON postern.audit (outcome, at, id) WHERE outcome <> 'allowed';
CREATE INDEX audit_by_object ON postern.audit (object_id, at, id) WHERE object_id IS NOT NULL;
-- What is unique, and where the newest transactions are, is told by summaries of pages: autovacuum makes them, not the request.
DROP INDEX postern.audit_by_xid;
CREATE INDEX audit_by_summary ON postern.audit USING brin (id, (xid::text::bigint), request_id uuid_bloom_ops (n_distinct_per_range = 2048, false_positive_rate = 0.001))
	WITH (pages_per_range = 64, autosummarize = on);

-- Pages that are still being filled have no summary, or each row would rewrite it: PostgreSQL makes one of an empty table, too.
CREATE FUNCTION postern.audit_unsummarize(p_partition regclass) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT brin_desummarize_range(i.indexrelid, pg_relation_size(p_partition) / current_setting('block_size')::int)
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = p_partition AND a.amname = 'brin'
$$;
SELECT postern.audit_unsummarize(inhrelid) FROM pg_inherits WHERE inhparent = 'postern.audit'::regclass;

-- The partition of a month. Not while the default one holds rows of it, which PostgreSQL does not allow: health tells.
CREATE FUNCTION postern.audit_partition(p_month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	name text := format('postern.audit_%s', to_char(p_month, 'YYYYMM'));
	first timestamptz := p_month::timestamp AT TIME ZONE 'UTC';
	next timestamptz := (p_month + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
	IF to_regclass(name) IS NOT NULL OR EXISTS (SELECT FROM postern.audit_default d WHERE d.at >= first AND d.at < next) THEN
		RETURN false;
	END IF;
	EXECUTE format('CREATE TABLE %s PARTITION OF postern.audit FOR VALUES FROM (%L) TO (%L)', name, first, next);
	PERFORM postern.audit_unsummarize(name::regclass);
	RETURN true;
END $$;
CREATE OR REPLACE FUNCTION postern.audit_partitions(ahead int DEFAULT 3) RETURNS int
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT count(*) FILTER (WHERE postern.audit_partition((date_trunc('month', postern.clock() AT TIME ZONE 'UTC') + make_interval(months => i))::date))::int
	FROM generate_series(0, ahead) i
$$;
-- The remedy where rows lie in the default partition, for a superuser: they get those of their months. Requests wait meanwhile.
CREATE FUNCTION postern.audit_rehome() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	moved bigint;
BEGIN
	LOCK TABLE postern.audit IN ACCESS EXCLUSIVE MODE;
	CREATE TEMP TABLE rehomed ON COMMIT DROP AS TABLE postern.audit_default;
	TRUNCATE postern.audit_default;
	PERFORM postern.audit_partition(m) FROM (SELECT DISTINCT date_trunc('month', r.at AT TIME ZONE 'UTC')::date AS m FROM rehomed r) x;
	INSERT INTO postern.audit SELECT * FROM rehomed;
	GET DIAGNOSTICS moved = ROW_COUNT;
	RETURN moved;
END $$;

-- Which tokens and owners there have been under which names, deleted ones too: a name is looked up here and not in millions of
-- rows. gate.stand() keeps it.
CREATE TABLE postern.bearers (
	token_id   uuid NOT NULL,
	token_name text NOT NULL,
	user_id    bigint NOT NULL,
	username   text NOT NULL,
	PRIMARY KEY (token_id, token_name)
);
CREATE INDEX bearer_by_token_name ON postern.bearers (token_name);
CREATE INDEX bearer_by_username ON postern.bearers (username, user_id);
ALTER TABLE postern.bearers ENABLE ROW LEVEL SECURITY;
ALTER TABLE postern.bearers FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON postern.bearers FOR SELECT TO postern_gate USING (true);
CREATE POLICY operator ON postern.bearers TO postern_operator USING (true);
GRANT SELECT ON postern.bearers TO postern_gate;
GRANT SELECT, INSERT ON postern.bearers TO postern_operator; -- as which the triggers run

RESET ROLE;

INSERT INTO postern.bearers SELECT token_id, token_name, user_id, username FROM postern.standings
UNION SELECT token_id, token_name, user_id, username FROM postern.audit WHERE token_id IS NOT NULL
ON CONFLICT DO NOTHING;
