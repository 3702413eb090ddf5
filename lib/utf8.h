/*
 * utf8.h: one UTF-8 sequence at a time (RFC 3629), for all who must not let anything else through.
 */
#ifndef POSTERN_UTF8_H
#define POSTERN_UTF8_H
#include <stddef.h>

/* Bytes (1 to 4) of the valid sequence that text[0..len) starts with; 0 when there is none: overlong forms, surrogates,
 * code points beyond U+10FFFF, cut sequences and len 0. A NUL byte is a valid sequence of one. */
size_t utf8_sequence(const char *text, size_t len);

/* How many code points a valid text has. */
size_t utf8_length(const char *text);
#endif
