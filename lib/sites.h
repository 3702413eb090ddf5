/*
 * sites.h: what a web server serves, as its configuration tells; read by nginx_conf.h and apache_conf.h.
 */
#ifndef POSTERN_SITES_H
#define POSTERN_SITES_H
#include <stdbool.h>
#include <stddef.h>

struct arena;

#define SITES_WARNINGS_MAX 10000u
#define SITES_PORTS_MAX    8
#define SITES_ROOT_MAX     500         /* as the field document_root */

enum site_kind {
	SITE_NOTHING = 0, /* neither a folder nor a backend is named */
	SITE_REDIRECT,    /* only sends elsewhere */
	SITE_STATIC,
	SITE_FASTCGI,
	SITE_PROXY
};

enum site_type { SITE_UNTYPED = 0, SITE_PRIMARY, SITE_ADDON, SITE_SUBDOMAIN, SITE_ALIAS };

/* What a server block serves. */
struct site_content {
	const char *root;               /* absolute and clean, or NULL */
	const char *root_note;          /* why the root that is configured is not in `root`, or NULL */
	enum site_kind kind;
	const char *redirect;           /* where to, as configured; NULL when it does not redirect */
	const char *file;               /* of the server block */
	unsigned line;
};

/*
 * One importable name; all server blocks that have it are merged, the one that serves content preferred, and of those the
 * one that serves it by TLS. An alias without a root has that of its site; the site has the content of an alias where it
 * has none itself.
 */
struct site {
	const char *name;               /* A-label */
	const struct site *alias_of;    /* the site that it is another name of, or NULL; never an alias itself */
	struct site_content content;    /* what counts */
	struct site_content own;        /* what its own blocks say */
	const char *owner;              /* of own.root: set by the caller before sites_join(), or NULL: no person's */
	const char *certificate;        /* as configured, or NULL */
	const char *certificate_file;   /* where that stands */
	unsigned certificate_line;
	int ports[SITES_PORTS_MAX];     /* ascending, the first port_count are set */
	size_t port_count;
	const char *account;            /* set by the caller before sites_set_types(), or NULL */
	enum site_type type;
	struct site *head, *near;       /* what sites_join() goes by: the site that it seems to belong to, and another one */
	const struct site *lender;      /* whose content it has: itself, or an alias */
	int rank;                       /* how much its own blocks tell */
	bool leads;                     /* others are its aliases */
};

/* A server name that is no importable domain. */
struct site_skip {
	const char *name;
	const char *reason;
	const char *file;
	unsigned line;
};

struct sites {
	struct site *sites;             /* in the order of the configuration */
	size_t site_count;
	struct site_skip *skips;
	size_t skip_count;
	const char **warnings;          /* "file:line: sentence" */
	size_t warning_count;
	size_t blocks;                  /* server blocks seen; 0: this was hardly a web server's configuration */
	const char *prefix;             /* folder that relative paths begin with, with its last slash, or "" */
};

/*
 * Decide which sites are aliases, by the owners that the caller has set. Whose files a site serves is not for another
 * site's owner to say: an alias has no root of its own, or one of the same owner, or it only redirects and its root belongs
 * to no person. What is parted is a site of its own. May be called again.
 */
void sites_join(struct sites *);

/* Decide each site's type from the accounts that the caller has set: an alias stays one; a name below another name of
 * its account is a subdomain; an account's first is primary, its others are addons. Without account there is no type
 * but alias. False when out of memory. */
bool sites_set_types(struct arena *, struct sites *);

/* What a reader is told besides the text; members may be NULL. */
struct sites_given {
	const char *defines;            /* names with or without =value, with commas between: as Apache's -D and Define */
	const char *version;            /* the server's, such as 2.4.62 */
};

const char *site_kind_name(enum site_kind); /* "nothing", "redirect", "static", "fastcgi", "proxy" */
const char *site_type_name(enum site_type); /* "primary", "addon", "subdomain", "alias"; "" for none */
#endif
