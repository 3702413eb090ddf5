/* plugin.c: what a plugin's manifest says, and whether its folder is the administrator's alone. docs/plugins.md is the contract. */
#include "action.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"

enum { MANIFEST_MAX = 64 << 10, NAME_MAX_BYTES = 100, LIMIT_MAX_S = 3600, ATTEMPTS_MAX = 20 };

static const struct field named[] = {
	{ "name", F_SLUG, F_REQUIRED, "Name of its folder below plugins_dir" },
	{ 0 }
};

/* What others may write could be anybody's. */
static void judge_owner(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		action_fail("%s: %s", path, strerror(errno));
	if (st.st_mode & (S_IWGRP | S_IWOTH) || (st.st_uid != 0 && st.st_uid != geteuid()))
		action_fail("%s may be written by others than root; chmod go-w and chown root it", path);
}

static int open_beneath(struct action *a, int root, const char *name, int flags, const char *path)
{
	int fd = file_open_beneath(root, name, flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);

	if (fd < 0)
		action_fail(errno == ELOOP ? "%s: symbolic links are not followed; put what it points to there" : errno == ENOENT ? "%s is not there; put it there, and check the plugin again"
		            : "%s cannot be opened", path);
	(void)a;
	judge_owner(fd, path);
	return fd;
}

/* "cache.purge"; of an event's type the second word may be "*". */
static bool is_kind(const char *text, bool star)
{
	const char *dot = strchr(text, '.');

	if (!dot || strlen(text) > NAME_MAX_BYTES || !islower((unsigned char)*text) || dot != text + strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-"))
		return false;
	return (star && strcmp(dot, ".*") == 0) || (islower((unsigned char)dot[1]) && !dot[1 + strspn(dot + 1, "abcdefghijklmnopqrstuvwxyz0123456789_-")]);
}

static struct json_object *member(struct json_object *o, const char *name, enum json_type type, bool needed)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(o, name, &value) || !value) {
		if (needed)
			action_fail("plugin.json: \"%s\" is missing", name);
		return NULL;
	}
	if (!json_object_is_type(value, type))
		action_fail("plugin.json: \"%s\" must be of type %s", name, json_type_to_name(type));
	return value;
}

static void only(struct json_object *o, const char *known, const char *where)
{
	json_object_object_foreach(o, name, value) {
		const char *at = strstr(known, name);
		size_t len = strlen(name);

		(void)value;
		while (at && !(at[-1] == ' ' && at[len] == ' '))
			at = strstr(at + 1, name);
		if (!len || !at)
			action_fail("plugin.json: %s \"%s\" is not known; there are:%s", where, name, known);
	}
}

static struct json_object *number(struct json_object *o, const char *name, int absent, int max)
{
	struct json_object *value = member(o, name, json_type_int, false);
	int64_t n = value ? json_object_get_int64(value) : absent;

	if (n < 1 || n > max)
		action_fail("plugin.json: \"%s\" must be a whole number from 1 to %d", name, max);
	return json_object_new_int64(n);
}

static void judge_program(struct action *a, int folder, const char *kind, const char *path)
{
	const char *program = arena_printf(a->arena, "%s/%s", path, kind);
	int fd = open_beneath(a, folder, kind, 0, program);
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))
		action_fail("%s is not executable; chmod +x it", program);
	close(fd);
}

static struct json_object *actions_of(struct action *a, struct json_object *manifest, int folder, const char *path)
{
	struct json_object *given = member(manifest, "actions", json_type_object, false), *all = json_object_new_object();

	if (!given)
		return all;
	json_object_object_foreach(given, kind, one) {
		struct json_object *o = json_object_new_object(), *value;

		if (!is_kind(kind, false) || strncmp(kind, "plugin.", 7) == 0)
			action_fail("plugin.json: \"%s\" is no name of an action; it has two words of a-z 0-9 _ - with a dot between them, the first not plugin", kind);
		if (!json_object_is_type(one, json_type_object))
			action_fail("plugin.json: the action %s must be an object", kind);
		only(one, " about limit_s attempts input ", "of an action");
		judge_program(a, folder, kind, path);
		json_object_object_add(all, kind, o);
		if (kind_find(kind)) {
			if (json_object_object_length(one) > 0 && (!json_object_object_get_ex(one, "about", &value) || json_object_object_length(one) > 1))
				action_fail("plugin.json: %s is one of Postern's, whose input and limits it keeps; leave them out", kind);
			json_object_object_add(o, "replaces", json_object_new_boolean(true));
		} else {
			json_object_object_add(o, "limit_s", number(one, "limit_s", 60, LIMIT_MAX_S));
			json_object_object_add(o, "attempts", number(one, "attempts", 5, ATTEMPTS_MAX));
			if ((value = member(one, "input", json_type_object, false)))
				json_object_object_add(o, "input", json_object_get(value));
		}
		if ((value = member(one, "about", json_type_string, false)))
			json_object_object_add(o, "about", json_object_get(value));
	}
	return all;
}

static struct json_object *events_of(struct action *a, struct json_object *manifest, const char *name, int folder, const char *path)
{
	struct json_object *given = member(manifest, "events", json_type_array, false);
	size_t count = given ? json_object_array_length(given) : 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *type = json_object_array_get_idx(given, i);

		if (!json_object_is_type(type, json_type_string) || !is_kind(json_object_get_string(type), true) ||
		    strncmp(json_object_get_string(type), "job.", 4) == 0)
			action_fail("plugin.json: events must be types such as domain.deleted or website.*, not of jobs");
	}
	if (count)
		judge_program(a, folder, arena_printf(a->arena, "%s.event", name), path);
	return count ? json_object_get(given) : json_object_new_array();
}

static void check(struct action *a)
{
	const char *name = action_text(a, "name"), *folder = arena_printf(a->arena, "%s/%s", a->config.plugins_dir, name);
	const char *programs = arena_printf(a->arena, "%s/actions", folder), *file = arena_printf(a->arena, "%s/plugin.json", folder), *why = NULL;
	struct json_object *manifest, *result = json_object_new_object(), *value;
	int root = open(a->config.plugins_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), own, actions;
	size_t len, at = 0;
	char *text;

	if (root < 0)
		action_fail("%s (the setting plugins_dir): %s", a->config.plugins_dir, strerror(errno));
	judge_owner(root, a->config.plugins_dir);
	own = open_beneath(a, root, name, O_DIRECTORY, folder);
	close(open_beneath(a, own, "plugin.json", 0, file));
	actions = open_beneath(a, own, "actions", O_DIRECTORY, programs);
	text = file_read(a, own, "plugin.json", MANIFEST_MAX, &len);
	if (!text)
		action_fail("%s cannot be read, or is larger than 64 KiB", file);
	manifest = json_parse(text, len, &why, &at);
	if (!json_object_is_type(manifest, json_type_object))
		action_fail("%s is no JSON object: %s, at byte %zu", file, why ? why : "something else", at);
	only(manifest, " name version description actions events settings ", "the member");
	if (strcmp(json_object_get_string(member(manifest, "name", json_type_string, true)), name) != 0)
		action_fail("plugin.json: \"name\" must be that of its folder, %s", name);
	value = member(manifest, "version", json_type_string, true);
	if (json_object_get_string_len(value) < 1 || json_object_get_string_len(value) > 50)
		action_fail("plugin.json: \"version\" must have 1 to 50 bytes");
	json_object_object_add(result, "version", json_object_get(value));
	json_object_object_add(result, "description", json_object_get(member(manifest, "description", json_type_string, false)));
	json_object_object_add(result, "actions", actions_of(a, manifest, actions, programs));
	json_object_object_add(result, "events", events_of(a, manifest, name, actions, programs));
	value = member(manifest, "settings", json_type_object, false);
	json_object_object_add(result, "settings", value ? json_object_get(value) : json_object_new_object());
	action_result(result);
}

static const struct kind plugin_check = { "plugin.check", "Read a plugin's manifest, and see that its files are the administrator's", 30, 3, named, check };
POSTERN_KIND(plugin_check);
