/* servers.c: see servers.h. */
#include "servers.h"

#include <json-c/json.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

enum { POSTGRESQL_PORT = 5432, PORT_MAX = 65535 };

static void add(struct json_object *list, const char *name, const char *host, int port)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "host", json_object_new_string(host));
	json_object_object_add(o, "port", json_object_new_int(port));
	json_object_array_add(list, o);
}

/* The host and port of the DSN, where it names one host: of a socket, or of several hosts, it says the port only. */
struct json_object *servers_of_databases(const struct config *config)
{
	struct json_object *list = json_object_new_array();
	PQconninfoOption *parts = PQconninfoParse(config->databases_postgresql_dsn, NULL);
	const char *host = config->database_host, *own = *host ? host : "localhost";
	int port = 0;

	for (const PQconninfoOption *p = parts; p && p->keyword; p++) {
		if (!*host && p->val && strcmp(p->keyword, "host") == 0 && *p->val && !strchr("/@", *p->val) && !strchr(p->val, ','))
			host = p->val;
		if (p->val && strcmp(p->keyword, "port") == 0)
			port = atoi(p->val);
	}
	add(list, "postgresql", *host ? host : own, port >= 1 && port <= PORT_MAX ? port : POSTGRESQL_PORT);
	add(list, "mariadb", own, config->mariadb_port);
	PQconninfoFree(parts);
	return list;
}

struct json_object *servers_of_mail(const struct config *config)
{
	struct json_object *list = json_object_new_array();
	char own[256] = "";
	const char *host = *config->mail_host ? config->mail_host : gethostname(own, sizeof own - 1) == 0 && *own ? own : "localhost";

	add(list, "imap", host, config->imap_port);
	add(list, "smtp", host, config->smtp_port);
	return list;
}
