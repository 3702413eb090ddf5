/*
 * template.h: texts with places to be filled in, as servers' configuration is written with.
 */
#ifndef POSTERN_TEMPLATE_H
#define POSTERN_TEMPLATE_H
#include "action.h"

/*
 * A template: text with placeholders @NAME@. A line with one that has no value is left out, one with several values is
 * repeated for each; @NAME*@ stands for all of them, separated by spaces. A flag is one value that is empty.
 */
struct template_value {
	const char *name;
	const char *const *values;
	size_t count;
};
/* <folder>/<name> of the administrator's templates, else of ours, filled in. Ends the action where it cannot be. */
struct buf;
void template_fill(struct action *, const char *name, const struct template_value *, size_t count, struct buf *out);
#endif
