/*
 * openapi.h: the description of the API, made from the tables of every resource that is linked into the program.
 * Each edition is made on first use, then constant; safe to call from several threads.
 */
#ifndef POSTERN_OPENAPI_H
#define POSTERN_OPENAPI_H
#include <stdbool.h>

/* Zero is the usual one: the envelopes below /api/v1, OpenAPI 3.1, JSON. */
struct openapi_edition {
	bool plain; /* the plain dialect, below /api */
	bool v30;   /* OpenAPI 3.0, for tools that read no 3.1 */
	bool yaml;  /* in block style */
};

const char *openapi_document(struct openapi_edition); /* NULL when out of memory */
#endif
