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
	/* For backups (backup.c). A stream is what a dump writes, of this kind of server. Between begin and end `dump` may be run,
	 * as somebody who may do what the database's user may and no more, where the server can be told so. */
	void (*dump)(struct action *, const struct database *, struct command *dump);
	void (*dumped)(struct action *, const struct database *);
	/* Add the last member to a pipeline whose first is `load`, which writes a stream: does it come to its end, whole? */
	bool (*is_whole)(struct action *, struct command *load, const char **why);
	/* Put the stream in the place of all that is in the database. What is there stays until the stream has been read in. What
	 * belonged to `user_then` is its user's. */
	void (*refill)(struct action *, const struct database *, const struct command *load, const char *user_then);
};

extern const struct engine engine_postgresql, engine_mariadb;
#endif
