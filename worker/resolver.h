/*
 * resolver.h: what DNS says of a name. Of DNS alone: /etc/hosts and search lists have no say.
 */
#ifndef POSTERN_RESOLVER_H
#define POSTERN_RESOLVER_H

enum resolved {
	RESOLVED_SOME,   /* there are such records; each was handed over */
	RESOLVED_NONE,   /* DNS says that there are none */
	RESOLVED_LATER   /* DNS cannot say now */
};

enum record_type { RECORD_A, RECORD_AAAA, RECORD_TXT };

/* Ask for records of a type, which are handed over as text: an address, or the strings of a TXT record, joined. `server`: "address:port", or "" for
 * the system's. Takes up to half a minute. */
enum resolved resolver_ask(const char *server, const char *name, enum record_type, void (*each)(void *arg, const char *text), void *arg);
#endif
