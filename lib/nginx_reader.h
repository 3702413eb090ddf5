/*
 * nginx_reader.h: what the parts of nginx_conf.h share: words and blocks (nginx_words.c), the sections of what nginx -T
 * prints (nginx_sections.c). What the words mean is in nginx_conf.c.
 */
#ifndef POSTERN_NGINX_READER_H
#define POSTERN_NGINX_READER_H
#include "sites_reader.h"

/* What a directive stands in. IN_OTHER is everything that names no site: events, stream, mail, upstream, map, types. */
enum place { IN_OTHER = 0, IN_MAIN, IN_HTTP, IN_SERVER, IN_IF, IN_ROOT_LOCATION, IN_LOCATION };

enum stop { AT_END = 0, AT_SEMICOLON, AT_OPEN, AT_CLOSE };

/* The next directive's words, and what ended it. AT_CLOSE and AT_END come without words. */
enum stop nginx_next_directive(struct parser *, struct lexer *);
/* Does the present directive begin a block of Lua code? */
bool nginx_begins_lua(const struct parser *);
/* A block of Lua code up to its closing brace; braces in its strings and comments do not count. */
void nginx_skip_lua(struct parser *, struct lexer *);
/* The rest of a block that does not concern us, without recursion. */
void nginx_skip_block(struct parser *, struct lexer *);

/* Split the output of nginx -T into its files. Path of the first, the main one; NULL when the text has no sections. */
const char *nginx_split_sections(struct parser *, const char *text, size_t len);
/* Sections of the text whose names match; sorted, so those with the pattern's fixed beginning stand together. */
void nginx_include_sections(struct parser *, struct lexer *, char *pattern, enum place, struct block *);
#endif
