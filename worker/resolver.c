/* resolver.c: see resolver.h. */
#include "resolver.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 64 << 10, PATIENCE_S = 3, TRIES = 2 };

/* That server alone. */
static void point_to(struct __res_state *state, const char *server)
{
	struct sockaddr_in *at = &state->nsaddr_list[0];
	char address[INET_ADDRSTRLEN] = "";
	const char *colon = strrchr(server, ':');

	memcpy(address, server, (size_t)(colon - server) < sizeof address ? (size_t)(colon - server) : 0);
	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
	inet_pton(AF_INET, address, &at->sin_addr);
	state->nscount = 1;
}

/* A TXT record is strings of up to 255 bytes, each after its length: one text. */
static void join(const unsigned char *data, size_t len, char out[ANSWER_MAX])
{
	size_t n = 0;

	for (size_t at = 0; at < len; at += 1 + data[at]) {
		size_t part = data[at] < len - at - 1 ? data[at] : len - at - 1;

		memcpy(out + n, data + at + 1, part);
		n += part;
	}
	out[n] = '\0';
}

static void hand_over(ns_rr *record, void (*each)(void *, const char *), void *arg)
{
	static char text[ANSWER_MAX];
	int family = ns_rr_type(*record) == ns_t_a ? AF_INET : AF_INET6;

	if (ns_rr_type(*record) == ns_t_txt)
		join(ns_rr_rdata(*record), ns_rr_rdlen(*record), text);
	else if (ns_rr_rdlen(*record) != (family == AF_INET ? 4 : 16) || !inet_ntop(family, ns_rr_rdata(*record), text, sizeof text))
		return;
	each(arg, text);
}

enum resolved resolver_ask(const char *server, const char *name, enum record_type kind, void (*each)(void *arg, const char *text), void *arg)
{
	static const int types[] = { [RECORD_A] = ns_t_a, [RECORD_AAAA] = ns_t_aaaa, [RECORD_TXT] = ns_t_txt };
	static unsigned char answer[ANSWER_MAX];
	struct __res_state state = { 0 };
	enum resolved result = RESOLVED_NONE;
	ns_msg message;
	ns_rr record;
	int len;

	if (res_ninit(&state) != 0)
		return RESOLVED_LATER;
	if (*server)
		point_to(&state, server);
	state.retrans = PATIENCE_S;
	state.retry = TRIES;
	state.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
	len = res_nquery(&state, name, ns_c_in, types[kind], answer, sizeof answer);
	if (len < 0)
		result = state.res_h_errno == HOST_NOT_FOUND || state.res_h_errno == NO_DATA ? RESOLVED_NONE : RESOLVED_LATER;
	else if (len > (int)sizeof answer || ns_initparse(answer, len, &message) != 0)
		result = RESOLVED_LATER;
	else
		for (int i = 0; i < ns_msg_count(message, ns_s_an); i++)
			if (ns_parserr(&message, ns_s_an, i, &record) == 0 && (int)ns_rr_type(record) == types[kind]) {
				hand_over(&record, each, arg);
				result = RESOLVED_SOME;
			}
	res_nclose(&state);
	return result;
}
