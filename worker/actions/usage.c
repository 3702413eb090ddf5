/*
 * usage.c: what an account takes up. Its files are walked as its own Unix user, its mail as the owner of mail. Logs of the web server
 * (combined format) are read from where the last time ended, in the file that was the log then, too, should it have been renamed since.
 */
#include "action.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "tenant.h"

enum { NAMES_MAX = 4 << 20, BLOCK = 64 << 10, LOGS_MAX = 2000, LOOKS_MAX = 10000, MONTHS_MAX = 64, LAST_BYTES = 100 };
#define READ_MAX ((int64_t)8 << 30)

/* ---- disk ---- */

static void keep_last(void *arg, const char *line)
{
	snprintf(arg, LAST_BYTES, "%s", line);
}

/* What du says at its end, after a line for each mailbox. It goes on where something cannot be read, which is then not counted. */
static int64_t du(struct action *a, struct command *c, const char *what)
{
	char line[LAST_BYTES] = "", *end;
	int64_t bytes;
	bool good;

	c->line = keep_last;
	c->arg = line;
	good = command_run(a, c);
	bytes = strtoll(line, &end, 10);
	if (end == line || *end != '\t')
		action_fail("%s cannot be measured: %s", what, command_complaint(a, c));
	if (!good)
		action_log("%s: %s", what, command_complaint(a, c));
	return bytes;
}

static int64_t files(struct action *a)
{
	struct command c = { .argv = { "du", "--summarize", "--block-size=1", "--one-file-system", "." }, .folder = action_text(a, "home") };

	if (!tenant_none(a)) {
		c.user = action_text(a, "username");
		if (!tenant_user(a, c.user))
			action_fail("there is no Unix user %s of the account's own; its files are measured as that user", c.user);
	}
	return du(a, &c, "the home folder");
}

/* "example.org/info-7" */
static bool is_mailbox(const char *name)
{
	const char *slash = strchr(name, '/');

	return slash && isalnum((unsigned char)*name) && isalnum((unsigned char)slash[1]) && !strchr(slash + 1, '/') &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-/")] == '\0';
}

/* Those mailboxes that have a folder: the first mail makes it. */
static int64_t mail(struct action *a)
{
	struct command c = { .argv = { "du", "--summarize", "--total", "--block-size=1", "--files0-from=-" }, .folder = a->config.mail_dir };
	struct json_object *all = action_value(a, "mailboxes");
	size_t count = json_object_is_type(all, json_type_array) ? json_object_array_length(all) : 0;
	int root = count ? open(a->config.mail_dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	struct passwd *owner = NULL;
	struct buf names;
	struct stat st;
	int64_t bytes = 0;

	buf_init(&names, NAMES_MAX);
	for (size_t i = 0; i < count && root >= 0; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(all, i));

		if (!name || !is_mailbox(name))
			action_fail("\"mailboxes\": \"%s\" is no folder of a mailbox", name ? name : "");
		if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			buf_add(&names, name, strlen(name) + 1);
	}
	if (names.len && fstat(root, &st) == 0) {
		if (buf_failed(&names) || (st.st_uid != geteuid() && !(owner = getpwuid(st.st_uid))))
			action_fail("the folder of mail %s belongs to uid %u, who is nobody here", a->config.mail_dir, (unsigned)st.st_uid);
		c.user = owner ? arena_strdup(a->arena, owner->pw_name) : NULL;
		c.input = names.data;
		c.input_len = names.len;
		bytes = du(a, &c, "mail");
	}
	buf_free(&names);
	if (root >= 0)
		close(root);
	return bytes;
}

/* ---- transfer ---- */

struct transfer {
	struct { int month; int64_t requests, bytes; } of[MONTHS_MAX]; /* 12 * year + month from 0 */
	size_t count;
	int64_t left; /* to read in this job */
};

static int month_of(const char *text) /* "21/Nov/2026:" */
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *found;
	char name[4];

	for (const char *p = "00/AAA/0000:"; *p; p++, text++)
		if (*p == '0' ? !isdigit((unsigned char)*text) : *p == 'A' ? !isalpha((unsigned char)*text) : *p != *text)
			return -1;
	snprintf(name, sizeof name, "%.3s", text - 9);
	found = strstr(names, name);
	return found && (found - names) % 3 == 0 ? (int)((found - names) / 3) + 12 * atoi(text - 5) : -1;
}

/* One line: address - user [time] "request" status bytes … A quotation mark within the request is escaped by a backslash (Apache),
 * or as \x22 (nginx). */
static void count_line(struct transfer *t, char *line)
{
	char *at = strchr(line, '['), *end;
	int month = at ? month_of(at + 1) : -1;
	int64_t bytes;
	size_t i;

	if (month < 0 || !(at = strstr(at, "] \"")))
		return;
	for (at += 3; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	if (*at++ != '"' || *at++ != ' ' || !isdigit((unsigned char)*at))
		return;
	at += strspn(at, "0123456789");
	if (*at++ != ' ' || (!isdigit((unsigned char)*at) && *at != '-'))
		return;
	bytes = *at == '-' ? 0 : strtoll(at, &end, 10);
	for (i = 0; i < t->count && t->of[i].month != month; i++)
		;
	if (i == t->count && i < MONTHS_MAX)
		t->of[t->count++].month = month;
	if (i < MONTHS_MAX) {
		t->of[i].requests++;
		t->of[i].bytes += bytes;
	}
}

/* All whole lines from there on. Returns where the next begins. One that fits into no block is left out. */
static int64_t count_from(struct transfer *t, int fd, int64_t offset)
{
	static char bytes[BLOCK + 1];
	size_t kept = 0;
	bool skipping = false;
	ssize_t n;

	while (t->left > 0 && (n = pread(fd, bytes + kept, BLOCK - kept, offset + (int64_t)kept)) > 0) {
		char *line = bytes, *end;

		kept += (size_t)n;
		t->left -= n;
		bytes[kept] = '\0';
		while ((end = memchr(line, '\n', kept - (size_t)(line - bytes)))) {
			*end = '\0';
			if (!skipping)
				count_line(t, line);
			skipping = false;
			line = end + 1;
		}
		if (line == bytes && kept == BLOCK) {
			skipping = true;
			line = bytes + kept;
		}
		offset += line - bytes;
		kept -= (size_t)(line - bytes);
		memmove(bytes, line, kept);
	}
	return offset;
}

static int open_log(int folder, const char *name, struct stat *st)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The file of that number, under a name that the log was given since: access.log.1, access.log-20270131. */
static int open_renamed(int folder, const char *name, ino_t inode)
{
	int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = -1;
	DIR *entries = again >= 0 ? fdopendir(again) : NULL;
	struct dirent *e;
	struct stat st;

	for (int looks = 0; entries && found < 0 && looks < LOOKS_MAX && (e = readdir(entries)); looks++)
		if (e->d_ino == inode && strncmp(e->d_name, name, strlen(name)) == 0 && strcmp(e->d_name, name) != 0)
			found = open_log(folder, e->d_name, &st);
	if (entries)
		closedir(entries);
	return found;
}

/* One log. `state`: {"inode", "offset"} of the last time, or NULL. Returns that of this time; NULL: there is no log. */
static struct json_object *read_log(struct action *a, struct transfer *t, const char *path, struct json_object *state)
{
	const char *slash = strrchr(path, '/');
	int folder = open(slash > path ? arena_strndup(a->arena, path, (size_t)(slash - path)) : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, old;
	struct json_object *value, *now;
	ino_t inode = state && json_object_object_get_ex(state, "inode", &value) ? (ino_t)json_object_get_int64(value) : 0;
	int64_t offset = state && json_object_object_get_ex(state, "offset", &value) ? json_object_get_int64(value) : 0;
	struct stat st;

	fd = folder >= 0 ? open_log(folder, slash + 1, &st) : -1;
	if (fd >= 0 && inode && st.st_ino != inode) {
		if ((old = open_renamed(folder, slash + 1, inode)) >= 0) {
			offset = count_from(t, old, offset);
			close(old);
		} else {
			action_log("%s was renamed since, and is compressed or gone: what came at its end is not counted", path);
		}
		if (t->left > 0)
			offset = 0; /* of the new one */
		else
			st.st_ino = inode; /* the old one is not at its end */
	} else if (fd >= 0 && st.st_size < offset) {
		offset = 0; /* emptied in place */
	}
	if (folder >= 0)
		close(folder);
	if (fd < 0)
		return state ? json_object_get(state) : NULL;
	if (t->left > 0)
		offset = count_from(t, fd, offset);
	close(fd);
	now = json_object_new_object();
	json_object_object_add(now, "inode", json_object_new_int64((int64_t)st.st_ino));
	json_object_object_add(now, "offset", json_object_new_int64(offset));
	return now;
}

/* The setting's %u is the account's user name, %d each of its domains. */
static const char *log_path(struct action *a, const char *domain)
{
	struct buf path;
	const char *text;

	buf_init(&path, 4096);
	for (const char *at = a->config.usage_logs; *at; at++)
		if (at[0] == '%' && at[1] == 'u')
			buf_str(&path, action_text(a, "username")), at++;
		else if (at[0] == '%' && at[1] == 'd')
			buf_str(&path, domain), at++;
		else
			buf_char(&path, *at);
	text = buf_failed(&path) ? NULL : arena_strdup(a->arena, path.data);
	buf_free(&path);
	if (!text)
		action_fail("the setting usage_logs makes too long a path");
	return text;
}

static void transfer(struct action *a, struct json_object *result)
{
	struct json_object *domains = action_value(a, "domains"), *before = action_value(a, "logs"), *logs = json_object_new_object();
	struct json_object *months = json_object_new_object(), *state;
	bool each = strstr(a->config.usage_logs, "%d");
	size_t count = !each ? 1 : json_object_is_type(domains, json_type_array) ? json_object_array_length(domains) : 0;
	static struct transfer t = { .left = READ_MAX };

	if (count > LOGS_MAX)
		action_log("of %zu domains the logs of the first %d are counted", count, LOGS_MAX);
	for (size_t i = 0; i < count && i < LOGS_MAX; i++) {
		const char *domain = each ? json_object_get_string(json_object_array_get_idx(domains, i)) : "";

		if (!domain || domain[strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-")] || *domain == '.')
			action_fail("\"domains\": \"%s\" is no name of a domain", domain ? domain : "");
		state = NULL;
		if (json_object_is_type(before, json_type_object))
			json_object_object_get_ex(before, domain, &state);
		if ((state = read_log(a, &t, log_path(a, domain), state)))
			json_object_object_add(logs, domain, state);
	}
	for (size_t i = 0; i < t.count; i++) {
		struct json_object *month = json_object_new_object();

		json_object_object_add(month, "requests", json_object_new_int64(t.of[i].requests));
		json_object_object_add(month, "bytes", json_object_new_int64(t.of[i].bytes));
		json_object_object_add(months, arena_printf(a->arena, "%04d-%02d", t.of[i].month / 12, t.of[i].month % 12 + 1), month);
	}
	json_object_object_add(result, "transfer", months);
	json_object_object_add(result, "logs", logs);
}

static void measure(struct action *a)
{
	struct json_object *result = json_object_new_object();

	json_object_object_add(result, "files_bytes", json_object_new_int64(files(a)));
	json_object_object_add(result, "mail_bytes", json_object_new_int64(mail(a)));
	if (*a->config.usage_logs)
		transfer(a, result);
	action_result(result);
}

/* Which accounts are due is known in the database, but for what the setting says. */
static void schedule(struct action *a)
{
	struct json_object *result = json_object_new_object();

	json_object_object_add(result, "every_h", json_object_new_int(a->config.usage_every_h));
	action_result(result);
}

static const struct field measured[] = {
	{ "username",  F_USERNAME, F_REQUIRED, "The account's Unix user" },
	{ "home",      F_PATH,     F_REQUIRED, "Its home folder", .max = 500 },
	{ "mailboxes", F_JSON,     F_REQUIRED, "Folders of its mailboxes, below mail_dir" },
	{ "domains",   F_JSON,     F_REQUIRED, "Its domains" },
	{ "logs",      F_JSON,     F_NULLABLE, "How far the logs were read: by domain, inode and offset" },
	{ 0 }
};
static const struct field nothing[] = { { 0 } };

static const struct kind usage_measure = {
	"usage.measure", "Measure what an account takes up", 3600, 3, measured, measure, .heavy = true
};
static const struct kind usage_schedule = { "usage.schedule", "Tell the database how often accounts are measured", 60, 3, nothing, schedule };
POSTERN_KIND(usage_measure);
POSTERN_KIND(usage_schedule);
