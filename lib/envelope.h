/*
 * envelope.h: secrets for the worker. Who asks for a job encrypts what must not be read on the way to the public key that every
 * program may read (the setting worker_public); posternd alone has the private one (worker_dir/key). The form is CMS's
 * AuthEnvelopedData (RFC 5083) with AES-256-GCM, DER: `openssl cms -decrypt -inform DER -inkey …` opens it too.
 */
#ifndef POSTERN_ENVELOPE_H
#define POSTERN_ENVELOPE_H
#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

/* Make a key pair: the private key (mode 0600) where there is none, and its self-signed certificate (0644) anew. False: errno. */
bool envelope_create(const char *private_path, const char *public_path);
/* In the arena. NULL with *why: a sentence with the remedy. */
unsigned char *envelope_close(struct arena *, const char *public_path, const char *text, size_t *len, const char **why);
/* The text, NUL-terminated, in the arena: the caller wipes it. NULL with *why. */
char *envelope_open(struct arena *, const char *private_path, const void *sealed, size_t len, const char **why);
#endif
