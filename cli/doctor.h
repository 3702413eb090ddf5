/*
 * doctor.h: `postern doctor`: checks, each of which adds a row: what was looked at, what was found, what helps.
 */
#ifndef POSTERN_DOCTOR_H
#define POSTERN_DOCTOR_H
#include "cli.h"

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

/* doctor_database.c: schema, grants, logins, clock. */
void doctor_database(struct doctor *);
/* doctor_web.c: what the web server at `url` does with our addresses. */
void doctor_web(struct doctor *);
#endif
