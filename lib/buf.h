/*
 * buf.h: a growing byte buffer with a ceiling, for answers and log lines.
 * A failed append (ceiling, out of memory) marks the buffer failed and later appends do nothing,
 * so callers check buf_failed() once, at the end. The bytes are always NUL-terminated when not failed.
 */
#ifndef POSTERN_BUF_H
#define POSTERN_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	char *data;   /* NULL until the first append */
	size_t len;   /* bytes used, without the final NUL */
	size_t cap;
	size_t max;   /* ceiling in bytes */
	bool failed;
};

void buf_init(struct buf *, size_t max);
void buf_free(struct buf *);
void buf_clear(struct buf *); /* empties, keeps the memory, clears `failed` */
bool buf_failed(const struct buf *);

char *buf_grow(struct buf *, size_t n); /* buf_room() when memory has to be fetched */

/* Room for n more bytes and the NUL: where they go, or NULL. What is written there counts after buf_wrote(). */
static inline char *buf_room(struct buf *b, size_t n)
{
	return n < b->cap - b->len && !b->failed ? b->data + b->len : buf_grow(b, n);
}

static inline void buf_wrote(struct buf *b, char *end)
{
	*end = '\0';
	b->len = (size_t)(end - b->data);
}

static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *at = buf_room(b, n);

	if (!at)
		return;
	if (n)
		memcpy(at, bytes, n);
	buf_wrote(b, at + n);
}

static inline void buf_str(struct buf *b, const char *s) /* NULL appends nothing */
{
	if (s)
		buf_add(b, s, strlen(s));
}

static inline void buf_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_int(struct buf *, int64_t);
void buf_printf(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* JSON (RFC 8259) string with its quotes; control characters, quote and backslash escaped; bytes that are
 * not valid UTF-8 become U+FFFD, so that any input gives valid JSON. NULL appends null. */
void buf_json(struct buf *, const char *);
void buf_json_n(struct buf *, const char *, size_t len);
#endif
