/*
 * fuzz_hostname.c: an A-label name is a fixed point, keeps the bounds that the header promises, and what is shown for it
 * leads back to it.
 */
#include "hostname.h"
#include "json.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_labels(const char *name)
{
	size_t labels = 0;
	assert(strlen(name) < HOSTNAME_MAX);
	for (const char *label = name;; label++) {
		size_t len = strcspn(label, ".");
		assert(len >= 1 && len <= 63);
		assert(strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == len);
		assert(label[0] != '-' && label[len - 1] != '-');
		labels++;
		if (!label[len]) {
			assert(labels >= 2);
			assert(strspn(label, "0123456789") < len);
			return;
		}
		label += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	char name[HOSTNAME_MAX], again[HOSTNAME_MAX], shown[HOSTNAME_UNICODE_MAX];
	const char *why;
	assert(text);

	if (hostname_to_ascii(text, name, &why)) {
		assert(!why);
		check_labels(name);
		assert(hostname_to_ascii(name, again, &why) && !strcmp(name, again));
		hostname_to_unicode(name, shown);
		assert(utf8_valid(shown, strlen(shown)));
		assert(hostname_to_ascii(shown, again, &why) && !strcmp(name, again));
	} else {
		assert(why && !*name);
	}

	/* Showing is asked for names from the database; it must bear anything. */
	hostname_to_unicode(text, shown);
	assert(memchr(shown, '\0', sizeof shown));
	free(text);
	return 0;
}
