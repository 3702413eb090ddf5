-- Holds: what an administrator suspended, disabled or kept stays so until an administrator lifts it; who asked for what; and
-- which resources a row of the feed, of the jobs and of the trail tells of.
SET LOCAL ROLE postern_owner;

-- The rank of whoever asked for the present change; null: the machine's own work. Set by the gate from the admitted token's row.
CREATE FUNCTION postern.rank() RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT nullif(pg_catalog.current_setting('postern.rank', true), '')::int $$;
GRANT EXECUTE ON FUNCTION postern.rank() TO postern_gate, postern_tenant, postern_operator;

-- The columns whose value an administrator holds. The trigger gate.hold (sql/functions/12_holds.sql) keeps it.
ALTER TABLE postern.domains ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.websites ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.mailboxes ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.forwarders ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.users ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.databases ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.cron ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.certificates ADD COLUMN held text[] NOT NULL DEFAULT '{}';
ALTER TABLE postern.backups ADD COLUMN held text[] NOT NULL DEFAULT '{}';
GRANT SELECT (held) ON postern.mailboxes, postern.databases TO postern_tenant, postern_operator;

-- An administrator made it, for an administrator: it is not the account's that it is bound to.
ALTER TABLE postern.tokens ADD COLUMN by_staff boolean NOT NULL DEFAULT false;
ALTER TABLE postern.bearers ADD COLUMN by_staff boolean NOT NULL DEFAULT false;

-- Endpoints whose rows tell of other resources, or of who is no tenant: their reading functions are told what the token may read.
ALTER TABLE postern.endpoints ADD COLUMN sees boolean NOT NULL DEFAULT false;

RESET ROLE;

UPDATE postern.endpoints SET sees = true WHERE name IN ('events', 'jobs', 'audit', 'tokens', 'users');

-- What was suspended before: held where the trail says that the system or an administrator did it.
DO $$
DECLARE
	v text[];
BEGIN
	FOREACH v SLICE 1 IN ARRAY ARRAY[['domains', 'domain', 'status', 'suspended'], ['websites', 'website', 'suspended', 'true'],
		['mailboxes', 'mailbox', 'status', 'suspended'], ['forwarders', 'forwarder', 'status', 'suspended'],
		['users', 'user', 'status', 'suspended'], ['databases', 'database', 'suspended', 'true']] LOOP
		EXECUTE format('UPDATE postern.%1$I x SET held = ARRAY[%3$L] WHERE x.%3$I = %4$L AND coalesce((
			SELECT a.actor = ''system'' OR EXISTS (SELECT FROM postern.users u JOIN postern.roles r ON r.name = u.role
				WHERE u.id = a.user_id AND r.rank = 3)
			FROM postern.audit a WHERE a.resource = %2$L AND a.verb = ''suspend'' AND a.object_id = x.id::text AND a.outcome = ''allowed''
			ORDER BY a.at DESC, a.id DESC LIMIT 1), false)', v[1], v[2], v[3], v[4]);
	END LOOP;
END $$;
-- Tokens whose owner is an administrator, but for those that a token of less rank minted.
UPDATE postern.tokens t SET by_staff = true FROM postern.users u JOIN postern.roles r ON r.name = u.role
WHERE u.id = t.user_id AND r.rank = 3
	AND NOT EXISTS (SELECT FROM postern.standings p WHERE p.token_id = t.parent_id AND p.rank < 3);
UPDATE postern.bearers b SET by_staff = true
WHERE EXISTS (SELECT FROM postern.tokens t WHERE t.id = b.token_id AND t.by_staff)
	OR NOT EXISTS (SELECT FROM postern.tokens t WHERE t.id = b.token_id)
	AND EXISTS (SELECT FROM postern.users u JOIN postern.roles r ON r.name = u.role WHERE u.id = b.user_id AND r.rank = 3);
-- Jobs that a tenant asked for.
UPDATE postern.jobs j SET by_tenant = true FROM postern.standings s WHERE s.token_id = j.token_id AND s.rank < 3 AND NOT j.by_tenant;
