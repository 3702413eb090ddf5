/* domain.c: is a tenant's domain theirs? It leads to this machine, or carries the TXT record that the API gave. */
#include <errno.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "address.h"
#include "resolver.h"
#include "served.h"
#include "suffix.h"

static const struct field claimed[] = {
	{ "domain", F_HOSTNAME, F_REQUIRED, "The name" },
	{ "value",  F_TEXT,     F_REQUIRED, "What the TXT record _postern-challenge.<name> is to hold", .min = 32 },
	{ 0 }
};

enum { VERDICT_MAX = 1024, ADDRESSES_MAX = 400, LIMIT_S = 60 };

/* ---- names that are nobody's to claim ---- */

static void check_claimable(struct action *a, const char *name)
{
	const char *served;

	switch (suffix_of(a->config.public_suffix_list, name)) {
	case SUFFIX_NONE:
		break;
	case SUFFIX_UNKNOWN:
		action_retry("the list of public suffixes %s cannot be read; install the package publicsuffix, or set public_suffix_list",
		             a->config.public_suffix_list);
	default:
		action_fail("%s is a public suffix, below which others have their names; ask an administrator to confirm it", name);
	}
	for (const char *at = name; at && strchr(at, '.'); at = strchr(at, '.') + 1)
		if (config_reserves(&a->config, at))
			action_fail("%s is reserved for this installation; ask an administrator to confirm %s", at, name);
	if ((served = served_already(a, name)))
		action_fail("%s already; an administrator can import it (postern import) or confirm it", served);
}

/* ---- what DNS says, in a process without rights ---- */

struct look {
	const char *value;              /* of the TXT record */
	const char *ours;               /* blocks of this machine's addresses */
	char addresses[ADDRESSES_MAX];  /* where the name leads, for the message */
	bool leads_here, has_value;
};

static void judge_address(void *arg, const char *text)
{
	struct look *l = arg;
	size_t len = strlen(l->addresses);

	l->leads_here |= address_is_listed(text, l->ours);
	snprintf(l->addresses + len, sizeof l->addresses - len, "%s%s", len ? ", " : "", text);
}

static void judge_text(void *arg, const char *text)
{
	struct look *l = arg;

	l->has_value |= strcmp(text, l->value) == 0;
}

/* The addresses of this machine's interfaces, but for those that every machine has. */
static const char *own_addresses(struct action *a)
{
	struct ifaddrs *all, *i;
	const char *list = "";

	if (*a->config.machine_addresses)
		return a->config.machine_addresses;
	if (getifaddrs(&all) != 0)
		action_retry("the addresses of this machine cannot be found out: %s", strerror(errno));
	for (i = all; i; i = i->ifa_next) {
		char text[INET6_ADDRSTRLEN] = "";

		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
			inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text);
			if (strncmp(text, "169.254.", 8) == 0)
				*text = '\0';
		} else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6) {
			const struct in6_addr *address = &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;

			if (!IN6_IS_ADDR_LINKLOCAL(address))
				inet_ntop(AF_INET6, address, text, sizeof text);
		}
		if (*text && !address_is_loopback(text))
			list = arena_printf(a->arena, "%s%s%s", list, *list ? " " : "", text);
	}
	freeifaddrs(all);
	return list;
}

/* Nothing here needs a right, and what is read comes from whoever answers for the name. */
static void give_up_rights(void)
{
	const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;

	if (geteuid() == 0 && (!nobody || setgroups(0, NULL) != 0 || setresgid(nobody->pw_gid, nobody->pw_gid, nobody->pw_gid) != 0 ||
	                       setresuid(nobody->pw_uid, nobody->pw_uid, nobody->pw_uid) != 0))
		_exit(1);
}

/* One letter and a sentence: A and R are the proofs, N is a no, L is to be asked again. */
static void look(struct action *a, struct look *l, const char *name, char verdict[VERDICT_MAX])
{
	const char *server = a->config.dns_server, *record = arena_printf(a->arena, "_postern-challenge.%s", name);
	enum resolved four = resolver_ask(server, name, RECORD_A, judge_address, l), six = RESOLVED_NONE, text = RESOLVED_NONE;

	if (!l->leads_here)
		six = resolver_ask(server, name, RECORD_AAAA, judge_address, l);
	if (!l->leads_here)
		text = resolver_ask(server, record, RECORD_TXT, judge_text, l);
	if (l->leads_here || l->has_value)
		snprintf(verdict, VERDICT_MAX, l->leads_here ? "A" : "R");
	else if (four == RESOLVED_LATER || six == RESOLVED_LATER || text == RESOLVED_LATER)
		snprintf(verdict, VERDICT_MAX, "LDNS does not answer for %s now", name);
	else
		snprintf(verdict, VERDICT_MAX, "N%s is not shown to be the account's: it %s%s, and the TXT record %s %s; "
		         "publish that record with the domain's proof_value, or ask an administrator", name,
		         *l->addresses ? "leads to " : "has no address", l->addresses, record,
		         text == RESOLVED_SOME ? "has another value" : "does not exist");
}

static void ask_dns(struct action *a, const char *name, char verdict[VERDICT_MAX])
{
	struct look l = { .value = action_text(a, "value"), .ours = own_addresses(a) };
	pid_t parent = getpid(), child;
	int ends[2], status = 0;
	ssize_t n, len = 0;

	if (pipe(ends) != 0 || (child = fork()) < 0)
		action_retry("DNS cannot be asked: %s", strerror(errno));
	if (child == 0) {
		close(ends[0]);
		if (action_lock > 0)
			close(action_lock);
		give_up_rights();
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
			_exit(1);
		alarm(LIMIT_S);
		look(a, &l, name, verdict);
		_exit(write(ends[1], verdict, strlen(verdict)) < 0);
	}
	close(ends[1]);
	while ((n = read(ends[0], verdict + len, (size_t)(VERDICT_MAX - 1 - len))) != 0 && len < VERDICT_MAX - 1)
		if (n > 0)
			len += n;
		else if (errno != EINTR)
			break;
	verdict[len] = '\0';
	close(ends[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!len || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		snprintf(verdict, VERDICT_MAX, "LDNS takes too long to answer for %s", name);
}

static void prove(struct action *a)
{
	const char *name = action_text(a, "domain");
	char verdict[VERDICT_MAX];
	struct json_object *result;

	check_claimable(a, name);
	action_progress(50, "asking DNS for %s", name);
	ask_dns(a, name, verdict);
	if (*verdict == 'L')
		action_retry("%s", verdict + 1);
	if (*verdict == 'N')
		action_fail("%s", verdict + 1);
	result = json_object_new_object();
	json_object_object_add(result, "proof", json_object_new_string(*verdict == 'A' ? "address" : "record"));
	action_result(result);
}

static const struct kind domain_prove = { "domain.prove", "Look whether a claimed name leads to this machine or carries its TXT record, and is not served already", 180, 3, claimed, prove };
POSTERN_KIND(domain_prove);
