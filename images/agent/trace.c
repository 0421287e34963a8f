// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hardware that keeps a trace of its own has a device node with the name of its device: written to, it learns which
 * scenario is under way; read from, it gives whole JSON lines.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"

#define TRACE_MAX_BYTES (LINE_MAX_BYTES - LINE_REST_BYTES)

static void tell_seq(const char *node, long long seq)
{
	char number[24];

	snprintf(number, sizeof(number), "%lld", seq);
	file_write(node, number, strlen(number));
}

void trace_begin(const struct adapter *adapter, long long seq)
{
	const char *node = adapter ? adapter_trace(adapter) : NULL;

	if (node)
		tell_seq(node, seq);
}

/* What waits in chunk, as an event of its own. */
static void flush(struct text *chunk, struct text *events)
{
	if (!chunk->len)
		return;
	text_add(events, "{\"ev\":\"trace\",\"trace\":[");
	text_add_bytes(events, chunk->data, chunk->len);
	text_add(events, "]}\n");
	text_clear(chunk);
}

void trace_end(const struct adapter *adapter, struct text *events, struct text *member, size_t room)
{
	const char *node = adapter ? adapter_trace(adapter) : NULL;
	static char lines[TRACE_MAX_BYTES];
	static struct text chunk;
	char *newline;
	long len;

	text_clear(member);
	if (!node)
		return;
	tell_seq(node, -1);
	while ((len = file_read(node, 0, lines, sizeof(lines))) > 0) {
		flush(&chunk, events);
		/* The last line's newline goes, those between the others become commas. */
		text_add_bytes(&chunk, lines, --len);
		for (newline = chunk.data; (newline = memchr(newline, '\n', chunk.data + len - newline)); newline++)
			*newline = ',';
	}
	if (chunk.len > room)
		flush(&chunk, events);
	text_add(member, ",\"trace\":[");
	text_add_bytes(member, chunk.data, chunk.len);
	text_add(member, "]");
	text_clear(&chunk);
}
