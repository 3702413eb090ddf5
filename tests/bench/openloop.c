/*
 * openloop.c: requests at a fixed rate, whether or not earlier ones were answered; latency counts from the moment at which
 * a request was due. A closed loop waits with a slow server and so hides its pauses; this does not.
 * usage: openloop PORT RATE SECONDS CONNECTIONS STATUS FILE
 *   FILE holds whole HTTP requests, each ended by a NUL, which are sent in turn to 127.0.0.1. Answers must have a
 *   Content-Length. Prints one JSON object: how many were sent, answered with STATUS, answered otherwise, lost, and the
 *   latencies in microseconds.
 * One thread, one epoll, one timer that fires once a request: light, as it runs beside what it measures.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 256 << 10, GRACE_S = 5, CONNECTIONS_MAX = 1024 };
#define SECOND 1000000000LL

struct connection {
	int fd;
	bool busy;
	int64_t due;             /* when the request under way should have left, ns */
	size_t len;
	char answer[ANSWER_MAX];
};

static struct {
	int port, epoll, status;
	struct connection *all, **idle;
	size_t idle_count;
	char **requests;
	size_t request_count;
	uint32_t *latency;       /* us, of those answered as expected */
	long sent, right, wrong, lost;
} run;

static void die(const char *what)
{
	fprintf(stderr, "openloop: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void open_connection(struct connection *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)run.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
		die("epoll_ctl");
	c->busy = false;
	run.idle[run.idle_count++] = c;
}

static void reopen(struct connection *c)
{
	close(c->fd);
	if (c->busy) { /* an idle one that the server closed is no loss */
		run.lost++;
	} else {
		for (size_t i = 0; i < run.idle_count; i++)
			if (run.idle[i] == c)
				run.idle[i] = run.idle[--run.idle_count];
	}
	open_connection(c);
}

static void send_request(int64_t due)
{
	struct connection *c = run.idle[--run.idle_count];
	const char *text = run.requests[(size_t)run.sent++ % run.request_count];
	size_t len = strlen(text);

	c->busy = true;
	c->due = due;
	c->len = 0;
	if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) /* a request fits the socket's empty buffer */
		reopen(c);
}

/* 0: more is to come; -1: not HTTP; else the status of a whole answer. */
static int whole_answer(const struct connection *c)
{
	const char *end = memmem(c->answer, c->len, "\r\n\r\n", 4), *line = c->answer;
	size_t body = 0;
	bool sized = false;
	int status;

	if (!end)
		return c->len < ANSWER_MAX - 1 ? 0 : -1;
	if (strncmp(c->answer, "HTTP/1.1 ", 9) != 0)
		return -1;
	status = (int)strtol(c->answer + 9, NULL, 10);
	while ((line = memmem(line, (size_t)(end - line), "\r\n", 2))) {
		line += 2;
		if (strncasecmp(line, "content-length:", 15) == 0) {
			body = strtoul(line + 15, NULL, 10);
			sized = true;
		}
	}
	if (!sized && status != 204 && status != 304)
		return -1;
	return (size_t)(end + 4 - c->answer) + body <= c->len ? status : 0;
}

static void read_answer(struct connection *c)
{
	ssize_t n = recv(c->fd, c->answer + c->len, ANSWER_MAX - 1 - c->len, 0);
	int status;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !c->busy) {
		reopen(c);
		return;
	}
	c->len += (size_t)n;
	c->answer[c->len] = '\0';
	status = whole_answer(c);
	if (status < 0) {
		reopen(c);
	} else if (status > 0) {
		if (status == run.status)
			run.latency[run.right++] = (uint32_t)((now() - c->due) / 1000);
		else
			run.wrong++;
		c->busy = false;
		run.idle[run.idle_count++] = c;
	}
}

static void read_requests(const char *file)
{
	FILE *in = fopen(file, "rb");
	size_t room = 0;
	char *text = NULL;

	if (!in)
		die(file);
	while (getdelim(&text, &(size_t){ 0 }, '\0', in) > 0) {
		if (run.request_count == room && !(run.requests = realloc(run.requests, (room = room * 2 + 64) * sizeof *run.requests)))
			die("memory");
		run.requests[run.request_count++] = text;
		text = NULL;
	}
	fclose(in);
	if (!run.request_count) {
		errno = EINVAL;
		die(file);
	}
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t percentile(double p)
{
	return run.right ? run.latency[(size_t)((double)(run.right - 1) * p)] : 0;
}

int main(int argc, char **argv)
{
	long rate, seconds, connections;

	if (argc != 7) {
		fputs("usage: openloop PORT RATE SECONDS CONNECTIONS STATUS FILE\n", stderr);
		return 2;
	}
	run.port = (int)strtol(argv[1], NULL, 10);
	rate = strtol(argv[2], NULL, 10);
	seconds = strtol(argv[3], NULL, 10);
	connections = strtol(argv[4], NULL, 10);
	run.status = (int)strtol(argv[5], NULL, 10);
	if (rate < 1 || rate > 100000 || seconds < 1 || seconds > 3600 || connections < 1 || connections > CONNECTIONS_MAX) {
		fputs("openloop: a number is out of range\n", stderr);
		return 2;
	}
	read_requests(argv[6]);

	long total = rate * seconds, due_count = 0;
	int64_t step = SECOND / rate;
	run.all = calloc((size_t)connections, sizeof *run.all);
	run.idle = calloc((size_t)connections, sizeof *run.idle);
	run.latency = calloc((size_t)total, sizeof *run.latency);
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (!run.all || !run.idle || !run.latency || run.epoll < 0 || timer < 0)
		die("start");
	prctl(PR_SET_TIMERSLACK, 1UL);
	for (long i = 0; i < connections; i++)
		open_connection(&run.all[i]);

	int64_t start = now() + SECOND / 10;
	struct itimerspec when = {
		.it_value = { .tv_sec = start / SECOND, .tv_nsec = start % SECOND },
		.it_interval = { .tv_sec = step / SECOND, .tv_nsec = step % SECOND },
	};
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, timer, &event) != 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		die("timer");

	/* Until all were sent and answered, or have had GRACE_S more than their time. */
	while ((run.sent < total || run.idle_count < (size_t)connections) && now() < start + (seconds + GRACE_S) * SECOND) {
		struct epoll_event events[64];
		int n = epoll_wait(run.epoll, events, 64, 100);

		for (int i = 0; i < n; i++) {
			uint64_t fired;

			if (events[i].data.ptr)
				read_answer(events[i].data.ptr);
			else if (read(timer, &fired, sizeof fired) == sizeof fired)
				due_count = due_count + (long)fired < total ? due_count + (long)fired : total;
		}
		/* what is due and finds no connection waits for one, and its clock runs */
		while (run.sent < due_count && run.idle_count)
			send_request(start + run.sent * step);
	}
	run.lost += total - run.right - run.wrong - run.lost;
	qsort(run.latency, (size_t)run.right, sizeof *run.latency, ascending);
	printf("{\"requests\":%ld,\"right\":%ld,\"wrong\":%ld,\"lost\":%ld,\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n", total,
	       run.right, run.wrong, run.lost, percentile(0.5), percentile(0.9), percentile(0.99), percentile(1));
	return 0;
}
