/*
 * hostname.h: domain names, IDNA 2008 (RFC 5890-5893) by libidn2 with UTS 46 non-transitional mapping.
 */
#ifndef POSTERN_HOSTNAME_H
#define POSTERN_HOSTNAME_H
#include <stdbool.h>

#define HOSTNAME_MAX 254 /* 253 bytes and a NUL (RFC 1035) */

/*
 * A-label form of a domain name, lower case, without a final dot, into out. Wants at least two labels, each 1 to 63 of
 * LDH not starting or ending in '-'; the last not all digits (that would be an address). No wildcard, no underscore.
 * False with *why a static sentence ("has an empty label: ...") otherwise.
 */
bool hostname_to_ascii(const char *text, char out[HOSTNAME_MAX], const char **why);

/* U-label form for showing, UTF-8, at most 4 * 253 bytes; the A-label itself where it does not convert. */
#define HOSTNAME_UNICODE_MAX 1016
void hostname_to_unicode(const char *ascii, char out[HOSTNAME_UNICODE_MAX]);
#endif
