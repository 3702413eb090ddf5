/* databases.c: databases of accounts. Passwords are made or taken here and go no further than as what a server keeps of them
 * (lib/verifier.h); the rules for names live in sql/functions/20_databases.sql. */
#include <json-c/json.h>

#include "api.h"
#include "config.h"
#include "error.h"
#include "servers.h"
#include "token.h"
#include "verifier.h"

#define PASSWORD { "password", F_TEXT, F_CREATE | F_WRITEONLY | F_SECRET, \
	"Password of its user, of printable ASCII characters; left out: a random one, shown in this answer only", .min = 12, .max = 128 }

static const struct field fields[] = {
	{ "id",         F_INT,       F_SORT | F_FILTER,                                   "Number of the database" },
	{ "name",       F_TEXT,      F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Name on its server; given with or without the prefix, which is the account's username and _", .min = 1, .max = 63, .example = "\"shop\"" },
	{ "user",       F_TEXT,      F_CREATE | F_SORT | F_FILTER | F_SEARCH,             "Name of its user there, with the same prefix; default: as the database", .min = 1, .max = 63 },
	{ "engine",     F_ENUM,      F_CREATE | F_REQUIRED | F_SORT | F_FILTER,           "The server it is on", .choices = "postgresql mariadb", .example = "\"postgresql\"" },
	{ "charset",    F_ENUM,      F_INPUT | F_FILTER,                                  "Character set of new tables; default: UTF8 (PostgreSQL has no other) or utf8mb4", .choices = "UTF8 utf8mb4 utf8mb3 latin1" },
	{ "host",       F_TEXT,      F_MAYBE_NULL,                                        "Host on which programs reach it" },
	{ "port",       F_INT,       F_MAYBE_NULL,                                        "Port there" },
	{ "account_id", F_INT,       F_CREATE | F_FILTER,                                 "Number of the account that has it; default: the caller's" },
	{ "account",    F_USERNAME,  F_CREATE | F_FILTER | F_EXAMPLE,                     "User name of that account; may be given instead of account_id" },
	{ "size_bytes", F_INT,       F_SORT,                                              "Its size when it was last measured" },
	{ "status",     F_ENUM,      F_FILTER | F_SORT,                                   "State of the database; suspended: its user cannot log in", .choices = "pending active suspended deleting error" },
	HELD_BY("suspended it"),
	{ "last_error", F_TEXT,      F_MAYBE_NULL,                                        "What went wrong last on the server; null: nothing" },
	{ "job_id",     F_UUID,      F_MAYBE_NULL,                                        "Job that works on it, or did last" },
	{ "created_at", F_TIMESTAMP, F_SORT,                                              "When it was created" },
	{ "updated_at", F_TIMESTAMP, F_SORT,                                              "When it last changed" },
	PASSWORD,
	{ 0 }
};

static const struct field delete_input[] = {
	CONFIRM("database", "name", "demo_shop"),
	{ 0 }
};
static const struct field rotate_input[] = { PASSWORD, { 0 } };

/* The password, made or given, becomes verifiers; SQL takes that of the database's server. */
static int seal(struct request *r, struct json_object *body)
{
	char made[PASSWORD_LEN + 1], scram[SCRAM_VERIFIER_MAX], native[NATIVE_VERIFIER_MAX];
	struct json_object *given = NULL;
	bool is_given = json_object_object_get_ex(body, "password", &given);
	const char *password = is_given ? json_object_get_string(given) : made;
	int done = 0;

	if (is_given && !verifier_can_be_password(password))
		return request_fail(r, ERR_VALIDATION, "password", "must be of printable ASCII characters: programs do not agree on others in passwords");
	if ((!is_given && !verifier_password(made)) || !verifier_scram(password, NULL, scram) || !verifier_native(password, native))
		return request_fail(r, ERR_INTERNAL, NULL, "no password can be made");
	if (!is_given)
		done = request_show_once(r, "password", made);
	token_wipe(made, sizeof made);
	json_object_object_del(body, "password");
	json_object_object_add(body, "_scram", json_object_new_string(scram));
	json_object_object_add(body, "_native", json_object_new_string(native));
	return done;
}

static int prepare_create(struct request *r, struct json_object *body)
{
	const struct config *config = request_config(r);
	struct json_object *engine = NULL;

	json_object_object_get_ex(body, "engine", &engine);
	if (json_object_get_string(engine)[0] == 'p' ? !*config->databases_postgresql_dsn : !*config->mariadb_command)
		return request_fail(r, ERR_VALIDATION, "engine", json_object_get_string(engine)[0] == 'p'
			? "there is no PostgreSQL server for databases here; its administrator can set databases_postgresql_dsn"
			: "there is no MariaDB server for databases here; its administrator can set mariadb_command");
	return seal(r, body);
}

static const struct route routes[] = {
	/* method   path                      operation                 scope               role      bucket     audit                       does */
	{ M_GET,    "",                       "listDatabases",          "databases:read",   VIEWER,   RATE_CALL, "database.list",            LIST,                      "List databases" },
	{ M_POST,   "",                       "createDatabase",         "databases:write",  CUSTOMER, RATE_CALL, "database.create",          CREATE,                    "Create a database and its user; a password that was made is in this answer only", R_SHOW_ONCE, .prepare = prepare_create, .adds = "_scram _native", .once = "password" },
	{ M_GET,    "/{id}",                  "getDatabase",            "databases:read",   VIEWER,   RATE_CALL, "database.read",            GET,                       "Show a database" },
	{ M_PATCH,  "/{id}",                  "changeDatabase",         "databases:write",  CUSTOMER, RATE_CALL, "database.update",          PATCH,                     "Change a database" },
	{ M_DELETE, "/{id}",                  "deleteDatabase",         "databases:delete", CUSTOMER, RATE_CALL, "database.delete",          DELETE,                    "Delete a database, its user and all it holds", .input = delete_input },
	{ M_POST,   "/{id}/rotate-password",  "rotateDatabasePassword", "databases:write",  CUSTOMER, RATE_CALL, "database.rotate",          ACTION("rotate_password"), "Give a database's user a new password; one that was made is in this answer only", R_SHOW_ONCE, rotate_input, seal, .adds = "_scram _native", .once = "password" },
	{ M_POST,   "/{id}/suspend",          "suspendDatabase",        "databases:write",  CUSTOMER, RATE_CALL, "database.suspend",         ACTION("suspend"),         "Keep a database's user from logging in" },
	{ M_POST,   "/{id}/unsuspend",        "unsuspendDatabase",      "databases:write",  CUSTOMER, RATE_CALL, "database.unsuspend",       ACTION("unsuspend"),       "Let it log in again" },
	{ 0 }
};

static const struct resource databases = {
	"databases", "database", NULL, "Databases of accounts", fields, routes, .knows = servers_of_databases
};
POSTERN_RESOURCE(databases);
