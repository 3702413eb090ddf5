/* release-audit.c: is what is installed what was released? */
#include "release.h"

static const struct field fields[] = {
	{ "status",     F_ENUM, 0,            "Verdict; incomplete: nothing was found, but not everything could be looked at", .choices = "ok findings incomplete" },
	{ "version",    F_TEXT, 0,            "Version of Postern" },
	{ "commit",     F_TEXT, F_MAYBE_NULL, "Commit it was built from; with -dirty: and changes to it" },
	{ "built",      F_JSON, 0,            "Compiler and flags" },
	{ "libraries",  F_JSON, 0,            "Libraries: the version it was built with, the one in use as it tells it itself, and its file" },
	{ "database",   F_JSON, 0,            "PostgreSQL's version and the functions' digest" },
	{ "files",      F_JSON, 0,            "Installed files against the manifest: how many are listed, which changed, are missing or unexpected" },
	{ "migrations", F_JSON, 0,            "How many are applied, how many shipped" },
	{ "modes",      F_JSON, 0,            "Modes and owners of configuration and key files" },
	{ "grants",     F_JSON, 0,            "Privileges in the database that are missing or too many" },
	{ "findings",   F_JSON, 0,            "What is not as it should be, each with its remedy" },
	{ "unseen",     F_JSON, 0,            "What could not be looked at, and why" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path operation          scope            role   bucket     audit                 does */
	{ M_GET, "", "getReleaseAudit", "platform:read", ADMIN, RATE_CALL, "release_audit.read", READ("show"),
	  "Compare the installation with its release", .tell = release_tell },
	{ 0 }
};

static const struct resource release_audit = {
	"release-audit", "release-audit", NULL, "Whether what is installed is what was released", fields, routes
};
POSTERN_RESOURCE(release_audit);
