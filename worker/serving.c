/* serving.c: see serving.h. */
#include "serving.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "timestamp.h"

enum { PORTS_MAX = 32, SOCKETS_MAX = 256, WORKERS_MAX = 4096, LISTENING = 10, BODY_MAX = 4096, ANSWER_US = 2000000 };

/* ---- who accepts connections ---- */

struct sockets {
	unsigned long inode[SOCKETS_MAX];
	size_t count;
};

static size_t ports_of(const char *places, unsigned ports[PORTS_MAX])
{
	size_t n = 0;

	for (const char *at = places; *at && n < PORTS_MAX; at += strspn(at, " ")) {
		const char *end = at + strcspn(at, " "), *colon = end;

		while (colon > at && *colon != ':')
			colon--;
		ports[n++] = (unsigned)strtoul(colon + (*colon == ':'), NULL, 10);
		at = end;
	}
	return n;
}

/* The listening sockets of these ports, by their numbers. */
static void read_sockets(const char *table, const unsigned *ports, size_t n, struct sockets *s)
{
	char line[512];
	FILE *file = fopen(table, "re");

	while (file && fgets(line, sizeof line, file)) {
		unsigned port, state;
		unsigned long inode;

		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", &port, &state, &inode) != 3 ||
		    state != LISTENING)
			continue;
		for (size_t i = 0; i < n; i++)
			if (ports[i] == port && s->count < SOCKETS_MAX) {
				s->inode[s->count++] = inode;
				break;
			}
	}
	if (file)
		fclose(file);
}

static void listening(const char *listen, struct sockets *s)
{
	unsigned ports[PORTS_MAX];
	size_t n = ports_of(listen, ports);

	s->count = 0;
	read_sockets("/proc/net/tcp", ports, n, s);
	read_sockets("/proc/net/tcp6", ports, n, s);
}

static bool holds(pid_t pid, const struct sockets *s)
{
	char path[300], target[64];
	struct dirent *f;
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	while (fds && !found && (f = readdir(fds))) {
		unsigned long inode;
		ssize_t n;

		snprintf(path, sizeof path, "/proc/%d/fd/%.20s", (int)pid, f->d_name);
		n = readlink(path, target, sizeof target - 1);
		target[n > 0 ? n : 0] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < s->count; i++)
			found |= s->inode[i] == inode;
	}
	if (fds)
		closedir(fds);
	return found;
}

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *end;
	int parent = 0;
	size_t n = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if ((file = fopen(path, "re"))) {
		n = fread(text, 1, sizeof text - 1, file);
		fclose(file);
	}
	text[n] = '\0';
	end = strrchr(text, ')'); /* its name may hold anything */
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

const pid_t *serving_workers(struct action *a, const char *listen)
{
	pid_t *all = arena_alloc(a->arena, (WORKERS_MAX + 1) * sizeof *all), *workers = arena_alloc(a->arena, (WORKERS_MAX + 1) * sizeof *workers);
	size_t n = 0, count = 0;
	struct sockets s;
	struct dirent *p;
	DIR *proc = opendir("/proc");

	listening(listen, &s);
	while (proc && s.count && n < WORKERS_MAX && (p = readdir(proc))) {
		pid_t pid = (pid_t)atol(p->d_name);

		if (pid > 0 && holds(pid, &s))
			all[n++] = pid;
	}
	if (proc)
		closedir(proc);
	for (size_t i = 0; i < n; i++) {
		pid_t parent = parent_of(all[i]);

		for (size_t k = 0; k < n; k++)
			if (all[k] == parent) {
				workers[count++] = all[i];
				break;
			}
	}
	workers[count] = 0;
	return workers;
}

bool serving_still(const pid_t *workers, const char *listen)
{
	struct sockets s;

	listening(listen, &s);
	for (; *workers; workers++)
		if (holds(*workers, &s))
			return true;
	return false;
}

/* ---- what is answered ---- */

static size_t take(char *data, size_t size, size_t n, void *buf)
{
	buf_add(buf, data, size * n);
	return buf_failed(buf) ? 0 : size * n;
}

/* NULL, or what came instead until then. */
static const char *ask(struct action *a, const char *address, const struct serving *s, long long end_us)
{
	const char *url = arena_printf(a->arena, "http://%s/%s", address, s->name), *host = arena_printf(a->arena, "Host: %s", s->name);
	long long left_ms = (end_us - timestamp_now()) / 1000;
	struct curl_slist *headers = curl_slist_append(NULL, host);
	char error[CURL_ERROR_SIZE] = "";
	const char *why = NULL;
	CURL *curl = curl_easy_init();
	struct buf body;
	long status = 0;
	CURLcode code = CURLE_OUT_OF_MEMORY;

	buf_init(&body, BODY_MAX);
	if (curl && headers) {
		curl_easy_setopt(curl, CURLOPT_URL, url);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
		curl_easy_setopt(curl, CURLOPT_USERAGENT, "posternd/" POSTERN_VERSION);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	}
	if (!status)
		why = arena_printf(a->arena, "%s does not answer: %s", address, *error ? error : curl_easy_strerror(code));
	else if (!body.data || strncmp(body.data, s->answer, strlen(s->answer)) != 0)
		why = arena_printf(a->arena, "%s answers by another configuration (status %ld)", address, status);
	buf_free(&body);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return why;
}

/* "*:80" and "[::]:80" stand for every address of the machine, of which another virtual host may have some to itself: it answers at one,
 * the loopback address first, then the others, which have as long for all of them. NULL, or what the first one said. */
static const char *ask_any(struct action *a, int family, const char *port, const struct serving *s)
{
	const char *loopback = family == AF_INET ? "127.0.0.1" : "[::1]";
	const char *why = ask(a, arena_printf(a->arena, "%s%s", loopback, port), s, timestamp_now() + ANSWER_US), *other = why;
	long long end_us = timestamp_now() + ANSWER_US;
	struct ifaddrs *all = NULL;

	if (!why || getifaddrs(&all) != 0)
		return why;
	for (struct ifaddrs *i = all; i && other && timestamp_now() < end_us; i = i->ifa_next) {
		char text[INET6_ADDRSTRLEN];
		const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)i->ifa_addr;
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)i->ifa_addr;

		if (!i->ifa_addr || i->ifa_addr->sa_family != family || (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)) ||
		    !inet_ntop(family, family == AF_INET ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr, text, sizeof text))
			continue;
		other = ask(a, arena_printf(a->arena, family == AF_INET ? "%s%s" : "[%s]%s", text, port), s, end_us);
	}
	freeifaddrs(all);
	return other ? why : NULL;
}

const char *serving_objection(struct action *a, const char *listen, const struct serving *s)
{
	static const struct { const char *any; int family; } anywhere[] = { { "*", AF_INET }, { "0.0.0.0", AF_INET }, { "[::]", AF_INET6 } };

	for (const char *at = listen, *end, *why = NULL; *at; at = end + strspn(end, " ")) {
		size_t i = 0;

		end = at + strcspn(at, " ");
		const char *place = arena_strndup(a->arena, at, (size_t)(end - at)), *port = strrchr(place, ':');

		while (i < 3 && !(port && strncmp(place, anywhere[i].any, strlen(anywhere[i].any)) == 0 && place + strlen(anywhere[i].any) == port))
			i++;
		why = i < 3 ? ask_any(a, anywhere[i].family, port, s) : ask(a, place, s, timestamp_now() + ANSWER_US);
		if (why)
			return why;
	}
	return NULL;
}
