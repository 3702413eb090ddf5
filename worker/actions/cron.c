/*
 * cron.c: an account's crontab, in the form of Debian's cron: a file of its user's name, which belongs to it. A line calls posternd
 * --cron-run with the command as one word of the shell, so what runs is what was written; nothing of it runs as anybody else.
 */
#include "cron.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "tenant.h"

enum { TAB_MAX = 1 << 20, COMMAND_MAX = 998 /* of cron */ };
#define MARK "# Written by Postern"
#define SEARCH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct runner { const char *name; uid_t uid; gid_t gid; };

/* Who runs it. Where accounts have no Unix users, for trying Postern out, that is posternd's own user, and nobody in root's place. */
static struct runner runs_as(struct action *a)
{
	bool none = tenant_none(a);
	const char *name = none ? "nobody" : action_text(a, "username");
	struct passwd *user;

	if (none && geteuid() != 0)
		return (struct runner){ NULL, geteuid(), getegid() };
	if (!(user = none ? getpwnam(name) : tenant_user(a, name)))
		action_retry("there is no Unix user %s", name);
	if (user->pw_uid == 0)
		action_fail("the Unix user %s is root; no account's cron jobs run as that", name);
	if (!none)
		tenant_check_groups(a, user);
	return (struct runner){ name, user->pw_uid, user->pw_gid };
}

/* The folder that results are left in: the user's own. One of an earlier user of that name goes. */
static const char *results_of(struct action *a, const struct runner *who)
{
	const char *name = action_text(a, "username"), *path = a->config.cron_results_dir;
	int slash = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), root = file_make_folder(slash, path, 0711, (uid_t)-1, (gid_t)-1), folder;
	struct stat st;

	folder = root < 0 ? -1 : file_make_folder(root, name, 0700, who->uid, who->gid);
	if (folder >= 0 && fstat(folder, &st) == 0 && st.st_uid != who->uid) {
		close(folder);
		folder = file_remove(root, name) ? file_make_folder(root, name, 0700, who->uid, who->gid) : -1;
	}
	if (folder < 0)
		action_retry("the folder %s/%s cannot be made: %s", path, name, strerror(errno));
	close(folder);
	close(root);
	close(slash);
	return arena_printf(a->arena, "%s/%s", path, name);
}

/* posternd itself. */
static const char *program(struct action *a)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

	if (len <= 0 || path[len - 1] == ')')
		action_retry("posternd is being replaced");
	path[len] = '\0';
	if (path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-")])
		action_fail("%s holds characters that a crontab takes for others; install Postern elsewhere", path);
	return arena_strdup(a->arena, path);
}

/*
 * A word of the shell, in single quotes, which cron passes on as it is: it takes "\%" for % and may take "\\" for one backslash, so
 * no backslash of the command is followed by either: the quotes end and begin again behind it.
 */
static void quote(struct buf *out, const char *command)
{
	buf_char(out, '\'');
	for (; *command; command++)
		if (*command == '\'')
			buf_str(out, "'\\''");
		else if (*command == '\\')
			buf_str(out, "\\''");
		else if (*command == '%')
			buf_str(out, "\\%");
		else
			buf_char(out, *command);
	buf_char(out, '\'');
}

static bool is_one_line(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool is_schedule(const char *text)
{
	size_t spaces = 0;

	for (const char *at = text; *at; at++)
		spaces += *at == ' ';
	return spaces == 4 && *text != ' ' && text[strspn(text, "0123456789*,/- ")] == '\0';
}

/* One entry of the data: {"id", "schedule", "command"}. */
static void add_line(struct action *a, struct buf *tab, struct json_object *entry, const char *call)
{
	struct json_object *id = NULL, *schedule = NULL, *command = NULL;
	size_t before;

	json_object_object_get_ex(entry, "id", &id);
	json_object_object_get_ex(entry, "schedule", &schedule);
	json_object_object_get_ex(entry, "command", &command);
	if (!json_object_is_type(id, json_type_int) || !json_object_is_type(schedule, json_type_string) || !json_object_is_type(command, json_type_string) ||
	    json_object_get_int64(id) <= 0 || !is_schedule(json_object_get_string(schedule)) || !is_one_line(json_object_get_string(command)))
		action_fail("\"entries\": what is there is no line of a crontab");
	buf_printf(tab, "%s ", json_object_get_string(schedule));
	before = tab->len;
	buf_printf(tab, "%s/%lld ", call, (long long)json_object_get_int64(id));
	quote(tab, json_object_get_string(command));
	if (tab->len - before > COMMAND_MAX)
		action_fail("cron job %lld: its line has %zu bytes, of which cron takes %d; put the command into a script", (long long)json_object_get_int64(id),
		            tab->len - before, COMMAND_MAX);
	buf_char(tab, '\n');
	(void)a;
}

/* Is there a crontab that is not ours? Then it stays. */
static bool is_foreign(struct action *a, int folder, const char *name)
{
	size_t len;
	const char *text;

	errno = 0;
	text = file_read(a, folder, name, TAB_MAX, &len);
	return text ? strncmp(text, MARK, strlen(MARK)) != 0 : errno != ENOENT;
}

static void apply(struct action *a)
{
	const char *name = action_text(a, "username"), *path = a->config.cron_dir;
	struct json_object *entries = action_value(a, "entries");
	size_t count = json_object_is_type(entries, json_type_array) ? json_object_array_length(entries) : 0;
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), results;
	bool foreign = folder >= 0 && is_foreign(a, folder, name);
	struct runner who;
	struct stat st;
	struct buf tab;
	const char *call;

	if (count == 0) {
		if (folder >= 0 && !foreign && unlinkat(folder, name, 0) != 0 && errno != ENOENT)
			action_retry("%s/%s cannot be removed: %s", path, name, strerror(errno));
		results = open(a->config.cron_results_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (results >= 0 && !file_remove(results, name))
			action_retry("%s/%s cannot be removed: %s", a->config.cron_results_dir, name, strerror(errno));
		return;
	}
	if (folder < 0 || fstat(folder, &st) != 0)
		action_fail("the folder of crontabs, %s (setting cron_dir): %s; is cron installed?", path, strerror(errno));
	if (foreign)
		action_fail("%s/%s was not written by Postern and stays as it is; make cron jobs of its lines, then remove it (crontab -r -u %s) and retry this job",
		            path, name, name);
	who = runs_as(a);
	call = arena_printf(a->arena, "%s --cron-run %s", program(a), results_of(a, &who));
	buf_init(&tab, TAB_MAX);
	buf_printf(&tab, MARK ", anew with each change of the account's cron jobs: postern cron list --account %s\nSHELL=/bin/sh\nPATH=" SEARCH "\nMAILTO=\"\"\n", name);
	for (size_t i = 0; i < count; i++)
		add_line(a, &tab, json_object_array_get_idx(entries, i), call);
	if (buf_failed(&tab))
		action_fail("the crontab becomes too long");
	if (tenant_none(a))
		who.uid = (uid_t)-1; /* there is no user whose crontab it could be */
	if (!file_write(folder, name, tab.data, tab.len, 0600, who.uid, st.st_gid))
		action_retry("%s/%s cannot be written: %s", path, name, strerror(errno));
	buf_free(&tab);
	close(folder);
}

/* As its line in the crontab would run it. */
static void execute(struct action *a)
{
	struct runner who = runs_as(a);
	const char *name = who.name ? who.name : action_text(a, "username"), *results = results_of(a, &who);
	const char *id = arena_printf(a->arena, "%lld", (long long)action_int(a, "id", 0));
	const char *env[] = { arena_printf(a->arena, "LOGNAME=%s", name), arena_printf(a->arena, "USER=%s", name), "SHELL=/bin/sh", NULL };
	struct command c = {
		.argv = { program(a), "--cron-run", arena_printf(a->arena, "%s/%s", results, id), action_text(a, "command") },
		.env = env, .user = who.name, .tenant = true, .folder = action_text(a, "home")
	};
	struct json_object *result = json_object_new_object();
	struct cron_result r;
	int folder = open(results, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (a->attempt > 1)
		action_fail("the worker was ended while the command ran; how far that came is not known. Run it again if that does no harm");
	file_remove(folder, id); /* of another run: by the clock, and not collected yet */
	command_run(a, &c);
	if (!cron_take(a->arena, folder, id, &r))
		action_fail("the command could not be run: %s", command_complaint(a, &c));
	close(folder);
	json_object_object_add(result, "started_us", json_object_new_int64(r.started_us));
	json_object_object_add(result, "finished_us", json_object_new_int64(r.finished_us));
	json_object_object_add(result, "exit_code", json_object_new_int(r.exit_code));
	json_object_object_add(result, "output", json_object_new_string(r.output));
	action_result(result);
}

static const struct field applied[] = {
	{ "username", F_USERNAME, F_REQUIRED, "Unix user whose crontab it is" },
	{ "home",     F_PATH,     F_REQUIRED, "The account's home folder", .max = 500 },
	{ "uid",      F_INT,      F_NULLABLE, "Uid of that user", .max = 4294967294 },
	{ "entries",  F_JSON,     F_REQUIRED, "Its lines: id, schedule (in digits), command; none: there is to be no crontab" },
	{ 0 }
};
static const struct field executed[] = {
	{ "id",       F_INT,      F_REQUIRED, "Number of the cron job" },
	{ "username", F_USERNAME, F_REQUIRED, "Unix user as whom it runs" },
	{ "home",     F_PATH,     F_REQUIRED, "The account's home folder, in which it runs", .max = 500 },
	{ "uid",      F_INT,      F_NULLABLE, "Uid of that user", .max = 4294967294 },
	{ "command",  F_TEXT,     F_REQUIRED, "What /bin/sh runs", .max = 700 },
	{ 0 }
};
static const struct kind cron_apply = { "cron.apply", "Write an account's crontab", 60, 5, applied, apply };
static const struct kind cron_execute = {
	"cron.execute", "Run a cron job's command, as the account's Unix user", 600, 1, executed, execute, .heavy = true
};
POSTERN_KIND(cron_apply);
POSTERN_KIND(cron_execute);
