-- What Postfix and Dovecot read (mail/). They log in as postern_mail, which sees these views and nothing else; the views belong
-- to the gate's role, which sees every account's rows. Addresses are in lower case; the servers ask in it.
DROP SCHEMA IF EXISTS mail CASCADE;
CREATE SCHEMA mail AUTHORIZATION postern_owner;
REVOKE ALL ON SCHEMA mail FROM PUBLIC;
GRANT USAGE ON SCHEMA mail TO postern_mail, postern_quota, postern_gate;
SET LOCAL ROLE postern_owner;

-- Domains whose mail comes here: suspended ones, too, or this server would send their mail on instead of refusing it; none that
-- has no address here, as its mail may well be kept elsewhere, and none that is unproven.
CREATE VIEW mail.domains WITH (security_barrier) AS
SELECT d.domain, d.id, d.account_id,
       d.status IN ('active', 'pending', 'error') AND a.status IN ('active', 'pending', 'error') AS served
FROM postern.domains d JOIN postern.accounts a ON a.id = d.account_id
WHERE d.mail_enabled AND d.proven_at IS NOT NULL
  AND (EXISTS (SELECT FROM postern.mailboxes m WHERE m.account_id = d.account_id AND m.domain_id = d.id)
       OR EXISTS (SELECT FROM postern.forwarders f WHERE f.account_id = d.account_id AND f.domain_id = d.id));

-- Mailboxes that are logged in to and delivered to. The folder is below the mail root; as it has the mailbox's number, one that
-- is made again under the same address begins empty. Where mail is no longer taken, what is there can still be read.
CREATE VIEW mail.mailboxes WITH (security_barrier) AS
SELECT m.address, m.password, d.domain || '/' || split_part(m.address, '@', 1) || '-' || m.id AS folder,
       CASE WHEN m.quota_mb IS NULL AND a.max_disk_mb IS NULL THEN 0 -- no limit
            ELSE greatest(least(m.quota_mb, a.max_disk_mb) * 1048576, 1) END AS quota_bytes
FROM postern.mailboxes m
JOIN postern.domains d ON d.id = m.domain_id
JOIN postern.accounts a ON a.id = m.account_id
WHERE m.status = 'active' AND d.proven_at IS NOT NULL AND d.status IN ('active', 'pending', 'error') AND a.status IN ('active', 'pending', 'error');

-- Where mail for an address goes. A mailbox goes to itself, whatever its state, and so does a suspended forwarder: a catch-all
-- gets only what nobody else is there for.
CREATE VIEW mail.aliases WITH (security_barrier) AS
SELECT m.address, m.address AS destination
FROM postern.mailboxes m
UNION ALL
SELECT f.address, t.destination
FROM postern.forwarders f JOIN mail.domains d ON d.id = f.domain_id
CROSS JOIN LATERAL unnest(CASE
	WHEN f.status = 'active' AND d.served
	 AND NOT EXISTS (SELECT FROM postern.mailboxes m WHERE m.address = f.address AND m.status <> 'active') THEN f.destinations
	WHEN f.address LIKE '@%' OR EXISTS (SELECT FROM postern.mailboxes m WHERE m.address = f.address) THEN '{}'
	ELSE ARRAY[f.address] END) AS t (destination);

-- What is refused before anything is looked for: an address, or with "@example.org" a whole domain.
CREATE VIEW mail.refused WITH (security_barrier) AS
SELECT '@' || d.domain AS address, '550 5.2.1 mail for this domain is suspended' AS action
FROM mail.domains d WHERE NOT d.served
UNION ALL
SELECT m.address, '550 5.2.1 this mailbox is suspended'
FROM postern.mailboxes m WHERE m.status <> 'active'
UNION ALL
SELECT f.address, '550 5.2.1 this address is suspended'
FROM postern.forwarders f WHERE f.status <> 'active' AND f.address NOT LIKE '@%'
 AND NOT EXISTS (SELECT FROM postern.mailboxes m WHERE m.address = f.address);

-- Dovecot says here how full a mailbox is. The table stays empty: each row becomes a mailbox's number.
CREATE TABLE mail.usage (
	address  text PRIMARY KEY,
	bytes    bigint,
	messages bigint
);
CREATE FUNCTION mail.use() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE postern.mailboxes m SET used_bytes = greatest(NEW.bytes, 0)
	WHERE m.address = NEW.address AND m.used_bytes <> greatest(NEW.bytes, 0);
	RETURN NULL;
END $$;
CREATE TRIGGER use BEFORE INSERT ON mail.usage FOR EACH ROW EXECUTE FUNCTION mail.use();

GRANT SELECT ON mail.domains, mail.mailboxes, mail.aliases, mail.refused TO postern_mail;
GRANT SELECT, INSERT, UPDATE ON mail.usage TO postern_quota; -- all that INSERT … ON CONFLICT asks for

RESET ROLE;
ALTER VIEW mail.domains OWNER TO postern_gate;
ALTER VIEW mail.mailboxes OWNER TO postern_gate;
ALTER VIEW mail.aliases OWNER TO postern_gate;
ALTER VIEW mail.refused OWNER TO postern_gate;
ALTER FUNCTION mail.use() OWNER TO postern_operator;
