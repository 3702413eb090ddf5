/*
 * trail.h: how the audit trail is sealed: the bytes of a row, the chain of seals, signed checkpoints. docs/audit-format.md
 * describes the same for somebody who writes a verifier; posternd makes seals, `postern audit verify` checks them.
 */
#ifndef POSTERN_TRAIL_H
#define POSTERN_TRAIL_H
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum { TRAIL_HASH = 32, TRAIL_KEY = 24, TRAIL_SIGNATURE = 64, TRAIL_PUBLIC = 32 };

/* The columns of a row in the order of their bytes, as texts; NULL is null. */
enum trail_column {
	TRAIL_ACCOUNT_ID, TRAIL_AT, TRAIL_ID, TRAIL_XID, TRAIL_REQUEST_ID, TRAIL_ACTOR, TRAIL_TOKEN_ID, TRAIL_TOKEN_NAME, TRAIL_USER_ID,
	TRAIL_USERNAME, TRAIL_RESOURCE, TRAIL_VERB, TRAIL_OBJECT_ID, TRAIL_METHOD, TRAIL_PATH, TRAIL_STATUS, TRAIL_OUTCOME, TRAIL_REASON,
	TRAIL_DURATION_US, TRAIL_IP, TRAIL_USER_AGENT, TRAIL_CHANGES, TRAIL_COUNT, TRAIL_COLUMNS
};
extern const char *const trail_column_names[TRAIL_COLUMNS];

/* By which a row is found: account, microseconds since 1970, id; 8 bytes each, big-endian, so that memcmp orders them. */
struct trail_key { int64_t account_id, at_us, id; };
void trail_key_pack(const struct trail_key *, unsigned char out[TRAIL_KEY]);
struct trail_key trail_key_unpack(const unsigned char bytes[TRAIL_KEY]);
/* Of a row's columns; false: they are no numbers. */
bool trail_key_of(const char *const columns[TRAIL_COLUMNS], struct trail_key *);

/*
 * A row's content: SHA-256 over each column but account, at and id, as its length (4 bytes, big-endian; 0xffffffff for null) and
 * its UTF-8 bytes. Its digest: SHA-256 over its key and its content, so that it can be told what belonged to which key.
 */
bool trail_content_hash(const char *const columns[TRAIL_COLUMNS], unsigned char out[TRAIL_HASH]);
bool trail_row_hash(const unsigned char key[TRAIL_KEY], const unsigned char content[TRAIL_HASH], unsigned char out[TRAIL_HASH]);

/* A seal: some rows in the order of their commits, and the seal before. Borrowed bytes. */
struct trail_seal {
	int64_t number;             /* from 1, without gaps */
	int64_t count;              /* of rows */
	const unsigned char *keys;  /* count * TRAIL_KEY */
	const unsigned char *hashes;/* count * TRAIL_HASH */
	const unsigned char *before;/* the hash of the seal before; zeroes for the first */
};
/* SHA-256 over "postern seal 1\n", number and count (8 bytes each, big-endian), the hash before, keys, hashes. */
bool trail_seal_hash(const struct trail_seal *, unsigned char out[TRAIL_HASH]);

/* What is signed: a text, line by line. `before` is the SHA-256 of the checkpoint's text before, or zeroes. */
struct trail_checkpoint {
	int64_t number, seal, rows; /* its number from 1; the newest seal; rows sealed so far */
	int64_t at_us;
	unsigned char head[TRAIL_HASH], before[TRAIL_HASH];
	bool keyed, changes;        /* `key` is there (checkpoints of before 2026-12 have none); `next` is */
	unsigned char key[TRAIL_PUBLIC], next[TRAIL_PUBLIC]; /* by which it is signed; by which those after it are */
};
enum { TRAIL_TEXT_MAX = 640 };
/* Its text, of which every byte is signed. */
size_t trail_checkpoint_text(const struct trail_checkpoint *, char out[TRAIL_TEXT_MAX]);
/* Back from a text; false: it is none. */
bool trail_checkpoint_parse(const char *text, struct trail_checkpoint *);

/* Ed25519 (RFC 8032). Keys are PEM files. NULL and false with *why, a sentence. */
EVP_PKEY *trail_private_key(const char *path, const char **why);
EVP_PKEY *trail_public_key(const char *path, const char **why);
EVP_PKEY *trail_public_of(const unsigned char bytes[TRAIL_PUBLIC]); /* NULL: out of memory */
bool trail_public_bytes(EVP_PKEY *, unsigned char out[TRAIL_PUBLIC]);
/* A new private key in a new file, 0600; nothing that is there is replaced. */
EVP_PKEY *trail_make_key(const char *path, const char **why);
/* Have the public half in that file: written where it is missing or another one's, whole or not at all. */
bool trail_publish(EVP_PKEY *, const char *path, const char **why);
/* Is it the key by which the checkpoint after this one is to be signed? */
bool trail_key_follows(EVP_PKEY *, const char *text, const unsigned char signature[TRAIL_SIGNATURE]);
bool trail_sign(EVP_PKEY *, const char *text, size_t len, unsigned char out[TRAIL_SIGNATURE]);
bool trail_verify(EVP_PKEY *, const char *text, size_t len, const unsigned char signature[TRAIL_SIGNATURE]);

void trail_hex(const unsigned char *bytes, size_t n, char *out); /* 2 n + 1 bytes */
bool trail_unhex(const char *text, unsigned char *out, size_t n);
#endif
