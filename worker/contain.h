/*
 * contain.h: what programs that run as a tenant may take of the machine (settings tenant_…), and their end. Where posternd may
 * make cgroups (systemd gives it its own: Delegate=; version 2, or controllers of version 1 beside it) each account has one with
 * the limits and each job one within, whose processes are ended together. Where it may not, each process has limits of its
 * own, as far as there are such. posternd makes and removes the groups; an action puts what it starts as a tenant into them,
 * which it is told of by its environment.
 */
#ifndef POSTERN_CONTAIN_H
#define POSTERN_CONTAIN_H
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"

/* The folders whose cgroup.procs a tenant's program is put into, separated by ":", and the words of what they limit. */
#define CONTAIN_FOLDERS "POSTERN_CGROUPS"
#define CONTAIN_LIMITS "POSTERN_CGROUP_LIMITS"
enum { CONTAIN_TEXT = 4 * 4096 };

/* ---- posternd ---- */

/* Find out what may be done here, and end what an earlier posternd has left. Says in the log what is not held. */
void contain_open(const struct config *);
void contain_close(void);
/* The groups of a job, before its action starts; both texts for its environment ("": no groups). False with *why. */
bool contain_begin(const struct config *, int64_t account, const char *job, char folders[CONTAIN_TEXT], char limits[64],
                   const char **why);
/* End whatever is in the job's group, and remove it; the account's, too, when it was the last one. */
void contain_end(int64_t account, const char *job);
/* Microseconds of CPU time that the job's group has used; -1: nothing is in it, or there is none. */
int64_t contain_used(int64_t account, const char *job);
/* For server-health: {"by", "limits", "missing", "reason"}. */
struct json_object *contain_facts(void);

/* ---- a program that is about to become a tenant's ---- */

/* Put this process, which is about to become that user's, into its groups; where something is not limited by them, limit the
 * process: the kernel counts a user's processes together, so those that are there already come on top. False with *why: it must
 * not run. */
bool contain_join(const struct config *, uid_t user, const char **why);
#endif
