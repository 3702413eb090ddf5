/*
 * address_limit.h: well-formed but unknown tokens, counted per client address (IPv6 by /64) in this process. Costs no
 * database row; a recognised token is never refused for its address's history. A fixed table: when an attacker uses more
 * addresses than fit, the oldest count is forgotten, memory never grows.
 */
#ifndef POSTERN_ADDRESS_LIMIT_H
#define POSTERN_ADDRESS_LIMIT_H
#include <stdbool.h>
#include <stdint.h>

struct address_limit;

struct address_limit *address_limit_new(void); /* NULL when out of memory */
void address_limit_free(struct address_limit *);

/* Count one unknown token from `address`. False when it is over the limit; *reset_at_us is the end of its window. */
bool address_limit_pass(struct address_limit *, int per_minute, const char *address, int64_t now_us, int64_t *reset_at_us);
#endif
