-- scopes: what there is to be held, from the route tables (gate.sync_operations).
DROP SCHEMA IF EXISTS scopes CASCADE;
CREATE SCHEMA scopes AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW scopes.item AS
SELECT s.scope AS id, s.scope AS name, s.resource, split_part(s.scope, ':', 2) AS verb, s.about AS description,
       CASE s.rank WHEN 1 THEN 'viewer' WHEN 2 THEN 'customer' ELSE 'admin' END AS role, NOT s.no_wild AS wildcard,
       to_jsonb(ARRAY(SELECT e.alias || ':' || split_part(s.scope, ':', 2) FROM postern.endpoints e
           WHERE e.name = s.resource AND e.alias <> e.name)) AS aliases,
       s.updated_at, 1 AS version, 0::bigint AS tenant
FROM postern.scopes s;

RESET ROLE;
