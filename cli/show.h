/*
 * show.h: answers for people: tables whose columns line up, objects as "name  value" lines, errors as sentences.
 * Nothing that comes from the database reaches a terminal unfiltered: characters that control it or turn the direction
 * of writing become "?".
 */
#ifndef POSTERN_SHOW_H
#define POSTERN_SHOW_H
#include "api.h"
#include <stdio.h>

struct json_object;

/* Columns of the terminal behind stdout, else 120. */
int show_width(void);

/*
 * Rows (an array of objects) under headings. columns: names from `fields`, comma-separated, or NULL for the most useful
 * ones that fit into `width`; a name that is no field is NULL's business: check it before.
 */
void show_list(FILE *, const struct field *fields, struct json_object *rows, const char *columns, int width);

/* One line a member, in the order of `fields` (may be NULL), then the others; nested ones as outer.inner. */
void show_object(FILE *, const struct field *fields, struct json_object *object);

/* The value as one cell shows it, unbounded; for examples in help. Freed by the caller; NULL when out of memory. */
char *show_value(struct json_object *value);

/* Text made harmless for a terminal; newlines stay. */
void show_text(FILE *, const char *);

/* An answer {"error":{…}} of this HTTP status: message, fields, details, remedy. Returns the exit code. */
int show_error(FILE *, int status, struct json_object *answer);
/* Just its exit code. */
int show_exit_code(int status, struct json_object *answer);
#endif
