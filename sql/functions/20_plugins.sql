-- plugins: registered and configured here; the code is the administrator's, on the machine, and posternd's to run.
DROP SCHEMA IF EXISTS plugins CASCADE;
CREATE SCHEMA plugins AUTHORIZATION postern_owner;
GRANT USAGE ON SCHEMA plugins TO postern_worker;
SET LOCAL ROLE postern_owner;

CREATE VIEW plugins.item AS
SELECT p.id, p.name, p.plugin_version, p.description, p.status, p.enabled, p.actions, to_jsonb(p.events) AS events, p.settings_schema, p.settings,
       to_jsonb(p.secret_settings) AS secret_settings, p.last_error, p.job_id, p.created_at, p.updated_at, p.version, 0::bigint AS tenant
FROM postern.plugins p;

-- What is wrong with a schema; null: nothing. Only these keywords are understood, and whoever uses others would believe in vain.
CREATE FUNCTION plugins.schema_fault(s jsonb, at text, p_depth int DEFAULT 0) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	k text;
	v jsonb;
	v_fault text;
BEGIN
	IF jsonb_typeof(s) IS DISTINCT FROM 'object' OR p_depth > 8 THEN
		RETURN at || ' is no object, or lies too deep';
	END IF;
	FOR k, v IN SELECT * FROM jsonb_each(s) LOOP
		v_fault := CASE
			WHEN k IN ('title', 'description', '$schema', '$id') THEN CASE WHEN jsonb_typeof(v) <> 'string' THEN 'must be a text' END
			WHEN k IN ('default', 'examples') THEN NULL
			WHEN k = 'type' THEN CASE WHEN coalesce(v #>> '{}', '') NOT IN ('object', 'array', 'string', 'integer', 'number', 'boolean') THEN
				'must be one of object, array, string, integer, number, boolean' END
			WHEN k = 'enum' THEN CASE WHEN jsonb_typeof(v) <> 'array' THEN 'must be a list' END
			WHEN k IN ('minimum', 'maximum') THEN CASE WHEN jsonb_typeof(v) <> 'number' THEN 'must be a number' END
			WHEN k IN ('minLength', 'maxLength', 'maxItems') THEN CASE WHEN jsonb_typeof(v) <> 'number' OR v::text !~ '^\d{1,9}$' THEN 'must be a whole number' END
			WHEN k = 'pattern' THEN plugins.pattern_fault(v #>> '{}')
			WHEN k = 'required' THEN CASE WHEN jsonb_typeof(v) <> 'array' THEN 'must be a list of names' END
			WHEN k IN ('additionalProperties', 'writeOnly') THEN CASE WHEN jsonb_typeof(v) <> 'boolean' THEN 'must be true or false' END
			WHEN k = 'properties' THEN CASE WHEN jsonb_typeof(v) <> 'object' THEN 'must be an object' END
			WHEN k = 'items' THEN NULL
			ELSE 'is a keyword that is not supported; remove it' END;
		IF v_fault IS NOT NULL THEN
			RETURN format('%s: "%s" %s', at, k, v_fault);
		END IF;
	END LOOP;
	IF s -> 'writeOnly' = 'true' AND (s -> 'type' IS DISTINCT FROM '"string"' OR p_depth <> 1) THEN
		RETURN at || ': "writeOnly" is for texts directly below the settings';
	END IF;
	IF s ? 'items' THEN
		v_fault := plugins.schema_fault(s -> 'items', at || '[]', p_depth + 1);
	END IF;
	FOR k, v IN SELECT * FROM jsonb_each(coalesce(s -> 'properties', '{}')) LOOP
		v_fault := coalesce(v_fault, plugins.schema_fault(v, at || '.' || k, p_depth + 1));
	END LOOP;
	RETURN v_fault;
END $$;
CREATE FUNCTION plugins.pattern_fault(p text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN CASE WHEN length(p) > 500 OR '' ~ p IS NULL THEN 'must be a text of at most 500 characters' END;
EXCEPTION WHEN OTHERS THEN
	RETURN 'is no regular expression: ' || SQLERRM;
END $$;

-- What is wrong with a value, by a schema that is in order; null: nothing. `given`: names that are there without being shown.
CREATE FUNCTION plugins.fault(s jsonb, v jsonb, at text, given text[] DEFAULT '{}') RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	t text := jsonb_typeof(v);
	w text := s ->> 'type';
	x text := v #>> '{}';
	k text;
	i jsonb;
	v_fault text;
BEGIN
	v_fault := CASE
		WHEN w = 'integer' AND (t <> 'number' OR x::numeric <> trunc(x::numeric)) THEN 'must be a whole number'
		WHEN w <> 'integer' AND w <> t THEN format('must be of type %s', w)
		WHEN s ? 'enum' AND NOT s -> 'enum' @> jsonb_build_array(v) THEN 'must be one of: ' || (SELECT string_agg(e #>> '{}', ', ') FROM jsonb_array_elements(s -> 'enum') e)
		WHEN t = 'number' AND x::numeric < (s ->> 'minimum')::numeric THEN 'must be at least ' || (s ->> 'minimum')
		WHEN t = 'number' AND x::numeric > (s ->> 'maximum')::numeric THEN 'must be at most ' || (s ->> 'maximum')
		WHEN t = 'string' AND length(x) < (s ->> 'minLength')::int THEN format('must have at least %s characters', s ->> 'minLength')
		WHEN t = 'string' AND length(x) > coalesce((s ->> 'maxLength')::int, 10000) THEN format('must have at most %s characters', coalesce(s ->> 'maxLength', '10000'))
		WHEN t = 'string' AND x !~ (s ->> 'pattern') THEN format('must match %s', s ->> 'pattern')
		WHEN t = 'array' AND jsonb_array_length(v) > coalesce((s ->> 'maxItems')::int, 1000) THEN format('must have at most %s elements', coalesce(s ->> 'maxItems', '1000'))
		END;
	IF v_fault IS NOT NULL THEN
		RETURN at || v_fault;
	END IF;
	IF t = 'object' THEN
		FOR k, i IN SELECT * FROM jsonb_each(v) LOOP
			IF s #> ARRAY['properties', k] IS NOT NULL THEN
				v_fault := plugins.fault(s #> ARRAY['properties', k], i, at || k || ' ');
			ELSIF s ? 'properties' AND s -> 'additionalProperties' IS DISTINCT FROM 'true' THEN
				v_fault := at || format('has no "%s"; there are: %s', k, (SELECT string_agg(p, ', ' ORDER BY p) FROM jsonb_object_keys(s -> 'properties') p));
			END IF;
			EXIT WHEN v_fault IS NOT NULL;
		END LOOP;
		FOR k IN SELECT jsonb_array_elements_text(s -> 'required') LOOP
			IF NOT v ? k AND k <> ALL (given) THEN
				v_fault := coalesce(v_fault, at || format('lacks "%s"%s', k, coalesce(': ' || (s #>> ARRAY['properties', k, 'description']), '')));
			END IF;
		END LOOP;
	ELSIF t = 'array' AND s ? 'items' THEN
		FOR i IN SELECT jsonb_array_elements(v) LOOP
			v_fault := coalesce(v_fault, plugins.fault(s -> 'items', i, at));
		END LOOP;
	END IF;
	RETURN v_fault;
END $$;

-- The names of the settings that are secret.
CREATE FUNCTION plugins.secrets_of(s jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(array_agg(k), '{}') FROM jsonb_each(coalesce(s -> 'properties', '{}')) x (k, v) WHERE v -> 'writeOnly' = 'true'
$$;
-- What keeps a plugin's settings from being used; null: nothing.
CREATE FUNCTION plugins.settings_fault(p postern.plugins) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p.settings ?| plugins.secrets_of(p.settings_schema) THEN
			'hold a secret, which belongs into secrets: ' || array_to_string(plugins.secrets_of(p.settings_schema), ', ')
		WHEN NOT p.secret_settings <@ plugins.secrets_of(p.settings_schema) THEN 'have no secret of that name'
		ELSE plugins.fault(p.settings_schema || '{"type":"object"}', p.settings, '', p.secret_settings) END
$$;

CREATE FUNCTION plugins.check_again(c postern.caller, p_id bigint) RETURNS void
LANGUAGE sql AS $$
	UPDATE postern.plugins p SET job_id = gate.work(c, 0, 'plugin.check', 'plugins', p.id::text), version = p.version + 1, updated_at = postern.clock()
	WHERE p.id = p_id
$$;
CREATE FUNCTION plugins."create"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
BEGIN
	INSERT INTO postern.plugins (name, version) VALUES (b ->> 'name', 0) RETURNING id INTO v_id;
	PERFORM plugins.check_again(c, v_id);
	RETURN ROW(v_id, NULL)::postern.done;
EXCEPTION WHEN unique_violation THEN
	PERFORM gate.fail(409, 'this plugin is registered already; check it again to have its manifest read', jsonb_build_object('name', 'is taken'));
END $$;
CREATE FUNCTION plugins."check"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM plugins.check_again(c, o::bigint);
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION plugins."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	p postern.plugins;
	v_fault text;
BEGIN
	SELECT * INTO p FROM postern.plugins x WHERE x.id = o::bigint;
	IF p.plugin_version IS NULL THEN
		PERFORM gate.fail(409, 'its manifest, which says what settings it has, was not read yet; see last_error and its job');
	END IF;
	p.settings := coalesce(b -> 'settings', p.settings);
	IF b ? '_secret' THEN
		p.secret := decode(b ->> '_secret', 'hex');
		p.secret_settings := gate.given_list(b, '_names', '{}');
	END IF;
	v_fault := plugins.settings_fault(p);
	IF v_fault IS NOT NULL THEN
		PERFORM gate.invalid(CASE WHEN b ? '_secret' AND NOT b ? 'settings' THEN 'secrets' ELSE 'settings' END, v_fault);
	END IF;
	UPDATE postern.plugins x SET settings = p.settings, secret = p.secret, secret_settings = p.secret_settings,
		version = x.version + 1, updated_at = postern.clock() WHERE x.id = p.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;

CREATE FUNCTION plugins.clash(p postern.plugins) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT x.name FROM postern.plugins x WHERE x.enabled AND x.id <> p.id AND x.kinds && p.kinds LIMIT 1 $$;
CREATE FUNCTION plugins.enable(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	p postern.plugins;
	v_fault text;
BEGIN
	LOCK TABLE postern.plugins IN SHARE ROW EXCLUSIVE MODE; -- two that provide the same would not see each other
	SELECT * INTO p FROM postern.plugins x WHERE x.id = o::bigint;
	v_fault := plugins.settings_fault(p);
	IF p.status <> 'active' THEN
		PERFORM gate.fail(409, format('the plugin is not in order: %s', coalesce(p.last_error, 'its manifest was not read yet')));
	ELSIF v_fault IS NOT NULL THEN
		PERFORM gate.fail(409, 'its settings ' || v_fault || '; change them first', jsonb_build_object('settings', v_fault));
	ELSIF plugins.clash(p) IS NOT NULL THEN
		PERFORM gate.fail(409, format('the plugin %s provides one of its actions and is enabled; disable that first', plugins.clash(p)));
	END IF;
	UPDATE postern.plugins x SET enabled = true, enabled_at = CASE WHEN x.enabled THEN x.enabled_at ELSE postern.clock() END,
		seen = CASE WHEN x.enabled THEN x.seen ELSE (SELECT h.seq FROM postern.event_head h) END,
		version = x.version + 1, updated_at = postern.clock() WHERE x.id = p.id;
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION plugins.disable(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE postern.plugins x SET enabled = false, version = x.version + 1, updated_at = postern.clock() WHERE x.id = o::bigint;
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION plugins."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM postern.plugins x WHERE x.id = o::bigint;
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- Ask for an action that it adds.
CREATE FUNCTION plugins.run(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	p postern.plugins;
	v_action jsonb;
	v_input jsonb := coalesce(b -> 'input', '{}');
	v_fault text;
BEGIN
	SELECT * INTO p FROM postern.plugins x WHERE x.id = o::bigint;
	v_action := p.actions -> (b ->> 'action');
	IF NOT p.enabled THEN
		PERFORM gate.fail(409, 'the plugin is not enabled');
	ELSIF v_action IS NULL THEN
		PERFORM gate.invalid('action', 'is none of its actions: ' || coalesce((SELECT string_agg(k, ', ') FROM jsonb_object_keys(p.actions) k), 'it has none'));
	ELSIF (v_action -> 'replaces')::boolean THEN
		PERFORM gate.invalid('action', 'replaces one of Postern''s: it is done where that would be');
	END IF;
	v_fault := plugins.fault(coalesce(v_action -> 'input', '{"properties":{}}') || '{"type":"object"}', v_input, '');
	IF v_fault IS NOT NULL THEN
		PERFORM gate.invalid('input', v_fault);
	END IF;
	PERFORM gate.work(c, 0, b ->> 'action', 'plugins', p.name || ' ' || (b ->> 'action'), jsonb_build_object('input', v_input));
	RETURN ROW(o, NULL)::postern.done;
END $$;

-- What posternd runs this kind by, if an enabled plugin provides it.
CREATE FUNCTION plugins.provider(p_kind text) RETURNS postern.plugins
LANGUAGE sql STABLE AS $$ SELECT p FROM postern.plugins p WHERE p.enabled AND p_kind = ANY (p.kinds) LIMIT 1 $$;
CREATE FUNCTION plugins.told(p postern.plugins, p_kind text) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object('name', p.name, 'version', p.plugin_version, 'settings', p.settings,
		'limit_s', coalesce(p.actions #> ARRAY[p_kind, 'limit_s'], '60'), 'attempts', coalesce(p.actions #> ARRAY[p_kind, 'attempts'], '5'))
	WHERE p.id IS NOT NULL
$$;
CREATE FUNCTION plugins.task(j postern.jobs) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF j.kind = 'plugin.check' THEN
		RETURN (SELECT jsonb_build_object('name', p.name) FROM postern.plugins p WHERE p.id::text = j.object_id);
	ELSIF plugins.provider(j.kind) IS NULL THEN
		RAISE EXCEPTION 'no enabled plugin provides %; enable it and retry the job', j.kind;
	END IF;
	RETURN j.input;
END $$;

-- posternd has read the manifest, or says why it could not.
CREATE FUNCTION plugins.settled(j postern.jobs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	p postern.plugins;
	k text;
	a jsonb;
	v_fault text := CASE j.status WHEN 'cancelled' THEN 'the job was cancelled' WHEN 'succeeded' THEN NULL ELSE j.error END;
BEGIN
	IF j.kind <> 'plugin.check' THEN
		RETURN;
	END IF;
	SELECT * INTO p FROM postern.plugins x WHERE x.id::text = j.object_id FOR UPDATE;
	IF NOT FOUND OR p.job_id <> j.id THEN
		RETURN;
	END IF;
	IF v_fault IS NULL THEN
		v_fault := plugins.schema_fault(j.result -> 'settings', 'settings');
		FOR k, a IN SELECT * FROM jsonb_each(j.result -> 'actions') LOOP
			v_fault := coalesce(v_fault, plugins.schema_fault(coalesce(a -> 'input', '{}'), k));
		END LOOP;
		v_fault := 'plugin.json: ' || v_fault;
	END IF;
	IF v_fault IS NULL THEN
		p.actions := j.result -> 'actions';
		p.events := ARRAY(SELECT jsonb_array_elements_text(j.result -> 'events'));
		p.kinds := ARRAY(SELECT jsonb_object_keys(p.actions)) || CASE WHEN p.events = '{}' THEN '{}'::text[] ELSE ARRAY[p.name || '.event'] END;
		p.settings_schema := j.result -> 'settings';
		v_fault := CASE WHEN p.enabled THEN coalesce('its new manifest provides what ' || plugins.clash(p) || ' provides; disable one of them',
			'its settings ' || plugins.settings_fault(p)) END;
	END IF;
	IF v_fault IS NULL THEN
		UPDATE postern.plugins x SET status = 'active', last_error = NULL, plugin_version = j.result ->> 'version', description = j.result ->> 'description',
			actions = p.actions, kinds = p.kinds, events = p.events, settings_schema = p.settings_schema, version = x.version + 1, updated_at = postern.clock()
		WHERE x.id = p.id;
	ELSE -- what was in order before goes on
		UPDATE postern.plugins x SET status = 'error', last_error = v_fault, version = x.version + 1, updated_at = postern.clock() WHERE x.id = p.id;
	END IF;
END $$;

-- A job for each event that a plugin wants, once and in their order; jobs about its events are done one after the other. What tells of
-- jobs would come of those jobs again.
CREATE FUNCTION plugins.wants(p_events text[], p_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
	SELECT p_type NOT LIKE 'job.%' AND p_type NOT LIKE '%.progress' AND (p_type = ANY (p_events) OR split_part(p_type, '.', 1) || '.*' = ANY (p_events))
$$;
CREATE FUNCTION plugins.deliver(p_max int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_head bigint := (SELECT h.seq FROM postern.event_head h);
	v_to bigint;
	v_count int := 0;
	p postern.plugins;
	e postern.events;
BEGIN
	FOR p IN SELECT * FROM postern.plugins x WHERE x.enabled AND x.events <> '{}' AND x.seen < v_head ORDER BY x.id FOR UPDATE LOOP
		v_to := least(v_head, p.seen + p_max);
		FOR e IN SELECT * FROM postern.events x WHERE x.seq > p.seen AND x.seq <= v_to AND x.at >= p.enabled_at AND plugins.wants(p.events, x.type) ORDER BY x.seq LOOP
			PERFORM gate.work(work.clockwork(), 0, p.name || '.event', 'plugins', p.name || ' events', jsonb_build_object('event',
				jsonb_build_object('seq', e.seq, 'id', e.id, 'type', e.type, 'at', e.at, 'resource', e.resource, 'object_id', e.object_id,
					'account_id', e.account_id, 'data', e.data)));
			v_count := v_count + 1;
		END LOOP;
		UPDATE postern.plugins x SET seen = v_to WHERE x.id = p.id;
	END LOOP;
	RETURN v_count;
END $$;

RESET ROLE;
ALTER FUNCTION plugins.deliver(int) OWNER TO postern_operator;
GRANT EXECUTE ON FUNCTION plugins.deliver(int) TO postern_worker;
