/* doctor_tenants.c: see doctor.h. What keeps tenants apart outside of Postern. */
#include "doctor.h"
#include "links.h"
#include "migrate.h"
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024, VALUE_MAX = 128 };

/* ---- PHP-FPM ---- */

/* The value of `name` in a file of PHP's, also as a pool's php_admin_value[name]; the last one counts. False: none is set there. */
static bool php_value(const char *path, const char *name, char value[VALUE_MAX])
{
	char line[LINE_MAX_BYTES], key[VALUE_MAX], given[VALUE_MAX];
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof line, f)) {
		char *bare = key, *end;

		if (sscanf(line, " %127[^ =;\t\r\n] = %127[^;\r\n]", key, given) != 2)
			continue;
		if ((bare = strchr(key, '[')) && (end = strchr(bare, ']'))) {
			*end = '\0';
			bare++;
		} else {
			bare = key;
		}
		if (strcmp(bare, name) != 0)
			continue;
		bare = given + strspn(given, " \t\"");
		bare[strcspn(bare, "\"")] = '\0';
		for (size_t n = strlen(bare); n && strchr(" \t", bare[n - 1]); n--)
			bare[n - 1] = '\0';
		snprintf(value, VALUE_MAX, "%s", bare);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static bool is_on(const char *value)
{
	return strcmp(value, "1") == 0 || strcasecmp(value, "on") == 0 || strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0;
}

/* Of a folder such as /etc/php/8.2/fpm: do its pools serve several users, who then share one opcache? */
static void check_master(struct doctor *d, const char *folder)
{
	char pattern[600], user[VALUE_MAX], first[VALUE_MAX] = "", permission[VALUE_MAX] = "", restricted[VALUE_MAX] = "", enabled[VALUE_MAX] = "1";
	glob_t files = { 0 };
	bool shared = false;

	snprintf(pattern, sizeof pattern, "%s/pool.d/*.conf", folder);
	glob(pattern, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++)
		if (php_value(files.gl_pathv[i], "user", user)) {
			shared |= *first && strcmp(first, user) != 0;
			snprintf(first, sizeof first, "%s", user);
		}
	globfree(&files);
	if (!shared)
		return;
	snprintf(pattern, sizeof pattern, "%s/php.ini", folder);
	glob(pattern, 0, NULL, &files);
	snprintf(pattern, sizeof pattern, "%s/conf.d/*.ini", folder);
	glob(pattern, GLOB_APPEND, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		php_value(files.gl_pathv[i], "opcache.enable", enabled);
		php_value(files.gl_pathv[i], "opcache.validate_permission", permission);
		php_value(files.gl_pathv[i], "opcache.restrict_api", restricted);
	}
	globfree(&files);
	if (is_on(enabled) && (!is_on(permission) || !*restricted))
		doctor_finding(d, "php", "Set opcache.validate_permission = 1 and opcache.restrict_api = /nonexistent in its php.ini, and reload PHP-FPM; "
		               "or give each account a PHP-FPM of its own.",
		               "the pools of %s serve several users and share one opcache, in which each finds the others' files", folder);
	else
		doctor_fine(d, "php", "the pools of %s keep what they compile apart", folder);
}

static void check_php(struct doctor *d)
{
	char pattern[512];
	glob_t folders = { 0 };

	snprintf(pattern, sizeof pattern, "%s/*/fpm", d->config->php_dir);
	glob(pattern, GLOB_ONLYDIR, NULL, &folders);
	for (size_t i = 0; i < folders.gl_pathc; i++)
		check_master(d, folders.gl_pathv[i]);
	globfree(&folders);
}

/* ---- applications' sockets ---- */

static void check_sockets(struct doctor *d)
{
	int folder = open(d->config->app_sockets_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0) /* no website wants one yet; its job will say */
		return;
	if (links_are_followed(folder))
		doctor_finding(d, "app sockets", "sysctl -w fs.protected_symlinks=1, and the same in /etc/sysctl.d; or mount the folder with nosymfollow.",
		               "a tenant can put a link to another's socket in the place of its own in %s", d->config->app_sockets_dir);
	else
		doctor_fine(d, "app sockets", "links are not followed in %s", d->config->app_sockets_dir);
	close(folder);
}

/* ---- databases ---- */

static char *one(PGconn *db, const char *sql)
{
	PGresult *result = doctor_ask(db, sql, NULL);
	char *text = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0)
	           ? strdup(PQgetvalue(result, 0, 0)) : NULL;

	PQclear(result);
	return text;
}

static const char own_server[] = "Give Postern's database a server of its own, whose socket no account can reach: operations.md, "
	"\"A server of its own\".";

/* May every user of the machine come to this Unix socket? Each folder on the way must let them in. */
static bool reached_by_all(const char *folder, const char *port)
{
	char path[4096];
	struct stat info;

	snprintf(path, sizeof path, "%s/.s.PGSQL.%s", folder, port);
	if (stat(path, &info) != 0 || !(info.st_mode & S_IWOTH))
		return false;
	for (char *end; (end = strrchr(path, '/')) && end != path;) {
		*end = '\0';
		if (stat(path, &info) != 0 || !(info.st_mode & S_IXOTH))
			return false;
	}
	return true;
}

/* Whoever may open connections to a server can use all of them up, before logging in, too: Postern's own is better its alone. */
static void check_server(struct doctor *d)
{
	static const char which[] = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
	/* names and addresses that lead here from this machine, whatever else it listens on */
	static const char loopback[] = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'listen_addresses'"
		" AND setting ~ '\\*|localhost|127\\.|0\\.0\\.0\\.0|::'";
	const bool tenants_have = *d->config->databases_postgresql_dsn;
	PGconn *own = migrate_connect(d->config, NULL), *tenants = tenants_have ? PQconnectdb(d->config->databases_postgresql_dsn) : NULL;
	const char *folder = PQstatus(own) == CONNECTION_OK ? PQhost(own) : NULL;
	char *a = folder ? one(own, which) : NULL, *b = tenants_have && PQstatus(tenants) == CONNECTION_OK ? one(tenants, which) : NULL;
	char *listens = folder && *folder == '/' ? one(own, loopback) : NULL;

	if (!folder || (tenants_have && (!a || !b)))
		doctor_skipped(d, "database server", "whether accounts can hold up Postern's server cannot be found out: %s",
		               PQerrorMessage(tenants_have && PQstatus(tenants) != CONNECTION_OK ? tenants : own));
	else if (a && b && strcmp(a, b) == 0)
		doctor_finding(d, "database server", own_server,
		               "accounts' databases are on the server of Postern's own: a tenant who uses up its connections stops every endpoint");
	else if (*folder == '/' && reached_by_all(folder, PQport(own)))
		doctor_finding(d, "database server", own_server, "every user of this machine can open connections to the server of Postern's database in "
		               "%s: an account that uses them up stops every endpoint", folder);
	else if (listens)
		doctor_finding(d, "database server", "Set listen_addresses = '' for that server and restart it; where other machines use it, name "
		               "only the address that they know.", "the server of Postern's database accepts TCP connections from every user of this machine "
		               "(listen_addresses = %s): an account that uses them up stops every endpoint", listens);
	else if (*folder == '/')
		doctor_fine(d, "database server", "no account can open connections to the server of Postern's database (%s)", folder);
	else if (tenants_have)
		doctor_fine(d, "database server", "accounts' databases are on another server than Postern's own, which is at %s", folder);
	else
		doctor_fine(d, "database server", "Postern's database is on a server at %s; let no account of this machine reach it", folder);
	free(a);
	free(b);
	free(listens);
	PQfinish(own);
	PQfinish(tenants);
}

/* ---- reloads ---- */

/* A reload starts new workers; those of before stay as long as one of their connections. No fault, but good to know where changes are many. */
static void check_reloads(struct doctor *d)
{
	enum { DUMP_MAX = 1 << 20 }; /* the directive is one of nginx.conf's first */
	char value[VALUE_MAX] = "", *dump = malloc(DUMP_MAX);
	const char *command = d->config->nginx_dump;
	char program[VALUE_MAX];

	if (!dump || sscanf(command, "%127s", program) != 1 || access(program, X_OK) != 0) {
		free(dump);
		return;
	}
	const bool told = doctor_run(command, NULL, dump, DUMP_MAX), empty = !*dump;
	for (char *rest = dump, *line; !*value && (line = strsep(&rest, "\n"));)
		sscanf(line, " worker_shutdown_timeout %127[^;]", value);
	if (*value)
		doctor_fine(d, "reloads", "nginx's workers of before a reload end after %s at the latest", value);
	else if (told && !empty)
		doctor_fine(d, "reloads", "after a reload nginx's workers of before stay as long as one of their connections does; "
		            "worker_shutdown_timeout 10m; in nginx.conf ends them");
	else if (!told)
		doctor_skipped(d, "reloads", "%s does not tell nginx's configuration", command);
	free(dump);
}

/* The folder of websites, is it a part of the server's configuration? nginx shows the lines that include it, Apache the files. */
static bool includes_sites(const char *server, char *dump, const char *folder)
{
	const bool nginx = strcmp(server, "nginx") == 0;
	char pattern[PATH_MAX], base[PATH_MAX] = "", path[PATH_MAX], whole[2 * PATH_MAX];

	snprintf(path, sizeof path, "%s/postern-generation.conf", folder);
	for (char *rest = dump, *line; (line = strsep(&rest, "\n"));) {
		const char *at = strstr(line, ") /");

		if (!nginx) {
			if (at && strncmp(at + 2, folder, strlen(folder)) == 0 && at[2 + strlen(folder)] == '/')
				return true;
			continue;
		}
		if (!*base && sscanf(line, "# configuration file %4095[^:]", base) == 1 && strrchr(base, '/'))
			strrchr(base, '/')[1] = '\0';
		if (sscanf(line, " include %*[\"']%4095[^;\"']", pattern) != 1 && sscanf(line, " include %4095[^;\"']", pattern) != 1)
			continue;
		snprintf(whole, sizeof whole, "%s%s", *pattern == '/' ? "" : base, pattern);
		if (fnmatch(whole, path, FNM_PATHNAME) == 0)
			return true;
	}
	return false;
}

static void check_sites(struct doctor *d, const char *server, const char *folder, const char *command)
{
	enum { DUMP_MAX = 32 << 20 };
	const bool nginx = strcmp(server, "nginx") == 0;
	const bool chosen = d->config->domain_websites && strcmp(d->config->default_web_server, server) == 0;
	char pattern[PATH_MAX], program[VALUE_MAX], *dump = NULL;
	static const char *const more[] = { "-D", "DUMP_INCLUDES", NULL };
	glob_t files = { 0 };

	snprintf(pattern, sizeof pattern, "%s/*.conf", folder);
	const bool used = glob(pattern, 0, NULL, &files) == 0;
	globfree(&files);
	/* what Apache includes is known only where there is a file */
	if (!(used || (chosen && nginx)) || sscanf(command, "%127s", program) != 1 || access(program, X_OK) != 0 || !(dump = malloc(DUMP_MAX)))
		return;
	const bool told = doctor_run(command, nginx ? NULL : more, dump, DUMP_MAX);
	if (!told || !strstr(dump, nginx ? "# configuration file " : ") /"))
		doctor_skipped(d, "sites", "%s does not tell the configuration of %s", command, server);
	else if (includes_sites(server, dump, folder))
		doctor_fine(d, "sites", "%s reads the folder of websites, %s", server, folder);
	else if (nginx)
		doctor_finding(d, "sites", "Add the line to http {} of nginx.conf, or as a file to conf.d; then nginx -t && systemctl reload nginx. "
		               "Websites that wait for it come by themselves.",
		               "nginx does not read the folder of websites: \"include %s/*.conf;\" is missing", folder);
	else
		doctor_finding(d, "sites", "Add the line as the last one of apache2.conf; then apache2ctl configtest && systemctl reload apache2. "
		               "Websites that wait for it come by themselves.",
		               "Apache does not read the folder of websites: \"IncludeOptional %s/*.conf\" is missing", folder);
	free(dump);
}

void doctor_tenants(struct doctor *d)
{
	check_sites(d, "nginx", d->config->nginx_sites_dir, d->config->nginx_dump);
	check_sites(d, "apache", d->config->apache_sites_dir, d->config->apache_dump);
	check_server(d);
	check_sockets(d);
	check_reloads(d);
	check_php(d);
}
