/*
 * token.h: bearer tokens: their shape, checksum, minting and digest. No database here.
 *
 *   <prefix>_<8 base62 key id>_<32 base62 secret><6 base62 CRC-32 of all before it>
 *   regular expression for secret scanners: [a-z][a-z0-9]{1,9}_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}
 *
 * Digest: HMAC-SHA-256(pepper, key id || secret): the key id is unique, so it salts. The value itself never leaves this
 * process but in the one answer that creates it; callers wipe it with token_wipe().
 * Alphabet 0-9A-Za-z; CRC-32 is IEEE 802.3 (zlib's), as 6 digits, most significant first, padded with '0'.
 */
#ifndef POSTERN_TOKEN_H
#define POSTERN_TOKEN_H
#include <stdbool.h>
#include <stddef.h>
#include <openssl/types.h>

#define TOKEN_KEY_ID_LEN 8
#define TOKEN_SECRET_LEN 32
#define TOKEN_TEXT_MAX 72      /* prefix of at most 10, and the rest, and a NUL */
#define TOKEN_DIGEST_LEN 32
#define TOKEN_PEPPERS_MAX 2    /* the current one and the one being replaced */

struct pepper {
	char id[17];               /* 1 to 16 of [0-9a-z] */
	EVP_MAC_CTX *mac;          /* HMAC-SHA-256 keyed with it; the key itself is kept nowhere else */
};
/* For one thread at a time; others take copies. */
struct peppers {
	size_t count;              /* 0 when none are loaded: then nothing verifies and nothing is minted */
	struct pepper item[TOKEN_PEPPERS_MAX]; /* item[0] is used for new tokens */
};

/*
 * Read a pepper file: one "id:64 hex digits" a line, first the current one; '#' comments. The file must be a regular
 * file not readable by others (mode & 007 == 0). False with *why (static) otherwise.
 */
bool peppers_load(const char *path, struct peppers *, const char **why);
bool peppers_copy(struct peppers *to, const struct peppers *from); /* false when out of memory */
void peppers_free(struct peppers *); /* wipes; leaves none */
/* Create path (mode 0640, O_EXCL, fsynced) with one random pepper. False when it exists or cannot be written. */
bool peppers_create(const char *path);

enum token_shape { TOKEN_MALFORMED = 0, TOKEN_BAD_CHECKSUM, TOKEN_WELL_FORMED };

/* Judge the text. key_id and secret (both NUL-terminated) are filled for TOKEN_WELL_FORMED only, else emptied. */
enum token_shape token_read(const char *text, char key_id[TOKEN_KEY_ID_LEN + 1], char secret[TOKEN_SECRET_LEN + 1]);

/* A fresh random token under `prefix` ([a-z][a-z0-9]{1,9}). False when the random source fails or the prefix is bad. */
bool token_mint(const char *prefix, char text[TOKEN_TEXT_MAX], char key_id[TOKEN_KEY_ID_LEN + 1],
                char secret[TOKEN_SECRET_LEN + 1]);

bool token_digest(const struct pepper *, const char *key_id, const char *secret, unsigned char out[TOKEN_DIGEST_LEN]);
void token_wipe(void *, size_t); /* OPENSSL_cleanse */
/* n random characters of base62 and a NUL, each as likely as the others. */
bool token_random(size_t n, char *out);

/* HMAC-SHA-256 under pepper[0], apart from digests and from other purposes ("cursor"; no ':'), to sign opaque values. */
bool token_sign(const struct peppers *, const char *purpose, const void *data, size_t len,
                unsigned char out[TOKEN_DIGEST_LEN]);
#endif
