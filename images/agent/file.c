// SPDX-License-Identifier: GPL-2.0-or-later
/* Whole files, small ones: sysfs, debugfs and procfs. And devices, which take more than bytes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent.h"

int file_write(const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, data, len) < 0)
		error = errno;
	close(fd);
	return error;
}

int file_ioctl(const char *path, unsigned long request, const char *data, size_t len)
{
	char argument[512];
	int fd, error = 0;

	if (len > sizeof(argument) || _IOC_SIZE(request) != len)
		return EINVAL;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno;
	memcpy(argument, data, len);
	if (ioctl(fd, request, argument) < 0)
		error = errno;
	close(fd);
	return error;
}

int file_append(const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	int error = 0;

	if (fd < 0)
		return errno;
	while (len && !error) {
		ssize_t done = write(fd, data, len);

		if (done < 0 && errno != EINTR)
			error = errno;
		if (done > 0) {
			data += done;
			len -= done;
		}
	}
	close(fd);
	return error;
}

long file_read(const char *path, long long offset, char *data, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t done = 0;
	ssize_t len = 0;
	int error = 0;

	if (fd < 0)
		return -errno;
	if (offset && lseek(fd, offset, SEEK_SET) < 0)
		error = errno;
	while (!error && done < room) {
		len = read(fd, data + done, room - done);
		if (len <= 0)
			break;
		done += len;
	}
	if (len < 0 && !done)
		error = errno;
	close(fd);
	return error ? -error : (long)done;
}
