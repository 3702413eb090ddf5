/*
 * sites_tests.h: what the tests of the readers of web servers' configurations ask of the one that was read. Each test file includes it
 * once, after cmocka, and sets `conf`.
 */
static struct arena *arena;
static struct sites *conf;

static int open_arena(void **state)
{
	(void)state;
	arena = arena_new();
	return arena ? 0 : -1;
}

static int close_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct site *find(const char *name)
{
	for (size_t i = 0; i < conf->site_count; i++)
		if (strcmp(conf->sites[i].name, name) == 0)
			return &conf->sites[i];
	return NULL;
}

static struct site *site(const char *name)
{
	struct site *found = find(name);

	if (!found)
		fail_msg("%s is no site", name);
	return found;
}

static bool warned(const char *part)
{
	for (size_t i = 0; i < conf->warning_count; i++)
		if (strstr(conf->warnings[i], part))
			return true;
	return false;
}

static void is_alias_of(const char *name, const char *of)
{
	assert_non_null(site(name)->alias_of);
	assert_string_equal(site(name)->alias_of->name, of);
}
