-- ssl: certificates of domains. Files and the certificate authority are the worker's; what came of it is noted here.
DROP SCHEMA IF EXISTS ssl CASCADE;
CREATE SCHEMA ssl AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW ssl.item AS
SELECT x.id, x.domain_id, d.domain, x.account_id, a.username AS account, x.source, coalesce(x.names, x.wanted) AS names, x.subject, x.issuer,
       x.serial, x.not_before, x.not_after, x.days_left, x.fingerprint_sha256, x.key_type, x.chain_state, x.status, x.auto_renew,
       x.last_error, x.job_id, x.created_at, x.updated_at, x.version, x.account_id AS tenant
FROM postern.certificates x
LEFT JOIN postern.domains d ON d.id = x.domain_id
LEFT JOIN postern.accounts a ON a.id = x.account_id;

-- Who has a domain decides on certificates for it, for what is below it, and for the further names of its website.
CREATE FUNCTION ssl.may_have(d postern.domains, p_name text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT p_name = d.domain OR (p_name LIKE '%.' || d.domain AND NOT domains.held_elsewhere(p_name, d.account_id))
	    OR EXISTS (SELECT FROM postern.websites w WHERE w.domain_id = d.id AND p_name = ANY (w.aliases))
$$;
-- The names to ask for: the domain first. Default: with those of its website.
CREATE FUNCTION ssl.names_of(d postern.domains, b jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_names text[] := CASE WHEN b ? 'names' THEN gate.given_list(b, 'names', '{}')
		ELSE coalesce((SELECT w.aliases FROM postern.websites w WHERE w.domain_id = d.id), '{}') END;
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
-- How it stands by the clock; null where there is none in force. Expiring: it is time for the next.
CREATE FUNCTION ssl.state(x postern.certificates) RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN x.not_after <= postern.clock() THEN 'expired'
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
	UPDATE postern.certificates y SET status = x.status, source = x.source, wanted = x.wanted, auto_renew = x.auto_renew,
		job_id = gate.work(c, x.account_id, p_kind, 'ssl', x.id::text, '{}', decode(p_secret, 'hex')),
		version = y.version + 1, updated_at = postern.clock()
	WHERE y.id = x.id;
	PERFORM ssl.tell_domain(x.domain_id, x.status);
END $$;

CREATE FUNCTION ssl."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains := domains.to_serve(b);
	x postern.certificates;
BEGIN
	IF EXISTS (SELECT FROM postern.certificates y WHERE y.domain_id = d.id) THEN
		PERFORM gate.fail(409, 'the domain has a certificate already; renew or change that', jsonb_build_object('domain', 'has a certificate'));
	END IF;
	INSERT INTO postern.certificates (version, account_id, domain_id, source, wanted, auto_renew) -- begin() makes it version 1
	VALUES (0, d.account_id, d.id, CASE WHEN b ? '_secret' THEN 'upload' ELSE 'acme' END,
		CASE WHEN b ? '_secret' THEN ssl.check_cover(d, gate.given_list(b, '_names', '{}')) ELSE ssl.names_of(d, b) END,
		coalesce((b ->> 'auto_renew')::boolean, true))
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
	ELSIF b ->> 'source' = 'upload' AND x.source <> 'upload' THEN
		PERFORM gate.invalid('certificate', 'is required: give certificate and private_key, too');
	ELSIF b ->> 'source' = 'acme' AND x.source <> 'acme' OR x.source = 'acme' AND b ? 'names' THEN
		x.source := 'acme';
		x.wanted := ssl.names_of(d, b);
		v_kind := 'ssl.issue';
	ELSIF b ? 'names' THEN
		PERFORM gate.invalid('names', 'are those of the uploaded certificate; upload another one, or set source to acme');
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
-- A job of the domain's website has ended.
CREATE FUNCTION ssl.site_settled(p_domain bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE postern.jobs j SET run_at = postern.clock() FROM postern.certificates x
	WHERE x.domain_id = p_domain AND x.status = 'deleting' AND j.id = x.job_id AND j.status = 'queued' AND j.attempts = 0;
	IF FOUND THEN
		PERFORM pg_notify('postern_jobs', '');
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

-- What posternd's action is told. Names that are no longer the account's are left out.
CREATE FUNCTION ssl.task(j postern.jobs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('domain', d.domain, 'web_server', (SELECT w.web_server FROM postern.websites w WHERE w.domain_id = d.id))
		|| CASE WHEN j.kind IN ('ssl.issue', 'ssl.renew')
			THEN jsonb_build_object('names', (SELECT jsonb_agg(n ORDER BY i) FROM unnest(x.wanted) WITH ORDINALITY y (n, i) WHERE ssl.may_have(d, n))) ELSE '{}' END
	FROM postern.certificates x JOIN postern.domains d ON d.id = x.domain_id
	WHERE x.id = j.object_id::bigint AND CASE j.kind WHEN 'ssl.remove' THEN x.status = 'deleting'
		WHEN 'ssl.install' THEN x.status <> 'deleting' AND x.source = 'upload' ELSE x.status <> 'deleting' AND x.source = 'acme' END
$$;

CREATE FUNCTION ssl.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
	v_first boolean;
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
		v_first := x.not_after IS NULL;
		x.names := ARRAY(SELECT jsonb_array_elements_text(j.result -> 'names'));
		x.not_before := (j.result ->> 'not_before')::timestamptz;
		x.not_after := (j.result ->> 'not_after')::timestamptz;
		UPDATE postern.certificates y SET names = x.names, not_before = x.not_before, not_after = x.not_after, days_left = ssl.days_left(x),
			subject = j.result ->> 'subject', issuer = j.result ->> 'issuer', serial = j.result ->> 'serial',
			fingerprint_sha256 = j.result ->> 'fingerprint_sha256', key_type = j.result ->> 'key_type', chain_state = j.result ->> 'chain_state',
			last_error = NULL, failures = 0, failed_at = NULL,
			status = CASE WHEN y.status = 'deleting' THEN y.status ELSE ssl.state(x) END, version = y.version + 1, updated_at = postern.clock()
		WHERE y.id = x.id RETURNING * INTO x;
		IF v_first AND x.status <> 'deleting' THEN -- the website has it in its virtual host from now on
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

-- By the clock: how they stand, and the next ones when a third of their time is left. After a failure that is tried again after
-- pauses of 1, 2, 4 … 24 hours; a certificate authority that is asked too often refuses.
CREATE FUNCTION ssl.due() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	x postern.certificates;
BEGIN
	FOR x IN SELECT * FROM postern.certificates y WHERE y.status IN ('active', 'expiring', 'expired')
	         AND (y.status, y.days_left) IS DISTINCT FROM (ssl.state(y), ssl.days_left(y)) ORDER BY y.id FOR UPDATE SKIP LOCKED LOOP
		UPDATE postern.certificates y SET status = ssl.state(y), days_left = ssl.days_left(y), version = y.version + 1, updated_at = postern.clock()
		WHERE y.id = x.id RETURNING * INTO x;
		PERFORM ssl.tell_domain(x.domain_id, x.status);
	END LOOP;
	FOR x IN SELECT * FROM postern.certificates y WHERE y.source = 'acme' AND y.auto_renew AND y.status IN ('active', 'expiring', 'expired')
	         AND y.not_after - (y.not_after - y.not_before) / 3 <= postern.clock()
	         AND (y.failed_at IS NULL OR y.failed_at <= postern.clock() - make_interval(hours => least(power(2, least(y.failures, 6) - 1), 24)::int))
	         AND NOT ssl.has_work(y.id) ORDER BY y.not_after LIMIT 20 FOR UPDATE SKIP LOCKED LOOP
		PERFORM ssl.begin(work.clockwork(), x, 'ssl.renew', NULL);
	END LOOP;
END $$;

RESET ROLE;
