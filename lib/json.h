/*
 * json.h: strict reading of JSON (RFC 8259) on top of json-c.
 * json-c 0.16 accepts duplicate keys, single quotes, NaN, raw control characters and integers beyond int64 even in
 * strict mode, so a scan of our own judges the text first: it refuses those, depth over JSON_DEPTH_MAX, trailing text,
 * invalid UTF-8 (overlong forms and surrogates too), lone \uD800 escapes, \u0000 (PostgreSQL text cannot hold it) and a
 * BOM. json-c then only builds the tree.
 */
#ifndef POSTERN_JSON_H
#define POSTERN_JSON_H
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define JSON_DEPTH_MAX 16
/* json-c takes up to 800 bytes for "{}": without these, 1 MiB of text could become 270 MiB of tree. */
#define JSON_VALUES_MAX 100000     /* of any kind */
#define JSON_CONTAINERS_MAX 10000  /* objects and lists among them */

/*
 * Parse text[0..len). Returns a tree owned by the caller (json_object_put), or NULL with *why set to a static sentence
 * that a person can act on and *at to the byte offset. JSON null as the whole text parses to NULL with *why == NULL.
 */
struct json_object *json_parse(const char *text, size_t len, const char **why, size_t *at);

/* True when text[0..len) is valid UTF-8 without NUL. */
bool utf8_valid(const char *text, size_t len);
#endif
