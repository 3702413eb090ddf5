/*
 * database_postgresql.c: databases of accounts in PostgreSQL. A role is Postern's when its comment holds the marker (only who
 * may create roles can change that), a database when its owner is that role. The administrator needs CREATEDB and CREATEROLE,
 * no more; it becomes a member of the roles it makes.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "database.h"
#include "verifier.h"

enum { STATEMENT_MAX = 8192 };
enum whose { ABSENT = 0, OURS, FOREIGN };

struct state {
	enum whose user, database;
	bool member; /* of the role */
};

/* ---- the connection ---- */

/* libpq ends its messages with a line's end, and may give several lines. */
static const char *on_one_line(struct action *a, const char *message)
{
	char *text = arena_strdup(a->arena, message);

	for (char *c = text; c && *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = c[1] ? ' ' : '\0';
	return text ? text : "";
}

/* What went wrong is worth another try when the server, the network or somebody else's work was the reason. */
static _Noreturn void give_up(struct action *a, PGconn *c, const PGresult *r)
{
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *said = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *more = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *text = arena_printf(a->arena, "%s%s%s", said ? said : on_one_line(a, PQerrorMessage(c)), more ? ": " : "", more ? more : "");
	/* the last three: it is there by now, and the next look will tell whose it is */
	static const char *const passing[] = { "08", "40", "53", "55", "57", "42710", "42P04", "23505", NULL };

	if (!state)
		action_retry("PostgreSQL: %s", text);
	for (int i = 0; passing[i]; i++)
		if (strncmp(state, passing[i], strlen(passing[i])) == 0)
			action_retry("PostgreSQL: %s", text);
	action_fail("PostgreSQL: %s", text);
}

static void noticed(void *arg, const PGresult *r)
{
	(void)arg;
	action_log("PostgreSQL: %s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
}

static PGresult *query(struct action *a, PGconn *c, const char *sql, const char *value)
{
	PGresult *r = PQexecParams(c, sql, value ? 1 : 0, NULL, &value, NULL, NULL, 0);

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		give_up(a, c, r);
	return r;
}

/* Statements made of constants and of what PQescapeIdentifier and PQescapeLiteral returned; several are one transaction. */
static void run(struct action *a, PGconn *c, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void run(struct action *a, PGconn *c, const char *fmt, ...)
{
	char sql[STATEMENT_MAX];
	va_list args;
	PGresult *r;
	int len;

	va_start(args, fmt);
	len = vsnprintf(sql, sizeof sql, fmt, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof sql)
		action_fail("a statement is longer than %d bytes", STATEMENT_MAX);
	r = PQexec(c, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		give_up(a, c, r);
	PQclear(r);
}

/* To the server of accounts' databases: to the setting's database, or to one of its others. */
static PGconn *connect_to(struct action *a, const char *database)
{
	const char *const names[] = { "dbname", "application_name", "client_encoding", "connect_timeout", database ? "dbname" : NULL, NULL };
	const char *const values[] = { a->config.databases_postgresql_dsn, "postern", "UTF8", "10", database, NULL };
	PGconn *c;

	if (!*a->config.databases_postgresql_dsn)
		action_fail("no PostgreSQL server for databases is set; set databases_postgresql_dsn");
	c = PQconnectdbParams(names, values, 1);
	if (PQstatus(c) != CONNECTION_OK)
		action_retry("PostgreSQL cannot be reached: %s", on_one_line(a, PQerrorMessage(c)));
	PQsetNoticeReceiver(c, noticed, NULL);
	/* nothing that an account put into its database may stand in for what is meant here */
	run(a, c, "SET search_path = pg_catalog, pg_temp; SET lock_timeout = '60s'; SET client_min_messages = warning");
	return c;
}

static const char *quoted(struct action *a, PGconn *c, char *text)
{
	const char *copy = text ? arena_strdup(a->arena, text) : NULL;

	PQfreemem(text);
	if (!copy)
		action_fail("PostgreSQL: a text cannot be quoted: %s", on_one_line(a, PQerrorMessage(c)));
	return copy;
}
static const char *name_of(struct action *a, PGconn *c, const char *text)
{
	return quoted(a, c, PQescapeIdentifier(c, text, strlen(text)));
}
static const char *literal(struct action *a, PGconn *c, const char *text)
{
	return quoted(a, c, PQescapeLiteral(c, text, strlen(text)));
}

/* ---- what is there ---- */

static const char *mark(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "postern:%s", d->marker);
}

static struct state look(struct action *a, PGconn *c, const struct database *d)
{
	struct state s = { ABSENT, ABSENT, false };
	PGresult *r = query(a, c, "SELECT coalesce(shobj_description(oid, 'pg_authid'), ''), pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = $1",
	                    d->user);

	if (PQntuples(r)) {
		s.user = strcmp(PQgetvalue(r, 0, 0), mark(a, d)) == 0 ? OURS : FOREIGN;
		s.member = *PQgetvalue(r, 0, 1) == 't';
	}
	PQclear(r);
	r = query(a, c, "SELECT r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $1", d->name);
	if (PQntuples(r))
		s.database = s.user == OURS && strcmp(PQgetvalue(r, 0, 0), d->user) == 0 ? OURS : FOREIGN;
	PQclear(r);
	return s;
}

static void join(struct action *a, PGconn *c, const char *user, bool member)
{
	if (!member)
		run(a, c, "GRANT %s TO CURRENT_USER", user);
}

static void end_sessions(struct action *a, PGconn *c, const struct database *d)
{
	PQclear(query(a, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", d->user));
}

static int64_t size_of(struct action *a, PGconn *c, const char *name)
{
	PGresult *r = query(a, c, "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1", name);
	int64_t bytes = PQntuples(r) ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;

	PQclear(r);
	return bytes;
}

/* ---- what is to be there ---- */

static void apply(struct action *a, const struct database *d)
{
	PGconn *c = connect_to(a, NULL);
	struct state s = look(a, c, d);
	const char *user = name_of(a, c, d->user), *name = name_of(a, c, d->name);
	struct json_object *result;

	if (s.user == FOREIGN)
		action_fail("there is a PostgreSQL role \"%s\" already that Postern did not make for this; it was left alone: rename it, or "
		            "delete this database and create it with another user", d->user);
	if (s.database == FOREIGN)
		action_fail("there is a PostgreSQL database \"%s\" already that Postern did not make for this; it was left alone: rename it, "
		            "or delete this one and create it under another name", d->name);
	if (s.user == ABSENT)
		run(a, c, "CREATE ROLE %s NOLOGIN; COMMENT ON ROLE %s IS %s", user, user, literal(a, c, mark(a, d)));
	join(a, c, user, s.member);
	action_progress(30, "the user is there");
	if (s.database == ABSENT) /* nobody comes in before PUBLIC is kept out */
		run(a, c, "CREATE DATABASE %s OWNER %s ENCODING %s TEMPLATE template0 ALLOW_CONNECTIONS false", name, user, literal(a, c, d->charset));
	run(a, c, "REVOKE ALL ON DATABASE %s FROM PUBLIC", name);
	run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name);
	action_progress(80, "the database is there");
	run(a, c, "ALTER ROLE %s %s PASSWORD %s", user, d->suspended ? "NOLOGIN" : "LOGIN", literal(a, c, d->verifier));
	if (d->suspended)
		end_sessions(a, c, d);
	result = json_object_new_object();
	json_object_object_add(result, "size_bytes", json_object_new_int64(size_of(a, c, d->name)));
	PQfinish(c);
	action_result(result);
}

/* Other accounts may have given the role something in theirs, which would keep it from being dropped. */
static void disown(struct action *a, PGconn *c, const struct database *d, const char *user)
{
	PGresult *r = query(a, c, "SELECT DISTINCT b.datname, coalesce(shobj_description(b.datdba, 'pg_authid'), '') LIKE 'postern:%' "
	                          "FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid AND s.refclassid = 'pg_authid'::regclass "
	                          "JOIN pg_database b ON b.oid = s.dbid WHERE r.rolname = $1", d->user);

	for (int i = 0; i < PQntuples(r); i++) {
		PGconn *there;

		if (*PQgetvalue(r, i, 1) != 't')
			action_fail("the role \"%s\" owns or may use something in the database \"%s\", which is none of Postern's: take it away there, "
			            "then retry", d->user, PQgetvalue(r, i, 0));
		there = connect_to(a, PQgetvalue(r, i, 0));
		run(a, there, "DROP OWNED BY %s", user);
		PQfinish(there);
	}
	PQclear(r);
	run(a, c, "DROP OWNED BY %s", user); /* what it may on databases as such */
}

/*
 * Dumps are made and read in by a deputy: a role that may log in for a moment and is a member of the database's own, nothing
 * else. Reading in runs what the account has put into its database (checks, for one), which could take back any SET ROLE
 * that an administrator has made.
 */
static const char *deputy_of(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "postern_deputy_%s", d->marker);
}

static void take_away(struct action *a, const struct database *d)
{
	PGconn *c = connect_to(a, NULL);
	struct state s = look(a, c, d);
	const char *user = name_of(a, c, d->user), *name = name_of(a, c, d->name);

	if (s.user == FOREIGN)
		action_log("the role \"%s\" is none that Postern made for this; it stays", d->user);
	if (s.database == FOREIGN)
		action_log("the database \"%s\" is none that Postern made for this; it stays", d->name);
	if (s.user == OURS) {
		join(a, c, user, s.member);
		run(a, c, "ALTER ROLE %s NOLOGIN", user);
		end_sessions(a, c, d);
	}
	if (s.database == OURS) {
		action_progress(30, "dropping the database");
		run(a, c, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
	}
	if (s.user == OURS) {
		action_progress(80, "dropping the user");
		disown(a, c, d, user);
		run(a, c, "DROP ROLE IF EXISTS %s", name_of(a, c, deputy_of(a, d))); /* of a backup that was killed */
		run(a, c, "DROP ROLE IF EXISTS %s", user);
	}
	PQfinish(c);
}

static void measure(struct action *a, struct json_object *sizes)
{
	PGconn *c = connect_to(a, NULL);
	PGresult *r = query(a, c, "SELECT substr(shobj_description(datdba, 'pg_authid'), 9), pg_database_size(oid) FROM pg_database "
	                          "WHERE shobj_description(datdba, 'pg_authid') LIKE 'postern:%' AND pg_has_role(datdba, 'USAGE')", NULL);

	for (int i = 0; i < PQntuples(r); i++)
		json_object_object_add(sizes, PQgetvalue(r, i, 0), json_object_new_int64(strtoll(PQgetvalue(r, i, 1), NULL, 10)));
	PQclear(r);
	PQfinish(c);
}

/* ---- backups ---- */

static void dismiss(struct action *a, PGconn *c, const struct database *d)
{
	const char *deputy = name_of(a, c, deputy_of(a, d));
	PGresult *r = query(a, c, "SELECT FROM pg_roles WHERE rolname = $1", deputy_of(a, d));
	PGresult *in = query(a, c, "SELECT FROM pg_database WHERE datname = $1 AND datallowconn", d->name);

	if (PQntuples(r)) {
		run(a, c, "GRANT %s TO CURRENT_USER", deputy);
		if (PQntuples(in)) { /* what the account's own functions may have made as it */
			PGconn *there = connect_to(a, d->name);

			run(a, there, "DROP OWNED BY %s", deputy);
			PQfinish(there);
		}
		run(a, c, "DROP ROLE %s", deputy);
	}
	PQclear(in);
	PQclear(r);
}

/* A memory file in the form of a passfile, which is read by its number; it goes when the action ends. */
static const char *passfile(struct action *a, const char *password)
{
	const char *line = arena_printf(a->arena, "*:*:*:*:%s\n", password);
	int fd = (int)memfd_create("passfile", 0);

	if (fd < 0 || fchmod(fd, 0600) != 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
		action_retry("a passfile cannot be made: %s", strerror(errno));
	return arena_printf(a->arena, "PGPASSFILE=/proc/self/fd/%d", fd);
}

/* The environment of PostgreSQL's programs: the setting's server, the deputy, this database. */
static const char *const *deputise(struct action *a, PGconn *c, const struct database *d, const char *database)
{
	enum { ENV = 40, PASSWORD = 24 };
	const char **env = arena_array(a->arena, ENV, sizeof *env);
	PQconninfoOption *options = PQconninfoParse(a->config.databases_postgresql_dsn, NULL);
	unsigned char random[PASSWORD];
	char password[2 * PASSWORD + 1], *verifier;
	PGresult *r;
	size_t n = 0;

	dismiss(a, c, d); /* of an attempt that was killed */
	if (!env || !options || RAND_bytes(random, sizeof random) != 1)
		action_retry("out of memory, or of random bytes");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(password + 2 * i, 3, "%02x", random[i]);
	verifier = PQencryptPasswordConn(c, password, deputy_of(a, d), "scram-sha-256");
	if (!verifier)
		action_retry("PostgreSQL: %s", PQerrorMessage(c));
	r = query(a, c, "SELECT FROM pg_roles WHERE rolname = 'postern_deputies'", NULL);
	if (!PQntuples(r)) /* by which pg_hba.conf knows them; says and may nothing else */
		run(a, c, "CREATE ROLE postern_deputies NOLOGIN");
	PQclear(r);
	run(a, c, "CREATE ROLE %s LOGIN CONNECTION LIMIT 8 IN ROLE %s, postern_deputies PASSWORD %s", name_of(a, c, deputy_of(a, d)), name_of(a, c, d->user),
	    literal(a, c, verifier));
	PQfreemem(verifier);
	for (const PQconninfoOption *o = options; o->keyword && n < ENV - 6; o++)
		if (o->envvar && o->val && *o->val && strcmp(o->keyword, "user") != 0 && strncmp(o->keyword, "pass", 4) != 0 &&
		    strcmp(o->keyword, "dbname") != 0 && strcmp(o->keyword, "client_encoding") != 0)
			env[n++] = arena_printf(a->arena, "%s=%s", o->envvar, o->val);
	env[n++] = arena_printf(a->arena, "PGUSER=%s", deputy_of(a, d));
	env[n++] = arena_printf(a->arena, "PGDATABASE=%s", database);
	env[n++] = passfile(a, password);
	env[n++] = "PGAPPNAME=postern";
	PQconninfoFree(options);
	explicit_bzero(password, sizeof password);
	return env;
}

static void program(struct action *a, const char *setting, struct command *c, const char *first, const char *second, const char *third, const char *fourth)
{
	const char *more[] = { first, second, third, fourth };
	size_t n = 0;

	*c = (struct command){ 0 };
	if (!command_split(a, setting, c))
		action_fail("%s: has too many words", setting);
	while (c->argv[n])
		n++;
	if (n + 5 > COMMAND_ARGS_MAX)
		action_fail("%s: has too many words", setting);
	for (size_t i = 0; i < 4 && more[i]; i++)
		c->argv[n++] = more[i];
}

static void must_be_ours(struct action *a, PGconn *c, const struct database *d)
{
	struct state s = look(a, c, d);

	if (s.user != OURS || s.database != OURS)
		action_fail("the PostgreSQL database \"%s\" of the role \"%s\" is not there, or none that Postern made", d->name, d->user);
	join(a, c, name_of(a, c, d->user), s.member);
}

static void dump(struct action *a, const struct database *d, struct command *dumper)
{
	PGconn *c = connect_to(a, NULL);

	must_be_ours(a, c, d);
	program(a, a->config.pg_dump_command, dumper, "--format=custom", "--compress=0", "--no-password",
	        arena_printf(a->arena, "--role=%s", d->user));
	dumper->env = deputise(a, c, d, d->name);
	PQfinish(c);
}

static void dumped(struct action *a, const struct database *d)
{
	PGconn *c = connect_to(a, NULL);

	dismiss(a, c, d);
	PQfinish(c);
}

/* Reading the table of contents does not find a stream that was cut off: all of it is turned into statements. */
static bool is_whole(struct action *a, struct command *load, const char **why)
{
	struct command pipe[2] = { *load };

	program(a, a->config.pg_restore_command, &pipe[1], "--file=/dev/null", NULL, NULL, NULL);
	if (command_pipe(a, pipe, 2))
		return true;
	*why = command_complaint(a, pipe[1].status != 0 ? &pipe[1] : &pipe[0]);
	return false;
}

static void drop(struct action *a, PGconn *c, const char *name)
{
	PQclear(query(a, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name));
	run(a, c, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name_of(a, c, name));
}

/* Two names change in one transaction, so that there is one database of that name at any time. */
static void swap(struct action *a, PGconn *c, const struct database *d, const char *fresh, const char *old)
{
	const char *name = name_of(a, c, d->name);
	PGresult *r;

	run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS false", name);
	PQclear(query(a, c, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", d->name));
	r = PQexec(c, arena_printf(a->arena, "BEGIN; ALTER DATABASE %s RENAME TO %s; ALTER DATABASE %s RENAME TO %s; COMMIT", name,
	                           name_of(a, c, old), name_of(a, c, fresh), name));
	if (PQresultStatus(r) != PGRES_COMMAND_OK) {
		const char *why = arena_strdup(a->arena, PQresultErrorMessage(r));

		PQclear(PQexec(c, "ROLLBACK"));
		run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name);
		drop(a, c, fresh);
		action_retry("the database could not be replaced: %s", why);
	}
	PQclear(r);
}

static void refill(struct action *a, const struct database *d, const struct command *load, const char *user_then)
{
	PGconn *c = connect_to(a, NULL);
	const char *fresh = arena_printf(a->arena, "postern_fresh_%s", d->marker), *old = arena_printf(a->arena, "postern_old_%s", d->marker);
	struct command pipe[2] = { *load };
	struct database made = *d;
	PGresult *r;

	(void)user_then; /* whoever it was: --no-owner */
	must_be_ours(a, c, d);
	drop(a, c, fresh); /* of an attempt that was killed */
	drop(a, c, old);
	run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name_of(a, c, d->name));
	r = query(a, c, "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = $1", d->name);
	run(a, c, "CREATE DATABASE %s OWNER %s ENCODING %s LC_COLLATE %s LC_CTYPE %s TEMPLATE template0 ALLOW_CONNECTIONS false",
	    name_of(a, c, fresh), name_of(a, c, d->user), literal(a, c, PQgetvalue(r, 0, 0)), literal(a, c, PQgetvalue(r, 0, 1)),
	    literal(a, c, PQgetvalue(r, 0, 2)));
	PQclear(r);
	run(a, c, "REVOKE ALL ON DATABASE %s FROM PUBLIC", name_of(a, c, fresh));
	run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name_of(a, c, fresh));
	program(a, a->config.pg_restore_command, &pipe[1], arena_printf(a->arena, "--dbname=%s", fresh), "--exit-on-error", "--no-owner", "--no-privileges");
	pipe[1].env = deputise(a, c, d, fresh);
	for (size_t n = 0; n < COMMAND_ARGS_MAX - 1; n++)
		if (!pipe[1].argv[n]) {
			pipe[1].argv[n] = arena_printf(a->arena, "--role=%s", d->user);
			break;
		}
	made.name = fresh;
	if (!command_pipe(a, pipe, 2)) {
		dismiss(a, c, &made);
		drop(a, c, fresh);
		action_fail("the database could not be read in, and is as it was: %s", command_complaint(a, &pipe[pipe[1].status != 0]));
	}
	dismiss(a, c, &made);
	action_progress(90, "taking the place of what was there");
	swap(a, c, d, fresh, old);
	drop(a, c, old);
	PQfinish(c);
}

const struct engine engine_postgresql = { "postgresql", verifier_is_scram, apply, take_away, measure, dump, dumped, is_whole, refill };
