/* timestamp.c: the proleptic Gregorian calendar in arithmetic; the C library is asked about the time zone only. */
#include "timestamp.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define US INT64_C(1000000)
#define DAY_S INT64_C(86400)
#define END_OF_9999_S INT64_C(253402300800)

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Exactly n digits at *p as a number, or -1; moves *p on. */
static int digits(const char **p, int n)
{
	int value = 0;
	while (n--) {
		if (**p < '0' || **p > '9')
			return -1;
		value = value * 10 + (*(*p)++ - '0');
	}
	return value;
}

static bool literal(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

static bool read_date(const char **p, int *year, int *month, int *day)
{
	static const int days_in[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int y, m, d;
	if ((y = digits(p, 4)) < 1970 || !literal(p, '-') || (m = digits(p, 2)) < 1 || m > 12 || !literal(p, '-') ||
	    (d = digits(p, 2)) < 1 || d > days_in[m - 1] + (m == 2 && is_leap(y)))
		return false;
	*year = y;
	*month = m;
	*day = d;
	return true;
}

/* Days since 1970-01-01. Years begin in March here, so that the leap day is their last. */
static int64_t days_since_epoch(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

bool timestamp_parse(const char *text, int64_t *us)
{
	const char *p = text;
	int year, month, day, hour, minute, second, fraction = 0, offset = 0;

	if (!read_date(&p, &year, &month, &day) || !(literal(&p, 'T') || literal(&p, 't')) ||
	    (hour = digits(&p, 2)) < 0 || hour > 23 || !literal(&p, ':') ||
	    (minute = digits(&p, 2)) < 0 || minute > 59 || !literal(&p, ':') ||
	    (second = digits(&p, 2)) < 0 || second > 59)
		return false;
	if (literal(&p, '.')) {
		size_t n = strspn(p, "0123456789");
		if (n < 1 || n > 6)
			return false;
		fraction = digits(&p, (int)n);
		for (; n < 6; n++)
			fraction *= 10;
	}
	if (*p == '+' || *p == '-') {
		int sign = *p++ == '-' ? -1 : 1, offset_hour, offset_minute;
		if ((offset_hour = digits(&p, 2)) < 0 || offset_hour > 23 || !literal(&p, ':') ||
		    (offset_minute = digits(&p, 2)) < 0 || offset_minute > 59)
			return false;
		offset = sign * (offset_hour * 3600 + offset_minute * 60);
	} else if (!literal(&p, 'Z') && !literal(&p, 'z')) {
		return false;
	}
	int64_t s = days_since_epoch(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset;
	if (*p || s < 0 || s >= END_OF_9999_S)
		return false;
	*us = s * US + fraction;
	return true;
}

bool timestamp_parse_date(const char *text, int *year, int *month, int *day)
{
	int y, m, d;
	if (!read_date(&text, &y, &m, &d) || *text)
		return false;
	*year = y;
	*month = m;
	*day = d;
	return true;
}

bool timestamp_end_of_day(const char *date, int64_t *us)
{
	int year, month, day;
	if (!timestamp_parse_date(date, &year, &month, &day))
		return false;

	/* Where clocks are set back at midnight there are two 23:59:59: the later one ends the day. */
	int64_t end = -1;
	for (int dst = 0; dst <= 1; dst++) {
		struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day,
		                 .tm_hour = 23, .tm_min = 59, .tm_sec = 59, .tm_isdst = dst };
		time_t t = mktime(&tm);
		if (tm.tm_mday == day && tm.tm_hour == 23 && tm.tm_min == 59 && tm.tm_sec == 59 && t > end)
			end = t;
	}
	/* Where they are set forward over it there is none: the second before the next day ends it. */
	if (end < 0) {
		struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day + 1, .tm_isdst = -1 };
		end = (int64_t)mktime(&tm) - 1;
	}
	if (end < 0 || end >= END_OF_9999_S)
		return false;
	*us = end * US;
	return true;
}

const char *timestamp_zone(char out[TIMESTAMP_ZONE_MAX])
{
	static const char folder[] = "/zoneinfo/";
	const char *name = getenv("TZ"), *at;
	char link[PATH_MAX];
	ssize_t len;

	if (!name && (len = readlink("/etc/localtime", link, sizeof link - 1)) > 0) {
		link[len] = '\0';
		name = link;
	}
	if (name && *name == ':')
		name++;
	if (name && (at = strstr(name, folder)))
		name = at + strlen(folder);
	if (!name || !isalpha((unsigned char)*name) || strlen(name) >= TIMESTAMP_ZONE_MAX)
		name = "UTC";
	memcpy(out, name, strlen(name) + 1);
	return out;
}

/* printf costs more than all the rest of a row: every row has two of these. */
static char *put_two(char *out, unsigned n)
{
	out[0] = (char)('0' + n / 10 % 10);
	out[1] = (char)('0' + n % 10);
	return out + 2;
}

char *timestamp_format(int64_t us, char out[TIMESTAMP_TEXT_MAX])
{
	int64_t s = us / US - (us % US < 0), fraction = us % US + (us % US < 0 ? US : 0);
	int64_t days = s / DAY_S - (s % DAY_S < 0), second = s - days * DAY_S;

	/* The inverse of days_since_epoch(), by eras of 400 years. */
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t day_of_era = z - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month_from_march = (5 * day_of_year + 2) / 153;
	int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
	int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
	int64_t year = year_of_era + era * 400 + (month <= 2);

	if (year >= 0 && year <= 9999)
		out = put_two(put_two(out, (unsigned)year / 100), (unsigned)year);
	else /* PostgreSQL's infinity lies out here */
		out += snprintf(out, TIMESTAMP_TEXT_MAX - sizeof "-01-31T23:59:59.999999+00:00", "%04d", (int)year);
	*out++ = '-';
	out = put_two(out, (unsigned)month);
	*out++ = '-';
	out = put_two(out, (unsigned)day);
	*out++ = 'T';
	out = put_two(out, (unsigned)second / 3600);
	*out++ = ':';
	out = put_two(out, (unsigned)second / 60 % 60);
	*out++ = ':';
	out = put_two(out, (unsigned)second % 60);
	if (fraction) {
		*out++ = '.';
		out = put_two(put_two(put_two(out, (unsigned)fraction / 10000), (unsigned)fraction / 100), (unsigned)fraction);
	}
	memcpy(out, "+00:00", sizeof "+00:00");
	return out + strlen("+00:00");
}

int64_t timestamp_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * US + now.tv_nsec / 1000;
}
