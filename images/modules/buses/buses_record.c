// SPDX-License-Identifier: GPL-2.0-or-later
/* What a chip saw of the operation under way: the payload's bytes, and where in memory they were. */
#include <linux/mm.h>
#include <linux/spinlock.h>
#include "buses.h"

static DEFINE_SPINLOCK(record_lock);

static struct {
	struct buses_chip *chip;
	bool rd;
	size_t len;
	unsigned int count;
	struct buses_segment segments[BUSES_SEGMENTS];
	u8 bytes[CLIENT_MAX_LEN];
} record;

/**
 * buses_record_begin() - forget what there is, record from now on
 * @chip: whose payload
 */
void buses_record_begin(struct buses_chip *chip)
{
	spin_lock(&record_lock);
	record.chip = chip;
	record.len = 0;
	record.count = 0;
	spin_unlock(&record_lock);
}

/* Leaves out the first @skip bytes, and those of no piece. */
static void add_segment(const struct buses_segment *segment, size_t *skip)
{
	size_t less = min(*skip, segment->len);
	struct buses_segment *kept;

	*skip -= less;
	if (less == segment->len || record.count == BUSES_SEGMENTS)
		return;
	kept = &record.segments[record.count++];
	*kept = *segment;
	kept->dma += less;
	kept->phys += less;
	kept->len -= less;
}

/**
 * buses_record_payload() - a chip has taken or given bytes
 * @chip: any; only those of the one that is recorded are kept
 * @rd: it has given them
 * @bytes: which
 * @len: how many
 * @segments: where in memory they were, or NULL
 * @count: pieces in @segments
 * @skip: so many at the start are not payload
 */
void buses_record_payload(struct buses_chip *chip, bool rd, const u8 *bytes, size_t len,
			  const struct buses_segment *segments, unsigned int count, size_t skip)
{
	unsigned int i;
	size_t room;

	if (skip >= len)
		return;
	spin_lock(&record_lock);
	if (record.chip == chip) {
		room = min(len - skip, sizeof(record.bytes) - record.len);
		record.rd = rd;
		memcpy(record.bytes + record.len, bytes + skip, room);
		record.len += room;
		for (i = 0; i < count; i++)
			add_segment(&segments[i], &skip);
	}
	spin_unlock(&record_lock);
}

static void answer_segment(struct answer *answer, const struct buses_segment *segment)
{
	u64 address = segment->why ? segment->dma : segment->phys;

	answer_add(answer, "{\"address\":\"0x%llx\",\"length\":%zu,\"stray\":%d}",
		   (unsigned long long)address, segment->len, !!segment->why);
}

/**
 * buses_record_answer() - stop recording, begin the scenario's answer with the payload
 * @s: the scenario, nothing in whose answer yet
 */
void buses_record_answer(struct scenario *s)
{
	unsigned int i;

	spin_lock(&record_lock);
	record.chip = NULL;
	spin_unlock(&record_lock);
	answer_add(&s->answer, "{\"bus\":[");
	if (record.len) {
		answer_add(&s->answer, "{\"rd\":%d", record.rd);
		answer_hex(&s->answer, "data", record.bytes, record.len);
		answer_add(&s->answer, ",\"segments\":[");
		for (i = 0; i < record.count; i++) {
			answer_add(&s->answer, i ? "," : "");
			answer_segment(&s->answer, &record.segments[i]);
		}
		answer_add(&s->answer, "]}");
	}
	answer_add(&s->answer, "]");
}
