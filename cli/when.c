/* when.c: see when.h. */
#include "when.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECOND_US = 1000000, YEARS_MAX_S = 100 * 366 * 24 };

/* Midnight, or the time given, of a day in the machine's time zone. */
static bool local_time(struct tm day, char out[TIMESTAMP_TEXT_MAX])
{
	time_t at;

	day.tm_isdst = -1;
	at = mktime(&day);
	if (at < 0)
		return false;
	timestamp_format((int64_t)at * SECOND_US, out);
	return true;
}

static bool named_day(const char *text, char out[TIMESTAMP_TEXT_MAX])
{
	static const struct { const char *name; int days; } names[] = { { "today", 0 }, { "yesterday", -1 }, { "tomorrow", 1 } };
	const time_t now = (time_t)(timestamp_now() / SECOND_US);
	struct tm day;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(text, names[i].name) && localtime_r(&now, &day)) {
			day.tm_mday += names[i].days;
			day.tm_hour = day.tm_min = day.tm_sec = 0;
			return local_time(day, out);
		}
	return false;
}

static bool distance(const char *text, bool ahead, char out[TIMESTAMP_TEXT_MAX])
{
	static const struct { char unit; int64_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	int digits = (int)strspn(text, "0123456789");
	int64_t count = 0;

	if (digits < 1 || digits > 9 || !text[digits] || text[digits + 1])
		return false;
	for (int i = 0; i < digits; i++)
		count = count * 10 + (text[i] - '0');
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (units[i].unit == text[digits] && count <= INT64_C(3600) * YEARS_MAX_S / units[i].seconds) {
			const int64_t at = timestamp_now() + (ahead ? 1 : -1) * count * units[i].seconds * SECOND_US;

			if (at < 0)
				return false;
			timestamp_format(at, out);
			return true;
		}
	return false;
}

bool when_parse(const char *text, bool ahead, char out[TIMESTAMP_TEXT_MAX])
{
	char date[11] = "", end;
	int hour = 0, minute = 0, second = 0;
	struct tm day = { 0 };
	int64_t us;

	if (timestamp_parse(text, &us)) {
		snprintf(out, TIMESTAMP_TEXT_MAX, "%s", text);
		return true;
	}
	if (!strcmp(text, "now")) {
		timestamp_format(timestamp_now(), out);
		return true;
	}
	if (named_day(text, out) || distance(text, ahead, out))
		return true;
	snprintf(date, sizeof date, "%s", text);
	if (!timestamp_parse_date(date, &day.tm_year, &day.tm_mon, &day.tm_mday))
		return false;
	if (text[10] && (text[10] != ' ' || (sscanf(text + 11, "%2d:%2d:%2d%c", &hour, &minute, &second, &end) != 3 &&
	                                     sscanf(text + 11, "%2d:%2d%c", &hour, &minute, &end) != 2)))
		return false;
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
		return false;
	day.tm_year -= 1900;
	day.tm_mon -= 1;
	day.tm_hour = hour;
	day.tm_min = minute;
	day.tm_sec = second;
	return local_time(day, out);
}
