/*
 * action.h: what an action of ours is written with: its data, what it may say, programs it runs, files it writes.
 * An action is a process of its own that may be killed at any moment and is then run again: it brings about the state that its
 * data describe, however much of that is there already. Memory: all texts live as long as the process.
 */
#ifndef POSTERN_ACTION_H
#define POSTERN_ACTION_H
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "arena.h"
#include "config.h"
#include "kind.h"

struct action {
	const char *job;             /* UUID */
	const char *kind;
	int attempt;                 /* 1, 2, … */
	struct json_object *data;    /* flat object, checked against the kind's fields */
	struct json_object *secret;  /* or NULL; never shown or logged */
	struct config config;
	struct arena *arena;
};

/* The job's lock file, as posternd has opened it for this process; -1: there is none. */
extern int action_lock;

/* Read the job from standard input and run it: posternd under the name of a kind. Returns the exit code. */
int action_main(const struct kind *);

/* A text of the data that must be there: without it the action fails. */
const char *action_text(struct action *, const char *name);
/* The same, or `absent` where it is missing or null. */
const char *action_text_or(struct action *, const char *name, const char *absent);
int64_t action_int(struct action *, const char *name, int64_t absent);
bool action_bool(struct action *, const char *name, bool absent);
struct json_object *action_value(struct action *, const char *name); /* borrowed; NULL: missing or null */
const char *action_secret(struct action *, const char *name);

/* What it may say, a JSON line each. Percent 0 to 100; -1: leave as it is. */
void action_progress(int percent, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void action_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void action_result(struct json_object *); /* kept with the job and given to its resource; takes the reference */
/* While it waits for another action of ours: that it is no idleness (setting job_idle_s) is said every few seconds. */
void action_waits(bool);
/* End it: for good, with a reason that says what to do; or for now, to be tried again later. */
_Noreturn void action_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void action_retry(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Or because something else on the machine is in the way: the job is tried, without end, until that is mended.
 * What it is may be somebody else's: only staff reads the text. */
_Noreturn void action_blocked(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Run one step of several: what would end the action with action_fail, and with `last` what would with action_retry, ends the step
 * alone: false with the reason. Steps do not nest. */
bool action_step(struct action *, void (*step)(void *), void *arg, bool last, const char **why);

/*
 * Programs, run without a shell. They die with the action (PR_SET_PDEATHSIG), get a clean environment and no open files
 * but the ones named here. Arguments of other people's making go after "--" or where the program takes no option.
 */
#define COMMAND_ARGS_MAX 160 /* room for every service that may be named */
struct command {
	const char *argv[COMMAND_ARGS_MAX]; /* ended by NULL; a program without "/" is looked for in the fixed PATH */
	const char *const *env;      /* "NAME=value" beyond PATH, HOME and LC_ALL; ended by NULL; or NULL */
	const char *user;            /* Unix user to run as; NULL: the action's own */
	bool tenant;                 /* it is a tenant's in any case: limited as tenants' programs are (contain.h), as all with a user are */
	const char *folder;          /* to run in; NULL: / */
	const char *input;           /* for its stdin; NULL: nothing */
	size_t input_len;
	int input_fd, output_fd;     /* > 0: used instead, and left open */
	size_t output_max;           /* of stdout that is kept; 0: 64 KiB */
	bool daemon;                 /* what it starts is to stay: neither its end nor its output is waited for, nor does it hold the lock */
	void (*line)(void *arg, const char *line); /* called for each line of stdout, which then is not kept; or NULL */
	void *arg;
	/* filled in: */
	int status;                  /* exit code; 128 + number of the signal; 127: could not be started */
	char *output;                /* what was kept of stdout, never NULL */
	size_t output_len;
	bool cut;                    /* there was more of it than was kept */
	char *errors;                /* the last 64 KiB of stderr, never NULL */
};
/* True when it ended with exit code 0. */
bool command_run(struct action *, struct command *);
/* A pipeline: the stdout of each is the stdin of the next. True when every one ended with exit code 0. */
bool command_pipe(struct action *, struct command *, size_t count);
/* What a command that failed has to say, as one line: the end of its stderr, else how it ended. */
const char *command_complaint(struct action *, const struct command *);
/* A setting that holds a command line ("nginx -s reload"), split at spaces into `argv`; then further words, one at a time. They end
 * the action where `argv` has no room: no word is left out. */
void command_split(struct action *, const char *line, struct command *);
void command_add(struct command *, const char *word);

/*
 * Files. `root` is an open folder that nothing below may lead out of (openat2, RESOLVE_BENEATH; symbolic links are not
 * followed); paths are relative to it, a leading "/" is dropped. -1 and false leave errno.
 */
int file_open_beneath(int root, const char *path, int flags, mode_t mode);
/* Make a folder and those above it; new ones belong to uid:gid ((uid_t)-1: to us). Returns it, open. */
int file_make_folder(int root, const char *path, mode_t mode, uid_t uid, gid_t gid);
/* Write a whole file so that after a crash there is either the old or the new one: temporary file, fsync, rename, fsync. */
bool file_write(int root, const char *path, const void *bytes, size_t len, mode_t mode, uid_t uid, gid_t gid);
/* A file's bytes, NUL-terminated; NULL: cannot be read, or is longer than max. */
char *file_read(struct action *, int root, const char *path, size_t max, size_t *len);
/* Remove a file or a folder with all in it, without following links. True when there is none any more. */
bool file_remove(int root, const char *path);
/* The folder of an absolute path, open, and the file's name there. -1: errno. */
int file_folder_of(const char *path, const char **name);
/* Wait for and hold the only lock on this path's file, made where there is none, until the action ends. -1: errno. */
int file_lock(const char *path);
#endif
