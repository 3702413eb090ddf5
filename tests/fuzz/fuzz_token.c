/*
 * fuzz_token.c: what token_read() calls well-formed is exactly what the published expression matches and what
 * its two halves put together again; malformed texts leave both halves empty.
 */
#include "token.h"

#include <assert.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool matches(const char *text)
{
	static regex_t shape;
	static bool compiled;
	if (!compiled) {
		/* As published in token.h. */
		int error = regcomp(&shape, "^[a-z][a-z0-9]{1,9}_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}$", REG_EXTENDED | REG_NOSUB);
		assert(!error);
		compiled = true;
	}
	return regexec(&shape, text, 0, NULL, 0) == 0;
}

static void check(const char *text)
{
	char key_id[TOKEN_KEY_ID_LEN + 1], secret[TOKEN_SECRET_LEN + 1];
	memset(key_id, 'x', sizeof key_id);
	memset(secret, 'x', sizeof secret);
	enum token_shape shape = token_read(text, key_id, secret);
	assert((shape != TOKEN_MALFORMED) == matches(text));
	if (shape == TOKEN_WELL_FORMED) {
		const char *body = strchr(text, '_') + 1;
		assert(strlen(text) < TOKEN_TEXT_MAX);
		assert(strlen(key_id) == TOKEN_KEY_ID_LEN && !memcmp(key_id, body, TOKEN_KEY_ID_LEN));
		assert(strlen(secret) == TOKEN_SECRET_LEN);
		assert(!memcmp(secret, body + TOKEN_KEY_ID_LEN + 1, TOKEN_SECRET_LEN));
	} else {
		assert(!*key_id && !*secret);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	assert(text);
	check(text);

	/* The same bytes as damage to a real token: one place, one letter. */
	char token[TOKEN_TEXT_MAX] = "pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV4Dnd2X";
	if (size >= 2) {
		size_t place = data[0] % strlen(token);
		char key_id[TOKEN_KEY_ID_LEN + 1], secret[TOKEN_SECRET_LEN + 1], before = token[place];
		token[place] = (char)data[1];
		check(token);
		assert((token_read(token, key_id, secret) == TOKEN_WELL_FORMED) == (token[place] == before));
	}
	free(text);
	return 0;
}
