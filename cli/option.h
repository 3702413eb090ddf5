/*
 * option.h: command-line options as rows of a table, so that parsing, help, man page and completion cannot disagree.
 * Rows of a resource's verbs are made from the tables of lib/api.h (words.h), those of other commands are written down.
 */
#ifndef POSTERN_OPTION_H
#define POSTERN_OPTION_H
#include <stdbool.h>
#include <stddef.h>

struct field;

enum option_goes {
	TO_COMMAND = 0, /* read by the command itself */
	TO_QUERY,       /* a parameter of the route */
	TO_BODY,        /* a member of the body */
	TO_SECRET       /* a switch: that member is read from stdin */
};

struct option {
	char name[60];            /* without "--"; empty ends a table */
	const char *value;        /* how the value is called in help; NULL: a switch */
	const char *about;        /* one line */
	enum option_goes goes;
	const char *parameter;    /* TO_QUERY */
	const char *bare;         /* what a value that is left out means; NULL: it must not be */
	const struct field *field;/* TO_BODY, TO_SECRET, and TO_QUERY where it is a filter */
};

#define OPTION_MAX 96

size_t option_count(const struct option *);

/*
 * Sort argv[1..] into options and words. values[i] belongs to table[i]: its text, "true" for a switch, NULL when
 * absent. Words go to words[0..*count) in order, at most `max`. "--name value" and "--name=value" are the same; "--"
 * ends options. table may be NULL: no options.
 * 0, or CLI_USAGE after a message that says where to read on (`help`, what follows "postern").
 */
int option_parse(const struct option *table, int argc, char **argv, const char **values,
                 const char **words, size_t *count, size_t max, const char *help);
#endif
