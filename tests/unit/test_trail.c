/* test_trail.c: digests, seals and checkpoints of the audit trail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trail.h"

static const char *row[TRAIL_COLUMNS];

static int begin(void **state)
{
	(void)state;
	for (int i = 0; i < TRAIL_COLUMNS; i++)
		row[i] = "1";
	row[TRAIL_AT] = "1795248308766307";
	return 0;
}

static void digest(unsigned char out[TRAIL_HASH])
{
	struct trail_key key;
	unsigned char packed[TRAIL_KEY], content[TRAIL_HASH];

	assert_true(trail_key_of(row, &key));
	trail_key_pack(&key, packed);
	assert_true(trail_content_hash(row, content));
	assert_true(trail_row_hash(packed, content, out));
}

static void every_column_counts_and_null_is_not_empty(void **state)
{
	unsigned char before[TRAIL_HASH], after[TRAIL_HASH], empty[TRAIL_HASH];

	(void)state;
	digest(before);
	for (int i = 0; i < TRAIL_COLUMNS; i++) {
		const char *was = row[i];

		row[i] = "2";
		digest(after);
		assert_memory_not_equal(before, after, TRAIL_HASH);
		if (i >= TRAIL_XID) {
			row[i] = "";
			digest(empty);
			row[i] = NULL;
			digest(after);
			assert_memory_not_equal(empty, after, TRAIL_HASH);
		}
		row[i] = was;
	}
	digest(after);
	assert_memory_equal(before, after, TRAIL_HASH);
}

static void bytes_do_not_move_between_columns(void **state)
{
	unsigned char before[TRAIL_HASH], after[TRAIL_HASH];

	(void)state;
	row[TRAIL_RESOURCE] = "ab";
	row[TRAIL_VERB] = "c";
	digest(before);
	row[TRAIL_RESOURCE] = "a";
	row[TRAIL_VERB] = "bc";
	digest(after);
	assert_memory_not_equal(before, after, TRAIL_HASH);
}

static void a_digest_is_what_the_format_says(void **state)
{
	/* made by tests/audit/verifier.mjs of the same row */
	static const char *const known = "f5bf39064fc07f31c714e39f43dc16bea524d243473da54562f1dc5cc5cb2e94";
	unsigned char hash[TRAIL_HASH];
	char hex[2 * TRAIL_HASH + 1];

	(void)state;
	row[TRAIL_PATH] = NULL;
	row[TRAIL_USER_AGENT] = "\xc3\xa4";
	digest(hash);
	trail_hex(hash, TRAIL_HASH, hex);
	assert_string_equal(hex, known);
}

static void keys_are_ordered_as_their_bytes_are(void **state)
{
	const struct trail_key keys[] = { { 0, 5, 9 }, { 0, 6, 1 }, { 1, 0, 0 }, { 256, 0, 0 } };
	unsigned char one[TRAIL_KEY], two[TRAIL_KEY];

	(void)state;
	for (size_t i = 0; i + 1 < sizeof keys / sizeof *keys; i++) {
		struct trail_key back;

		trail_key_pack(&keys[i], one);
		trail_key_pack(&keys[i + 1], two);
		assert_true(memcmp(one, two, TRAIL_KEY) < 0);
		back = trail_key_unpack(one);
		assert_true(back.account_id == keys[i].account_id && back.at_us == keys[i].at_us && back.id == keys[i].id);
	}
}

static void what_is_no_number_is_no_key(void **state)
{
	struct trail_key key;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const char *const bad[] = { "", "x", "1x", "99999999999999999999", NULL };

		for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
			const char *was = row[i];

			row[i] = bad[b];
			assert_false(trail_key_of(row, &key));
			row[i] = was;
		}
	}
}

static void a_checkpoint_has_one_text(void **state)
{
	struct trail_checkpoint c = { .number = 12, .seal = 345, .rows = 123456, .at_us = 1795248308766307 }, back;
	char text[TRAIL_TEXT_MAX], other[TRAIL_TEXT_MAX + 8];

	(void)state;
	memset(c.head, 0xab, TRAIL_HASH);
	const size_t len = trail_checkpoint_text(&c, text);
	assert_int_equal(len, strlen(text));
	assert_true(trail_checkpoint_parse(text, &back));
	assert_memory_equal(c.head, back.head, TRAIL_HASH);
	assert_true(back.number == 12 && back.seal == 345 && back.rows == 123456 && back.at_us == c.at_us);
	snprintf(other, sizeof other, "%s\n", text);
	assert_false(trail_checkpoint_parse(other, &back));
	snprintf(other, sizeof other, " %s", text);
	assert_false(trail_checkpoint_parse(other, &back));
	*strchr(text, 'a') = 'A';
	assert_false(trail_checkpoint_parse(text, &back));
	assert_false(trail_checkpoint_parse("", &back));
}

static void a_checkpoint_names_its_key_and_the_next(void **state)
{
	struct trail_checkpoint c = { .number = 7, .seal = 3, .rows = 9, .at_us = 1, .keyed = true }, back;
	EVP_PKEY *one = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *two = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	unsigned char signature[TRAIL_SIGNATURE];
	char text[TRAIL_TEXT_MAX];
	size_t len;

	(void)state;
	assert_true(one && two && trail_public_bytes(one, c.key) && trail_public_bytes(two, c.next));
	for (int step = 0; step < 3; step++) { /* without a key, as checkpoints were once; with it; with the next one */
		c.keyed = step > 0;
		c.changes = step > 1;
		len = trail_checkpoint_text(&c, text);
		assert_true(len < sizeof text && trail_checkpoint_parse(text, &back));
		assert_true(back.keyed == c.keyed && back.changes == c.changes);
		assert_memory_equal(back.key, c.keyed ? c.key : back.before, TRAIL_PUBLIC);
		assert_memory_equal(back.next, c.changes ? c.next : back.before, TRAIL_PUBLIC);
		assert_true(trail_sign(one, text, len, signature));
		assert_true(trail_key_follows(step < 2 ? one : two, text, signature));
		assert_false(trail_key_follows(step < 2 ? two : one, text, signature));
	}
	*strstr(text, "next_key ") = 'N';
	assert_false(trail_checkpoint_parse(text, &back));
	EVP_PKEY_free(one);
	EVP_PKEY_free(two);
}

static void a_signature_is_of_one_text_and_one_key(void **state)
{
	char folder[] = "/tmp/postern-trail-XXXXXX", private[64], public[64], other[64];
	unsigned char signature[TRAIL_SIGNATURE];
	const char *why = NULL;
	struct stat st;
	EVP_PKEY *key, *open;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(private, sizeof private, "%s/key", folder);
	snprintf(public, sizeof public, "%s/pub", folder);
	snprintf(other, sizeof other, "%s/other", folder);
	assert_non_null(key = trail_make_key(private, &why));
	assert_int_equal(stat(private, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_null(trail_make_key(private, &why)); /* nothing that is there is replaced */
	assert_non_null(why);
	assert_true(trail_publish(key, public, &why));
	assert_int_equal(stat(public, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_true(trail_publish(key, public, &why)); /* again: it is there */
	open = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_true(trail_publish(open, public, &why)); /* another one's is replaced */
	EVP_PKEY_free(open);
	assert_true(trail_publish(key, public, &why));
	EVP_PKEY_free(key);
	key = trail_private_key(private, &why);
	open = trail_public_key(public, &why);
	assert_non_null(key);
	assert_non_null(open);
	assert_true(trail_sign(key, "text", 4, signature));
	assert_true(trail_verify(open, "text", 4, signature));
	assert_false(trail_verify(open, "test", 4, signature));
	signature[10] ^= 1;
	assert_false(trail_verify(open, "text", 4, signature));
	assert_null(trail_private_key(public, &why));
	assert_non_null(why);
	assert_null(trail_public_key(other, &why));
	assert_non_null(why);
	EVP_PKEY_free(key);
	EVP_PKEY_free(open);
	unlink(private);
	unlink(public);
	rmdir(folder);
}

static void hexadecimal_is_taken_whole_or_not(void **state)
{
	unsigned char bytes[2];

	(void)state;
	assert_true(trail_unhex("00ff", bytes, 2));
	assert_int_equal(bytes[1], 255);
	assert_false(trail_unhex("00f", bytes, 2));
	assert_false(trail_unhex("00FF", bytes, 2));
	assert_false(trail_unhex("00fg", bytes, 2));
	assert_false(trail_unhex("00ff00", bytes, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_column_counts_and_null_is_not_empty, begin),
		cmocka_unit_test_setup(bytes_do_not_move_between_columns, begin),
		cmocka_unit_test_setup(a_digest_is_what_the_format_says, begin),
		cmocka_unit_test(keys_are_ordered_as_their_bytes_are),
		cmocka_unit_test_setup(what_is_no_number_is_no_key, begin),
		cmocka_unit_test(a_checkpoint_has_one_text),
		cmocka_unit_test(a_checkpoint_names_its_key_and_the_next),
		cmocka_unit_test(a_signature_is_of_one_text_and_one_key),
		cmocka_unit_test(hexadecimal_is_taken_whole_or_not),
	};

	return cmocka_run_group_tests_name("trail", tests, NULL, NULL);
}
