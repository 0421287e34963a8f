// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What happens to an adapter's device beside a call: its driver is unbound, and bound again when the call is over; or
 * the system sleeps, and the driver is tried and bound anew when it is awake and the call is over.
 *
 * i2c_del_adapter() waits for everybody who has the adapter open, so a child process unbinds; it goes on to bind when
 * the worker has let go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define POLL_MS 1
#define GONE_TIMEOUT_MS 2000
#define PATH_BYTES (PATH_MAX + 16)

static pid_t child = -1;
/* Closed when the call is over; where the child says what came of it. */
static int over_fd = -1, result_fd = -1;

/*
 * What the child did: the new adapter's number or a negative errno, and whether the call was under way. If the system
 * slept, when it was awake (CLOCK_MONOTONIC), and the error of a transfer after that.
 */
struct result {
	int nr;
	bool caught;
	long long awake_ns;
	int after;
};

static void pause_ms(int ms)
{
	const struct timespec time = { .tv_nsec = ms * 1000000L };

	nanosleep(&time, NULL);
}

/* Whether the worker waits for hardware in its call: proc(5), "1 (agent) D ..." */
static bool is_waiting(pid_t worker)
{
	char path[32], stat[256];
	const char *state;
	long len;

	snprintf(path, sizeof(path), "/proc/%d/stat", worker);
	len = file_read(path, 0, stat, sizeof(stat) - 1);
	if (len < 0)
		return false;
	stat[len] = '\0';
	state = strrchr(stat, ')');
	return state && !strncmp(state, ") D", 3);
}

/* Waits until the worker waits in its call. Returns false if the call is over before. */
static bool catch_at_work(pid_t worker, int over)
{
	struct pollfd pollfd = { .fd = over, .events = POLLIN };

	while (!is_waiting(worker))
		if (poll(&pollfd, 1, POLL_MS))
			return false;
	return true;
}

/* Gives the device back to its driver. Returns the new adapter's number or a negative errno. */
static int unbind_and_bind(const char *device, const char *driver)
{
	const char *name = strrchr(device, '/') + 1;
	char path[PATH_BYTES];
	int error, nr;

	snprintf(path, sizeof(path), "%s/unbind", driver);
	error = file_write(path, name, strlen(name));
	if (error)
		return -error;
	snprintf(path, sizeof(path), "%s/bind", driver);
	error = file_write(path, name, strlen(name));
	if (error)
		return -error;
	/* The parent gives up first. */
	while ((nr = adapter_below(device)) < 0)
		pause_ms(POLL_MS);
	return nr;
}

/* Has every driver suspended and resumed, and nothing else. Returns 0 or a positive errno. */
static int sleep_and_wake(void)
{
	/* It would be a busy loop, of ten times its length in an emulator. */
	int error = file_write("/sys/module/suspend/parameters/pm_test_delay", "0", 1);

	/* The callbacks that run when no driver's interrupt comes any more are among them. */
	error = error ?: file_write("/sys/power/pm_test", "platform", strlen("platform"));
	return error ?: file_write("/sys/power/state", "freeze", strlen("freeze"));
}

/* A transfer when the call is over and the system awake. */
static void sleep_beside(struct result *result, const char *device, const char *driver, int nr, int over)
{
	struct pollfd pollfd = { .fd = over, .events = POLLIN };
	int error = sleep_and_wake();

	result->awake_ns = now_ns();
	poll(&pollfd, 1, -1);
	result->after = i2cdev_try(nr);
	/* What it has left mapped is reported now. */
	result->nr = error ? -error : unbind_and_bind(device, driver);
}

static const char *begin(const char *what, int nr)
{
	char adapter[64], device[PATH_MAX], driver[PATH_MAX], path[PATH_BYTES];
	bool before = !strcmp(what, "unbound"), sleeps = !strcmp(what, "suspend");
	struct result result = { .caught = true };
	int over[2], ends[2], waited_ms = 0;

	if (!before && !sleeps && strcmp(what, "unbind"))
		return "meanwhile: it is unbind, unbound or suspend";
	snprintf(adapter, sizeof(adapter), "/sys/bus/i2c/devices/i2c-%d", nr);
	if (!realpath(adapter, device))
		return "meanwhile: there is no such adapter";
	*strrchr(device, '/') = '\0';
	snprintf(path, sizeof(path), "%s/driver", device);
	if (!realpath(path, driver))
		return "meanwhile: the adapter's device has no driver";
	if (before && i2cdev_hold(nr) < 0)
		return "meanwhile: the adapter's device file cannot be opened";
	if (pipe2(over, O_CLOEXEC) || pipe2(ends, O_CLOEXEC))
		return "meanwhile: no pipe";
	child = fork();
	if (child < 0)
		return "meanwhile: no child";
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(over[1]);
		/* Its copies of what the worker has open would keep the adapter for good. */
		worker_let_go();
		if (!before)
			result.caught = catch_at_work(getppid(), over[0]);
		if (sleeps)
			sleep_beside(&result, device, driver, nr, over[0]);
		else
			result.nr = unbind_and_bind(device, driver);
		_exit(write(ends[1], &result, sizeof(result)) < 0);
	}
	close(over[0]);
	close(ends[1]);
	over_fd = over[1];
	result_fd = ends[0];
	/* The adapter is taken out of sysfs before its driver waits for those who use it. */
	for (; before && !access(adapter, F_OK) && waited_ms < GONE_TIMEOUT_MS; waited_ms += POLL_MS)
		pause_ms(POLL_MS);
	return before && waited_ms >= GONE_TIMEOUT_MS ? "meanwhile: the adapter does not go" : NULL;
}

const char *meanwhile_begin(const char *what, struct adapter *adapter)
{
	const char *why = begin(what, adapter_number(adapter));
	struct meanwhile found;

	if (why)
		meanwhile_end(adapter, &found);
	return why;
}

int meanwhile_end(struct adapter *adapter, struct meanwhile *found)
{
	long long over_ns = now_ns();
	struct pollfd pollfd = { .fd = result_fd, .events = POLLIN };
	struct result result = { .nr = -ETIMEDOUT, .caught = true };

	worker_let_go();
	if (child < 0)
		return -ECHILD;
	close(over_fd);
	if (poll(&pollfd, 1, FIRST_BIND_TIMEOUT_MS) == 1) {
		if (read(result_fd, &result, sizeof(result)) != sizeof(result))
			result.nr = -EIO;
		waitpid(child, NULL, 0);
	} else {
		kill(child, SIGKILL);
	}
	close(result_fd);
	child = over_fd = result_fd = -1;
	adapter_moved(adapter, result.nr);
	found->caught = result.caught;
	/* Nobody but those whom the freezer leaves alone has a clock meanwhile: see client_main.c. */
	found->slept = result.awake_ns && over_ns > result.awake_ns;
	found->after = result.after;
	return result.nr;
}
