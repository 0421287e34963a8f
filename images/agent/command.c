// SPDX-License-Identifier: GPL-2.0-or-later
/* One shell command: for tests that need more of a system than its files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define LOOK_AGAIN_MS 20

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* In the child: a group of its own, so that all that it starts can be ended with it. */
static void become(const char *command, int output)
{
	int nothing = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	dup2(nothing, 0);
	dup2(output, 1);
	dup2(output, 2);
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 0);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Reads once; what there is no room for is dropped. Returns false at the end. */
static bool take(int fd, char *output, size_t room, size_t *len)
{
	char beyond[512];
	ssize_t got;

	if (*len < room)
		got = read(fd, output + *len, room - *len);
	else
		got = read(fd, beyond, sizeof(beyond));
	if (got > 0 && *len < room)
		*len += got;
	return got > 0 || (got < 0 && errno == EINTR);
}

int command_run(const char *command, int timeout_ms, char *output, size_t room, size_t *len, int *status)
{
	long long deadline = now_ms() + timeout_ms;
	bool late = false, ended = false, more = false;
	int ends[2];
	pid_t pid;

	*len = 0;
	if (access("/bin/sh", X_OK))
		return -ENOENT;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return -EAGAIN;
	}
	if (!pid)
		become(command, ends[1]);
	close(ends[1]);
	/* Not the output's end counts but the command's: what it leaves behind may go on writing. */
	while (!ended || more) {
		struct pollfd ready = { .fd = ends[0], .events = POLLIN };

		ended = ended || waitpid(pid, status, WNOHANG) == pid;
		if (now_ms() >= deadline) {
			late = !ended;
			break;
		}
		more = poll(&ready, 1, ended ? 0 : LOOK_AGAIN_MS) > 0;
		if (more && !take(ends[0], output, room, len)) {
			more = false;
			/* Nobody writes any more, and poll() says so at once. */
			if (!ended)
				usleep(1000);
		}
	}
	close(ends[0]);
	if (late) {
		kill(-pid, SIGKILL);
		waitpid(pid, status, 0);
	}
	return late ? -ETIMEDOUT : 0;
}
