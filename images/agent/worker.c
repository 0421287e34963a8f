// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two processes: the worker talks to the host and makes the calls under test, and the kernel may kill it in the middle
 * of one. The supervisor, its parent, looks after it and ends the scenario in its place. What the next worker has to
 * know lies in memory that they share.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define TICK_MS 50
/* How long a killed worker may take to be gone. Longer, and it hangs in the kernel for good. */
#define KILL_TIMEOUT_MS 300

/* The call under way: all that its end without a worker needs. */
static struct {
	struct under_way way;
	/* How many calls began; odd while one is under way. */
	unsigned long calls;
} *shared;

void *shared_memory(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("agent: mmap");
		exit(1);
	}
	return memory;
}

void worker_perform(const struct under_way *way, char *line, size_t len, struct text *answer)
{
	long got;

	shared->way = *way;
	__atomic_add_fetch(&shared->calls, 1, __ATOMIC_SEQ_CST);
	text_clear(answer);
	if (!strncmp(line, "front=i2cdev ", strlen("front=i2cdev "))) {
		struct words words;

		if (words_parse(&words, line))
			i2cdev_perform(&words, answer);
		else
			text_add(answer, "{\"error\":\"the line is not key=value words\"}");
	} else {
		text_reserve(answer, LINE_MAX_BYTES);
		got = client_ask(line, len, answer->data, LINE_MAX_BYTES);
		if (got < 0)
			text_add(answer, "{\"error\":\"" CLIENT_DEVICE ": %s\"}", strerror(-got));
		else
			answer->len = got;
	}
	if (answer->len > LINE_MAX_BYTES - LINE_REST_BYTES) {
		text_clear(answer);
		text_add(answer, "{\"error\":\"the answer is longer than a line may be\"}");
	}
	__atomic_add_fetch(&shared->calls, 1, __ATOMIC_SEQ_CST);
}

void worker_let_go(void)
{
	client_let_go();
	i2cdev_let_go();
}

/* The supervisor's half. */

/* Waits for a worker's end so long. Returns its status, or -1 if it goes on. */
static int wait_for_end(pid_t worker, const sigset_t *child, int ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	int status;

	if (waitpid(worker, &status, WNOHANG) == worker)
		return status;
	if (sigtimedwait(child, NULL, &left) < 0 && errno != EAGAIN && errno != EINTR) {
		/* Ticks that take no time would make every call a late one. */
		perror("agent: sigtimedwait");
		exit(1);
	}
	return waitpid(worker, &status, WNOHANG) == worker ? status : -1;
}

/*
 * Waits until the worker ends or its call takes too long. Returns whether it ended; *status is then that of wait(2).
 */
static bool watch(pid_t worker, const sigset_t *child, int *status)
{
	unsigned long seen = 0;
	int waited_ms = 0;

	for (;;) {
		unsigned long calls = __atomic_load_n(&shared->calls, __ATOMIC_SEQ_CST);

		/* Ticks are counted, not time: while the whole machine stands still nobody is late. */
		waited_ms = calls == seen && calls % 2 ? waited_ms + TICK_MS : 0;
		seen = calls;
		if (waited_ms > shared->way.timeout_ms)
			return false;
		*status = wait_for_end(worker, child, TICK_MS);
		if (*status != -1)
			return true;
	}
}

/* The worker hangs. Kills it and gives it a moment to be gone. */
static void end_worker(pid_t worker, const sigset_t *child)
{
	int waited_ms;

	kill(worker, SIGKILL);
	for (waited_ms = 0; waited_ms < KILL_TIMEOUT_MS; waited_ms += TICK_MS)
		if (wait_for_end(worker, child, TICK_MS) != -1)
			return;
}

int workers(void (*work)(void), void (*end)(const struct under_way *way, int signal, int hung_ms))
{
	sigset_t child, before;
	int status = 0;

	shared = shared_memory(sizeof(*shared));
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	/* Blocked, a signal waits for sigtimedwait(). */
	sigprocmask(SIG_BLOCK, &child, &before);
	for (;;) {
		pid_t parent = getpid(), worker = fork();
		bool ended;

		if (worker < 0) {
			perror("agent: fork");
			return 1;
		}
		if (!worker) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			sigprocmask(SIG_SETMASK, &before, NULL);
			if (getppid() == parent)
				work();
			_exit(0);
		}
		ended = watch(worker, &child, &status);
		if (!ended)
			end_worker(worker, &child);
		/*
		 * Outside of calls nothing may kill it: who has no worker cannot go on. Neither can who has killed it when
		 * it had just come back: its answer may be on its way.
		 */
		if (shared->calls % 2 == 0)
			return ended && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		shared->calls++;
		end(&shared->way, ended && WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		    ended ? 0 : shared->way.timeout_ms);
		/* Workers that hung and came to their end after all. */
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
