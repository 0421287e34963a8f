// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which messages' own buffers were mapped for DMA while they were on their way: between the
 * tracepoints of a message and that of its result, by the tracepoints of the mapping functions.
 * Only what the transferring task maps is seen; that is how controller drivers do it.
 *
 * A buffer outside the linear map is also looked for at the address that virt_to_phys() makes of
 * it: that is where a driver sends its device that takes it for linear.
 */
#include <linux/device.h>
#include <linux/i2c-dev.h>
#include <linux/dma-direction.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include "audit.h"
#include "compat.h"

#ifdef AUDIT_DMA_TRACEPOINTS
#include <trace/events/dma.h>

#define MAP_TRANSFERS 16
/* As many as i2c-dev lets through. */
#define MAP_MESSAGES I2C_RDWR_IOCTL_MAX_MSGS

struct map_message {
	phys_addr_t phys;
	phys_addr_t taken_for_linear;
	size_t len;
	struct audit_row *row;
};

/* A task that dies in its transfer leaves it here; another may get its task_struct, not its age. */
struct map_transfer {
	const struct i2c_adapter *adapter;
	const struct task_struct *task;
	u64 task_start;
	unsigned int count;
	struct map_message messages[MAP_MESSAGES];
};

static struct map_transfer transfers[MAP_TRANSFERS];
/* Most mappings are others': they need not take the lock. */
static unsigned int transfer_count;
static DEFINE_RAW_SPINLOCK(map_lock);

/* The I2C core locks an adapter for a transfer, so it has one at a time. */
static struct map_transfer *find_transfer(const struct i2c_adapter *adapter)
{
	unsigned int i;

	for (i = 0; i < MAP_TRANSFERS; i++)
		if (transfers[i].adapter == adapter)
			return &transfers[i];
	return NULL;
}

static bool is_ours(const struct map_transfer *transfer)
{
	return transfer->adapter && transfer->task == current &&
	       transfer->task_start == current->start_time;
}

/* The transfer's slot, a new one for its first message; NULL if there was none free then. */
static struct map_transfer *take_transfer(const struct i2c_adapter *adapter, int num)
{
	struct map_transfer *transfer = find_transfer(adapter);

	if (num)
		return transfer;
	if (!transfer) {
		transfer = find_transfer(NULL);
		if (!transfer)
			return NULL;
		WRITE_ONCE(transfer_count, transfer_count + 1);
	}
	transfer->adapter = adapter;
	transfer->task = current;
	transfer->task_start = current->start_time;
	transfer->count = 0;
	return transfer;
}

static phys_addr_t taken_for_linear(const void *buf, enum memory_class class)
{
	/* With CONFIG_DEBUG_VIRTUAL the question alone is a BUG. */
	if (IS_ENABLED(CONFIG_DEBUG_VIRTUAL) || class == MEMORY_NONE || class == MEMORY_USER)
		return AUDIT_NO_PHYS;
	return virt_to_phys((void *)buf);
}

/**
 * map_begin() - look for mappings of a message's buffer from now on
 * @adapter: that carries it
 * @msg: the message
 * @num: its number in the transfer
 * @class: of its memory
 * @row: where it is booked, or NULL
 */
void map_begin(const struct i2c_adapter *adapter, const struct i2c_msg *msg, int num,
	       enum memory_class class, struct audit_row *row)
{
	phys_addr_t phys = memory_phys(msg->buf, class);
	struct map_transfer *transfer;
	bool seen = false;
	unsigned long flags;

	raw_spin_lock_irqsave(&map_lock, flags);
	transfer = take_transfer(adapter, num);
	if (transfer && transfer->count < MAP_MESSAGES) {
		seen = true;
		transfer->messages[transfer->count++] = (struct map_message) {
			.phys = phys,
			.taken_for_linear = taken_for_linear(msg->buf, class),
			.len = msg->len,
			.row = row,
		};
	}
	raw_spin_unlock_irqrestore(&map_lock, flags);
	if (!seen)
		table_unmapped();
}

/**
 * map_end() - the current task's transfer is over
 * @adapter: that carried it
 */
void map_end(const struct i2c_adapter *adapter)
{
	struct map_transfer *transfer;
	unsigned long flags;

	raw_spin_lock_irqsave(&map_lock, flags);
	transfer = find_transfer(adapter);
	if (transfer) {
		transfer->adapter = NULL;
		WRITE_ONCE(transfer_count, transfer_count - 1);
	}
	raw_spin_unlock_irqrestore(&map_lock, flags);
}

/**
 * map_forget() - nothing is under way any more
 */
void map_forget(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&map_lock, flags);
	memset(transfers, 0, sizeof(transfers));
	WRITE_ONCE(transfer_count, 0);
	raw_spin_unlock_irqrestore(&map_lock, flags);
}

static bool overlaps(phys_addr_t start, size_t size, phys_addr_t phys, size_t len)
{
	return phys != AUDIT_NO_PHYS && phys < start + size && start < phys + len;
}

/* A row is booked for one message once, however often that is mapped. */
static void look(struct map_transfer *transfer, phys_addr_t start, size_t size)
{
	unsigned int i;

	for (i = 0; i < transfer->count; i++) {
		struct map_message *message = &transfer->messages[i];

		if (!message->row)
			continue;
		if (overlaps(start, size, message->phys, message->len) ||
		    overlaps(start, size, message->taken_for_linear, message->len)) {
			table_mapped(message->row);
			message->row = NULL;
		}
	}
}

static void look_everywhere(phys_addr_t start, size_t size)
{
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&map_lock, flags);
	for (i = 0; i < MAP_TRANSFERS; i++)
		if (is_ours(&transfers[i]))
			look(&transfers[i], start, size);
	raw_spin_unlock_irqrestore(&map_lock, flags);
}

static void map_single(void *data, struct device *dev, phys_addr_t phys, dma_addr_t dma,
		       size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	if (READ_ONCE(transfer_count))
		look_everywhere(phys, size);
}

static void map_sg(void *data, struct device *dev, struct scatterlist *list, int nents, int ents,
		   enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *entry;
	int i;

	if (!READ_ONCE(transfer_count))
		return;
	for_each_sg(list, entry, nents, i)
		look_everywhere(sg_phys(entry), entry->length);
}

/* The compiler checks the probes with the tracepoints' prototypes. */
static void __maybe_unused check_prototypes(void)
{
	audit_check_map_type(map_single);
	check_trace_callback_type_dma_map_sg(map_sg);
}

/* Whichever of the first two this kernel has. */
struct watch_point map_points[] = {
	{ .name = "dma_map_page", .probe = map_single },
	{ .name = "dma_map_phys", .probe = map_single },
	{ .name = "dma_map_sg", .probe = map_sg },
};

const unsigned int map_point_count = ARRAY_SIZE(map_points);

#else

struct watch_point map_points[1];
const unsigned int map_point_count;

void map_begin(const struct i2c_adapter *adapter, const struct i2c_msg *msg, int num,
	       enum memory_class class, struct audit_row *row)
{
}

void map_end(const struct i2c_adapter *adapter)
{
}

void map_forget(void)
{
}

#endif
