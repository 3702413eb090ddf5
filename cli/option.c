/* option.c: see option.h. */
#include "option.h"
#include "cli.h"
#include <stdio.h>
#include <string.h>

size_t option_count(const struct option *table)
{
	size_t n = 0;
	while (table && table[n].name[0])
		n++;
	return n;
}

static int unknown_option(const struct option *table, size_t n, const char *name, const char *help)
{
	const char *known[OPTION_MAX];
	char dashed[OPTION_MAX][sizeof table->name + 2], word[80];

	for (size_t i = 0; i < n && i < OPTION_MAX; i++) {
		snprintf(dashed[i], sizeof dashed[i], "--%s", table[i].name);
		known[i] = dashed[i];
	}
	for (size_t i = 0; i < n && i < OPTION_MAX; i++) /* who gives a secret as an argument means its other way in */
		if (table[i].goes == TO_SECRET && !strncmp(dashed[i], name, strlen(name)))
			return cli_error(CLI_USAGE, "there is no option \"%s\": secrets are no arguments; use %s\nTry: postern %s --help",
			                 name, dashed[i], help);
	snprintf(word, sizeof word, "%s", name);
	return cli_unknown("option", word, known, n < OPTION_MAX ? n : OPTION_MAX, help);
}

int option_parse(const struct option *table, int argc, char **argv, const char **values,
                 const char **words, size_t *count, size_t max, const char *help)
{
	const size_t n = option_count(table);
	bool words_only = false;

	*count = 0;
	for (size_t i = 0; i < n; i++)
		values[i] = NULL;
	for (int a = 1; a < argc; a++) {
		const char *arg = argv[a];
		if (words_only || arg[0] != '-' || !arg[1]) {
			if (*count == max)
				return cli_error(CLI_USAGE, "one word too many: \"%s\"\nTry: postern %s --help", arg, help);
			words[(*count)++] = arg;
			continue;
		}
		if (!strcmp(arg, "--")) {
			words_only = true;
			continue;
		}
		const char *name = !strncmp(arg, "--", 2) ? arg + 2 : "";
		const char *equals = strchr(name, '=');
		const size_t len = equals ? (size_t)(equals - name) : strlen(name);
		size_t i = 0;
		while (i < n && (strlen(table[i].name) != len || memcmp(table[i].name, name, len) != 0))
			i++;
		if (i == n) {
			char given[80];
			snprintf(given, sizeof given, "%.*s", (int)(equals ? equals - arg : (ptrdiff_t)strlen(arg)), arg);
			return unknown_option(table, n, given, help);
		}
		if (values[i])
			return cli_error(CLI_USAGE, "--%s was given twice\nTry: postern %s --help", table[i].name, help);
		if (!table[i].value && equals)
			return cli_error(CLI_USAGE, "--%s takes no value\nTry: postern %s --help", table[i].name, help);
		if (!table[i].value)
			values[i] = "true";
		else if (equals)
			values[i] = equals + 1;
		else if (table[i].bare && (a + 1 == argc || argv[a + 1][0] == '-'))
			values[i] = table[i].bare;
		else if (a + 1 < argc)
			values[i] = argv[++a];
		else
			return cli_error(CLI_USAGE, "--%s needs a value: %s\nTry: postern %s --help", table[i].name,
			                 table[i].value, help);
	}
	return 0;
}
