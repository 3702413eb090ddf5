/* nginx_sections.c: see nginx_reader.h. A text with all files of a configuration, each below a line with its name. */
#include "nginx_reader.h"

#include "arena.h"

#include <string.h>

#define MARKER "# configuration file "

/* "[a-z]", "[!0-9]" at *pattern against c; *pattern moves behind it. An unclosed one is an ordinary "[". */
static bool match_set(const char **pattern, char c)
{
	const char *at = *pattern + 1;
	bool negated = *at == '!' || *at == '^', hit = false;

	at += negated;
	for (bool first = true; *at && (first || *at != ']'); first = false) {
		char low = *at++, high = low;
		if (at[0] == '-' && at[1] && at[1] != ']') {
			high = at[1];
			at += 2;
		}
		hit |= (unsigned char)low <= (unsigned char)c && (unsigned char)c <= (unsigned char)high;
	}
	if (*at != ']') {
		++*pattern;
		return c == '[';
	}
	*pattern = at + 1;
	return hit != negated;
}

/*
 * glob(7) on a path: no "*", "?" or set matches a "/", nor a "." at the start of a part. At most pattern times name
 * steps (one point to return to, which "/" forgets), unlike fnmatch(3): a text from elsewhere cannot keep us busy.
 */
static bool match_path(struct parser *p, const char *pattern, const char *path)
{
	const char *star = NULL, *star_path = NULL, *begin = path;

	for (;;) {
		bool part_start = path == begin || path[-1] == '/', hit;
		const char *after = pattern + 1;

		sites_spend(p, 1);
		if (*pattern == '*' && !(part_start && *path == '.')) {
			star = after;
			star_path = path;
			pattern = after;
			continue;
		}
		if (!*path && !*pattern)
			return true;
		if (!*path)
			hit = false;
		else if (*pattern == '?')
			hit = *path != '/' && !(part_start && *path == '.');
		else if (*pattern == '[' && *path != '/' && !(part_start && *path == '.')) {
			after = pattern;
			hit = match_set(&after, *path);
		} else if (*pattern == '\\' && pattern[1]) {
			hit = pattern[1] == *path;
			after = pattern + 2;
		} else
			hit = *pattern == *path;
		if (hit) {
			if (*path == '/')
				star = NULL;
			pattern = after;
			path++;
		} else if (star && *star_path && *star_path != '/') {
			path = ++star_path;
			pattern = star;
		} else {
			return false;
		}
	}
}

void nginx_include_sections(struct parser *p, struct lexer *lx, char *pattern, enum place place, struct block *b)
{
	static const char missing[] = "an include is not part of this text; give the output of nginx -T";
	size_t fixed = strcspn(pattern, "*?[\\");
	char first = pattern[fixed];
	bool found;

	if (!first) {
		size_t at = sites_file_index(p, pattern, &found);
		if (found)
			sites_read_file(p, lx, p->files[at], place, b);
		else
			sites_warn(p, lx->file, lx->start, missing, pattern);
		return;
	}
	if (!p->sections) {
		sites_warn(p, lx->file, lx->start, missing, pattern);
		return;
	}
	pattern[fixed] = '\0';
	size_t at = sites_file_index(p, pattern, &found);
	pattern[fixed] = first;
	for (; at < p->file_count && strncmp(p->files[at].path, pattern, fixed) == 0 && !p->stopped; at++) {
		if (!sites_spend(p, 16))
			sites_stop(p, lx, "there are too many includes");
		else if (match_path(p, pattern, p->files[at].path))
			sites_read_file(p, lx, p->files[at], place, b);
	}
}

const char *nginx_split_sections(struct parser *p, const char *text, size_t len)
{
	const char *end = text + len, *main_path = NULL, *path = NULL, *body = NULL;

	for (const char *line = text; line < end && !p->stopped;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *next = newline ? newline + 1 : end, *last = newline ? newline : end;
		if (last > line && last[-1] == '\r')
			last--;
		size_t marked = (size_t)(last - line);
		if (marked > sizeof MARKER && marked < SITES_PATH_MAX && last[-1] == ':' &&
		    memcmp(line, MARKER, sizeof MARKER - 1) == 0) {
			if (path)
				sites_add_file(p, path, body, (size_t)(line - body));
			path = sites_need(p, arena_strndup(p->arena, line + sizeof MARKER - 1, marked - sizeof MARKER));
			body = next;
			main_path = main_path ? main_path : path;
			if (p->file_count == SITES_FILES_MAX) {
				sites_warn(p, main_path, 1, "there are too many files", "the rest is left out");
				return main_path;
			}
		}
		line = next;
	}
	if (path && !p->stopped)
		sites_add_file(p, path, body, (size_t)(end - body));
	return main_path;
}
