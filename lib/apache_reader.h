/*
 * apache_reader.h: what the parts of apache_conf.h share. Lines become words, with variables and macros carried out
 * (apache_lines.c); conditional sections are judged (apache_condition.c); what the words mean is in apache_conf.c.
 */
#ifndef POSTERN_APACHE_READER_H
#define POSTERN_APACHE_READER_H
#include "sites_reader.h"

#define APACHE_DEFINES_MAX 10000u      /* variables and modules, together */
#define APACHE_PARAMS_MAX  64u         /* of a macro */

/* What a directive stands in. IN_SKIPPED: a section whose condition does not hold. */
enum place { IN_SKIPPED = 0, IN_MAIN, IN_OTHER, IN_HOST, IN_HOST_ROOT, IN_HOST_SECTION };

enum line { AT_END = 0, DIRECTIVE, SECTION, SECTION_END };

struct define {
	const char *name, *value; /* value NULL: undefined again */
	struct define *next;
};

struct macro {
	const char *name, *text;
	size_t len, param_count;
	const char *param[APACHE_PARAMS_MAX];
	struct macro *next;
};

/* A module that was loaded, or (identifier NULL) one of which it was told that nothing tells. */
struct module {
	const char *identifier;   /* "ssl_module" */
	const char *source;       /* "mod_ssl": of its file, without the end */
	struct module *next;
};

struct apache {
	struct define *defines;   /* the newest first */
	struct module *modules, *assumed;
	unsigned version[3];
	bool version_given;
	size_t relevant;          /* directives and sections so far that a site is made of */
	const char *main_name_file;
	unsigned main_name_line;
	struct macro *macros;
	size_t define_count, macro_count;
	struct buf line;          /* the present line, its variables replaced */
	struct block main;        /* what virtual hosts inherit */
	const char *main_name;
	bool condition;           /* a RewriteCond waits for its RewriteRule */
};

/* What becomes of a conditional section. */
struct condition {
	bool conditional, held;
	const char *note;         /* what is said of it where a site depends on what it has, or NULL */
	const char *about;
	bool once;                /* said of the first such section only */
};

bool apache_is_space(char c);
/* Is the present directive or section of this name? */
bool apache_is(const struct parser *, const char *name);
/* Cut the next line that says something into words; for a section, without its brackets. */
enum line apache_next_words(struct parser *, struct lexer *);
/* A path as Apache takes it: relative ones begin at ServerRoot. */
const char *apache_full_path(struct parser *, const char *path);

const struct define *apache_find_define(const struct apache *, const char *name, size_t len);
const char *apache_value(const struct apache *, const char *name, size_t len);
void apache_define(struct parser *, const struct lexer *, const char *name, const char *value);
/* Keep the text of a <Macro> as it is, to its end. */
void apache_read_macro(struct parser *, struct lexer *);
/* Read a macro's text with the values of this Use in place of its parameters. */
void apache_use_macro(struct parser *, struct lexer *, enum place, struct block *);

/* LoadModule ssl_module modules/mod_ssl.so */
void apache_load_module(struct parser *, const char *identifier, const char *file);
/* Whether a conditional section is read. */
struct condition apache_judge(struct parser *);
/* Was it said before that a module counts as loaded? From now on it was. */
bool apache_told_before(struct parser *, const char *name);
#endif
