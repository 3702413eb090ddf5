/* x509info.c: see x509info.h. */
#include "x509info.h"

#include <ctype.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "timestamp.h"
#include "token.h"

enum { SECURITY_BITS_MIN = 112, RSA_BITS = 2048, DAY_S = 86400, SELF_SIGNED_DAYS = 36500, NAME_BYTES_MAX = 253, COMMON_NAME_MAX = 64, TEXT_BYTES_MAX = 1000 };

static bool fail(struct x509fault *fault, const char *field, const char *message)
{
	*fault = (struct x509fault){ field, message };
	return false;
}

/* OpenSSL asks for a passphrase on the terminal unless it is given one. */
static int no_passphrase(char *out, int size, int writing, void *user)
{
	(void)out, (void)size, (void)writing, (void)user;
	return -1;
}

/* What a memory BIO holds, as text in the arena. It is freed, and wiped where it held a key. */
static const char *text_of(struct arena *arena, BIO *bio, bool wipe)
{
	char *bytes = NULL, *text = NULL;
	long len = bio ? BIO_get_mem_data(bio, &bytes) : 0;

	if (len > 0)
		text = arena_strndup(arena, bytes, (size_t)len);
	if (wipe && len > 0)
		token_wipe(bytes, (size_t)len);
	BIO_free(bio);
	return text;
}

/* ---- reading ---- */

/* The certificates of a text after those in `all`. */
static bool read_certificates(STACK_OF(X509) *all, const char *field, const char *pem, struct x509fault *fault)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	int before = sk_X509_num(all);
	bool good = bio;
	char *name, *header;
	unsigned char *bytes;
	long len;

	ERR_clear_error();
	while (good && PEM_read_bio(bio, &name, &header, &bytes, &len)) {
		const unsigned char *at = bytes;
		X509 *one = strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0 ? d2i_X509(NULL, &at, len) : NULL;

		if (strstr(name, "PRIVATE KEY"))
			good = fail(fault, field, "holds a private key; that belongs into private_key");
		else if (!one || at != bytes + len)
			good = fail(fault, field, "holds something that is no certificate; give PEM blocks that begin with -----BEGIN CERTIFICATE-----");
		else if (sk_X509_num(all) >= X509INFO_CERTIFICATES_MAX)
			good = fail(fault, field, "is too long: with its chain a certificate may have 10 parts");
		if (good && sk_X509_push(all, one))
			one = NULL;
		X509_free(one);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(bytes, (size_t)len);
	}
	BIO_free(bio);
	if (good && ERR_peek_last_error() && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		good = fail(fault, field, "is damaged: a PEM block in it cannot be read; copy it again as a whole");
	ERR_clear_error();
	if (good && sk_X509_num(all) == before)
		good = fail(fault, field, "must be a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----");
	return good;
}

static bool signed_by(X509 *one, X509 *next)
{
	EVP_PKEY *key = X509_get0_pubkey(next);
	bool good = key && X509_check_issued(next, one) == X509_V_OK && X509_verify(one, key) == 1;

	ERR_clear_error();
	return good;
}

/* Each one signed by the next. `first_of_chain`: from which on they came by the field chain. */
static bool in_order(STACK_OF(X509) *all, int first_of_chain, struct x509fault *fault)
{
	for (int i = 0; i + 1 < sk_X509_num(all); i++)
		if (!signed_by(sk_X509_value(all, i), sk_X509_value(all, i + 1)))
			return fail(fault, i + 1 >= first_of_chain ? "chain" : "certificate",
			            "is out of order: first the certificate of the host, then each time the one that signed it; leave out what does not "
			            "belong to it");
	return true;
}

static EVP_PKEY *read_key(const char *pem, struct x509fault *fault)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	if (!key)
		fail(fault, "private_key", strstr(pem, "ENCRYPTED") ? "is protected by a passphrase; take it off first (openssl pkey)"
		                                                    : "must be a private key in PEM, which begins with -----BEGIN PRIVATE KEY-----");
	return key;
}

/* A key that servers and browsers take. */
static bool strong(EVP_PKEY *key)
{
	int id = EVP_PKEY_get_base_id(key);

	return (id == EVP_PKEY_RSA || id == EVP_PKEY_EC || id == EVP_PKEY_ED25519 || id == EVP_PKEY_ED448) &&
	       EVP_PKEY_get_security_bits(key) >= SECURITY_BITS_MIN;
}

static int64_t microseconds(const ASN1_TIME *time)
{
	struct tm parts;

	return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) * 1000000 : 0;
}

static const char *digits(struct arena *arena, const unsigned char *bytes, size_t len)
{
	char *text = arena_alloc(arena, 2 * len + 1);

	for (size_t i = 0; text && i < 2 * len; i++)
		text[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
	return text;
}

static const char *name_of(struct arena *arena, const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	const char *text;

	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0)
		BIO_reset(bio);
	text = text_of(arena, bio, false);
	return text ? arena_strndup(arena, text, strnlen(text, TEXT_BYTES_MAX)) : "";
}

static const char *key_type(struct arena *arena, EVP_PKEY *key)
{
	char group[64] = "";
	size_t len;

	if (!key)
		return "unknown"; /* of a kind that OpenSSL cannot read */
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return arena_printf(arena, "RSA %d", EVP_PKEY_get_bits(key));
	case EVP_PKEY_EC:
		if (EVP_PKEY_get_group_name(key, group, sizeof group, &len) != 1)
			return "EC";
		return arena_printf(arena, "EC %s", strcmp(group, "prime256v1") == 0 ? "P-256" : strcmp(group, "secp384r1") == 0 ? "P-384"
		                    : strcmp(group, "secp521r1") == 0 ? "P-521" : group);
	default:
		return arena_strdup(arena, EVP_PKEY_get0_type_name(key) ? EVP_PKEY_get0_type_name(key) : "unknown");
	}
}

/* Host names of the subjectAltName in lower case; what is no host name is passed over. */
static void read_names(struct arena *arena, X509 *one, struct x509info *info)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(one, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && info->name_count < X509INFO_NAMES_MAX; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		char *text;
		size_t len;

		if (name->type != GEN_DNS)
			continue;
		len = (size_t)ASN1_STRING_length(name->d.dNSName);
		text = len && len <= NAME_BYTES_MAX ? arena_strndup(arena, (const char *)ASN1_STRING_get0_data(name->d.dNSName), len) : NULL;
		for (char *c = text; c && *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (text && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.*") == len)
			info->names[info->name_count++] = text;
	}
	GENERAL_NAMES_free(names);
}

static bool describe(struct arena *arena, STACK_OF(X509) *all, EVP_PKEY *key, struct x509info *info)
{
	X509 *one = sk_X509_value(all, 0);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	const ASN1_INTEGER *serial = X509_get0_serialNumber(one);
	BIO *out = BIO_new(BIO_s_mem()), *secret = key ? BIO_new(BIO_s_mem()) : NULL;
	bool good = out && X509_digest(one, EVP_sha256(), digest, &len) == 1;

	info->subject = name_of(arena, X509_get_subject_name(one));
	info->issuer = name_of(arena, X509_get_issuer_name(one));
	info->serial = digits(arena, ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
	info->fingerprint_sha256 = digits(arena, digest, len);
	info->key_type = key_type(arena, X509_get0_pubkey(one));
	info->not_before_us = microseconds(X509_get0_notBefore(one));
	info->not_after_us = microseconds(X509_get0_notAfter(one));
	read_names(arena, one, info);
	for (int i = 0; good && i < sk_X509_num(all); i++)
		good = PEM_write_bio_X509(out, sk_X509_value(all, i)) == 1;
	if (key)
		good = good && secret && PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1;
	info->fullchain = text_of(arena, out, false);
	info->key = text_of(arena, secret, true);
	return good && info->fullchain && (!key || info->key) && info->serial && info->fingerprint_sha256 && info->key_type;
}

static bool judge(struct arena *arena, STACK_OF(X509) *all, EVP_PKEY *key, int64_t now_us, const struct x509info *info, struct x509fault *fault)
{
	X509 *one = sk_X509_value(all, 0);
	EVP_PKEY *public = X509_get0_pubkey(one);
	char when[TIMESTAMP_TEXT_MAX];

	if (!public || !strong(public))
		return fail(fault, "certificate", "has a key that browsers refuse; use RSA of at least 2048 bits, or EC on P-256 or P-384");
	if (key && X509_check_private_key(one, key) != 1) {
		ERR_clear_error();
		for (int i = 1; i < sk_X509_num(all); i++)
			if (X509_check_private_key(sk_X509_value(all, i), key) == 1)
				return fail(fault, "certificate", "is out of order: the private key's certificate must come first");
		ERR_clear_error();
		return fail(fault, "private_key", "is not the key of this certificate; give the one that its request was made with");
	}
	if (X509_check_ca(one) && sk_X509_num(all) > 1)
		return fail(fault, "certificate", "begins with a certificate authority's; the certificate of the host must come first");
	if (info->not_after_us <= now_us) {
		timestamp_format(info->not_after_us, when);
		return fail(fault, "certificate", arena_printf(arena, "expired at %s; have a new one issued", when));
	}
	if (info->not_before_us > now_us) {
		timestamp_format(info->not_before_us, when);
		return fail(fault, "certificate", arena_printf(arena, "is not valid before %s; upload it then", when));
	}
	if (info->name_count == 0)
		return fail(fault, "certificate", "names no host in its subjectAltName, so browsers refuse it; have one issued that does");
	return true;
}

bool x509info_read(struct arena *arena, const char *certificate, const char *chain, const char *key, int64_t now_us,
                   struct x509info *info, struct x509fault *fault)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	EVP_PKEY *secret = NULL;
	int first_of_chain;
	bool good;

	*info = (struct x509info){ 0 };
	fail(fault, "certificate", "could not be read; out of memory");
	good = all && read_certificates(all, "certificate", certificate, fault);
	first_of_chain = sk_X509_num(all);
	good = good && (!chain || !*chain || read_certificates(all, "chain", chain, fault)) && (!key || (secret = read_key(key, fault))) &&
	       describe(arena, all, secret, info) && judge(arena, all, secret, now_us, info, fault) && in_order(all, first_of_chain, fault);
	if (!good && info->key)
		token_wipe((char *)info->key, strlen(info->key));
	EVP_PKEY_free(secret);
	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	return good;
}

/* ---- its chain ---- */

const char *x509info_chain(const char *fullchain)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	struct x509fault fault;
	const char *state = "unknown";

	if (all && store && check && read_certificates(all, "certificate", fullchain, &fault)) {
		X509 *one = sk_X509_value(all, 0);

		X509_STORE_set_default_paths(store);
		if (X509_check_issued(one, one) == X509_V_OK)
			state = "self_signed";
		else if (X509_STORE_CTX_init(check, store, one, all) == 1 && X509_verify_cert(check) == 1)
			state = "valid";
		else if (X509_STORE_CTX_get_error(check) == X509_V_ERR_CERT_HAS_EXPIRED)
			state = X509_STORE_CTX_get_error_depth(check) ? "expired" : "valid"; /* the certificate's own end is its not_after */
		else if (X509_STORE_CTX_get_error_depth(check) == 0)
			state = "incomplete";
	}
	X509_STORE_CTX_free(check);
	X509_STORE_free(store);
	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	return state;
}

struct json_object *x509info_json(const struct x509info *info)
{
	struct json_object *out = json_object_new_object(), *names = json_object_new_array();
	char when[TIMESTAMP_TEXT_MAX];

	for (size_t i = 0; i < info->name_count; i++)
		json_object_array_add(names, json_object_new_string(info->names[i]));
	json_object_object_add(out, "names", names);
	json_object_object_add(out, "subject", json_object_new_string(info->subject));
	json_object_object_add(out, "issuer", json_object_new_string(info->issuer));
	json_object_object_add(out, "serial", json_object_new_string(info->serial));
	json_object_object_add(out, "fingerprint_sha256", json_object_new_string(info->fingerprint_sha256));
	json_object_object_add(out, "key_type", json_object_new_string(info->key_type));
	timestamp_format(info->not_before_us, when);
	json_object_object_add(out, "not_before", json_object_new_string(when));
	timestamp_format(info->not_after_us, when);
	json_object_object_add(out, "not_after", json_object_new_string(when));
	json_object_object_add(out, "chain_state", json_object_new_string(x509info_chain(info->fullchain)));
	return out;
}

/* ---- requests ---- */

static bool add_names(X509_REQ *request, const char *const *names, size_t count)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	GENERAL_NAMES *all = GENERAL_NAMES_new();
	X509_EXTENSION *extension = NULL;
	bool good = extensions && all;

	for (size_t i = 0; good && i < count; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();

		good = name && text && ASN1_STRING_set(text, names[i], -1) == 1;
		if (good)
			GENERAL_NAME_set0_value(name, GEN_DNS, text);
		else
			ASN1_IA5STRING_free(text);
		if (!good || !(good = sk_GENERAL_NAME_push(all, name)))
			GENERAL_NAME_free(name);
	}
	good = good && (extension = X509V3_EXT_i2d(NID_subject_alt_name, 0, all)) && sk_X509_EXTENSION_push(extensions, extension);
	if (!good)
		X509_EXTENSION_free(extension);
	good = good && X509_REQ_add_extensions(request, extensions) == 1;
	GENERAL_NAMES_free(all);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return good;
}

bool x509info_request(struct arena *arena, const char *const *names, size_t count, bool rsa, const char **key, const char **request)
{
	EVP_PKEY *pair = rsa ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256");
	X509_REQ *made = X509_REQ_new();
	BIO *secret = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	bool good = pair && made && secret && out && count && X509_REQ_set_version(made, X509_REQ_VERSION_1) == 1 &&
	            X509_REQ_set_pubkey(made, pair) == 1;

	if (good && strlen(names[0]) <= COMMON_NAME_MAX) /* a longer one has its place in the names only */
		good = X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(made), "CN", MBSTRING_ASC, (const unsigned char *)names[0], -1, -1, 0) == 1;
	good = good && add_names(made, names, count) && X509_REQ_sign(made, pair, EVP_sha256()) > 0 &&
	       PEM_write_bio_PKCS8PrivateKey(secret, pair, NULL, NULL, 0, NULL, NULL) == 1 && PEM_write_bio_X509_REQ(out, made) == 1;
	*key = text_of(arena, secret, true);
	*request = text_of(arena, out, false);
	EVP_PKEY_free(pair);
	X509_REQ_free(made);
	ERR_clear_error();
	return good && *key && *request;
}

bool x509info_self_signed(struct arena *arena, const char *name, const char **key, const char **certificate)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	X509 *made = X509_new();
	BIO *secret = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	X509_NAME *subject = made ? X509_get_subject_name(made) : NULL;
	bool good = pair && made && secret && out && X509_set_version(made, X509_VERSION_3) == 1 && X509_set_pubkey(made, pair) == 1 &&
	            ASN1_INTEGER_set(X509_get_serialNumber(made), 1) == 1 && X509_gmtime_adj(X509_getm_notBefore(made), -DAY_S) &&
	            X509_time_adj_ex(X509_getm_notAfter(made), SELF_SIGNED_DAYS, 0, NULL) &&
	            X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) == 1 &&
	            X509_set_issuer_name(made, subject) == 1 && X509_sign(made, pair, EVP_sha256()) > 0 &&
	            PEM_write_bio_PKCS8PrivateKey(secret, pair, NULL, NULL, 0, NULL, NULL) == 1 && PEM_write_bio_X509(out, made) == 1;

	*key = text_of(arena, secret, true);
	*certificate = text_of(arena, out, false);
	EVP_PKEY_free(pair);
	X509_free(made);
	ERR_clear_error();
	return good && *key && *certificate;
}

size_t x509info_names(struct arena *arena, const char *certificate, const char *names[X509INFO_NAMES_MAX])
{
	STACK_OF(X509) *all = sk_X509_new_null();
	struct x509info info = { 0 };
	struct x509fault fault;

	if (all && read_certificates(all, "certificate", certificate, &fault))
		read_names(arena, sk_X509_value(all, 0), &info);
	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	memcpy(names, info.names, info.name_count * sizeof *names);
	return info.name_count;
}

bool x509info_covers(const char *const *names, size_t count, const char *name)
{
	const char *rest = strchr(name, '.');

	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0 || (rest && names[i][0] == '*' && strcmp(names[i] + 1, rest) == 0))
			return true;
	return false;
}

bool x509info_matches(const char *certificate, const char *key)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	struct x509fault fault;
	EVP_PKEY *secret = read_key(key, &fault);
	bool good = all && secret && read_certificates(all, "certificate", certificate, &fault) &&
	            X509_check_private_key(sk_X509_value(all, 0), secret) == 1;

	EVP_PKEY_free(secret);
	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	return good;
}
