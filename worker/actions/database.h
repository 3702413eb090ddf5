/* database.h: what the actions on accounts' databases share: what is to be there, and the two kinds of servers. */
#ifndef POSTERN_DATABASE_H
#define POSTERN_DATABASE_H
#include "action.h"

/* Names are texts that callers chose, any character but control characters. `marker` is the UUID by which what Postern made on
 * the server is known as this database's; what does not bear it is somebody else's and left alone. */
struct database {
	const char *name, *user, *marker;
	const char *charset;   /* apply only, and these */
	const char *verifier;  /* lib/verifier.h */
	bool suspended;        /* the user is there, but may not log in */
};

/* A server, as posternd administers it. `measure` adds marker -> bytes for every database of Postern's. */
struct engine {
	const char *name;
	bool (*is_verifier)(const char *);
	void (*apply)(struct action *, const struct database *);
	void (*remove)(struct action *, const struct database *);
	void (*measure)(struct action *, struct json_object *sizes);
};

extern const struct engine engine_postgresql, engine_mariadb;
#endif
