-- What an administrator suspended, disabled or kept stays so until an administrator lifts it. A table with such a measure has the
-- column `held`, the names of the columns whose value is held, and the trigger gate.hold, which writes it and heeds it: whatever
-- way a tenant's change takes, it does not change these columns, and does not delete the row, as what is made anew is free.
SET LOCAL ROLE postern_owner;

-- Whose measure counts as an administrator's: one of rank 3, bound to an account or not, the operator's command, the clock.
CREATE FUNCTION gate.is_staff(c postern.caller) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT c.rank = 3 $$;

CREATE FUNCTION gate.held_by(held text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT CASE WHEN held <> '{}' THEN 'administrator' END $$;

-- What an administrator did to it, for people: "an administrator suspended the domain example.org".
CREATE FUNCTION gate.held_text(one text, field text, x jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT format('an administrator %s the %s %s', CASE WHEN field IN ('status', 'suspended') THEN 'suspended' WHEN field = 'enabled' THEN 'disabled'
		WHEN field = 'keep' THEN 'keeps' ELSE 'set ' || field || ' of' END, one,
		coalesce(x ->> 'domain', x ->> 'address', x ->> 'name', x ->> 'username', x ->> 'id'))
$$;

-- The same, in the way of what a tenant wants to do with an object that it keeps as it is.
CREATE FUNCTION gate.check_held(c postern.caller, held text[], one text, x jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF held <> '{}' AND NOT gate.is_staff(c) THEN
		PERFORM gate.fail(409, gate.held_text(one, held[1], x) || '; ask an administrator to change that');
	END IF;
END $$;

-- Trigger arguments: what a row is, then pairs: a column, and the value of it that is a measure.
CREATE FUNCTION gate.hold() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	v_staff boolean := postern.rank() = 3;
	v_tenant boolean := coalesce(postern.rank() < 3, current_user = 'postern_tenant');
	v_text text;
	f text;
BEGIN
	IF v_tenant AND TG_OP <> 'INSERT' AND OLD.held <> '{}' THEN
		v_text := gate.held_text(TG_ARGV[0], OLD.held[1], old_row);
		IF TG_OP = 'DELETE' OR new_row ->> 'status' = 'deleting' AND old_row ->> 'status' <> 'deleting' THEN
			PERFORM gate.fail(409, v_text || '; only an administrator can delete it');
		END IF;
		FOREACH f IN ARRAY OLD.held LOOP
			IF new_row -> f IS DISTINCT FROM old_row -> f THEN
				PERFORM gate.fail(409, gate.held_text(TG_ARGV[0], f, old_row) || '; ask an administrator to change that',
					CASE WHEN f NOT IN ('status', 'suspended') THEN jsonb_build_object(f, 'is held by an administrator') END);
			END IF;
		END LOOP;
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	ELSIF v_staff THEN
		FOR i IN 1 .. TG_NARGS - 1 BY 2 LOOP
			f := TG_ARGV[i];
			IF new_row -> f IS DISTINCT FROM old_row -> f THEN
				NEW.held := array_remove(NEW.held, f) || CASE WHEN new_row ->> f = TG_ARGV[i + 1] THEN ARRAY[f] ELSE '{}' END;
			END IF;
		END LOOP;
	ELSIF v_tenant THEN
		NEW.held := CASE TG_OP WHEN 'INSERT' THEN '{}' ELSE OLD.held END;
	END IF;
	RETURN NEW;
END $$;

DO $$
DECLARE
	x record;
BEGIN
	FOR x IN SELECT * FROM (VALUES
		('domains', 'domain', '{status,suspended,mail_enabled,false}'::text[]),
		('websites', 'website', '{suspended,true}'),
		('mailboxes', 'mailbox', '{status,suspended}'),
		('forwarders', 'forwarder', '{status,suspended}'),
		('users', 'user', '{status,suspended}'),
		('databases', 'database', '{suspended,true}'),
		('cron', 'cron job', '{enabled,false}'),
		('certificates', 'certificate', '{auto_renew,false}'),
		('backups', 'backup', '{keep,true}') -- one that is made to be kept is held from its making on
	) v (name, one, measures) LOOP
		EXECUTE format('CREATE TRIGGER hold BEFORE %sUPDATE OR DELETE ON postern.%I FOR EACH ROW
			WHEN (postern.rank() IS NOT NULL OR current_user = ''postern_tenant'') EXECUTE FUNCTION gate.hold(%L, %s)',
			CASE WHEN x.name = 'backups' THEN 'INSERT OR ' ELSE '' END, x.name, x.one,
			(SELECT string_agg(quote_literal(m), ', ' ORDER BY n) FROM unnest(x.measures) WITH ORDINALITY AS u (m, n)));
	END LOOP;
END $$;

-- An administrator takes over a measure that the tenant had taken already: from now on it is held. False: there is nothing to take over.
CREATE FUNCTION gate.take_over(t regclass, o text, field text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ -- no tenant's role writes the column
DECLARE
	v_count int := 0;
BEGIN
	IF postern.rank() = 3 AND gate.type_of(t, 'held') IS NOT NULL THEN
		EXECUTE format('UPDATE %s SET held = held || $1, version = version + 1, updated_at = postern.clock()
			WHERE id = $2 AND $1 <> ALL (held) AND postern.account() IN (0, account_id)', t)
		USING field, o::bigint;
		GET DIAGNOSTICS v_count = ROW_COUNT;
	END IF;
	RETURN v_count > 0;
END $$;

-- A token that an administrator made for an administrator, bound to an account or not, is no tenant's to change. Its own bearer may
-- rename, rotate and revoke it.
CREATE FUNCTION gate.hold_token() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_tenant boolean := coalesce(postern.rank() < 3, current_user = 'postern_tenant');
BEGIN
	IF TG_OP = 'INSERT' THEN -- an owner whom the caller cannot see is an administrator
		NEW.by_staff := NOT v_tenant AND coalesce((SELECT r.rank FROM postern.users u JOIN postern.roles r ON r.name = u.role
			WHERE u.id = NEW.user_id), 3) = 3;
		RETURN NEW;
	ELSIF v_tenant AND OLD.by_staff AND OLD.id::text IS DISTINCT FROM current_setting('postern.token_id', true) THEN
		PERFORM gate.fail(409, format('an administrator made the token %s; only an administrator changes or revokes it', OLD.name));
	ELSIF TG_OP = 'DELETE' THEN
		RETURN OLD;
	ELSIF v_tenant THEN
		NEW.by_staff := OLD.by_staff;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE INSERT OR UPDATE OR DELETE ON postern.tokens FOR EACH ROW EXECUTE FUNCTION gate.hold_token();

-- A job that an administrator, the operator or a schedule asked for is no tenant's to cancel or to do again.
CREATE FUNCTION gate.job_held_by(j postern.jobs) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN j.by_tenant THEN NULL WHEN j.source = 'schedule' THEN 'schedule' ELSE 'administrator' END
$$;
CREATE FUNCTION gate.check_asked(c postern.caller, j postern.jobs, p_verb text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF NOT j.by_tenant AND NOT gate.is_staff(c) THEN
		PERFORM gate.fail(409, format('%s asked for this job; ask an administrator to %s it',
			CASE j.source WHEN 'schedule' THEN 'a schedule' ELSE 'an administrator' END, p_verb));
	END IF;
END $$;
-- Nor does a tenant end one that waits by deleting what it is about. What only brings the machine to the row's state need not be
-- done any more.
CREATE FUNCTION gate.check_waiting(c postern.caller, p_resource text, p_object text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_kind text := (SELECT j.kind FROM postern.jobs j WHERE j.resource = p_resource AND j.object_id = p_object AND j.status = 'queued'
		AND NOT j.by_tenant AND j.source <> 'schedule' AND j.kind NOT LIKE '%.apply' LIMIT 1);
BEGIN
	IF v_kind IS NOT NULL AND NOT gate.is_staff(c) THEN
		PERFORM gate.fail(409, format('an administrator asked for the job %s, which is still waiting; delete the object when that job has ended', v_kind));
	END IF;
END $$;

-- May the token read what a job works on? A plugin's job about an event may hold anything that events tell.
CREATE FUNCTION gate.sees_job(p_resource text, p_kind text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN p_resource IN ('plugins', 'plugin') AND p_kind LIKE '%.event' THEN gate.sees_all() ELSE coalesce(gate.sees(p_resource), false) END
$$;
-- Why a job's last attempt did not succeed; staff reads what is in its way, too.
CREATE FUNCTION gate.job_error(j postern.jobs) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN j.error IS NOT NULL AND gate.sees('staff') THEN coalesce(j.blocked, j.error) ELSE j.error END
$$;

RESET ROLE;
ALTER FUNCTION gate.take_over(regclass, text, text) OWNER TO postern_operator;
GRANT EXECUTE ON FUNCTION gate.is_staff(postern.caller), gate.held_by(text[]), gate.held_text(text, text, jsonb),
	gate.check_held(postern.caller, text[], text, jsonb),
	gate.take_over(regclass, text, text), gate.hold(), gate.hold_token(),
	gate.check_asked(postern.caller, postern.jobs, text), gate.check_waiting(postern.caller, text, text),
	gate.sees_job(text, text), gate.job_held_by(postern.jobs), gate.job_error(postern.jobs) TO postern_gate, postern_tenant, postern_operator;
