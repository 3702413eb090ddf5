/*
 * when.h: times as people say them.
 */
#ifndef POSTERN_WHEN_H
#define POSTERN_WHEN_H
#include "timestamp.h"
#include <stdbool.h>

#define WHEN_TAKES "1h, 30m or 7d, today, yesterday, 2026-06-01, \"2026-06-01 08:30\", or RFC 3339"

/*
 * RFC 3339 as it is; "now", "today", "yesterday", "tomorrow", a date, a date and a time of the machine's clock; "90s", "30m", "1h",
 * "7d", "2w": so long ago, or `ahead` from now. False: none of these.
 */
bool when_parse(const char *text, bool ahead, char out[TIMESTAMP_TEXT_MAX]);
#endif
