/* doctor_servers.c: see doctor.h. The servers of accounts' databases: what stands between one account and the next there. */
#include "doctor.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char check[] = "databases";

/* ---- PostgreSQL ---- */

/* Each gives what is wrong, in words, as its only row; no row: nothing is. */
static const struct { const char *sql, *remedy; } questions[] = {
	{ "SELECT format('the role %s of databases_postgresql_dsn may not make databases and roles', rolname) FROM pg_roles"
	  " WHERE rolname = current_user AND NOT rolsuper AND NOT (rolcreatedb AND rolcreaterole)",
	  "As a superuser: ALTER ROLE ... CREATEDB CREATEROLE." },
	{ "SELECT format('the role %s of databases_postgresql_dsn is a superuser, which it need not be', rolname) FROM pg_roles"
	  " WHERE rolname = current_user AND rolsuper",
	  "Name one in databases_postgresql_dsn that has CREATEDB and CREATEROLE alone, as \"Databases of accounts\" in operations.md makes it." },
	{ "SELECT 'accounts'' users may connect to the databases ' || string_agg(datname, ', ' ORDER BY datname) FROM pg_database"
	  " WHERE datallowconn AND has_database_privilege('public', oid, 'CONNECT') HAVING count(*) > 0",
	  "REVOKE CONNECT ON DATABASE ... FROM PUBLIC, then GRANT it to those who need it." },
	{ "SELECT 'accounts'' users may take all connections of PostgreSQL: ' || string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles"
	  " WHERE rolcanlogin AND rolconnlimit < 0 AND shobj_description(oid, 'pg_authid') LIKE 'postern:%' HAVING count(*) > 0",
	  "posternd sets their limit by itself when it runs; where it does not, the database's last_error says why." },
	{ "SELECT 'tables whose row-level security holds for their owner, too, cannot be backed up' WHERE NOT EXISTS (SELECT FROM pg_roles"
	  " WHERE rolname = 'postern_dumps' AND rolbypassrls AND NOT rolcanlogin)",
	  "As a superuser: CREATE ROLE postern_dumps NOLOGIN BYPASSRLS; GRANT postern_dumps TO the role of databases_postgresql_dsn WITH ADMIN OPTION." },
	{ "SELECT format('accounts'' users may leave %s prepared transactions behind, which no limit ends', setting) FROM pg_settings"
	  " WHERE name = 'max_prepared_transactions' AND setting <> '0'",
	  "Set max_prepared_transactions = 0, and restart PostgreSQL." },
};

static bool postgresql(struct doctor *d)
{
	const char *const names[] = { "dbname", "application_name", "connect_timeout", "options", NULL };
	const char *const values[] = { d->config->databases_postgresql_dsn, "postern", "5", "-c search_path=pg_catalog,pg_temp", NULL };
	PGconn *db = PQconnectdbParams(names, values, 1);
	bool good = PQstatus(db) == CONNECTION_OK;

	if (!good && geteuid() != 0) {
		doctor_skipped(d, check, "only root may log in as posternd does: %s", PQerrorMessage(db));
	} else if (!good) {
		doctor_finding(d, check, "Start that server, or mend databases_postgresql_dsn.", "PostgreSQL: %s", PQerrorMessage(db));
	}
	for (size_t i = 0; PQstatus(db) == CONNECTION_OK && i < sizeof questions / sizeof *questions; i++) {
		PGresult *r = doctor_ask(db, questions[i].sql, NULL);
		const bool told = PQresultStatus(r) == PGRES_TUPLES_OK;

		if (!told || PQntuples(r)) {
			doctor_finding(d, check, questions[i].remedy, "%.400s", told ? PQgetvalue(r, 0, 0) : doctor_why(db, r));
			good = false;
		}
		PQclear(r);
	}
	PQfinish(db);
	return good;
}

/* ---- MariaDB ---- */

static const char *const quietly[] = { "--batch", "--skip-column-names", "--skip-local-infile", "--connect-timeout=5", "-e" };

/* What the client of mariadb_command says to a statement, in `out`; false: it did not go well, and `out` is what it complains of. */
static bool ask(const char *command, const char *statement, char *out, size_t max)
{
	enum { QUIETLY = sizeof quietly / sizeof *quietly };
	const char *words[QUIETLY + 2] = { 0 };

	memcpy(words, quietly, sizeof quietly);
	words[QUIETLY] = statement;
	return doctor_run(command, words, out, max);
}

static bool mariadb(struct doctor *d)
{
	static const char statement[] =
		"SELECT @@log_bin AND NOT @@log_bin_trust_function_creators;"
		"SELECT COUNT(*) FROM mysql.global_priv p JOIN postern_owned.objects o ON o.what = 'user' AND BINARY p.User = o.name"
		" AND p.Host = 'localhost' WHERE COALESCE(JSON_VALUE(p.Priv, '$.max_user_connections'), 0) = 0";
	char said[1024];
	bool good = true;

	if (!ask(d->config->mariadb_command, statement, said, sizeof said)) {
		if (strstr(said, "'postern_owned.objects' doesn't exist"))
			return true; /* nothing of ours is there yet */
		if (geteuid() != 0)
			doctor_skipped(d, check, "only root may log in as posternd does: %.300s", said);
		else
			doctor_finding(d, check, "Start that server, or mend mariadb_command.", "MariaDB: %.300s", *said ? said : "mariadb_command does not run");
		return false;
	}
	if (said[0] == '1') {
		doctor_finding(d, check, "Set log_bin_trust_function_creators = ON, or log_bin off.",
		               "MariaDB: its binary log keeps accounts' users from making functions and triggers, and their backups from being read in");
		good = false;
	}
	if (strlen(said) > 2 && said[2] != '0') {
		doctor_finding(d, check, "posternd sets their limit by itself when it runs; where it does not, the database's last_error says why.",
		               "MariaDB: %d of accounts' users may take all its connections", atoi(said + 2));
		good = false;
	}
	return good;
}

void doctor_servers(struct doctor *d)
{
	const bool has_postgresql = *d->config->databases_postgresql_dsn, has_mariadb = *d->config->mariadb_command;
	const bool one = !has_postgresql || postgresql(d), other = !has_mariadb || mariadb(d);

	if (!has_postgresql && !has_mariadb)
		doctor_skipped(d, check, "no server for accounts' databases is set");
	else if (one && other)
		doctor_fine(d, check, "their servers keep accounts apart");
}
