-- websites: what a web server serves for a domain. Each change is a row and a job: posternd makes the virtual host be as the
-- row says (worker/actions/website.c).
DROP SCHEMA IF EXISTS websites CASCADE;
CREATE SCHEMA websites AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- What posternd said of its machine a moment ago.
CREATE FUNCTION websites.machine(p_fact text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.facts -> p_fact FROM postern.machines m WHERE m.facts_at > postern.clock() - interval '1 hour' ORDER BY m.said_at DESC LIMIT 1
$$;

CREATE VIEW websites.item AS
SELECT w.id, w.domain_id, d.domain, w.account_id, a.username AS account, w.web_server,
       coalesce(w.document_root, d.document_root) AS document_root, w.runtime, w.php_version, w.proxy_target,
       (SELECT websites.machine('app_sockets_dir') #>> '{}') || '/' || a.username || '/s' AS sockets_folder, w.https_redirect,
       w.hsts, w.max_body_mb, w.aliases, w.status, coalesce(gate.held_by(w.held), CASE WHEN 'status' = ANY (d.held) THEN gate.held_by(d.held) END) AS held_by,
       w.last_error, w.job_id, w.created_at, w.updated_at, w.version, w.account_id AS tenant
FROM postern.websites w
LEFT JOIN postern.domains d ON d.id = w.domain_id
LEFT JOIN postern.accounts a ON a.id = w.account_id;

-- Where requests may be handed on to. A tenant's: a socket in the account's own folder for sockets, or a port that is theirs. Others
-- could be anybody's, and a web server is let in where a tenant is not. A socket below a home is nobody's choice: its owner may put
-- a link in its place whenever he likes.
CREATE FUNCTION websites.check_proxy(c postern.caller, a postern.accounts, p_target text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_path text := substring(p_target FROM '^unix:(/.+)$');
	v_http text[] := regexp_match(p_target, '^http://(\[[0-9a-fA-F:.]+\]|[0-9.]+):([0-9]{1,5})$');
	v_good boolean := p_target ~ '^unix:[A-Za-z0-9_][A-Za-z0-9._+@~-]{0,49}$';
BEGIN
	IF v_path IS NOT NULL THEN
		v_good := octet_length(v_path) <= 107 AND v_path ~ '^(/[A-Za-z0-9._+@~ -]+)+$' AND v_path !~ '/\.\.?(/|$)';
	ELSIF v_http IS NOT NULL THEN
		BEGIN
			v_good := host(trim(v_http[1], '[]')::inet) IS NOT NULL AND v_http[2]::int BETWEEN 1 AND 65535;
		EXCEPTION WHEN invalid_text_representation THEN
			NULL;
		END;
	END IF;
	IF NOT v_good THEN
		PERFORM gate.invalid('proxy_target', 'must be unix:<name of a socket>, such as unix:app.sock (at most 50 letters, digits and . _ - + @ ~), '
			|| 'or http://<address>:<port>, such as http://127.0.0.1:3000');
	ELSIF starts_with(v_path, a.home || '/') THEN
		PERFORM gate.invalid('proxy_target', 'must not lie below the account''s home, where a link can take its place; give unix:<name>, '
			|| 'such as unix:app.sock, and have the application listen in the account''s folder for sockets');
	ELSIF gate.may_admin(c) THEN
		RETURN;
	ELSIF v_path IS NOT NULL THEN
		PERFORM gate.invalid('proxy_target', 'must be the name of a socket without its folder, such as unix:app.sock; the application listens in '
			|| 'the account''s folder for sockets');
	ELSIF v_http IS NOT NULL AND (v_http[1] <> '127.0.0.1' OR NOT EXISTS (
	      SELECT FROM postern.account_ports p WHERE p.account_id = a.id AND p.port = v_http[2]::int)) THEN
		PERFORM gate.invalid('proxy_target', 'must be http://127.0.0.1:<port> with a port assigned to the account (its field ports, which an '
			|| 'administrator sets), or the name of a socket, such as unix:app.sock');
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
	IF w.runtime = 'php' AND (w.php_version, w.runtime) IS DISTINCT FROM (before.php_version, before.runtime)
	   AND NOT websites.machine('php') ? w.php_version AND jsonb_array_length(websites.machine('php')) > 0 THEN
		PERFORM gate.invalid('php_version', format('is not on this machine; there is %s', (SELECT string_agg(x, ', ' ORDER BY string_to_array(x, '.')::int[])
			FROM jsonb_array_elements_text(websites.machine('php')) x)));
	END IF;
	IF w.proxy_target IS NOT NULL AND w.proxy_target IS DISTINCT FROM before.proxy_target THEN
		PERFORM websites.check_proxy(c, a, w.proxy_target);
	END IF;
	IF w.document_root IS NOT NULL AND w.document_root IS DISTINCT FROM before.document_root THEN
		PERFORM domains.check_root(c, a, w.document_root);
	END IF;
END $$;

-- Its domain tells how it is.
CREATE FUNCTION websites.tell_domain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	w postern.websites := CASE TG_OP WHEN 'DELETE' THEN NULL ELSE NEW END;
BEGIN
	UPDATE postern.domains d SET site_status = w.status, site_error = w.last_error, job_id = coalesce(w.job_id, d.job_id),
		version = d.version + 1, updated_at = postern.clock()
	WHERE d.id = coalesce(w.domain_id, OLD.domain_id)
	  AND (d.site_status, d.site_error, d.job_id) IS DISTINCT FROM (w.status, w.last_error, coalesce(w.job_id, d.job_id));
	RETURN NULL;
END $$;
CREATE TRIGGER tell_domain AFTER INSERT OR DELETE OR UPDATE OF status, last_error, job_id ON postern.websites
FOR EACH ROW EXECUTE FUNCTION websites.tell_domain();

-- Which website a name stands for: see domains.named.
CREATE FUNCTION websites.named(p_domain text) RETURNS bigint
LANGUAGE sql STABLE AS $$
	SELECT CASE d.id WHEN 0 THEN 0 ELSE (SELECT w.id FROM postern.websites w WHERE w.domain_id = d.id) END FROM domains.named(p_domain) d (id)
$$;
-- Nothing is served for a name that is not shown to be the account's; the job comes when it is.
CREATE FUNCTION websites.waits() RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'the domain is unproven; its website is served as soon as it is proven' $$;

-- Further names are held as domains are: whoever has one, nobody else gets it. A tenant's lies below a name that the account holds,
-- or is a domain of the account without a website of its own.
CREATE FUNCTION websites.release(p_account bigint, p_names text[]) RETURNS void
LANGUAGE sql AS $$
	DELETE FROM postern.domain_names n WHERE n.account_id = p_account AND n.domain = ANY (p_names)
	AND NOT EXISTS (SELECT FROM postern.domains d WHERE d.account_id = p_account AND d.domain = n.domain AND d.proven_at IS NOT NULL)
$$;
CREATE FUNCTION websites.check_alias(c postern.caller, p_account bigint, p_name text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_own bigint := (SELECT d.id FROM postern.domains d WHERE d.account_id = p_account AND d.domain = p_name AND d.proven_at IS NOT NULL);
BEGIN
	IF EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = v_own OR (w.account_id = p_account AND p_name = ANY (w.aliases)))
	   OR (v_own IS NULL AND EXISTS (SELECT FROM postern.domain_names n WHERE n.domain = p_name))
	   OR (NOT gate.may_admin(c) AND domains.held_elsewhere(p_name, p_account)) THEN
		PERFORM gate.fail(409, format('the name %s is taken', p_name), jsonb_build_object('aliases', format('%s is taken', p_name)));
	ELSIF v_own IS NULL AND NOT gate.may_admin(c) AND domains.proof_required() AND NOT domains.below_own(p_name, p_account) THEN
		PERFORM gate.invalid('aliases', format('%s is not shown to be the account''s; create it as a domain first, without a website, and prove it', p_name));
	END IF;
END $$;
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
	PERFORM websites.release(p_account, ARRAY(SELECT n FROM unnest(p_old) n WHERE n <> ALL (p_new)));
	FOR v_name IN SELECT n FROM unnest(p_new) n WHERE n <> ALL (p_old) ORDER BY 1 LOOP -- one order everywhere
		PERFORM domains.check_free(c, p_account, v_name);
		PERFORM websites.check_alias(c, p_account, v_name);
		IF NOT domains.hold(v_name, p_account) THEN -- somebody else was faster
			PERFORM gate.fail(409, format('the name %s is taken', v_name), jsonb_build_object('aliases', format('%s is taken', v_name)));
		END IF;
	END LOOP;
END $$;

-- What an administrator suspended gives none of its names away, to be served by another website.
CREATE FUNCTION websites.keep_names(c postern.caller, w postern.websites) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	d postern.domains;
BEGIN
	SELECT * INTO d FROM postern.domains x WHERE x.id = w.domain_id;
	IF NOT gate.is_staff(c) AND ('status' = ANY (d.held) OR w.held <> '{}') THEN
		PERFORM gate.fail(409, format('an administrator suspended the %s %s; its names stay with it until they lift it',
			CASE WHEN w.held <> '{}' THEN 'website of' ELSE 'domain' END, d.domain));
	END IF;
END $$;

-- ---- names that come with domains ----

-- A domain's own name and, where it has that, www. before it, as further names of a website: those that are free.
CREATE FUNCTION websites.names_of(d postern.domains, p_own boolean) RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN p_own THEN ARRAY[d.domain] ELSE '{}' END || CASE WHEN d.www AND d.proven_at IS NOT NULL AND length(d.domain) <= 249
		AND NOT domains.held_elsewhere('www.' || d.domain, d.account_id) AND NOT EXISTS (
			SELECT FROM postern.domains x WHERE x.account_id = d.account_id AND x.domain = 'www.' || d.domain) AND NOT EXISTS (
			SELECT FROM postern.websites w WHERE w.account_id = d.account_id AND 'www.' || d.domain = ANY (w.aliases)) THEN ARRAY['www.' || d.domain]
		ELSE '{}' END
$$;
-- What a new website has besides what was given: www of its domain, and the domains of type alias that belong to it.
CREATE FUNCTION websites.names_that_come(d postern.domains, p_given text[]) RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT coalesce(array_agg(n ORDER BY place, n), '{}') FROM (
		SELECT n, 0 AS place FROM unnest(websites.names_of(d, false)) n
		UNION ALL
		SELECT n, x.id FROM postern.domains x, unnest(websites.names_of(x, true)) n
		WHERE x.alias_of = d.id AND x.proven_at IS NOT NULL AND x.status <> 'deleting') y WHERE n <> ALL (p_given)
$$;
-- A domain is proven, or belongs to another website: the website that serves it gets its names, and a job. Null: there is none.
CREATE FUNCTION websites.join(c postern.caller, d postern.domains) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	w postern.websites;
	v_site text;
	v_names text[];
	v_job uuid;
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.domain_id = coalesce(d.alias_of, d.id) AND x.status <> 'deleting' FOR UPDATE;
	IF NOT FOUND OR d.proven_at IS NULL THEN
		RETURN NULL;
	END IF;
	v_site := (SELECT x.domain FROM postern.domains x WHERE x.id = w.domain_id);
	v_names := ARRAY(SELECT n FROM unnest(websites.names_of(d, d.alias_of IS NOT NULL)) n WHERE n <> ALL (w.aliases));
	IF cardinality(w.aliases || v_names) > 50 THEN
		UPDATE postern.domains x SET last_error = format('the website of %s has 50 further names, as many as there can be, and serves it not', v_site)
		WHERE x.id = d.id;
	ELSE
		PERFORM websites.claim(c, w.account_id, v_site, w.aliases, w.aliases || v_names);
		UPDATE postern.websites x SET aliases = w.aliases || v_names WHERE x.id = w.id;
	END IF;
	v_job := websites.follow(c, w.id);
	UPDATE postern.domains x SET job_id = v_job WHERE x.id = d.id AND v_job IS NOT NULL;
	RETURN v_job;
END $$;
-- It no longer does, or goes: its names leave that website.
CREATE FUNCTION websites.leave(c postern.caller, d postern.domains) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	w postern.websites;
	v_names text[];
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.domain_id = d.alias_of AND x.status <> 'deleting' FOR UPDATE;
	v_names := ARRAY(SELECT n FROM unnest(w.aliases) n WHERE n IN (d.domain, 'www.' || d.domain));
	IF v_names = '{}' THEN
		RETURN NULL;
	END IF;
	UPDATE postern.websites x SET aliases = ARRAY(SELECT n FROM unnest(w.aliases) WITH ORDINALITY y (n, i) WHERE n <> ALL (v_names) ORDER BY i)
	WHERE x.id = w.id;
	PERFORM websites.release(w.account_id, v_names);
	RETURN websites.follow(c, w.id);
END $$;
-- A list of further names keeps the domains of type alias that belong to the website.
CREATE FUNCTION websites.check_aliases(w postern.websites) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_lost text := (SELECT d.domain FROM postern.domains d WHERE d.alias_of = w.domain_id AND d.proven_at IS NOT NULL AND d.status <> 'deleting'
		AND d.domain <> ALL (w.aliases) LIMIT 1);
BEGIN
	IF v_lost IS NOT NULL THEN
		PERFORM gate.invalid('aliases', format('must keep %s, a domain of type alias that this website serves; delete that domain, or change its type', v_lost));
	END IF;
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
	w.aliases := w.aliases || websites.names_that_come(d, w.aliases);
	PERFORM websites.check(c, a, w, NULL);
	IF d.alias_of IS NOT NULL THEN
		PERFORM gate.fail(409, format('%s is of type alias and is served by the website of %s; change its type first', d.domain,
			(SELECT x.domain FROM postern.domains x WHERE x.id = d.alias_of)));
	ELSIF EXISTS (SELECT FROM postern.websites x WHERE x.account_id = d.account_id AND d.domain = ANY (x.aliases)) THEN
		PERFORM gate.fail(409, format('%s is a further name of another website; take it out of its aliases first', d.domain));
	END IF;
	PERFORM websites.claim(c, d.account_id, d.domain, '{}', w.aliases);
	INSERT INTO postern.websites (account_id, id, domain_id, web_server, document_root, runtime, php_version, proxy_target,
		https_redirect, hsts, max_body_mb, aliases, last_error, job_id)
	VALUES (w.account_id, w.id, w.domain_id, w.web_server, w.document_root, w.runtime, w.php_version, w.proxy_target,
		coalesce((b ->> 'https_redirect')::boolean, false), coalesce((b ->> 'hsts')::boolean, false), coalesce((b ->> 'max_body_mb')::int, 128), w.aliases, CASE WHEN d.proven_at IS NULL THEN websites.waits() END,
		CASE WHEN d.proven_at IS NOT NULL THEN gate.work(c, w.account_id, 'website.apply', 'websites', w.id::text) END)
	RETURNING * INTO w;
	RETURN w;
END $$;

-- Have the machine follow: the row says what is to be. A removal puts an end to all that was still to be done.
CREATE FUNCTION websites.follow(c postern.caller, p_id bigint, p_kind text DEFAULT 'website.apply') RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_job uuid;
BEGIN
	IF EXISTS (SELECT FROM postern.websites w JOIN postern.domains d ON d.id = w.domain_id WHERE w.id = p_id AND d.proven_at IS NULL) THEN
		-- nothing of it is on the machine, where the name may be another account's
		IF p_kind = 'website.remove' THEN
			PERFORM websites.release(w.account_id, w.aliases) FROM postern.websites w WHERE w.id = p_id;
			DELETE FROM postern.websites w WHERE w.id = p_id;
		ELSE
			UPDATE postern.websites w SET status = 'pending', last_error = websites.waits(), version = w.version + 1, updated_at = postern.clock()
			WHERE w.id = p_id;
		END IF;
		RETURN NULL;
	END IF;
	UPDATE postern.websites w SET status = CASE p_kind WHEN 'website.remove' THEN 'deleting' ELSE 'pending' END,
		last_error = NULL, -- what an earlier job met
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
	w.hsts := gate.given(b, 'hsts', w.hsts);
	w.max_body_mb := gate.given(b, 'max_body_mb', w.max_body_mb);
	w.aliases := gate.given_list(b, 'aliases', w.aliases);
	PERFORM websites.check(c, a, w, old);
	IF w.aliases <> old.aliases THEN
		PERFORM websites.keep_names(c, w);
		PERFORM websites.check_aliases(w);
	END IF;
	PERFORM websites.claim(c, w.account_id, (SELECT d.domain FROM postern.domains d WHERE d.id = w.domain_id), old.aliases, w.aliases);
	UPDATE postern.websites x SET (web_server, document_root, runtime, php_version, proxy_target, https_redirect, hsts, max_body_mb, aliases) =
		(w.web_server, w.document_root, w.runtime, w.php_version, w.proxy_target, w.https_redirect, w.hsts, w.max_body_mb, w.aliases)
	WHERE x.id = w.id;
	PERFORM websites.follow(c, w.id);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What keeps a website from being served that is not suspended itself, and who lifts that; null: nothing.
CREATE FUNCTION websites.held_above(c postern.caller, w postern.websites) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT 'the website itself is active already: ' || CASE
		WHEN a.status = 'suspended' THEN format('its account %s is suspended; an administrator takes it up again', a.username)
		WHEN d.status = 'suspended' AND 'status' = ANY (d.held) AND NOT gate.is_staff(c)
			THEN format('an administrator suspended its domain %s; ask an administrator to change that', d.domain)
		WHEN d.status = 'suspended' THEN format('its domain %s is suspended; unsuspend that', d.domain) END
	FROM postern.domains d JOIN postern.accounts a ON a.id = d.account_id WHERE d.id = w.domain_id
$$;
CREATE FUNCTION websites.set_suspended(c postern.caller, o text, p_suspended boolean) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	w postern.websites;
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.id = o::bigint;
	IF w.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the website is being deleted');
	ELSIF p_suspended AND w.suspended AND gate.take_over('postern.websites', o, 'suspended') THEN
		RETURN ROW(o, NULL)::postern.done;
	ELSIF w.suspended = p_suspended THEN
		PERFORM gate.fail(409, CASE WHEN p_suspended THEN 'the website is suspended already'
			ELSE coalesce(websites.held_above(c, w), 'the website is active already') END);
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
DECLARE
	w postern.websites;
BEGIN
	SELECT * INTO w FROM postern.websites x WHERE x.id = o::bigint;
	IF w.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the website is being deleted already');
	ELSIF w.aliases <> '{}' THEN
		PERFORM websites.keep_names(c, w);
	END IF;
	PERFORM websites.follow(c, o::bigint, 'website.remove');
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd's action is told: the state that is to be, as it is when the job is taken.
CREATE FUNCTION websites.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT CASE j.kind WHEN 'website.remove' THEN jsonb_build_object('id', w.id, 'domain', d.domain)
		ELSE jsonb_build_object('id', w.id, 'domain', d.domain, 'aliases', to_jsonb(websites.served(w)), 'web_server', w.web_server,
			'username', a.username, 'home', a.home, 'document_root', coalesce(w.document_root, d.document_root),
			'runtime', w.runtime, 'php_version', w.php_version, 'proxy_socket', substring(w.proxy_target FROM '^unix:(/.*)$'),
			'proxy_name', substring(w.proxy_target FROM '^unix:([^/].*)$'),
			'proxy_address', substring(w.proxy_target FROM '^http://\[?([0-9a-fA-F:.]+?)\]?:[0-9]+$'),
			'proxy_port', substring(w.proxy_target FROM '^http://.*:([0-9]+)$')::int, 'https_redirect', w.https_redirect,
			'hsts', w.hsts, 'max_body_mb', w.max_body_mb, 'suspended', websites.stands_still(w), 'certificate', NOT EXISTS (
				SELECT FROM postern.certificates c WHERE c.domain_id = w.domain_id AND c.status = 'deleting')) END
	FROM postern.websites w JOIN postern.domains d ON d.id = w.domain_id JOIN postern.accounts a ON a.id = w.account_id
	WHERE w.id = j.object_id::bigint AND d.proven_at IS NOT NULL AND (j.kind <> 'website.remove' OR w.job_id = j.id) -- one that was retried after a change removes nothing
$$;
-- By itself, or as its domain or account is suspended.
-- Its further names, but for those of a suspended domain, and those below one.
CREATE FUNCTION websites.served(w postern.websites) RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT coalesce(array_agg(n ORDER BY place), '{}') FROM unnest(w.aliases) WITH ORDINALITY AS x (n, place)
	WHERE NOT EXISTS (SELECT FROM postern.domains d WHERE d.account_id = w.account_id AND d.status = 'suspended'
		AND (n = d.domain OR right(n, length(d.domain) + 1) = '.' || d.domain))
$$;
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
	-- in the order of a change of the domain, which tells of its website
	PERFORM FROM postern.domains d WHERE d.id = (SELECT x.domain_id FROM postern.websites x WHERE x.id = j.object_id::bigint) FOR NO KEY UPDATE;
	SELECT * INTO w FROM postern.websites x WHERE x.id = j.object_id::bigint FOR UPDATE;
	IF w.id IS NULL OR w.job_id <> j.id THEN -- a later one will have the last word, of its certificate, too
		RETURN;
	END IF;
	PERFORM ssl.site_settled(w.domain_id);
	PERFORM gate.settle_status('postern.websites', j, CASE WHEN websites.stands_still(w) THEN 'suspended' ELSE 'active' END);
	IF j.kind <> 'website.remove' THEN
		IF j.status = 'succeeded' THEN
			PERFORM ssl.follow_names(w.domain_id);
		END IF;
		RETURN;
	ELSIF j.status = 'succeeded' THEN
		PERFORM websites.release(w.account_id, w.aliases);
		PERFORM domains.finish_delete(w.domain_id);
	ELSE
		UPDATE postern.domains d SET status = 'error', last_error = 'its website could not be removed: ' || coalesce(j.error, 'the job was cancelled'),
			version = d.version + 1, updated_at = postern.clock()
		WHERE d.id = w.domain_id AND d.status = 'deleting' AND d.job_id = j.id;
	END IF;
END $$;

RESET ROLE;
ALTER FUNCTION websites.tell_domain() OWNER TO postern_operator;
ALTER FUNCTION websites.machine(text) OWNER TO postern_operator;
