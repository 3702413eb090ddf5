/* test_arena.c: memory of one request. */
#include "arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

static char trail[8];
static size_t trail_len;

static void leave_trace(void *what)
{
	trail[trail_len++] = *(const char *)what;
}

static void memory_is_zeroed_and_aligned_also_after_reset(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	assert_non_null(a);
	for (int round = 0; round < 2; round++) {
		for (size_t size = 0; size < 3000; size += 7) {
			unsigned char *p = arena_alloc(a, size);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(p[i], 0);
			memset(p, 0xa5, size);
		}
		arena_reset(a);
	}
	arena_free(a);
}

static void allocations_do_not_overlap(void **state)
{
	(void)state;
	enum { N = 400 };
	struct arena *a = arena_new();
	unsigned char *p[N];
	for (int i = 0; i < N; i++) {
		p[i] = arena_alloc(a, (size_t)i * 97 + 1);
		assert_non_null(p[i]);
		memset(p[i], i & 0xff, (size_t)i * 97 + 1);
	}
	for (int i = 0; i < N; i++) {
		assert_int_equal(p[i][0], i & 0xff);
		assert_int_equal(p[i][i * 97], i & 0xff);
	}
	arena_free(a);
}

static void size_zero_gives_distinct_valid_pointers(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	char *p = arena_alloc(a, 0), *q = arena_array(a, 0, 8);
	assert_non_null(p);
	assert_non_null(q);
	assert_ptr_not_equal(p, q);
	arena_free(a);
}

static void nothing_passes_the_ceiling_and_the_arena_stays_usable(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	assert_null(arena_alloc(a, ARENA_MAX_BYTES));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_alloc(a, SIZE_MAX - 7));
	assert_null(arena_strndup(a, "x", SIZE_MAX));

	size_t total = 0;
	while (arena_alloc(a, 1 << 20))
		total += 1 << 20;
	assert_in_range(total, ARENA_MAX_BYTES - (2u << 20), ARENA_MAX_BYTES);
	assert_non_null(arena_alloc(a, 16));

	arena_reset(a);
	assert_non_null(arena_alloc(a, 8 << 20));
	arena_free(a);
}

static void small_allocations_meet_the_ceiling_too(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	size_t n = 0;
	while (n <= ARENA_MAX_BYTES / 4096 && arena_alloc(a, 4096))
		n++;
	assert_in_range(n, ARENA_MAX_BYTES / 4096 * 3 / 4, ARENA_MAX_BYTES / 4096);
	arena_free(a);
}

static void array_refuses_overflow(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	assert_null(arena_array(a, SIZE_MAX / 2, 3));
	assert_null(arena_array(a, SIZE_MAX / 8 + 2, 8));
	assert_non_null(arena_array(a, 10, 8));
	arena_free(a);
}

static void cleanups_run_in_reverse_order_and_once(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	trail_len = 0;
	assert_int_equal(arena_defer(a, leave_trace, "1"), 0);
	assert_int_equal(arena_defer(a, leave_trace, "2"), 0);
	assert_int_equal(arena_defer(a, leave_trace, "3"), 0);
	assert_int_equal(trail_len, 0);
	arena_reset(a);
	assert_int_equal(trail_len, 3);
	assert_memory_equal(trail, "321", 3);
	arena_reset(a);
	assert_int_equal(trail_len, 3);
	assert_int_equal(arena_defer(a, leave_trace, "4"), 0);
	arena_free(a);
	assert_int_equal(trail_len, 4);
	assert_int_equal(trail[3], '4');
}

static void a_cleanup_that_cannot_be_kept_runs_at_once(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	while (arena_alloc(a, 1 << 20))
		;
	while (arena_alloc(a, 1))
		;
	trail_len = 0;
	assert_int_equal(arena_defer(a, leave_trace, "x"), -1);
	assert_int_equal(trail_len, 1);
	arena_free(a);
	assert_int_equal(trail_len, 1);
}

static void cleanups_still_see_the_memory(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	trail_len = 0;
	assert_int_equal(arena_defer(a, leave_trace, arena_strdup(a, "m")), 0);
	assert_non_null(arena_alloc(a, 100000));
	arena_free(a);
	assert_int_equal(trail[0], 'm');
}

static void strings_are_copied_and_terminated(void **state)
{
	(void)state;
	struct arena *a = arena_new();
	assert_null(arena_strdup(a, NULL));
	assert_string_equal(arena_strdup(a, ""), "");
	assert_string_equal(arena_strdup(a, "gate"), "gate");
	assert_string_equal(arena_strndup(a, "gatekeeper", 4), "gate");
	assert_string_equal(arena_printf(a, "%s-%d", "a", 7), "a-7");
	char *wide = arena_printf(a, "%200000d", 1);
	assert_non_null(wide);
	assert_int_equal(strlen(wide), 200000);
	arena_free(a);
}

static void freeing_nothing_is_allowed(void **state)
{
	(void)state;
	arena_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_and_aligned_also_after_reset),
		cmocka_unit_test(allocations_do_not_overlap),
		cmocka_unit_test(size_zero_gives_distinct_valid_pointers),
		cmocka_unit_test(nothing_passes_the_ceiling_and_the_arena_stays_usable),
		cmocka_unit_test(small_allocations_meet_the_ceiling_too),
		cmocka_unit_test(array_refuses_overflow),
		cmocka_unit_test(cleanups_run_in_reverse_order_and_once),
		cmocka_unit_test(a_cleanup_that_cannot_be_kept_runs_at_once),
		cmocka_unit_test(cleanups_still_see_the_memory),
		cmocka_unit_test(strings_are_copied_and_terminated),
		cmocka_unit_test(freeing_nothing_is_allowed),
	};
	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
