-- domains: names that accounts serve.
DROP SCHEMA IF EXISTS domains CASCADE;
CREATE SCHEMA domains AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW domains.item AS
SELECT d.id, d.domain, d.domain AS domain_unicode, d.account_id, a.username AS account,
       d.type, d.document_root, d.ssl_status,
       -- the worst of its parts: a suspension, its own or its account's, is one when its website stands still, too
       CASE WHEN d.status NOT IN ('active', 'suspended') THEN d.status
            WHEN d.site_status = 'error' THEN 'error'
            WHEN d.site_status IN ('pending', 'deleting') THEN 'pending'
            WHEN d.site_status = 'active' AND (d.status = 'suspended' OR a.status = 'suspended') THEN 'pending'
            WHEN 'suspended' IN (d.status, d.site_status, a.status) THEN 'suspended'
            ELSE d.status END AS status,
       gate.held_by(d.held) AS held_by,
       coalesce(d.last_error, CASE WHEN d.proven_at IS NOT NULL THEN 'its website: ' || d.site_error END) AS last_error, d.proof,
       CASE d.status WHEN 'unproven' THEN '_postern-challenge.' || d.domain END AS proof_record,
       CASE d.status WHEN 'unproven' THEN d.proof_value END AS proof_value, d.mail_enabled, d.managed, al.domain AS alias_of, d.job_id, d.created_at, d.updated_at,
       d.version, d.account_id AS tenant, d.shown
FROM postern.domains d LEFT JOIN postern.accounts a ON a.id = d.account_id LEFT JOIN postern.domains al ON al.id = d.alias_of;

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

-- The domain of this name: the one that has proven it, else the only one there is; 0: several accounts claim it and none has proven
-- it. A tenant sees their own.
CREATE FUNCTION domains.named(p_domain text) RETURNS bigint
LANGUAGE sql STABLE AS $$
	SELECT coalesce(min(d.id) FILTER (WHERE d.proven_at IS NOT NULL), CASE count(*) WHEN 0 THEN NULL WHEN 1 THEN min(d.id) ELSE 0 END)
	FROM postern.domains d WHERE d.domain = p_domain
$$;
CREATE FUNCTION domains.not_one(p_domain text) RETURNS void
LANGUAGE sql AS $$
	SELECT gate.fail(409, format('several accounts claim %s and none has proven it; give the number of the one that is meant', p_domain))
$$;

-- ---- whose name is it? ----

-- Does the account hold a name above this one?
CREATE FUNCTION domains.below_own(p_domain text, p_account bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
	WITH RECURSIVE up (name) AS (
		SELECT substr(p_domain, strpos(p_domain, '.') + 1)
		UNION ALL
		SELECT substr(name, strpos(name, '.') + 1) FROM up WHERE strpos(name, '.') > 0
	)
	SELECT EXISTS (SELECT FROM up JOIN postern.domain_names n ON n.domain = up.name WHERE n.account_id = p_account)
$$;
CREATE FUNCTION domains.proof_required() RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT p.proof_required FROM postern.domain_policy p $$;
-- The setting domain_proof, from `postern migrate` and from posternd, never from an endpoint.
CREATE FUNCTION domains.learn_proof(p_setting text) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.domain_policy SET proof_required = p_setting <> 'off' WHERE proof_required <> (p_setting <> 'off')
$$;
CREATE FUNCTION domains.seen(p_machine text, p jsonb) RETURNS void
LANGUAGE sql AS $$ SELECT domains.learn_proof(p ->> 'domain_proof') WHERE p ? 'domain_proof' $$;

-- The name is this account's from now on; the first proof wins. False: another account holds it. Whoever else claims it is told so;
-- a claim that is locked is just being looked at, and hears it there.
CREATE FUNCTION domains.hold(p_domain text, p_account bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF coalesce(postern.account(), 0) NOT IN (0, p_account) THEN
		RAISE EXCEPTION 'a tenant holds names for their own account only';
	END IF;
	INSERT INTO postern.domain_names VALUES (p_domain, p_account) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN EXISTS (SELECT FROM postern.domain_names n WHERE n.domain = p_domain AND n.account_id = p_account);
	END IF;
	UPDATE postern.domains d SET last_error = domains.lost(), proof_next_at = NULL, version = d.version + 1, updated_at = postern.clock()
	WHERE d.id IN (SELECT x.id FROM postern.domains x WHERE x.domain = p_domain AND x.account_id <> p_account AND x.proven_at IS NULL
		FOR UPDATE SKIP LOCKED);
	RETURN true;
END $$;
CREATE FUNCTION domains.lost() RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'another account has proven this name, or one above it; delete the domain, or ask an administrator' $$;
-- A claim is proven: its website is served, and what the account claims below it is proven, too. False: another account was first.
CREATE FUNCTION domains.accept(c postern.caller, p_id bigint, p_proof text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	d postern.domains;
BEGIN
	SELECT * INTO d FROM postern.domains x WHERE x.id = p_id AND x.status = 'unproven' FOR UPDATE;
	IF NOT FOUND OR (p_proof <> 'administrator' AND domains.held_elsewhere(d.domain, d.account_id)) OR NOT domains.hold(d.domain, d.account_id) THEN
		RETURN false;
	END IF;
	UPDATE postern.domains x SET status = 'active', proof = p_proof, proven_at = postern.clock(), proof_next_at = NULL, last_error = NULL,
		version = x.version + 1, updated_at = postern.clock()
	WHERE x.id = d.id RETURNING * INTO d;
	PERFORM domains.accept_below(c, d.domain, d.account_id);
	PERFORM websites.join(c, d);
	RETURN true;
END $$;
CREATE FUNCTION domains.accept_below(c postern.caller, p_domain text, p_account bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_ids bigint[] := ARRAY(SELECT x.id FROM postern.domains x WHERE x.account_id = p_account AND x.status = 'unproven'
		AND x.domain LIKE '%.' || p_domain ORDER BY length(x.domain), x.id FOR UPDATE SKIP LOCKED);
BEGIN
	PERFORM domains.accept(c, x, 'parent') FROM unnest(v_ids) x;
END $$;
-- What mail and certificates need.
CREATE FUNCTION domains.must_be_proven(d postern.domains) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF d.proven_at IS NULL THEN
		PERFORM gate.fail(409, format('%s is unproven; have it lead to this machine, or publish the TXT record _postern-challenge.%s with the '
			'domain''s proof_value, then ask for a look (prove), or ask an administrator to confirm it', d.domain, d.domain));
	END IF;
END $$;

-- Ask posternd to look. A look that waits is due at once.
CREATE FUNCTION domains.prove(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	v_job uuid;
BEGIN
	SELECT * INTO d FROM postern.domains x WHERE x.id = o::bigint;
	IF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the domain is being deleted');
	ELSIF d.proven_at IS NOT NULL THEN
		PERFORM gate.fail(409, 'the domain is proven already');
	ELSIF domains.held_elsewhere(d.domain, d.account_id) THEN
		PERFORM gate.fail(409, domains.lost());
	END IF;
	SELECT j.id INTO v_job FROM postern.jobs j WHERE j.resource = 'domains' AND j.object_id = o AND j.status IN ('queued', 'running');
	IF FOUND THEN
		UPDATE postern.jobs j SET run_at = postern.clock() WHERE j.id = v_job AND j.status = 'queued' AND j.run_at > postern.clock();
		PERFORM set_config('postern.job', v_job::text, true), pg_notify('postern_jobs', '');
	ELSE
		v_job := gate.work(c, d.account_id, 'domain.prove', 'domains', o);
	END IF;
	UPDATE postern.domains x SET job_id = v_job, version = x.version + 1, updated_at = postern.clock() WHERE x.id = d.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;
-- An administrator's word.
CREATE FUNCTION domains.confirm(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
BEGIN
	SELECT * INTO d FROM postern.domains x WHERE x.id = o::bigint;
	IF d.status <> 'unproven' THEN
		PERFORM gate.fail(409, CASE WHEN d.proven_at IS NULL THEN 'the domain is being deleted' ELSE 'the domain is proven already' END);
	ELSIF NOT domains.accept(c, d.id, 'administrator') THEN
		PERFORM gate.fail(409, 'another account has proven this name; delete its domain first');
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd's action is told; null: there is nothing to prove any more.
CREATE FUNCTION domains.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('domain', d.domain, 'value', d.proof_value) FROM postern.domains d
	WHERE d.id = j.object_id::bigint AND d.status = 'unproven' AND j.kind = 'domain.prove'
$$;
-- A look that found nothing is repeated after 1, 2, 4 … minutes, at most 6 hours apart, for a week.
CREATE FUNCTION domains.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	v_lost boolean;
BEGIN
	SELECT * INTO d FROM postern.domains x WHERE x.id = j.object_id::bigint AND x.status = 'unproven' FOR UPDATE;
	IF NOT FOUND OR j.kind <> 'domain.prove' OR (j.status = 'succeeded' AND j.result IS NULL)
	   OR (j.status = 'succeeded' AND domains.accept(work.clockwork(), d.id, j.result ->> 'proof')) THEN
		RETURN;
	END IF;
	v_lost := domains.held_elsewhere(d.domain, d.account_id);
	UPDATE postern.domains x SET version = x.version + 1, updated_at = postern.clock(), proof_looks = x.proof_looks + 1,
		last_error = CASE WHEN v_lost THEN domains.lost() WHEN j.status = 'cancelled' THEN 'the job that looks for a proof was cancelled' ELSE j.error END,
		proof_next_at = CASE WHEN NOT v_lost AND x.created_at > postern.clock() - interval '7 days'
			THEN postern.clock() + make_interval(mins => least(power(2, least(x.proof_looks, 9)), 360)::int) END
	WHERE x.id = d.id;
END $$;
-- One of each account at a time, so that nobody's claims hold up another's.
CREATE FUNCTION domains.due() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
BEGIN
	FOR d IN SELECT y.* FROM (SELECT DISTINCT ON (x.account_id) x.* FROM postern.domains x
		WHERE x.proof_next_at <= postern.clock() AND x.status = 'unproven' AND NOT EXISTS (
			SELECT FROM postern.jobs j WHERE j.resource = 'domains' AND j.object_id = x.id::text AND j.status IN ('queued', 'running'))
		ORDER BY x.account_id, x.proof_next_at) y ORDER BY y.proof_next_at LIMIT 20 LOOP
		IF NOT domains.below_own(d.domain, d.account_id) OR NOT domains.accept(work.clockwork(), d.id, 'parent') THEN
			UPDATE postern.domains x SET job_id = gate.work(work.clockwork(), d.account_id, 'domain.prove', 'domains', d.id::text) WHERE x.id = d.id;
		END IF;
	END LOOP;
END $$;

-- ---- domains ----

-- The domain that a body names, by number or by name, kept from being changed meanwhile: one that something may be served for.
CREATE FUNCTION domains.to_serve(b jsonb) RETURNS postern.domains
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	v_status text;
	v_id bigint := coalesce((b ->> 'domain_id')::bigint, domains.named(b ->> 'domain'));
BEGIN
	IF b ->> 'domain_id' IS NULL AND b ->> 'domain' IS NULL THEN
		PERFORM gate.invalid('domain', 'is required: give domain or domain_id');
	ELSIF v_id = 0 AND b ->> 'domain_id' IS NULL THEN
		PERFORM domains.not_one(b ->> 'domain');
	END IF;
	SELECT * INTO d FROM postern.domains x WHERE x.id = v_id AND x.domain = coalesce(b ->> 'domain', x.domain) FOR UPDATE;
	IF NOT FOUND AND b ? 'domain' AND b ? 'domain_id' THEN
		PERFORM gate.invalid('domain_id', 'is not the number of this domain; give one of the two');
	ELSIF NOT FOUND THEN
		PERFORM gate.invalid(CASE WHEN b ? 'domain' THEN 'domain' ELSE 'domain_id' END, 'there is no such domain; create it first');
	END IF;
	SELECT a.status INTO v_status FROM postern.accounts a WHERE a.id = d.account_id;
	IF v_status NOT IN ('active', 'pending') THEN
		PERFORM gate.fail(409, accounts.closed(v_status));
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
	v_proof text;
	v_managed boolean := coalesce((b ->> 'managed')::boolean, true); -- false: an import
	v_www boolean;
	v_alias_of bigint;
	made postern.domains;
BEGIN
	PERFORM accounts.check_quota(a.id, 'domains');
	IF EXISTS (SELECT FROM postern.domain_names n WHERE n.domain = v_domain)
	   OR (NOT gate.may_admin(c) AND domains.held_elsewhere(v_domain, a.id)) THEN
		PERFORM gate.fail(409, 'this domain is taken', jsonb_build_object('domain', 'is taken'));
	END IF;
	IF EXISTS (SELECT FROM postern.domains d WHERE d.account_id = a.id AND d.domain = v_domain) THEN
		PERFORM gate.fail(409, 'the account has this domain already, unproven; ask for a look (prove), or ask an administrator to confirm it',
			jsonb_build_object('domain', 'is there already, unproven'));
	END IF;
	v_proof := CASE WHEN gate.may_admin(c) THEN 'administrator' WHEN domains.below_own(v_domain, a.id) THEN 'parent'
		WHEN NOT domains.proof_required() THEN 'setting' ELSE 'none' END;
	IF v_type IS NULL THEN
		v_type := CASE WHEN EXISTS (SELECT FROM postern.domains d WHERE d.account_id = a.id AND d.type = 'primary')
		          THEN 'addon' ELSE 'primary' END;
	END IF;
	PERFORM domains.check_type(a.id, NULL, v_domain, v_type);
	IF v_managed THEN
		v_alias_of := domains.alias_target(a.id, v_domain, v_type, b, NULL);
	END IF;
	v_www := coalesce((b ->> 'www')::boolean, v_managed AND v_type <> 'subdomain' AND v_domain NOT LIKE 'www.%' AND NOT domains.below_own(v_domain, a.id));
	PERFORM domains.check_free(c, a.id, v_domain);
	v_root := coalesce(b ->> 'document_root', a.home || CASE v_type WHEN 'primary' THEN '/public_html' ELSE '/' || v_domain END);
	PERFORM domains.check_root(c, a, v_root);
	BEGIN
		IF v_proof <> 'none' AND NOT domains.hold(v_domain, a.id) THEN
			RAISE unique_violation;
		END IF;
		INSERT INTO postern.domains (account_id, domain, type, document_root, mail_enabled, www, alias_of, status, proof, proven_at, proof_next_at)
		VALUES (a.id, v_domain, v_type, v_root, coalesce((b ->> 'mail_enabled')::boolean, true), v_www, v_alias_of,
			CASE v_proof WHEN 'none' THEN 'unproven' ELSE 'active' END, v_proof, CASE WHEN v_proof <> 'none' THEN postern.clock() END,
			CASE v_proof WHEN 'none' THEN postern.clock() END)
		RETURNING * INTO made;
		IF b ? 'managed' OR b ? 'ssl_status' THEN -- an import
			UPDATE postern.domains x SET managed = gate.given(b, 'managed', x.managed), ssl_status = gate.given(b, 'ssl_status', x.ssl_status)
			WHERE x.id = made.id RETURNING * INTO made;
		END IF;
	EXCEPTION WHEN unique_violation THEN -- somebody else claimed it at the same moment
		PERFORM gate.fail(409, 'this domain is taken', jsonb_build_object('domain', 'is taken'));
	END;
	IF made.proven_at IS NULL THEN
		UPDATE postern.domains x SET job_id = gate.work(c, a.id, 'domain.prove', 'domains', made.id::text) WHERE x.id = made.id;
	ELSE
		PERFORM domains.accept_below(c, v_domain, a.id);
	END IF;
	IF made.alias_of IS NOT NULL THEN
		PERFORM websites.join(c, made);
	ELSIF made.managed AND coalesce((b ->> 'website')::boolean, false) THEN
		PERFORM websites.add(c, made, jsonb_build_object('_web_server', b -> '_web_server'));
	END IF;
	RETURN ROW(made.id, NULL)::postern.done;
END $$;

-- Below a domain that an administrator suspended, its account serves nothing more.
CREATE FUNCTION domains.check_free(c postern.caller, p_account bigint, p_domain text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_above text := (SELECT d.domain FROM postern.domains d WHERE d.account_id = p_account AND 'status' = ANY (d.held)
		AND ('.' || p_domain) LIKE '%.' || d.domain LIMIT 1);
BEGIN
	IF v_above IS NOT NULL THEN
		PERFORM gate.check_held(c, '{status}', 'domain', jsonb_build_object('domain', v_above));
	END IF;
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
-- The domain whose website serves one of type alias: that of alias_of, else the account's primary one. Null: it is of another type.
CREATE FUNCTION domains.alias_target(p_account bigint, p_domain text, p_type text, b jsonb, p_present bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_name text := b ->> 'alias_of';
	d postern.domains;
BEGIN
	IF p_type <> 'alias' THEN
		IF v_name IS NOT NULL THEN
			PERFORM gate.invalid('alias_of', 'belongs to domains of type alias; set type to alias, or leave it out');
		END IF;
		RETURN NULL;
	ELSIF v_name IS NULL AND p_present IS NOT NULL THEN
		RETURN p_present;
	END IF;
	SELECT * INTO d FROM postern.domains x WHERE x.account_id = p_account AND x.status <> 'deleting'
		AND CASE WHEN v_name IS NULL THEN x.type = 'primary' AND x.domain <> p_domain ELSE x.domain = v_name END;
	IF NOT FOUND AND v_name IS NULL THEN
		RETURN NULL; -- there is no such domain yet: it may be given later
	ELSIF NOT FOUND OR d.domain = p_domain OR d.alias_of IS NOT NULL THEN
		PERFORM gate.invalid('alias_of', 'must be a domain of the same account that is not of type alias itself');
	END IF;
	RETURN d.id;
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
	v_alias_of bigint;
BEGIN
	SELECT * INTO d FROM postern.domains WHERE id = o::bigint;
	SELECT * INTO a FROM postern.accounts WHERE id = d.account_id FOR SHARE;
	v_alias_of := d.alias_of;
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
	IF d.managed AND (v_type <> d.type OR b ->> 'alias_of' IS NOT NULL) THEN
		v_alias_of := domains.alias_target(d.account_id, d.domain, v_type, b, d.alias_of);
		IF v_alias_of IS NOT NULL AND EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = d.id) THEN
			PERFORM gate.fail(409, 'the domain has a website of its own; delete that first', jsonb_build_object('type', 'has a website of its own'));
		ELSIF v_alias_of IS NOT NULL AND EXISTS (SELECT FROM postern.domains x WHERE x.alias_of = d.id) THEN
			PERFORM gate.fail(409, 'domains of type alias belong to this one; give them another one first');
		END IF;
		IF v_alias_of IS DISTINCT FROM d.alias_of THEN
			PERFORM websites.leave(c, d);
		END IF;
	END IF;
	UPDATE postern.domains SET type = v_type, document_root = v_root, alias_of = v_alias_of,
		mail_enabled = gate.given(b, 'mail_enabled', d.mail_enabled),
		version = d.version + 1, updated_at = postern.clock()
	WHERE id = d.id;
	IF v_alias_of IS DISTINCT FROM d.alias_of AND v_alias_of IS NOT NULL THEN
		PERFORM websites.join(c, x) FROM postern.domains x WHERE x.id = d.id;
	END IF;
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
	PERFORM mailboxes.tell(o::bigint, NULL);
	PERFORM websites.follow(c, w.id) FROM postern.domains d JOIN postern.websites w ON w.account_id = d.account_id AND w.domain_id <> d.id
	WHERE d.id = o::bigint AND EXISTS (SELECT FROM unnest(w.aliases) n WHERE n = d.domain OR right(n, length(d.domain) + 1) = '.' || d.domain);
	PERFORM websites.follow_domain(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION domains.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT domains.set_status(c, o, 'active', 'suspended') $$;
CREATE FUNCTION domains.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT domains.set_status(c, o, 'suspended', 'active') $$;

-- These domains of an account with all that goes with them (13_loss.sql), what holds data first.
CREATE FUNCTION domains.things(p_account bigint, p_domains bigint[]) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_agg(t.x ORDER BY t.n, t.name), '[]') FROM (
		SELECT 1, m.address, gate.thing('mailboxes', m.id::text, m.address, m.used_bytes) FROM postern.mailboxes m
			WHERE m.account_id = p_account AND m.domain_id = ANY (p_domains)
		UNION ALL SELECT 2, d.domain, gate.thing('domains', d.id::text, d.domain) FROM postern.domains d
			WHERE d.account_id = p_account AND d.id = ANY (p_domains)
		UNION ALL SELECT 3, f.address, gate.thing('forwarders', f.id::text, f.address) FROM postern.forwarders f
			WHERE f.account_id = p_account AND f.domain_id = ANY (p_domains)
		UNION ALL SELECT 4, d.domain, gate.thing('websites', w.id::text, d.domain) FROM postern.websites w JOIN postern.domains d ON d.id = w.domain_id
			WHERE w.account_id = p_account AND w.domain_id = ANY (p_domains)
		UNION ALL SELECT 5, d.domain, gate.thing('ssl', s.id::text, d.domain) FROM postern.certificates s JOIN postern.domains d ON d.id = s.domain_id
			WHERE s.account_id = p_account AND s.domain_id = ANY (p_domains)
	) t (n, name, x)
$$;

-- What a domain still has goes with it only when asked for (?cascade=true); else the answer lists it.
CREATE FUNCTION domains."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains;
	v_all bigint[];
	v_below text[];
	v_mailboxes text[];
	v_forwarders text[];
	v_goes jsonb;
BEGIN
	SELECT * INTO d FROM postern.domains WHERE id = o::bigint;
	IF d.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the domain is being deleted already');
	END IF;
	SELECT array_agg(x.id), coalesce(array_agg(x.domain ORDER BY x.domain) FILTER (WHERE x.id <> d.id), '{}') INTO v_all, v_below
	FROM postern.domains x
	WHERE x.account_id = d.account_id AND (x.id = d.id OR (x.type = 'subdomain' AND x.domain LIKE '%.' || d.domain) OR x.alias_of = d.id);
	v_mailboxes := ARRAY(SELECT m.address FROM postern.mailboxes m
		WHERE m.account_id = d.account_id AND m.domain_id = ANY (v_all) ORDER BY 1);
	v_forwarders := ARRAY(SELECT f.address FROM postern.forwarders f
		WHERE f.account_id = d.account_id AND f.domain_id = ANY (v_all) ORDER BY 1);
	IF cardinality(v_below || v_mailboxes || v_forwarders) > 0 AND NOT coalesce((b ->> 'cascade')::boolean, false) THEN
		PERFORM gate.fail(409, format('the domain still has %s; delete them first or use cascade=true', gate.counted(
			'{subdomains or aliases, mailboxes, forwarders}', ARRAY[cardinality(v_below), cardinality(v_mailboxes), cardinality(v_forwarders)])), jsonb_strip_nulls(jsonb_build_object(
			'subdomains', gate.some_of(v_below[:20], cardinality(v_below)),
			'mailboxes', gate.some_of(v_mailboxes[:20], cardinality(v_mailboxes)),
			'forwarders', gate.some_of(v_forwarders[:20], cardinality(v_forwarders)))));
	END IF;
	v_goes := domains.things(d.account_id, v_all);
	PERFORM mailboxes.remove(c, m.id) FROM postern.mailboxes m WHERE m.account_id = d.account_id AND m.domain_id = ANY (v_all);
	DELETE FROM postern.forwarders f WHERE f.account_id = d.account_id AND f.domain_id = ANY (v_all);
	UPDATE postern.domains x SET status = 'deleting', version = x.version + 1, updated_at = postern.clock()
	WHERE x.account_id = d.account_id AND x.id = ANY (v_all);
	PERFORM websites.leave(c, x) FROM postern.domains x WHERE x.id = ANY (v_all) AND x.alias_of <> ALL (v_all);
	-- one that has a website goes when that is gone; the domain's own is the last, so its job is the answer
	PERFORM websites.follow_domain(c, x.id, 'website.remove') FROM (SELECT y.id FROM unnest(v_all) y (id) ORDER BY y.id = d.id, y.id) x;
	PERFORM ssl.remove(c, s.id) FROM postern.certificates s WHERE s.domain_id = ANY (v_all) ORDER BY s.domain_id = d.id, s.id;
	PERFORM domains.finish_delete(x.id) FROM unnest(v_all) x (id);
	RETURN gate.deleted(b, o, 'domain', CASE WHEN v_mailboxes <> '{}' THEN d.domain END, v_goes); -- files of a website stay
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
	AND NOT EXISTS (SELECT FROM postern.websites w WHERE w.account_id = gone.account_id AND n.domain = ANY (w.aliases))
$$;

RESET ROLE;
ALTER FUNCTION domains.held_elsewhere(text, bigint) OWNER TO postern_gate;
ALTER FUNCTION domains.hold(text, bigint) OWNER TO postern_operator;
REVOKE INSERT ON postern.domain_names FROM postern_tenant; -- names are held by domains.hold alone
ALTER FUNCTION domains.accept(postern.caller, bigint, text) OWNER TO postern_operator;
GRANT SELECT ON postern.domain_names TO postern_gate;
