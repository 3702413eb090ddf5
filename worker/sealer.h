/*
 * sealer.h: posternd's part in the audit trail: seals rows in batches and signs checkpoints. See lib/trail.h.
 */
#ifndef POSTERN_SEALER_H
#define POSTERN_SEALER_H
#include <limits.h>

#include "config.h"
#include "db.h"
#include "trail.h"

struct sealer {
	const char *node, *machine; /* the caller's: who we are */
	EVP_PKEY *key;              /* NULL: not read yet, or there is none */
	char fault[2 * PATH_MAX + 300]; /* why we must not seal; "": we may */
	int64_t seal_us, checkpoint_us, retain_us, told_us; /* when each is due */
};

void sealer_open(struct sealer *, const char *node, const char *machine);
void sealer_close(struct sealer *);
/*
 * Seal what is there, sign when it is time, drop months when it is time: where this node is the one that does
 * (seals.elect). Whose key is not the one that the last checkpoint asks for is never elected; what is wrong goes to the
 * log and to health. A key is made where the trail has no checkpoint yet. A few hundred milliseconds at most; true:
 * there is more.
 */
bool sealer_round(struct sealer *, const struct config *, struct db *, struct arena *, int64_t now_us);
#endif
