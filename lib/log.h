/*
 * log.h: one line per event to stderr, text or JSON. Safe to read: control characters are escaped, lines are bounded
 * (LOG_LINE_MAX, cut with "..."), written by one write(2). Callers never pass token values, passwords or bodies.
 */
#ifndef POSTERN_LOG_H
#define POSTERN_LOG_H
#include "config.h"

#define LOG_LINE_MAX 4096

void log_open(const char *program, enum log_format);

/* level: "info", "warn", "error". Then pairs of (name, value) strings, ended by NULL; a NULL value is left out. Names are
 * plain words.
 * text: "2026-06-12T00:00:00+00:00 domains info request id=… status=200 …" (values with spaces quoted), JSON:
 * {"time":…,"program":…,"level":…,"event":…,…}. */
void log_event(const char *level, const char *event, ...) __attribute__((sentinel));
#endif
