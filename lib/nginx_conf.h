/*
 * nginx_conf.h: which domains an nginx configuration serves, and from where.
 * Reads the text of `nginx -T` (includes are resolved from its own sections) or a configuration on disk (includes are
 * read relative to the main file's folder, as nginx does). Variables are replaced where "set" gives them one value for all
 * requests. Tolerant: what it cannot make out becomes a warning, never a
 * failure. Work and memory are bounded by the ceilings of sites_reader.h; beyond them the rest is left out, with a
 * warning.
 */
#ifndef POSTERN_NGINX_CONF_H
#define POSTERN_NGINX_CONF_H
#include "sites.h"

/* Read `source`: a file (main configuration, one with sites, or saved output of nginx -T), a folder with an nginx.conf or
 * conf/nginx.conf, any other folder (all files in it and below), or "-" for standard input. Relative includes begin at the
 * nearest folder with an nginx.conf, at or above. NULL with *why, a sentence naming the source, when it cannot be read at
 * all. Everything lives in the arena. */
struct sites *nginx_conf_load(struct arena *, const char *source, const struct sites_given *, const char **why);

/* The same from memory: `name` is how the text is called in messages. Only sections of the text are included, no files.
 * NULL when out of memory. */
struct sites *nginx_conf_text(struct arena *, const char *name, const char *text, size_t len);
#endif
