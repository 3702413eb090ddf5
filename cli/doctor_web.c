/* doctor_web.c: see doctor.h. Each question is a request whose answer tells one thing. */
#include "doctor.h"
#include "buf.h"
#include "show.h"
#include "timestamp.h"
#include "token.h"
#include "words.h"
#include <curl/curl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum { BODY_MAX = 1 << 20, HEADER_MAX = 300, TOKEN_LIFE_S = 300, RELOAD_S = 5 };
#define STRANGER "203.0.113.9" /* TEST-NET-3: nobody's address */

struct answer {
	long status;              /* 0: none came */
	char error[CURL_ERROR_SIZE], type[HEADER_MAX], authenticate[HEADER_MAX], powered_by[HEADER_MAX];
	bool echoed;              /* our X-Request-Id came back */
	struct json_object *json; /* or NULL */
};

static size_t take(char *data, size_t size, size_t n, void *buf)
{
	buf_add(buf, data, size * n);
	return buf_failed(buf) ? 0 : size * n;
}

static void header(CURL *curl, const char *name, char to[HEADER_MAX])
{
	struct curl_header *found;

	to[0] = '\0';
	if (curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK)
		snprintf(to, HEADER_MAX, "%s", found->value);
}

static struct curl_slist *with(struct curl_slist *list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(list, line);

	return longer ? longer : list;
}

/* The list holds a copy of the token. */
static void forget(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		token_wipe(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

/* GET url + path, with these headers and a request id of our own. */
static void ask(const struct doctor *d, const char *path, const char *const headers[], struct answer *a)
{
	struct curl_slist *list = NULL;
	struct buf url, body;
	char id[UUID_STR_LEN], id_line[80], echo[HEADER_MAX];
	uuid_t uuid;
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	size_t len = strlen(d->url);

	*a = (struct answer){ 0 };
	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, id);
	while (len && d->url[len - 1] == '/')
		len--;
	buf_init(&url, 4096);
	buf_init(&body, BODY_MAX);
	buf_printf(&url, "%.*s%s", (int)len, d->url, path);
	snprintf(id_line, sizeof id_line, "X-Request-Id: %s", id);
	list = with(list, id_line);
	for (; headers && *headers; headers++)
		list = with(list, *headers);
	if (curl && list && !buf_failed(&url)) {
		curl_easy_setopt(curl, CURLOPT_URL, url.data);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, 15L);
		curl_easy_setopt(curl, CURLOPT_USERAGENT, "postern-doctor/" POSTERN_VERSION);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, a->error);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
		code = curl_easy_perform(curl);
		/* a page longer than we read is still an answer */
		if (code == CURLE_OK || code == CURLE_WRITE_ERROR)
			curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a->status);
		header(curl, "Content-Type", a->type);
		header(curl, "WWW-Authenticate", a->authenticate);
		header(curl, "X-Powered-By", a->powered_by);
		header(curl, "X-Request-Id", echo);
		a->echoed = !strcasecmp(echo, id);
		a->json = !buf_failed(&body) && body.data ? json_tokener_parse(body.data) : NULL;
	}
	if (code != CURLE_OK && !a->error[0])
		snprintf(a->error, sizeof a->error, "%s", curl_easy_strerror(code));
	buf_free(&url);
	buf_free(&body);
	forget(list);
	curl_easy_cleanup(curl);
}

static void done(struct answer *a)
{
	json_object_put(a->json);
	a->json = NULL;
}

/* Postern's, or its web server's in its place: JSON under the id that we sent. */
static bool ours(const struct answer *a)
{
	return a->status && a->echoed && !strncmp(a->type, "application/json", 16) && json_object_is_type(a->json, json_type_object);
}

/* ---- is it us? ---- */

struct names {
	char text[400];
	size_t count;
	struct answer example; /* without its JSON */
};

static void note(struct names *list, const char *name, const struct answer *a)
{
	const size_t len = strlen(list->text);

	snprintf(list->text + len, sizeof list->text - len, "%s%s", len ? ", " : "", name);
	if (!list->count++)
		list->example = *a;
	list->example.json = NULL;
}

static const char *by_php(const struct answer *a)
{
	return !strncasecmp(a->powered_by, "PHP", 3) ? "; PHP gave it" : "";
}

/* Who answers, for every resource in both spellings, without a token. False when nobody does. */
static bool ask_routes(struct doctor *d, struct names *foreign, struct names *foreign_php, struct names *silent)
{
	size_t n;
	const struct resource *const *all = resources(&n);

	*foreign = *foreign_php = *silent = (struct names){ 0 };
	for (size_t i = 0; i < 2 * n; i++) {
		const char *name = all[i / 2]->name;
		struct answer a;
		char path[200];
		snprintf(path, sizeof path, "/api/v1/%s%s", name, i % 2 ? ".php" : "");
		ask(d, path, NULL, &a);
		if (!a.status) {
			doctor_finding(d, "web", "Give the address that clients use; where the certificate is the cause, mend that first.",
			               "%s%s: %s", d->url, path, a.error);
			return false;
		}
		if (!ours(&a))
			note(i % 2 ? foreign_php : foreign, name, &a);
		else if (a.status == 503 && !(i % 2))
			note(silent, name, &a);
		done(&a);
	}
	return true;
}

/* False when nothing more can be asked. After a reload the web server's workers of before still accept for a moment: until every
 * answer is ours, it is asked again. */
static bool check_routes(struct doctor *d)
{
	const int64_t end = timestamp_now() + (int64_t)RELOAD_S * 1000000;
	struct names foreign, foreign_php, silent;
	size_t n;
	const struct resource *const *all = resources(&n);

	do
		if (!ask_routes(d, &foreign, &foreign_php, &silent))
			return false;
	while ((foreign.count || foreign_php.count) && timestamp_now() < end);
	if (foreign.count == n)
		doctor_finding(d, "include", "Put the two includes into the web server that answers there (postern-http.conf into http {}, "
		               "postern-server.conf first into its server {}), test and reload it.",
		               "not active: %s/api/v1/%s is answered by somebody else (status %ld, %.60s%s)", d->url, all[0]->name,
		               foreign.example.status, foreign.example.type, by_php(&foreign.example));
	else if (foreign.count)
		doctor_finding(d, "include", "Reload the web server. Where that does not help, its include is older than the endpoints: "
		               "include the one that this version installed.",
		               "does not know %s (status %ld, %.60s%s)", foreign.text, foreign.example.status, foreign.example.type,
		               by_php(&foreign.example));
	else
		doctor_fine(d, "include", "every resource is answered by Postern");
	if (foreign_php.count && foreign.count < n)
		doctor_finding(d, "php", "A handler for .php stands before our addresses: put postern-server.conf first into the server {}, "
		               "and take \"^~\" and \"=\" locations of /api away from it.",
		               "/api/v1/NAME.php is answered by somebody else (status %ld, %.60s%s): %s", foreign_php.example.status,
		               foreign_php.example.type, by_php(&foreign_php.example), foreign_php.text);
	else if (!foreign_php.count)
		doctor_fine(d, "php", "addresses that end in .php are answered by Postern");
	if (silent.count)
		doctor_finding(d, "endpoints", "The web server's error log says whether it may connect (sockets belong to its group); "
		               "journalctl -u 'postern@*' says what the endpoint met.",
		               "%s answers 503 for: %s", d->url, silent.text);
	return foreign.count < n;
}

/* ---- does the token arrive? ---- */

static bool told_invalid(const struct answer *a)
{
	return a->status == 401 && strstr(a->authenticate, "invalid_token");
}

static bool check_authorization(struct doctor *d)
{
	struct answer bearer, key;

	ask(d, "/api/v1/me", (const char *const[]){ "Authorization: Bearer postern-doctor", NULL }, &bearer);
	ask(d, "/api/v1/me", (const char *const[]){ "X-API-Key: postern-doctor", NULL }, &key);
	const bool fine = told_invalid(&bearer), way_out = told_invalid(&key);
	if (fine)
		doctor_fine(d, "authorization", "the header arrives");
	else if (bearer.status == 401)
		doctor_finding(d, "authorization", way_out
		               ? "Apache: CGIPassAuth on, or the include of this package; nginx: no fastcgi_param HTTP_AUTHORIZATION and "
		                 "no proxy in front that removes it. Until then X-API-Key works."
		               : "Apache: CGIPassAuth on, or the include of this package; nginx: no fastcgi_param HTTP_AUTHORIZATION and "
		                 "no proxy in front that removes it.",
		               "the web server withholds the Authorization header: a request with a token is answered as one without");
	else
		doctor_finding(d, "authorization", "See the other findings.", "a request with a malformed token is answered with status "
		               "%ld instead of 401", bearer.status);
	done(&bearer);
	done(&key);
	return fine;
}

/* ---- a token for a moment ---- */

static int tokens_call(struct doctor *d, const char *resource, const char *operation, const char *id,
                       const struct local_parameter *query, struct json_object *body, struct json_object **answer)
{
	const struct resource *r = resource_find(resource);
	struct local *local = cli_local(d->cli);

	*answer = NULL;
	for (const struct route *route = r && local ? r->routes : NULL; route && route->path; route++)
		if (!strcmp(route->operation_id, operation))
			return local_call(local, r, route, id, query, body, answer);
	return 500;
}

/* Its value into `line` as a header, its id into `id`. False after a row that says why. */
static bool borrow_token(struct doctor *d, char line[HEADER_MAX], char id[UUID_STR_LEN])
{
	static const struct local_parameter admins[] = { { "role", "admin" }, { "status", "active" }, { "per_page", "1" }, { NULL, NULL } };
	struct json_object *answer, *rows = NULL, *owner = NULL, *body = json_object_new_object(), *scopes = json_object_new_array(), *o;
	char name[40], at[TIMESTAMP_TEXT_MAX];
	int status = tokens_call(d, "users", "listUsers", NULL, admins, NULL, &answer);

	if (status < 400 && json_object_object_get_ex(answer, "data", &rows) && json_object_array_length(rows))
		json_object_object_get_ex(json_object_array_get_idx(rows, 0), "username", &owner);
	snprintf(name, sizeof name, "postern-doctor-%lld", (long long)timestamp_now());
	timestamp_format(timestamp_now() + (int64_t)TOKEN_LIFE_S * 1000000, at);
	json_object_array_add(scopes, json_object_new_string("profile:read"));
	json_object_object_add(body, "name", json_object_new_string(name));
	json_object_object_add(body, "owner", owner ? json_object_get(owner) : NULL);
	json_object_object_add(body, "scopes", scopes);
	json_object_object_add(body, "expires_at", json_object_new_string(at));
	json_object_put(answer);
	answer = NULL;
	if (!owner)
		doctor_skipped(d, "proxy_trust", "there is no active administrator to own a token: postern init makes one");
	else if ((status = tokens_call(d, "tokens", "createToken", NULL, NULL, body, &answer)) >= 400)
		doctor_skipped(d, "proxy_trust", "no token could be made to try it with (status %d)", status);
	const bool made = json_object_object_get_ex(answer, "token", &o);
	if (made) {
		snprintf(line, HEADER_MAX, "Authorization: Bearer %s", json_object_get_string(o));
		token_wipe((void *)(uintptr_t)json_object_get_string(o), (size_t)json_object_get_string_len(o));
		json_object_object_get_ex(answer, "id", &o);
		snprintf(id, UUID_STR_LEN, "%s", json_object_get_string(o));
	}
	json_object_put(answer);
	json_object_put(body);
	return made;
}

static void give_back(struct doctor *d, const char *id)
{
	struct json_object *answer, *body = json_object_new_object();
	int status = tokens_call(d, "tokens", "revokeToken", id, NULL, body, &answer);

	json_object_put(answer);
	if (status < 400) {
		status = tokens_call(d, "tokens", "deleteToken", id, NULL, NULL, &answer);
		json_object_put(answer);
	}
	if (status >= 400)
		cli_error(CLI_FAILED, "the token %s of this check could not be deleted (status %d); it expires in minutes", id, status);
	json_object_put(body);
}

static const char *seen_address(const struct answer *a)
{
	struct json_object *data, *ip;

	return a->status == 200 && json_object_object_get_ex(a->json, "data", &data) && json_object_object_get_ex(data, "ip", &ip)
	           ? json_object_get_string(ip) : NULL;
}

/* Nobody may choose an address for themselves: the headers that proxies set must change nothing when we send them. */
static void check_proxy_trust(struct doctor *d, const char *token)
{
	static const char remedy[] = "nginx: set_real_ip_from, Apache: RemoteIPTrustedProxy may name your own proxies only, never 0.0.0.0/0. "
		"Where this machine is such a proxy, ask from another one.";
	struct answer plain, forged;

	ask(d, "/api/v1/me", (const char *const[]){ token, NULL }, &plain);
	ask(d, "/api/v1/me", (const char *const[]){ token, "X-Forwarded-For: " STRANGER, "X-Real-IP: " STRANGER,
		"CF-Connecting-IP: " STRANGER, "True-Client-IP: " STRANGER, "Forwarded: for=" STRANGER, NULL }, &forged);
	const char *before = seen_address(&plain), *after = seen_address(&forged);
	if (before && after && !strcmp(before, after))
		doctor_fine(d, "proxy_trust", "our address is %s, whatever a header says", before);
	else if (before && after)
		doctor_finding(d, "proxy_trust", remedy, "the web server believes a header of ours: %s became %s", before, after);
	else if (before)
		doctor_finding(d, "proxy_trust", remedy, "the web server believes a header of ours: with a made-up address, 200 became %ld",
		               forged.status);
	else if (plain.status == 403)
		doctor_finding(d, "proxy_trust", "Give an https:// address. Where a proxy in front ends TLS, see \"Behind a proxy\" in "
		               "operations.md.", "a token is refused at this address (status 403): it came over plain HTTP");
	else
		doctor_finding(d, "endpoints", "journalctl -u postern@me says what it met.", "a fresh token is answered with status %ld "
		               "instead of 200", plain.status);
	done(&plain);
	done(&forged);
}

/* With a token that may do nothing here each endpoint has to ask the database, and says 403. */
static void check_endpoints(struct doctor *d, const char *token)
{
	struct names failing = { 0 };
	size_t n;
	const struct resource *const *all = resources(&n);

	for (size_t i = 0; i < n; i++) {
		struct answer a;
		char path[200];
		snprintf(path, sizeof path, "/api/v1/%s", all[i]->name);
		ask(d, path, (const char *const[]){ token, NULL }, &a);
		if (a.status >= 500)
			note(&failing, all[i]->name, &a);
		done(&a);
	}
	if (failing.count)
		doctor_finding(d, "endpoints", "journalctl -u 'postern@*' says what they met; most often the login into PostgreSQL.",
		               "status %ld where a token is given: %s", failing.example.status, failing.text);
	else
		doctor_fine(d, "endpoints", "every endpoint reaches the database");
}

void doctor_web(struct doctor *d)
{
	char token[HEADER_MAX] = "", id[UUID_STR_LEN];

	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (check_routes(d) && check_authorization(d) && borrow_token(d, token, id)) {
		check_proxy_trust(d, token);
		check_endpoints(d, token);
		give_back(d, id);
	}
	token_wipe(token, sizeof token);
	curl_global_cleanup();
}
