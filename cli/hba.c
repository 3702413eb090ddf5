/* hba.c: see hba.h. */
#include "hba.h"
#include "buf.h"
#include "migrate.h"
#include "words.h"
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX = 4 << 20, RELOAD_LOOKS = 200, RELOAD_PAUSE_MS = 50 };

PGconn *hba_login(const struct config *config, const char *program, const struct passwd *who)
{
	char role[128];
	const char *keys[] = { "connect_timeout", "fallback_application_name", "dbname", "user", NULL };
	const char *values[] = { migrate_patience(config->dsn), "postern", config->dsn, role, NULL };

	snprintf(role, sizeof role, "%s%s", config->role_prefix, program);
	return connect_as(who, keys, values);
}

static bool logs_in(const struct config *config, const char *program, const struct passwd *who)
{
	PGconn *db = hba_login(config, program, who);
	const bool can = PQstatus(db) == CONNECTION_OK;

	PQfinish(db);
	return can;
}

/* The command; and where root asks the worker, which is root's, and every endpoint that has its Unix user. */
static bool can_login(const struct config *config)
{
	size_t n;
	const struct resource *const *all = resources(&n);
	bool can = logs_in(config, "cli", NULL) && (geteuid() != 0 || logs_in(config, "worker", NULL));

	for (size_t i = 0; can && geteuid() == 0 && i < n; i++) {
		char user[64];
		snprintf(user, sizeof user, "postern-%s", all[i]->name);
		const struct passwd *who = getpwnam(user);
		can = !who || logs_in(config, all[i]->name, who);
	}
	return can;
}

/* ---- the lines ---- */

static void hba_lines(struct buf *to, const char *database)
{
	/* In quotes, so that a database called "all" or "replication" is one of that name. */
	buf_printf(to, "# Postern: each of its endpoints is a Unix user of its own, which may be the one role that pg_ident.conf gives it.\n"
	               "local   \"%s\"   all   peer map=postern\n", database);
}

static void ident_lines(struct buf *to, const char *prefix)
{
	buf_printf(to, "# Postern: endpoint postern-NAME is role %sNAME, nothing else; root and postgres are the operator.\n"
	               "postern   /^postern-([a-z0-9-]+)$   %s\\1\n"
	               "postern   root                      %scli\n"
	               "postern   root                      %sworker\n"
	               "postern   postgres                  %scli\n"
	               "postern   postgres                  postgres\n", prefix, prefix, prefix, prefix, prefix);
}

/* ---- the files ---- */

/* A value that PostgreSQL tells about itself; NULL when it does not. Freed by the caller. */
static char *ask(PGconn *db, const char *sql)
{
	PGresult *result = PQexec(db, sql);
	char *text = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0)
	                 ? strdup(PQgetvalue(result, 0, 0)) : NULL;

	PQclear(result);
	return text;
}

static int failed(const char *path)
{
	return cli_error(CLI_FAILED, "%s: %s", path, strerror(errno));
}

/* The whole file into *text. */
static int read_whole(const char *path, struct buf *text, struct stat *info)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	char chunk[65536];
	ssize_t n = -1;

	if (fd < 0)
		return failed(path);
	if (fstat(fd, info) == 0)
		while ((n = read(fd, chunk, sizeof chunk)) > 0)
			buf_add(text, chunk, (size_t)n);
	const int rc = n < 0 ? failed(path) : CLI_OK;
	close(fd);
	return rc == CLI_OK && buf_failed(text) ? cli_error(CLI_FAILED, "%s: is too large", path) : rc;
}

/* Replace it as one step, with the owner and mode it had; through a symbolic link, as packages set them. */
static int replace(const char *path, const struct buf *text, const struct stat *info)
{
	char *real = realpath(path, NULL), name[4096];
	int fd, rc = CLI_OK;

	if (!real)
		return failed(path);
	snprintf(name, sizeof name, "%s.postern", real);
	unlink(name);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text->data, text->len) != (ssize_t)text->len || fchown(fd, info->st_uid, info->st_gid) != 0 ||
	    fchmod(fd, info->st_mode & 07777) != 0 || fsync(fd) != 0)
		rc = failed(name);
	if (fd >= 0)
		close(fd);
	if (rc == CLI_OK && rename(name, real) != 0)
		rc = failed(real);
	if (rc != CLI_OK)
		unlink(name);
	free(real);
	return rc;
}

struct edit {
	char *path;
	struct buf before, after;
	struct stat info;
};

/* The lines go in front: the first line that fits decides. */
static int prepare(struct edit *e)
{
	int rc = e->path ? read_whole(e->path, &e->before, &e->info)
	                 : cli_error(CLI_REFUSED, "PostgreSQL does not tell where its pg_hba.conf is; connect as a superuser");

	if (rc == CLI_OK) {
		buf_add(&e->after, "\n", 1);
		buf_add(&e->after, e->before.data ? e->before.data : "", e->before.len);
		if (buf_failed(&e->after))
			rc = cli_error(CLI_FAILED, "out of memory");
	}
	return rc;
}

/* PostgreSQL reads the files anew for these views, so it is asked before it is told to use them. */
static const char objections[] =
	"SELECT string_agg(error, '; ') FROM (SELECT error FROM pg_catalog.pg_hba_file_rules"
	" UNION ALL SELECT error FROM pg_catalog.pg_ident_file_mappings) x WHERE error IS NOT NULL";

static int write_lines(const struct config *config, PGconn *db)
{
	struct edit hba = { .path = ask(db, "SHOW hba_file") }, ident = { .path = ask(db, "SHOW ident_file") };
	char *why = NULL;
	int rc;

	buf_init(&hba.before, FILE_MAX);
	buf_init(&hba.after, FILE_MAX);
	buf_init(&ident.before, FILE_MAX);
	buf_init(&ident.after, FILE_MAX);
	hba_lines(&hba.after, PQdb(db));
	ident_lines(&ident.after, config->role_prefix);
	rc = prepare(&hba);
	if (rc == CLI_OK)
		rc = prepare(&ident);
	if (rc == CLI_OK)
		rc = replace(ident.path, &ident.after, &ident.info);
	if (rc == CLI_OK && (rc = replace(hba.path, &hba.after, &hba.info)) != CLI_OK)
		replace(ident.path, &ident.before, &ident.info);
	if (rc == CLI_OK && (why = ask(db, objections))) {
		rc = cli_error(CLI_FAILED, "PostgreSQL objects to %s or %s: %s\nBoth are as they were.", hba.path, ident.path, why);
		replace(hba.path, &hba.before, &hba.info);
		replace(ident.path, &ident.before, &ident.info);
	}
	if (rc == CLI_OK) {
		PQclear(PQexec(db, "SELECT pg_catalog.pg_reload_conf()"));
		printf("wrote the logins into %s\nwrote the map of users into %s\n", hba.path, ident.path);
		fflush(stdout);
	}
	free(why);
	free(hba.path);
	free(ident.path);
	buf_free(&hba.before);
	buf_free(&hba.after);
	buf_free(&ident.before);
	buf_free(&ident.after);
	return rc;
}

static int tell_lines(const struct config *config, PGconn *db)
{
	struct buf hba, ident;
	char *hba_path = ask(db, "SHOW hba_file"), *ident_path = ask(db, "SHOW ident_file");
	int rc;

	buf_init(&hba, 4096);
	buf_init(&ident, 4096);
	hba_lines(&hba, PQdb(db));
	ident_lines(&ident, config->role_prefix);
	rc = cli_error(CLI_REFUSED, "PostgreSQL does not let each of Postern's programs log in as its own role. Put this at the top of %s\n%sand this into %s\n%s"
	               "then reload PostgreSQL and run this again; or have it done: postern init --write-hba",
	               hba_path ? hba_path : "pg_hba.conf", buf_failed(&hba) ? "" : hba.data,
	               ident_path ? ident_path : "pg_ident.conf", buf_failed(&ident) ? "" : ident.data);
	free(hba_path);
	free(ident_path);
	buf_free(&hba);
	buf_free(&ident);
	return rc;
}

int hba_ensure(struct cli *cli, bool write)
{
	const struct timespec pause = { .tv_nsec = RELOAD_PAUSE_MS * 1000000L };
	const struct config *config = cli_config(cli);
	PGconn *db;
	int rc;

	if (!config)
		return CLI_FAILED;
	if (can_login(config))
		return CLI_OK;
	db = migrate_connect(config, NULL);
	if (PQstatus(db) != CONNECTION_OK)
		rc = cli_unreachable(PQerrorMessage(db), NULL);
	else if (!PQhost(db) || PQhost(db)[0] != '/')
		rc = cli_error(CLI_REFUSED, "PostgreSQL does not let each of Postern's programs log in as its own role. It is on another host: "
		               "see \"PostgreSQL on another host\" in operations.md");
	else
		rc = write ? write_lines(config, db) : tell_lines(config, db);
	PQfinish(db);
	if (rc == CLI_OK) {
		int looks = RELOAD_LOOKS;
		while (!can_login(config) && --looks)
			nanosleep(&pause, NULL);
		if (!looks)
			rc = cli_error(CLI_REFUSED, "PostgreSQL still does not let each of Postern's programs log in: postern doctor says which");
	}
	return rc;
}
