/* audit_key.c: `postern audit rotate-key`: a checkpoint that names the key by which those after it are signed. */
#include "cli.h"
#include "hba.h"
#include "timestamp.h"
#include "trail.h"
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 10 };

/* The trail's last seal and checkpoint, as the next checkpoint follows them. */
struct head {
	struct trail_checkpoint next;
	char text[TRAIL_TEXT_MAX];
	unsigned char signature[TRAIL_SIGNATURE];
};

static int read_head(PGconn *db, struct head *h)
{
	PGresult *r = PQexec(db, "SELECT number, encode(hash, 'hex'), rows, checkpoint, checkpoint_text, "
	                         "encode(signature, 'hex') FROM seals.last()");
	int rc = CLI_OK;

	*h = (struct head){ .next = { .at_us = timestamp_now() } };
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		rc = cli_error(CLI_FAILED, "%s", PQresultErrorMessage(r));
	else if (PQgetisnull(r, 0, 4))
		rc = cli_error(CLI_CONFLICT,
		               "the audit trail has no checkpoint yet: posternd makes a key when it signs the first one");
	if (rc == CLI_OK) {
		h->next.seal = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
		h->next.rows = strtoll(PQgetvalue(r, 0, 2), NULL, 10);
		h->next.number = strtoll(PQgetvalue(r, 0, 3), NULL, 10) + 1;
		snprintf(h->text, sizeof h->text, "%s", PQgetvalue(r, 0, 4));
		if (!trail_unhex(PQgetvalue(r, 0, 1), h->next.head, TRAIL_HASH) ||
		    !trail_unhex(PQgetvalue(r, 0, 5), h->signature, TRAIL_SIGNATURE) ||
		    !EVP_Q_digest(NULL, "SHA256", NULL, h->text, strlen(h->text), h->next.before, NULL))
			rc = cli_error(CLI_FAILED, "the last checkpoint cannot be read: postern audit verify says more");
	}
	PQclear(r);
	return rc;
}

/* Append the checkpoint. CLI_CONFLICT: posternd was faster; CLI_UNREACHABLE: it may be there or not. */
static int append(PGconn *db, const struct trail_checkpoint *c, EVP_PKEY *by)
{
	char text[TRAIL_TEXT_MAX], hex[2 * TRAIL_SIGNATURE + 3] = "\\x", number[24];
	const char *values[] = { number, text, hex };
	unsigned char signature[TRAIL_SIGNATURE];
	PGresult *r;
	int rc = CLI_OK;

	if (!trail_sign(by, text, trail_checkpoint_text(c, text), signature))
		return cli_error(CLI_FAILED, "the checkpoint could not be signed");
	trail_hex(signature, TRAIL_SIGNATURE, hex + 2);
	snprintf(number, sizeof number, "%" PRId64, c->number);
	r = PQexecParams(db, "SELECT seals.add_checkpoint($1::bigint, $2::text, $3::bytea)", 3, NULL, values, NULL,
	                 NULL, 0);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

		rc = state && !strcmp(state, "23505")
		             ? CLI_CONFLICT
		             : cli_error(PQstatus(db) == CONNECTION_BAD ? CLI_UNREACHABLE : CLI_FAILED, "%s",
		                         PQresultErrorMessage(r));
	}
	PQclear(r);
	return rc;
}

/* The public key that the trail went by, where its private half is lost. */
static int lost_key(const struct config *config, const struct head *h, unsigned char out[TRAIL_PUBLIC])
{
	struct trail_checkpoint last;
	const char *why = NULL;
	EVP_PKEY *public;
	bool known = trail_checkpoint_parse(h->text, &last) && (last.keyed || last.changes);

	if (known) {
		memcpy(out, last.changes ? last.next : last.key, TRAIL_PUBLIC);
		return CLI_OK;
	}
	public = trail_public_key(config->audit_public_key, &why);
	known = public && trail_verify(public, h->text, strlen(h->text), h->signature) &&
	        trail_public_bytes(public, out);
	EVP_PKEY_free(public);
	return known ? CLI_OK
	             : cli_error(CLI_FAILED,
	                         "%s: %s\nThe setting audit_public_key names the public half of the key that is lost.",
	                         config->audit_public_key, why ? why : "is not the key of the last checkpoint");
}

static int rotate(const struct config *config, PGconn *db, bool lost)
{
	char path[PATH_MAX], next[PATH_MAX + 8];
	const char *why = NULL;
	EVP_PKEY *old = NULL, *new = NULL;
	struct head h;
	int rc;

	snprintf(path, sizeof path, "%s/audit.key", config->worker_dir);
	snprintf(next, sizeof next, "%s.next", path);
	if ((rc = read_head(db, &h)) != CLI_OK)
		return rc;
	if ((new = trail_private_key(next, &why)) && trail_key_follows(new, h.text, h.signature)) {
		EVP_PKEY_free(new);
		return cli_error(CLI_CONFLICT,
		                 "checkpoint %" PRId64
		                 " names a next key already, and posternd has not taken it up: %s\n"
		                 "Start posternd; its log says what is in the way.",
		                 h.next.number - 1, next);
	}
	EVP_PKEY_free(new); /* of a rotation that did not come to its checkpoint: nothing was signed by it */
	new = NULL;
	why = NULL;
	if (!(old = trail_private_key(path, &why)) && !lost)
		return cli_error(
		        CLI_FAILED,
		        "%s: %s\nRun this as root on the machine whose posternd seals. If the key is lost: --lost.",
		        path, why);
	if (old && !lost && !trail_key_follows(old, h.text, h.signature)) {
		EVP_PKEY_free(old);
		return cli_error(CLI_REFUSED,
		                 "%s is not the key that the trail goes on with: put the right one there first", path);
	}
	if (old && lost && trail_key_follows(old, h.text, h.signature)) {
		EVP_PKEY_free(old);
		return cli_error(CLI_REFUSED,
		                 "%s is not lost: it is the key that the trail goes on with. Leave --lost out.", path);
	}
	if ((unlink(next) != 0 && errno != ENOENT) || !(new = trail_make_key(next, &why)))
		rc = cli_error(CLI_FAILED, "%s: %s", next, why ? why : strerror(errno));
	for (int tries = 0; rc == CLI_OK && tries < TRIES; tries++) {
		struct trail_checkpoint *c = &h.next;

		c->keyed = c->changes = true;
		if (lost)
			rc = lost_key(config, &h, c->key);
		else if (!trail_public_bytes(old, c->key))
			rc = CLI_FAILED;
		if (rc == CLI_OK && !trail_public_bytes(new, c->next))
			rc = CLI_FAILED;
		if (rc == CLI_OK)
			rc = append(db, c, lost ? new : old);
		if (rc != CLI_CONFLICT)
			break;
		rc = tries + 1 < TRIES ? read_head(db, &h) /* posternd signed one meanwhile */
		     : cli_error(CLI_CONFLICT, "posternd signs checkpoints faster than this: run it again");
	}
	if (rc == CLI_OK)
		printf("checkpoint %" PRId64 " names the next key; posternd takes it up within %d s and writes %s\n"
		       "Keep a copy of that file elsewhere. Copies of the key before %s.\n",
		       h.next.number, config->audit_seal_s, config->audit_public_key,
		       lost ? "no longer verify the trail as a whole, as that key could not sign this"
		            : "verify the trail as before");
	else if (rc == CLI_UNREACHABLE)
		cli_error(rc, "Whether the checkpoint was written is not known. %s stays: run this again.", next);
	else
		unlink(next);
	EVP_PKEY_free(old);
	EVP_PKEY_free(new);
	return rc;
}

static const struct option options[] = {
	{ .name = "lost",
	  .about = "The present key is lost: the next one signs for itself, and only copies of it verify the trail" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[1], *words[1];
	size_t n;
	int rc = option_parse(options, argc, argv, values, words, &n, 0, "audit rotate-key");
	const struct config *config = rc ? NULL : cli_config(cli);
	PGconn *db;

	if (rc || !config)
		return rc ? rc : CLI_FAILED;
	db = hba_login(config, "cli", NULL);
	rc = PQstatus(db) == CONNECTION_OK ? rotate(config, db, values[0] != NULL)
	                                   : cli_error(CLI_UNREACHABLE, "%s", PQerrorMessage(db));
	PQfinish(db);
	return rc;
}

const struct command command_audit_rotate_key = {
	"audit rotate-key", run, "audit rotate-key [--lost]", "Have the audit trail's checkpoints signed by a new key",
	options,
	"Makes a key and appends a checkpoint that names it, signed by the present key. posternd takes it up by itself. "
	"Run it as root on the machine whose posternd seals the trail. postern audit verify follows the change, from a "
	"copy of either public key.",
	"audit rotate-key\n"
};
