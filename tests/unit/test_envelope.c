/* test_envelope.c: what is sealed opens with the worker's key alone, and unchanged alone. */
#include "envelope.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct arena *arena;
static char folder[] = "/tmp/postern-seal-XXXXXX", key[64], public[64], other[64], other_public[64];
static const char *why;
static size_t len;

static int begin(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(key, sizeof key, "%s/key", folder);
	snprintf(public, sizeof public, "%s/worker.pem", folder);
	snprintf(other, sizeof other, "%s/other", folder);
	snprintf(other_public, sizeof other_public, "%s/other.pem", folder);
	arena = arena_new();
	return envelope_create(key, public) && envelope_create(other, other_public) ? 0 : -1;
}
static int end(void **state)
{
	const char *files[] = { key, public, other, other_public };
	(void)state;
	for (size_t i = 0; i < 4; i++)
		unlink(files[i]);
	arena_free(arena);
	return rmdir(folder);
}

static void the_key_is_the_workers_alone_and_its_certificate_everybodys(void **state)
{
	struct stat st;
	(void)state;
	assert_true(stat(key, &st) == 0 && (st.st_mode & 0777) == 0600);
	assert_true(stat(public, &st) == 0 && (st.st_mode & 0777) == 0644);
}

static void what_is_closed_opens_again(void **state)
{
	static char large[60000];
	const char *texts[] = { "{}", "{\"private_key\":\"x\"}", large };
	(void)state;
	memset(large, 'k', sizeof large - 1);
	for (size_t i = 0; i < 3; i++) {
		unsigned char *sealed = envelope_close(arena, public, texts[i], &len, &why);
		assert_non_null(sealed);
		assert_null(memmem(sealed, len, "private_key", 11));
		assert_string_equal(envelope_open(arena, key, sealed, len, &why), texts[i]);
	}
}

static void a_key_stays_when_its_certificate_is_made_anew(void **state)
{
	size_t before_len;
	unsigned char *before = envelope_close(arena, public, "{\"a\":1}", &before_len, &why), *after;
	(void)state;
	unlink(public);
	assert_null(envelope_close(arena, public, "{}", &len, &why));
	assert_non_null(strstr(why, "postern init"));
	assert_true(envelope_create(key, public));
	after = envelope_close(arena, public, "{\"a\":2}", &len, &why);
	assert_string_equal(envelope_open(arena, key, after, len, &why), "{\"a\":2}");
	assert_string_equal(envelope_open(arena, key, before, before_len, &why), "{\"a\":1}");
}

static void no_other_key_opens_it(void **state)
{
	unsigned char *sealed = envelope_close(arena, public, "{}", &len, &why);
	(void)state;
	assert_null(envelope_open(arena, other, sealed, len, &why));
	assert_non_null(strstr(why, "ask for the change again"));
}

static void what_was_changed_does_not_open(void **state)
{
	unsigned char *sealed = envelope_close(arena, public, "{\"private_key\":\"secret\"}", &len, &why);
	(void)state;
	for (size_t i = 0; i < len; i++) {
		char *text;
		sealed[i] ^= 0x10;
		text = envelope_open(arena, key, sealed, len, &why);
		assert_true(!text || strcmp(text, "{\"private_key\":\"secret\"}") == 0); /* some octets say nothing of the content */
		sealed[i] ^= 0x10;
	}
	for (size_t i = 0; i < len; i += 7)
		assert_null(envelope_open(arena, key, sealed, i, &why));
}

static void a_key_that_others_may_read_is_not_used(void **state)
{
	unsigned char *sealed = envelope_close(arena, public, "{}", &len, &why);
	(void)state;
	assert_int_equal(chmod(key, 0640), 0);
	assert_null(envelope_open(arena, key, sealed, len, &why));
	assert_non_null(strstr(why, "chmod 600"));
	assert_int_equal(chmod(key, 0600), 0);
	assert_null(envelope_open(arena, "/nonexistent/key", sealed, len, &why));
	assert_non_null(strstr(why, "no key yet"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_is_the_workers_alone_and_its_certificate_everybodys),
		cmocka_unit_test(what_is_closed_opens_again),
		cmocka_unit_test(a_key_stays_when_its_certificate_is_made_anew),
		cmocka_unit_test(no_other_key_opens_it),
		cmocka_unit_test(what_was_changed_does_not_open),
		cmocka_unit_test(a_key_that_others_may_read_is_not_used),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
