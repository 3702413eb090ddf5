/*
 * reading.h: what a route reads, as the functions of sql/functions/90_endpoints.sql want it: for the gate and for the CLI.
 */
#ifndef POSTERN_READING_H
#define POSTERN_READING_H
#include "request.h"

struct reading {
	const char *op;            /* "list", "get", the name of a document's function; "": nothing is read */
	const char *id;            /* of the object, or the id after which a default list goes on, or NULL */
	int limit;                 /* rows wanted: one more than a page, to see whether more follow */
	const char *args;          /* JSON; NULL for a list in its default shape */
};

/* The arguments of a list in another than the default shape; NULL when out of memory. */
const char *reading_list(const struct request *);

/* Strings live in the request's arena. */
struct reading reading_of(struct request *);
#endif
