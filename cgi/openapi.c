/* openapi.c: the description of the API. Its binary is linked with the tables of all resources (see the Makefile). */
#include "openapi.h"

#include "api.h"

#include <json-c/json.h>
#include <string.h>

#include "request.h"

static const struct field fields[] = { { 0 } };

/* Which edition. */
static const struct field editions[] = {
	{ "dialect", F_ENUM, F_INPUT, "Which dialect it describes: envelope (default), below /api/v1, or plain, below /api",
	  .choices = "envelope plain" },
	{ "version", F_ENUM, F_INPUT, "Which version of OpenAPI it is written in: 3.1 (default) or 3.0, for tools that read no other",
	  .choices = "3.1 3.0" },
	{ 0 }
};

static bool asks(const struct request *r, const char *name, const char *word)
{
	struct json_object *value;

	return json_object_object_get_ex(r->query.input, name, &value) && strcmp(json_object_get_string(value), word) == 0;
}

static struct openapi_edition edition(const struct request *r)
{
	return (struct openapi_edition){ .plain = asks(r, "dialect", "plain"), .v30 = asks(r, "version", "3.0") };
}

static const char *as_json(const struct request *r)
{
	return openapi_document(edition(r));
}

static const char *as_yaml(const struct request *r)
{
	struct openapi_edition e = edition(r);

	e.yaml = true;
	return openapi_document(e);
}

static const struct route routes[] = {
	/* method path     operation         scope            role    bucket     audit           does  summary */
	{ M_GET, "",      "getOpenapi",     "platform:read", VIEWER, RATE_CALL, "openapi.read", READ(NULL), "Show this description",
	  R_OWN, .input = editions, .document = as_json },
	{ M_GET, ".json", "getOpenapiJson", "platform:read", VIEWER, RATE_CALL, "openapi.read", READ(NULL), "Show this description as JSON",
	  R_OWN | R_OPEN_TOO, .input = editions, .document = as_json, .type = "application/json" },
	{ M_GET, ".yaml", "getOpenapiYaml", "platform:read", VIEWER, RATE_CALL, "openapi.read", READ(NULL), "Show this description as YAML",
	  R_OWN | R_OPEN_TOO, .input = editions, .document = as_yaml, .type = "application/yaml" },
	{ 0 }
};

static const struct resource openapi = { "openapi", "openapi", NULL, "The description of the API", fields, routes };
POSTERN_RESOURCE(openapi);
