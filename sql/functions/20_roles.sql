-- roles: named sets of scopes. Built-in ones are fixed; their scopes come from the route tables (gate.sync_scopes).
DROP SCHEMA IF EXISTS roles CASCADE;
CREATE SCHEMA roles AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW roles.item AS
SELECT r.id, r.name, r.base, r.description, r.scopes, r.built_in,
       (SELECT count(*) FROM postern.users u WHERE u.role = r.name) AS users,
       r.created_at, r.updated_at, r.version, 0::bigint AS tenant
FROM postern.roles r;

CREATE FUNCTION roles."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_scopes text[] := gate.given_scopes(b, 'scopes', '{}');
BEGIN
	IF EXISTS (SELECT FROM postern.roles r WHERE r.name = b ->> 'name') THEN
		PERFORM gate.fail(409, 'a role with this name exists', jsonb_build_object('name', 'is taken'));
	END IF;
	PERFORM roles.check(c, coalesce(b ->> 'base', 'customer'), v_scopes);
	IF (SELECT count(*) FROM postern.roles) >= 1000 THEN
		PERFORM gate.fail(409, 'there are 1000 roles, as many as there may be; delete some');
	END IF;
	INSERT INTO postern.roles (name, base, description, scopes)
	VALUES (b ->> 'name', coalesce(b ->> 'base', 'customer'), b ->> 'description', v_scopes)
	RETURNING id INTO v_id;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;

-- What a user writes into a role lies within what that user's token may do: there is no deny list in a role.
CREATE FUNCTION roles.check(c postern.caller, p_base text, p_scopes text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_more text;
BEGIN
	PERFORM gate.check_scopes('scopes', p_scopes);
	v_more := coalesce((SELECT min(w) FROM unnest(p_scopes) w WHERE NOT gate.may_grant(c, w) OR gate.denies(c.deny, w)),
		gate.role_exceeds(c, CASE p_base WHEN 'viewer' THEN 1 WHEN 'customer' THEN 2 ELSE 3 END, p_scopes));
	IF v_more IS NOT NULL THEN
		PERFORM gate.invalid('scopes', format('"%s" is more than your token holds', v_more));
	END IF;
	IF p_base = 'admin' THEN
		PERFORM users.needs_admin(c);
	END IF;
END $$;

CREATE FUNCTION roles."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	r postern.roles;
BEGIN
	SELECT * INTO r FROM postern.roles WHERE id = o::bigint;
	IF r.built_in THEN
		PERFORM gate.fail(409, 'built-in roles are fixed; create a role of your own instead');
	END IF;
	IF r.base = 'admin' THEN -- those who have it are administrators
		PERFORM users.needs_admin(c);
	END IF;
	PERFORM roles.check(c, gate.given(b, 'base', r.base), gate.given_scopes(b, 'scopes', r.scopes));
	UPDATE postern.roles SET
		base = gate.given(b, 'base', r.base),
		description = gate.given(b, 'description', r.description),
		scopes = gate.given_scopes(b, 'scopes', r.scopes),
		version = r.version + 1, updated_at = postern.clock()
	WHERE id = r.id;
	PERFORM users.keep_one_administrator();
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION roles."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	r postern.roles;
	v_users bigint;
	v_tokens bigint;
BEGIN
	SELECT * INTO r FROM postern.roles WHERE id = o::bigint;
	IF r.built_in THEN
		PERFORM gate.fail(409, 'built-in roles are fixed');
	END IF;
	v_users := (SELECT count(*) FROM postern.users WHERE role = r.name);
	v_tokens := (SELECT count(*) FROM postern.tokens WHERE role = r.name);
	IF v_users + v_tokens > 0 THEN
		PERFORM gate.fail(409, format('the role is in use by %s users and %s tokens; give them another role first', v_users, v_tokens),
			jsonb_build_object('users', v_users::text, 'tokens', v_tokens::text));
	END IF;
	DELETE FROM postern.roles WHERE id = r.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;

RESET ROLE;
