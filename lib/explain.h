/*
 * explain.h: would a request be let in? For a method and a path, asked as data, of the resources that are linked into the
 * program: the route is found, the token judged and the refusal put into words by what real requests go through.
 */
#ifndef POSTERN_EXPLAIN_H
#define POSTERN_EXPLAIN_H
#include "api.h"

/* `prepare`: body {method, path, ip, https} gets what the gate is to be told of such a request, as "_…" members. */
int explain_prepare(struct request *, struct json_object *body);

/* `tell`: the gate's reason becomes the answer that such a request would get. */
int explain_tell(struct request *, struct json_object *document);
#endif
