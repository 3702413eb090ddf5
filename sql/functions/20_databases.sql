-- databases: PostgreSQL and MariaDB databases of accounts, each with a user of its own.
DROP SCHEMA IF EXISTS databases CASCADE;
CREATE SCHEMA databases AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW databases.item AS
SELECT d.id, d.name, d.username AS "user", d.engine, d.charset, s.host, s.port, d.account_id, a.username AS account, d.size_bytes, d.status,
       gate.held_by(d.held) AS held_by, d.last_error, d.job_id, d.created_at, d.updated_at, d.version, d.account_id AS tenant
FROM postern.databases d LEFT JOIN postern.accounts a ON a.id = d.account_id LEFT JOIN postern.servers s ON s.name = d.engine;

CREATE FUNCTION databases.learn(p_servers jsonb, p_all boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM gate.learn_servers(p_servers, '{postgresql,mariadb}', p_all);
END $$;

-- A name with the account's prefix, given or not, as both servers take it; else 422.
CREATE FUNCTION databases.full_name(p_field text, p_given text, p_account text, p_engine text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	v_prefix text := p_account || '_';
	v_name text := CASE WHEN starts_with(p_given, v_prefix) THEN p_given ELSE v_prefix || p_given END;
BEGIN
	IF v_name = v_prefix THEN
		PERFORM gate.invalid(p_field, format('needs something after the prefix %s', v_prefix));
	ELSIF octet_length(v_name) > 63 THEN
		PERFORM gate.invalid(p_field, format('with the prefix %s may have at most 63 bytes; it has %s', v_prefix, octet_length(v_name)));
	ELSIF v_name ~ '[\u0080-\u009f\u2028\u2029]' THEN
		PERFORM gate.invalid(p_field, 'must not contain control characters');
	-- roles that Postern makes by their names, and what PostgreSQL and MariaDB keep for themselves
	ELSIF v_name ~ '^(postern|pg)_' OR v_name ~* '^(information|performance)_schema$' THEN
		PERFORM gate.invalid(p_field, format('"%s" is reserved; choose another', v_name));
	ELSIF p_engine = 'mariadb' AND v_name ~ '[\U00010000-\U0010ffff]' THEN
		PERFORM gate.invalid(p_field, 'MariaDB takes no characters beyond U+FFFF (such as emoji) in names');
	ELSIF p_engine = 'mariadb' AND v_name LIKE '% ' THEN
		PERFORM gate.invalid(p_field, 'must not end with a space: MariaDB takes no such names');
	-- MariaDB keeps permissions by a pattern of 64 characters
	ELSIF p_engine = 'mariadb' AND p_field = 'name' AND length(regexp_replace(v_name, '([_%\\])', '\1\1', 'g')) > 64 THEN
		PERFORM gate.invalid(p_field, 'is too long: MariaDB takes at most 64 characters, where _ % and \ count twice');
	END IF;
	RETURN v_name;
END $$;

CREATE FUNCTION databases.check_charset(p_engine text, p_charset text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF p_engine = 'postgresql' AND p_charset <> 'UTF8' THEN
		PERFORM gate.invalid('charset', 'must be UTF8 for PostgreSQL');
	ELSIF p_engine = 'mariadb' AND p_charset = 'UTF8' THEN
		PERFORM gate.invalid('charset', 'must be one of: utf8mb4 utf8mb3 latin1 for MariaDB');
	END IF;
END $$;

CREATE FUNCTION databases.verifier(p_engine text, b jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT b ->> CASE p_engine WHEN 'postgresql' THEN '_scram' ELSE '_native' END $$;

-- Bring the server to what the row says.
CREATE FUNCTION databases.apply(c postern.caller, p_id bigint) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_account bigint := (SELECT d.account_id FROM postern.databases d WHERE d.id = p_id);
	v_job uuid := gate.work(c, v_account, 'database.apply', 'databases', p_id::text);
BEGIN
	UPDATE postern.databases SET job_id = v_job, last_error = NULL, status = CASE status WHEN 'error' THEN 'pending' ELSE status END
	WHERE id = p_id;
	RETURN ROW(p_id::text, NULL)::postern.done;
END $$;

CREATE FUNCTION databases."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts := users.open_account(c, b);
	v_id bigint;
	v_engine text := b ->> 'engine';
	v_name text;
	v_user text;
	v_charset text := coalesce(b ->> 'charset', CASE b ->> 'engine' WHEN 'postgresql' THEN 'UTF8' ELSE 'utf8mb4' END);
	v_what text := 'name';
BEGIN
	PERFORM accounts.check_quota(a.id, 'databases');
	v_name := databases.full_name('name', b ->> 'name', a.username, v_engine);
	v_user := databases.full_name('user', coalesce(b ->> 'user', v_name), a.username, v_engine);
	PERFORM databases.check_charset(v_engine, v_charset);
	BEGIN
		INSERT INTO postern.database_names VALUES (v_engine, 'database', v_name, a.id);
		v_what := 'user';
		INSERT INTO postern.database_names VALUES (v_engine, 'user', v_user, a.id);
	EXCEPTION WHEN unique_violation THEN
		PERFORM gate.fail(409, format('this %s is taken', CASE v_what WHEN 'name' THEN 'database' ELSE 'user' END),
			jsonb_build_object(v_what, 'is taken'));
	END;
	INSERT INTO postern.databases (account_id, engine, name, username, charset, verifier)
	VALUES (a.id, v_engine, v_name, v_user, v_charset, databases.verifier(v_engine, b))
	RETURNING id INTO v_id;
	RETURN databases.apply(c, v_id);
END $$;

-- The row, unless it is being removed.
CREATE FUNCTION databases.present(o text) RETURNS databases.item
LANGUAGE plpgsql AS $$
DECLARE
	d databases.item;
BEGIN
	SELECT * INTO d FROM databases.item x WHERE x.id = o::bigint;
	IF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the database is being deleted');
	END IF;
	RETURN d;
END $$;

CREATE FUNCTION databases."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d databases.item := databases.present(o);
	v_charset text := gate.given(b, 'charset', d.charset);
BEGIN
	PERFORM databases.check_charset(d.engine, v_charset);
	UPDATE postern.databases SET charset = v_charset, version = d.version + 1, updated_at = postern.clock() WHERE id = d.id;
	IF v_charset = d.charset AND d.status <> 'error' THEN
		RETURN ROW(o, NULL)::postern.done;
	END IF;
	RETURN databases.apply(c, d.id);
END $$;

CREATE FUNCTION databases.rotate_password(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d databases.item := databases.present(o);
BEGIN
	UPDATE postern.databases SET verifier = databases.verifier(d.engine, b), version = d.version + 1, updated_at = postern.clock()
	WHERE id = d.id;
	RETURN databases.apply(c, d.id);
END $$;

CREATE FUNCTION databases.set_suspended(c postern.caller, o text, p_suspended boolean) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d databases.item := databases.present(o);
	v_suspended boolean := (SELECT x.suspended FROM postern.databases x WHERE x.id = d.id);
BEGIN
	IF p_suspended AND v_suspended AND gate.take_over('postern.databases', o, 'suspended') THEN
		RETURN ROW(o, NULL)::postern.done;
	ELSIF p_suspended = v_suspended THEN
		PERFORM gate.fail(409, CASE WHEN p_suspended THEN 'the database is suspended already' ELSE 'the database is not suspended' END);
	END IF;
	UPDATE postern.databases SET suspended = p_suspended, status = 'pending',
		version = d.version + 1, updated_at = postern.clock()
	WHERE id = d.id;
	RETURN databases.apply(c, d.id);
END $$;
CREATE FUNCTION databases.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT databases.set_suspended(c, o, true) $$;
CREATE FUNCTION databases.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT databases.set_suspended(c, o, false) $$;

CREATE FUNCTION databases.remove(c postern.caller, p_id bigint) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_account bigint := (SELECT d.account_id FROM postern.databases d WHERE d.id = p_id);
	v_job uuid := gate.work(c, v_account, 'database.remove', 'databases', p_id::text);
BEGIN
	UPDATE postern.databases SET status = 'deleting', job_id = v_job, version = version + 1, updated_at = postern.clock() WHERE id = p_id;
	RETURN v_job;
END $$;
CREATE FUNCTION databases."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d databases.item := databases.present(o);
	v_goes jsonb := jsonb_build_array(gate.thing('databases', d.id::text, d.name, d.size_bytes));
BEGIN
	PERFORM databases.remove(c, d.id);
	RETURN gate.deleted(b, o, 'database', d.name, v_goes);
END $$;

-- An account was suspended or taken up again: so are its databases.
CREATE FUNCTION databases.account_changed(c postern.caller, p_account bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM databases.apply(c, d.id) FROM postern.databases d WHERE d.account_id = p_account AND d.status <> 'deleting' ORDER BY d.id;
END $$;

-- What the worker is told (docs/actions.md), and what becomes of the row when it is done.
CREATE FUNCTION databases.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN j.kind = 'database.measure' THEN '{}' ELSE (
		SELECT jsonb_build_object('engine', d.engine, 'name', d.name, 'user', d.username, 'marker', d.marker)
			|| CASE WHEN j.kind = 'database.remove' THEN '{}' ELSE jsonb_build_object('charset', d.charset, 'verifier', d.verifier,
				'suspended', d.suspended OR a.status = 'suspended', 'connections', a.max_database_connections) END
		FROM postern.databases d JOIN postern.accounts a ON a.id = d.account_id WHERE d.id = j.object_id::bigint) END
$$;
-- Counted up when the worker comes to arrange what is on the servers in another way: whatever is there follows by itself.
CREATE FUNCTION databases.arrangement() RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;

-- Sizes change without a change of ours: they are measured four times a day.
CREATE FUNCTION databases.due() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM databases.apply(work.clockwork(), x.id) FROM (SELECT d.id FROM postern.databases d WHERE d.arranged < databases.arrangement()
		AND d.status IN ('active', 'suspended') AND NOT EXISTS (SELECT FROM postern.jobs j WHERE j.account_id = d.account_id
		AND j.id = d.job_id AND j.status IN ('queued', 'running')) ORDER BY d.id LIMIT 20) x;
	IF EXISTS (SELECT FROM postern.databases) AND NOT EXISTS (SELECT FROM postern.jobs j WHERE j.account_id = 0
	   AND j.kind = 'database.measure' AND j.created_at > postern.clock() - interval '6 hours') THEN
		PERFORM gate.work(work.clockwork(), 0, 'database.measure', 'databases', NULL);
	END IF;
END $$;
CREATE FUNCTION databases.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	d postern.databases;
BEGIN
	IF j.kind = 'database.measure' THEN
		UPDATE postern.databases x SET size_bytes = (s.value #>> '{}')::bigint, version = x.version + 1, updated_at = postern.clock()
		FROM jsonb_each(j.result -> 'sizes') s WHERE x.marker::text = s.key AND x.size_bytes <> (s.value #>> '{}')::bigint;
		RETURN;
	END IF;
	SELECT * INTO d FROM postern.databases x WHERE x.id = j.object_id::bigint FOR UPDATE;
	IF j.status = 'succeeded' AND j.kind = 'database.remove' THEN
		DELETE FROM postern.database_names n WHERE n.account_id = d.account_id AND n.engine = d.engine
			AND (n.what, n.name) IN (('database', d.name), ('user', d.username));
	ELSIF j.status = 'succeeded' THEN
		UPDATE postern.databases x SET size_bytes = coalesce((j.result ->> 'size_bytes')::bigint, x.size_bytes),
			arranged = databases.arrangement() WHERE x.id = d.id;
	END IF;
	PERFORM gate.settle_status('postern.databases', j, CASE
		WHEN d.suspended OR (SELECT a.status FROM postern.accounts a WHERE a.id = d.account_id) = 'suspended' THEN 'suspended'
		ELSE 'active' END);
END $$;

RESET ROLE;
