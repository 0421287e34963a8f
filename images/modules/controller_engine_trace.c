// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the engine saw, a JSON line a message, in the words of harness/dmasafe/devices/trace.py.
 *
 * /dev/dmasafe-engine.0: write(2) of a number says which scenario is under way, -1 says none;
 * read(2) takes as many whole lines as fit.
 */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "controller_engine.h"

#define TRACE_MAX_BYTES (1 << 20)
/* A line without data and segments, and one segment. */
#define LINE_BYTES 256
#define SEGMENT_BYTES 112
#define NUMBER_BYTES 16

struct engine_line {
	struct list_head node;
	size_t len;
	size_t room;
	char text[];
};

static struct engine_trace *to_trace(struct file *file)
{
	/* misc_open() leaves the miscdevice there. */
	return container_of(file->private_data, struct engine_trace, misc);
}

static struct engine_line *line_alloc(size_t room)
{
	struct engine_line *line = kvmalloc(sizeof(*line) + room, GFP_KERNEL);

	if (line) {
		line->len = 0;
		line->room = room;
	}
	return line;
}

static __printf(2, 3) void line_add(struct engine_line *line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line->len += vscnprintf(line->text + line->len, line->room - line->len, format, args);
	va_end(args);
}

static void line_add_seq(struct engine_line *line, long seq)
{
	if (seq < 0)
		line_add(line, "\"seq\":null");
	else
		line_add(line, "\"seq\":%ld", seq);
}

static void line_add_hex(struct engine_line *line, const u8 *data, size_t len)
{
	char *to = line->text + line->len;

	len = min(len, (line->room - line->len) / 2);
	line->len += bin2hex(to, data, len) - to;
}

/* The physical address goes with it where it is another. */
static void line_add_segment(struct engine_line *line, const struct engine_segment *segment)
{
	line_add(line, "{\"address\":%llu,\"length\":%u,\"stray\":%s",
		 (unsigned long long)segment->dma, segment->len, segment->why ? "true" : "false");
	if (segment->phys != segment->dma)
		line_add(line, ",\"physical\":%llu", (unsigned long long)segment->phys);
	line_add(line, "}");
}

/* Queues a line, or counts it where there is no memory or no reader. */
static void trace_line(struct engine_trace *trace, struct engine_line *line)
{
	mutex_lock(&trace->lock);
	if (line && !trace->dropped && trace->bytes + line->len <= TRACE_MAX_BYTES) {
		list_add_tail(&line->node, &trace->lines);
		trace->bytes += line->len;
		line = NULL;
	} else {
		trace->dropped++;
	}
	mutex_unlock(&trace->lock);
	kvfree(line);
}

static const char *first_stray(const struct engine_message *message, dma_addr_t *dma, u32 *len)
{
	unsigned int i;

	for (i = 0; i < message->count; i++) {
		if (message->segments[i].why) {
			*dma = message->segments[i].dma;
			*len = message->segments[i].len;
			return message->segments[i].why;
		}
	}
	return NULL;
}

static void line_add_why(struct engine_line *line, const struct engine_message *message)
{
	const char *stray;
	dma_addr_t dma;
	u32 len;

	stray = first_stray(message, &dma, &len);
	if (stray)
		line_add(line, "stray DMA: %u bytes at 0x%llx are %s", len, (unsigned long long)dma,
			 stray);
	else if (message->why)
		line_add(line, "%s", message->why);
}

/**
 * engine_trace_message() - record a message
 * @trace: where
 * @message: what became of it
 */
void engine_trace_message(struct engine_trace *trace, const struct engine_message *message)
{
	struct engine_line *line;
	unsigned int i;

	line = line_alloc(LINE_BYTES + 2 * message->wire_len +
			  (message->count + 2) * SEGMENT_BYTES);
	if (line) {
		line_add(line, "{\"ev\":\"message\",\"controller\":\"%s\",", trace->misc.name);
		line_add_seq(line, message->seq);
		line_add(line, ",\"addr\":%u,\"read\":%s,\"len\":%zu,\"data\":\"", message->address,
			 message->read ? "true" : "false", message->len);
		line_add_hex(line, message->data, message->wire_len);
		line_add(line, "\",\"ok\":%s,\"why\":\"", message->why ? "false" : "true");
		line_add_why(line, message);
		line_add(line, "\",\"segments\":[");
		for (i = 0; i < message->count; i++) {
			line_add(line, "%s", i ? "," : "");
			line_add_segment(line, &message->segments[i]);
		}
		line_add(line, "],\"headers\":[");
		line_add_segment(line, &message->header);
		line_add(line, ",");
		line_add_segment(line, &message->status);
		line_add(line, "]}\n");
	}
	trace_line(trace, line);
}

/**
 * engine_trace_violation() - record a request that was none
 * @trace: where
 * @what: the rule, as a slug
 * @why: how it was broken
 */
void engine_trace_violation(struct engine_trace *trace, const char *what, const char *why)
{
	struct engine_line *line = line_alloc(LINE_BYTES);

	if (line) {
		line_add(line, "{\"ev\":\"violation\",\"controller\":\"%s\",", trace->misc.name);
		line_add_seq(line, engine_trace_seq(trace));
		line_add(line, ",\"what\":\"%s\",\"why\":\"%s\"}\n", what, why);
	}
	trace_line(trace, line);
}

/**
 * engine_trace_seq() - the scenario under way
 * @trace: who knows
 *
 * Return: its number, or -1.
 */
long engine_trace_seq(struct engine_trace *trace)
{
	return READ_ONCE(trace->seq);
}

static ssize_t trace_write(struct file *file, const char __user *text, size_t count, loff_t *pos)
{
	struct engine_trace *trace = to_trace(file);
	char number[NUMBER_BYTES] = "";
	long seq;
	int ret;

	if (count >= sizeof(number))
		return -EMSGSIZE;
	if (copy_from_user(number, text, count))
		return -EFAULT;
	ret = kstrtol(number, 0, &seq);
	if (ret)
		return ret;
	WRITE_ONCE(trace->seq, seq);
	return count;
}

/* The first line if it fits, taken out of the queue, or NULL. */
static struct engine_line *take_line(struct engine_trace *trace, size_t room, ssize_t *ret)
{
	struct engine_line *line;

	mutex_lock(&trace->lock);
	line = list_first_entry_or_null(&trace->lines, struct engine_line, node);
	if (line && line->len > room) {
		*ret = *ret ?: -EMSGSIZE;
		line = NULL;
	}
	if (line) {
		list_del(&line->node);
		trace->bytes -= line->len;
	}
	mutex_unlock(&trace->lock);
	return line;
}

/* What stands after everything for which there was room. */
static void tell_dropped(struct engine_trace *trace)
{
	struct engine_line *line = line_alloc(LINE_BYTES);

	if (!line)
		return;
	mutex_lock(&trace->lock);
	if (trace->dropped && list_empty(&trace->lines)) {
		line_add(line, "{\"ev\":\"dropped\",\"count\":%u}\n", trace->dropped);
		trace->dropped = 0;
		list_add_tail(&line->node, &trace->lines);
		trace->bytes += line->len;
		line = NULL;
	}
	mutex_unlock(&trace->lock);
	kvfree(line);
}

static ssize_t trace_read(struct file *file, char __user *text, size_t count, loff_t *pos)
{
	struct engine_trace *trace = to_trace(file);
	struct engine_line *line;
	ssize_t ret = 0;

	if (READ_ONCE(trace->dropped))
		tell_dropped(trace);
	while ((line = take_line(trace, count - max_t(ssize_t, ret, 0), &ret))) {
		unsigned long left = copy_to_user(text + ret, line->text, line->len);

		ret += line->len;
		kvfree(line);
		if (left)
			return -EFAULT;
	}
	return ret;
}

static const struct file_operations trace_operations = {
	.owner = THIS_MODULE,
	.write = trace_write,
	.read = trace_read,
};

/**
 * engine_trace_create() - make the device node
 * @trace: zeroed
 * @name: the node's; stays the caller's
 *
 * Return: 0 or a negative errno.
 */
int engine_trace_create(struct engine_trace *trace, const char *name)
{
	mutex_init(&trace->lock);
	INIT_LIST_HEAD(&trace->lines);
	trace->seq = -1;
	trace->misc.minor = MISC_DYNAMIC_MINOR;
	trace->misc.name = name;
	trace->misc.fops = &trace_operations;
	return misc_register(&trace->misc);
}

/**
 * engine_trace_destroy() - undo engine_trace_create()
 * @trace: nobody records or reads any more
 */
void engine_trace_destroy(struct engine_trace *trace)
{
	struct engine_line *line, *next;

	misc_deregister(&trace->misc);
	list_for_each_entry_safe(line, next, &trace->lines, node)
		kvfree(line);
}
