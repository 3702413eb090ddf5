-- Settings: what the programs say of them, and what was said over the API, which goes over the file.
SET LOCAL ROLE postern_owner;

CREATE TABLE postern.settings (
	id          text PRIMARY KEY,                   -- its name
	-- as the programs know it; see settings.learn
	description text NOT NULL,
	type        text NOT NULL CHECK (type IN ('number', 'switch', 'choice', 'text')),
	unit        text,
	minimum     bigint,
	maximum     bigint,
	choices     text[],
	takes       text NOT NULL,                      -- what a value must be, in words
	preset      jsonb NOT NULL,
	fixed       text,                               -- why it is for postern.conf alone; null: the API may change it
	present     jsonb NOT NULL,                     -- without the database; passwords masked
	source      text NOT NULL CHECK (source IN ('default', 'file', 'environment')),
	-- what was said
	held        jsonb,                              -- null: nothing
	version     int NOT NULL DEFAULT 1,
	updated_at  timestamptz NOT NULL DEFAULT postern.clock()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON postern.settings TO postern_operator;
GRANT SELECT ON postern.settings TO postern_gate;

-- The number of the last change: programs know by it whether what they have is in force.
CREATE TABLE postern.settings_head (
	one    boolean PRIMARY KEY DEFAULT true CHECK (one),
	number int NOT NULL DEFAULT 0
);
INSERT INTO postern.settings_head DEFAULT VALUES;
GRANT SELECT ON postern.settings_head TO postern_gate;

RESET ROLE;

INSERT INTO postern.endpoints VALUES ('settings', 'postern.settings', NULL);
