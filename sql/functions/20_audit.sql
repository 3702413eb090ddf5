-- audit: the trail, read only.
DROP SCHEMA IF EXISTS audit CASCADE;
CREATE SCHEMA audit AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW audit.item AS
SELECT t.id, t.at, t.request_id, CASE WHEN t.actor = 'system' THEN 'system' ELSE t.username END AS actor, t.token_id, t.token_name,
       t.user_id, t.resource || '.' || t.verb AS action, t.resource, t.verb, t.object_id, t.method, t.path, t.status, t.outcome, t.reason,
       t.duration_us, t.ip, t.user_agent, t.changes, t.count, t.account_id, 1 AS version, t.account_id AS tenant
FROM postern.audit t;

-- What an export has: every column as it stands in the table, so that seals can be verified from it.
CREATE VIEW audit.exported AS
SELECT t.account_id, t.at, t.id, t.xid::text::bigint AS xid, t.request_id, t.actor, t.token_id, t.token_name, t.user_id, t.username,
       t.resource, t.verb, t.object_id, t.method, t.path, t.status, t.outcome, t.reason, t.duration_us, t.ip, t.user_agent,
       t.changes::text AS changes, t.count, t.account_id AS tenant
FROM postern.audit t;

-- Conditions that indexes serve (migration 14), where equality of the column is none or not enough.
-- The name that a token bore at that time: by the tokens that ever bore it, unless they are too many to name. Of those that bore
-- no other the name is not asked for: PostgreSQL would take it for a second condition, and expect few rows.
CREATE FUNCTION audit.condition_token_name(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN count(*) = 0 THEN 'false' WHEN count(*) > 100 THEN gate.one_of('v.token_name', places, 'text') ELSE format('%s OR %s AND %s',
		gate.one_of('v.token_id', array_agg(quote_literal(b.token_id)) FILTER (WHERE b.names = 1), 'uuid'),
		gate.one_of('v.token_id', array_agg(quote_literal(b.token_id)) FILTER (WHERE b.names > 1), 'uuid'),
		gate.one_of('v.token_name', places, 'text')) END
	FROM (SELECT b.token_id, (SELECT count(*) FROM postern.bearers o WHERE o.token_id = b.token_id) AS names
		FROM postern.bearers b WHERE b.token_name = ANY (given) LIMIT 101) b
$$;
-- system, or the id or name of a user or token.
CREATE FUNCTION audit.condition_actor(given text[], places text[]) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	users bigint[] := ARRAY(SELECT b.user_id FROM postern.bearers b WHERE b.username = ANY (given)
		UNION SELECT g::bigint FROM unnest(given) g WHERE g ~ '^[0-9]{1,18}$');
	tokens text[] := ARRAY(SELECT places[i] FROM generate_subscripts(given, 1) i WHERE given[i] ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$');
	ways text[] := ARRAY[gate.one_of('v.user_id', users::text[], 'bigint'), gate.one_of('v.token_id', tokens, 'uuid'),
		audit.condition_token_name(given, places), CASE WHEN 'system' = ANY (given) THEN 'v.user_id IS NULL' ELSE 'false' END];
BEGIN
	RETURN coalesce((SELECT string_agg('(' || w || ')', ' OR ') FROM unnest(ways) w WHERE w <> 'false'), 'false');
END $$;
-- "user.update", or "update" for that of every resource.
CREATE FUNCTION audit.condition_action(given text[], places text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(CASE WHEN given[i] LIKE '%.%'
		THEN format('v.verb = split_part(%s, ''.'', 2) AND v.resource = split_part(%1$s, ''.'', 1)', places[i])
		ELSE format('v.verb = %s', places[i]) END, ' OR ')
	FROM generate_subscripts(given, 1) i
$$;
-- A status tells the outcome, which finds refusals.
CREATE FUNCTION audit.condition_status(given text[], places text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT concat_ws(' AND ', gate.one_of('v.status', places, 'bigint'),
		gate.one_of('v.outcome', array_agg(DISTINCT quote_literal(gate.outcome(least(g::bigint, 999)::int))), 'text')) FROM unnest(given) g
$$;
-- A request's row or rows are looked up by the summaries of pages, of which PostgreSQL believes that they tell nothing, so it is
-- not left the choice. Many rows, of a client that gives all its requests one id, need no such help.
CREATE FUNCTION audit.condition_request_id(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
	SELECT CASE WHEN count(*) > 100 THEN gate.one_of('v.request_id', places, 'uuid')
		ELSE coalesce(string_agg(format('v.at = %L::timestamptz AND v.id = %s', r.at, r.id), ' OR '), 'false') END
	FROM (SELECT t.at, t.id FROM postern.audit t WHERE t.request_id = ANY (given::uuid[]) LIMIT 101) r
$$;

RESET ROLE;
ALTER FUNCTION audit.condition_token_name(text[], text[]) OWNER TO postern_gate;
ALTER FUNCTION audit.condition_actor(text[], text[]) OWNER TO postern_gate;
ALTER FUNCTION audit.condition_request_id(text[], text[]) OWNER TO postern_gate;
