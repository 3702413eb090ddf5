/*
 * db_error.h: what PostgreSQL says, as an API error: one table from SQLSTATE to error code. Texts of PostgreSQL never reach a
 * caller; those of class PN are ours (gate.fail in sql/functions/10_gate.sql) and do.
 */
#ifndef POSTERN_DB_ERROR_H
#define POSTERN_DB_ERROR_H
#include "db.h"
#include "request.h"

/* Fill r->failure from what a statement came back with. */
void db_failure(struct request *r, enum db_status, const struct db_error *);
#endif
