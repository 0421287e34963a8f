// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes about whose a buffer is, and about its cache lines. Where DMA is coherent nobody
 * notices any of them.
 */
#include <linux/slab.h>
#include <linux/string.h>
#include "controller.h"

static void free_spare(struct controller *ctl, struct payload *payload, bool transferred)
{
	kfree(payload->spare.memory);
}

static u8 *empty_get(struct controller *ctl, struct payload *payload)
{
	payload->spare.memory = kzalloc(payload->len, GFP_KERNEL);
	return payload->spare.memory;
}

/*
 * fill-late: a buffer must be filled before it is mapped: from then on it is the device's, which
 * need not see what the CPU writes.
 */
static dma_addr_t map_then_fill(struct controller *ctl, struct payload *payload)
{
	dma_addr_t dma = payload_map(ctl, payload);

	memcpy(payload->buf, payload->msg->buf, payload->len);
	return dma;
}

/*
 * read-early: what the device wrote can be read after dma_sync_single_for_cpu() or the unmapping.
 * Before, the CPU sees what was there.
 */
static void read_then_unmap(struct controller *ctl, struct payload *payload)
{
	if (!payload->ret)
		memcpy(payload->msg->buf, payload->buf, payload->msg->len);
	payload_unmap(ctl, payload);
}

/* A driver's private data: a buffer for DMA, and beside it what the driver counts. */
#define COUNTER_BYTES sizeof(u64)

static u8 *embedded_get(struct controller *ctl, struct payload *payload)
{
	return fault_bounce(payload, kzalloc(payload->len + COUNTER_BYTES, GFP_KERNEL));
}

static void embedded_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	kfree(payload->spare.memory);
}

/*
 * write-beside: a buffer that the device fills must have its cache lines to itself. What is written
 * beside it meanwhile is lost, when the line is invalidated.
 */
static dma_addr_t map_and_count(struct controller *ctl, struct payload *payload)
{
	dma_addr_t dma = payload_map(ctl, payload);

	memset(payload->buf + payload->len, 1, COUNTER_BYTES);
	return dma;
}

const struct controller_fault controller_faults_view[] = {
	{ "fill-late", { .get = empty_get, .map = map_then_fill, .put = free_spare } },
	{ "read-early", { .get = empty_get, .unmap = read_then_unmap, .put = free_spare } },
	{ "write-beside", { .get = embedded_get, .map = map_and_count, .put = embedded_put } },
	{}
};
