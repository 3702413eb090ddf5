/* test_x509info.c: certificates are read as they are, and each way of being wrong is told with its field and remedy. Made here. */
#include "x509info.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define DAY ((int64_t)86400 * 1000000)
static const int64_t now = 1800000000 * (int64_t)1000000; /* 2027-01-15T08:00:00Z */
static struct arena *arena;
static struct x509info info;
static struct x509fault fault;

/* Who signs, and what was made. */
struct made {
	EVP_PKEY *key;
	X509 *certificate;
};

static void extend(X509 *one, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	X509_add_ext(one, e, -1);
	X509_EXTENSION_free(e);
}

static struct made make(EVP_PKEY *key, const char *name, const char *names, int from_days, int to_days, const struct made *signer)
{
	struct made m = { key, X509_new() };
	time_t base = (time_t)(now / 1000000);

	X509_set_version(m.certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(m.certificate), 0x3bc1);
	X509_time_adj_ex(X509_getm_notBefore(m.certificate), from_days, 0, &base);
	X509_time_adj_ex(X509_getm_notAfter(m.certificate), to_days, 0, &base);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(m.certificate), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(m.certificate, X509_get_subject_name(signer ? signer->certificate : m.certificate));
	X509_set_pubkey(m.certificate, key);
	if (names)
		extend(m.certificate, NID_subject_alt_name, names);
	else
		extend(m.certificate, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(m.certificate, signer ? signer->key : key, EVP_sha256()) > 0);
	return m;
}
static void done(struct made *m)
{
	X509_free(m->certificate);
	EVP_PKEY_free(m->key);
}
static const char *take(BIO *bio)
{
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);
	const char *text = arena_strndup(arena, bytes, (size_t)len);

	BIO_free(bio);
	return text;
}
static const char *pem(const struct made *m)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, m->certificate);
	return take(bio);
}
static const char *key_pem(const struct made *m)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, m->key, NULL, NULL, 0, NULL, NULL);
	return take(bio);
}
static const char *both(const char *a, const char *b)
{
	return arena_printf(arena, "%s%s", a, b);
}

static struct made root, middle, leaf;

static int begin(void **state)
{
	(void)state;
	arena = arena_new();
	root = make(EVP_EC_gen("P-256"), "Root", NULL, -100, 3650, NULL);
	middle = make(EVP_EC_gen("P-256"), "Middle", NULL, -100, 3650, &root);
	leaf = make(EVP_EC_gen("P-256"), "example.org", "DNS:Example.ORG,DNS:*.example.org,IP:192.0.2.1,email:a@example.org", -10, 80, &middle);
	return 0;
}
static int end(void **state)
{
	(void)state;
	done(&leaf);
	done(&middle);
	done(&root);
	arena_free(arena);
	return 0;
}

static void refused(const char *certificate, const char *chain, const char *key, const char *field, const char *word)
{
	assert_false(x509info_read(arena, certificate, chain, key, now, &info, &fault));
	assert_string_equal(fault.field, field);
	if (!strstr(fault.message, word))
		fail_msg("\"%s\" does not say \"%s\"", fault.message, word);
}

static void what_it_says_is_told(void **state)
{
	(void)state;
	assert_true(x509info_read(arena, both(pem(&leaf), pem(&middle)), NULL, key_pem(&leaf), now, &info, &fault));
	assert_string_equal(info.subject, "CN=example.org");
	assert_string_equal(info.issuer, "CN=Middle");
	assert_string_equal(info.serial, "3bc1");
	assert_string_equal(info.key_type, "EC P-256");
	assert_int_equal(strlen(info.fingerprint_sha256), 64);
	assert_int_equal(info.name_count, 2);
	assert_string_equal(info.names[0], "example.org");
	assert_string_equal(info.names[1], "*.example.org");
	assert_true(info.not_before_us == now - 10 * DAY && info.not_after_us == now + 80 * DAY);
	assert_string_equal(info.fullchain, both(pem(&leaf), pem(&middle)));
	assert_true(x509info_matches(info.fullchain, info.key));
	assert_false(x509info_matches(pem(&middle), info.key));
	assert_true(x509info_read(arena, pem(&leaf), both(pem(&middle), pem(&root)), NULL, now, &info, &fault));
	assert_null(info.key);
}

static void comments_around_the_blocks_are_dropped(void **state)
{
	(void)state;
	const char *dressed = arena_printf(arena, "subject=CN = x\nBag Attributes\n%s\n# the end", pem(&leaf));
	assert_true(x509info_read(arena, dressed, "", both("Key:\n", key_pem(&leaf)), now, &info, &fault));
	assert_string_equal(info.fullchain, pem(&leaf));
	assert_memory_equal(info.key, "-----BEGIN PRIVATE KEY-----\n", 28);
}

static void chains_are_judged_by_who_signed(void **state)
{
	(void)state;
	struct made self = make(EVP_EC_gen("P-256"), "self.example", "DNS:self.example", -1, 10, NULL);
	assert_string_equal(x509info_chain(pem(&self)), "self_signed");
	assert_string_equal(x509info_chain(pem(&leaf)), "incomplete");
	assert_string_equal(x509info_chain(both(pem(&leaf), pem(&middle))), "unknown");
	assert_string_equal(x509info_chain(arena_printf(arena, "%s%s%s", pem(&leaf), pem(&middle), pem(&root))), "unknown");
	done(&self);
}

static void a_wrong_order_is_told(void **state)
{
	(void)state;
	refused(both(pem(&middle), pem(&leaf)), NULL, key_pem(&leaf), "certificate", "must come first");
	refused(both(pem(&middle), pem(&leaf)), NULL, NULL, "certificate", "must come first");
	refused(pem(&leaf), both(pem(&root), pem(&middle)), key_pem(&leaf), "chain", "out of order");
	refused(pem(&leaf), pem(&root), key_pem(&leaf), "chain", "out of order");
	refused(both(pem(&leaf), pem(&root)), pem(&middle), key_pem(&leaf), "certificate", "out of order");
	/* the same name does not make it the one that signed */
	struct made other = make(EVP_EC_gen("P-256"), "Middle", NULL, -100, 3650, &root);
	refused(pem(&leaf), pem(&other), key_pem(&leaf), "chain", "out of order");
	done(&other);
}

static void a_key_of_another_certificate_is_told(void **state)
{
	(void)state;
	struct made other = make(EVP_RSA_gen(2048), "example.org", "DNS:example.org", -1, 10, &middle);
	refused(pem(&leaf), NULL, key_pem(&other), "private_key", "not the key of this certificate");
	refused(pem(&leaf), NULL, key_pem(&middle), "private_key", "not the key");
	assert_true(x509info_read(arena, pem(&other), pem(&middle), key_pem(&other), now, &info, &fault));
	assert_string_equal(info.key_type, "RSA 2048");
	refused(pem(&leaf), NULL, pem(&leaf), "private_key", "must be a private key");
	refused(pem(&leaf), NULL, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "private_key", "passphrase");
	done(&other);
}

static void time_is_an_argument(void **state)
{
	(void)state;
	assert_true(x509info_read(arena, pem(&leaf), NULL, NULL, now + 80 * DAY - 1, &info, &fault));
	assert_false(x509info_read(arena, pem(&leaf), NULL, NULL, now + 80 * DAY, &info, &fault));
	assert_non_null(strstr(fault.message, "expired at 2027-04-05"));
	assert_false(x509info_read(arena, pem(&leaf), NULL, NULL, now - 10 * DAY - 1, &info, &fault));
	assert_non_null(strstr(fault.message, "not valid before"));
}

static void what_browsers_refuse_is_told(void **state)
{
	(void)state;
	struct made weak = make(EVP_RSA_gen(1024), "example.org", "DNS:example.org", -1, 10, &middle);
	struct made nameless = make(EVP_EC_gen("P-256"), "example.org", "email:a@example.org", -1, 10, &middle);
	refused(pem(&weak), NULL, NULL, "certificate", "2048 bits");
	refused(pem(&nameless), NULL, NULL, "certificate", "names no host");
	done(&weak);
	done(&nameless);
}

static void what_is_no_certificate_is_told(void **state)
{
	(void)state;
	const char *many = "";
	char broken[2000];

	refused("", NULL, NULL, "certificate", "must be a certificate");
	refused("hello", NULL, NULL, "certificate", "must be a certificate");
	refused(pem(&leaf), "hello", NULL, "chain", "must be a certificate");
	refused(both(pem(&leaf), key_pem(&leaf)), NULL, NULL, "certificate", "belongs into private_key");
	refused("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", NULL, NULL, "certificate", "is damaged");
	refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NULL, NULL, "certificate", "no certificate");
	refused("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", NULL, NULL, "certificate", "no certificate");
	snprintf(broken, sizeof broken, "%.*s", 300, pem(&leaf));
	refused(broken, NULL, NULL, "certificate", "");
	for (int i = 0; i < 11; i++)
		many = both(many, pem(&leaf));
	refused(many, NULL, NULL, "certificate", "10 parts");
}

/* Every single change of a byte is refused or still a certificate: nothing is read beyond its end. */
static void damaged_texts_do_no_harm(void **state)
{
	(void)state;
	const char *good = both(pem(&leaf), pem(&middle));
	char text[4000];

	for (size_t i = 0; good[i]; i += 3) {
		snprintf(text, sizeof text, "%s", good);
		text[i] = text[i] == 'A' ? 'B' : 'A';
		x509info_read(arena, text, NULL, NULL, now, &info, &fault);
		text[i] = '\0';
		x509info_read(arena, text, NULL, NULL, now, &info, &fault);
		arena_reset(arena);
		good = both(pem(&leaf), pem(&middle));
	}
}

static void a_request_holds_its_names(void **state)
{
	(void)state;
	static const char *const names[] = { "example.org", "www.example.org" };
	const char *key, *request, *long_name[] = { "a234567890123456789012345678901234567890123456789012345678901234.example.org" };
	BIO *bio;
	X509_REQ *read;
	STACK_OF(X509_EXTENSION) *extensions;

	assert_true(x509info_request(arena, names, 2, false, &key, &request));
	bio = BIO_new_mem_buf(request, -1);
	read = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	assert_non_null(read);
	assert_int_equal(X509_REQ_verify(read, X509_REQ_get0_pubkey(read)), 1);
	extensions = X509_REQ_get_extensions(read);
	assert_int_equal(sk_X509_EXTENSION_num(extensions), 1);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(read);
	BIO_free(bio);
	assert_true(x509info_request(arena, long_name, 1, true, &key, &request));
	assert_false(x509info_request(arena, names, 0, false, &key, &request));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_it_says_is_told, begin, end),
		cmocka_unit_test_setup_teardown(comments_around_the_blocks_are_dropped, begin, end),
		cmocka_unit_test_setup_teardown(chains_are_judged_by_who_signed, begin, end),
		cmocka_unit_test_setup_teardown(a_wrong_order_is_told, begin, end),
		cmocka_unit_test_setup_teardown(a_key_of_another_certificate_is_told, begin, end),
		cmocka_unit_test_setup_teardown(time_is_an_argument, begin, end),
		cmocka_unit_test_setup_teardown(what_browsers_refuse_is_told, begin, end),
		cmocka_unit_test_setup_teardown(what_is_no_certificate_is_told, begin, end),
		cmocka_unit_test_setup_teardown(damaged_texts_do_no_harm, begin, end),
		cmocka_unit_test_setup_teardown(a_request_holds_its_names, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
