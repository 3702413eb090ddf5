/* doctor.c: see doctor.h; the report, and the checks of files and sockets. */
#include "doctor.h"
#include "show.h"
#include "token.h"
#include "words.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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
	const size_t width = (size_t)(show_width() < 60 ? 60 : show_width());

	printf("%-*s%-*s%s\n", CHECK, "CHECK", STATUS, "STATUS", "FINDING, REMEDY");
	for (size_t i = 0; i < json_object_array_length(d->rows); i++) {
		struct json_object *row = json_object_array_get_idx(d->rows, i), *remedy = json_object_object_get(row, "remedy");
		printf("%-*s%-*s", CHECK, json_object_get_string(json_object_object_get(row, "check")), STATUS,
		       json_object_get_string(json_object_object_get(row, "status")));
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

static void check_pepper(struct doctor *d)
{
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

/* The worker holds a lock on a file while it runs. */
static void check_worker(struct doctor *d)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/lock", d->config->worker_dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == EACCES)
		doctor_skipped(d, "worker", "%s can be looked at by root only", path);
	else if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0)
		doctor_fine(d, "worker", "posternd is at work");
	else
		doctor_finding(d, "worker", "systemctl enable --now posternd; then journalctl -u posternd says why it does not stay.",
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
	check_pepper(&d);
	doctor_database(&d);
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
	"Looks at settings, key file, schema, grants, logins, clock, sockets and worker, and with --url at what the web server does "
	"with our addresses; each finding comes with its remedy. Changes nothing but for a token, which it makes, uses and "
	"deletes. Best run as root. Ends with 0 when all is well, with 1 when there are findings.",
	"doctor\ndoctor --url https://panel.example\ndoctor --url http://127.0.0.1 --json\n"
};
