-- domains: names that accounts serve.
DROP SCHEMA IF EXISTS domains CASCADE;
CREATE SCHEMA domains AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW domains.item AS
SELECT d.id, d.domain, d.domain AS domain_unicode, d.account_id, a.username AS account,
       d.type, d.document_root, d.ssl_status, d.status, d.last_error, d.mail_enabled, d.managed, d.job_id, d.created_at, d.updated_at,
       d.version, d.account_id AS tenant, d.shown
FROM postern.domains d LEFT JOIN postern.accounts a ON a.id = d.account_id;

-- Does another account hold this name or one above it? Answers for the whole installation, and says no more.
CREATE FUNCTION domains.held_elsewhere(p_domain text, p_account bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (
		WITH RECURSIVE up (name) AS (
			SELECT p_domain
			UNION ALL
			SELECT substr(name, strpos(name, '.') + 1) FROM up WHERE strpos(name, '.') > 0
		)
		SELECT FROM up JOIN postern.domain_names n ON n.domain = up.name WHERE n.account_id <> p_account)
$$;

-- The domain that a body names, by number or by name, kept from being changed meanwhile: one that something may be served for.
CREATE FUNCTION domains.to_serve(b jsonb) RETURNS postern.domains
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	v_status text;
BEGIN
	IF b ->> 'domain_id' IS NULL AND b ->> 'domain' IS NULL THEN
		PERFORM gate.invalid('domain', 'is required: give domain or domain_id');
	END IF;
	SELECT * INTO d FROM postern.domains x
	WHERE x.id = coalesce((b ->> 'domain_id')::bigint, x.id) AND x.domain = coalesce(b ->> 'domain', x.domain) FOR UPDATE;
	IF NOT FOUND AND b ? 'domain' AND b ? 'domain_id' THEN
		PERFORM gate.invalid('domain_id', 'is not the number of this domain; give one of the two');
	ELSIF NOT FOUND THEN
		PERFORM gate.invalid(CASE WHEN b ? 'domain' THEN 'domain' ELSE 'domain_id' END, 'there is no such domain; create it first');
	END IF;
	SELECT a.status INTO v_status FROM postern.accounts a WHERE a.id = d.account_id;
	IF v_status NOT IN ('active', 'pending') THEN
		PERFORM gate.fail(409, format('the account is %s', v_status));
	ELSIF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the domain is being deleted');
	ELSIF NOT d.managed THEN
		PERFORM gate.fail(409, 'Postern only knows of this domain, which was imported, and changes nothing that serves it');
	END IF;
	RETURN d;
END $$;

CREATE FUNCTION domains."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts := users.open_account(c, b);
	v_domain text := b ->> 'domain';
	v_type text := b ->> 'type';
	v_root text;
	made postern.domains;
BEGIN
	IF a.max_domains <= (SELECT count(*) FROM postern.domains d WHERE d.account_id = a.id) THEN
		PERFORM gate.fail(409, format('the account''s plan allows %s domains; delete one or change the plan', a.max_domains));
	END IF;
	IF EXISTS (SELECT FROM postern.domain_names n WHERE n.domain = v_domain)
	   OR (NOT gate.may_admin(c) AND domains.held_elsewhere(v_domain, a.id)) THEN
		PERFORM gate.fail(409, 'this domain is taken', jsonb_build_object('domain', 'is taken'));
	END IF;
	IF v_type IS NULL THEN
		v_type := CASE WHEN EXISTS (SELECT FROM postern.domains d WHERE d.account_id = a.id AND d.type = 'primary')
		          THEN 'addon' ELSE 'primary' END;
	END IF;
	PERFORM domains.check_type(a.id, NULL, v_domain, v_type);
	v_root := coalesce(b ->> 'document_root', a.home || CASE v_type WHEN 'primary' THEN '/public_html' ELSE '/' || v_domain END);
	PERFORM domains.check_root(c, a, v_root);
	BEGIN
		INSERT INTO postern.domain_names VALUES (v_domain, a.id);
		INSERT INTO postern.domains (account_id, domain, type, document_root, mail_enabled, managed, ssl_status)
		VALUES (a.id, v_domain, v_type, v_root, coalesce((b ->> 'mail_enabled')::boolean, true),
			coalesce((b ->> 'managed')::boolean, true), coalesce(b ->> 'ssl_status', 'none'))
		RETURNING * INTO made;
	EXCEPTION WHEN unique_violation THEN -- somebody else claimed it at the same moment
		PERFORM gate.fail(409, 'this domain is taken', jsonb_build_object('domain', 'is taken'));
	END;
	IF made.managed AND coalesce((b ->> 'website')::boolean, false) THEN
		UPDATE postern.domains x SET job_id = (websites.add(c, made, jsonb_build_object('_web_server', b -> '_web_server'))).job_id WHERE x.id = made.id;
	END IF;
	RETURN ROW(made.id, NULL)::postern.done;
END $$;

-- One primary an account; a subdomain needs its parent there.
CREATE FUNCTION domains.check_type(p_account bigint, p_id bigint, p_domain text, p_type text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_type = 'primary' AND EXISTS (SELECT FROM postern.domains d
	   WHERE d.account_id = p_account AND d.type = 'primary' AND d.id IS DISTINCT FROM p_id) THEN
		PERFORM gate.fail(409, 'the account has a primary domain already', jsonb_build_object('type', 'only one domain of an account is primary'));
	ELSIF p_type = 'subdomain' AND NOT EXISTS (SELECT FROM postern.domains d
	   WHERE d.account_id = p_account AND p_domain LIKE '%.' || d.domain AND d.id IS DISTINCT FROM p_id) THEN
		PERFORM gate.invalid('type', 'a subdomain needs its parent domain in the same account; use addon');
	END IF;
END $$;
-- A tenant serves what lies below the account's home.
CREATE FUNCTION domains.check_root(c postern.caller, a postern.accounts, p_root text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF NOT gate.may_admin(c) AND NOT starts_with(p_root, a.home || '/') THEN
		PERFORM gate.invalid('document_root', format('must lie below the account''s home, %s', a.home));
	END IF;
END $$;

CREATE FUNCTION domains."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	a postern.accounts;
	v_type text;
	v_root text;
BEGIN
	SELECT * INTO d FROM postern.domains WHERE id = o::bigint;
	SELECT * INTO a FROM postern.accounts WHERE id = d.account_id FOR SHARE;
	IF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the domain is being deleted');
	END IF;
	v_type := gate.given(b, 'type', d.type);
	v_root := coalesce(gate.given(b, 'document_root', d.document_root),
		a.home || CASE v_type WHEN 'primary' THEN '/public_html' ELSE '/' || d.domain END);
	IF v_type <> d.type THEN
		PERFORM domains.check_type(d.account_id, d.id, d.domain, v_type);
	END IF;
	IF v_root <> d.document_root THEN
		PERFORM domains.check_root(c, a, v_root);
	END IF;
	UPDATE postern.domains SET type = v_type, document_root = v_root,
		mail_enabled = gate.given(b, 'mail_enabled', d.mail_enabled),
		version = d.version + 1, updated_at = postern.clock()
	WHERE id = d.id;
	IF v_root <> d.document_root AND EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = d.id AND w.document_root IS NULL) THEN
		PERFORM websites.follow_domain(c, d.id);
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- Its website follows.
CREATE FUNCTION domains.set_status(c postern.caller, o text, p_from text, p_to text) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gate.set_status('postern.domains', 'domain', o, p_from, p_to);
	PERFORM websites.follow_domain(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION domains.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT domains.set_status(c, o, 'active', 'suspended') $$;
CREATE FUNCTION domains.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT domains.set_status(c, o, 'suspended', 'active') $$;

-- What a domain still has goes with it only when asked for (?cascade=true); else the answer lists it.
CREATE FUNCTION domains."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	v_all bigint[];
	v_below text[];
	v_mailboxes text[];
	v_forwarders text[];
BEGIN
	SELECT * INTO d FROM postern.domains WHERE id = o::bigint;
	IF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the domain is being deleted already');
	END IF;
	SELECT array_agg(x.id), coalesce(array_agg(x.domain ORDER BY x.domain) FILTER (WHERE x.id <> d.id), '{}') INTO v_all, v_below
	FROM postern.domains x
	WHERE x.account_id = d.account_id AND (x.id = d.id OR (x.type = 'subdomain' AND x.domain LIKE '%.' || d.domain));
	v_mailboxes := ARRAY(SELECT m.address FROM postern.mailboxes m
		WHERE m.account_id = d.account_id AND m.domain_id = ANY (v_all) ORDER BY 1);
	v_forwarders := ARRAY(SELECT f.address FROM postern.forwarders f
		WHERE f.account_id = d.account_id AND f.domain_id = ANY (v_all) ORDER BY 1);
	IF cardinality(v_below || v_mailboxes || v_forwarders) > 0 AND NOT coalesce((b ->> 'cascade')::boolean, false) THEN
		PERFORM gate.fail(409, format('the domain still has %s; delete them first or use cascade=true', gate.counted(
			'{subdomains, mailboxes, forwarders}', ARRAY[cardinality(v_below), cardinality(v_mailboxes), cardinality(v_forwarders)])), jsonb_strip_nulls(jsonb_build_object(
			'subdomains', gate.some_of(v_below[:20], cardinality(v_below)),
			'mailboxes', gate.some_of(v_mailboxes[:20], cardinality(v_mailboxes)),
			'forwarders', gate.some_of(v_forwarders[:20], cardinality(v_forwarders)))));
	END IF;
	PERFORM mailboxes.remove(c, m.id) FROM postern.mailboxes m WHERE m.account_id = d.account_id AND m.domain_id = ANY (v_all);
	DELETE FROM postern.forwarders f WHERE f.account_id = d.account_id AND f.domain_id = ANY (v_all);
	UPDATE postern.domains x SET status = 'deleting', version = x.version + 1, updated_at = postern.clock()
	WHERE x.account_id = d.account_id AND x.id = ANY (v_all);
	-- one that has a website goes when that is gone; the domain's own is the last, so its job is the answer
	PERFORM websites.follow_domain(c, x.id, 'website.remove') FROM (SELECT y.id FROM unnest(v_all) y (id) ORDER BY y.id = d.id, y.id) x;
	PERFORM ssl.remove(c, s.id) FROM postern.certificates s WHERE s.domain_id = ANY (v_all) ORDER BY s.domain_id = d.id, s.id;
	PERFORM domains.finish_delete(x.id) FROM unnest(v_all) x (id);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- A domain that is being deleted goes, with its name, as soon as it has no website and no certificate.
CREATE FUNCTION domains.finish_delete(p_id bigint) RETURNS void
LANGUAGE sql AS $$
	WITH gone AS (
		DELETE FROM postern.domains x WHERE x.id = p_id AND x.status = 'deleting'
		AND NOT EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = x.id)
		AND NOT EXISTS (SELECT FROM postern.certificates s WHERE s.domain_id = x.id) RETURNING x.account_id, x.domain
	)
	DELETE FROM postern.domain_names n USING gone WHERE n.account_id = gone.account_id AND n.domain = gone.domain
$$;

RESET ROLE;
ALTER FUNCTION domains.held_elsewhere(text, bigint) OWNER TO postern_gate;
GRANT SELECT ON postern.domain_names TO postern_gate;
