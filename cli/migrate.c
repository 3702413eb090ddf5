/* migrate.c: see migrate.h. */
#include "migrate.h"
#include "buf.h"
#include "resource.h"
#include "sql_files.h"
#include "utf8.h"
#include "words.h"
#include <grp.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct migration {
	const struct cli *cli;
	PGconn *db;
	struct sql_files migrations, functions;
	struct json_object *operations;
	char sha256[SHA256_HEX]; /* of functions and operations together */
	size_t steps;
	bool waited, force;
};

/* ---- the operations of the route tables ---- */

/* Who may give a member of an operation's body, by the flags of the field tables (lib/input.c); what prepare adds, all may. */
static struct json_object *fields_json(const struct resource *resource, const struct route *route)
{
	const struct field *fields = route->input ? route->input : resource->fields;
	bool changes = route->does == DO_REPLACE || route->does == DO_PATCH;
	unsigned flag = route->input ? F_INPUT : route->does == DO_CREATE ? F_CREATE : changes ? F_CHANGE : 0;
	struct json_object *all = json_object_new_object();

	for (const struct field *f = fields; all && flag && f && f->name; f++) {
		bool local = !changes && f->flags & F_LOCAL;

		if (f->flags & flag || local)
			json_object_object_add(all, f->name, json_object_new_string(!(f->flags & flag) ? "operator"
			                       : f->flags & F_ADMIN ? "administrator" : "caller"));
	}
	for (const char *at = route->adds ? route->adds : ""; all && *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		char name[64];

		snprintf(name, sizeof name, "%.*s", (int)strcspn(at, " "), at);
		json_object_object_add(all, name, json_object_new_string("caller"));
	}
	if (all && route->does == DO_DELETE)
		json_object_object_add(all, "cascade", json_object_new_string("caller"));
	return all;
}

static const char *does(enum verb verb)
{
	switch (verb) {
	case DO_LIST: return "list";
	case DO_GET: return "get";
	case DO_READ: return "read";
	case DO_EXPORT: return "export";
	default: return "write";
	}
}

static bool add_operation(struct json_object *list, const struct resource *resource, const struct route *route)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "endpoint", json_object_new_string(resource->name));
	json_object_object_add(o, "operation", json_object_new_string(route->operation_id));
	json_object_object_add(o, "scope", json_object_new_string(route->scope));
	json_object_object_add(o, "rank", json_object_new_int((int)route->role));
	json_object_object_add(o, "no_wild", json_object_new_boolean(route->flags & R_NO_WILD));
	json_object_object_add(o, "own", json_object_new_boolean(route->flags & R_OWN));
	json_object_object_add(o, "grants", json_object_new_boolean(route->flags & R_GRANTS));
	json_object_object_add(o, "heavy", json_object_new_boolean(route->bucket == RATE_ACTION));
	json_object_object_add(o, "does", json_object_new_string(does(route->does)));
	json_object_object_add(o, "call", json_object_new_string(route->call ? route->call : ""));
	json_object_object_add(o, "on_one", json_object_new_boolean(strstr(route->path, "{id}") != NULL));
	json_object_object_add(o, "action", json_object_new_string(route->audit));
	json_object_object_add(o, "status", json_object_new_int(resource_status(route)));
	json_object_object_add(o, "open", json_object_new_boolean(route->flags & (R_OPEN_TOO | R_LISTED)));
	json_object_object_add(o, "summary", json_object_new_string(route->summary));
	json_object_object_add(o, "alias", resource->alias ? json_object_new_string(resource->alias) : NULL);
	json_object_object_add(o, "one", resource->one ? json_object_new_string(resource->one) : NULL);
	json_object_object_add(o, "fields", fields_json(resource, route));
	return json_object_array_add(list, o) == 0;
}

/* A scope that SQL asks for and no operation takes: it is kept under its own name. */
static bool add_scope(struct json_object *list, const char *scope)
{
	static const struct resource nowhere = { .name = "" };
	const struct route none = { .operation_id = scope, .scope = scope, .role = ADMIN, .audit = "", .path = "",
	                            .summary = "Change or remove an administrator" };

	return add_operation(list, &nowhere, &none);
}

/* As gate.sync_operations (sql/functions/10_gate.sql) wants them: what PostgreSQL goes by, whatever an endpoint says. */
static struct json_object *operations_json(void)
{
	size_t n;
	const struct resource *const *all = resources(&n);
	struct json_object *list = json_object_new_array();
	bool ok = list && n;

	for (size_t i = 0; ok && i < n; i++) {
		for (const struct route *r = all[i]->routes; ok && r->path; r++)
			ok = add_operation(list, all[i], r);
		if (ok && all[i]->scope_too)
			ok = add_scope(list, all[i]->scope_too);
	}
	if (ok)
		return list;
	json_object_put(list);
	return NULL;
}

static bool digest_files(EVP_MD_CTX *digest, const struct sql_files *files)
{
	bool ok = true;

	for (size_t i = 0; ok && i < files->count; i++)
		ok = EVP_DigestUpdate(digest, files->item[i].name, strlen(files->item[i].name) + 1) == 1 &&
		     EVP_DigestUpdate(digest, files->item[i].sha256, SHA256_HEX) == 1;
	return ok;
}

/* One digest of all that the second half of a migration depends on; a new migration may have added an endpoint. */
static bool digest_functions(struct migration *m)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	const char *operations = json_object_to_json_string_ext(m->operations, JSON_C_TO_STRING_PLAIN);
	bool ok = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 && digest_files(digest, &m->migrations) &&
	          digest_files(digest, &m->functions) && EVP_DigestUpdate(digest, operations, strlen(operations)) == 1 &&
	          sha256_final(digest, m->sha256);

	EVP_MD_CTX_free(digest);
	return ok;
}

/* ---- the database ---- */

/* Is the server on this machine, reached by its Unix socket, with nobody named to connect as? */
static bool local_as_oneself(const struct config *config)
{
	PQconninfoOption *parts = PQconninfoParse(config->dsn_direct, NULL);
	const char *host = getenv("PGHOST"), *user = getenv("PGUSER");

	for (const PQconninfoOption *p = parts; p && p->keyword; p++) {
		host = !strcmp(p->keyword, "host") && p->val ? p->val : host;
		host = !strcmp(p->keyword, "hostaddr") && p->val ? p->val : host;
		user = !strcmp(p->keyword, "user") && p->val ? p->val : user;
	}
	const bool is = parts && !user && (!host || !*host || *host == '/');
	PQconninfoFree(parts);
	return is;
}

PGconn *connect_as(const struct passwd *who, const char *const *keys, const char *const *values)
{
	gid_t groups[NGROUPS_MAX];
	const gid_t group = getegid();
	const int n = who ? getgroups(NGROUPS_MAX, groups) : 0;
	PGconn *db = NULL;

	/* PostgreSQL asks the kernel who connects, so being somebody else for that moment is enough: with all groups of theirs, as
	 * the way to the socket may be open to one of these. */
	if (!who || (n >= 0 && initgroups(who->pw_name, who->pw_gid) == 0 && setegid(who->pw_gid) == 0 && seteuid(who->pw_uid) == 0))
		db = PQconnectdbParams(keys, values, 1);
	if (who && (seteuid(0) != 0 || setegid(group) != 0 || n < 0 || setgroups((size_t)n, groups) != 0))
		abort();
	return db;
}

const char *migrate_patience(const char *dsn)
{
	PQconninfoOption *parts = PQconninfoParse(dsn, NULL);
	bool several = false;

	for (const PQconninfoOption *p = parts; p && p->keyword; p++)
		several |= (!strcmp(p->keyword, "host") || !strcmp(p->keyword, "hostaddr")) && p->val &&
		           strchr(p->val, ',');
	PQconninfoFree(parts);
	return several ? "2" : "10";
}

PGconn *migrate_connect(const struct config *config, const char *dbname)
{
	enum { KEYS_MAX = 8 };
	/* Of two equal keywords the later one holds: the connection string over ours, a dbname over its. */
	const char *keys[KEYS_MAX] = { "connect_timeout", "fallback_application_name", "dbname", "client_encoding" };
	const char *values[KEYS_MAX] = {migrate_patience(config->dsn_direct), "postern migrate", config->dsn_direct,
	                                "UTF8"};
	const struct passwd *postgres = geteuid() == 0 && local_as_oneself(config) ? getpwnam("postgres") : NULL;

	if (dbname) {
		keys[4] = "dbname";
		values[4] = dbname;
	}
	return connect_as(postgres, keys, values);
}

/* Line of the 1-based character `position`. */
static unsigned long line_at(const char *text, long position)
{
	const size_t len = strlen(text);
	unsigned long line = 1;

	for (size_t at = 0; at < len && position > 1; position--) {
		const size_t n = utf8_sequence(text + at, len - at);
		line += text[at] == '\n';
		at += n ? n : 1;
	}
	return line;
}

static int sql_failed(struct migration *m, const PGresult *result, const struct sql_file *file)
{
	const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), *lines = PQerrorMessage(m->db);
	const char *message = primary ? primary : *lines ? lines : "COPY from or to a client has no place in a SQL file";
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const bool lost = PQstatus(m->db) == CONNECTION_BAD, forbidden = state && !strcmp(state, "42501");
	static const struct { int field; const char *label; } more[] = {
		{ PG_DIAG_MESSAGE_DETAIL, "detail" }, { PG_DIAG_MESSAGE_HINT, "hint" }, { PG_DIAG_INTERNAL_QUERY, "statement" },
		{ PG_DIAG_CONTEXT, "context" }
	};
	struct buf text;

	buf_init(&text, 1500);
	if (file)
		buf_printf(&text, "%s:", file->path);
	if (file && position)
		buf_printf(&text, "%lu:", line_at(file->text, atol(position)));
	buf_printf(&text, "%s%s", file ? " " : "", message);
	for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
		const char *value = PQresultErrorField(result, more[i].field);
		if (value && *value)
			buf_printf(&text, "\n  %s: %.200s", more[i].label, value);
	}
	if (forbidden)
		buf_str(&text, "\nMigrate as a superuser; PGUSER says as whom.");
	else
		buf_str(&text, "\nThis step was rolled back; the steps before it stand. Run it again when the cause is gone.");
	cli_error(CLI_FAILED, "%s", buf_failed(&text) ? message : text.data);
	buf_free(&text);
	return lost ? CLI_UNREACHABLE : forbidden ? CLI_REFUSED : CLI_FAILED;
}

static bool succeeded(const PGresult *result)
{
	const ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

/* Text of our own: statements of this file, or a whole SQL file. */
static int execute(struct migration *m, const char *sql, const struct sql_file *file)
{
	PGresult *result = PQexec(m->db, sql);
	int rc = succeeded(result) ? CLI_OK : sql_failed(m, result, file);

	PQclear(result);
	if (rc == CLI_OK && file && PQtransactionStatus(m->db) != PQTRANS_INTRANS)
		rc = cli_error(CLI_FAILED, "%s: ends the transaction that it runs in: take COMMIT or ROLLBACK out of it", file->path);
	return rc;
}

/* *result is for PQclear(), also after a failure. */
static int query(struct migration *m, PGresult **result, const char *sql, int n, const char *const *values)
{
	*result = PQexecParams(m->db, sql, n, NULL, values, NULL, NULL, 0);
	return succeeded(*result) ? CLI_OK : sql_failed(m, *result, NULL);
}

static int change(struct migration *m, const char *sql, int n, const char *const *values)
{
	PGresult *result;
	const int rc = query(m, &result, sql, n, values);

	PQclear(result);
	return rc;
}

static bool yes(const PGresult *result)
{
	return PQntuples(result) == 1 && !strcmp(PQgetvalue(result, 0, 0), "t");
}

static int recorded(struct migration *m, bool *is)
{
	PGresult *result;
	const int rc = query(m, &result, "SELECT pg_catalog.to_regclass('postern_schema.functions') IS NOT NULL", 0, NULL);

	*is = rc == CLI_OK && yes(result);
	PQclear(result);
	return rc;
}

static int begin(struct migration *m)
{
	static const char tables[] =
		"CREATE SCHEMA IF NOT EXISTS postern_schema;"
		"CREATE TABLE postern_schema.migrations (number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
		" applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp());"
		"CREATE TABLE postern_schema.functions (one boolean PRIMARY KEY DEFAULT true CHECK (one), sha256 text NOT NULL,"
		" applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp());";
	PGresult *result;
	bool known;
	/* Read committed, so that what a competitor committed while we waited for the lock is seen. Bodies of functions are not
	 * checked when they are made: a migration may call what sql/functions/ brings after it. */
	int rc = execute(m, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
	                    "SET LOCAL client_min_messages = warning; SET LOCAL statement_timeout = 0;"
	                    "SET LOCAL check_function_bodies = off; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0", NULL);

	if (rc != CLI_OK)
		return rc;
	rc = query(m, &result, "SELECT pg_catalog.pg_try_advisory_xact_lock(x'706f737465726e'::bigint)", 0, NULL);
	const bool locked = rc == CLI_OK && yes(result);
	PQclear(result);
	if (rc == CLI_OK && !locked) {
		if (!m->waited)
			cli_note(m->cli, "waiting for another migration of this database");
		m->waited = true;
		rc = change(m, "SELECT pg_catalog.pg_advisory_xact_lock(x'706f737465726e'::bigint)", 0, NULL);
	}
	if (rc == CLI_OK)
		rc = recorded(m, &known);
	if (rc == CLI_OK && !known)
		rc = execute(m, tables, NULL);
	return rc;
}

/* *next: the index of the next migration, or the count when all are applied. What is recorded must be what we have. */
static int find_next(struct migration *m, size_t *next)
{
	const struct sql_files *files = &m->migrations;
	PGresult *result;
	int rc = query(m, &result, "SELECT number, name, sha256 FROM postern_schema.migrations ORDER BY number", 0, NULL);

	*next = files->count;
	for (int row = 0; rc == CLI_OK && row < PQntuples(result); row++) {
		const int number = atoi(PQgetvalue(result, row, 0));
		const char *name = PQgetvalue(result, row, 1);
		const struct sql_file *f = (size_t)row < files->count ? &files->item[row] : NULL;
		if (f && f->number == number && !strcmp(f->sha256, PQgetvalue(result, row, 2)))
			continue;
		if (f && f->number == number)
			rc = cli_error(CLI_CONFLICT, "%s: is not what was applied to this database as %s\nPut the original back: "
			               "a migration never changes, a new one corrects it.", f->path, name);
		else if (f && f->number < number)
			rc = cli_error(CLI_CONFLICT, "%s: comes before %s, which this database has already\n"
			               "Migrations go forward only: give it a higher number.", f->path, name);
		else
			rc = cli_error(CLI_CONFLICT, "the database is newer than this Postern: it has %s, we do not\n"
			               "Install the version that made it, or a later one.", name);
	}
	if (rc == CLI_OK && (size_t)PQntuples(result) < files->count)
		*next = (size_t)PQntuples(result);
	PQclear(result);
	return rc;
}

static int commit(struct migration *m, const char *step)
{
	const int rc = execute(m, "COMMIT", NULL);

	if (rc == CLI_OK && PQtransactionStatus(m->db) != PQTRANS_IDLE)
		return cli_error(CLI_FAILED, "%s: was not committed", step);
	if (rc == CLI_OK) {
		printf("%s\n", step);
		fflush(stdout);
		m->steps++;
	}
	return rc;
}

/* One migration in a transaction of its own. *done when there was none left. */
static int migrate_next(struct migration *m, bool *done)
{
	char step[300], number[16];
	size_t next = 0;
	int rc = begin(m);

	if (rc == CLI_OK)
		rc = find_next(m, &next);
	*done = rc != CLI_OK || next == m->migrations.count;
	if (*done)
		return rc == CLI_OK ? execute(m, "COMMIT", NULL) : rc;
	const struct sql_file *f = &m->migrations.item[next];
	snprintf(number, sizeof number, "%d", f->number);
	rc = execute(m, f->text, f);
	if (rc == CLI_OK) /* whatever the file set */
		rc = execute(m, "RESET ROLE; RESET search_path", NULL);
	if (rc == CLI_OK)
		rc = change(m, "INSERT INTO postern_schema.migrations (number, name, sha256) VALUES ($1, $2, $3)", 3,
		            (const char *const[]){ number, f->name, f->sha256 });
	snprintf(step, sizeof step, "applied %s", f->name);
	return rc == CLI_OK ? commit(m, step) : rc;
}

static int functions_current(struct migration *m, bool *current)
{
	PGresult *result;
	const int rc = query(m, &result, "SELECT EXISTS (SELECT FROM postern_schema.functions WHERE sha256 = $1)", 1,
	                     (const char *const[]){ m->sha256 });

	*current = rc == CLI_OK && yes(result);
	PQclear(result);
	return rc;
}

static int replace_functions(struct migration *m)
{
	const char *operations = json_object_to_json_string_ext(m->operations, JSON_C_TO_STRING_PLAIN);
	char step[120];
	bool current = false;
	size_t next;
	int rc = begin(m);

	if (rc == CLI_OK)
		rc = find_next(m, &next); /* a newer Postern may have come between: its functions stay */
	if (rc == CLI_OK)
		rc = functions_current(m, &current);
	if (rc != CLI_OK || (current && !m->force))
		return rc == CLI_OK ? execute(m, "COMMIT", NULL) : rc;
	for (size_t i = 0; rc == CLI_OK && i < m->functions.count; i++) {
		rc = execute(m, m->functions.item[i].text, &m->functions.item[i]);
		if (rc == CLI_OK)
			rc = execute(m, "RESET ROLE; RESET search_path", NULL);
	}
	if (rc == CLI_OK)
		rc = change(m, "SELECT gate.sync_operations($1::jsonb)", 1, &operations);
	if (rc == CLI_OK)
		rc = change(m, "INSERT INTO postern_schema.functions (sha256) VALUES ($1)"
		               " ON CONFLICT (one) DO UPDATE SET sha256 = excluded.sha256, applied_at = excluded.applied_at", 1,
		            (const char *const[]){ m->sha256 });
	snprintf(step, sizeof step, "replaced the functions (%zu files) and the list of operations", m->functions.count);
	return rc == CLI_OK ? commit(m, step) : rc;
}

/* What programs know of their resources and the database does not. */
static int teach(struct migration *m)
{
	size_t n;
	const struct resource *const *all = resources(&n);
	int rc = CLI_OK;

	for (size_t i = 0; i < n && rc == CLI_OK; i++) {
		struct json_object *told = all[i]->knows ? all[i]->knows(&m->cli->config) : NULL;
		const char *text = told ? json_object_to_json_string_ext(told, JSON_C_TO_STRING_PLAIN) : NULL;
		char sql[128];

		snprintf(sql, sizeof sql, "SELECT \"%s\".learn($1::jsonb, true)", all[i]->name);
		if (told)
			rc = change(m, sql, 1, &text);
		json_object_put(told);
	}
	if (rc == CLI_OK)
		rc = change(m, "SELECT domains.learn_proof($1)", 1, (const char *const[]){ m->cli->config.domain_proof });
	return rc;
}

static int apply(struct migration *m)
{
	bool done = false;
	int rc = CLI_OK;

	while (rc == CLI_OK && !done)
		rc = migrate_next(m, &done);
	if (rc == CLI_OK)
		rc = replace_functions(m);
	if (rc == CLI_OK)
		rc = teach(m);
	if (rc == CLI_OK && !m->steps)
		puts("nothing to do");
	return rc;
}

static int look(struct migration *m, size_t *next, bool *current)
{
	bool known = false;
	int rc = execute(m, "BEGIN READ ONLY", NULL);

	*next = 0;
	*current = false;
	if (rc == CLI_OK)
		rc = recorded(m, &known);
	if (rc == CLI_OK && known)
		rc = find_next(m, next);
	if (rc == CLI_OK && known)
		rc = functions_current(m, current);
	return rc;
}

static int foresee(struct migration *m)
{
	bool current;
	size_t next;
	const int rc = look(m, &next, &current);

	if (rc != CLI_OK)
		return rc;
	for (size_t i = next; i < m->migrations.count; i++)
		printf("would apply %s\n", m->migrations.item[i].name);
	if (!current || m->force)
		printf("would replace the functions (%zu files) and the list of operations\n", m->functions.count);
	if (next == m->migrations.count && current && !m->force)
		puts("nothing to do");
	return CLI_OK;
}

/* Files, digests and the connection. */
static int open_migration(struct migration *m)
{
	const struct config *config = &m->cli->config;
	int rc = sql_files_read(&m->migrations, config->sql_dir, "migrations", true);

	if (rc == CLI_OK)
		rc = sql_files_read(&m->functions, config->sql_dir, "functions", false);
	if (rc == CLI_OK && (!(m->operations = operations_json()) || !digest_functions(m)))
		rc = cli_error(CLI_FAILED, "out of memory");
	if (rc == CLI_OK) {
		m->db = migrate_connect(config, NULL);
		if (PQstatus(m->db) != CONNECTION_OK)
			rc = cli_unreachable(PQerrorMessage(m->db), "The setting dsn_direct (or dsn) says where the database is; postern init "
			                     "creates it.");
	}
	return rc;
}

static void close_migration(struct migration *m)
{
	PQfinish(m->db); /* rolls back what was not committed */
	json_object_put(m->operations);
	sql_files_free(&m->migrations);
	sql_files_free(&m->functions);
}

int migrate_run(struct cli *cli, bool dry_run, bool force)
{
	struct migration m = { .cli = cli, .force = force };
	int rc;

	if (!cli_config(cli))
		return CLI_FAILED;
	rc = open_migration(&m);
	if (rc == CLI_OK)
		rc = dry_run ? foresee(&m) : apply(&m);
	close_migration(&m);
	return rc;
}

int migrate_look(struct cli *cli, size_t *pending, bool *functions)
{
	struct migration m = { .cli = cli };
	bool current = false;
	size_t next = 0;
	int rc;

	if (!cli_config(cli))
		return CLI_FAILED;
	rc = open_migration(&m);
	if (rc == CLI_OK)
		rc = look(&m, &next, &current);
	*pending = m.migrations.count - next;
	*functions = !current;
	close_migration(&m);
	return rc;
}

static const struct option options[] = {
	{ .name = "dry-run", .about = "Say what would be done, change nothing" },
	{ .name = "force", .about = "Replace functions and grant anew though they are this version's: what was changed by hand is put right" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[2], *words[1];
	size_t n;
	const int rc = option_parse(options, argc, argv, values, words, &n, 0, "migrate");

	return rc ? rc : migrate_run(cli, values[0] != NULL, values[1] != NULL);
}

const struct command command_migrate = {
	"migrate", run, "migrate [--dry-run] [--force]", "Bring the database's schema to this version", options,
	"Connects with dsn_direct as the operator (or PGUSER), who must be a superuser. "
	"Each step is a transaction; running it twice, or twice at once, does no harm. A database of a newer "
	"version is refused.",
	"migrate --dry-run\nmigrate\n"
};
