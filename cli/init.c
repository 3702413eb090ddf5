/* init.c: `postern init`: from nothing to a database with a first administrator. Each step is done, or found done. */
#include "cli.h"
#include "hba.h"
#include "migrate.h"
#include "envelope.h"
#include "show.h"
#include "token.h"
#include "words.h"
#include <errno.h>
#include <json-c/json.h>
#include <libgen.h>
#include <libpq-fe.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const out_of_memory = "out of memory";

static void said(const char *step, const char *what)
{
	printf("%s %s\n", step, what);
	fflush(stdout);
}

/* ---- the database ---- */

/* The database that dsn_direct names; NULL after a message. Freed by the caller. */
static char *database_name(const struct config *config)
{
	char *error = NULL, *name = NULL;
	PQconninfoOption *parts = PQconninfoParse(config->dsn_direct, &error);

	if (!parts) {
		cli_error(CLI_FAILED, "the setting dsn_direct (or dsn) is no connection string: %s", error ? error : out_of_memory);
		PQfreemem(error);
		return NULL;
	}
	for (PQconninfoOption *p = parts; p->keyword; p++)
		if (!strcmp(p->keyword, "dbname") && p->val && *p->val)
			name = strdup(p->val);
	if (!name && getenv("PGDATABASE"))
		name = strdup(getenv("PGDATABASE"));
	PQconninfoFree(parts);
	if (!name)
		cli_error(CLI_FAILED, "the setting dsn_direct (or dsn) names no database: add dbname=postern");
	return name;
}

static bool exists(PGconn *db, const char *name)
{
	PGresult *result = PQexecParams(db, "SELECT FROM pg_catalog.pg_database WHERE datname = $1", 1, NULL,
	                                (const char *const[]){ name }, NULL, NULL, 0);
	const bool found = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;

	PQclear(result);
	return found;
}

static int create_database(PGconn *db, const char *name)
{
	/* A utility statement takes no parameters, so the name is quoted into it, by libpq. UTF-8 is what JSON is made of; the
	 * order of C.UTF-8 is the same on every machine, which cursors and indexes rely on. */
	char *quoted = PQescapeIdentifier(db, name, strlen(name)), *sql = NULL;
	size_t len = quoted ? strlen(quoted) + 100 : 0;
	int rc = CLI_OK;

	if (!quoted || !(sql = malloc(len))) {
		PQfreemem(quoted);
		return cli_error(CLI_FAILED, "%s", out_of_memory);
	}
	snprintf(sql, len, "CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'", quoted);
	PGresult *result = PQexec(db, sql);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (PQresultStatus(result) == PGRES_COMMAND_OK)
		said("created the database", name);
	else if (state && (!strcmp(state, "42P04") || !strcmp(state, "23505")))
		said("found the database", name); /* somebody was quicker */
	else
		rc = cli_error(state && !strcmp(state, "42501") ? CLI_REFUSED : CLI_FAILED,
		               "the database %s cannot be created: %sConnect as a superuser; PGUSER says as whom.", name, PQresultErrorMessage(result));
	PQclear(result);
	free(sql);
	PQfreemem(quoted);
	return rc;
}

static int have_database(const struct config *config)
{
	char *name = database_name(config);
	PGconn *there = NULL, *beside = NULL;
	int rc;

	if (!name)
		return CLI_FAILED;
	there = migrate_connect(config, NULL);
	if (PQstatus(there) == CONNECTION_OK) {
		said("found the database", name);
		rc = CLI_OK;
	} else {
		beside = migrate_connect(config, "postgres");
		if (PQstatus(beside) == CONNECTION_OK && !exists(beside, name))
			rc = create_database(beside, name);
		else
			rc = cli_unreachable(PQerrorMessage(PQstatus(beside) == CONNECTION_OK ? there : beside),
			                     "The setting dsn_direct (or dsn) says where the database is.");
	}
	PQfinish(there);
	PQfinish(beside);
	free(name);
	return rc;
}

/* ---- the pepper ---- */

static int have_folder(const char *folder)
{
	if (mkdir(folder, 0750) == 0)
		said("created the folder", folder);
	else if (errno != EEXIST)
		return cli_error(CLI_FAILED, "%s: %s", folder, strerror(errno));
	return CLI_OK;
}

static int have_pepper(const struct config *config)
{
	const char *path = config->pepper_file, *why = NULL;
	struct peppers peppers;
	struct stat info;
	char *copy;
	int rc = CLI_OK;

	if (lstat(path, &info) == 0) {
		const bool good = peppers_load(path, &peppers, &why);
		peppers_free(&peppers);
		if (!good)
			return cli_error(CLI_FAILED, "%s: %s", path, why ? why : "cannot be used");
		said("found the pepper", path);
		return CLI_OK;
	}
	if (!(copy = strdup(path)))
		return cli_error(CLI_FAILED, "%s", out_of_memory);
	const char *folder = dirname(copy);
	rc = have_folder(folder);
	if (rc == CLI_OK && !peppers_create(path))
		rc = cli_error(CLI_FAILED, "%s: cannot be written: %s\nThe setting pepper_file names it.", path, strerror(errno));
	if (rc == CLI_OK) {
		/* The binaries read it by group: the folder's, where an installation has given them one. */
		if (stat(folder, &info) == 0 && lchown(path, (uid_t)-1, info.st_gid) != 0)
			cli_error(CLI_FAILED, "%s: its group could not be set: %s", path, strerror(errno));
		said("created the pepper", path);
	}
	free(copy);
	return rc;
}

/* ---- the worker's key ---- */

/* Secrets for posternd are encrypted to it. Where only the public part is, another machine has the worker. */
static int have_worker_key(const struct config *config)
{
	const char *public = config->worker_public;
	char path[PATH_MAX];
	struct stat info;
	char *copy;
	int rc;

	if (lstat(public, &info) == 0) {
		said("found the worker's public key", public);
		return CLI_OK;
	}
	if (snprintf(path, sizeof path, "%s/key", config->worker_dir) >= (int)sizeof path || !(copy = strdup(public)))
		return cli_error(CLI_FAILED, "%s", out_of_memory);
	rc = have_folder(config->worker_dir);
	if (rc == CLI_OK)
		rc = have_folder(dirname(copy));
	if (rc == CLI_OK && !envelope_create(path, public))
		rc = cli_error(CLI_FAILED, "%s and %s cannot be written: %s\nThe settings worker_dir and worker_public name them.", path, public,
		               strerror(errno));
	if (rc == CLI_OK)
		said("created the worker's key", path);
	free(copy);
	return rc;
}

/* ---- the first administrator ---- */

static int users_call(struct cli *cli, const char *operation, const struct local_parameter *query,
                      struct json_object *body, struct json_object **answer)
{
	const struct resource *users = resource_find("users");
	struct local *local = cli_local(cli);
	int status;

	*answer = NULL;
	if (!local)
		return CLI_FAILED;
	for (const struct route *r = users ? users->routes : NULL; r && r->path; r++) {
		if (strcmp(r->operation_id, operation) != 0)
			continue;
		status = local_call(local, users, r, NULL, query, body, answer);
		return status < 400 ? CLI_OK : show_error(stderr, status, *answer);
	}
	return cli_error(CLI_FAILED, "this postern was built without users");
}

static int have_administrator(struct cli *cli, const char *name, const char *email)
{
	static const struct local_parameter admins[] = { { "role", "admin" }, { "per_page", "1" }, { NULL, NULL } };
	struct json_object *answer, *rows = NULL, *body;
	int rc = users_call(cli, "listUsers", admins, NULL, &answer);

	if (rc == CLI_OK && json_object_object_get_ex(answer, "data", &rows) && json_object_array_length(rows) > 0) {
		struct json_object *username = NULL;
		json_object_object_get_ex(json_object_array_get_idx(rows, 0), "username", &username);
		said("found an administrator:", username ? json_object_get_string(username) : "");
		json_object_put(answer);
		return CLI_OK;
	}
	json_object_put(answer);
	if (rc != CLI_OK)
		return rc;
	if (!(body = json_object_new_object()))
		return cli_error(CLI_FAILED, "%s", out_of_memory);
	json_object_object_add(body, "username", json_object_new_string(name));
	json_object_object_add(body, "role", json_object_new_string("admin"));
	if (email)
		json_object_object_add(body, "email", json_object_new_string(email));
	rc = users_call(cli, "createUser", NULL, body, &answer);
	json_object_put(answer);
	json_object_put(body);
	if (rc == CLI_OK)
		said("created the administrator", name);
	return rc;
}

static const struct option options[] = {
	{ .name = "admin", .value = "NAME", .about = "User name of the first administrator; default: admin" },
	{ .name = "email", .value = "ADDRESS", .about = "Their e-mail address" },
	{ .name = "write-hba", .about = "Where the endpoints cannot log in, let them: add lines to pg_hba.conf and pg_ident.conf" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[3], *words[1];
	size_t n;
	int rc = option_parse(options, argc, argv, values, words, &n, 0, "init");
	const struct config *config = rc ? NULL : cli_config(cli);

	if (rc || !config)
		return rc ? rc : CLI_FAILED;
	rc = have_database(config);
	if (rc == CLI_OK)
		rc = have_pepper(config);
	if (rc == CLI_OK)
		rc = have_worker_key(config);
	if (rc == CLI_OK)
		rc = migrate_run(cli, false, false);
	if (rc == CLI_OK)
		rc = hba_ensure(cli, values[2] != NULL);
	if (rc == CLI_OK)
		rc = have_administrator(cli, values[0] ? values[0] : "admin", values[1]);
	if (rc == CLI_OK)
		cli_note(cli, "Next: postern token create --name NAME --owner USER --scopes SCOPE,…");
	return rc;
}

const struct command command_init = {
	"init", run, "init [--admin NAME] [--email ADDRESS] [--write-hba]", "Create database, pepper, the worker's key, schema and first administrator",
	options,
	"Does what is missing and says so; running it again changes nothing. Connects like migrate; creating the database "
	"needs CREATEDB. Each endpoint logs in as a role of its own: where pg_hba.conf does not let it, the lines it takes are "
	"printed, or with --write-hba written.",
	"init\ninit --admin kim --email kim@example.org\n"
};
