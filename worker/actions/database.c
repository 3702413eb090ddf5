/* database.c: the databases that accounts have, and how large they are. */
#include "database.h"

#include <string.h>

#include "verifier.h"

#define ENGINES "postgresql mariadb"
#define IDENTITY \
	{ "engine", F_ENUM, F_REQUIRED, "The server it is on", .choices = ENGINES }, \
	{ "name",   F_TEXT, F_REQUIRED, "Name of the database", .min = 1, .max = 63 }, \
	{ "user",   F_TEXT, F_REQUIRED, "Name of its user", .min = 1, .max = 63 }, \
	{ "marker", F_UUID, F_REQUIRED, "By which the server's objects are known as its own" }

static const struct field present[] = {
	IDENTITY,
	{ "charset",   F_ENUM, F_REQUIRED, "Character set", .choices = "UTF8 utf8mb4 utf8mb3 latin1" },
	{ "verifier",  F_TEXT, F_REQUIRED, "What the server keeps of the password", .min = 1, .max = 200 },
	{ "suspended", F_BOOL, F_REQUIRED, "Whether its user is kept from logging in" },
	{ "connections", F_INT, F_REQUIRED, "Connections that its user may have at a time", .min = 1, .max = 10000 },
	{ 0 }
};
static const struct field removed[] = { IDENTITY, { 0 } };
static const struct field nothing[] = { { 0 } };

static const struct engine *engine_of(struct action *a)
{
	return strcmp(action_text(a, "engine"), engine_mariadb.name) == 0 ? &engine_mariadb : &engine_postgresql;
}

static struct database identity(struct action *a)
{
	struct database d = { .name = action_text(a, "name"), .user = action_text(a, "user"), .marker = action_text(a, "marker") };
	const char *roles = a->config.role_prefix;

	/* Postern's own roles are made by their names: none may be there before */
	if (strncmp(d.name, roles, strlen(roles)) == 0 || strncmp(d.user, roles, strlen(roles)) == 0)
		action_fail("names that begin with %s are Postern's own; choose others", roles);
	return d;
}

static void apply(struct action *a)
{
	const struct engine *engine = engine_of(a);
	struct database d = identity(a);

	d.charset = action_text(a, "charset");
	d.verifier = action_text(a, "verifier");
	d.suspended = action_bool(a, "suspended", true);
	d.connections = (int)action_int(a, "connections", 1);
	if (!engine->is_verifier(d.verifier))
		action_fail("the password's verifier is none of %s; rotate the password", engine->name);
	engine->apply(a, &d);
}

static void take_away(struct action *a)
{
	const struct database d = identity(a);

	engine_of(a)->remove(a, &d);
}

static void measure(struct action *a)
{
	struct json_object *result = json_object_new_object(), *sizes = json_object_new_object();

	json_object_object_add(result, "sizes", sizes);
	if (*a->config.databases_postgresql_dsn)
		engine_postgresql.measure(a, sizes);
	if (*a->config.mariadb_command)
		engine_mariadb.measure(a, sizes);
	action_result(result);
}

static const struct kind database_apply = { "database.apply", "Have a database and its user as they are to be", 600, 5, present, apply };
static const struct kind database_remove = { "database.remove", "Drop a database and its user", 3600, 5, removed, take_away };
static const struct kind database_measure = { "database.measure", "Measure all databases", 600, 2, nothing, measure };
POSTERN_KIND(database_apply);
POSTERN_KIND(database_remove);
POSTERN_KIND(database_measure);
