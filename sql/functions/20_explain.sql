-- explain: would this token be allowed this? The verdict is gate.judge's, as for every request; its words are lib/refusal.c's.
DROP SCHEMA IF EXISTS explain CASCADE;
CREATE SCHEMA explain AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- One's own token, or, for administrators, any: those show what others hold, so they take what tokens take.
CREATE FUNCTION explain.may_ask(c postern.caller, p_token uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF p_token IS NULL THEN
		PERFORM gate.invalid('token', 'is required here: the id of a token');
	ELSIF p_token IS NOT DISTINCT FROM c.token_id OR c.kind <> 'token' THEN
		RETURN;
	ELSIF NOT gate.may_admin(c) THEN
		PERFORM gate.invalid('token', 'is not the token of this request; leave it out: administrators may ask about others');
	ELSIF NOT gate.may(c, 'tokens:read', true) THEN
		PERFORM gate.fail(403, 'other tokens are explained only with the scope tokens:read', '{"scope":"tokens:read"}');
	END IF;
END $$;

CREATE FUNCTION explain.ask(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_token uuid := coalesce((b ->> 'token')::uuid, c.token_id);
	v_now timestamptz := postern.clock();
	s gate.bearer;
	q postern.operations;
	reason text;
BEGIN
	PERFORM explain.may_ask(c, v_token);
	SELECT * INTO s FROM gate.bearer x WHERE x.token_id = v_token
	ORDER BY x.key_id = c.key_id DESC NULLS LAST, x.key_expires_at DESC NULLS FIRST LIMIT 1; -- the key in use, else the newest
	IF NOT FOUND THEN
		PERFORM gate.invalid('token', 'there is no such token');
	END IF;
	SELECT * INTO q FROM postern.operations x WHERE x.operation = b ->> '_operation';
	IF FOUND THEN -- there is such a route
		reason := coalesce(gate.judge(s, v_now, (b ->> '_ip')::inet, (b ->> '_insecure')::boolean, (b ->> '_admin')::boolean, q),
			explain.spent(s, q.heavy, v_now));
		reason := CASE WHEN reason IS NOT NULL AND q.open AND (b ->> '_open')::boolean THEN 'open' ELSE reason END;
	END IF;
	RETURN ROW(NULL, jsonb_build_object('reason', reason, 'token_id', s.token_id, 'token_name', s.token_name, 'owner', s.username,
		'held', to_jsonb(s.scopes), 'commands', CASE WHEN gate.status_of(reason) IN (401, 403) THEN to_jsonb(explain.commands(s, q, b, v_now)) ELSE '[]' END))::postern.done;
END $$;

-- Would the next request find a bucket empty? That of the heavy actions is looked at first, as in gate.act.
CREATE FUNCTION explain.spent(s gate.bearer, heavy boolean, at timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN heavy AND (SELECT r.action_window_start > at - interval '60 s' AND r.action_used >= s.action_limit
		                FROM postern.rates r WHERE r.token_id = s.family) THEN 'action_limit'
		ELSE gate.spent(s.family, s.rate_limit, s.whole, s.account_limit, at - interval '60 s')
	END
$$;

-- A word of a command line, as a shell reads it back.
CREATE FUNCTION explain.word(x text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN x ~ '^[A-Za-z0-9_.:/,@+-]+$' THEN x ELSE '''' || replace(x, '''', '''\''''') || '''' END
$$;

-- A deny list without what refuses `wanted`: of a wildcard all the rest stays denied.
CREATE FUNCTION explain.deny_but(deny text[], wanted text) RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT coalesce(array_agg(DISTINCT x.d ORDER BY x.d), '{}') FROM (
		SELECT d FROM unnest(deny) d WHERE NOT gate.denies(ARRAY[d], wanted)
		UNION ALL SELECT s.scope FROM postern.scopes s WHERE s.scope <> wanted
		 AND ('*' = ANY (deny) OR s.resource || ':*' = ANY (deny) AND gate.denies(ARRAY[s.resource || ':*'], wanted))) x
$$;

-- The lines of the operator's command that grant it, in their order: what stands against the owner first, then a token that
-- fits in the place of this one, since tokens do not change. None where no line does: another path, HTTPS, patience.
CREATE FUNCTION explain.commands(s gate.bearer, q postern.operations, b jsonb, at timestamptz) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	wanted text := q.scope;
	no_wild boolean := q.no_wild;
	least_rank int := q.rank;
	need int := CASE WHEN (b ->> '_admin')::boolean THEN 3 ELSE least_rank END;
	ip inet := (b ->> '_ip')::inet;
	u postern.users;
	t postern.tokens;
	r postern.roles;                               -- the owner's, as it will be
	cap postern.roles;
	a postern.accounts;                            -- the token's, as it will be
	v_rank int;
	fits boolean;
	v_name text;                                   -- a name that the owner has no token of yet
	n int := 2;
	lines text[] := '{}';
BEGIN
	SELECT * INTO t FROM postern.tokens x WHERE x.id = s.token_id;
	SELECT * INTO u FROM postern.users x WHERE x.id = s.user_id;
	SELECT * INTO r FROM postern.roles x WHERE x.name = u.role;
	SELECT * INTO cap FROM postern.roles x WHERE x.name = t.role;
	IF (b ->> '_insecure')::boolean OR need > least_rank AND r.rank < 3 OR s.allowed_ips <> '{}' AND ip IS NULL THEN
		RETURN lines; -- nobody is made an administrator for a spelling of a path
	END IF;
	IF u.status <> 'active' THEN
		lines := lines || format('postern user unsuspend %s', explain.word(u.username));
	END IF;
	IF r.rank >= need AND NOT r.built_in AND NOT gate.holds(r.scopes, wanted, no_wild, r.rank) THEN
		r.scopes := r.scopes || wanted;
		lines := lines || format('postern role update %s --scopes %s', explain.word(r.name), explain.word(array_to_string(r.scopes, ',')));
	ELSIF r.rank < need OR NOT gate.holds(r.scopes, wanted, no_wild, r.rank) THEN
		SELECT * INTO r FROM postern.roles x WHERE x.built_in AND x.rank >= need AND gate.holds(x.scopes, wanted, no_wild, x.rank)
		ORDER BY x.rank LIMIT 1;
		lines := lines || format('postern user update %s --role %s', explain.word(u.username), explain.word(r.name));
	END IF;
	IF least_rank < 3 THEN
		SELECT * INTO a FROM postern.accounts x WHERE x.id = CASE WHEN r.rank < 3 THEN u.account_id ELSE s.account_id END;
		IF a.status = 'suspended' THEN
			lines := lines || format('postern account unsuspend %s', explain.word(a.username));
		ELSIF a.status = 'deleting' OR a.id IS NULL AND r.rank < 3 AND NOT q.own THEN
			RETURN '{}';
		END IF;
	END IF;
	IF cap.rank < need OR NOT gate.holds(cap.scopes, wanted, no_wild, least(cap.rank, r.rank)) THEN
		fits := false;
		cap := NULL;
	END IF;
	v_rank := least(r.rank, cap.rank);
	fits := coalesce(fits, t.revoked_at IS NULL AND coalesce(least(t.expires_at, s.key_expires_at) > at, true)
		AND t.account_id = coalesce(a.id, 0) AND gate.holds(t.scopes, wanted, no_wild, v_rank) AND NOT gate.denies(t.deny, wanted)
		AND (t.allowed_ips = '{}' OR ip <<= ANY (t.allowed_ips)));
	IF fits THEN
		RETURN lines;
	END IF;
	IF NOT gate.holds(t.scopes, wanted, no_wild, v_rank) THEN
		t.scopes := t.scopes || wanted;
	END IF;
	IF gate.denies(t.deny, wanted) THEN
		t.deny := explain.deny_but(t.deny, wanted);
	END IF;
	IF t.allowed_ips <> '{}' AND NOT ip <<= ANY (t.allowed_ips) THEN
		t.allowed_ips := t.allowed_ips || ip::cidr;
	END IF;
	v_name := left(t.name, 44);
	WHILE EXISTS (SELECT FROM postern.tokens x WHERE x.user_id = u.id AND x.name = v_name || '-' || n) LOOP
		n := n + 1;
	END LOOP;
	RETURN lines || concat_ws(' ', 'postern token create --owner', explain.word(u.username), '--name', explain.word(v_name || '-' || n),
		CASE WHEN r.rank = 3 AND a.id IS NOT NULL THEN '--account ' || explain.word(a.username) END,
		'--role ' || explain.word(cap.name), '--scopes ' || explain.word(array_to_string(t.scopes, ',')),
		CASE WHEN t.deny <> '{}' THEN '--deny ' || explain.word(array_to_string(t.deny, ',')) END,
		CASE WHEN t.allowed_ips <> '{}' THEN '--allowed-ips ' || explain.word(array_to_string(t.allowed_ips, ',')) END,
		format('--rate-limit %s --action-limit %s', t.rate_limit, t.action_limit),
		CASE WHEN t.expires_at IS NULL THEN '--expires-at null'
		     WHEN t.expires_at > at THEN '--expires-at ' || to_char(t.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END);
END $$;

RESET ROLE;
ALTER FUNCTION explain.ask(postern.caller, text, jsonb) OWNER TO postern_gate;
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'explain'::regnamespace AND NOT p.prosecdef LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_gate', f);
	END LOOP;
END $$;
