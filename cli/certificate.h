/*
 * certificate.h: the state of a certificate that a web server's configuration names.
 */
#ifndef POSTERN_CERTIFICATE_H
#define POSTERN_CERTIFICATE_H
#include <time.h>

/* Of the first certificate in a PEM file: "expired", "expiring" (within 14 days) or "active"; "active" too when the file
 * cannot be read or holds none, since a server that names one uses one. */
const char *certificate_status(const char *path, time_t now);
#endif
