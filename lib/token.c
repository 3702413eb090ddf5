/* token.c: OpenSSL for randomness and digests, our own CRC-32. */
#include "token.h"

#include <fcntl.h>
#include <libgen.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX_MIN 2
#define PREFIX_MAX 10
#define CHECKSUM_LEN 6
#define PEPPER_FILE_MAX 4096
#define PEPPER_LEN 32
#define PEPPER_ID_NEW 8

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char base36[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* CRC-32 (IEEE 802.3, reflected) by a table of half bytes: sixty characters want no larger one. */
static uint32_t crc32_of(const char *text, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = 0xffffffff;
	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)text[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static void write_checksum(const char *text, size_t len, char out[CHECKSUM_LEN + 1])
{
	uint32_t crc = crc32_of(text, len);
	out[CHECKSUM_LEN] = '\0';
	for (size_t i = CHECKSUM_LEN; i-- > 0; crc /= 62)
		out[i] = base62[crc % 62];
}

/* n random characters of an alphabet of at most 64; bytes that would favour its first ones are thrown away. */
static bool random_text(const char *alphabet, size_t n, char *out)
{
	size_t letters = strlen(alphabet), len = 0;
	while (len < n) {
		unsigned char random[64];
		if (RAND_bytes(random, sizeof random) != 1)
			return false;
		for (size_t i = 0; i < sizeof random && len < n; i++)
			if ((random[i] & 63) < letters)
				out[len++] = alphabet[random[i] & 63];
		OPENSSL_cleanse(random, sizeof random);
	}
	out[n] = '\0';
	return true;
}

bool token_random(size_t n, char *out)
{
	return random_text(base62, n, out);
}

/* Length of the prefix that text starts with, 0 when there is none. */
static size_t prefix_len(const char *text)
{
	if (*text < 'a' || *text > 'z')
		return 0;
	size_t len = strspn(text, base36);
	return len >= PREFIX_MIN && len <= PREFIX_MAX ? len : 0;
}

enum token_shape token_read(const char *text, char key_id[TOKEN_KEY_ID_LEN + 1], char secret[TOKEN_SECRET_LEN + 1])
{
	key_id[0] = secret[0] = '\0';
	size_t prefix = prefix_len(text);
	if (!prefix || text[prefix] != '_')
		return TOKEN_MALFORMED;
	const char *id = text + prefix + 1;
	if (strspn(id, base62) != TOKEN_KEY_ID_LEN || id[TOKEN_KEY_ID_LEN] != '_')
		return TOKEN_MALFORMED;
	const char *body = id + TOKEN_KEY_ID_LEN + 1, *checksum = body + TOKEN_SECRET_LEN;
	size_t len = strspn(body, base62);
	if (len != TOKEN_SECRET_LEN + CHECKSUM_LEN || body[len])
		return TOKEN_MALFORMED;

	char expected[CHECKSUM_LEN + 1];
	write_checksum(text, (size_t)(checksum - text), expected);
	if (memcmp(checksum, expected, CHECKSUM_LEN))
		return TOKEN_BAD_CHECKSUM;
	memcpy(key_id, id, TOKEN_KEY_ID_LEN);
	key_id[TOKEN_KEY_ID_LEN] = '\0';
	memcpy(secret, body, TOKEN_SECRET_LEN);
	secret[TOKEN_SECRET_LEN] = '\0';
	return TOKEN_WELL_FORMED;
}

bool token_mint(const char *prefix, char text[TOKEN_TEXT_MAX], char key_id[TOKEN_KEY_ID_LEN + 1],
                char secret[TOKEN_SECRET_LEN + 1])
{
	text[0] = key_id[0] = secret[0] = '\0';
	size_t len = prefix_len(prefix);
	if (!len || prefix[len] || !random_text(base62, TOKEN_KEY_ID_LEN, key_id) ||
	    !random_text(base62, TOKEN_SECRET_LEN, secret))
		return false;
	len = (size_t)snprintf(text, TOKEN_TEXT_MAX, "%s_%s_%s", prefix, key_id, secret);
	write_checksum(text, len, text + len);
	return true;
}

/* Keyed once: looking algorithms up by name and scheduling the key cost more than what is hashed. */
static EVP_MAC_CTX *keyed(const unsigned char key[PEPPER_LEN])
{
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0), OSSL_PARAM_END };
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	EVP_MAC_CTX *mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	EVP_MAC_free(hmac); /* the context holds it */
	if (mac && EVP_MAC_init(mac, key, PEPPER_LEN, params))
		return mac;
	EVP_MAC_CTX_free(mac);
	return NULL;
}

/* Begin anew under the key it has. */
static bool begin(const struct pepper *pepper)
{
	return pepper->mac && EVP_MAC_init(pepper->mac, NULL, 0, NULL);
}

static bool add(const struct pepper *pepper, const void *data, size_t len)
{
	return EVP_MAC_update(pepper->mac, data, len);
}

static bool finish(const struct pepper *pepper, unsigned char out[TOKEN_DIGEST_LEN])
{
	size_t size = 0;

	if (EVP_MAC_final(pepper->mac, out, &size, TOKEN_DIGEST_LEN) && size == TOKEN_DIGEST_LEN)
		return true;
	memset(out, 0, TOKEN_DIGEST_LEN);
	return false;
}

bool token_digest(const struct pepper *pepper, const char *key_id, const char *secret,
                  unsigned char out[TOKEN_DIGEST_LEN])
{
	memset(out, 0, TOKEN_DIGEST_LEN);
	return strlen(key_id) == TOKEN_KEY_ID_LEN && strlen(secret) == TOKEN_SECRET_LEN && begin(pepper) &&
	       add(pepper, key_id, TOKEN_KEY_ID_LEN) && add(pepper, secret, TOKEN_SECRET_LEN) && finish(pepper, out);
}

bool token_sign(const struct peppers *peppers, const char *purpose, const void *data, size_t len,
                unsigned char out[TOKEN_DIGEST_LEN])
{
	const struct pepper *pepper = &peppers->item[0];

	/* The ':' keeps this apart from what token_digest() feeds to the same pepper, which is base62, and purposes from data. */
	memset(out, 0, TOKEN_DIGEST_LEN);
	return peppers->count && begin(pepper) && add(pepper, "sign:", 5) && add(pepper, purpose, strlen(purpose)) &&
	       add(pepper, ":", 1) && add(pepper, data, len) && finish(pepper, out);
}

bool peppers_copy(struct peppers *to, const struct peppers *from)
{
	*to = (struct peppers){ 0 };
	for (; to->count < from->count; to->count++) {
		struct pepper *pepper = &to->item[to->count];

		*pepper = from->item[to->count];
		if (!(pepper->mac = EVP_MAC_CTX_dup(pepper->mac))) {
			peppers_free(to);
			return false;
		}
	}
	return true;
}

void peppers_free(struct peppers *peppers)
{
	for (size_t i = 0; i < TOKEN_PEPPERS_MAX; i++)
		EVP_MAC_CTX_free(peppers->item[i].mac);
	*peppers = (struct peppers){ 0 };
}

void token_wipe(void *what, size_t len)
{
	OPENSSL_cleanse(what, len);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "id:64 hex digits" */
static bool read_pepper(const char *line, char id[17], unsigned char key[PEPPER_LEN])
{
	size_t len = strspn(line, base36);
	if (len < 1 || len > 16 || line[len] != ':')
		return false;
	memcpy(id, line, len);
	id[len] = '\0';
	line += len + 1;
	for (size_t i = 0; i < PEPPER_LEN; i++, line += 2) {
		int high = hex_digit(line[0]), low = high < 0 ? -1 : hex_digit(line[1]);
		if (low < 0)
			return false;
		key[i] = (unsigned char)(high << 4 | low);
	}
	return !*line;
}

static bool read_peppers(char *text, struct peppers *peppers, const char **why)
{
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		line += strspn(line, " \t\r");
		size_t len = strlen(line);
		while (len && strchr(" \t\r", line[len - 1]))
			line[--len] = '\0';
		if (!*line || *line == '#')
			continue;
		if (peppers->count == TOKEN_PEPPERS_MAX) {
			*why = "the pepper file has more than two peppers; keep the current one and the one it replaces";
			return false;
		}
		struct pepper *pepper = &peppers->item[peppers->count];
		unsigned char key[PEPPER_LEN];
		bool read = read_pepper(line, pepper->id, key);
		pepper->mac = read ? keyed(key) : NULL;
		OPENSSL_cleanse(key, sizeof key);
		if (!read) {
			*why = "the pepper file has a line that is not id:64 hex digits, the id being 1 to 16 of 0-9 a-z";
			return false;
		}
		if (!pepper->mac) {
			*why = "the pepper cannot be used: OpenSSL has no HMAC-SHA-256, or there is no memory";
			return false;
		}
		if (peppers->count && !strcmp(peppers->item[0].id, peppers->item[1].id)) {
			*why = "the pepper file has one id twice; give each pepper its own";
			return false;
		}
		peppers->count++;
	}
	*why = peppers->count ? NULL : "the pepper file has no pepper; run postern init, or restore it from your backup";
	return peppers->count;
}

/* The file's bytes and a NUL into text. */
static bool read_file(int fd, char text[PEPPER_FILE_MAX], const char **why)
{
	struct stat about;
	*why = "the pepper file cannot be read";
	if (fstat(fd, &about))
		return false;
	if (!S_ISREG(about.st_mode)) {
		*why = "the pepper file is not a regular file";
		return false;
	}
	if (about.st_mode & 007) {
		*why = "the pepper file is open to others; run chmod o-rwx on it";
		return false;
	}
	size_t len = 0;
	for (ssize_t n; len < PEPPER_FILE_MAX && (n = read(fd, text + len, PEPPER_FILE_MAX - len)); len += (size_t)n)
		if (n < 0)
			return false;
	if (len == PEPPER_FILE_MAX || memchr(text, '\0', len)) {
		*why = "the pepper file is not a text of less than 4 KiB";
		return false;
	}
	text[len] = '\0';
	return true;
}

bool peppers_load(const char *path, struct peppers *peppers, const char **why)
{
	char text[PEPPER_FILE_MAX];
	*peppers = (struct peppers){ 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		*why = "the pepper file cannot be opened; check pepper_file, its owner and its group";
		return false;
	}
	bool fine = read_file(fd, text, why) && read_peppers(text, peppers, why);
	close(fd);
	OPENSSL_cleanse(text, sizeof text);
	if (!fine)
		peppers_free(peppers);
	return fine;
}

/* A file is only durable once its name is. */
static bool sync_folder_of(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	bool fine = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	free(copy);
	return fine;
}

bool peppers_create(const char *path)
{
	char id[PEPPER_ID_NEW + 1], line[PEPPER_ID_NEW + 1 + 64 + 2];
	unsigned char key[PEPPER_LEN];
	if (!random_text(base36, PEPPER_ID_NEW, id) || RAND_bytes(key, sizeof key) != 1)
		return false;
	size_t len = (size_t)snprintf(line, sizeof line, "%s:", id);
	for (size_t i = 0; i < sizeof key; i++)
		len += (size_t)snprintf(line + len, sizeof line - len, "%02x", key[i]);
	line[len++] = '\n';

	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	bool fine = fd >= 0;
	if (fine) {
		/* Past the umask. */
		fine = fchmod(fd, 0640) == 0 && write(fd, line, len) == (ssize_t)len && fsync(fd) == 0;
		fine = close(fd) == 0 && fine && sync_folder_of(path);
		if (!fine)
			unlink(path);
	}
	OPENSSL_cleanse(key, sizeof key);
	OPENSSL_cleanse(line, sizeof line);
	return fine;
}
