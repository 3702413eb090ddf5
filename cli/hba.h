/*
 * hba.h: who may log in to PostgreSQL as what: the lines that let each endpoint's Unix user be its own role, and no other.
 */
#ifndef POSTERN_HBA_H
#define POSTERN_HBA_H
#include "cli.h"

struct passwd;
struct pg_conn;

/*
 * See that the CLI's own role can log in. Where it cannot and `write`: put our lines at the top of the server's
 * pg_hba.conf and pg_ident.conf (this machine's, as root), have PostgreSQL judge them, and reload it; else say which
 * lines are missing and where. Returns the exit code, after a message where it is not CLI_OK.
 */
int hba_ensure(struct cli *, bool write);

/* A connection as login role <role_prefix><program>; made as Unix user `who`, NULL: as ourselves. Check PQstatus, PQfinish. */
struct pg_conn *hba_login(const struct config *, const char *program, const struct passwd *who);
#endif
