/* openapi.c: the description of the API. Its binary is linked with the tables of all resources (see the Makefile). */
#include "openapi.h"

#include "api.h"

static const struct field fields[] = { { 0 } };

static const struct route routes[] = {
	/* method path     operation         scope            role    bucket     audit           does  summary */
	{ M_GET, "",      "getOpenapi",     "platform:read", VIEWER, RATE_CALL, "openapi.read", READ(NULL), "Show this description",
	  R_OWN, .document = openapi_json },
	{ M_GET, ".json", "getOpenapiJson", "platform:read", VIEWER, RATE_CALL, "openapi.read", READ(NULL), "Show this description as JSON",
	  R_OWN | R_OPEN_TOO, .document = openapi_json, .type = "application/json" },
	{ M_GET, ".yaml", "getOpenapiYaml", "platform:read", VIEWER, RATE_CALL, "openapi.read", READ(NULL), "Show this description as YAML",
	  R_OWN | R_OPEN_TOO, .document = openapi_yaml, .type = "application/yaml" },
	{ 0 }
};

static const struct resource openapi = { "openapi", "openapi", NULL, "The description of the API", fields, routes };
POSTERN_RESOURCE(openapi);
