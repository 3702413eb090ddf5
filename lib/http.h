/*
 * http.h: a FastCGI request (the CGI variables of RFC 3875 and its body) into a struct request, within our own limits: web
 * servers do not enforce theirs everywhere.
 */
#ifndef POSTERN_HTTP_H
#define POSTERN_HTTP_H
#include "request.h"

#define HTTP_PATH_MAX 2048
#define HTTP_HEADER_MAX 8192

/*
 * Fill r (arena, config, peppers, resource set; the rest zero) from CGI variables, "NAME=value" strings ended by NULL.
 * Strings are copied. Token values end up as key id and digest only.
 */
void http_read_environment(struct request *r, char *const *environment);

/* Text with every run of 50 or more letters, digits and _ replaced: nothing of a token's shape gets into logs or audit rows. */
char *http_scrub(struct arena *, const char *text, size_t max);
#endif
