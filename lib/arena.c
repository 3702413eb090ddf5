/* arena.c: a list of blocks, the newest first, and a list of cleanups. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)32 << 10)
#define ALIGNMENT alignof(max_align_t)

struct block {
	struct block *next;
	size_t size, used;
	alignas(max_align_t) unsigned char data[];
};

struct cleanup {
	struct cleanup *next;
	void (*fn)(void *);
	void *what;
};

struct arena {
	struct block *current; /* head of the list; small requests are cut from it */
	struct block *first;   /* kept by arena_reset() */
	struct cleanup *cleanups;
	size_t total;          /* bytes of all blocks, headers included */
};

static struct block *block_new(struct arena *a, size_t size)
{
	if (size > ARENA_MAX_BYTES - sizeof(struct block) || size + sizeof(struct block) > ARENA_MAX_BYTES - a->total)
		return NULL;
	struct block *b = malloc(sizeof *b + size);
	if (!b)
		return NULL;
	*b = (struct block){ .size = size };
	a->total += sizeof *b + size;
	return b;
}

struct arena *arena_new(void)
{
	struct arena *a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	a->first = a->current = block_new(a, BLOCK_BYTES);
	if (!a->first) {
		free(a);
		return NULL;
	}
	return a;
}

void arena_reset(struct arena *a)
{
	/* A cleanup may defer another one: take them off one by one. */
	while (a->cleanups) {
		struct cleanup *c = a->cleanups;
		a->cleanups = c->next;
		c->fn(c->what);
	}
	for (struct block *b = a->current, *next; b; b = next) {
		next = b->next;
		if (b != a->first)
			free(b);
	}
	a->first->next = NULL;
	a->first->used = 0;
	a->current = a->first;
	a->total = sizeof *a->first + a->first->size;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	arena_reset(a);
	free(a->first);
	free(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > ARENA_MAX_BYTES)
		return NULL;
	size = size ? (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1) : ALIGNMENT;

	struct block *b = a->current;
	if (size > b->size - b->used) {
		if (size > BLOCK_BYTES / 4) {
			/* A block of its own, behind the current one, whose rest stays in use. */
			b = block_new(a, size);
			if (!b)
				return NULL;
			b->next = a->current->next;
			a->current->next = b;
		} else {
			b = block_new(a, BLOCK_BYTES);
			if (!b)
				return NULL;
			b->next = a->current;
			a->current = b;
		}
	}
	void *p = b->data + b->used;
	b->used += size;
	return memset(p, 0, size);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		return NULL;
	return arena_alloc(a, count * size);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	if (!s || len >= ARENA_MAX_BYTES)
		return NULL;
	char *copy = arena_alloc(a, len + 1);
	if (copy)
		memcpy(copy, s, len);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	char *s = len < 0 ? NULL : arena_alloc(a, (size_t)len + 1);
	if (s)
		vsnprintf(s, (size_t)len + 1, fmt, again);
	va_end(again);
	va_end(args);
	return s;
}

int arena_defer(struct arena *a, void (*fn)(void *), void *what)
{
	struct cleanup *c = arena_alloc(a, sizeof *c);
	if (!c) {
		fn(what);
		return -1;
	}
	*c = (struct cleanup){ a->cleanups, fn, what };
	a->cleanups = c;
	return 0;
}
