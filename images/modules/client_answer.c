// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What came of a scenario, as one line of JSON. Strings are the module's own words: nothing
 * needs escaping.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include "client.h"
#include "compat.h"

static __printf(2, 0) void answer_print(struct answer *answer, const char *format, va_list args)
{
	size_t room = CLIENT_ANSWER_SIZE - answer->len;

	answer->len += vscnprintf(answer->text + answer->len, room, format, args);
}

/**
 * answer_add() - append to the answer
 * @answer: the answer
 * @format: like printf()
 */
void answer_add(struct answer *answer, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	answer_print(answer, format, args);
	va_end(args);
}
EXPORT_SYMBOL_GPL(answer_add);

/**
 * answer_error() - the line cannot be understood; replaces the answer
 * @answer: the answer
 * @format: like printf(), why; without quotes and backslashes
 */
void answer_error(struct answer *answer, const char *format, ...)
{
	va_list args;

	answer->len = 0;
	answer_add(answer, "{\"error\":\"");
	va_start(args, format);
	answer_print(answer, format, args);
	va_end(args);
	answer_add(answer, "\"}");
}

/**
 * answer_unsupported() - this kernel cannot have it; replaces the answer
 * @answer: the answer
 * @why: the reason
 */
void answer_unsupported(struct answer *answer, const char *why)
{
	answer->len = 0;
	answer_add(answer, "{\"ret\":%d,\"unsupported\":\"%s\"}", -EOPNOTSUPP, why);
}

/**
 * answer_hex() - append a member that is not the first
 * @answer: the answer
 * @key: its name
 * @data: bytes; those that do not fit are left out
 * @len: how many
 */
void answer_hex(struct answer *answer, const char *key, const u8 *data, size_t len)
{
	answer_add(answer, ",\"%s\":\"", key);
	len = min(len, (CLIENT_ANSWER_SIZE - answer->len - 1) / 2);
	bin2hex(answer->text + answer->len, data, len);
	answer->len += 2 * len;
	answer_add(answer, "\"");
}
EXPORT_SYMBOL_GPL(answer_hex);

static void answer_phys(struct answer *answer, phys_addr_t pa)
{
	if (pa != DMASAFE_NO_PHYS)
		answer_add(answer, ",\"pa\":\"0x%llx\"", (unsigned long long)pa);
}

/**
 * answer_seen() - what the adapter saw since record_start()
 * @answer: the answer
 * @recorder: holds the messages
 */
void answer_seen(struct answer *answer, const struct recorder *recorder)
{
	unsigned int i;

	answer_add(answer, "{\"ret\":0,\"msgs\":[");
	for (i = 0; i < recorder->count; i++) {
		const struct seen_message *seen = &recorder->seen[i];

		answer_add(answer, "%s{\"rd\":%d,\"len\":%u", i ? "," : "", seen->rd, seen->len);
		answer_phys(answer, seen->pa);
		answer_add(answer, ",\"dma_safe\":%d}", seen->dma_safe);
	}
	answer_add(answer, "]}");
}

static void answer_message(struct scenario *s, unsigned int i)
{
	const struct caller_message *message = &s->messages[i];
	struct answer *answer = &s->answer;

	answer_add(answer, "%s{\"rd\":%d", i ? "," : "", message->rd);
	answer_hex(answer, "data", message->data, message->len);
	if (message->want)
		answer_hex(answer, "want", message->want, message->len);
	if (message->dma != DMASAFE_NO_DMA)
		answer_add(answer, ",\"dma\":\"0x%llx\"", message->dma);
	if (message->recv_len)
		answer_add(answer, ",\"recv_len\":1");
	if (i < s->recorder.count) {
		answer_phys(answer, s->recorder.seen[i].pa);
		answer_add(answer, ",\"dma_safe\":%d", s->recorder.seen[i].dma_safe);
	} else {
		if (message->buf)
			answer_phys(answer, memory_phys(s, message->buf));
		if (message->dma_safe >= 0)
			answer_add(answer, ",\"dma_safe\":%d", message->dma_safe);
	}
	answer_add(answer, "}");
}

/**
 * answer_call() - complete the answer to an operation that was carried out
 * @s: the scenario; what the operation had to add of its own is in its answer already
 * @damage: JSON strings separated by commas
 */
void answer_call(struct scenario *s, const char *damage)
{
	struct answer *answer = &s->answer;
	unsigned int i;

	answer_add(answer, "%s\"ret\":%d,\"ns\":%llu,\"msgs\":[", answer->len ? "," : "{",
		   s->ret, s->ns);
	for (i = 0; i < s->count; i++)
		answer_message(s, i);
	answer_add(answer, "],\"damage\":[%s],\"transferred\":%s}", damage,
		   s->transferred ? "true" : "false");
}
