/* routes.c: `postern routes`: the tables themselves, for snippets, tests and other tools. */
#include "cli.h"
#include "words.h"
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bit { unsigned flag; const char *name; };

static const struct bit field_bits[] = {
	{ F_CREATE, "create" }, { F_CHANGE, "change" }, { F_REQUIRED, "required" }, { F_NULLABLE, "nullable" },
	{ F_SORT, "sort" }, { F_FILTER, "filter" }, { F_SEARCH, "search" }, { F_SECRET, "secret" }, { F_ADMIN, "admin" },
	{ F_WRITEONLY, "writeonly" }, { F_LOCAL, "local" }, { F_MAYBE_NULL, "maybe_null" }, { 0, NULL }
};
static const struct bit route_bits[] = {
	{ R_OWN, "own" }, { R_NO_WILD, "no_wild" }, { R_OPEN_TOO, "open_too" }, { R_CREATES, "creates" }, { R_LISTED, "listed" },
	{ R_SHOW_ONCE, "show_once" }, { R_JOB, "job" }, { R_GRANTS, "grants" }, { 0, NULL }
};
static const char *const types[] = {
	[F_NONE] = "none", [F_INT] = "int", [F_BOOL] = "bool", [F_TEXT] = "text", [F_ENUM] = "enum", [F_NAME] = "name",
	[F_SLUG] = "slug", [F_USERNAME] = "username", [F_HOSTNAME] = "hostname", [F_UNICODE] = "unicode",
	[F_EMAIL] = "email", [F_PATH] = "path", [F_TIMESTAMP] = "timestamp", [F_DATE] = "date", [F_UUID] = "uuid", [F_OBJECT_ID] = "object_id",
	[F_ADDRESS] = "address", [F_CIDR_LIST] = "cidr_list", [F_SCOPE_LIST] = "scope_list", [F_UUID_LIST] = "uuid_list",
	[F_MAILBOX] = "mailbox", [F_EMAIL_LIST] = "email_list", [F_HOSTNAME_LIST] = "hostname_list", [F_PORT_LIST] = "port_list", [F_PEM] = "pem",
	 [F_JSON] = "json"
};
static const char *const methods[] = {
	[M_NONE] = "", [M_GET] = "GET", [M_HEAD] = "HEAD", [M_POST] = "POST", [M_PUT] = "PUT", [M_PATCH] = "PATCH",
	[M_DELETE] = "DELETE", [M_OPTIONS] = "OPTIONS", [M_OTHER] = ""
};
static const char *const roles[] = {
	[ROLE_NONE] = "none", [VIEWER] = "viewer", [CUSTOMER] = "customer", [ADMIN] = "admin"
};
static const char *const buckets[] = { [RATE_NONE] = "none", [RATE_CALL] = "call", [RATE_ACTION] = "action" };
static const char *const verbs[] = {
	[DO_NOTHING] = "nothing", [DO_LIST] = "list", [DO_GET] = "get", [DO_READ] = "read", [DO_EXPORT] = "export",
	[DO_CREATE] = "create",
	[DO_REPLACE] = "replace", [DO_PATCH] = "patch", [DO_DELETE] = "delete", [DO_ACTION] = "action", [DO_CALL] = "call"
};

/* Out of memory leaves members out, which would be a wrong description: better none at all. */
static struct json_object *have(struct json_object *value)
{
	if (!value)
		exit(cli_error(CLI_FAILED, "out of memory"));
	return value;
}

static void put(struct json_object *object, const char *name, struct json_object *value)
{
	if (json_object_object_add(object, name, value) != 0)
		have(NULL);
}

static void put_text(struct json_object *object, const char *name, const char *text)
{
	put(object, name, text ? have(json_object_new_string(text)) : NULL);
}

static struct json_object *bits(unsigned flags, const struct bit *table)
{
	struct json_object *list = have(json_object_new_array());

	for (; table->name; table++)
		if (flags & table->flag)
			json_object_array_add(list, have(json_object_new_string(table->name)));
	return list;
}

static struct json_object *choices(const char *text)
{
	struct json_object *list = have(json_object_new_array());

	while (*text) {
		const size_t len = strcspn(text, " ");
		json_object_array_add(list, have(json_object_new_string_len(text, (int)len)));
		text += len + (text[len] == ' ');
	}
	return list;
}

static struct json_object *fields_json(const struct field *fields)
{
	struct json_object *list = have(json_object_new_array());

	for (const struct field *f = fields; f->name; f++) {
		struct json_object *o = have(json_object_new_object());
		put_text(o, "name", f->name);
		put_text(o, "type", types[f->type]);
		put(o, "flags", bits(f->flags, field_bits));
		put_text(o, "about", f->about);
		put(o, "min", have(json_object_new_int64(f->min)));
		put(o, "max", have(json_object_new_int64(f->max)));
		put(o, "choices", f->choices ? choices(f->choices) : NULL);
		put_text(o, "spelling", f->spelling);
		put(o, "example", f->example ? json_tokener_parse(f->example) : NULL);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *routes_json(const struct route *routes)
{
	struct json_object *list = have(json_object_new_array());

	for (const struct route *r = routes; r->path; r++) {
		struct json_object *o = have(json_object_new_object());
		put_text(o, "method", methods[r->method]);
		put_text(o, "path", r->path);
		put_text(o, "operation_id", r->operation_id);
		put_text(o, "scope", r->scope);
		put_text(o, "role", roles[r->role]);
		put_text(o, "bucket", buckets[r->bucket]);
		put_text(o, "audit", r->audit);
		put_text(o, "does", verbs[r->does]);
		put_text(o, "call", r->call);
		put_text(o, "summary", r->summary);
		put(o, "flags", bits(r->flags, route_bits));
		put(o, "input", r->input ? fields_json(r->input) : NULL);
		put(o, "output", r->output ? fields_json(r->output) : NULL);
		put_text(o, "once", r->once);
		put_text(o, "type", r->type);
		put_text(o, "verb", route_verb(r));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *resource_json(const struct resource *r)
{
	struct json_object *o = have(json_object_new_object());

	put_text(o, "name", r->name);
	put_text(o, "one", r->one);
	put_text(o, "alias", r->alias);
	put_text(o, "about", r->about);
	put_text(o, "key", r->key);
	put_text(o, "sort", r->sort ? r->sort : "id");
	put(o, "newest_first", have(json_object_new_boolean(r->newest_first)));
	put(o, "cursor_only", have(json_object_new_boolean(r->cursor_only)));
	put_text(o, "scope_too", r->scope_too);
	put(o, "fields", fields_json(r->fields));
	put(o, "routes", routes_json(r->routes));
	return o;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[1], *words[1];
	size_t n;
	const struct resource *const *all = resources(&n);
	struct json_object *list;
	size_t count;
	const int rc = option_parse(NULL, argc, argv, values, words, &count, 0, "routes");

	if (rc)
		return rc;
	if (!cli->json) {
		for (size_t i = 0; i < n; i++)
			printf("%s %s\n", all[i]->name, all[i]->alias ? all[i]->alias : "-");
		return CLI_OK;
	}
	list = have(json_object_new_array());
	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, resource_json(all[i]));
	puts(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
	                                          JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(list);
	return CLI_OK;
}

const struct command command_routes = {
	"routes", run, "routes", "List resources and their aliases; with --json fields and routes in full", NULL, NULL,
	"routes\nroutes --json\n"
};
