/*
 * timestamp.h: RFC 3339 instants and dates. Time is an argument: nothing here reads a clock but timestamp_now().
 */
#ifndef POSTERN_TIMESTAMP_H
#define POSTERN_TIMESTAMP_H
#include <stdbool.h>
#include <stdint.h>

#define TIMESTAMP_TEXT_MAX 40

/* Strict RFC 3339 date-time with zone ("2026-06-12T00:00:00Z", fractions up to 6 digits, any offset, leap second 60
 * refused) to microseconds since 1970 UTC. Calendar checked (2025-02-30 is false). Years 1970 to 9999. */
bool timestamp_parse(const char *text, int64_t *us);

/* A calendar date "2027-01-31", years 1970 to 9999. */
bool timestamp_parse_date(const char *text, int *year, int *month, int *day);

/* 23:59:59 of that date in the server's time zone (tzset, mktime), in microseconds since 1970 UTC. */
bool timestamp_end_of_day(const char *date, int64_t *us);

/* "2026-06-12T00:00:00+00:00"; fractions (6 digits) only when they are not zero. Returns its end, the NUL. */
char *timestamp_format(int64_t us, char out[TIMESTAMP_TEXT_MAX]);

/* The name of this machine's time zone, such as "Europe/Berlin", as the C library finds it: $TZ, else what /etc/localtime links to;
 * "UTC" where neither has a name. */
#define TIMESTAMP_ZONE_MAX 64
const char *timestamp_zone(char out[TIMESTAMP_ZONE_MAX]);

/* Microseconds since 1970 by this machine's clock: for logs and answers, never for judging. */
int64_t timestamp_now(void);
#endif
