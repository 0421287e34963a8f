// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which buffers reached an adapter: probes on the I2C core's tracepoints i2c_write and
 * i2c_read.
 *
 * Without CONFIG_TRACEPOINTS, or with the I2C core in a module of its own, nothing is
 * recorded.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include "client.h"
#include "owns.h"

static LIST_HEAD(record_active);
static DEFINE_SPINLOCK(record_lock);

/**
 * record_start() - record the messages of the current task from now on
 * @recorder: holds them
 * @s: the scenario under way, or NULL
 */
void record_start(struct recorder *recorder, struct scenario *s)
{
	record_stop(recorder);
	recorder->task = current;
	recorder->scenario = s;
	recorder->count = 0;
	spin_lock(&record_lock);
	list_add(&recorder->node, &record_active);
	spin_unlock(&record_lock);
}

/**
 * record_stop() - record no more; the messages stay
 * @recorder: whether started or not
 */
void record_stop(struct recorder *recorder)
{
	spin_lock(&record_lock);
	list_del_init(&recorder->node);
	spin_unlock(&record_lock);
}

/* Whether [start, start + len), within a page, lies in the scenario's buffer or its guards. */
static bool record_owns(const struct scenario *s, phys_addr_t start, size_t len)
{
	const u8 *piece = s->buf - s->front;
	const u8 *end = s->buf + s->len + CLIENT_GUARD;

	while (piece < end) {
		size_t size = min_t(size_t, end - piece, PAGE_SIZE - offset_in_page(piece));
		phys_addr_t pa = memory_phys(s, piece);

		if (pa != DMASAFE_NO_PHYS && start >= pa && start + len <= pa + size)
			return true;
		piece += size;
	}
	return false;
}

/**
 * dmasafe_client_owns() - whether memory belongs to the buffer of a call that is under way
 * @start: physical address
 * @len: bytes, within a page
 */
bool dmasafe_client_owns(phys_addr_t start, size_t len)
{
	struct recorder *recorder;
	bool owns = false;

	spin_lock(&record_lock);
	list_for_each_entry(recorder, &record_active, node)
		if (recorder->scenario && record_owns(recorder->scenario, start, len))
			owns = true;
	spin_unlock(&record_lock);
	return owns;
}
EXPORT_SYMBOL_GPL(dmasafe_client_owns);

#ifdef CONFIG_TRACEPOINTS

static struct tracepoint *record_points[2];

static const char *const record_names[] = { "i2c_write", "i2c_read" };

static void record_message(void *data, const struct i2c_adapter *adap,
			   const struct i2c_msg *msg, int num)
{
	struct recorder *recorder;

	spin_lock(&record_lock);
	list_for_each_entry(recorder, &record_active, node) {
		if (recorder->task != current || recorder->count == CLIENT_MAX_MESSAGES)
			continue;
		recorder->seen[recorder->count++] = (struct seen_message) {
			.rd = msg->flags & I2C_M_RD,
			.dma_safe = msg->flags & I2C_M_DMA_SAFE,
			.len = msg->len,
			.pa = memory_phys(recorder->scenario, msg->buf),
		};
	}
	spin_unlock(&record_lock);
}

static void record_find(struct tracepoint *point, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(record_names); i++)
		if (!strcmp(point->name, record_names[i]))
			record_points[i] = point;
}

/**
 * client_record_init() - attach to the tracepoints that there are
 *
 * Return: 0 or a negative errno.
 */
int client_record_init(void)
{
	size_t i;
	int ret;

	for_each_kernel_tracepoint(record_find, NULL);
	for (i = 0; i < ARRAY_SIZE(record_points); i++) {
		if (!record_points[i])
			continue;
		ret = tracepoint_probe_register(record_points[i], record_message, NULL);
		if (ret) {
			record_points[i] = NULL;
			client_record_exit();
			return ret;
		}
	}
	return 0;
}

/**
 * client_record_exit() - detach, and wait until no probe runs
 */
void client_record_exit(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(record_points); i++)
		if (record_points[i])
			tracepoint_probe_unregister(record_points[i], record_message, NULL);
	tracepoint_synchronize_unregister();
}

#else

int client_record_init(void)
{
	return 0;
}

void client_record_exit(void)
{
}

#endif
