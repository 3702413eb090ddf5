/* doctor.c: see doctor.h; the report, and the checks of files and sockets. */
#include "doctor.h"
#include "migrate.h"
#include "show.h"
#include "suffix.h"
#include "timestamp.h"
#include "token.h"
#include "words.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <libgen.h>
#include <libpq-fe.h>
#include <limits.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the report ---- */

static void __attribute__((format(printf, 5, 0)))
add(struct doctor *d, const char *check, const char *status, const char *remedy, const char *format, va_list args)
{
	struct json_object *row = json_object_new_object();
	char text[2048];

	vsnprintf(text, sizeof text, format, args);
	for (size_t len = strlen(text); len && text[len - 1] == '\n'; len--) /* libpq ends its messages so */
		text[len - 1] = '\0';
	json_object_object_add(row, "check", json_object_new_string(check));
	json_object_object_add(row, "status", json_object_new_string(status));
	json_object_object_add(row, "finding", json_object_new_string(text));
	json_object_object_add(row, "remedy", remedy ? json_object_new_string(remedy) : NULL);
	json_object_array_add(d->rows, row);
}

void doctor_finding(struct doctor *d, const char *check, const char *remedy, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(d, check, "finding", remedy, format, args);
	va_end(args);
	d->findings++;
}

void doctor_fine(struct doctor *d, const char *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(d, check, "ok", NULL, format, args);
	va_end(args);
}

void doctor_skipped(struct doctor *d, const char *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(d, check, "skipped", NULL, format, args);
	va_end(args);
}

/* ---- other programs ---- */

enum { ANSWER_S = 10 }; /* another program or server gets this long for a word */

static int64_t left_ms(int64_t deadline_us)
{
	const int64_t left = (deadline_us - timestamp_now()) / 1000;

	return left > 0 ? left : 0;
}

bool doctor_run(const char *command, const char *const *words, char *out, size_t max)
{
	enum { WORDS = 60 };
	char *argv[WORDS + 1], *copy = strdup(command), *rest = copy, *word, beyond[4096];
	const int64_t deadline = timestamp_now() + (int64_t)ANSWER_S * 1000000;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	bool late = false;
	int ends[2], state = -1;
	size_t n = 0, len = 0;
	ssize_t got = 1;
	pid_t pid;

	*out = '\0';
	while (rest && (word = strsep(&rest, " ")) && n < WORDS)
		if (*word)
			argv[n++] = word;
	for (; words && *words && n < WORDS; words++)
		argv[n++] = (char *)(uintptr_t)*words;
	argv[n] = NULL;
	if (!n || pipe2(ends, O_CLOEXEC) != 0) {
		free(copy);
		return false;
	}
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, ends[1], STDERR_FILENO);
	posix_spawnattr_init(&attributes); /* a group of its own, which can be ended as a whole */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setpgroup(&attributes, 0);
	if (posix_spawn(&pid, argv[0], &files, &attributes, argv, (char *[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL }) != 0)
		pid = -1;
	close(ends[1]);
	while (pid > 0 && got > 0) {
		const bool room = len < max - 1;
		struct pollfd end = { .fd = ends[0], .events = POLLIN };

		if (poll(&end, 1, (int)left_ms(deadline)) == 0) {
			late = true;
			kill(-pid, SIGKILL);
			break;
		}
		got = read(ends[0], room ? out + len : beyond, room ? max - 1 - len : sizeof beyond);
		len += room && got > 0 ? (size_t)got : 0;
	}
	out[len] = '\0';
	if (late)
		snprintf(out, max, "%.300s does not answer within %d seconds", command, ANSWER_S);
	close(ends[0]);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	free(copy);
	return pid > 0 && waitpid(pid, &state, 0) == pid && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

PGresult *doctor_ask(PGconn *db, const char *sql, const char *parameter)
{
	const int64_t deadline = timestamp_now() + (int64_t)ANSWER_S * 1000000;
	PGresult *result = NULL, *next;

	if (!PQsendQueryParams(db, sql, parameter ? 1 : 0, NULL, &parameter, NULL, NULL, 0))
		return NULL;
	do {
		while (PQisBusy(db)) {
			struct pollfd end = { .fd = PQsocket(db), .events = POLLIN };

			if (poll(&end, 1, (int)left_ms(deadline)) == 0) {
				shutdown(PQsocket(db), SHUT_RDWR); /* whoever asks it next is told at once */
				PQclear(result);
				return NULL;
			}
			if (!PQconsumeInput(db))
				break;
		}
		if ((next = PQgetResult(db))) {
			PQclear(result);
			result = next;
		}
	} while (next);
	return result;
}

const char *doctor_why(PGconn *db, PGresult *result)
{
	static char late[100];

	if (result)
		return PQresultErrorMessage(result);
	snprintf(late, sizeof late, "the server does not answer within %d seconds", ANSWER_S);
	return *PQerrorMessage(db) ? PQerrorMessage(db) : late;
}

int doctor_reads(const struct passwd *who, const char *path)
{
	const gid_t group = getegid();
	gid_t groups[NGROUPS_MAX];
	const int n = getgroups(NGROUPS_MAX, groups);
	int fd = -1, error = n < 0 ? errno : 0;

	/* The kernel judges: of the folders on the way, groups and lists alike. */
	if (n >= 0 && initgroups(who->pw_name, who->pw_gid) == 0 && setegid(who->pw_gid) == 0 && seteuid(who->pw_uid) == 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		error = fd < 0 ? errno : 0;
	}
	if (fd >= 0)
		close(fd);
	if (seteuid(0) != 0 || setegid(group) != 0 || n < 0 || setgroups((size_t)n, groups) != 0)
		abort();
	return error;
}

/* ---- what is printed ---- */

/* Words on lines of `width` columns, the first of which is already `at` columns long. */
static void wrapped(const char *text, size_t indent, size_t width)
{
	size_t at = indent;

	while (*text) {
		const size_t word = strcspn(text, " \n");
		char piece[512];
		if (at > indent && at + 1 + word > width) {
			printf("\n%*s", (int)indent, "");
			at = indent;
		} else if (at > indent) {
			putchar(' ');
			at++;
		}
		snprintf(piece, sizeof piece, "%.*s", (int)word, text);
		show_text(stdout, piece);
		at += word;
		text += word;
		text += strspn(text, " \n");
	}
	putchar('\n');
}

static void report(const struct doctor *d)
{
	enum { CHECK = 16, STATUS = 9, INDENT = CHECK + STATUS };
	const size_t width = (size_t)(!show_width() ? 120 : show_width() < 60 ? 60 : show_width());

	printf("%-*s%-*s%s\n", CHECK, "CHECK", STATUS, "STATUS", "FINDING, REMEDY");
	for (size_t i = 0; i < json_object_array_length(d->rows); i++) {
		struct json_object *row = json_object_array_get_idx(d->rows, i), *remedy = json_object_object_get(row, "remedy");
		const char *status = json_object_get_string(json_object_object_get(row, "status"));
		printf("%-*s", CHECK, json_object_get_string(json_object_object_get(row, "check")));
		show_word(stdout, "status", status);
		printf("%*s", STATUS - (int)strlen(status), "");
		wrapped(json_object_get_string(json_object_object_get(row, "finding")), INDENT, width);
		if (remedy) {
			printf("%*s", INDENT, "");
			wrapped(json_object_get_string(remedy), INDENT, width);
		}
	}
	printf("\n%zu %s\n", d->findings, d->findings == 1 ? "finding" : "findings");
}

/* ---- files ---- */

static bool owned_well(const struct stat *info)
{
	return info->st_uid == 0 || info->st_uid == geteuid();
}

/* Programs that settings name, and what stands still without them. */
static void check_programs(struct doctor *d)
{
	const struct { const char *setting, *command, *package, *for_what; } programs[] = {
		{ "acme_command", d->config->acme_command, "uacme", "no certificate is issued or renewed" },
		{ "backup_engine", d->config->backup_engine, "restic", "nothing is backed up or restored" },
	};
	size_t fine = 0;

	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		const char *command = programs[i].command + strspn(programs[i].command, " ");
		char path[PATH_MAX], remedy[300];

		snprintf(path, sizeof path, "%.*s", (int)strcspn(command, " "), command);
		snprintf(remedy, sizeof remedy, "apt-get install %s; where it lies elsewhere, set %s to where.", programs[i].package, programs[i].setting);
		if (*path && access(path, X_OK) != 0)
			doctor_finding(d, "programs", remedy, "%s (%s): %s; %s", path, programs[i].setting, strerror(errno), programs[i].for_what);
		else
			fine++;
	}
	if (fine == sizeof programs / sizeof *programs)
		doctor_fine(d, "programs", "those for certificates and backups are there");
}

/* What keeps a tenant from names that are not theirs. */
static void check_names(struct doctor *d)
{
	const char *list = d->config->public_suffix_list;

	if (suffix_of(list, "example.org") == SUFFIX_UNKNOWN)
		doctor_finding(d, "names", "install the package publicsuffix, or set public_suffix_list to where the list is",
		               "%s is no list of public suffixes that can be read: tenants cannot claim any domain", list);
	else if (strcmp(d->config->domain_proof, "off") == 0)
		doctor_fine(d, "names", "a tenant's word for a domain is enough (domain_proof = off)");
	else
		doctor_fine(d, "names", "a tenant's domain must be proven");
}

static void check_settings(struct doctor *d)
{
	const char *given = d->cli->config_path ? d->cli->config_path : getenv("POSTERN_CONFIG");
	const char *path = given ? given : "/etc/postern/postern.conf";
	const bool secret = config_holds_password(d->config->dsn) || config_holds_password(d->config->dsn_direct);
	struct stat info;

	if (stat(path, &info) != 0) {
		doctor_fine(d, "settings", "%s: there is none, so every setting has its default", path);
	} else if (info.st_mode & 022 || !owned_well(&info)) {
		doctor_finding(d, "settings", "chown root: that file, and chmod 0640.",
		               "%s: somebody else than its owner may change it (mode %04o, owner %u)", path,
		               (unsigned)info.st_mode & 07777, (unsigned)info.st_uid);
	} else if (secret && info.st_mode & 04) {
		doctor_finding(d, "settings", "chmod 0640 that file; its group is the endpoints' (postern).",
		               "%s: holds a password and is readable by everybody (mode %04o)", path, (unsigned)info.st_mode & 07777);
	} else {
		doctor_fine(d, "settings", "%s", path);
	}
}

/* The endpoints that cannot read it as the Unix users they run as; `why` is the last one's. Returns how many. */
static size_t deaf_endpoints(const char *path, char *names, size_t size, int *why)
{
	size_t n, deaf = 0;
	const struct resource *const *all = resources(&n);

	*names = '\0';
	for (size_t i = 0; i < n && geteuid() == 0; i++) {
		char user[64];
		snprintf(user, sizeof user, "postern-%s", all[i]->name);
		const struct passwd *who = getpwnam(user);
		const int error = who ? doctor_reads(who, path) : 0;
		const size_t len = strlen(names);

		if (!error)
			continue;
		*why = error;
		deaf++;
		snprintf(names + len, size - len, "%s%s", len ? ", " : "", user);
	}
	return deaf;
}

static void check_pepper(struct doctor *d)
{
	char deaf[500], remedy[400];
	int error = 0;

	const char *path = d->config->pepper_file, *why = "cannot be used";
	struct peppers peppers = { 0 };
	struct stat info, folder;
	char *copy = strdup(path);
	const char *parent = copy ? dirname(copy) : "/";

	if (stat(path, &info) != 0) {
		doctor_finding(d, "pepper", errno == ENOENT ? "postern init makes one; where tokens exist already, put the copy back "
		               "that you keep apart from the database: without it none of them is known." : "Run doctor as root.",
		               "%s: %s", path, strerror(errno));
	} else if (info.st_mode & 027 || !owned_well(&info)) {
		doctor_finding(d, "pepper", "chown root:postern that file, and chmod 0640.",
		               "%s: others than its owner may change it, or others than its group may read it (mode %04o, owner %u)",
		               path, (unsigned)info.st_mode & 07777, (unsigned)info.st_uid);
	} else if (!peppers_load(path, &peppers, &why)) {
		doctor_finding(d, "pepper", "Put the copy back that you keep apart from the database.", "%s: %s", path, why);
	} else if (stat(parent, &folder) == 0 && folder.st_mode & 022 && !(folder.st_mode & S_ISVTX)) {
		doctor_finding(d, "pepper", "chmod 0750 that folder.", "%s: somebody else than its owner may replace what is in it "
		               "(mode %04o)", parent, (unsigned)folder.st_mode & 07777);
	} else if (deaf_endpoints(path, deaf, sizeof deaf, &error)) {
		snprintf(remedy, sizeof remedy, "chgrp postern %s %s, chmod 0640 %s, chmod 0750 %s; each of these users is in the group postern.", parent,
		         path, path, parent);
		doctor_finding(d, "pepper", remedy, "%s cannot be read by %.300s (%s): these endpoints know no token", path, deaf, strerror(error));
	} else {
		doctor_fine(d, "pepper", "%s", path);
	}
	peppers_free(&peppers);
	free(copy);
}

/* ---- sockets ---- */

static int knock(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const size_t len = strlen(path);
	int fd, error = 0;

	if (len >= sizeof address.sun_path)
		return ENAMETOOLONG;
	memcpy(address.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

static void check_sockets(struct doctor *d)
{
	size_t n, fine = 0;
	const struct resource *const *all = resources(&n);
	char path[4096], remedy[200];
	struct stat info;

	for (size_t i = 0; i < n; i++) {
		int error;
		snprintf(path, sizeof path, "%s/%s.sock", d->config->socket_dir, all[i]->name);
		snprintf(remedy, sizeof remedy, "systemctl start postern.target; then journalctl -u postern@%s says why it does not stay.",
		         all[i]->name);
		if ((error = knock(path)) != 0) {
			doctor_finding(d, "sockets", error == EACCES ? "Run doctor as root." : remedy, "%s: %s", path, strerror(error));
		} else if (stat(path, &info) == 0 && info.st_mode & 07) {
			doctor_finding(d, "sockets", "chmod 0660 it, and give it the web server's group: postern@.socket does both.",
			               "%s: everybody on this machine may connect (mode %04o)", path, (unsigned)info.st_mode & 07777);
		} else {
			fine++;
		}
	}
	if (fine == n)
		doctor_fine(d, "sockets", "%zu endpoints listen in %s", n, d->config->socket_dir);
}

static const char worker_remedy[] = "systemctl enable --now posternd; then journalctl -u posternd says why it does not stay.";

static void worker_said(struct doctor *d)
{
	PGconn *db = migrate_connect(d->config, NULL);
	PGresult *result = PQstatus(db) == CONNECTION_OK ? doctor_ask(db, "SELECT min(backend_start) FROM pg_catalog.pg_stat_activity"
		" WHERE datname = pg_catalog.current_database() AND usename = $1 || 'worker'", d->config->role_prefix) : NULL;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		doctor_skipped(d, "worker", "only root can look whether posternd runs here, and the database does not tell: sudo postern doctor");
	else if (!PQgetisnull(result, 0, 0))
		doctor_fine(d, "worker", "posternd is at work: it is connected since %s", PQgetvalue(result, 0, 0));
	else
		doctor_finding(d, "worker", worker_remedy, "posternd does not run: what changes the machine waits");
	PQclear(result);
	PQfinish(db);
}

/* The worker holds a lock on a file while it runs. */
static void check_worker(struct doctor *d)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/lock", d->config->worker_dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == EACCES) /* the lock is root's; the worker's session tells as much */
		worker_said(d);
	else if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0)
		doctor_fine(d, "worker", "posternd is at work");
	else
		doctor_finding(d, "worker", worker_remedy,
		               "posternd does not run: what changes the machine waits");
	if (fd >= 0)
		close(fd);
}

/* ---- postern doctor ---- */

static const struct option options[] = {
	{ .name = "url", .value = "URL", .about = "The web server as clients reach it, such as https://panel.example: it is asked, too" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[1], *words[1];
	struct doctor d = { .cli = cli };
	size_t n;
	const int rc = option_parse(options, argc, argv, values, words, &n, 0, "doctor");

	if (rc)
		return rc;
	if (!(d.config = cli_config(cli)))
		return CLI_FAILED;
	if (!(d.rows = json_object_new_array()))
		return cli_error(CLI_FAILED, "out of memory");
	d.url = values[0];
	check_settings(&d);
	check_names(&d);
	check_pepper(&d);
	check_programs(&d);
	doctor_database(&d);
	doctor_servers(&d);
	doctor_tenants(&d);
	check_sockets(&d);
	check_worker(&d);
	if (d.url)
		doctor_web(&d);
	else
		doctor_skipped(&d, "web", "give --url to have the web server asked, too");
	if (cli->json) {
		struct json_object *all = json_object_new_object();
		json_object_object_add(all, "data", json_object_get(d.rows));
		json_object_object_add(all, "findings", json_object_new_int64((int64_t)d.findings));
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(all);
	} else {
		report(&d);
	}
	json_object_put(d.rows);
	return d.findings ? CLI_FAILED : CLI_OK;
}

const struct command command_doctor = {
	"doctor", run, "doctor [--url URL]", "Find out what is wrong with this installation", options,
	"Looks at settings, key file, programs, schema, grants, logins, clock, servers of databases, sockets and worker, and with --url at what the web server does "
	"with our addresses; each finding comes with its remedy. Changes nothing but for a token, which it makes, uses and "
	"deletes. Best run as root. Ends with 0 when all is well, with 1 when there are findings.",
	"doctor\ndoctor --url https://panel.example\ndoctor --url http://127.0.0.1 --json\n"
};
