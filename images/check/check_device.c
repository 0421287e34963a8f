// SPDX-License-Identifier: GPL-2.0-or-later
/* A device for what functions map by themselves: it goes where its address leads, if that is the buffer. */
#include <linux/dma-mapping.h>
#include <linux/scatterlist.h>
#include "check.h"
#include "compat.h"
#include "strict_reach.h"

/* The client module knows where any address lies. */
phys_addr_t memory_phys(const void *scenario, const void *address);

static bool leads_to(struct device *dev, dma_addr_t at, const void *buf, size_t len, bool write)
{
	phys_addr_t (*phys)(const void *scenario, const void *address) = symbol_get(memory_phys);
	bool right;

	if (!phys)
		return false;
	right = strict_reach(dev, at, len, write) == phys(NULL, buf);
	symbol_put(memory_phys);
	return right;
}

/**
 * check_single() - let the device use what a function has mapped, and unmap it
 * @dev: whose DMA operations
 * @at: what dma_map_single() returned
 * @buf: what it was given
 * @len: bytes
 * @direction: of both
 *
 * Return: 0, -EIO if it was not mapped, -EFAULT if the device missed the buffer.
 */
int check_single(struct device *dev, dma_addr_t at, const void *buf, size_t len, enum dma_data_direction direction)
{
	bool right;

	if (dma_mapping_error(dev, at))
		return -EIO;
	right = leads_to(dev, at, buf, len, direction == DMA_FROM_DEVICE);
	dma_unmap_single(dev, at, len, direction);
	return right ? 0 : -EFAULT;
}

/**
 * check_list() - map a list of one piece, let the device use it, unmap it
 * @dev: whose DMA operations
 * @sg: the list
 * @buf: what it was made of
 * @direction: where the data goes
 *
 * Return: as check_single().
 */
int check_list(struct device *dev, struct scatterlist *sg, const void *buf, enum dma_data_direction direction)
{
	bool right;

	if (dma_map_sg(dev, sg, 1, direction) != 1)
		return -EIO;
	right = leads_to(dev, sg_dma_address(sg), buf, sg_dma_len(sg), direction == DMA_FROM_DEVICE);
	dma_unmap_sg(dev, sg, 1, direction);
	return right ? 0 : -EFAULT;
}
