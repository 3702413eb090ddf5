/*
 * nginx_conf.h: which domains an nginx configuration serves, and from where.
 * Reads the text of `nginx -T` (includes are resolved from its own sections) or a configuration on disk (includes are
 * read relative to the main file's folder, as nginx does). Tolerant: what it cannot make out becomes a warning, never a
 * failure. Work and memory are bounded by the ceilings below; beyond them the rest is left out, with a warning.
 */
#ifndef POSTERN_NGINX_CONF_H
#define POSTERN_NGINX_CONF_H
#include <stdbool.h>
#include <stddef.h>

struct arena;

#define NGINX_TEXT_MAX     (16u << 20) /* bytes read, all files together */
#define NGINX_WORK_FACTOR  64u         /* bytes parsed per byte read: snippets are included many times */
#define NGINX_FILES_MAX    20000u
#define NGINX_INCLUDES_MAX 200000u     /* inclusions carried out */
#define NGINX_DEPTH_MAX    64          /* blocks and includes within each other */
#define NGINX_NAMES_MAX    65536u      /* server names, all blocks together */
#define NGINX_WARNINGS_MAX 100u
#define NGINX_PORTS_MAX    8
#define NGINX_ROOT_MAX     500         /* as the field document_root */

enum nginx_kind {
	NGINX_NOTHING = 0, /* neither a folder nor a backend is named */
	NGINX_REDIRECT,    /* only sends elsewhere */
	NGINX_STATIC,
	NGINX_FASTCGI,
	NGINX_PROXY
};

enum nginx_type { NGINX_UNTYPED = 0, NGINX_PRIMARY, NGINX_ADDON, NGINX_SUBDOMAIN, NGINX_ALIAS };

/* One importable name; all server blocks that have it are merged, the one that serves content preferred. */
struct nginx_site {
	const char *name;               /* A-label */
	const struct nginx_site *alias_of; /* the site that it is another name of, or NULL; never an alias itself */
	const char *root;               /* absolute and clean, or NULL */
	const char *root_note;          /* why the root that is configured is not in `root`, or NULL */
	enum nginx_kind kind;
	const char *redirect;           /* where to, as configured; NULL when it does not redirect */
	const char *certificate;        /* as configured, or NULL */
	int ports[NGINX_PORTS_MAX];     /* ascending, the first port_count are set */
	size_t port_count;
	const char *file;               /* of the server block that was preferred */
	unsigned line;
	const char *account;            /* set by the caller before nginx_conf_set_types(), or NULL */
	enum nginx_type type;
};

/* A server name that is no importable domain. */
struct nginx_skip {
	const char *name;
	const char *reason;
	const char *file;
	unsigned line;
};

struct nginx_conf {
	struct nginx_site *sites;       /* in the order of the configuration */
	size_t site_count;
	struct nginx_skip *skips;
	size_t skip_count;
	const char *warnings[NGINX_WARNINGS_MAX]; /* "file:line: sentence" */
	size_t warning_count;
	size_t blocks;                  /* server blocks seen; 0: this was hardly an nginx configuration */
};

/* Read `source`: a file (main configuration, or saved output of nginx -T), a folder with an nginx.conf, or "-" for
 * standard input. NULL with *why, a sentence naming the source, when it cannot be read at all. Everything lives in the
 * arena. */
struct nginx_conf *nginx_conf_load(struct arena *, const char *source, const char **why);

/* The same from memory: `name` is how the text is called in messages. Only sections of the text are included, no files.
 * NULL when out of memory. */
struct nginx_conf *nginx_conf_text(struct arena *, const char *name, const char *text, size_t len);

/* Decide each site's type from the accounts that the caller has set: an alias stays one; a name below another name of
 * its account is a subdomain; an account's first is primary, its others are addons. Without account there is no type
 * but alias. False when out of memory. */
bool nginx_conf_set_types(struct arena *, struct nginx_conf *);

const char *nginx_kind_name(enum nginx_kind); /* "nothing", "redirect", "static", "fastcgi", "proxy" */
const char *nginx_type_name(enum nginx_type); /* "primary", "addon", "subdomain", "alias"; "" for none */
#endif
