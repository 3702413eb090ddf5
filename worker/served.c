/* served.c: see served.h. */
#include "served.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nginx_conf.h"

enum { DUMP_MAX = 16 << 20 };
#define SECTION "# configuration file "

const char *served_placed(struct action *a, const char *complaint)
{
	const char *at = strstr(complaint, " on line "), *file;
	unsigned line;
	int end = 0;
	size_t len;

	if (at && sscanf(at, " on line %u of %n", &line, &end) == 1 && end && at[end] == '/') {
		len = strcspn(at + end, ": ");
		return arena_printf(a->arena, "%.*s:%u: %s", (int)len, at + end, line, complaint);
	}
	for (at = complaint; (at = strstr(at, " in /")); at += 5) {
		file = at + 4;
		len = strcspn(file, ": ");
		if (file[len] == ':' && strspn(file + len + 1, "0123456789"))
			return arena_printf(a->arena, "%.*s: %s", (int)(len + 1 + strspn(file + len + 1, "0123456789")), file, complaint);
	}
	return complaint;
}

/* What a server's own command says; NULL: there is no such server. One that refuses its configuration cannot tell. */
static char *said_by(struct action *a, const char *setting, const char *server, const char *const *more, size_t *len)
{
	struct command c = { .output_max = DUMP_MAX };

	command_split(a, setting, &c);
	if (access(c.argv[0], X_OK) != 0)
		return NULL;
	for (; more && *more; more++)
		command_add(&c, *more);
	if (!command_run(a, &c) && strstr(c.errors, "main.cf: No such file"))
		return NULL; /* Postfix is there and was never set up */
	if (c.status != 0)
		action_blocked("not this site: %s (so %s cannot tell what it serves already)", served_placed(a, command_complaint(a, &c)), server);
	if (len)
		*len = c.output_len;
	return c.output;
}

/* `name` itself, or below it. */
static bool is_at_or_below(const char *name, const char *above)
{
	size_t len = strlen(name), tail = strlen(above);

	return tail && len >= tail && strcasecmp(name + len - tail, above) == 0 && (len == tail || name[len - tail - 1] == '.');
}

/* A server's name, perhaps "*.example.org", stands for all below it, too. */
static bool stands_for(const char *served, const char *name)
{
	return is_at_or_below(name, served[0] == '*' && served[1] == '.' ? served + 2 : served) && strchr(served, '.');
}

static bool is_in(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* ---- nginx ---- */

/* Leave out the files that are ours. Returns the new length. */
static size_t without_ours(char *text, size_t len, const char *folder)
{
	char *end = text + len, *to = text;
	bool ours = false;

	for (char *line = text, *next; line < end; line = next) {
		char *newline = memchr(line, '\n', (size_t)(end - line));

		next = newline ? newline + 1 : end;
		if ((size_t)(next - line) > sizeof SECTION && strncmp(line, SECTION, sizeof SECTION - 1) == 0)
			ours = is_in(line + sizeof SECTION - 1, folder);
		if (ours)
			continue;
		memmove(to, line, (size_t)(next - line));
		to += next - line;
	}
	return (size_t)(to - text);
}

static const char *served_by_nginx(struct action *a, const char *name)
{
	size_t len;
	char *dump = said_by(a, a->config.nginx_dump, "nginx", NULL, &len);
	const struct sites *conf = dump ? nginx_conf_text(a->arena, "nginx", dump, without_ours(dump, len, a->config.nginx_sites_dir)) : NULL;

	if (dump && !conf)
		action_retry("nginx's configuration cannot be read: out of memory");
	for (size_t i = 0; conf && i < conf->site_count; i++)
		if (stands_for(conf->sites[i].name, name))
			return arena_printf(a->arena, "nginx serves %s (%s:%u)", conf->sites[i].name, conf->sites[i].content.file,
			                    conf->sites[i].content.line);
	for (size_t i = 0; conf && i < conf->skip_count; i++)
		if (conf->skips[i].name[0] == '*' && stands_for(conf->skips[i].name, name))
			return arena_printf(a->arena, "nginx serves %s (%s:%u)", conf->skips[i].name, conf->skips[i].file, conf->skips[i].line);
	return NULL;
}

/* ---- Apache ---- */

/* Where a virtual host is written, "(FILE:LINE)" at the end of its line; NULL: none is named. */
static char *place_of(char *line)
{
	char *open = strstr(line, " (/"), *close = open ? strrchr(open, ')') : NULL;

	if (!close)
		return NULL;
	*close = '\0';
	*open = '\0';
	return open + 2;
}

/* The port of "port 80 namevhost …" or "192.0.2.1:80 …"; 0: the line names none. */
static long port_of(const char *line)
{
	const char *colon;

	if (strncmp(line, "port ", 5) == 0)
		return strtol(line + 5, NULL, 10);
	line += *line == '[' ? strcspn(line, "]") : 0;
	colon = line + strcspn(line, ": ");
	return *colon == ':' && isdigit((unsigned char)colon[1]) ? strtol(colon + 1, NULL, 10) : 0;
}

static bool listens(const char *places, long port)
{
	for (const char *at = places; *at; at += strspn(at, " ")) {
		const char *end = at + strcspn(at, " "), *colon = end;

		while (colon > at && *colon != ':')
			colon--;
		if (strtol(colon + 1, NULL, 10) == port)
			return true;
		at = end;
	}
	return false;
}

/* In what `apachectl -S` says, the name is a line's last word before its place; aliases follow, a line each. `same`: only just this
 * name, where we listen. */
static const char *find_in_apache(struct action *a, const char *name, bool same)
{
	char *rest = said_by(a, a->config.apache_dump, "Apache", NULL, NULL), *line;
	const char *place = NULL;
	bool ours = true, near = false;

	while (rest && (line = strsep(&rest, "\n"))) {
		const char *word;
		char *here, *space;
		long port;

		line += strspn(line, " \t");
		here = place_of(line);
		space = strrchr(line, ' ');
		word = space ? space + 1 : line;
		port = port_of(line);
		if (port)
			near = listens(a->config.apache_listen, port) || listens(a->config.apache_listen_tls, port);
		if (here) {
			place = here;
			ours = is_in(place, a->config.apache_sites_dir);
		} else if (strncmp(line, "alias ", 6) != 0 && strncmp(line, "wild alias ", 11) != 0) {
			continue;
		}
		if (!ours && place && (same ? near && strcasecmp(word, name) == 0 : stands_for(word, name)))
			return arena_printf(a->arena, "Apache serves %s (%s)", word, place);
	}
	return NULL;
}

const char *served_by_apache(struct action *a, const char *name)
{
	return find_in_apache(a, name, true);
}

/* ---- what is part of the configuration ---- */

static bool is_same_file(const char *one, const char *other)
{
	struct stat a, b;

	return strcmp(one, other) == 0 || (stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* The path that a line of a dump names: nginx's "# configuration file PATH:", Apache's "  (LINE) PATH". NULL: none. */
static const char *included(char *line, bool nginx)
{
	size_t len = strlen(line);
	char *at = nginx ? line : line + strspn(line, " ");

	if (nginx && strncmp(line, SECTION, sizeof SECTION - 1) == 0 && line[len - 1] == ':') {
		line[len - 1] = '\0';
		return line + sizeof SECTION - 1;
	}
	return !nginx && *at == '(' && (at = strstr(at, ") /")) ? at + 2 : NULL;
}

const char *served_includes(struct action *a, const char *server, const char *path)
{
	static const char *const more[] = { "-D", "DUMP_INCLUDES", NULL };
	bool nginx = strcmp(server, "nginx") == 0;
	const char *main_file = NULL, *name = strrchr(path, '/'), *found;
	char *rest = said_by(a, nginx ? a->config.nginx_dump : a->config.apache_dump, server, nginx ? NULL : more, NULL), *line;
	int folder = (int)(name - path);

	while (rest && (line = strsep(&rest, "\n"))) {
		if (!(found = included(line, nginx)))
			continue;
		if (is_same_file(found, path))
			return NULL;
		main_file = main_file ? main_file : arena_strdup(a->arena, found);
	}
	if (!main_file)
		return NULL;
	return nginx ? arena_printf(a->arena, "not this site: nginx does not read the folder of websites: add \"include %.*s/*.conf;\" to http {} in %s",
	                            folder, path, main_file)
	             : arena_printf(a->arena, "not this site: Apache does not read the folder of websites: add \"IncludeOptional %.*s/*.conf\" "
	                            "as the last line of %s", folder, path, main_file);
}

/* ---- Postfix ---- */

/* Is it a key of "type:name"? Postfix's own tables may be anything that it was built with. */
static bool is_in_table(struct action *a, const char *table, const char *name)
{
	struct command c = { 0 };

	command_split(a, a->config.postmap_command, &c);
	command_add(&c, "-q");
	command_add(&c, name);
	command_add(&c, table);
	if (command_run(a, &c))
		return true;
	if (strstr(c.errors, "fatal:") || c.status == 127)
		action_blocked("not this domain: %s (so Postfix cannot tell what it takes mail for already)", command_complaint(a, &c));
	return false;
}

/* Lists of Postfix hold names, tables and files with names. Names above count: mail below them may be theirs. */
static bool is_listed(struct action *a, char *list, const char *name, const char **what)
{
	for (char *word; (word = strsep(&list, " \t\r\n,"));) {
		*what = word;
		if (!*word || *word == '!')
			continue;
		if (strchr(word, ':') || *word == '/') {
			const char *table = *word == '/' ? arena_printf(a->arena, "texthash:%s", word) : word;

			for (const char *at = name; at && strchr(at, '.'); at = strchr(at, '.') + 1)
				if (is_in_table(a, table, at))
					return true;
		} else if (stands_for(word[0] == '.' ? word + 1 : word, name)) {
			return true;
		}
	}
	return false;
}

static const char *served_by_postfix(struct action *a, const char *name)
{
	static const char *const words[] = { "-x", "mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains", NULL };
	char *rest = said_by(a, a->config.postconf_command, "Postfix", words, NULL), *line;
	const char *what;

	while (rest && (line = strsep(&rest, "\n"))) {
		char *equals = strstr(line, " = ");
		const char *setting = line;

		if (!equals)
			continue;
		*equals = '\0';
		if (is_listed(a, equals + 3, name, &what))
			return arena_printf(a->arena, "Postfix takes mail for it (%s: %s)", setting, what);
	}
	return NULL;
}

const char *served_already(struct action *a, const char *name)
{
	const char *found = served_by_nginx(a, name);

	if (!found)
		found = find_in_apache(a, name, false);
	return found ? found : served_by_postfix(a, name);
}
