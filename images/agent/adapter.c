// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I2C adapters and the devices they belong to, on the PCI or the platform bus.
 *
 * Binding and unbinding can block for ever when a task died with something in its hands (i2c_del_adapter() waits for
 * the last reference), so a child process does it and the supervisor waits for it with a bound.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define ADAPTERS 16
#define SETTINGS 8
#define NAME_BYTES 64
#define PATH_BYTES 300
#define BUSES "/sys/bus"
#define APPEAR_POLL_MS 2
#define BIND_STACK_BYTES 65536

struct adapter {
	char name[NAME_BYTES];
	char bus[NAME_BYTES];
	char device[NAME_BYTES];
	char driver[NAME_BYTES];
	/* The node of its trace, or "". */
	char trace[NAME_BYTES + sizeof("/dev/")];
	int nr;
	/* What adapter_set() was told last, if it did all of it. */
	char settings[SETTINGS * NAME_BYTES];
	struct {
		char name[NAME_BYTES];
		char value[NAME_BYTES];
	} written[SETTINGS];
};

/* In memory that every worker has. */
static struct adapter *adapters;

void adapters_open(void)
{
	adapters = shared_memory(ADAPTERS * sizeof(*adapters));
}

struct adapter *adapter_find(const char *name)
{
	int i;

	for (i = 0; i < ADAPTERS; i++)
		if (adapters[i].name[0] && !strcmp(adapters[i].name, name))
			return &adapters[i];
	return NULL;
}

int adapter_number(const struct adapter *adapter)
{
	return adapter->nr;
}

const char *adapter_trace(const struct adapter *adapter)
{
	return adapter->trace[0] ? adapter->trace : NULL;
}

/* A file of the adapter's device. */
static void device_path(char path[PATH_BYTES], const struct adapter *adapter, const char *file)
{
	snprintf(path, PATH_BYTES, BUSES "/%s/devices/%s/%s", adapter->bus, adapter->device, file);
}

/* Looks for a directory i2c-N in path, or one level below (virtio's device stands between). Returns N or -1. */
static int find_number(const char *path, int depth)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int nr = -1;

	while (directory && nr < 0 && (entry = readdir(directory))) {
		char below[PATH_BYTES], *end;

		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
			continue;
		if (!strncmp(entry->d_name, "i2c-", 4)) {
			nr = strtol(entry->d_name + 4, &end, 10);
			if (*end)
				nr = -1;
		} else if (depth && snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < PATH_BYTES) {
			nr = find_number(below, depth - 1);
		}
	}
	if (directory)
		closedir(directory);
	return nr;
}

static bool is_bound_to(const struct adapter *adapter)
{
	char path[PATH_BYTES], target[PATH_MAX];
	ssize_t len;
	char *name;

	device_path(path, adapter, "driver");
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	name = strrchr(target, '/');
	return name && !strcmp(name + 1, adapter->driver);
}

enum binding { BIND_FIRST, BIND_AGAIN, BIND_AFTER_DEATH };

/* In the child: makes the driver the device's. Returns the adapter's number or a negative errno. */
static int bind_driver(const struct adapter *adapter, enum binding binding)
{
	const struct timespec pause = { .tv_nsec = APPEAR_POLL_MS * 1000000L };
	size_t len = strlen(adapter->device);
	char path[PATH_BYTES];
	int error, nr;

	if (binding == BIND_AFTER_DEATH) {
		/* dmasafe's own controller can give up no more than the adapter, which keeps its number. */
		device_path(path, adapter, "renew");
		if (!file_write(path, "1", 1))
			return adapter->nr;
	}
	if (binding != BIND_FIRST || !is_bound_to(adapter)) {
		/* Virtio's bus has no such file; there a driver takes what it is bound to by name. */
		device_path(path, adapter, "driver_override");
		error = file_write(path, adapter->driver, strlen(adapter->driver));
		if (error && error != ENOENT)
			return -error;
		device_path(path, adapter, "driver/unbind");
		error = file_write(path, adapter->device, len);
		if (error && error != ENOENT)
			return -error;
		snprintf(path, sizeof(path), BUSES "/%s/drivers/%s/bind", adapter->bus, adapter->driver);
		error = file_write(path, adapter->device, len);
		if (error)
			return -error;
	}
	device_path(path, adapter, "");
	/* The parent gives up first. */
	while ((nr = find_number(path, 1)) < 0)
		nanosleep(&pause, NULL);
	return nr;
}

struct bind_job {
	const struct adapter *adapter;
	enum binding binding;
	int end;
};

static int bind_in_child(void *argument)
{
	const struct bind_job *job = argument;
	int result = bind_driver(job->adapter, job->binding);

	return write(job->end, &result, sizeof(result)) < 0;
}

/*
 * Has bind_driver() done by a child. Returns its result, or -ETIMEDOUT; then the child is on its own, and killed.
 *
 * The child is given no copy of this process's memory, which would cost more than what it does: while it uses its
 * memory, this process only waits.
 */
static int bind_bounded(struct adapter *adapter, enum binding binding)
{
	static _Alignas(16) char stack[BIND_STACK_BYTES];
	struct pollfd pollfd = { .events = POLLIN };
	struct bind_job job = { .adapter = adapter, .binding = binding };
	int result = -EIO;
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	job.end = ends[1];
	child = clone(bind_in_child, stack + sizeof(stack), CLONE_VM | SIGCHLD, &job);
	if (child < 0) {
		result = -errno;
		close(ends[0]);
		close(ends[1]);
		return result;
	}
	close(ends[1]);
	pollfd.fd = ends[0];
	if (poll(&pollfd, 1, binding == BIND_FIRST ? FIRST_BIND_TIMEOUT_MS : BIND_TIMEOUT_MS) != 1) {
		kill(child, SIGKILL);
		result = -ETIMEDOUT;
	} else {
		/* Nothing to read: the child died, the result stays -EIO. */
		if (read(ends[0], &result, sizeof(result)) != sizeof(result))
			result = -EIO;
		waitpid(child, NULL, 0);
	}
	close(ends[0]);
	memset(adapter->written, 0, sizeof(adapter->written));
	adapter->settings[0] = '\0';
	adapter->nr = result < 0 ? -1 : result;
	return result;
}

static struct adapter *adapter_slot(const char *name)
{
	struct adapter *adapter = adapter_find(name);
	int i;

	for (i = 0; !adapter && i < ADAPTERS; i++)
		if (!adapters[i].name[0])
			adapter = &adapters[i];
	if (adapter) {
		memset(adapter, 0, sizeof(*adapter));
		snprintf(adapter->name, sizeof(adapter->name), "%s", name);
		adapter->nr = -1;
	}
	return adapter;
}

/* Whether a word can be part of a path, and of a struct adapter. */
static bool is_name(const char *word)
{
	return *word && strlen(word) < NAME_BYTES && !strchr(word, '/') && strcmp(word, ".") && strcmp(word, "..");
}

int adapter_add(const char *name, const char *bus, const char *device, const char *driver)
{
	struct adapter *adapter;

	if (!*name || strlen(name) >= NAME_BYTES || !is_name(bus) || !is_name(device) || !is_name(driver))
		return -EINVAL;
	adapter = adapter_slot(name);
	if (!adapter)
		return -ENOSPC;
	strcpy(adapter->bus, bus);
	strcpy(adapter->device, device);
	strcpy(adapter->driver, driver);
	snprintf(adapter->trace, sizeof(adapter->trace), "/dev/%s", device);
	if (access(adapter->trace, R_OK | W_OK))
		adapter->trace[0] = '\0';
	return bind_bounded(adapter, BIND_FIRST);
}

int adapter_adopt(const char *name, int nr)
{
	struct adapter *adapter;
	char path[PATH_BYTES];

	if (!*name || strlen(name) >= NAME_BYTES || nr < 0)
		return -EINVAL;
	snprintf(path, sizeof(path), "/sys/bus/i2c/devices/i2c-%d", nr);
	if (access(path, F_OK))
		return -errno;
	adapter = adapter_slot(name);
	if (!adapter)
		return -ENOSPC;
	adapter->nr = nr;
	return nr;
}

int adapter_below(const char *device)
{
	return find_number(device, 1);
}

void adapter_moved(struct adapter *adapter, int nr)
{
	adapter->nr = nr < 0 ? -1 : nr;
}

int adapter_rebind(struct adapter *adapter)
{
	return adapter->device[0] ? bind_bounded(adapter, BIND_AGAIN) : -ENODEV;
}

int adapter_revive(struct adapter *adapter)
{
	return adapter->device[0] ? bind_bounded(adapter, BIND_AFTER_DEATH) : -ENODEV;
}

/* Writes one attribute, unless its value is known to be there. Returns 0 or a positive errno. */
static int set_one(struct adapter *adapter, const char *name, const char *value)
{
	char path[PATH_BYTES];
	int i, error;

	if (strlen(name) >= NAME_BYTES || strlen(value) >= NAME_BYTES || strchr(name, '/'))
		return EINVAL;
	for (i = 0; i < SETTINGS - 1; i++)
		if (!adapter->written[i].name[0] || !strcmp(adapter->written[i].name, name))
			break;
	if (!strcmp(adapter->written[i].name, name) && !strcmp(adapter->written[i].value, value))
		return 0;
	device_path(path, adapter, name);
	error = file_write(path, value, strlen(value));
	if (error)
		return error;
	strcpy(adapter->written[i].name, name);
	strcpy(adapter->written[i].value, value);
	return 0;
}

const char *adapter_set(struct adapter *adapter, const char *settings)
{
	static char why[PATH_BYTES];
	char *copy, *rest, *word;

	if (!strcmp(settings, adapter->settings))
		return NULL;
	copy = rest = strdup(settings);
	why[0] = '\0';
	while (rest && !why[0] && (word = strsep(&rest, " "))) {
		char *value = strchr(word, '=');
		int error;

		if (!*word)
			continue;
		if (!value) {
			snprintf(why, sizeof(why), "set: '%.40s' is not name=value", word);
			break;
		}
		*value++ = '\0';
		error = set_one(adapter, word, value);
		if (error)
			snprintf(why, sizeof(why), "set: %.40s refused '%.40s': %s", word, value, strerror(error));
	}
	free(copy);
	snprintf(adapter->settings, sizeof(adapter->settings), "%s",
		 why[0] || strlen(settings) >= sizeof(adapter->settings) ? "" : settings);
	return why[0] ? why : NULL;
}
