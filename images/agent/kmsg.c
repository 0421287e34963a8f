// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's log: records out of /dev/kmsg to the host, marks into it. Workers share the place that was read to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

/* CONSOLE_EXT_LOG_MAX (PRINTKRB_RECORD_MAX in later kernels) is 8192. */
#define RECORD_MAX_BYTES 8192
/* Facility user, level debug: not worth the serial console's time unless everything is. */
#define MARK_PREFIX "<15>"
#define MARK "dmasafe: end "

#define CONSOLE_LEVEL "/proc/sys/kernel/printk"
#define DEVKMSG "/proc/sys/kernel/printk_devkmsg"

static int kmsg_in = -1;
static int kmsg_out = -1;
/* What user space writes is not limited in rate: marks stay. */
static bool marks_kept;

/*
 * Where once-only warnings are re-armed. A file is opened once, or found missing once, until modules come or go: what
 * open() leaves on the stack would be lines of the next report.
 */
static struct {
	const char *path;
	int fd;
} rearm[] = {
	{ "/sys/kernel/debug/clear_warn_once", -1 },
	{ "/sys/module/dmasafe_controller/parameters/rearm", -1 },
	{ "/sys/module/dmasafe_client/parameters/rearm", -1 },
	{ "/sys/module/dmasafe_buses/parameters/rearm", -1 },
	{ "/sys/module/dmasafe_once/parameters/rearm", -1 },
};

/* How often modules came or went, and how often when the files above were opened. */
static unsigned long *modules;
static unsigned long rearm_modules = -1UL;

/* The console's log level, as the kernel came with it. */
static char console_level[32];
static long console_level_len;

void kmsg_open(void)
{
	modules = shared_memory(sizeof(*modules));
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

/* The mark of a scenario's end, after a prefix. */
static void make_mark(struct text *mark, const char *prefix, long long seq)
{
	text_clear(mark);
	text_add_string(mark, prefix);
	text_add_string(mark, MARK);
	text_add_number(mark, seq);
	text_add_string(mark, "\n");
}

int kmsg_end(long long seq)
{
	static struct text mark;

	make_mark(&mark, MARK_PREFIX, seq);
	if (!marks_kept || kmsg_out < 0)
		return -1;
	return write(kmsg_out, mark.data, mark.len) == (ssize_t)mark.len ? 0 : -1;
}

void kmsg_modules_changed(void)
{
	++*modules;
}

void kmsg_rearm(void)
{
	unsigned long now = *modules;
	size_t i;

	for (i = 0; i < sizeof(rearm) / sizeof(rearm[0]); i++) {
		if (rearm_modules != now) {
			if (rearm[i].fd >= 0)
				close(rearm[i].fd);
			rearm[i].fd = open(rearm[i].path, O_WRONLY | O_CLOEXEC);
		}
		/* Not pwrite(): clear_warn_once is opened with nonseekable_open(). Both kinds of files ignore the offset. */
		if (rearm[i].fd >= 0 && write(rearm[i].fd, "1", 1) < 0)
			now = -1UL;
	}
	/* What could not be written to is opened again. */
	rearm_modules = now;
}

void kmsg_quiet(void)
{
	char level[sizeof(console_level)];

	/* Level 0 is the host's: console_verbose() leaves it alone, and so does this. */
	if (console_level_len > 0 && file_read(CONSOLE_LEVEL, 0, level, sizeof(level)) > 0 && level[0] != '0')
		file_write(CONSOLE_LEVEL, console_level, console_level_len);
}

/* The number of a record that is this scenario's end mark, or -1. "priority,number,time,flags;text" */
static long long mark_number(const char *record, size_t len, const struct text *mark)
{
	const char *text = memchr(record, ';', len);
	const char *number = memchr(record, ',', len);

	if (!text || !number || number > text || len - (text - record) < mark->len ||
	    memcmp(text, mark->data, mark->len))
		return -1;
	return strtoll(number + 1, NULL, 10);
}

unsigned int kmsg_forward(struct text *out, long long seq, long long *mark)
{
	static struct text wanted;
	char record[RECORD_MAX_BYTES + 1];
	bool awaits_mark = mark && !*mark;
	unsigned int records = 0;
	size_t start = 0;

	if (awaits_mark)
		make_mark(&wanted, ";", seq);
	if (mark)
		*mark = -1;
	while (kmsg_in >= 0) {
		ssize_t len = read(kmsg_in, record, RECORD_MAX_BYTES);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno != EPIPE)
			break;
		if (len > 0) {
			record[len] = '\0';
			if (awaits_mark) {
				*mark = mark_number(record, len, &wanted);
				if (*mark >= 0)
					break;
			}
		}
		/* An event with one record more, of which escapes make six bytes of one, still fits into a line. */
		if (start && (len <= 0 || out->len - start > LINE_MAX_BYTES / 8)) {
			text_add_string(out, "]}\n");
			start = 0;
			if (out->len > LINE_MAX_BYTES)
				channel_write(out);
		}
		if (len < 0) {
			text_add(out, "{\"ev\":\"kmsg-lost\"}\n");
			continue;
		}
		if (!len)
			break;
		if (!start) {
			start = out->len + 1;
			text_add(out, "{\"ev\":\"kmsg\",\"seq\":%lld,\"records\":[\"", seq);
		} else {
			text_add_string(out, ",\"");
		}
		/* The record's last newline is the line's end. */
		text_add_json(out, record, record[len - 1] == '\n' ? len - 1 : len);
		text_add_string(out, "\"");
		records++;
	}
	if (start)
		text_add_string(out, "]}\n");
	if (awaits_mark && *mark < 0)
		text_add(out, "{\"ev\":\"kmsg-lost\"}\n");
	return records;
}
