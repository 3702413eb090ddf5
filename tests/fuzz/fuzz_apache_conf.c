/* fuzz_apache_conf.c: any text is read without a crash, in bounded work, and what comes out keeps its promises. */
#include "../../cli/sites.c"
#include "../../cli/apache_conf.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new();
	struct sites *conf = arena ? apache_conf_text(arena, "fuzz", (const char *)data, size) : NULL;

	for (size_t i = 0; conf && i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		check(site->name && strchr(site->name, '.') && site->file);
		check(!site->alias_of || (site->alias_of != site && !site->alias_of->alias_of));
		check(!site->root || (site->root[0] == '/' && !strstr(site->root, "/../") && !strstr(site->root, "//")));
		check((site->kind == SITE_REDIRECT) == (site->redirect != NULL));
		check(site->port_count <= SITES_PORTS_MAX);
		site->account = i % 3 ? "anna" : i % 2 ? "bert" : NULL;
	}
	for (size_t i = 0; conf && i < conf->skip_count; i++)
		check(conf->skips[i].name && conf->skips[i].reason && conf->skips[i].file);
	if (conf)
		check(conf->warning_count <= SITES_WARNINGS_MAX && sites_set_types(arena, conf));
	arena_free(arena);
	return 0;
}
