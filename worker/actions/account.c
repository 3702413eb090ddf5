/*
 * account.c: the Unix user that an account runs as. `create` makes one, with a uid that was never given before, and
 * never takes one that is there; `adopt` takes one only where the request said so. What cannot be undone comes last,
 * so that an account whose removal fails is whole.
 */
#include "tenant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <shadow.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ARCHIVE ".deleted"
#define USER_FIELDS \
	{ "id",       F_INT,      0,          "Number of the account" }, \
	{ "username", F_USERNAME, F_REQUIRED, "Unix user" }, \
	{ "home",     F_PATH,     F_REQUIRED, "Home folder", .max = 500 }, \
	{ "uid",      F_INT,      F_NULLABLE, "Its uid; null: of before these were noted", .max = 4294967294 }, \
	{ "adopt",    F_BOOL,     0,          "Whether the user was there before the account, and stays after it" }

static const struct field present[] = { USER_FIELDS, { 0 } };
static const struct field held[] = {
	USER_FIELDS,
	{ "expires",   F_INT,  F_NULLABLE, "Day its user expires by the administrator's word, from 1970 on; null: never",
	  .max = 1000000 },
	{ "suspended", F_BOOL, 0,          "Whether the account was suspended before" },
	{ "mailboxes", F_JSON, F_NULLABLE, "Addresses whose sessions are to end" },
	{ "purge",     F_BOOL, 0,          "Whether the home folder goes too" },
	{ 0 }
};

/* Was the user there before? Accounts of before that was noted go by the setting. */
static bool is_adopted(struct action *a)
{
	return action_bool(a, "adopt", false) ||
	       (action_int(a, "uid", 0) <= 0 && strcmp(a->config.unix_users, "adopt") == 0);
}

/* ---- homes ---- */

/* Is this folder open to others than its owner and the web server? */
static bool is_open(struct action *a, const struct stat *st, const struct passwd *user)
{
	return st->st_mode & 0007 ||
	       (st->st_mode & 0070 && st->st_gid != user->pw_gid && st->st_gid != tenant_web_user(a)->pw_gid);
}

/* The home, and what is above it of the account's, made where they are missing, and closed to other tenants. */
static void have_home(struct action *a, const struct passwd *user)
{
	const struct home h = tenant_home(a, user);
	const char *home = action_text(a, "home");
	int folder = file_make_folder(h.base, h.name, 0700, h.closed ? 0 : user->pw_uid, user->pw_gid), inner;
	struct stat st;

	if (h.closed && folder >= 0) {
		if (fstat(folder, &st) != 0 || st.st_uid != 0)
			action_fail("the folder above the home %s belongs to uid %u, not to root; move it away, then retry this "
			            "job", home, (unsigned)st.st_uid);
		if (!tenant_close_folder(a, folder, 0, user->pw_gid))
			action_fail("the folder above the home %s cannot be closed to other tenants: %s; its file system needs "
			            "access control lists (mount option acl)", home, strerror(errno));
		inner = file_make_folder(folder, "home", 0700, user->pw_uid, user->pw_gid);
		close(folder);
		folder = inner;
	}
	if (folder < 0)
		action_fail("the home folder %s cannot be made: %s", home,
		            errno == ELOOP ? "a symbolic link is in its way" : strerror(errno));
	if (fstat(folder, &st) != 0 || (st.st_uid != user->pw_uid && st.st_uid != 0))
		action_fail("the home folder %s belongs to uid %u, not to %s; move it away, then retry this job", home,
		            (unsigned)st.st_uid, user->pw_name);
	if (!tenant_close_folder(a, folder, user->pw_uid, user->pw_gid))
		action_fail("the home folder %s cannot be closed to other tenants: %s", home, strerror(errno));
	close(folder);
	close(h.base);
}

/* ---- made users ---- */

static bool is_free(struct action *a, uid_t uid, const char *name)
{
	struct group *group = getgrgid(uid);

	return !getpwuid(uid) && (!group || strcmp(group->gr_name, name) == 0) && !tenant_process(a, uid);
}

/* Another has this uid: the account gets the next that nobody has, and the job may be retried. */
static _Noreturn void ask_for_another(struct action *a, uid_t uid, const char *name)
{
	enum { TRIES = 10000 };
	struct json_object *result = json_object_new_object();
	uid_t next = uid + 1;

	while (next < uid + TRIES && !is_free(a, next, name))
		next++;
	json_object_object_add(result, "next_uid", json_object_new_int64(next));
	action_result(result);
	action_fail("the uid %u is somebody else's on this machine; the account gets another: retry this job",
	            (unsigned)uid);
}

/* A new user has nothing yet: a folder that is there is somebody's, and would be given away. */
static void check_nothing_is_there(struct action *a)
{
	const struct home h = tenant_home(a, NULL);
	struct stat st;

	if (fstatat(h.base, h.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		action_fail("the folder %s/%s is there already and belongs to uid %u; move it away, then retry this job",
		            a->config.home_dir, h.name, (unsigned)st.st_uid);
	close(h.base);
}

static void make_user(struct action *a)
{
	const char *name = action_text(a, "username"), *home = action_text(a, "home"), *why;
	const uid_t uid = (uid_t)action_int(a, "uid", 0);
	const char *number = arena_printf(a->arena, "%u", (unsigned)uid);
	struct command groupadd = { .argv = { "groupadd", "--gid", number, "--", name } };
	struct command useradd = { .argv = { "useradd", "--uid", number, "--gid", number, "--no-create-home",
		                                 "--home-dir", home, "--shell", "/usr/sbin/nologin", "--comment",
		                                 "Postern account", "--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0",
		                                 "--", name } };
	struct passwd *user = getpwnam(name);
	struct group *group = getgrnam(name);

	if (strcmp(a->config.unix_users, "create") != 0)
		action_fail("no Unix users are made on this machine (setting unix_users = adopt): create the account with "
		            "\"adopt\": true, or set unix_users = create");
	if (uid == 0)
		action_fail("the account was asked for before uids were given; delete it, and create it again");
	if (user && user->pw_uid != uid)
		action_fail("there is a Unix user %s (uid %u) already, which this account did not make; choose another "
		            "username, or, as an administrator, create the account with \"adopt\": true",
		            name, (unsigned)user->pw_uid);
	if (!user) {
		if ((!group || group->gr_gid != uid) && (why = tenant_name_objection(name)))
			action_fail("the Unix user %s is not made: %s; choose another username", name, why);
		if (!is_free(a, uid, name))
			ask_for_another(a, uid, name);
		if (!group) {
			check_nothing_is_there(a);
			if (!command_run(a, &groupadd))
				action_fail("the group %s cannot be created: %s", name, command_complaint(a, &groupadd));
		}
		if (!command_run(a, &useradd))
			action_fail("the Unix user %s cannot be created: %s", name, command_complaint(a, &useradd));
	}
	if (!(user = tenant_user(a, name)))
		action_retry("the Unix user %s was created, but is not found", name);
	have_home(a, user);
}

/* ---- adopted users ---- */

static void adopt_user(struct action *a)
{
	const char *name = action_text(a, "username"), *home = action_text(a, "home");
	struct passwd *user = tenant_user(a, name);
	struct json_object *result = json_object_new_object();
	struct home h;
	struct stat st;
	int folder;

	if (!user)
		action_fail("there is no Unix user %s to adopt; create it, or the account without \"adopt\" (setting "
		            "unix_users = create)", name);
	if (strncmp(name, "postern", 7) == 0)
		action_fail("the Unix user %s is Postern's own", name);
	tenant_check_groups(a, user);
	if (strcmp(user->pw_dir, home) != 0)
		action_fail("the home of the Unix user %s is %s, not %s; create the account by the command on this machine: "
		            "postern account create --username %s --adopt true --home %s",
		            name, user->pw_dir, home, name, user->pw_dir);
	h = tenant_home(a, user);
	folder = file_open_beneath(h.base, h.name, O_RDONLY | O_DIRECTORY, 0);
	if (folder < 0 || fstat(folder, &st) != 0)
		action_fail("the home folder %s cannot be opened: %s", home,
		            errno == ELOOP ? "a symbolic link is in its way" : strerror(errno));
	if (st.st_uid != user->pw_uid)
		action_fail("the home folder %s belongs to uid %u, not to %s; chown it, then retry this job", home,
		            (unsigned)st.st_uid, name);
	json_object_object_add(result, "uid", json_object_new_int64(user->pw_uid));
	if (is_open(a, &st, user)) {
		json_object_object_add(result, "open", json_object_new_boolean(true));
		action_log("the home folder %s (mode %04o) is open to other tenants; postern account mend %s closes it", home,
		           (unsigned)(st.st_mode & 07777), name);
	}
	action_result(result);
	close(folder);
	close(h.base);
}

static void create(struct action *a)
{
	struct home h;
	int folder;

	if (!tenant_none(a)) {
		if (action_bool(a, "adopt", false))
			adopt_user(a);
		else
			make_user(a);
		return;
	}
	h = tenant_home(a, NULL);
	folder = file_make_folder(h.base, arena_printf(a->arena, h.closed ? "%s/home" : "%s", h.name), 0711, (uid_t)-1,
	                          (gid_t)-1);
	if (folder < 0)
		action_fail("the home folder %s cannot be made: %s", action_text(a, "home"), strerror(errno));
	close(folder);
	close(h.base);
}

/* Close a home to other tenants that its owner, or who made it, left open. */
static void mend(struct action *a)
{
	struct passwd *user = tenant_none(a) ? NULL : tenant_user(a, action_text(a, "username"));

	if (user)
		have_home(a, user);
}

/* ---- suspending ---- */

/* Nobody logs in as a user that has expired, nor does cron or at run anything as it. */
static void set_expiry(struct action *a, const struct passwd *user, const char *when)
{
	struct command usermod = { .argv = { "usermod", "--expiredate", when, "--", user->pw_name } };

	if (!command_run(a, &usermod))
		action_retry("the Unix user cannot be changed: %s", command_complaint(a, &usermod));
}

enum { EXPIRED = 1 };
static const char *expiry_of(struct action *a)
{
	int64_t day = action_int(a, "expires", 0);

	return day > EXPIRED ? arena_printf(a->arena, "%lld", (long long)day) : "";
}

/* What the administrator had set is kept with the account: it is put back. */
static void lock_user(struct action *a, const struct passwd *user)
{
	struct spwd *shadow = getspnam(user->pw_name);
	struct json_object *result;

	if (shadow && shadow->sp_expire > EXPIRED) {
		result = json_object_new_object();
		json_object_object_add(result, "expires", json_object_new_int64(shadow->sp_expire));
		action_result(result);
	}
	set_expiry(a, user, "1");
}

/* The mail server lets nobody in any more, but does not end who is in. */
static void end_mail_sessions(struct action *a)
{
	struct json_object *all = action_value(a, "mailboxes");
	size_t count = json_object_is_type(all, json_type_array) ? json_object_array_length(all) : 0;

	for (size_t i = 0; i < count && *a->config.mailbox_kick; i++) {
		struct command kick = { 0 };
		const char *address = json_object_get_string(json_object_array_get_idx(all, i));

		if (!address || !strchr(address, '@') || *address == '-')
			action_fail("a mailbox of the job's data has no address");
		command_split(a, a->config.mailbox_kick, &kick);
		command_add(&kick, address);
		if (!command_run(a, &kick))
			action_log("the sessions of %s: %s", address, command_complaint(a, &kick)); /* there may have been none */
	}
}

static void suspend(struct action *a)
{
	struct passwd *user = tenant_none(a) ? NULL : tenant_user(a, action_text(a, "username"));
	const char *left;

	end_mail_sessions(a);
	if (!user)
		return;
	lock_user(a, user);
	if ((left = tenant_end_processes(a, user)))
		action_retry("%s", left);
}
static void unsuspend(struct action *a)
{
	struct passwd *user = tenant_none(a) ? NULL : tenant_user(a, action_text(a, "username"));

	if (user)
		set_expiry(a, user, expiry_of(a));
}

/* ---- the end ---- */

/* A pool of a user that is gone keeps PHP-FPM from starting, for everybody. NULL: there is none. */
static const char *pool_of(struct action *a, const char *name)
{
	glob_t files = { 0 };
	char line[1024], word[64];
	const char *found = NULL;

	glob(arena_printf(a->arena, "%s/*/fpm/pool.d/*.conf", a->config.php_dir), 0, NULL, &files);
	glob("/etc/php-fpm.d/*.conf", GLOB_APPEND, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc && !found; i++) {
		FILE *f = fopen(files.gl_pathv[i], "re");

		while (f && !found && fgets(line, sizeof line, f))
			if ((sscanf(line, " user = \"%63[^\"]", word) == 1 ||
			     sscanf(line, " user = %63[^ \t\r\n;]", word) == 1) &&
			    strcmp(word, name) == 0)
				found = arena_strdup(a->arena, files.gl_pathv[i]);
		if (f)
			fclose(f);
	}
	globfree(&files);
	return found;
}

/* All that a removal needs, before anything is touched: nobody logs in, nothing runs, nothing is in the way. */
static void end(struct action *a)
{
	const char *name = action_text(a, "username"), *pool, *left;
	struct passwd *user = tenant_none(a) ? NULL : tenant_user(a, name);
	const struct home h = tenant_home(a, user);

	close(h.base);
	end_mail_sessions(a);
	if (!user)
		return;
	if (!is_adopted(a) && (pool = pool_of(a, name)))
		action_fail("the pool %s of PHP-FPM runs as %s, and PHP-FPM does not start with a pool of nobody: remove "
		            "that file, reload PHP-FPM, then delete the account again", pool, name);
	lock_user(a, user);
	if ((left = tenant_end_processes(a, user))) {
		if (!action_bool(a, "suspended", false))
			set_expiry(a, user, expiry_of(a));
		action_retry("%s", left);
	}
}

/* What belongs to this uid in a folder that everybody may write into. */
static void sweep(const char *folder, uid_t uid)
{
	DIR *entries = opendir(folder);
	struct dirent *e;
	struct stat st;

	while (entries && (e = readdir(entries)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    fstatat(dirfd(entries), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == uid &&
		    !file_remove(dirfd(entries), e->d_name))
			action_log("%s/%s stays: %s", folder, e->d_name, strerror(errno));
	if (entries)
		closedir(entries);
}

/* What goes by the user's name or uid outside the home. Mail that lies on the machine is kept, for root. */
static void remove_traces(struct action *a, const char *name, uid_t uid)
{
	static const char *const folders[] = {
		"/var/spool/cron/atjobs", "/var/spool/cron/atspool", "/tmp", "/var/tmp", "/dev/shm",
		"/proc/1/root/tmp", "/proc/1/root/var/tmp", NULL /* posternd's own /tmp may be another (PrivateTmp) */
	};
	const char *mail = arena_printf(a->arena, "/var/mail/%s", name);
	const char *tab = arena_printf(a->arena, "%s/%s", a->config.cron_dir, name);

	if (unlink(tab) != 0 && errno != ENOENT && errno != ENOTDIR)
		action_retry("the crontab %s cannot be removed: %s", tab, strerror(errno));
	unlink(arena_printf(a->arena, "/var/lib/systemd/linger/%s", name));
	for (size_t i = 0; folders[i]; i++)
		sweep(folders[i], uid);
	if (lchown(mail, 0, 0) == 0 &&
	    rename(mail, arena_printf(a->arena, "%s.deleted-%lld", mail, (long long)action_int(a, "id", 0))) != 0)
		action_log("%s cannot be renamed: %s", mail, strerror(errno));
}

/* Root's from here on: one change of the top folder closes all below it, and nothing below is looked at. */
static void archive_home(struct action *a, const struct home *h, const char *kept)
{
	int from = file_open_beneath(h->base, h->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), folder = -1;

	if (from < 0 && errno == ENOENT)
		return;
	folder = file_make_folder(h->base, ARCHIVE, 0700, (uid_t)-1, (gid_t)-1);
	if (folder < 0 || fchmod(folder, 0700) != 0 || (geteuid() == 0 && fchown(folder, 0, 0) != 0) ||
	    renameat2(h->base, h->name, h->base, kept, RENAME_NOREPLACE) != 0)
		action_fail("the home folder %s cannot be put away as %s/%s: %s", action_text(a, "home"), a->config.home_dir,
		            kept, strerror(errno));
	if (from >= 0 && ((geteuid() == 0 && fchown(from, 0, 0) != 0) || fchmod(from, 0700) != 0))
		action_fail("%s/%s cannot be closed: %s", a->config.home_dir, kept, strerror(errno));
	if (from >= 0)
		fremovexattr(from, "system.posix_acl_access");
	if (from >= 0)
		close(from);
	close(folder);
}

static void delete(struct action *a)
{
	const char *name = action_text(a, "username"), *home = action_text(a, "home"), *left;
	const char *kept = arena_printf(a->arena, ARCHIVE "/%lld-%s", (long long)action_int(a, "id", 0), name);
	struct command userdel = { .argv = { "userdel", "--", name } };
	struct passwd *user = tenant_none(a) ? NULL : tenant_user(a, name);
	const struct home h = tenant_home(a, user);
	bool purge = action_bool(a, "purge", false), adopted = !tenant_none(a) && is_adopted(a);

	if (user && (left = tenant_end_processes(a, user)))
		action_retry("%s", left);
	if (adopted) { /* it is the machine's again */
		tenant_remove_sockets(a, name);
		if (user && !action_bool(a, "suspended", false))
			set_expiry(a, user, expiry_of(a));
		if (purge && !file_remove(h.base, h.name))
			action_fail("the home folder %s cannot be removed: %s", home, strerror(errno));
		return;
	}
	tenant_remove_sockets(a, name);
	archive_home(a, &h, kept);
	if (user && !command_run(a, &userdel)) {
		if (renameat2(h.base, kept, h.base, h.name, RENAME_NOREPLACE) == 0)
			have_home(a, user);
		action_retry("the Unix user %s cannot be removed: %s", name, command_complaint(a, &userdel));
	}
	if (action_int(a, "uid", 0) > 0 || user)
		remove_traces(a, name, user ? user->pw_uid : (uid_t)action_int(a, "uid", 0));
	if (purge && !file_remove(h.base, kept))
		action_fail("what was the home folder, %s/%s, cannot be removed: %s", a->config.home_dir, kept,
		            strerror(errno));
	close(h.base);
}

static const struct kind account_create = { "account.create", "Have the Unix user and the home folder of an account",
	60, 5, present, create };
static const struct kind account_mend = { "account.mend", "Close an account's home folder to other tenants",
	60, 5, present, mend };
static const struct kind account_suspend = { "account.suspend",
	"Keep the Unix user of a suspended account from logging in, and end its processes", 120, 5, held, suspend };
static const struct kind account_unsuspend = { "account.unsuspend", "Let it log in again", 60, 5, held, unsuspend };
static const struct kind account_end = { "account.end",
	"End all that runs as the Unix user of an account that is to be removed", 120, 3, held, end };
static const struct kind account_delete = { "account.delete",
	"Remove the Unix user; put its home folder away, or remove it when asked for", 3600, 5, held, delete };
POSTERN_KIND(account_create);
POSTERN_KIND(account_mend);
POSTERN_KIND(account_suspend);
POSTERN_KIND(account_unsuspend);
POSTERN_KIND(account_end);
POSTERN_KIND(account_delete);
