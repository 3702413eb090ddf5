/*
 * local.h: the operator at the machine: the same tables, checks and audit trail as the API, without a token.
 * The CLI is a front end of this: it turns words into a route, a body and parameters, and shows the answer.
 */
#ifndef POSTERN_LOCAL_H
#define POSTERN_LOCAL_H
#include "api.h"
#include "config.h"
#include "db.h"
#include <stdint.h>

struct local;

struct local_parameter { const char *name, *value; };

/* Nothing is connected yet; NULL when out of memory. `config` must outlive it. Peppers are loaded when a call needs them. */
struct local *local_open(const struct config *config);
void local_close(struct local *);

/*
 * Run one route as actor "system". `id` for paths with {id}, else NULL; `query` ended by a NULL name, or NULL: the list
 * parameters of contract section 5, and dry_run, cascade; `body` borrowed, may be NULL.
 * Returns the HTTP status that the API would have answered (503: PostgreSQL out of reach). *answer is a new reference for
 * the caller to put (or NULL for 204): the plain dialect's object, list {"data":[…],"total",…} or {"error":{…}}.
 * An object created with a secret has it as a member, once. What is answered as a media type of its own is a string.
 */
int local_call(struct local *, const struct resource *, const struct route *, const char *id,
               const struct local_parameter *query, struct json_object *body, struct json_object **answer);

/*
 * Make the calls that follow one transaction, until local_end() keeps or forgets what they did. A call that is refused is
 * undone by itself; the others stand. False: PostgreSQL is out of reach. A connection that is lost on the way takes all with it:
 * each later call answers 503, and local_end() false.
 */
bool local_begin(struct local *);
bool local_end(struct local *, bool commit);

/* The settings in force, with what the database holds laid over; those of the file alone where this is not DB_OK. Good until the
 * next call. */
enum db_status local_settings(struct local *, const struct config **config, struct db_error *error);
/*
 * An export's lines to the sink. Returns the HTTP status: 200, or that of an error, which is in *answer as above, when no line was
 * written; 503 without an answer: it was cut. *rows counts the lines.
 */
struct sink;
int local_export(struct local *, const struct resource *, const struct route *, const struct local_parameter *query,
                 const struct sink *, int64_t *rows, struct json_object **answer);

/* The job (UUID) that the last call asked for, or NULL; good until the next call. */
const char *local_job(const struct local *);
#endif
