-- Databases: what is on their servers is brought to the present arrangement, and names of users on PostgreSQL are those of
-- accounts, too: where a server asks the kernel who somebody is (peer), a Unix user is the role of his name.
SET LOCAL ROLE postern_owner;

ALTER TABLE postern.databases ADD COLUMN arranged int NOT NULL DEFAULT 0; -- as databases.arrangement() was when it was applied last
CREATE INDEX databases_arranged ON postern.databases (arranged);

CREATE FUNCTION postern.reserve_username() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO postern.database_names VALUES ('postgresql', 'user', NEW.username, NEW.id);
	ELSE
		DELETE FROM postern.database_names n WHERE n.engine = 'postgresql' AND n.what = 'user' AND n.name = OLD.username AND n.account_id = OLD.id;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER reserve_username AFTER INSERT OR DELETE ON postern.accounts FOR EACH ROW EXECUTE FUNCTION postern.reserve_username();

RESET ROLE;

INSERT INTO postern.database_names SELECT 'postgresql', 'user', a.username, a.id FROM postern.accounts a WHERE a.id > 0 ON CONFLICT DO NOTHING;
