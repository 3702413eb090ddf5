/*
 * db.h: libpq, wrapped once. A connection is opened on first use, checked before each use, opened again after any failure
 * and closed when idle. Of several hosts of the connection string (a primary and its standbys) it uses the first that
 * lets it in, and leaves one that hangs within seconds; all of it takes db_timeout_ms at most. It serves one thread at
 * a time; its owner holds a lock around it. Statements are constants of the
 * source; values travel out of line, in binary; results come in binary.
 */
#ifndef POSTERN_DB_H
#define POSTERN_DB_H
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "buf.h"
#include "config.h"

enum db_status {
	DB_GONE = 0, /* PostgreSQL is out of reach or did not answer in time: 503. What was sent may have happened. */
	DB_ERROR,    /* it said no: see struct db_error; nothing happened */
	DB_OK
};

struct db_error {
	char sqlstate[6];    /* "" when none was given */
	const char *message; /* in the arena; for class PN ours to show, else for the log only */
	const char *detail;  /* JSON of fields for class PN, may be "" */
};

#define DB_PARAMS_MAX 32
struct db_stmt {
	const char *name;    /* static; of the prepared statement, no other SQL has it; NULL: not prepared */
	const char *sql;
	int params;
	int columns;         /* the shape: results of another width are DB_ERROR */
};

struct db_value {
	const void *data;    /* NULL: SQL null */
	int len;
};

struct db;

/* Connects as `<role_prefix><program>`. NULL when out of memory. The config must outlive it. */
struct db *db_new(const struct config *, const char *program);
/* The same by dsn_direct, around a pooler: for LISTEN. */
struct db *db_new_direct(const struct config *, const char *program);
void db_free(struct db *);

/* Runs before a fresh connection is used, to see that the schema is the one this program knows. False closes it. */
void db_on_connect(struct db *, bool (*check)(struct db *, void *), void *);
/* Such a check: the database is one that we know, also after it was restored elsewhere (gate.compatible_from). */
bool db_fits(struct db *, void *unused);

/*
 * Run a statement with out-of-line binary values. On DB_OK *result is the caller's to PQclear. On DB_ERROR *error is
 * filled (texts in `arena`). Serialization failures are the caller's to retry.
 */
enum db_status db_run(struct db *, const struct db_stmt *, const struct db_value *values, PGresult **result,
                      struct arena *arena, struct db_error *error);

/* The same for a program that goes on whatever comes of it: a failure is logged, a connection whose prepared statements are
 * stale is closed, to be opened anew by the next. Returns whether it went well; *result (NULL: unwanted) is the caller's to clear. */
bool db_ran(struct db *, const struct db_stmt *, const struct db_value *values, PGresult **result, struct arena *);
/* A transaction of several statements. When the connection is lost in between, all that follows is DB_GONE until db_end. */
enum db_status db_begin(struct db *);
enum db_status db_end(struct db *, bool commit);

/* A statement without values or rows: "LISTEN …". */
enum db_status db_command(struct db *, const char *sql);
PGconn *db_connection(struct db *); /* that is open now, or NULL */
unsigned db_opened(const struct db *); /* how many there have been: another number, another connection */

/* Close it when it has not been used for the configured time. */
bool db_close_idle(struct db *, int64_t now_us); /* true: it was closed now */
void db_close(struct db *);

/* Is this SQLSTATE a conflict with somebody else's transaction, worth trying again? */
bool db_is_conflict(const struct db_error *);
/* Did a prepared statement go stale (the schema was migrated meanwhile)? Nothing happened; a new connection helps. */
bool db_is_stale(const struct db_error *);

/* Values in PostgreSQL's binary format, in the arena. */
struct db_value db_text(const char *); /* borrowed; NULL is null */
struct db_value db_int4(struct arena *, int32_t);
struct db_value db_int8(struct arena *, int64_t);
struct db_value db_bool(struct arena *, bool);
struct db_value db_bytes(const void *, size_t);
struct db_value db_text_array(struct arena *, const char *const *items, size_t n); /* NULL items: null */

/* Reading binary results. The caller knows the column's type. */
int32_t db_get_int4(const PGresult *, int row, int col, int32_t if_null);
int64_t db_get_int8(const PGresult *, int row, int col, int64_t if_null);
int64_t db_get_timestamp(const PGresult *, int row, int col, int64_t if_null); /* microseconds since 1970 */
const char *db_get_text(const PGresult *, int row, int col); /* NUL-terminated by libpq; NULL when null */
#endif
