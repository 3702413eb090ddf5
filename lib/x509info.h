/*
 * x509info.h: X.509 certificates in PEM, as uploaded or issued: read, judged, told. Time is an argument.
 */
#ifndef POSTERN_X509INFO_H
#define POSTERN_X509INFO_H
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

enum { X509INFO_CERTIFICATES_MAX = 10, X509INFO_NAMES_MAX = 200 };

/* The first certificate, the one that is served. Texts live in the arena. */
struct x509info {
	const char *subject, *issuer;      /* as in RFC 2253; the subject may be "" */
	const char *serial;                /* hexadecimal digits */
	const char *fingerprint_sha256;    /* the same */
	const char *key_type;              /* "RSA 2048", "EC P-256", "ED25519" */
	const char *names[X509INFO_NAMES_MAX]; /* host names of its subjectAltName, "*.example.org" too */
	size_t name_count;
	int64_t not_before_us, not_after_us;
	const char *fullchain;             /* it and those that follow it, written anew */
	const char *key;                   /* its private key, written anew; NULL where none was given */
};

/* What is wrong, for people: which of the three texts, and the remedy. */
struct x509fault {
	const char *field;                 /* certificate, chain, private_key */
	const char *message;
};

/*
 * Read a certificate (those of its chain may follow it), its further chain and its private key (either may be NULL). Each must
 * be signed by the next, the key be the first one's, and the first be in force at now_us. False with *fault.
 */
bool x509info_read(struct arena *, const char *certificate, const char *chain, const char *key, int64_t now_us, struct x509info *,
                   struct x509fault *);
/*
 * How far clients that trust what this machine trusts can follow it: "valid"; "self_signed"; "incomplete": who signed the first
 * is missing; "unknown": they end at somebody whom this machine does not know; "expired": one of those that signed it has expired.
 */
const char *x509info_chain(const char *fullchain);
/* What the database keeps of it. */
struct json_object *x509info_json(const struct x509info *);

/* A new key, EC on P-256 or RSA, and a request for these names signed by it, both in PEM. False: OpenSSL could not. */
bool x509info_request(struct arena *, const char *const *names, size_t count, bool rsa, const char **key, const char **request);
/* A new EC key and a certificate of its own for this name, which nobody trusts, both in PEM. False: OpenSSL could not. */
bool x509info_self_signed(struct arena *, const char *name, const char **key, const char **certificate);
/* Host names of the first certificate, also of one that has expired. */
size_t x509info_names(struct arena *, const char *certificate, const char *names[X509INFO_NAMES_MAX]);
/* Is one of these this name, or a wildcard for it? */
bool x509info_covers(const char *const *names, size_t count, const char *name);
/* Is this the key of the first certificate? */
bool x509info_matches(const char *certificate, const char *key);
#endif
