-- mailboxes: addresses whose mail is kept here. The mail servers read them by sql/functions/30_mail.sql, so that every
-- change holds from its commit on.
DROP SCHEMA IF EXISTS mailboxes CASCADE;
CREATE SCHEMA mailboxes AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW mailboxes.item AS
SELECT m.id, m.address, m.domain_id, d.domain, m.account_id, a.username AS account,
       m.quota_mb, (m.used_bytes + 1048575) / 1048576 AS used_mb, i.host AS imap_host, i.port AS imap_port, o.host AS smtp_host, o.port AS smtp_port,
       CASE WHEN m.status = 'active' AND 'suspended' IN (d.status, a.status) THEN 'suspended' ELSE m.status END AS status, gate.held_by(m.held) AS held_by,
       m.last_error, m.created_at, m.updated_at, m.version, m.account_id AS tenant
FROM postern.mailboxes m
LEFT JOIN postern.domains d ON d.id = m.domain_id
LEFT JOIN postern.accounts a ON a.id = m.account_id
LEFT JOIN postern.servers i ON i.name = 'imap'
LEFT JOIN postern.servers o ON o.name = 'smtp';

CREATE FUNCTION mailboxes.learn(p_servers jsonb, p_all boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM gate.learn_servers(p_servers, '{imap,smtp}', p_all);
END $$;

-- The domain of a new address, kept from being deleted meanwhile: one that is not the caller's is an unknown one. Its
-- account is locked first, so that what a plan allows is counted by one at a time.
CREATE FUNCTION mailboxes.domain_of(c postern.caller, b jsonb) RETURNS postern.domains
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	a postern.accounts;
	v_name text := substr(b ->> 'address', strpos(b ->> 'address', '@') + 1);
	v_account bigint := users.account_of(c, b);
	v_id bigint := domains.named(v_name);
BEGIN
	IF b ->> 'domain_id' IS NOT NULL AND NOT EXISTS (SELECT FROM postern.domains x WHERE x.id = (b ->> 'domain_id')::bigint) THEN
		PERFORM gate.invalid('domain_id', 'there is no such domain');
	END IF;
	PERFORM FROM postern.accounts x WHERE x.id = (SELECT y.account_id FROM postern.domains y WHERE y.id = v_id) FOR UPDATE;
	SELECT * INTO d FROM postern.domains x WHERE x.id = v_id FOR SHARE;
	IF v_id = 0 THEN
		PERFORM domains.not_one(v_name);
	ELSIF NOT FOUND THEN
		PERFORM gate.invalid('address', format('there is no domain %s; create it first', v_name));
	ELSIF v_account <> d.account_id THEN
		PERFORM gate.invalid(CASE WHEN b ? 'account_id' THEN 'account_id' ELSE 'account' END,
			format('is not the account of %s; leave it out', v_name));
	ELSIF (b ->> 'domain_id')::bigint <> d.id THEN
		PERFORM gate.invalid('domain_id', format('is not the number of %s; leave it out', v_name));
	END IF;
	SELECT * INTO a FROM postern.accounts x WHERE x.id = d.account_id;
	IF a.status NOT IN ('active', 'pending') THEN
		PERFORM gate.fail(409, accounts.closed(a.status));
	ELSIF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the domain is being deleted');
	END IF;
	PERFORM domains.must_be_proven(d);
	IF NOT d.mail_enabled THEN
		PERFORM gate.fail(409, format('no mail is taken for %s; set its mail_enabled first', v_name));
	END IF;
	RETURN d;
END $$;

CREATE FUNCTION mailboxes.check_quota(p_account bigint, p_quota_mb int) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_max bigint := (SELECT max_disk_mb FROM postern.accounts WHERE id = p_account);
BEGIN
	IF p_quota_mb > v_max THEN
		PERFORM gate.invalid('quota_mb', format('is above the account''s plan, which allows %s MB', v_max));
	END IF;
END $$;

CREATE FUNCTION mailboxes."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains := mailboxes.domain_of(c, b);
	v_id bigint;
BEGIN
	PERFORM accounts.check_quota(d.account_id, 'mailboxes');
	PERFORM mailboxes.check_quota(d.account_id, (b ->> 'quota_mb')::int);
	PERFORM gate.check_held(c, f.held, 'forwarder', b - 'domain') FROM postern.forwarders f WHERE f.address = b ->> 'address';
	BEGIN
		INSERT INTO postern.mailboxes (account_id, domain_id, address, password, quota_mb)
		VALUES (d.account_id, d.id, b ->> 'address', b ->> 'password', (b ->> 'quota_mb')::int)
		RETURNING id INTO v_id;
	EXCEPTION WHEN unique_violation THEN
		PERFORM gate.fail(409, 'a mailbox of this address exists', jsonb_build_object('address', 'is taken'));
	END;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;

CREATE FUNCTION mailboxes."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_account bigint;
	v_quota int;
BEGIN
	SELECT m.account_id, m.quota_mb INTO v_account, v_quota FROM postern.mailboxes m WHERE m.id = o::bigint;
	IF gate.given(b, 'quota_mb', v_quota) IS DISTINCT FROM v_quota THEN
		v_quota := gate.given(b, 'quota_mb', v_quota);
		PERFORM mailboxes.check_quota(v_account, v_quota);
	END IF;
	UPDATE postern.mailboxes m SET quota_mb = v_quota, version = m.version + 1, updated_at = postern.clock() WHERE m.id = o::bigint;
	IF b ? 'password' THEN
		UPDATE postern.mailboxes m SET password = b ->> 'password' WHERE m.id = o::bigint;
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- The domain, or the account, was suspended or taken up again: its addresses tell so, too.
CREATE FUNCTION mailboxes.tell(p_domain bigint, p_account bigint) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.mailboxes m SET version = m.version + 1, updated_at = postern.clock() WHERE p_domain IN (0, m.domain_id)
		AND m.account_id = coalesce(p_account, (SELECT d.account_id FROM postern.domains d WHERE d.id = p_domain));
	UPDATE postern.forwarders f SET version = f.version + 1, updated_at = postern.clock() WHERE p_domain IN (0, f.domain_id)
		AND f.account_id = coalesce(p_account, (SELECT d.account_id FROM postern.domains d WHERE d.id = p_domain))
$$;

CREATE FUNCTION mailboxes.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT gate.set_status('postern.mailboxes', 'mailbox', o, 'active', 'suspended') $$;
CREATE FUNCTION mailboxes.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT gate.set_status('postern.mailboxes', 'mailbox', o, 'suspended', 'active') $$;

-- Gone at once for whoever logs in or sends mail; a job removes what is stored, in the folder that mail.mailboxes named.
CREATE FUNCTION mailboxes.remove(c postern.caller, p_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_account bigint;
	v_folder text;
BEGIN
	DELETE FROM postern.mailboxes m WHERE m.id = p_id
	RETURNING m.account_id, '/' || split_part(m.address, '@', 2) || '/' || split_part(m.address, '@', 1) || '-' || m.id INTO v_account, v_folder;
	PERFORM gate.work(c, v_account, 'mailbox.remove', 'mailboxes', p_id::text, jsonb_build_object('folder', v_folder));
END $$;
CREATE FUNCTION mailboxes."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_address text;
	v_bytes bigint;
BEGIN
	SELECT m.address, m.used_bytes INTO v_address, v_bytes FROM postern.mailboxes m WHERE m.id = o::bigint;
	PERFORM mailboxes.remove(c, o::bigint);
	RETURN gate.deleted(b, o, 'mailbox', v_address, jsonb_build_array(gate.thing('mailboxes', o, v_address, v_bytes)));
END $$;

CREATE FUNCTION mailboxes.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('folder', j.input -> 'folder')
	WHERE NOT EXISTS (SELECT FROM postern.mailboxes m WHERE m.id = j.object_id::bigint)
$$;

RESET ROLE;
