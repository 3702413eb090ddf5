/* doctor_database.c: see doctor.h. */
#include "doctor.h"
#include "hba.h"
#include "migrate.h"
#include "timestamp.h"
#include "words.h"
#include <libpq-fe.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SKEW_MAX_MS = 2000 };

static void check_migrations(struct doctor *d)
{
	bool functions = false;
	size_t pending = 0;
	const int rc = migrate_look(d->cli, &pending, &functions);

	if (rc != CLI_OK)
		doctor_finding(d, "migrations", "postern migrate --dry-run says the same; what it says is what to do.",
		               "the database's schema is not one that this version can bring up to date");
	else if (pending)
		doctor_finding(d, "migrations", "postern migrate", "%zu not applied to this database", pending);
	else if (functions)
		doctor_finding(d, "migrations", "postern migrate", "the database's functions are those of another version");
	else
		doctor_fine(d, "migrations", "schema and functions are those of this version");
}

/* What each role may do, against what it should: one row per role and kind (sql/functions/20_release-audit.sql). */
static const char grants[] =
	"SELECT role, kind, count(*), string_agg(what, ', ' ORDER BY what LIKE 'EXECUTE%', what)"
	" FROM \"release-audit\".grants($1) GROUP BY role, kind ORDER BY role, kind";

static void check_grants(struct doctor *d, PGconn *db)
{
	PGresult *result = doctor_ask(db, grants, d->config->role_prefix);

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		doctor_finding(d, "grants", "postern migrate; where that changes nothing, connect as a superuser (PGUSER).",
		               "cannot be read: %s", doctor_why(db, result));
	} else if (!PQntuples(result)) {
		doctor_fine(d, "grants", "every role may do what its endpoint needs and nothing else");
	}
	for (int row = 0; row < PQntuples(result); row++) {
		const bool missing = !strcmp(PQgetvalue(result, row, 1), "missing");
		doctor_finding(d, "grants", missing
		               ? "postern migrate --force grants anew what every role needs."
		               : "Take it away: REVOKE, or ALTER ROLE. Whoever has this endpoint has that, too.",
		               "%s %s: %.400s", PQgetvalue(result, row, 0), missing ? "lacks" : "has more than it should", PQgetvalue(result, row, 3));
	}
	PQclear(result);
}

/* As the endpoint would: as its own Unix user, where there is one and we may be it. */
static void check_logins(struct doctor *d)
{
	size_t n, fine = 0;
	const struct resource *const *all = resources(&n);
	char user[64];

	const size_t others = geteuid() == 0 ? 2 : 1; /* the worker is root's */

	for (size_t i = 0; i < n + others; i++) {
		const char *name = i < n ? all[i]->name : i == n ? "cli" : "worker";
		snprintf(user, sizeof user, "postern-%s", name);
		const struct passwd *own = i < n && geteuid() == 0 ? getpwnam(user) : NULL;
		PGconn *db = hba_login(d->config, name, own);
		const bool in = PQstatus(db) == CONNECTION_OK;
		PGresult *result = in ? doctor_ask(db, "SELECT gate.compatible_from()", NULL) : NULL;
		if (!in)
			doctor_finding(d, "logins", "postern init --write-hba; or see \"Logins\" in operations.md. Under peer "
			               "authentication only root can try this.", "%s%s%s%s: %s", d->config->role_prefix, name,
			               own ? " as user " : "", own ? user : "", PQerrorMessage(db));
		else if (PQresultStatus(result) != PGRES_TUPLES_OK)
			doctor_finding(d, "logins", "postern migrate", "%s%s: %s", d->config->role_prefix, name, doctor_why(db, result));
		else
			fine++;
		PQclear(result);
		PQfinish(db);
	}
	if (fine == n + others)
		doctor_fine(d, "logins", "every endpoint%s and the operator's command can log in", others == 2 ? ", the worker" : "");
}

static void check_hba(struct doctor *d, PGconn *db)
{
	PGresult *result = doctor_ask(db, "SELECT pg_catalog.current_setting('hba_file') || ' line ' || line_number || ': ' || error"
	                              " FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL LIMIT 1", NULL);

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result))
		doctor_finding(d, "logins", "Mend that line, then reload PostgreSQL: until then it keeps the lines it had.", "%s",
		               PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void check_clock(struct doctor *d, PGconn *db)
{
	const int64_t before = timestamp_now();
	PGresult *result = doctor_ask(db, "SELECT (extract(epoch FROM postern.clock()) * 1000000)::bigint", NULL);
	const int64_t after = timestamp_now();

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		doctor_skipped(d, "clock", "the database does not tell its time: %s", doctor_why(db, result));
	} else {
		const int64_t theirs = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
		const int64_t skew_ms = (theirs - (before + after) / 2) / 1000, unsure_ms = (after - before) / 2000;
		if (llabs(skew_ms) > SKEW_MAX_MS + unsure_ms)
			doctor_finding(d, "clock", "Have both keep time by NTP (chrony or systemd-timesyncd). Expiry and the trail go by the "
			               "database's clock, answers and logs by this machine's.",
			               "the database's clock is %.1f s %s this machine's", (double)llabs(skew_ms) / 1000,
			               skew_ms > 0 ? "ahead of" : "behind");
		else
			doctor_fine(d, "clock", "this machine's and the database's agree");
	}
	PQclear(result);
}

/* Who may enter a home reads what its owner left open in it: configurations with passwords, mostly. */
static void check_homes(struct doctor *d, PGconn *db)
{
	enum { NAMED = 5 };
	PGresult *result;
	char names[NAMED * 40] = "";
	size_t open = 0, looked = 0;

	if (strcmp(d->config->unix_users, "none") == 0) {
		doctor_skipped(d, "homes", "accounts have no Unix users here (setting unix_users)");
		return;
	}
	result = doctor_ask(db, "SELECT username, home FROM postern.accounts WHERE status <> 'deleting' ORDER BY username", NULL);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		doctor_skipped(d, "homes", "the accounts cannot be read: %s", doctor_why(db, result));
	for (int row = 0; row < PQntuples(result); row++) {
		const char *username = PQgetvalue(result, row, 0), *home = PQgetvalue(result, row, 1), *slash = strrchr(home, '/');
		char path[512];
		struct stat st;

		/* of a user that Postern made, the folder above is what closes it */
		snprintf(path, sizeof path, "%.*s", slash && strcmp(slash, "/home") == 0 && slash != home ? (int)(slash - home) : (int)strlen(home), home);
		if (lstat(path, &st) != 0)
			continue;
		looked++;
		if (S_ISDIR(st.st_mode) && st.st_mode & 0007 && open++ < NAMED)
			snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", *names ? ", " : "", username);
	}
	if (open)
		doctor_finding(d, "homes", "postern account mend NAME closes one to all but its owner and the web server; one that was imported: "
		               "chmod 0710 it, and chgrp it to the web server's group.", "%zu of %zu homes can be entered by other tenants: %s%s", open,
		               looked, names, open > NAMED ? ", …" : "");
	else if (PQresultStatus(result) == PGRES_TUPLES_OK)
		doctor_fine(d, "homes", "%zu homes are closed to other tenants", looked);
	PQclear(result);
}

/* What posternd said at its last look. */
static void check_containment(struct doctor *d, PGconn *db)
{
	PGresult *result = doctor_ask(db, "SELECT x.c ->> 'by', x.c ->> 'missing', coalesce(x.c ->> 'reason', 'the kernel has no such limit here')"
	                              " FROM (SELECT m.facts -> 'containment' AS c FROM postern.machines m ORDER BY m.said_at DESC LIMIT 1) x"
	                              " WHERE x.c IS NOT NULL", NULL);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || !PQntuples(result))
		doctor_skipped(d, "tenants", "posternd has not said yet how it limits tenants' programs");
	else if (*PQgetvalue(result, 0, 1))
		doctor_finding(d, "tenants", "Run posternd by its systemd unit, which gives it a control group of its own (Delegate=). Until "
		               "then each process of a tenant is limited for itself, as far as that can be.",
		               "no control group limits what tenants' programs take of: %s (%s)", PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
	else
		doctor_fine(d, "tenants", "control groups limit what tenants' programs take");
	PQclear(result);
}

/* A posternd that must not seal the audit trail, as its key is another one. */
static void check_sealing(struct doctor *d, PGconn *db)
{
	PGresult *result = doctor_ask(db, "SELECT message FROM health.sealing()", NULL);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || !PQntuples(result))
		doctor_skipped(d, "audit", "who seals the audit trail cannot be read: %s", doctor_why(db, result));
	else if (!PQgetisnull(result, 0, 0))
		doctor_finding(
		        d, "audit",
		        "Have one worker_dir with the trail's audit.key: see \"The audit trail\" in operations.md.",
		        "%s", PQgetvalue(result, 0, 0));
	else
		doctor_fine(d, "audit", "no posternd has a key that is not the audit trail's");
	PQclear(result);
}

void doctor_database(struct doctor *d)
{
	PGconn *db = migrate_connect(d->config, NULL);

	if (PQstatus(db) != CONNECTION_OK) {
		doctor_finding(d, "database", cli_in_between(PQerrorMessage(db))
		               ? "PostgreSQL is on its way up or down: systemctl status postgresql says which; where it stays down, start it."
		               : "Start PostgreSQL, or mend the setting dsn (dsn_direct); where there is no database yet: "
		               "postern init.", "%s", PQerrorMessage(db));
	} else {
		doctor_fine(d, "database", "PostgreSQL %s, database %s", PQparameterStatus(db, "server_version"), PQdb(db));
		check_migrations(d);
		check_grants(d, db);
		check_hba(d, db);
		check_logins(d);
		check_clock(d, db);
		check_homes(d, db);
		check_containment(d, db);
		check_sealing(d, db);
	}
	PQfinish(db);
}
