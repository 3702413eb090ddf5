-- What operations there are and what each takes, as the gate judges it (`postern migrate` writes them); the endpoint that explains.
SET LOCAL ROLE postern_owner;

CREATE TABLE postern.operations (
	operation text PRIMARY KEY,                     -- "createDomain"
	scope     text NOT NULL,
	rank      int NOT NULL,                         -- the least role
	no_wild   boolean NOT NULL,
	own       boolean NOT NULL                      -- about the caller itself: needs no account
);
GRANT SELECT ON postern.operations TO postern_gate;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('explain', NULL, NULL);
