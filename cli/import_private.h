/* import_private.h: what the parts of import.h share: import.c does it, import_outcome.c tells it. */
#ifndef POSTERN_IMPORT_PRIVATE_H
#define POSTERN_IMPORT_PRIVATE_H
#include "import.h"
#include "api.h"
#include "arena.h"
#include <time.h>

enum action { UNDECIDED = 0, CREATED, EXISTING, SKIPPED, UNASSIGNED, FAILED };

struct account {
	const char *name;
	bool created, has_primary;
	const char *failure;      /* why it cannot take domains, or NULL */
	int exit_code;            /* what that makes of the import */
	bool unfit;               /* its name cannot be an account's */
	struct account *next;
};

/* A line of the outcome: a site, or a name that was skipped. */
struct import_row {
	const struct site *site;
	const struct site_skip *skip;
	const char *type, *account, *root, *ssl; /* as they are in the database, or will be; NULL: unknown */
	enum action action;
	const char *reason;       /* for SKIPPED, UNASSIGNED and FAILED */
	int exit_code;            /* for FAILED */
};

struct call {
	const struct resource *resource;
	const struct route *route;
};

struct import {
	struct arena *arena;
	struct local *local;
	const struct import_options *options;
	const struct sites *conf;
	struct call get_domain, list_domains, create_domain, get_account, create_account;
	struct account *accounts;
	struct import_row *rows;
	size_t row_count;
	FILE *err;
	time_t now;
	bool unreachable;         /* no use going on */
};

void import_message(FILE *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The table or object. False when it could not be written. */
bool import_print(struct import *, FILE *out);
#endif
