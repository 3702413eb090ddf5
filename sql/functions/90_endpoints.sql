-- The functions that a binary may call, built for every row of postern.endpoints from one template, so that the way of a
-- request is written once. A resource's schema (of its name) offers
--   a view `item`             the fields in the order of its table in cgi/, then `version` and `tenant` (the account's
--                             number, never null); none where the resource has no table
--   read functions            (postern.caller, jsonb) RETURNS jsonb: a document
--   write functions           (postern.caller, text, jsonb) RETURNS postern.done: (caller, id of the object, checked body)
-- and gets
--   serve(...)                admits a batch of waiting requests, reads what the admitted ones ask for and writes their
--                             rows into the trail: one statement, one commit
--   write(...)                one change with its audit row and event
--   local_read, local_write   the same for the operator at the machine (postern_cli)
-- Write functions run as postern_tenant or postern_operator, so row-level security confines them whatever they ask.
CREATE FUNCTION gate.build_endpoint(e postern.endpoints) RETURNS void
LANGUAGE plpgsql AS $build$
DECLARE
	schema text := quote_ident(e.name);
	item text := CASE WHEN e.base_table IS NULL THEN 'text' ELSE quote_ident(e.name) || '.item' END;
	id_type text := coalesce(gate.type_of(to_regclass(item), 'id'), 'text');
	login text := quote_ident('postern_' || e.name);
	reads text;
	writes text;
	template text;
	side text;
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = e.name::regnamespace
	         AND p.proname IN ('serve', 'write', 'local_read', 'local_write', 'tenant_read', 'operator_read',
	                           'tenant_write', 'operator_write', 'tenant_call', 'operator_call', 'change') LOOP
		EXECUTE format('DROP FUNCTION %s', f);
	END LOOP;
	EXECUTE format('DROP TYPE IF EXISTS %1$s.page, %1$s.change', schema);
	BEGIN
		EXECUTE format('CREATE ROLE %s LOGIN', login);
	EXCEPTION WHEN duplicate_object OR unique_violation THEN
		NULL;
	END;
	EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', current_database(), login);
	EXECUTE format('ALTER ROLE %s SET statement_timeout = ''15s''', login);
	EXECUTE format('ALTER ROLE %s SET lock_timeout = ''10s''', login);
	EXECUTE format('ALTER ROLE %s SET idle_in_transaction_session_timeout = ''30s''', login);
	-- a program that gave up waiting hangs up; what it asked for then ends too
	EXECUTE format('ALTER ROLE %s SET client_connection_check_interval = ''1s''', login);
	-- admission joins a handful of rows by key: nested loops are right however large the tables are and however old their
	-- statistics; a plan made on an empty installation must not stay a hash join for ever
	EXECUTE format('ALTER ROLE %s SET enable_hashjoin = off', login);
	EXECUTE format('ALTER ROLE %s SET enable_mergejoin = off', login);
	EXECUTE format('ALTER ROLE %s SET enable_seqscan = off', login);
	EXECUTE format('ALTER ROLE %s SET plan_cache_mode = force_generic_plan', login); -- or they would be planned every time
	EXECUTE format('ALTER ROLE %s SET jit = off', login); -- statements of a millisecond never earn their compilation
	EXECUTE format('REVOKE ALL ON SCHEMA %s FROM PUBLIC', schema);
	EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s, postern_cli, postern_gate, postern_tenant, postern_operator', schema, login);
	EXECUTE format('GRANT USAGE ON SCHEMA gate TO %s', login);
	EXECUTE format('CREATE TYPE %s.page AS (total bigint, rows %s[])', schema, item);
	EXECUTE format('CREATE TYPE %s.change AS (id text, account_id bigint, old jsonb, new jsonb, rows %s[], doc jsonb)', schema, item);
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = e.name::regnamespace LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_tenant, postern_operator', f);
	END LOOP;
	IF e.base_table IS NOT NULL THEN
		EXECUTE format('ALTER VIEW %s.item SET (security_invoker = true)', schema);
		EXECUTE format('GRANT SELECT ON %s.item TO postern_tenant, postern_operator', schema);
	END IF;

	SELECT string_agg(format('WHEN %L THEN %s.%I(c, p_args)', proname, schema, proname), ' ') INTO reads
	FROM pg_proc WHERE pronamespace = e.name::regnamespace AND prorettype = 'jsonb'::regtype
	 AND oidvectortypes(proargtypes) = 'postern.caller, jsonb';
	SELECT string_agg(format('WHEN %L THEN %s.%I(c, v_id, p_body)', proname, schema, proname), ' ') INTO writes
	FROM pg_proc WHERE pronamespace = e.name::regnamespace AND prorettype = 'postern.done'::regtype
	 AND oidvectortypes(proargtypes) = 'postern.caller, text, jsonb';

	FOREACH side IN ARRAY ARRAY['tenant', 'operator'] LOOP
		template := CASE WHEN e.base_table IS NULL THEN $t$
CREATE FUNCTION @schema@.@side@_read(p_account bigint, p_op text, p_id text, p_limit int, p_args jsonb) RETURNS @schema@.page
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$ SELECT NULL::@schema@.page $f$;
		$t$ ELSE $t$
-- A list or one object. The default list (no arguments) is written out, so that its plan is kept; p_id is then the id
-- after which it begins, or null for the first page, which has a total.
CREATE FUNCTION @schema@.@side@_read(p_account bigint, p_op text, p_id text, p_limit int, p_args jsonb) RETURNS @schema@.page
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	r @schema@.page;
BEGIN
	PERFORM set_config('postern.account_id', p_account::text, true);
	IF p_op = 'get' THEN
		IF @is_id@ THEN
			r.rows := ARRAY(SELECT v FROM @item@ v WHERE v.id = p_id::@id@ @mine@);
		ELSE
			r.rows := @by_key@;
		END IF;
	ELSIF p_args IS NULL AND p_id IS NOT NULL THEN
		r.rows := ARRAY(SELECT v FROM @item@ v WHERE v.id > p_id::@id@ @mine@ ORDER BY v.id LIMIT p_limit);
	ELSIF p_args IS NULL THEN
		r.rows := ARRAY(SELECT v FROM @item@ v WHERE true @mine@ ORDER BY v.id LIMIT p_limit);
		r.total := (SELECT count(*) FROM @item@ v WHERE true @mine@);
	ELSE
		EXECUTE gate.list_query(@item_literal@, p_args, @confined@, false) INTO r.rows USING p_account, p_args;
		IF (p_args ->> 'count')::boolean THEN
			EXECUTE gate.list_query(@item_literal@, p_args, @confined@, true) INTO r.total USING p_account, p_args;
		END IF;
	END IF;
	PERFORM set_config('postern.account_id', '', true);
	RETURN r;
END $f$;
		$t$ END || $t$
CREATE FUNCTION @schema@.@side@_call(c postern.caller, p_op text, p_args jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	doc jsonb;
BEGIN
	PERFORM set_config('postern.account_id', c.account_id::text, true);
	doc := CASE p_op @reads@ END;
	PERFORM set_config('postern.account_id', '', true);
	RETURN doc;
END $f$;

-- One change: finds and locks the object, heeds If-Match, runs the operation, shows the row before and after.
CREATE FUNCTION @schema@.@side@_write(c postern.caller, p_op text, p_id text, p_body jsonb, p_match text[]) RETURNS @schema@.change
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	v_id text := p_id;
	done postern.done;
	r @schema@.change;
	row @item@;
BEGIN
	PERFORM set_config('postern.account_id', c.account_id::text, true);
	r.account_id := c.account_id;
	@before@
	done := CASE p_op @writes@ END;
	IF done IS NULL THEN
		RAISE EXCEPTION '% has no operation "%"', '@schema@', p_op;
	END IF;
	r.id := coalesce(done.id, v_id);
	r.doc := done.doc;
	@after@
	PERFORM set_config('postern.account_id', '', true);
	RETURN r;
END $f$;
ALTER FUNCTION @schema@.@side@_read(bigint, text, text, int, jsonb) OWNER TO postern_@side@;
ALTER FUNCTION @schema@.@side@_call(postern.caller, text, jsonb) OWNER TO postern_@side@;
ALTER FUNCTION @schema@.@side@_write(postern.caller, text, text, jsonb, text[]) OWNER TO postern_@side@;
REVOKE ALL ON FUNCTION @schema@.@side@_read(bigint, text, text, int, jsonb),
	@schema@.@side@_call(postern.caller, text, jsonb), @schema@.@side@_write(postern.caller, text, text, jsonb, text[])
	FROM PUBLIC, postern_tenant, postern_operator;
GRANT EXECUTE ON FUNCTION @schema@.@side@_read(bigint, text, text, int, jsonb),
	@schema@.@side@_call(postern.caller, text, jsonb), @schema@.@side@_write(postern.caller, text, text, jsonb, text[])
	TO postern_gate;
		$t$;
		IF e.base_table IS NOT NULL THEN
			template := replace(template, '@before@', $t$
	IF p_id IS NOT NULL THEN
		-- the key is looked up first, then the base row is locked: two changes of one object take turns
		SELECT v.id::text INTO v_id FROM @item@ v WHERE CASE WHEN @is_id@ THEN v.id::text = p_id ELSE @key_matches@ END @mine_c@;
		PERFORM FROM @base@ v WHERE v.id = v_id::@id@ FOR UPDATE;
		SELECT v.* INTO row FROM @item@ v WHERE v.id = v_id::@id@ @mine_c@;
		IF NOT FOUND THEN
			PERFORM gate.fail(404, 'there is no such object');
		END IF;
		IF p_match IS NOT NULL AND NOT row.version::text = ANY (p_match) THEN
			PERFORM gate.fail(412, 'the object has changed meanwhile (its version is ' || row.version || '); read it again');
		END IF;
		r.account_id := row.tenant;
		r.old := to_jsonb(row);
	END IF;
			$t$);
			template := replace(template, '@after@', $t$
	IF r.id IS NOT NULL THEN
		SELECT v.* INTO row FROM @item@ v WHERE v.id = r.id::@id@ @mine_c@;
		IF FOUND THEN
			r.account_id := row.tenant;
			r.new := to_jsonb(row);
			r.rows := ARRAY[row];
		END IF;
	END IF;
			$t$);
		END IF;
		template := replace(replace(template, '@before@', ''), '@after@', '');
		template := replace(template, '@is_id@', CASE id_type WHEN 'bigint' THEN $t$p_id ~ '^[0-9]{1,18}$'$t$
			WHEN 'uuid' THEN $t$p_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'$t$ ELSE 'true' END);
		template := replace(template, '@by_key@', CASE WHEN e.key_column IS NULL THEN 'NULL'
			ELSE format('ARRAY(SELECT v FROM @item@ v WHERE v.%I = p_id @mine@)', e.key_column) END);
		template := replace(template, '@key_matches@', CASE WHEN e.key_column IS NULL THEN 'false'
			ELSE format('v.%I = p_id', e.key_column) END);
		template := replace(template, '@mine@', CASE side WHEN 'tenant' THEN 'AND v.tenant = p_account' ELSE '' END);
		template := replace(template, '@mine_c@', CASE side WHEN 'tenant' THEN 'AND v.tenant = c.account_id' ELSE '' END);
		template := replace(template, '@confined@', (side = 'tenant')::text);
		template := replace(template, '@item_literal@', quote_literal(item) || '::regclass');
		template := replace(template, '@item@', item);
		template := replace(template, '@base@', coalesce(e.base_table::text, ''));
		template := replace(template, '@id@', id_type);
		template := replace(template, '@reads@', coalesce(reads, 'WHEN NULL THEN NULL::jsonb'));
		template := replace(template, '@writes@', coalesce(writes, 'WHEN NULL THEN NULL::postern.done'));
		template := replace(replace(template, '@schema@', schema), '@side@', side);
		EXECUTE template;
	END LOOP;

	template := $t$
-- Admit a batch. Every array has one element per request, in order of arrival; `n` numbers them from 1. Rows come back in
-- the order of their tokens.
CREATE FUNCTION @schema@.serve(
	p_key text[], p_digest bytea[], p_ip text[], p_insecure boolean[],              -- who asks, from where
	p_wanted text[], p_no_wild boolean[], p_rank int[], p_admin boolean[], p_own boolean[], p_heavy boolean[], -- what it takes
	p_op text[], p_id text[], p_limit int[], p_args text[], p_match text[],         -- what is read; p_op '' reads nothing
	-- (p_match: the version a caller has of an object; of a list's cursor, the account it is bound to)
	p_refused int[], p_refusal text[], p_later boolean[],  -- a refusal known before; whether the row comes in a statement of its own
	p_request_id text[], p_method text[], p_path text[], p_action text[], p_agent text[], p_elapsed_us bigint[])
RETURNS TABLE (n int, status int, reason text, token_id uuid, token_name text, account_id bigint, rate_limit int, remaining int,
	reset_at bigint, held text[], rank int, total bigint, rows @item@[], doc text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	v_now timestamptz := postern.clock();
	v_begin timestamptz := clock_timestamp();
	e record;
	v_page @schema@.page;
	v_token uuid;              -- whose requests are being counted: they come together, in order of arrival
	v_calls int := 0;          -- how many of them passed
	v_actions int := 0;        -- and how many of those were heavy actions
	v_account bigint;          -- of the object touched
	v_row boolean;             -- whether this request gets its row now
	v_trail postern.audit[] := '{}'; -- those rows: written together, which costs a quarter of one by one
	u_token uuid[] := '{}';
	u_calls int[] := '{}';
	u_actions int[] := '{}';
	u_ip inet[] := '{}';
BEGIN
	IF EXISTS (SELECT FROM postern.refusals f WHERE f.window_start <= v_now - interval '60 s') THEN
		PERFORM gate.settle();
	END IF;
	-- rate rows are locked in one order everywhere: two batches never wait for each other in a circle
	PERFORM FROM postern.rates r WHERE r.token_id IN (
		SELECT k.token_id FROM unnest(p_key, p_digest) x (key, digest)
		JOIN postern.keys k ON k.key_id = x.key AND k.digest IN (substr(x.digest, 1, 32), substr(x.digest, 33, 32)))
	ORDER BY r.token_id FOR UPDATE;
	FOR e IN
		SELECT x.n::int, x.ip::inet, x.heavy, x.op, x.id, x.lim, x.args, x.match, x.early, x.early_reason, x.later, x.request_id,
			x.method, x.path, x.action, x.agent, x.elapsed_us,
			b AS bearer, b.token_id, b.token_name, b.account_id, b.user_id, b.username, b.rank, b.rate_limit, b.action_limit, b.scopes,
			CASE WHEN b.token_id IS NULL THEN 'unknown'
			ELSE gate.judge(b, v_now, x.ip::inet, x.insecure, x.wanted, x.no_wild, x.rank, x.admin, x.own) END AS refusal,
			CASE WHEN r.window_start > v_now - interval '60 s' THEN r.used ELSE 0 END AS used,
			CASE WHEN r.window_start > v_now - interval '60 s' THEN r.window_start ELSE v_now END AS since,
			CASE WHEN r.action_window_start > v_now - interval '60 s' THEN r.action_used ELSE 0 END AS action_used,
			CASE WHEN r.action_window_start > v_now - interval '60 s' THEN r.action_window_start ELSE v_now END AS action_since
		FROM unnest(p_key, p_digest, p_ip, p_insecure, p_wanted, p_no_wild, p_rank, p_admin, p_own, p_heavy, p_op, p_id,
			p_limit, p_args, p_match, p_refused, p_refusal, p_later, p_request_id, p_method, p_path, p_action, p_agent, p_elapsed_us)
			WITH ORDINALITY AS x (key, digest, ip, insecure, wanted, no_wild, rank, admin, own, heavy, op, id, lim, args, match,
			early, early_reason, later, request_id, method, path, action, agent, elapsed_us, n)
		LEFT JOIN gate.bearer b ON b.key_id = x.key AND b.digest IN (substr(x.digest, 1, 32), substr(x.digest, 33, 32))
		LEFT JOIN postern.rates r ON r.token_id = b.token_id
		ORDER BY b.token_id, x.n
	LOOP
		IF e.token_id IS DISTINCT FROM v_token THEN
			v_token := e.token_id;
			v_calls := 0;
			v_actions := 0;
		END IF;
		n := e.n;
		token_id := e.token_id;
		token_name := e.token_name;
		account_id := e.account_id;
		rank := e.rank;
		rows := NULL;
		total := NULL;
		doc := NULL;
		held := NULL;
		v_account := e.account_id;

		-- the limits: the heavy actions' bucket first, so that what it refuses uses up no call
		reason := e.refusal;
		IF reason IS NULL AND e.heavy AND e.action_used + v_actions >= e.action_limit THEN
			reason := 'action_limit';
		ELSIF reason IS NULL AND e.used + v_calls >= e.rate_limit THEN
			reason := 'rate_limit';
		END IF;

		IF reason IS NOT NULL THEN
			-- a flood of refusals: counted, only the first of a window gets a row
			status := gate.status_of(reason);
			v_row := false;
			IF status = 403 THEN
				held := e.scopes;
			END IF;
			IF e.token_id IS NOT NULL THEN
				INSERT INTO postern.refusals AS f (token_id, reason, account_id, token_name, user_id, username, window_start, count)
				VALUES (e.token_id, serve.reason, e.account_id, e.token_name, e.user_id, e.username, v_now, 1)
				ON CONFLICT (token_id, reason) DO UPDATE SET count = f.count + 1
				RETURNING f.count = 1 INTO v_row;
			END IF;
		ELSE
			v_calls := v_calls + 1;
			IF e.heavy THEN
				v_actions := v_actions + 1;
			END IF;
			IF v_calls = 1 THEN
				u_token := u_token || e.token_id;
				u_calls := u_calls || 1;
				u_actions := u_actions || v_actions;
				u_ip := u_ip || e.ip;
			ELSE
				u_calls[cardinality(u_calls)] := v_calls;
				u_actions[cardinality(u_actions)] := v_actions;
				u_ip[cardinality(u_ip)] := e.ip;
			END IF;

			-- what it asks for
			status := 200;
			v_row := NOT e.later;
			IF e.early IS NOT NULL THEN
				status := e.early;
				reason := e.early_reason;
				v_row := true;
			ELSIF e.op = 'list' AND e.match <> e.account_id::text THEN
				status := 400;
				reason := 'cursor';
				v_row := true;
			ELSIF e.op IN ('list', 'get') THEN
				IF e.rank = 3 AND e.account_id = 0 THEN
					v_page := @schema@.operator_read(0, e.op, e.id, e.lim, e.args::jsonb);
				ELSE
					v_page := @schema@.tenant_read(e.account_id, e.op, e.id, e.lim, e.args::jsonb);
				END IF;
				rows := v_page.rows;
				total := v_page.total;
				@judge_get@
			ELSIF e.op <> '' THEN
				IF e.rank = 3 AND e.account_id = 0 THEN
					doc := @schema@.operator_call(gate.caller(e.bearer, e.ip, e.request_id::uuid), e.op, e.args::jsonb);
				ELSE
					doc := @schema@.tenant_call(gate.caller(e.bearer, e.ip, e.request_id::uuid), e.op, e.args::jsonb);
				END IF;
			END IF;
		END IF;

		-- of the bucket that decided
		IF e.heavy AND reason IS DISTINCT FROM 'rate_limit' THEN
			rate_limit := e.action_limit;
			remaining := greatest(e.action_limit - e.action_used - v_actions, 0);
			reset_at := ceil(extract(epoch FROM e.action_since)) + 60;
		ELSE
			rate_limit := e.rate_limit;
			remaining := greatest(e.rate_limit - e.used - v_calls, 0);
			reset_at := ceil(extract(epoch FROM e.since)) + 60;
		END IF;
		IF v_row THEN
			v_trail := array_append(v_trail, ROW(v_account, v_now, NULL, NULL, e.request_id::uuid, 'token', e.token_id, e.token_name,
				e.user_id, e.username, split_part(e.action, '.', 1), split_part(e.action, '.', 2),
				CASE WHEN e.op <> 'list' THEN regexp_replace(e.id, '\w{50,}', '***', 'g') END, -- a token is no id: as http_scrub
				e.method, e.path, status, gate.outcome(status), reason,
				e.elapsed_us + (extract(epoch FROM clock_timestamp() - v_begin) * 1000000)::bigint, e.ip, e.agent,
				NULL, NULL)::postern.audit);
		END IF;
		RETURN NEXT;
	END LOOP;
	INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb,
		object_id, method, path, status, outcome, reason, duration_us, ip, user_agent)
	SELECT t.account_id, t.at, t.request_id, t.actor, t.token_id, t.token_name, t.user_id, t.username, t.resource, t.verb,
		t.object_id, t.method, t.path, t.status, t.outcome, t.reason, t.duration_us, t.ip, t.user_agent
	FROM unnest(v_trail) t;
	UPDATE postern.rates r SET
		window_start = CASE WHEN r.window_start > v_now - interval '60 s' THEN r.window_start ELSE v_now END,
		used = CASE WHEN r.window_start > v_now - interval '60 s' THEN r.used ELSE 0 END + g.calls,
		action_window_start = CASE WHEN g.actions = 0 OR r.action_window_start > v_now - interval '60 s' THEN r.action_window_start ELSE v_now END,
		action_used = CASE WHEN g.actions = 0 OR r.action_window_start > v_now - interval '60 s' THEN r.action_used ELSE 0 END + g.actions,
		last_used_at = v_now, last_used_ip = g.ip
	FROM unnest(u_token, u_calls, u_actions, u_ip) AS g (token_id, calls, actions, ip)
	WHERE r.token_id = g.token_id;
END $f$;

-- One change of an admitted request, with its audit row and event: all or nothing. Raises class PN (gate.fail) or what
-- PostgreSQL says; nothing is then stored. A dry run does everything and takes it back.
CREATE FUNCTION @schema@.write(
	p_key text, p_digest bytea, p_ip inet, p_insecure boolean, p_wanted text, p_no_wild boolean, p_rank int, p_admin boolean,
	p_own boolean, p_op text, p_id text, p_body jsonb, p_match text[], p_dry boolean, p_status int, p_secrets text[],
	p_request_id uuid, p_method text, p_path text, p_action text, p_agent text, p_elapsed_us bigint,
	p_idempotency bytea, p_fingerprint bytea)
RETURNS TABLE (id text, account_id bigint, rows @item@[], doc text, kept_status int, kept_headers text, kept_body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	v_begin timestamptz := clock_timestamp();
	c postern.caller := gate.prove(p_key, p_digest, p_ip, p_insecure, p_wanted, p_no_wild, p_rank, p_admin, p_own, p_request_id);
	r @schema@.change;
	k postern.kept_answers;
BEGIN
	IF p_idempotency IS NOT NULL THEN
		k := gate.replay(c, p_idempotency, p_fingerprint);
		IF k.key IS NOT NULL THEN
			PERFORM gate.trail(c, c.account_id, p_action, p_id, p_method, p_path, k.status, 'replayed',
				p_elapsed_us + (extract(epoch FROM clock_timestamp() - v_begin) * 1000000)::bigint, p_agent, NULL);
			RETURN QUERY SELECT NULL::text, NULL::bigint, NULL::@item@[], NULL::text, k.status, k.headers, k.body;
			RETURN;
		END IF;
	END IF;
	r := @schema@.change(c, p_op, p_id, p_body, p_match, p_dry);
	IF NOT p_dry THEN
		PERFORM gate.emit(c, r.account_id, p_action, r.id, coalesce(r.new, r.old, r.doc));
	END IF;
	PERFORM gate.trail(c, r.account_id, p_action, r.id, p_method, p_path, p_status, CASE WHEN p_dry THEN 'dry_run' END,
		p_elapsed_us + (extract(epoch FROM clock_timestamp() - v_begin) * 1000000)::bigint, p_agent,
		CASE WHEN NOT p_dry THEN gate.changes(r.old, r.new, p_secrets) END);
	RETURN QUERY SELECT r.id, r.account_id, r.rows, r.doc::text, NULL::int, NULL::text, NULL::text;
END $f$;

CREATE FUNCTION @schema@.change(c postern.caller, p_op text, p_id text, p_body jsonb, p_match text[], p_dry boolean)
RETURNS @schema@.change
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	r @schema@.change;
BEGIN
	IF NOT p_dry THEN
		IF c.rank = 3 AND c.account_id = 0 THEN
			RETURN @schema@.operator_write(c, p_op, p_id, p_body, p_match);
		END IF;
		RETURN @schema@.tenant_write(c, p_op, p_id, p_body, p_match);
	END IF;
	BEGIN
		r := @schema@.change(c, p_op, p_id, p_body, p_match, false);
		RAISE EXCEPTION USING ERRCODE = 'PNDRY'; -- takes the change back; what was seen of it stays in r
	EXCEPTION WHEN SQLSTATE 'PNDRY' THEN
		RETURN r;
	END;
END $f$;

CREATE FUNCTION @schema@.local_read(p_op text, p_id text, p_limit int, p_args jsonb, p_request_id uuid)
RETURNS TABLE (status int, total bigint, rows @item@[], doc text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	p @schema@.page;
BEGIN
	IF p_op IN ('list', 'get') THEN
		p := @schema@.operator_read(0, p_op, p_id, p_limit, p_args);
		RETURN QUERY SELECT CASE WHEN p_op = 'get' AND coalesce(array_length(p.rows, 1), 0) = 0 THEN 404 ELSE 200 END, p.total, p.rows, NULL::text;
	ELSE
		RETURN QUERY SELECT 200, NULL::bigint, NULL::@item@[], @schema@.operator_call(gate.system(p_request_id), p_op, p_args)::text;
	END IF;
END $f$;
CREATE FUNCTION @schema@.local_write(p_op text, p_id text, p_body jsonb, p_dry boolean, p_status int, p_secrets text[],
	p_request_id uuid, p_action text)
RETURNS TABLE (id text, account_id bigint, rows @item@[], doc text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	c postern.caller := gate.system(p_request_id);
	r @schema@.change := @schema@.change(c, p_op, p_id, p_body, NULL, p_dry);
BEGIN
	IF NOT p_dry THEN
		PERFORM gate.emit(c, r.account_id, p_action, r.id, coalesce(r.new, r.old, r.doc));
		PERFORM gate.trail(c, r.account_id, p_action, r.id, NULL, NULL, p_status, NULL, NULL, NULL, gate.changes(r.old, r.new, p_secrets));
	END IF;
	RETURN QUERY SELECT r.id, r.account_id, r.rows, r.doc::text;
END $f$;
	$t$;
	template := replace(template, '@judge_get@', CASE WHEN e.base_table IS NOT NULL THEN $t$IF e.op = 'get' AND coalesce(cardinality(rows), 0) = 0 THEN
					status := 404;
				ELSIF e.op = 'get' THEN
					v_account := rows[1].tenant;
					IF e.match IN (rows[1].version::text, '*') THEN
						status := 304;
					END IF;
				END IF;$t$ ELSE '' END);
	template := replace(replace(template, '@item@', item), '@schema@', schema);
	EXECUTE template;
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = e.name::regnamespace
	         AND p.proname IN ('serve', 'write', 'local_read', 'local_write', 'change') LOOP
		EXECUTE format('ALTER FUNCTION %s OWNER TO postern_gate', f);
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = e.name::regnamespace AND p.proname IN ('serve', 'write') LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', f, login);
	END LOOP;
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = e.name::regnamespace AND p.proname IN ('local_read', 'local_write') LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_cli', f);
	END LOOP;
	EXECUTE format('GRANT EXECUTE ON FUNCTION gate.alive(), gate.compatible_from(), gate.settle(),
		gate.record(text, bytea, inet, uuid, bigint, text, text, text, text, int, text, bigint, text),
		gate.keep(text, bytea, bytea, bytea, int, text, text) TO %s', login);
END $build$;

REVOKE ALL ON FUNCTION gate.build_endpoint(postern.endpoints) FROM PUBLIC;
ALTER FUNCTION gate.build_endpoint(postern.endpoints) OWNER TO postern_owner;
SELECT gate.build_endpoint(e) FROM postern.endpoints e ORDER BY e.name;
GRANT EXECUTE ON FUNCTION gate.alive(), gate.compatible_from() TO postern_cli;
