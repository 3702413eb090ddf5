-- events: one row for each change and each step of a job, numbered in the order of commits (work.sequence). A cursor feed.
DROP SCHEMA IF EXISTS events CASCADE;
CREATE SCHEMA events AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW events.item AS
SELECT e.id, e.seq, e.type, e.at AS time, e.account_id, e.resource, e.object_id, e.data, e.request_id, 1 AS version, e.account_id AS tenant
FROM postern.events e WHERE e.seq IS NOT NULL;

-- `type` finds domain.created, or by domain.* all of a resource.
CREATE FUNCTION events.matches_type(e events.item, given text[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT e.type = ANY (given) OR e.resource || '.*' = ANY (given)
$$;

RESET ROLE;
