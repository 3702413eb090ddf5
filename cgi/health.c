/* health.c: is the installation able to serve? */
#include "api.h"

static const struct field fields[] = {
	{ "status",   F_ENUM,      0, "Verdict", .choices = "ok warning critical" },
	{ "reasons",  F_JSON,      0, "Why it is no better, in words" },
	{ "time",     F_TIMESTAMP, 0, "The database's clock" },
	{ "database", F_JSON,      0, "PostgreSQL" },
	{ "worker",   F_JSON,      0, "The process that changes the machine" },
	{ "audit",    F_JSON,      0, "The audit trail" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path operation     scope            role    bucket     audit          does */
	{ M_GET, "", "getHealth", "platform:read", VIEWER, RATE_CALL, "health.read", READ("show"), "Show whether Postern can serve",
	  R_OWN | R_OPEN_TOO },
	{ 0 }
};

static const struct resource health = {
	"health", "health", NULL, "Whether Postern can serve; without a token only {\"status\":\"ok\"}", fields, routes
};
POSTERN_RESOURCE(health);
