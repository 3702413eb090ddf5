-- users: who logs in and owns tokens.
DROP SCHEMA IF EXISTS users CASCADE;
CREATE SCHEMA users AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW users.item AS
SELECT u.id, u.username, CASE WHEN r.rank < 3 OR gate.sees('staff') THEN u.email END AS email, u.role, nullif(u.account_id, 0) AS account_id,
       (SELECT a.username FROM postern.accounts a WHERE a.id = u.account_id) AS account,
       u.status, gate.held_by(u.held) AS held_by, u.created_at, u.updated_at, u.version, u.account_id AS tenant
FROM postern.users u LEFT JOIN postern.roles r ON r.name = u.role;

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
	SELECT * INTO a FROM postern.accounts x WHERE x.id = coalesce(users.account_of(c, b), c.account_id) FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM gate.invalid('account_id', 'is required: you are bound to no account; give account or account_id');
	ELSIF a.status NOT IN ('active', 'pending') THEN
		PERFORM gate.fail(409, accounts.closed(a.status));
	END IF;
	RETURN a;
END $$;

-- Whoever makes a user, or lets one in again or elsewhere, hands on what the user's role opens: all of it lies within what the
-- caller may do now. The first scope that does not, or null.
CREATE FUNCTION users.exceeds(c postern.caller, r postern.roles) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT min(w) FROM unnest(r.scopes) w WHERE NOT gate.may_grant(c, w)), gate.role_exceeds(c, r.rank, r.scopes))
$$;
CREATE FUNCTION users.check_present_role(c postern.caller, p_role text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_more text := (SELECT users.exceeds(c, r) FROM postern.roles r WHERE r.name = p_role);
BEGIN
	IF v_more IS NOT NULL THEN
		PERFORM gate.fail(403, format('the user''s role "%s" has the scope %s, which your token may not use; use a wider token', p_role, v_more),
			jsonb_build_object('scope', v_more));
	END IF;
END $$;
-- Administrators are made and changed only with users:admin.
CREATE FUNCTION users.check_role(c postern.caller, p_role text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	r postern.roles;
	v_more text;
BEGIN
	SELECT * INTO r FROM postern.roles WHERE name = p_role;
	IF NOT FOUND THEN
		PERFORM gate.invalid('role', format('there is no role "%s"', p_role));
	ELSIF r.rank > c.rank THEN
		PERFORM gate.invalid('role', format('"%s" is more than your own role', p_role));
	ELSIF r.rank = 3 THEN
		PERFORM users.needs_admin(c);
	END IF;
	v_more := users.exceeds(c, r);
	IF v_more IS NOT NULL THEN
		PERFORM gate.invalid('role', format('"%s" has the scope %s, which your token may not use; name a role within it, or use a wider token', p_role, v_more));
	END IF;
END $$;
CREATE FUNCTION users.needs_admin(c postern.caller) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF NOT (gate.may_admin(c) AND gate.may(c, 'users:admin')) THEN
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

-- User names are unique over the installation. Those that a tenant gives have the account's before them, given or not, so that
-- whatever is taken is the account's own: nobody learns who else is there.
CREATE FUNCTION users.full_name(c postern.caller, p_account bigint, p_given text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_prefix text := (SELECT a.username || '-' FROM postern.accounts a WHERE a.id = p_account);
	v_name text := CASE WHEN gate.may_admin(c) OR starts_with(p_given, v_prefix) THEN p_given ELSE v_prefix || p_given END;
BEGIN
	IF length(v_name) > 32 THEN
		PERFORM gate.invalid('username', format('with the prefix %s may have at most 32 characters; it has %s', v_prefix, length(v_name)));
	END IF;
	RETURN v_name;
END $$;
CREATE FUNCTION users."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_account bigint := coalesce(users.account_of(c, b), c.account_id);
	v_role text := coalesce(b ->> 'role', 'customer');
	v_name text := users.full_name(c, v_account, b ->> 'username');
BEGIN
	PERFORM users.check_role(c, v_role);
	PERFORM accounts.check_quota(v_account, 'users');
	BEGIN
		INSERT INTO postern.users (account_id, username, email, role) VALUES (v_account, v_name, b ->> 'email', v_role)
		RETURNING id INTO v_id;
	EXCEPTION WHEN unique_violation THEN
		IF NOT EXISTS (SELECT FROM postern.users u WHERE u.username = v_name) THEN -- one that this caller does not see
			PERFORM gate.invalid('username', 'cannot be used; choose another');
		END IF;
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
	IF v_account <> u.account_id THEN -- where the user then may do the same
		PERFORM users.check_present_role(c, u.role);
		PERFORM accounts.check_quota(v_account, 'users');
	END IF;
	UPDATE postern.users SET email = gate.given(b, 'email', u.email), version = u.version + 1, updated_at = postern.clock()
	WHERE id = u.id;
	IF gate.may_admin(c) THEN
		UPDATE postern.users SET role = gate.given(b, 'role', u.role), account_id = coalesce(v_account, u.account_id) WHERE id = u.id;
	END IF;
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
	IF p_to = 'active' THEN -- whose tokens then are let in again
		PERFORM users.check_present_role(c, (SELECT u.role FROM postern.users u WHERE u.id = o::bigint));
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
