/*
 * certificate.h: the state of a certificate that a web server's configuration names.
 */
#ifndef POSTERN_CERTIFICATE_H
#define POSTERN_CERTIFICATE_H
#include <time.h>

/* Of the first certificate in a PEM file: "expired", "expiring" (within 14 days) or "active"; with *why else NULL: "error" where the file
 * cannot be read or holds none, and "pending" where that is not known: its name has a variable, or we may not read it. */
const char *certificate_status(const char *path, time_t now, const char **why);
#endif
