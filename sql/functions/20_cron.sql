-- cron: commands that run by the clock. What a schedule means is what cron makes of it (crontab(5), cron(8)); an account's
-- crontab as a whole is what posternd's action writes (worker/actions/cron.c).
DO $$ BEGIN -- the one name that an extension (pg_cron) is known to use, too
	IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'cron' AND nspowner <> 'postern_owner'::regrole) THEN
		RAISE EXCEPTION 'the schema cron of this database is not Postern''s; give Postern a database of its own (settings dsn and dsn_direct)';
	END IF;
END $$;
DROP SCHEMA IF EXISTS cron CASCADE;
CREATE SCHEMA cron AUTHORIZATION postern_owner;
GRANT USAGE ON SCHEMA cron TO postern_worker;
SET LOCAL ROLE postern_owner;

-- A schedule that was understood.
CREATE TYPE cron.plan AS (
	minutes int[], hours int[], days int[], months int[], weekdays int[],
	line     text,     -- in digits only, as it stands in the crontab
	wild     boolean,  -- minute or hour begin with *: it goes by the clock's hands, also when the clock is put forward or back
	either   boolean   -- day of month and day of week are both restricted: one of the two is enough
);

-- One part as the numbers it stands for, and as the same text in digits. 422 says which part is wrong, and its bounds.
CREATE FUNCTION cron.part(p_text text, p_which int, OUT numbers int[], OUT line text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_name text := (ARRAY['minute', 'hour', 'day of month', 'month', 'day of week'])[p_which];
	v_low int := (ARRAY[0, 0, 1, 1, 0])[p_which];
	v_high int := (ARRAY[59, 23, 31, 12, 7])[p_which];
	v_words text[] := CASE p_which WHEN 4 THEN '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'::text[]
		WHEN 5 THEN '{sun,mon,tue,wed,thu,fri,sat}'::text[] ELSE '{}'::text[] END;
	v_takes text := format('%s takes %s to %s%s', v_name, v_low, v_high, CASE p_which WHEN 4 THEN ' or jan to dec' WHEN 5 THEN ' (0 and 7 are Sunday) or sun to sat' ELSE '' END);
	v_item text;
	m text[];
	v_from int;
	v_to int;
	v_step int;
BEGIN
	numbers := '{}';
	FOREACH v_item IN ARRAY string_to_array(p_text, ',') LOOP
		m := regexp_match(v_item, '^(?:(\*)|([0-9]{1,9}|[a-z]{3})(?:-([0-9]{1,9}|[a-z]{3}))?)(?:/([0-9]{1,9}))?$');
		IF m IS NULL THEN
			PERFORM gate.invalid('schedule', format('%s: "%s" cannot be read; %s, a range (2-5), *, either of these with a step (*/2), or a list of such', v_name, v_item, v_takes));
		END IF;
		v_from := CASE WHEN m[1] IS NOT NULL THEN v_low WHEN m[2] ~ '[0-9]' THEN m[2]::int ELSE array_position(v_words, m[2]) - 1 + v_low END;
		v_to := CASE WHEN m[1] IS NOT NULL THEN v_high WHEN m[3] IS NULL THEN v_from WHEN m[3] ~ '[0-9]' THEN m[3]::int
			WHEN m[3] = 'sun' AND v_from > 0 THEN 7 ELSE array_position(v_words, m[3]) - 1 + v_low END;
		v_step := coalesce(m[4]::int, 1);
		IF NOT coalesce(v_from BETWEEN v_low AND v_high AND v_to BETWEEN v_low AND v_high, false) THEN
			PERFORM gate.invalid('schedule', format('%s: "%s" is out of bounds; %s', v_name, v_item, v_takes));
		ELSIF v_from > v_to THEN
			PERFORM gate.invalid('schedule', format('%s: "%s" ends before it begins; write two ranges, separated by a comma', v_name, v_item));
		ELSIF m[4] IS NOT NULL AND m[1] IS NULL AND m[3] IS NULL THEN
			PERFORM gate.invalid('schedule', format('%s: "%s" has a step, which a range must come before; write %s-%s/%s', v_name, v_item, v_from, v_high, v_step));
		ELSIF v_step NOT BETWEEN 1 AND v_high THEN
			PERFORM gate.invalid('schedule', format('%s: the step of "%s" is out of bounds; it must be from 1 to %s', v_name, v_item, v_high));
		END IF;
		numbers := numbers || ARRAY(SELECT CASE WHEN p_which = 5 THEN n % 7 ELSE n END FROM generate_series(v_from, v_to, v_step) n);
		line := concat_ws(',', line, coalesce(m[1], v_from || CASE WHEN m[3] IS NOT NULL THEN '-' || v_to ELSE '' END) || coalesce('/' || m[4], ''));
	END LOOP;
	numbers := ARRAY(SELECT DISTINCT n FROM unnest(numbers) n ORDER BY n);
END $$;

CREATE FUNCTION cron.plan_of(p_schedule text) RETURNS cron.plan
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_text text := lower(btrim(regexp_replace(p_schedule, ' +', ' ', 'g')));
	v_parts text[] := string_to_array(CASE v_text WHEN '@hourly' THEN '0 * * * *' WHEN '@daily' THEN '0 0 * * *' WHEN '@midnight' THEN '0 0 * * *'
		WHEN '@weekly' THEN '0 0 * * 0' WHEN '@monthly' THEN '0 0 1 * *' WHEN '@yearly' THEN '0 0 1 1 *' WHEN '@annually' THEN '0 0 1 1 *' ELSE v_text END, ' ');
	v_line text;
	v_lines text[];
	p cron.plan;
BEGIN
	IF v_text = '@reboot' THEN
		PERFORM gate.invalid('schedule', '@reboot: a start of the machine is no time that could be told; what runs from then on is a service');
	ELSIF v_parts[1] LIKE '@%' THEN
		PERFORM gate.invalid('schedule', format('there is no "%s"; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually', v_text));
	ELSIF cardinality(v_parts) <> 5 THEN
		PERFORM gate.invalid('schedule', format('has %s parts; it takes five: minute, hour, day of month, month, day of week', cardinality(v_parts)));
	END IF;
	SELECT numbers, line INTO p.minutes, v_line FROM cron.part(v_parts[1], 1);
	v_lines := v_lines || v_line;
	SELECT numbers, line INTO p.hours, v_line FROM cron.part(v_parts[2], 2);
	v_lines := v_lines || v_line;
	SELECT numbers, line INTO p.days, v_line FROM cron.part(v_parts[3], 3);
	v_lines := v_lines || v_line;
	SELECT numbers, line INTO p.months, v_line FROM cron.part(v_parts[4], 4);
	v_lines := v_lines || v_line;
	SELECT numbers, line INTO p.weekdays, v_line FROM cron.part(v_parts[5], 5);
	p.line := array_to_string(v_lines || v_line, ' ');
	p.wild := v_parts[1] LIKE '*%' OR v_parts[2] LIKE '*%';
	p.either := v_parts[3] NOT LIKE '*%' AND v_parts[5] NOT LIKE '*%';
	RETURN p;
END $$;

CREATE FUNCTION cron.offset_at(p_at timestamptz, p_zone text) RETURNS interval
LANGUAGE sql STABLE AS $$ SELECT (p_at AT TIME ZONE p_zone) - (p_at AT TIME ZONE 'UTC') $$;

-- When it is this time of the day there. Where the clock is put forward over it: what goes by the clock's hands does not run,
-- anything else right after the change; where it is put back: the one runs twice, the other the first time. (Changes of more than
-- three hours are none of summer time: cron then just goes by the new time.)
CREATE FUNCTION cron.moments(p_local timestamp, p_zone text, p_wild boolean) RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_before interval := cron.offset_at((p_local - interval '1 day') AT TIME ZONE 'UTC', p_zone);
	v_after interval := cron.offset_at((p_local + interval '1 day') AT TIME ZONE 'UTC', p_zone);
	v_first timestamptz := (p_local - greatest(v_before, v_after)) AT TIME ZONE 'UTC';
	v_last timestamptz := (p_local - least(v_before, v_after)) AT TIME ZONE 'UTC';
	v_found timestamptz[] := ARRAY(SELECT DISTINCT t FROM unnest(ARRAY[v_first, v_last]) t WHERE t AT TIME ZONE p_zone = p_local ORDER BY t);
BEGIN
	IF v_found <> '{}' THEN
		RETURN QUERY SELECT unnest(CASE WHEN p_wild THEN v_found ELSE v_found[:1] END);
	ELSIF NOT p_wild AND v_last - v_first <= interval '3 hours' THEN
		RETURN QUERY SELECT t FROM generate_series(v_first, v_last, interval '1 minute') t WHERE cron.offset_at(t, p_zone) = v_after ORDER BY t LIMIT 1;
	END IF;
END $$;

-- The next runs after a time; fewer where they are more than a lifetime away.
CREATE FUNCTION cron.next_runs(p cron.plan, p_after timestamptz, p_zone text, p_count int) RETURNS timestamptz[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_now timestamp := p_after AT TIME ZONE p_zone;
	v_start date := v_now::date - 1; -- of a day that is over a part may come again
	v_month date;
	v_day date;
	v_last date;
	v_found timestamptz[] := '{}';
	v_offset interval;
	v_same boolean;
BEGIN
	FOR i IN 0 .. 12 * 60 LOOP
		v_month := date_trunc('month', v_start) + make_interval(months => i);
		CONTINUE WHEN NOT date_part('month', v_month) = ANY (p.months);
		FOR v_day IN SELECT d::date FROM generate_series(greatest(v_start, v_month)::timestamp, v_month + interval '1 month' - interval '1 day', interval '1 day') d
			WHERE CASE WHEN p.either THEN date_part('day', d) = ANY (p.days) OR date_part('dow', d) = ANY (p.weekdays)
				ELSE date_part('day', d) = ANY (p.days) AND date_part('dow', d) = ANY (p.weekdays) END
		LOOP
			IF v_day > v_last THEN
				RETURN (ARRAY(SELECT DISTINCT t FROM unnest(v_found) t ORDER BY t))[:p_count];
			END IF;
			v_offset := cron.offset_at((v_day - 1)::timestamp AT TIME ZONE 'UTC', p_zone);
			v_same := v_offset = cron.offset_at((v_day + 2)::timestamp AT TIME ZONE 'UTC', p_zone);
			-- the first that come; where the clock changes it may be behind itself by up to three hours
			v_found := v_found || ARRAY(SELECT DISTINCT t FROM (
					SELECT l FROM unnest(p.hours) h, unnest(p.minutes) m, LATERAL (SELECT v_day + make_interval(hours => h, mins => m) AS l) x
					WHERE l > v_now - CASE WHEN v_same THEN interval '0' ELSE interval '3 hours' END ORDER BY l LIMIT p_count + CASE WHEN v_same THEN 0 ELSE 400 END) y,
				LATERAL (SELECT (l - v_offset) AT TIME ZONE 'UTC' AS t WHERE v_same
					UNION ALL SELECT cron.moments(l, p_zone, p.wild) WHERE NOT v_same) z
				WHERE t > p_after ORDER BY t LIMIT p_count);
			IF v_last IS NULL AND cardinality(v_found) >= p_count THEN
				v_last := v_day + 1;
			END IF;
		END LOOP;
	END LOOP;
	RETURN (ARRAY(SELECT DISTINCT t FROM unnest(v_found) t ORDER BY t))[:p_count];
END $$;

-- As an answer shows them: those of the kept ones that are still to come, five at most, by the machine's clock.
CREATE FUNCTION cron.shown_runs(p_runs timestamptz[], p_zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN coalesce((SELECT jsonb_agg(to_char(t AT TIME ZONE p_zone, 'YYYY-MM-DD"T"HH24:MI:SS')
			|| CASE WHEN o < interval '0' THEN '-' ELSE '+' END || to_char(greatest(o, -o), 'HH24:MI') ORDER BY t)
		FROM (SELECT t, cron.offset_at(t, p_zone) AS o FROM unnest(p_runs) t WHERE t > postern.clock() ORDER BY t LIMIT 5) x), '[]');
END $$;

CREATE VIEW cron.item AS
SELECT x.id, x.account_id, a.username AS account, x.name, x.schedule, x.command, x.enabled, x.status, gate.held_by(x.held) AS held_by,
       cron.shown_runs(x.runs, x.time_zone) AS next_runs, x.time_zone, x.last_run, x.last_error, x.job_id, x.created_at, x.updated_at,
       x.version, x.account_id AS tenant
FROM postern.cron x LEFT JOIN postern.accounts a ON a.id = x.account_id;

-- What runs, and when next: enabled ones of an account that is in service. Three more are kept than are shown: they are
-- counted on once a minute (tick).
CREATE FUNCTION cron.runs_of(x postern.cron) RETURNS timestamptz[]
LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN x.enabled AND x.status <> 'deleting'
			AND EXISTS (SELECT FROM postern.accounts a WHERE a.id = x.account_id AND a.status NOT IN ('suspended', 'deleting'))
		THEN cron.next_runs(cron.plan_of(x.schedule), postern.clock(), x.time_zone, 8) ELSE '{}' END
$$;
-- The account's crontab is written anew, for some of its entries. The job's object is the crontab: two never write one at once.
CREATE FUNCTION cron.apply(c postern.caller, p_account bigint, p_ids bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_job uuid := gate.work(c, p_account, 'cron.apply', 'cron', (SELECT a.username FROM postern.accounts a WHERE a.id = p_account));
BEGIN
	UPDATE postern.cron x SET job_id = v_job, runs = cron.runs_of(x), status = CASE x.status WHEN 'deleting' THEN x.status ELSE 'pending' END
	WHERE x.account_id = p_account AND x.id = ANY (p_ids);
END $$;
-- The account was suspended, or is back, or goes: nothing of it runs any more then.
CREATE FUNCTION cron.follow(c postern.caller, p_account bigint, p_remove boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_ids bigint[] := ARRAY(SELECT x.id FROM postern.cron x WHERE x.account_id = p_account ORDER BY x.id FOR UPDATE);
BEGIN
	IF v_ids <> '{}' THEN
		UPDATE postern.cron x SET version = x.version + 1, updated_at = postern.clock(), status = CASE WHEN p_remove THEN 'deleting' ELSE x.status END
		WHERE x.account_id = p_account;
		PERFORM cron.apply(c, p_account, v_ids);
	END IF;
END $$;

-- A schedule that comes, and a command that fits into a line of a crontab: cron takes 998 bytes there. It stands in them as one
-- word of the shell (worker/actions/cron.c), behind the paths of our program and of its result.
CREATE FUNCTION cron.check(x postern.cron) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_len int := octet_length(x.command) + 3 * (length(x.command) - length(replace(x.command, '''', '')))
		+ 2 * (length(x.command) - length(replace(x.command, '\', ''))) + length(x.command) - length(replace(x.command, '%', ''));
BEGIN
	IF btrim(x.command) = '' THEN
		PERFORM gate.invalid('command', 'must not be empty');
	ELSIF v_len > 700 THEN
		PERFORM gate.invalid('command', format('is too long for cron: 700 bytes at most, where a single quote counts as four, a backslash as three, a %% as two; it has %s. Put it into a script', v_len));
	END IF;
	BEGIN
		IF cron.next_runs(cron.plan_of(x.schedule), postern.clock(), x.time_zone, 1) = '{}' THEN
			PERFORM gate.invalid('schedule', 'day of month: never comes; none of these months has such a day');
		END IF;
	EXCEPTION WHEN invalid_parameter_value THEN
		PERFORM gate.fail(503, format('PostgreSQL does not know this machine''s time zone, %s; link /etc/localtime to one of pg_timezone_names', x.time_zone));
	END;
END $$;

CREATE FUNCTION cron.spaced(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT btrim(regexp_replace(p_text, ' +', ' ', 'g')) $$;
CREATE FUNCTION cron."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	a postern.accounts := users.open_account(c, b);
	x postern.cron;
BEGIN
	PERFORM accounts.check_quota(a.id, 'cron');
	INSERT INTO postern.cron (account_id, name, schedule, command, enabled, time_zone)
	VALUES (a.id, b ->> 'name', cron.spaced(b ->> 'schedule'), b ->> 'command', coalesce((b ->> 'enabled')::boolean, true), b ->> '_time_zone')
	RETURNING * INTO x;
	PERFORM cron.check(x);
	PERFORM cron.apply(c, a.id, ARRAY[x.id]);
	RETURN ROW(x.id, NULL)::postern.done;
END $$;

-- One that can be changed, or run.
CREATE FUNCTION cron.standing(o text) RETURNS postern.cron
LANGUAGE plpgsql AS $$
DECLARE
	x postern.cron;
	v_status text;
BEGIN
	SELECT * INTO x FROM postern.cron y WHERE y.id = o::bigint;
	SELECT a.status INTO v_status FROM postern.accounts a WHERE a.id = x.account_id FOR SHARE;
	IF x.status = 'deleting' THEN
		PERFORM gate.fail(409, 'the cron job is being deleted');
	ELSIF v_status IN ('suspended', 'deleting') THEN
		PERFORM gate.fail(409, accounts.closed(v_status));
	END IF;
	RETURN x;
END $$;
CREATE FUNCTION cron."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.cron := cron.standing(o);
BEGIN
	UPDATE postern.cron y SET name = gate.given(b, 'name', x.name), schedule = cron.spaced(gate.given(b, 'schedule', x.schedule)),
		command = gate.given(b, 'command', x.command), enabled = gate.given(b, 'enabled', x.enabled),
		time_zone = gate.given(b, '_time_zone', x.time_zone), version = y.version + 1, updated_at = postern.clock()
	WHERE y.id = x.id RETURNING * INTO x;
	PERFORM cron.check(x);
	PERFORM cron.apply(c, x.account_id, ARRAY[x.id]);
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION cron.set_enabled(c postern.caller, o text, p_enabled boolean) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	IF (cron.standing(o)).enabled = p_enabled THEN
		PERFORM gate.fail(409, format('the cron job is %s already', CASE WHEN p_enabled THEN 'enabled' ELSE 'disabled' END));
	END IF;
	RETURN cron."update"(c, o, jsonb_build_object('enabled', p_enabled));
END $$;
CREATE FUNCTION cron.enable(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT cron.set_enabled(c, o, true) $$;
CREATE FUNCTION cron.disable(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT cron.set_enabled(c, o, false) $$;

-- One at a time for an account: they are not to take the worker for themselves.
CREATE FUNCTION cron.run(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.cron := cron.standing(o);
BEGIN
	PERFORM gate.check_held(c, x.held, 'cron job', to_jsonb(x));
	PERFORM FROM postern.accounts a WHERE a.id = x.account_id FOR NO KEY UPDATE;
	IF EXISTS (SELECT FROM postern.jobs j WHERE j.account_id = x.account_id AND j.kind = 'cron.execute' AND j.status IN ('queued', 'running')) THEN
		PERFORM gate.fail(409, 'a cron job of the account is being run by hand already; wait for its end, or cancel that job');
	END IF;
	PERFORM gate.work(c, x.account_id, 'cron.execute', 'cron', o);
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION cron."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	x postern.cron;
BEGIN
	UPDATE postern.cron y SET status = 'deleting', version = y.version + 1, updated_at = postern.clock()
	WHERE y.id = o::bigint AND y.status <> 'deleting' RETURNING * INTO x;
	IF NOT FOUND THEN
		PERFORM gate.fail(409, 'the cron job is being deleted already');
	END IF;
	PERFORM cron.apply(c, x.account_id, ARRAY[x.id]);
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What the actions are told: the whole crontab as it is to be, or the command to run.
CREATE FUNCTION cron.task(j postern.jobs) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF j.kind = 'cron.execute' AND j.by_tenant
	   AND EXISTS (SELECT FROM postern.cron x WHERE x.id = j.object_id::bigint AND gate.held_by(x.held) IS NOT NULL) THEN
		RAISE EXCEPTION 'an administrator disabled the cron job; ask an administrator to change that';
	END IF;
	RETURN (SELECT jsonb_build_object('username', a.username, 'home', a.home, 'uid', a.uid) || CASE j.kind
		WHEN 'cron.execute' THEN (SELECT jsonb_build_object('id', x.id, 'command', x.command) FROM postern.cron x
			WHERE x.id = j.object_id::bigint AND x.status <> 'deleting' AND a.status NOT IN ('suspended', 'deleting'))
		ELSE jsonb_build_object('entries', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', x.id, 'schedule', (cron.plan_of(x.schedule)).line, 'command', x.command)
			ORDER BY x.id), '[]') FROM postern.cron x WHERE x.account_id = a.id AND cron.runs_of(x) <> '{}')) END
	FROM postern.accounts a WHERE a.id = j.account_id);
END $$;

CREATE FUNCTION cron.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF j.kind = 'cron.execute' THEN
		IF j.status = 'succeeded' AND j.result IS NOT NULL THEN
			PERFORM cron.note_run((SELECT a.username FROM postern.accounts a WHERE a.id = j.account_id), j.object_id::bigint, (j.result ->> 'started_us')::bigint,
				(j.result ->> 'finished_us')::bigint, (j.result ->> 'exit_code')::int, j.result ->> 'output');
			UPDATE postern.jobs x SET result = (SELECT y.last_run - 'output' FROM postern.cron y WHERE y.id = j.object_id::bigint) WHERE x.id = j.id;
		END IF;
		RETURN;
	END IF;
	IF j.status = 'succeeded' THEN
		DELETE FROM postern.cron x WHERE x.account_id = j.account_id AND x.job_id = j.id AND x.status = 'deleting';
	END IF;
	UPDATE postern.cron x SET version = x.version + 1, updated_at = postern.clock(),
		status = CASE WHEN j.status <> 'succeeded' THEN 'error' WHEN x.runs = '{}' THEN 'suspended' ELSE 'active' END,
		last_error = CASE j.status WHEN 'succeeded' THEN NULL WHEN 'cancelled' THEN 'the job was cancelled; change it, or retry the job' ELSE j.error END
	WHERE x.account_id = j.account_id AND x.job_id = j.id;
END $$;

-- How a run ended. It comes from a folder that is the account's own, so it is believed for that account's cron jobs only.
CREATE FUNCTION cron.instant(p_us bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT to_char(timestamp 'epoch' + p_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') $$;
CREATE FUNCTION cron.note_run(p_user text, p_id bigint, p_started_us bigint, p_finished_us bigint, p_exit int, p_output text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE postern.cron x SET version = x.version + 1, updated_at = postern.clock(), last_run = jsonb_build_object(
		'started_at', cron.instant(p_started_us), 'finished_at', cron.instant(p_finished_us), 'duration_ms', (p_finished_us - p_started_us) / 1000,
		'exit_code', p_exit, 'output', p_output)
	FROM postern.accounts a WHERE a.username = p_user AND x.account_id = a.id AND x.id = p_id
$$;

-- Once a minute: what ran has its next time, and all are told in the machine's present zone.
CREATE FUNCTION cron.tick(p_zone text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE postern.cron x SET time_zone = p_zone, version = x.version + 1, updated_at = postern.clock(),
		runs = cron.next_runs(cron.plan_of(x.schedule), postern.clock(), p_zone, 8)
	WHERE x.id IN (SELECT y.id FROM postern.cron y WHERE y.runs[1] <= postern.clock() OR y.time_zone <> p_zone AND y.runs <> '{}'
		ORDER BY y.runs[1] LIMIT 5000 FOR UPDATE SKIP LOCKED)
$$;

RESET ROLE;
ALTER FUNCTION cron.note_run(text, bigint, bigint, bigint, int, text) OWNER TO postern_operator;
ALTER FUNCTION cron.tick(text) OWNER TO postern_operator;
GRANT EXECUTE ON FUNCTION cron.note_run(text, bigint, bigint, bigint, int, text), cron.tick(text) TO postern_worker;
