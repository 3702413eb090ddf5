/* words.c: see words.h. */
#include "words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct resource *const *)a)->name, (*(const struct resource *const *)b)->name);
}

const struct resource *const *resources(size_t *count)
{
	static const struct resource *sorted[WORDS_MAX];
	static size_t n;

	if (!n) {
		for (const struct resource *const *r = __start_postern_resources;
		     r < __stop_postern_resources && n < WORDS_MAX; r++)
			sorted[n++] = *r;
		qsort(sorted, n, sizeof *sorted, by_name);
	}
	*count = n;
	return sorted;
}

const struct resource *resource_find(const char *word)
{
	size_t n;
	const struct resource *const *all = resources(&n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, all[i]->name) || !strcmp(word, all[i]->one) ||
		    (all[i]->alias && !strcmp(word, all[i]->alias)))
			return all[i];
	return NULL;
}

bool route_takes_id(const struct route *route)
{
	return strstr(route->path, "{id}") != NULL;
}

const char *route_verb(const struct route *route)
{
	const char *slash = strrchr(route->path, '/');

	if (slash && slash[1] && slash[1] != '{')
		return route->does == DO_REPLACE ? NULL : slash + 1;
	if (*route->path == '.') /* the same document as another media type */
		return NULL;
	switch (route->does) {
	case DO_LIST:   return "list";
	case DO_GET:    return "get";
	case DO_READ:   return "show";
	case DO_CREATE: return "create";
	case DO_PATCH:  return "update";
	case DO_DELETE: return "delete";
	case DO_CALL: /* of several objects */
		if (route->method == M_PATCH || strstr(route->audit, ".update"))
			return "update";
		return route->method == M_PUT ? NULL : "run";
	case DO_ACTION: return "run";
	case DO_EXPORT: return "export";
	case DO_REPLACE:
	case DO_NOTHING:
		break;
	}
	return NULL;
}

static const struct route *find(const struct resource *resource, const char *verb, size_t words)
{
	const struct route *first = NULL;

	for (const struct route *route = resource->routes; route->path; route++) {
		const char *its = route_verb(route);
		if (!its || strcmp(its, verb) != 0)
			continue;
		if (route_takes_id(route) == (words == 1))
			return route;
		if (!first)
			first = route;
	}
	return first;
}

const struct route *route_find(const struct resource *resource, const char *verb, size_t words)
{
	const struct route *route = find(resource, verb, words);

	if (!route && !strcmp(verb, "show"))
		route = find(resource, "get", words);
	if (!route && !strcmp(verb, "get"))
		route = find(resource, "show", words);
	return route;
}

const struct route *route_rename(const struct resource *resource)
{
	const struct route *route = find(resource, "update", 1);

	if (!route || route->does != DO_PATCH || find(resource, "rename", 1))
		return NULL;
	for (const struct field *f = route->input ? route->input : resource->fields; f->name; f++)
		if (!strcmp(f->name, "name") && f->flags & F_CHANGE)
			return route;
	return NULL;
}

const struct field *route_words_field(const struct route *route)
{
	if (route_takes_id(route) || route->method == M_GET)
		return NULL;
	for (const struct field *f = route->input; f && f->name; f++)
		if (f->type == F_UUID_LIST)
			return f;
	return NULL;
}

size_t resource_verbs(const struct resource *resource, const char *verbs[WORDS_MAX])
{
	size_t n = 0;

	for (const struct route *route = resource->routes; route->path && n < WORDS_MAX - 2; route++) {
		const char *verb = route_verb(route);
		bool known = !verb;
		for (size_t i = 0; i < n && !known; i++)
			known = !strcmp(verbs[i], verb);
		if (!known)
			verbs[n++] = verb;
	}
	if (route_rename(resource))
		verbs[n++] = "rename";
	verbs[n] = NULL;
	return n;
}

static const char *value_name(enum field_type type)
{
	switch (type) {
	case F_INT:        return "N";
	case F_BOOL:       return "yes|no";
	case F_ENUM:       return "WORD";
	case F_NAME:
	case F_SLUG:
	case F_USERNAME:   return "NAME";
	case F_HOSTNAME:
	case F_UNICODE:    return "HOST";
	case F_EMAIL:
	case F_MAILBOX:    return "ADDRESS";
	case F_PATH:       return "PATH";
	case F_TIMESTAMP:  return TIME_VALUE;
	case F_DATE:       return "DATE";
	case F_UUID:       return "UUID";
	case F_ADDRESS:    return "IP";
	case F_CIDR_LIST:  return "CIDR,...";
	case F_SCOPE_LIST: return "SCOPE,...";
	case F_UUID_LIST:  return "UUID,...";
	case F_EMAIL_LIST: return "ADDRESS,...";
	case F_PEM:        return "FILE";
	case F_HOSTNAME_LIST: return "HOST,...";
	case F_PORT_LIST:  return "PORT,...";
	case F_OBJECT_ID:  return "ID";
	case F_TEXT:
	case F_JSON:
	case F_NONE:
		break;
	}
	return "TEXT";
}

struct maker {
	struct option *table;
	size_t n;
};

static struct option *add(struct maker *m, const char *name, const char *value, const char *about,
                          enum option_goes goes)
{
	static struct option spare; /* beyond the table: options that nobody can give */
	struct option *o = m->n < OPTION_MAX ? &m->table[m->n++] : &spare;

	memset(o, 0, sizeof *o);
	snprintf(o->name, sizeof o->name, "%s", name);
	for (char *c = o->name; *c; c++)
		if (*c == '_')
			*c = '-';
	o->value = value;
	o->about = about;
	o->goes = goes;
	return o;
}

static void add_query(struct maker *m, const char *parameter, const char *value, const char *about)
{
	add(m, parameter, value, about, TO_QUERY)->parameter = parameter;
}

static void add_member(struct maker *m, const struct field *f)
{
	if (f->flags & F_SECRET && f->type != F_PEM) { /* a file's name is no secret */
		char name[sizeof m->table->name];
		snprintf(name, sizeof name, "%.50s-stdin", f->name);
		add(m, name, NULL, f->about, TO_SECRET)->field = f;
	} else {
		add(m, f->name, value_name(f->type), f->about, TO_BODY)->field = f;
	}
}

static void add_filters(struct maker *m, const struct resource *resource, bool exporting)
{
	bool searchable = false, dated = false;

	for (const struct field *f = resource->fields; f->name; f++) {
		searchable |= (f->flags & F_SEARCH) != 0;
		dated |= !strcmp(f->name, "updated_at");
		if (f->flags & F_FILTER) {
			struct option *o = add(m, f->name, value_name(f->type), f->about, TO_QUERY);
			o->parameter = f->name;
			o->field = f;
			o->bare = f->flags & F_ANY ? "*" : NULL;
		}
	}
	if (searchable && !exporting)
		add_query(m, "search", "TEXT", "Only what contains this text");
	if (dated) {
		add_query(m, "updated_since", TIME_VALUE, "Only what changed since: 1h, yesterday, 2026-06-01 or RFC 3339");
	} else {
		add_query(m, "since", TIME_VALUE, "Only what happened at or after this time: 1h, yesterday, 2026-06-01 or RFC 3339");
		add_query(m, "until", TIME_VALUE, "Only what happened before this time");
	}
	if (exporting) {
		add(m, "output", "FILE", "Write to this file, which is there when all is in it; default: stdout", TO_COMMAND);
		return;
	}
	if (!resource->cursor_only) {
		add_query(m, "sort", "FIELD", "Sort by this field");
		add_query(m, "order", "asc|desc", "Ascending or descending");
		add_query(m, "page", "N", "Page, from 1");
	}
	add_query(m, "per_page", "N", "Rows of a page, 1 to 100; default 20");
	add_query(m, "cursor", "CURSOR", "Go on where an earlier list ended");
	add(m, "all", NULL, "Every page, one after the other", TO_COMMAND);
}

size_t route_options(const struct resource *resource, const struct route *route, struct option table[OPTION_MAX + 1])
{
	struct maker m = { table, 0 };

	if (route->does == DO_LIST || route->does == DO_EXPORT)
		add_filters(&m, resource, route->does == DO_EXPORT);
	for (const struct field *f = route->input; f && f->name; f++) {
		if (route->does == DO_CALL && !(f->flags & F_INPUT))
			continue; /* read-only */
		if (route->method == M_GET)
			add_query(&m, f->name, value_name(f->type), f->about);
		else
			add_member(&m, f);
	}
	if (!route->input && (route->does == DO_CREATE || route->does == DO_PATCH))
		for (const struct field *f = resource->fields; f->name; f++)
			if (f->flags & (route->does == DO_CREATE ? F_CREATE | F_LOCAL : F_CHANGE))
				add_member(&m, f);
	if (route->does == DO_DELETE)
		add_query(&m, "cascade", NULL, "Delete what depends on it as well");
	if (route->method != M_GET)
		add_query(&m, "dry_run", NULL, "Check everything, change nothing");
	if (route->does != DO_EXPORT && route->does != DO_DELETE && !route->type) {
		add(&m, "columns", "FIELD,...", route->does == DO_LIST
		    ? "Show these columns; default: all, or on a terminal the most useful ones that fit" : "Show these fields; default: all", TO_COMMAND);
		add(&m, "value-only", NULL, "Values alone, without names: of --columns, else the new secret, the value or the id", TO_COMMAND);
	}
	if (route->method != M_GET || (route->does == DO_GET && strcmp(resource->name, "jobs") == 0))
		add(&m, "wait", NULL, "Wait for the end of the job that does it", TO_COMMAND);
	memset(&table[m.n], 0, sizeof table[m.n]);
	return m.n;
}
