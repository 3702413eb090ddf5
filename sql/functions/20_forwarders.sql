-- forwarders: addresses whose mail goes on to others. Beside a mailbox of the same address, that keeps a copy. "@example.org"
-- takes what is sent to any other address of the domain.
DROP SCHEMA IF EXISTS forwarders CASCADE;
CREATE SCHEMA forwarders AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE VIEW forwarders.item AS
SELECT f.id, f.address, f.domain_id, d.domain, f.account_id, a.username AS account, f.destinations,
       CASE WHEN f.status = 'active' AND 'suspended' IN (d.status, a.status) THEN 'suspended' ELSE f.status END AS status,
       gate.held_by(f.held) AS held_by, f.last_error,
       f.created_at, f.updated_at, f.version, f.account_id AS tenant
FROM postern.forwarders f
LEFT JOIN postern.domains d ON d.id = f.domain_id
LEFT JOIN postern.accounts a ON a.id = f.account_id;

-- The destination by which mail would come back, or null. Other accounts' forwarders count, too; a mailbox on the way ends it.
CREATE FUNCTION forwarders.circle(p_address text, p_destinations text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE way (first, address) AS (
		SELECT x, lower(x) FROM unnest(p_destinations) x
		UNION
		SELECT w.first, lower(x) FROM way w
		JOIN postern.forwarders f ON f.address = w.address AND w.address <> p_address, unnest(f.destinations) x
		WHERE NOT EXISTS (SELECT FROM postern.mailboxes m WHERE m.address = w.address)
	)
	SELECT min(first) FROM way WHERE way.address = p_address
$$;
CREATE FUNCTION forwarders.check_destinations(p_address text, p_destinations text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_back text;
BEGIN
	IF cardinality(p_destinations) = 0 THEN
		PERFORM gate.invalid('destinations', 'must name at least one address');
	ELSIF p_address IN (SELECT lower(x) FROM unnest(p_destinations) x) THEN
		PERFORM gate.invalid('destinations', 'must not name the forwarder itself; a mailbox of this address keeps its copy anyway');
	END IF;
	v_back := forwarders.circle(p_address, p_destinations);
	IF v_back IS NOT NULL THEN
		PERFORM gate.invalid('destinations', format('%s sends mail back to %s: it would go round for ever', v_back, p_address));
	END IF;
END $$;
-- Each once, in the order given.
CREATE FUNCTION forwarders.distinct_of(p_destinations text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(array_agg(x ORDER BY n), '{}') FROM (
		SELECT DISTINCT ON (x) x, n FROM unnest(p_destinations) WITH ORDINALITY AS u (x, n) ORDER BY x, n) y
$$;

CREATE FUNCTION forwarders."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	d postern.domains := mailboxes.domain_of(c, b);
	v_to text[] := forwarders.distinct_of(gate.given_list(b, 'destinations', '{}'));
	v_id bigint;
BEGIN
	PERFORM accounts.check_quota(d.account_id, 'forwarders');
	PERFORM forwarders.check_destinations(b ->> 'address', v_to);
	PERFORM gate.check_held(c, m.held, 'mailbox', b - 'domain') FROM postern.mailboxes m WHERE m.address = b ->> 'address';
	BEGIN
		INSERT INTO postern.forwarders (account_id, domain_id, address, destinations)
		VALUES (d.account_id, d.id, b ->> 'address', v_to)
		RETURNING id INTO v_id;
	EXCEPTION WHEN unique_violation THEN
		PERFORM gate.fail(409, 'a forwarder of this address exists; add to its destinations', jsonb_build_object('address', 'is taken'));
	END;
	RETURN ROW(v_id, NULL)::postern.done;
END $$;

CREATE FUNCTION forwarders."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	f postern.forwarders;
	v_to text[];
BEGIN
	SELECT * INTO f FROM postern.forwarders WHERE id = o::bigint;
	v_to := forwarders.distinct_of(gate.given_list(b, 'destinations', f.destinations));
	PERFORM forwarders.check_destinations(f.address, v_to);
	UPDATE postern.forwarders SET destinations = v_to, version = f.version + 1, updated_at = postern.clock() WHERE id = f.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION forwarders.suspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT gate.set_status('postern.forwarders', 'forwarder', o, 'active', 'suspended') $$;
CREATE FUNCTION forwarders.unsuspend(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT gate.set_status('postern.forwarders', 'forwarder', o, 'suspended', 'active') $$;

CREATE FUNCTION forwarders."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM postern.forwarders WHERE id = o::bigint;
	RETURN ROW(o, NULL)::postern.done;
END $$;

RESET ROLE;
ALTER FUNCTION forwarders.circle(text, text[]) OWNER TO postern_gate;
