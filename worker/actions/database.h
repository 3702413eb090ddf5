/* database.h: what the actions on accounts' databases share: what is to be there, and the two kinds of servers. */
#ifndef POSTERN_DATABASE_H
#define POSTERN_DATABASE_H
#include "action.h"

/* Names are texts that callers chose, any character but control characters. `marker` is the UUID by which what Postern made on
 * the server is known as this database's; what does not bear it is somebody else's and left alone. */
struct database {
	const char *name, *user, *marker;
	bool suspended;        /* the user is there, but may not log in */
	int connections;       /* he may have at a time */
	const char *charset;   /* apply and backups */
	const char *verifier;  /* apply only; lib/verifier.h */
};

/* What of a database is not in its dump, or will not come back by itself: [{"object", "reason"}]. */
struct left_out {
	struct json_object *list;
	bool forced; /* MariaDB: the dump goes on after an error */
	struct json_object *around; /* what surrounds the data and is in no dump, as the server's kind has it; kept with the part */
};
void leave_out(struct left_out *, const char *object, const char *reason);
enum dump_end { DUMP_LOST = 0, DUMP_AGAIN, DUMP_GOOD };

/* A server, as posternd administers it. `measure` adds marker -> bytes for every database of Postern's. */
struct engine {
	const char *name;
	bool (*is_verifier)(const char *);
	void (*apply)(struct action *, const struct database *);
	void (*remove)(struct action *, const struct database *);
	void (*measure)(struct action *, struct json_object *sizes);
	/* For backups (backup.c). A stream is what a dump writes, of this kind of server. Between dump and dumped the command may be
	 * run, as somebody who may do what the database's user may and no more. What cannot be in it is noted as left out. */
	void (*dump)(struct action *, const struct database *, struct left_out *, struct command *dump);
	void (*dumped)(struct action *, const struct database *);
	/* One has failed: is it of use for all that, what it lacks being noted, or will another be, which leaves out more? */
	enum dump_end (*failed)(struct action *, const struct database *, struct left_out *, const struct command *dump);
	/* Add the last member to a pipeline whose first is `load`, which writes a stream: does it come to its end, whole? */
	bool (*is_whole)(struct action *, struct command *load, const char **why);
	/* Put the stream in the place of all that is in the database, as somebody who may do no more than its user. What is there
	 * stays until the stream has been read in. All becomes its user's, whose it was then does not matter. `around` is what was
	 * kept of what surrounds the data, or NULL; `same`: it was of this very database. */
	void (*refill)(struct action *, const struct database *, const struct command *load, struct json_object *around, bool same);
};

extern const struct engine engine_postgresql, engine_mariadb;

/* End what accounts' users have had open for longer than the settings allow. */
void databases_end_long_transactions(const struct config *);
#endif
