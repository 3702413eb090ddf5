/* server.c: see server.h. */
#include "server.h"

#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "http.h"
#include "log.h"

enum { HOUSEKEEPING_S = 5, STOP_RETRY_MS = 20, DISCARD_MAX = 64 << 20, BACKLOG = 512, PARAMS_MAX = 128 << 10, PEEK_RETRY_MS = 2, GRACE_MS = 100, BODY_TIMEOUTS = 6,
       KEEP_BYTES = 256 << 10, STREAM_BYTES = 48 << 10, STREAM_TIMEOUTS = 6 };

struct server {
	struct service *service;
	int listen_fd;
	atomic_bool stop;
	atomic_int running;
	atomic_int late;           /* threads that wait for the rest of a body */
};

struct worker {
	struct server *server;
	pthread_t thread;
	struct peppers peppers;    /* a copy of its own */
	struct held *held;         /* the settings it goes by */
	atomic_bool waiting;       /* in accept: may be woken */
	pthread_mutex_t lock;      /* of the two below */
	int reading_fd;            /* a body is being read from it; -1: none */
	time_t reading_since_s;
};

static void wake(int signal_number)
{
	(void)signal_number; /* only to interrupt accept */
}

static time_t monotonic_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void set_reading(struct worker *w, int fd)
{
	pthread_mutex_lock(&w->lock);
	w->reading_fd = fd;
	w->reading_since_s = monotonic_s();
	pthread_mutex_unlock(&w->lock);
}

/* The socket limits each read; a peer that sends a byte now and then is limited here, by ending what it sends. */
static void end_slow_bodies(struct worker *workers, int n)
{
	for (int i = 0; i < n; i++) {
		struct worker *w = &workers[i];

		pthread_mutex_lock(&w->lock);
		if (w->reading_fd >= 0 && monotonic_s() - w->reading_since_s > BODY_TIMEOUTS * w->server->service->config->io_timeout_s)
			shutdown(w->reading_fd, SHUT_RD);
		pthread_mutex_unlock(&w->lock);
	}
}

/* Read the body to its end: to our limit into *out, the rest away, so that closing loses nothing that was sent. */
static bool read_body(FCGX_Request *fcgi, struct request *r)
{
	size_t max = (size_t)r->config->body_max_bytes, total = 0;
	struct buf body;
	char chunk[16384];
	int n;

	buf_init(&body, max);
	while ((n = FCGX_GetStr(chunk, sizeof chunk, fcgi->in)) > 0) {
		total += (size_t)n;
		if (total <= max)
			buf_add(&body, chunk, (size_t)n);
		else if (total > DISCARD_MAX)
			break;
	}
	r->body_too_large = total > max;
	if (!r->body_too_large && body.len) {
		r->body_text = arena_strndup(r->arena, body.data, body.len);
		r->body_len = r->body_text ? body.len : 0;
		r->body_too_large = !r->body_text;
	}
	buf_free(&body);
	return n == 0 && FCGX_GetError(fcgi->in) == 0;
}

/* RFC 9110 section 15; web servers pass the phrase on as it is. */
static const char *phrase(int status)
{
	static const struct { int status; const char *text; } phrases[] = {
		{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 304, "Not Modified" },
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 409, "Conflict" }, { 412, "Precondition Failed" },
		{ 413, "Content Too Large" }, { 415, "Unsupported Media Type" }, { 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" }, { 503, "Service Unavailable" }
	};

	for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
		if (phrases[i].status == status)
			return phrases[i].text;
	return "Internal Server Error";
}

/* From here on, a peer that keeps us waiting is given up. Set where waiting is possible only: most requests come whole, and
 * their answers fit into the socket. */
static void limit_waiting(const struct worker *w, int fd, int times)
{
	struct timeval limit = { .tv_sec = (time_t)times * w->server->service->config->io_timeout_s };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static bool send_all(const struct worker *w, int fd, const char *data, size_t len, int times)
{
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT;

	while (len) {
		ssize_t sent = send(fd, data, len, flags);

		if (sent >= 0) {
			data += sent;
			len -= (size_t)sent;
		} else if ((errno == EAGAIN || errno == EWOULDBLOCK) && flags & MSG_DONTWAIT) {
			flags = MSG_NOSIGNAL;
			limit_waiting(w, fd, times);
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

static FCGI_Header record(int type, int id, size_t len)
{
	return (FCGI_Header){
		.version = FCGI_VERSION_1, .type = (unsigned char)type, .requestIdB1 = (unsigned char)(id >> 8),
		.requestIdB0 = (unsigned char)id, .contentLengthB1 = (unsigned char)(len >> 8), .contentLengthB0 = (unsigned char)len
	};
}

/*
 * Header and body in one piece, so that no answer is ever cut half-way with status 200, and with the records that end it, so
 * that one call sends it all; libfcgi would take one for each 8 KiB.
 */
static void send_reply(const struct worker *w, const FCGX_Request *fcgi, const struct reply *reply, struct buf *all)
{
	int id = fcgi->requestId;
	FCGI_Header head = record(FCGI_STDOUT, id, 0);
	FCGI_EndRequestRecord end = { record(FCGI_END_REQUEST, id, sizeof end.body), { .protocolStatus = FCGI_REQUEST_COMPLETE } };
	size_t content;

	buf_clear(all);
	buf_add(all, &head, sizeof head);
	buf_str(all, "Status: ");
	buf_int(all, reply->status);
	buf_char(all, ' ');
	buf_str(all, phrase(reply->status));
	buf_str(all, "\r\n");
	buf_add(all, reply->head.data, reply->head.len);
	if (reply->status != 204 && reply->status != 304) {
		buf_str(all, "Content-Length: ");
		buf_int(all, (int64_t)reply->body.len);
		buf_str(all, "\r\n");
	}
	buf_str(all, "\r\n");
	if (!reply->no_body)
		buf_add(all, reply->body.data, reply->body.len);
	content = all->len;
	buf_add(all, &head, sizeof head);
	buf_add(all, &end, sizeof end);
	if (buf_failed(all))
		return;
	/* the head of each further record takes the place of bytes that have been sent */
	for (size_t at = sizeof head, len; at < content; at += len) {
		len = content - at < FCGI_MAX_LENGTH ? content - at : FCGI_MAX_LENGTH;
		head = record(FCGI_STDOUT, id, len);
		memcpy(all->data + at - sizeof head, &head, sizeof head);
		if (!send_all(w, fcgi->ipcFd, all->data + at - sizeof head, sizeof head + len + (at + len < content ? 0 : all->len - content), 1))
			return;
	}
}

/* An answer that is written as it is made: what gathers is sent as a record when it is full, and when somebody waits for it. The
 * web server passes it on at the pace of the client's line, so it may take its time. */
struct stream {
	const struct worker *w;
	int fd, id;
	struct buf *out;
	bool broken;
};

static bool stream_send(struct stream *s)
{
	FCGI_Header head = record(FCGI_STDOUT, s->id, s->out->len - sizeof head);

	if (s->out->len > sizeof head && !s->broken) {
		memcpy(s->out->data, &head, sizeof head);
		s->broken = !send_all(s->w, s->fd, s->out->data, s->out->len, STREAM_TIMEOUTS);
	}
	buf_clear(s->out);
	buf_add(s->out, &head, sizeof head); /* room for the next */
	return !s->broken;
}

static bool stream_write(void *to, const char *data, size_t len)
{
	struct stream *s = to;

	for (size_t n; len && !s->broken; data += n, len -= n) {
		size_t room = sizeof(FCGI_Header) + STREAM_BYTES - s->out->len;

		n = len < room ? len : room;
		buf_add(s->out, data, n);
		s->broken = buf_failed(s->out);
		if (n == room)
			stream_send(s);
	}
	return !s->broken;
}

static bool stream_step(void *to, int64_t rows)
{
	(void)rows;
	return stream_send(to);
}

/* nginx takes the end of a connection for the end of an answer. A record that is none makes it cut what was cut here. */
static void send_stream(struct worker *w, FCGX_Request *fcgi, struct request *r, const struct reply *reply, struct buf *out)
{
	struct stream s = { .w = w, .fd = fcgi->ipcFd, .id = fcgi->requestId, .out = out };
	struct sink sink = { stream_write, stream_step, &s };
	FCGI_EndRequestRecord end = { record(FCGI_END_REQUEST, s.id, sizeof end.body), { .protocolStatus = FCGI_REQUEST_COMPLETE } };
	FCGI_Header last = record(FCGI_STDOUT, s.id, 0);
	char status[64];

	buf_clear(out);
	buf_add(out, &last, sizeof last);
	snprintf(status, sizeof status, "Status: %d %s\r\n", reply->status, phrase(reply->status));
	stream_write(&s, status, strlen(status));
	stream_write(&s, reply->head.data, reply->head.len);
	stream_write(&s, "\r\n", 2);
	stream_send(&s);
	if (!reply->stream(w->server->service, r, &sink) || !stream_send(&s))
		last.version = 0;
	if (!s.broken)
		send_all(w, s.fd, (char *)&last, sizeof last, 1);
	if (last.version)
		send_all(w, s.fd, (char *)&end, sizeof end, 1);
}

/* A body that is still on its way may be long in coming: at most half of the threads wait for one, so that those who send slowly
 * do not hold up the others. */
static int late_at_most(const struct worker *w)
{
	int half = w->server->service->config->threads / 2;

	return half > 1 ? half : 1;
}

static bool take_body(struct worker *w, FCGX_Request *fcgi, struct request *r, bool here)
{
	const char *expected = FCGX_GetParam("CONTENT_LENGTH", fcgi->envp);
	bool whole = false;

	if (here || atomic_fetch_add(&w->server->late, 1) < late_at_most(w)) {
		set_reading(w, fcgi->ipcFd);
		whole = read_body(fcgi, r);
		set_reading(w, -1);
		/* what was announced did not come: the peer is gone or cut it short, and half a request is none */
		if (!r->body_too_large && expected && (!whole || strtoull(expected, NULL, 10) != r->body_len))
			request_failf(r, ERR_BAD_REQUEST, NULL, "the body is shorter or longer than its Content-Length says");
	} else {
		request_failf(r, ERR_UNAVAILABLE, NULL, "too many bodies of requests are still being received; try again in a moment");
	}
	if (!here)
		atomic_fetch_sub(&w->server->late, 1);
	return whole;
}

static void serve(struct worker *w, FCGX_Request *fcgi, bool here, struct arena *arena, struct reply *reply, struct buf *out)
{
	struct service *s = w->server->service;
	struct request r = { .arena = arena, .peppers = &w->peppers, .resource = s->resource };
	bool whole;

	if (!settings_is_newest(s->settings, w->held)) {
		settings_release(s->settings, w->held);
		w->held = settings_hold(s->settings);
	}
	r.config = &w->held->config;
	r.settings_number = w->held->number;
	http_read_environment(&r, fcgi->envp);
	whole = take_body(w, fcgi, &r, here);
	resource_answer(s, &r, reply);
	if (reply->stream)
		send_stream(w, fcgi, &r, reply, out);
	else
		send_reply(w, fcgi, reply, out);
	if (whole)
		FCGX_Detach(fcgi); /* spares the wait for the web server's close; safe as nothing is left unread */
}

static int accept_connection(struct worker *w)
{
	int fd = -1;

	atomic_store(&w->waiting, true);
	while (fd < 0 && !atomic_load(&w->server->stop)) {
		fd = accept4(w->server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			log_event("warn", "accept", "message", strerror(errno), NULL);
			sched_yield();
		} else if (fd < 0 && (errno == EBADF || errno == EINVAL || errno == ENOTSOCK)) {
			log_event("error", "accept", "message", strerror(errno), NULL);
			break;
		}
	}
	atomic_store(&w->waiting, false);
	return fd;
}

/*
 * libfcgi believes every length it is told and aborts the process when there is no memory for it. So the start of a request
 * is looked at before libfcgi reads it, and whoever sends anything but a responder's request whose parameters are as long as
 * they say, and PARAMS_MAX at most, is hung up on.
 */
static bool pairs_fit(const unsigned char *at, size_t left)
{
	while (left) {
		size_t both = 0;

		for (int i = 0; i < 2; i++) {
			size_t size = left && *at & 0x80 ? 4 : 1;

			if (left < size)
				return false;
			both += size == 1 ? *at : (size_t)(*at & 0x7f) << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
			at += size;
			left -= size;
		}
		if (both > left)
			return false;
		at += both;
		left -= both;
	}
	return true;
}

enum look { LOOK_NONE = 0, LOOK_MORE, LOOK_REQUEST, LOOK_WHOLE };

/* Does what follows the parameters hold the body to its end? */
static bool body_is_whole(const unsigned char *data, size_t len, const unsigned char id[2])
{
	while (len >= 8 && data[0] == FCGI_VERSION_1 && data[1] == FCGI_STDIN && memcmp(id, data + 2, 2) == 0) {
		size_t size = (size_t)data[4] << 8 | data[5], whole = 8 + size + data[6];

		if (!size)
			return true;
		if (len < whole)
			return false;
		data += whole;
		len -= whole;
	}
	return false;
}

/* Is this the start of a request, or all of one? Gathers the parameters' pieces at the start of `data`. */
static enum look look(unsigned char *data, size_t len)
{
	size_t at = 0, params = 0;
	unsigned char id[2];

	while (len - at >= 8) {
		const unsigned char *head = data + at;
		size_t size = (size_t)head[4] << 8 | head[5], whole = 8 + size + head[6];

		if (!at)
			memcpy(id, head + 2, 2);
		if (head[0] != FCGI_VERSION_1 || head[1] != (at ? FCGI_PARAMS : FCGI_BEGIN_REQUEST) || memcmp(id, head + 2, 2) != 0)
			return LOOK_NONE;
		if (at && !size)
			return !pairs_fit(data, params) ? LOOK_NONE : len - at >= whole && body_is_whole(head + whole, len - at - whole, id)
			       ? LOOK_WHOLE : LOOK_REQUEST;
		if (len - at < whole)
			return LOOK_MORE;
		if (at) {
			memmove(data + params, head + 8, size);
			params += size;
		} else if (size != 8 || head[8] != 0 || head[9] != FCGI_RESPONDER) {
			return LOOK_NONE;
		}
		at += whole;
	}
	return LOOK_MORE;
}

/* Wait for the start of a request and judge it, without taking it from the socket: LOOK_REQUEST, or LOOK_WHOLE where all of it is
 * there; else it is none. */
static enum look request_comes(const struct worker *w, int fd, unsigned char *data)
{
	int timeout_ms = w->server->service->config->io_timeout_s * 1000;
	struct timespec pause = { .tv_nsec = PEEK_RETRY_MS * 1000000L };
	struct pollfd peer = { .fd = fd, .events = POLLRDHUP };
	bool hold; /* more of it is wanted: where no thread may wait for a body, it has a moment to come whole */
	ssize_t len = recv(fd, data, PARAMS_MAX, MSG_PEEK | MSG_DONTWAIT);

	if (len > 0 && look(data, (size_t)len) == LOOK_WHOLE)
		return LOOK_WHOLE;
	limit_waiting(w, fd, 1);
	for (int waited_ms = 0; waited_ms < timeout_ms; waited_ms += PEEK_RETRY_MS) {
		bool over = poll(&peer, 1, 0) > 0; /* first: what was sent before the end is then all there */
		enum look found;

		len = recv(fd, data, PARAMS_MAX, MSG_PEEK);
		if (len < 0 && errno == EINTR)
			continue;
		found = len > 0 ? look(data, (size_t)len) : LOOK_NONE;
		hold = found == LOOK_MORE || (found == LOOK_REQUEST && waited_ms < GRACE_MS && atomic_load(&w->server->late) >= late_at_most(w));
		if (!hold || over || len == PARAMS_MAX)
			return found;
		nanosleep(&pause, NULL); /* rare: web servers send this in one piece, and poll cannot wait for more of it */
	}
	return LOOK_NONE;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct arena *arena = arena_new();
	unsigned char *peeked = malloc(PARAMS_MAX);
	struct reply reply;
	struct buf out;
	FCGX_Request fcgi;
	bool ready = peppers_copy(&w->peppers, &w->server->service->peppers) && arena && peeked;
	enum look found;
	int fd;

	reply_init(&reply);
	buf_init(&out, REPLY_MAX_BYTES + 65536);
	while (ready && (fd = accept_connection(w)) >= 0) {
		if ((found = request_comes(w, fd, peeked)) < LOOK_REQUEST) {
			close(fd);
			continue;
		}
		/* An open connection to a request that libfcgi keeps: that is how it is given one accepted elsewhere. When what
		 * comes over it is no request, libfcgi closes it and asks our invalid socket for the next, which fails at once. */
		FCGX_InitRequest(&fcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR);
		fcgi.ipcFd = fd;
		fcgi.keepConnection = 1;
		if (FCGX_Accept_r(&fcgi) == 0)
			serve(w, &fcgi, found == LOOK_WHOLE, arena, &reply, &out);
		FCGX_Free(&fcgi, 1);
		arena_reset(arena);
		if (out.cap > KEEP_BYTES) { /* a rare large answer */
			reply_free(&reply);
			buf_free(&out);
		}
	}
	reply_free(&reply);
	buf_free(&out);
	arena_free(arena);
	peppers_free(&w->peppers);
	free(peeked);
	atomic_fetch_sub(&w->server->running, 1);
	return NULL;
}

/* SIGTERM: no new requests; those under way finish. A thread may slip into accept just after a signal, so ask again. */
static void stop_workers(struct server *server, struct worker *workers, int n)
{
	struct timespec pause = { .tv_nsec = STOP_RETRY_MS * 1000000L };

	atomic_store(&server->stop, true);
	while (atomic_load(&server->running) > 0) {
		for (int i = 0; i < n; i++)
			if (atomic_load(&workers[i].waiting))
				pthread_kill(workers[i].thread, SIGUSR1);
		nanosleep(&pause, NULL);
	}
	for (int i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		settings_release(server->service->settings, workers[i].held);
	}
}

int server_run(struct service *service, int listen_fd)
{
	struct server server = { .service = service, .listen_fd = listen_fd };
	int n = service->config->threads, started = 0, signal_number;
	struct worker *workers = calloc((size_t)n, sizeof *workers);
	struct timespec wait = { .tv_sec = HOUSEKEEPING_S };
	struct sigaction interrupt = { .sa_handler = wake };
	sigset_t ending;

	if (!workers || FCGX_Init() != 0)
		return free(workers), 1;
	sigaction(SIGUSR1, &interrupt, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ending, NULL);
	for (; started < n; started++) {
		workers[started].server = &server;
		workers[started].reading_fd = -1;
		pthread_mutex_init(&workers[started].lock, NULL);
		atomic_fetch_add(&server.running, 1);
		if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0) {
			atomic_fetch_sub(&server.running, 1);
			break;
		}
	}
	log_event("info", "start", "resource", service->resource->name, "version", POSTERN_VERSION, NULL);
	while ((signal_number = sigtimedwait(&ending, NULL, &wait)) < 0 && atomic_load(&server.running) > 0) {
		end_slow_bodies(workers, started);
		gate_keep_house(service->gate);
	}
	stop_workers(&server, workers, started);
	free(workers);
	log_event("info", "stop", "resource", service->resource->name, NULL);
	return signal_number > 0 ? 0 : 1;
}

int server_listen(const char *path, unsigned mode, const char **why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (strlen(path) >= sizeof address.sun_path)
		return *why = "the path is too long for a socket; use a shorter one", -1;
	memcpy(address.sun_path, path, strlen(path));
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return *why = "there is something else at this path", -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && stat(path, &st) == 0) {
		if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
			close(fd);
			return *why = "another process serves this socket", -1;
		}
		unlink(path); /* left by one that was killed */
	}
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, mode) != 0 || listen(fd, BACKLOG) != 0) {
		*why = strerror(errno);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}
