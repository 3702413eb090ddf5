/*
 * machine.h: how this machine is: what /proc and its file systems say. Called in a process of its own (watch.c), as a file
 * system of a server that is gone may keep whoever asks for as long as it likes.
 */
#ifndef POSTERN_MACHINE_H
#define POSTERN_MACHINE_H
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* An object of facts; `before` is what was found the last time, or NULL: what CPUs did is the difference. */
struct json_object *machine_facts(const struct json_object *before);

/* The processes there are, in the order of their numbers. */
struct process {
	pid_t pid, parent;
	uid_t user;
	char state;
	int64_t cpu_ms, memory_bytes; /* its own */
	int64_t started_s;            /* Unix time */
	int64_t threads;
};
struct processes { struct process *item; size_t count; };
struct processes processes_read(void);
void processes_free(struct processes *);
/* One of them, without zombies; NULL: there is no such process. */
const struct process *processes_find(const struct processes *, pid_t);
/* The threads of a user's processes. */
int64_t processes_threads(const struct processes *, uid_t);
/* CPU time of those that descend from it and are of another Unix user than `own`; where there are none, of it and all. */
int64_t processes_cpu_of_others(const struct processes *, pid_t, uid_t own);
/* What it and all that descend from it use together. */
void processes_sum(const struct processes *, pid_t, int64_t *cpu_ms, int64_t *memory_bytes);
#endif
