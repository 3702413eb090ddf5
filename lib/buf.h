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

void buf_add(struct buf *, const void *, size_t);
void buf_str(struct buf *, const char *); /* NULL appends nothing */
void buf_char(struct buf *, char);
void buf_int(struct buf *, int64_t);
void buf_printf(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* JSON (RFC 8259) string with its quotes; control characters, quote and backslash escaped; bytes that are
 * not valid UTF-8 become U+FFFD, so that any input gives valid JSON. NULL appends null. */
void buf_json(struct buf *, const char *);
void buf_json_n(struct buf *, const char *, size_t len);
#endif
