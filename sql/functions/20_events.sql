-- events: one row for each change and each step of a job, numbered in the order of commits (work.sequence). A cursor feed.
DROP SCHEMA IF EXISTS events CASCADE;
CREATE SCHEMA events AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW events.item AS
SELECT e.id, e.seq, e.type, e.at AS time, nullif(e.account_id, 0) AS account_id, e.resource, e.object_id, e.data, e.request_id, 1 AS version, e.account_id AS tenant
FROM postern.events e WHERE e.seq IS NOT NULL
	-- a job's events tell of what it works on
	AND gate.sees(e.resource) AND CASE WHEN e.resource = 'job' THEN gate.sees_job(e.data ->> 'resource', e.data ->> 'kind') ELSE true END;

CREATE FUNCTION events.head() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT h.seq FROM postern.event_head h $$;

CREATE FUNCTION events.condition_resource(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT gate.of_resources('v.resource', 'word', given, places) $$;

-- `type` finds domain.created, or by domain.* all of a resource.
CREATE FUNCTION events.matches_type(e events.item, given text[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT e.type = ANY (given) OR e.resource || '.*' = ANY (given)
$$;

RESET ROLE;
ALTER FUNCTION events.head() OWNER TO postern_gate;
