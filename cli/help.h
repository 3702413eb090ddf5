/*
 * help.h: help and the man page, made from the same tables as the commands.
 */
#ifndef POSTERN_HELP_H
#define POSTERN_HELP_H
#include "api.h"
#include "option.h"
#include <stdio.h>

struct command;

/* Options that every command takes. */
extern const struct option global_options[];

void help_main(FILE *);
void help_resource(FILE *, const struct resource *);
void help_verb(FILE *, const struct resource *, const char *verb);
void help_command(FILE *, const struct command *);

/* Text as roff takes it, and an entry "name value / about" of a man page. */
void man_text(FILE *, const char *);
void man_entry(FILE *, const char *name, const char *value, const char *about, const char *extra);
#endif
