/* command.c: programs that an action runs; see action.h. */
#include "action.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "contain.h"

enum { OUTPUT_MAX = 64 << 10, ERRORS_MAX = 64 << 10, COMPLAINT_MAX = 4 << 10, LINE_MAX_BYTES = 64 << 10, ENV_MAX = 32, PIPE_MAX = 8, NOT_STARTED = 127, LOOK_MS = 50 };
#define SEARCH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* One program while it runs. */
struct member {
	struct command *command;
	pid_t pid;
	int in, out, err;     /* our ends; -1: closed or none */
	size_t written;
	struct buf output, errors;
	int state;            /* as waitpid gives it */
	bool reaped;
};

/* In the new process: become what the command says, and run it. What cannot be done ends it. */
static _Noreturn void become(const struct action *a, const struct command *c, pid_t parent, int in, int out, int err)
{
	const char *env[ENV_MAX + 4] = { "PATH=" SEARCH, "LC_ALL=C.UTF-8" }, *why;
	char home[512], name[64]; /* a copy: getpwnam would write over its own answer to somebody else, and find the first user there is */
	size_t n = 2;
	struct passwd *user = NULL;

	if (c->user && ((size_t)snprintf(name, sizeof name, "%s", c->user) >= sizeof name || !(user = getpwnam(name)))) {
		dprintf(err, "there is no Unix user %s\n", c->user);
		_exit(NOT_STARTED);
	}
	if ((user || c->tenant) && !contain_join(&a->config, user ? user->pw_uid : geteuid(), &why)) {
		dprintf(err, "%s\n", why);
		_exit(NOT_STARTED);
	}
	if (user && user->pw_uid != geteuid() &&
	    (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
		dprintf(err, "cannot become user %s: %s\n", c->user, strerror(errno));
		_exit(NOT_STARTED);
	}
	/* after the change of user, which takes it back */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(NOT_STARTED);
	snprintf(home, sizeof home, "HOME=%s", user ? user->pw_dir : "/");
	env[n++] = home;
	for (const char *const *more = c->env; more && *more; more++) {
		if (n >= ENV_MAX + 3) {
			dprintf(err, "its environment has more than %d entries\n", ENV_MAX);
			_exit(NOT_STARTED);
		}
		env[n++] = *more;
	}
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0 ||
	    chdir(c->folder ? c->folder : "/") != 0) {
		dprintf(err, "%s: %s\n", c->folder ? c->folder : "/", strerror(errno));
		_exit(NOT_STARTED);
	}
	/* A tenant's process must not hold the job's lock: it dies with the action, and could else keep the lock for itself. Nor must
	 * a daemon, which would be ended with the job. */
	if ((user || c->daemon) && action_lock > 0)
		close(action_lock);
	if (c->daemon)
		setsid();
	signal(SIGPIPE, SIG_DFL);
	execvpe(c->argv[0], (char *const *)c->argv, (char *const *)env);
	fprintf(stderr, "%s: %s\n", c->argv[0], strerror(errno));
	_exit(NOT_STARTED);
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Start one; *input is what the one before writes, replaced by what this one does. */
static bool start(const struct action *a, struct member *m, int *input, bool last)
{
	struct command *c = m->command;
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	bool pipes_made = pipe2(err, O_CLOEXEC) == 0;
	pid_t parent = getpid();

	if (*input >= 0)
		in[0] = *input;
	else if (c->input_fd > 0)
		in[0] = fcntl(c->input_fd, F_DUPFD_CLOEXEC, 3);
	else if (c->input)
		pipes_made = pipes_made && pipe2(in, O_CLOEXEC) == 0;
	else
		in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (last && c->output_fd > 0)
		out[1] = fcntl(c->output_fd, F_DUPFD_CLOEXEC, 3);
	else
		pipes_made = pipes_made && pipe2(out, O_CLOEXEC) == 0;
	m->pid = pipes_made && in[0] >= 0 && out[1] >= 0 ? fork() : -1;
	if (m->pid == 0)
		become(a, c, parent, in[0], out[1], err[1]);
	shut(&in[0]);
	shut(&out[1]);
	shut(&err[1]);
	*input = last ? -1 : out[0];
	m->in = in[1];
	m->out = last ? out[0] : -1;
	m->err = err[0];
	if (m->in >= 0)
		fcntl(m->in, F_SETFL, O_NONBLOCK);
	return m->pid > 0;
}

/* Whole lines of stdout go to the command's function; the rest waits for its end. */
static void lines(struct member *m, bool end)
{
	char *at = m->output.data, *stop;

	if (!m->command->line || !at)
		return;
	while ((stop = strchr(at, '\n')) || (end && *at)) {
		if (stop)
			*stop = '\0';
		m->command->line(m->command->arg, at);
		at = stop ? stop + 1 : at + strlen(at);
	}
	m->output.len = m->output.len - (size_t)(at - m->output.data);
	memmove(m->output.data, at, m->output.len + 1);
	if (m->output.len >= LINE_MAX_BYTES)
		buf_clear(&m->output); /* no line of ours is that long */
}

/* Keep the end of what was said. */
static void keep_end(struct buf *b, const char *bytes, size_t n)
{
	buf_add(b, bytes, n);
	if (b->len > ERRORS_MAX) {
		memmove(b->data, b->data + b->len - ERRORS_MAX, ERRORS_MAX + 1);
		b->len = ERRORS_MAX;
	}
}

static void take_output(struct member *m)
{
	char bytes[16 << 10];
	size_t max = m->command->output_max ? m->command->output_max : OUTPUT_MAX;
	ssize_t n = read(m->out, bytes, sizeof bytes);

	if (n <= 0) {
		if (n == 0 || errno != EINTR)
			shut(&m->out);
		return;
	}
	for (char *c = bytes; m->command->line && c < bytes + n; c++)
		if (!*c)
			*c = ' '; /* lines are texts */
	m->command->cut |= !m->command->line && m->output.len + (size_t)n > max;
	if (m->command->line || m->output.len < max)
		buf_add(&m->output, bytes, m->command->line || max - m->output.len > (size_t)n ? (size_t)n : max - m->output.len);
	lines(m, false);
}

static void take_errors(struct member *m)
{
	char bytes[4 << 10];
	ssize_t n = read(m->err, bytes, sizeof bytes);

	if (n > 0)
		keep_end(&m->errors, bytes, (size_t)n);
	else if (n == 0 || errno != EINTR)
		shut(&m->err);
}

static void give_input(struct member *m)
{
	const struct command *c = m->command;
	ssize_t n = write(m->in, c->input + m->written, c->input_len - m->written);

	if (n > 0)
		m->written += (size_t)n;
	if ((n < 0 && errno != EINTR && errno != EAGAIN) || m->written >= c->input_len)
		shut(&m->in);
}

static void reap(struct member *m, int flags)
{
	pid_t pid;

	while (!m->reaped && m->pid > 0 && (pid = waitpid(m->pid, &m->state, flags)) != 0)
		m->reaped = pid == m->pid || errno != EINTR;
}

/* A program whose daemons keep its pipes: when it has ended, what it has said is there. */
static void let_go(struct member *m)
{
	struct pollfd fd = { .fd = m->out, .events = POLLIN };

	if (!m->command->daemon || m->reaped || (reap(m, WNOHANG), !m->reaped))
		return;
	while (m->out >= 0 && poll(&fd, 1, 0) > 0 && m->output.len < OUTPUT_MAX)
		take_output(m);
	fd.fd = m->err;
	if (m->err >= 0 && poll(&fd, 1, 0) > 0)
		take_errors(m);
	shut(&m->in);
	shut(&m->out);
	shut(&m->err);
}

/* Until every pipe is closed: feed, read. */
static void converse(struct member *members, size_t count)
{
	bool daemon = false;

	for (size_t i = 0; i < count; i++)
		daemon |= members[i].command->daemon;
	for (;;) {
		struct pollfd fds[3 * PIPE_MAX];
		bool open = false;

		for (size_t i = 0; i < count; i++) {
			fds[3 * i] = (struct pollfd){ .fd = members[i].in, .events = POLLOUT };
			fds[3 * i + 1] = (struct pollfd){ .fd = members[i].out, .events = POLLIN };
			fds[3 * i + 2] = (struct pollfd){ .fd = members[i].err, .events = POLLIN };
			open |= members[i].in >= 0 || members[i].out >= 0 || members[i].err >= 0;
		}
		if (!open)
			return;
		if (poll(fds, 3 * count, daemon ? LOOK_MS : -1) < 0)
			continue;
		for (size_t i = 0; i < count; i++) {
			let_go(&members[i]);
			if (members[i].in >= 0 && fds[3 * i].revents)
				give_input(&members[i]);
			if (members[i].out >= 0 && fds[3 * i + 1].revents)
				take_output(&members[i]);
			if (members[i].err >= 0 && fds[3 * i + 2].revents)
				take_errors(&members[i]);
		}
	}
}

static char *kept(struct arena *arena, const struct buf *b, size_t *len)
{
	char *text = arena_alloc(arena, b->len + 1); /* zeroed; the bytes may hold NULs */

	if (b->len && text)
		memcpy(text, b->data, b->len);
	if (len)
		*len = b->len;
	return text ? text : "";
}

bool command_pipe(struct action *a, struct command *commands, size_t count)
{
	struct member members[PIPE_MAX] = { 0 };
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	int input = -1;
	bool good = count > 0 && count <= PIPE_MAX;

	for (size_t i = 0; good && i < count; i++) {
		struct member *m = &members[i];

		m->command = &commands[i];
		m->in = m->out = m->err = -1;
		buf_init(&m->output, (m->command->output_max ? m->command->output_max : OUTPUT_MAX) + 2 * LINE_MAX_BYTES);
		buf_init(&m->errors, 4 * ERRORS_MAX);
		start(a, m, &input, i + 1 == count);
	}
	shut(&input);
	if (good)
		converse(members, count);
	for (size_t i = 0; i < count && i < PIPE_MAX; i++) {
		struct member *m = &members[i];
		struct command *c = &commands[i];

		c->status = NOT_STARTED;
		if (m->pid > 0) {
			reap(m, 0);
			c->status = WIFEXITED(m->state) ? WEXITSTATUS(m->state) : 128 + WTERMSIG(m->state);
		}
		lines(m, true);
		c->output = kept(a->arena, &m->output, &c->output_len);
		c->errors = kept(a->arena, &m->errors, NULL);
		buf_free(&m->output);
		buf_free(&m->errors);
		good &= c->status == 0;
	}
	signal(SIGPIPE, before);
	return good;
}

bool command_run(struct action *a, struct command *c)
{
	return command_pipe(a, c, 1);
}

static const char *line_after(const char *line)
{
	return line + strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n');
}

/* "\t/build/restic/main.go:12 +0x1d": the place of the function that the line before names. */
static bool is_place(const char *line)
{
	const char *go = *line == '\t' ? strstr(line, ".go:") : NULL;

	return go && go < line + strcspn(line, "\n");
}

/* What a Go program says without the stacks of its panics, which are nothing for people. */
static char *without_stacks(struct arena *arena, const char *errors)
{
	char *text = arena_alloc(arena, strlen(errors) + 1), *out = text;

	for (const char *line = errors, *next; text && *line; line = next) {
		next = line_after(line);
		if (is_place(line) || is_place(next) || strncmp(line, "goroutine ", 10) == 0)
			continue;
		memcpy(out, line, (size_t)(next - line));
		out += next - line;
	}
	return text;
}

const char *command_complaint(struct action *a, const struct command *c)
{
	char *text = without_stacks(a->arena, c->errors);
	size_t len = text ? strlen(text) : 0;

	if (len != strlen(c->errors))
		action_log("%s", c->errors);
	if (len > COMPLAINT_MAX)
		text += len - COMPLAINT_MAX;
	while (text && ((unsigned char)*text & 0xc0) == 0x80) /* a character that is cut */
		text++;
	len = text ? strlen(text) : 0;
	while (len && strchr(" \n\t", text[len - 1]))
		text[--len] = '\0';
	for (char *at = text; at && *at; at++)
		if ((unsigned char)*at < ' ')
			*at = ' ';
	if (len)
		return text;
	return c->status > 128 ? arena_printf(a->arena, "%s was ended by signal %d", c->argv[0], c->status - 128)
	                       : arena_printf(a->arena, "%s ended with exit code %d", c->argv[0], c->status);
}

void command_add(struct command *c, const char *word)
{
	size_t n = 0;

	while (c->argv[n])
		n++;
	if (n == COMMAND_ARGS_MAX - 1)
		action_fail("the command that begins with %s has more than %d words", c->argv[0], COMMAND_ARGS_MAX - 1);
	c->argv[n] = word;
	c->argv[n + 1] = NULL;
}

void command_split(struct action *a, const char *line, struct command *c)
{
	char *rest = arena_strdup(a->arena, line), *word;

	c->argv[0] = NULL;
	while (rest && (word = strsep(&rest, " ")))
		if (*word)
			command_add(c, word);
	if (!c->argv[0])
		action_fail("a setting that is to be a command is empty");
}
