/*
 * openapi_30.c: a document of OpenAPI 3.1 as one of 3.0. What 3.0 cannot say is said in its own way: null is `nullable`,
 * a constant an `enum` of one, `examples` of a schema are `example`; what it has no place for goes.
 */
#include <json-c/json.h>

#include "openapi_private.h"

typedef struct json_object *(*visit)(struct json_object *);

static struct json_object *schema(struct json_object *);
static struct json_object *anything(struct json_object *);

static bool is(struct json_object *o, enum json_type type)
{
	return json_object_is_type(o, type);
}

static bool is_word(struct json_object *o, const char *word)
{
	return is(o, json_type_string) && strcmp(json_object_get_string(o), word) == 0;
}

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(o, name, &value) ? value : NULL;
}

/* Each value of an object or list, by a visitor that takes what it gets and gives what stands in its place. */
static struct json_object *each(struct json_object *from, visit by)
{
	struct json_object *to;

	if (is(from, json_type_array)) {
		to = json_object_new_array();
		for (size_t i = 0; i < json_object_array_length(from); i++)
			json_object_array_add(to, by(json_object_array_get_idx(from, i)));
		return to;
	}
	to = json_object_new_object();
	json_object_object_foreach(from, name, value)
		json_object_object_add(to, name, by(value));
	return to;
}

/* A list of one. */
static struct json_object *list_of(struct json_object *value)
{
	struct json_object *list = json_object_new_array();

	json_object_array_add(list, value);
	return list;
}

static struct json_object *of_type(const char *type)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "type", json_object_new_string(type));
	return o;
}

static bool is_null_type(struct json_object *o)
{
	return is_word(member(o, "type"), "null");
}

/* A type of several: one beside null is nullable, more are alternatives. */
static void put_types(struct json_object *to, struct json_object *types)
{
	struct json_object *any = json_object_new_array();
	bool null = false;

	for (size_t i = 0; i < json_object_array_length(types); i++) {
		struct json_object *type = json_object_array_get_idx(types, i);

		if (is_word(type, "null"))
			null = true;
		else
			json_object_array_add(any, of_type(json_object_get_string(type)));
	}
	if (json_object_array_length(any) == 1) {
		json_object_object_add(to, "type", json_object_get(member(json_object_array_get_idx(any, 0), "type")));
		if (null)
			json_object_object_add(to, "nullable", json_object_new_boolean(true));
		json_object_put(any);
		return;
	}
	for (size_t i = 0; null && i < json_object_array_length(any); i++)
		json_object_object_add(json_object_array_get_idx(any, i), "nullable", json_object_new_boolean(true));
	json_object_object_add(to, "anyOf", any);
}

/* Alternatives: null among them is nullable, what is left alone stands by itself. */
static void put_any(struct json_object *to, struct json_object *from)
{
	struct json_object *any = json_object_new_array(), *one;
	bool null = false;

	for (size_t i = 0; i < json_object_array_length(from); i++) {
		one = json_object_array_get_idx(from, i);
		if (is_null_type(one))
			null = true;
		else
			json_object_array_add(any, schema(one));
	}
	one = json_object_array_get_idx(any, 0);
	if (null && json_object_array_length(any) == 1 && !member(one, "$ref") && !member(one, "anyOf")) {
		json_object_object_foreach(one, name, value)
			json_object_object_add(to, name, json_object_get(value));
		json_object_put(any);
		json_object_object_add(to, "nullable", json_object_new_boolean(true));
		return;
	}
	if (null && !member(to, "type")) /* 3.0 wants a type beside nullable; what is an alternative to null is an object */
		json_object_object_add(to, "type", json_object_new_string("object"));
	if (null)
		json_object_object_add(to, "nullable", json_object_new_boolean(true));
	json_object_object_add(to, null && json_object_array_length(any) == 1 ? "allOf" : "anyOf", any);
}

static struct json_object *schema(struct json_object *from)
{
	struct json_object *to;

	if (!is(from, json_type_object))
		return json_object_get(from);
	to = json_object_new_object();
	json_object_object_foreach(from, name, value) {
		if (strcmp(name, "type") == 0 && is(value, json_type_array))
			put_types(to, value);
		else if (strcmp(name, "anyOf") == 0)
			put_any(to, value);
		else if (strcmp(name, "const") == 0)
			json_object_object_add(to, "enum", list_of(json_object_get(value)));
		else if (strcmp(name, "examples") == 0)
			json_object_object_add(to, "example", json_object_get(json_object_array_get_idx(value, 0)));
		else if (strcmp(name, "properties") == 0)
			json_object_object_add(to, name, each(value, schema));
		else if (strcmp(name, "items") == 0 || strcmp(name, "additionalProperties") == 0)
			json_object_object_add(to, name, schema(value));
		else if (strncmp(name, "content", strlen("content")) != 0) /* contentMediaType, contentSchema */
			json_object_object_add(to, name, json_object_get(value));
	}
	return to;
}

/* Whoever signs in needs no scopes in 3.0, but for OAuth 2. x-required-scope names them. */
static struct json_object *no_scopes(struct json_object *scopes)
{
	(void)scopes;
	return json_object_new_array();
}

static struct json_object *way_in(struct json_object *way)
{
	return each(way, no_scopes);
}

/* What is not a schema holds schemas. */
static struct json_object *anything(struct json_object *from)
{
	struct json_object *to;

	if (is(from, json_type_array))
		return each(from, anything);
	if (!is(from, json_type_object))
		return json_object_get(from);
	to = json_object_new_object();
	json_object_object_foreach(from, name, value) {
		if (strcmp(name, "schema") == 0)
			json_object_object_add(to, name, schema(value));
		else if (strcmp(name, "schemas") == 0)
			json_object_object_add(to, name, each(value, schema));
		else if (strcmp(name, "security") == 0)
			json_object_object_add(to, name, each(value, way_in));
		else if (strcmp(name, "example") == 0)
			json_object_object_add(to, name, json_object_get(value));
		else
			json_object_object_add(to, name, anything(value));
	}
	return to;
}

/* A line of an export stands in its contentSchema alone, which 3.0 has no place for. */
static void drop_lines(struct json_object *schemas, struct json_object *from)
{
	json_object_object_foreach(from, name, value)
		if (is_word(member(value, "description"), "A line of an export"))
			json_object_object_del(schemas, name);
}

bool openapi_to_30(struct buf *b, const char *json)
{
	struct json_object *from = json_tokener_parse(json), *to = from ? anything(from) : NULL;
	struct json_object *info = member(to, "info"), *license;

	if (info) {
		json_object_object_add(to, "openapi", json_object_new_string("3.0.3"));
		json_object_object_del(info, "summary");
		license = member(info, "license");
		json_object_object_del(license, "identifier");
		json_object_object_add(license, "url", json_object_new_string("https://opensource.org/license/isc-license-txt"));
		drop_lines(member(member(to, "components"), "schemas"), member(member(from, "components"), "schemas"));
		buf_str(b, json_object_to_json_string_ext(to, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	json_object_put(from);
	json_object_put(to);
	return info && !buf_failed(b);
}
