/*
 * reply.h: answers in both dialects, built whole in memory. An error is RFC 9457 where the caller asks for it.
 */
#ifndef POSTERN_REPLY_H
#define POSTERN_REPLY_H
#include "gate.h"
#include "request.h"

#define REPLY_MAX_BYTES (16u << 20) /* a page of 100 rows with every list full fits */

void reply_init(struct reply *);
void reply_free(struct reply *);

/* An answer from what the gate brought: list, object, document or 204. `masked`: the show-once value as null, for keeping. */
void reply_result(const struct request *, const struct verdict *, int status, bool masked, struct reply *);
/* r->failure, with Allow, WWW-Authenticate, Retry-After as its code wants. */
void reply_failure(const struct request *, struct reply *);
/* The head of an export; its lines are streamed. */
void reply_export(const struct request *, bool csv, struct reply *);
/* The methods that r's path takes, as in Allow. */
void reply_methods(const struct request *, struct buf *);
/* 204 with Allow. */
void reply_options(const struct request *, struct reply *);
/* The first answer of an Idempotency-Key again. */
void reply_kept(const struct request *, const struct verdict *, struct reply *);
/* A bare object such as {"status":"ok"} without a token. */
void reply_open(const struct request *, int status, const char *json, struct reply *);

/* Does If-None-Match name this tag? */
bool reply_none_match(const struct request *, const char *etag);
#endif
