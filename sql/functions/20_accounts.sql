-- accounts: hosting accounts, the tenants.
DROP SCHEMA IF EXISTS accounts CASCADE;
CREATE SCHEMA accounts AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW accounts.item AS
SELECT a.id, a.name, a.username, a.email, a.home, a.max_domains, a.max_mailboxes, a.max_databases, a.max_disk_mb,
       a.max_forwarders, a.max_cron, a.max_backups, a.max_users, a.max_tokens, a.max_jobs, a.max_certificate_orders, a.max_requests,
       a.max_database_connections,
       ARRAY(SELECT p.port FROM postern.account_ports p WHERE p.account_id = a.id ORDER BY 1) AS ports,
       a.backup_keep_last, a.backup_keep_daily, a.backup_keep_weekly, a.backup_keep_monthly,
       (SELECT count(*) FROM postern.domains d WHERE d.account_id = a.id) AS domains,
       (SELECT count(*) FROM postern.mailboxes m WHERE m.account_id = a.id) AS mailboxes,
       (SELECT count(*) FROM postern.databases b WHERE b.account_id = a.id) AS databases,
       (SELECT count(*) FROM postern.users u WHERE u.account_id = a.id) AS users,
       (SELECT count(*) FROM postern.tokens t WHERE t.account_id = a.id) AS tokens,
       CASE WHEN a.lacks IS NOT NULL AND a.status IN ('active', 'suspended') THEN 'pending' ELSE a.status END AS status,
       coalesce(a.last_error, CASE a.status WHEN 'suspended' THEN a.lacks END) AS last_error, a.managed, a.adopt, a.uid, a.job_id, a.created_at, a.updated_at, a.version, a.id AS tenant
FROM postern.accounts a;

-- Why nothing is made for an account, and who changes that.
CREATE FUNCTION accounts.closed(p_status text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT format('the account is %s; ', p_status) || CASE p_status WHEN 'suspended' THEN 'an administrator takes it up again (unsuspend)'
		WHEN 'deleting' THEN 'nothing is made for it any more' ELSE 'its last_error says why; when that is mended, retry its job' END
$$;

-- What of an account's suspension, or of its return, does not hold on the machine yet: null where all of it does. Jobs bring it about.
CREATE FUNCTION accounts.lacking(a postern.accounts) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE a.status WHEN 'suspended' THEN coalesce(
		(SELECT format('the website %s is not suspended yet%s', d.domain, ': ' || w.last_error) FROM postern.websites w
			JOIN postern.domains d ON d.id = w.domain_id AND d.proven_at IS NOT NULL
			WHERE w.account_id = a.id AND w.status NOT IN ('suspended', 'deleting') ORDER BY w.last_error IS NULL, d.domain LIMIT 1),
		(SELECT format('the database %s is not suspended yet%s', b.name, ': ' || b.last_error) FROM postern.databases b
			WHERE b.account_id = a.id AND b.status NOT IN ('suspended', 'deleting') ORDER BY b.last_error IS NULL, b.name LIMIT 1),
		(SELECT 'cron jobs of the account are not taken away yet' || coalesce(': ' || x.error, '') FROM postern.jobs x WHERE x.account_id = a.id
			AND x.kind = 'cron.apply' AND x.status IN ('queued', 'running') LIMIT 1),
		(SELECT 'programs of the account are not ended yet' || coalesce(': ' || x.error, '') FROM postern.jobs x WHERE x.account_id = a.id
			AND x.id = a.job_id AND x.kind = 'account.suspend' AND x.status <> 'succeeded'))
	WHEN 'active' THEN
		(SELECT 'the account is not wholly taken up again yet' || coalesce(': ' || x.error, '') FROM postern.jobs x WHERE x.account_id = a.id
			AND x.id = a.job_id AND x.kind = 'account.unsuspend' AND x.status IN ('queued', 'running'))
	END
$$;
-- Looked at when a job of it was asked for, is to be tried again, or has ended.
CREATE FUNCTION accounts.note_lacks(p_account bigint) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.accounts a SET lacks = accounts.lacking(a), version = a.version + 1, updated_at = postern.clock()
	WHERE a.id = p_account AND a.lacks IS DISTINCT FROM accounts.lacking(a)
$$;

-- A uid that no account ever had: files, crontabs and sockets of one that is gone become nobody's.
CREATE FUNCTION accounts.next_uid() RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
	RETURN nextval('postern.account_uid_seq');
EXCEPTION WHEN sequence_generator_limit_exceeded THEN
	PERFORM gate.fail(409, 'every uid that accounts may have was given; widen their range on the database: '
		|| 'ALTER SEQUENCE postern.account_uid_seq MAXVALUE 9999999 RESTART 1000000');
END $$;

-- Names of the system's users and groups, and of roles of databases: a server that goes by the Unix user's name (peer)
-- would take one for the other.
CREATE FUNCTION accounts.name_objection(p_name text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN p_name LIKE 'postern%' THEN 'is reserved: names that begin with postern are Postern''s own'
		WHEN p_name = ANY ('{root,daemon,bin,sys,sync,games,man,lp,mail,news,uucp,proxy,www-data,backup,list,irc,gnats,nobody,nogroup,
			systemd,admin,administrator,adm,tty,disk,kmem,dialout,fax,voice,cdrom,floppy,tape,sudo,wheel,audio,dip,
			operator,src,shadow,utmp,video,sasl,plugdev,staff,users,input,sgx,kvm,render,crontab,netdev,messagebus,
			ssh,sshd,polkitd,postgres,mysql,mariadb,redis,memcache,mongodb,nginx,apache,httpd,caddy,haproxy,varnish,
			bind,named,nsd,knot,unbound,pdns,postfix,postdrop,dovecot,dovenull,exim,opendkim,rspamd,clamav,vmail,ftp,
			proftpd,vsftpd,docker,podman,lxd,incus,libvirt,ntp,chrony,syslog,ssl-cert,test,public,information_schema,
			performance_schema}'::text[])
			THEN 'is reserved: the system and its servers have users or groups of that name'
		WHEN EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = p_name)
			THEN 'is reserved: a role of the database server has that name'
		WHEN EXISTS (SELECT FROM postern.databases d WHERE d.username = p_name)
			THEN 'is taken: a database user has that name'
	END
$$;

CREATE FUNCTION accounts."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_managed boolean := coalesce((b ->> 'managed')::boolean, true);
	v_adopt boolean := coalesce((b ->> 'adopt')::boolean, false);
	v_objection text := accounts.name_objection(b ->> 'username');
BEGIN
	IF EXISTS (SELECT FROM postern.accounts a WHERE a.username = b ->> 'username') THEN
		PERFORM gate.fail(409, 'an account with this username exists', jsonb_build_object('username', 'is taken'));
	ELSIF v_managed AND v_objection IS NOT NULL THEN
		PERFORM gate.invalid('username', v_objection);
	ELSIF v_managed AND b -> '_unix_user' ->> 'machine' = (SELECT m.name FROM postern.machines m ORDER BY m.said_at DESC LIMIT 1) THEN
		IF v_adopt AND NOT (b -> '_unix_user' ->> 'there')::boolean THEN
			PERFORM gate.invalid('username', format('there is no Unix user %s to adopt; create that user, or leave adopt out to have one made '
				'(setting unix_users = create)', b ->> 'username'));
		ELSIF NOT v_adopt AND (b -> '_unix_user' ->> 'there')::boolean THEN
			PERFORM gate.invalid('username', format('there is a Unix user %s already; choose another name, or give adopt: true to take that one',
				b ->> 'username'));
		END IF;
	END IF;
	INSERT INTO postern.accounts (name, username, email, home, managed, adopt, uid, status)
	VALUES (coalesce(b ->> 'name', b ->> 'username'), b ->> 'username', b ->> 'email',
		coalesce(b ->> 'home', b ->> '_home', '/home/' || (b ->> 'username')), v_managed, v_adopt,
		CASE WHEN v_managed AND NOT v_adopt THEN accounts.next_uid() END, CASE WHEN v_managed THEN 'pending' ELSE 'active' END)
	RETURNING id INTO v_id;
	-- what an import found is there already, however much it is
	PERFORM accounts.set_plan(v_id, CASE WHEN v_managed THEN '{}' ELSE '{"max_domains": null, "max_mailboxes": null, "max_databases": null}'::jsonb END || b);
	PERFORM accounts.set_ports(v_id, b);
	IF v_managed THEN
		UPDATE postern.accounts SET job_id = gate.work(c, v_id, 'account.create', 'accounts', v_id::text) WHERE id = v_id;
	END IF;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;

CREATE FUNCTION accounts."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_connections int := (SELECT a.max_database_connections FROM postern.accounts a WHERE a.id = o::bigint);
BEGIN
	UPDATE postern.accounts a SET
		name = gate.given(b, 'name', a.name),
		email = gate.given(b, 'email', a.email),
		version = a.version + 1, updated_at = postern.clock()
	WHERE a.id = o::bigint;
	IF gate.may_admin(c) THEN
		PERFORM accounts.set_plan(o::bigint, b);
		PERFORM accounts.set_ports(o::bigint, b);
		PERFORM databases.account_changed(c, a.id) FROM postern.accounts a
		WHERE a.id = o::bigint AND a.max_database_connections <> v_connections;
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- How much an account has of what its plan limits. Tokens count while they are in force, and ten as one afterwards, until they
-- are deleted; jobs until they end, orders of certificates for a week.
CREATE FUNCTION accounts.used(p_account bigint, p_what text) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE p_what
		WHEN 'domains' THEN (SELECT count(*) FROM postern.domains x WHERE x.account_id = p_account)
		WHEN 'mailboxes' THEN (SELECT count(*) FROM postern.mailboxes x WHERE x.account_id = p_account)
		WHEN 'forwarders' THEN (SELECT count(*) FROM postern.forwarders x WHERE x.account_id = p_account)
		WHEN 'databases' THEN (SELECT count(*) FROM postern.databases x WHERE x.account_id = p_account)
		WHEN 'cron' THEN (SELECT count(*) FROM postern.cron x WHERE x.account_id = p_account)
		WHEN 'backups' THEN (SELECT count(*) FROM postern.backups x WHERE x.account_id = p_account AND x.status <> 'deleting')
		WHEN 'users' THEN (SELECT count(*) FROM postern.users x WHERE x.account_id = p_account)
		WHEN 'tokens' THEN (SELECT count(*) FILTER (WHERE in_force) + count(*) FILTER (WHERE NOT in_force) / 10
			FROM (SELECT x.revoked_at IS NULL AND coalesce(x.expires_at > postern.clock(), true) AS in_force
				FROM postern.tokens x WHERE x.account_id = p_account) y)
		WHEN 'jobs' THEN (SELECT count(*) FROM postern.jobs x WHERE x.account_id = p_account AND x.by_tenant
			AND x.status IN ('queued', 'running'))
		WHEN 'certificate_orders' THEN (SELECT count(*) FROM postern.certificate_orders x WHERE x.account_id = p_account
			AND x.at > postern.clock() - interval '7 days')
	END;
END $$;
-- One more, where the account's plan allows it; else 409. Those who ask take turns at the account's row, which a tenant's change
-- has locked from its beginning (90_endpoints.sql), so that two at once cannot both be the last. An account of 0 is none.
CREATE FUNCTION accounts.check_quota(p_account bigint, p_what text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts;
	v_max bigint;
BEGIN
	SELECT * INTO a FROM postern.accounts x WHERE x.id = p_account FOR NO KEY UPDATE;
	v_max := to_jsonb(a) ->> ('max_' || p_what);
	IF v_max <= accounts.used(p_account, p_what) THEN
		PERFORM gate.fail(409, CASE p_what
			WHEN 'jobs' THEN format('the account has %s jobs that have not ended, as many as its plan allows; wait for one to end, '
				|| 'cancel one or ask for a larger plan', v_max)
			WHEN 'certificate_orders' THEN format('the account''s plan allows %s orders of certificates within seven days; '
				|| 'try again later, upload a certificate or ask for a larger plan', v_max)
			ELSE format('the account''s plan allows %s %s; delete some or ask for a larger plan', v_max,
				CASE p_what WHEN 'cron' THEN 'cron jobs' ELSE p_what END) END,
			jsonb_build_object('max_' || p_what, format('is reached: %s', v_max)));
	END IF;
END $$;
-- May a job of this kind be made, or made open again? What a tenant asks for is counted; true: it is. What deletes or ends
-- something always has its job: each of these is possible once for an object that took a counted job to be there.
CREATE FUNCTION accounts.counts_job(c postern.caller, p_account bigint, p_kind text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	IF c.kind <> 'token' OR c.rank = 3 THEN
		RETURN false;
	END IF;
	IF NOT (split_part(p_kind, '.', 2) IN ('remove', 'delete') OR current_setting('postern.op', true) IN ('delete', 'suspend', 'disable')) THEN
		PERFORM accounts.check_quota(p_account, 'jobs');
	END IF;
	IF p_kind IN ('ssl.issue', 'ssl.renew') THEN
		PERFORM accounts.check_quota(p_account, 'certificate_orders');
		DELETE FROM postern.certificate_orders x WHERE x.account_id = p_account AND x.at <= postern.clock() - interval '7 days';
		INSERT INTO postern.certificate_orders (account_id) VALUES (p_account);
	END IF;
	RETURN true;
END $$;

-- The plan: the table's presets until they are changed.
CREATE FUNCTION accounts.set_plan(p_id bigint, b jsonb) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.accounts a SET
		max_domains = gate.given(b, 'max_domains', a.max_domains),
		max_mailboxes = gate.given(b, 'max_mailboxes', a.max_mailboxes),
		max_databases = gate.given(b, 'max_databases', a.max_databases),
		max_disk_mb = gate.given(b, 'max_disk_mb', a.max_disk_mb),
		max_forwarders = gate.given(b, 'max_forwarders', a.max_forwarders),
		max_cron = gate.given(b, 'max_cron', a.max_cron),
		max_backups = gate.given(b, 'max_backups', a.max_backups),
		max_users = gate.given(b, 'max_users', a.max_users),
		max_tokens = gate.given(b, 'max_tokens', a.max_tokens),
		max_jobs = gate.given(b, 'max_jobs', a.max_jobs),
		max_certificate_orders = gate.given(b, 'max_certificate_orders', a.max_certificate_orders),
		max_requests = gate.given(b, 'max_requests', a.max_requests),
		max_database_connections = gate.given(b, 'max_database_connections', a.max_database_connections),
		backup_keep_last = gate.given(b, 'backup_keep_last', a.backup_keep_last),
		backup_keep_daily = gate.given(b, 'backup_keep_daily', a.backup_keep_daily),
		backup_keep_weekly = gate.given(b, 'backup_keep_weekly', a.backup_keep_weekly),
		backup_keep_monthly = gate.given(b, 'backup_keep_monthly', a.backup_keep_monthly)
	WHERE a.id = p_id
$$;

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

-- What shows its account's suspension without a job of its own.
CREATE FUNCTION accounts.tell_parts(p_id bigint) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.domains d SET version = d.version + 1, updated_at = postern.clock() WHERE d.account_id = p_id;
	SELECT mailboxes.tell(0, p_id)
$$;
-- Its tokens are refused from the next request on: the gate reads the account's state each time. The machine follows.
CREATE FUNCTION accounts.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	-- also one whose user is still to be made, or could not be
	UPDATE postern.accounts a SET status = 'active' WHERE a.id = o::bigint AND a.status IN ('pending', 'error');
	PERFORM gate.set_status('postern.accounts', 'account', o, 'active', 'suspended');
	PERFORM websites.follow(c, w.id) FROM postern.websites w WHERE w.account_id = o::bigint;
	PERFORM databases.account_changed(c, o::bigint);
	PERFORM cron.follow(c, o::bigint);
	PERFORM accounts.tell_parts(o::bigint);
	-- last: what could start its programs anew is gone by then
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.suspend', 'accounts', o), last_error = NULL
	WHERE a.id = o::bigint AND a.managed;
	PERFORM accounts.note_lacks(o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION accounts.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gate.set_status('postern.accounts', 'account', o, 'suspended', 'active');
	PERFORM websites.follow(c, w.id) FROM postern.websites w WHERE w.account_id = o::bigint;
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.unsuspend', 'accounts', o), last_error = NULL
	WHERE a.id = o::bigint AND a.managed;
	PERFORM databases.account_changed(c, o::bigint);
	PERFORM cron.follow(c, o::bigint);
	PERFORM accounts.tell_parts(o::bigint);
	PERFORM accounts.note_lacks(o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- Close its home to other tenants, as a new one's is.
CREATE FUNCTION accounts.mend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	IF NOT (SELECT a.managed FROM postern.accounts a WHERE a.id = o::bigint) THEN
		PERFORM gate.fail(409, 'the account was imported, so its home folder is not Postern''s to change; '
			|| 'chmod 0710 it, and chgrp it to the web server''s group, by hand');
	END IF;
	UPDATE postern.accounts a SET job_id = gate.work(c, a.id, 'account.mend', 'accounts', o) WHERE a.id = o::bigint;
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
		RAISE EXCEPTION '% could not be removed; see their last_error, then delete the account again',
			gate.counted('{websites, databases, cron jobs}', ARRAY[v_websites, v_databases, v_cron]);
	END IF;
	RETURN (SELECT jsonb_build_object('id', a.id, 'username', a.username, 'home', a.home, 'uid', a.uid, 'adopt', a.adopt,
			'expires', a.unix_expires, 'suspended', coalesce((j.input ->> 'suspended')::boolean, false),
			'mailboxes', (SELECT jsonb_agg(m.address) FROM postern.mailboxes m WHERE m.account_id = v_id),
			'purge', coalesce((j.input ->> 'purge')::boolean, false))
		FROM postern.accounts a WHERE a.id = v_id AND a.managed); -- an imported one's user and home are not Postern's to touch
END $$;
CREATE FUNCTION accounts.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint := j.object_id::bigint;
	v_uid bigint := (j.result ->> 'uid')::bigint;
	c postern.caller;
	d postern.jobs;
BEGIN
	UPDATE postern.accounts a SET unix_expires = (j.result ->> 'expires')::int WHERE a.id = v_id AND j.result ? 'expires';
	IF j.kind = 'account.end' THEN -- the removal itself has waited for it
		SELECT * INTO d FROM postern.jobs x WHERE x.id = (SELECT a.job_id FROM postern.accounts a WHERE a.id = v_id)
			AND x.kind = 'account.delete' AND x.status = 'queued' FOR UPDATE;
		IF d.id IS NULL THEN
			RETURN;
		ELSIF j.status = 'succeeded' THEN
			c := work.clockwork();
			c.kind := 'system';
			c.token_id := j.token_id;
			c.request_id := j.request_id;
			PERFORM accounts.dismantle(c, v_id, coalesce((j.input ->> 'backups')::boolean, false));
			UPDATE postern.jobs x SET place = DEFAULT WHERE x.id = d.id;
		ELSE
			PERFORM work.close(d, j.status, coalesce(j.error, 'the job ' || j.id || ' was ' || j.status), NULL, NULL);
		END IF;
		RETURN;
	ELSIF j.kind = 'account.delete' AND j.status = 'succeeded' THEN
		IF EXISTS (SELECT FROM postern.databases b WHERE b.account_id = v_id) THEN
			UPDATE postern.accounts a SET version = a.version + 1, updated_at = postern.clock(), status = 'error',
				last_error = 'a database could not be removed; its job says why: delete it, then the account again'
			WHERE a.id = v_id;
			RETURN;
		END IF;
		PERFORM accounts.forget(v_id);
		RETURN;
	ELSIF j.kind = 'account.create' AND j.result ? 'next_uid' THEN
		v_uid := setval('postern.account_uid_seq', greatest((j.result ->> 'next_uid')::bigint, accounts.next_uid()));
	ELSIF j.kind = 'account.create' AND EXISTS (SELECT FROM postern.accounts a WHERE a.uid = v_uid AND a.id <> v_id) THEN
		UPDATE postern.accounts a SET version = a.version + 1, updated_at = postern.clock(), status = 'error',
			last_error = format('another account has the Unix user of uid %s; delete this account', v_uid) WHERE a.id = v_id;
		RETURN;
	END IF;
	UPDATE postern.accounts a SET version = a.version + 1, updated_at = postern.clock(), uid = coalesce(v_uid, a.uid),
		status = CASE WHEN a.status = 'suspended' OR j.kind = 'account.mend' THEN a.status
			WHEN j.status = 'succeeded' THEN 'active'
			WHEN (j.input ->> 'suspended')::boolean THEN 'suspended' -- before its removal was tried
			ELSE 'error' END,
		last_error = CASE WHEN j.status = 'succeeded' THEN NULL ELSE coalesce(j.error, 'the job was ' || j.status) END
	WHERE a.id = v_id AND a.job_id = j.id;
END $$;

-- An account with all that goes with it (13_loss.sql), what holds data first. Its backups stay, unless they are to go, too.
CREATE FUNCTION accounts.things(p_id bigint, p_home boolean, p_backups boolean) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT (SELECT coalesce(jsonb_agg(t.x ORDER BY t.n, t.name), '[]') FROM (
			SELECT 1, d.name, gate.thing('databases', d.id::text, d.name, d.size_bytes) FROM postern.databases d WHERE d.account_id = p_id
			UNION ALL SELECT 2, a.home, gate.thing('files', NULL, a.home, u.files_bytes) FROM postern.accounts a
				LEFT JOIN postern.usage u ON u.account_id = a.id WHERE a.id = p_id AND p_home
			UNION ALL SELECT 3, to_char(b.id, 'FM0000000000000000000'), gate.thing('backups', b.id::text, b.id::text, b.size_bytes) FROM postern.backups b
				WHERE b.account_id = p_id AND NOT (backups.outlives(b) AND NOT p_backups)) t (n, name, x))
		|| domains.things(p_id, ARRAY(SELECT d.id FROM postern.domains d WHERE d.account_id = p_id))
		|| (SELECT coalesce(jsonb_agg(t.x ORDER BY t.n, t.name), '[]') FROM (
			SELECT 1, c.name, gate.thing('cron', c.id::text, coalesce(c.name, c.command)) FROM postern.cron c WHERE c.account_id = p_id
			UNION ALL SELECT 2, u.username, gate.thing('users', u.id::text, u.username) FROM postern.users u WHERE u.account_id = p_id
			UNION ALL SELECT 3, t.name, gate.thing('tokens', t.id::text, t.name) FROM postern.tokens t WHERE t.account_id = p_id
			UNION ALL SELECT 4, a.username, gate.thing('accounts', a.id::text, a.username) FROM postern.accounts a WHERE a.id = p_id) t (n, name, x))
$$;
-- What stays of it: its backups, and its home, which is put away for root alone.
CREATE FUNCTION accounts.stays(p_id bigint, p_home boolean, p_backups boolean) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_agg(t.x ORDER BY t.n), '[]') FROM (
		SELECT 0, gate.thing('files', NULL, a.home) FROM postern.accounts a WHERE a.id = p_id AND NOT p_home
		UNION ALL SELECT b.id, gate.thing('backups', b.id::text, b.id::text, b.size_bytes) FROM postern.backups b
			WHERE b.account_id = p_id AND backups.outlives(b) AND NOT p_backups) t (n, x)
$$;

-- What an account owns goes with it only when asked for (?cascade=true); else the answer lists it. Its backups outlive it.
CREATE FUNCTION accounts."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint := o::bigint;
	a postern.accounts;
	v_purge boolean := coalesce((b ->> 'purge')::boolean, false);
	v_backups boolean := coalesce((b ->> 'purge_backups')::boolean, false);
	v_goes jsonb := accounts.things(v_id, v_purge, v_backups);
	v_stays jsonb := accounts.stays(v_id, v_purge, v_backups);
	v_owned jsonb;
	v_job uuid;
BEGIN
	SELECT * INTO a FROM postern.accounts x WHERE x.id = v_id;
	IF v_purge AND NOT a.managed THEN
		PERFORM gate.fail(409, 'purge: the account was imported, so its home folder is not Postern''s to remove; delete the account without purge, and the folder by hand');
	END IF;
	SELECT jsonb_object_agg(k.resource, gate.some_of(k.names[:20], cardinality(k.names)) ORDER BY k.resource) INTO v_owned
	FROM (SELECT t.x ->> 'resource' AS resource, array_agg(t.x ->> 'name' ORDER BY t.n) AS names
		FROM jsonb_array_elements(v_goes) WITH ORDINALITY AS t (x, n)
		WHERE t.x ->> 'resource' NOT IN ('accounts', 'files', 'websites', 'ssl') GROUP BY 1) k;
	IF v_owned IS NOT NULL AND NOT coalesce((b ->> 'cascade')::boolean, false) THEN
		PERFORM gate.fail(409, format('the account still owns %s; delete them first or use cascade=true', (
			SELECT gate.counted(array_agg(k.resource ORDER BY k.n), array_agg(k.total ORDER BY k.n))
			FROM (SELECT CASE k.resource WHEN 'cron' THEN 'cron jobs' ELSE k.resource END, k.n,
					(SELECT count(*) FROM jsonb_array_elements(v_goes) x WHERE x ->> 'resource' = k.resource)
				FROM unnest('{domains,mailboxes,forwarders,databases,backups,cron,users,tokens}'::text[]) WITH ORDINALITY AS k (resource, n)) k (resource, n, total))),
			v_owned);
	END IF;
	IF NOT a.managed THEN -- its Unix user goes on
		PERFORM accounts.dismantle(c, v_id, v_backups);
		IF NOT EXISTS (SELECT FROM postern.databases x WHERE x.account_id = v_id) AND NOT EXISTS (SELECT FROM postern.cron x WHERE x.account_id = v_id)
		   AND NOT EXISTS (SELECT FROM postern.backups x WHERE x.account_id = v_id AND x.status = 'deleting')
		   AND NOT EXISTS (SELECT FROM postern.websites x WHERE x.account_id = v_id)
		   AND NOT EXISTS (SELECT FROM postern.certificates x WHERE x.account_id = v_id) THEN
			PERFORM accounts.forget(v_id); -- nothing on the machine is ours
			RETURN gate.deleted(b, o, 'account', a.username, v_goes, v_stays);
		END IF;
	END IF;
	v_job := gate.work(c, v_id, 'account.delete', 'accounts', o,
		jsonb_build_object('purge', v_purge, 'suspended', a.status = 'suspended'));
	IF a.managed THEN
		PERFORM gate.work(c, v_id, 'account.end', 'accounts', o, jsonb_build_object('suspended', a.status = 'suspended', 'backups', v_backups));
		UPDATE postern.jobs j SET place = DEFAULT WHERE j.id = v_job; -- behind it
		PERFORM set_config('postern.job', v_job::text, true);
	END IF;
	UPDATE postern.accounts x SET status = 'deleting', job_id = v_job, version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = v_id;
	RETURN gate.deleted(b, o, 'account', a.username, v_goes, v_stays);
END $$;

-- What cannot be undone: begun when nothing of the account runs any more. The machine's part is done by jobs that come
-- before the account's own.
CREATE FUNCTION accounts.dismantle(c postern.caller, p_id bigint, p_backups boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM users.remove(c, u.id) FROM postern.users u WHERE u.account_id = p_id;
	DELETE FROM postern.tokens WHERE account_id = p_id;
	PERFORM mailboxes.remove(c, m.id) FROM postern.mailboxes m WHERE m.account_id = p_id;
	DELETE FROM postern.forwarders WHERE account_id = p_id;
	PERFORM websites.follow(c, w.id, 'website.remove') FROM postern.websites w WHERE w.account_id = p_id ORDER BY w.id;
	PERFORM ssl.remove(c, s.id) FROM postern.certificates s WHERE s.account_id = p_id ORDER BY s.id;
	PERFORM databases.remove(c, d.id) FROM postern.databases d WHERE d.account_id = p_id ORDER BY d.id;
	PERFORM backups.remove(c, x) FROM postern.backups x WHERE x.account_id = p_id AND x.status <> 'deleting'
		AND (p_backups OR NOT backups.outlives(x)) ORDER BY x.id;
	PERFORM cron.follow(c, p_id, true);
END $$;

-- The rows, when nothing is left of it on the machine.
CREATE FUNCTION accounts.forget(p_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM postern.usage WHERE account_id = p_id;
	DELETE FROM postern.certificate_orders WHERE account_id = p_id;
	DELETE FROM postern.cron WHERE account_id = p_id;
	DELETE FROM postern.certificates WHERE account_id = p_id;
	DELETE FROM postern.websites WHERE account_id = p_id;
	DELETE FROM postern.account_ports WHERE account_id = p_id;
	DELETE FROM postern.backups x WHERE x.account_id = p_id AND NOT backups.outlives(x); -- where one could not be removed, the engine's tag acct:<id> finds it
	UPDATE postern.backups x SET deleted_account = (SELECT a.username FROM postern.accounts a WHERE a.id = p_id),
		account_deleted_at = postern.clock(), job_id = NULL, version = x.version + 1, updated_at = postern.clock() WHERE x.account_id = p_id;
	DELETE FROM postern.domains WHERE account_id = p_id;
	DELETE FROM postern.domain_names WHERE account_id = p_id;
	DELETE FROM postern.accounts WHERE id = p_id;
END $$;

RESET ROLE;
