/* db_error.c: see db_error.h. */
#include "db_error.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "refusal.h"

/* SQLSTATE or its class (two characters), first match wins. */
static const struct { const char *state; enum error_code code; const char *message; } table[] = {
	{ "23505", ERR_CONFLICT,   "something with this name exists already" },
	{ "23503", ERR_CONFLICT,   "something else still depends on it, or what it refers to is gone" },
	{ "23",    ERR_VALIDATION, "a value is outside what the database allows" },
	{ "22",    ERR_VALIDATION, "a value is malformed or out of range" },
	{ "40",    ERR_UNAVAILABLE, "too many others change the same object; try again" },
	{ "55P03", ERR_UNAVAILABLE, "the object is locked by another change; try again" },
	{ "57014", ERR_UNAVAILABLE, "the database took too long; try again" },
};

static void put_json(void *object)
{
	json_object_put(object);
}

/* A fault is told under the name that was given. */
static void name_as_given(struct request *r, struct failure *f)
{
	for (size_t i = 0; i < sizeof r->given_as / sizeof *r->given_as && r->given_as[i].field && r->given_as[i].as; i++) {
		const char *field = r->given_as[i].field, *as = r->given_as[i].as;
		size_t len = strlen(field);
		struct json_object *text;

		if (!json_object_object_get_ex(f->fields, field, &text))
			continue;
		json_object_object_add(f->fields, as, json_object_get(text));
		json_object_object_del(f->fields, field);
		if (strncmp(f->message, field, len) == 0 && f->message[len] == ':')
			f->message = arena_printf(r->arena, "%s%s", as, f->message + len);
	}
}

void db_failure(struct request *r, enum db_status status, const struct db_error *error)
{
	struct failure *f = &r->failure;
	const char *why;
	size_t at;

	*f = (struct failure){ .set = true, .code = ERR_INTERNAL };
	if (status == DB_GONE) {
		f->code = ERR_UNAVAILABLE;
		f->message = "the database cannot be reached; try again in a moment";
		return;
	}
	if (strncmp(error->sqlstate, "PN", 2) == 0) {
		f->code = error_from_status(atoi(error->sqlstate + 2));
		f->message = error->message;
		f->details = f->code == ERR_FORBIDDEN ? refusal_in_part : NULL;
		f->fields = *error->detail ? json_parse(error->detail, strlen(error->detail), &why, &at) : NULL;
		if (f->fields && arena_defer(r->arena, put_json, f->fields) != 0)
			f->fields = NULL;
		if (f->fields)
			name_as_given(r, f);
		return;
	}
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (*error->sqlstate && strncmp(error->sqlstate, table[i].state, strlen(table[i].state)) == 0) {
			f->code = table[i].code;
			f->message = table[i].message;
			break;
		}
	if (f->code == ERR_INTERNAL || f->code == ERR_UNAVAILABLE)
		log_event("error", "database_error", "request", r->request_id, "sqlstate", error->sqlstate, "message", error->message, NULL);
}
