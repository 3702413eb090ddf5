/* address_limit.c: see address_limit.h. */
#include "address_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

enum { SETS = 1024, WAYS = 8 };
#define WINDOW_US INT64_C(60000000)

struct count { char bucket[ADDRESS_TEXT_MAX]; int64_t begin_us; int used; };

struct address_limit {
	pthread_mutex_t lock;
	struct count count[SETS][WAYS];
};

struct address_limit *address_limit_new(void)
{
	struct address_limit *limit = calloc(1, sizeof *limit);

	if (limit)
		pthread_mutex_init(&limit->lock, NULL);
	return limit;
}

void address_limit_free(struct address_limit *limit)
{
	if (limit)
		pthread_mutex_destroy(&limit->lock);
	free(limit);
}

static unsigned hash(const char *text)
{
	unsigned h = 2166136261u; /* FNV-1a */

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

bool address_limit_pass(struct address_limit *limit, int per_minute, const char *address, int64_t now_us, int64_t *reset_at_us)
{
	char bucket[ADDRESS_TEXT_MAX];
	struct count *set, *mine;
	bool pass;

	address_bucket(address, bucket);
	set = limit->count[hash(bucket) % SETS];
	pthread_mutex_lock(&limit->lock);
	mine = set;
	for (int i = 0; i < WAYS; i++) {
		if (strcmp(set[i].bucket, bucket) == 0) {
			mine = &set[i];
			break;
		}
		if (set[i].begin_us < mine->begin_us)
			mine = &set[i];
	}
	if (strcmp(mine->bucket, bucket) != 0 || now_us - mine->begin_us >= WINDOW_US) {
		memcpy(mine->bucket, bucket, sizeof bucket);
		mine->begin_us = now_us;
		mine->used = 0;
	}
	pass = mine->used < per_minute;
	if (pass)
		mine->used++;
	*reset_at_us = mine->begin_us + WINDOW_US;
	pthread_mutex_unlock(&limit->lock);
	return pass;
}
