-- Certificates follow the names of their website, tell which of them were left out, and who trusts them; websites take uploads of a
-- size; www and further domains are names of a website.
SET LOCAL ROLE postern_owner;

ALTER TABLE postern.certificates
	ADD COLUMN names_given boolean NOT NULL DEFAULT false,     -- wanted is what was asked for; false: what the last order asked for
	ADD COLUMN left_out jsonb,                                 -- [{"name", "reason"}]
	ADD COLUMN key_algorithm text NOT NULL DEFAULT 'ecdsa' CHECK (key_algorithm IN ('ecdsa', 'rsa')),
	DROP CONSTRAINT certificates_status_check,
	ADD CONSTRAINT certificates_status_check
		CHECK (status IN ('none', 'pending', 'active', 'expiring', 'expired', 'untrusted', 'error', 'deleting')),
	DROP CONSTRAINT certificates_chain_state_check,
	ADD CONSTRAINT certificates_chain_state_check CHECK (chain_state IN ('valid', 'self_signed', 'incomplete', 'unknown', 'expired'));
-- Those whose names are not what the website has were asked for by name.
UPDATE postern.certificates x SET names_given = true
FROM postern.domains d LEFT JOIN postern.websites w ON w.domain_id = d.id
WHERE d.id = x.domain_id AND x.source = 'acme' AND NOT (x.wanted @> (ARRAY[d.domain] || w.aliases) AND x.wanted <@ (ARRAY[d.domain] || w.aliases));

ALTER TABLE postern.domains
	ADD COLUMN www boolean NOT NULL DEFAULT false,             -- www.<domain> becomes a further name of its website
	ADD COLUMN alias_of bigint,                                -- type alias: the domain whose website serves it
	ADD FOREIGN KEY (account_id, alias_of) REFERENCES postern.domains (account_id, id) ON DELETE SET NULL (alias_of),
	DROP CONSTRAINT domains_ssl_status_check,
	ADD CONSTRAINT domains_ssl_status_check
		CHECK (ssl_status IN ('none', 'pending', 'active', 'expiring', 'expired', 'untrusted', 'error'));
CREATE INDEX domain_alias ON postern.domains (alias_of) WHERE alias_of IS NOT NULL;

ALTER TABLE postern.websites
	ADD COLUMN max_body_mb int NOT NULL DEFAULT 128 CHECK (max_body_mb BETWEEN 1 AND 2048),
	ADD COLUMN hsts boolean NOT NULL DEFAULT false;

RESET ROLE;
