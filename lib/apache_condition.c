/* apache_condition.c: see apache_reader.h. Which conditional sections are read, and what is said of the others. */
#include "apache_reader.h"

#include "arena.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* --- modules --- */

void apache_load_module(struct parser *p, const char *identifier, const char *file)
{
	struct apache *a = p->own;
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	struct module *m = a->define_count < APACHE_DEFINES_MAX ? sites_need(p, arena_alloc(p->arena, sizeof *m)) : NULL;

	if (!m)
		return;
	*m = (struct module){ sites_keep(p, identifier), sites_need(p, arena_strndup(p->arena, base, strcspn(base, "."))), a->modules };
	if (m->identifier && m->source) {
		a->modules = m;
		a->define_count++; /* looked through as they are */
	}
}

static bool same_module(const char *name, const char *other, size_t len)
{
	return strlen(other) == len && strncasecmp(name, other, len) == 0;
}

/* Is a module loaded, by its identifier ("ssl_module") or its source ("mod_ssl.c")? */
static bool is_loaded(const struct apache *a, const char *name)
{
	static const char *const built_in[] = {
		"core", "mod_core", "http_core", "so", "mod_so", "mod_unixd", "mod_version", "mod_log_config", "mod_logio", "mod_watchdog",
		"core_module", "http_module", "so_module", "unixd_module", "version_module", "log_config_module", "logio_module",
		"watchdog_module"
	};
	size_t len = strlen(name);

	if (len > 2 && strcasecmp(name + len - 2, ".c") == 0)
		len -= 2;
	for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++)
		if (same_module(name, built_in[i], len))
			return true;
	for (const struct module *m = a->modules; m; m = m->next) {
		size_t stem = strcspn(m->identifier, "_");
		if (same_module(name, m->identifier, len) || same_module(name, m->source, len) ||
		    (len == stem + 4 && strncasecmp(name, "mod_", 4) == 0 && strncasecmp(name + 4, m->identifier, stem) == 0))
			return true;
	}
	return false;
}

bool apache_told_before(struct parser *p, const char *name)
{
	struct apache *a = p->own;

	if (!sites_spend(p, a->define_count + 1))
		return true;
	for (const struct module *m = a->assumed; m; m = m->next)
		if (strcasecmp(m->source, name) == 0)
			return true;
	struct module *m = sites_need(p, arena_alloc(p->arena, sizeof *m));
	if (!m)
		return true;
	*m = (struct module){ .source = sites_keep(p, name), .next = a->assumed };
	if (m->source && a->define_count + 1 < APACHE_DEFINES_MAX) {
		a->assumed = m;
		a->define_count++;
	}
	return false;
}

static int compare_version(const unsigned version[3], const char *text, int *parts)
{
	unsigned wanted[3] = { 0 };

	*parts = sscanf(text, "%4u.%4u.%4u", &wanted[0], &wanted[1], &wanted[2]);
	for (int i = 0; i < 3; i++)
		if (version[i] != wanted[i])
			return version[i] < wanted[i] ? -1 : 1;
	return 0;
}

/* <IfVersion [[!]operator] version> */
static void judge_version(const struct parser *p, struct condition *c)
{
	const struct apache *a = p->own;
	const char *how = p->word_count > 2 ? sites_word(p, 1) : "=", *text = sites_word(p, p->word_count - 1);
	bool negated = *how == '!';
	int parts;

	how += negated;
	if (*text == '/' || *how == '~') {
		c->note = "a version is compared with a regular expression, which is not evaluated: the section is read as if it applied";
		return;
	}
	int order = compare_version(a->version, text, &parts);
	c->held = (strcmp(how, "=") == 0 || strcmp(how, "==") == 0) ? order == 0 : strcmp(how, "<") == 0 ? order < 0 :
		strcmp(how, "<=") == 0 ? order <= 0 : strcmp(how, ">") == 0 ? order > 0 : order >= 0;
	c->held ^= negated;
	if (!a->version_given && parts == 3 && strncmp(text, "2.4.", 4) == 0)
		c->note = c->held ? "the server counts as the newest 2.4, so the section is read: give its version (--server-version)" :
			"the server counts as the newest 2.4, so the section is left out: give its version (--server-version)";
	else if (!c->held)
		c->note = "the section is for another version of the server and is left out (--server-version)";
}

static void judge_module(struct parser *p, const char *name, bool negated, struct condition *c)
{
	const struct apache *a = p->own;
	bool loaded = is_loaded(a, name);

	if (!sites_spend(p, a->define_count + 1))
		p->stopped = true;
	if (loaded || a->modules) {
		c->held = loaded != negated;
		c->note = !c->held && !negated ? "the module is not loaded, so the section is left out, as the server does" : NULL;
	} else {
		c->held = !negated;
		c->once = !negated;
		c->note = negated ? "no LoadModule tells whether the module is loaded; it counts as loaded, so the section is left out" :
			"no LoadModule tells whether the module is loaded; it counts as loaded, so such sections are read";
	}
}

struct condition apache_judge(struct parser *p)
{
	struct condition c = { .conditional = true, .held = true, .about = sites_word(p, 1) };
	bool negated = *c.about == '!';
	const char *what = c.about + negated;

	if (apache_is(p, "IfDefine")) {
		c.held = (apache_value(p->own, what, strlen(what)) != NULL) != negated;
		c.note = !c.held && !negated && !apache_find_define(p->own, what, strlen(what)) ? "the name is not defined, so the section is left out; give --define NAME where the server is "
			"started with it" : NULL;
	} else if (apache_is(p, "IfModule")) {
		judge_module(p, what, negated, &c);
	} else if (apache_is(p, "IfVersion")) {
		judge_version(p, &c);
	} else if (apache_is(p, "IfFile") && p->on_disk) {
		const char *path = apache_full_path(p, what);
		c.held = (path && access(path, F_OK) == 0) != negated;
		c.note = !c.held && !negated ? "there is no such file, so the section is left out, as the server does" : NULL;
	} else if (apache_is(p, "IfFile") || apache_is(p, "IfDirective") || apache_is(p, "IfSection")) {
		c.held = !negated;
		c.note = negated ? "the condition counts as not met, so the section is left out" :
			"the condition counts as met, so the section is read";
	} else {
		c.conditional = false;
	}
	return c;
}
