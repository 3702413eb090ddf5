/* sites.c: see sites.h, and sites_finish() of sites_reader.h: the blocks of one name become one site. */
#include "sites_reader.h"

#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- merging --- */

static bool only_redirects(const struct block *b)
{
	bool backend = b->backend != SITE_NOTHING;

	return b->redirect && (b->redirects_all || (b->redirects_root && !backend) ||
	                       (!b->root && !b->location_root && !b->nested_root && !backend));
}

static const char *root_of(const struct parser *p, const struct block *b, const char **note)
{
	*note = NULL;
	if (b->root || b->root_note || only_redirects(b))
		return *note = b->root_note, b->root;
	if (b->location_root || b->location_note)
		return *note = b->location_note, b->location_root;
	if ((b->nested_root || b->nested_note) && !b->backend_is_root)
		return *note = b->nested_note, b->nested_root;
	return *note = p->default_note, p->default_root;
}

static enum site_kind kind_of(const struct parser *p, const struct block *b)
{
	const char *note, *root = root_of(p, b, &note);

	if (only_redirects(b))
		return SITE_REDIRECT;
	if (b->refuses)
		return SITE_NOTHING;
	if (b->backend != SITE_NOTHING)
		return b->backend;
	return root || note ? SITE_STATIC : SITE_NOTHING;
}

static const char *certificate_of(const struct parser *p, const struct block *b)
{
	return !b->tls ? NULL : b->certificate ? b->certificate : p->default_certificate;
}

/* How much a block tells about its names: content before redirects, a root before none. */
static int rank_of(const struct parser *p, const struct block *b)
{
	const char *note;
	enum site_kind kind = kind_of(p, b);

	return 4 * (kind > SITE_REDIRECT) + 2 * (root_of(p, b, &note) != NULL) + (kind != SITE_REDIRECT);
}

/* The same among the blocks of one name: what is served by TLS is the site. Beside it, a folder that is served without may
 * be no more than the one for proofs to a certificate authority. What refuses everything tells least. */
static int weight_of(const struct parser *p, const struct block *b)
{
	if (b->refuses && kind_of(p, b) == SITE_NOTHING)
		return -1;
	bool own = b->root || b->location_root || b->nested_root || b->backend != SITE_NOTHING;

	return 32 * (kind_of(p, b) > SITE_REDIRECT) + 16 * (kind_of(p, b) > SITE_REDIRECT && b->tls && own) +
	       2 * rank_of(p, b) + (certificate_of(p, b) != NULL);
}

static int by_text(const void *a, const void *b)
{
	const struct name *x = *(const struct name *const *)a, *y = *(const struct name *const *)b;
	int order = strcmp(x->text, y->text);

	return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
	const struct name *x = *(const struct name *const *)a, *y = *(const struct name *const *)b;

	return (x->at > y->at) - (x->at < y->at);
}

struct merge {
	struct name **domains;    /* the first of each domain, by text */
	size_t count;
	const struct block **best;/* of each site */
	size_t *up;               /* site -> the site that it is another name of; itself when none */
	size_t *seen;             /* site -> number of the block that was last seen to have it */
};

/* The site of a domain name, or merge->count. */
static size_t find_site(const struct merge *m, const char *text)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(m->domains[middle]->text, text);
		if (order == 0)
			return m->domains[middle]->site;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return m->count;
}

static size_t head_of(struct merge *m, size_t site)
{
	while (m->up[site] != site) {
		m->up[site] = m->up[m->up[site]];
		site = m->up[site];
	}
	return site;
}

/* Make a site another name of `of`, unless it is one already or that would be a circle. */
static void join(struct merge *m, size_t site, size_t of)
{
	if (of < m->count && m->up[site] == site && head_of(m, of) != site)
		m->up[site] = head_of(m, of);
}

static const char *without_www(const char *text)
{
	return strncmp(text, "www.", 4) == 0 ? text + 4 : NULL;
}

/* The site that a block is about: its first name that is not the www. form of another of its names. */
static void find_main_site(const struct parser *p, struct merge *m, struct block *b, size_t number)
{
	const struct name *names = p->names + b->first_name;
	bool any = false;

	for (size_t i = 0; i < b->name_count; i++)
		if (!names[i].reason)
			m->seen[names[i].site] = number;
	for (size_t i = 0; i < b->name_count; i++) {
		if (names[i].reason)
			continue;
		const char *bare = without_www(names[i].text);
		size_t site = bare ? find_site(m, bare) : m->count;
		bool is_www = site < m->count && m->seen[site] == number;
		if (!any || !is_www)
			b->main_site = names[i].site;
		any = true;
		if (!is_www)
			return;
	}
}

/* The host of a redirect's target when it is written out, as an A-label. */
static bool target_host(const char *target, char out[HOSTNAME_MAX])
{
	char host[HOSTNAME_MAX];
	const char *why, *start = strstr(target, "://");

	if (!start)
		return false;
	start += 3;
	size_t len = strcspn(start, "/:?#$");
	if (len >= sizeof host)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	return hostname_to_ascii(host, out, &why);
}

static struct site_content content_of(const struct parser *p, const struct block *b)
{
	struct site_content content = { .kind = kind_of(p, b), .file = b->file, .line = b->line };

	content.root = root_of(p, b, &content.root_note);
	content.redirect = content.kind == SITE_REDIRECT ? b->redirect : NULL;
	return content;
}

static void take_certificate(struct parser *p, struct site *site, const struct block *b)
{
	if (b->certificate && !b->tls)
		sites_warn(p, b->certificate_file, b->certificate_line, "the certificate is not served: nothing listens with TLS here", site->name);
	site->certificate = certificate_of(p, b);
	site->certificate_file = b->certificate ? b->certificate_file : p->default_certificate_file;
	site->certificate_line = b->certificate ? b->certificate_line : p->default_certificate_line;
}

/* Have the servers before it all the ports of a block? They answer for the name, and it never does. */
static bool is_shadowed(const struct block *b, const int *taken, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < b->port_count; i++)
		for (size_t k = 0; k < count; k++)
			found += taken[k] == b->ports[i];
	return b->port_count && found == b->port_count && !b->addressed;
}

/* One site of `group` equal names, which lie together. */
static void fill_site(struct parser *p, struct merge *m, struct name *const *equal, size_t group, size_t index)
{
	struct site *site = &p->conf->sites[index];
	const struct block *best = equal[0]->block;
	int taken[SITES_PORTS_MAX];
	size_t taken_count = 0;

	site->name = equal[0]->text;
	for (size_t i = 0; i < group; i++) {
		const struct block *b = equal[i]->block;
		equal[i]->site = index;
		if (i && b == equal[i - 1]->block)
			continue;
		if (is_shadowed(b, taken, taken_count)) {
			sites_warn(p, b->file, b->line, "a server before it answers for the name at the same port, so it is not taken over",
			           site->name);
			continue;
		}
		for (size_t k = 0; k < b->port_count && !b->addressed; k++)
			sites_add_port(taken, &taken_count, b->ports[k]);
		if (weight_of(p, b) > weight_of(p, best))
			best = b;
		if (!site->certificate)
			take_certificate(p, site, b);
		for (size_t k = 0; k < b->port_count; k++)
			sites_add_port(site->ports, &site->port_count, b->ports[k]);
	}
	site->own = content_of(p, best);
	site->rank = rank_of(p, best);
	m->best[index] = best;
	m->up[index] = index;
	m->seen[index] = SIZE_MAX;
}

/* Which names seem to belong together. */
static void find_heads(struct parser *p, struct merge *m)
{
	struct site *sites = p->conf->sites;
	size_t number = 0;
	char host[HOSTNAME_MAX];

	for (size_t i = 0; i < p->name_count; i++)
		if (p->names[i].at == p->names[i].block->first_name)
			find_main_site(p, m, p->names[i].block, number++);
	for (size_t i = 0; i < m->count; i++)
		if (without_www(sites[i].name))
			join(m, i, find_site(m, without_www(sites[i].name)));
	for (size_t i = 0; i < m->count; i++)
		join(m, i, m->best[i]->main_site);
	for (size_t i = 0; i < m->count; i++)
		if (sites[i].own.kind == SITE_REDIRECT && target_host(sites[i].own.redirect, host))
			join(m, i, find_site(m, host));
	for (size_t i = 0; i < m->count; i++) {
		size_t head = head_of(m, i), bare = without_www(sites[i].name) ? find_site(m, without_www(sites[i].name)) : m->count;
		size_t near = bare < m->count ? bare : m->best[i]->main_site;
		sites[i].head = head == i ? NULL : &sites[head];
		sites[i].near = near == i || near == head ? NULL : &sites[near];
	}
}

/* --- joining --- */

static bool same_owner(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* May a site be another name of one whose files are of this owner? */
static bool may_follow(const struct site *site, const char *owner)
{
	return !site->own.root || same_owner(site->owner, owner) || (!site->owner && site->own.kind == SITE_REDIRECT);
}

/* "example.org" may do no more than send to "www.example.org": then it has that one's content, and its owner. */
static void lend_content(struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		site->content = site->own;
		site->alias_of = NULL;
		site->leads = false;
		site->lender = site;
	}
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i], *head = site->head;
		if (!head || site->rank <= head->lender->rank || (head->lender->owner && !same_owner(site->owner, head->lender->owner)))
			continue;
		head->lender = site;
		head->content = site->own;
	}
}

void sites_join(struct sites *conf)
{
	lend_content(conf);
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		if (site->head && may_follow(site, site->head->lender->owner)) {
			site->alias_of = site->head;
			site->head->leads = true;
		}
	}
	/* What was parted from its head may still be another name of the first of its own block. */
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i], *near = site->near;
		if (site->head && !site->alias_of && near && !site->leads && !near->alias_of && may_follow(site, near->owner)) {
			site->alias_of = near;
			near->leads = true;
		}
	}
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		if (site->alias_of && !site->content.root) {
			site->content.root = site->alias_of->content.root;
			site->content.root_note = site->alias_of->content.root_note;
		}
	}
}

static void merge_names(struct parser *p)
{
	struct sites *conf = p->conf;
	size_t count = p->name_count, heads = 0;
	struct merge m = { 0 };
	struct name **sorted = sites_need(p, arena_array(p->arena, count, sizeof *sorted));
	struct name **first = sites_need(p, arena_array(p->arena, count, sizeof *first));

	conf->sites = sites_need(p, arena_array(p->arena, count, sizeof *conf->sites));
	conf->skips = sites_need(p, arena_array(p->arena, count, sizeof *conf->skips));
	m.domains = sites_need(p, arena_array(p->arena, count, sizeof(struct name *)));
	m.best = sites_need(p, arena_array(p->arena, count, sizeof(struct block *)));
	m.up = sites_need(p, arena_array(p->arena, count, sizeof *m.up));
	m.seen = sites_need(p, arena_array(p->arena, count, sizeof *m.seen));
	if (p->no_memory)
		return;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &p->names[i];
	qsort(sorted, count, sizeof *sorted, by_text);
	for (size_t i = 0, group; i < count; i += group) {
		for (group = 1; i + group < count && strcmp(sorted[i]->text, sorted[i + group]->text) == 0;)
			group++;
		sorted[i]->group = group;
		sorted[i]->site = i; /* for now: where its group lies */
		if (sorted[i]->reason)
			continue;
		first[heads++] = sorted[i];
		m.domains[m.count++] = sorted[i];
	}
	qsort(first, heads, sizeof *first, by_place);
	for (size_t i = 0; i < heads; i++)
		fill_site(p, &m, sorted + first[i]->site, first[i]->group, conf->site_count++);
	for (size_t i = 0; i < count; i++) {
		const struct name *n = &p->names[i];
		bool again = i && n->reason && n[-1].reason && n[-1].block == n->block && strcmp(n[-1].text, n->text) == 0;
		if (n->reason && !again)
			conf->skips[conf->skip_count++] = (struct site_skip){ n->text, n->reason, n->block->file, n->block->line };
	}
	find_heads(p, &m);
	sites_join(conf);
}

/* --- doors --- */

struct sites *sites_finish(struct parser *p)
{
	buf_free(&p->text);
	p->conf->prefix = p->prefix;
	if (p->name_count && !p->no_memory)
		merge_names(p);
	return p->no_memory ? NULL : p->conf;
}

/* --- types --- */

static int by_site_name(const void *a, const void *b)
{
	return strcmp((*(const struct site *const *)a)->name, (*(const struct site *const *)b)->name);
}

static int by_account(const void *a, const void *b)
{
	const struct site *x = *(const struct site *const *)a, *y = *(const struct site *const *)b;
	int order = strcmp(x->account, y->account);

	return order ? order : (x > y) - (x < y);
}

static bool below_another(struct site **sorted, size_t count, const struct site *site)
{
	for (const char *dot = strchr(site->name, '.'); dot; dot = strchr(dot + 1, '.')) {
		const struct site wanted = { .name = dot + 1 }, *key = &wanted;
		struct site **hit = bsearch(&key, sorted, count, sizeof *sorted, by_site_name);
		if (hit && (*hit)->account && strcmp((*hit)->account, site->account) == 0)
			return true;
	}
	return false;
}

bool sites_set_types(struct arena *arena, struct sites *conf)
{
	struct site **sorted = arena_array(arena, conf->site_count, sizeof *sorted);
	struct site **own = arena_array(arena, conf->site_count, sizeof *own);
	size_t count = 0;

	if (!sorted || !own)
		return false;
	for (size_t i = 0; i < conf->site_count; i++)
		sorted[i] = &conf->sites[i];
	qsort(sorted, conf->site_count, sizeof *sorted, by_site_name);
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		site->type = SITE_UNTYPED;
		if (site->alias_of)
			site->type = SITE_ALIAS;
		else if (site->account && below_another(sorted, conf->site_count, site))
			site->type = SITE_SUBDOMAIN;
		else if (site->account)
			own[count++] = site;
	}
	qsort(own, count, sizeof *own, by_account);
	for (size_t i = 0; i < count; i++)
		own[i]->type = i && strcmp(own[i - 1]->account, own[i]->account) == 0 ? SITE_ADDON : SITE_PRIMARY;
	return true;
}

const char *site_kind_name(enum site_kind kind)
{
	static const char *const names[] = { "nothing", "redirect", "static", "fastcgi", "proxy" };

	return kind <= SITE_PROXY ? names[kind] : names[SITE_NOTHING];
}

const char *site_type_name(enum site_type type)
{
	static const char *const names[] = { "", "primary", "addon", "subdomain", "alias" };

	return type <= SITE_ALIAS ? names[type] : names[SITE_UNTYPED];
}
