/* settings.c: the table of lib/config.c, and the settings of it that may change while programs run. Rules: sql/functions/20_settings.sql. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "config.h"
#include "error.h"

static const struct field fields[] = {
	{ "id",          F_TEXT,      F_SORT | F_FILTER,            "Name of the setting" },
	{ "name",        F_TEXT,      F_SORT | F_FILTER | F_SEARCH, "The same", .example = "\"job_days\"" },
	{ "value",       F_JSON,      F_CHANGE | F_REQUIRED | F_NULLABLE, "Value in force; passwords are masked. To set it: a number, true or false, or a text, as `takes` says, or all of them as texts, as in postern.conf; null: what file and default say", .example = "30" },
	{ "source",      F_ENUM,      0,                            "Where that comes from; each goes over those before it", .choices = "default file database environment" },
	{ "default",     F_JSON,      0,                            "Value where nothing else is said" },
	{ "type",        F_ENUM,      F_FILTER,                     "Kind of its value", .choices = "number switch choice text" },
	{ "unit",        F_TEXT,      F_MAYBE_NULL,                 "What a number counts" },
	{ "minimum",     F_INT,       F_MAYBE_NULL,                 "Least number" },
	{ "maximum",     F_INT,       F_MAYBE_NULL,                 "Greatest number" },
	{ "choices",     F_JSON,      F_MAYBE_NULL,                 "The words it may be" },
	{ "takes",       F_TEXT,      0,                            "What a value must be" },
	{ "changeable",  F_BOOL,      F_FILTER,                     "Whether it may change while programs run; others are for postern.conf, which programs read when they start" },
	{ "reason",      F_TEXT,      F_MAYBE_NULL,                 "Why it may not" },
	{ "description", F_TEXT,      F_SEARCH,                     "What it is for" },
	{ "updated_at",  F_TIMESTAMP, F_SORT,                       "When it last changed" },
	{ 0 }
};

/* Every setting that may change as a field, for changes of several; the others are read-only. Filled before main. */
static struct field several[CONFIG_SETTINGS_MAX + 1];
static char abouts[CONFIG_SETTINGS_MAX][480];

__attribute__((constructor)) static void fill(void)
{
	struct setting_text s;

	for (size_t i = 0; i < CONFIG_SETTINGS_MAX && config_describe(i, &s); i++) {
		snprintf(abouts[i], sizeof abouts[i], s.fixed ? "For postern.conf alone: %s" : "%s; takes %s", s.fixed ? s.fixed : s.about, s.takes);
		several[i] = (struct field){ s.name, F_JSON, s.fixed ? 0 : F_INPUT | F_NULLABLE, abouts[i] };
	}
}

/* A value as the file would have it becomes what is kept: a number, true or false, or a text. */
static struct json_object *typed(const struct setting_text *s, const char *text)
{
	if (strcmp(s->type, "number") == 0 && *text)
		return json_object_new_int64(strtoll(text, NULL, 10));
	if (strcmp(s->type, "switch") == 0)
		return json_object_new_boolean(strcmp(text, "on") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0);
	return json_object_new_string(text);
}

static bool described(const char *name, struct setting_text *s)
{
	for (size_t i = 0; config_describe(i, s); i++)
		if (strcmp(s->name, name) == 0)
			return true;
	return false;
}

/* Judge one by the rules of the file, whose words the answer has. What may not be changed at all, SQL says. */
static int judge(struct request *r, struct json_object *body, const char *member, const char *name)
{
	struct json_object *value = NULL;
	struct setting_text s;
	char remedy[400];
	const char *text;

	if (!json_object_object_get_ex(body, member, &value) || !value || !described(name, &s) || s.fixed)
		return 0;
	text = json_object_is_type(value, json_type_boolean) ? (json_object_get_boolean(value) ? "on" : "off")
	       : json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array) || json_object_is_type(value, json_type_double)
	       ? "\"" : json_object_get_string(value); /* a quote fits nothing */
	if (!config_judge(name, text, remedy, sizeof remedy))
		return request_fail(r, ERR_VALIDATION, member, remedy);
	return json_object_object_add(body, member, typed(&s, text));
}
static int judge_one(struct request *r, struct json_object *body)
{
	return judge(r, body, "value", request_object(r));
}
static int judge_several(struct request *r, struct json_object *body)
{
	int done = 0;

	for (const struct field *f = several; f->name; f++)
		done |= judge(r, body, f->name, f->name);
	return done;
}

static struct json_object *knows(const struct config *config)
{
	struct json_object *all = json_object_new_array();
	struct setting_text s;

	for (size_t i = 0; config_describe(i, &s); i++) {
		struct json_object *o = json_object_new_object();
		char *value = config_value(config, i);
		const struct { const char *name, *text; } texts[] = {
			{ "id", s.name }, { "description", s.about }, { "type", s.type }, { "unit", s.unit }, { "choices", s.choices }, { "takes", s.takes },
			{ "fixed", s.fixed }, { "source", config_source(config, i) }
		};

		for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
			json_object_object_add(o, texts[n].name, texts[n].text ? json_object_new_string(texts[n].text) : NULL);
		if (strcmp(s.type, "number") == 0) {
			json_object_object_add(o, "minimum", json_object_new_int64(s.min));
			json_object_object_add(o, "maximum", json_object_new_int64(s.max));
		}
		json_object_object_add(o, "preset", typed(&s, s.preset));
		json_object_object_add(o, "present", typed(&s, value ? value : ""));
		json_object_array_add(all, o);
		free(value);
	}
	return all;
}

static const struct route routes[] = {
	/* method   path           operation         scope             role   bucket     audit             does */
	{ M_GET,    "",            "listSettings",   "settings:read",  ADMIN, RATE_CALL, "setting.list",   LIST,            "List settings" },
	{ M_POST,   "",            "setSettings",    "settings:write", ADMIN, RATE_CALL, "setting.update", CALL("set"),     "Set several settings, all or none; the others stay. Null: what file and default say", .input = several, .prepare = judge_several },
	{ M_PUT,    "",            "putSettings",    "settings:write", ADMIN, RATE_CALL, "setting.update", CALL("set"),     "Set several settings, all or none; the others stay. Null: what file and default say", .input = several, .prepare = judge_several },
	{ M_PATCH,  "",            "changeSettings", "settings:write", ADMIN, RATE_CALL, "setting.update", CALL("set"),     "Set several settings, all or none; the others stay. Null: what file and default say", .input = several, .prepare = judge_several },
	{ M_GET,    "/{id}",       "getSetting",     "settings:read",  ADMIN, RATE_CALL, "setting.read",   GET,             "Show a setting" },
	{ M_PUT,    "/{id}",       "replaceSetting", "settings:write", ADMIN, RATE_CALL, "setting.update", REPLACE,         "Set a setting; in force from the next request on, in every program", .prepare = judge_one },
	{ M_PATCH,  "/{id}",       "changeSetting",  "settings:write", ADMIN, RATE_CALL, "setting.update", PATCH,           "Set a setting", .prepare = judge_one },
	{ M_DELETE, "/{id}",       "deleteSetting",  "settings:write", ADMIN, RATE_CALL, "setting.reset",  DELETE,          "Forget what was set: file and default say again" },
	{ M_POST,   "/{id}/reset", "resetSetting",   "settings:write", ADMIN, RATE_CALL, "setting.reset",  ACTION("reset"), "Forget what was set, and show the setting as file and default say" },
	{ 0 }
};

static const struct resource settings = {
	"settings", "setting", "config", "How this installation is set up", fields, routes, .knows = knows
};
POSTERN_RESOURCE(settings);
