/*
 * tenant.h: the Unix user of an account: who may be one, where its home lies, how its processes are ended.
 * All that an action does in the name of a tenant asks here first.
 */
#ifndef POSTERN_TENANT_H
#define POSTERN_TENANT_H
#include <pwd.h>

#include "action.h"

/* The user, or NULL where there is none. Ends the action where it belongs to the system, or has another uid than the
 * job's data say ("uid"): somebody made it anew. */
struct passwd *tenant_user(struct action *, const char *name);
/* Ends the action where the user has rights of its own, by a group of the setting privileged_groups. */
void tenant_check_groups(struct action *, const struct passwd *);
/* Why this name may not be given to a new user; NULL: it may. */
const char *tenant_name_objection(const char *name);

/* Are accounts' folders posternd's own, without Unix users? For trying Postern out, and for tests. */
bool tenant_none(const struct action *);

/*
 * Homes. A new one is <home_dir>/<username>/home: the folder above it is root's (0710, and the web server's user may
 * pass), so whatever modes the owner gives to his home, no other tenant gets near it. Elsewhere only that of an
 * adopted user may lie.
 */
struct home {
	int base;         /* home_dir, open */
	const char *name; /* the one folder below it that is all of the account's */
	bool closed;      /* that folder is root's, and holds the home */
};
/* Where the account's home is. Ends the action where it lies anywhere else than an account's home may. */
struct home tenant_home(struct action *, const struct passwd *user);

/* Let this user alone, and the web server's, in at most: of an open folder of the account's. */
bool tenant_close_folder(struct action *, int folder, uid_t owner, gid_t group);
/* The web server's user. Ends the action where there is none. */
struct passwd *tenant_web_user(struct action *);
/* Why the web server cannot get into this folder, found by being it; NULL: it can. */
const char *tenant_web_objection(struct action *, const char *folder);

/*
 * Applications' sockets: <app_sockets_dir>/<username>/s/<name>. Other tenants cannot enter the account's folder; `s` is root's and
 * sticky, so its owner makes sockets there and cannot move it, and the kernel follows no link that he puts there. Ends the action
 * where the kernel would.
 */
const char *tenant_socket(struct action *, const char *username, const char *name);
/* All of the account's, with their folder. */
void tenant_remove_sockets(struct action *, const char *username);

/* End all processes of this user. NULL: there are none any more; else why there are. */
const char *tenant_end_processes(struct action *, const struct passwd *);
/* A process of this uid, as text for people; NULL: there is none. */
const char *tenant_process(struct action *, uid_t);
#endif
