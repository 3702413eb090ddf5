/* test_token.c: the shape of tokens, their digests, and the peppers under them. Expected values are from Python's
 * zlib and hmac. */
#include "token.h"

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

#define SAMPLE "pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV4Dnd2X"
#define HEX32 "000102030405060708090a0b0c0d0e0f"
#define HEX64 HEX32 "101112131415161718191a1b1c1d1e1f"
#define OTHER64 HEX32 HEX32

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static char key_id[TOKEN_KEY_ID_LEN + 1], secret[TOKEN_SECRET_LEN + 1];

static char folder[] = "/tmp/postern-test-token-XXXXXX", path[64];

static int open_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/pepper", folder);
	return 0;
}

static int close_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int forget(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void write_peppers(const char *text, mode_t mode)
{
	unlink(path);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fputs(text, file) >= 0, 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void loads(const char *text, size_t count, struct peppers *peppers)
{
	const char *why = "unset";
	write_peppers(text, 0640);
	if (!peppers_load(path, peppers, &why))
		fail_msg("%s", why);
	assert_int_equal(peppers->count, count);
}

static void does_not_load(const char *word)
{
	struct peppers peppers;
	static const struct peppers none;
	const char *why = NULL;
	memset(&peppers, 0xa5, sizeof peppers);
	assert_false(peppers_load(path, &peppers, &why));
	assert_non_null(why);
	if (!strstr(why, word))
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	assert_memory_equal(&peppers, &none, sizeof none);
	peppers_free(&peppers);
}

/* CRC-32 bit by bit, another way than the library's. */
static uint32_t crc32_of(const char *text)
{
	uint32_t crc = 0xffffffff;
	for (; *text; text++) {
		crc ^= (unsigned char)*text;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* text and its checksum */
static const char *sealed(const char *text)
{
	static char whole[256];
	uint32_t crc = crc32_of(text);
	char digits[7] = "";
	for (int i = 6; i-- > 0; crc /= 62)
		digits[i] = base62[crc % 62];
	snprintf(whole, sizeof whole, "%s%s", text, digits);
	return whole;
}

static void reads_as(const char *text, enum token_shape shape)
{
	memset(key_id, 'x', sizeof key_id);
	memset(secret, 'x', sizeof secret);
	enum token_shape got = token_read(text, key_id, secret);
	if (got != shape)
		fail_msg("%s reads as %d", text, (int)got);
	if (shape != TOKEN_WELL_FORMED) {
		assert_string_equal(key_id, "");
		assert_string_equal(secret, "");
	}
}

static void the_checksum_is_the_crc_of_zlib(void **state)
{
	(void)state;
	assert_true(crc32_of("123456789") == 0xcbf43926);
	reads_as(SAMPLE, TOKEN_WELL_FORMED);
	assert_string_equal(key_id, "Ab3dEf7h");
	assert_string_equal(secret, "0123456789ABCDEFGHIJKLMNOPQRSTUV");
	reads_as("pst_00000000_0000000000000000000000000000000023C4Za", TOKEN_WELL_FORMED);
	reads_as("abcdefghi9_zzzzzzzz_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz4LFOy0", TOKEN_WELL_FORMED);
	reads_as("pst_00000143_0000000000000000000000000000000000TA0J", TOKEN_WELL_FORMED); /* padded */
}

static void any_changed_character_breaks_the_checksum(void **state)
{
	(void)state;
	size_t changed = 0;
	for (size_t i = 4; i < strlen(SAMPLE); i++) {
		if (i == 12)
			continue; /* the second '_' */
		for (const char *c = base62; *c; c++) {
			char text[] = SAMPLE;
			if (text[i] == *c)
				continue;
			text[i] = *c;
			reads_as(text, TOKEN_BAD_CHECKSUM);
			changed++;
		}
	}
	assert_int_equal(changed, 46 * 61);
	reads_as("psu_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV4Dnd2X", TOKEN_BAD_CHECKSUM);
}

static void other_shapes_are_malformed_though_their_checksum_fits(void **state)
{
	(void)state;
	static const char *const bodies[] = {
		"p_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",           /* prefix too short */
		"abcdefghijk_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV", /* too long */
		"1st_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"Pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"pS_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"pst-Ab3dEf7h-0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"pst_Ab3dEf7_0123456789ABCDEFGHIJKLMNOPQRSTUV",          /* key id */
		"pst_Ab3dEf7hh_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"pst_Ab3d-f7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTU",          /* secret */
		"pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUVW",
		"pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRST+V",
		"pst_Ab3dEf7h__0123456789ABCDEFGHIJKLMNOPQRSTUV",
		" pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUV",
		"pst_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRST\xc3\xa9",
	};
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
		reads_as(sealed(bodies[i]), TOKEN_MALFORMED);
	reads_as("", TOKEN_MALFORMED);
	reads_as("pst", TOKEN_MALFORMED);
	reads_as("pst_", TOKEN_MALFORMED);
	reads_as("pst_Ab3dEf7h", TOKEN_MALFORMED);
	reads_as("pst_Ab3dEf7h_", TOKEN_MALFORMED);
	reads_as(SAMPLE " ", TOKEN_MALFORMED);
	reads_as(SAMPLE "\n", TOKEN_MALFORMED);
	reads_as(SAMPLE "0", TOKEN_MALFORMED);
	reads_as("Bearer " SAMPLE, TOKEN_MALFORMED);
}

static void every_beginning_of_a_token_is_malformed(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(SAMPLE); len++) {
		char *text = strndup(SAMPLE, len);
		assert_non_null(text);
		reads_as(text, TOKEN_MALFORMED);
		free(text);
	}
}

static void minted_tokens_read_back_and_differ(void **state)
{
	(void)state;
	char text[TOKEN_TEXT_MAX], id[TOKEN_KEY_ID_LEN + 1], value[TOKEN_SECRET_LEN + 1], last[TOKEN_TEXT_MAX] = "";
	for (int i = 0; i < 200; i++) {
		assert_true(token_mint("pst", text, id, value));
		assert_memory_equal(text, "pst_", 4);
		assert_int_equal(strlen(text), 51);
		reads_as(text, TOKEN_WELL_FORMED);
		assert_string_equal(key_id, id);
		assert_string_equal(secret, value);
		assert_string_not_equal(text, last);
		memcpy(last, text, sizeof last);
	}
	assert_true(token_mint("ab", text, id, value));
	assert_true(token_mint("abcdefghi9", text, id, value));
	assert_int_equal(strlen(text), 58);
	reads_as(text, TOKEN_WELL_FORMED);
}

static void all_letters_of_the_alphabet_are_minted_alike(void **state)
{
	(void)state;
	size_t seen[256] = { 0 };
	char text[TOKEN_TEXT_MAX], id[TOKEN_KEY_ID_LEN + 1], value[TOKEN_SECRET_LEN + 1];
	for (int i = 0; i < 4000; i++) {
		assert_true(token_mint("pst", text, id, value));
		for (const char *c = value; *c; c++)
			seen[(unsigned char)*c]++;
	}
	/* 2065 of each are expected; the bounds are 9 standard deviations off. "% 62" would give the first eight 2500. */
	for (const char *c = base62; *c; c++)
		assert_in_range(seen[(unsigned char)*c], 1665, 2465);
}

static void bad_prefixes_mint_nothing(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "p", "Pst", "1st", "pst_", "p-t", "abcdefghijk", "pst ", "pät" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[TOKEN_TEXT_MAX] = "left over";
		assert_false(token_mint(bad[i], text, key_id, secret));
		assert_string_equal(text, "");
		assert_string_equal(key_id, "");
		assert_string_equal(secret, "");
	}
}

static void assert_hex(const unsigned char *bytes, const char *hex)
{
	char text[2 * TOKEN_DIGEST_LEN + 1];
	for (size_t i = 0; i < TOKEN_DIGEST_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	assert_string_equal(text, hex);
}

static void the_digest_is_hmac_sha256_of_key_id_and_secret(void **state)
{
	(void)state;
	struct peppers peppers;
	unsigned char digest[TOKEN_DIGEST_LEN];
	loads("a:" HEX64 "\n", 1, &peppers);
	assert_true(token_digest(&peppers.item[0], "Ab3dEf7h", "0123456789ABCDEFGHIJKLMNOPQRSTUV", digest));
	assert_hex(digest, "d12452463fe9dcaaa023955447308af232d686c1323f3992ff229d30c3af7c52");
	peppers_free(&peppers);
}

static void digests_depend_on_pepper_key_id_and_secret(void **state)
{
	(void)state;
	struct peppers peppers;
	unsigned char one[TOKEN_DIGEST_LEN], other[TOKEN_DIGEST_LEN];
	loads("a:" HEX64 "\nb:" OTHER64 "\n", 2, &peppers);
	const char *value = "0123456789ABCDEFGHIJKLMNOPQRSTUV";
	assert_true(token_digest(&peppers.item[0], "Ab3dEf7h", value, one));
	assert_true(token_digest(&peppers.item[1], "Ab3dEf7h", value, other));
	assert_memory_not_equal(one, other, sizeof one);
	assert_true(token_digest(&peppers.item[0], "Ab3dEf7i", value, other));
	assert_memory_not_equal(one, other, sizeof one);
	assert_true(token_digest(&peppers.item[0], "Ab3dEf7h", "0123456789ABCDEFGHIJKLMNOPQRSTUW", other));
	assert_memory_not_equal(one, other, sizeof one);
	peppers_free(&peppers);
}

static void halves_of_a_wrong_length_have_no_digest(void **state)
{
	(void)state;
	static const struct pepper pepper;
	static const unsigned char none[TOKEN_DIGEST_LEN];
	unsigned char digest[TOKEN_DIGEST_LEN];
	memset(digest, 0xa5, sizeof digest);
	assert_false(token_digest(&pepper, "", "", digest));
	assert_false(token_digest(&pepper, "Ab3dEf7", "h0123456789ABCDEFGHIJKLMNOPQRSTUV", digest));
	assert_memory_equal(digest, none, sizeof none);
}

static void signatures_are_separate_by_purpose_and_need_a_pepper(void **state)
{
	(void)state;
	struct peppers peppers;
	unsigned char one[TOKEN_DIGEST_LEN], other[TOKEN_DIGEST_LEN];
	loads("a:" HEX64 "\n", 1, &peppers);
	assert_true(token_sign(&peppers, "cursor", "hello", 5, one));
	assert_hex(one, "8764c3ee1eb72367a156139e7308e3e5ae5c487416308d051abeb739f11c87f7");
	assert_true(token_sign(&peppers, "other", "hello", 5, other));
	assert_memory_not_equal(one, other, sizeof one);
	assert_true(token_sign(&peppers, "cursor", "hello!", 6, other));
	assert_memory_not_equal(one, other, sizeof one);
	assert_true(token_sign(&peppers, "cursor", "", 0, other));

	peppers_free(&peppers);
	assert_false(token_sign(&peppers, "cursor", "hello", 5, one));
	static const unsigned char none[TOKEN_DIGEST_LEN];
	assert_memory_equal(one, none, sizeof none);
}

static void a_copy_signs_and_digests_the_same_and_outlives_its_original(void **state)
{
	(void)state;
	struct peppers peppers, copy;
	unsigned char one[TOKEN_DIGEST_LEN], other[TOKEN_DIGEST_LEN];
	loads("a:" HEX64 "\nb:" OTHER64 "\n", 2, &peppers);
	assert_true(token_sign(&peppers, "cursor", "hello", 5, one));
	assert_true(peppers_copy(&copy, &peppers));
	peppers_free(&peppers);
	assert_int_equal(copy.count, 2);
	assert_string_equal(copy.item[1].id, "b");
	for (int i = 0; i < 2; i++) {
		assert_true(token_sign(&copy, "cursor", "hello", 5, other));
		assert_memory_equal(one, other, sizeof one);
	}
	assert_true(token_digest(&copy.item[0], "Ab3dEf7h", "0123456789ABCDEFGHIJKLMNOPQRSTUV", other));
	assert_hex(other, "d12452463fe9dcaaa023955447308af232d686c1323f3992ff229d30c3af7c52");
	peppers_free(&copy);
}

static void wiping_leaves_zeros(void **state)
{
	(void)state;
	char text[] = SAMPLE;
	static const char none[sizeof text];
	token_wipe(text, sizeof text);
	assert_memory_equal(text, none, sizeof text);
}

static void a_pepper_file_holds_one_or_two_peppers(void **state)
{
	(void)state;
	struct peppers peppers;
	unsigned char digest[TOKEN_DIGEST_LEN];
	loads("# current\n\n  new1:" HEX64 "  \r\n"
	      "old0:000102030405060708090A0B0C0D0E0F000102030405060708090A0B0C0D0E0F", 2, &peppers);
	assert_string_equal(peppers.item[0].id, "new1");
	assert_string_equal(peppers.item[1].id, "old0");
	assert_true(token_digest(&peppers.item[0], "Ab3dEf7h", "0123456789ABCDEFGHIJKLMNOPQRSTUV", digest));
	assert_hex(digest, "d12452463fe9dcaaa023955447308af232d686c1323f3992ff229d30c3af7c52");
	assert_true(token_digest(&peppers.item[1], "Ab3dEf7h", "0123456789ABCDEFGHIJKLMNOPQRSTUV", digest));
	assert_hex(digest, "b5377fd33e2396589517dc2c43ecada515c29776665ae2dab067666131057970");
	peppers_free(&peppers);
	loads("0123456789abcdef:" HEX64, 1, &peppers);
	assert_string_equal(peppers.item[0].id, "0123456789abcdef");
	peppers_free(&peppers);
}

static void broken_pepper_files_load_nothing(void **state)
{
	(void)state;
	static const struct { const char *text, *word; } bad[] = {
		{ "", "no pepper" },
		{ "# nothing\n", "no pepper" },
		{ HEX64 "\n", "64 hex digits" },
		{ ":" HEX64 "\n", "64 hex digits" },
		{ "a:" HEX32 "\n", "64 hex digits" },
		{ "a:" HEX64 "0\n", "64 hex digits" },
		{ "a:" HEX64 " b\n", "64 hex digits" },
		{ "a:" HEX32 "000102030405060708090a0b0c0d0e0g\n", "64 hex digits" },
		{ "a :" HEX64 "\n", "64 hex digits" },
		{ "A:" HEX64 "\n", "64 hex digits" },
		{ "0123456789abcdefg:" HEX64 "\n", "64 hex digits" },
		{ "a:" HEX64 "\nb:\n", "64 hex digits" },
		{ "a:" HEX64 "\na:" OTHER64 "\n", "one id twice" },
		{ "a:" HEX64 "\nb:" HEX64 "\nc:" HEX64 "\n", "more than two" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_peppers(bad[i].text, 0600);
		does_not_load(bad[i].word);
	}
}

static void a_pepper_file_open_to_others_is_refused(void **state)
{
	(void)state;
	static const mode_t open_modes[] = { 0644, 0604, 0602, 0601, 0647 };
	for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
		write_peppers("a:" HEX64 "\n", open_modes[i]);
		does_not_load("chmod o-rwx");
	}
	struct peppers peppers;
	const char *why;
	write_peppers("a:" HEX64 "\n", 0600);
	assert_true(peppers_load(path, &peppers, &why));
	assert_null(why);
	peppers_free(&peppers);
}

static void what_is_no_regular_file_of_text_is_refused(void **state)
{
	(void)state;
	unlink(path);
	does_not_load("cannot be opened");
	assert_int_equal(mkdir(path, 0700), 0);
	does_not_load("not a regular file");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	does_not_load("not a regular file"); /* and does not wait for a writer */
	assert_int_equal(unlink(path), 0);

	char large[5000];
	memset(large, '#', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	write_peppers(large, 0600);
	does_not_load("4 KiB");
	write_peppers("a:" HEX64 "\n", 0600);
	FILE *file = fopen(path, "a");
	assert_non_null(file);
	fputc('\0', file);
	fclose(file);
	does_not_load("4 KiB");
}

static void a_created_pepper_is_random_private_and_loads(void **state)
{
	(void)state;
	struct peppers first, second;
	const char *why;
	struct stat about;
	mode_t mask = umask(077);
	assert_true(peppers_create(path));
	umask(mask);
	assert_int_equal(stat(path, &about), 0);
	assert_int_equal(about.st_mode & 07777, 0640);
	assert_true(peppers_load(path, &first, &why));
	assert_int_equal(first.count, 1);
	unlink(path);
	assert_true(peppers_create(path));
	assert_true(peppers_load(path, &second, &why));
	unsigned char one[TOKEN_DIGEST_LEN], other[TOKEN_DIGEST_LEN];
	assert_true(token_sign(&first, "test", "", 0, one) && token_sign(&second, "test", "", 0, other));
	assert_memory_not_equal(one, other, sizeof one);
	assert_string_not_equal(first.item[0].id, second.item[0].id);
	peppers_free(&first);
	peppers_free(&second);
}

static void an_existing_pepper_file_is_never_overwritten(void **state)
{
	(void)state;
	struct peppers peppers;
	const char *why;
	write_peppers("a:" HEX64 "\n", 0600);
	assert_false(peppers_create(path));
	assert_true(peppers_load(path, &peppers, &why));
	assert_string_equal(peppers.item[0].id, "a");
	unlink(path);
	assert_int_equal(symlink("/nonexistent/pepper", path), 0);
	assert_false(peppers_create(path));
	peppers_free(&peppers);
}

static void a_pepper_cannot_be_created_where_there_is_no_folder(void **state)
{
	(void)state;
	assert_false(peppers_create("/nonexistent/pepper"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, forget)
	const struct CMUnitTest tests[] = {
		TEST(the_checksum_is_the_crc_of_zlib),
		TEST(any_changed_character_breaks_the_checksum),
		TEST(other_shapes_are_malformed_though_their_checksum_fits),
		TEST(every_beginning_of_a_token_is_malformed),
		TEST(minted_tokens_read_back_and_differ),
		TEST(all_letters_of_the_alphabet_are_minted_alike),
		TEST(bad_prefixes_mint_nothing),
		TEST(the_digest_is_hmac_sha256_of_key_id_and_secret),
		TEST(digests_depend_on_pepper_key_id_and_secret),
		TEST(halves_of_a_wrong_length_have_no_digest),
		TEST(signatures_are_separate_by_purpose_and_need_a_pepper),
		TEST(a_copy_signs_and_digests_the_same_and_outlives_its_original),
		TEST(wiping_leaves_zeros),
		TEST(a_pepper_file_holds_one_or_two_peppers),
		TEST(broken_pepper_files_load_nothing),
		TEST(a_pepper_file_open_to_others_is_refused),
		TEST(what_is_no_regular_file_of_text_is_refused),
		TEST(a_created_pepper_is_random_private_and_loads),
		TEST(an_existing_pepper_file_is_never_overwritten),
		TEST(a_pepper_cannot_be_created_where_there_is_no_folder),
	};
	return cmocka_run_group_tests_name("token", tests, open_folder, close_folder);
}
