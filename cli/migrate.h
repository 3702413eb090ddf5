/*
 * migrate.h: bring a database to this version's schema: `postern migrate`, also a step of `postern init`.
 */
#ifndef POSTERN_MIGRATE_H
#define POSTERN_MIGRATE_H
#include "cli.h"

struct passwd;

/*
 * Forward only: sql_dir/migrations/NNNN_name.sql in order, each in a transaction of its own with its row in
 * postern_schema.migrations; then, where they changed, sql_dir/functions and the scopes of the route tables in one
 * transaction. Every transaction takes the same lock and looks again, so running it twice, or two at once, does each
 * step once. One line a step on stdout. dry_run only says what would be done; force replaces functions that are current, too.
 * Returns the exit code, after a message where it is not CLI_OK.
 */
int migrate_run(struct cli *, bool dry_run, bool force);

/* What migrate would find to do: *pending migrations, and whether the functions are of another version. Changes nothing.
 * Returns the exit code, after a message where it is not CLI_OK. */
int migrate_look(struct cli *, size_t *pending, bool *functions);

/* Connected with dsn_direct as the operator, or, with dbname, to another database of the same server. root, which is no role of
 * PostgreSQL, connects to a local one as the user postgres does. NULL when out of memory; else check PQstatus. For
 * PQfinish(). */
struct pg_conn *migrate_connect(const struct config *, const char *dbname);

/* connect_timeout for that connection string, which libpq gives each host: with several, one that hangs is left soon.
 */
const char *migrate_patience(const char *dsn);

/* A connection with these keywords; made as the Unix user `who`, with their groups, which takes root. NULL for `who`: as ourselves. */
struct pg_conn *connect_as(const struct passwd *who, const char *const *keys, const char *const *values);
#endif
