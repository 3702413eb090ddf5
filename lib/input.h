/*
 * input.h: parameters and bodies, judged by the field tables before anything else sees them. Every fault names its field and
 * the remedy; several faults of a body are told at once. Checked values are replaced by their canonical form (A-labels,
 * UTC timestamps, canonical addresses).
 */
#ifndef POSTERN_INPUT_H
#define POSTERN_INPUT_H
#include "request.h"

/* Query text of the request into r->query (and r->id for ?id= of a .php path). Faults are 400 in r->failure. */
void input_query(struct request *);
/* Body of the request into r->body for its route. Faults are 400, 413, 415 or 422 in r->failure. */
void input_body(struct request *);
/* The same for a body that is JSON already (the CLI's). Takes a reference of its own. */
void input_object(struct request *, struct json_object *);
/* One value by the rules of its field: a checked copy (the caller's to put), or NULL with *why the remedy. NULL with *why ==
 * NULL: it is null, and may be. */
struct json_object *input_value(struct arena *, const struct field *, struct json_object *value, const char **why);
#endif
