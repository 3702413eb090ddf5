/*
 * verifier.h: passwords of database users: made here, and turned into what the database servers keep of them, so that a clear
 * one goes no further than the program that was given it.
 */
#ifndef POSTERN_VERIFIER_H
#define POSTERN_VERIFIER_H
#include <stdbool.h>

enum { PASSWORD_LEN = 28, SCRAM_SALT_LEN = 16, SCRAM_VERIFIER_MAX = 160, NATIVE_VERIFIER_MAX = 42 };

/* Random base62: 166 bits, and no character that a shell, a URI or a configuration file would want quoted. */
bool verifier_password(char out[PASSWORD_LEN + 1]);

/* May it be a password? Printable ASCII only: SASLprep (RFC 4013), which clients must apply before SCRAM, leaves that as it
 * is, while what it makes of other characters differs between clients. */
bool verifier_can_be_password(const char *password);

/* What PostgreSQL keeps: "SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>" (RFC 5802, RFC 7677). Salt NULL: a random one. */
bool verifier_scram(const char *password, const unsigned char *salt, char out[SCRAM_VERIFIER_MAX]);
/* What MariaDB keeps for mysql_native_password: '*' and SHA-1 of SHA-1, in hexadecimal. */
bool verifier_native(const char *password, char out[NATIVE_VERIFIER_MAX]);

/* Does a text have that shape? A server takes any other text for a clear password. */
bool verifier_is_scram(const char *text);
bool verifier_is_native(const char *text);
#endif
