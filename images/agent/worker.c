// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The worker: a process of its own, because the kernel may kill it in the middle of a call under test.
 *
 * Two pipes join it to the supervisor (small kernels have no sockets): a length, then so many bytes, both ways. The
 * supervisor's half is at the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

/* A line, what the supervisor adds to it, and a NUL. */
#define PACKET_BYTES (LINE_MAX_BYTES + 256)
#define LET_GO "let go"
#define LET_GO_TIMEOUT_MS 1000
/* How long a killed worker may take to be gone. Longer, and it hangs in the kernel for good. */
#define KILL_TIMEOUT_MS 300

static void perform(char *line, size_t len, struct text *answer)
{
	long got;

	if (!strcmp(line, LET_GO)) {
		client_let_go();
		i2cdev_let_go();
		text_add(answer, LET_GO);
		return;
	}
	if (!strncmp(line, "front=i2cdev ", strlen("front=i2cdev "))) {
		struct words words;

		if (words_parse(&words, line))
			i2cdev_perform(&words, answer);
		else
			text_add(answer, "{\"error\":\"the line is not key=value words\"}");
		return;
	}
	text_reserve(answer, LINE_MAX_BYTES);
	got = client_ask(line, len, answer->data, LINE_MAX_BYTES);
	if (got < 0)
		text_add(answer, "{\"error\":\"" CLIENT_DEVICE ": %s\"}", strerror(-got));
	else
		answer->len = got;
}

/* Writes a length and so many bytes. */
static bool packet_write(int fd, const char *bytes, size_t len)
{
	uint32_t header = len;
	struct iovec parts[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (char *)bytes, .iov_len = len },
	};
	size_t done = 0;

	while (done < sizeof(header) + len) {
		ssize_t written = done ? write(fd, bytes + done - sizeof(header), len + sizeof(header) - done)
				       : writev(fd, parts, 2);

		if (written < 0 && errno != EINTR)
			return false;
		/* A pipe takes PIPE_BUF bytes whole or not at all: the header is never torn. */
		done += written > 0 ? written : 0;
	}
	return true;
}

/*
 * Reads what packet_write() wrote, and adds a NUL. Returns its length, or -1 at the other's end. Reading past the packet
 * is no danger: neither side writes the next one before this one is answered.
 */
static ssize_t packet_read(int fd, char *bytes, size_t room)
{
	uint32_t header = 0;
	struct iovec parts[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = bytes, .iov_len = room - 1 },
	};
	size_t done = 0;

	while (done < sizeof(header) + header) {
		ssize_t got = done ? read(fd, bytes + done - sizeof(header), header + sizeof(header) - done)
				   : readv(fd, parts, 2);

		if (!got || (got < 0 && errno != EINTR) || header >= room)
			return -1;
		done += got > 0 ? got : 0;
	}
	bytes[header] = '\0';
	return header;
}

static void worker_main(int in, int out)
{
	static char line[PACKET_BYTES];
	struct text answer = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		ssize_t len = packet_read(in, line, sizeof(line));

		if (len < 0)
			_exit(0);
		text_clear(&answer);
		perform(line, len, &answer);
		if (answer.len > LINE_MAX_BYTES - LINE_REST_BYTES) {
			text_clear(&answer);
			text_add(&answer, "{\"error\":\"the answer is longer than a line may be\"}");
		}
		if (!packet_write(out, answer.data, answer.len))
			_exit(1);
	}
}

/* The supervisor's half. */

static struct {
	pid_t pid;
	int to;
	int from;
} worker = { .pid = -1, .to = -1, .from = -1 };

void worker_start(void)
{
	int there[2], back[2];

	/* Workers that hung and came to their end after all. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (worker.to >= 0) {
		close(worker.to);
		close(worker.from);
	}
	if (pipe2(there, O_CLOEXEC) || pipe2(back, O_CLOEXEC)) {
		perror("agent: pipe");
		exit(1);
	}
	worker.pid = fork();
	if (worker.pid < 0) {
		perror("agent: fork");
		exit(1);
	}
	if (!worker.pid) {
		close(there[1]);
		close(back[0]);
		worker_main(there[0], back[1]);
	}
	close(there[0]);
	close(back[1]);
	worker.to = there[1];
	worker.from = back[0];
}

/* Waits for the worker's end. Returns its signal, 0 if it exited, or -1 if it does not end. */
static int reap(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int waited, status;

	for (waited = 0; waited < KILL_TIMEOUT_MS; waited++) {
		if (waitpid(worker.pid, &status, WNOHANG) == worker.pid)
			return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		nanosleep(&pause, NULL);
	}
	return -1;
}

enum worker_end worker_ask(const char *line, size_t len, int timeout_ms, char **answer, size_t *answer_len,
			   int *signal)
{
	static char buffer[PACKET_BYTES];
	struct pollfd pollfd = { .fd = worker.from, .events = POLLIN };
	ssize_t got = -1;
	int ready;

	if (packet_write(worker.to, line, len)) {
		do {
			ready = poll(&pollfd, 1, timeout_ms);
		} while (ready < 0 && errno == EINTR);
		if (!ready) {
			kill(worker.pid, SIGKILL);
			reap();
			worker_start();
			return WORKER_HUNG;
		}
		got = packet_read(worker.from, buffer, sizeof(buffer));
	}
	if (got < 0) {
		*signal = reap();
		if (*signal < 0)
			kill(worker.pid, SIGKILL);
		worker_start();
		return WORKER_DIED;
	}
	*answer = buffer;
	*answer_len = got;
	return WORKER_ANSWERED;
}

void worker_let_go(void)
{
	size_t len;
	char *answer;
	int signal;

	worker_ask(LET_GO, strlen(LET_GO), LET_GO_TIMEOUT_MS, &answer, &len, &signal);
}
