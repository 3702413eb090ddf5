/* verifier.c: see verifier.h. */
#include "verifier.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "token.h"

#define SCRAM_PREFIX "SCRAM-SHA-256$4096:"

enum { ITERATIONS = 4096, SHA256_LEN = 32, SHA1_LEN = 20, BASE64_OF_SALT = 24, BASE64_OF_KEY = 44 };

bool verifier_password(char out[PASSWORD_LEN + 1])
{
	return token_random(PASSWORD_LEN, out);
}

bool verifier_can_be_password(const char *password)
{
	for (const char *c = password; *c; c++)
		if (*c < ' ' || *c > '~')
			return false;
	return *password;
}

static bool hmac(const unsigned char key[SHA256_LEN], const char *text, unsigned char out[SHA256_LEN])
{
	return HMAC(EVP_sha256(), key, SHA256_LEN, (const unsigned char *)text, strlen(text), out, NULL);
}

bool verifier_scram(const char *password, const unsigned char *given_salt, char out[SCRAM_VERIFIER_MAX])
{
	unsigned char salt[SCRAM_SALT_LEN], salted[SHA256_LEN], client[SHA256_LEN], stored[SHA256_LEN], server[SHA256_LEN];
	unsigned char salt64[BASE64_OF_SALT + 1], stored64[BASE64_OF_KEY + 1], server64[BASE64_OF_KEY + 1];
	bool made = false;

	if (given_salt)
		memcpy(salt, given_salt, sizeof salt);
	if ((given_salt || RAND_bytes(salt, sizeof salt) == 1) &&
	    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, sizeof salt, ITERATIONS, EVP_sha256(), sizeof salted, salted) &&
	    hmac(salted, "Client Key", client) && EVP_Digest(client, sizeof client, stored, NULL, EVP_sha256(), NULL) &&
	    hmac(salted, "Server Key", server)) {
		EVP_EncodeBlock(salt64, salt, sizeof salt);
		EVP_EncodeBlock(stored64, stored, sizeof stored);
		EVP_EncodeBlock(server64, server, sizeof server);
		made = snprintf(out, SCRAM_VERIFIER_MAX, SCRAM_PREFIX "%s$%s:%s", salt64, stored64, server64) < SCRAM_VERIFIER_MAX;
	}
	OPENSSL_cleanse(salted, sizeof salted);
	OPENSSL_cleanse(client, sizeof client);
	return made;
}

bool verifier_native(const char *password, char out[NATIVE_VERIFIER_MAX])
{
	unsigned char once[SHA1_LEN], twice[SHA1_LEN];
	bool made = EVP_Digest(password, strlen(password), once, NULL, EVP_sha1(), NULL) &&
	            EVP_Digest(once, sizeof once, twice, NULL, EVP_sha1(), NULL);

	out[0] = '*';
	for (int i = 0; i < SHA1_LEN; i++)
		snprintf(out + 1 + 2 * i, 3, "%02X", made ? twice[i] : 0);
	OPENSSL_cleanse(once, sizeof once);
	return made;
}

/* Exactly len characters of base64, then the one that ends them; NULL otherwise. */
static const char *after_base64(const char *at, size_t len, char end)
{
	size_t n = at ? strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") : 0;

	for (; at && n < len && at[n] == '='; n++)
		;
	return at && n == len && at[n] == end ? at + n + 1 : NULL;
}

bool verifier_is_scram(const char *text)
{
	size_t prefix = strlen(SCRAM_PREFIX);

	if (strncmp(text, SCRAM_PREFIX, prefix) != 0)
		return false;
	return after_base64(after_base64(after_base64(text + prefix, BASE64_OF_SALT, '$'), BASE64_OF_KEY, ':'), BASE64_OF_KEY, '\0');
}

bool verifier_is_native(const char *text)
{
	return *text == '*' && strspn(text + 1, "0123456789ABCDEF") == 2 * SHA1_LEN && !text[1 + 2 * SHA1_LEN];
}
