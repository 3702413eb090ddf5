-- users: who logs in and owns tokens.
DROP SCHEMA IF EXISTS users CASCADE;
CREATE SCHEMA users AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW users.item AS
SELECT u.id, u.username, u.email, u.role, nullif(u.account_id, 0) AS account_id,
       (SELECT a.username FROM postern.accounts a WHERE a.id = u.account_id) AS account,
       u.status, u.created_at, u.updated_at, u.version, u.account_id AS tenant
FROM postern.users u;

-- The account a body names, by number or by user name: one that is not the caller's is an unknown one. Null: none named.
CREATE FUNCTION users.account_of(c postern.caller, b jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id bigint;
BEGIN
	IF b ->> 'account_id' IS NOT NULL THEN
		SELECT a.id INTO v_id FROM postern.accounts a WHERE a.id = (b ->> 'account_id')::bigint;
		IF v_id IS NULL THEN
			PERFORM gate.invalid('account_id', 'there is no such account');
		END IF;
	END IF;
	IF b ->> 'account' IS NOT NULL THEN
		IF v_id IS DISTINCT FROM coalesce((SELECT a.id FROM postern.accounts a WHERE a.username = b ->> 'account'), -1)
		   AND (v_id IS NOT NULL OR NOT EXISTS (SELECT FROM postern.accounts a WHERE a.username = b ->> 'account')) THEN
			PERFORM gate.invalid('account', CASE WHEN v_id IS NULL THEN 'there is no such account'
				ELSE 'is not the account of account_id; give one of the two' END);
		END IF;
		SELECT a.id INTO v_id FROM postern.accounts a WHERE a.username = b ->> 'account';
	END IF;
	RETURN v_id;
END $$;

-- The account that a body names, else the caller's, for something more to be made in it: locked, so that what its plan allows is
-- counted by one at a time.
CREATE FUNCTION users.open_account(c postern.caller, b jsonb) RETURNS postern.accounts
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts;
BEGIN
	SELECT * INTO a FROM postern.accounts x WHERE x.id = coalesce(users.account_of(c, b), c.account_id) FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM gate.invalid('account_id', 'is required: your token is bound to no account; give account_id or account');
	ELSIF a.status NOT IN ('active', 'pending') THEN
		PERFORM gate.fail(409, format('the account is %s', a.status));
	END IF;
	RETURN a;
END $$;

-- A role or account that a user writes lies within their own. Administrators are changed only with users:admin.
CREATE FUNCTION users.check_role(c postern.caller, p_role text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	r postern.roles;
	w text;
BEGIN
	SELECT * INTO r FROM postern.roles WHERE name = p_role;
	IF NOT FOUND THEN
		PERFORM gate.invalid('role', format('there is no role "%s"', p_role));
	ELSIF r.rank > c.rank THEN
		PERFORM gate.invalid('role', format('"%s" is more than your own role', p_role));
	ELSIF r.rank = 3 THEN
		PERFORM users.needs_admin(c);
	ELSIF NOT gate.may_admin(c) THEN
		FOREACH w IN ARRAY r.scopes LOOP
			IF NOT gate.covers(c.role_scopes, w, c.rank) THEN
				PERFORM gate.invalid('role', format('"%s" has the scope %s, which is more than your own role', p_role, w));
			END IF;
		END LOOP;
	END IF;
END $$;
CREATE FUNCTION users.needs_admin(c postern.caller) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF NOT (gate.may_admin(c) AND gate.holds(c.scopes, 'users:admin', false, c.rank)
	        AND gate.holds(c.role_scopes, 'users:admin', false, c.rank)) OR gate.denies(c.deny, 'users:admin') THEN
		PERFORM gate.fail(403, 'administrators are changed only with the scope users:admin', '{"scope":"users:admin"}');
	END IF;
END $$;
CREATE FUNCTION users.is_admin(p_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT r.rank = 3 FROM postern.users u JOIN postern.roles r ON r.name = u.role WHERE u.id = p_id
$$;
-- The last administrator stays. Removals take turns and look after their own, so that two cannot both be the last but one.
CREATE FUNCTION users.keep_one_administrator() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_left int;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('postern.last_administrator'));
	SELECT count(*) INTO v_left FROM postern.users u JOIN postern.roles r ON r.name = u.role
	WHERE r.rank = 3 AND '*' = ANY (r.scopes) AND u.status = 'active' AND u.account_id = 0;
	IF v_left = 0 THEN
		PERFORM gate.fail(409, 'this is the last active administrator; make another one first');
	END IF;
END $$;

CREATE FUNCTION users."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_account bigint := coalesce(users.account_of(c, b), c.account_id);
	v_role text := coalesce(b ->> 'role', 'customer');
BEGIN
	PERFORM users.check_role(c, v_role);
	BEGIN
		INSERT INTO postern.users (account_id, username, email, role) VALUES (v_account, b ->> 'username', b ->> 'email', v_role)
		RETURNING id INTO v_id;
	EXCEPTION WHEN unique_violation THEN
		PERFORM gate.fail(409, 'a user with this username exists', jsonb_build_object('username', 'is taken'));
	END;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;

CREATE FUNCTION users."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	u postern.users;
	v_account bigint := users.account_of(c, b);
	v_was_admin boolean := users.is_admin(o::bigint);
BEGIN
	SELECT * INTO u FROM postern.users WHERE id = o::bigint;
	IF v_was_admin THEN
		PERFORM users.needs_admin(c);
	END IF;
	IF b ? 'role' AND b ->> 'role' IS DISTINCT FROM u.role THEN
		IF NOT gate.may_admin(c) THEN
			PERFORM gate.fail(403, 'role: is changed by administrators only', '{"role":"is changed by administrators only"}');
		END IF;
		PERFORM users.check_role(c, b ->> 'role');
	END IF;
	IF (b ? 'account_id' AND b ->> 'account_id' IS NULL) OR (b ? 'account' AND b ->> 'account' IS NULL) THEN
		v_account := coalesce(v_account, 0);
	END IF;
	IF NOT gate.may_admin(c) AND v_account <> c.account_id THEN
		PERFORM gate.invalid('account_id', 'only an administrator takes a user out of its account; give your own');
	END IF;
	UPDATE postern.users SET
		email = gate.given(b, 'email', u.email),
		role = gate.given(b, 'role', u.role),
		account_id = coalesce(v_account, u.account_id),
		version = u.version + 1, updated_at = postern.clock()
	WHERE id = u.id;
	IF v_was_admin THEN
		PERFORM users.keep_one_administrator();
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION users.set_status(c postern.caller, o text, p_from text, p_to text) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_was_admin boolean := users.is_admin(o::bigint);
	v_done postern.done;
BEGIN
	IF v_was_admin THEN
		PERFORM users.needs_admin(c);
	END IF;
	v_done := gate.set_status('postern.users', 'user', o, p_from, p_to);
	IF v_was_admin THEN
		PERFORM users.keep_one_administrator();
	END IF;
	RETURN v_done;
END $$;
CREATE FUNCTION users.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT users.set_status(c, o, 'active', 'suspended') $$;
CREATE FUNCTION users.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT users.set_status(c, o, 'suspended', 'active') $$;

CREATE FUNCTION users.remove(c postern.caller, p_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_was_admin boolean := users.is_admin(p_id);
BEGIN
	IF v_was_admin THEN
		PERFORM users.needs_admin(c);
	END IF;
	DELETE FROM postern.tokens WHERE user_id = p_id;
	DELETE FROM postern.users WHERE id = p_id;
	IF v_was_admin THEN
		PERFORM users.keep_one_administrator();
	END IF;
END $$;
CREATE FUNCTION users."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_tokens bigint := (SELECT count(*) FROM postern.tokens t WHERE t.user_id = o::bigint AND t.revoked_at IS NULL);
BEGIN
	IF users.is_admin(o::bigint) THEN
		PERFORM users.needs_admin(c);
	END IF;
	IF v_tokens > 0 AND NOT coalesce((b ->> 'cascade')::boolean, false) THEN
		PERFORM gate.fail(409, format('the user still owns %s tokens; revoke them first or use cascade=true', v_tokens),
			jsonb_build_object('tokens', gate.some_of(ARRAY(SELECT t.name FROM postern.tokens t
				WHERE t.user_id = o::bigint AND t.revoked_at IS NULL ORDER BY 1 LIMIT 20), v_tokens)));
	END IF;
	PERFORM users.remove(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
EXCEPTION WHEN foreign_key_violation THEN -- rows that a tenant does not see
	PERFORM gate.fail(409, 'the user still owns tokens outside this account, from before the user came here; ask your administrator');
END $$;

RESET ROLE;
