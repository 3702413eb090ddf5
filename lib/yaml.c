/* yaml.c: see yaml.h. */
#include "yaml.h"

#include <ctype.h>
#include <json-c/json.h>
#include <string.h>
#include <strings.h>

/* Words that need no quotes: they begin with a letter, mean nothing to YAML and are no value of another type. */
static bool is_plain_word(const char *word)
{
	static const char *const reserved[] = { "true", "false", "null", "yes", "no", "on", "off", "y", "n" };

	for (const char *c = word; *c || c == word; c++)
		if (!isalpha((unsigned char)*c) && (c == word || !(isdigit((unsigned char)*c) || strchr("_-./", *c))))
			return false;
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (strcasecmp(word, reserved[i]) == 0)
			return false;
	return true;
}

static void yaml_word(struct buf *b, const char *word)
{
	if (is_plain_word(word))
		buf_str(b, word);
	else
		buf_json(b, word); /* a JSON string is a double-quoted one of YAML */
}

static void yaml_break(struct buf *b, int depth)
{
	buf_char(b, '\n');
	for (int i = 0; i < depth; i++)
		buf_str(b, "  ");
}

/* `inlined`: the first member follows "- " on its line. */
static void yaml_value(struct buf *b, struct json_object *value, int depth, bool inlined)
{
	if (json_object_is_type(value, json_type_object) && json_object_object_length(value)) {
		json_object_object_foreach(value, name, member) {
			if (!inlined)
				yaml_break(b, depth);
			inlined = false;
			yaml_word(b, name);
			buf_char(b, ':');
			yaml_value(b, member, depth + 1, false);
		}
	} else if (json_object_is_type(value, json_type_array) && json_object_array_length(value)) {
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			if (!inlined)
				yaml_break(b, depth);
			inlined = false;
			buf_str(b, "- ");
			yaml_value(b, json_object_array_get_idx(value, i), depth + 1, true);
		}
	} else {
		if (!inlined)
			buf_char(b, ' ');
		if (json_object_is_type(value, json_type_string))
			yaml_word(b, json_object_get_string(value));
		else
			buf_str(b, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
	}
}

bool yaml_from_json(struct buf *b, const char *json)
{
	struct json_object *tree = json_tokener_parse(json);

	if (!tree)
		return false;
	yaml_value(b, tree, 0, true);
	buf_char(b, '\n');
	json_object_put(tree);
	return !buf_failed(b);
}
