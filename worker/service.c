/* service.c: see service.h. */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "timestamp.h"

enum { SERVICES_MAX = CONFIG_SERVICES_MAX, SHOWN_MAX = 1 << 20, LATER_S = 2 };

/* ---- what is listed ---- */

struct listed { const char *name, *path; };

static size_t read_list(struct action *a, struct listed list[SERVICES_MAX])
{
	char *rest = arena_strdup(a->arena, a->config.services), *word, *colon;
	size_t n = 0;

	while (rest && n < SERVICES_MAX && (word = strsep(&rest, " "))) {
		if (!*word)
			continue;
		if ((colon = strchr(word, ':')))
			*colon++ = '\0';
		list[n++] = (struct listed){ word, colon };
	}
	return n;
}

bool service_listed(struct action *a, const char *name, const char **path)
{
	struct listed list[SERVICES_MAX];
	size_t n = read_list(a, list);

	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0) {
			*path = list[i].path;
			return true;
		}
	return false;
}

bool service_has_systemd(const struct config *c)
{
	struct stat st;

	if (strcmp(c->service_manager, "auto") != 0)
		return strcmp(c->service_manager, "systemd") == 0;
	return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode); /* as sd_booted(3) finds out */
}

/* ---- its process ---- */

static const char *said(struct action *a, const char *path, const char *what)
{
	return arena_printf(a->arena, "%s %s", path, what);
}

/* Who listens at a socket: the kernel noted it when it began to (SO_PEERCRED). False: nobody. */
static bool peer_of(struct action *a, const char *path, pid_t *pid, const char **problem)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred peer = { 0 };
	socklen_t size = sizeof peer;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool listens = false;

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd < 0 || strlen(path) >= sizeof address.sun_path)
		*problem = said(a, path, "is too long for a socket; name a pid file");
	else if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN)
		listens = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
	if (fd >= 0)
		close(fd);
	*pid = peer.pid;
	return listens;
}

/*
 * The number in a pid file. Whoever may write it decides whom a signal reaches: so nobody but its owner may, and the process must
 * be the owner's unless that is root or we ourselves. One that began after the file was written has got the number from another.
 */
static pid_t pid_in(struct action *a, const char *path, struct stat *file, const char **problem)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = -1;
	char *end;
	long pid;

	if (fd < 0) {
		if (errno != ENOENT)
			*problem = said(a, path, errno == ELOOP ? "is a symbolic link; name the file itself" : strerror(errno));
		return 0;
	}
	if (fstat(fd, file) != 0 || !S_ISREG(file->st_mode))
		*problem = said(a, path, "is no file");
	else if (file->st_mode & (S_IWGRP | S_IWOTH))
		*problem = said(a, path, "may be written by others than its owner; it is not believed");
	else
		n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n < 0)
		return 0;
	pid = strtol(text, &end, 10);
	if (end == text || pid <= 1 || pid > 1 << 22 || (*end && !strchr(" \n\r", *end))) {
		*problem = n ? said(a, path, "holds no process number") : NULL;
		return 0;
	}
	return (pid_t)pid;
}

static bool is_older(const struct processes *all, pid_t pid, const struct stat *file)
{
	const struct process *p = processes_find(all, pid);

	return p && pid > 1 && p->started_s <= file->st_mtime + LATER_S;
}

static bool is_owners(struct action *a, const char *path, const struct stat *file, pid_t pid, const char **problem)
{
	struct stat owner;

	if (stat(arena_printf(a->arena, "/proc/%d", (int)pid), &owner) != 0)
		return false;
	if (file->st_uid == 0 || file->st_uid == geteuid() || file->st_uid == owner.st_uid)
		return true;
	*problem = said(a, path, "names a process of another user than the file's owner; it is not believed");
	return false;
}

/* Does it run? *pid is its process; 0 where only its socket tells, as who began to listen there has gone and left it to a child. */
static bool runs(struct action *a, const char *path, struct processes *all, pid_t *pid, const char **problem)
{
	struct stat st;
	bool socket = lstat(path, &st) == 0 && S_ISSOCK(st.st_mode), listens = false;

	*pid = 0;
	*problem = NULL;
	if (socket)
		listens = peer_of(a, path, pid, problem);
	else
		*pid = pid_in(a, path, &st, problem);
	if (*pid && !all->count)
		*all = processes_read();
	if (*pid && !(is_older(all, *pid, &st) && (socket || is_owners(a, path, &st, *pid, problem))))
		*pid = 0;
	return listens || *pid;
}

int service_process(struct action *a, const char *path, pid_t *pid, const char **problem)
{
	struct processes all = { 0 };
	pid_t first;
	int fd = -1;

	if (runs(a, path, &all, &first, problem) && !first)
		*problem = said(a, path, "tells that it runs, but not by which process; name its pid file instead");
	if (first)
		fd = (int)syscall(SYS_pidfd_open, first, 0);
	processes_free(&all);
	if (fd >= 0) { /* what it stands for now cannot become another's; is it still the service? */
		runs(a, path, &all, pid, problem);
		processes_free(&all);
		if (*pid != first) {
			close(fd);
			fd = -1;
		}
	}
	return fd;
}

/* ---- what is told of it ---- */

static void put_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, text && *text ? json_object_new_string(text) : NULL);
}
static void put_int(struct json_object *o, const char *name, int64_t n)
{
	json_object_object_add(o, name, json_object_new_int64(n));
}
static const char *text_of(struct json_object *o, const char *name)
{
	struct json_object *value = NULL;

	return o && json_object_object_get_ex(o, name, &value) && value ? json_object_get_string(value) : NULL;
}

static struct json_object *same_before(struct json_object *before, const char *name)
{
	for (size_t i = 0; before && i < json_object_array_length(before); i++) {
		struct json_object *o = json_object_array_get_idx(before, i);
		const char *its = text_of(o, "name");

		if (its && strcmp(its, name) == 0)
			return o;
	}
	return NULL;
}

/* Debian's version of what runs, by the package that its file belongs to. One that was replaced meanwhile keeps its own. */
static void put_version(struct action *a, struct json_object *o, pid_t pid, struct json_object *before)
{
	char exe[1024] = "";
	const char *was = text_of(before, "program"), *version = NULL, *gone;
	ssize_t n = readlink(arena_printf(a->arena, "/proc/%d/exe", (int)pid), exe, sizeof exe - 1);
	struct command find = { .argv = { "dpkg-query", "-S", exe, NULL } }, show = { .argv = { "dpkg-query", "-W", "-f=${Version}", NULL, NULL } };
	char *colon;

	if (n <= 0 || *exe != '/')
		return;
	gone = strstr(exe, " (deleted)");
	if (was && (strcmp(was, exe) == 0 || (gone && strncmp(was, exe, (size_t)(gone - exe)) == 0))) {
		put_text(o, "program", was);
		put_text(o, "version", text_of(before, "version"));
		return;
	}
	if (!gone && (command_run(a, &find) || (strncmp(exe, "/usr/", 5) == 0 && (find.argv[2] = exe + 4, command_run(a, &find)))) &&
	    (colon = strstr(find.output, ": "))) {
		*colon = '\0';
		find.output[strcspn(find.output, ",")] = '\0';
		show.argv[3] = find.output;
		if (command_run(a, &show))
			version = show.output;
	}
	put_text(o, "program", exe);
	put_text(o, "version", version);
}

static void put_process(struct action *a, struct json_object *o, pid_t pid, struct processes *all, struct json_object *before)
{
	int64_t cpu_ms, memory;

	if (!all->count)
		*all = processes_read();
	put_int(o, "pid", pid);
	processes_sum(all, pid, &cpu_ms, &memory);
	put_int(o, "cpu_ms", cpu_ms);
	put_int(o, "memory_bytes", memory);
	put_version(a, o, pid, before);
}

/* ---- systemd ---- */

/* "Sat 2026-11-21 09:05:56 UTC": so it writes them where TZ says UTC. */
static void put_time(struct json_object *o, const char *name, const char *text)
{
	struct tm tm = { 0 };
	char out[TIMESTAMP_TEXT_MAX];

	if (!text || sscanf(text, "%*s %d-%d-%d %d:%d:%d UTC", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	timestamp_format((int64_t)timegm(&tm) * 1000000, out);
	put_text(o, name, out);
}

/* The block of a unit in what `systemctl show` printed: its properties as an object. */
static struct json_object *block_of(char *output, const char *unit)
{
	for (char *at = output; *at;) {
		char *end = strstr(at, "\n\n"), *next = end ? end + 2 : at + strlen(at), *line, *equals;
		struct json_object *o = json_object_new_object();
		const char *names;
		size_t len = strlen(unit);

		for (line = at; line < next && *line && *line != '\n';) {
			size_t n = strcspn(line, "\n");

			if ((equals = memchr(line, '=', n))) {
				char name[64];

				snprintf(name, sizeof name, "%.*s", (int)(equals - line), line);
				json_object_object_add(o, name, json_object_new_string_len(equals + 1, (int)(line + n - equals - 1)));
			}
			line += n + (line[n] == '\n');
		}
		names = text_of(o, "Names");
		for (const char *found = names; found && (found = strstr(found, unit)); found += len)
			if ((found == names || found[-1] == ' ') && (found[len] == ' ' || !found[len]))
				return o;
		json_object_put(o);
		at = next;
	}
	return NULL;
}

static int64_t number_of(struct json_object *o, const char *name)
{
	const char *text = text_of(o, name);
	char *end;
	long long n = text ? strtoll(text, &end, 10) : -1;

	return text && end != text && !*end && n != INT64_MAX ? n : -1; /* "[not set]", or so large that it means that */
}

/* Of systemd's words for states, those that the API has. */
static bool is_known(const char *state)
{
	static const char *const words[] = { "active", "reloading", "activating", "deactivating", "inactive", "failed" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(words[i], state) == 0)
			return true;
	return false;
}

static void read_unit(struct action *a, struct json_object *o, const char *name, struct json_object *unit, struct processes *all, struct json_object *before)
{
	const char *state = text_of(unit, "ActiveState"), *loaded = text_of(unit, "LoadState"), *enabled = text_of(unit, "UnitFileState"), *result = text_of(unit, "Result");
	bool active = state && (strcmp(state, "active") == 0 || strcmp(state, "reloading") == 0);
	int64_t pid = number_of(unit, "MainPID"), cpu = number_of(unit, "CPUUsageNSec"), memory = number_of(unit, "MemoryCurrent");

	if (!unit || !state) {
		put_text(o, "state", "unknown");
		put_text(o, "problem", "systemd does not tell how it is");
		return;
	}
	if (loaded && strcmp(loaded, "not-found") == 0) {
		put_text(o, "state", "not_found");
		put_text(o, "problem", arena_printf(a->arena, "systemd knows no %s.service; correct its name in the setting services", name));
		return;
	}
	put_text(o, "state", is_known(state) ? state : "unknown");
	if (!is_known(state))
		put_text(o, "problem", arena_printf(a->arena, "systemd says that it is %s; systemctl status %s says more", state, name));
	put_text(o, "description", text_of(unit, "Description"));
	put_time(o, "since", text_of(unit, active ? "ActiveEnterTimestamp" : "InactiveEnterTimestamp"));
	if (enabled && strncmp(enabled, "enabled", 7) == 0)
		json_object_object_add(o, "enabled", json_object_new_boolean(true));
	else if (enabled && (strncmp(enabled, "disabled", 8) == 0 || strncmp(enabled, "masked", 6) == 0))
		json_object_object_add(o, "enabled", json_object_new_boolean(false));
	if (strcmp(state, "failed") == 0)
		put_text(o, "problem", arena_printf(a->arena, "it failed (%s); journalctl -u %s says more", result ? result : "", name));
	if (pid > 0)
		put_process(a, o, (pid_t)pid, all, before);
	if (cpu >= 0)
		put_int(o, "cpu_ms", cpu / 1000000);
	if (memory >= 0)
		put_int(o, "memory_bytes", memory);
}

static const char *ask_systemd(struct action *a, const struct listed *list, size_t n, const char *only, char **output)
{
	struct command show = { .argv = { NULL }, .env = (const char *const[]){ "TZ=UTC", NULL }, .output_max = SHOWN_MAX };
	static const char *const words[] = { "show", "--no-pager",
		"--property=Id,Names,Description,LoadState,ActiveState,Result,UnitFileState,MainPID,MemoryCurrent,CPUUsageNSec",
		"--property=ActiveEnterTimestamp,InactiveEnterTimestamp", "--" };

	*output = "";
	command_split(a, a->config.systemctl_command, &show);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		command_add(&show, words[i]);
	for (size_t i = 0; i < n; i++)
		if (!only || strcmp(only, list[i].name) == 0)
			command_add(&show, arena_printf(a->arena, "%s.service", list[i].name));
	if (!command_run(a, &show))
		return arena_printf(a->arena, "systemd cannot be asked: %s", command_complaint(a, &show));
	*output = show.output;
	return NULL;
}

/* ---- where there is no systemd ---- */

/* Debian's init scripts say what they are, and their links say whether they are started at boot. */
static void read_script(struct action *a, struct json_object *o, const char *name)
{
	const char *path = arena_printf(a->arena, "/etc/init.d/%s", name);
	char line[1024];
	FILE *f = strchr(name, '@') ? NULL : fopen(path, "re");
	glob_t links;

	if (!f)
		return;
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "# Short-Description:", 20) == 0) {
			line[strcspn(line, "\n")] = '\0';
			put_text(o, "description", line + 20 + strspn(line + 20, " \t"));
			break;
		}
	fclose(f);
	json_object_object_add(o, "enabled", json_object_new_boolean(
		glob(arena_printf(a->arena, "/etc/rc[2345].d/S[0-9][0-9]%s", name), GLOB_NOSORT, NULL, &links) == 0));
	globfree(&links);
}

static void read_files(struct action *a, struct json_object *o, const struct listed *l, struct processes *all, struct json_object *before)
{
	const char *problem = NULL;
	char at[TIMESTAMP_TEXT_MAX];
	const struct process *p;
	pid_t pid;

	read_script(a, o, l->name);
	if (!l->path) {
		put_text(o, "state", "unknown");
		put_text(o, "problem", arena_printf(a->arena, "there is no systemd here, and nothing else tells how it is; name its pid file: services = %s:/run/%s.pid",
		                                    l->name, l->name));
		return;
	}
	put_text(o, "state", runs(a, l->path, all, &pid, &problem) ? "active" : problem ? "unknown" : "inactive");
	put_text(o, "problem", problem);
	if (!pid)
		return;
	put_process(a, o, pid, all, before);
	if ((p = processes_find(all, pid))) {
		timestamp_format(p->started_s * 1000000, at);
		put_text(o, "since", at);
	}
}

struct json_object *service_look(struct action *a, const char *only, struct json_object *before)
{
	struct listed list[SERVICES_MAX];
	size_t n = read_list(a, list);
	bool systemd = service_has_systemd(&a->config);
	const char *problem = NULL;
	char *output = NULL;
	struct processes all = { 0 };
	struct json_object *found = json_object_new_array();

	if (systemd && n)
		problem = ask_systemd(a, list, n, only, &output);
	for (size_t i = 0; i < n; i++) {
		struct json_object *o, *unit, *old = same_before(before, list[i].name);

		if (only && strcmp(only, list[i].name) != 0)
			continue;
		o = json_object_new_object();
		put_text(o, "name", list[i].name);
		if (systemd && problem) {
			put_text(o, "state", "unknown");
			put_text(o, "problem", problem);
		} else if (systemd) {
			unit = block_of(output, arena_printf(a->arena, "%s.service", list[i].name));
			read_unit(a, o, list[i].name, unit, &all, old);
			json_object_put(unit);
		} else {
			read_files(a, o, &list[i], &all, old);
		}
		json_object_array_add(found, o);
	}
	processes_free(&all);
	return found;
}
