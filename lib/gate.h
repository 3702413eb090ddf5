/*
 * gate.h: who is calling, and may they? The C side of sql/functions/10_gate.sql and 90_endpoints.sql.
 *
 * Admission is a turnstile: while one statement is on its way to PostgreSQL, those that arrive wait; then all of them go
 * together, up to batch_max. No timer: an idle gate admits one at a time. The statement judges the tokens, counts them
 * exactly, reads what the admitted ones ask for and writes their rows into the audit trail, in one commit.
 * Nothing is cached between requests: a revocation that was committed holds for the next request.
 * Zero is never yes: a zeroed verdict grants nothing.
 * Memory: rows are borrowed from a result that lives as long as the request's arena.
 */
#ifndef POSTERN_GATE_H
#define POSTERN_GATE_H
#include "db.h"
#include "request.h"
#include "row.h"
#include "settings.h"

struct gate;

/* What came back for one request. */
struct verdict {
	enum db_status db;         /* DB_GONE: nobody could be asked; DB_ERROR: see error */
	struct db_error error;
	int status;                /* HTTP status so far: 200, or the refusal's */
	const char *reason;        /* of a refusal; "unknown" for a token that is none of ours */
	int64_t total;             /* -1: not counted; of a feed's list: the number up to which it was looked at */
	struct rows rows;
	const char *doc;           /* JSON document, or NULL */
	const char *id;            /* of the object that a write made or changed */
	const char *job;           /* UUID of the job that a write asked for, or NULL */
	int kept_status;           /* a replay: the first answer; 0: none */
	const char *kept_headers, *kept_body;
};

/* The config must outlive it. Connections are opened on first use. NULL when out of memory. */
struct gate *gate_new(const struct config *, struct settings *, const struct resource *);
void gate_free(struct gate *);

/* Admit a request with a well-formed token and read what its route reads. `later`: its row in the trail is left to
 * gate_record, as its status is known only when its data was read. Fills r->caller. */
void gate_admit(struct gate *, struct request *r, bool later, struct verdict *);

/* Run the change of an admitted request; `status` is what it will be answered with. With an Idempotency-Key the
 * transaction stays open when this is DB_OK, and gate_keep must follow; the write connection is held until then. */
void gate_write(struct gate *, struct request *r, int status, struct verdict *);
enum db_status gate_keep(struct gate *, struct request *r, const struct reply *kept);

/* Has the job of that write ended, for whoever has asked to wait (r->wait_s)? If so, or where this is the `last` time, the verdict's rows
 * and document are as they are now; what a job has done well is no longer only accepted (202), but done (200). */
bool gate_outcome(struct gate *, struct request *r, struct verdict *, bool last);

/* The trail's row for what went wrong after admission, or was answered by what was read. */
enum db_status gate_record(struct gate *, struct request *r, int status, const char *reason);

/* Was the request judged by settings that have changed since? Nothing has happened then: refresh, judge and admit it again. */
bool gate_is_behind(const struct verdict *);
/* Read the settings in force; false where PostgreSQL cannot be asked. */
bool gate_refresh(struct gate *);

/* What a route with R_LISTED answers without a token, in the arena; NULL: PostgreSQL cannot be asked. */
const char *gate_open(struct gate *, struct arena *);

/* Close idle connections; settle refusal counts whose window is over. Call every few seconds. */
void gate_keep_house(struct gate *);
#endif
