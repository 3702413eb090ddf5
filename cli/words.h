/*
 * words.h: the words of the command line, derived from the tables of lib/api.h: resources, their verbs and options.
 */
#ifndef POSTERN_WORDS_H
#define POSTERN_WORDS_H
#include "api.h"
#include "option.h"

#define WORDS_MAX 128
#define TIME_VALUE "TIME" /* how the value of an option is called that when.h reads */

/* All resources of this program, by name. */
const struct resource *const *resources(size_t *count);
/* By name, singular or alias. NULL: there is none. */
const struct resource *resource_find(const char *word);

/* The verb that runs a route, or NULL where another one covers it (PUT). */
const char *route_verb(const struct route *);
bool route_takes_id(const struct route *);
/*
 * The route for a verb. Where one verb has a route on one object and one on many, one word means the former.
 * "get" and "show" mean the same. NULL: there is none.
 */
const struct route *route_find(const struct resource *, const char *verb, size_t words);
/* The route behind "rename ID NAME": a change of a field `name`. NULL: cannot be renamed so. */
const struct route *route_rename(const struct resource *);
/* The field of an action's body that takes several words, or NULL. */
const struct field *route_words_field(const struct route *);
/* The verbs of a resource, each once, ended by NULL; at most WORDS_MAX - 1. Returns how many. */
size_t resource_verbs(const struct resource *, const char *verbs[WORDS_MAX]);

/* The options of a route; the table is ended by a nameless row. Returns how many. */
size_t route_options(const struct resource *, const struct route *, struct option table[OPTION_MAX + 1]);
#endif
