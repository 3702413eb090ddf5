/* tenant.c: see tenant.h. */
#include "tenant.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "links.h"

enum { GROUPS_MAX = 1024, LINE_BYTES = 1024, SYSTEM_UIDS = 60001, LAST_SYSTEM_UID = 65535, USERS_GROUP = 100 };
/* Nobody's: systemd.io/UIDS-GIDS leaves them unused. */
enum { IDLE_UID_FIRST = 65520, IDLE_UID_LAST = 65533 };
enum { END_MS = 20000, ROUNDS = 100, WATCHED_MAX = 4096 };

bool tenant_none(const struct action *a)
{
	return strcmp(a->config.unix_users, "none") == 0;
}

/* ---- who may be one ---- */

/* A number of /etc/login.defs. */
static uid_t login_def(const char *name, uid_t absent)
{
	char line[LINE_BYTES], word[64];
	unsigned value;
	FILE *f = fopen("/etc/login.defs", "re");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, " %63[A-Z_] %u", word, &value) == 2 && strcmp(word, name) == 0)
			absent = value;
	if (f)
		fclose(f);
	return absent;
}

static bool is_listed(const char *patterns, const char *name)
{
	char pattern[64];

	for (const char *at = patterns; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");

		snprintf(pattern, sizeof pattern, "%.*s", (int)len, at);
		if (len && fnmatch(pattern, name, 0) == 0)
			return true;
		at += len;
	}
	return false;
}

/* A group that gives its members rights on the machine, or on other tenants' files: the web server's does. */
static const char *privileged_group(struct action *a, const struct passwd *user)
{
	struct passwd *web = getpwnam(a->config.web_user);
	gid_t groups[GROUPS_MAX], web_group = web ? web->pw_gid : (gid_t)-1, first = login_def("GID_MIN", 1000);
	int count = GROUPS_MAX;
	struct group *g;

	if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		return "more groups than can be looked at";
	for (int i = 0; i < count; i++) {
		g = getgrgid(groups[i]);
		if (groups[i] == web_group || (g && is_listed(a->config.privileged_groups, g->gr_name)) ||
		    (groups[i] == user->pw_gid && groups[i] < first && groups[i] != USERS_GROUP))
			return arena_printf(a->arena, "the group %s (gid %u)", g ? g->gr_name : "?", (unsigned)groups[i]);
	}
	return NULL;
}

struct passwd *tenant_user(struct action *a, const char *name)
{
	static struct passwd kept; /* getpwnam's own answer is written over by the next that asks */
	struct passwd *user = getpwnam(name);
	uid_t first = login_def("UID_MIN", 1000);
	int64_t uid = action_int(a, "uid", 0);

	if (!user)
		return NULL;
	kept = *user;
	kept.pw_name = arena_strdup(a->arena, user->pw_name);
	kept.pw_dir = arena_strdup(a->arena, user->pw_dir);
	kept.pw_shell = arena_strdup(a->arena, user->pw_shell);
	kept.pw_passwd = kept.pw_gecos = NULL;
	if (kept.pw_uid < first || (kept.pw_uid >= SYSTEM_UIDS && kept.pw_uid <= LAST_SYSTEM_UID))
		action_fail("the Unix user %s (uid %u) belongs to the system; an account needs one of its own, from uid %u",
		            name, (unsigned)kept.pw_uid, (unsigned)first);
	if (uid > 0 && kept.pw_uid != (uid_t)uid)
		action_fail("the Unix user %s has uid %u, but the account's has uid %lld: it is not the account's user; "
		            "rename or remove it, then retry this job", name, (unsigned)kept.pw_uid, (long long)uid);
	return &kept;
}

void tenant_check_groups(struct action *a, const struct passwd *user)
{
	const char *group = privileged_group(a, user);

	if (group)
		action_fail("the Unix user %s is in %s, which has rights of its own (setting privileged_groups); take the "
		            "user out of it (gpasswd -d %s GROUP; usermod -g where it is the primary one), then retry this job",
		            user->pw_name, group, user->pw_name);
}

const char *tenant_name_objection(const char *name)
{
	if (strncmp(name, "postern", 7) == 0)
		return "names that begin with postern are Postern's own";
	if (getpwnam(name))
		return "the machine has a user of that name";
	if (getgrnam(name))
		return "the machine has a group of that name";
	return NULL;
}

/* ---- homes ---- */

/* Is this the account's own folder, as the machine's list of users has it? An administrator wrote that, as root. */
static bool is_own_home(const struct passwd *user, const char *home)
{
	struct stat st;

	return user && strcmp(user->pw_dir, home) == 0 && strchr(home + 1, '/') && lstat(home, &st) == 0 &&
	       S_ISDIR(st.st_mode) && st.st_uid == user->pw_uid;
}

/* What stands in front of the last part, open. */
static int open_above(struct action *a, const char *home, const char **name)
{
	const char *slash = strrchr(home, '/');

	*name = slash + 1;
	return open(arena_strndup(a->arena, home, (size_t)(slash - home)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

struct home tenant_home(struct action *a, const struct passwd *user)
{
	const char *name = action_text(a, "username"), *home = action_text(a, "home"), *dir = a->config.home_dir;
	const char *plain = arena_printf(a->arena, "%s/%s", dir, name), *inner = arena_printf(a->arena, "%s/home", plain);
	struct home h = { .base = -1, .name = name, .closed = strcmp(home, inner) == 0 };
	struct stat st;

	if (h.closed || strcmp(home, plain) == 0)
		h.base = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else if (is_own_home(user, home))
		h.base = open_above(a, home, &h.name);
	else
		action_fail("the home folder %s is none of this account: it must be %s (setting home_dir)%s", home,
		            h.closed ? plain : inner,
		            user ? arena_printf(a->arena, ", or that of the Unix user, %s, and belong to it", user->pw_dir)
		                 : "");
	if (h.base < 0 && errno == ENOENT && strcmp(home, plain) == 0) { /* made with the first account */
		int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		h.base = root < 0 ? -1 : file_make_folder(root, dir, 0711, (uid_t)-1, (gid_t)-1);
		if (root >= 0)
			close(root);
	}
	if (h.base < 0 || fstat(h.base, &st) != 0)
		action_fail("the folder of homes %s (setting home_dir) cannot be opened: %s", dir, strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX)))
		action_fail("the folder that the home %s lies in belongs to uid %u, mode %04o: who may write it could put "
		            "another in its place; chown root: it, and chmod 0755", home, (unsigned)st.st_uid,
		            (unsigned)(st.st_mode & 07777));
	return h;
}

struct passwd *tenant_web_user(struct action *a)
{
	struct passwd *web = getpwnam(a->config.web_user);

	if (!web)
		action_fail("there is no Unix user %s; say in the setting web_user as whom nginx and Apache run",
		            a->config.web_user);
	return web;
}

/* rwx for the owner, x for the group and the web server's user, nothing for others: as setfacl -m u:WEB:x says it. */
static bool let_web_pass(int folder, uid_t web)
{
	const struct {
		struct posix_acl_xattr_header head;
		struct posix_acl_xattr_entry entry[5];
	} acl = { { POSIX_ACL_XATTR_VERSION },
		      { { ACL_USER_OBJ, 7, ACL_UNDEFINED_ID },
		        { ACL_USER, 1, web },
		        { ACL_GROUP_OBJ, 1, ACL_UNDEFINED_ID },
		        { ACL_MASK, 1, ACL_UNDEFINED_ID },
		        { ACL_OTHER, 0, ACL_UNDEFINED_ID } } };

	return fsetxattr(folder, "system.posix_acl_access", &acl, sizeof acl, 0) == 0;
}

bool tenant_close_folder(struct action *a, int folder, uid_t owner, gid_t group)
{
	struct passwd *web = tenant_web_user(a);
	bool roots = owner == 0;

	if (fchown(folder, owner, roots ? group : web->pw_gid) != 0 || fchmod(folder, 0710) != 0)
		return false;
	if (roots)
		return let_web_pass(folder, web->pw_uid);
	return fremovexattr(folder, "system.posix_acl_access") == 0 || errno == ENODATA || errno == EOPNOTSUPP;
}

/* ---- applications' sockets ---- */

static int open_sockets(struct action *a, bool make)
{
	const char *path = a->config.app_sockets_dir;
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int folder = root < 0 ? -1 : make ? file_make_folder(root, path, 0755, (uid_t)-1, (gid_t)-1)
	                                  : file_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0);
	int why = errno;

	if (root >= 0)
		close(root);
	errno = why;
	return folder;
}

const char *tenant_socket(struct action *a, const char *username, const char *name)
{
	const char *path = arena_printf(a->arena, "%s/%s/s/%s", a->config.app_sockets_dir, username, name);
	struct passwd *user = tenant_none(a) ? NULL : tenant_user(a, username);
	int sockets = open_sockets(a, true), own = -1, inner = -1;
	bool made;

	if (sockets < 0)
		action_fail("%s (the setting app_sockets_dir) cannot be opened: %s", a->config.app_sockets_dir, strerror(errno));
	if (links_are_followed(sockets))
		action_fail("this machine follows links that take the place of a socket: its administrator sets fs.protected_symlinks = 1 (sysctl), or "
		            "mounts the folder of app_sockets_dir with nosymfollow, and retries this job");
	if (strlen(path) > 107)
		action_fail("%s is longer than the 107 bytes that a socket's path may have; choose a shorter app_sockets_dir", path);
	if (!tenant_none(a) && !user)
		action_retry("there is no Unix user %s yet", username);
	own = file_make_folder(sockets, username, 0700, (uid_t)-1, (gid_t)-1);
	inner = own < 0 ? -1 : file_make_folder(own, "s", 0700, (uid_t)-1, (gid_t)-1);
	made = inner >= 0 && fchmod(inner, 01777) == 0 && (user ? tenant_close_folder(a, own, 0, user->pw_gid) : fchmod(own, 0755) == 0);
	if (!made)
		action_fail("the folder %s/%s/s cannot be made: %s", a->config.app_sockets_dir, username, strerror(errno));
	close(inner);
	close(own);
	close(sockets);
	return path;
}

void tenant_remove_sockets(struct action *a, const char *username)
{
	int sockets = open_sockets(a, false);

	if (sockets >= 0 && !file_remove(sockets, username))
		action_log("%s/%s stays: %s", a->config.app_sockets_dir, username, strerror(errno));
	if (sockets >= 0)
		close(sockets);
}

const char *tenant_web_objection(struct action *a, const char *folder)
{
	struct passwd *web = tenant_web_user(a);
	uid_t uid = web->pw_uid;
	gid_t gid = web->pw_gid;
	int state = 0;
	pid_t pid;

	if (geteuid() != 0)
		return NULL; /* nobody but root can be another */
	pid = fork();
	if (pid == 0) {
		if (initgroups(a->config.web_user, gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
			_exit(errno);
		_exit(access(folder, X_OK) == 0 ? 0 : errno);
	}
	while (pid > 0 && waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(state))
		action_retry("what the web server's user may do cannot be tried: %s", strerror(errno));
	return WEXITSTATUS(state) ? strerror(WEXITSTATUS(state)) : NULL;
}

/* ---- processes ---- */

/* The real, effective and saved uid of a process that is no zombie, and its name. */
static bool read_owner(pid_t pid, uid_t uid[3], char name[32], pid_t *parent)
{
	char path[64], line[LINE_BYTES];
	bool zombie = false, got = false;
	int threads = 1; /* whose first thread has ended is called a zombie while the others run */
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	if (!(f = fopen(path, "re")))
		return false;
	*name = '\0';
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, "State:", 6) == 0)
			zombie = strchr("ZX", line[6 + strspn(line + 6, " \t")]);
		got |= sscanf(line, "Uid: %u %u %u", &uid[0], &uid[1], &uid[2]) == 3;
		(void)(sscanf(line, "Name: %31[^\n]", name) == 1 || sscanf(line, "PPid: %d", parent) == 1 ||
		       sscanf(line, "Threads: %d", &threads) == 1);
	}
	fclose(f);
	return got && (!zombie || threads > 1);
}

/* Of this uid are those whose real or saved uid it is: a program of root's that acts for somebody keeps root's. */
static bool is_of(const uid_t uid[3], uid_t whose)
{
	return uid[0] == whose || uid[2] == whose;
}

/* Calls `found` for each process of this uid, until it says no. */
static void each_process(uid_t whose, bool (*found)(void *arg, pid_t, const char *name, pid_t parent), void *arg)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	uid_t uid[3];
	char name[32];
	pid_t parent = 0;
	bool on = true;

	while (proc && on && (e = readdir(proc)))
		if (isdigit((unsigned char)*e->d_name) && read_owner((pid_t)atol(e->d_name), uid, name, &parent) &&
		    is_of(uid, whose))
			on = found(arg, (pid_t)atol(e->d_name), name, parent);
	if (proc)
		closedir(proc);
}

struct one {
	pid_t pid, parent;
	char name[32];
};
static bool keep_one(void *arg, pid_t pid, const char *name, pid_t parent)
{
	struct one *one = arg;

	one->pid = pid;
	one->parent = parent;
	snprintf(one->name, sizeof one->name, "%s", name);
	return false;
}

const char *tenant_process(struct action *a, uid_t whose)
{
	struct one one = { 0 }, above = { 0 };
	uid_t uid[3];
	pid_t parent;

	each_process(whose, keep_one, &one);
	if (!one.pid)
		return NULL;
	if (one.parent > 0 && read_owner(one.parent, uid, above.name, &parent))
		return arena_printf(a->arena, "%s (process %d, started by %s, process %d)", one.name, (int)one.pid,
		                    above.name, (int)one.parent);
	return arena_printf(a->arena, "%s (process %d)", one.name, (int)one.pid);
}

/* A uid that nobody has and no process runs as. 0: there is none. */
static uid_t idle_uid(void)
{
	struct one one;

	for (uid_t uid = IDLE_UID_LAST; uid >= IDLE_UID_FIRST; uid--) {
		one.pid = 0;
		each_process(uid, keep_one, &one);
		if (!one.pid && !getpwuid(uid))
			return uid;
	}
	return 0;
}

/*
 * Signal all of them in one call, between which and the kernel's list of processes nothing can be forked. Who does so
 * acts as the user, but is not the user's to signal back: real and saved uid are nobody's.
 */
static bool kill_all(uid_t whose, uid_t idle)
{
	int state = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgroups(0, NULL) != 0 || setresgid(idle, idle, idle) != 0 || setresuid(idle, whose, idle) != 0)
			_exit(errno);
		_exit(kill(-1, SIGKILL) == 0 || errno == ESRCH ? 0 : errno);
	}
	while (pid > 0 && waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	errno = pid > 0 && WIFEXITED(state) ? WEXITSTATUS(state) : EAGAIN;
	return pid > 0 && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

struct watched {
	struct pollfd fd[WATCHED_MAX];
	nfds_t count;
};
static bool watch(void *arg, pid_t pid, const char *name, pid_t parent)
{
	struct watched *w = arg;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	(void)name;
	(void)parent;
	if (fd >= 0)
		w->fd[w->count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	return w->count < WATCHED_MAX;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *tenant_end_processes(struct action *a, const struct passwd *user)
{
	static struct watched w;
	const uid_t idle = idle_uid(), whose = user->pw_uid;
	const int64_t until = now_ms() + END_MS;
	const char *left = NULL;

	if (geteuid() != 0 || whose == 0 || whose == idle)
		return arena_printf(a->arena, "the processes of %s cannot be ended by this worker, which is not root",
		                    user->pw_name);
	if (!idle)
		return arena_printf(a->arena,
		                    "every uid from %d to %d has processes; one without is needed to end those of %s",
		                    IDLE_UID_FIRST, IDLE_UID_LAST, user->pw_name);
	for (int round = 0; (left = tenant_process(a, whose)) && round < ROUNDS && now_ms() < until; round++) {
		if (!kill_all(whose, idle))
			return arena_printf(a->arena, "the processes of %s cannot be ended: %s", user->pw_name, strerror(errno));
		w.count = 0;
		each_process(whose, watch, &w);
		for (nfds_t i = 0; i < w.count; i++) { /* each says when it has ended */
			int64_t wait = until - now_ms();

			poll(&w.fd[i], 1, wait > 0 ? (int)wait : 0);
			close(w.fd[i].fd);
		}
	}
	return !left ? NULL
	             : arena_printf(a->arena, "a process of %s does not end, or is started anew: %s; stop what starts it "
	                                      "(a PHP-FPM pool, a systemd unit), then retry this job", user->pw_name, left);
}
