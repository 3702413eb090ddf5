-- Names: a tenant's domain is theirs when shown to be. Until then it is unproven, and others may claim it, too.
SET LOCAL ROLE postern_owner;

-- postern.domain_names has the names that are proven, and the further names of websites.
ALTER TABLE postern.domains
	ADD COLUMN proof text NOT NULL DEFAULT 'none'
		CHECK (proof IN ('none', 'administrator', 'parent', 'address', 'record', 'setting', 'earlier')),
	ADD COLUMN proven_at timestamptz,                -- null: unproven
	ADD COLUMN proof_value text NOT NULL DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
	ADD COLUMN proof_looks int NOT NULL DEFAULT 0,
	ADD COLUMN proof_next_at timestamptz;            -- when posternd looks by itself; null: no more
UPDATE postern.domains SET proof = 'earlier', proven_at = created_at;
ALTER TABLE postern.domains
	DROP CONSTRAINT domains_status_check,
	ADD CONSTRAINT domains_status_check CHECK (status IN ('unproven', 'pending', 'active', 'suspended', 'deleting', 'error')),
	ADD CONSTRAINT domain_proven CHECK (CASE status WHEN 'deleting' THEN true WHEN 'unproven' THEN proven_at IS NULL ELSE proven_at IS NOT NULL END),
	ADD CONSTRAINT domain_proof CHECK ((proof = 'none') = (proven_at IS NULL));
DROP INDEX postern.domain_name;
CREATE UNIQUE INDEX domain_of_account ON postern.domains (domain, account_id);
CREATE UNIQUE INDEX domain_name ON postern.domains (domain) WHERE proven_at IS NOT NULL;
CREATE INDEX domain_proof_due ON postern.domains (proof_next_at) WHERE proof_next_at IS NOT NULL;

-- The setting domain_proof, as `postern migrate` and posternd read it.
CREATE TABLE postern.domain_policy (
	one            boolean PRIMARY KEY DEFAULT true CHECK (one),
	proof_required boolean NOT NULL DEFAULT true
);
INSERT INTO postern.domain_policy DEFAULT VALUES;
GRANT SELECT ON postern.domain_policy TO postern_tenant, postern_operator;
GRANT UPDATE ON postern.domain_policy TO postern_operator;

RESET ROLE;
