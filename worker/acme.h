/*
 * acme.h: certificates from a certificate authority by ACME (RFC 8555) and http-01: uacme speaks to it, our hook puts what it
 * wants to see where every virtual host shows it (the setting acme_webroot).
 */
#ifndef POSTERN_ACME_H
#define POSTERN_ACME_H
#include "action.h"
#include "x509info.h"

/* A certificate for these names, the first being the domain, with a new key. Ends the action where the authority gives none. */
void acme_issue(struct action *, const char *const *names, size_t count, struct x509info *);
/* It is in place: what the attempt has left on disk goes. */
void acme_done(struct action *, const char *domain);

/* posternd under this name, called by uacme with: method type identifier token authorization. */
#define ACME_HOOK "acme-hook"
int acme_hook(int argc, char **argv);
#endif
