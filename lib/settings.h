/*
 * settings.h: the settings in force: what postern.conf and the environment say, with what the database holds laid over it.
 *
 * The database numbers the changes. A program knows the number of what it has, and hands it over with every admission: one
 * that is behind is told so before anything is done (gate.h), reads what the database holds now, and judges the request
 * again. So a change holds for every request that comes after its commit, in every process, and costs none of them a query.
 * Each reading is a constant of its own; whoever works by one holds it until done.
 */
#ifndef POSTERN_SETTINGS_H
#define POSTERN_SETTINGS_H
#include <stdbool.h>

#include "config.h"

struct settings;
struct held {
	struct config config;
	int number;   /* of the change that it has; 0: none */
	int users;    /* under the lock */
};

/* What the file and the environment say; `base` must outlive it. NULL when out of memory. */
struct settings *settings_new(const struct config *base);
void settings_free(struct settings *);

/* The newest, to be given back with settings_release (NULL: nothing). */
struct held *settings_hold(struct settings *);
void settings_release(struct settings *, struct held *);
/* Is this the newest? Cheap enough to be asked for each request. */
bool settings_is_newest(const struct settings *, const struct held *);
int settings_number(struct settings *);

/* What the database holds: an object of texts as JSON, or NULL for none. What does not fit, is left out and logged. */
bool settings_take(struct settings *, int number, const char *held);
#endif
