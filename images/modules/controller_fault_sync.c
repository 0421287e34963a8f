// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes in handing a mapping back and forth between the CPU and the device.
 *
 * check_sync() in kernel/dma/debug.c looks for a mapping of the device's that contains the synced
 * range (containing_match()), then compares directions; it notices all of these.
 */
#include "controller.h"

static void sync_for_cpu(struct controller *ctl, struct payload *payload, dma_addr_t dma,
			 size_t len, enum dma_data_direction dir)
{
	dma_sync_single_for_cpu(ctl->dev, dma, len, dir);
	payload_unmap(ctl, payload);
}

/* sync-unallocated: only what is mapped can be synced, and this lies behind it. */
static void sync_behind(struct controller *ctl, struct payload *payload)
{
	sync_for_cpu(ctl, payload, payload->dma + payload->len, payload->len, payload->dir);
}

/*
 * sync-beyond: a byte more than was mapped. containing_match() finds no mapping that holds all
 * of it, so the report is that of sync-unallocated.
 */
static void sync_beyond(struct controller *ctl, struct payload *payload)
{
	sync_for_cpu(ctl, payload, payload->dma, payload->len + 1, payload->dir);
}

/* sync-after-unmap: an unmapped buffer is the CPU's already. Noticed likewise. */
static void sync_after_unmap(struct controller *ctl, struct payload *payload)
{
	payload_unmap(ctl, payload);
	dma_sync_single_for_cpu(ctl->dev, payload->dma, payload->len, payload->dir);
}

/*
 * sync-out-of-range: a length that underflowed. It makes the end of the range wrap around, which
 * is the only way to get past containing_match() with more than was mapped.
 */
static void sync_underflow(struct controller *ctl, struct payload *payload)
{
	size_t header = payload->len + 1;

	sync_for_cpu(ctl, payload, payload->dma, payload->len - header, payload->dir);
}

/* sync-direction: a mapping from the device is not to be synced as one to it. */
static void sync_from_device_as_to(struct controller *ctl, struct payload *payload)
{
	sync_for_cpu(ctl, payload, payload->dma, payload->len, DMA_TO_DEVICE);
}

/* sync-cpu-readonly: what the device only reads holds nothing new for the CPU. */
static void sync_nothing_new(struct controller *ctl, struct payload *payload)
{
	sync_for_cpu(ctl, payload, payload->dma, payload->len, DMA_FROM_DEVICE);
}

/* sync-device-writeonly: what the device only writes needs nothing from the CPU. */
static void sync_nothing_needed(struct controller *ctl, struct payload *payload)
{
	dma_sync_single_for_device(ctl->dev, payload->dma, payload->len, DMA_TO_DEVICE);
	payload_unmap(ctl, payload);
}

const struct controller_fault controller_faults_sync[] = {
	{ "sync-unallocated", { .unmap = sync_behind } },
	{ "sync-beyond", { .unmap = sync_beyond } },
	{ "sync-after-unmap", { .unmap = sync_after_unmap } },
	{ "sync-out-of-range", { .unmap = sync_underflow } },
	{ "sync-direction", { .unmap = sync_from_device_as_to } },
	{ "sync-cpu-readonly", { .unmap = sync_nothing_new } },
	{ "sync-device-writeonly", { .unmap = sync_nothing_needed } },
	{}
};
