/*
 * password.h: hashes of passwords that other programs check, by libcrypt. The clear text goes no further than this.
 */
#ifndef POSTERN_PASSWORD_H
#define POSTERN_PASSWORD_H
#include <stdbool.h>

enum { PASSWORD_MIN = 8, PASSWORD_MAX = 72 }; /* bytes; bcrypt reads no more of it */
#define PASSWORD_HASH_MAX 80

/* bcrypt with the scheme's name in front, as Dovecot reads it: "{BLF-CRYPT}$2b$10$…". False when the password's length is out
 * of bounds, or libcrypt or the random source fails; out is then empty. Takes a twentieth of a second, on purpose. */
bool password_bcrypt(const char *clear, char out[PASSWORD_HASH_MAX]);
#endif
