-- audit: the trail, read only.
DROP SCHEMA IF EXISTS audit CASCADE;
CREATE SCHEMA audit AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW audit.item AS
SELECT t.id, t.at, t.request_id, CASE WHEN t.actor = 'system' THEN 'system' ELSE t.username END AS actor, t.token_id, t.token_name,
       t.user_id, t.resource || '.' || t.verb AS action, t.resource, t.verb, t.object_id, t.method, t.path, t.status, t.outcome, t.reason,
       t.duration_us, t.ip, t.user_agent, t.changes, t.count, t.account_id, 1 AS version, t.account_id AS tenant
FROM postern.audit t;

-- actor: system, or the id or name of a user or token. action: "user.update", or "update" for that of every resource.
CREATE FUNCTION audit.matches_actor(v audit.item, wanted text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
	SELECT v.actor = ANY (wanted) OR v.token_name = ANY (wanted) OR v.token_id::text = ANY (wanted) OR v.user_id::text = ANY (wanted)
$$;
CREATE FUNCTION audit.matches_action(v audit.item, wanted text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT v.action = ANY (wanted) OR v.verb = ANY (wanted) $$;

RESET ROLE;
