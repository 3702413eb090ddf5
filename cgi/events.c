/* events.c: the outbox: what happened, in the order it was committed. Read it by cursor: next_cursor is always there. */
#include "api.h"

static const struct field fields[] = {
	{ "id",         F_UUID,      0,                       "The event's id" },
	{ "seq",        F_INT,       F_SORT,                  "Its place in the feed; grows, perhaps with gaps for others' events" },
	{ "type",       F_TEXT,      F_FILTER,                "What happened: domain.created; filtered by it or by domain.*", .example = "\"domain.created\"" },
	{ "time",       F_TIMESTAMP, 0,                       "When" },
	{ "account_id", F_INT,       F_FILTER,                "Account it happened to; 0: the installation" },
	{ "resource",   F_TEXT,      F_FILTER,                "The type's first part" },
	{ "object_id",  F_TEXT,      F_FILTER | F_MAYBE_NULL, "The object it happened to" },
	{ "data",       F_JSON,      0,                       "The object as it was then, or the job" },
	{ "request_id", F_UUID,      F_FILTER | F_MAYBE_NULL, "The request that it came of" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path     operation      scope          role    bucket     audit         does */
	{ M_GET, "",      "listEvents", "events:read", VIEWER, RATE_CALL, "event.list", LIST, "Read the feed of events, oldest first" },
	{ M_GET, "/{id}", "getEvent",   "events:read", VIEWER, RATE_CALL, "event.read", GET,  "Show an event" },
	{ 0 }
};

static const struct resource events = {
	"events", "event", NULL, "What happened, in the order it was committed", fields, routes, .sort = "seq", .cursor_only = true, .feed = true
};
POSTERN_RESOURCE(events);
