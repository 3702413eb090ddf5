/* cron.c: see cron.h. */
#include "cron.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "action.h"
#include "log.h"
#include "timestamp.h"
#include "utf8.h"

enum { HEAD_MAX = 128, READS_MAX = 64, NAMES_MAX = 1000, TAKEN_MAX = 20, ID_DIGITS = 18 };
#define HEAD "postern-cron 1 "
#define DAY_US (INT64_C(86400) * 1000000)

/* ---- the run, as the account's Unix user ---- */

struct tail { char bytes[2 * CRON_OUTPUT_MAX]; size_t len; };

/* Read once, keep the end. False: nothing more, for now or for ever. */
static bool read_on(int fd, struct tail *t)
{
	ssize_t n;

	if (t->len > CRON_OUTPUT_MAX) {
		memmove(t->bytes, t->bytes + t->len - CRON_OUTPUT_MAX, CRON_OUTPUT_MAX);
		t->len = CRON_OUTPUT_MAX;
	}
	do
		n = read(fd, t->bytes + t->len, sizeof t->bytes - t->len);
	while (n < 0 && errno == EINTR);
	t->len += n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool leave(const char *path, int64_t started_us, int exit_code, const struct tail *t)
{
	static char bytes[HEAD_MAX + CRON_OUTPUT_MAX];
	const char *slash = strrchr(path, '/');
	size_t kept = t->len < CRON_OUTPUT_MAX ? t->len : CRON_OUTPUT_MAX;
	int len = snprintf(bytes, HEAD_MAX, HEAD "%" PRId64 " %" PRId64 " %d\n", started_us, timestamp_now(), exit_code), folder;
	char *above = slash && slash > path ? strndup(path, (size_t)(slash - path)) : NULL;
	bool done;

	memcpy(bytes + len, t->bytes + t->len - kept, kept);
	folder = above ? open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	done = folder >= 0 && file_write(folder, slash + 1, bytes, (size_t)len + kept, 0600, (uid_t)-1, (gid_t)-1);
	if (folder >= 0)
		close(folder);
	free(above);
	return done;
}

/* Until the command has ended; what it has put into the background may hold the pipe for longer. */
static int see_end(pid_t pid, int out, struct tail *t)
{
	int handle = (int)syscall(SYS_pidfd_open, pid, 0), state = 0;
	struct pollfd fds[] = { { .fd = out, .events = POLLIN }, { .fd = handle, .events = POLLIN } };

	while (handle >= 0 && !fds[1].revents) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents && !read_on(out, t) && fds[0].revents & POLLHUP)
			fds[0].fd = -1;
	}
	while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	for (int i = 0; i < READS_MAX && read_on(out, t); i++)
		;
	if (handle >= 0)
		close(handle);
	return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

/* Somebody has to hear what is left in the background, or its next word would be its end. */
static void hear_the_rest(int out)
{
	char bytes[4096];
	struct pollfd fd = { .fd = out, .events = POLLIN };
	int nothing;

	if ((poll(&fd, 1, 0) == 1 && fd.revents & POLLHUP) || fork() != 0)
		return;
	nothing = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3 && nothing >= 0; i++)
		dup2(nothing, i);
	fcntl(out, F_SETFL, 0);
	while (read(out, bytes, sizeof bytes) > 0)
		;
	_exit(0);
}

int cron_run(const char *result, const char *command)
{
	static struct tail t;
	int64_t started_us = timestamp_now();
	int out[2], code;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		perror("posternd --cron-run");
		return 126;
	}
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		perror("/bin/sh");
		_exit(127);
	}
	close(out[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	signal(SIGPIPE, SIG_IGN);
	code = see_end(pid, out[0], &t);
	if (!leave(result, started_us, code, &t) && !leave(result, started_us, code, &t)) /* two may end at once */
		fprintf(stderr, "%s: %s\n", result, strerror(errno));
	hear_the_rest(out[0]);
	return code;
}

/* ---- its result, which the user may have written ---- */

/* As text that a database takes and a terminal bears. Returns where it begins: not within a character. */
static char *readable(char *text, size_t len)
{
	char *begin = text, *end = text + len;

	while (begin < end && begin < text + 3 && ((unsigned char)*begin & 0xc0) == 0x80)
		begin++;
	for (char *at = begin; at < end;) {
		size_t n = utf8_sequence(at, (size_t)(end - at));

		if (n == 0 || *at == 0x7f || ((unsigned char)*at < ' ' && (!*at || !strchr("\t\n\r", *at)))) {
			*at = '?';
			n = 1;
		}
		at += n;
	}
	return begin;
}

static bool number(const char **at, int64_t max, int64_t *n)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*n = strtoll(*at, &end, 10);
	*at = end;
	return errno == 0 && *n <= max;
}

static bool understood(char *text, size_t len, struct cron_result *r)
{
	const char *at = text + strlen(HEAD);
	int64_t now = timestamp_now(), code;

	if (len <= strlen(HEAD) || strncmp(text, HEAD, strlen(HEAD)) != 0 || !number(&at, now + DAY_US, &r->started_us) || *at++ != ' ' ||
	    !number(&at, now + DAY_US, &r->finished_us) || *at++ != ' ' || !number(&at, 255, &code) || *at++ != '\n')
		return false;
	if (r->finished_us < r->started_us) /* the clock was set back */
		r->finished_us = r->started_us;
	r->exit_code = (int)code;
	r->output = readable(text + (at - text), len - (size_t)(at - text));
	return true;
}

bool cron_take(struct arena *arena, int folder, const char *name, struct cron_result *r)
{
	static const char taken[] = ".taken"; /* so that the next run's result is another one's */
	struct stat above, st;
	char *text = NULL;
	size_t len = 0;
	ssize_t n = 1;
	int fd;

	if (fstat(folder, &above) != 0 || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || renameat(folder, name, folder, taken) != 0)
		return false;
	/* which it may no longer be: a pipe would keep us waiting, a link would lead elsewhere; another's file would be shown to this one */
	fd = file_open_beneath(folder, taken, O_RDONLY | O_NONBLOCK, 0);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == above.st_uid && st.st_nlink == 1 && st.st_size > 0 &&
	    st.st_size <= HEAD_MAX + CRON_OUTPUT_MAX)
		text = arena_alloc(arena, (size_t)st.st_size + 1);
	while (text && n > 0 && len < (size_t)st.st_size) {
		n = read(fd, text + len, (size_t)st.st_size - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	unlinkat(folder, taken, 0);
	return text && n >= 0 && understood(text, len, r);
}

/* ---- collecting ---- */

static const struct db_stmt note = {
	"cron_note", "SELECT cron.note_run($1::text, $2::bigint, $3::bigint, $4::bigint, $5::int, $6::text)", 6, 1
};
static const struct db_stmt tick = { "cron_tick", "SELECT cron.tick($1::text)", 1, 1 };

static bool is_number(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= ID_DIGITS && strspn(name, "0123456789") == len;
}

/* One account's results, at most so many in a round, that it keeps no others waiting. Returns how many; -1: PostgreSQL is away. */
static int collect_from(struct db *db, int root, const char *user)
{
	int fd = file_open_beneath(root, user, O_RDONLY | O_DIRECTORY, 0), count = 0;
	DIR *names = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	for (int looks = 0; names && count >= 0 && count < TAKEN_MAX && looks < NAMES_MAX && (e = readdir(names)); looks++) {
		struct arena *own = is_number(e->d_name) ? arena_new() : NULL; /* each output is as large as it is */
		struct cron_result r;

		if (own && cron_take(own, dirfd(names), e->d_name, &r)) {
			struct db_value values[] = {
				db_text(user), db_int8(own, strtoll(e->d_name, NULL, 10)), db_int8(own, r.started_us), db_int8(own, r.finished_us),
				db_int4(own, r.exit_code), db_text(r.output)
			};

			count = db_ran(db, &note, values, NULL, own) ? count + 1 : -1;
		}
		arena_free(own);
	}
	if (names)
		closedir(names);
	else if (fd >= 0)
		close(fd);
	return count;
}

void cron_collect(const struct config *config, struct db *db, struct arena *arena)
{
	int fd = open(config->cron_results_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), count = 0;
	DIR *users = fd >= 0 ? fdopendir(fd) : NULL;
	char zone[TIMESTAMP_ZONE_MAX];
	struct dirent *e;
	struct stat st;

	if (users && (fstat(fd, &st) != 0 || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)))
		log_event("error", "not_collected", "folder", config->cron_results_dir, "message", "it must belong to posternd's user, who alone may write it", NULL);
	else
		while (users && count >= 0 && (e = readdir(users)))
			if (*e->d_name != '.')
				count = collect_from(db, fd, e->d_name);
	if (users)
		closedir(users);
	else if (fd >= 0)
		close(fd);
	db_ran(db, &tick, (struct db_value[]){ db_text(timestamp_zone(zone)) }, NULL, arena);
}
