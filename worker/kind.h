/*
 * kind.h: what kinds of jobs there are, as data. A file in worker/actions/ fills one struct for each kind and ends with
 * POSTERN_KIND(name); nothing else needs to know it. posternd reads name, limits and fields and starts the executable of that
 * name in the actions folder; ours are links to posternd itself, which then calls `run`. docs/actions.md has the contract.
 */
#ifndef POSTERN_KIND_H
#define POSTERN_KIND_H
#include "api.h"

struct action;

struct kind {
	const char *name;           /* "website.apply": also the name of the executable */
	const char *about;          /* one sentence */
	int limit_s;                /* an attempt may take this long */
	int attempts;               /* at most, where failures are transient */
	/* What the job's data must hold: posternd checks it by the rules of lib/input.h and hands over nothing else. F_REQUIRED:
	 * must be there; F_NULLABLE: may be null. Ended by a zero row; the JSON of F_JSON fields is handed over as it is. */
	const struct field *fields;
	void (*run)(struct action *); /* returns when all is done; see action.h for what else it may say */
	bool heavy;                 /* goes through much data, or runs what a tenant wrote: one of an account at once (work.take) */
};

extern const struct kind *const __start_postern_kinds[];
extern const struct kind *const __stop_postern_kinds[];
#define POSTERN_KIND(k) \
	static const struct kind *const k##_entry __attribute__((section("postern_kinds"), used)) = &(k)

/* The kind of this name, or NULL. */
const struct kind *kind_find(const char *name);
#endif
