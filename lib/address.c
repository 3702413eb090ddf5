/* address.c: inet_pton and inet_ntop, and the arithmetic of prefixes. */
#include "address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct address {
	int family;              /* AF_INET or AF_INET6 */
	unsigned bits;           /* 32 or 128 */
	unsigned char bytes[16];
	bool mapped;             /* was written ::ffff:a.b.c.d */
};

static bool read_address(const char *text, struct address *a)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	*a = (struct address){ 0 };
	if (inet_pton(AF_INET, text, a->bytes) == 1) {
		a->family = AF_INET;
		a->bits = 32;
		return true;
	}
	if (inet_pton(AF_INET6, text, a->bytes) != 1)
		return false;
	if (memcmp(a->bytes, mapped, sizeof mapped) == 0) {
		const unsigned char *v4 = a->bytes + 12;
		*a = (struct address){ AF_INET, 32, { v4[0], v4[1], v4[2], v4[3] }, true };
		return true;
	}
	a->family = AF_INET6;
	a->bits = 128;
	return true;
}

static void write_address(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
	if (!inet_ntop(a->family, a->bytes, out, ADDRESS_TEXT_MAX))
		out[0] = '\0';
}

/* Clear the bits beyond the prefix. True when there were any. */
static bool clear_host_bits(struct address *a, unsigned prefix)
{
	bool any = false;
	for (unsigned bit = prefix; bit < a->bits; bit++) {
		unsigned char mask = (unsigned char)(0x80 >> bit % 8);
		any |= a->bytes[bit / 8] & mask;
		a->bytes[bit / 8] &= (unsigned char)~mask;
	}
	return any;
}

bool address_parse(const char *text, char out[ADDRESS_TEXT_MAX])
{
	struct address a;
	out[0] = '\0';
	if (!read_address(text, &a))
		return false;
	write_address(&a, out);
	return out[0];
}

/* "0" to "128" without sign or leading zeros, or -1. */
static int read_prefix(const char *text)
{
	size_t len = strspn(text, "0123456789");
	if (len < 1 || len > 3 || text[len] || (len > 1 && text[0] == '0'))
		return -1;
	int prefix = 0;
	for (; *text; text++)
		prefix = prefix * 10 + (*text - '0');
	return prefix;
}

bool address_parse_cidr(const char *text, char out[ADDRESS_TEXT_MAX], const char **why)
{
	struct address a;
	char bare[ADDRESS_TEXT_MAX];
	size_t len = strcspn(text, "/");

	out[0] = '\0';
	*why = "is not an address or block; write it like 192.0.2.0/24 or 2001:db8::/32";
	if (len >= sizeof bare)
		return false;
	memcpy(bare, text, len);
	bare[len] = '\0';
	if (!read_address(bare, &a))
		return false;

	int prefix = (int)a.bits;
	if (text[len]) {
		prefix = read_prefix(text + len + 1);
		/* The prefix of a mapped address counts the 96 bits before it. */
		int lead = a.mapped ? 96 : 0;
		if (prefix < 0 || prefix > lead + (int)a.bits) {
			*why = "has a bad prefix length; IPv4 takes 0 to 32, IPv6 0 to 128";
			return false;
		}
		prefix -= lead;
	}
	if (prefix < 0 || clear_host_bits(&a, (unsigned)prefix)) {
		*why = "host bits are set; zero them (10.0.0.0/8), or use /32 (IPv6: /128) for a single address";
		return false;
	}
	write_address(&a, bare);
	snprintf(out, ADDRESS_TEXT_MAX, "%.50s/%d", bare, prefix);
	*why = NULL;
	return true;
}

bool address_is_listed(const char *text, const char *blocks)
{
	char one[ADDRESS_TEXT_MAX], block[ADDRESS_TEXT_MAX], same[ADDRESS_TEXT_MAX], *slash;
	struct address a;
	const char *why;
	size_t len;

	for (const char *at = blocks; *at; at += len) {
		at += strspn(at, " ");
		len = strcspn(at, " ");
		snprintf(one, sizeof one, "%.*s", (int)(len < sizeof one ? len : 0), at);
		if (!address_parse_cidr(one, block, &why) || !read_address(text, &a) || !(slash = strchr(block, '/')))
			continue;
		*slash = '\0';
		if (a.family != (strchr(block, ':') ? AF_INET6 : AF_INET))
			continue;
		clear_host_bits(&a, (unsigned)read_prefix(slash + 1));
		write_address(&a, same);
		if (strcmp(same, block) == 0)
			return true;
	}
	return false;
}

bool address_is_loopback(const char *text)
{
	static const unsigned char one[16] = { [15] = 1 };
	struct address a;
	return read_address(text, &a) && (a.family == AF_INET ? a.bytes[0] == 127 : memcmp(a.bytes, one, 16) == 0);
}

void address_bucket(const char *text, char out[ADDRESS_TEXT_MAX])
{
	struct address a;
	if (!read_address(text, &a)) {
		snprintf(out, ADDRESS_TEXT_MAX, "unknown");
		return;
	}
	if (a.family == AF_INET6)
		clear_host_bits(&a, 64);
	write_address(&a, out);
	size_t len = strlen(out);
	if (a.family == AF_INET6)
		snprintf(out + len, ADDRESS_TEXT_MAX - len, "/64");
}
