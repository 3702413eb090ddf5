-- accounts: hosting accounts, the tenants.
DROP SCHEMA IF EXISTS accounts CASCADE;
CREATE SCHEMA accounts AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW accounts.item AS
SELECT a.id, a.name, a.username, a.email, a.home, a.max_domains, a.max_mailboxes, a.max_databases, a.max_disk_mb,
       (SELECT count(*) FROM postern.domains d WHERE d.account_id = a.id) AS domains,
       (SELECT count(*) FROM postern.mailboxes m WHERE m.account_id = a.id) AS mailboxes,
       (SELECT count(*) FROM postern.databases b WHERE b.account_id = a.id) AS databases,
       (SELECT count(*) FROM postern.users u WHERE u.account_id = a.id) AS users,
       (SELECT count(*) FROM postern.tokens t WHERE t.account_id = a.id) AS tokens,
       a.status, a.last_error, a.managed, a.job_id, a.created_at, a.updated_at, a.version, a.id AS tenant
FROM postern.accounts a;

CREATE FUNCTION accounts."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
BEGIN
	IF EXISTS (SELECT FROM postern.accounts a WHERE a.username = b ->> 'username') THEN
		PERFORM gate.fail(409, 'an account with this username exists', jsonb_build_object('username', 'is taken'));
	END IF;
	INSERT INTO postern.accounts (name, username, email, home, max_domains, max_mailboxes, max_databases, max_disk_mb, managed, status)
	VALUES (coalesce(b ->> 'name', b ->> 'username'), b ->> 'username', b ->> 'email',
		coalesce(b ->> 'home', '/home/' || (b ->> 'username')), (b ->> 'max_domains')::int, (b ->> 'max_mailboxes')::int,
		(b ->> 'max_databases')::int, (b ->> 'max_disk_mb')::bigint, coalesce((b ->> 'managed')::boolean, true),
		CASE WHEN coalesce((b ->> 'managed')::boolean, true) THEN 'pending' ELSE 'active' END)
	RETURNING id INTO v_id;
	IF coalesce((b ->> 'managed')::boolean, true) THEN
		UPDATE postern.accounts SET job_id = gate.work(c, v_id, 'account.create', 'accounts', v_id::text) WHERE id = v_id;
	END IF;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;

CREATE FUNCTION accounts."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE postern.accounts a SET
		name = gate.given(b, 'name', a.name),
		email = gate.given(b, 'email', a.email),
		home = gate.given(b, 'home', a.home),
		max_domains = gate.given(b, 'max_domains', a.max_domains),
		max_mailboxes = gate.given(b, 'max_mailboxes', a.max_mailboxes),
		max_databases = gate.given(b, 'max_databases', a.max_databases),
		max_disk_mb = gate.given(b, 'max_disk_mb', a.max_disk_mb),
		version = a.version + 1, updated_at = postern.clock()
	WHERE a.id = o::bigint;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- Its tokens are refused from the next request on: the gate reads the account's state each time. The machine follows.
CREATE FUNCTION accounts.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	-- also one whose user is still to be made, or could not be
	UPDATE postern.accounts a SET status = 'active' WHERE a.id = o::bigint AND a.status IN ('pending', 'error');
	PERFORM gate.set_status('postern.accounts', 'account', o, 'active', 'suspended');
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.suspend', 'accounts', o) WHERE a.id = o::bigint AND a.managed;
	PERFORM databases.account_changed(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION accounts.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gate.set_status('postern.accounts', 'account', o, 'suspended', 'active');
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.unsuspend', 'accounts', o) WHERE a.id = o::bigint AND a.managed;
	PERFORM databases.account_changed(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd's action is told, and what becomes of the account then. A suspended one stays so whatever the machine says.
CREATE FUNCTION accounts.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('username', a.username, 'home', a.home, 'purge', coalesce((j.input ->> 'purge')::boolean, false))
	FROM postern.accounts a WHERE a.id = j.object_id::bigint AND a.managed
$$;
CREATE FUNCTION accounts.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint := j.object_id::bigint;
BEGIN
	IF j.kind = 'account.delete' AND j.status = 'succeeded' THEN
		IF EXISTS (SELECT FROM postern.databases d WHERE d.account_id = v_id) THEN
			UPDATE postern.accounts a SET version = a.version + 1, updated_at = postern.clock(), status = 'error',
				last_error = 'a database could not be removed; its job says why: delete it, then the account again'
			WHERE a.id = v_id;
			RETURN;
		END IF;
		PERFORM accounts.forget(v_id);
		RETURN;
	END IF;
	UPDATE postern.accounts a SET version = a.version + 1, updated_at = postern.clock(),
		status = CASE WHEN a.status = 'suspended' THEN a.status WHEN j.status = 'succeeded' THEN 'active' ELSE 'error' END,
		last_error = CASE WHEN j.status = 'succeeded' THEN NULL ELSE coalesce(j.error, 'the job was ' || j.status) END
	WHERE a.id = v_id AND a.job_id = j.id;
END $$;

-- What an account owns goes with it only when asked for (?cascade=true); else the answer lists it.
CREATE FUNCTION accounts."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint := o::bigint;
	v_domains bigint := (SELECT count(*) FROM postern.domains WHERE account_id = v_id);
	v_mailboxes bigint := (SELECT count(*) FROM postern.mailboxes WHERE account_id = v_id);
	v_forwarders bigint := (SELECT count(*) FROM postern.forwarders WHERE account_id = v_id);
	v_databases bigint := (SELECT count(*) FROM postern.databases WHERE account_id = v_id);
	v_users bigint := (SELECT count(*) FROM postern.users WHERE account_id = v_id);
	v_tokens bigint := (SELECT count(*) FROM postern.tokens WHERE account_id = v_id);
BEGIN
	IF v_domains + v_mailboxes + v_forwarders + v_databases + v_users + v_tokens > 0 AND NOT coalesce((b ->> 'cascade')::boolean, false) THEN
		PERFORM gate.fail(409, format('the account still owns %s; delete them first or use cascade=true', gate.counted(
			'{domains, mailboxes, forwarders, databases, users, tokens}', ARRAY[v_domains, v_mailboxes, v_forwarders, v_databases, v_users, v_tokens])), jsonb_strip_nulls(jsonb_build_object(
			'domains', gate.some_of(ARRAY(SELECT domain FROM postern.domains WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_domains),
			'mailboxes', gate.some_of(ARRAY(SELECT address FROM postern.mailboxes WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_mailboxes),
			'forwarders', gate.some_of(ARRAY(SELECT address FROM postern.forwarders WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_forwarders),
			'databases', gate.some_of(ARRAY(SELECT name FROM postern.databases WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_databases),
			'users', gate.some_of(ARRAY(SELECT username FROM postern.users WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_users),
			'tokens', gate.some_of(ARRAY(SELECT name FROM postern.tokens WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_tokens))));
	END IF;
	PERFORM users.remove(c, u.id) FROM postern.users u WHERE u.account_id = v_id;
	DELETE FROM postern.tokens WHERE account_id = v_id;
	PERFORM mailboxes.remove(c, m.id) FROM postern.mailboxes m WHERE m.account_id = v_id;
	DELETE FROM postern.forwarders WHERE account_id = v_id;
	-- by jobs that come before the account's
	PERFORM databases.remove(c, d.id) FROM postern.databases d WHERE d.account_id = v_id ORDER BY d.id;
	IF v_databases = 0 AND NOT (SELECT a.managed FROM postern.accounts a WHERE a.id = v_id) THEN
		PERFORM accounts.forget(v_id); -- nothing on the machine is ours
		RETURN ROW(o, NULL)::postern.done;
	END IF;
	UPDATE postern.accounts a SET status = 'deleting', version = a.version + 1, updated_at = postern.clock(),
		job_id = gate.work(c, v_id, 'account.delete', 'accounts', o, jsonb_build_object('purge', coalesce((b ->> 'purge')::boolean, false)))
	WHERE a.id = v_id;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- The rows, when nothing is left of it on the machine.
CREATE FUNCTION accounts.forget(p_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM postern.domains WHERE account_id = p_id;
	DELETE FROM postern.domain_names WHERE account_id = p_id;
	DELETE FROM postern.accounts WHERE id = p_id;
END $$;

RESET ROLE;
