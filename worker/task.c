/* task.c: see task.h. */
#include "task.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "contain.h"
#include "json.h"
#include "log.h"
#include "timestamp.h"

enum { GRACE_S = 10, EXIT_RETRY = 75, EXIT_BLOCKED = 69, SWEEP_LOOKS = 250 };
#define SEARCH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

extern char **environ;

/* Is all of this path root's (or posternd's own), from the root folder on, and for nobody else to change? Then what is run is what
 * was looked at. Links are not followed. False: *why says what is wrong. `there` is false where the path does not exist. */
static bool is_ours(const char *path, char why[PATH_MAX + 200], bool *there)
{
	char part[NAME_MAX + 1];
	int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), next;
	struct stat st;

	*there = true;
	*why = '\0';
	for (const char *rest = path + strspn(path, "/"); at >= 0 && *rest && !*why;) {
		size_t len = strcspn(rest, "/");
		int upto = (int)(rest + len - path);
		bool last = !rest[len + strspn(rest + len, "/")];

		snprintf(part, sizeof part, "%.*s", (int)len, rest);
		rest += len + strspn(rest + len, "/");
		next = len < sizeof part ? openat(at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
		close(at);
		at = next;
		if (at < 0 || fstat(at, &st) != 0) {
			*there = at >= 0 || errno != ENOENT;
			snprintf(why, PATH_MAX + 200, "%.*s: %s", upto, path, strerror(errno));
		} else if (S_ISLNK(st.st_mode)) {
			snprintf(why, PATH_MAX + 200, "%.*s is a symbolic link, which is not followed; put there what it leads to", upto, path);
		} else if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
		           (st.st_mode & (S_IWGRP | S_IWOTH) && !(S_ISDIR(st.st_mode) && !last && st.st_mode & S_ISVTX))) {
			snprintf(why, PATH_MAX + 200, "%.*s may be written by others than root; chmod go-w and chown root it", upto, path);
		} else if (last && (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))) {
			snprintf(why, PATH_MAX + 200, "%s is not executable; chmod +x it, or remove it", path);
		}
	}
	if (at >= 0)
		close(at);
	return !*why;
}

/* The administrator's executable, or ours; a plugin's in the place of ours. Looked at before each run: one that others may write, or
 * that lies where others may put another in its place, is not run. Ours are links to posternd, in a folder that came with it. */
static bool find_action(const struct config *config, const char *plugin, const char *kind, char path[PATH_MAX], const char **why)
{
	static char of_plugin[PATH_MAX - 200], text[PATH_MAX + 200], program[PATH_MAX];
	const char *folders[] = { config->local_actions_dir, *plugin ? of_plugin : config->actions_dir };
	bool there;

	*why = text;
	snprintf(of_plugin, sizeof of_plugin, "%s/%s/actions", config->plugins_dir, plugin);
	for (size_t i = 0; i < 2; i++) {
		bool own = i == 1 && !*plugin;

		snprintf(path, PATH_MAX, "%s/%s", folders[i], kind);
		if (own && !realpath(path, program))
			continue;
		if (is_ours(own ? program : path, text, &there))
			return true;
		if (there)
			return false;
	}
	snprintf(text, sizeof text, "there is no executable %s in %s or %s", kind, folders[0], folders[1]);
	return false;
}

/* The job on its standard input: a file without a name, so that nobody waits for anybody. */
static int input_of(const struct task *t, const char *data, const char *secret, const char *plugin)
{
	int fd = memfd_create("job", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (dprintf(fd, "{\"job\":\"%s\",\"kind\":\"%s\",\"attempt\":%d,\"data\":%s%s%s%s%s}\n", t->job, t->kind->name, t->attempt, data,
	            secret ? ",\"secret\":" : "", secret ? secret : "", plugin ? ",\"plugin\":" : "", plugin ? plugin : "") < 0 || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void lock_path(const struct config *config, const char *job, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/jobs/%s", config->worker_dir, job);
}

/* What the database holds of the settings, for the action's environment, which goes over its file. */
static size_t add_settings(const struct config *config, const char **env, size_t n)
{
	struct setting_text s;
	char *value, *entry, *c;

	for (size_t i = 0; config_describe(i, &s); i++) {
		if (strcmp(config_source(config, i), "database") != 0 || !(value = config_value(config, i)))
			continue;
		if (asprintf(&entry, "POSTERN_%s=%s", s.name, value) < 0)
			continue;
		for (c = entry; *c != '='; c++)
			*c = (char)toupper((unsigned char)*c);
		env[n++] = entry; /* freed by execve */
	}
	return n;
}

/* What the action is told of where it is. */
struct place {
	const char *config_path;
	char folders[sizeof CONTAIN_FOLDERS + CONTAIN_TEXT], limits[sizeof CONTAIN_LIMITS + 64]; /* "NAME=value" */
};

/* Its whole environment: ours is as long as it is. NULL when out of memory. */
static const char **environment_of(const struct config *config, const struct place *place)
{
	static char file[PATH_MAX + 32];
	size_t n = 0, room = CONFIG_SETTINGS_MAX + 8;
	const char **env;

	for (char **e = environ; *e; e++)
		room++;
	if (!(env = calloc(room, sizeof *env)))
		return NULL;
	env[n++] = SEARCH;
	env[n++] = "LC_ALL=C.UTF-8";
	env[n++] = "HOME=/";
	if (place->config_path) {
		snprintf(file, sizeof file, "POSTERN_CONFIG=%s", place->config_path);
		env[n++] = file;
	}
	if (place->folders[sizeof CONTAIN_FOLDERS]) { /* past the "=" */
		env[n++] = place->folders;
		env[n++] = place->limits;
	}
	n = add_settings(config, env, n);
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "SSL_CERT_", 9) == 0) /* OpenSSL's: whom this machine trusts */
			env[n++] = *e;
		else if (strncmp(*e, "POSTERN_", 8) == 0 && strncmp(*e, CONTAIN_FOLDERS "=", sizeof CONTAIN_FOLDERS) != 0 &&
		    strncmp(*e, CONTAIN_LIMITS "=", sizeof CONTAIN_LIMITS) != 0 &&
		    (!place->config_path || strncmp(*e, "POSTERN_CONFIG=", 15) != 0))
			env[n++] = *e;
	return env;
}

static _Noreturn void become(const char *path, const struct config *config, const struct place *place, pid_t parent, int in, int out, int err)
{
	const char **env = environment_of(config, place);
	const struct rlimit no_core = { 0, 0 };
	sigset_t none;

	setpgid(0, 0);
	if (!env || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) /* it ends with the worker */
		_exit(EXIT_RETRY);
	setrlimit(RLIMIT_CORE, &no_core);
	umask(022);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0 && chdir("/") == 0)
		execve(path, (char *const[]){ (char *)path, NULL }, (char *const *)env);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(126);
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool task_start(struct task *t, const struct config *config, const char *config_path, const char *data, const char *secret,
                const char *plugin, const char **why, bool *again)
{
	char path[PATH_MAX], lock[PATH_MAX];
	static struct place place;
	int in = -1, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	pid_t parent = getpid();

	t->out = t->err = t->lock = -1;
	t->progress = -1;
	buf_init(&t->log, 2 * TASK_LINE_MAX + 2 * TASK_LOG_MAX);
	buf_init(&t->line, 2 * TASK_LINE_MAX);
	buf_init(&t->err_line, 2 * TASK_LINE_MAX);
	*again = false;
	if (!find_action(config, t->plugin, t->kind->name, path, why))
		return false;
	*again = true;
	*why = "the action could not be started";
	lock_path(config, t->job, lock);
	/* without O_CLOEXEC: whoever the action starts holds it too */
	t->lock = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (t->lock < 0 || flock(t->lock, LOCK_EX | LOCK_NB) != 0) {
		*why = t->lock < 0 ? "its lock file could not be made; is worker_dir there, and writable?"
		                   : "something that an earlier attempt has started still runs";
		shut(&t->lock);
		return false;
	}
	place = (struct place){ config_path, CONTAIN_FOLDERS "=", CONTAIN_LIMITS "=" };
	if (!contain_begin(config, t->account, t->job, place.folders + sizeof CONTAIN_FOLDERS, place.limits + sizeof CONTAIN_LIMITS, why)) {
		shut(&t->lock);
		return false;
	}
	in = input_of(t, data, secret, plugin);
	if (in >= 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0 && (t->pid = fork()) == 0)
		become(path, config, &place, parent, in, out[1], err[1]);
	shut(&in);
	shut(&out[1]);
	shut(&err[1]);
	t->out = out[0];
	t->err = err[0];
	if (t->pid <= 0) {
		t->pid = 0;
		shut(&t->out);
		shut(&t->err);
		shut(&t->lock);
		contain_end(t->account, t->job);
		return false;
	}
	setpgid(t->pid, t->pid); /* in both, so that it is so whoever comes first */
	fcntl(t->lock, F_SETFD, FD_CLOEXEC); /* ours alone: other actions must not hold it */
	fcntl(t->out, F_SETFL, O_NONBLOCK);
	fcntl(t->err, F_SETFL, O_NONBLOCK);
	t->moved_us = timestamp_now();
	t->end_us = t->moved_us + (int64_t)t->kind->limit_s * 1000000;
	return true;
}

/* ---- what it says ---- */

static void keep_log(struct task *t, const char *text)
{
	size_t from = 0;

	buf_str(&t->log, text);
	buf_char(&t->log, '\n');
	if (t->log.len > TASK_LOG_MAX) { /* the end, from the start of a line */
		from = t->log.len - TASK_LOG_MAX;
		while (t->log.data[from] && t->log.data[from] != '\n')
			from++;
		memmove(t->log.data, t->log.data + from + 1, t->log.len - from);
		t->log.len -= from + 1;
	}
	t->told = true;
}

/* Texts that an action says go to the database, which takes UTF-8 without NUL. */
static void printable(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' && text[i] != '\t')
			text[i] = ' ';
	if (!utf8_valid(text, len))
		for (size_t i = 0; i < len; i++)
			if ((unsigned char)text[i] >= 0x80)
				text[i] = '?';
}

/* A copy that is cut between characters. */
static void copy_text(char *to, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);

	while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	memcpy(to, text, len);
	to[len] = '\0';
}

static void hear(struct task *t, char *line, size_t len)
{
	struct json_object *said, *value;
	const char *why;
	size_t at;

	printable(line, len);
	said = *line == '{' ? json_parse(line, len, &why, &at) : NULL;
	if (!said || !json_object_is_type(said, json_type_object)) {
		if (*line)
			keep_log(t, line);
		json_object_put(said);
		return;
	}
	if (json_object_object_get_ex(said, "progress", &value) && json_object_is_type(value, json_type_int)) {
		int n = json_object_get_int(value);

		t->progress = n < 0 ? 0 : n > 100 ? 100 : n;
	}
	if (json_object_object_get_ex(said, "message", &value) && json_object_is_type(value, json_type_string)) {
		copy_text(t->message, sizeof t->message, json_object_get_string(value));
		keep_log(t, t->message);
	}
	if (json_object_object_get_ex(said, "log", &value) && json_object_is_type(value, json_type_string))
		keep_log(t, json_object_get_string(value));
	if (json_object_object_get_ex(said, "error", &value) && json_object_is_type(value, json_type_string)) {
		copy_text(t->error, sizeof t->error, json_object_get_string(value));
		keep_log(t, t->error);
	}
	if (json_object_object_get_ex(said, "blocked", &value) && json_object_is_type(value, json_type_string))
		copy_text(t->blocked, sizeof t->blocked, json_object_get_string(value)); /* not for the log, which tenants read */
	if (json_object_object_get_ex(said, "result", &value) && json_object_is_type(value, json_type_object)) {
		json_object_put(t->result);
		t->result = json_object_get(value);
	}
	t->told = true;
	json_object_put(said);
}

static void listen_to(struct task *t, int *fd, struct buf *line, bool json)
{
	char bytes[16 << 10], *end;
	ssize_t n;

	while (*fd >= 0 && (n = read(*fd, bytes, sizeof bytes)) != 0) {
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				shut(fd);
			return;
		}
		t->heard += (size_t)n;
		for (ssize_t i = 0; i < n; i++)
			bytes[i] = bytes[i] ? bytes[i] : ' ';
		buf_add(line, bytes, (size_t)n);
		while (line->data && (end = strchr(line->data, '\n'))) {
			size_t len = (size_t)(end - line->data);

			*end = '\0';
			if (json) {
				hear(t, line->data, len);
			} else {
				printable(line->data, len);
				keep_log(t, line->data);
			}
			line->len -= len + 1;
			memmove(line->data, end + 1, line->len + 1);
		}
		if (line->len >= TASK_LINE_MAX) {
			keep_log(t, "(a line that is too long was left out)");
			t->cut |= json && *line->data == '{';
			buf_clear(line);
		}
	}
	if (*fd >= 0 && line->len) { /* the last one, without an end */
		if (json) {
			hear(t, line->data, line->len);
		} else {
			printable(line->data, line->len);
			keep_log(t, line->data);
		}
		buf_clear(line);
	}
	shut(fd);
}

/* ---- its end ---- */

void task_look(struct task *t, int64_t now_us)
{
	if (t->pid && !t->reaped && waitpid(t->pid, &t->status, WNOHANG) == t->pid)
		t->reaped = true;
	listen_to(t, &t->out, &t->line, true);
	listen_to(t, &t->err, &t->err_line, false);
	if (!t->reaped && now_us > t->end_us) {
		if (t->late || t->idle || t->cancelled)
			kill(-t->pid, SIGKILL);
		else {
			t->late = true;
			task_end(t, now_us);
		}
	}
	if (t->reaped && !t->ended) {
		/* What it started and left behind goes with it; a pipe that somebody still holds is not waited for. */
		kill(-t->pid, SIGKILL);
		listen_to(t, &t->out, &t->line, true);
		listen_to(t, &t->err, &t->err_line, false);
		shut(&t->out);
		shut(&t->err);
		t->ended = true;
	}
}

void task_move(struct task *t, int64_t cpu, int idle_s, int64_t now_us)
{
	if (t->heard != t->mark.heard || cpu != t->mark.cpu) {
		t->mark.heard = t->heard;
		t->mark.cpu = cpu;
		t->moved_us = now_us;
	} else if (now_us > t->moved_us + (int64_t)idle_s * 1000000) {
		t->idle = true;
		t->idle_s = idle_s;
		task_end(t, now_us);
	}
}

void task_end(struct task *t, int64_t now_us)
{
	if (t->pid && !t->reaped)
		kill(-t->pid, SIGTERM);
	t->end_us = now_us + (int64_t)GRACE_S * 1000000;
}

bool task_good(const struct task *t, const char **why, bool *again, bool *blocked)
{
	static char text[200];

	*again = *blocked = false;
	*why = t->error;
	if (t->reaped && WIFEXITED(t->status) && WEXITSTATUS(t->status) == 0 && !t->cut && !t->late && !t->idle && !t->cancelled)
		return true;
	if (t->cancelled) {
		*why = "it was cancelled";
	} else if (t->late) {
		snprintf(text, sizeof text, "it took longer than %d s and was ended", t->kind->limit_s);
		*why = text;
		*again = true;
	} else if (t->cut) {
		snprintf(text, sizeof text, "what it found out is longer than %d bytes and cannot be kept", TASK_LINE_MAX);
		*why = text;
	} else if (t->idle) {
		snprintf(text, sizeof text, "it used no CPU time and said nothing for %d s and was ended (setting job_idle_s)", t->idle_s);
		*why = text;
		*again = true;
	} else if (WIFSIGNALED(t->status)) {
		snprintf(text, sizeof text, "it was ended by signal %d (%s)", WTERMSIG(t->status), strsignal(WTERMSIG(t->status)));
		*why = text;
		*again = true;
	} else {
		*blocked = WEXITSTATUS(t->status) == EXIT_BLOCKED;
		*again = *blocked || WEXITSTATUS(t->status) == EXIT_RETRY;
		if (*blocked && *t->blocked) {
			*why = t->blocked;
		} else if (!*t->error) {
			snprintf(text, sizeof text, "the action ended with exit code %d and gave no reason; see the log", WEXITSTATUS(t->status));
			*why = text;
		}
	}
	return false;
}

/* ---- what an earlier worker has left ---- */

/* End every process that holds this lock file open. */
static void end_holders(const struct stat *lock)
{
	DIR *all = opendir("/proc"), *fds;
	struct dirent *p, *f;
	char path[300];
	struct stat st;

	while (all && (p = readdir(all))) {
		pid_t pid = (pid_t)atol(p->d_name);

		if (pid <= 0 || pid == getpid())
			continue;
		snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
		fds = opendir(path);
		while (fds && (f = readdir(fds))) {
			snprintf(path, sizeof path, "/proc/%d/fd/%.20s", (int)pid, f->d_name);
			if (stat(path, &st) == 0 && st.st_dev == lock->st_dev && st.st_ino == lock->st_ino) {
				kill(pid, SIGKILL);
				break;
			}
		}
		if (fds)
			closedir(fds);
	}
	if (all)
		closedir(all);
}

/* Have nobody hold a lock file, and remove it. False: somebody would not go. */
static bool release(const char *path)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000000L };
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC), looks = 0;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0 && looks++ < SWEEP_LOOKS) {
		if (fstat(fd, &st) == 0)
			end_holders(&st);
		nanosleep(&pause, NULL);
	}
	if (looks <= SWEEP_LOOKS)
		unlink(path);
	close(fd);
	return looks <= SWEEP_LOOKS;
}

bool task_sweep(const struct config *config)
{
	char folder[PATH_MAX - 300], path[PATH_MAX];
	DIR *locks;
	struct dirent *e;
	bool all = true;

	snprintf(folder, sizeof folder, "%s/jobs", config->worker_dir);
	if (!(locks = opendir(folder)))
		return false;
	while ((e = readdir(locks))) {
		snprintf(path, sizeof path, "%s/%.255s", folder, e->d_name);
		if (*e->d_name != '.' && !release(path)) {
			log_event("error", "action_remains", "job", e->d_name, NULL);
			all = false;
		}
	}
	closedir(locks);
	return all;
}

bool task_free(struct task *t, const struct config *config)
{
	char lock[PATH_MAX];
	bool released = true;

	shut(&t->out);
	shut(&t->err);
	if (t->lock >= 0) {
		contain_end(t->account, t->job);
		shut(&t->lock);
		lock_path(config, t->job, lock);
		released = release(lock); /* what left the action's process group still holds it */
	}
	buf_free(&t->log);
	buf_free(&t->line);
	buf_free(&t->err_line);
	json_object_put(t->result);
	*t = (struct task){ .out = -1, .err = -1, .lock = -1 };
	return released;
}
