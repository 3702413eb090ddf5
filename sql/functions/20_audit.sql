-- audit: the trail, read only.
DROP SCHEMA IF EXISTS audit CASCADE;
CREATE SCHEMA audit AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW audit.item AS
SELECT t.id, t.at, t.request_id, CASE WHEN t.actor = 'system' THEN 'system' ELSE t.username END AS actor, t.token_id, t.token_name,
       t.user_id, t.resource || '.' || t.verb AS action, t.resource, t.verb, t.object_id, t.method, t.path, t.status, t.outcome, t.reason,
       t.duration_us, t.ip, t.user_agent, t.changes, t.count, nullif(t.account_id, 0) AS account_id,
       CASE WHEN t.actor = 'system' THEN nullif(nullif(t.username, 'posternd'), 'system') END AS operator, 1 AS version, t.account_id AS tenant
FROM postern.audit t;

-- What an export has: every column as it stands in the table, so that seals can be verified from it.
CREATE VIEW audit.exported AS
SELECT t.account_id, t.at, t.id, t.xid::text::bigint AS xid, t.request_id, t.actor, t.token_id, t.token_name, t.user_id, t.username,
       t.resource, t.verb, t.object_id, t.method, t.path, t.status, t.outcome, t.reason, t.duration_us, t.ip, t.user_agent,
       t.changes::text AS changes, t.count, t.account_id AS tenant
FROM postern.audit t;

-- Without what the token may not read: what a row says of a resource, and where those who are no tenants were.
CREATE FUNCTION audit.masked(v audit.item) RETURNS audit.item
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF NOT gate.sees(v.resource) THEN
		v.changes := NULL;
		v.reason := CASE WHEN v.user_id IS NOT NULL THEN v.reason END; -- posternd's is the job's error
	END IF;
	IF NOT audit.shows_address(v.token_id) THEN
		v.ip := NULL;
		v.user_agent := NULL;
		v.operator := NULL;
		v.changes := audit.without_addresses(v.changes);
	END IF;
	RETURN v;
END $$;
CREATE FUNCTION audit.masked(v audit.exported) RETURNS audit.exported
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF NOT gate.sees(v.resource) THEN
		v.changes := NULL;
		v.reason := CASE WHEN v.actor <> 'system' THEN v.reason END;
	END IF;
	IF NOT audit.shows_address(v.token_id) THEN
		v.ip := NULL;
		v.user_agent := NULL;
		v.username := CASE WHEN v.actor <> 'system' THEN v.username END;
		v.changes := audit.without_addresses(v.changes::jsonb)::text;
	END IF;
	RETURN v;
END $$;
CREATE FUNCTION audit.shows_address(p_token uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT gate.sees('staff') OR p_token IS NOT NULL AND NOT gate.is_staffs(p_token) $$;
CREATE FUNCTION audit.without_addresses(p_changes jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT p_changes #- '{before,allowed_ips}' #- '{before,last_used_ip}' #- '{after,allowed_ips}' #- '{after,last_used_ip}'
$$;

-- Conditions that indexes serve (migration 14), where equality of the column is none or not enough.
-- Tokens: rows of their owners, among which the index tells theirs.
CREATE FUNCTION audit.of_tokens(tokens uuid[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN count(*) = 0 THEN 'false' ELSE format('%s AND %s',
		gate.one_of('v.user_id', array_agg(DISTINCT quote_literal(b.user_id)), 'bigint'),
		gate.one_of('v.token_id', array_agg(DISTINCT quote_literal(b.token_id)), 'uuid')) END
	FROM postern.bearers b WHERE b.token_id = ANY (tokens)
$$;
CREATE FUNCTION audit.condition_token_id(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT audit.of_tokens(given::uuid[])
$$;
-- The name that a token bore at that time: by the tokens that ever bore it, unless they are too many to name. Of those that bore
-- no other the name is not asked for: PostgreSQL would take it for a second condition, and expect few rows.
CREATE FUNCTION audit.condition_token_name(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN count(*) = 0 THEN 'false' WHEN count(*) > 100 THEN gate.one_of('v.token_name', places, 'text') ELSE format('%s OR %s AND %s',
		audit.of_tokens(array_agg(b.token_id) FILTER (WHERE b.names = 1)),
		audit.of_tokens(array_agg(b.token_id) FILTER (WHERE b.names > 1)),
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
	tokens uuid[] := ARRAY(SELECT g::uuid FROM unnest(given) g WHERE g ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$');
	ways text[] := ARRAY[gate.one_of('v.user_id', users::text[], 'bigint'), audit.of_tokens(tokens),
		audit.condition_token_name(given, places), CASE WHEN 'system' = ANY (given) THEN 'v.user_id IS NULL' ELSE 'false' END];
BEGIN
	RETURN coalesce((SELECT string_agg('(' || w || ')', ' OR ') FROM unnest(ways) w WHERE w <> 'false'), 'false');
END $$;
-- An address finds rows that show it.
CREATE FUNCTION audit.condition_ip(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT gate.one_of('v.ip', places, 'inet') || CASE WHEN gate.sees('staff') THEN '' ELSE ' AND audit.shows_address(v.token_id)' END
$$;
-- "user.update", or "update" for that of every resource.
CREATE FUNCTION audit.condition_action(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT string_agg(CASE WHEN given[i] LIKE '%.%'
		THEN format('v.verb = split_part(%s, ''.'', 2) AND %s', places[i], gate.of_resources('v.resource', 'word',
			ARRAY[split_part(given[i], '.', 1)], ARRAY[format('split_part(%s, ''.'', 1)', places[i])]))
		ELSE format('v.verb = %s', places[i]) END, ' OR ')
	FROM generate_subscripts(given, 1) i
$$;
CREATE FUNCTION audit.condition_resource(given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT gate.of_resources('v.resource', 'word', given, places) $$;
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

-- What follows an export's rows: the seals and checkpoints that were made before its end, so that it is verified alone.
CREATE FUNCTION audit.tail(p_until timestamptz, p_after text) RETURNS TABLE (line text, place text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_last bigint := (SELECT max(s.number) FROM postern.seals s WHERE s.sealed_at < p_until);
	v_left int := 2000000;
BEGIN
	IF p_after NOT LIKE 'checkpoint %' THEN
		FOR line, place IN SELECT jsonb_build_object('seal', jsonb_build_object('number', s.number, 'count', s.count, 'keys', encode(s.keys, 'hex'),
				'hashes', encode(s.hashes, 'hex'), 'before', encode(s.before, 'hex'), 'hash', encode(s.hash, 'hex')))::text, 'seal ' || s.number
			FROM postern.seals s WHERE s.number > coalesce(substring(p_after FROM 'seal (.*)')::bigint, 0) AND s.number <= v_last ORDER BY s.number LOOP
			RETURN NEXT;
			v_left := v_left - length(line);
			IF v_left <= 0 THEN
				RETURN;
			END IF;
		END LOOP;
	END IF;
	RETURN QUERY SELECT jsonb_build_object('checkpoint', jsonb_build_object('text', c.text, 'signature', encode(c.signature, 'hex')))::text, 'checkpoint ' || c.number
		FROM postern.checkpoints c WHERE c.number > coalesce(substring(p_after FROM 'checkpoint (.*)')::bigint, 0)
		 AND c.at < p_until AND substring(c.text FROM 'seal ([0-9]+)')::bigint <= v_last ORDER BY c.number LIMIT 2000;
END $$;

RESET ROLE;
ALTER FUNCTION audit.tail(timestamptz, text) OWNER TO postern_gate;
ALTER FUNCTION audit.of_tokens(uuid[]) OWNER TO postern_gate;
ALTER FUNCTION audit.condition_token_name(text[], text[]) OWNER TO postern_gate;
ALTER FUNCTION audit.condition_actor(text[], text[]) OWNER TO postern_gate;
ALTER FUNCTION audit.condition_request_id(text[], text[]) OWNER TO postern_gate;
