/*
 * migrate.h: bring a database to this version's schema: `postern migrate`, also a step of `postern init`.
 */
#ifndef POSTERN_MIGRATE_H
#define POSTERN_MIGRATE_H
#include "cli.h"

/*
 * Forward only: sql_dir/migrations/NNNN_name.sql in order, each in a transaction of its own with its row in
 * postern_schema.migrations; then, where they changed, sql_dir/functions and the scopes of the route tables in one
 * transaction. Every transaction takes the same lock and looks again, so running it twice, or two at once, does each
 * step once. One line a step on stdout. dry_run only says what would be done.
 * Returns the exit code, after a message where it is not CLI_OK.
 */
int migrate_run(struct cli *, bool dry_run);

/* What migrate would find to do: *pending migrations, and whether the functions are of another version. Changes nothing.
 * Returns the exit code, after a message where it is not CLI_OK. */
int migrate_look(struct cli *, size_t *pending, bool *functions);

/* Connected with dsn_direct as the operator, or, with dbname, to another database of the same server. root, which is no role of
 * PostgreSQL, connects to a local one as the user postgres does. NULL when out of memory; else check PQstatus. For
 * PQfinish(). */
struct pg_conn *migrate_connect(const struct config *, const char *dbname);
#endif
