/* password.c: see password.h. */
#include "password.h"
#include "token.h"

#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COST = 10 }; /* 2^10 rounds; Dovecot's own default of 5 is too weak */

bool password_bcrypt(const char *clear, char out[PASSWORD_HASH_MAX])
{
	const size_t len = strlen(clear);
	struct crypt_data *data = NULL;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	bool done = false;

	*out = '\0';
	/* without bytes of ours libcrypt takes them from the kernel */
	if (len >= PASSWORD_MIN && len <= PASSWORD_MAX && crypt_gensalt_rn("$2b$", COST, NULL, 0, setting, sizeof setting) &&
	    (data = calloc(1, sizeof *data)) && crypt_r(clear, setting, data)) {
		/* what failed begins with an asterisk */
		done = strncmp(data->output, "$2b$", 4) == 0 && strlen(data->output) == 60;
		if (done)
			snprintf(out, PASSWORD_HASH_MAX, "{BLF-CRYPT}%.60s", data->output);
	}
	if (data)
		token_wipe(data, sizeof *data);
	free(data);
	return done;
}
