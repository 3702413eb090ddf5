/* template.c: see template.h. */
#include "template.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"

enum { TEMPLATE_MAX = 1 << 20, NAME_MAX_BYTES = 32 };

/* The values are made of characters that mean nothing to either server, between quotes. */
static bool is_plain(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@~ :[]*|")] == '\0';
}

/* The placeholder at `at`, or NULL where there is none; *end is what follows, *all whether it is @NAME*@. */
static const struct template_value *placeholder(const char *path, const char *at, const struct template_value *values, size_t count,
                                                const char **end, bool *all)
{
	size_t len = *at == '@' ? strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;
	const char *after = at + 1 + len;

	*all = len && *after == '*';
	after += *all;
	if (!len || *after != '@')
		return NULL;
	*end = after + 1;
	for (size_t i = 0; i < count; i++)
		if (strlen(values[i].name) == len && strncmp(values[i].name, at + 1, len) == 0)
			return &values[i];
	action_fail("%s: there is no @%.*s@; docs/operations.md lists the names", path, (int)(len < NAME_MAX_BYTES ? len : NAME_MAX_BYTES), at + 1);
}

/* One line: with the n-th value of what has several. */
static void fill_line(const char *path, const char *line, const struct template_value *values, size_t count, size_t n,
                      struct buf *out)
{
	const struct template_value *v;
	const char *end;
	bool all;

	while (*line) {
		if (!(v = placeholder(path, line, values, count, &end, &all))) {
			buf_char(out, *line++);
			continue;
		}
		for (size_t i = all || v->count == 1 ? 0 : n, stop = all ? v->count : i + 1; i < stop; i++) {
			if (!is_plain(v->values[i]))
				action_fail("%s: the value of @%s@ holds characters that have no place there", path, v->name);
			if (all && i)
				buf_char(out, ' ');
			buf_str(out, v->values[i]);
		}
		line = end;
	}
	buf_char(out, '\n');
}

/* How often a line stands there. */
static size_t repeats(const char *path, const char *line, const struct template_value *values, size_t count)
{
	size_t times = 1;
	const struct template_value *v;
	const char *end;
	bool all;

	for (; *line; line++) {
		if (!(v = placeholder(path, line, values, count, &end, &all)))
			continue;
		if (v->count == 0)
			return 0;
		if (!all && v->count > 1 && times > 1 && times != v->count)
			action_fail("%s: a line has two lists; write @NAME*@ for one of them", path);
		if (!all && v->count > 1)
			times = v->count;
		line = end - 1;
	}
	return times;
}

void template_fill(struct action *a, const char *name, const struct template_value *values, size_t count, struct buf *out)
{
	const char *path = arena_printf(a->arena, "%s/%s", a->config.local_templates_dir, name), *base;
	char *text = NULL, *line;
	size_t len;
	int folder;

	for (int i = 0; i < 2 && !text; i++) {
		if (i)
			path = arena_printf(a->arena, "%s/%s", a->config.templates_dir, name);
		folder = file_folder_of(path, &base);
		errno = folder >= 0 ? 0 : errno;
		text = folder >= 0 ? file_read(a, folder, base, TEMPLATE_MAX, &len) : NULL;
		if (!text && (i || errno != ENOENT))
			action_fail("the template %s cannot be read: %s", path, errno ? strerror(errno) : "it is too large");
		if (folder >= 0)
			close(folder);
	}
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	while ((line = strsep(&text, "\n")))
		for (size_t n = 0, times = repeats(path, line, values, count); n < times; n++)
			fill_line(path, line, values, count, n, out);
	if (buf_failed(out))
		action_fail("the template %s becomes too long", path);
}
