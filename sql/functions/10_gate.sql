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

-- How a token stands: it, its owner, their roles, its account. postern.standings keeps this, a row a token.
CREATE VIEW gate.standing AS
SELECT t.id AS token_id, t.name AS token_name, t.account_id, t.scopes, t.deny, t.allowed_ips, t.rate_limit, t.action_limit,
       t.expires_at, t.revoked_at, u.id AS user_id, u.username, u.account_id AS user_account_id, u.status AS user_status,
       r.rank AS owner_rank, least(r.rank, c.rank) AS rank, r.scopes AS role_scopes, c.scopes AS cap_scopes,
       a.status AS account_status
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
		 user_account_id, user_status, owner_rank, rank, role_scopes, cap_scopes, account_status) =
		(excluded.token_name, excluded.account_id, excluded.scopes, excluded.deny, excluded.allowed_ips, excluded.rate_limit,
		 excluded.action_limit, excluded.expires_at, excluded.revoked_at, excluded.user_id, excluded.username,
		 excluded.user_account_id, excluded.user_status, excluded.owner_rank, excluded.rank, excluded.role_scopes,
		 excluded.cap_scopes, excluded.account_status);
	INSERT INTO postern.bearers SELECT s.token_id, s.token_name, s.user_id, s.username FROM postern.standings s WHERE s.token_id = ANY (p_tokens)
	ORDER BY s.token_id ON CONFLICT DO NOTHING; -- by which names the trail knows them
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
		PERFORM FROM postern.accounts a WHERE a.id = NEW.account_id FOR SHARE;
	END IF;
	PERFORM gate.stand(ARRAY[NEW.id]);
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
CREATE TRIGGER stands AFTER UPDATE OF status ON postern.accounts FOR EACH ROW EXECUTE FUNCTION gate.account_stands();

-- Everything the gate knows of a key.
CREATE VIEW gate.bearer AS
SELECT k.key_id, k.digest, k.expires_at AS key_expires_at, s.*
FROM postern.keys k JOIN postern.standings s ON s.token_id = k.token_id;
GRANT SELECT ON gate.bearer TO postern_gate;
ALTER VIEW gate.bearer SET (security_invoker = true);

-- Does a list of scopes hold `wanted`? "domains:*" and "*" count, but where no_wild: then "*" alone, and only an
-- administrator's.
CREATE FUNCTION gate.holds(held text[], wanted text, no_wild boolean, rank int) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT wanted = ANY (held)
	    OR ('*' = ANY (held) AND (rank = 3 OR NOT no_wild))
	    OR (NOT no_wild AND split_part(wanted, ':', 1) || ':*' = ANY (held))
$$;
-- Does a deny list refuse `wanted`? Wildcards always count here.
CREATE FUNCTION gate.denies(deny text[], wanted text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT deny <> '{}' AND deny && ARRAY[wanted, split_part(wanted, ':', 1) || ':*', '*']
$$;

-- The verdict on a recognised token: null admits, else the reason. The order is the contract's: token, transport and
-- address, then role, scope and deny list. The rate limit comes after, in admission.
CREATE FUNCTION gate.judge(b gate.bearer, at timestamptz, ip inet, insecure boolean,
                           wanted text, no_wild boolean, least_rank int, admin_path boolean, own boolean) RETURNS text
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
		WHEN b.rank < least_rank THEN 'role'
		WHEN least_rank = 3 AND b.account_id > 0 THEN 'bound'
		WHEN b.rank < 3 AND b.account_id = 0 AND NOT own THEN 'no_account'
		WHEN NOT gate.holds(b.scopes, wanted, no_wild, b.rank)
		  OR NOT gate.holds(b.role_scopes, wanted, no_wild, b.owner_rank)
		  OR NOT coalesce(gate.holds(b.cap_scopes, wanted, no_wild, b.rank), true) THEN 'scope'
		WHEN gate.denies(b.deny, wanted) THEN 'denied'
	END
$$;

-- The HTTP status of a reason: the first group says the token is no good, the second that it may not.
CREATE FUNCTION gate.status_of(reason text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE
		WHEN reason IS NULL THEN 200
		WHEN reason IN ('unknown', 'revoked', 'expired', 'owner_suspended', 'account_suspended', 'owner_moved') THEN 401
		WHEN reason IN ('rate_limit', 'action_limit') THEN 429
		ELSE 403
	END
$$;

CREATE FUNCTION gate.caller(b gate.bearer, ip inet, request_id uuid) RETURNS postern.caller
LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW('token', b.token_id, b.token_name, b.key_id, b.user_id, b.username, b.account_id, b.rank, b.scopes,
		CASE WHEN b.cap_scopes IS NULL THEN b.role_scopes ELSE b.cap_scopes END,
		b.deny, b.allowed_ips, b.rate_limit, b.action_limit, b.expires_at, ip, request_id)::postern.caller
$$;
CREATE FUNCTION gate.system(request_id uuid) RETURNS postern.caller
LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW('system', NULL, NULL, NULL, NULL, 'system', 0, 3, '{*}', '{*}', '{}', '{}', NULL, NULL, NULL, NULL,
		request_id)::postern.caller
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

-- Prove a token again for a statement of its own (a write, a late refusal): the digest must match. Raises 401 or 403.
CREATE FUNCTION gate.prove(p_key text, p_digest bytea, p_ip inet, p_insecure boolean, p_wanted text, p_no_wild boolean,
                           p_least_rank int, p_admin_path boolean, p_own boolean, p_request_id uuid) RETURNS postern.caller
LANGUAGE plpgsql AS $$
DECLARE
	b gate.bearer := gate.recognise(p_key, p_digest);
	reason text;
BEGIN
	reason := gate.judge(b, postern.clock(), p_ip, p_insecure, p_wanted, p_no_wild, p_least_rank, p_admin_path, p_own);
	IF reason IS NOT NULL THEN
		PERFORM gate.fail(gate.status_of(reason), reason);
	END IF;
	RETURN gate.caller(b, p_ip, p_request_id);
END $$;

-- The heavy actions' bucket, which is looked at before that of the calls, so that what it refuses uses up no call. Two buckets
-- are counted for one request at a time: the arrays have one element. Null where it does not decide, as the token is refused
-- or has no call left.
CREATE FUNCTION gate.act(p_key text[], p_digest bytea[], p_ip text[], p_insecure boolean[], p_wanted text[], p_no_wild boolean[],
                         p_least_rank int[], p_admin_path boolean[], p_own boolean[], p_now timestamptz) RETURNS postern.bucket
LANGUAGE plpgsql AS $$
DECLARE
	v_ago timestamptz := p_now - interval '60 s';
	b gate.bearer;
	r postern.rates;
	v_used int;
	v_since timestamptz;
BEGIN
	IF cardinality(p_key) <> 1 THEN
		RAISE EXCEPTION 'a heavy action goes through the gate alone';
	END IF;
	SELECT * INTO b FROM gate.bearer x
	WHERE x.key_id = p_key[1] AND x.digest IN (substr(p_digest[1], 1, 32), substr(p_digest[1], 33, 32));
	IF NOT FOUND OR gate.judge(b, p_now, p_ip[1]::inet, p_insecure[1], p_wanted[1], p_no_wild[1], p_least_rank[1],
	                           p_admin_path[1], p_own[1]) IS NOT NULL THEN
		RETURN NULL;
	END IF;
	SELECT * INTO r FROM postern.rates x WHERE x.token_id = b.token_id FOR UPDATE;
	v_used := CASE WHEN r.action_window_start > v_ago THEN r.action_used ELSE 0 END;
	v_since := CASE WHEN r.action_window_start > v_ago THEN r.action_window_start ELSE p_now END;
	IF v_used >= b.action_limit THEN
		RETURN ROW(true, b.action_limit, 0, v_since)::postern.bucket;
	ELSIF r.window_start > v_ago AND r.used >= b.rate_limit THEN
		RETURN NULL;
	END IF;
	UPDATE postern.rates x SET action_used = v_used + 1, action_window_start = v_since WHERE x.token_id = b.token_id;
	RETURN ROW(false, b.action_limit, b.action_limit - v_used - 1, v_since)::postern.bucket;
END $$;

-- A token's window where nothing was counted: when it began (now, where none is open), and the calls left in it.
CREATE FUNCTION gate.window_of(p_token uuid, p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce((SELECT r.window_start FROM postern.rates r
		WHERE r.token_id = p_token AND r.window_start > p_now - interval '60 s'), p_now);
END $$;
CREATE FUNCTION gate.left_of(p_token uuid, p_limit int, p_now timestamptz) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
	RETURN greatest(p_limit - coalesce((SELECT r.used FROM postern.rates r
		WHERE r.token_id = p_token AND r.window_start > p_now - interval '60 s'), 0), 0);
END $$;

-- A flood of refusals: counted, only the first of a window gets a row in the trail. Is this one the first?
CREATE FUNCTION gate.refuse(p_token uuid, p_reason text, p_account bigint, p_name text, p_user bigint, p_username text,
                            p_limit int, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	v_ago timestamptz := p_now - interval '60 s';
	v_count bigint;
BEGIN
	IF p_reason = 'rate_limit' THEN -- the batch that came to the limit was counted as a whole
		UPDATE postern.rates r SET used = p_limit WHERE r.token_id = p_token AND r.used > p_limit;
	END IF;
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

-- The row of an admitted request that failed afterwards (its change was rolled back), or whose answer was known only
-- when its data had been read. The caller proves the token again; whether it is still good no longer matters.
CREATE FUNCTION gate.record(p_key text, p_digest bytea, p_ip inet, p_request_id uuid, p_account_id bigint, p_action text,
                            p_object_id text, p_method text, p_path text, p_status int, p_reason text,
                            p_duration_us bigint, p_agent text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	b gate.bearer := gate.recognise(p_key, p_digest);
BEGIN
	-- only an unbound administrator's row may name another account than the token's own
	PERFORM gate.trail(gate.caller(b, p_ip, p_request_id),
		CASE WHEN b.account_id = 0 AND b.rank = 3 THEN coalesce(p_account_id, 0) ELSE b.account_id END,
		p_action, p_object_id, p_method, p_path, p_status, p_reason, p_duration_us, p_agent, NULL);
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
	RETURN (SELECT count(*) FROM postern.refusals);
END $$;

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
	SELECT p_account_id, gate.past(p_action),
		split_part(p_action, '.', 1), p_object_id, coalesce(p_data, '{}'), c.request_id
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
	IF FOUND AND k.created_at <= postern.clock() - interval '24 h' THEN
		DELETE FROM postern.kept_answers a WHERE a.token_id = c.token_id AND a.key = p_key;
		RETURN NULL;
	END IF;
	IF FOUND AND k.fingerprint <> p_fingerprint THEN
		PERFORM gate.fail(422, 'this Idempotency-Key was used for another request; use a new key');
	END IF;
	RETURN k;
END $$;
CREATE FUNCTION gate.keep(p_key_id text, p_digest bytea, p_key bytea, p_fingerprint bytea, p_status int, p_headers text,
                          p_body text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM postern.kept_answers WHERE ctid IN (
		SELECT ctid FROM postern.kept_answers WHERE created_at <= postern.clock() - interval '24 h' LIMIT 20 FOR UPDATE SKIP LOCKED);
	INSERT INTO postern.kept_answers (token_id, key, fingerprint, status, headers, body)
	VALUES ((gate.recognise(p_key_id, p_digest)).token_id, p_key, p_fingerprint, p_status, p_headers, p_body);
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
CREATE FUNCTION gate.compatible_from() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';

-- The operations of the route tables, their scopes, and what the built-in roles make of these. Called by `postern migrate`. A
-- scope may stand in several: it has the least role of them, and one that no wildcard implies makes all of it so. One without an
-- operation is a further scope that SQL asks for; it is kept under its own name.
CREATE FUNCTION gate.sync_scopes(p_operations jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM postern.operations;
	DELETE FROM postern.scopes WHERE scope NOT IN (SELECT x ->> 'scope' FROM jsonb_array_elements(p_operations) x);
	INSERT INTO postern.operations (operation, scope, rank, no_wild, own)
	SELECT coalesce(x ->> 'operation', x ->> 'scope'), x ->> 'scope', (x ->> 'rank')::int, (x ->> 'no_wild')::boolean, (x ->> 'own')::boolean
	FROM jsonb_array_elements(p_operations) x;
	INSERT INTO postern.scopes (scope, resource, rank, no_wild)
	SELECT x ->> 'scope', split_part(x ->> 'scope', ':', 1), min((x ->> 'rank')::int), bool_or((x ->> 'no_wild')::boolean)
	FROM jsonb_array_elements(p_operations) x GROUP BY x ->> 'scope'
	ON CONFLICT (scope) DO UPDATE SET resource = excluded.resource, rank = excluded.rank, no_wild = excluded.no_wild;
	UPDATE postern.roles SET scopes = n.scopes, version = version + 1, updated_at = postern.clock()
	FROM (SELECT 'viewer' AS name, coalesce(array_agg(scope ORDER BY scope), '{}') AS scopes
	      FROM postern.scopes WHERE rank = 1 AND scope LIKE '%:read'
	      UNION ALL
	      SELECT 'customer', coalesce(array_agg(scope ORDER BY scope), '{}') FROM postern.scopes WHERE rank <= 2) n
	WHERE roles.name = n.name AND roles.built_in AND roles.scopes <> n.scopes;
END $$;

-- Does `held` (with its deny list) cover everything that the scope or pattern `wanted` would open? For minting and roles.
CREATE FUNCTION gate.covers(held text[], wanted text, rank int) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT wanted = ANY (held)
	    OR ('*' = ANY (held) AND rank = 3)
	    OR CASE WHEN wanted = '*' OR wanted LIKE '%:*' THEN
	           wanted LIKE '%:*' AND '*' = ANY (held)
	           OR NOT EXISTS (SELECT FROM postern.scopes s
	                          WHERE (wanted = '*' OR s.resource = split_part(wanted, ':', 1)) AND NOT s.no_wild
	                            AND NOT gate.holds(held, s.scope, s.no_wild, rank))
	       ELSE gate.holds(held, wanted, coalesce((SELECT s.no_wild FROM postern.scopes s WHERE s.scope = wanted), false), rank)
	       END
$$;
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
-- 422 naming the first scope that does not exist; patterns must match something.
CREATE FUNCTION gate.check_scopes(field text, wanted text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	w text;
	near text;
BEGIN
	FOREACH w IN ARRAY coalesce(wanted, '{}') LOOP
		IF w <> '*' AND NOT EXISTS (SELECT FROM postern.scopes s WHERE s.scope = w OR s.resource || ':*' = w) THEN
			SELECT s.scope INTO near FROM postern.scopes s
			WHERE gate.distance(s.scope, w) <= 1 + length(w) / 6 ORDER BY gate.distance(s.scope, w), s.scope LIMIT 1;
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
			condition := gate.one_of(format('v.%I', gate.column_of(view, name)), places,
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
		CASE WHEN counting THEN 'count(*)' WHEN gate.type_of(view, 'shown') IS NULL THEN 'v' ELSE 'v.shown' END, view,
		coalesce(nullif(array_to_string(conditions, ' AND '), ''), 'true'))
		|| CASE WHEN counting THEN '' ELSE format(' ORDER BY v.%I %s, v.id %s OFFSET ($2 ->> ''offset'')::bigint LIMIT ($2 ->> ''limit'')::int', sort, way, way) END;
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
CREATE FUNCTION gate.job_event(p_job uuid, p_type text, p_more jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO postern.events (account_id, type, resource, object_id, data, request_id)
	SELECT j.account_id, p_type, split_part(p_type, '.', 1), CASE WHEN p_type LIKE 'job.%' THEN j.id::text ELSE j.object_id END,
		jsonb_build_object('job_id', j.id, 'kind', j.kind, 'status', j.status, 'resource', j.resource, 'object_id', j.object_id,
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
BEGIN
	IF split_part(p_kind, '.', 2) IN ('remove', 'delete') THEN -- what was still to be done to it need not be
		UPDATE postern.jobs j SET status = 'cancelled', message = 'no longer needed: the object is being removed',
			finished_at = postern.clock(), version = j.version + 1, updated_at = postern.clock()
		WHERE j.resource = p_resource AND j.object_id = p_object AND j.status = 'queued';
	END IF;
	INSERT INTO postern.jobs (account_id, kind, resource, object_id, input, secret, token_id, request_id, source)
	VALUES (p_account, p_kind, p_resource, p_object, p_input, p_secret, c.token_id, c.request_id,
		CASE WHEN c.kind = 'schedule' THEN 'schedule' ELSE 'api' END)
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
	IF v_status = p_to THEN
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
	SELECT coalesce(jsonb_agg(DISTINCT x.scope COLLATE "C"), '[]'), coalesce(jsonb_agg(x.operation) FILTER (WHERE x.operation <> x.scope), '[]')
	INTO scopes, operations
	FROM (SELECT o.operation, o.scope FROM postern.operations o
		WHERE c.kind = 'system' OR gate.judge(b, v_now, c.ip, false, o.scope, o.no_wild, o.rank, false, o.own) IS NULL
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
ALTER FUNCTION gate.record(text, bytea, inet, uuid, bigint, text, text, text, text, int, text, bigint, text) OWNER TO postern_gate;
ALTER FUNCTION gate.settle() OWNER TO postern_gate;
ALTER FUNCTION gate.settings_held(int) OWNER TO postern_gate;
REVOKE EXECUTE ON FUNCTION gate.settings_changed(), gate.publish_settings(int) FROM postern_tenant, postern_gate;
SELECT gate.publish_settings(number) FROM postern.settings_head;
ALTER FUNCTION gate.job_event(uuid, text, jsonb) OWNER TO postern_gate;
ALTER FUNCTION gate.permissions(postern.caller) OWNER TO postern_gate;
ALTER FUNCTION gate.token_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.user_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.role_stands() OWNER TO postern_operator;
ALTER FUNCTION gate.account_stands() OWNER TO postern_operator;
-- those that a change met while there were no triggers
SELECT gate.stand(ARRAY(SELECT token_id FROM (TABLE gate.standing EXCEPT TABLE postern.standings) x));
ALTER FUNCTION gate.keep(text, bytea, bytea, bytea, int, text, text) OWNER TO postern_gate;
