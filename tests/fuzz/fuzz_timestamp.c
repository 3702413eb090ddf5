/*
 * fuzz_timestamp.c: what is read as an instant is written in one way, which reads as the same instant; what is read as a
 * date is a day of timestamp_parse() too and ends within a day's length of it; any number can be written.
 */
#include "timestamp.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	char out[TIMESTAMP_TEXT_MAX], again[TIMESTAMP_TEXT_MAX];
	int64_t us, same, end;
	int year, month, day;
	assert(text);

	if (timestamp_parse(text, &us)) {
		assert(us >= 0 && us < INT64_C(253402300800) * SECOND);
		timestamp_format(us, out);
		assert(timestamp_parse(out, &same) && same == us);
	}
	if (timestamp_parse_date(text, &year, &month, &day)) {
		snprintf(out, sizeof out, "%04d-%02d-%02d", year, month, day);
		assert(!strcmp(out, text));
		snprintf(out, sizeof out, "%04d-%02d-%02dT00:00:00Z", year, month, day);
		assert(timestamp_parse(out, &us));
		if (timestamp_end_of_day(text, &end))
			assert(end - us >= 9 * HOUR && end - us <= 37 * HOUR && end % SECOND == 0);
	} else {
		assert(!timestamp_end_of_day(text, &end));
	}
	if (size >= sizeof us) {
		memcpy(&us, data, sizeof us);
		timestamp_format(us, out);
		assert(strlen(out) >= 25);
		if (timestamp_parse(out, &same)) {
			assert(same == us);
			timestamp_format(same, again);
			assert(!strcmp(out, again));
		}
	}
	free(text);
	return 0;
}
