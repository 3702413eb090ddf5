-- What holds data is deleted only with its name said as a proof that the loss is meant (confirm=<name>). A dry run needs no proof: it
-- lists all that would go, and what stays.
SET LOCAL ROLE postern_owner;

-- One thing that goes: {"resource", "id", "name", "size_bytes"}, what is not known left out.
CREATE FUNCTION gate.thing(p_resource text, p_id text, p_name text, p_bytes bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('resource', p_resource, 'id', p_id, 'name', p_name, 'size_bytes', p_bytes))
$$;

-- "2 databases (alice_shop, alice_blog) and 1 mailboxes (info@example.org)": the first names of each kind, in the order of the things.
CREATE FUNCTION gate.things_text(p_things jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(string_agg(format('%s %s (%s)', k.total, k.resource, gate.some_of(k.names[:5], k.total)), ', ' ORDER BY k.first),
		'\), ([^()]*\([^()]*\))$', ') and \1')
	FROM (SELECT t.x ->> 'resource' AS resource, min(t.n) AS first, count(*) AS total, array_agg(t.x ->> 'name' ORDER BY t.n) AS names
		FROM jsonb_array_elements(p_things) WITH ORDINALITY AS t (x, n) GROUP BY 1) k
$$;

CREATE FUNCTION gate.is_dry() RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT coalesce(current_setting('postern.dry', true), '') = 'on' $$;

-- The end of a deletion, when all else that stands against it would have been said: is it meant? Else 422 that says what would be lost
-- and how to say so; a null name: nothing would be. A dry run that says no name is let through, and answers what would go, and stays.
CREATE FUNCTION gate.deleted(b jsonb, o text, p_one text, p_name text, p_goes jsonb, p_stays jsonb DEFAULT '[]') RETURNS postern.done
LANGUAGE plpgsql AS $$
DECLARE
	v_dry boolean := gate.is_dry();
BEGIN
	IF b ->> 'confirm' IS DISTINCT FROM p_name AND p_name IS NOT NULL AND NOT (v_dry AND b ->> 'confirm' IS NULL) THEN
		PERFORM gate.invalid('confirm', format('must be "%s", which names the %s, as a proof that the loss is meant: what it holds is lost: %s. '
			|| 'With dry_run=true the answer lists all of it', p_name, p_one, gate.things_text(p_goes)));
	END IF;
	RETURN ROW(o, CASE WHEN v_dry THEN jsonb_build_object('confirm', p_name, 'would_delete', p_goes, 'stays', p_stays) END)::postern.done;
END $$;

RESET ROLE;
GRANT EXECUTE ON FUNCTION gate.thing(text, text, text, bigint), gate.things_text(jsonb), gate.is_dry(),
	gate.deleted(jsonb, text, text, text, jsonb, jsonb) TO postern_gate, postern_tenant, postern_operator;
