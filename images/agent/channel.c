// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way to the host: a virtio-serial port, or standard input and output. Lines in, bytes out.
 *
 * While output waits for the host, input is read ahead: a host that sends a long batch before it reads must not
 * bring both sides to a stop.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define PORT_NAME "dmasafe.agent"
#define PORT_CLASS "/sys/class/virtio-ports"
/* The port gets its name from the host a moment after it appears. */
#define PORT_WAIT_MS 2000
#define HOST_POLL_MS 10
/* A host that was there and went away for so long does not come back: the guest ends. */
#define HOST_GONE_MS 5000
#define READ_AHEAD_BYTES (16 * LINE_MAX_BYTES)

/* In memory that every worker has: the next one goes on where this one ended. */
static struct {
	int in;
	int out;
	bool port;
	bool met;
	bool drained;
	bool ended;
	bool skipping;
	/* Replies that wait for more: see channel_hold(). */
	size_t held;
	char holding[LINE_MAX_BYTES];
	size_t start;
	size_t end;
	char buffer[READ_AHEAD_BYTES + 1];
} *channel;

static void sleep_ms(int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

static int open_port(void)
{
	DIR *ports = opendir(PORT_CLASS);
	struct dirent *entry;
	int fd = -1;

	while (ports && fd < 0 && (entry = readdir(ports))) {
		char path[600], name[64];
		long len;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PORT_CLASS "/%s/name", entry->d_name);
		len = file_read(path, 0, name, sizeof(name));
		if (len < 0 || (size_t)len != strlen(PORT_NAME "\n") || memcmp(name, PORT_NAME "\n", len))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (ports)
		closedir(ports);
	return fd;
}

static void make_raw(int fd)
{
	struct termios settings;

	if (tcgetattr(fd, &settings))
		return;
	cfmakeraw(&settings);
	tcsetattr(fd, TCSANOW, &settings);
}

void channel_open(bool standard)
{
	int waited;

	channel = shared_memory(sizeof(*channel));
	for (waited = 0; !standard && waited < PORT_WAIT_MS; waited += HOST_POLL_MS) {
		channel->in = open_port();
		if (channel->in >= 0) {
			channel->out = channel->in;
			channel->port = true;
			return;
		}
		if (access(PORT_CLASS, F_OK))
			break;
		sleep_ms(HOST_POLL_MS);
	}
	channel->in = STDIN_FILENO;
	channel->out = STDOUT_FILENO;
	make_raw(channel->in);
}

/* Takes what has arrived, as far as there is room. Sets ended at the end of standard input. */
static void take_input(void)
{
	ssize_t len;

	if (channel->start && channel->end == READ_AHEAD_BYTES) {
		memmove(channel->buffer, channel->buffer + channel->start, channel->end - channel->start);
		channel->end -= channel->start;
		channel->start = 0;
	}
	if (channel->end == READ_AHEAD_BYTES)
		return;
	len = read(channel->in, channel->buffer + channel->end, READ_AHEAD_BYTES - channel->end);
	channel->drained = len <= 0;
	channel->met |= len > 0;
	if (len > 0)
		channel->end += len;
	else if (!channel->port && (len == 0 || (errno != EINTR && errno != EAGAIN)))
		channel->ended = true;
}

static bool input_full(void)
{
	return !channel->start && channel->end == READ_AHEAD_BYTES;
}

/*
 * Waits until input has come, or output can go. A port without a host is "ready" all the time: poll() says POLLHUP and
 * POLLIN, read() returns 0 (port_fops_poll() and port_fops_read() in drivers/char/virtio_console.c).
 */
static void wait_for(bool write)
{
	struct pollfd fds[2] = {
		{ .fd = channel->in, .events = input_full() || channel->ended ? 0 : POLLIN },
		{ .fd = channel->out, .events = write ? POLLOUT : 0 },
	};
	int gone_ms;

	/*
	 * A port is named once. Its poll() takes what has arrived out of the queue (port_has_data()), after which the
	 * interrupt wakes nobody: were it the second of two looks at one port, and not asked for POLLIN, the first would
	 * have seen nothing, and this would sleep on a request that is there.
	 */
	if (channel->port) {
		fds[0].events |= fds[1].events;
		fds[1].fd = -1;
	}
	/* Standard input at its end would be ready for ever, too. */
	if (!fds[0].events && !channel->port)
		fds[0].fd = -1;
	for (gone_ms = 0; !channel->met || gone_ms < HOST_GONE_MS; gone_ms += HOST_POLL_MS) {
		if (poll(fds, 2, -1) < 0)
			return;
		if (fds[0].revents)
			take_input();
		if (!channel->port || !(fds[0].revents & POLLHUP) || !channel->drained)
			return;
		sleep_ms(HOST_POLL_MS);
	}
	channel->ended = true;
}

static void write_all(const char *data, size_t size)
{
	size_t done = 0;

	while (done < size && !(channel->ended && channel->port)) {
		ssize_t len = write(channel->out, data + done, size - done);

		channel->met |= len > 0;
		if (len > 0)
			done += len;
		else if (len < 0 && errno == EAGAIN)
			wait_for(true);
		else if (len < 0 && errno != EINTR)
			break;
	}
}

static void write_held(void)
{
	write_all(channel->holding, channel->held);
	channel->held = 0;
}

enum line_kind channel_line(char **line, size_t *len)
{
	size_t searched = 0;

	for (;;) {
		size_t size = channel->end - channel->start;
		char *start = channel->buffer + channel->start;
		char *newline = memchr(start + searched, '\n', size - searched);

		if (newline) {
			bool skipped = channel->skipping;

			channel->start += newline - start + 1;
			channel->skipping = false;
			if (skipped)
				continue;
			if (newline - start > LINE_MAX_BYTES)
				return LINE_TOO_LONG;
			*newline = '\0';
			*line = start;
			*len = newline - start;
			return LINE_READ;
		}
		searched = size;
		if (channel->skipping || size > LINE_MAX_BYTES) {
			bool skipped = channel->skipping;

			channel->start = channel->end = 0;
			searched = 0;
			channel->skipping = true;
			if (!skipped)
				return LINE_TOO_LONG;
		} else if (!size) {
			channel->start = channel->end = 0;
		}
		if (channel->ended)
			return LINE_END;
		if (channel->held)
			write_held();
		/* A port is opened non-blocking: in a long batch the next line is there, and poll() can be saved. */
		if (channel->port && !channel->drained)
			take_input();
		else
			wait_for(false);
	}
}

void channel_write(struct text *text)
{
	write_held();
	write_all(text->data, text->len);
	text_clear(text);
}

void channel_hold(struct text *text)
{
	if (text->len > sizeof(channel->holding) - channel->held) {
		channel_write(text);
		return;
	}
	memcpy(channel->holding + channel->held, text->data, text->len);
	channel->held += text->len;
	text_clear(text);
}
