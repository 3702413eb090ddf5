-- ssl: certificates of domains. Files and the certificate authority are the worker's; what came of it is noted here.
DROP SCHEMA IF EXISTS ssl CASCADE;
CREATE SCHEMA ssl AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- When a third of its time is left.
CREATE FUNCTION ssl.due_at(x postern.certificates) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$ SELECT x.not_after - (x.not_after - x.not_before) / 3 $$;
-- When posternd has it issued by itself: the next one when a third of its time is left; after a failure, and for names that were left out,
-- after pauses of 1, 2, 4 … 24 hours, as a certificate authority that is asked too often refuses. Null: never.
CREATE FUNCTION ssl.next_attempt(x postern.certificates) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN x.source <> 'acme' OR NOT x.auto_renew OR x.status IN ('none', 'pending', 'deleting') THEN NULL
		WHEN x.failed_at IS NOT NULL THEN x.failed_at + make_interval(hours => least(power(2, least(greatest(x.failures, 1), 6) - 1), 24)::int)
		ELSE ssl.due_at(x) END
$$;

CREATE VIEW ssl.item AS
SELECT x.id, x.domain_id, d.domain, x.account_id, a.username AS account, x.source, coalesce(x.names, x.wanted) AS names, x.left_out, x.subject, x.issuer,
       x.serial, x.not_before, x.not_after, x.days_left, x.fingerprint_sha256, x.key_algorithm, x.key_type, x.chain_state, x.status,
       gate.held_by(x.held) AS held_by, x.auto_renew, ssl.next_attempt(x) AS next_attempt_at, x.last_error, x.job_id, x.created_at, x.updated_at, x.version,
       x.account_id AS tenant
FROM postern.certificates x
LEFT JOIN postern.domains d ON d.id = x.domain_id
LEFT JOIN postern.accounts a ON a.id = x.account_id;

-- Which certificate a name stands for: see domains.named.
CREATE FUNCTION ssl.named(p_domain text) RETURNS bigint
LANGUAGE sql STABLE AS $$
	SELECT CASE d.id WHEN 0 THEN 0 ELSE (SELECT x.id FROM postern.certificates x WHERE x.domain_id = d.id) END FROM domains.named(p_domain) d (id)
$$;

-- Who has a domain decides on certificates for it, for what is below it, and for the further names of its website.
CREATE FUNCTION ssl.may_have(d postern.domains, p_name text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT p_name = d.domain OR (p_name LIKE '%.' || d.domain AND NOT domains.held_elsewhere(p_name, d.account_id))
	    OR EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = d.id AND p_name = ANY (w.aliases))
$$;
-- The names to ask for, the domain first: those that were given and are still the account's, else what its website serves now.
CREATE FUNCTION ssl.names_now(x postern.certificates, d postern.domains) RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT (ARRAY[d.domain] || CASE WHEN x.names_given THEN ARRAY(SELECT n FROM unnest(x.wanted) WITH ORDINALITY y (n, i)
			WHERE n <> d.domain AND ssl.may_have(d, n) ORDER BY i)
		ELSE coalesce((SELECT websites.served(w) FROM postern.websites w WHERE w.domain_id = d.id AND w.status <> 'deleting'), '{}') END)[:100]
$$;
-- Names of a body.
CREATE FUNCTION ssl.names_of(d postern.domains, b jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_names text[] := gate.given_list(b, 'names', '{}');
	v_bad text := (SELECT n FROM unnest(v_names) n WHERE NOT ssl.may_have(d, n) LIMIT 1);
BEGIN
	IF v_bad IS NOT NULL THEN
		PERFORM gate.invalid('names', format('%s is neither %s, nor a name below it, nor an alias of its website', v_bad, d.domain));
	END IF;
	v_names := ARRAY[d.domain] || ARRAY(SELECT n FROM unnest(v_names) WITH ORDINALITY x (n, i) WHERE n <> d.domain GROUP BY n ORDER BY min(i));
	IF cardinality(v_names) > 100 THEN
		PERFORM gate.invalid('names', 'are more than 100 with the domain; a certificate authority takes no more');
	END IF;
	RETURN v_names;
END $$;
-- Does an uploaded certificate name the domain? A wildcard stands for one label.
CREATE FUNCTION ssl.check_cover(d postern.domains, p_names text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF NOT p_names && ARRAY[d.domain, '*.' || substr(d.domain, strpos(d.domain, '.') + 1)] THEN
		PERFORM gate.invalid('certificate', format('is for %s, not for %s; upload one that names it', array_to_string(p_names[:5], ', '), d.domain));
	END IF;
	RETURN p_names;
END $$;
-- How it stands by the clock; null where there is none in force. Untrusted: clients refuse it. Expiring: it is time for the next.
CREATE FUNCTION ssl.state(x postern.certificates) RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN x.not_after <= postern.clock() THEN 'expired'
		WHEN x.not_after IS NOT NULL AND x.chain_state IS DISTINCT FROM 'valid' THEN 'untrusted'
		WHEN x.not_after - postern.clock() <= least((x.not_after - x.not_before) / 3, interval '30 days') THEN 'expiring'
		WHEN x.not_after IS NOT NULL THEN 'active' END
$$;
CREATE FUNCTION ssl.days_left(x postern.certificates) RETURNS int
LANGUAGE sql VOLATILE AS $$ SELECT greatest(floor(date_part('epoch', x.not_after - postern.clock()) / 86400), 0)::int $$;
-- The domain says the same.
CREATE FUNCTION ssl.tell_domain(p_domain bigint, p_status text) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.domains d SET ssl_status = p_status, version = d.version + 1, updated_at = postern.clock()
	WHERE d.id = p_domain AND d.ssl_status <> p_status AND p_status <> 'deleting'
$$;

-- Have it issued or put in place; how it stands meanwhile is what is served.
CREATE FUNCTION ssl.begin(c postern.caller, x postern.certificates, p_kind text, p_secret text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	x.status := CASE WHEN x.not_after IS NULL THEN 'pending' ELSE x.status END;
	IF x.source = 'acme' AND NOT x.names_given THEN
		x.wanted := ssl.names_now(x, d) FROM postern.domains d WHERE d.id = x.domain_id;
	END IF;
	UPDATE postern.certificates y SET status = x.status, source = x.source, wanted = x.wanted, names_given = x.names_given,
		key_algorithm = x.key_algorithm, auto_renew = x.auto_renew,
		job_id = gate.work(c, x.account_id, p_kind, 'ssl', x.id::text, '{}', decode(p_secret, 'hex')),
		version = y.version + 1, updated_at = postern.clock()
	WHERE y.id = x.id RETURNING * INTO x;
	IF p_kind = 'ssl.issue' THEN -- the authority asks the website, which is to know its names by then
		UPDATE postern.jobs j SET run_at = postern.clock() + interval '10 min'
		WHERE j.id = x.job_id AND EXISTS (SELECT FROM postern.websites w JOIN postern.jobs k ON k.id = w.job_id
			WHERE w.domain_id = x.domain_id AND w.status = 'pending' AND k.status IN ('queued', 'running'));
	END IF;
	PERFORM ssl.tell_domain(x.domain_id, x.status);
END $$;

CREATE FUNCTION ssl."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains := domains.to_serve(b);
	x postern.certificates;
BEGIN
	PERFORM domains.must_be_proven(d);
	IF d.alias_of IS NOT NULL THEN
		PERFORM gate.fail(409, format('%1$s is of type alias: the certificate of %2$s is for it, too; have that one issued', d.domain,
			(SELECT x.domain FROM postern.domains x WHERE x.id = d.alias_of)));
	ELSIF EXISTS (SELECT FROM postern.certificates y WHERE y.domain_id = d.id) THEN
		PERFORM gate.fail(409, 'the domain has a certificate already; renew or change that', jsonb_build_object('domain', 'has a certificate'));
	END IF;
	IF b ? '_secret' AND b ? 'key_algorithm' THEN
		PERFORM gate.invalid('key_algorithm', 'is that of the uploaded key; leave it out');
	END IF;
	INSERT INTO postern.certificates (version, account_id, domain_id, source, wanted, names_given, key_algorithm, auto_renew) -- begin() makes it version 1
	VALUES (0, d.account_id, d.id, CASE WHEN b ? '_secret' THEN 'upload' ELSE 'acme' END,
		CASE WHEN b ? '_secret' THEN ssl.check_cover(d, gate.given_list(b, '_names', '{}')) ELSE ssl.names_of(d, b) END,
		coalesce(jsonb_typeof(b -> 'names') = 'array', false), coalesce(b ->> 'key_algorithm', 'ecdsa'), coalesce((b ->> 'auto_renew')::boolean, true))
	RETURNING * INTO x;
	PERFORM ssl.begin(c, x, CASE x.source WHEN 'upload' THEN 'ssl.install' ELSE 'ssl.issue' END, b ->> '_secret');
	RETURN ROW(x.id, NULL)::postern.done;
END $$;

CREATE FUNCTION ssl."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
	d postern.domains;
	v_kind text;
BEGIN
	SELECT * INTO x FROM postern.certificates y WHERE y.id = o::bigint;
	SELECT * INTO d FROM postern.domains y WHERE y.id = x.domain_id;
	IF x.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the certificate is being deleted');
	END IF;
	x.auto_renew := gate.given(b, 'auto_renew', x.auto_renew);
	IF b ? '_secret' THEN
		x.source := 'upload';
		x.wanted := ssl.check_cover(d, gate.given_list(b, '_names', '{}'));
		v_kind := 'ssl.install';
		IF b ? 'key_algorithm' THEN
			PERFORM gate.invalid('key_algorithm', 'is that of the uploaded key; leave it out');
		END IF;
	ELSIF b ->> 'source' = 'upload' AND x.source <> 'upload' THEN
		PERFORM gate.invalid('certificate', 'is required: give certificate and private_key, too');
	ELSIF b ->> 'source' = 'acme' AND x.source <> 'acme' OR x.source = 'acme' AND (b ? 'names'
	      OR gate.given(b, 'key_algorithm', x.key_algorithm) <> x.key_algorithm) THEN
		x.names_given := CASE WHEN b ? 'names' THEN jsonb_typeof(b -> 'names') = 'array' ELSE x.source = 'acme' AND x.names_given END;
		x.source := 'acme';
		x.wanted := CASE WHEN b ? 'names' OR NOT x.names_given THEN ssl.names_of(d, b) ELSE x.wanted END;
		x.key_algorithm := gate.given(b, 'key_algorithm', x.key_algorithm);
		v_kind := 'ssl.issue';
	ELSIF b ? 'names' THEN
		PERFORM gate.invalid('names', 'are those of the uploaded certificate; upload another one, or set source to acme');
	ELSIF x.source <> 'acme' AND b ? 'key_algorithm' THEN
		PERFORM gate.invalid('key_algorithm', 'is that of the uploaded key; upload another one, or set source to acme');
	END IF;
	IF v_kind IS NOT NULL THEN
		PERFORM ssl.begin(c, x, v_kind, b ->> '_secret');
	ELSE
		UPDATE postern.certificates y SET auto_renew = x.auto_renew, version = y.version + 1, updated_at = postern.clock() WHERE y.id = x.id;
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION ssl.has_work(p_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM postern.jobs j WHERE j.resource = 'ssl' AND j.object_id = p_id::text AND j.status IN ('queued', 'running'))
$$;
CREATE FUNCTION ssl.renew(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
BEGIN
	SELECT * INTO x FROM postern.certificates y WHERE y.id = o::bigint;
	IF x.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the certificate is being deleted');
	ELSIF x.source <> 'acme' THEN
		PERFORM gate.fail(409, 'the certificate was uploaded; upload the next one (change it), or set its source to acme');
	ELSIF ssl.has_work(x.id) THEN
		PERFORM gate.fail(409, format('a job works on it already: %s', x.job_id));
	END IF;
	PERFORM ssl.begin(c, x, 'ssl.renew', NULL);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- Files go when the web server no longer names them: after the job of the domain's website, if it has one. Should that never
-- end, the removal is tried all the same; the server's own test then says no.
CREATE FUNCTION ssl.remove(c postern.caller, p_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
	v_job uuid;
BEGIN
	UPDATE postern.certificates y SET status = 'deleting', version = y.version + 1, updated_at = postern.clock()
	WHERE y.id = p_id RETURNING * INTO x;
	IF EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = x.domain_id AND w.status <> 'deleting') THEN
		PERFORM websites.follow_domain(c, x.domain_id);
	END IF;
	v_job := gate.work(c, x.account_id, 'ssl.remove', 'ssl', p_id::text);
	UPDATE postern.certificates y SET job_id = v_job WHERE y.id = p_id;
	UPDATE postern.jobs j SET run_at = postern.clock() + interval '10 min'
	WHERE j.id = v_job AND EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = x.domain_id);
END $$;
-- A job of the domain's website has ended: what waited for it is due.
CREATE FUNCTION ssl.site_settled(p_domain bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE postern.jobs j SET run_at = postern.clock() FROM postern.certificates x
	WHERE x.domain_id = p_domain AND j.id = x.job_id AND j.status = 'queued' AND j.attempts = 0 AND j.run_at > postern.clock();
	IF FOUND THEN
		PERFORM pg_notify('postern_jobs', '');
	END IF;
END $$;
-- The domain's website is served as it is to be: names that its certificate was never asked for get one that has them. What the account's
-- plan does not allow now is left to the clock.
CREATE FUNCTION ssl.follow_names(p_domain bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
	v_new text[];
	v_max bigint;
BEGIN
	SELECT y.* INTO x FROM postern.certificates y WHERE y.domain_id = p_domain AND y.source = 'acme' AND y.auto_renew AND NOT y.names_given
		AND y.status NOT IN ('none', 'deleting') FOR UPDATE;
	IF NOT FOUND OR ssl.has_work(x.id) THEN
		RETURN;
	END IF;
	v_new := ARRAY(SELECT n FROM postern.domains d, unnest(ssl.names_now(x, d)) n WHERE d.id = p_domain AND n <> ALL (x.wanted));
	IF v_new = '{}' THEN
		RETURN;
	END IF;
	v_max := (SELECT a.max_certificate_orders FROM postern.accounts a WHERE a.id = x.account_id);
	IF accounts.used(x.account_id, 'certificate_orders') >= v_max THEN
		UPDATE postern.certificates y SET failures = greatest(y.failures, 1), failed_at = postern.clock(), version = y.version + 1,
			updated_at = postern.clock(), last_error = format('not in it yet: %s; the account''s plan allows %s orders of certificates within seven days',
				array_to_string(v_new, ', '), v_max)
		WHERE y.id = x.id;
	ELSE
		INSERT INTO postern.certificate_orders (account_id) VALUES (x.account_id);
		PERFORM ssl.begin(work.clockwork(), x, 'ssl.issue', NULL);
	END IF;
END $$;
CREATE FUNCTION ssl."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT x.status FROM postern.certificates x WHERE x.id = o::bigint) = 'deleting' THEN
		PERFORM gate.fail(409, 'the certificate is being deleted already');
	END IF;
	PERFORM ssl.remove(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd's action is told. Names are those of now.
CREATE FUNCTION ssl.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('domain', d.domain, 'web_server', (SELECT w.web_server FROM postern.websites w WHERE w.domain_id = d.id))
		|| CASE WHEN j.kind IN ('ssl.issue', 'ssl.renew')
			THEN jsonb_build_object('names', to_jsonb(ssl.names_now(x, d)), 'key_algorithm', x.key_algorithm) ELSE '{}' END
	FROM postern.certificates x JOIN postern.domains d ON d.id = x.domain_id
	WHERE x.id = j.object_id::bigint AND CASE j.kind WHEN 'ssl.remove' THEN x.status = 'deleting'
		WHEN 'ssl.install' THEN x.status <> 'deleting' AND x.source = 'upload' ELSE x.status <> 'deleting' AND x.source = 'acme' END
$$;

CREATE FUNCTION ssl.left_out_text(p_left_out jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT 'left out: ' || string_agg(format('%s (%s)', e ->> 'name', e ->> 'reason'), '; ' ORDER BY i)
		|| '; each name must lead to this machine; it is tried again' FROM jsonb_array_elements(p_left_out) WITH ORDINALITY x (e, i)
$$;
CREATE FUNCTION ssl.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
	v_before text[];
	v_left_out jsonb := nullif(j.result -> 'left_out', '[]');
BEGIN
	SELECT * INTO x FROM postern.certificates y WHERE y.id = j.object_id::bigint FOR UPDATE;
	IF NOT FOUND OR j.result IS NULL AND j.status = 'succeeded' AND j.kind <> 'ssl.remove' THEN
		RETURN; -- there was nothing to do
	ELSIF j.kind = 'ssl.remove' AND j.status = 'succeeded' THEN
		IF x.status <> 'deleting' THEN
			RETURN;
		END IF;
		DELETE FROM postern.certificates y WHERE y.id = x.id;
		PERFORM ssl.tell_domain(x.domain_id, 'none');
		PERFORM domains.finish_delete(x.domain_id);
		RETURN;
	ELSIF j.status = 'succeeded' THEN
		v_before := x.names;
		x.names := ARRAY(SELECT jsonb_array_elements_text(j.result -> 'names'));
		x.not_before := (j.result ->> 'not_before')::timestamptz;
		x.not_after := (j.result ->> 'not_after')::timestamptz;
		x.chain_state := j.result ->> 'chain_state';
		UPDATE postern.certificates y SET names = x.names, not_before = x.not_before, not_after = x.not_after, days_left = ssl.days_left(x),
			subject = j.result ->> 'subject', issuer = j.result ->> 'issuer', serial = j.result ->> 'serial',
			fingerprint_sha256 = j.result ->> 'fingerprint_sha256', key_type = j.result ->> 'key_type', chain_state = j.result ->> 'chain_state',
			left_out = v_left_out, last_error = ssl.left_out_text(v_left_out), failures = CASE WHEN v_left_out IS NULL THEN 0 ELSE y.failures + 1 END,
			failed_at = CASE WHEN v_left_out IS NOT NULL THEN postern.clock() END,
			status = CASE WHEN y.status = 'deleting' THEN y.status ELSE ssl.state(x) END, version = y.version + 1, updated_at = postern.clock()
		WHERE y.id = x.id RETURNING * INTO x;
		IF v_before IS DISTINCT FROM x.names AND x.status <> 'deleting' THEN -- the website speaks TLS for these names from now on
			PERFORM websites.follow(work.clockwork(), w.id) FROM postern.websites w WHERE w.domain_id = x.domain_id;
		END IF;
	ELSIF x.job_id = j.id THEN
		UPDATE postern.certificates y SET failures = y.failures + 1, failed_at = postern.clock(),
			last_error = CASE j.status WHEN 'cancelled' THEN 'the job was cancelled' ELSE j.error END,
			status = coalesce(ssl.state(y), CASE j.status WHEN 'cancelled' THEN 'none' ELSE 'error' END),
			version = y.version + 1, updated_at = postern.clock()
		WHERE y.id = x.id RETURNING * INTO x;
		IF j.kind = 'ssl.remove' THEN
			UPDATE postern.domains d SET status = 'error', last_error = 'its certificate could not be removed: ' || x.last_error,
				version = d.version + 1, updated_at = postern.clock()
			WHERE d.id = x.domain_id AND d.status = 'deleting';
		END IF;
	END IF;
	PERFORM ssl.tell_domain(x.domain_id, x.status);
END $$;

-- By the clock: how they stand, and what is due to be issued.
CREATE FUNCTION ssl.due() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
BEGIN
	FOR x IN SELECT * FROM postern.certificates y WHERE y.status IN ('active', 'expiring', 'expired', 'untrusted')
	         AND (y.status, y.days_left) IS DISTINCT FROM (ssl.state(y), ssl.days_left(y)) ORDER BY y.id FOR UPDATE SKIP LOCKED LOOP
		UPDATE postern.certificates y SET status = ssl.state(y), days_left = ssl.days_left(y), version = y.version + 1, updated_at = postern.clock()
		WHERE y.id = x.id RETURNING * INTO x;
		PERFORM ssl.tell_domain(x.domain_id, x.status);
	END LOOP;
	FOR x IN SELECT * FROM postern.certificates y WHERE ssl.next_attempt(y) <= postern.clock()
	         AND NOT ssl.has_work(y.id) ORDER BY y.not_after NULLS FIRST LIMIT 20 FOR UPDATE SKIP LOCKED LOOP
		PERFORM ssl.begin(work.clockwork(), x, CASE WHEN ssl.due_at(x) <= postern.clock() THEN 'ssl.renew' ELSE 'ssl.issue' END, NULL);
	END LOOP;
END $$;

RESET ROLE;
