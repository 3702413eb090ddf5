/* What actions are written with (worker/action.h), and how posternd runs one (worker/task.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "action.h"
#include "cron.h"
#include "task.h"
#include "timestamp.h"

static struct action action;
static char folder[64];
static int root;

static const struct field no_fields[] = { { 0 } };
static const struct kind quick = { "test.quick", "A kind of these tests", 1, 3, no_fields, NULL };
POSTERN_KIND(quick);

static int begin(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/postern-worker-XXXXXX");
	action.arena = arena_new();
	if (!mkdtemp(folder) || !action.arena)
		return -1;
	root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -1 : 0;
}

static int end(void **state)
{
	int parent = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool gone = file_remove(parent, folder + strlen("/tmp"));

	(void)state;
	close(parent);
	close(root);
	arena_free(action.arena);
	return gone ? 0 : -1;
}

static bool there(const char *path)
{
	struct stat st;

	return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void put(const char *path, const char *text, mode_t mode)
{
	assert_true(file_write(root, path, text, strlen(text), mode, (uid_t)-1, (gid_t)-1));
}

/* ---- files ---- */

static void a_file_is_replaced_as_a_whole_and_has_its_mode(void **state)
{
	struct stat st;
	size_t len;

	(void)state;
	put("one", "first", 0640);
	put("one", "second", 0600);
	assert_string_equal(file_read(&action, root, "/one", 100, &len), "second");
	assert_int_equal(len, 6);
	assert_int_equal(fstatat(root, "one", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_false(there(".one.new"));
	assert_null(file_read(&action, root, "one", 5, &len));
}

static void what_a_killed_attempt_left_is_in_nobodys_way(void **state)
{
	int fd = openat(root, ".two.new", O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	put("two", "whole", 0600);
	assert_false(there(".two.new"));
}

static void nothing_leads_out_of_the_root(void **state)
{
	static const char *const ways[] = { "../escaped", "a/../../escaped", "link/escaped", "link", "up/escaped", "..", "." };
	char outside[128], place[160];

	(void)state;
	snprintf(outside, sizeof outside, "%s-outside", folder);
	assert_int_equal(mkdir(outside, 0700), 0);
	assert_int_equal(symlinkat(outside, root, "link"), 0);
	assert_int_equal(symlinkat("..", root, "up"), 0);
	assert_int_equal(mkdirat(root, "a", 0700), 0);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		if (strcmp(ways[i], "link") != 0) /* the link itself is what is replaced, not what it points to */
			assert_false(file_write(root, ways[i], "x", 1, 0600, (uid_t)-1, (gid_t)-1));
		if (strcmp(ways[i], ".") != 0)
			assert_int_equal(file_open_beneath(root, ways[i], O_RDONLY, 0), -1);
	}
	assert_int_equal(file_make_folder(root, "link/new", 0700, (uid_t)-1, (gid_t)-1), -1);
	snprintf(place, sizeof place, "%s/escaped", outside);
	assert_int_equal(access(place, F_OK), -1);
	assert_int_equal(rmdir(outside), 0);
}

static void folders_are_made_with_those_above_them(void **state)
{
	int fd = file_make_folder(root, "/b/c/d", 0711, (uid_t)-1, (gid_t)-1);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	close(fd);
	fd = file_make_folder(root, "b/c/d", 0700, (uid_t)-1, (gid_t)-1);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711); /* what was there stays as it is */
	close(fd);
	put("file", "x", 0600);
	assert_int_equal(file_make_folder(root, "file/below", 0700, (uid_t)-1, (gid_t)-1), -1);
}

static void removing_a_tree_does_not_follow_links(void **state)
{
	int fd = file_make_folder(root, "tree/deep/deeper", 0700, (uid_t)-1, (gid_t)-1);

	(void)state;
	close(fd);
	put("kept", "x", 0600);
	put("tree/deep/file", "x", 0600);
	assert_int_equal(symlinkat("../../kept", root, "tree/deep/link"), 0);
	assert_int_equal(symlinkat("/etc", root, "tree/etc"), 0);
	assert_true(file_remove(root, "tree"));
	assert_false(there("tree"));
	assert_true(there("kept"));
	assert_true(file_remove(root, "tree")); /* again: there is none */
	assert_true(file_remove(root, "nowhere/at/all"));
	assert_false(file_remove(root, "/"));
}

static void a_lock_is_held_by_one(void **state)
{
	char path[128];
	char line[8];
	pid_t child;
	int fd, status, said[2];

	(void)state;
	snprintf(path, sizeof path, "%s/lock", folder);
	fd = file_lock(path);
	assert_true(fd >= 0);
	assert_int_equal(pipe(said), 0);
	if ((child = fork()) == 0) {
		dup2(said[1], STDOUT_FILENO);
		close(fd); /* which is the parent's hold on it */
		file_lock(path);
		_exit(0);
	}
	assert_int_equal(read(said[0], line, sizeof line), 1); /* it waits, and says that it is no idleness */
	assert_int_equal(line[0], '\n');
	assert_int_equal(waitpid(child, &status, WNOHANG), 0);
	close(fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(said[0]);
	close(said[1]);
}

/* ---- programs ---- */

static void a_command_has_its_input_output_errors_and_exit_code(void **state)
{
	struct command c = { .argv = { "sh", "-c", "cat; echo wrong >&2; exit 3" }, .input = "text", .input_len = 4 };

	(void)state;
	assert_false(command_run(&action, &c));
	assert_int_equal(c.status, 3);
	assert_string_equal(c.output, "text");
	assert_string_equal(c.errors, "wrong\n");
	assert_string_equal(command_complaint(&action, &c), "wrong");
}

static void a_command_has_a_clean_environment_and_no_file_of_ours(void **state)
{
	const char *const more[] = { "MORE=yes", NULL };
	struct command c = { .argv = { "sh", "-c", "env | sort | cut -d= -f1 | tr '\\n' ' '; ls /proc/self/fd | wc -l" }, .env = more };

	(void)state;
	setenv("SECRET", "x", 1);
	for (int fd = 3; fd < 1024; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC); /* what this test was started with */
	assert_true(command_run(&action, &c));
	unsetenv("SECRET");
	assert_null(strstr(c.output, "SECRET"));
	assert_non_null(strstr(c.output, "HOME LC_ALL MORE PATH"));
	assert_non_null(strstr(c.output, "4\n")); /* 0, 1, 2 and the folder that ls reads */
}

static void a_program_that_is_not_there_says_so(void **state)
{
	struct command c = { .argv = { "no-such-program" } };
	struct command nobody = { .argv = { "true" }, .user = "no-such-user" };

	(void)state;
	assert_false(command_run(&action, &c));
	assert_int_equal(c.status, 127);
	assert_non_null(strstr(command_complaint(&action, &c), "no-such-program: No such file"));
	assert_false(command_run(&action, &nobody));
	assert_non_null(strstr(nobody.errors, "no Unix user no-such-user"));
}

static void one_that_was_killed_is_no_success(void **state)
{
	struct command c = { .argv = { "sh", "-c", "kill -9 $$" } };

	(void)state;
	assert_false(command_run(&action, &c));
	assert_int_equal(c.status, 128 + SIGKILL);
	assert_non_null(strstr(command_complaint(&action, &c), "signal 9"));
}

static void a_long_complaint_begins_with_a_whole_character(void **state)
{
	struct command c = { .argv = { "/bin/sh", "-c", "printf 'é%.0s' $(seq 3000) >&2; echo x >&2; exit 1" } };
	const char *said;

	(void)state;
	assert_false(command_run(&action, &c));
	said = command_complaint(&action, &c);
	assert_int_equal(strncmp(said, "é", strlen("é")), 0);
	assert_string_equal(said + strlen(said) - strlen("éx"), "éx");
}

static void every_member_of_a_pipeline_counts(void **state)
{
	struct command good[] = { { .argv = { "echo", "abc" } }, { .argv = { "tr", "a-c", "x-z" } } };
	struct command first[] = { { .argv = { "sh", "-c", "echo half; exit 1" } }, { .argv = { "cat" } } };
	struct command last[] = { { .argv = { "sh", "-c", "yes | head -c 1000000" } }, { .argv = { "false" } } };

	(void)state;
	assert_true(command_pipe(&action, good, 2));
	assert_string_equal(good[1].output, "xyz\n");
	assert_false(command_pipe(&action, first, 2));
	assert_int_equal(first[0].status, 1);
	assert_int_equal(first[1].status, 0);
	assert_false(command_pipe(&action, last, 2));
}

static void count_line(void *arg, const char *line)
{
	if (strncmp(line, "line ", 5) == 0)
		++*(int *)arg;
}

static void output_has_a_ceiling_and_lines_are_heard_one_by_one(void **state)
{
	struct command much = { .argv = { "sh", "-c", "yes | head -c 3000000" }, .output_max = 1000 };
	int heard = 0;
	struct command lines = { .argv = { "sh", "-c", "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo line $i; done; printf 'line 501'" },
		                 .line = count_line, .arg = &heard };

	(void)state;
	assert_true(command_run(&action, &much));
	assert_int_equal(much.output_len, 1000);
	assert_true(command_run(&action, &lines));
	assert_int_equal(heard, 501);
}

static void large_input_and_output_do_not_wait_for_each_other(void **state)
{
	size_t len = 2 << 20;
	char *text = malloc(len);
	struct command c = { .argv = { "cat" }, .input = text, .input_len = len, .output_max = len };

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	assert_true(command_run(&action, &c));
	assert_int_equal(c.output_len, len);
	free(text);
}

static void a_command_dies_with_its_action(void **state)
{
	int ready[2];
	char pid_text[32] = "";
	pid_t child;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	if ((child = fork()) == 0) {
		struct command c = { .argv = { "sh", "-c", "echo $$; exec sleep 1000" }, .output_fd = ready[1] };

		command_run(&action, &c);
		_exit(0);
	}
	close(ready[1]);
	n = read(ready[0], pid_text, sizeof pid_text - 1);
	assert_true(n > 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(read(ready[0], pid_text + n, 1), 0); /* its end of the pipe is closed: it is gone */
	close(ready[0]);
}

static void a_setting_is_split_at_spaces(void **state)
{
	struct command c = { .argv = { NULL } };

	int status = 0;
	pid_t child;

	(void)state;
	command_split(&action, "/usr/sbin/nginx  -s reload ", &c);
	assert_string_equal(c.argv[0], "/usr/sbin/nginx");
	assert_string_equal(c.argv[2], "reload");
	assert_null(c.argv[3]);
	if ((child = fork()) == 0) { /* an empty one ends the action */
		command_split(&action, "  ", &c);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

/* ---- an attempt ---- */

static struct config config_here(void)
{
	static char actions[128];

	snprintf(actions, sizeof actions, "%s/actions", folder);
	return (struct config){ .worker_dir = folder, .local_actions_dir = actions, .actions_dir = actions };
}

static struct task attempt(const char *script, const char *secret)
{
	struct config config = config_here();
	struct task t = { .kind = &quick, .attempt = 1, .job = "00000000-0000-4000-8000-000000000001" };
	const char *why = NULL;
	char text[4096];
	bool again;

	close(file_make_folder(root, "actions", 0755, (uid_t)-1, (gid_t)-1));
	close(file_make_folder(root, "jobs", 0700, (uid_t)-1, (gid_t)-1));
	snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
	put("actions/test.quick", text, 0755);
	if (!task_start(&t, &config, NULL, "{\"a\":1}", secret, NULL, &why, &again))
		fail_msg("not started: %s", why);
	return t;
}

/* As the loop of posternd does, with a clock that can be set ahead. */
static void tend(struct task *t, int64_t ahead_us)
{
	while (!t->ended) {
		struct pollfd fds[] = { { .fd = t->out, .events = POLLIN }, { .fd = t->err, .events = POLLIN } };

		poll(fds, 2, 10);
		task_look(t, timestamp_now() + ahead_us);
	}
}

static void an_action_gets_the_job_and_its_answer_is_heard(void **state)
{
	struct config config = config_here();
	struct task t = attempt("cat >&2; echo '{\"progress\":130,\"message\":\"almost\"}'; echo '{\"result\":{\"n\":2}}'; echo '{broken'; echo '{\"progress\":\"x\"}'", "{\"key\":\"hidden\"}");
	const char *why;
	bool again, blocked;

	(void)state;
	tend(&t, 0);
	assert_true(task_good(&t, &why, &again, &blocked));
	assert_int_equal(t.progress, 100);
	assert_string_equal(t.message, "almost");
	assert_string_equal(json_object_to_json_string_ext(t.result, JSON_C_TO_STRING_PLAIN), "{\"n\":2}");
	assert_non_null(strstr(t.log.data, "{\"job\":\"00000000-0000-4000-8000-000000000001\",\"kind\":\"test.quick\",\"attempt\":1,\"data\":{\"a\":1},\"secret\":{\"key\":\"hidden\"}}"));
	assert_non_null(strstr(t.log.data, "{broken"));
	assert_true(task_free(&t, &config));
	assert_false(there("jobs/00000000-0000-4000-8000-000000000001"));
}

static void exit_codes_tell_for_now_from_for_good(void **state)
{
	static const struct { const char *script, *why; bool again, blocked; } cases[] = {
		{ "echo '{\"error\":\"busy\"}'; exit 75", "busy", true, false }, { "echo '{\"error\":\"no\"}'; exit 1", "no", false, false },
		{ "echo '{\"error\":\"not this\"}'; exit 69", "not this", true, true },
		{ "echo '{\"error\":\"busy\"}'; echo '{\"blocked\":\"/etc/x:3\"}'; exit 69", "/etc/x:3", true, true },
		{ "echo '{\"blocked\":\"/etc/x:3\"}'; exit 1", "the action ended with exit code 1 and gave no reason; see the log", false, false },
		{ "exit 9", "the action ended with exit code 9 and gave no reason; see the log", false, false },
		{ "kill -9 $$", "it was ended by signal 9 (Killed)", true, false }
	};
	struct config config = config_here();

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct task t = attempt(cases[i].script, NULL);
		const char *why;
		bool again, blocked;

		tend(&t, 0);
		assert_false(task_good(&t, &why, &again, &blocked));
		assert_string_equal(why, cases[i].why);
		assert_int_equal(again, cases[i].again);
		assert_int_equal(blocked, cases[i].blocked);
		assert_null(t.log.len ? strstr(t.log.data, "/etc/x") : NULL);
		task_free(&t, &config);
	}
}

static void one_that_takes_too_long_is_ended_with_all_it_started(void **state)
{
	struct config config = config_here();
	struct task t = attempt("trap '' TERM; setsid sleep 1000 & sleep 1000 & echo '{\"message\":\"begun\"}'; while :; do sleep 1000; done", NULL);
	const char *why;
	bool again, blocked;

	(void)state;
	while (!*t.message)
		task_look(&t, timestamp_now());
	task_look(&t, timestamp_now() + 2000000); /* past its limit: SIGTERM, which it does not heed */
	assert_true(t.late && !t.reaped);
	tend(&t, 60000000); /* past the grace */
	assert_false(task_good(&t, &why, &again, &blocked));
	assert_non_null(strstr(why, "longer than 1 s"));
	assert_true(again);
	assert_true(task_free(&t, &config)); /* nobody holds the lock any more */
}

static void the_log_is_bounded_and_keeps_its_end(void **state)
{
	struct config config = config_here();
	struct task t = attempt("i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo \"number $i\"; done; head -c 400000 /dev/zero | tr '\\0' x; echo; echo last", NULL);
	const char *why;
	bool again, blocked;

	(void)state;
	tend(&t, 0);
	assert_true(task_good(&t, &why, &again, &blocked));
	assert_true(t.log.len <= TASK_LOG_MAX);
	assert_non_null(strstr(t.log.data, "last\n"));
	assert_null(strstr(t.log.data, "number 1\n"));
	task_free(&t, &config);
}

static void an_attempt_does_not_begin_while_another_still_holds_its_lock(void **state)
{
	struct config config = config_here();
	struct task first = attempt("echo '{\"message\":\"begun\"}'; exec sleep 1000", NULL), second = first;
	const char *why;
	bool again;

	(void)state;
	while (!*first.message)
		task_look(&first, timestamp_now());
	second = (struct task){ .kind = &quick, .attempt = 2 };
	snprintf(second.job, sizeof second.job, "%s", first.job);
	assert_false(task_start(&second, &config, NULL, "{}", NULL, NULL, &why, &again));
	assert_true(again);
	assert_non_null(strstr(why, "still runs"));
	/* the worker is gone, and its hold on the lock; a new one ends what is left by the lock file alone */
	close(first.lock);
	first.lock = -1;
	assert_true(task_sweep(&config));
	tend(&first, 0);
	assert_true(WIFSIGNALED(first.status));
	task_free(&first, &config);
}

/* getpwnam has one answer at a time: asked for a name that lies in it, it would find whoever comes first, who is root. */
static void a_command_runs_as_the_user_that_was_found_before(void **state)
{
	struct passwd *user = getpwnam("nobody");
	struct command c = { .argv = { "id", "-un" } };

	(void)state;
	if (geteuid() != 0 || !user)
		skip();
	c.user = user->pw_name;
	assert_true(command_run(&action, &c));
	assert_string_equal(c.output, "nobody\n");
}

/* ---- results of cron jobs ---- */

static bool taken(const char *text, size_t len, struct cron_result *r)
{
	bool good;

	assert_true(file_write(root, "12", text, len, 0600, (uid_t)-1, (gid_t)-1));
	good = cron_take(action.arena, root, "12", r);
	assert_false(there("12"));
	assert_false(there(".taken"));
	return good;
}

static void a_result_is_read_once_and_only_as_a_run_leaves_it(void **state)
{
	const int64_t now = timestamp_now();
	const char *good = arena_printf(action.arena, "postern-cron 1 %" PRId64 " %" PRId64 " 255\n", now - 1000, now);
	const char *const bad[] = {
		"", "x", "postern-cron 1 ", "postern-cron 1 1 2 3", "postern-cron 1 1 2\n", "postern-cron 2 1 2 3\n", "postern-cron 1  1 2 3\n", "postern-cron 1 -1 2 3\n",
		"postern-cron 1 1 2 -3\n", "postern-cron 1 1 2 256\n", "postern-cron 1 1 2 0x1\n", "postern-cron 1 99999999999999999999 2 3\n",
		arena_printf(action.arena, "postern-cron 1 1 %" PRId64 " 0\n", now + (int64_t)2 * 86400 * 1000000), arena_printf(action.arena, " %s", good)
	};
	struct cron_result r;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (*bad[i])
			assert_false(taken(bad[i], strlen(bad[i]), &r));
	assert_true(taken(good, strlen(good), &r));
	assert_true(r.started_us == now - 1000 && r.finished_us == now);
	assert_int_equal(r.exit_code, 255);
	assert_string_equal(r.output, "");
	assert_true(taken("postern-cron 1 9 2 0\nx", 22, &r)); /* the clock was set back */
	assert_true(r.started_us == 9 && r.finished_us == 9);
	assert_false(cron_take(action.arena, root, "12", &r));
}

static void output_becomes_text(void **state)
{
	static const struct { const char *bytes; size_t len; const char *text; } outputs[] = {
		{ "a\tb\r\n", 5, "a\tb\r\n" }, { "\033[1m\007\177", 6, "?[1m??" }, { "a\0b", 3, "a?b" }, { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98" },
		{ "\xa4x", 2, "x" }, { "\x82\xac\x80\x80x", 5, "?x" }, { "x\xff\xc3", 3, "x??" }, { "\xed\xa0\x80", 3, "???" }, { "\xc0\xaf", 2, "??" }
	};
	struct cron_result r;

	(void)state;
	for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
		char bytes[64] = "postern-cron 1 1 2 0\n";
		size_t head = strlen(bytes);

		memcpy(bytes + head, outputs[i].bytes, outputs[i].len);
		assert_true(taken(bytes, head + outputs[i].len, &r));
		assert_string_equal(r.output, outputs[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_replaced_as_a_whole_and_has_its_mode),
		cmocka_unit_test(what_a_killed_attempt_left_is_in_nobodys_way),
		cmocka_unit_test(nothing_leads_out_of_the_root),
		cmocka_unit_test(folders_are_made_with_those_above_them),
		cmocka_unit_test(removing_a_tree_does_not_follow_links),
		cmocka_unit_test(a_lock_is_held_by_one),
		cmocka_unit_test(a_command_has_its_input_output_errors_and_exit_code),
		cmocka_unit_test(a_command_has_a_clean_environment_and_no_file_of_ours),
		cmocka_unit_test(a_program_that_is_not_there_says_so),
		cmocka_unit_test(one_that_was_killed_is_no_success),
		cmocka_unit_test(a_long_complaint_begins_with_a_whole_character),
		cmocka_unit_test(every_member_of_a_pipeline_counts),
		cmocka_unit_test(output_has_a_ceiling_and_lines_are_heard_one_by_one),
		cmocka_unit_test(large_input_and_output_do_not_wait_for_each_other),
		cmocka_unit_test(a_command_dies_with_its_action),
		cmocka_unit_test(a_command_runs_as_the_user_that_was_found_before),
		cmocka_unit_test(a_result_is_read_once_and_only_as_a_run_leaves_it),
		cmocka_unit_test(output_becomes_text),
		cmocka_unit_test(a_setting_is_split_at_spaces),
		cmocka_unit_test(an_action_gets_the_job_and_its_answer_is_heard),
		cmocka_unit_test(exit_codes_tell_for_now_from_for_good),
		cmocka_unit_test(one_that_takes_too_long_is_ended_with_all_it_started),
		cmocka_unit_test(the_log_is_bounded_and_keeps_its_end),
		cmocka_unit_test(an_attempt_does_not_begin_while_another_still_holds_its_lock),
	};

	return cmocka_run_group_tests_name("worker", tests, begin, end);
}
