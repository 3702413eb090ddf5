/* machine.c: see machine.h. What cannot be read is left out: its reader sees null. */
#include "machine.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, DEPTH_MAX = 64 };

static void add_int(struct json_object *o, const char *name, int64_t n)
{
	json_object_object_add(o, name, json_object_new_int64(n));
}
static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

/* With one decimal. */
static void add_share(struct json_object *o, const char *name, double part, double whole)
{
	char text[32];

	if (whole <= 0)
		return;
	snprintf(text, sizeof text, "%.1f", 100 * part / whole);
	json_object_object_add(o, name, json_object_new_double_s(strtod(text, NULL), text));
}

static int64_t int_of(const struct json_object *o, const char *name, int64_t absent)
{
	struct json_object *value = NULL;

	return o && json_object_object_get_ex(o, name, &value) ? json_object_get_int64(value) : absent;
}

/* ---- the machine ---- */

static void add_system(struct json_object *facts)
{
	struct utsname u;
	char line[LINE_BYTES], *value;
	double uptime, load[3];
	FILE *f;

	if (uname(&u) == 0) {
		add_text(facts, "kernel", u.release);
		add_text(facts, "architecture", u.machine);
	}
	if ((f = fopen("/etc/os-release", "re"))) {
		while (fgets(line, sizeof line, f))
			if (strncmp(line, "PRETTY_NAME=", 12) == 0) {
				value = line + 12 + (line[12] == '"');
				value[strcspn(value, "\"\n")] = '\0';
				add_text(facts, "system", value);
			}
		fclose(f);
	}
	if ((f = fopen("/proc/uptime", "re"))) {
		if (fscanf(f, "%lf", &uptime) == 1)
			add_int(facts, "uptime_s", (int64_t)uptime);
		fclose(f);
	}
	add_int(facts, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
	if (getloadavg(load, 3) == 3) {
		struct json_object *list = json_object_new_array();

		for (int i = 0; i < 3; i++) {
			snprintf(line, sizeof line, "%.2f", load[i]);
			json_object_array_add(list, json_object_new_double_s(load[i], line));
		}
		json_object_object_add(facts, "load", list);
	}
}

/* Idle is what the kernel calls so, and waiting for disks. Ticks are kept for the next time. */
static void add_cpu(struct json_object *facts, const struct json_object *before)
{
	long long user, nice_, system, idle, wait, irq, soft, steal, all;
	struct json_object *cpu, *old = NULL;
	FILE *f = fopen("/proc/stat", "re");
	bool got = f && fscanf(f, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &user, &nice_, &system, &idle, &wait, &irq, &soft, &steal) == 8;

	if (f)
		fclose(f);
	if (!got)
		return;
	if (before)
		json_object_object_get_ex(before, "cpu", &old);
	all = user + nice_ + system + idle + wait + irq + soft + steal;
	cpu = json_object_new_object();
	add_share(cpu, "used_pct", (double)(all - idle - wait - (int_of(old, "ticks", 0) - int_of(old, "idle_ticks", 0))), (double)(all - int_of(old, "ticks", 0)));
	add_int(cpu, "ticks", all);
	add_int(cpu, "idle_ticks", idle + wait);
	json_object_object_add(facts, "cpu", cpu);
}

static void add_memory(struct json_object *facts)
{
	long long total = -1, available = -1, swap = -1, swap_free = -1, kb;
	struct json_object *o;
	char line[LINE_BYTES], name[64];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%63[^:]: %lld", name, &kb) == 2) {
			if (strcmp(name, "MemTotal") == 0)
				total = kb;
			else if (strcmp(name, "MemAvailable") == 0)
				available = kb;
			else if (strcmp(name, "SwapTotal") == 0)
				swap = kb;
			else if (strcmp(name, "SwapFree") == 0)
				swap_free = kb;
		}
	if (f)
		fclose(f);
	if (total >= 0 && available >= 0) {
		o = json_object_new_object();
		add_int(o, "total_bytes", total * 1024);
		add_int(o, "available_bytes", available * 1024);
		add_share(o, "used_pct", (double)(total - available), (double)total);
		json_object_object_add(facts, "memory", o);
	}
	if (swap >= 0 && swap_free >= 0) {
		o = json_object_new_object();
		add_int(o, "total_bytes", swap * 1024);
		add_int(o, "used_bytes", (swap - swap_free) * 1024);
		add_share(o, "used_pct", (double)(swap - swap_free), (double)swap);
		json_object_object_add(facts, "swap", o);
	}
}

/* Spaces in mount points are written \040. */
static void decode(char *path)
{
	char *to = path;

	for (char *at = path; *at; at++)
		if (at[0] == '\\' && isdigit((unsigned char)at[1]) && isdigit((unsigned char)at[2]) && isdigit((unsigned char)at[3])) {
			*to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		} else {
			*to++ = *at;
		}
	*to = '\0';
}

/* What is on a disk of this machine: not what comes over the network, is full by its nature, or what the kernel makes up. The root
 * counts whatever it is on. */
static bool is_disk(const char *mount, const char *source, const char *type)
{
	return (*source == '/' && strncmp(source, "//", 2) != 0 && strncmp(type, "fuse", 4) != 0 && strcmp(type, "squashfs") != 0 &&
	        strcmp(type, "iso9660") != 0) ||
	       strcmp(type, "zfs") == 0 || (strcmp(mount, "/") == 0 && strcmp(type, "rootfs") != 0);
}

static struct json_object *disk(const char *mount, const char *source, const char *type)
{
	struct statvfs fs;
	struct json_object *o;
	double used;

	if (statvfs(mount, &fs) != 0 || !fs.f_blocks)
		return NULL;
	o = json_object_new_object();
	used = (double)(fs.f_blocks - fs.f_bfree);
	add_text(o, "mount", mount);
	add_text(o, "device", source);
	add_text(o, "type", type);
	add_int(o, "total_bytes", (int64_t)fs.f_blocks * (int64_t)fs.f_frsize);
	add_int(o, "used_bytes", (int64_t)(fs.f_blocks - fs.f_bfree) * (int64_t)fs.f_frsize);
	add_int(o, "available_bytes", (int64_t)fs.f_bavail * (int64_t)fs.f_frsize);
	add_share(o, "used_pct", used, used + (double)fs.f_bavail); /* as df counts: what is kept for root is not there for others */
	add_int(o, "inodes", (int64_t)fs.f_files);
	add_int(o, "inodes_used", (int64_t)(fs.f_files - fs.f_ffree));
	add_share(o, "inodes_used_pct", (double)(fs.f_files - fs.f_ffree), (double)fs.f_files);
	return o;
}

/* Each file system once, wherever else it is mounted. */
static void add_disks(struct json_object *facts)
{
	char line[LINE_BYTES], device[32], mount[1024], type[64], source[1024], (*seen)[32] = NULL, (*more)[32], *rest;
	struct json_object *list = json_object_new_array(), *one;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	size_t n = 0, room = 0, i;
	bool root = false;

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%*d %*d %31s %*s %1023s", device, mount) != 2 || !(rest = strstr(line, " - ")) ||
		    sscanf(rest, " - %63s %1023s", type, source) != 2 || !is_disk(mount, source, type))
			continue;
		for (i = 0; i < n && strcmp(seen[i], device) != 0; i++)
			;
		decode(mount);
		root |= strcmp(mount, "/") == 0;
		if (i < n || !(one = disk(mount, source, type)))
			continue;
		if (n == room && (more = realloc(seen, (room + 32) * sizeof *seen))) {
			seen = more;
			room += 32;
		}
		if (n < room) /* else it may be shown twice */
			snprintf(seen[n++], sizeof *seen, "%s", device);
		json_object_array_add(list, one);
	}
	if (f)
		fclose(f);
	free(seen);
	if (!root && (one = disk("/", "/", "unknown"))) /* in a chroot its mount is nowhere to be seen */
		json_object_array_add(list, one);
	json_object_object_add(facts, "disks", list);
}

static void add_network(struct json_object *facts)
{
	char line[LINE_BYTES], name[32];
	struct json_object *list = json_object_new_array(), *one;
	FILE *f = fopen("/proc/net/dev", "re");
	long long in, in_errors, in_dropped, out, out_errors, out_dropped;

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, " %31[^:]: %lld %*d %lld %lld %*d %*d %*d %*d %lld %*d %lld %lld", name, &in, &in_errors, &in_dropped, &out, &out_errors,
		           &out_dropped) != 7 || strcmp(name, "lo") == 0)
			continue;
		one = json_object_new_object();
		add_text(one, "name", name);
		add_int(one, "received_bytes", in);
		add_int(one, "sent_bytes", out);
		add_int(one, "errors", in_errors + out_errors);
		add_int(one, "dropped", in_dropped + out_dropped);
		json_object_array_add(list, one);
	}
	if (f)
		fclose(f);
	json_object_object_add(facts, "network", list);
}

struct json_object *machine_facts(const struct json_object *before)
{
	struct json_object *facts = json_object_new_object();

	add_system(facts);
	add_cpu(facts, before);
	add_memory(facts);
	add_disks(facts);
	add_network(facts);
	return facts;
}

/* ---- processes ---- */

static int64_t boot_s(void)
{
	char line[LINE_BYTES];
	long long at = 0;
	FILE *f = fopen("/proc/stat", "re");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "btime %lld", &at) == 1)
			break;
	if (f)
		fclose(f);
	return at;
}

/* A process's name stands in parentheses and may hold any; what follows the last one is numbers. */
static bool read_process(pid_t pid, int64_t boot, struct process *p)
{
	char path[64], line[LINE_BYTES], *rest;
	long long user, system, dead_user, dead_system, threads, started, pages;
	long ticks = sysconf(_SC_CLK_TCK);
	int parent;
	struct stat st;
	FILE *f;
	bool got;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (!(f = fopen(path, "re")))
		return false;
	got = fgets(line, sizeof line, f) && (rest = strrchr(line, ')')) &&
	      sscanf(rest + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %lld %lld %*d %*d %lld %*d %lld %*u %lld", &p->state, &parent, &user,
	             &system, &dead_user, &dead_system, &threads, &started, &pages) == 9;
	fclose(f);
	snprintf(path, sizeof path, "/proc/%d", (int)pid); /* the folder is its user's, whatever the process has hidden */
	got = got && stat(path, &st) == 0;
	if (!got || ticks <= 0)
		return false;
	p->pid = pid;
	p->parent = parent;
	p->user = st.st_uid;
	p->threads = threads;
	p->cpu_ms = (user + system + dead_user + dead_system) * 1000 / ticks;
	p->memory_bytes = pages * sysconf(_SC_PAGESIZE);
	p->started_s = boot + started / ticks;
	return true;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = ((const struct process *)a)->pid, y = ((const struct process *)b)->pid;

	return (x > y) - (x < y);
}

struct processes processes_read(void)
{
	struct processes all = { 0 };
	DIR *proc = opendir("/proc");
	struct dirent *e;
	size_t room = 0;
	int64_t boot = boot_s();

	while (proc && (e = readdir(proc))) {
		if (!isdigit((unsigned char)*e->d_name))
			continue;
		if (all.count == room) {
			struct process *more = realloc(all.item, (room + 512) * sizeof *more);

			if (!more)
				break;
			all.item = more;
			room += 512;
		}
		all.count += read_process((pid_t)atol(e->d_name), boot, &all.item[all.count]);
	}
	if (proc)
		closedir(proc);
	if (all.count)
		qsort(all.item, all.count, sizeof *all.item, by_pid);
	return all;
}

void processes_free(struct processes *all)
{
	free(all->item);
	*all = (struct processes){ 0 };
}

const struct process *processes_find(const struct processes *all, pid_t pid)
{
	const struct process key = { .pid = pid }, *p = all->count ? bsearch(&key, all->item, all->count, sizeof key, by_pid) : NULL;

	return p && p->state != 'Z' && p->state != 'X' ? p : NULL;
}

static bool descends(const struct processes *all, const struct process *p, pid_t pid)
{
	for (int depth = 0; p && p->pid != pid && depth < DEPTH_MAX; depth++)
		p = processes_find(all, p->parent);
	return p && p->pid == pid;
}

int64_t processes_threads(const struct processes *all, uid_t user)
{
	int64_t threads = 0;

	for (size_t i = 0; i < all->count; i++)
		threads += all->item[i].user == user ? all->item[i].threads : 0;
	return threads;
}

int64_t processes_cpu_of_others(const struct processes *all, pid_t pid, uid_t own)
{
	int64_t everybody = 0, others = 0;
	bool any = false;

	for (size_t i = 0; i < all->count; i++)
		if (descends(all, &all->item[i], pid)) {
			everybody += all->item[i].cpu_ms;
			if (all->item[i].user != own && all->item[i].state != 'Z') {
				others += all->item[i].cpu_ms;
				any = true;
			}
		}
	return any ? others : everybody;
}

void processes_sum(const struct processes *all, pid_t pid, int64_t *cpu_ms, int64_t *memory_bytes)
{
	*cpu_ms = *memory_bytes = 0;
	for (size_t i = 0; i < all->count; i++) {
		if (descends(all, &all->item[i], pid)) {
			*cpu_ms += all->item[i].cpu_ms;
			*memory_bytes += all->item[i].memory_bytes;
		}
	}
}
