// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's log: records out of /dev/kmsg to the host, marks into it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

/* CONSOLE_EXT_LOG_MAX (PRINTKRB_RECORD_MAX in later kernels) is 8192. */
#define RECORD_MAX_BYTES 8192
/* Facility user, level debug: not worth the serial console's time unless everything is. */
#define MARK_PREFIX "<15>"
#define MARK "dmasafe: "
#define MARK_BEGIN "begin"
#define MARK_END "end"

#define CONSOLE_LEVEL "/proc/sys/kernel/printk"
#define DEVKMSG "/proc/sys/kernel/printk_devkmsg"

static int kmsg_in = -1;
static int kmsg_out = -1;
/* What user space writes is not limited in rate: marks stay. */
static bool marks_kept;

/* The console's log level, as the kernel came with it. */
static char console_level[32];
static long console_level_len;

void kmsg_open(void)
{
	console_level_len = file_read(CONSOLE_LEVEL, 0, console_level, sizeof(console_level));
	char devkmsg[16];

	/* Refused if printk.devkmsg= is on the command line. */
	file_write(DEVKMSG, "on\n", 3);
	marks_kept = file_read(DEVKMSG, 0, devkmsg, sizeof(devkmsg)) >= 2 && !memcmp(devkmsg, "on", 2);
	kmsg_in = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	kmsg_out = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

void kmsg_skip(void)
{
	if (kmsg_in >= 0)
		lseek(kmsg_in, 0, SEEK_END);
}

/* The newline makes the record final: without one it could be continued, and is not shown to readers yet. */
static void put_mark(const char *word, long long seq)
{
	char mark[96];
	int len = snprintf(mark, sizeof(mark), MARK_PREFIX MARK "%s %lld\n", word, seq);
	ssize_t written;

	if (kmsg_out < 0)
		return;
	written = write(kmsg_out, mark, len);
	/* A lost mark shows in the record numbers the host checks; nothing to be done here. */
	(void)written;
}

void kmsg_begin(struct text *out, long long seq)
{
	if (!marks_kept)
		kmsg_forward(out, -1);
	put_mark(MARK_BEGIN, seq);
}

void kmsg_end(long long seq)
{
	put_mark(MARK_END, seq);
}

void kmsg_quiet(void)
{
	if (console_level_len > 0)
		file_write(CONSOLE_LEVEL, console_level, console_level_len);
}

/* The text of a record that is a mark, after "dmasafe: ", or NULL. Text follows the first ';'. */
static const char *mark_of(const char *record, size_t len)
{
	const char *text = memchr(record, ';', len);

	if (!text || (size_t)(record + len - text) <= strlen(MARK) || memcmp(text + 1, MARK, strlen(MARK)))
		return NULL;
	return text + 1 + strlen(MARK);
}

/* Whether a mark says that this scenario begins, or ends. */
static bool mark_is(const char *mark, const char *word, long long seq)
{
	char wanted[48];
	int len = snprintf(wanted, sizeof(wanted), "%s %lld\n", word, seq);

	return !strncmp(mark, wanted, len);
}

unsigned int kmsg_forward(struct text *out, long long seq)
{
	char record[RECORD_MAX_BYTES + 1];
	unsigned int strange = 0;
	/* Without a mark to go by, kmsg_begin() has left nothing that came before. */
	long long current = marks_kept ? -1 : seq;
	bool ended = false;

	while (kmsg_in >= 0 && !ended) {
		ssize_t len = read(kmsg_in, record, RECORD_MAX_BYTES);
		const char *mark;

		if (len < 0 && errno == EPIPE) {
			text_add(out, "{\"ev\":\"kmsg-lost\"}\n");
			continue;
		}
		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			break;
		record[len] = '\0';
		mark = mark_of(record, len);
		if (mark && mark_is(mark, MARK_BEGIN, seq))
			current = seq;
		ended = mark && mark_is(mark, MARK_END, seq);
		strange += !mark;
		/* The record's last newline is the line's end. */
		if (record[len - 1] == '\n')
			len--;
		text_add(out, "{\"ev\":\"kmsg\",\"seq\":%lld,\"record\":\"", current);
		text_add_json(out, record, len);
		text_add(out, "\"}\n");
		if (out->len > LINE_MAX_BYTES)
			channel_write(out);
	}
	return strange;
}
