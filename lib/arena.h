/*
 * arena.h: memory that lives as long as one request.
 * Everything allocated here is freed together by arena_reset(); nothing is freed singly.
 * Foreign handles (PGresult, json-c roots) hang on as cleanups and run in reverse order.
 * Ceiling: ARENA_MAX_BYTES per arena. Beyond it, or when malloc fails, functions return NULL;
 * callers answer 500 and go on. Not thread-safe: an arena belongs to one thread at a time.
 */
#ifndef POSTERN_ARENA_H
#define POSTERN_ARENA_H
#include <stdarg.h>
#include <stddef.h>

/* A body of 1 MiB, its JSON tree, a page of 100 rows and the reply fit several times. */
#define ARENA_MAX_BYTES (64u << 20)

struct arena;

struct arena *arena_new(void); /* NULL when out of memory */
void arena_free(struct arena *); /* resets first; NULL is allowed */
void arena_reset(struct arena *); /* runs cleanups, keeps the first block for reuse */

/* Zeroed, aligned for any type. size 0 gives a valid pointer. NULL at the ceiling. */
void *arena_alloc(struct arena *, size_t size);
void *arena_array(struct arena *, size_t count, size_t size); /* as arena_alloc, overflow-checked */
char *arena_strdup(struct arena *, const char *); /* NULL in, NULL out */
char *arena_strndup(struct arena *, const char *, size_t len); /* always NUL-terminated */
char *arena_printf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Call fn(what) at reset. Returns 0, or -1 (out of memory) after calling fn(what) at once. */
int arena_defer(struct arena *, void (*fn)(void *), void *what);
#endif
