/* trail.c: see trail.h. */
#include "trail.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const trail_column_names[TRAIL_COLUMNS] = {
	"account_id", "at", "id", "xid", "request_id", "actor", "token_id", "token_name", "user_id", "username", "resource", "verb",
	"object_id", "method", "path", "status", "outcome", "reason", "duration_us", "ip", "user_agent", "changes", "count"
};

/* ---- bytes ---- */

static void big_endian(uint64_t n, unsigned char *out, int bytes)
{
	for (int i = bytes; i > 0; i--, n >>= 8)
		out[i - 1] = (unsigned char)n;
}

static int64_t from_big_endian(const unsigned char *bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | bytes[i];
	return (int64_t)n;
}

void trail_hex(const unsigned char *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = '\0';
}

bool trail_unhex(const char *text, unsigned char *out, size_t n)
{
	if (strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char pair[] = { text[2 * i], text[2 * i + 1], '\0' };

		out[i] = (unsigned char)strtoul(pair, NULL, 16);
	}
	return true;
}

/* ---- digests ---- */

static EVP_MD_CTX *digest_begin(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1)
		return context;
	EVP_MD_CTX_free(context);
	return NULL;
}

static bool digest_end(EVP_MD_CTX *context, bool good, unsigned char out[TRAIL_HASH])
{
	good = good && context && EVP_DigestFinal_ex(context, out, NULL) == 1;
	EVP_MD_CTX_free(context);
	return good;
}

bool trail_content_hash(const char *const columns[TRAIL_COLUMNS], unsigned char out[TRAIL_HASH])
{
	EVP_MD_CTX *context = digest_begin();
	bool good = context != NULL;

	for (int i = TRAIL_XID; i < TRAIL_COLUMNS && good; i++) {
		size_t len = columns[i] ? strlen(columns[i]) : 0;
		unsigned char size[4];

		big_endian(columns[i] ? len : UINT32_MAX, size, 4);
		good = EVP_DigestUpdate(context, size, 4) == 1 && (!len || EVP_DigestUpdate(context, columns[i], len) == 1);
	}
	return digest_end(context, good, out);
}

bool trail_row_hash(const unsigned char key[TRAIL_KEY], const unsigned char content[TRAIL_HASH], unsigned char out[TRAIL_HASH])
{
	EVP_MD_CTX *context = digest_begin();
	bool good = context && EVP_DigestUpdate(context, key, TRAIL_KEY) == 1 && EVP_DigestUpdate(context, content, TRAIL_HASH) == 1;

	return digest_end(context, good, out);
}

bool trail_seal_hash(const struct trail_seal *s, unsigned char out[TRAIL_HASH])
{
	static const char name[] = "postern seal 1\n";
	EVP_MD_CTX *context = digest_begin();
	unsigned char numbers[16];
	bool good;

	big_endian((uint64_t)s->number, numbers, 8);
	big_endian((uint64_t)s->count, numbers + 8, 8);
	good = context && EVP_DigestUpdate(context, name, sizeof name - 1) == 1 && EVP_DigestUpdate(context, numbers, 16) == 1 &&
	       EVP_DigestUpdate(context, s->before, TRAIL_HASH) == 1 && EVP_DigestUpdate(context, s->keys, (size_t)s->count * TRAIL_KEY) == 1 &&
	       EVP_DigestUpdate(context, s->hashes, (size_t)s->count * TRAIL_HASH) == 1;
	return digest_end(context, good, out);
}

/* ---- keys of rows ---- */

void trail_key_pack(const struct trail_key *key, unsigned char out[TRAIL_KEY])
{
	big_endian((uint64_t)key->account_id, out, 8);
	big_endian((uint64_t)key->at_us, out + 8, 8);
	big_endian((uint64_t)key->id, out + 16, 8);
}

struct trail_key trail_key_unpack(const unsigned char bytes[TRAIL_KEY])
{
	return (struct trail_key){ from_big_endian(bytes), from_big_endian(bytes + 8), from_big_endian(bytes + 16) };
}

static bool number_of(const char *text, int64_t *out)
{
	char *end;

	if (!text || !*text)
		return false;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return !*end && !errno;
}

bool trail_key_of(const char *const columns[TRAIL_COLUMNS], struct trail_key *key)
{
	return number_of(columns[TRAIL_ACCOUNT_ID], &key->account_id) && number_of(columns[TRAIL_AT], &key->at_us) &&
	       number_of(columns[TRAIL_ID], &key->id);
}

/* ---- checkpoints ---- */

size_t trail_checkpoint_text(const struct trail_checkpoint *c, char out[TRAIL_TEXT_MAX])
{
	char head[2 * TRAIL_HASH + 1], before[2 * TRAIL_HASH + 1],
	        key[2 * TRAIL_PUBLIC + 1] = "", next[2 * TRAIL_PUBLIC + 1] = "";

	trail_hex(c->head, TRAIL_HASH, head);
	trail_hex(c->before, TRAIL_HASH, before);
	if (c->keyed)
		trail_hex(c->key, TRAIL_PUBLIC, key);
	if (c->changes)
		trail_hex(c->next, TRAIL_PUBLIC, next);
	return (size_t)snprintf(out, TRAIL_TEXT_MAX,
	                        "postern checkpoint 1\nnumber %" PRId64 "\nat_us %" PRId64 "\nseal %" PRId64
	                        "\nrows %" PRId64 "\nhead %s\nbefore %s\n%s%s%s%s%s%s",
	                        c->number, c->at_us, c->seal, c->rows, head, before, c->keyed ? "key " : "", key,
	                        c->keyed ? "\n" : "", c->changes ? "next_key " : "", next, c->changes ? "\n" : "");
}

/* A key on a line of its own. */
static bool key_line(const char *text, const char *name, unsigned char out[TRAIL_PUBLIC])
{
	char hex[2 * TRAIL_PUBLIC + 1];
	const char *at = strstr(text, name);

	if (!at || strlen(at += strlen(name)) <= 2 * TRAIL_PUBLIC)
		return false;
	memcpy(hex, at, sizeof hex - 1);
	hex[sizeof hex - 1] = '\0';
	return trail_unhex(hex, out, TRAIL_PUBLIC);
}

bool trail_checkpoint_parse(const char *text, struct trail_checkpoint *c)
{
	char head[2 * TRAIL_HASH + 1], before[2 * TRAIL_HASH + 1], again[TRAIL_TEXT_MAX];

	*c = (struct trail_checkpoint){ 0 };
	if (sscanf(text, "postern checkpoint 1\nnumber %" SCNd64 "\nat_us %" SCNd64 "\nseal %" SCNd64 "\nrows %" SCNd64 "\nhead %64s\nbefore %64s\n",
	           &c->number, &c->at_us, &c->seal, &c->rows, head, before) != 6 ||
	    !trail_unhex(head, c->head, TRAIL_HASH) || !trail_unhex(before, c->before, TRAIL_HASH))
		return false;
	c->keyed = key_line(text, "\nkey ", c->key);
	c->changes = key_line(text, "\nnext_key ", c->next);
	trail_checkpoint_text(c, again);
	return strcmp(text, again) == 0; /* one text for one meaning */
}

/* ---- signatures ---- */

static EVP_PKEY *read_key(const char *path, bool private, const char **why)
{
	FILE *file = fopen(path, "re");
	EVP_PKEY *key = file ? (private ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : PEM_read_PUBKEY(file, NULL, NULL, NULL)) : NULL;

	*why = !file ? strerror(errno) : !key ? "is no key in PEM form" : EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ? "is no Ed25519 key" : NULL;
	if (file)
		fclose(file);
	if (*why) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

EVP_PKEY *trail_private_key(const char *path, const char **why)
{
	return read_key(path, true, why);
}

EVP_PKEY *trail_public_key(const char *path, const char **why)
{
	return read_key(path, false, why);
}

EVP_PKEY *trail_public_of(const unsigned char bytes[TRAIL_PUBLIC])
{
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, TRAIL_PUBLIC);
}

bool trail_public_bytes(EVP_PKEY *key, unsigned char out[TRAIL_PUBLIC])
{
	size_t size = TRAIL_PUBLIC;

	return EVP_PKEY_get_raw_public_key(key, out, &size) == 1 && size == TRAIL_PUBLIC;
}

/* A new file; nothing that is there is replaced. */
static bool write_key(const char *path, EVP_PKEY *key, bool private, const char **why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, private ? 0600 : 0644);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	bool good = file && (private ? PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) : PEM_write_PUBKEY(file, key)) == 1 &&
	            fflush(file) == 0 && fchmod(fd, private ? 0600 : 0644) == 0 && fsync(fd) == 0;

	if (!good)
		*why = strerror(errno);
	if (file)
		fclose(file);
	else if (fd >= 0)
		close(fd);
	if (!good && fd >= 0)
		unlink(path);
	return good;
}

EVP_PKEY *trail_make_key(const char *path, const char **why)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	*why = key ? NULL : "out of memory";
	if (key && write_key(path, key, true, why))
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

bool trail_publish(EVP_PKEY *key, const char *path, const char **why)
{
	char fresh[PATH_MAX];
	EVP_PKEY *there = trail_public_key(path, why);
	bool same = there && EVP_PKEY_eq(there, key) == 1;

	EVP_PKEY_free(there);
	*why = NULL;
	if (same)
		return true;
	if ((size_t)snprintf(fresh, sizeof fresh, "%s.new", path) >= sizeof fresh) {
		*why = strerror(ENAMETOOLONG);
		return false;
	}
	unlink(fresh);
	if (!write_key(fresh, key, false, why))
		return false;
	if (rename(fresh, path) == 0)
		return true;
	*why = strerror(errno);
	unlink(fresh);
	return false;
}

bool trail_key_follows(EVP_PKEY *key, const char *text, const unsigned char signature[TRAIL_SIGNATURE])
{
	struct trail_checkpoint c;
	unsigned char own[TRAIL_PUBLIC];

	if (!trail_checkpoint_parse(text, &c) || !trail_public_bytes(key, own))
		return false;
	if (c.keyed || c.changes)
		return memcmp(own, c.changes ? c.next : c.key, TRAIL_PUBLIC) == 0;
	return trail_verify(key, text, strlen(text), signature);
}

bool trail_sign(EVP_PKEY *key, const char *text, size_t len, unsigned char out[TRAIL_SIGNATURE])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t size = TRAIL_SIGNATURE;
	bool good = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
	            EVP_DigestSign(context, out, &size, (const unsigned char *)text, len) == 1 && size == TRAIL_SIGNATURE;

	EVP_MD_CTX_free(context);
	return good;
}

bool trail_verify(EVP_PKEY *key, const char *text, size_t len, const unsigned char signature[TRAIL_SIGNATURE])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
	            EVP_DigestVerify(context, signature, TRAIL_SIGNATURE, (const unsigned char *)text, len) == 1;

	EVP_MD_CTX_free(context);
	return good;
}
