/* plugins.c: what the administrator put below plugins_dir. Registered and configured here; sql/functions/20_plugins.sql has the rules. */
#include <json-c/json.h>
#include <string.h>

#include "api.h"
#include "arena.h"
#include "config.h"
#include "envelope.h"
#include "error.h"
#include "json.h"
#include "token.h"

static const struct field fields[] = {
	{ "id",              F_INT,       F_SORT | F_FILTER,            "Number of the plugin" },
	{ "name",            F_SLUG,      F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Name of its folder below the setting plugins_dir", .example = "\"nginx-cache\"" },
	{ "plugin_version",  F_TEXT,      F_MAYBE_NULL,                 "Its version, as its manifest says; null: that was not read yet" },
	{ "description",     F_TEXT,      F_SEARCH | F_MAYBE_NULL,      "What it is for, as its manifest says" },
	{ "status",          F_ENUM,      F_SORT | F_FILTER,            "State of its manifest; pending: it is to be read; error: see last_error, what was read before goes on", .choices = "pending active error" },
	{ "enabled",         F_BOOL,      F_SORT | F_FILTER,            "Whether it is used" },
	{ "actions",         F_JSON,      0,                            "Kinds of jobs that it does: of each what it is for, limit_s, attempts and a JSON Schema of its input, or replaces: true where it does one of Postern's" },
	{ "events",          F_JSON,      0,                            "Types of events that it is told of, such as domain.deleted or website.*" },
	{ "settings_schema", F_JSON,      0,                            "JSON Schema of its settings; writeOnly: true marks secret ones" },
	{ "settings",        F_JSON,      F_CHANGE,                     "Its settings, all of them but the secret ones: an object", .example = "{\"cache_dir\":\"/var/cache/nginx\"}" },
	{ "secret_settings", F_JSON,      0,                            "Names of the secret settings that are set" },
	{ "last_error",      F_TEXT,      F_MAYBE_NULL,                 "What is wrong with its folder or manifest; null: nothing" },
	{ "job_id",          F_UUID,      F_MAYBE_NULL,                 "Job that reads its manifest, or did last" },
	{ "created_at",      F_TIMESTAMP, F_SORT,                       "When it was registered" },
	{ "updated_at",      F_TIMESTAMP, F_SORT,                       "When it last changed" },
	{ "secrets",         F_JSON,      F_CHANGE | F_SECRET | F_WRITEONLY, "Its secret settings, all of them: an object of texts; encrypted to the worker at once, never shown" },
	{ 0 }
};

static const struct field run_input[] = {
	{ "action", F_TEXT, F_INPUT | F_REQUIRED, "One of the actions that it adds", .max = 100, .example = "\"cache.purge\"" },
	{ "input",  F_JSON, F_INPUT,              "What it is to be told, by the schema of that action: an object; default: empty", .example = "{}" },
	{ 0 }
};

/* The CLI has a line of standard input: an object as text. */
static struct json_object *object_of(struct json_object *value)
{
	const char *why;
	size_t at;

	return json_object_is_type(value, json_type_string)
	       ? json_parse(json_object_get_string(value), (size_t)json_object_get_string_len(value), &why, &at) : json_object_get(value);
}

/* What posternd will be told in secret takes the place of what was given; the names stay. */
static int seal(struct request *r, struct json_object *body, struct json_object *secrets)
{
	static const char digits[] = "0123456789abcdef";
	struct json_object *names = json_object_new_array();
	struct arena *arena = arena_new();
	const char *why = "out of memory", *text;
	unsigned char *sealed;
	char *shown;
	size_t len = 0;

	json_object_object_foreach(secrets, name, value) {
		if (!json_object_is_type(value, json_type_string) || json_object_get_string_len(value) > 4096)
			why = NULL;
		json_object_array_add(names, json_object_new_string(name));
	}
	json_object_object_add(body, "_names", names);
	if (!why) {
		arena_free(arena);
		return request_fail(r, ERR_VALIDATION, "secrets", "must be an object of texts of at most 4096 bytes");
	}
	text = json_object_to_json_string_ext(secrets, JSON_C_TO_STRING_PLAIN);
	sealed = arena ? envelope_close(arena, request_config(r)->worker_public, text, &len, &why) : NULL;
	token_wipe((char *)text, strlen(text));
	shown = sealed ? arena_alloc(arena, 2 * len + 1) : NULL;
	for (size_t i = 0; shown && i < 2 * len; i++)
		shown[i] = digits[sealed[i / 2] >> (i % 2 ? 0 : 4) & 15];
	if (shown)
		json_object_object_add(body, "_secret", json_object_new_string(shown));
	arena_free(arena);
	return shown ? 0 : request_fail(r, ERR_UNAVAILABLE, NULL, why);
}

static int prepare(struct request *r, struct json_object *body)
{
	struct json_object *settings, *secrets, *given;
	int done = 0;

	if (json_object_object_get_ex(body, "settings", &settings) && !json_object_is_type(settings, json_type_object))
		return request_fail(r, ERR_VALIDATION, "settings", "must be an object");
	if (!json_object_object_get_ex(body, "secrets", &given))
		return 0;
	secrets = object_of(given);
	if (json_object_is_type(secrets, json_type_object)) {
		done = seal(r, body, secrets);
		json_object_object_foreach(secrets, name, value) {
			(void)name;
			if (json_object_is_type(value, json_type_string))
				token_wipe((char *)json_object_get_string(value), (size_t)json_object_get_string_len(value));
		}
	} else {
		done = request_fail(r, ERR_VALIDATION, "secrets", "must be an object of texts");
	}
	json_object_put(secrets);
	json_object_object_del(body, "secrets");
	return done;
}

static int prepare_run(struct request *r, struct json_object *body)
{
	struct json_object *input;

	return json_object_object_get_ex(body, "input", &input) && !json_object_is_type(input, json_type_object)
	       ? request_fail(r, ERR_VALIDATION, "input", "must be an object") : 0;
}

static const struct route routes[] = {
	/* method   path             operation        scope             role   bucket     audit             does */
	{ M_GET,    "",              "listPlugins",   "plugins:read",   ADMIN, RATE_CALL, "plugin.list",    LIST,              "List plugins" },
	{ M_POST,   "",              "createPlugin",  "plugins:write",  ADMIN, RATE_CALL, "plugin.create",  CREATE,            "Register a plugin that is on the machine; its manifest is read by a job" },
	{ M_GET,    "/{id}",         "getPlugin",     "plugins:read",   ADMIN, RATE_CALL, "plugin.read",    GET,               "Show a plugin" },
	{ M_PUT,    "/{id}",         "replacePlugin", "plugins:write",  ADMIN, RATE_CALL, "plugin.update",  REPLACE,           "Change a plugin's settings", .prepare = prepare, .adds = "_names _secret" },
	{ M_PATCH,  "/{id}",         "changePlugin",  "plugins:write",  ADMIN, RATE_CALL, "plugin.update",  PATCH,             "Change a plugin's settings", .prepare = prepare, .adds = "_names _secret" },
	{ M_DELETE, "/{id}",         "deletePlugin",  "plugins:delete", ADMIN, RATE_CALL, "plugin.delete",  DELETE,            "Forget a plugin; its folder stays" },
	{ M_POST,   "/{id}/enable",  "enablePlugin",  "plugins:write",  ADMIN, RATE_CALL, "plugin.enable",  ACTION("enable"),  "Have a plugin used" },
	{ M_POST,   "/{id}/disable", "disablePlugin", "plugins:write",  ADMIN, RATE_CALL, "plugin.disable", ACTION("disable"), "Have a plugin used no longer" },
	{ M_POST,   "/{id}/check",   "checkPlugin",   "plugins:write",  ADMIN, RATE_CALL, "plugin.check",   ACTION("check"),   "Read a plugin's manifest again", R_JOB },
	{ M_POST,   "/{id}/run",     "runPlugin",     "plugins:write",  ADMIN, RATE_CALL, "plugin.run",     ACTION("run"),     "Have a plugin do an action that it adds", R_JOB, run_input, prepare_run },
	{ 0 }
};

static const struct resource plugins = {
	"plugins", "plugin", NULL, "What an administrator added to Postern on this machine", fields, routes, .key = "name"
};
POSTERN_RESOURCE(plugins);
