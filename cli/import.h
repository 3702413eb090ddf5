/*
 * import.h: `postern import`: take over into the inventory what a web server already serves.
 * Only adds: rows that exist are left as they are, nothing on the machine changes, what it adds is `managed: false`.
 */
#ifndef POSTERN_IMPORT_H
#define POSTERN_IMPORT_H
#include <stdbool.h>
#include <stdio.h>

#include "sites.h"

struct local;

/* A web server whose configuration can be read. */
struct import_server {
	const char *name;
	const char *usual;   /* its configuration's folder on Debian */
	struct sites *(*load)(struct arena *, const char *source, const struct sites_given *, const char **why);
	const char *nothing; /* what to give instead where there is no server in what was given */
};
extern const struct import_server import_servers[]; /* ends with name NULL */

struct import_options {
	const char *source;  /* configuration file or folder, or "-" for standard input */
	const char *account; /* for sites whose document root belongs to no person, or to one who cannot be an account; or NULL */
	struct sites_given given; /* besides the configuration's text */
	bool dry_run;        /* do all of it, then take it back */
	bool json;
};

/*
 * An account is the Unix owner (uid 1000 or more) of a document root; one that is missing is created. The table or
 * object goes to `out`, messages to `err`. Returns the exit code of contract section 8: 0 also when some names were
 * skipped or have no account, since they are listed; the code of the first refusal when anything could not be created.
 * All is one transaction of the database, in which a refused row is left out; a dry run is the same, rolled back.
 */
int import_sites(struct local *, const struct import_server *, const struct import_options *, FILE *out, FILE *err);
#endif
