/* The way into the gate without a web server or a database: variables, routes, cursors, limits, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "address_limit.h"
#include "cursor.h"
#include "http.h"
#include "refusal.h"
#include "resource.h"

static const struct field fields[] = {
	{ "id", F_INT, F_SORT, "Number" },
	{ "name", F_NAME, F_INPUT | F_SORT, "Name" },
	{ 0 }
};
static const struct route routes[] = {
	{ M_GET, "", "listThings", "things:read", VIEWER, RATE_CALL, "thing.list", LIST, "List" },
	{ M_GET, "/{id}", "getThing", "things:read", VIEWER, RATE_CALL, "thing.read", GET, "Show" },
	{ M_PATCH, "/{id}", "changeThing", "things:write", CUSTOMER, RATE_CALL, "thing.update", PATCH, "Change" },
	{ M_POST, "/{id}/turn", "turnThing", "things:write", CUSTOMER, RATE_CALL, "thing.turn", ACTION("turn"), "Turn" },
	{ M_POST, "/turn", "turnThings", "things:write", CUSTOMER, RATE_CALL, "thing.turn", CALL("turn_all"), "Turn all" },
	{ 0 }
};
static const struct resource things = { "things", "thing", "dinge", "Things", fields, routes };
/* What lib/main.o would need, were it linked. */
POSTERN_RESOURCE(things);

static struct config config = { .require_https = true, .body_max_bytes = 1024 };
static struct peppers peppers;
static struct arena *arena;
static struct request r;

static int load_pepper(void **state)
{
	char folder[] = "/tmp/postern-test-request-XXXXXX", path[64];
	const char *why;
	bool loaded;

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/pepper", folder);
	loaded = peppers_create(path) && peppers_load(path, &peppers, &why);
	unlink(path);
	rmdir(folder);
	return loaded ? 0 : -1;
}

static int begin(void **state)
{
	arena = arena_new();
	return arena ? load_pepper(state) : -1;
}

static int end(void **state)
{
	(void)state;
	peppers_free(&peppers);
	arena_free(arena);
	return 0;
}

static void fresh(void)
{
	r = (struct request){ .arena = arena, .config = &config, .peppers = &peppers, .resource = &things };
}

#define READ_ENVIRONMENT(...) (fresh(), http_read_environment(&r, (char *[]){ __VA_ARGS__, NULL }))

static void mint(char *text, size_t size)
{
	char key_id[TOKEN_KEY_ID_LEN + 1], secret[TOKEN_SECRET_LEN + 1];

	assert_true(size >= TOKEN_TEXT_MAX);
	assert_true(token_mint("pst", text, key_id, secret));
}

static void a_token_becomes_key_id_and_digest_wherever_it_is_sent(void **state)
{
	char token[TOKEN_TEXT_MAX], bearer[128], key[128];

	(void)state;
	mint(token, sizeof token);
	snprintf(bearer, sizeof bearer, "HTTP_AUTHORIZATION=bearer %s", token);
	snprintf(key, sizeof key, "HTTP_X_API_KEY=%s", token);
	READ_ENVIRONMENT(bearer);
	assert_int_equal(r.credential, CREDENTIAL_TOKEN);
	assert_memory_equal(r.key_id, token + 4, TOKEN_KEY_ID_LEN);
	assert_int_equal(r.digest_len, TOKEN_DIGEST_LEN);
	READ_ENVIRONMENT(key);
	assert_int_equal(r.credential, CREDENTIAL_TOKEN);
	snprintf(bearer, sizeof bearer, "REDIRECT_HTTP_AUTHORIZATION=Bearer %s", token);
	READ_ENVIRONMENT(bearer);
	assert_int_equal(r.credential, CREDENTIAL_TOKEN);
}

static void a_changed_letter_is_found_without_a_query(void **state)
{
	char token[TOKEN_TEXT_MAX], bearer[128];

	(void)state;
	mint(token, sizeof token);
	token[20] = token[20] == 'a' ? 'b' : 'a';
	snprintf(bearer, sizeof bearer, "HTTP_AUTHORIZATION=Bearer %s", token);
	READ_ENVIRONMENT(bearer);
	assert_int_equal(r.credential, CREDENTIAL_BAD);
	assert_int_equal(r.digest_len, 0);
}

static void two_tokens_at_once_are_told_apart_from_one(void **state)
{
	(void)state;
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearer a", "HTTP_X_API_KEY=b");
	assert_int_equal(r.credential, CREDENTIAL_TWO);
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearer a, Bearer b");
	assert_int_equal(r.credential, CREDENTIAL_TWO);
	READ_ENVIRONMENT("HTTP_X_API_KEY=a,b");
	assert_int_equal(r.credential, CREDENTIAL_TWO);
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearer a", "HTTP_X_API_KEY=a");
	assert_int_equal(r.credential, CREDENTIAL_BAD); /* one, which is none of ours */
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearer a", "HTTP_AUTHORIZATION=Bearer a", "HTTP_X_API_KEY=a, a");
	assert_int_equal(r.credential, CREDENTIAL_BAD);
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearer a", "HTTP_AUTHORIZATION=Bearer b");
	assert_int_equal(r.credential, CREDENTIAL_TWO);
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Basic dXNlcjpwdw==");
	assert_int_equal(r.credential, CREDENTIAL_NONE);
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearers x", "HTTP_X_API_KEY=");
	assert_int_equal(r.credential, CREDENTIAL_NONE);
	READ_ENVIRONMENT("HTTP_AUTHORIZATION=Bearer");
	assert_int_equal(r.credential, CREDENTIAL_BAD);
}

static void without_a_pepper_no_token_is_good(void **state)
{
	char token[TOKEN_TEXT_MAX], bearer[128];

	(void)state;
	mint(token, sizeof token);
	snprintf(bearer, sizeof bearer, "HTTP_AUTHORIZATION=Bearer %s", token);
	peppers.count = 0;
	READ_ENVIRONMENT(bearer);
	peppers.count = 1;
	assert_int_equal(r.credential, CREDENTIAL_BAD);
}

static void plain_http_is_insecure_but_for_loopback(void **state)
{
	(void)state;
	READ_ENVIRONMENT("REMOTE_ADDR=192.0.2.1");
	assert_true(r.insecure);
	READ_ENVIRONMENT("REMOTE_ADDR=192.0.2.1", "HTTPS=on");
	assert_false(r.insecure);
	READ_ENVIRONMENT("REMOTE_ADDR=192.0.2.1", "HTTPS=off");
	assert_true(r.insecure);
	READ_ENVIRONMENT("REMOTE_ADDR=192.0.2.1", "REQUEST_SCHEME=https");
	assert_false(r.insecure);
	READ_ENVIRONMENT("REMOTE_ADDR=::ffff:127.0.0.1");
	assert_false(r.insecure);
	READ_ENVIRONMENT("REMOTE_ADDR=unix:");
	assert_true(r.insecure);
	assert_string_equal(r.address, "");
}

static void a_clients_uuid_is_kept_and_junk_is_replaced(void **state)
{
	(void)state;
	READ_ENVIRONMENT("HTTP_X_REQUEST_ID=123E4567-e89b-12d3-a456-426614174000");
	assert_string_equal(r.request_id, "123e4567-e89b-12d3-a456-426614174000");
	READ_ENVIRONMENT("HTTP_X_REQUEST_ID=x\r\nSet-Cookie: a=b");
	assert_int_equal(strlen(r.request_id), 36);
	assert_null(strchr(r.request_id, '\r'));
}

static void what_has_a_tokens_shape_reaches_no_log(void **state)
{
	char token[TOKEN_TEXT_MAX], uri[160], agent[160];

	(void)state;
	mint(token, sizeof token);
	snprintf(uri, sizeof uri, "REQUEST_URI=/api/v1/things/%s/turn", token);
	snprintf(agent, sizeof agent, "HTTP_USER_AGENT=curl %s \xff", token);
	READ_ENVIRONMENT(uri, agent);
	assert_string_equal(r.uri, "/api/v1/things/***/turn");
	assert_string_equal(r.user_agent, "curl *** ?");
}

static bool route(const char *method, const char *path, const char *query)
{
	char a[64], b[256], c[256];

	snprintf(a, sizeof a, "REQUEST_METHOD=%s", method);
	snprintf(b, sizeof b, "REQUEST_URI=%s", path);
	snprintf(c, sizeof c, "QUERY_STRING=%s", query);
	READ_ENVIRONMENT(a, b, c);
	return resource_route(&r);
}

static void every_spelling_of_a_path_finds_its_route(void **state)
{
	static const struct { const char *method, *path, *query, *operation, *id, *base; enum dialect dialect; bool admin; } rows[] = {
		{ "GET", "/api/v1/things", "", "listThings", NULL, "/api/v1/things", DIALECT_ENVELOPE, false },
		{ "GET", "/api/v1/things/", "", "listThings", NULL, "/api/v1/things", DIALECT_ENVELOPE, false },
		{ "HEAD", "/api/v1/things.php", "page=2", "listThings", NULL, "/api/v1/things.php", DIALECT_ENVELOPE, false },
		{ "GET", "/api/v1/things.php", "id=31", "getThing", "31", "/api/v1/things.php", DIALECT_ENVELOPE, false },
		{ "PATCH", "/api/v1/things.php", "x=1&id=31", "changeThing", "31", "/api/v1/things.php", DIALECT_ENVELOPE, false },
		{ "GET", "/api/v1/things.php/31", "", "getThing", "31", "/api/v1/things.php", DIALECT_ENVELOPE, false },
		{ "POST", "/api/v1/admin/things/31/turn", "", "turnThing", "31", "/api/v1/admin/things", DIALECT_ENVELOPE, true },
		{ "POST", "/api/things/turn", "", "turnThings", NULL, "/api/things", DIALECT_PLAIN, false },
		{ "GET", "/api/dinge/31", "", "getThing", "31", "/api/dinge", DIALECT_PLAIN, false },
		{ "GET", "/api/things/a%20b", "", "getThing", "a b", "/api/things", DIALECT_PLAIN, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_true(route(rows[i].method, rows[i].path, rows[i].query));
		assert_non_null(r.route);
		assert_string_equal(r.route->operation_id, rows[i].operation);
		if (rows[i].id)
			assert_string_equal(r.id, rows[i].id);
		else
			assert_null(r.id);
		assert_string_equal(r.base, rows[i].base);
		assert_int_equal(r.dialect, rows[i].dialect);
		assert_int_equal(r.admin_path, rows[i].admin);
	}
}

static void other_paths_are_nobodys(void **state)
{
	static const char *const paths[] = {
		"/api/v1/thingsy", "/api/v1/thing", "/api/v2/things", "/things", "", "/api/v1/things/1/2", "/api/v1/things/1/turn/3",
		"/api/v1/things.phpx", "/api/v1/things/%zz", "/api/v1/things/%00", "/api/v1/things/%ff", "/api/v1/things//turn"
	};

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		if (route("GET", paths[i], ""))
			fail_msg("%s was found", paths[i]);
		else
			assert_int_equal(r.dialect, strncmp(paths[i], "/api/v1", 7) == 0 ? DIALECT_ENVELOPE : DIALECT_PLAIN);
}

static void a_known_path_without_the_method_tells_what_it_takes(void **state)
{
	(void)state;
	assert_true(route("DELETE", "/api/v1/things/31", ""));
	assert_null(r.route);
	assert_int_equal(r.allowed, 1u << M_GET | 1u << M_PATCH);
	assert_true(route("GET", "/api/v1/things/turn", ""));
	assert_null(r.route);
	assert_int_equal(r.allowed, 1u << M_POST);
	assert_true(route("get", "/api/v1/things", ""));
	assert_null(r.route);
}

static void a_table_with_a_hole_does_not_start(void **state)
{
	struct route one[2] = { routes[0] };
	struct field some[2] = { fields[0] };
	struct resource broken = { "things", "thing", NULL, "Things", some, one };
	const char *why;

	(void)state;
	assert_true(resource_check(&things, &why));
	assert_true(resource_check(&broken, &why));
	one[0].scope = NULL;
	assert_false(resource_check(&broken, &why));
	one[0] = routes[0];
	one[0].scope = "things";
	assert_false(resource_check(&broken, &why));
	one[0] = routes[0];
	one[0].audit = "list";
	assert_false(resource_check(&broken, &why));
	one[0] = routes[2];
	one[0].call = NULL;
	assert_false(resource_check(&broken, &why));
	one[0] = routes[0];
	some[0].type = F_ENUM;
	assert_false(resource_check(&broken, &why));
}

static void list_of(const char *sort, const char *search)
{
	fresh();
	r.query.sort = sort;
	r.query.search = search;
}

static void a_cursor_opens_for_its_own_list_only(void **state)
{
	const char *text;
	char changed[CURSOR_MAX + 1];

	(void)state;
	list_of("name", NULL);
	text = cursor_make(&r, "value \"1\"", "31", 7);
	assert_non_null(text);
	assert_true(cursor_open(&r, text));
	assert_string_equal(r.position.value, "value \"1\"");
	assert_string_equal(r.position.id, "31");
	assert_string_equal(r.position.bound, "7");
	list_of("id", NULL);
	assert_false(cursor_open(&r, text));
	list_of("name", "x");
	assert_false(cursor_open(&r, text));
	list_of("name", NULL);
	r.query.descending = true;
	assert_false(cursor_open(&r, text));
	list_of("name", NULL);
	for (size_t i = 0; i < strlen(text); i++) {
		snprintf(changed, sizeof changed, "%s", text);
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_false(cursor_open(&r, changed));
	}
	assert_false(cursor_open(&r, ""));
	assert_false(cursor_open(&r, "=="));
	snprintf(changed, sizeof changed, "%sA", text);
	assert_false(cursor_open(&r, changed));
}

static void unknown_tokens_are_counted_per_address_and_minute(void **state)
{
	struct address_limit *limit = address_limit_new();
	const int64_t minute = 60000000;
	int64_t reset;

	(void)state;
	assert_non_null(limit);
	for (int i = 0; i < 3; i++)
		assert_true(address_limit_pass(limit, 3, "192.0.2.1", minute + i, &reset));
	assert_false(address_limit_pass(limit, 3, "192.0.2.1", minute + 9, &reset));
	assert_int_equal(reset, 2 * minute);
	assert_true(address_limit_pass(limit, 3, "192.0.2.2", minute + 9, &reset));
	assert_false(address_limit_pass(limit, 3, "192.0.2.1", 2 * minute - 1, &reset));
	assert_true(address_limit_pass(limit, 3, "192.0.2.1", 2 * minute, &reset));
	for (int i = 0; i < 3; i++)
		assert_true(address_limit_pass(limit, 3, i ? "2001:db8::1" : "2001:db8::ffff", minute, &reset));
	assert_false(address_limit_pass(limit, 3, "2001:db8:0:0:1::", minute, &reset)); /* the same /64 */
	address_limit_free(limit);
}

static void a_flood_of_addresses_takes_no_memory_and_forgets_the_oldest_only(void **state)
{
	struct address_limit *limit = address_limit_new();
	char address[32];
	int64_t reset;
	int refused = 0;

	(void)state;
	for (int i = 0; i < 65536; i++) {
		snprintf(address, sizeof address, "10.0.%d.%d", i >> 8, i & 255);
		assert_true(address_limit_pass(limit, 1, address, 100000000 + i, &reset));
	}
	for (int i = 65000; i < 65536; i++) {
		snprintf(address, sizeof address, "10.0.%d.%d", i >> 8, i & 255);
		refused += !address_limit_pass(limit, 1, address, 100070000, &reset);
	}
	assert_int_equal(refused, 536);
	address_limit_free(limit);
}

static void each_reason_has_its_words_and_an_unknown_one_is_a_refusal(void **state)
{
	(void)state;
	fresh();
	r.route = &routes[0];
	refusal_set(&r, "expired");
	assert_int_equal(r.failure.code, ERR_UNAUTHORIZED);
	refusal_set(&r, "rate_limit");
	assert_int_equal(r.failure.code, ERR_RATE_LIMITED);
	r.caller.held = "a:read";
	refusal_set(&r, "scope");
	assert_int_equal(r.failure.code, ERR_FORBIDDEN);
	assert_non_null(strstr(r.failure.details, "things:read"));
	assert_non_null(strstr(r.failure.details, "a:read"));
	refusal_set(&r, "something new");
	assert_int_equal(r.failure.code, ERR_FORBIDDEN);
	assert_true(r.failure.set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_becomes_key_id_and_digest_wherever_it_is_sent),
		cmocka_unit_test(a_changed_letter_is_found_without_a_query),
		cmocka_unit_test(two_tokens_at_once_are_told_apart_from_one),
		cmocka_unit_test(without_a_pepper_no_token_is_good),
		cmocka_unit_test(plain_http_is_insecure_but_for_loopback),
		cmocka_unit_test(a_clients_uuid_is_kept_and_junk_is_replaced),
		cmocka_unit_test(what_has_a_tokens_shape_reaches_no_log),
		cmocka_unit_test(every_spelling_of_a_path_finds_its_route),
		cmocka_unit_test(other_paths_are_nobodys),
		cmocka_unit_test(a_known_path_without_the_method_tells_what_it_takes),
		cmocka_unit_test(a_table_with_a_hole_does_not_start),
		cmocka_unit_test(a_cursor_opens_for_its_own_list_only),
		cmocka_unit_test(unknown_tokens_are_counted_per_address_and_minute),
		cmocka_unit_test(a_flood_of_addresses_takes_no_memory_and_forgets_the_oldest_only),
		cmocka_unit_test(each_reason_has_its_words_and_an_unknown_one_is_a_refusal),
	};

	return cmocka_run_group_tests_name("request", tests, begin, end);
}
