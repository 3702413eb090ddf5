-- Which columns the roles that run functions may write: what a function of a tenant's never changes, that role may not write either.
-- A tenant's are all named here; an operator's where they are fewer than the table has. A new column of a table that is named
-- here is nobody's of postern_tenant until it is added.
SET LOCAL ROLE postern_owner;
DO $$
DECLARE
	g record;
	v_all text;
BEGIN
	FOR g IN SELECT x.role, x.verb, 'postern.' || x.name AS t, x.columns, x.but FROM (VALUES
		('postern_tenant', 'UPDATE', 'accounts', 'name, email, version, updated_at', false),
		('postern_tenant', 'INSERT', 'users', 'account_id, username, email, role', false),
		('postern_tenant', 'UPDATE', 'users', 'email, status, version, updated_at', false),
		('postern_tenant', 'INSERT', 'tokens', 'account_id, user_id, name, role, scopes, deny, allowed_ips, rate_limit, action_limit, expires_at, parent_id', false),
		('postern_tenant', 'UPDATE', 'tokens', 'name, revoked_at, version, updated_at', false),
		('postern_tenant', 'INSERT', 'keys', 'key_id, token_id, account_id, digest, pepper_id', false),
		('postern_tenant', 'INSERT', 'rates', 'token_id, account_id', false),
		('postern_tenant', 'INSERT', 'domains', 'account_id, domain, type, document_root, mail_enabled, www, alias_of, status, proof, proven_at, proof_next_at', false),
		('postern_tenant', 'UPDATE', 'domains', 'type, document_root, mail_enabled, alias_of, ssl_status, status, job_id, version, updated_at', false),
		('postern_tenant', 'INSERT', 'mailboxes', 'account_id, domain_id, address, password, quota_mb', false),
		('postern_tenant', 'UPDATE', 'mailboxes', 'password, quota_mb, status, version, updated_at', false),
		('postern_tenant', 'INSERT', 'forwarders', 'account_id, domain_id, address, destinations', false),
		('postern_tenant', 'UPDATE', 'forwarders', 'destinations, status, version, updated_at', false),
		('postern_tenant', 'INSERT', 'websites', 'account_id, id, domain_id, web_server, document_root, runtime, php_version, proxy_target, https_redirect, hsts, max_body_mb, aliases, last_error, job_id', false),
		('postern_tenant', 'UPDATE', 'websites', 'web_server, document_root, runtime, php_version, proxy_target, https_redirect, hsts, max_body_mb, aliases, suspended, status, last_error, job_id, version, updated_at', false),
		('postern_tenant', 'INSERT', 'certificates', 'version, account_id, domain_id, source, wanted, names_given, key_algorithm, auto_renew', false),
		('postern_tenant', 'UPDATE', 'certificates', 'source, wanted, names_given, key_algorithm, auto_renew, status, job_id, version, updated_at', false),
		('postern_tenant', 'INSERT', 'databases', 'account_id, engine, name, username, charset, verifier', false),
		('postern_tenant', 'UPDATE', 'databases', 'charset, verifier, suspended, status, last_error, job_id, version, updated_at', false),
		('postern_tenant', 'INSERT', 'backups', 'account_id, kind, note, keep', false),
		('postern_tenant', 'UPDATE', 'backups', 'status, job_id, version, updated_at', false),
		('postern_tenant', 'INSERT', 'cron', 'account_id, name, schedule, command, enabled, time_zone', false),
		('postern_tenant', 'UPDATE', 'cron', 'name, schedule, command, enabled, time_zone, runs, status, job_id, version, updated_at', false),
		('postern_tenant', 'INSERT', 'jobs', 'account_id, kind, resource, object_id, input, secret, token_id, request_id, source, by_tenant, operation', false),
		('postern_tenant', 'UPDATE', 'jobs', 'by_tenant, status, cancel, message, attempts, run_at, error, progress, started_at, finished_at, version, updated_at', false),
		('postern_tenant', 'INSERT', 'services', '', false),
		('postern_tenant', 'UPDATE', 'services', 'job_id, job_error, version, updated_at', false),
		('postern_tenant', 'DELETE', 'services', NULL, false),
		('postern_operator', 'UPDATE', 'accounts', 'id, username, home, managed, created_at', true),
		('postern_operator', 'UPDATE', 'users', 'id, username, created_at', true),
		('postern_operator', 'INSERT', 'roles', 'name, base, description, scopes', false),
		('postern_operator', 'UPDATE', 'roles', 'base, description, scopes, version, updated_at', false),
		('postern_operator', 'UPDATE', 'tokens', 'name, revoked_at, version, updated_at', false)
	) x (role, verb, name, columns, but) LOOP
		EXECUTE format('REVOKE %s ON %s FROM %I', g.verb, g.t, g.role); -- what was granted by columns, too
		v_all := CASE WHEN g.but THEN (SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a WHERE a.attrelid = g.t::regclass
			AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> ALL (string_to_array(g.columns, ', '))) ELSE g.columns END;
		IF v_all <> '' THEN
			EXECUTE format('GRANT %s (%s) ON %s TO %I', g.verb, v_all, g.t, g.role);
		END IF;
	END LOOP;
END $$;
RESET ROLE;

-- What migrations gave once, and what may be lost since: every program's role logs in to this database, and the walls stand.
DO $$
DECLARE
	w record;
BEGIN
	FOR w IN SELECT r.rolname, r.rolcanlogin FROM pg_roles r
		WHERE r.rolname IN (SELECT 'postern_' || x.name FROM (SELECT e.name FROM postern.endpoints e UNION ALL VALUES ('cli'), ('worker')) x) LOOP
		IF NOT w.rolcanlogin THEN
			EXECUTE format('ALTER ROLE %I LOGIN', w.rolname);
		END IF;
		EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), w.rolname);
		IF w.rolname IN ('postern_cli', 'postern_worker') THEN
			EXECUTE format('GRANT USAGE ON SCHEMA postern TO %I', w.rolname);
		END IF;
	END LOOP;
	FOR w IN SELECT t.oid::regclass AS name FROM pg_class t WHERE t.relnamespace = 'postern'::regnamespace
		AND EXISTS (SELECT FROM pg_policy y WHERE y.polrelid = t.oid) AND NOT (t.relrowsecurity AND t.relforcerowsecurity) LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', w.name);
	END LOOP;
END $$;
