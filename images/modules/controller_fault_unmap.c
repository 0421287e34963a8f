// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes in unmapping: not what was mapped, not how, not by whom, or more than once.
 *
 * check_unmap() in kernel/dma/debug.c compares an unmapping with the mapping that it finds by device
 * and DMA address; it notices all of these.
 */
#include "controller.h"

/* free-invalid-address: what dma_map_*() returned as an error is not to be unmapped. */
static void unmap_error(struct controller *ctl, struct payload *payload)
{
	payload_unmap(ctl, payload);
	dma_unmap_single(ctl->dev, DMA_MAPPING_ERROR, payload->len, payload->dir);
}

/* free-unallocated: the address to unmap is the one that was returned, not one inside. */
static void unmap_inside(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(ctl->dev, payload->dma + 1, payload->len - 1, payload->dir);
	payload_unmap(ctl, payload);
}

/* double-unmap: what is unmapped may by now be somebody else's mapping. */
static void unmap_twice(struct controller *ctl, struct payload *payload)
{
	payload_unmap(ctl, payload);
	payload_unmap(ctl, payload);
}

/* double-unmap-after-error: the error path unmaps, and so does the exit that all paths share. */
static void unmap_in_error_path_too(struct controller *ctl, struct payload *payload)
{
	if (payload->ret)
		payload_unmap(ctl, payload);
	payload_unmap(ctl, payload);
}

/* free-size: the size to unmap is the size that was mapped. */
static void unmap_less(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(ctl->dev, payload->dma, payload->len - 1, payload->dir);
}

/* free-direction: the direction to unmap with is the one that was mapped with. */
static void unmap_both_ways(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(ctl->dev, payload->dma, payload->len, DMA_BIDIRECTIONAL);
}

/*
 * free-attrs: attributes must be the same, too. Noticed since some release between 6.12 and
 * 7.2, for attributes that change what a mapping is.
 */
static dma_addr_t map_privileged(struct controller *ctl, struct payload *payload)
{
	return dma_map_single_attrs(ctl->dev, payload->buf, payload->len, payload->dir,
				    DMA_ATTR_PRIVILEGED);
}

/* wrong-device-unmap: a mapping belongs to the device that it was made for, not to the adapter. */
static void unmap_for_adapter(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(&ctl->adap.dev, payload->dma, payload->len, payload->dir);
	payload_unmap(ctl, payload);
}

const struct controller_fault controller_faults_unmap[] = {
	{ "free-invalid-address", { .unmap = unmap_error } },
	{ "free-unallocated", { .unmap = unmap_inside } },
	{ "double-unmap", { .unmap = unmap_twice } },
	{ "double-unmap-after-error", { .unmap = unmap_in_error_path_too } },
	{ "free-size", { .unmap = unmap_less } },
	{ "free-direction", { .unmap = unmap_both_ways } },
	{ "free-attrs", { .map = map_privileged } },
	{ "wrong-device-unmap", { .unmap = unmap_for_adapter } },
	{}
};
