/* account.c: the Unix user that an account runs as. */
#include "action.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

static const struct field present[] = {
	{ "username", F_USERNAME, F_REQUIRED, "Unix user" },
	{ "home",     F_PATH,     F_REQUIRED, "Home folder", .max = 500 },
	{ 0 }
};
static const struct field removed[] = {
	{ "username", F_USERNAME, F_REQUIRED, "Unix user" },
	{ "home",     F_PATH,     F_REQUIRED, "Home folder", .max = 500 },
	{ "purge",    F_BOOL,     0,          "Whether the home folder goes too" },
	{ 0 }
};

/* A folder that belongs to posternd stands for the user: for trying Postern out, and for tests. */
static bool without_users(struct action *a)
{
	return strcmp(a->config.unix_users, "none") == 0;
}

/* The user, who must be somebody's and not the system's: root's or a daemon's files are nobody's web space. */
static struct passwd *user_of(struct action *a)
{
	enum { FIRST_UID = 1000, NOBODY = 65534 };
	struct passwd *user = getpwnam(action_text(a, "username"));

	if (user && (user->pw_uid < FIRST_UID || user->pw_uid == NOBODY))
		action_fail("the Unix user %s (uid %u) belongs to the system; an account needs one of its own, from uid %d", user->pw_name,
		            (unsigned)user->pw_uid, FIRST_UID);
	return user;
}

static int root_folder(void)
{
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		action_retry("/: %s", strerror(errno));
	return root;
}

static void make_home(struct action *a, uid_t uid, gid_t gid)
{
	const char *home = action_text(a, "home");
	int root = root_folder(), folder = file_make_folder(root, home, 0711, uid, gid);

	if (folder < 0)
		action_fail("the home folder %s cannot be made: %s", home, strerror(errno));
	close(folder);
	close(root);
}

static void create(struct action *a)
{
	const char *name = action_text(a, "username"), *home = action_text(a, "home");
	struct command useradd = { .argv = { "useradd", "--create-home", "--home-dir", home, "--user-group", "--shell",
	                                     "/usr/sbin/nologin", "--", name } };
	struct passwd *user;

	if (without_users(a)) {
		make_home(a, (uid_t)-1, (gid_t)-1);
		return;
	}
	user = user_of(a);
	if (!user && strcmp(a->config.unix_users, "adopt") == 0)
		action_fail("there is no Unix user %s; create it, or set unix_users = create", name);
	if (!user && !command_run(a, &useradd))
		action_fail("the Unix user %s cannot be created: %s", name, command_complaint(a, &useradd));
	if (!user && !(user = user_of(a)))
		action_retry("the Unix user %s was created, but is not found", name);
	make_home(a, user->pw_uid, user->pw_gid);
}

/* Nobody logs in as the user of a suspended account; its websites are jobs of their own. */
static void set_expiry(struct action *a, const char *when)
{
	struct command usermod = { .argv = { "usermod", "--expiredate", when, "--", action_text(a, "username") } };

	if (strcmp(a->config.unix_users, "create") != 0 || !user_of(a))
		return; /* an adopted user is left as it is */
	if (!command_run(a, &usermod))
		action_fail("the Unix user cannot be changed: %s", command_complaint(a, &usermod));
}
static void suspend(struct action *a)
{
	set_expiry(a, "1");
}
static void unsuspend(struct action *a)
{
	set_expiry(a, "");
}

/* The home folder stays unless it was asked for, and so does a user whose home it is. */
static void delete(struct action *a)
{
	const char *name = action_text(a, "username"), *home = action_text(a, "home");
	struct command userdel = { .argv = { "userdel", "--", name } };
	struct passwd *user = without_users(a) ? NULL : user_of(a);
	bool purge = action_bool(a, "purge", false);
	int root = root_folder();

	if (purge && strchr(home + 1, '/') == NULL)
		action_fail("%s is no home folder that may be removed", home);
	if (user && strcmp(a->config.unix_users, "create") == 0 && !command_run(a, &userdel))
		action_retry("the Unix user %s cannot be removed: %s", name, command_complaint(a, &userdel));
	if (purge && !file_remove(root, home))
		action_fail("the home folder %s cannot be removed: %s", home, strerror(errno));
	close(root);
}

static const struct kind account_create = { "account.create", "Have the Unix user and the home folder of an account", 60, 5, present, create };
static const struct kind account_suspend = { "account.suspend", "Keep the Unix user of a suspended account from logging in", 60, 5, present, suspend };
static const struct kind account_unsuspend = { "account.unsuspend", "Let it log in again", 60, 5, present, unsuspend };
static const struct kind account_delete = { "account.delete", "Remove the Unix user; the home folder only when asked for", 3600, 5, removed, delete };
POSTERN_KIND(account_create);
POSTERN_KIND(account_suspend);
POSTERN_KIND(account_unsuspend);
POSTERN_KIND(account_delete);
