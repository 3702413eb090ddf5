/*
 * gate_private.h: what gate.c (admission) and change.c (changes and late rows) share. Nobody else includes it.
 */
#ifndef POSTERN_GATE_PRIVATE_H
#define POSTERN_GATE_PRIVATE_H
#include <pthread.h>
#include <stdatomic.h>

#include "gate.h"

/* Conflicts with other transactions and statements made stale by a migration are tried again this often. */
enum { GATE_ATTEMPTS = 5 };

struct gate {
	const struct config *config; /* of this program's start: for what cannot change while it runs */
	struct settings *settings;
	const struct resource *resource;
	/* the turnstile */
	pthread_mutex_t lock;
	struct gate_entry *first, **last;
	bool busy;
	struct db *admit_db;
	char admit_sql[1024];
	struct db_stmt admit;
	/* changes and late rows */
	pthread_mutex_t write_lock;
	struct db *write_db;
	char write_sql[1024];
	char outcome_sql[256];
	struct db_stmt outcome;
	struct db_stmt write;
	char open_sql[128];
	struct db_stmt open;
	atomic_bool refusals;      /* some may have to be settled */
	atomic_bool connected;     /* once at least */
};

/* Take the write connection; false when it was not free within db_timeout_ms. Give it back by unlocking write_lock. */
bool gate_take_write(struct gate *);

/* The digests of a request's token, as a statement's value. */
struct db_value gate_digests(const struct request *);
#endif
