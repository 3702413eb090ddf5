/* action.c: posternd as the action of one job, and what an action says; see action.h. */
#include "action.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "buf.h"
#include "json.h"

enum { DATA_MAX = 4 << 20, TEXT_MAX = 8192, BEAT_S = 2, EXIT_RETRY = 75, EXIT_BLOCKED = 69 /* EX_TEMPFAIL, EX_UNAVAILABLE of sysexits.h */ };

const struct kind *kind_find(const char *name)
{
	for (const struct kind *const *k = __start_postern_kinds; k < __stop_postern_kinds; k++)
		if (strcmp((*k)->name, name) == 0)
			return *k;
	return NULL;
}

/* A text that is too long is cut between characters. */
__attribute__((format(printf, 2, 0)))
static void write_text(char text[TEXT_MAX], const char *fmt, va_list args)
{
	size_t len = TEXT_MAX - 1;

	if (vsnprintf(text, TEXT_MAX, fmt, args) < TEXT_MAX)
		return;
	while (len && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
		len--;
	text[len - (len && (unsigned char)text[len - 1] >= 0xc0)] = '\0';
}

/* One JSON line: a member with a text, and perhaps a percentage. A line is one write, so that a kill leaves whole lines. */
__attribute__((format(printf, 3, 0)))
static void say(const char *member, int percent, const char *fmt, va_list args)
{
	char text[TEXT_MAX];
	struct buf line;

	write_text(text, fmt, args);
	buf_init(&line, 8 * TEXT_MAX);
	buf_char(&line, '{');
	if (percent >= 0)
		buf_printf(&line, "\"progress\":%d,", percent > 100 ? 100 : percent);
	buf_json(&line, member);
	buf_char(&line, ':');
	buf_json(&line, text);
	buf_str(&line, "}\n");
	if (!buf_failed(&line) && write(STDOUT_FILENO, line.data, line.len) < 0)
		_exit(EXIT_RETRY); /* nobody listens any more */
	buf_free(&line);
}

void action_progress(int percent, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("message", percent, fmt, args);
	va_end(args);
}

void action_log(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("log", -1, fmt, args);
	va_end(args);
}

/* The step at work. */
static struct { jmp_buf *back; bool last; char why[TEXT_MAX]; } step_now;

__attribute__((format(printf, 1, 0)))
static void end_step(const char *fmt, va_list args)
{
	jmp_buf *back = step_now.back;

	write_text(step_now.why, fmt, args);
	step_now.back = NULL;
	longjmp(*back, 1);
}

bool action_step(struct action *a, void (*step)(void *), void *arg, bool last, const char **why)
{
	jmp_buf back;

	step_now.last = last;
	if (setjmp(back) == 0) {
		step_now.back = &back;
		step(arg);
		step_now.back = NULL;
		return true;
	}
	*why = arena_strdup(a->arena, step_now.why);
	return false;
}

void action_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (step_now.back)
		end_step(fmt, args);
	say("error", -1, fmt, args);
	va_end(args);
	exit(1);
}

void action_retry(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (step_now.back && step_now.last)
		end_step(fmt, args);
	say("error", -1, fmt, args);
	va_end(args);
	exit(EXIT_RETRY);
}

void action_blocked(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("blocked", -1, fmt, args);
	va_end(args);
	exit(EXIT_BLOCKED);
}

static void still_here(int signal_number)
{
	(void)signal_number;
	if (write(STDOUT_FILENO, "\n", 1) < 0)
		_exit(EXIT_RETRY); /* nobody listens any more */
}

void action_waits(bool waits)
{
	const struct itimerval every = { { waits ? BEAT_S : 0, 0 }, { waits ? BEAT_S : 0, 0 } };
	const struct sigaction action = { .sa_handler = waits ? still_here : SIG_DFL, .sa_flags = SA_RESTART };

	if (waits)
		sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	if (!waits)
		sigaction(SIGALRM, &action, NULL);
}

void action_result(struct json_object *result)
{
	struct json_object *line = json_object_new_object();
	struct buf text;

	json_object_object_add(line, "result", result);
	buf_init(&text, DATA_MAX);
	buf_str(&text, json_object_to_json_string_ext(line, JSON_C_TO_STRING_PLAIN));
	buf_char(&text, '\n');
	if (buf_failed(&text))
		action_fail("what was found out is longer than %d bytes and cannot be kept", DATA_MAX);
	for (size_t at = 0; at < text.len;) {
		ssize_t n = write(STDOUT_FILENO, text.data + at, text.len - at);

		if (n < 0 && errno != EINTR)
			_exit(EXIT_RETRY);
		at += n > 0 ? (size_t)n : 0;
	}
	buf_free(&text);
	json_object_put(line);
}

struct json_object *action_value(struct action *a, const char *name)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(a->data, name, &value) ? value : NULL;
}

const char *action_text_or(struct action *a, const char *name, const char *absent)
{
	struct json_object *value = action_value(a, name);

	return value ? json_object_get_string(value) : absent;
}

const char *action_text(struct action *a, const char *name)
{
	const char *text = action_text_or(a, name, NULL);

	if (!text)
		action_fail("the job's data lack \"%s\"", name);
	return text;
}

int64_t action_int(struct action *a, const char *name, int64_t absent)
{
	struct json_object *value = action_value(a, name);

	return value ? json_object_get_int64(value) : absent;
}

bool action_bool(struct action *a, const char *name, bool absent)
{
	struct json_object *value = action_value(a, name);

	return value ? json_object_get_boolean(value) : absent;
}

const char *action_secret(struct action *a, const char *name)
{
	struct json_object *value = NULL;

	if (!a->secret || !json_object_object_get_ex(a->secret, name, &value) || !value)
		action_fail("the job's secret is not there any more; ask for the change again");
	return json_object_get_string(value);
}

static char *read_all(struct arena *arena, size_t *len)
{
	char *text = arena_alloc(arena, DATA_MAX);
	ssize_t n = 1;

	for (*len = 0; text && n > 0 && *len < DATA_MAX - 1; *len += n > 0 ? (size_t)n : 0)
		n = read(STDIN_FILENO, text + *len, DATA_MAX - 1 - *len);
	return n < 0 ? NULL : text;
}

/* LeakSanitizer asks this at the end. An action's memory lives as long as it does: what is left then is no leak. */
static bool acting;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return acting;
}

int action_lock = -1;

/* The one file beside the standard ones that posternd leaves open. */
static void find_lock(void)
{
	struct stat st;

	for (int fd = STDERR_FILENO + 1; fd < 256 && action_lock < 0; fd++)
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			action_lock = fd;
}

int action_main(const struct kind *kind)
{
	static struct action action;
	struct json_object *document, *value;
	const char *why = NULL, *text;
	size_t len, at = 0;

	find_lock();
	acting = true;
	action.arena = arena_new();
	text = action.arena ? read_all(action.arena, &len) : NULL;
	document = text ? json_parse(text, len, &why, &at) : NULL;
	if (!document)
		action_fail("the job on standard input is no JSON: %s", why ? why : "nothing there");
	if (!config_load(&action.config, NULL, stderr))
		action_fail("the settings cannot be read; postern config checks them");
	action.kind = kind->name;
	action.job = json_object_object_get_ex(document, "job", &value) ? json_object_get_string(value) : "";
	action.attempt = json_object_object_get_ex(document, "attempt", &value) ? json_object_get_int(value) : 1;
	if (!json_object_object_get_ex(document, "data", &action.data) || !json_object_is_type(action.data, json_type_object))
		action_fail("the job has no data");
	json_object_object_get_ex(document, "secret", &action.secret);
	kind->run(&action);
	return 0;
}
