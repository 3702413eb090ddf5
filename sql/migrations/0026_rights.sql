-- Rights in the database. What a caller's are made of, each part by itself: the token's scopes, its owner's present role, its cap,
-- its deny list.
SET LOCAL ROLE postern_owner;
ALTER TYPE postern.caller ADD ATTRIBUTE owner_rank int;      -- the rank of the owner's present role; `rank` is what the cap leaves of it
ALTER TYPE postern.caller ADD ATTRIBUTE cap_scopes text[];   -- of the role that caps the token; null: none does

-- What a change takes in its body, and who may give it (`postern migrate` writes it from the tables of fields).
CREATE TABLE postern.fields (
	operation text NOT NULL,
	field     text NOT NULL,
	given_by  text NOT NULL CHECK (given_by IN ('caller', 'administrator', 'operator')), -- operator: the command at the machine
	PRIMARY KEY (operation, field)
);
GRANT SELECT ON postern.fields TO postern_gate;

RESET ROLE;
