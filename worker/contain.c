/* contain.c: see contain.h. */
#include "contain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "machine.h"

enum { MEMORY = 0, PROCESSES, CPU, IO, LIMITS };
enum { PATH_BYTES = 1024, LINE_BYTES = 4096, END_MS = 5000, LOOK_MS = 50, NICE = 10, PERIOD_US = 100000 };

/* What is limited: its word, its controller in version 2 and in version 1, the file that shows that it is there. */
static const struct { const char *word, *two, *one, *file_two, *file_one; } kinds[LIMITS] = {
	[MEMORY] = { "memory", "memory", "memory", "memory.max", "memory.limit_in_bytes" },
	[PROCESSES] = { "processes", "pids", "pids", "pids.max", "pids.max" },
	[CPU] = { "cpu", "cpu", "cpu", "cpu.max", "cpu.cfs_quota_us" },
	[IO] = { "io", "io", "blkio", "io.weight", "blkio.bfq.weight" },
};

static char jobs[PATH_BYTES];                                    /* our folder of version 2; "": none */
static struct { char folder[PATH_BYTES]; bool one; } held[LIMITS]; /* ours of each controller; "": there is none */
static char reason[PATH_BYTES + 200];                            /* why there are no groups, or not all */
static char own_group[PATH_BYTES], aside[PATH_BYTES];            /* where we were, and where we went */

/* ---- files ---- */

__attribute__((format(printf, 3, 4)))
static bool put(const char *folder, const char *file, const char *fmt, ...)
{
	char path[2 * PATH_BYTES], text[100];
	va_list args;
	ssize_t n = -1;
	int len, fd, error;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	snprintf(path, sizeof path, "%.1300s/%.200s", folder, file);
	if ((fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
		return false;
	n = write(fd, text, (size_t)len);
	error = errno;
	close(fd);
	errno = error;
	return n == len;
}

static bool have_folder(const char *path)
{
	return mkdir(path, 0755) == 0 || errno == EEXIST;
}

static bool there(const char *folder, const char *file)
{
	char path[2 * PATH_BYTES];

	snprintf(path, sizeof path, "%.1300s/%.200s", folder, file);
	return access(path, W_OK) == 0;
}

/* A file's text; its length, -1 where it cannot be read. */
static ssize_t text_of(const char *folder, const char *file, char *text, size_t size)
{
	char path[2 * PATH_BYTES];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof path, "%.1300s/%.200s", folder, file);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || strchr(" ,\n", at[-1])) && (!at[len] || strchr(" ,\n", at[len])))
			return true;
	return false;
}

/* ---- what there is ---- */

/* Our own group in a hierarchy: where it is mounted, and below it what /proc/self/cgroup says, unless that is told from
 * outside. */
static bool find_own(const char *controller, char own[PATH_BYTES])
{
	char line[LINE_BYTES], at[PATH_BYTES] = "", *fields[6], *rest, *type, *options, *save;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct stat st;

	while (f && !*at && fgets(line, sizeof line, f)) {
		save = line;
		for (int i = 0; i < 6; i++)
			fields[i] = save ? strsep(&save, " ") : NULL;
		rest = save ? strstr(save, "- ") : NULL;
		if (!rest || !fields[4] || strlen(fields[4]) >= sizeof at)
			continue;
		rest += 2;
		type = strsep(&rest, " ");
		strsep(&rest, " ");
		options = rest ? rest : "";
		if (controller ? strcmp(type, "cgroup") == 0 && has_word(options, controller) : strcmp(type, "cgroup2") == 0)
			snprintf(at, sizeof at, "%s", fields[4]);
	}
	if (f)
		fclose(f);
	if (!*at)
		return false;
	snprintf(own, PATH_BYTES, "%s", at);
	if (!(f = fopen("/proc/self/cgroup", "re")))
		return true;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		save = line;
		strsep(&save, ":");
		type = strsep(&save, ":");
		if (type && save && (controller ? has_word(type, controller) : !*type) && strcmp(save, "/") != 0 &&
		    (size_t)snprintf(own, PATH_BYTES, "%s%s", at, save) < PATH_BYTES && stat(own, &st) == 0)
			break;
		snprintf(own, PATH_BYTES, "%s", at);
	}
	fclose(f);
	return true;
}

/* A name that is the same for each posternd of this worker_dir. */
static bool name_of(const struct config *config, char *name, size_t size)
{
	struct stat st;

	if (stat(config->worker_dir, &st) != 0)
		return false;
	snprintf(name, size, "postern-%llx-%llx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return true;
}

/* A group that has processes gives its children no controllers: we go aside, where we are the only ones in it. */
static bool allow(const char *own, const char *controller)
{
	if (put(own, "cgroup.subtree_control", "+%s", controller))
		return true;
	if (errno != EBUSY || *aside)
		return false;
	if ((size_t)snprintf(aside, sizeof aside, "%s/posternd", own) >= sizeof aside || !have_folder(aside) ||
	    !put(aside, "cgroup.procs", "0")) {
		*aside = '\0';
		return false;
	}
	if (put(own, "cgroup.subtree_control", "+%s", controller))
		return true;
	put(own, "cgroup.procs", "0"); /* others are there, whom we do not move */
	rmdir(aside);
	*aside = '\0';
	return false;
}

/* ---- the end of a group ---- */

static void end_one_by_one(const char *folder)
{
	char text[LINE_BYTES], *at = text, *word;

	text_of(folder, "cgroup.procs", text, sizeof text);
	while ((word = strsep(&at, "\n")))
		if (atol(word) > 0)
			kill((pid_t)atol(word), SIGKILL);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool populated(const char *folder)
{
	char text[LINE_BYTES];

	return text_of(folder, "cgroup.events", text, sizeof text) > 0 && strstr(text, "populated 1");
}

/* End all in it, and wait until they are gone: the kernel says when. */
static bool end_group(const char *folder)
{
	int64_t until = now_ms() + END_MS, left;
	char path[2 * PATH_BYTES], text[LINE_BYTES];
	struct pollfd fd = { .events = POLLPRI };
	bool gone = false, whole = there(folder, "cgroup.kill");
	ssize_t n;

	snprintf(path, sizeof path, "%s/cgroup.events", folder);
	if ((fd.fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return rmdir(folder) == 0 || errno == ENOENT;
	do {
		if (!whole || !put(folder, "cgroup.kill", "1")) /* before Linux 5.14 there is none */
			end_one_by_one(folder);
		n = pread(fd.fd, text, sizeof text - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		gone = n > 0 && !strstr(text, "populated 1");
		left = until - now_ms();
		if (!gone && left > 0)
			poll(&fd, 1, whole ? (int)left : LOOK_MS);
	} while (!gone && left > 0);
	close(fd.fd);
	return gone && (rmdir(folder) == 0 || errno == ENOENT);
}

/* End and remove all groups below one of ours, and itself with `whole`. */
static void sweep(const char *folder, int depth, bool whole)
{
	char path[2 * PATH_BYTES];
	DIR *all = opendir(folder);
	struct dirent *e;

	while (all && (e = readdir(all)))
		if (e->d_type == DT_DIR && *e->d_name != '.' && depth > 0) {
			snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
			sweep(path, depth - 1, true);
		}
	if (all)
		closedir(all);
	if (whole && !end_group(folder))
		log_event("error", "group_remains", "folder", folder, NULL);
}

/* ---- posternd ---- */

static void because(const char *what, const char *where)
{
	if (!*reason)
		snprintf(reason, sizeof reason, "%s %.900s: %s", what, where, strerror(errno));
}

static void open_two(const char *name)
{
	char has[LINE_BYTES];

	if (!find_own(NULL, own_group)) {
		snprintf(reason, sizeof reason, "there is no cgroup2 file system here");
		return;
	}
	if ((size_t)snprintf(jobs, sizeof jobs, "%s/%s", own_group, name) >= sizeof jobs || !have_folder(jobs)) {
		because("no group can be made below", own_group);
		*jobs = '\0';
		return;
	}
	sweep(jobs, 2, false);
	text_of(own_group, "cgroup.controllers", has, sizeof has);
	for (int i = 0; i < LIMITS; i++)
		if (has_word(has, kinds[i].two)) {
			if (allow(own_group, kinds[i].two) && put(jobs, "cgroup.subtree_control", "+%s", kinds[i].two))
				snprintf(held[i].folder, sizeof held[i].folder, "%s", jobs);
			else
				because("limits cannot be had below", own_group);
		}
}

/* The controllers that version 2 has not. */
static void open_one(const char *name)
{
	char own[PATH_BYTES];

	for (int i = 0; i < LIMITS; i++) {
		if (*held[i].folder || !find_own(kinds[i].one, own))
			continue;
		held[i].one = true;
		if ((size_t)snprintf(held[i].folder, sizeof held[i].folder, "%s/%s", own, name) < sizeof held[i].folder &&
		    have_folder(held[i].folder)) {
			sweep(held[i].folder, 1, false);
			continue;
		}
		because("no group can be made below", own);
		*held[i].folder = '\0';
	}
}

/* Of a controller that is there the file may be missing: of io without a scheduler that knows weights. */
static void probe(void)
{
	char path[2 * PATH_BYTES];

	for (int i = 0; i < LIMITS; i++) {
		if (!*held[i].folder)
			continue;
		snprintf(path, sizeof path, "%.1023s/probe", held[i].folder);
		if (!have_folder(path) || !there(path, held[i].one ? kinds[i].file_one : kinds[i].file_two)) {
			if (held[i].one)
				rmdir(held[i].folder);
			*held[i].folder = '\0';
		}
		rmdir(path);
	}
}

/* The words of what is limited, or is not. */
static void words(bool limited, char *text, size_t size)
{
	*text = '\0';
	for (int i = 0; i < LIMITS; i++)
		if ((*held[i].folder != '\0') == limited)
			snprintf(text + strlen(text), size - strlen(text), "%s%s", *text ? " " : "", kinds[i].word);
}

void contain_open(const struct config *config)
{
	char name[100], missing[64];

	if (!name_of(config, name, sizeof name))
		return;
	open_two(name);
	if (*jobs)
		open_one(name);
	probe();
	words(false, missing, sizeof missing);
	if (*missing)
		log_event("warn", "tenants_not_limited", "by_group", missing, "message",
		          *reason ? reason : "the kernel gives no group such a limit", NULL);
}

void contain_close(void)
{
	for (int i = 0; i < LIMITS; i++)
		if (*held[i].folder && held[i].one)
			sweep(held[i].folder, 1, true);
	if (*jobs)
		sweep(jobs, 2, true);
}

static void account_folder(const char *base, int64_t account, char path[PATH_BYTES])
{
	if (snprintf(path, PATH_BYTES, "%s/account-%lld", base, (long long)account) >= PATH_BYTES)
		*path = '\0';
}

/* "max" for none, as version 2 has it; version 1 takes -1. */
static bool put_limit(const char *folder, const char *file, bool one, int64_t value)
{
	if (value > 0)
		return put(folder, file, "%lld", (long long)value);
	return one ? put(folder, file, "-1") : put(folder, file, "max");
}

static bool put_limits(const struct config *c, int kind, const char *folder, bool one)
{
	int64_t bytes = (int64_t)c->tenant_memory_mb << 20, quota = (int64_t)c->tenant_cpu_percent * (PERIOD_US / 100);

	switch (kind) {
	case MEMORY: /* and no more of it in swap, where the kernel counts that */
		if (!one) {
			put(folder, "memory.swap.max", bytes ? "0" : "max");
			return put_limit(folder, "memory.max", false, bytes);
		}
		put_limit(folder, "memory.memsw.limit_in_bytes", true, bytes); /* never below the other: before it, and after */
		if (!put_limit(folder, "memory.limit_in_bytes", true, bytes))
			return false;
		put_limit(folder, "memory.memsw.limit_in_bytes", true, bytes);
		return true;
	case PROCESSES:
		return c->tenant_processes ? put(folder, "pids.max", "%d", c->tenant_processes) : put(folder, "pids.max", "max");
	case CPU:
		if (one)
			return put(folder, "cpu.cfs_period_us", "%d", PERIOD_US) && put_limit(folder, "cpu.cfs_quota_us", true, quota);
		return quota ? put(folder, "cpu.max", "%lld %d", (long long)quota, PERIOD_US) : put(folder, "cpu.max", "max");
	default:
		return put(folder, one ? "blkio.bfq.weight" : "io.weight", "%d", c->tenant_io_weight);
	}
}

bool contain_begin(const struct config *config, int64_t account, const char *job, char folders[CONTAIN_TEXT], char limits[64],
                   const char **why)
{
	static char text[2 * PATH_BYTES];
	char path[PATH_BYTES], job_path[PATH_BYTES + 64];
	size_t len;

	*folders = *limits = '\0';
	if (!*jobs)
		return true;
	account_folder(jobs, account, path);
	snprintf(job_path, sizeof job_path, "%s/%.40s", path, job);
	if (!*path || !have_folder(path) || !have_folder(job_path))
		goto failed;
	len = (size_t)snprintf(folders, CONTAIN_TEXT, "%s", job_path);
	for (int i = 0; i < LIMITS; i++) {
		if (!*held[i].folder)
			continue;
		account_folder(held[i].folder, account, path);
		if (!*path || !have_folder(path) || !put_limits(config, i, path, held[i].one))
			goto failed;
		if (held[i].one)
			len += (size_t)snprintf(folders + len, CONTAIN_TEXT - len, ":%s", path);
	}
	words(true, limits, 64);
	return true;
failed:
	snprintf(text, sizeof text, "the group %.900s, which limits what tenants' programs take, cannot be had: %s", path,
	         strerror(errno));
	*why = text;
	contain_end(account, job);
	return false;
}

void contain_end(int64_t account, const char *job)
{
	char path[PATH_BYTES], job_path[PATH_BYTES + 64];

	if (!*jobs)
		return;
	account_folder(jobs, account, path);
	if (!*path)
		return;
	snprintf(job_path, sizeof job_path, "%s/%.40s", path, job);
	if (!end_group(job_path))
		log_event("error", "group_remains", "folder", job_path, NULL);
	if (rmdir(path) != 0)
		return; /* another job of the account is at work */
	for (int i = 0; i < LIMITS; i++)
		if (*held[i].folder && held[i].one) {
			account_folder(held[i].folder, account, path);
			rmdir(path);
		}
}

int64_t contain_used(int64_t account, const char *job)
{
	char path[PATH_BYTES], job_path[PATH_BYTES + 64], text[LINE_BYTES], *at;

	if (!*jobs)
		return -1;
	account_folder(jobs, account, path);
	snprintf(job_path, sizeof job_path, "%s/%.40s", path, job);
	if (!populated(job_path) || text_of(job_path, "cpu.stat", text, sizeof text) <= 0 ||
	    !(at = strstr(text, "usage_usec ")))
		return -1;
	return strtoll(at + strlen("usage_usec "), NULL, 10);
}

struct json_object *contain_facts(void)
{
	struct json_object *o = json_object_new_object();
	char limited[64], missing[64];

	words(true, limited, sizeof limited);
	words(false, missing, sizeof missing);
	json_object_object_add(o, "by", json_object_new_string(*jobs ? "group" : "process"));
	json_object_object_add(o, "limits", json_object_new_string(limited));
	json_object_object_add(o, "missing", *missing ? json_object_new_string(missing) : NULL);
	json_object_object_add(o, "reason", *reason ? json_object_new_string(reason) : NULL);
	return o;
}

/* ---- a tenant's program ---- */

bool contain_join(const struct config *config, uid_t user, const char **why)
{
	const char *folders = getenv(CONTAIN_FOLDERS), *limits = getenv(CONTAIN_LIMITS);
	static char text[PATH_BYTES + 200];
	char path[PATH_BYTES];
	struct rlimit most;
	rlim_t bytes = (rlim_t)config->tenant_memory_mb << 20;

	for (const char *at = folders; at && *at; at += *at == ':') {
		size_t len = strcspn(at, ":");

		snprintf(path, sizeof path, "%.*s", (int)len, at);
		if (len >= sizeof path || !put(path, "cgroup.procs", "0")) {
			snprintf(text, sizeof text, "cannot be put into the group %s: %s", path, strerror(errno));
			*why = text;
			return false;
		}
		at += len;
	}
	if (user == geteuid()) /* processes of our own user are counted together with us */
		return true;
	limits = limits ? limits : "";
	*why = "cannot be limited";
	if (!has_word(limits, kinds[MEMORY].word) && bytes) { /* what it may write to; addresses alone are free */
		most = (struct rlimit){ bytes, bytes };
		if (setrlimit(RLIMIT_DATA, &most) != 0)
			return false;
	}
	if (!has_word(limits, kinds[PROCESSES].word) && config->tenant_processes) {
		struct processes all = processes_read();

		most.rlim_cur = most.rlim_max = (rlim_t)(processes_threads(&all, user) + config->tenant_processes);
		processes_free(&all);
		if (setrlimit(RLIMIT_NPROC, &most) != 0)
			return false;
	}
	return has_word(limits, kinds[CPU].word) || setpriority(PRIO_PROCESS, 0, NICE) == 0;
}
