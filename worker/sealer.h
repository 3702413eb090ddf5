/*
 * sealer.h: posternd's part in the audit trail: seals rows in batches and signs checkpoints. See lib/trail.h.
 */
#ifndef POSTERN_SEALER_H
#define POSTERN_SEALER_H
#include "config.h"
#include "db.h"
#include "trail.h"

struct sealer {
	EVP_PKEY *key;          /* NULL: none could be had; nothing is sealed */
	int64_t seal_us, checkpoint_us, retain_us; /* when each is due */
};

/* Have the keys; what is wrong goes to the log. */
void sealer_open(struct sealer *, const struct config *);
void sealer_close(struct sealer *);
/* Seal what is there, sign when it is time, drop months when it is time. A few hundred milliseconds at most; true: there is more. */
bool sealer_round(struct sealer *, const struct config *, struct db *, struct arena *, int64_t now_us);
#endif
