/* fuzz_apache_conf.c: any text is read without a crash, in bounded work, and what comes out keeps its promises. */
#include "../../lib/sites_reader.c"
#include "../../lib/sites.c"
#include "../../lib/apache_conf.c"
#include "sites_promises.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new();

	check_sites(arena, arena ? apache_conf_text(arena, "fuzz", (const char *)data, size) : NULL);
	arena_free(arena);
	return 0;
}
