/*
 * address.h: client addresses and CIDR blocks, IPv4 and IPv6, without name lookups.
 * ::ffff:a.b.c.d counts as a.b.c.d everywhere.
 */
#ifndef POSTERN_ADDRESS_H
#define POSTERN_ADDRESS_H
#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_TEXT_MAX 64 /* "ffff:...:ffff/128" and a NUL fit */

/* Canonical text of an address ("192.0.2.1", "2001:db8::1") into out. False when text is not exactly one address
 * (zone ids, ports, spaces are refused); out is then "". */
bool address_parse(const char *text, char out[ADDRESS_TEXT_MAX]);

/* Canonical "address/bits" of a block; a bare address is a block of one. False when unreadable or when bits are set
 * beyond the prefix ("10.0.0.1/8"); *why is then a static sentence naming the remedy ("host bits are set; ..."). */
bool address_parse_cidr(const char *text, char out[ADDRESS_TEXT_MAX], const char **why);

/* Does one of these blocks, separated by spaces, hold the address? Unreadable text is in no block. */
bool address_is_listed(const char *text, const char *blocks);

/* True for 127.0.0.0/8, ::1 and the empty string's opposite never: unreadable text is not loopback. */
bool address_is_loopback(const char *text);

/* The unit by which unknown tokens are limited: the IPv4 address, or the /64 of an IPv6 one ("2001:db8::/64").
 * Unreadable text gives "unknown", one bucket for all. */
void address_bucket(const char *text, char out[ADDRESS_TEXT_MAX]);
#endif
