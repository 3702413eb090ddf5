-- accounts: hosting accounts, the tenants.
DROP SCHEMA IF EXISTS accounts CASCADE;
CREATE SCHEMA accounts AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW accounts.item AS
SELECT a.id, a.name, a.username, a.email, a.home, a.max_domains, a.max_mailboxes, a.max_databases, a.max_disk_mb,
       ARRAY(SELECT p.port FROM postern.account_ports p WHERE p.account_id = a.id ORDER BY 1) AS ports,
       a.backup_keep_last, a.backup_keep_daily, a.backup_keep_weekly, a.backup_keep_monthly,
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
	INSERT INTO postern.accounts (name, username, email, home, max_domains, max_mailboxes, max_databases, max_disk_mb,
		backup_keep_last, backup_keep_daily, backup_keep_weekly, backup_keep_monthly, managed, status)
	VALUES (coalesce(b ->> 'name', b ->> 'username'), b ->> 'username', b ->> 'email',
		coalesce(b ->> 'home', '/home/' || (b ->> 'username')), (b ->> 'max_domains')::int, (b ->> 'max_mailboxes')::int,
		(b ->> 'max_databases')::int, (b ->> 'max_disk_mb')::bigint, (b ->> 'backup_keep_last')::int,
		(b ->> 'backup_keep_daily')::int, (b ->> 'backup_keep_weekly')::int, (b ->> 'backup_keep_monthly')::int, coalesce((b ->> 'managed')::boolean, true),
		CASE WHEN coalesce((b ->> 'managed')::boolean, true) THEN 'pending' ELSE 'active' END)
	RETURNING id INTO v_id;
	PERFORM accounts.set_ports(v_id, b);
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
		backup_keep_last = gate.given(b, 'backup_keep_last', a.backup_keep_last),
		backup_keep_daily = gate.given(b, 'backup_keep_daily', a.backup_keep_daily),
		backup_keep_weekly = gate.given(b, 'backup_keep_weekly', a.backup_keep_weekly),
		backup_keep_monthly = gate.given(b, 'backup_keep_monthly', a.backup_keep_monthly),
		version = a.version + 1, updated_at = postern.clock()
	WHERE a.id = o::bigint;
	PERFORM accounts.set_ports(o::bigint, b);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- A port belongs to one account. One that a website still uses stays.
CREATE FUNCTION accounts.set_ports(p_id bigint, b jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_ports int[] := ARRAY(SELECT DISTINCT x::int FROM jsonb_array_elements_text(b -> 'ports') x ORDER BY 1);
	v_used text := (SELECT string_agg(d.domain, ', ' ORDER BY d.domain) FROM postern.websites w JOIN postern.domains d ON d.id = w.domain_id
		JOIN postern.account_ports p ON p.account_id = w.account_id AND w.proxy_target = 'http://127.0.0.1:' || p.port
		WHERE w.account_id = p_id AND w.runtime = 'proxy' AND p.port <> ALL (v_ports));
BEGIN
	IF NOT b ? 'ports' THEN
		RETURN;
	ELSIF v_ports[1] < 1024 THEN
		PERFORM gate.invalid('ports', 'must be 1024 or above; the system''s own programs are below');
	ELSIF v_used IS NOT NULL THEN
		PERFORM gate.fail(409, format('websites are still handed on to a port that is left out: %s', v_used), jsonb_build_object('ports', 'are in use'));
	END IF;
	DELETE FROM postern.account_ports p WHERE p.account_id = p_id AND p.port <> ALL (v_ports);
	BEGIN
		INSERT INTO postern.account_ports (port, account_id)
		SELECT x, p_id FROM unnest(v_ports) x WHERE NOT EXISTS (SELECT FROM postern.account_ports p WHERE p.port = x AND p.account_id = p_id);
	EXCEPTION WHEN unique_violation THEN
		PERFORM gate.fail(409, 'a port belongs to another account', jsonb_build_object('ports', 'one of them belongs to another account'));
	END;
END $$;

-- Its tokens are refused from the next request on: the gate reads the account's state each time. The machine follows.
CREATE FUNCTION accounts.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	-- also one whose user is still to be made, or could not be
	UPDATE postern.accounts a SET status = 'active' WHERE a.id = o::bigint AND a.status IN ('pending', 'error');
	PERFORM gate.set_status('postern.accounts', 'account', o, 'active', 'suspended');
	PERFORM websites.follow(c, w.id) FROM postern.websites w WHERE w.account_id = o::bigint;
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.suspend', 'accounts', o) WHERE a.id = o::bigint AND a.managed;
	PERFORM databases.account_changed(c, o::bigint);
	PERFORM cron.follow(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION accounts.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gate.set_status('postern.accounts', 'account', o, 'suspended', 'active');
	PERFORM websites.follow(c, w.id) FROM postern.websites w WHERE w.account_id = o::bigint;
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.unsuspend', 'accounts', o) WHERE a.id = o::bigint AND a.managed;
	PERFORM databases.account_changed(c, o::bigint);
	PERFORM cron.follow(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd's action is told, and what becomes of the account then. A suspended one stays so whatever the machine says.
CREATE FUNCTION accounts.task(j postern.jobs) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id bigint := j.object_id::bigint;
	v_websites bigint := (SELECT count(*) FROM postern.websites WHERE account_id = v_id);
	v_databases bigint := (SELECT count(*) FROM postern.databases WHERE account_id = v_id);
	v_cron bigint := (SELECT count(*) FROM postern.cron WHERE account_id = v_id);
BEGIN
	IF j.kind = 'account.delete' AND v_websites + v_databases + v_cron > 0 THEN
		RAISE EXCEPTION '% could not be removed; see their last_error, delete them, then retry this job',
			gate.counted('{websites, databases, cron jobs}', ARRAY[v_websites, v_databases, v_cron]);
	END IF;
	RETURN (SELECT jsonb_build_object('username', a.username, 'home', a.home, 'purge', coalesce((j.input ->> 'purge')::boolean, false))
		FROM postern.accounts a WHERE a.id = v_id AND a.managed); -- an imported one's user and home are not Postern's to touch
END $$;
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
	v_backups bigint := (SELECT count(*) FROM postern.backups WHERE account_id = v_id);
	v_cron bigint := (SELECT count(*) FROM postern.cron WHERE account_id = v_id);
	v_users bigint := (SELECT count(*) FROM postern.users WHERE account_id = v_id);
	v_tokens bigint := (SELECT count(*) FROM postern.tokens WHERE account_id = v_id);
BEGIN
	IF (b ->> 'purge')::boolean AND NOT (SELECT a.managed FROM postern.accounts a WHERE a.id = v_id) THEN
		PERFORM gate.fail(409, 'purge: the account was imported, so its home folder is not Postern''s to remove; delete the account without purge, and the folder by hand');
	END IF;
	IF v_domains + v_mailboxes + v_forwarders + v_databases + v_backups + v_cron + v_users + v_tokens > 0 AND NOT coalesce((b ->> 'cascade')::boolean, false) THEN
		PERFORM gate.fail(409, format('the account still owns %s; delete them first or use cascade=true', gate.counted(
			'{domains, mailboxes, forwarders, databases, backups, cron jobs, users, tokens}', ARRAY[v_domains, v_mailboxes, v_forwarders, v_databases, v_backups, v_cron, v_users, v_tokens])), jsonb_strip_nulls(jsonb_build_object(
			'domains', gate.some_of(ARRAY(SELECT domain FROM postern.domains WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_domains),
			'mailboxes', gate.some_of(ARRAY(SELECT address FROM postern.mailboxes WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_mailboxes),
			'forwarders', gate.some_of(ARRAY(SELECT address FROM postern.forwarders WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_forwarders),
			'databases', gate.some_of(ARRAY(SELECT name FROM postern.databases WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_databases),
			'backups', gate.some_of(ARRAY(SELECT id::text FROM postern.backups WHERE account_id = v_id ORDER BY id LIMIT 20), v_backups),
			'cron', gate.some_of(ARRAY(SELECT coalesce(name, command) FROM postern.cron WHERE account_id = v_id ORDER BY id LIMIT 20), v_cron),
			'users', gate.some_of(ARRAY(SELECT username FROM postern.users WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_users),
			'tokens', gate.some_of(ARRAY(SELECT name FROM postern.tokens WHERE account_id = v_id ORDER BY 1 LIMIT 20), v_tokens))));
	END IF;
	PERFORM users.remove(c, u.id) FROM postern.users u WHERE u.account_id = v_id;
	DELETE FROM postern.tokens WHERE account_id = v_id;
	PERFORM mailboxes.remove(c, m.id) FROM postern.mailboxes m WHERE m.account_id = v_id;
	DELETE FROM postern.forwarders WHERE account_id = v_id;
	-- by jobs that come before the account's
	PERFORM websites.follow(c, w.id, 'website.remove') FROM postern.websites w WHERE w.account_id = v_id ORDER BY w.id;
	PERFORM ssl.remove(c, s.id) FROM postern.certificates s WHERE s.account_id = v_id ORDER BY s.id;
	PERFORM databases.remove(c, d.id) FROM postern.databases d WHERE d.account_id = v_id ORDER BY d.id;
	PERFORM backups.remove(c, x) FROM postern.backups x WHERE x.account_id = v_id AND x.status <> 'deleting' ORDER BY x.id;
	PERFORM cron.follow(c, v_id, true);
	IF v_databases + v_backups + v_cron = 0 AND NOT EXISTS (SELECT FROM postern.websites w WHERE w.account_id = v_id)
	   AND NOT EXISTS (SELECT FROM postern.certificates s WHERE s.account_id = v_id)
	   AND NOT (SELECT a.managed FROM postern.accounts a WHERE a.id = v_id) THEN
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
	DELETE FROM postern.usage WHERE account_id = p_id;
	DELETE FROM postern.cron WHERE account_id = p_id;
	DELETE FROM postern.certificates WHERE account_id = p_id;
	DELETE FROM postern.websites WHERE account_id = p_id;
	DELETE FROM postern.account_ports WHERE account_id = p_id;
	DELETE FROM postern.backups WHERE account_id = p_id; -- where one could not be removed, the engine's tag acct:<id> finds it
	DELETE FROM postern.domains WHERE account_id = p_id;
	DELETE FROM postern.domain_names WHERE account_id = p_id;
	DELETE FROM postern.accounts WHERE id = p_id;
END $$;

RESET ROLE;
