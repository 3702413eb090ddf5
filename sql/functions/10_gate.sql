-- The gate: who is asking, and may they? One definition of each rule, used by every endpoint's functions (90_endpoints.sql).
DROP SCHEMA IF EXISTS gate CASCADE;
CREATE SCHEMA gate AUTHORIZATION postern_owner;
GRANT USAGE ON SCHEMA gate TO postern_gate, postern_tenant, postern_operator, postern_cli;
SET LOCAL ROLE postern_owner;

-- Say no: `status` is the HTTP status, `fields` names the fields at fault. C maps class PN back (lib/db_error.c).
CREATE FUNCTION gate.fail(status int, message text, fields jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'PN' || status, MESSAGE = message, DETAIL = coalesce(fields::text, '');
END $$;
CREATE FUNCTION gate.invalid(field text, message text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gate.fail(422, field || ': ' || message, jsonb_build_object(field, message));
END $$;

-- Dependants for people: the first names, and how many more there are. Null where there are none.
CREATE FUNCTION gate.some_of(names text[], total bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT nullif(array_to_string(names, ', ') || CASE WHEN total > cardinality(names)
		THEN format(' and %s more', total - cardinality(names)) ELSE '' END, '')
$$;
-- "2 domains, 1 mailboxes and 3 users": of several kinds of dependants those that there are. Null where there are none.
CREATE FUNCTION gate.counted(kinds text[], totals bigint[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(string_agg(total || ' ' || kind, ', ' ORDER BY n), ', ([^,]*)$', ' and \1')
	FROM unnest(kinds, totals) WITH ORDINALITY AS x (kind, total, n) WHERE total > 0
$$;

-- The row of postern.rates that all tokens of an account share. Version 4 ids never look so, and come before it in every order.
CREATE FUNCTION gate.whole(p_account bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT ('ffffffff-ffff-ffff-ffff-' || lpad(to_hex(p_account), 12, '0'))::uuid $$;

-- Could an account's tokens, each family with two windows in a minute, come to the plan's limit? Else nobody counts what they share.
CREATE FUNCTION gate.crowded(a postern.accounts) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT 2 * coalesce(sum(f.most), 0) > a.max_requests
	FROM (SELECT max(t.rate_limit) AS most FROM postern.tokens t WHERE t.account_id = a.id GROUP BY t.family) f
$$;
-- Have a family's tokens several limits? One that is at its end must not hold up the others in a batch.
CREATE FUNCTION gate.uneven(p_family uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT min(t.rate_limit) < max(t.rate_limit) FROM postern.tokens t WHERE t.family = p_family $$;

-- How a token stands: it, its owner, their roles, its account. postern.standings keeps this, a row a token.
CREATE VIEW gate.standing AS
SELECT t.id AS token_id, t.name AS token_name, t.account_id, t.scopes, t.deny, t.allowed_ips, t.rate_limit, t.action_limit,
       t.expires_at, t.revoked_at, u.id AS user_id, u.username, u.account_id AS user_account_id, u.status AS user_status,
       r.rank AS owner_rank, least(r.rank, c.rank) AS rank, r.scopes AS role_scopes, c.scopes AS cap_scopes,
       a.status AS account_status, t.family, CASE WHEN gate.crowded(a) THEN gate.whole(a.id) END AS whole,
       a.max_requests AS account_limit, CASE WHEN gate.crowded(a) OR gate.uneven(t.family) THEN t.family END AS looked_at
FROM postern.tokens t
JOIN postern.users u ON u.id = t.user_id
JOIN postern.roles r ON r.name = u.role
LEFT JOIN postern.roles c ON c.name = t.role
LEFT JOIN postern.accounts a ON a.id = t.account_id AND t.account_id > 0;
ALTER VIEW gate.standing SET (security_invoker = true);
GRANT SELECT ON gate.standing TO postern_operator;

-- Bring the standings of some tokens up to date. Their rows are locked first and looked at by a statement of its own, so
-- that of two changes at once the second sees the first.
CREATE FUNCTION gate.stand(p_tokens uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM postern.standings s WHERE s.token_id = ANY (p_tokens) ORDER BY s.token_id FOR UPDATE;
	INSERT INTO postern.standings SELECT s.* FROM gate.standing s WHERE s.token_id = ANY (p_tokens) ORDER BY s.token_id
	ON CONFLICT (token_id) DO UPDATE SET
		(token_name, account_id, scopes, deny, allowed_ips, rate_limit, action_limit, expires_at, revoked_at, user_id, username,
		 user_account_id, user_status, owner_rank, rank, role_scopes, cap_scopes, account_status, family, whole, account_limit,
		 looked_at) =
		(excluded.token_name, excluded.account_id, excluded.scopes, excluded.deny, excluded.allowed_ips, excluded.rate_limit,
		 excluded.action_limit, excluded.expires_at, excluded.revoked_at, excluded.user_id, excluded.username,
		 excluded.user_account_id, excluded.user_status, excluded.owner_rank, excluded.rank, excluded.role_scopes,
		 excluded.cap_scopes, excluded.account_status, excluded.family, excluded.whole, excluded.account_limit, excluded.looked_at);
	INSERT INTO postern.bearers (token_id, token_name, user_id, username, by_staff)
	SELECT s.token_id, s.token_name, s.user_id, s.username, t.by_staff
	FROM postern.standings s JOIN postern.tokens t ON t.id = s.token_id WHERE s.token_id = ANY (p_tokens)
	ORDER BY s.token_id ON CONFLICT DO NOTHING; -- by which names the trail knows them
END $$;
-- With a token that comes or goes, others of its account and family may be counted in other ways. The account's lock, which the caller
-- holds, makes such changes take turns. (A family lies within an account, but for single tokens.)
CREATE FUNCTION gate.stand_together(p_account bigint, p_family uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts;
	v_crowded boolean;
	v_uneven boolean := gate.uneven(p_family);
BEGIN
	SELECT * INTO a FROM postern.accounts x WHERE x.id = p_account;
	v_crowded := coalesce(gate.crowded(a), false);
	PERFORM gate.stand(ARRAY(
		SELECT s.token_id FROM postern.standings s WHERE s.account_id = p_account AND p_account > 0 AND (s.whole IS NOT NULL) <> v_crowded
		UNION SELECT s.token_id FROM postern.tokens t JOIN postern.standings s ON s.token_id = t.id
		WHERE t.family = p_family AND (s.looked_at IS NOT NULL) <> (v_crowded OR coalesce(v_uneven, false))));
END $$;
-- After each change of what a standing is made of. A new token's owner, roles and account are locked against change until it
-- is committed: whoever changes one of them then sees the token.
CREATE FUNCTION gate.token_stands() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'INSERT' OR NEW.role IS DISTINCT FROM OLD.role OR NEW.account_id <> OLD.account_id OR NEW.user_id <> OLD.user_id THEN
		PERFORM FROM postern.users u WHERE u.id = NEW.user_id FOR SHARE;
		PERFORM FROM postern.roles r WHERE r.name = NEW.role OR r.name = (SELECT u.role FROM postern.users u WHERE u.id = NEW.user_id)
		ORDER BY r.name FOR SHARE;
		PERFORM FROM postern.accounts a WHERE a.id = NEW.account_id FOR NO KEY UPDATE; -- see gate.stand_together
	END IF;
	PERFORM gate.stand(ARRAY[NEW.id]);
	IF TG_OP = 'INSERT' THEN
		PERFORM gate.stand_together(NEW.account_id, NEW.family);
	END IF;
	RETURN NULL;
END $$;
CREATE FUNCTION gate.user_stands() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NEW.role <> OLD.role THEN
		PERFORM FROM postern.roles r WHERE r.name = NEW.role FOR SHARE;
	END IF;
	PERFORM gate.stand(ARRAY(SELECT t.id FROM postern.tokens t WHERE t.user_id = NEW.id));
	RETURN NULL;
END $$;
CREATE FUNCTION gate.role_stands() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM gate.stand(ARRAY(SELECT t.id FROM postern.tokens t WHERE t.role = NEW.name
		UNION SELECT t.id FROM postern.users u JOIN postern.tokens t ON t.user_id = u.id WHERE u.role = NEW.name));
	RETURN NULL;
END $$;
CREATE FUNCTION gate.account_stands() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM gate.stand(ARRAY(SELECT t.id FROM postern.tokens t WHERE t.account_id = NEW.id));
	RETURN NULL;
END $$;
CREATE TRIGGER stands AFTER INSERT OR UPDATE ON postern.tokens FOR EACH ROW EXECUTE FUNCTION gate.token_stands();
CREATE TRIGGER stands AFTER UPDATE ON postern.users FOR EACH ROW EXECUTE FUNCTION gate.user_stands();
CREATE TRIGGER stands AFTER UPDATE OF name, base, scopes ON postern.roles FOR EACH ROW EXECUTE FUNCTION gate.role_stands();
CREATE TRIGGER stands AFTER UPDATE OF status, max_requests ON postern.accounts FOR EACH ROW EXECUTE FUNCTION gate.account_stands();

-- A token's family is that of the token that minted it, unless an unbound administrator's did. The parent is kept from being
-- deleted meanwhile, so that the family's count does not go before the last of its tokens.
CREATE FUNCTION gate.token_begins() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	SELECT p.family INTO NEW.family FROM postern.tokens p WHERE p.id = NEW.parent_id AND p.account_id > 0 FOR SHARE;
	NEW.family := coalesce(NEW.family, NEW.id);
	RETURN NEW;
END $$;
CREATE FUNCTION gate.token_ends() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM postern.rates r WHERE r.token_id IN (OLD.id, OLD.family)
	 AND NOT EXISTS (SELECT FROM postern.tokens t WHERE t.family = r.token_id);
	PERFORM FROM postern.accounts a WHERE a.id = OLD.account_id FOR NO KEY UPDATE;
	PERFORM gate.stand_together(OLD.account_id, OLD.family);
	RETURN NULL;
END $$;
CREATE FUNCTION gate.account_counts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO postern.rates (token_id, account_id) VALUES (gate.whole(NEW.id), NEW.id);
	ELSE
		DELETE FROM postern.rates r WHERE r.token_id = gate.whole(OLD.id);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER begins BEFORE INSERT ON postern.tokens FOR EACH ROW EXECUTE FUNCTION gate.token_begins();
CREATE TRIGGER ends AFTER DELETE ON postern.tokens FOR EACH ROW EXECUTE FUNCTION gate.token_ends();
CREATE TRIGGER counts AFTER INSERT OR DELETE ON postern.accounts FOR EACH ROW EXECUTE FUNCTION gate.account_counts();

-- Everything the gate knows of a key.
CREATE VIEW gate.bearer AS
SELECT k.key_id, k.digest, k.expires_at AS key_expires_at, s.*
FROM postern.keys k JOIN postern.standings s ON s.token_id = k.token_id;
GRANT SELECT ON gate.bearer TO postern_gate;
ALTER VIEW gate.bearer SET (security_invoker = true);

-- Does a list of scopes hold `wanted`? "domains:*" and "*" count, but where no_wild: then "*" alone, and only an
-- administrator's. "-" is what takes no scope: everybody has it, and no deny list refuses it.
CREATE FUNCTION gate.holds(held text[], wanted text, no_wild boolean, rank int) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT wanted = ANY (held) OR wanted = '-'
	    OR ('*' = ANY (held) AND (rank = 3 OR NOT no_wild))
	    OR (NOT no_wild AND split_part(wanted, ':', 1) || ':*' = ANY (held))
$$;
-- Does a deny list refuse `wanted`? Wildcards always count here.
CREATE FUNCTION gate.denies(deny text[], wanted text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT deny <> '{}' AND wanted <> '-' AND deny && ARRAY[wanted, split_part(wanted, ':', 1) || ':*', '*']
$$;

-- What somebody with these parts may do: the token's scopes and the owner's role and the cap must each hold `wanted`, the deny list
-- must not have it. Null: it may; else the reason. Asked for every request, and by whatever grants something (gate.reach).
CREATE FUNCTION gate.verdict(rank int, owner_rank int, account_id bigint, scopes text[], role_scopes text[], cap_scopes text[],
                             deny text[], wanted text, no_wild boolean, least_rank int, own boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE
		WHEN rank < least_rank THEN 'role'
		WHEN least_rank = 3 AND account_id > 0 THEN 'bound'
		WHEN rank < 3 AND account_id = 0 AND NOT own THEN 'no_account'
		WHEN NOT gate.holds(scopes, wanted, no_wild, rank)
		  OR NOT gate.holds(role_scopes, wanted, no_wild, owner_rank)
		  OR NOT coalesce(gate.holds(cap_scopes, wanted, no_wild, rank), true) THEN 'scope'
		WHEN gate.denies(deny, wanted) THEN 'denied'
	END
$$;

-- The verdict on a recognised token: null admits, else the reason. The order is the contract's: token, transport and
-- address, then role, scope, deny list, and whether the key may still grant. The rate limit comes after, in admission.
CREATE FUNCTION gate.judge(b gate.bearer, at timestamptz, ip inet, insecure boolean, admin_path boolean, o postern.operations) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE
		WHEN b.revoked_at IS NOT NULL THEN 'revoked'
		WHEN b.expires_at <= at OR b.key_expires_at <= at THEN 'expired'
		WHEN b.user_status <> 'active' THEN 'owner_suspended'
		WHEN b.account_id > 0 AND (b.account_status IS NULL OR b.account_status IN ('suspended', 'deleting')) THEN 'account_suspended'
		WHEN b.owner_rank < 3 AND b.account_id <> b.user_account_id THEN 'owner_moved'
		WHEN insecure THEN 'insecure'
		WHEN b.allowed_ips <> '{}' AND (ip IS NULL OR NOT ip <<= ANY (b.allowed_ips)) THEN 'address'
		WHEN admin_path AND b.rank < 3 THEN 'admin_path'
		ELSE coalesce(gate.verdict(b.rank, b.owner_rank, b.account_id, b.scopes, b.role_scopes, b.cap_scopes, b.deny, o.scope, o.no_wild, o.rank, o.own),
			CASE WHEN o.grants AND b.key_expires_at IS NOT NULL THEN 'superseded' END) -- there is a newer key
	END
$$;

-- The HTTP status of a reason: the first group says the token is no good, the second that it may not.
CREATE FUNCTION gate.status_of(reason text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE
		WHEN reason IS NULL OR reason = 'open' THEN 200 -- not let in, and answered as nobody is
		WHEN reason IN ('unknown', 'revoked', 'expired', 'owner_suspended', 'account_suspended', 'owner_moved') THEN 401
		WHEN reason IN ('rate_limit', 'account_limit', 'action_limit') THEN 429
		ELSE 403
	END
$$;

CREATE FUNCTION gate.caller(b gate.bearer, ip inet, request_id uuid) RETURNS postern.caller
LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW('token', b.token_id, b.token_name, b.key_id, b.user_id, b.username, b.account_id, b.rank, b.scopes,
		b.role_scopes, b.deny, b.allowed_ips, b.rate_limit, b.action_limit, b.expires_at, ip, request_id, b.owner_rank,
		b.cap_scopes)::postern.caller
$$;
-- The operator at the machine: `person` is the login name of whoever used the command.
CREATE FUNCTION gate.system(request_id uuid, person text) RETURNS postern.caller
LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW('system', NULL, NULL, NULL, NULL, coalesce(person, 'system'), 0, 3, '{*}', '{*}', '{}', '{}', NULL, NULL, NULL, NULL,
		request_id, 3, NULL)::postern.caller
$$;

-- The token whose key has one of these digests (one for each pepper), in force or not. Raises 401 where there is none.
CREATE FUNCTION gate.recognise(p_key text, p_digest bytea) RETURNS gate.bearer
LANGUAGE plpgsql AS $$
DECLARE
	b gate.bearer;
BEGIN
	SELECT * INTO b FROM gate.bearer x
	WHERE x.key_id = p_key AND x.digest IN (substr(p_digest, 1, 32), substr(p_digest, 33, 32));
	IF NOT FOUND THEN
		PERFORM gate.fail(401, 'unknown');
	END IF;
	RETURN b;
END $$;

-- The ticket of an admitted request, for a statement of its own: the token that it was given to, judged again for what it was given
-- for. Raises 401 or 403.
CREATE FUNCTION gate.prove(p_key text, p_digest bytea, p_ticket bigint, p_endpoint text, OUT t postern.tickets, OUT o postern.operations,
                           OUT c postern.caller)
LANGUAGE plpgsql AS $$
DECLARE
	b gate.bearer := gate.recognise(p_key, p_digest);
	reason text;
BEGIN
	t := gate.ticket_of(b, p_ticket);
	SELECT * INTO o FROM postern.operations x WHERE x.operation = t.operation AND x.endpoint = p_endpoint;
	IF NOT FOUND THEN
		PERFORM gate.not_admitted();
	END IF;
	reason := gate.judge(b, postern.clock(), t.ip, t.insecure, t.admin_path, o);
	IF reason IS NOT NULL THEN
		PERFORM gate.fail(gate.status_of(reason), reason);
	END IF;
	c := gate.caller(b, t.ip, t.request_id);
END $$;
CREATE FUNCTION gate.ticket_of(b gate.bearer, p_ticket bigint) RETURNS postern.tickets
LANGUAGE plpgsql AS $$
DECLARE
	t postern.tickets;
BEGIN
	SELECT * INTO t FROM postern.tickets x WHERE x.id = p_ticket AND x.token_id = b.token_id;
	IF NOT FOUND OR t.at <= postern.clock() - gate.ticket_life(t) THEN
		PERFORM gate.not_admitted();
	END IF;
	RETURN t;
END $$;
CREATE FUNCTION gate.not_admitted() RETURNS void
LANGUAGE sql AS $$ SELECT gate.fail(503, 'the request was not admitted, or too long ago; send it again') $$;
-- What an export has begun with, it may end.
CREATE FUNCTION gate.ticket_life(t postern.tickets) RETURNS interval
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN t.stated_at IS NULL OR t.job_id IS NOT NULL THEN interval '5 min' ELSE interval '24 h' END $$;
-- Called for those requests only that get one: for others it would cost more than it is worth.
CREATE FUNCTION gate.ticket(p_token uuid, p_operation text, p_account bigint, p_request_id text, p_ip text, p_insecure boolean,
                            p_admin boolean, p_object text, p_method text, p_path text, p_agent text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
BEGIN
	INSERT INTO postern.tickets (token_id, operation, account_id, at, request_id, ip, insecure, admin_path, object_id, method, path, user_agent)
	VALUES (p_token, p_operation, p_account, postern.clock(), p_request_id::uuid, p_ip::inet, p_insecure, p_admin, p_object, p_method, p_path, p_agent)
	RETURNING id INTO v_id;
	RETURN v_id;
END $$;

-- A bucket came to its limit while others were counted: nothing has happened, and it is tried again. Of a batch each goes alone, as
-- the surplus alone is refused.
CREATE FUNCTION gate.again(p_batch int) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = CASE WHEN p_batch > 1 THEN 'PNONE' ELSE '40001' END, MESSAGE = 'a limit was reached meanwhile';
END $$;
-- When a token was last used; that of one with a row of its own for its family is noted where it is counted.
CREATE FUNCTION gate.used(p_token uuid, p_now timestamptz, p_ip text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE postern.rates r SET last_used_at = p_now, last_used_ip = p_ip::inet WHERE r.token_id = p_token;
	RETURN true;
END $$;

-- The heavy actions' bucket, which is looked at before that of the calls, so that what it refuses uses up no call. Two buckets
-- are counted for one request at a time: a batch has no other then. Null where it does not decide, as the token is refused or has
-- no call left.
CREATE FUNCTION gate.act(p_key text[], p_digest bytea[], p_ip text[], p_insecure boolean[], p_admin boolean[], p_operation text[],
                         p_now timestamptz) RETURNS postern.bucket
LANGUAGE plpgsql AS $$
DECLARE
	v_ago timestamptz := p_now - interval '60 s';
	b gate.bearer;
	o postern.operations;
	r postern.rates;
	v_used int;
	v_since timestamptz;
BEGIN
	IF cardinality(p_key) <> 1 OR array_lower(p_key, 1) <> 1 OR array_lower(p_digest, 1) <> 1 OR array_lower(p_operation, 1) <> 1 THEN
		RAISE EXCEPTION 'a heavy action goes through the gate alone';
	END IF;
	SELECT * INTO o FROM postern.operations x WHERE x.operation = p_operation[1];
	SELECT * INTO b FROM gate.bearer x
	WHERE x.key_id = p_key[1] AND x.digest IN (substr(p_digest[1], 1, 32), substr(p_digest[1], 33, 32));
	IF NOT FOUND OR gate.judge(b, p_now, p_ip[1]::inet, p_insecure[1], p_admin[1], o) IS NOT NULL THEN
		RETURN NULL;
	END IF;
	SELECT * INTO r FROM postern.rates x WHERE x.token_id = b.family FOR UPDATE;
	v_used := CASE WHEN r.action_window_start > v_ago THEN r.action_used ELSE 0 END;
	v_since := CASE WHEN r.action_window_start > v_ago THEN r.action_window_start ELSE p_now END;
	IF v_used >= b.action_limit THEN
		RETURN ROW(true, b.action_limit, 0, v_since)::postern.bucket;
	ELSIF gate.spent(b.family, b.rate_limit, b.whole, b.account_limit, v_ago) IS NOT NULL THEN
		RETURN NULL;
	END IF;
	UPDATE postern.rates x SET action_used = v_used + 1, action_window_start = v_since WHERE x.token_id = b.family;
	RETURN ROW(false, b.action_limit, b.action_limit - v_used - 1, v_since)::postern.bucket;
END $$;
-- Which bucket of calls has nothing left, if any: the family's or the account's.
CREATE FUNCTION gate.spent(p_family uuid, p_limit int, p_whole uuid, p_account_limit int, p_ago timestamptz) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE
		WHEN EXISTS (SELECT FROM postern.rates r WHERE r.token_id = p_family AND r.window_start > p_ago AND r.used >= p_limit) THEN 'rate_limit'
		WHEN EXISTS (SELECT FROM postern.rates r WHERE r.token_id = p_whole AND r.window_start > p_ago AND r.used >= p_account_limit) THEN 'account_limit' END;
END $$;

-- A family's window where nothing was counted: when it began (now, where none is open), and the calls left in it.
CREATE FUNCTION gate.window_of(p_family uuid, p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce((SELECT r.window_start FROM postern.rates r
		WHERE r.token_id = p_family AND r.window_start > p_now - interval '60 s'), p_now);
END $$;
CREATE FUNCTION gate.left_of(p_family uuid, p_limit int, p_now timestamptz) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
	RETURN greatest(p_limit - coalesce((SELECT r.used FROM postern.rates r
		WHERE r.token_id = p_family AND r.window_start > p_now - interval '60 s'), 0), 0);
END $$;

-- A flood of refusals: counted, only the first of a window gets a row in the trail. Is this one the first?
CREATE FUNCTION gate.refuse(p_token uuid, p_reason text, p_account bigint, p_name text, p_user bigint, p_username text,
                            p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	v_ago timestamptz := p_now - interval '60 s';
	v_count bigint;
BEGIN
	INSERT INTO postern.refusals AS f (token_id, reason, account_id, token_name, user_id, username, window_start, count)
	VALUES (p_token, p_reason, p_account, p_name, p_user, p_username, p_now, 1)
	ON CONFLICT (token_id, reason) DO UPDATE SET
		unstated = f.unstated + CASE WHEN f.window_start > v_ago THEN 0 ELSE f.count - 1 END,
		count = CASE WHEN f.window_start > v_ago THEN f.count ELSE 0 END + 1,
		window_start = CASE WHEN f.window_start > v_ago THEN f.window_start ELSE p_now END
	RETURNING f.count INTO v_count;
	RETURN v_count = 1;
END $$;

-- One row into the trail.
CREATE FUNCTION gate.trail(c postern.caller, p_account_id bigint, p_action text, p_object_id text, p_method text, p_path text,
                           p_status int, p_reason text, p_duration_us bigint, p_agent text, p_changes jsonb) RETURNS void
LANGUAGE sql VOLATILE AS $$
	INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb,
		object_id, method, path, status, outcome, reason, duration_us, ip, user_agent, changes)
	VALUES (p_account_id, postern.clock(), c.request_id, c.kind, c.token_id, c.token_name, c.user_id, c.username,
		split_part(p_action, '.', 1), split_part(p_action, '.', 2), p_object_id, p_method, p_path, p_status,
		gate.outcome(p_status), p_reason, p_duration_us, c.ip, p_agent, p_changes)
$$;
CREATE FUNCTION gate.outcome(status int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN status < 400 THEN 'allowed' WHEN status IN (401, 403, 429) THEN 'denied' ELSE 'failed' END
$$;

-- The row of an admitted request that failed afterwards (its change was rolled back), or whose answer was known only when its data
-- had been read. The caller proves the token again; whether it is still good no longer matters. A change that went well has its row
-- from write(). An export's ticket goes on: by it the rows are read.
CREATE FUNCTION gate.record(p_key text, p_digest bytea, p_ticket bigint, p_status int, p_reason text, p_duration_us bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	b gate.bearer := gate.recognise(p_key, p_digest);
	t postern.tickets := gate.ticket_of(b, p_ticket);
	o postern.operations;
BEGIN
	SELECT * INTO o FROM postern.operations x WHERE x.operation = t.operation;
	IF t.stated_at IS NOT NULL
	   OR has_function_privilege(session_user, to_regproc(format('%I.serve', o.endpoint)), 'EXECUTE') IS NOT TRUE
	   OR p_status < (CASE WHEN o.does = 'write' THEN 400 ELSE 200 END) OR p_status > 599 THEN
		PERFORM gate.not_admitted();
	END IF;
	PERFORM gate.trail(gate.caller(b, t.ip, t.request_id), t.account_id, o.resource || '.' || o.verb, t.object_id, t.method, t.path,
		p_status, p_reason, p_duration_us, t.user_agent, NULL);
	IF o.does = 'export' AND p_status = 200 THEN
		UPDATE postern.tickets x SET stated_at = postern.clock() WHERE x.id = t.id;
	ELSE
		DELETE FROM postern.tickets x WHERE x.id = t.id;
	END IF;
	IF NOT FOUND THEN
		PERFORM gate.not_admitted(); -- somebody else used it up at this moment
	END IF;
END $$;

-- State what no statement stated: the row of each admitted request whose program did not say within the ticket's life what became of
-- it. What it was to read it may have read; what it was to change is not changed.
CREATE FUNCTION gate.settle_tickets() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	t postern.tickets;
	o postern.operations;
	v_status int;
BEGIN
	FOR t IN SELECT * FROM postern.tickets x WHERE x.at <= postern.clock() - gate.ticket_life(x) ORDER BY x.id LIMIT 1000 FOR UPDATE SKIP LOCKED LOOP
		DELETE FROM postern.tickets x WHERE x.id = t.id;
		SELECT * INTO o FROM postern.operations x WHERE x.operation = t.operation;
		CONTINUE WHEN t.stated_at IS NOT NULL OR NOT FOUND;
		v_status := CASE WHEN o.does = 'write' THEN 503 ELSE 200 END;
		INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb,
			object_id, method, path, status, outcome, reason, ip, user_agent)
		SELECT t.account_id, postern.clock(), t.request_id, 'token', t.token_id, b.token_name, b.user_id, b.username, o.resource, o.verb,
			t.object_id, t.method, t.path, v_status, gate.outcome(v_status), 'unanswered', t.ip, t.user_agent
		FROM (VALUES (1)) x LEFT JOIN LATERAL (SELECT * FROM postern.bearers y WHERE y.token_id = t.token_id LIMIT 1) b ON true;
	END LOOP;
END $$;

-- State the exact number of refusals of each window that is over: one token.throttled row each. Returns how many are
-- still open, so that a binary knows whether to come back.
CREATE FUNCTION gate.settle() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_ago timestamptz := postern.clock() - interval '60 s';
	f postern.refusals;
	v_number bigint;
BEGIN
	FOR f IN SELECT * FROM postern.refusals r WHERE r.window_start <= v_ago OR r.unstated > 0
	         ORDER BY r.token_id, r.reason FOR UPDATE SKIP LOCKED LOOP
		IF f.window_start <= v_ago THEN
			v_number := f.unstated + f.count - 1; -- the first has a row of its own
			DELETE FROM postern.refusals r WHERE r.token_id = f.token_id AND r.reason = f.reason;
		ELSE
			v_number := f.unstated;
			UPDATE postern.refusals r SET unstated = 0 WHERE r.token_id = f.token_id AND r.reason = f.reason;
		END IF;
		IF v_number > 0 THEN
			INSERT INTO postern.audit (account_id, at, actor, token_id, token_name, user_id, username, resource, verb,
				object_id, status, outcome, reason, count)
			VALUES (f.account_id, postern.clock(), 'token', f.token_id, f.token_name, f.user_id, f.username, 'token',
				'throttled', f.token_id::text, gate.status_of(f.reason), 'denied', f.reason, v_number);
		END IF;
	END LOOP;
	PERFORM gate.settle_tickets();
	RETURN (SELECT count(*) FROM postern.refusals);
END $$;

-- The first transaction that is not over, of those that can have written here: what those before it wrote can be seen by whatever
-- statement comes next, and nobody can still add to it. pg_snapshot_xmin would do, were transactions in other databases of this
-- server not in it, too: what a tenant leaves open there must not hold up what is told here. Its role may see all sessions.
CREATE FUNCTION gate.first_open() RETURNS xid8
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_next bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint; -- before the sessions are looked at
	v_first bigint;
BEGIN
	-- a snapshot that stays would not see what was committed since it was taken
	IF NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') OR current_setting('transaction_isolation') <> 'read committed' THEN
		RETURN pg_snapshot_xmin(pg_current_snapshot());
	END IF;
	PERFORM pg_stat_clear_snapshot(); -- else a second look in one transaction sees what the first saw
	-- their numbers have 32 bits: how far each lies below v_next; those above it began later
	SELECT v_next - max(x.below) INTO v_first FROM (
		SELECT (v_next - a.backend_xid::text::bigint) & 4294967295 AS below FROM pg_stat_activity a
		WHERE a.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND a.backend_xid IS NOT NULL
		UNION ALL
		SELECT (v_next - p.transaction::text::bigint) & 4294967295 FROM pg_prepared_xacts p WHERE p.database = current_database()) x
	WHERE x.below < 2147483648;
	RETURN coalesce(v_first, v_next)::text::xid8;
END $$;
-- The same as rows have it.
CREATE FUNCTION gate.horizon() RETURNS xid8
LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN postern.ordered(gate.first_open()); END $$;

-- Changed fields before and after, null too where it is the change; nothing where nothing changed. Secrets are in no view, so
-- in no row here; `secrets` names those that were given, so that the trail says that they changed.
CREATE FUNCTION gate.changes(old jsonb, new jsonb, secrets text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT nullif(CASE WHEN x.gone IS NULL THEN '{}' ELSE jsonb_build_object('before', x.gone) END
	           || CASE WHEN x.come = '{}' THEN '{}' ELSE jsonb_build_object('after', x.come) END, '{}')
	FROM (SELECT
		(SELECT jsonb_object_agg(key, value) FROM jsonb_each(old) WHERE key NOT IN ('version', 'updated_at', 'tenant')
		 AND CASE WHEN new IS NULL THEN value <> 'null' ELSE new -> key IS DISTINCT FROM value END) AS gone,
		coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(new) WHERE key NOT IN ('version', 'updated_at', 'tenant')
		 AND CASE WHEN old IS NULL THEN value <> 'null' ELSE old -> key IS DISTINCT FROM value END), '{}')
		|| coalesce((SELECT jsonb_object_agg(s, '***') FROM unnest(secrets) s), '{}') AS come) x
$$;

-- domain.create -> domain.created, job.retry -> job.retried, job.cancel -> job.cancelled, service.stop -> service.stopped,
-- setting.reset stays.
CREATE FUNCTION gate.past(action text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN action LIKE '%e' THEN action || 'd' WHEN action LIKE '%y' THEN left(action, -1) || 'ied'
		WHEN action LIKE '%cancel' THEN action || 'led' WHEN action LIKE '%set' THEN action WHEN action LIKE '%stop' THEN action || 'ped' ELSE action || 'ed' END
$$;
-- Is what such a job did told when it is done (ssl.renewed)? A change has its event from the request.
CREATE FUNCTION gate.told_when_done(kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT split_part(kind, '.', 2) NOT IN ('create', 'update', 'suspend', 'unsuspend', 'delete', 'apply', 'remove', 'event')
$$;
-- The event of a change. What is only asked for is none (`explain.read`).
CREATE FUNCTION gate.emit(c postern.caller, p_account_id bigint, p_action text, p_object_id text, p_data jsonb) RETURNS void
LANGUAGE sql VOLATILE AS $$
	INSERT INTO postern.events (account_id, type, resource, object_id, data, request_id)
	SELECT p_account_id, gate.past(p_action), split_part(p_action, '.', 1), p_object_id, -- where a token is used is its owner's to know
		CASE WHEN p_action LIKE 'token.%' THEN p_data - '{allowed_ips,last_used_ip}'::text[] ELSE coalesce(p_data, '{}') END, c.request_id
	WHERE split_part(p_action, '.', 2) <> 'read'
$$;

-- Idempotency-Key: the first answer when this key was used within 24 h with the same request, else nothing. 409 while the
-- first is under way, 422 for another request. The lock lasts as long as the transaction.
CREATE FUNCTION gate.replay(c postern.caller, p_key bytea, p_fingerprint bytea) RETURNS postern.kept_answers
LANGUAGE plpgsql AS $$
DECLARE
	k postern.kept_answers;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtextextended(c.token_id::text || p_key::text, 0)) THEN
		PERFORM gate.fail(409, 'the first request with this Idempotency-Key is still running; try again in a moment');
	END IF;
	SELECT * INTO k FROM postern.kept_answers a WHERE a.token_id = c.token_id AND a.key = p_key;
	IF FOUND AND (k.created_at <= postern.clock() - interval '24 h' OR k.status = 0) THEN
		DELETE FROM postern.kept_answers a WHERE a.token_id = c.token_id AND a.key = p_key;
		RETURN NULL;
	END IF;
	IF FOUND AND k.fingerprint <> p_fingerprint THEN
		PERFORM gate.fail(422, 'this Idempotency-Key was used for another request; use a new key');
	END IF;
	IF NOT FOUND AND c.account_id > 0
	   AND EXISTS (SELECT FROM postern.kept_answers a WHERE a.account_id = c.account_id OFFSET 9999) THEN
		PERFORM gate.fail(429, 'the account''s requests of the last 24 hours have 10,000 kept answers, as many as there may be; '
			|| 'send this one without Idempotency-Key, or later');
	END IF;
	RETURN k;
END $$;
-- The answer of a change, in its transaction, which claimed the key.
CREATE FUNCTION gate.keep(p_key_id text, p_digest bytea, p_key bytea, p_status int, p_headers text, p_body text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	b gate.bearer := gate.recognise(p_key_id, p_digest);
BEGIN
	DELETE FROM postern.kept_answers WHERE ctid IN (
		SELECT ctid FROM postern.kept_answers WHERE created_at <= postern.clock() - interval '24 h' LIMIT 20 FOR UPDATE SKIP LOCKED);
	UPDATE postern.kept_answers a SET status = p_status, headers = p_headers, body = p_body
	WHERE a.token_id = b.token_id AND a.key = p_key AND a.status = 0 AND a.xmin = pg_current_xact_id()::xid AND p_status BETWEEN 200 AND 299;
	IF NOT FOUND THEN
		PERFORM gate.not_admitted();
	END IF;
END $$;

-- The number of the last change of settings, for serve() to compare in every admission. A constant in the text of a function
-- costs nothing to read there: plans have it built in, and a commit that replaces the function makes every other session plan
-- anew from its next transaction on, before whoever committed is told so. A table would be read again and again.
CREATE FUNCTION gate.settings_number() RETURNS int LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT 0';
CREATE FUNCTION gate.publish_settings(p_number int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION gate.settings_number() RETURNS int LANGUAGE sql STABLE PARALLEL SAFE AS %L', 'SELECT ' || p_number);
END $$;
-- To be called once by each change, last: the row's lock makes changes take turns.
CREATE FUNCTION gate.settings_changed() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_number int;
BEGIN
	UPDATE postern.settings_head SET number = number + 1 RETURNING number INTO v_number;
	PERFORM gate.publish_settings(v_number);
END $$;
-- What the database holds of the settings, for a program that has those of another number. Answers when PostgreSQL does: health
-- without a token asks no more.
CREATE FUNCTION gate.settings_held(p_number int) RETURNS TABLE (number int, held text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT h.number, (SELECT json_object_agg(s.id, s.held #>> '{}')::text FROM postern.settings s WHERE s.held IS NOT NULL)
	FROM postern.settings_head h WHERE h.number <> p_number
$$;

-- The schema's version and the oldest program version it serves: binaries refuse to run on what they do not know.
-- Each asks when it has connected, so this is where a cluster that is another one is noticed: before any row is written
-- there.
CREATE FUNCTION gate.compatible_from() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM gate.know_cluster();
	RETURN 1;
END $$;

-- Is this the cluster that the last rows were written in? Where the database was restored into another one, a new epoch
-- begins (postern.cluster), and the trail says so. Returns the epoch.
CREATE FUNCTION gate.know_cluster() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_here bigint := (SELECT c.system_identifier FROM pg_control_system() c);
	k postern.cluster;
BEGIN
	SELECT * INTO k FROM postern.cluster c ORDER BY c.epoch DESC LIMIT 1;
	IF k.system_identifier = v_here OR pg_is_in_recovery() THEN
		RETURN k.epoch;
	END IF;
	LOCK TABLE postern.cluster IN SHARE ROW EXCLUSIVE MODE; -- of those that connect at once one begins it
	SELECT * INTO k FROM postern.cluster c ORDER BY c.epoch DESC LIMIT 1;
	IF k.system_identifier <> v_here THEN
		INSERT INTO postern.cluster (epoch, system_identifier) VALUES (k.epoch + 1, v_here);
		EXECUTE format('CREATE OR REPLACE FUNCTION postern.ordered(p_xid xid8) RETURNS xid8 LANGUAGE sql '
			'IMMUTABLE PARALLEL SAFE RETURN (p_xid::text::bigint + %s)::text::xid8', (k.epoch + 1) * (2::bigint ^ 44)::bigint);
		PERFORM gate.note_cluster(k.epoch + 1, k.system_identifier, v_here);
	END IF;
	RETURN (SELECT max(c.epoch) FROM postern.cluster c);
END $$;
CREATE FUNCTION gate.note_cluster(p_epoch int, p_before bigint, p_after bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO postern.audit (account_id, at, actor, username, resource, verb, object_id, outcome, changes)
	VALUES (0, postern.clock(), 'system', 'posternd', 'audit', 'restored', p_epoch::text, 'allowed',
		jsonb_build_object('before', jsonb_build_object('system_identifier', p_before::text),
			'after', jsonb_build_object('system_identifier', p_after::text)))
$$;

-- The operations of the route tables, their scopes, and what the built-in roles make of these; then the endpoints' functions, which
-- know them. Called by `postern migrate`. A scope may stand in several: it has the least role of them, and one that no wildcard implies
-- makes all of it so. One without an endpoint is a further scope that SQL asks for; it is kept under its own name.
CREATE FUNCTION gate.sync_operations(p_operations jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM postern.operations;
	DELETE FROM postern.scopes WHERE scope NOT IN (SELECT x ->> 'scope' FROM jsonb_array_elements(p_operations) x);
	INSERT INTO postern.operations (operation, endpoint, scope, rank, no_wild, own, grants, heavy, does, reads, later, call, on_one, resource, verb, status, open, about)
	SELECT x.operation, x.endpoint, x.scope, x.rank, x.no_wild, x.own, x.grants, x.heavy, x.does,
		CASE x.does WHEN 'list' THEN '{next,page,list}' WHEN 'get' THEN '{get}' WHEN 'read' THEN ARRAY[x.call] ELSE '{""}' END,
		x.does IN ('export', 'write'), x.call, x.on_one, split_part(x.action, '.', 1), split_part(x.action, '.', 2), x.status,
		x.open, x.summary
	FROM jsonb_to_recordset(p_operations) x (operation text, endpoint text, scope text, rank int, no_wild boolean, own boolean, grants boolean,
		heavy boolean, does text, call text, on_one boolean, action text, status int, open boolean, summary text);
	DELETE FROM postern.fields;
	INSERT INTO postern.fields (operation, field, given_by)
	SELECT x ->> 'operation', f.key, f.value FROM jsonb_array_elements(p_operations) x, jsonb_each_text(x -> 'fields') f
	WHERE jsonb_typeof(x -> 'fields') = 'object';
	INSERT INTO postern.scopes AS s (scope, resource, rank, no_wild, about)
	SELECT o.scope, split_part(o.scope, ':', 1), min(o.rank), bool_or(o.no_wild), string_agg(DISTINCT split_part(o.about, '; ', 1), '; ')
	FROM postern.operations o WHERE o.scope <> '-' GROUP BY o.scope
	ON CONFLICT (scope) DO UPDATE SET resource = excluded.resource, rank = excluded.rank, no_wild = excluded.no_wild, about = excluded.about,
		updated_at = postern.clock()
	WHERE (s.resource, s.rank, s.no_wild, s.about) IS DISTINCT FROM (excluded.resource, excluded.rank, excluded.no_wild, excluded.about);
	UPDATE postern.endpoints e SET alias = x.alias, one = x.one, word = x.word
	FROM (SELECT o ->> 'endpoint' AS name, min(o ->> 'alias') AS alias, min(o ->> 'one') AS one, min(split_part(o ->> 'action', '.', 1)) AS word
		FROM jsonb_array_elements(p_operations) o GROUP BY 1) x
	WHERE e.name = x.name AND (e.alias, e.one, e.word) IS DISTINCT FROM (x.alias, x.one, x.word);
	UPDATE postern.roles SET scopes = n.scopes, version = version + 1, updated_at = postern.clock()
	FROM (SELECT 'viewer' AS name, coalesce(array_agg(scope ORDER BY scope), '{}') AS scopes
	      FROM postern.scopes WHERE rank = 1 AND scope LIKE '%:read'
	      UNION ALL
	      SELECT 'customer', coalesce(array_agg(scope ORDER BY scope), '{}') FROM postern.scopes WHERE rank <= 2) n
	WHERE roles.name = n.name AND roles.built_in AND roles.scopes <> n.scopes;
	PERFORM gate.build_endpoint(e) FROM postern.endpoints e ORDER BY e.name;
END $$;

-- A body has the members that its operation takes, given by those who may, whatever the endpoint says that it checked.
CREATE FUNCTION gate.check_body(c postern.caller, p_operation text, p_body jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	x record;
BEGIN
	SELECT k.name, f.given_by INTO x FROM jsonb_object_keys(p_body) k (name)
	LEFT JOIN postern.fields f ON f.operation = p_operation AND f.field = k.name
	WHERE CASE f.given_by WHEN 'caller' THEN false WHEN 'administrator' THEN NOT gate.may_admin(c) WHEN 'operator' THEN c.kind <> 'system' ELSE true END
	ORDER BY k.name LIMIT 1;
	IF x.given_by = 'administrator' THEN
		PERFORM gate.fail(403, x.name || ': may be set by an administrator only', jsonb_build_object(x.name, 'may be set by an administrator only'));
	ELSIF FOUND THEN
		PERFORM gate.invalid(x.name, CASE x.given_by WHEN 'operator' THEN 'is given with the operator''s command at the machine only; leave it out'
			ELSE 'is no field of this; leave it out' END);
	END IF;
END $$;

-- May a caller use this scope? Rank and account are the operation's to ask.
CREATE FUNCTION gate.may(c postern.caller, wanted text, no_wild boolean DEFAULT false) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
	SELECT gate.verdict(c.rank, c.owner_rank, c.account_id, c.scopes, c.role_scopes, c.cap_scopes, c.deny, wanted, no_wild, 1, true) IS NULL
$$;
-- Does a list of scopes cover everything that the scope or pattern `wanted` would open to somebody of that rank?
CREATE FUNCTION gate.covers(held text[], wanted text, rank int) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN wanted = ANY (held) OR '*' = ANY (held) AND (rank = 3 OR wanted LIKE '%:*') THEN true
		WHEN wanted = '*' OR wanted LIKE '%:*' THEN NOT EXISTS (SELECT FROM postern.scopes s
			WHERE (wanted = '*' OR s.resource = split_part(wanted, ':', 1))
			  AND (NOT s.no_wild OR wanted = '*' AND covers.rank = 3) AND NOT gate.holds(held, s.scope, s.no_wild, covers.rank))
		ELSE gate.holds(held, wanted, coalesce((SELECT s.no_wild FROM postern.scopes s WHERE s.scope = wanted), false), rank)
	END
$$;
-- May a caller hand on what this scope or pattern opens? The deny list is for whoever asks: a token inherits it, a role cannot.
CREATE FUNCTION gate.may_grant(c postern.caller, wanted text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT gate.covers(c.scopes, wanted, c.rank) AND gate.covers(c.role_scopes, wanted, c.owner_rank)
	   AND (c.cap_scopes IS NULL OR gate.covers(c.cap_scopes, wanted, c.rank))
$$;
-- The operations that somebody with these parts may do, each with its scope, by the verdict of every request.
CREATE FUNCTION gate.reach(rank int, owner_rank int, account_id bigint, scopes text[], role_scopes text[], cap_scopes text[],
                           deny text[]) RETURNS TABLE (operation text, scope text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT o.operation, o.scope FROM postern.operations o
	WHERE gate.verdict($1, $2, $3, $4, $5, $6, $7, o.scope, o.no_wild, o.rank, o.own) IS NULL
$$;
-- May this caller do that operation?
CREATE FUNCTION gate.may_do(c postern.caller, p_operation text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT c.kind <> 'token' OR EXISTS (
		SELECT FROM gate.reach(c.rank, c.owner_rank, c.account_id, c.scopes, c.role_scopes, c.cap_scopes, c.deny) r WHERE r.operation = p_operation)
$$;
-- The first scope that a role would open and the caller may not use; null: it lies within. An administrator's role is looked at as
-- if bound to no account, any other as if in one.
CREATE FUNCTION gate.role_exceeds(c postern.caller, p_rank int, p_scopes text[]) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT min(r.scope) FROM gate.reach(p_rank, p_rank, CASE WHEN p_rank = 3 THEN 0 ELSE 1 END, p_scopes, p_scopes, NULL, '{}') r
	WHERE NOT EXISTS (SELECT FROM gate.reach(c.rank, c.owner_rank, c.account_id, c.scopes, c.role_scopes, c.cap_scopes, c.deny) m
		WHERE m.operation = r.operation)
$$;
-- The same for a token, as it stands now: what is not the caller's, or null.
CREATE FUNCTION gate.token_exceeds(c postern.caller, p_token uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s postern.standings;
BEGIN
	SELECT * INTO STRICT s FROM postern.standings x WHERE x.token_id = p_token;
	IF NOT gate.may_admin(c) AND s.account_id <> c.account_id THEN
		RETURN 'another account';
	ELSIF s.rank > c.rank THEN
		RETURN 'a higher role';
	END IF;
	RETURN (SELECT min(r.scope) FROM gate.reach(s.rank, s.owner_rank, s.account_id, s.scopes, s.role_scopes, s.cap_scopes, s.deny) r
		WHERE NOT EXISTS (SELECT FROM gate.reach(c.rank, c.owner_rank, c.account_id, c.scopes, c.role_scopes, c.cap_scopes, c.deny) m
			WHERE m.operation = r.operation));
END $$;
-- How many letters to add, drop or change (Levenshtein), to name what was probably meant.
CREATE FUNCTION gate.distance(a text, b text) RETURNS int
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	above int[] := ARRAY(SELECT generate_series(0, length(b)));
	line int[];
BEGIN
	FOR i IN 1 .. length(a) LOOP
		line := ARRAY[i];
		FOR j IN 1 .. length(b) LOOP
			line := line || least(above[j + 1] + 1, line[j] + 1, above[j] + (substr(a, i, 1) <> substr(b, j, 1))::int);
		END LOOP;
		above := line;
	END LOOP;
	RETURN above[length(b) + 1];
END $$;
-- A resource has several names, of which any stands for it: its endpoint's (mailboxes), an alias (email), what people call one
-- of its objects, and the word of the trail, of events and of kinds of jobs (mailbox).
CREATE FUNCTION gate.named(given text) RETURNS SETOF postern.endpoints
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT * FROM postern.endpoints e WHERE given IN (e.name, e.alias, e.one, e.word) ORDER BY e.name <> given, e.name LIMIT 1
$$;
-- The word of an endpoint, as what it did before may have none.
CREATE FUNCTION gate.word_of(p_endpoint text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce((SELECT e.word FROM postern.endpoints e WHERE e.name = p_endpoint), p_endpoint)
$$;
-- A condition on a column of such words, or of endpoints' names (`by`): of those that were given, by whatever name.
CREATE FUNCTION gate.of_resources(col text, by text, given text[], places text[]) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT gate.one_of(col, places || ARRAY(SELECT quote_literal(CASE by WHEN 'word' THEN e.word ELSE e.name END) FROM unnest(given) g, gate.named(g) e), 'text')
$$;
-- An alias is one in scopes, too: email:read is mailboxes:read.
CREATE FUNCTION gate.scope_of(given text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT e.name || substr(given, length(e.alias) + 1) FROM postern.endpoints e
		WHERE e.alias = split_part(given, ':', 1) AND e.alias <> e.name), given)
$$;
-- The scopes that a body gives in a field, each once, in their order.
CREATE FUNCTION gate.given_scopes(body jsonb, field text, present text[]) RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN body ? field AND jsonb_typeof(body -> field) = 'array' THEN
		ARRAY(SELECT x.scope FROM (SELECT gate.scope_of(s) AS scope, min(n) AS n
			FROM jsonb_array_elements_text(body -> field) WITH ORDINALITY AS g (s, n) GROUP BY 1) x ORDER BY x.n)
		ELSE present END
$$;

-- 422 naming the first scope that does not exist; patterns must match something.
CREATE FUNCTION gate.check_scopes(field text, wanted text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	w text;
	near text;
BEGIN
	FOREACH w IN ARRAY coalesce(wanted, '{}') LOOP
		IF w <> '*' AND NOT EXISTS (SELECT FROM postern.scopes s WHERE s.scope = w OR s.resource || ':*' = w) THEN
			SELECT n.scope INTO near FROM (
				SELECT s.scope, CASE WHEN s.resource = split_part(w, ':', 1) THEN gate.distance(split_part(s.scope, ':', 2), split_part(w, ':', 2))
					ELSE gate.distance(s.resource, split_part(w, ':', 1)) END AS far
				FROM postern.scopes s -- of which one half was meant; what is far longer than any was not
				WHERE length(w) <= 40 AND (s.resource = split_part(w, ':', 1) OR split_part(s.scope, ':', 2) = split_part(w, ':', 2))) n
			WHERE n.far <= 1 + length(w) / 6 ORDER BY n.far, n.scope LIMIT 1;
			PERFORM gate.invalid(field, format('there is no scope "%s"; %s', w,
				CASE WHEN near IS NULL THEN 'a scope is <resource>:<verb>, <resource>:* or *' ELSE 'did you mean "' || near || '"?' END));
		END IF;
	END LOOP;
END $$;

-- The rows of a list in any shape of filter, sort and page, or their number: text with parameters $1 (account, or null) and $2
-- (arguments). Column names come from the binary's field table and are taken only if the view has them; values stay parameters,
-- which PostgreSQL knows when it plans, as this text is planned each time. Equality decides what a filter finds, unless the
-- resource has a function for it: condition_<field>(values, places) writes a condition on v, in which the places stand for the
-- values (a shape that an index serves); matches_<field>(item, values) judges row by row.
CREATE FUNCTION gate.list_query(view regclass, args jsonb, tenant boolean, counting boolean) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	conditions text[] := '{}';
	schema text := split_part(view::text, '.', 1);
	sort text := gate.column_of(view, coalesce(args ->> 'sort', 'id'));
	id_type text := gate.type_of(view, 'id');
	way text := CASE WHEN (args ->> 'descending')::boolean THEN 'DESC' ELSE 'ASC' END;
	name text;
	given text[];
	places text[];
	condition text;
	after text;
BEGIN
	IF tenant THEN
		conditions := conditions || 'v.tenant = $1'::text;
	END IF;
	FOR name IN SELECT jsonb_object_keys(args -> 'filter') LOOP
		given := ARRAY(SELECT jsonb_array_elements_text(args -> 'filter' -> name));
		places := ARRAY(SELECT format('($2 -> ''filter'' -> %L ->> %s)', name, i - 1) FROM generate_subscripts(given, 1) i);
		IF to_regproc(format('%s.%I', schema, 'condition_' || name)) IS NOT NULL THEN
			EXECUTE format('SELECT %s.%I($1, $2)', schema, 'condition_' || name) INTO condition USING given, places;
		ELSIF to_regproc(format('%s.%I', schema, 'matches_' || name)) IS NOT NULL THEN
			condition := format('%s.%I(v, ARRAY[%s])', schema, 'matches_' || name, array_to_string(places, ', '));
		ELSE
			-- of no account is what 0 finds, though null is shown
			condition := gate.one_of(format('v.%I', CASE name WHEN 'account_id' THEN 'tenant' ELSE gate.column_of(view, name) END), places,
				replace(gate.type_of(view, name), 'integer', 'bigint')); -- a number too large is just found nowhere
		END IF;
		conditions := conditions || ('(' || condition || ')');
	END LOOP;
	IF args ? 'search' THEN
		conditions := conditions || (SELECT '(' || string_agg(format('v.%I ILIKE ($2 ->> ''search'')', gate.column_of(view, s)), ' OR ') || ')'
			FROM jsonb_array_elements_text(args -> 'search_in') s);
	END IF;
	IF args ? 'since' THEN
		conditions := conditions || format('v.%I >= ($2 ->> ''since'')::timestamptz', gate.column_of(view, coalesce(args ->> 'since_column', 'updated_at')));
	END IF;
	IF args ? 'until' THEN
		conditions := conditions || format('v.%I < ($2 ->> ''until'')::timestamptz', gate.column_of(view, coalesce(args ->> 'since_column', 'updated_at')));
	END IF;
	IF NOT counting AND args ? 'after' THEN
		after := format('($2 -> ''after'' ->> 0)::%s', gate.type_of(view, sort));
		conditions := conditions || format('(v.%I, v.id) %s (%s, ($2 -> ''after'' ->> 1)::%s)', sort, CASE way WHEN 'ASC' THEN '>' ELSE '<' END, after, id_type)
			|| format('v.%I %s %s', sort, CASE way WHEN 'ASC' THEN '>=' ELSE '<=' END, after); -- partitions are left out by this one
	END IF;
	RETURN format('SELECT %s FROM %s v WHERE %s',
		CASE WHEN counting THEN 'count(*)' WHEN gate.type_of(view, 'shown') IS NOT NULL THEN 'v.shown'
			WHEN to_regprocedure(format('%s.masked(%s)', schema, view)) IS NOT NULL AND NOT gate.sees_all() THEN format('%s.masked(v) AS v', schema)
			ELSE 'v' END, view,
		coalesce(nullif(array_to_string(conditions, ' AND '), ''), 'true'))
		|| CASE WHEN counting THEN '' ELSE format(' ORDER BY v.%I %s, v.id %s OFFSET ($2 ->> ''offset'')::bigint LIMIT least(($2 ->> ''limit'')::int, %s)', sort, way, way,
			CASE WHEN view::text LIKE '%.exported' THEN 2000 ELSE 101 END) END;
END $$;
-- A column is one of several values; of a single one PostgreSQL makes a plain equality.
CREATE FUNCTION gate.one_of(col text, places text[], type text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(col || ' IN (' || string_agg(p || '::' || type, ', ') || ')', 'false') FROM unnest(places) p
$$;
CREATE FUNCTION gate.column_of(view regclass, name text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = view AND attname = name AND attnum > 0 AND NOT attisdropped) THEN
		RAISE EXCEPTION 'view % has no column "%"', view, name;
	END IF;
	RETURN name;
END $$;
CREATE FUNCTION gate.type_of(view regclass, name text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = view AND attname = name
$$;

-- Where servers are, as the settings say: those of these names. For a migration to say: an endpoint that was broken into would send
-- everybody's programs, and their passwords, elsewhere.
CREATE FUNCTION gate.learn_servers(p_servers jsonb, p_names text[], p_all boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF p_all IS NOT TRUE THEN
		RETURN;
	ELSIF session_user IN (SELECT 'postern_' || e.name FROM postern.endpoints e) THEN
		RAISE EXCEPTION 'where servers are is for a migration to say';
	END IF;
	INSERT INTO postern.servers AS s (name, host, port)
	SELECT x.name, x.host, x.port FROM jsonb_to_recordset(p_servers) x (name text, host text, port int) WHERE x.name = ANY (p_names)
	ORDER BY x.name ON CONFLICT (name) DO UPDATE SET host = excluded.host, port = excluded.port
	WHERE (s.host, s.port) IS DISTINCT FROM (excluded.host, excluded.port);
END $$;

-- May the token of this request read the resource of that name ("domains", and "domain" as events and the trail call it)? Asked by
-- views whose rows tell of other resources. Where nobody said what it may read, it reads nothing. "staff": who is no tenant.
CREATE FUNCTION gate.sees(name text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(current_setting('postern.sees', true) = '*' OR strpos(current_setting('postern.sees', true), ' ' || name || ' ') > 0, false)
$$;
CREATE FUNCTION gate.sees_all() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT coalesce(current_setting('postern.sees', true) = '*', false) $$;
-- Those names; '*': all that there are. By the verdict of every request.
CREATE FUNCTION gate.sees_of(c postern.caller) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE WHEN c.kind <> 'token' THEN '*' ELSE (SELECT CASE WHEN bool_and(x.reads) THEN '*' ELSE concat(CASE WHEN c.rank = 3 THEN ' staff' END,
			' ', string_agg(x.endpoint || ' ' || x.tells, ' ') FILTER (WHERE x.reads), ' ') END
		FROM (SELECT o.endpoint, o.resource AS tells, gate.verdict(c.rank, c.owner_rank, c.account_id, c.scopes, c.role_scopes,
				c.cap_scopes, c.deny, o.scope, o.no_wild, o.rank, o.own) IS NULL AS reads
			FROM postern.operations o WHERE o.does IN ('list', 'read') AND o.scope LIKE '%:read') x) END;
END $$;
CREATE FUNCTION gate.sees_of_key(p_key text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT gate.sees_of(gate.caller(b, NULL, NULL)) FROM gate.bearer b WHERE b.key_id = p_key);
END $$;
-- Is a token an administrator's, or was it? Deleted ones are remembered.
CREATE FUNCTION gate.is_staffs(p_token uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN EXISTS (SELECT FROM postern.bearers b WHERE b.token_id = p_token AND b.by_staff);
END $$;

-- Change a row by a checked body, RFC 7396: absent fields keep their value, null clears.
CREATE FUNCTION gate.given(body jsonb, field text, present anyelement) RETURNS anyelement
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	value present%TYPE;
BEGIN
	IF NOT body ? field THEN
		RETURN present;
	END IF;
	value := body ->> field; -- by the type's own input
	RETURN value;
END $$;
CREATE FUNCTION gate.given_list(body jsonb, field text, present text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN body ? field AND jsonb_typeof(body -> field) = 'array'
	            THEN ARRAY(SELECT jsonb_array_elements_text(body -> field)) ELSE present END
$$;
-- An event of a job, with what people and programs want to know of it.
-- An object's id as answers show it: a number where it is one.
CREATE FUNCTION gate.id_json(p_id text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN p_id ~ '^(0|[1-9][0-9]{0,17})$' THEN p_id::jsonb ELSE to_jsonb(p_id) END $$;
CREATE FUNCTION gate.job_event(p_job uuid, p_type text, p_more jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO postern.events (account_id, type, resource, object_id, data, request_id)
	SELECT j.account_id, p_type, split_part(p_type, '.', 1), CASE WHEN p_type LIKE 'job.%' THEN j.id::text ELSE j.object_id END,
		jsonb_build_object('job_id', j.id, 'kind', j.kind, 'status', j.status, 'resource', gate.word_of(j.resource), 'object_id', gate.id_json(j.object_id),
			'attempts', j.attempts, 'progress', j.progress, 'message', j.message, 'error', j.error) || p_more, j.request_id
	FROM postern.jobs j WHERE j.id = p_job
$$;
-- Have the machine changed: a job in the transaction of the change that wants it. `p_resource` is the endpoint's name, whose
-- functions task() and settled() say what the action is told and what becomes of the object (15_work.sql).
CREATE FUNCTION gate.work(c postern.caller, p_account bigint, p_kind text, p_resource text, p_object text,
                          p_input jsonb DEFAULT '{}', p_secret bytea DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid;
	v_by_tenant boolean := accounts.counts_job(c, p_account, p_kind);
BEGIN
	IF split_part(p_kind, '.', 2) IN ('remove', 'delete') THEN -- what was still to be done to it need not be
		PERFORM gate.check_waiting(c, p_resource, p_object);
		UPDATE postern.jobs j SET status = 'cancelled', message = 'no longer needed: the object is being removed',
			finished_at = postern.clock(), version = j.version + 1, updated_at = postern.clock()
		WHERE j.resource = p_resource AND j.object_id = p_object AND j.status = 'queued';
	END IF;
	INSERT INTO postern.jobs (account_id, kind, resource, object_id, input, secret, token_id, request_id, source, by_tenant, operation)
	VALUES (p_account, p_kind, p_resource, p_object, p_input, p_secret, c.token_id, c.request_id,
		CASE WHEN c.kind = 'schedule' THEN 'schedule' ELSE 'api' END, v_by_tenant,
		CASE WHEN c.kind = 'token' THEN nullif(current_setting('postern.operation', true), '') END)
	RETURNING id INTO v_id;
	PERFORM gate.job_event(v_id, 'job.queued');
	PERFORM set_config('postern.job', v_id::text, true); -- the write that this is part of answers with it
	PERFORM pg_notify('postern_jobs', '');
	RETURN v_id;
END $$;
-- The simple rule for an object whose job has ended: `p_good`, or error with the reason; gone after a removal. A change that
-- came while the job ran has a job of its own, which will say.
CREATE FUNCTION gate.settle_status(t regclass, j postern.jobs, p_good text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF j.status = 'succeeded' AND split_part(j.kind, '.', 2) IN ('remove', 'delete') THEN
		EXECUTE format('DELETE FROM %s WHERE id = $1', t) USING j.object_id::bigint;
		RETURN;
	END IF;
	EXECUTE format('UPDATE %s SET status = $1, last_error = $2, version = version + 1, updated_at = postern.clock()
		WHERE id = $3 AND job_id = $4', t)
	USING CASE j.status WHEN 'succeeded' THEN p_good ELSE 'error' END,
		CASE j.status WHEN 'succeeded' THEN NULL WHEN 'cancelled' THEN 'the job was cancelled; change it, or retry the job' ELSE j.error END,
		j.object_id::bigint, j.id;
END $$;

-- Move an object from one status to another, or say why not. `t` has id, status, version and updated_at; `one` names it.
CREATE FUNCTION gate.set_status(t regclass, one text, o text, p_from text, p_to text) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_status text;
BEGIN
	EXECUTE format('SELECT status FROM %s WHERE id = $1', t) INTO v_status USING o::bigint;
	IF v_status = p_to AND p_to = 'suspended' AND gate.take_over(t, o, 'status') THEN
		RETURN ROW(o, NULL)::postern.done;
	ELSIF v_status = p_to THEN
		PERFORM gate.fail(409, format('the %s is %s already', one, v_status));
	ELSIF v_status <> p_from THEN
		PERFORM gate.fail(409, format('the %s is %s; only one that is %s can become %s', one, v_status, p_from, p_to));
	END IF;
	EXECUTE format('UPDATE %s SET status = $1, version = version + 1, updated_at = postern.clock() WHERE id = $2', t)
	USING p_to, o::bigint;
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION gate.may_admin(c postern.caller) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT c.rank = 3 AND c.account_id = 0 $$;

-- What a caller may do now, by the verdict of every request: the operations, and the scopes that any of them takes.
CREATE FUNCTION gate.permissions(c postern.caller, OUT scopes jsonb, OUT operations jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ -- whose plans are kept
DECLARE
	v_now timestamptz := postern.clock();
	b gate.bearer;
BEGIN
	SELECT * INTO b FROM gate.bearer x WHERE x.key_id = c.key_id;
	IF NOT FOUND AND c.kind <> 'system' THEN
		RETURN;
	END IF;
	SELECT coalesce(jsonb_agg(DISTINCT x.scope COLLATE "C") FILTER (WHERE x.scope <> '-'), '[]'), coalesce(jsonb_agg(x.operation) FILTER (WHERE x.operation <> x.scope), '[]')
	INTO scopes, operations
	FROM (SELECT o.operation, o.scope FROM postern.operations o
		WHERE c.kind = 'system' OR gate.judge(b, v_now, c.ip, false, false, o) IS NULL
		ORDER BY o.operation) x;
END $$;

RESET ROLE;
-- What the gate's role runs itself. No endpoint may call these directly but for the four that prove the token.
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'gate'::regnamespace LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_gate, postern_tenant, postern_operator', f);
	END LOOP;
END $$;
ALTER FUNCTION gate.record(text, bytea, bigint, int, text, bigint) OWNER TO postern_gate;
ALTER FUNCTION gate.settle() OWNER TO postern_gate;
ALTER FUNCTION gate.settings_held(int) OWNER TO postern_gate;
ALTER FUNCTION gate.note_cluster(int, bigint, bigint) OWNER TO postern_gate;
GRANT EXECUTE ON FUNCTION gate.note_cluster(int, bigint, bigint) TO postern_owner;
REVOKE EXECUTE ON FUNCTION gate.note_cluster(int, bigint, bigint), gate.know_cluster()
	FROM postern_tenant, postern_operator;
REVOKE EXECUTE ON FUNCTION gate.settings_changed(), gate.publish_settings(int) FROM postern_tenant, postern_gate;
SELECT gate.publish_settings(number) FROM postern.settings_head;
ALTER FUNCTION gate.job_event(uuid, text, jsonb) OWNER TO postern_gate;
ALTER FUNCTION gate.sees_of(postern.caller) OWNER TO postern_gate;
ALTER FUNCTION gate.is_staffs(uuid) OWNER TO postern_gate;
ALTER FUNCTION gate.permissions(postern.caller) OWNER TO postern_gate;
ALTER FUNCTION gate.reach(int, int, bigint, text[], text[], text[], text[]) OWNER TO postern_gate;
ALTER FUNCTION gate.token_exceeds(postern.caller, uuid) OWNER TO postern_gate;
ALTER FUNCTION gate.token_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.user_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.role_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.account_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.token_begins() OWNER TO postern_operator;
ALTER FUNCTION gate.token_ends() OWNER TO postern_operator;
ALTER FUNCTION gate.account_counts() OWNER TO postern_operator;
-- those that a change met while there were no triggers
SELECT gate.stand(ARRAY(SELECT token_id FROM (TABLE gate.standing EXCEPT TABLE postern.standings) x));
ALTER FUNCTION gate.first_open() OWNER TO postern_monitor;
ALTER FUNCTION gate.keep(text, bytea, bytea, int, text, text) OWNER TO postern_gate;
