/* events.c: the outbox: what happened, in the order it was committed. Read it by cursor: next_cursor is always there. */
#include "api.h"

static const struct field fields[] = {
	{ "id",         F_UUID,      0,                       "The event's id" },
	{ "seq",        F_INT,       F_SORT,                  "Its place in the feed; grows, perhaps with gaps for others' events" },
	{ "type",       F_TEXT,      F_FILTER,                "What happened: domain.created; filtered by it or by domain.*", .example = "\"domain.created\"" },
	{ "time",       F_TIMESTAMP, 0,                       "When" },
	{ "account_id", F_INT,       F_FILTER | F_MAYBE_NULL, "Account it happened to; null: the installation, which the filter 0 finds" },
	{ "resource",   F_TEXT,      F_FILTER,                "The type's first part; filtered by any name of the resource" },
	{ "object_id",  F_OBJECT_ID, F_FILTER | F_MAYBE_NULL, "The object it happened to: its number, or else a text" },
	{ "data",       F_JSON,      0,                       "The object as it was then, or the job" },
	{ "request_id", F_UUID,      F_FILTER | F_MAYBE_NULL, "The request that it came of" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path     operation      scope          role    bucket     audit         does */
	{ M_GET, "",      "listEvents", "events:read", VIEWER, RATE_CALL, "event.list", LIST, "Read the feed of events of what the token may read, oldest first" },
	{ M_GET, "/{id}", "getEvent",   "events:read", VIEWER, RATE_CALL, "event.read", GET,  "Show an event" },
	{ 0 }
};

static const struct resource events = {
	"events", "event", NULL,
	"What happened to what the token may read, in the order it was committed: of domains to a token with domains:read", fields, routes,
	.sort = "seq", .cursor_only = true, .feed = true,
	.shows = "a token is shown those of what it may read: of domains with domains:read, "
	         "of jobs with jobs:read and the scope of what they work on"
};
POSTERN_RESOURCE(events);
