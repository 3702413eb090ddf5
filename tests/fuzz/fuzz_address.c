/*
 * fuzz_address.c: canonical addresses and blocks are fixed points; what is an address is a block of one; every text has
 * a bucket; and no text is loopback that is not an address.
 */
#include "address.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	char address[ADDRESS_TEXT_MAX], block[ADDRESS_TEXT_MAX], bucket[ADDRESS_TEXT_MAX], again[ADDRESS_TEXT_MAX];
	const char *why;
	assert(text);

	bool is_address = address_parse(text, address);
	bool is_block = address_parse_cidr(text, block, &why);
	assert(is_block == !why);
	assert(is_address == (*address != '\0'));
	assert(is_block == (*block != '\0'));
	address_bucket(text, bucket);

	if (is_address) {
		assert(address_parse(address, again) && !strcmp(address, again));
		assert(is_block);
		assert(!strncmp(block, address, strlen(address)));
		assert(!strcmp(block + strlen(address), strchr(address, ':') ? "/128" : "/32"));
		assert(address_is_loopback(text) == address_is_loopback(address));
		if (strchr(address, ':')) {
			assert(address_parse_cidr(bucket, again, &why) && !strcmp(bucket, again));
			assert(strstr(bucket, "/64"));
		} else {
			assert(!strcmp(bucket, address));
		}
	} else {
		assert(!strcmp(bucket, "unknown"));
		assert(!address_is_loopback(text));
	}
	if (is_block) {
		assert(address_parse_cidr(block, again, &why) && !strcmp(block, again));
		*strchr(block, '/') = '\0';
		assert(address_parse(block, again) && !strcmp(block, again));
	}
	free(text);
	return 0;
}
