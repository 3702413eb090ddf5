/*
 * apache_conf.h: which domains an Apache configuration serves, and from where.
 * Reads a configuration on disk: includes, Define and ${}, <Macro> and Use, <IfDefine>, <IfVersion>, <IfFile>, <IfModule>
 * (where the text loads none, every module counts as loaded). A section that is left out, or read on such a ground, is a
 * warning where a site depends on it. Tolerant: what it cannot make out becomes a warning, never a failure. Work and memory are bounded by the
 * ceilings of sites_reader.h; beyond them the rest is left out, with a warning.
 */
#ifndef POSTERN_APACHE_CONF_H
#define POSTERN_APACHE_CONF_H
#include "sites.h"

/* Read `source`: a file (main configuration, or one with virtual hosts), a folder with an apache2.conf, httpd.conf or
 * conf/httpd.conf, any other folder (all files in it and below), or "-" for standard input. Relative paths begin at ServerRoot,
 * else at the nearest folder with such a main file, at or above. NULL with *why, a sentence naming the
 * source, when it cannot be read at all. Everything lives in the arena. */
struct sites *apache_conf_load(struct arena *, const char *source, const struct sites_given *, const char **why);

/* The same from memory, without includes: `name` is how the text is called in messages. NULL when out of memory. */
struct sites *apache_conf_text(struct arena *, const char *name, const char *text, size_t len);
#endif
