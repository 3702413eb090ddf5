-- tokens: minting, revoking, rotating. Values never come here: the binary sends a key id and its digest (lib/token.h).
DROP SCHEMA IF EXISTS tokens CASCADE;
CREATE SCHEMA tokens AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW tokens.item AS
SELECT t.id, t.name,
       (SELECT k.key_id FROM postern.keys k WHERE k.token_id = t.id ORDER BY k.expires_at DESC NULLS FIRST, k.created_at DESC LIMIT 1) AS key_id,
       t.user_id, u.username AS owner, nullif(t.account_id, 0) AS account_id,
       (SELECT a.username FROM postern.accounts a WHERE a.id = t.account_id) AS account,
       t.role, t.scopes, t.deny, CASE WHEN NOT t.by_staff OR gate.sees('staff') THEN t.allowed_ips END AS allowed_ips, t.rate_limit, t.action_limit, t.expires_at,
       CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked'
            WHEN t.expires_at <= postern.clock() THEN 'expired'
            WHEN t.expires_at <= postern.clock() + interval '14 days' THEN 'expiring'
            ELSE 'active' END AS status,
       (SELECT max(k.expires_at) FROM postern.keys k WHERE k.token_id = t.id AND k.expires_at > postern.clock()) AS old_key_expires_at,
       CASE WHEN t.by_staff THEN 'administrator' END AS held_by,
       t.parent_id, t.created_at, r.last_used_at, CASE WHEN NOT t.by_staff OR gate.sees('staff') THEN r.last_used_ip END AS last_used_ip,
       t.revoked_at, t.updated_at, t.version, t.account_id AS tenant
FROM postern.tokens t
LEFT JOIN postern.users u ON u.id = t.user_id
LEFT JOIN postern.rates r ON r.token_id = t.id;

-- The token of the request, whatever it may do. What the row withholds of an administrator's token is its bearer's to know.
CREATE FUNCTION tokens.self(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('id', c.token_id, 'name', c.token_name, 'key_id', c.key_id, 'user_id', c.user_id, 'owner', c.username,
		'account_id', nullif(c.account_id, 0), 'account', (SELECT a.username FROM postern.accounts a WHERE a.id = c.account_id),
		'role', t.role, 'scopes', to_jsonb(c.scopes), 'deny', to_jsonb(c.deny), 'allowed_ips', to_jsonb(c.allowed_ips::text[]),
		'rate_limit', c.rate_limit, 'action_limit', c.action_limit, 'expires_at', c.expires_at, 'status', t.status,
		'old_key_expires_at', t.old_key_expires_at, 'parent_id', t.parent_id, 'created_at', t.created_at)
	FROM (VALUES (1)) x LEFT JOIN tokens.item t ON t.id = c.token_id
$$;

-- Nobody can mint more than they hold: what is asked for lies within the minter's, field by field.
CREATE FUNCTION tokens."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	u postern.users;
	r postern.roles;
	v_rank int;                                    -- the owner's
	v_account bigint := users.account_of(c, b);
	v_role text := b ->> 'role';
	v_cap text;                                    -- the minter's role cap: taken over unless a lesser role is named
	v_scopes text[] := gate.given_scopes(b, 'scopes', NULL);
	v_deny text[] := gate.given_scopes(b, 'deny', '{}');
	v_ips cidr[] := gate.given_list(b, 'allowed_ips', c.allowed_ips::text[])::cidr[];
	v_free boolean := gate.may_admin(c);           -- an unbound administrator's limits are free
	v_rate int := coalesce((b ->> 'rate_limit')::int, least(60, CASE WHEN NOT v_free THEN c.rate_limit END));
	v_actions int := coalesce((b ->> 'action_limit')::int, least(10, CASE WHEN NOT v_free THEN c.action_limit END));
	v_expires timestamptz;
	v_id uuid;
	v_more text;
	v_count bigint;
	v_names text;
	w text;
	net cidr;
BEGIN
	IF c.token_id IS NOT NULL THEN -- whoever revokes the minter meanwhile waits, and then sees what it minted
		PERFORM FROM postern.tokens t WHERE t.id = c.token_id AND t.revoked_at IS NULL FOR SHARE;
		IF NOT FOUND THEN
			PERFORM gate.fail(401, 'revoked');
		END IF;
	END IF;
	IF c.user_id IS NULL AND NOT (b ? 'user_id' OR b ? 'owner') THEN -- the operator's: where there is one administrator, it is theirs
		SELECT count(*), string_agg(x.username, ', ' ORDER BY x.username) INTO v_count, v_names
		FROM postern.users x WHERE x.status = 'active' AND users.is_admin(x.id);
		IF v_count IS DISTINCT FROM 1 THEN
			PERFORM gate.invalid('owner', 'is required: the user who owns the token' || coalesce('; administrators are: ' || left(v_names, 200), ''));
		END IF;
		b := b || jsonb_build_object('owner', v_names);
	END IF;
	IF b ? 'user_id' OR b ? 'owner' THEN
		IF NOT v_free THEN
			PERFORM gate.fail(403, 'only an administrator makes tokens of other users', '{"scope":"tokens:write"}');
		END IF;
		SELECT * INTO u FROM postern.users x
		WHERE CASE WHEN b ? 'user_id' THEN x.id = (b ->> 'user_id')::bigint ELSE x.username = b ->> 'owner' END;
		IF NOT FOUND THEN
			PERFORM gate.invalid(CASE WHEN b ? 'user_id' THEN 'user_id' ELSE 'owner' END, 'there is no such user');
		ELSIF b ? 'user_id' AND b ? 'owner' AND u.username <> b ->> 'owner' THEN
			PERFORM gate.invalid('owner', 'is not the user of user_id; give one of the two');
		ELSIF u.status <> 'active' THEN
			PERFORM gate.fail(409, 'the user is suspended');
		END IF;
		v_rank := (SELECT rank FROM postern.roles WHERE name = u.role);
		IF v_rank = 3 AND u.id IS DISTINCT FROM c.user_id THEN -- what it does would be done in that administrator's name
			PERFORM users.needs_admin(c);
		END IF;
	ELSE -- the caller, as the gate knows it: the row of an administrator bound to an account is not the account's to see
		u.id := c.user_id;
		u.account_id := c.account_id;
		v_rank := c.owner_rank;
	END IF;

	-- account: a user's token reaches that user's account only; an administrator's is bound to one or to none
	IF least(v_rank, c.rank) < 3 THEN
		IF v_account IS NOT NULL AND v_account <> u.account_id THEN
			PERFORM gate.invalid(CASE WHEN b ? 'account_id' THEN 'account_id' ELSE 'account' END, 'is not the owner''s account');
		END IF;
		v_account := u.account_id;
	ELSE
		v_account := coalesce(v_account, c.account_id);
	END IF;

	-- role and scopes
	v_cap := (SELECT t.role FROM postern.tokens t WHERE t.id = c.token_id);
	IF v_role IS NOT NULL THEN
		SELECT * INTO r FROM postern.roles x WHERE x.name = v_role;
		IF NOT FOUND THEN
			PERFORM gate.invalid('role', format('there is no role "%s"', v_role));
		ELSIF r.rank > v_rank THEN
			PERFORM gate.invalid('role', 'is more than the owner''s role');
		ELSIF r.rank > c.rank OR (v_cap IS NOT NULL
		      AND EXISTS (SELECT FROM unnest(r.scopes) s WHERE NOT gate.covers(c.cap_scopes, s, c.rank))) THEN
			PERFORM gate.invalid('role', 'is more than your token''s own role');
		END IF;
		v_scopes := coalesce(v_scopes, r.scopes);
	END IF;
	IF v_scopes IS NULL OR v_scopes = '{}' THEN
		PERFORM gate.invalid('scopes', 'is required: a list such as ["domains:read"], or give role for all that a role has');
	END IF;
	v_deny := ARRAY(SELECT DISTINCT d FROM unnest(v_deny || c.deny) d ORDER BY d); -- what the minter may not, the new one may not
	PERFORM gate.check_scopes('scopes', v_scopes);
	PERFORM gate.check_scopes('deny', v_deny);
	FOREACH w IN ARRAY v_scopes LOOP
		IF NOT gate.may_grant(c, w) THEN
			PERFORM gate.invalid('scopes', format('"%s" is more than your token holds', w));
		END IF;
	END LOOP;

	-- addresses
	IF c.allowed_ips <> '{}' AND v_ips = '{}' THEN
		PERFORM gate.invalid('allowed_ips', 'must lie within your token''s own list; leave it out to take that over');
	END IF;
	FOREACH net IN ARRAY v_ips LOOP
		IF c.allowed_ips <> '{}' AND NOT net <<= ANY (c.allowed_ips) THEN
			PERFORM gate.invalid('allowed_ips', format('%s is not within your token''s own list', net));
		END IF;
	END LOOP;

	-- limits and expiry
	IF NOT v_free AND v_rate > c.rate_limit THEN
		PERFORM gate.invalid('rate_limit', format('must be at most your token''s own, %s', c.rate_limit));
	ELSIF NOT v_free AND v_actions > c.action_limit THEN
		PERFORM gate.invalid('action_limit', format('must be at most your token''s own, %s', c.action_limit));
	END IF;
	v_expires := CASE WHEN b ? 'expires_at' THEN (b ->> 'expires_at')::timestamptz
	             ELSE least(postern.clock() + interval '1 year', c.expires_at) END;
	IF v_expires <= postern.clock() THEN
		PERFORM gate.invalid('expires_at', 'must lie in the future');
	ELSIF c.expires_at IS NOT NULL AND (v_expires IS NULL OR v_expires > c.expires_at) THEN
		PERFORM gate.invalid('expires_at', 'must not be later than your own token''s expiry, '
			|| to_char(c.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
	END IF;

	PERFORM accounts.check_quota(v_account, 'tokens');
	BEGIN
		INSERT INTO postern.tokens (account_id, user_id, name, role, scopes, deny, allowed_ips, rate_limit, action_limit,
			expires_at, parent_id)
		VALUES (v_account, u.id, b ->> 'name', coalesce(v_role, v_cap), v_scopes, v_deny, v_ips, v_rate, v_actions, v_expires, c.token_id)
		RETURNING id INTO v_id;
	EXCEPTION WHEN unique_violation THEN
		PERFORM gate.fail(409, 'the owner has a token of this name', jsonb_build_object('name', 'is taken'));
	END;
	INSERT INTO postern.rates (token_id, account_id) VALUES (v_id, v_account);
	PERFORM tokens.add_key(v_id, v_account, b);
	v_more := gate.token_exceeds(c, v_id);
	IF v_more IS NOT NULL THEN
		PERFORM gate.fail(403, format('the new token would be let in to %s, and yours is not', v_more), jsonb_build_object('scope', v_more));
	END IF;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;
CREATE FUNCTION tokens.add_key(p_token uuid, p_account bigint, b jsonb) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO postern.keys (key_id, token_id, account_id, digest, pepper_id)
	VALUES (b ->> '_key_id', p_token, p_account, decode(b ->> '_digest', 'hex'), b ->> '_pepper_id')
$$;

CREATE FUNCTION tokens."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tokens.check_owner(c, o::uuid);
	PERFORM tokens.check_reach(c, o::uuid, 'rename');
	UPDATE postern.tokens t SET name = gate.given(b, 'name', t.name), version = t.version + 1, updated_at = postern.clock()
	WHERE t.id = o::uuid;
	RETURN ROW(o, NULL)::postern.done;
EXCEPTION WHEN unique_violation THEN
	PERFORM gate.fail(409, 'the owner has a token of this name', jsonb_build_object('name', 'is taken'));
END $$;

-- Revoke tokens, and what they minted, and what those minted, unless descendants are to stay. Returns those revoked now. A token
-- that mints is locked until its child is committed, so what was waited for may have left a child: looked for until there is none.
CREATE FUNCTION tokens.revoke_all(p_ids uuid[], p_descendants boolean) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
	v_all uuid[] := '{}';
	v_gone uuid[];
BEGIN
	LOOP
		WITH RECURSIVE tree (id) AS (
			SELECT unnest(p_ids)
			UNION
			SELECT t.id FROM tree JOIN postern.tokens t ON t.parent_id = tree.id WHERE p_descendants
		), locked AS MATERIALIZED (
			SELECT t.id FROM postern.tokens t JOIN tree USING (id) WHERE t.revoked_at IS NULL ORDER BY t.id FOR UPDATE OF t
		), gone AS (
			UPDATE postern.tokens t SET revoked_at = postern.clock(), version = t.version + 1, updated_at = postern.clock()
			FROM locked WHERE t.id = locked.id AND t.revoked_at IS NULL RETURNING t.id
		)
		SELECT coalesce(array_agg(id), '{}') INTO v_gone FROM gone;
		EXIT WHEN v_gone = '{}';
		v_all := v_all || v_gone;
	END LOOP;
	RETURN v_all;
END $$;
-- Another administrator's token is changed as that administrator is: with users:admin.
CREATE FUNCTION tokens.check_owner(c postern.caller, p_token uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_owner bigint := (SELECT t.user_id FROM postern.tokens t WHERE t.id = p_token);
BEGIN
	IF c.kind = 'token' AND v_owner IS DISTINCT FROM c.user_id AND p_token IS DISTINCT FROM c.token_id AND users.is_admin(v_owner) THEN
		PERFORM users.needs_admin(c);
	END IF;
END $$;
CREATE FUNCTION tokens.revoke(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tokens.check_owner(c, o::uuid);
	PERFORM tokens.revoke_all(ARRAY[o::uuid], coalesce((b ->> 'descendants')::boolean, true));
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION tokens.revoke_many(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_ids uuid[] := gate.given_list(b, 'ids', '{}')::uuid[];
	v_known uuid[] := ARRAY(SELECT t.id FROM postern.tokens t WHERE t.id = ANY (v_ids)
		AND (gate.is_staff(c) OR NOT t.by_staff OR t.id = c.token_id));
BEGIN
	PERFORM tokens.check_owner(c, i) FROM unnest(v_known) i;
	PERFORM tokens.revoke_all(v_known, coalesce((b ->> 'descendants')::boolean, true));
	RETURN ROW(NULL, jsonb_build_object(
		'revoked', to_jsonb(ARRAY(SELECT DISTINCT i FROM unnest(v_ids) i WHERE i = ANY (v_known))),
		'not_found', to_jsonb(ARRAY(SELECT DISTINCT i FROM unnest(v_ids) i WHERE NOT i = ANY (v_known)))))::postern.done;
END $$;

-- A new key under the same token; the old ones end after the grace. At most two keys at any time.
CREATE FUNCTION tokens.rotate(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	t postern.tokens;
	v_grace int := coalesce((b ->> 'grace_s')::int, 0);
BEGIN
	SELECT * INTO t FROM postern.tokens WHERE id = o::uuid;
	IF t.revoked_at IS NOT NULL THEN
		PERFORM gate.fail(409, 'the token is revoked; create a new one');
	ELSIF t.expires_at <= postern.clock() THEN
		PERFORM gate.fail(409, 'the token has expired; create a new one');
	END IF;
	IF v_grace NOT BETWEEN 0 AND 86400 THEN
		PERFORM gate.invalid('grace_s', 'must be from 0 to 86400');
	END IF;
	-- whoever rotates gets the value, and acts in the owner's name: the token must lie within the rotator's own rights
	IF t.id IS DISTINCT FROM c.token_id THEN
		PERFORM tokens.check_owner(c, t.id);
		PERFORM tokens.check_within(c, t);
	END IF;
	DELETE FROM postern.keys k WHERE k.token_id = t.id AND (v_grace = 0 OR k.expires_at IS NOT NULL);
	UPDATE postern.keys k SET expires_at = postern.clock() + make_interval(secs => v_grace) WHERE k.token_id = t.id;
	PERFORM tokens.add_key(t.id, t.account_id, b);
	UPDATE postern.tokens SET version = version + 1, updated_at = postern.clock() WHERE id = t.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION tokens.check_within(c postern.caller, t postern.tokens) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM tokens.check_reach(c, t.id, 'rotate');
	IF EXISTS (SELECT FROM unnest(t.scopes) w WHERE NOT gate.may_grant(c, w)) OR NOT t.deny @> c.deny
	   OR (c.kind = 'token' AND ((c.allowed_ips <> '{}' AND (t.allowed_ips = '{}'
	       OR EXISTS (SELECT FROM unnest(t.allowed_ips) n WHERE NOT n <<= ANY (c.allowed_ips))))
	   OR (NOT gate.may_admin(c) AND (t.rate_limit > c.rate_limit OR t.action_limit > c.action_limit))
	   OR (c.expires_at IS NOT NULL AND (t.expires_at IS NULL OR t.expires_at > c.expires_at)))) THEN
		PERFORM gate.fail(403, 'the token holds more than yours; only its own key or a wider token can rotate it');
	END IF;
END $$;
-- A token that may do more than the caller's is not the caller's to change.
CREATE FUNCTION tokens.check_reach(c postern.caller, p_token uuid, p_verb text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_token IS DISTINCT FROM c.token_id AND gate.token_exceeds(c, p_token) IS NOT NULL THEN
		PERFORM gate.fail(403, format('the token holds more than yours; only its own key or a wider token can %s it', p_verb));
	END IF;
END $$;

CREATE FUNCTION tokens."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM postern.tokens t WHERE t.id = o::uuid AND t.revoked_at IS NULL
	           AND (t.expires_at IS NULL OR t.expires_at > postern.clock())) THEN
		PERFORM gate.fail(409, 'the token is in force; revoke it first');
	END IF;
	PERFORM tokens.check_owner(c, o::uuid);
	DELETE FROM postern.tokens WHERE id = o::uuid;
	RETURN ROW(o, NULL)::postern.done;
END $$;

RESET ROLE;
