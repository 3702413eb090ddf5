/*
 * sites_promises.h: what holds of a configuration however broken the text was that it was read from. For the fuzz targets of both
 * readers, which include it after lib/sites.c.
 */
static void check(bool holds)
{
	if (!holds)
		abort();
}

/* Also when owners join its sites. NULL: nothing was read. */
static void check_sites(struct arena *arena, struct sites *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		check(site->name && strchr(site->name, '.') && site->content.file);
		check(!site->alias_of || (site->alias_of != site && !site->alias_of->alias_of));
		check(!site->content.root || (site->content.root[0] == '/' && !strstr(site->content.root, "/../") && !strstr(site->content.root, "//")));
		check((site->content.kind == SITE_REDIRECT) == (site->content.redirect != NULL));
		check(site->port_count <= SITES_PORTS_MAX);
		site->account = i % 3 ? "anna" : i % 2 ? "bert" : NULL;
		site->owner = site->own.root ? (i % 5 ? "anna" : i % 2 ? "bert" : NULL) : NULL;
	}
	sites_join(conf);
	for (size_t i = 0; i < conf->site_count; i++) {
		const struct site *site = &conf->sites[i], *head = site->alias_of;
		check(!head || (head != site && !head->alias_of));
		check(!head || !site->owner || !site->own.root || (head->lender->owner && strcmp(site->owner, head->lender->owner) == 0));
	}
	for (size_t i = 0; i < conf->skip_count; i++)
		check(conf->skips[i].name && conf->skips[i].reason && conf->skips[i].file);
	check(conf->warning_count <= SITES_WARNINGS_MAX && sites_set_types(arena, conf));
}
