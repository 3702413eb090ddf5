/*
 * shares.h: places of which a program has few, such as threads for long work, shared out among accounts: none holds all.
 * Made by SHARES_INIT; they live as long as the program.
 */
#ifndef POSTERN_SHARES_H
#define POSTERN_SHARES_H
#include <pthread.h>
#include <stdint.h>

enum { SHARES_MAX = 256 };

struct shares {
	pthread_mutex_t lock;
	int taken;
	int64_t holder[SHARES_MAX]; /* the account of each place that is taken */
};
#define SHARES_INIT { .lock = PTHREAD_MUTEX_INITIALIZER }

enum share { SHARE_NONE = 0, SHARE_OWN_TAKEN, SHARE_TAKEN };

/* A place for an account: SHARE_TAKEN, and shares_give() must follow. SHARE_OWN_TAKEN: the account has `each` of them already;
 * SHARE_NONE: `most` are taken. */
enum share shares_take(struct shares *, int64_t account, int most, int each);
void shares_give(struct shares *, int64_t account);
#endif
