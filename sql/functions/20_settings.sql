-- settings: those that may change while programs run. Values were judged by the program, by the rules of the file.
DROP SCHEMA IF EXISTS settings CASCADE;
CREATE SCHEMA settings AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

-- Does the database decide? The environment goes over it.
CREATE FUNCTION settings.is_held(s postern.settings) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT s.held IS NOT NULL AND s.fixed IS NULL AND s.source <> 'environment' $$;

CREATE VIEW settings.item AS
SELECT s.id, s.id AS name, CASE WHEN settings.is_held(s) THEN s.held ELSE s.present END AS value,
       CASE WHEN settings.is_held(s) THEN 'database' ELSE s.source END AS source, s.preset AS "default",
       s.type, s.unit, s.minimum, s.maximum, to_jsonb(s.choices) AS choices, s.takes, s.fixed IS NULL AS changeable, s.fixed AS reason,
       s.description, s.updated_at, s.version, 0::bigint AS tenant
FROM postern.settings s;

-- What the database holds of those settings that are members of `p`: for what a program has said of them before. 0 is left to it.
CREATE FUNCTION settings.held_of(p jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_object_agg(s.id, s.held), '{}') FROM postern.settings s WHERE p ? s.id AND settings.is_held(s) AND s.held <> '0'
$$;
-- Hold a value; null: none any more. `field` is where a caller gave it.
CREATE FUNCTION settings.put(p_id text, p_value jsonb, field text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	s postern.settings;
BEGIN
	SELECT * INTO s FROM postern.settings x WHERE x.id = p_id FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM gate.invalid(field, format('the database does not know the setting "%s"; run postern migrate', p_id));
	ELSIF s.fixed IS NOT NULL THEN
		PERFORM gate.invalid(field, format('cannot change while programs run: %s; change it in postern.conf and start them again', s.fixed));
	ELSIF s.source = 'environment' AND p_value IS NOT NULL THEN
		PERFORM gate.fail(409, format('the environment sets %s (POSTERN_%s) and goes over what the database holds; change it there', p_id, upper(p_id)),
			jsonb_build_object(field, 'is set by the environment'));
	END IF;
	UPDATE postern.settings x SET held = p_value, version = x.version + 1, updated_at = postern.clock() WHERE x.id = p_id;
END $$;

CREATE FUNCTION settings."update"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	IF b ? 'value' THEN
		PERFORM settings.put(o, nullif(b -> 'value', 'null'), 'value');
		PERFORM gate.settings_changed();
	END IF;
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION settings.reset(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM settings.put(o, NULL, 'name');
	PERFORM gate.settings_changed();
	RETURN ROW(o, NULL)::postern.done;
END $$;
CREATE FUNCTION settings."delete"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE sql AS $$ SELECT settings.reset(c, o, b) $$;

CREATE FUNCTION settings.values_of(p_ids text[]) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT coalesce(jsonb_object_agg(v.id, v.value), '{}') FROM settings.item v WHERE v.id = ANY (p_ids) $$;
-- Several at once, all or nothing; answers with what they are now.
CREATE FUNCTION settings."set"(c postern.caller, o text, b jsonb) RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_ids text[] := ARRAY(SELECT k FROM jsonb_object_keys(b) k ORDER BY k); -- the order in which rows are locked
	v_before jsonb := settings.values_of(v_ids);
	v_now jsonb;
	v_id text;
BEGIN
	FOREACH v_id IN ARRAY v_ids LOOP
		PERFORM settings.put(v_id, nullif(b -> v_id, 'null'), v_id);
	END LOOP;
	IF v_ids <> '{}' THEN
		PERFORM gate.settings_changed();
	END IF;
	v_now := settings.values_of(v_ids);
	RETURN ROW(NULL, v_now || jsonb_build_object('_before', v_before, '_after', v_now))::postern.done;
END $$;

-- What a program knows. The list of settings is the migration's to say (`p_all`: there are no others); of those that there are an
-- endpoint may say what its file and its environment have.
CREATE FUNCTION settings.learn(p_settings jsonb, p_all boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF p_all IS NOT TRUE THEN
		UPDATE postern.settings s SET present = t.present, source = t.source, version = s.version + 1, updated_at = postern.clock()
		FROM (SELECT x.id, y.present, y.source FROM jsonb_to_recordset(p_settings) AS y (id text, present jsonb, source text)
			JOIN postern.settings x ON x.id = y.id ORDER BY x.id FOR UPDATE OF x) t
		WHERE s.id = t.id AND (s.present, s.source) IS DISTINCT FROM (t.present, t.source);
		RETURN;
	ELSIF session_user = 'postern_settings' THEN
		RAISE EXCEPTION 'which settings there are is for a migration to say';
	END IF;
	INSERT INTO postern.settings AS s (id, description, type, unit, minimum, maximum, choices, takes, preset, fixed, present, source)
	SELECT t.id, t.description, t.type, t.unit, t.minimum, t.maximum, string_to_array(t.choices, ' '), t.takes, t.preset, t.fixed, t.present, t.source
	FROM jsonb_to_recordset(p_settings) AS t (id text, description text, type text, unit text, minimum bigint, maximum bigint, choices text,
		takes text, preset jsonb, fixed text, present jsonb, source text)
	ORDER BY t.id
	ON CONFLICT (id) DO UPDATE SET (description, type, unit, minimum, maximum, choices, takes, preset, fixed, present, source, version, updated_at) =
		(excluded.description, excluded.type, excluded.unit, excluded.minimum, excluded.maximum, excluded.choices, excluded.takes, excluded.preset,
		 excluded.fixed, excluded.present, excluded.source, s.version + 1, postern.clock())
	WHERE (s.description, s.type, s.unit, s.minimum, s.maximum, s.choices, s.takes, s.preset, s.fixed, s.present, s.source) IS DISTINCT FROM
		(excluded.description, excluded.type, excluded.unit, excluded.minimum, excluded.maximum, excluded.choices, excluded.takes, excluded.preset,
		 excluded.fixed, excluded.present, excluded.source);
	DELETE FROM postern.settings s WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(p_settings) t WHERE t ->> 'id' = s.id);
END $$;

RESET ROLE;
