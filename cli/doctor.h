/*
 * doctor.h: `postern doctor`: checks, each of which adds a row: what was looked at, what was found, what helps.
 */
#ifndef POSTERN_DOCTOR_H
#define POSTERN_DOCTOR_H
#include "cli.h"

struct pg_conn;
struct pg_result;
struct passwd;

struct doctor {
	struct cli *cli;
	const struct config *config;
	const char *url;           /* of the web server, or NULL */
	struct json_object *rows;  /* {"check","status","finding","remedy"} */
	size_t findings;
};

/* Something is wrong; `remedy` is a sentence. */
void doctor_finding(struct doctor *, const char *check, const char *remedy, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* All is well with it. */
void doctor_fine(struct doctor *, const char *check, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* It could not be looked at, for a reason that is no fault of the installation, or that another row tells. */
void doctor_skipped(struct doctor *, const char *check, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What a setting's command line, with these words after its own (up to a NULL; NULL: none), says, both ways, in `out`; false: it cannot be
 * run, does not end with 0, or says nothing for too long, which `out` then says. What goes beyond `max` is left out. */
bool doctor_run(const char *command, const char *const *words, char *out, size_t max);

/* A statement's result, for PQclear(); a server that does not answer is left after some seconds, and the error says so. */
struct pg_result *doctor_ask(struct pg_conn *, const char *sql, const char *parameter);
/* The same of a result or a connection: what went wrong. */
const char *doctor_why(struct pg_conn *, struct pg_result *);
/* 0, or why this Unix user cannot read the file (errno); asked as root. */
int doctor_reads(const struct passwd *who, const char *path);

/* doctor_database.c: schema, grants, logins, clock. */
void doctor_database(struct doctor *);
/* doctor_servers.c: the servers of accounts' databases. */
void doctor_servers(struct doctor *);
/* doctor_tenants.c: what keeps tenants apart outside of Postern: servers of databases, sockets, reloads, PHP. */
void doctor_tenants(struct doctor *);
/* doctor_web.c: what the web server at `url` does with our addresses. */
void doctor_web(struct doctor *);
#endif
