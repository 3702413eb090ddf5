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

/* How JSON is printed. */
#define SHOW_JSON (JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE)

/* Columns of the terminal behind stdout; 0: it is none, and nothing is cut. */
int show_width(void);

/* A word of a member "status", "state" or "outcome" in its colour, on a terminal, unless NO_COLOR is set; others as they are. */
void show_word(FILE *, const char *name, const char *word);

/*
 * Rows (an array of objects) under headings. columns: names from `fields`, comma-separated, or NULL for the most useful
 * ones that fit into `width` (0: all); a name that is no field is left out: check it before. What is too wide ends in "…".
 * Returns how many columns were left out for want of room.
 */
size_t show_list(FILE *, const struct field *fields, struct json_object *rows, const char *columns, int width);

/* One line a member, in the order of `fields` (may be NULL), then the others; nested ones as outer.inner. */
void show_object(FILE *, const struct field *fields, struct json_object *object);

/* The values of these members on one line, as they are, with tabs between them. */
void show_values(FILE *, struct json_object *object, const char *names);

/* The value as one cell shows it, unbounded; for examples in help. Freed by the caller; NULL when out of memory. */
char *show_value(struct json_object *value);

/* What a text of the API says in terms of the command: cascade=true is --cascade. Freed by json_object_put(). */
struct json_object *show_in_words(const char *);

/* Text made harmless for a terminal; newlines stay. */
void show_text(FILE *, const char *);
/* The same on one line of at most `columns`, cut with "…". */
void show_cut(FILE *, const char *, int columns);

/* An answer {"error":{…}} of this HTTP status: message, fields, details, remedy; with --json as JSON. Returns the exit code. */
int show_error(FILE *, int status, struct json_object *answer);
/* Just its exit code. */
int show_exit_code(int status, struct json_object *answer);
#endif
