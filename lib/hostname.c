/* hostname.c: libidn2 maps and converts; what a host name is made of is checked here (libidn2's STD3 flag would drop
 * forbidden letters silently instead of refusing them). */
#include "hostname.h"

#include <idn2.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LABEL_MAX 63
#define IDN_FLAGS (IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL)

static const char *why_not(int idn_error)
{
	switch (idn_error) {
	case IDN2_TOO_BIG_LABEL:
		return "has a label that is too long: 63 bytes as A-label at most";
	case IDN2_TOO_BIG_DOMAIN:
		return "is too long: 253 bytes as A-labels at most";
	case IDN2_2HYPHEN:
		return "has a label with '--' as third and fourth letter: that form is kept for A-labels (xn--)";
	case IDN2_HYPHEN_STARTEND:
		return "has a label that starts or ends with '-': begin and end labels with a letter or digit";
	case IDN2_ENCODING_ERROR:
		return "is not valid UTF-8: send the name in UTF-8 or as A-labels";
	case IDN2_MALLOC:
		return "could not be converted: out of memory, try again later";
	default:
		return "has letters that no domain name may have, or a broken A-label (xn--): check its spelling (IDNA 2008)";
	}
}

/* The rules for names in A-label form. NULL when name keeps them all. */
static const char *judge(const char *name)
{
	for (const char *label = name;;) {
		size_t len = strcspn(label, ".");
		if (!len)
			return "has an empty label: leave no dot at the start and no two in a row";
		if (len > LABEL_MAX)
			return why_not(IDN2_TOO_BIG_LABEL);
		if (strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") < len)
			return "has characters beyond letters, digits and '-': wildcards, underscores and spaces are not taken";
		if (label[0] == '-' || label[len - 1] == '-')
			return why_not(IDN2_HYPHEN_STARTEND);
		if (label[len]) {
			label += len + 1;
			continue;
		}
		if (label == name)
			return "has one label only: give the whole name, as in example.org";
		return strspn(label, "0123456789") == len ? "ends in a number: an address is not a domain name" : NULL;
	}
}

bool hostname_to_ascii(const char *text, char out[HOSTNAME_MAX], const char **why)
{
	out[0] = '\0';
	*why = NULL;
	size_t len = strlen(text);
	if (!len)
		*why = "is empty: give a domain name, as in example.org";
	else if (len >= HOSTNAME_UNICODE_MAX)
		*why = why_not(IDN2_TOO_BIG_DOMAIN);
	if (*why)
		return false;

	uint8_t *converted = NULL;
	int error = idn2_lookup_u8((const uint8_t *)text, &converted, IDN_FLAGS);
	if (error != IDN2_OK) {
		*why = why_not(error);
		return false;
	}
	char *name = (char *)converted;
	len = strlen(name);
	if (len > 1 && name[len - 1] == '.')
		name[--len] = '\0';
	*why = len >= HOSTNAME_MAX ? why_not(IDN2_TOO_BIG_DOMAIN) : judge(name);
	if (!*why)
		memcpy(out, name, len + 1);
	idn2_free(converted);
	return !*why;
}

void hostname_to_unicode(const char *ascii, char out[HOSTNAME_UNICODE_MAX])
{
	snprintf(out, HOSTNAME_UNICODE_MAX, "%s", ascii);
	if (!strstr(ascii, "xn--"))
		return;
	/* libidn2 decodes more than it encodes: show only what leads back to the same name. */
	char *unicode = NULL, back[HOSTNAME_MAX];
	const char *why;
	if (idn2_to_unicode_8z8z(ascii, &unicode, IDN2_NONTRANSITIONAL) == IDN2_OK &&
	    strlen(unicode) < HOSTNAME_UNICODE_MAX && hostname_to_ascii(unicode, back, &why) && !strcmp(back, ascii))
		snprintf(out, HOSTNAME_UNICODE_MAX, "%s", unicode);
	idn2_free(unicode);
}
