/* watch.c: see watch.h. */
#include "watch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "action.h"
#include "actions/database.h"
#include "contain.h"
#include "json.h"
#include "log.h"
#include "machine.h"
#include "service.h"

enum { SAID_MAX = 1 << 20, LIMIT_S = 30 };
#define SECOND ((int64_t)1000000)

/* By what a machine is judged (sql/functions/20_server-health.sql), as the settings say now. */
static struct json_object *limits(const struct config *c)
{
	const struct { const char *name; int value; } all[] = {
		{ "watch_s", c->watch_s }, { "disk_warning_pct", c->disk_warning_pct }, { "disk_critical_pct", c->disk_critical_pct },
		{ "memory_warning_pct", c->memory_warning_pct }, { "memory_critical_pct", c->memory_critical_pct },
		{ "swap_warning_pct", c->swap_warning_pct }, { "load_warning_pct", c->load_warning_pct }, { "load_critical_pct", c->load_critical_pct },
		{ "connections_warning_pct", c->connections_warning_pct }, { "connections_critical_pct", c->connections_critical_pct },
		{ "transaction_warning_s", c->transaction_warning_s }, { "replication_warning_s", c->replication_warning_s },
		{ "queue_warning_s", c->queue_warning_s }, { "queue_critical_s", c->queue_critical_s },
		{ "certificate_warning_days", c->certificate_warning_days }, { "certificate_critical_days", c->certificate_critical_days },
		{ "backup_warning_h", c->backup_warning_h ? c->backup_warning_h : 2 * c->backup_every_h },
	};
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		json_object_object_add(o, all[i].name, json_object_new_int(all[i].value));
	return o;
}

/* Note the version that follows `before` in each path that the pattern finds. */
static void note_versions(const char *pattern, size_t before, struct json_object *versions)
{
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *at = found.gl_pathv[i] + before;
		size_t len = strspn(at, "0123456789."), n = json_object_array_length(versions), k = 0;
		char version[16];

		if (!len || len >= sizeof version || !isdigit((unsigned char)at[len - 1]))
			continue;
		snprintf(version, sizeof version, "%.*s", (int)len, at);
		while (k < n && strcmp(json_object_get_string(json_object_array_get_idx(versions, k)), version) != 0)
			k++;
		if (k == n)
			json_object_array_add(versions, json_object_new_string(version));
	}
	globfree(&found);
}

/* The versions of PHP that are there: programs of PHP-FPM where Debian has them, and sockets where the setting says. */
static struct json_object *php_versions(const struct config *c)
{
	struct json_object *versions = json_object_new_array();
	const char *version = strstr(c->php_socket, "%v");
	char pattern[1024];
	size_t n = 0;

	note_versions("/usr/sbin/php-fpm[0-9]*", strlen("/usr/sbin/php-fpm"), versions);
	for (const char *at = c->php_socket; *at && n < sizeof pattern - 1; at++)
		if (strncmp(at, "%v", 2) == 0 || strncmp(at, "%u", 2) == 0) {
			pattern[n++] = '*';
			at++;
		} else {
			pattern[n++] = *at;
		}
	pattern[n] = '\0';
	if (version && !memchr(c->php_socket, '%', (size_t)(version - c->php_socket)))
		note_versions(pattern, (size_t)(version - c->php_socket), versions);
	return versions;
}

/* In the new process: look, say it, end. It keeps nothing of posternd's but this pipe: no lock, no connection. */
static _Noreturn void look(const struct config *config, struct json_object *before, int out, pid_t parent)
{
	static struct action action;
	struct json_object *found = json_object_new_object(), *facts = NULL, *services = NULL;
	const char *text;
	sigset_t none;
	size_t len;

	if (dup2(out, STDOUT_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	databases_end_long_transactions(config);
	action.config = *config;
	action.arena = arena_new();
	if (before) {
		json_object_object_get_ex(before, "facts", &facts);
		json_object_object_get_ex(before, "services", &services);
	}
	facts = machine_facts(facts);
	json_object_object_add(facts, "containment", contain_facts());
	json_object_object_add(facts, "php", php_versions(config));
	json_object_object_add(facts, "app_sockets_dir", json_object_new_string(config->app_sockets_dir));
	json_object_object_add(found, "facts", facts);
	json_object_object_add(found, "services", service_look(&action, NULL, services));
	text = json_object_to_json_string_ext(found, JSON_C_TO_STRING_PLAIN);
	for (len = strlen(text); len;) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno != EINTR)
			_exit(1);
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	_exit(0);
}

static void begin(struct watch *w, const struct config *config, int64_t now)
{
	int ends[2];
	pid_t parent = getpid();

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return;
	fcntl(ends[1], F_SETFL, 0);
	buf_init(&w->said, SAID_MAX);
	w->begun_us = now;
	w->fd = ends[0];
	if ((w->pid = fork()) == 0)
		look(config, w->before, ends[1], parent);
	close(ends[1]);
	if (w->pid < 0) {
		close(w->fd);
		w->fd = -1;
		w->pid = 0;
	}
}

static void stop_listening(struct watch *w)
{
	if (w->pid && w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

/* Read what is there; true when it has said all. */
static bool heard(struct watch *w)
{
	char bytes[16 << 10];
	ssize_t n;

	while (w->fd >= 0 && (n = read(w->fd, bytes, sizeof bytes)) != 0) {
		if (n < 0)
			return false; /* not yet */
		buf_add(&w->said, bytes, (size_t)n);
	}
	return w->fd >= 0;
}

/* `age_ms`: of what was found; -1: nothing was. */
static const char *told(struct watch *w, const struct config *config, struct arena *arena, int64_t age_ms)
{
	struct json_object *o = json_object_new_object(), *facts = NULL, *services = NULL;
	char *text;

	json_object_object_add(o, "limits", limits(config));
	json_object_object_add(o, "domain_proof", json_object_new_string(config->domain_proof));
	if (age_ms >= 0 && json_object_object_get_ex(w->before, "facts", &facts) && json_object_object_get_ex(w->before, "services", &services)) {
		json_object_object_add(o, "facts", json_object_get(facts));
		json_object_object_add(o, "services", json_object_get(services));
		json_object_object_add(o, "age_ms", json_object_new_int64(age_ms));
	}
	text = arena_strdup(arena, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	return text;
}

const char *watch_round(struct watch *w, const struct config *config, struct arena *arena, int64_t now)
{
	const char *why = NULL;
	struct json_object *found;
	size_t at;

	if (w->pid && heard(w)) {
		found = buf_failed(&w->said) || !w->said.len ? NULL : json_parse(w->said.data, w->said.len, &why, &at);
		stop_listening(w);
		buf_free(&w->said);
		if (json_object_is_type(found, json_type_object)) {
			json_object_put(w->before);
			w->before = found;
			return told(w, config, arena, (now - w->begun_us) / 1000);
		}
		json_object_put(found);
		log_event("error", "look_failed", "message", why ? why : "the process that looks at this machine has said nothing", NULL);
	}
	if (w->pid && w->fd < 0 && waitpid(w->pid, NULL, WNOHANG) != 0)
		w->pid = 0;
	if (w->pid && w->fd >= 0 && now >= w->begun_us + LIMIT_S * SECOND) { /* it may be beyond the reach of a signal, too: then it is waited for */
		log_event("error", "look_hangs", "message", "looking at this machine takes too long; does a file system or a service's command hang?", NULL);
		kill(w->pid, SIGKILL);
		stop_listening(w);
		buf_free(&w->said);
	}
	if (now < w->due_us)
		return NULL;
	w->due_us = now + config->watch_s * SECOND;
	if (w->pid)
		return told(w, config, arena, -1);
	begin(w, config, now);
	return NULL;
}

void watch_end(struct watch *w)
{
	if (w->pid) {
		kill(w->pid, SIGKILL);
		stop_listening(w);
	}
	buf_free(&w->said);
	json_object_put(w->before);
}
