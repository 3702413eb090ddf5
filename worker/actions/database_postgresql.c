/*
 * database_postgresql.c: databases of accounts in PostgreSQL. A role is Postern's when its comment holds the marker (only who
 * may create roles can change that). A database is made as that role's, by which it is known until its own comment says so; then
 * it belongs to a role that nobody logs in as. So its user, who owns all that is in it, can neither let others in, nor have
 * whoever connects act as he likes (ALTER DATABASE … SET), nor keep it from being dropped. The administrator needs CREATEDB and
 * CREATEROLE, no more; it becomes a member of the roles it makes.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "database.h"
#include "verifier.h"

enum { STATEMENT_MAX = 8192, RIGHTS_MAX = 8 << 20 };
#define KEEPER "postern_databases" /* whose the databases are */
#define DUMPER "postern_dumps"     /* who reads rows that a policy keeps from their owner, too: NOLOGIN BYPASSRLS */
enum whose { ABSENT = 0, OURS, FOREIGN };

struct state {
	enum whose user, database;
	bool member; /* of the role */
	bool kept;   /* the database is the keeper's already */
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
	/* the last three: it is there by now, and the next look will tell whose it is; before them, what a statement of an attempt
	 * that was killed still does beside us ("tuple concurrently deleted") */
	static const char *const passing[] = { "08", "40", "53", "55", "57", "XX000", "3D000", "42704", "42710", "42P04", "23505", NULL };

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

/* What a database or a role was given (ALTER … SET) must not decide what becomes of those who connect. Options of the start go
 * before it. */
static const char *own_settings(struct action *a)
{
	PQconninfoOption *options = PQconninfoParse(a->config.databases_postgresql_dsn, NULL);
	const char *given = "";

	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, "options") == 0 && o->val)
			given = arena_strdup(a->arena, o->val);
	PQconninfoFree(options);
	return arena_printf(a->arena, "%s -c role=none -c local_preload_libraries= -c default_transaction_read_only=off -c statement_timeout=0 "
	                              "-c lock_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0 "
	                              "-c search_path=pg_catalog,pg_temp -c default_transaction_isolation=read\\ committed "
	                              "-c default_transaction_deferrable=off -c standard_conforming_strings=on -c row_security=on "
	                              "-c default_tablespace= -c temp_tablespaces= -c client_min_messages=warning "
	                              "-c check_function_bodies=on -c default_table_access_method=heap", given);
}

/* To the server of accounts' databases: to the setting's database, or to one of its others. */
static PGconn *connect_to(struct action *a, const char *database)
{
	const char *const names[] = { "dbname", "application_name", "client_encoding", "connect_timeout", "options", database ? "dbname" : NULL, NULL };
	const char *const values[] = { a->config.databases_postgresql_dsn, "postern", "UTF8", "10", own_settings(a), database, NULL };
	PGconn *c;

	if (!*a->config.databases_postgresql_dsn)
		action_fail("no PostgreSQL server for databases is set; set databases_postgresql_dsn");
	c = PQconnectdbParams(names, values, 1);
	if (PQstatus(c) != CONNECTION_OK)
		action_retry("PostgreSQL cannot be reached: %s", on_one_line(a, PQerrorMessage(c)));
	PQsetNoticeReceiver(c, noticed, NULL);
	run(a, c, "SET lock_timeout = '60s'");
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
	struct state s = { ABSENT, ABSENT, false, false };
	PGresult *r = query(a, c, "SELECT coalesce(shobj_description(oid, 'pg_authid'), ''), pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = $1",
	                    d->user);

	if (PQntuples(r)) {
		s.user = strcmp(PQgetvalue(r, 0, 0), mark(a, d)) == 0 ? OURS : FOREIGN;
		s.member = *PQgetvalue(r, 0, 1) == 't';
	}
	PQclear(r);
	r = query(a, c, "SELECT r.rolname, coalesce(shobj_description(d.oid, 'pg_database'), '') FROM pg_database d "
	                "JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $1", d->name);
	if (PQntuples(r)) {
		const char *owner = PQgetvalue(r, 0, 0);
		bool marked = strcmp(owner, KEEPER) == 0 && strcmp(PQgetvalue(r, 0, 1), mark(a, d)) == 0;

		s.kept = marked;
		s.database = marked || (s.user == OURS && strcmp(owner, d->user) == 0) ? OURS : FOREIGN;
	}
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
	PQclear(query(a, c, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", d->user));
}

/* A role of Postern's by its name, which says and may nothing by itself; we are to be a member. */
static void have_role(struct action *a, PGconn *c, const char *name)
{
	PGresult *r = query(a, c, "SELECT pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = $1", name);

	if (!PQntuples(r))
		run(a, c, "CREATE ROLE %s NOLOGIN", name_of(a, c, name));
	join(a, c, name_of(a, c, name), PQntuples(r) && *PQgetvalue(r, 0, 0) == 't');
	PQclear(r);
}

static void drop(struct action *a, PGconn *c, const char *name)
{
	PGresult *r = query(a, c, "SELECT FROM pg_database WHERE datname = $1", name);

	if (PQntuples(r)) { /* a template is not dropped */
		run(a, c, "ALTER DATABASE %s IS_TEMPLATE false", name_of(a, c, name));
		run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS false", name_of(a, c, name));
		PQclear(query(a, c, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name));
		run(a, c, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name_of(a, c, name));
	}
	PQclear(r);
}

/*
 * A database in its final state, closed until then: of the keeper, open to its user alone, who has what its owner would have but
 * for the database's own settings and permissions. What other accounts' users were once given on it is taken away. A suspended
 * one is kept out here first: he could keep a lock on his own role, but has no hand on this.
 */
static void furnish(struct action *a, PGconn *c, const struct database *d, const char *database, bool open)
{
	const char *name = name_of(a, c, database), *user = name_of(a, c, d->user);
	PGresult *r;
	PGconn *there;

	have_role(a, c, KEEPER);
	run(a, c, "REVOKE ALL ON DATABASE %s FROM PUBLIC; ALTER DATABASE %s OWNER TO " KEEPER "; COMMENT ON DATABASE %s IS %s; "
	          "GRANT CREATE, TEMPORARY ON DATABASE %s TO %s; %s CONNECT ON DATABASE %s %s %s", name, name, name, literal(a, c, mark(a, d)),
	    name, user, open ? "GRANT" : "REVOKE", name, open ? "TO" : "FROM", user);
	r = query(a, c, "SELECT DISTINCT r.rolname FROM pg_database d, aclexplode(d.datacl) x JOIN pg_roles r ON r.oid = x.grantee "
	                "WHERE d.datname = $1 AND shobj_description(r.oid, 'pg_authid') LIKE 'postern:%'", database);
	for (int i = 0; i < PQntuples(r); i++)
		if (strcmp(PQgetvalue(r, i, 0), d->user) != 0)
			run(a, c, "REVOKE ALL ON DATABASE %s FROM %s CASCADE", name, name_of(a, c, PQgetvalue(r, i, 0)));
	PQclear(r);
	run(a, c, "ALTER DATABASE %s IS_TEMPLATE false; ALTER DATABASE %s CONNECTION LIMIT -1", name, name);
	run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name);
	there = connect_to(a, database);
	r = query(a, there, "SELECT FROM pg_namespace WHERE nspname = 'public' AND pg_get_userbyid(nspowner) IN ('pg_database_owner', $1)", KEEPER);
	if (PQntuples(r))
		run(a, there, "ALTER SCHEMA public OWNER TO %s", user);
	PQclear(r);
	PQfinish(there);
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
	if (s.user == ABSENT) {
		/* where the server asks the kernel who somebody is (peer), that user would be this role without a password */
		if (getpwnam(d->user))
			action_fail("there is a Unix user \"%s\" on this machine, whom PostgreSQL may let in as the role of that name; delete this database "
			            "and create it with another user", d->user);
		run(a, c, "CREATE ROLE %s NOLOGIN; COMMENT ON ROLE %s IS %s", user, user, literal(a, c, mark(a, d)));
	}
	join(a, c, user, s.member);
	if (s.user == ABSENT || (s.database == OURS && !s.kept)) /* for good manners; posternd ends those that have none */
		run(a, c, "ALTER ROLE %s SET idle_in_transaction_session_timeout = '5min'", user);
	action_progress(30, "the user is there");
	if (s.database == ABSENT) /* nobody comes in before PUBLIC is kept out */
		run(a, c, "CREATE DATABASE %s OWNER %s ENCODING %s TEMPLATE template0 ALLOW_CONNECTIONS false", name, user, literal(a, c, d->charset));
	furnish(a, c, d, d->name, !d->suspended);
	if (d->suspended)
		end_sessions(a, c, d);
	action_progress(80, "the database is there");
	run(a, c, "ALTER ROLE %s %s CONNECTION LIMIT %d PASSWORD %s", user, d->suspended ? "NOLOGIN" : "LOGIN", d->connections,
	    literal(a, c, d->verifier));
	if (d->suspended) /* who came in by another way */
		end_sessions(a, c, d);
	result = json_object_new_object();
	json_object_object_add(result, "size_bytes", json_object_new_int64(size_of(a, c, d->name)));
	PQfinish(c);
	action_result(result);
}

/* The other databases in which a role owns or may use something, and whether they are Postern's: name, ours, open. */
#define HELD_IN \
	"SELECT DISTINCT b.datname, coalesce(shobj_description(b.datdba, 'pg_authid'), '') LIKE 'postern:%'" \
	" OR pg_get_userbyid(b.datdba) = '" KEEPER "', b.datallowconn" \
	" FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid AND s.refclassid = 'pg_authid'::regclass" \
	" JOIN pg_database b ON b.oid = s.dbid WHERE r.rolname = $1"

/* Before anything is taken away: would something of somebody else's keep the role? */
static void must_be_removable(struct action *a, PGconn *c, const struct database *d)
{
	PGresult *r = query(a, c, HELD_IN, d->user);

	for (int i = 0; i < PQntuples(r); i++)
		if (*PQgetvalue(r, i, 1) != 't')
			action_fail("the role \"%s\" owns or may use something in the database \"%s\", which is none of Postern's: take it away there, "
			            "then retry", d->user, PQgetvalue(r, i, 0));
	PQclear(r);
}

/* Other accounts may have given the role something in theirs, which would keep it from being dropped. */
static void disown(struct action *a, PGconn *c, const struct database *d, const char *user)
{
	PGresult *r = query(a, c, HELD_IN, d->user);

	for (int i = 0; i < PQntuples(r); i++) {
		const char *name = name_of(a, c, PQgetvalue(r, i, 0));
		bool open = *PQgetvalue(r, i, 2) == 't';
		PGconn *there;

		if (strcmp(PQgetvalue(r, i, 0), d->name) == 0)
			continue; /* it goes as a whole */
		if (!open)
			run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name);
		there = connect_to(a, PQgetvalue(r, i, 0));
		run(a, there, "DROP OWNED BY %s", user);
		PQfinish(there);
		if (!open)
			run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS false", name);
	}
	PQclear(r);
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

/* `database`: the one that it was made for, in which the account's own functions may have made something as it. */
static void dismiss(struct action *a, PGconn *c, const struct database *d, const char *database)
{
	const char *deputy = name_of(a, c, deputy_of(a, d));
	PGresult *r = query(a, c, "SELECT FROM pg_roles WHERE rolname = $1", deputy_of(a, d));
	PGresult *in = query(a, c, "SELECT FROM pg_database WHERE datname = $1 AND datallowconn", database);

	if (PQntuples(r)) {
		run(a, c, "ALTER ROLE %s NOLOGIN; GRANT %s TO CURRENT_USER", deputy, deputy);
		PQclear(query(a, c, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", deputy_of(a, d)));
		if (PQntuples(in)) {
			PGconn *there = connect_to(a, database);

			run(a, there, "DROP OWNED BY %s", deputy);
			PQfinish(there);
		}
		run(a, c, "DROP ROLE %s", deputy);
	}
	PQclear(in);
	PQclear(r);
	r = query(a, c, "SELECT FROM pg_auth_members m WHERE m.roleid = (SELECT oid FROM pg_roles WHERE rolname = $1) "
	                "AND m.member = (SELECT oid FROM pg_roles WHERE rolname = '" DUMPER "')", d->user);
	if (PQntuples(r))
		run(a, c, "REVOKE %s FROM " DUMPER, name_of(a, c, d->user));
	PQclear(r);
}

static const char *fresh_of(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "postern_fresh_%s", d->marker);
}
static const char *old_of(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "postern_old_%s", d->marker);
}

static void take_away(struct action *a, const struct database *d)
{
	PGconn *c = connect_to(a, NULL);
	struct state s = look(a, c, d);
	const char *user = name_of(a, c, d->user);

	if (s.user == FOREIGN)
		action_log("the role \"%s\" is none that Postern made for this; it stays", d->user);
	if (s.database == FOREIGN)
		action_log("the database \"%s\" is none that Postern made for this; it stays", d->name);
	if (s.user == OURS || s.database == OURS)
		have_role(a, c, KEEPER);
	if (s.user == OURS) {
		join(a, c, user, s.member);
		must_be_removable(a, c, d);
		if (s.database == OURS)
			run(a, c, "REVOKE CONNECT ON DATABASE %s FROM %s", name_of(a, c, d->name), user);
		end_sessions(a, c, d);
		run(a, c, "ALTER ROLE %s NOLOGIN", user);
		end_sessions(a, c, d);
		dismiss(a, c, d, d->name); /* of a backup that was killed */
		drop(a, c, fresh_of(a, d));
		drop(a, c, old_of(a, d));
		disown(a, c, d, user);
	}
	if (s.database == OURS) {
		action_progress(30, "dropping the database");
		drop(a, c, d->name);
	}
	if (s.user == OURS) {
		action_progress(80, "dropping the user");
		/* another account's user who is giving it something, and does not come to an end */
		PQclear(query(a, c, "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks l JOIN pg_stat_activity s ON s.pid = l.pid "
		                    "WHERE l.locktype = 'object' AND l.classid = 'pg_authid'::regclass AND l.objid = (SELECT oid FROM pg_roles WHERE rolname = $1) "
		                    "AND shobj_description(s.usesysid, 'pg_authid') LIKE 'postern:%'", d->user));
		run(a, c, "DROP OWNED BY %s", user); /* what it may on databases as such */
		run(a, c, "DROP ROLE IF EXISTS %s", user);
	}
	PQfinish(c);
}

static void measure(struct action *a, struct json_object *sizes)
{
	PGconn *c = connect_to(a, NULL);
	PGresult *r = query(a, c, "SELECT substr(m.mark, 9), pg_database_size(d.oid) FROM pg_database d, coalesce(CASE pg_get_userbyid(d.datdba) "
	                          "WHEN '" KEEPER "' THEN shobj_description(d.oid, 'pg_database') ELSE shobj_description(d.datdba, 'pg_authid') END, '') "
	                          "AS m (mark) WHERE m.mark LIKE 'postern:%' AND d.datname !~ '^postern_' AND pg_has_role(d.datdba, 'USAGE')", NULL);

	for (int i = 0; i < PQntuples(r); i++)
		json_object_object_add(sizes, PQgetvalue(r, i, 0), json_object_new_int64(strtoll(PQgetvalue(r, i, 1), NULL, 10)));
	PQclear(r);
	PQfinish(c);
}

/* ---- backups ---- */

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
static const char *const *deputise(struct action *a, PGconn *c, const struct database *d, const char *database, bool reads_all)
{
	enum { ENV = 40, PASSWORD = 24 };
	const char **env = arena_array(a->arena, ENV, sizeof *env);
	PQconninfoOption *options = PQconninfoParse(a->config.databases_postgresql_dsn, NULL);
	unsigned char random[PASSWORD];
	char password[2 * PASSWORD + 1], *verifier;
	size_t n = 0;

	dismiss(a, c, d, database); /* of an attempt that was killed */
	if (!env || !options || RAND_bytes(random, sizeof random) != 1)
		action_retry("out of memory, or of random bytes");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(password + 2 * i, 3, "%02x", random[i]);
	verifier = PQencryptPasswordConn(c, password, deputy_of(a, d), "scram-sha-256");
	if (!verifier)
		action_retry("PostgreSQL: %s", PQerrorMessage(c));
	have_role(a, c, "postern_deputies"); /* by which pg_hba.conf knows them */
	if (reads_all)
		run(a, c, "GRANT %s TO " DUMPER, name_of(a, c, d->user));
	run(a, c, "CREATE ROLE %s LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT 8 IN ROLE %s, postern_deputies%s PASSWORD %s",
	    name_of(a, c, deputy_of(a, d)), name_of(a, c, d->user), reads_all ? ", " DUMPER : "", literal(a, c, verifier));
	run(a, c, "GRANT CONNECT ON DATABASE %s TO %s", name_of(a, c, database), name_of(a, c, deputy_of(a, d)));
	PQfreemem(verifier);
	for (const PQconninfoOption *o = options; o->keyword && n < ENV - 7; o++)
		if (o->envvar && o->val && *o->val && strcmp(o->keyword, "user") != 0 && strncmp(o->keyword, "pass", 4) != 0 &&
		    strcmp(o->keyword, "dbname") != 0 && strcmp(o->keyword, "client_encoding") != 0 && strcmp(o->keyword, "options") != 0)
			env[n++] = arena_printf(a->arena, "%s=%s", o->envvar, o->val);
	env[n++] = arena_printf(a->arena, "PGUSER=%s", deputy_of(a, d));
	env[n++] = arena_printf(a->arena, "PGDATABASE=%s", database);
	env[n++] = passfile(a, password);
	env[n++] = "PGAPPNAME=postern";
	env[n++] = arena_printf(a->arena, "PGOPTIONS=%s", own_settings(a));
	PQconninfoFree(options);
	explicit_bzero(password, sizeof password);
	return env;
}

static void program(struct action *a, const char *setting, struct command *c, const char *first, const char *second, const char *third, const char *fourth)
{
	const char *more[] = { first, second, third, fourth };

	*c = (struct command){ 0 };
	command_split(a, setting, c);
	for (size_t i = 0; i < 4 && more[i]; i++)
		command_add(c, more[i]);
}

static void must_be_ours(struct action *a, PGconn *c, const struct database *d)
{
	struct state s = look(a, c, d);

	if (s.user != OURS || s.database != OURS)
		action_fail("the PostgreSQL database \"%s\" of the role \"%s\" is not there, or none that Postern made", d->name, d->user);
	join(a, c, name_of(a, c, d->user), s.member);
}

static bool is_left_out(const struct left_out *out, const char *object)
{
	for (size_t i = 0; i < json_object_array_length(out->list); i++) {
		struct json_object *name;

		if (json_object_object_get_ex(json_object_array_get_idx(out->list, i), "object", &name) && strcmp(json_object_get_string(name), object) == 0)
			return true;
	}
	return false;
}

/* Leave these out of a dump by `option`, which takes their names as format('%I.%I') gives them: in a pattern, too, a name in
 * quotes stands for itself, and one without has nothing that does not. */
static void leave_out_all(struct action *a, PGresult *r, const char *option, const char *reason, struct left_out *out, struct command *dumper)
{
	for (int i = 0; i < PQntuples(r); i++) {
		const char *name = arena_strdup(a->arena, PQgetvalue(r, i, 0));

		command_add(dumper, arena_printf(a->arena, "--%s=%s", option, name));
		if (!is_left_out(out, name))
			leave_out(out, name, reason);
	}
	PQclear(r);
}

/* What the database's user may not read: tables of others, and rows that a policy keeps from their owner, too, where there is no
 * role that may read all of them. And what he could not bring back: extensions that a superuser has made. Returns whether the role
 * that reads all rows is needed. */
static bool leave_out_closed(struct action *a, PGconn *c, const struct database *d, struct left_out *out, struct command *dumper)
{
	PGconn *there = connect_to(a, d->name);
	PGresult *r = query(a, c, "SELECT FROM pg_roles WHERE rolname = '" DUMPER "' AND rolbypassrls AND NOT rolcanlogin", NULL);
	bool reads_all = PQntuples(r), hidden;

	PQclear(r);
	leave_out_all(a, query(a, there, "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
	                                 "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'S') AND n.nspname !~ '^pg_' "
	                                 "AND n.nspname <> 'information_schema' AND NOT has_table_privilege($1, c.oid, 'SELECT')"
	                                 " AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')", d->user),
	              "exclude-table", arena_printf(a->arena, "it belongs to another role, and \"%s\" may not read it; have it dropped, or given to "
	              "\"%s\" (ALTER TABLE ... OWNER TO)", d->user, d->user), out, dumper);
	r = query(a, there, "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
	                    "WHERE c.relrowsecurity AND has_table_privilege($1, c.oid, 'SELECT')"
	                    " AND (c.relforcerowsecurity OR NOT pg_has_role($1, c.relowner, 'USAGE'))", d->user);
	hidden = PQntuples(r);
	if (hidden && !reads_all)
		leave_out_all(a, r, "exclude-table-data", arena_printf(a->arena, "its rows: row-level security holds for its owner, too, and no role is "
		              "there that may read all of it; as a superuser: CREATE ROLE " DUMPER " NOLOGIN BYPASSRLS; GRANT " DUMPER " TO %s WITH "
		              "ADMIN OPTION", PQuser(c)), out, dumper);
	else
		PQclear(r);
	r = query(a, there, "SELECT format('extension %I', e.extname) FROM pg_extension e WHERE e.extname <> 'plpgsql' AND NOT EXISTS (SELECT FROM "
	                    "pg_available_extension_versions v WHERE v.name = e.extname AND v.version = e.extversion AND (v.trusted OR NOT v.superuser))", NULL);
	for (int i = 0; i < PQntuples(r); i++)
		if (!is_left_out(out, PQgetvalue(r, i, 0)))
			leave_out(out, PQgetvalue(r, i, 0), "a superuser has made it, and the restore may not; it is left alone where it is, and in another database a superuser must make it first");
	PQclear(r);
	PQfinish(there);
	return hidden && reads_all;
}

/* What is the database's as a whole, and so in no dump: how it sorts, and what was set for it, or for its user in it. What decides
 * who acts there, or runs what, is not kept. */
static void keep_around(struct action *a, PGconn *c, const struct database *d, struct json_object *around, struct left_out *out)
{
	const char *super = PQparameterStatus(c, "is_superuser");
	bool all = super && strcmp(super, "on") == 0;
	static const char *const names[] = { "encoding", "collate", "ctype", "provider", "icu" };
	struct json_object *settings = json_object_new_array();
	const char *icu = PQserverVersion(c) < 150000 ? "''" : PQserverVersion(c) < 170000 ? "coalesce(daticulocale, '')" : "coalesce(datlocale, '')";
	PGresult *r = query(a, c, arena_printf(a->arena, "SELECT pg_encoding_to_char(encoding), datcollate, datctype, %s, %s FROM pg_database WHERE datname = $1",
	                                       PQserverVersion(c) < 150000 ? "'c'" : "datlocprovider::text", icu), d->name);

	for (int i = 0; PQntuples(r) && i < 5; i++)
		json_object_object_add(around, names[i], json_object_new_string(PQgetvalue(r, 0, i)));
	PQclear(r);
	r = query(a, c, "SELECT coalesce(o.rolname, ''), split_part(x, '=', 1), substr(x, strpos(x, '=') + 1) FROM pg_db_role_setting s "
	                "JOIN pg_database b ON b.oid = s.setdatabase LEFT JOIN pg_roles o ON o.oid = s.setrole, unnest(s.setconfig) x "
	                "WHERE b.datname = $1 AND split_part(x, '=', 1) NOT IN ('role', 'session_authorization', 'local_preload_libraries', 'session_preload_libraries', "
	                "'default_transaction_read_only') ORDER BY 1, 2", d->name);
	for (int i = 0; i < PQntuples(r); i++) {
		const char *whose = PQgetvalue(r, i, 0);
		struct json_object *one;

		if (*whose && strcmp(whose, d->user) != 0)
			continue;
		if (strchr(PQgetvalue(r, i, 1), '.') && !all) { /* of nobody that the server knows */
			const char *object = arena_printf(a->arena, "setting %s", PQgetvalue(r, i, 1));

			if (out && !is_left_out(out, object))
				leave_out(out, object, arena_printf(a->arena, "its value is %s; only a superuser may set it, so a restore does not", PQgetvalue(r, i, 2)));
			continue;
		}
		one = json_object_new_object();
		json_object_object_add(one, "user", json_object_new_boolean(*whose != '\0'));
		json_object_object_add(one, "name", json_object_new_string(PQgetvalue(r, i, 1)));
		json_object_object_add(one, "value", json_object_new_string(PQgetvalue(r, i, 2)));
		json_object_array_add(settings, one);
	}
	PQclear(r);
	json_object_object_add(around, "settings", settings);
}

/* "app.mode": a name of two parts. */
static const char *setting_name(struct action *a, PGconn *c, const char *name)
{
	const char *dot = strchr(name, '.');

	return dot ? arena_printf(a->arena, "%s.%s", name_of(a, c, arena_strndup(a->arena, name, (size_t)(dot - name))), name_of(a, c, dot + 1))
	           : name_of(a, c, name);
}

static const char *kept_text(struct json_object *around, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(around, name, &value);
	return json_object_get_string(value);
}

/* Settings of the database that takes the place of another: a list is given as it was written, name by name. */
static void set_around(struct action *a, PGconn *c, const struct database *d, const char *database, struct json_object *around)
{
	struct json_object *settings = NULL;

	json_object_object_get_ex(around, "settings", &settings);
	for (size_t i = 0; json_object_is_type(settings, json_type_array) && i < json_object_array_length(settings); i++) {
		struct json_object *one = json_object_array_get_idx(settings, i);
		const char *name = kept_text(one, "name"), *value = kept_text(one, "value");
		bool user = json_object_get_boolean(json_object_object_get(one, "user"));
		PGresult *r;

		if (!name || !value)
			continue;
		/* PostgreSQL writes lists (search_path) with their quotes; set_config reads them so, and SET FROM CURRENT keeps them */
		r = PQexec(c, arena_printf(a->arena, "BEGIN; SELECT set_config(%s, %s, true); ALTER %s%s%s%s SET %s FROM CURRENT; COMMIT",
		                           literal(a, c, name), literal(a, c, value), user ? "ROLE " : "DATABASE ", name_of(a, c, user ? d->user : database),
		                           user ? " IN DATABASE " : "", user ? name_of(a, c, database) : "", setting_name(a, c, name)));
		if (PQresultStatus(r) != PGRES_COMMAND_OK) {
			action_log("the setting %s of the database is not brought back: %s", name, on_one_line(a, PQresultErrorMessage(r)));
			PQclear(PQexec(c, "ROLLBACK"));
		}
		PQclear(r);
	}
}

static void dump(struct action *a, const struct database *d, struct left_out *out, struct command *dumper)
{
	PGconn *c = connect_to(a, NULL);
	bool hidden;

	must_be_ours(a, c, d);
	keep_around(a, c, d, out->around, out);
	program(a, a->config.pg_dump_command, dumper, "--format=custom", "--compress=0", "--no-password", NULL);
	for (size_t i = 0; i < json_object_array_length(out->list); i++) { /* what an earlier try could not read */
		struct json_object *row = json_object_array_get_idx(out->list, i), *option;

		if (json_object_object_get_ex(row, "option", &option))
			command_add(dumper, json_object_get_string(option));
	}
	hidden = leave_out_closed(a, c, d, out, dumper);
	command_add(dumper, arena_printf(a->arena, "--role=%s", hidden ? DUMPER : d->user));
	dumper->env = deputise(a, c, d, d->name, hidden);
	PQfinish(c);
}

/* "pg_dump: detail: Command was: COPY public.things (id, text) TO stdout;": a table whose rows cannot be read. It is left out, and
 * the next try goes on. */
static enum dump_end failed(struct action *a, const struct database *d, struct left_out *out, const struct command *dumper)
{
	static const char copy[] = "Command was: COPY ", told[] = "Error message from server: ";
	const char *at = strstr(dumper->errors, copy), *name = at ? at + strlen(copy) : NULL, *why = strstr(dumper->errors, told);
	size_t len = 0;
	bool in_quotes = false;
	struct json_object *row;

	(void)d;
	if (!name)
		return DUMP_LOST;
	while (name[len] && (in_quotes || !strchr(" (", name[len])))
		in_quotes ^= name[len++] == '"';
	name = arena_strndup(a->arena, name, len);
	if (!len || is_left_out(out, name))
		return DUMP_LOST;
	why = why ? why + strlen(told) : dumper->errors;
	leave_out(out, name, arena_printf(a->arena, "its rows could not be read: %.*s", (int)strcspn(why, "\n"), why));
	row = json_object_array_get_idx(out->list, json_object_array_length(out->list) - 1);
	json_object_object_add(row, "option", json_object_new_string(arena_printf(a->arena, "--exclude-table-data=%s", name)));
	return DUMP_AGAIN;
}

static void dumped(struct action *a, const struct database *d)
{
	PGconn *c = connect_to(a, NULL);

	dismiss(a, c, d, d->name);
	PQfinish(c);
}

/* Reading the table of contents does not find a stream that was cut off: all of it is turned into statements. */
static bool is_whole(struct action *a, struct command *load, const char **why)
{
	struct command pipe[2] = { *load };

	program(a, a->config.pg_restore_command, &pipe[1], "--file=/dev/null", NULL, NULL, NULL);
	pipe[1].user = geteuid() == 0 ? "nobody" : NULL; /* it reads what a stranger wrote, and needs nothing */
	if (command_pipe(a, pipe, 2))
		return true;
	*why = command_complaint(a, pipe[1].status != 0 ? &pipe[1] : &pipe[0]);
	return false;
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

/* An empty database for what is read in, which sorts as that of the dump did; where this server cannot, as the one that is there. */
static void make_fresh(struct action *a, PGconn *c, const struct database *d, const char *fresh, struct json_object *around)
{
	struct json_object *live = json_object_new_object();
	bool made = false;

	keep_around(a, c, d, live, NULL);
	for (int i = 0; i < 2 && !made; i++) {
		struct json_object *from = i ? live : around;
		const char *encoding = kept_text(from, "encoding"), *collate = kept_text(from, "collate"), *ctype = kept_text(from, "ctype");
		const char *icu = kept_text(from, "provider"), *locale = kept_text(from, "icu");
		PGresult *r;

		if (!encoding || !collate || !ctype)
			continue;
		icu = icu && *icu == 'i' && locale ? arena_printf(a->arena, " LOCALE_PROVIDER icu ICU_LOCALE %s", literal(a, c, locale)) : "";
		r = PQexec(c, arena_printf(a->arena, "CREATE DATABASE %s OWNER %s ENCODING %s LC_COLLATE %s LC_CTYPE %s%s TEMPLATE template0 "
		                                     "ALLOW_CONNECTIONS false", name_of(a, c, fresh), name_of(a, c, d->user), literal(a, c, encoding),
		                           literal(a, c, collate), literal(a, c, ctype), icu));
		made = PQresultStatus(r) == PGRES_COMMAND_OK;
		if (!made && i == 1)
			give_up(a, c, r);
		if (!made)
			action_log("the database sorts as the one that is there, not as it did when it was backed up: %s", on_one_line(a, PQresultErrorMessage(r)));
		PQclear(r);
	}
	json_object_put(live);
}

/* By the user of a database, in it: what other users of Postern's were given there. DROP OWNED BY would also take from them what
 * they were given on other databases, such as to connect to their own. */
static const char revoke_from_others[] =
	"DO $$ DECLARE s text; BEGIN FOR s IN "
	"WITH given AS (SELECT DISTINCT d.classid, d.objid, o.rolname AS whom FROM pg_shdepend d JOIN pg_roles o ON o.oid = d.refobjid "
	"WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
	"AND d.deptype = 'a' AND o.rolname <> current_user AND shobj_description(o.oid, 'pg_authid') LIKE 'postern:%'), "
	"named AS (SELECT whom, CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || objid::regclass AS what "
	"FROM given JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid "
	"UNION ALL SELECT whom, 'ROUTINE ' || objid::regprocedure FROM given WHERE classid = 'pg_proc'::regclass "
	"UNION ALL SELECT whom, 'SCHEMA ' || objid::regnamespace FROM given WHERE classid = 'pg_namespace'::regclass "
	"UNION ALL SELECT whom, 'TYPE ' || objid::regtype FROM given WHERE classid = 'pg_type'::regclass "
	"UNION ALL SELECT whom, 'LARGE OBJECT ' || objid FROM given WHERE classid = 'pg_largeobject'::regclass "
	"UNION ALL SELECT whom, 'FOREIGN SERVER ' || quote_ident(srvname) FROM given "
	"JOIN pg_foreign_server f ON classid = 'pg_foreign_server'::regclass AND f.oid = objid) "
	"SELECT format('REVOKE ALL ON %s FROM %I CASCADE', what, whom) FROM named "
	"UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES %s REVOKE ALL ON %s FROM %I', "
	"CASE WHEN defaclnamespace <> 0 THEN 'IN SCHEMA ' || defaclnamespace::regnamespace END, CASE defaclobjtype WHEN 'r' THEN 'TABLES' "
	"WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' END, whom) "
	"FROM given JOIN pg_default_acl a ON classid = 'pg_default_acl'::regclass AND a.oid = objid "
	"LOOP EXECUTE s; END LOOP; END $$";

/*
 * Who may do what with what is in it: GRANT and REVOKE, each by itself, as one whose role is no more must not keep the rest from
 * coming back. They name the user of then: in another database nobody but its own user, and PUBLIC, keeps anything.
 */
static void restore_rights(struct action *a, PGconn *c, const struct database *d, const char *fresh, const struct command *load,
                           const char *const *env, bool same)
{
	struct command list[2] = { *load }, grant[2] = { *load };
	struct buf chosen;
	char *rest, *line;
	PGconn *there;
	int fd;

	program(a, a->config.pg_restore_command, &list[1], "--list", NULL, NULL, NULL);
	list[1].user = geteuid() == 0 ? "nobody" : NULL;
	list[1].output_max = RIGHTS_MAX;
	command_pipe(a, list, 2); /* it has read enough before the stream ends */
	if (list[1].status != 0 || list[1].cut) {
		action_log("what GRANT and REVOKE said is not brought back: %s", list[1].cut ? "there is too much of it" : command_complaint(a, &list[1]));
		return;
	}
	buf_init(&chosen, RIGHTS_MAX);
	rest = list[1].output;
	while (rest && (line = strsep(&rest, "\n"))) {
		const char *kind = line + strspn(line, "0123456789;"); /* "3345; 0 0 ACL public TABLE things alice_shop" */

		kind += strspn(kind, " 0123456789");
		if (*line != ';' && (strncmp(kind, "ACL ", 4) == 0 || strncmp(kind, "DEFAULT ACL ", 12) == 0))
			buf_printf(&chosen, "%s\n", line);
	}
	fd = chosen.len && !buf_failed(&chosen) ? (int)memfd_create("rights", 0) : -1;
	if (fd >= 0 && write(fd, chosen.data, chosen.len) == (ssize_t)chosen.len) {
		program(a, a->config.pg_restore_command, &grant[1], arena_printf(a->arena, "--dbname=%s", fresh), "--no-owner",
		        arena_printf(a->arena, "--role=%s", d->user), arena_printf(a->arena, "--use-list=/dev/fd/%d", fd));
		grant[1].env = env;
		command_pipe(a, grant, 2);
		if (grant[1].status != 0)
			action_log("some of what GRANT and REVOKE said is not brought back: %s", command_complaint(a, &grant[1]));
	}
	if (fd >= 0)
		close(fd);
	buf_free(&chosen);
	if (same)
		return;
	there = connect_to(a, fresh);
	run(a, there, "SET ROLE %s", name_of(a, c, d->user));
	run(a, there, "%s", revoke_from_others);
	PQfinish(there);
}

static void refill(struct action *a, const struct database *d, const struct command *load, struct json_object *around, bool same)
{
	PGconn *c = connect_to(a, NULL);
	const char *fresh = fresh_of(a, d), *old = old_of(a, d), *user = name_of(a, c, d->user), *new = name_of(a, c, fresh);
	struct command pipe[2] = { *load };

	must_be_ours(a, c, d);
	have_role(a, c, KEEPER);
	drop(a, c, fresh); /* of an attempt that was killed */
	drop(a, c, old);
	run(a, c, "ALTER DATABASE %s ALLOW_CONNECTIONS true", name_of(a, c, d->name));
	make_fresh(a, c, d, fresh, around);
	furnish(a, c, d, fresh, false);
	program(a, a->config.pg_restore_command, &pipe[1], arena_printf(a->arena, "--dbname=%s", fresh), "--exit-on-error", "--no-owner", "--no-privileges");
	pipe[1].env = deputise(a, c, d, fresh, false);
	command_add(&pipe[1], arena_printf(a->arena, "--role=%s", d->user));
	if (!command_pipe(a, pipe, 2)) {
		dismiss(a, c, d, fresh);
		drop(a, c, fresh);
		action_fail("the database could not be read in, and is as it was: %s", command_complaint(a, &pipe[pipe[1].status != 0]));
	}
	restore_rights(a, c, d, fresh, load, pipe[1].env, same);
	dismiss(a, c, d, fresh);
	set_around(a, c, d, fresh, around);
	if (!d->suspended)
		run(a, c, "GRANT CONNECT ON DATABASE %s TO %s", new, user);
	action_progress(90, "taking the place of what was there");
	swap(a, c, d, fresh, old);
	drop(a, c, old);
	PQfinish(c);
}

/*
 * A transaction that has written holds up vacuum in every database of its server. Called by the process
 * that looks at this machine: it must come to an end, and says nothing.
 */
void databases_end_long_transactions(const struct config *config)
{
	const char *const names[] = { "dbname", "application_name", "client_encoding", "connect_timeout", "options", NULL };
	const char *const values[] = { config->databases_postgresql_dsn, "postern", "UTF8", "3",
		                       "-c statement_timeout=5s -c search_path=pg_catalog,pg_temp", NULL };
	char limit[16];
	PGconn *c;

	if (!*config->databases_postgresql_dsn || !config->database_transaction_max_s)
		return;
	c = PQconnectdbParams(names, values, 1);
	snprintf(limit, sizeof limit, "%d", config->database_transaction_max_s);
	if (PQstatus(c) == CONNECTION_OK)
		PQclear(PQexecParams(c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid IS NOT NULL "
		                        "AND xact_start < now() - make_interval(secs => $1::int) "
		                        "AND shobj_description(usesysid, 'pg_authid') LIKE 'postern:%'", 1, NULL, (const char *const[]){ limit }, NULL, NULL, 0));
	PQfinish(c);
}

const struct engine engine_postgresql = { "postgresql", verifier_is_scram, apply, take_away, measure, dump, dumped, failed, is_whole, refill };
