-- seals: what posternd seals the audit trail with, and what the operator's command verifies it by. Digests and signatures are
-- made in C (lib/trail.c); here rows are read in the order of their commits, and what is kept must fit to what is there.
DROP SCHEMA IF EXISTS seals CASCADE;
CREATE SCHEMA seals AUTHORIZATION postern_owner;
GRANT USAGE ON SCHEMA seals TO postern_worker, postern_cli, postern_gate;
SET LOCAL ROLE postern_owner;

-- A row as the texts that its digest is made of, in the order of lib/trail.h, and what it is found by.
CREATE TYPE seals.row AS (account_id text, at text, id text, xid text, request_id text, actor text, token_id text, token_name text, user_id text, username text,
	resource text, verb text, object_id text, method text, path text, status text, outcome text, reason text, duration_us text, ip text,
	user_agent text, changes text, count text);
CREATE VIEW seals.texts AS
SELECT ROW(a.account_id::text, (extract(epoch FROM a.at) * 1000000)::bigint::text, a.id::text, a.xid::text, a.request_id::text, a.actor, a.token_id::text,
	a.token_name, a.user_id::text, a.username, a.resource, a.verb, a.object_id, a.method, a.path, a.status::text, a.outcome, a.reason, a.duration_us::text,
	CASE WHEN a.ip IS NOT NULL THEN format('%s', a.ip) END, a.user_agent, a.changes::text, a.count::text)::seals.row AS row, a.account_id, a.at, a.id, a.xid
FROM postern.audit a;
GRANT SELECT ON seals.texts TO postern_gate;
ALTER VIEW seals.texts SET (security_invoker = true);

CREATE FUNCTION seals.last(OUT number bigint, OUT hash bytea, OUT rows bigint, OUT checkpoint bigint,
	OUT checkpoint_text text, OUT signature bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(s.number, 0), coalesce(s.hash, decode(repeat('00', 32), 'hex')), coalesce(s.rows, 0),
		coalesce(c.number, 0), c.text, c.signature
	FROM (SELECT) x LEFT JOIN LATERAL (SELECT * FROM postern.seals ORDER BY number DESC LIMIT 1) s ON true
	LEFT JOIN LATERAL (SELECT * FROM postern.checkpoints ORDER BY number DESC LIMIT 1) c ON true
$$;

-- The next rows to seal: of transactions that nothing still open can precede, in the order of their numbers.
CREATE FUNCTION seals.unsealed(p_max int) RETURNS SETOF seals.row
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	v_xid xid8 := '0';
	v_id bigint := 0;
	v_horizon xid8 := gate.horizon(); -- read before the rows are
BEGIN
	SELECT s.xid, s.id INTO v_xid, v_id FROM postern.seals s ORDER BY s.number DESC LIMIT 1;
	v_xid := coalesce(v_xid, '0');
	RETURN QUERY SELECT (t.row).*
	FROM seals.texts t
	WHERE (t.xid::text::bigint) >= v_xid::text::bigint AND (t.xid > v_xid OR t.id > coalesce(v_id, 0))
	  AND t.xid < v_horizon
	ORDER BY t.xid, t.id LIMIT p_max;
END $$;

-- Keep a seal. It must go on where the last one ends; of two sealers the number lets one.
CREATE FUNCTION seals.add(p_number bigint, p_count int, p_keys bytea, p_hashes bytea, p_before bytea, p_hash bytea, p_xid text, p_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s postern.seals;
BEGIN
	SELECT * INTO s FROM postern.seals x ORDER BY x.number DESC LIMIT 1;
	IF p_number <> coalesce(s.number, 0) + 1 OR p_before <> coalesce(s.hash, decode(repeat('00', 32), 'hex'))
	   OR (p_xid::xid8, p_id) <= (coalesce(s.xid, '0'), coalesce(s.id, 0)) THEN
		RAISE EXCEPTION 'seal % does not follow the last one', p_number;
	END IF;
	INSERT INTO postern.seals (number, count, keys, hashes, before, hash, rows, xid, id)
	VALUES (p_number, p_count, p_keys, p_hashes, p_before, p_hash, coalesce(s.rows, 0) + p_count, p_xid::xid8, p_id);
END $$;
CREATE FUNCTION seals.add_checkpoint(p_number bigint, p_text text, p_signature bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO postern.checkpoints (number, text, signature) VALUES (p_number, p_text, p_signature)
$$;

-- May this node seal now? One does at a time: it holds the lease and renews it with each look. One that says why it
-- must not (`p_fault`: its key is another one) never does, and gives back what it holds; health tells.
CREATE FUNCTION seals.elect(p_node text, p_machine text, p_fault text, p_lease_s int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := postern.clock();
BEGIN
	INSERT INTO postern.sealers AS s (node, machine, fault, seen_at) VALUES (p_node, p_machine, p_fault, v_now)
	ON CONFLICT (node) DO UPDATE SET machine = excluded.machine, fault = excluded.fault, seen_at = excluded.seen_at;
	DELETE FROM postern.sealers s WHERE s.seen_at < v_now - interval '1 day';
	UPDATE postern.sealing s SET node = CASE WHEN p_fault IS NULL THEN p_node END,
		until = CASE WHEN p_fault IS NULL THEN v_now + make_interval(secs => p_lease_s) ELSE v_now END
	WHERE s.node = p_node OR p_fault IS NULL AND (s.node IS NULL OR s.until < v_now);
	RETURN FOUND AND p_fault IS NULL;
END $$;

-- For those who verify: all rows after one, all seals, all checkpoints.
CREATE FUNCTION seals.read_rows(p_account bigint, p_at_us bigint, p_id bigint, p_max int) RETURNS SETOF seals.row
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
	RETURN QUERY SELECT (t.row).*
	FROM seals.texts t
	WHERE (t.account_id, t.at, t.id) > (p_account, 'epoch'::timestamptz + p_at_us * interval '1 microsecond', p_id)
	ORDER BY t.account_id, t.at, t.id LIMIT p_max;
END $$;
CREATE FUNCTION seals.read_seals(p_after bigint, p_max int)
RETURNS TABLE (number bigint, count int, keys bytea, hashes bytea, before bytea, hash bytea, xid text, id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT s.number, s.count, s.keys, s.hashes, s.before, s.hash, s.xid::text, s.id FROM postern.seals s WHERE s.number > p_after ORDER BY s.number LIMIT p_max
$$;
CREATE FUNCTION seals.read_checkpoints(p_after bigint, p_max int) RETURNS TABLE (number bigint, text text, signature bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT c.number, c.text, c.signature FROM postern.checkpoints c WHERE c.number > p_after ORDER BY c.number LIMIT p_max
$$;

-- Drop whole months that are older than so many and sealed to the last row, oldest first; each leaves a row that says so, whose
-- object is the month: all before its end may be gone. Returns how many.
CREATE FUNCTION seals.drop_months(p_keep int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_part text;
	v_month date;
	v_rows bigint;
	v_dropped int := 0;
	s postern.seals;
BEGIN
	IF p_keep <= 0 THEN
		RETURN 0;
	END IF;
	SELECT x.xid, x.id INTO s.xid, s.id FROM seals.sealed_upto() x;
	FOR v_part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	              WHERE i.inhparent = 'postern.audit'::regclass AND c.relname ~ '^audit_[0-9]{6}$' ORDER BY c.relname LOOP
		v_month := to_date(substr(v_part, 7), 'YYYYMM');
		EXIT WHEN v_month + interval '1 month' > (postern.clock() AT TIME ZONE 'UTC') - make_interval(months => p_keep);
		EXIT WHEN s.xid IS NULL OR seals.open_rows(v_part, s.xid, s.id);
		v_rows := seals.rows_of(v_part);
		EXECUTE format('DROP TABLE postern.%I', v_part);
		PERFORM seals.note_drop(to_char(v_month, 'YYYYMM'), v_rows);
		v_dropped := v_dropped + 1;
	END LOOP;
	RETURN v_dropped;
END $$;
-- What its owner may not read itself: rows of the trail, and seals that a checkpoint has signed.
CREATE FUNCTION seals.sealed_upto(OUT xid xid8, OUT id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT s.xid, s.id FROM postern.seals s
	WHERE s.number = (SELECT substring(c.text FROM 'seal ([0-9]+)')::bigint FROM postern.checkpoints c ORDER BY c.number DESC LIMIT 1)
$$;
CREATE FUNCTION seals.open_rows(p_part text, p_xid xid8, p_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN EXISTS (SELECT FROM postern.audit a WHERE a.tableoid = to_regclass('postern.' || quote_ident(p_part))
		AND (a.xid, a.id) > (p_xid, p_id));
END $$;
CREATE FUNCTION seals.rows_of(p_part text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT count(*) FROM postern.audit a WHERE a.tableoid = to_regclass('postern.' || quote_ident(p_part)));
END $$;
CREATE FUNCTION seals.note_drop(p_month text, p_rows bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO postern.audit (account_id, at, actor, username, resource, verb, object_id, outcome, changes)
	VALUES (0, postern.clock(), 'system', 'posternd', 'audit', 'drop', p_month, 'allowed', jsonb_build_object('before', jsonb_build_object('rows', p_rows)))
$$;

RESET ROLE;
DO $$
DECLARE
	f regprocedure;
	v_name text;
BEGIN
	FOR f, v_name IN SELECT p.oid::regprocedure, p.proname FROM pg_proc p WHERE p.pronamespace = 'seals'::regnamespace LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		IF v_name = 'drop_months' THEN
			EXECUTE format('ALTER FUNCTION %s OWNER TO postern_owner', f);
		ELSE
			EXECUTE format('ALTER FUNCTION %s OWNER TO postern_gate', f);
		END IF;
		IF v_name IN ('last', 'unsealed', 'add', 'add_checkpoint', 'read_checkpoints', 'drop_months', 'elect') THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_worker', f);
		END IF;
		IF v_name IN ('read_rows', 'read_seals', 'read_checkpoints', 'last', 'add_checkpoint') THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_cli', f);
		END IF;
		IF v_name IN ('sealed_upto', 'open_rows', 'rows_of', 'note_drop') THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_owner', f);
		END IF;
	END LOOP;
END $$;
