/*
 * openapi_private.h: what the parts of the description share. The document is written as JSON text into a buffer; YAML
 * and the edition for OpenAPI 3.0 are made from that.
 */
#ifndef POSTERN_OPENAPI_PRIVATE_H
#define POSTERN_OPENAPI_PRIVATE_H
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "api.h"
#include "buf.h"
#include "error.h"

enum { RESOURCES_MAX = 128, NAME_MAX_BYTES = 128 };
enum shape { ENVELOPE = 0, PLAIN }; /* the dialect that a document describes */

/* ---- writing JSON ---- */

/* A comma where one is due: not after what opens, and not after a name. */
static inline void separate(struct buf *b)
{
	if (b->len && !strchr("{[:,", b->data[b->len - 1]))
		buf_char(b, ',');
}

static inline void key(struct buf *b, const char *name)
{
	separate(b);
	buf_json(b, name);
	buf_char(b, ':');
}

static inline void begin(struct buf *b, const char *name)
{
	key(b, name);
	buf_char(b, '{');
}

static inline void end(struct buf *b)
{
	buf_char(b, '}');
}

static inline void begin_list(struct buf *b, const char *name)
{
	key(b, name);
	buf_char(b, '[');
}

static inline void end_list(struct buf *b)
{
	buf_char(b, ']');
}

static inline void item(struct buf *b, const char *text)
{
	separate(b);
	buf_json(b, text);
}

static inline void text(struct buf *b, const char *name, const char *value)
{
	key(b, name);
	buf_json(b, value);
}

static inline void number(struct buf *b, const char *name, long long value)
{
	key(b, name);
	buf_int(b, value);
}

/* JSON of the source's own, with ' for ". */
static inline void literal(struct buf *b, const char *json)
{
	if (*json != '}')
		separate(b);
	for (; *json; json++)
		buf_char(b, *json == '\'' ? '"' : *json);
}

static inline void reference(struct buf *b, const char *kind, const char *name)
{
	separate(b);
	buf_printf(b, "\"$ref\":\"#/components/%s/%s\"", kind, name);
}

static inline void refer(struct buf *b, const char *as, const char *kind, const char *name)
{
	begin(b, as);
	reference(b, kind, name);
	end(b);
}

/* "api-keys" and "revokeTokens" as names of components: "ApiKeys", "RevokeTokens". */
static inline const char *component(const char *word, const char *suffix, char out[NAME_MAX_BYTES])
{
	size_t n = 0;
	bool upper = true;

	for (; *word && n + 1 < NAME_MAX_BYTES; word++) {
		if (!isalnum((unsigned char)*word)) {
			upper = true;
			continue;
		}
		out[n++] = (char)(upper ? toupper((unsigned char)*word) : *word);
		upper = false;
	}
	for (; *suffix && n + 1 < NAME_MAX_BYTES; suffix++)
		out[n++] = *suffix;
	out[n] = '\0';
	return out;
}

/* ---- the tables ---- */

struct tables {
	const struct resource *item[RESOURCES_MAX];
	size_t count;
};

static inline const struct field *field_of(const struct resource *resource, const char *name)
{
	for (const struct field *f = resource->fields; f->name; f++)
		if (name && strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static inline bool any_field(const struct resource *resource, unsigned flags)
{
	for (const struct field *f = resource->fields; f->name; f++)
		if (f->flags & flags)
			return true;
	return false;
}

static inline bool takes_id(const struct route *t)
{
	return strstr(t->path, "{id}") != NULL;
}

/* Outside the dialects: one address, one media type. */
static inline bool is_bare(const struct route *t)
{
	return *t->path == '.';
}

static inline bool is_open(const struct route *t)
{
	return t->flags & R_OPEN_TOO;
}

/* ---- the parts ---- */

/* openapi_schemas.c */
void openapi_type_words(struct buf *, const struct field *, bool input); /* a value's type, without braces */
const char *openapi_typical(const struct field *);                       /* an example of one, as JSON; NULL: none is typical */
unsigned openapi_input_flag(const struct route *);                       /* which fields its body may have */
bool openapi_has_required(const struct field *, unsigned flag);
const char *openapi_input_name(const struct resource *, const struct route *, char out[NAME_MAX_BYTES]); /* NULL: no body */
void openapi_data_schema(struct buf *, const struct resource *, const struct route *, enum shape, bool dry, bool job);
void openapi_schemas(struct buf *, const struct tables *, enum shape);

/* openapi_answers.c */
void openapi_headers(struct buf *);
void openapi_shared_answers(struct buf *, enum shape);
void openapi_answers(struct buf *, const struct resource *, const struct route *, enum shape);

/* openapi_operations.c */
void openapi_parameters(struct buf *);
void openapi_paths(struct buf *, const struct tables *, enum shape);
void openapi_tags(struct buf *, const struct tables *);

/* openapi_30.c: the same document for OpenAPI 3.0, from the text of one for 3.1. False: no memory. */
bool openapi_to_30(struct buf *, const char *json);
#endif
