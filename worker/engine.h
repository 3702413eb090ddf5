/*
 * engine.h: the program that keeps backups. It keeps streams of bytes, each as a snapshot of one file, with tags; what is in
 * them is the action's matter (worker/actions/backup.c). One repository serves the installation: what is in it is encrypted
 * and belongs to posternd, and the engine alone is run by posternd's own user. What reads or writes a tenant's files is not.
 * Another engine is another struct engine in engine.c: functions that fill in commands.
 */
#ifndef POSTERN_ENGINE_H
#define POSTERN_ENGINE_H
#include "action.h"

/* SHARED: beside other jobs. ALONE: nobody else may use the repository; where somebody does, the job is tried again later. */
enum engine_use { ENGINE_SHARED, ENGINE_ALONE };

/* A stream on its way into the repository. */
struct stream {
	char snapshot[65];           /* filled in when the engine is done: "" till then; perhaps only the beginning of its name */
	int64_t bytes;               /* stored so far */
	void (*progress)(struct stream *); /* called as bytes grow; or NULL */
	void *arg;
};

/*
 * Before all else: have the repository and its password (made where there is neither), and remove the locks that killed runs
 * left there. What cannot be done ends the action. Engine and repository are then ours until the action ends.
 */
void engine_open(struct action *, enum engine_use);
/* The command that stores its stdin as this file, with these tags (ended by NULL), and tells the stream of it. */
void engine_save(struct action *, struct stream *, const char *file, const char *const *tags, struct command *);
/* The command that writes this file of a snapshot to its stdout. */
void engine_load(struct action *, const char *snapshot, const char *file, struct command *);
/* The whole names of all snapshots that have this tag, as an array. NULL with the reason in *why. */
struct json_object *engine_list(struct action *, const char *tag, const char **why);
/* Forget all snapshots that have this tag; their space is freed by engine_prune(). Needs the repository ALONE: false with the
 * reason in *why where it is not, or where the engine failed. */
bool engine_forget(struct action *, const char *tag, const char **why);
/* The same for one snapshot, by its name or the beginning of that. */
bool engine_forget_one(struct action *, const char *snapshot, const char **why);
bool engine_prune(struct action *, const char **why);
#endif
