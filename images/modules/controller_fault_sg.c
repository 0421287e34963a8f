// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes with scatterlists. The list has two entries, of which one is mapped: what counts
 * entries wrongly counts both.
 */
#include "controller.h"

#define SG_MAPPED 1

static dma_addr_t sg_map(struct controller *ctl, struct payload *payload)
{
	struct scatterlist *sg = payload->spare.sg;
	unsigned int i;

	sg_init_table(sg, ARRAY_SIZE(payload->spare.sg));
	for (i = 0; i < ARRAY_SIZE(payload->spare.sg); i++)
		sg_set_buf(&sg[i], payload->buf, payload->len);
	if (dma_map_sg(ctl->dev, sg, SG_MAPPED, payload->dir) != SG_MAPPED)
		return DMA_MAPPING_ERROR;
	return sg_dma_address(sg);
}

/* dma_map_sg() tells by its return value; dma_mapping_error() is not for it. */
static bool sg_map_failed(struct controller *ctl, struct payload *payload)
{
	return payload->dma == DMA_MAPPING_ERROR;
}

static void sg_unmap(struct controller *ctl, struct payload *payload)
{
	dma_unmap_sg(ctl->dev, payload->spare.sg, SG_MAPPED, payload->dir);
}

/* free-sg-count: as many entries must be unmapped as were mapped. check_unmap() notices. */
static void sg_unmap_more(struct controller *ctl, struct payload *payload)
{
	dma_unmap_sg(ctl->dev, payload->spare.sg, ARRAY_SIZE(payload->spare.sg),
		     payload->dir);
}

/* sync-sg-count: as many entries must be synced as were mapped. check_sync() notices. */
static void sg_sync_more(struct controller *ctl, struct payload *payload)
{
	dma_sync_sg_for_cpu(ctl->dev, payload->spare.sg, ARRAY_SIZE(payload->spare.sg),
			    payload->dir);
	sg_unmap(ctl, payload);
}

/* sync-direction-sg: sync-direction for a list. check_sync() notices. */
static void sg_sync_from_device_as_to(struct controller *ctl, struct payload *payload)
{
	dma_sync_sg_for_cpu(ctl->dev, payload->spare.sg, SG_MAPPED, DMA_TO_DEVICE);
	sg_unmap(ctl, payload);
}

/* free-direction-sg: free-direction for a list. check_unmap() notices. */
static void sg_unmap_both_ways(struct controller *ctl, struct payload *payload)
{
	dma_unmap_sg(ctl->dev, payload->spare.sg, SG_MAPPED, DMA_BIDIRECTIONAL);
}

/* double-unmap-sg: double-unmap for a list. check_unmap() notices. */
static void sg_unmap_twice(struct controller *ctl, struct payload *payload)
{
	sg_unmap(ctl, payload);
	sg_unmap(ctl, payload);
}

/* free-function: a list must be unmapped as one. check_unmap() notices. */
static void sg_unmap_as_single(struct controller *ctl, struct payload *payload)
{
	payload_unmap(ctl, payload);
}

/*
 * sg-too-long: no entry may be longer than the device takes; the driver states that with
 * dma_set_max_seg_size() and then does not heed it. check_sg_segment() notices.
 */
static dma_addr_t sg_map_too_long(struct controller *ctl, struct payload *payload)
{
	struct device *dev = ctl->dev;
	unsigned int max = dma_get_max_seg_size(dev);
	dma_addr_t dma;

	dma_set_max_seg_size(dev, payload->len - 1);
	dma = sg_map(ctl, payload);
	dma_set_max_seg_size(dev, max);
	return dma;
}

/*
 * sg-boundary: no entry may cross a boundary that the device cannot; the driver states that
 * with dma_set_seg_boundary() and then does not heed it. check_sg_segment() notices.
 */
static dma_addr_t sg_map_across(struct controller *ctl, struct payload *payload)
{
	struct device *dev = ctl->dev;
	unsigned long boundary = dma_get_seg_boundary(dev);
	dma_addr_t dma;

	/* A boundary every two bytes, so that no entry of three can be without one. */
	dma_set_seg_boundary(dev, 1);
	dma = sg_map(ctl, payload);
	dma_set_seg_boundary(dev, boundary);
	return dma;
}

#define SG_FAULT(name, map_step, unmap_step) \
	{ name, { .map = map_step, .map_failed = sg_map_failed, .unmap = unmap_step } }

const struct controller_fault controller_faults_sg[] = {
	SG_FAULT("free-sg-count", sg_map, sg_unmap_more),
	SG_FAULT("sync-sg-count", sg_map, sg_sync_more),
	SG_FAULT("sync-direction-sg", sg_map, sg_sync_from_device_as_to),
	SG_FAULT("free-direction-sg", sg_map, sg_unmap_both_ways),
	SG_FAULT("double-unmap-sg", sg_map, sg_unmap_twice),
	SG_FAULT("free-function", sg_map, sg_unmap_as_single),
	SG_FAULT("sg-too-long", sg_map_too_long, sg_unmap),
	SG_FAULT("sg-boundary", sg_map_across, sg_unmap),
	{}
};
