// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table: one row for all messages that are alike, of a size fixed at load. A message that
 * finds no room is counted as lost.
 */
#include <linux/device.h>
#include <linux/jhash.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include "audit.h"

#define NO_ROW 0

/* Tracepoints are hit in every context, with PREEMPT_RT too, where spinlock_t sleeps. */
static DEFINE_RAW_SPINLOCK(table_lock);
static struct audit_row *rows;
static unsigned int row_max;
static unsigned int row_count;
/* By hash: index of a row plus one, or NO_ROW. */
static u32 *buckets;
static unsigned int bucket_mask;
static struct audit_adapter adapters[AUDIT_ADAPTERS];
static unsigned int adapter_count;
static struct audit_counts counts;

/* The adapter's entry, made if there is none; -1 without room. */
static int adapter_index(const struct i2c_adapter *adapter)
{
	struct audit_adapter *entry;
	unsigned int i;

	for (i = 0; i < adapter_count; i++) {
		entry = &adapters[i];
		/* After an adapter is gone another may get its memory or its number. */
		if (entry->adapter == adapter && entry->nr == adapter->nr &&
		    !strncmp(entry->name, adapter->name, sizeof(entry->name) - 1))
			return i;
	}
	if (adapter_count == AUDIT_ADAPTERS)
		return -1;
	entry = &adapters[adapter_count];
	entry->adapter = adapter;
	entry->nr = adapter->nr;
	scnprintf(entry->name, sizeof(entry->name), "%s", adapter->name);
	entry->driver[0] = 0;
	if (adapter->dev.parent)
		scnprintf(entry->driver, sizeof(entry->driver), "%s",
			  dev_driver_string(adapter->dev.parent));
	return adapter_count++;
}

/* The key's row, claimed if there is none; NULL without room. */
static struct audit_row *find_row(const struct audit_key *key)
{
	u32 at = jhash(key, sizeof(*key), 0) & bucket_mask;
	struct audit_row *row;

	for (; buckets[at] != NO_ROW; at = (at + 1) & bucket_mask) {
		row = &rows[buckets[at] - 1];
		if (!memcmp(&row->key, key, sizeof(*key)))
			return row;
	}
	if (row_count == row_max)
		return NULL;
	row = &rows[row_count++];
	buckets[at] = row_count;
	row->key = *key;
	row->min_len = U16_MAX;
	return row;
}

static void count_message(struct audit_row *row, const struct i2c_msg *msg,
			  const struct memory *memory)
{
	row->count++;
	row->before += memory->before;
	row->after += memory->after;
	row->min_len = min(row->min_len, msg->len);
	row->max_len = max(row->max_len, msg->len);
	row->address_bits |= (unsigned long)msg->buf;
}

/* Text is made outside the lock: kallsyms takes its time. */
static void describe(struct audit_row *row, const struct i2c_msg *msg, const struct memory *memory,
		     const struct caller *caller)
{
	unsigned int i;

	row->object = memory->object;
	row->offset = memory->offset;
	row->frame_count = caller->count;
	row->caller_frame = caller->key;
	if (memory->cache)
		scnprintf(row->cache, sizeof(row->cache), "%s", memory->cache);
	if (memory->class >= MEMORY_MODULE && memory->class <= MEMORY_DATA)
		scnprintf(row->symbol, sizeof(row->symbol), "%pS", msg->buf);
	scnprintf(row->task, sizeof(row->task), "%s", current->comm);
	for (i = 0; i < caller->count; i++)
		scnprintf(row->frames[i], sizeof(row->frames[i]), "%pB",
			  (void *)caller->frames[i]);
}

/**
 * table_book() - count a message
 * @adapter: that carries it
 * @msg: of the transfer that the current task is about to make
 * @memory: what its buffer is
 *
 * Return: its row, or NULL if it was lost.
 */
struct audit_row *table_book(const struct i2c_adapter *adapter, const struct i2c_msg *msg,
			     const struct memory *memory)
{
	struct audit_row *row = NULL;
	struct audit_key key;
	struct caller caller;
	unsigned long flags;
	bool fresh;
	int index;

	caller_find(&caller);
	memset(&key, 0, sizeof(key));
	key.caller = caller.count ? caller.frames[caller.key] : 0;
	key.address = msg->addr;
	key.class = memory->class;
	key.rd = !!(msg->flags & I2C_M_RD);
	key.dma_safe = !!(msg->flags & I2C_M_DMA_SAFE);
	key.ten = !!(msg->flags & I2C_M_TEN);
	key.recv_len = !!(msg->flags & I2C_M_RECV_LEN);
	raw_spin_lock_irqsave(&table_lock, flags);
	counts.messages++;
	index = adapter_index(adapter);
	if (index >= 0) {
		key.adapter = index;
		row = find_row(&key);
	}
	fresh = row && !row->count;
	if (row)
		count_message(row, msg, memory);
	else
		counts.lost++;
	raw_spin_unlock_irqrestore(&table_lock, flags);
	if (fresh) {
		describe(row, msg, memory, &caller);
		/* After the text; pairs with table_row(). */
		smp_store_release(&row->ready, true);
	}
	return row;
}

/**
 * table_mapped() - DMA was mapped on the buffer of one message
 * @row: of that message
 */
void table_mapped(struct audit_row *row)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	row->mapped++;
	raw_spin_unlock_irqrestore(&table_lock, flags);
}

/**
 * table_transfer() - count a transfer
 * @failed: it returned an error
 */
void table_transfer(bool failed)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	counts.transfers++;
	counts.failed += failed;
	raw_spin_unlock_irqrestore(&table_lock, flags);
}

/**
 * table_unmapped() - count a message whose mappings could not be looked for
 */
void table_unmapped(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	counts.unmapped++;
	raw_spin_unlock_irqrestore(&table_lock, flags);
}

/**
 * table_counts() - what was seen and what was missed
 * @answer: all of it at one moment
 */
void table_counts(struct audit_counts *answer)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	*answer = counts;
	raw_spin_unlock_irqrestore(&table_lock, flags);
}

/**
 * table_size() - how many rows there can be
 */
unsigned int table_size(void)
{
	return row_max;
}

/**
 * table_used() - how many rows there are
 */
unsigned int table_used(void)
{
	return READ_ONCE(row_count);
}

/**
 * table_row() - copy a row
 * @index: below table_used()
 * @row: the copy
 * @adapter: a copy of its adapter's entry
 *
 * Return: false if its text is not there yet.
 */
bool table_row(unsigned int index, struct audit_row *row, struct audit_adapter *adapter)
{
	unsigned long flags;
	bool ready;

	raw_spin_lock_irqsave(&table_lock, flags);
	/* Pairs with table_book(). */
	ready = index < row_count && smp_load_acquire(&rows[index].ready);
	if (ready) {
		*row = rows[index];
		*adapter = adapters[row->key.adapter];
	}
	raw_spin_unlock_irqrestore(&table_lock, flags);
	return ready;
}

/**
 * table_reset() - forget everything; nothing may be booked meanwhile
 */
void table_reset(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	row_count = 0;
	adapter_count = 0;
	counts = (struct audit_counts) { };
	raw_spin_unlock_irqrestore(&table_lock, flags);
	memset(rows, 0, array_size(row_max, sizeof(*rows)));
	memset(buckets, 0, array_size(bucket_mask + 1, sizeof(*buckets)));
}

/**
 * table_init() - take the memory that the table will ever need
 * @size: rows
 *
 * Return: 0 or a negative errno.
 */
int table_init(unsigned int size)
{
	unsigned int bucket_count = roundup_pow_of_two(2 * size);

	rows = vzalloc(array_size(size, sizeof(*rows)));
	buckets = vzalloc(array_size(bucket_count, sizeof(*buckets)));
	if (!rows || !buckets) {
		table_exit();
		return -ENOMEM;
	}
	row_max = size;
	bucket_mask = bucket_count - 1;
	return 0;
}

/**
 * table_exit() - undo table_init()
 */
void table_exit(void)
{
	vfree(rows);
	vfree(buckets);
}
