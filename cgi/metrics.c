/* metrics.c: what Prometheus reads. Its text is made in sql/functions/20_metrics.sql. */
#include "api.h"

static const struct field fields[] = { { 0 } };

static const struct route routes[] = {
	/* method path operation     scope           role   bucket     audit           does */
	{ M_GET, "", "getMetrics", "metrics:read", ADMIN, RATE_CALL, "metrics.read", READ("show"), "Show metrics in the text form of Prometheus",
	  R_LISTED, .type = "text/plain" },
	{ 0 }
};

static const struct resource metrics = { "metrics", "metrics", NULL, "Metrics for Prometheus; also at /metrics", fields, routes };
POSTERN_RESOURCE(metrics);
