-- websites: what a web server serves for a domain. Each change is a row and a job: posternd makes the virtual host be as the
-- row says (worker/actions/website.c).
DROP SCHEMA IF EXISTS websites CASCADE;
CREATE SCHEMA websites AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW websites.item AS
SELECT w.id, w.domain_id, d.domain, w.account_id, a.username AS account, w.web_server,
       coalesce(w.document_root, d.document_root) AS document_root, w.runtime, w.php_version, w.proxy_target, w.https_redirect,
       w.aliases, w.status, w.last_error, w.job_id, w.created_at, w.updated_at, w.version, w.account_id AS tenant
FROM postern.websites w
LEFT JOIN postern.domains d ON d.id = w.domain_id
LEFT JOIN postern.accounts a ON a.id = w.account_id;

-- Where requests may be handed on to. A tenant's: a socket below their home, or a port that is theirs. Others could be
-- anybody's, and a web server is let in where a tenant is not.
CREATE FUNCTION websites.check_proxy(c postern.caller, a postern.accounts, p_target text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_socket text := substring(p_target FROM '^unix:(/.+)$');
	v_http text[] := regexp_match(p_target, '^http://(\[[0-9a-fA-F:.]+\]|[0-9.]+):([0-9]{1,5})$');
	v_good boolean := false;
BEGIN
	IF v_socket IS NOT NULL THEN
		v_good := octet_length(v_socket) <= 107 AND v_socket ~ '^(/[A-Za-z0-9._+@~ -]+)+$' AND v_socket !~ '/\.\.?(/|$)';
	ELSIF v_http IS NOT NULL THEN
		BEGIN
			v_good := host(trim(v_http[1], '[]')::inet) IS NOT NULL AND v_http[2]::int BETWEEN 1 AND 65535;
		EXCEPTION WHEN invalid_text_representation THEN
			NULL;
		END;
	END IF;
	IF NOT v_good THEN
		PERFORM gate.invalid('proxy_target', 'must be unix:/<path of a socket> (at most 107 bytes of letters, digits and / . _ - + @ ~ and space) or http://<address>:<port>, such as http://127.0.0.1:3000');
	ELSIF gate.may_admin(c) THEN
		RETURN;
	ELSIF v_socket IS NOT NULL AND NOT starts_with(v_socket, a.home || '/') THEN
		PERFORM gate.invalid('proxy_target', format('the socket must lie below the account''s home, %s', a.home));
	ELSIF v_http IS NOT NULL AND (v_http[1] <> '127.0.0.1' OR NOT EXISTS (
	      SELECT FROM postern.account_ports p WHERE p.account_id = a.id AND p.port = v_http[2]::int)) THEN
		PERFORM gate.invalid('proxy_target', 'must be http://127.0.0.1:<port> with a port assigned to the account (its field ports, which an administrator sets), or a socket below the account''s home');
	END IF;
END $$;

-- What must be there for what answers. `before` is the row as it was: what an administrator allowed stays allowed.
CREATE FUNCTION websites.check(c postern.caller, a postern.accounts, w postern.websites, before postern.websites) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF w.php_version !~ '^[0-9]{1,2}\.[0-9]{1,2}$' THEN
		PERFORM gate.invalid('php_version', 'must be a version such as 8.2');
	ELSIF w.runtime = 'php' AND w.php_version IS NULL THEN
		PERFORM gate.invalid('php_version', 'is required where runtime is php, such as 8.2');
	ELSIF w.runtime = 'proxy' AND w.proxy_target IS NULL THEN
		PERFORM gate.invalid('proxy_target', 'is required where runtime is proxy');
	END IF;
	IF w.proxy_target IS NOT NULL AND w.proxy_target IS DISTINCT FROM before.proxy_target THEN
		PERFORM websites.check_proxy(c, a, w.proxy_target);
	END IF;
	IF w.document_root IS NOT NULL AND w.document_root IS DISTINCT FROM before.document_root THEN
		PERFORM domains.check_root(c, a, w.document_root);
	END IF;
END $$;

-- Further names are claimed as domains are: whoever has one, nobody else gets it.
CREATE FUNCTION websites.claim(c postern.caller, p_account bigint, p_domain text, p_old text[], p_new text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_name text;
BEGIN
	IF p_domain = ANY (p_new) THEN
		PERFORM gate.invalid('aliases', format('%s is the website''s own name; leave it out', p_domain));
	ELSIF cardinality(p_new) > (SELECT count(DISTINCT n) FROM unnest(p_new) n) THEN
		PERFORM gate.invalid('aliases', 'holds a name twice');
	END IF;
	DELETE FROM postern.domain_names n WHERE n.account_id = p_account AND n.domain = ANY (p_old) AND n.domain <> ALL (p_new);
	FOR v_name IN SELECT n FROM unnest(p_new) n WHERE n <> ALL (p_old) ORDER BY 1 LOOP -- one order everywhere
		BEGIN
			IF NOT gate.may_admin(c) AND domains.held_elsewhere(v_name, p_account) THEN
				RAISE unique_violation;
			END IF;
			INSERT INTO postern.domain_names VALUES (v_name, p_account);
		EXCEPTION WHEN unique_violation THEN
			PERFORM gate.fail(409, format('the name %s is taken', v_name), jsonb_build_object('aliases', format('%s is taken', v_name)));
		END;
	END LOOP;
END $$;

-- A website for a domain, and its job. `b`: the fields that were given; _web_server: the settings' default.
CREATE FUNCTION websites.add(c postern.caller, d postern.domains, b jsonb) RETURNS postern.websites
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts;
	w postern.websites;
BEGIN
	SELECT * INTO a FROM postern.accounts x WHERE x.id = d.account_id;
	w.id := nextval('postern.website_seq');
	w.account_id := d.account_id;
	w.domain_id := d.id;
	w.web_server := coalesce(b ->> 'web_server', b ->> '_web_server', 'nginx');
	w.document_root := b ->> 'document_root';
	w.runtime := coalesce(b ->> 'runtime', 'static');
	w.php_version := b ->> 'php_version';
	w.proxy_target := b ->> 'proxy_target';
	w.aliases := gate.given_list(b, 'aliases', '{}');
	PERFORM websites.check(c, a, w, NULL);
	PERFORM websites.claim(c, d.account_id, d.domain, '{}', w.aliases);
	INSERT INTO postern.websites (account_id, id, domain_id, web_server, document_root, runtime, php_version, proxy_target,
		https_redirect, aliases, job_id)
	VALUES (w.account_id, w.id, w.domain_id, w.web_server, w.document_root, w.runtime, w.php_version, w.proxy_target,
		coalesce((b ->> 'https_redirect')::boolean, false), w.aliases, gate.work(c, w.account_id, 'website.apply', 'websites', w.id::text))
	RETURNING * INTO w;
	RETURN w;
END $$;

-- Have the machine follow: the row says what is to be. A removal puts an end to all that was still to be done.
CREATE FUNCTION websites.follow(c postern.caller, p_id bigint, p_kind text DEFAULT 'website.apply') RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_job uuid;
BEGIN
	UPDATE postern.websites w SET status = CASE p_kind WHEN 'website.remove' THEN 'deleting' ELSE 'pending' END,
		job_id = gate.work(c, w.account_id, p_kind, 'websites', w.id::text), version = w.version + 1, updated_at = postern.clock()
	WHERE w.id = p_id AND (w.status <> 'deleting' OR p_kind = 'website.remove') RETURNING w.job_id INTO v_job;
	RETURN v_job;
END $$;
-- The same for the website of a domain, which notes the job. Null: it has none.
CREATE FUNCTION websites.follow_domain(c postern.caller, p_domain bigint, p_kind text DEFAULT 'website.apply') RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_job uuid := (SELECT websites.follow(c, w.id, p_kind) FROM postern.websites w WHERE w.domain_id = p_domain);
BEGIN
	IF v_job IS NOT NULL THEN
		UPDATE postern.domains d SET job_id = v_job WHERE d.id = p_domain;
	END IF;
	RETURN v_job;
END $$;

CREATE FUNCTION websites."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains := domains.to_serve(b);
BEGIN
	IF EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = d.id) THEN
		PERFORM gate.fail(409, 'the domain has a website already; change that', jsonb_build_object('domain', 'has a website'));
	END IF;
	RETURN ROW((websites.add(c, d, b)).id, NULL)::postern.done;
END $$;

CREATE FUNCTION websites."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	old postern.websites;
	w postern.websites;
	a postern.accounts;
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.id = o::bigint;
	SELECT * INTO a FROM postern.accounts x WHERE x.id = w.account_id;
	IF w.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the website is being deleted');
	END IF;
	old := w;
	w.web_server := gate.given(b, 'web_server', w.web_server);
	w.document_root := gate.given(b, 'document_root', w.document_root);
	w.runtime := gate.given(b, 'runtime', w.runtime);
	w.php_version := gate.given(b, 'php_version', w.php_version);
	w.proxy_target := gate.given(b, 'proxy_target', w.proxy_target);
	w.https_redirect := gate.given(b, 'https_redirect', w.https_redirect);
	w.aliases := gate.given_list(b, 'aliases', w.aliases);
	PERFORM websites.check(c, a, w, old);
	PERFORM websites.claim(c, w.account_id, (SELECT d.domain FROM postern.domains d WHERE d.id = w.domain_id), old.aliases, w.aliases);
	UPDATE postern.websites x SET (web_server, document_root, runtime, php_version, proxy_target, https_redirect, aliases) =
		(w.web_server, w.document_root, w.runtime, w.php_version, w.proxy_target, w.https_redirect, w.aliases)
	WHERE x.id = w.id;
	PERFORM websites.follow(c, w.id);
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION websites.set_suspended(c postern.caller, o text, p_suspended boolean) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	w postern.websites;
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.id = o::bigint;
	IF w.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the website is being deleted');
	ELSIF w.suspended = p_suspended THEN
		PERFORM gate.fail(409, CASE WHEN p_suspended THEN 'the website is suspended already'
			WHEN w.status = 'suspended' THEN 'the website itself is active already: its domain or account is suspended'
			ELSE 'the website is active already' END);
	END IF;
	UPDATE postern.websites x SET suspended = p_suspended WHERE x.id = w.id;
	PERFORM websites.follow(c, w.id);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION websites.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT websites.set_suspended(c, o, true) $$;
CREATE FUNCTION websites.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT websites.set_suspended(c, o, false) $$;

CREATE FUNCTION websites."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT w.status FROM postern.websites w WHERE w.id = o::bigint) = 'deleting' THEN
		PERFORM gate.fail(409, 'the website is being deleted already');
	END IF;
	PERFORM websites.follow(c, o::bigint, 'website.remove');
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd's action is told: the state that is to be, as it is when the job is taken.
CREATE FUNCTION websites.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT CASE j.kind WHEN 'website.remove' THEN jsonb_build_object('id', w.id, 'domain', d.domain)
		ELSE jsonb_build_object('id', w.id, 'domain', d.domain, 'aliases', to_jsonb(w.aliases), 'web_server', w.web_server,
			'username', a.username, 'home', a.home, 'document_root', coalesce(w.document_root, d.document_root),
			'runtime', w.runtime, 'php_version', w.php_version, 'proxy_socket', substring(w.proxy_target FROM '^unix:(.*)$'),
			'proxy_address', substring(w.proxy_target FROM '^http://\[?([0-9a-fA-F:.]+?)\]?:[0-9]+$'),
			'proxy_port', substring(w.proxy_target FROM '^http://.*:([0-9]+)$')::int, 'https_redirect', w.https_redirect,
			'suspended', websites.stands_still(w), 'certificate', NOT EXISTS (
				SELECT FROM postern.certificates c WHERE c.domain_id = w.domain_id AND c.status = 'deleting')) END
	FROM postern.websites w JOIN postern.domains d ON d.id = w.domain_id JOIN postern.accounts a ON a.id = w.account_id
	WHERE w.id = j.object_id::bigint AND (j.kind <> 'website.remove' OR w.job_id = j.id) -- one that was retried after a change removes nothing
$$;
-- By itself, or as its domain or account is suspended.
CREATE FUNCTION websites.stands_still(w postern.websites) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT w.suspended OR EXISTS (SELECT FROM postern.domains d WHERE d.id = w.domain_id AND d.status = 'suspended')
	    OR EXISTS (SELECT FROM postern.accounts a WHERE a.id = w.account_id AND a.status = 'suspended')
$$;
-- After a removal its names are free again, and a domain that waited for it goes too.
CREATE FUNCTION websites.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	w postern.websites;
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.id = j.object_id::bigint FOR UPDATE;
	PERFORM ssl.site_settled(w.domain_id);
	IF w.id IS NULL OR w.job_id <> j.id THEN
		RETURN;
	END IF;
	PERFORM gate.settle_status('postern.websites', j, CASE WHEN websites.stands_still(w) THEN 'suspended' ELSE 'active' END);
	IF j.kind <> 'website.remove' THEN
		RETURN;
	ELSIF j.status = 'succeeded' THEN
		DELETE FROM postern.domain_names n WHERE n.account_id = w.account_id AND n.domain = ANY (w.aliases);
		PERFORM domains.finish_delete(w.domain_id);
	ELSE
		UPDATE postern.domains d SET status = 'error', last_error = 'its website could not be removed: ' || coalesce(j.error, 'the job was cancelled'),
			version = d.version + 1, updated_at = postern.clock()
		WHERE d.id = w.domain_id AND d.status = 'deleting' AND d.job_id = j.id;
	END IF;
END $$;

RESET ROLE;
