/*
 * acme.h: certificates from a certificate authority by ACME (RFC 8555) and http-01: uacme speaks to it, our hook puts what it
 * wants to see where every virtual host shows it (the setting acme_webroot).
 */
#ifndef POSTERN_ACME_H
#define POSTERN_ACME_H
#include "action.h"
#include "x509info.h"

struct acme_order {
	const char *const *names;  /* the domain first */
	size_t count;
	bool rsa;                  /* the key is RSA, not ECDSA */
	bool renew;                /* the successor of the one in force, though that fits */
	const char *in_force;      /* that one with its chain; NULL: none is */
};
/*
 * A certificate for these names: the pair that was issued before and is kept, where it is for the same names, else a new one with a new
 * key. A name that the authority refuses is left out and added to left_out, { name, reason }; without the domain itself there is no
 * certificate. Ends the action where there is none.
 */
void acme_issue(struct action *, const struct acme_order *, struct x509info *, struct json_object *left_out);
/* Pairs of certificates that were removed go, when an authority has forgotten them. */
void acme_sweep(struct action *);

/* posternd under this name, called by uacme with: method type identifier token authorization. */
#define ACME_HOOK "acme-hook"
int acme_hook(int argc, char **argv);
#endif
