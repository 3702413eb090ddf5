/* service.c: start, stop, restart and reload a system service: by systemd, by the administrator's command, or by signal. */
#include "service.h"

#include <poll.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const struct field present[] = {
	{ "name", F_TEXT, F_REQUIRED, "Its name, which the setting services must list", .max = 64 },
	{ 0 }
};

enum { STOP_S = 60, COME_S = 20, LOOK_MS = 50 };

static const char *member(struct json_object *o, const char *name)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(o, name, &value) && value ? json_object_get_string(value) : "";
}

/* A program that does not catch SIGHUP is ended by it. */
static bool catches_hup(struct action *a, pid_t pid)
{
	char line[256];
	unsigned long long caught = 0;
	FILE *f = fopen(arena_printf(a->arena, "/proc/%d/status", (int)pid), "re");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "SigCgt: %llx", &caught) == 1)
			break;
	if (f)
		fclose(f);
	return caught >> (SIGHUP - 1) & 1;
}

static void by_signal(struct action *a, const char *name, const char *path, bool stop)
{
	const char *problem = NULL;
	pid_t pid = 0;
	int fd = service_process(a, path, &pid, &problem);
	struct pollfd process = { .fd = fd, .events = POLLIN };

	if (fd < 0 && problem)
		action_fail("%s", problem);
	if (fd < 0 && stop)
		return; /* as it is to be */
	if (fd < 0)
		action_fail("%s does not run, by %s: start it first", name, path);
	if (!stop && !catches_hup(a, pid))
		action_fail("%s would be ended by SIGHUP, as it does not catch it; set service_command to the program that reloads it", name);
	if (syscall(SYS_pidfd_send_signal, fd, stop ? SIGTERM : SIGHUP, NULL, 0) != 0 && errno != ESRCH)
		action_fail("%s cannot be sent a signal: %s", name, strerror(errno));
	if (stop && poll(&process, 1, STOP_S * 1000) != 1)
		action_fail("%s was told to end, and still runs after %d s", name, STOP_S);
	close(fd);
}

static void run(struct action *a, const char *line, const char *first, const char *second, bool daemon)
{
	struct command c = { .argv = { NULL }, .daemon = daemon };

	command_split(a, line, &c);
	command_add(&c, first);
	command_add(&c, second);
	if (!command_run(a, &c))
		action_fail("%s", command_complaint(a, &c));
}

/* How it is in the end, for its row; a daemon may take a moment to write its pid file. */
static void found(struct action *a, const char *name, const char *verb)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	bool stop = strcmp(verb, "stop") == 0, systemd = service_has_systemd(&a->config), good = false, coming = true;
	struct json_object *list = NULL, *before, *result = json_object_new_object();
	const char *state = "";

	for (int look = 0; coming && look < COME_S * 1000 / LOOK_MS; look++) {
		if (look)
			nanosleep(&pause, NULL);
		before = list;
		list = service_look(a, name, before);
		json_object_put(before);
		state = member(json_object_array_get_idx(list, 0), "state");
		if (systemd) /* which has waited for it, and knows services that end when they have done their work */
			good = strcmp(state, "failed") != 0;
		else
			good = strcmp(state, "unknown") == 0 || (strcmp(state, "active") == 0) != stop;
		coming = !good && !systemd;
	}
	json_object_object_add(result, "services", list);
	action_result(result);
	if (!good)
		action_fail("%s was told to %s, and is %s: %s", name, verb, state,
		            systemd ? "journalctl says why" : "its own log says why");
}

static void act(struct action *a)
{
	const char *name = action_text(a, "name"), *verb = strchr(a->kind, '.') + 1, *path = NULL;
	bool stop = strcmp(verb, "stop") == 0, signal_does = stop || strcmp(verb, "reload") == 0;

	if (!service_listed(a, name, &path))
		action_fail("%s is not listed in the setting services", name);
	if (service_has_systemd(&a->config))
		run(a, arena_printf(a->arena, "%s --no-ask-password %s --", a->config.systemctl_command, verb), arena_printf(a->arena, "%s.service", name), NULL, false);
	else if (*a->config.service_command)
		run(a, a->config.service_command, name, verb, true);
	else if (!signal_does)
		action_fail("there is no systemd here: set service_command to a program that %ss services, such as /usr/sbin/service", verb);
	else if (!path)
		action_fail("there is no systemd here: name the pid file of %s in the setting services, or set service_command", name);
	else
		by_signal(a, name, path, stop);
	found(a, name, verb);
}

#define KIND(verb, about) \
	static const struct kind service_##verb = { "service." #verb, about, 180, 1, present, act }; \
	POSTERN_KIND(service_##verb)
KIND(start, "Start a system service");
KIND(stop, "Stop a system service");
KIND(restart, "Restart a system service");
KIND(reload, "Have a system service read its settings again");
