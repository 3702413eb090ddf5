-- The functions that a binary may call, built for every row of postern.endpoints from one template, so that the way of a
-- request is written once. A resource's schema (of its name) offers
--   a view `item`             the fields in the order of its table in cgi/, then `version` and `tenant` (the account's
--                             number, never null); none where the resource has no table. Where long lists matter and a row
--                             depends on nothing else that changes, the base table has a column `shown bytea` and the view
--                             it, last: each row is then kept as it travels, as sending a column costs more than finding a row
--   read functions            (postern.caller, jsonb) RETURNS jsonb: a document
--   a view `exported`         what an export shows of a row (the fields of its route's output), then `tenant`; where there is one
--   tail(until, after)        lines, with their places, that follow the rows of an unbound administrator's export
--   write functions           (postern.caller, text, jsonb) RETURNS postern.done: (caller, id of the object, checked body).
--                             What a call changed of several objects it may tell the trail in its document's _before and _after
--   named                     (text) RETURNS the id: optional, where several rows may have one key: the row that it stands for among all
--                             accounts'; null: none, 0: it cannot be told, which is a 409. A tenant has one row of a key
--   masked                    (item) RETURNS item: optional, and of `exported` too: the row without what the token may not read
--   head() RETURNS bigint     optional, of a feed: the number of its newest row, asked for before the rows of a list
--   learn                     (jsonb, boolean): optional; takes what the program knows and the database does not (lib/api.h)
-- and gets
--   serve(...)                admits a batch of waiting requests, reads what the admitted ones ask for and writes their
--                             rows into the trail: one statement, one commit
--   write(...)                one change with its audit row and event
--   export(...)               the next rows of an export, where there is such a view
--   local_read, local_write, local_export   the same for the operator at the machine (postern_cli)
-- Write functions run as postern_tenant or postern_operator, so row-level security confines them whatever they ask.
CREATE FUNCTION gate.build_endpoint(e postern.endpoints) RETURNS void
LANGUAGE plpgsql AS $build$
DECLARE
	schema text := quote_ident(e.name);
	item text := CASE WHEN e.base_table IS NULL THEN 'text' ELSE quote_ident(e.name) || '.item' END;
	id_type text := coalesce(gate.type_of(to_regclass(item), 'id'), 'text');
	login text := quote_ident('postern_' || e.name);
	is_id text := CASE id_type WHEN 'bigint' THEN $t$p_id[x.n] ~ '^[0-9]{1,18}$'$t$
		WHEN 'uuid' THEN $t$p_id[x.n] ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'$t$ ELSE 'true' END;
	shows boolean := gate.type_of(e.base_table, 'shown') IS NOT NULL;
	exports boolean := to_regclass(quote_ident(e.name) || '.exported') IS NOT NULL;
	tails boolean := to_regproc(quote_ident(e.name) || '.tail') IS NOT NULL;
	named text := CASE WHEN to_regprocedure(quote_ident(e.name) || '.named(text)') IS NOT NULL THEN quote_ident(e.name) || '.named' END;
	masks boolean := EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = schema::regnamespace AND p.proname = 'masked');
	shown_row text := CASE WHEN shows THEN 'v.shown' WHEN masks THEN format('CASE WHEN gate.sees_all() THEN v ELSE %s.masked(v) END', schema)
		ELSE 'v' END;
	reads text;
	writes text;
	opens boolean := EXISTS (SELECT FROM postern.operations o WHERE o.endpoint = e.name AND o.open);
	heavy text[] := ARRAY(SELECT o.operation FROM postern.operations o WHERE o.endpoint = e.name AND o.heavy ORDER BY o.operation);
	admission text;
	plain text;
	later text;
	template text;
	side text;
	confined boolean;
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = schema::regnamespace
	         AND p.proname IN ('serve', 'write', 'local_read', 'local_write', 'tenant_read', 'operator_read',
	                           'tenant_write', 'operator_write', 'tenant_call', 'operator_call', 'change', 'outcome', 'export', 'local_export', 'tenant_export', 'operator_export') LOOP
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
	-- rows are in memory, or on a disk that does not seek: to a filter's own index rather than along the time line past others' rows
	EXECUTE format('ALTER ROLE %s SET random_page_cost = 1.1', login);
	EXECUTE format('ALTER ROLE %s SET plan_cache_mode = force_generic_plan', login); -- or they would be planned every time
	EXECUTE format('ALTER ROLE %s SET jit = off', login); -- statements of a millisecond never earn their compilation
	EXECUTE format('REVOKE ALL ON SCHEMA %s FROM PUBLIC', schema);
	EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s, postern_cli, postern_gate, postern_tenant, postern_operator', schema, login);
	EXECUTE format('GRANT USAGE ON SCHEMA gate TO %s', login);
	EXECUTE format('CREATE TYPE %s.change AS (id text, account_id bigint, old jsonb, new jsonb, rows %s[], doc jsonb, job uuid)', schema, item);
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = schema::regnamespace LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_tenant, postern_operator', f);
	END LOOP;
	IF e.base_table IS NOT NULL THEN
		EXECUTE format('ALTER VIEW %s.item SET (security_invoker = true)', schema);
		EXECUTE format('GRANT SELECT ON %s.item TO postern_tenant, postern_operator', schema);
	END IF;
	IF exports THEN
		EXECUTE format('ALTER VIEW %s.exported SET (security_invoker = true)', schema);
		EXECUTE format('GRANT SELECT ON %s.exported TO postern_tenant, postern_operator', schema);
	END IF;

	IF named IS NOT NULL THEN
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s(text) TO postern_gate', named);
	END IF;
	IF shows THEN
		PERFORM gate.build_shown(e.base_table, to_regclass(item));
	END IF;

	SELECT string_agg(format('WHEN %L THEN %s.%I(c, p_args)', proname, schema, proname), ' ') INTO reads
	FROM pg_proc WHERE pronamespace = schema::regnamespace AND prorettype = 'jsonb'::regtype
	 AND oidvectortypes(proargtypes) = 'postern.caller, jsonb';
	SELECT string_agg(format('WHEN %L THEN %s.%I(c, v_id, p_body)', proname, schema, proname), ' ') INTO writes
	FROM pg_proc WHERE pronamespace = schema::regnamespace AND prorettype = 'postern.done'::regtype
	 AND oidvectortypes(proargtypes) = 'postern.caller, text, jsonb';

	FOREACH side IN ARRAY ARRAY['tenant', 'operator'] LOOP
		confined := side = 'tenant' AND NOT e.shared;
		template := CASE WHEN e.base_table IS NULL THEN '' ELSE $t$
-- What some requests of a batch read: p_n numbers them, p_account says for whom, the other arrays are the batch's. Op 'next'
-- is the rows after the id, 'page' those from an offset (given as id), with the total, 'get' one by id or key, 'list' goes by
-- arguments (gate.list_query); the first three are written out, so that their plans are kept. A tenant's account is set before
-- its rows are looked for, so the wall stands between the requests of a batch too; a plan that looked first would find nothing.
CREATE FUNCTION @schema@.@side@_read(p_n int[], p_account bigint[], p_op text[], p_id text[], p_limit int[], p_args text[], p_sees text[])
RETURNS TABLE (n int, total bigint, rows @rows@[], version text, tenant bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	q record;
BEGIN
	IF 'next' = ANY (p_op) THEN
		RETURN QUERY SELECT q.n, NULL::bigint,
			ARRAY(SELECT @row@ FROM @item@ v WHERE v.id > q.id @mine@ ORDER BY v.id LIMIT q.size), NULL::text, NULL::bigint
		FROM (SELECT x.n, x.account, p_id[x.n]::@id@ AS id, least(p_limit[x.n], 101) AS size @enter@
			FROM unnest(p_n, p_account, p_sees) AS x (n, account, sees) WHERE p_op[x.n] = 'next' OFFSET 0) q;
	END IF;
	IF 'get' = ANY (p_op) THEN
		RETURN QUERY SELECT q.n, NULL::bigint, CASE WHEN r.version IS NOT NULL THEN ARRAY[r.row] END, r.version::text, r.tenant
		FROM (SELECT x.n, x.account, p_id[x.n] AS key, CASE WHEN @is_id@ THEN p_id[x.n]::@id@ END AS id @enter@
			FROM unnest(p_n, p_account, p_sees) AS x (n, account, sees) WHERE p_op[x.n] = 'get' OFFSET 0) q
		LEFT JOIN LATERAL (SELECT @row@ AS row, v.version, v.tenant FROM @item@ v WHERE v.id = q.id @mine@ @by_key@) r ON true;
	END IF;
	IF 'page' = ANY (p_op) THEN
		RETURN QUERY SELECT q.n, (SELECT count(*) FROM @item@ v WHERE true @mine@),
			ARRAY(SELECT @row@ FROM @item@ v WHERE true @mine@ ORDER BY v.id OFFSET q.skip LIMIT q.size), NULL::text, NULL::bigint
		FROM (SELECT x.n, x.account, p_id[x.n]::bigint AS skip, least(p_limit[x.n], 101) AS size @enter@
			FROM unnest(p_n, p_account, p_sees) AS x (n, account, sees) WHERE p_op[x.n] = 'page' OFFSET 0) q;
	END IF;
	IF 'list' = ANY (p_op) THEN
		FOR q IN SELECT x.n, x.account, x.sees, p_args[x.n]::jsonb AS args FROM unnest(p_n, p_account, p_sees) AS x (n, account, sees) WHERE p_op[x.n] = 'list' LOOP
			PERFORM set_config('postern.account_id', q.account::text, true), set_config('postern.sees', q.sees, true);
			n := q.n;
			total := @head@;
			EXECUTE format('SELECT ARRAY(%s)', gate.list_query(@item_literal@, q.args, @confined@, false)) INTO rows USING q.account, q.args;
			IF (q.args ->> 'count')::boolean THEN
				EXECUTE gate.list_query(@item_literal@, q.args, @confined@, true) INTO total USING q.account, q.args;
			END IF;
			RETURN NEXT;
		END LOOP;
	END IF;
	PERFORM set_config('postern.account_id', '', true), set_config('postern.sees', '', true);
END $f$;
ALTER FUNCTION @schema@.@side@_read(int[], bigint[], text[], text[], int[], text[], text[]) OWNER TO postern_@side@;
REVOKE ALL ON FUNCTION @schema@.@side@_read(int[], bigint[], text[], text[], int[], text[], text[]) FROM PUBLIC, postern_tenant, postern_operator;
GRANT EXECUTE ON FUNCTION @schema@.@side@_read(int[], bigint[], text[], text[], int[], text[], text[]) TO postern_gate;
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
	PERFORM set_config('postern.account_id', c.account_id::text, true), set_config('postern.sees', @sees_c@, true);
	PERFORM set_config('postern.rank', c.rank::text, true), set_config('postern.token_id', c.token_id::text, true);
	PERFORM set_config('postern.job', '', true);
	PERFORM set_config('postern.op', p_op, true); -- accounts.counts_job
	@turn@
	r.account_id := c.account_id;
	@before@
	done := CASE p_op @writes@ END;
	IF done IS NULL THEN
		RAISE EXCEPTION '% has no operation "%"', '@schema@', p_op;
	END IF;
	r.id := coalesce(done.id, v_id);
	r.doc := done.doc;
	r.job := nullif(current_setting('postern.job', true), '');
	IF p_id IS NULL AND r.doc ? '_before' THEN -- a call that changed several objects says so for the trail
		r.old := r.doc -> '_before';
		r.new := r.doc -> '_after';
		r.doc := r.doc - '_before' - '_after';
	END IF;
	@after@
	PERFORM set_config('postern.rank', '', true), set_config('postern.token_id', '', true), set_config('postern.op', '', true),
		set_config('postern.sees', '', true), set_config('postern.account_id', '', true);
	RETURN r;
END $f$;
ALTER FUNCTION @schema@.@side@_call(postern.caller, text, jsonb) OWNER TO postern_@side@;
ALTER FUNCTION @schema@.@side@_write(postern.caller, text, text, jsonb, text[]) OWNER TO postern_@side@;
REVOKE ALL ON FUNCTION @schema@.@side@_call(postern.caller, text, jsonb), @schema@.@side@_write(postern.caller, text, text, jsonb, text[])
	FROM PUBLIC, postern_tenant, postern_operator;
GRANT EXECUTE ON FUNCTION @schema@.@side@_call(postern.caller, text, jsonb), @schema@.@side@_write(postern.caller, text, text, jsonb, text[])
	TO postern_gate;
		$t$;
		IF exports THEN
			template := template || $t$
-- The next rows of an export as they travel: as many as the arguments say, but not much more than p_bytes.
CREATE FUNCTION @schema@.@side@_export(p_account bigint, p_args jsonb, p_sees text, p_bytes int DEFAULT 2000000) RETURNS SETOF bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	v_left int := p_bytes;
	row record;
	line bytea;
BEGIN
	PERFORM set_config('postern.account_id', p_account::text, true), set_config('postern.sees', p_sees, true);
	FOR row IN EXECUTE gate.list_query('@schema@.exported'::regclass, p_args, @confined@, false) USING p_account, p_args LOOP
		line := record_send(row.v);
		RETURN NEXT line;
		v_left := v_left - octet_length(line);
		EXIT WHEN v_left <= 0;
	END LOOP;
	PERFORM set_config('postern.account_id', '', true), set_config('postern.sees', '', true);
END $f$;
ALTER FUNCTION @schema@.@side@_export(bigint, jsonb, text, int) OWNER TO postern_@side@;
REVOKE ALL ON FUNCTION @schema@.@side@_export(bigint, jsonb, text, int) FROM PUBLIC, postern_tenant, postern_operator;
GRANT EXECUTE ON FUNCTION @schema@.@side@_export(bigint, jsonb, text, int) TO postern_gate;
			$t$;
		END IF;
		IF e.base_table IS NOT NULL THEN
			template := replace(template, '@before@', $t$
	IF p_id IS NOT NULL THEN
		-- the key is looked up first, then the base row is locked: two changes of one object take turns
		SELECT v.id::text INTO v_id FROM @item@ v WHERE CASE WHEN @is_id_c@ THEN v.id::text = p_id ELSE @key_matches@ END @mine_c@;
		PERFORM FROM @base@ v WHERE v.id = v_id::@id@ FOR UPDATE;
		SELECT v.* INTO row FROM @item@ v WHERE v.id = v_id::@id@ @mine_c@;
		IF NOT FOUND THEN
			@not_one@
			PERFORM gate.fail(404, 'there is no such object');
		END IF;
		IF p_match IS NOT NULL AND NOT row.version::text = ANY (p_match) THEN
			PERFORM gate.fail(412, 'the object has changed meanwhile (its version is ' || row.version || '); read it again');
		END IF;
		r.account_id := row.tenant;
		r.old := to_jsonb(row) - '{shown,endpoint}'::text[];
	END IF;
			$t$);
			template := replace(template, '@after@', $t$
	IF r.id IS NOT NULL THEN
		SELECT v.* INTO row FROM @item@ v WHERE v.id = r.id::@id@ @mine_c@;
		IF FOUND THEN
			r.account_id := row.tenant;
			r.new := to_jsonb(row) - '{shown,endpoint}'::text[];
			r.rows := ARRAY[row];
		END IF;
	END IF;
			$t$);
		END IF;
		template := replace(replace(template, '@before@', ''), '@after@', '');
		-- the changes of one account take turns, each from its beginning: its quotas are exact, and no two wait for each other
		template := replace(template, '@turn@', CASE side WHEN 'tenant'
			THEN 'PERFORM FROM postern.accounts a WHERE a.id = c.account_id FOR NO KEY UPDATE;' ELSE '' END);
		template := replace(template, '@not_one@', CASE WHEN side = 'operator' AND named IS NOT NULL
			THEN format('IF NOT (@is_id_c@) AND %s(p_id) = 0 THEN PERFORM domains.not_one(p_id); END IF;', named) ELSE '' END);
		template := replace(template, '@is_id_c@', replace(is_id, 'p_id[x.n]', 'p_id'));
		template := replace(template, '@is_id@', is_id);
		template := replace(template, '@by_key@', CASE WHEN e.key_column IS NULL THEN ''
			WHEN side = 'operator' AND named IS NOT NULL THEN format('UNION ALL SELECT @row@ AS row, v.version, v.tenant FROM @item@ v WHERE q.id IS NULL AND v.id = %s(q.key)', named)
			ELSE format('UNION ALL SELECT @row@ AS row, v.version, v.tenant FROM @item@ v WHERE q.id IS NULL AND v.%I = q.key @mine@', e.key_column) END);
		template := replace(template, '@row@', shown_row);
		template := replace(template, '@rows@', CASE WHEN shows THEN 'bytea' ELSE item END);
		template := replace(template, '@key_matches@', CASE WHEN e.key_column IS NULL THEN 'false'
			WHEN side = 'operator' AND named IS NOT NULL THEN format('v.id = %s(p_id)', named)
			ELSE format('v.%I = p_id', e.key_column) END);
		template := replace(template, '@enter@', CASE side WHEN 'tenant' THEN $t$, set_config('postern.account_id', x.account::text, true)$t$ ELSE '' END
			|| CASE WHEN e.sees THEN $t$, set_config('postern.sees', x.sees, true)$t$ ELSE '' END);
		template := replace(template, '@head@', CASE WHEN to_regproc(schema || '.head') IS NULL THEN 'NULL' ELSE schema || '.head()' END);
		template := replace(template, '@sees_c@', CASE WHEN e.sees THEN 'gate.sees_of(c)' ELSE 'NULL' END);
		template := replace(template, '@mine@', CASE WHEN confined THEN 'AND v.tenant = q.account' ELSE '' END);
		template := replace(template, '@mine_c@', CASE WHEN confined THEN 'AND v.tenant = c.account_id' ELSE '' END);
		template := replace(template, '@confined@', confined::text);
		template := replace(template, '@item_literal@', quote_literal(item) || '::regclass');
		template := replace(template, '@item@', item);
		template := replace(template, '@base@', coalesce(e.base_table::text, ''));
		template := replace(template, '@id@', id_type);
		template := replace(template, '@reads@', coalesce(reads, 'WHEN NULL THEN NULL::jsonb'));
		template := replace(template, '@writes@', coalesce(writes, 'WHEN NULL THEN NULL::postern.done'));
		template := replace(replace(template, '@schema@', schema), '@side@', side);
		EXECUTE template;
	END LOOP;

	-- The statement of admission, and as little in it as may be: PostgreSQL sets up every node and expression anew for every batch,
	-- which costs more than running them. What is known of a request by its number stays in the arrays.
	admission := $t$WITH
	-- who asks for what, and may they? What does not fit together is no request: there is no row for it.
	asked AS MATERIALIZED (
		SELECT x.n::int AS n, @of_operation@ o.resource, o.verb, b.token_id, b.token_name, b.account_id, b.user_id, b.username, b.rank, b.rate_limit, b.scopes,
			b.family, b.whole, b.account_limit,
			CASE WHEN b.token_id IS NULL THEN 'unknown' @open_asked@ ELSE b.refusal END AS refusal
		FROM unnest(p_insecure) WITH ORDINALITY AS x (insecure, n)
		JOIN postern.operations o ON o.operation = p_operation[x.n] AND o.endpoint = @name@ AND p_op[x.n] = ANY (o.reads) @fits@
		LEFT JOIN LATERAL (
			SELECT b.token_id, b.token_name, b.account_id, b.user_id, b.username, b.rank, b.rate_limit, b.scopes, b.family, b.whole, b.account_limit,
				-- those with more than one bucket count in neither where one has nothing left; a token alone sees that when it is counted
				coalesce(gate.judge(b, v_now, p_ip[x.n]::inet, x.insecure, p_admin[x.n], o), CASE @spent@
					WHEN b.looked_at IS NOT NULL THEN gate.spent(b.family, b.rate_limit, b.whole, b.account_limit, v_ago) END) AS refusal
			FROM gate.bearer b
			WHERE b.key_id = p_key[x.n] AND b.digest IN (substr(p_digest[x.n], 1, 32), substr(p_digest[x.n], 33, 32))) b ON true
	),
	-- Count them, in the buckets of their families and of their accounts, each once a batch. A bucket that not all of them fit in any
	-- more raises: each then goes alone. Rows are locked in one order everywhere: two batches never wait for each other in a circle.
	-- Where nothing is left a row is not touched, so a flood writes nothing.
	counted AS (
		UPDATE postern.rates r SET
			window_start = CASE WHEN r.window_start > v_ago THEN r.window_start ELSE v_now END,
			used = CASE WHEN r.window_start > v_ago AND r.used + g.calls > g.least OR g.calls > g.least THEN gate.again(cardinality(p_key))
				WHEN r.window_start > v_ago THEN r.used + g.calls ELSE g.calls END,
			last_used_at = CASE WHEN g.n IS NULL THEN r.last_used_at ELSE v_now END,
			last_used_ip = CASE WHEN g.n IS NULL THEN r.last_used_ip ELSE p_ip[g.n]::inet END
		FROM (SELECT k.id, count(*)::int AS calls, min(k.most) AS least, max(k.most) AS most, max(k.n) AS n
			FROM (SELECT a.family AS id, a.rate_limit AS most, CASE WHEN a.family = a.token_id THEN a.n END AS n FROM asked a WHERE a.refusal IS NULL
				UNION ALL SELECT a.whole, a.account_limit, NULL FROM asked a WHERE a.refusal IS NULL AND a.whole IS NOT NULL) k
			GROUP BY k.id ORDER BY k.id) g
		WHERE r.token_id = g.id AND (r.window_start <= v_ago OR r.used < g.most)
		RETURNING r.token_id, g.calls, r.used, r.window_start
	),
	-- Each of a family's requests in its order has a Remaining of its own.
	judged AS MATERIALIZED (
		SELECT a.*, a.rank = 3 AND a.account_id = 0 AS unbound, c.window_start AS since, a.rate_limit - c.used + c.calls - c.place AS remaining,
			CASE WHEN a.refusal IS NOT NULL THEN a.refusal WHEN c.token_id IS NULL THEN @rate_limit@ END AS why
		FROM asked a LEFT JOIN LATERAL (SELECT c.*, CASE WHEN c.calls = 1 THEN 1
			ELSE (SELECT count(*) FROM asked o WHERE o.family = a.family AND o.refusal IS NULL AND o.n <= a.n) END AS place
			FROM counted c WHERE c.token_id = a.family AND a.refusal IS NULL) c ON true
		ORDER BY a.token_id, why, a.n -- in which refusals are counted: one order everywhere, as above
	),
	found AS MATERIALIZED (
		@reading@
	),
	answered AS MATERIALIZED (
		SELECT s.n, @of_answer@ s.resource, s.verb, s.token_id, s.token_name, s.account_id, s.user_id, s.username, s.rank, s.rate_limit, s.account_limit, s.family, s.whole, s.scopes,
			s.since, s.remaining, s.why, @status@ AS status, @tenant@ AS tenant,
			s.why IS NULL AND (s.family = s.token_id OR gate.used(s.token_id, v_now, p_ip[s.n]))
				OR s.why IS NOT NULL AND s.token_id IS NOT NULL AND gate.refuse(s.token_id, s.why, s.account_id, s.token_name, s.user_id, s.username, v_now) AS shown,
			@columns@
		FROM @from@
	),
	trail AS (
		INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb,
			object_id, method, path, status, outcome, reason, duration_us, ip, user_agent)
		SELECT a.tenant, v_now, p_request_id[a.n]::uuid, 'token', a.token_id, a.token_name, a.user_id, a.username,
			a.resource, a.verb, @object@, p_method[a.n], p_path[a.n], a.status, gate.outcome(a.status),
			coalesce(a.why, p_refusal[a.n], CASE a.status WHEN 400 THEN 'cursor' END),
			p_elapsed_us[a.n] + (date_part('epoch', clock_timestamp() - v_begin) * 1000000)::bigint, p_ip[a.n]::inet, p_agent[a.n]
		FROM answered a WHERE a.shown @stated@
	)
	SELECT a.n, a.status, coalesce(a.why, p_refusal[a.n], CASE a.status WHEN 400 THEN 'cursor' END),
		a.account_id, -- null: the token is none of ours
		@limit@, @remaining@, ceil(date_part('epoch', coalesce(@since@ a.since, gate.window_of(CASE a.why WHEN 'account_limit' THEN a.whole ELSE a.family END, v_now))))::bigint + 60, -- of the bucket that decided
		CASE WHEN a.why IS NOT NULL AND a.status = 403 THEN a.scopes END, a.rank, a.total, a.rows, a.doc, @ticket@
	FROM answered a$t$;
	-- Requests whose rows in the trail are still to come get tickets; others need no statement that is able to.
	plain := replace(replace(replace(replace(replace(admission, '@of_operation@', ''), '@of_answer@', ''), '@fits@', 'AND NOT o.later'), '@stated@', ''), '@ticket@', 'NULL::bigint');
	later := replace(replace(replace(replace(replace(admission, '@of_operation@', 'o.operation, (o.later OR p_later[x.n]) IS TRUE AS later,'), '@of_answer@', 's.operation, s.later,'),
		'@fits@', ''), '@stated@', 'AND NOT (a.later AND a.why IS NULL AND a.status IN (200, 304))'), '@ticket@',
		$t$CASE WHEN a.later AND a.why IS NULL AND a.status IN (200, 304) THEN gate.ticket(a.token_id, a.operation, a.tenant, p_request_id[a.n], p_ip[a.n], p_insecure[a.n],
			p_admin[a.n], p_object[a.n], p_method[a.n], p_path[a.n], p_agent[a.n]) END$t$);
	plain := replace(replace(replace(replace(replace(plain, '@spent@', ''), '@since@', ''), '@limit@', '@of_calls@'), '@remaining@', '@left_of_calls@'), '@object@', '@one@');
	IF heavy = '{}' THEN
		later := replace(replace(replace(replace(later, '@spent@', ''), '@since@', ''), '@limit@', '@of_calls@'), '@remaining@', '@left_of_calls@');
	ELSE
		later := replace(replace(replace(replace(later, '@spent@', $t$WHEN v_action.spent THEN 'action_limit'$t$), '@since@', 'v_action.since,'),
			'@limit@', 'coalesce(v_action.rate_limit, @of_calls@)'), '@remaining@', 'coalesce(v_action.remaining, @left_of_calls@)');
	END IF;
	template := $t$
-- Admit a batch. Every array has one element per request, in order of arrival; `n` numbers them from 1. Rows come back in
-- the order of their tokens. What an operation takes and may read is known here (postern.operations); of the rest an endpoint may
-- say what it likes: it is about the path, the address and the time.
CREATE FUNCTION @schema@.serve(
	p_key text[], p_digest bytea[], p_ip text[], p_insecure boolean[], p_admin boolean[], -- who asks, from where, by an administrator's path
	p_operation text[],                                                             -- what for
	p_op text[], p_id text[], p_limit int[], p_args text[], p_match text[],         -- what is read; p_op '' reads nothing
	-- (p_match: the version a caller has of an object; of a list's cursor, the account it is bound to)
	p_refused int[], p_refusal text[], p_later boolean[],  -- a refusal known before; whether the row comes in a statement of its own
	p_request_id text[], p_object text[], p_method text[], p_path text[], p_agent text[], p_elapsed_us bigint[],
	p_settings int) -- the number of the settings by which all this was judged
RETURNS TABLE (n int, status int, reason text, account_id bigint, rate_limit int, remaining int, reset_at bigint, held text[],
	rank int, total bigint, rows @rows@[], doc text, ticket bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	v_now timestamptz := postern.clock();
	v_begin timestamptz := clock_timestamp();
	v_ago timestamptz := v_now - interval '60 s'; -- a window that began after this is open
	v_action postern.bucket; -- what is left of the heavy actions' bucket, where that is the one that decides
BEGIN
	IF p_settings < gate.settings_number() THEN -- judge it again by those of now; nothing has happened
		RAISE EXCEPTION USING ERRCODE = 'PNSET', MESSAGE = 'settings have changed';
	END IF;
	IF NOT true = ANY (p_later) THEN
		RETURN QUERY @plain@;
	ELSE
		@act@
		RETURN QUERY @later@;
	END IF;
END $f$;

-- One change of an admitted request, with its audit row and event, which uses its ticket up: all or nothing. Raises class PN
-- (gate.fail) or what PostgreSQL says; nothing is then stored. A dry run does everything and takes it back. Whoever waits for the
-- job of a change keeps the ticket, to ask by it.
CREATE FUNCTION @schema@.write(
	p_key text, p_digest bytea, p_ticket bigint, p_id text, p_body jsonb, p_match text[], p_dry boolean, p_wait boolean, p_secrets text[],
	p_elapsed_us bigint, p_idempotency bytea, p_fingerprint bytea)
RETURNS TABLE (id text, account_id bigint, rows @item@[], doc text, kept_status int, kept_headers text, kept_body text, job text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	v_begin timestamptz := clock_timestamp();
	v record;
	t postern.tickets;
	o postern.operations;
	c postern.caller;
	r @schema@.change;
	k postern.kept_answers;
	v_action text;
	v_status int;
BEGIN
	SELECT * INTO v FROM gate.prove(p_key, p_digest, p_ticket, @name@);
	t := v.t;
	o := v.o;
	c := v.c;
	DELETE FROM postern.tickets x WHERE x.id = t.id AND x.stated_at IS NULL;
	IF NOT FOUND OR o.does <> 'write' OR o.on_one <> (p_id IS NOT NULL) THEN
		PERFORM gate.not_admitted();
	END IF;
	PERFORM gate.check_body(c, o.operation, p_body);
	PERFORM set_config('postern.operation', o.operation, true); -- gate.work
	v_action := o.resource || '.' || o.verb;
	v_status := CASE WHEN p_dry THEN 200 ELSE o.status END;
	IF p_idempotency IS NOT NULL THEN
		k := gate.replay(c, p_idempotency, p_fingerprint);
		IF k.key IS NOT NULL THEN
			PERFORM gate.trail(c, c.account_id, v_action, p_id, t.method, t.path, k.status, 'replayed',
				p_elapsed_us + (extract(epoch FROM clock_timestamp() - v_begin) * 1000000)::bigint, t.user_agent, NULL);
			RETURN QUERY SELECT NULL::text, NULL::bigint, NULL::@item@[], NULL::text, k.status, k.headers, k.body, NULL::text;
			RETURN;
		END IF;
		INSERT INTO postern.kept_answers (token_id, account_id, key, fingerprint, status, headers, body)
		VALUES (c.token_id, c.account_id, p_idempotency, p_fingerprint, 0, '', ''); -- gate.keep says the rest
	END IF;
	r := @schema@.change(c, o.call, p_id, p_body, p_match, p_dry);
	IF NOT p_dry AND NOT (v_status = 202 AND gate.told_when_done(v_action)) THEN
		PERFORM gate.emit(c, r.account_id, v_action, r.id, coalesce(r.new, r.old, r.doc));
	END IF;
	PERFORM gate.trail(c, r.account_id, v_action, r.id, t.method, t.path, CASE WHEN v_status = 204 AND r.job IS NOT NULL THEN 202 ELSE v_status END, CASE WHEN p_dry THEN 'dry_run' END,
		p_elapsed_us + (extract(epoch FROM clock_timestamp() - v_begin) * 1000000)::bigint, t.user_agent,
		CASE WHEN NOT p_dry THEN gate.changes(r.old, r.new, p_secrets) END);
	IF p_wait AND r.job IS NOT NULL THEN
		t.stated_at := postern.clock();
		t.job_id := r.job;
		t.object_id := r.id;
		INSERT INTO postern.tickets SELECT (t).*;
	END IF;
	RETURN QUERY SELECT r.id, r.account_id, r.rows, CASE WHEN v_status IN (202, 204) THEN coalesce(work.shown(r.job)::text, r.doc::text) ELSE r.doc::text END,
		NULL::int, NULL::text, NULL::text, r.job::text;
END $f$;

-- For Prefer: wait. Has the job of a change ended, and how do the object and the job look now? `p_last`: how they look is told though it
-- has not.
CREATE FUNCTION @schema@.outcome(p_key text, p_digest bytea, p_ticket bigint, p_last boolean)
RETURNS TABLE (ended boolean, rows @rows@[], doc text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	v record;
	t postern.tickets;
	c postern.caller;
	v_rows @rows@[];
	v_ended boolean := true;
BEGIN
	SELECT * INTO v FROM gate.prove(p_key, p_digest, p_ticket, @name@);
	t := v.t;
	c := v.c;
	IF t.job_id IS NULL THEN
		PERFORM gate.not_admitted();
	END IF;
	v_ended := NOT EXISTS (SELECT FROM postern.jobs x WHERE x.id = t.job_id AND x.status IN ('queued', 'running'));
	IF NOT (v_ended OR p_last) THEN
		RETURN QUERY SELECT false, NULL::@rows@[], NULL::text;
		RETURN;
	END IF;
	DELETE FROM postern.tickets x WHERE x.id = t.id;
	@outcome@
	RETURN QUERY SELECT v_ended, v_rows, work.shown(t.job_id)::text;
END $f$;

CREATE FUNCTION @schema@.change(c postern.caller, p_op text, p_id text, p_body jsonb, p_match text[], p_dry boolean)
RETURNS @schema@.change
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	r @schema@.change;
BEGIN
	IF NOT p_dry THEN
		IF gate.may_admin(c) THEN
			RETURN @schema@.operator_write(c, p_op, p_id, p_body, p_match);
		END IF;
		RETURN @schema@.tenant_write(c, p_op, p_id, p_body, p_match);
	END IF;
	BEGIN
		PERFORM set_config('postern.dry', 'on', true); -- for deletions, which say what would go; taken back with the rest
		r := @schema@.change(c, p_op, p_id, p_body, p_match, false);
		RAISE EXCEPTION USING ERRCODE = 'PNDRY'; -- takes the change back; what was seen of it stays in r
	EXCEPTION WHEN SQLSTATE 'PNDRY' THEN
		r.job := NULL;
		RETURN r;
	END;
END $f$;

CREATE FUNCTION @schema@.local_read(p_op text, p_id text, p_limit int, p_args jsonb, p_request_id uuid)
RETURNS TABLE (status int, total bigint, rows @rows@[], doc text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
BEGIN
	IF p_op IN ('next', 'page', 'list', 'get') THEN
		@local_rows@
	ELSE
		RETURN QUERY SELECT 200, NULL::bigint, NULL::@rows@[], @schema@.operator_call(gate.system(p_request_id, NULL), p_op, p_args)::text;
	END IF;
END $f$;
CREATE FUNCTION @schema@.local_write(p_op text, p_id text, p_body jsonb, p_dry boolean, p_status int, p_secrets text[],
	p_request_id uuid, p_action text, p_person text)
RETURNS TABLE (id text, account_id bigint, rows @item@[], doc text, job text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
	c postern.caller := gate.system(p_request_id, p_person);
	r @schema@.change := @schema@.change(c, p_op, p_id, p_body, NULL, p_dry);
BEGIN
	IF NOT p_dry THEN
		PERFORM gate.emit(c, r.account_id, p_action, r.id, coalesce(r.new, r.old, r.doc)) WHERE NOT (p_status = 202 AND gate.told_when_done(p_action));
		PERFORM gate.trail(c, r.account_id, p_action, r.id, NULL, NULL, CASE WHEN p_status = 204 AND r.job IS NOT NULL THEN 202 ELSE p_status END,
			NULL, NULL, NULL, gate.changes(r.old, r.new, p_secrets));
	END IF;
	RETURN QUERY SELECT r.id, r.account_id, r.rows, CASE WHEN p_status IN (202, 204) THEN coalesce(work.shown(r.job)::text, r.doc::text) ELSE r.doc::text END, r.job::text;
END $f$;
	$t$;
	IF exports THEN
		template := template || $t$
-- The next rows of an export that was admitted and has its row in the trail, with the time, by which its end is known: nothing later
-- than that row. With a place as `tail` they are what follows the rows, each with its place.
CREATE FUNCTION @schema@.export(p_key text, p_digest bytea, p_ticket bigint, p_args jsonb) RETURNS TABLE (line bytea, clock timestamptz, place text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	v record;
	t postern.tickets;
	o postern.operations;
	c postern.caller;
	v_args jsonb;
BEGIN
	SELECT * INTO v FROM gate.prove(p_key, p_digest, p_ticket, @name@);
	t := v.t;
	o := v.o;
	c := v.c;
	IF o.does <> 'export' OR t.stated_at IS NULL THEN
		PERFORM gate.not_admitted();
	END IF;
	v_args := p_args || jsonb_build_object('until', least((p_args ->> 'until')::timestamptz, t.stated_at), 'since_column', @time@);
	IF gate.may_admin(c) THEN
		RETURN QUERY SELECT x.line, t.stated_at, x.place FROM @schema@.local_export(v_args, gate.sees_of(c)) x;
	ELSIF c.account_id > 0 AND NOT p_args ? 'tail' THEN
		RETURN QUERY SELECT x, t.stated_at, NULL::text FROM @schema@.tenant_export(c.account_id, v_args, gate.sees_of(c)) x;
	END IF;
END $f$;
CREATE FUNCTION @schema@.local_export(p_args jsonb, p_sees text DEFAULT '*') RETURNS TABLE (line bytea, clock timestamptz, place text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	v_now timestamptz := postern.clock();
BEGIN
	IF NOT p_args ? 'tail' THEN
		RETURN QUERY SELECT x, v_now, NULL::text FROM @schema@.operator_export(0, p_args, p_sees) x;
@tail@
	END IF;
END $f$;
		$t$;
	END IF;
	-- only what this endpoint has is in its statement
	template := replace(replace(template, '@plain@', plain), '@later@', replace(later, '@object@', '@one@'));
	-- what answers without a token, too, and is still open as the settings say (p_match): whoever is not let in is answered as nobody is
	template := replace(replace(template, '@open_asked@', CASE WHEN opens THEN
		$t$WHEN b.refusal IS NOT NULL AND o.open AND p_match[x.n] = 'open' THEN 'open'$t$ ELSE '' END), '@rate_limit@', CASE WHEN opens THEN
		$t$CASE p_match[a.n] WHEN 'open' THEN 'open' ELSE 'rate_limit' END$t$ ELSE $t$'rate_limit'$t$ END);
	template := replace(template, '@act@', CASE WHEN heavy = '{}' THEN '' ELSE format($t$IF p_operation && %L::text[] THEN
			v_action := gate.act(p_key, p_digest, p_ip, p_insecure, p_admin, p_operation, v_now);
		END IF;$t$, heavy) END);
	template := replace(template, '@of_calls@', $t$CASE a.why WHEN 'account_limit' THEN a.account_limit ELSE a.rate_limit END$t$);
	template := replace(template, '@left_of_calls@', $t$coalesce(a.remaining, CASE a.why WHEN 'account_limit' THEN 0 ELSE gate.left_of(a.family, a.rate_limit, v_now) END)::int$t$);
	template := replace(template, '@one@', CASE WHEN e.base_table IS NULL THEN 'p_object[a.n]'
		ELSE $t$CASE WHEN p_op[a.n] = 'get' AND a.status IN (200, 304) THEN p_id[a.n] ELSE p_object[a.n] END$t$ END);
	template := replace(template, '@reading@', CASE WHEN e.base_table IS NULL THEN 'SELECT 1' ELSE $t$SELECT r.* FROM (SELECT
			array_agg(s.n) FILTER (WHERE NOT s.unbound) AS tenants, array_agg(s.account_id) FILTER (WHERE NOT s.unbound) AS accounts,
			array_agg(s.n) FILTER (WHERE s.unbound) AS operators @told@
			FROM judged s WHERE s.why IS NULL AND p_refused[s.n] IS NULL AND p_op[s.n] IN ('next', 'page', 'list', 'get')
			AND (p_match[s.n] IS NULL OR p_op[s.n] = 'get' OR p_match[s.n] = s.account_id::text)) x, -- no cursor of another account
			LATERAL (
			SELECT * FROM @schema@.tenant_read(x.tenants, x.accounts, p_op, p_id, p_limit, p_args, @tenants_see@) WHERE x.tenants IS NOT NULL
			UNION ALL
			SELECT * FROM @schema@.operator_read(x.operators, NULL, p_op, p_id, p_limit, p_args, @operators_see@) WHERE x.operators IS NOT NULL) r$t$ END);
	template := replace(replace(replace(template, '@tenants_see@', CASE WHEN e.sees THEN 'x.tenants_see' ELSE 'NULL' END),
		'@operators_see@', CASE WHEN e.sees THEN 'x.operators_see' ELSE 'NULL' END), '@told@', CASE WHEN e.sees THEN $t$,
			array_agg(gate.sees_of_key(p_key[s.n])) FILTER (WHERE NOT s.unbound) AS tenants_see,
			array_agg(gate.sees_of_key(p_key[s.n])) FILTER (WHERE s.unbound) AS operators_see$t$ ELSE '' END);
	template := replace(template, '@status@', 'CASE WHEN s.why IS NOT NULL THEN gate.status_of(s.why) WHEN p_refused[s.n] IS NOT NULL THEN greatest(p_refused[s.n], 400)'
		|| CASE WHEN e.base_table IS NULL THEN '' ELSE $t$
				WHEN p_op[s.n] = 'get' THEN CASE WHEN d.version IS NULL THEN @absent@ WHEN p_match[s.n] IN (d.version, '*') THEN 304 ELSE 200 END
				WHEN d.n IS NULL AND p_op[s.n] IN ('next', 'list') THEN 400$t$ END || ' ELSE 200 END');
	template := replace(template, '@tenant@', CASE WHEN e.base_table IS NULL THEN 's.account_id'
		ELSE $t$CASE WHEN s.unbound AND p_op[s.n] = 'get' THEN coalesce(d.tenant, s.account_id) ELSE s.account_id END$t$ END);
	template := replace(template, '@columns@', CASE WHEN e.base_table IS NULL THEN 'NULL::bigint AS total, NULL::text[] AS rows' ELSE 'd.total, d.rows' END
		|| ', ' || CASE WHEN reads IS NULL THEN 'NULL::text AS doc' ELSE $t$CASE WHEN s.why IS NOT NULL OR p_refused[s.n] IS NOT NULL OR p_op[s.n] IN ('', 'next', 'page', 'list', 'get') THEN NULL
				WHEN s.unbound THEN @schema@.operator_call(gate.caller(gate.recognise(p_key[s.n], p_digest[s.n]), p_ip[s.n]::inet, p_request_id[s.n]::uuid), p_op[s.n], p_args[s.n]::jsonb)::text
				ELSE @schema@.tenant_call(gate.caller(gate.recognise(p_key[s.n], p_digest[s.n]), p_ip[s.n]::inet, p_request_id[s.n]::uuid), p_op[s.n], p_args[s.n]::jsonb)::text END AS doc$t$ END);
	template := replace(template, '@tail@', CASE WHEN tails THEN $t$
	ELSIF p_sees = '*' THEN -- else what was left out of a row would look changed
		RETURN QUERY SELECT convert_to(t.line, 'UTF8'), v_now, t.place FROM @schema@.tail((p_args ->> 'until')::timestamptz, p_args ->> 'tail') t;$t$ ELSE '' END);
	template := replace(template, '@outcome@', CASE WHEN e.base_table IS NULL THEN '' ELSE $t$
	IF t.object_id IS NOT NULL AND gate.may_admin(c) THEN
		SELECT r.rows INTO v_rows FROM @schema@.operator_read(ARRAY[1], NULL, ARRAY['get'], ARRAY[t.object_id], ARRAY[1], ARRAY['{}'], ARRAY[gate.sees_of(c)]) r;
	ELSIF t.object_id IS NOT NULL THEN
		SELECT r.rows INTO v_rows FROM @schema@.tenant_read(ARRAY[1], ARRAY[c.account_id], ARRAY['get'], ARRAY[t.object_id], ARRAY[1], ARRAY['{}'],
			ARRAY[gate.sees_of(c)]) r;
	END IF;$t$ END);
	template := replace(template, '@from@', CASE WHEN e.base_table IS NULL THEN 'judged s' ELSE 'judged s LEFT JOIN found d ON d.n = s.n' END);
	template := replace(template, '@local_rows@', CASE WHEN e.base_table IS NULL THEN 'NULL;' ELSE $t$RETURN QUERY SELECT CASE WHEN p_op = 'get' AND r.version IS NULL THEN @absent_here@ ELSE 200 END, r.total, r.rows, NULL::text
		FROM @schema@.operator_read(ARRAY[1], NULL, ARRAY[p_op], ARRAY[p_id], ARRAY[p_limit], ARRAY[p_args::text], ARRAY['*']) r;$t$ END);
	template := replace(template, '@absent@', CASE WHEN named IS NULL THEN '404'
		ELSE format('CASE WHEN s.unbound AND NOT (%s) AND %s(p_id[s.n]) = 0 THEN 409 ELSE 404 END', replace(is_id, 'x.n', 's.n'), named) END);
	template := replace(template, '@absent_here@', CASE WHEN named IS NULL THEN '404'
		ELSE format('CASE WHEN NOT (%s) AND %s(p_id) = 0 THEN 409 ELSE 404 END', replace(is_id, 'p_id[x.n]', 'p_id'), named) END);
	template := replace(replace(template, '@rows@', CASE WHEN shows THEN 'bytea' ELSE item END), '@item@', item);
	template := replace(template, '@time@', CASE WHEN gate.type_of(to_regclass(schema || '.exported'), 'at') IS NULL THEN '''updated_at''' ELSE '''at''' END);
	template := replace(replace(template, '@schema@', schema), '@name@', quote_literal(e.name));
	EXECUTE template;
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = schema::regnamespace
	         AND p.proname IN ('serve', 'write', 'outcome', 'export', 'local_read', 'local_write', 'local_export', 'change') LOOP
		EXECUTE format('ALTER FUNCTION %s OWNER TO postern_gate', f);
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = schema::regnamespace AND p.proname IN ('serve', 'write', 'outcome', 'export', 'open') LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', f, login);
	END LOOP;
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = schema::regnamespace AND p.proname IN ('local_read', 'local_write', 'local_export') LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_cli', f);
	END LOOP;
	IF to_regprocedure(schema || '.learn(jsonb, boolean)') IS NOT NULL THEN
		EXECUTE format('ALTER FUNCTION %s.learn(jsonb, boolean) OWNER TO postern_operator', schema);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s.learn(jsonb, boolean) TO %s', schema, login);
	END IF;
	EXECUTE format('GRANT EXECUTE ON FUNCTION gate.settings_held(int), gate.compatible_from(), gate.settle(),
		gate.record(text, bytea, bigint, int, text, bigint),
		gate.keep(text, bytea, bytea, int, text, text) TO %s', login);
END $build$;

-- Keep the column `shown` of a base table: what record_send makes of the view's other columns. Set by a trigger after each
-- change, which the setting itself is not, and here for all rows that are not as the view has them now.
CREATE FUNCTION gate.build_shown(t regclass, view regclass) RETURNS void
LANGUAGE plpgsql AS $build$
DECLARE
	row text := format('(SELECT record_send(x) FROM (SELECT %s FROM %s v WHERE v.id = b.id) x)',
		(SELECT string_agg(format('v.%I', attname), ', ' ORDER BY attnum) FROM pg_attribute
		 WHERE attrelid = view AND attnum > 0 AND NOT attisdropped AND attname <> 'shown'), view);
	others text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = t AND attnum > 0 AND NOT attisdropped AND attname <> 'shown');
	f text := split_part(view::text, '.', 1) || '.show()';
BEGIN
	EXECUTE format($t$
		CREATE OR REPLACE FUNCTION %s RETURNS trigger
		LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
		BEGIN
			UPDATE %s b SET shown = %s WHERE b.id = NEW.id;
			RETURN NULL;
		END $f$
	$t$, f, t, row);
	EXECUTE format('ALTER FUNCTION %s OWNER TO postern_operator', f);
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	EXECUTE format('CREATE OR REPLACE TRIGGER show AFTER INSERT OR UPDATE OF %s ON %s FOR EACH ROW EXECUTE FUNCTION %s', others, t, f);
	EXECUTE format('UPDATE %s b SET shown = %s WHERE b.shown IS DISTINCT FROM %s', t, row, row);
END $build$;
REVOKE ALL ON FUNCTION gate.build_endpoint(postern.endpoints), gate.build_shown(regclass, regclass) FROM PUBLIC;
ALTER FUNCTION gate.build_endpoint(postern.endpoints) OWNER TO postern_owner;
ALTER FUNCTION gate.build_shown(regclass, regclass) OWNER TO postern_owner;
GRANT EXECUTE ON FUNCTION gate.settings_held(int), gate.compatible_from() TO postern_cli;
ALTER ROLE postern_cli SET random_page_cost = 1.1;
