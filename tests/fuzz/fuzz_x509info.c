/*
 * fuzz_x509info.c: whatever is uploaded as certificate, chain and key: what is taken can be read again and says the same; what is
 * not is told by one of the three fields. The texts are separated by NUL.
 */
#include "x509info.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const int64_t now = 1800000000 * (int64_t)1000000;
	struct arena *arena = arena_new();
	char *text = arena_strndup(arena, "", 0), *part[3] = { text, NULL, NULL };
	struct x509info info, again;
	struct x509fault fault = { 0 };

	text = arena_alloc(arena, size + 3);
	memcpy(text, data, size);
	for (size_t i = 0, at = 0; i < 3 && at <= size; i++, at += strlen(text + at) + 1)
		part[i] = text + at;
	if (!x509info_read(arena, part[0], part[1], part[2], now, &info, &fault)) {
		assert(fault.message && *fault.message);
		assert(!strcmp(fault.field, "certificate") || !strcmp(fault.field, "chain") || !strcmp(fault.field, "private_key"));
	} else {
		assert(info.name_count > 0 && info.name_count <= X509INFO_NAMES_MAX && info.not_after_us > now);
		assert(x509info_read(arena, info.fullchain, NULL, info.key, now, &again, &fault));
		assert(!strcmp(again.fullchain, info.fullchain) && !strcmp(again.fingerprint_sha256, info.fingerprint_sha256));
		json_object_put(x509info_json(&info));
	}
	arena_free(arena);
	return 0;
}
