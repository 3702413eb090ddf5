/*
 * cursor.h: opaque list positions. base64url of the position, signed (HMAC-SHA-256 under the pepper, cut to 128
 * bits) together with the resource, sort, order and filters it was made for: another list or a changed byte is refused.
 * The account it is bound to is compared in PostgreSQL, which knows the caller's.
 */
#ifndef POSTERN_CURSOR_H
#define POSTERN_CURSOR_H
#include "request.h"

#define CURSOR_MAX 2048 /* bytes of its text */

/* Text in the request's arena, or NULL when memory or peppers are missing. */
const char *cursor_make(const struct request *, const char *value, const char *id, int64_t account_id);
/* Fills r->position. False: not one of ours, or for another list. */
bool cursor_open(struct request *r, const char *text);
#endif
