// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taking memory away: from everybody, and from dma-debug.
 */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pci_ids.h>
#include <linux/slab.h>
#include "sabotage.h"

/* More than dma-debug's pool holds with dma_debug_entries=64. */
#define MAPPINGS 1024

/**
 * sabotage_memory() - take all memory, and keep it
 *
 * The kernel kills one process after the other, until it has none left to kill.
 *
 * Return: -ENOMEM, if it returns.
 */
int sabotage_memory(void)
{
	while (alloc_page(GFP_KERNEL))
		;
	return -ENOMEM;
}

/* Maps more than dma-debug has entries for, while it cannot get any. */
static void use_up_entries(struct device *dev, u8 *buffer, dma_addr_t *mapped)
{
	size_t i;

	for (i = 0; i < MAPPINGS; i++) {
		mapped[i] = dma_map_single(dev, buffer + i * SMP_CACHE_BYTES, 1, DMA_TO_DEVICE);
		if (dma_mapping_error(dev, mapped[i]))
			break;
	}
	while (i--)
		dma_unmap_single(dev, mapped[i], 1, DMA_TO_DEVICE);
}

/**
 * sabotage_entries() - leave dma-debug without memory for a moment
 *
 * dma_entry_alloc() in kernel/dma/debug.c then gives up for good.
 *
 * Return: 0 or a negative errno.
 */
int sabotage_entries(void)
{
	struct pci_dev *pdev = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_ANY_ID, NULL);
	u8 *buffer = kcalloc(MAPPINGS, SMP_CACHE_BYTES, GFP_KERNEL);
	dma_addr_t *mapped = kcalloc(MAPPINGS, sizeof(*mapped), GFP_KERNEL);
	struct page *page, *next;
	LIST_HEAD(taken);
	int ret = -ENOMEM;

	if (!pdev || !buffer || !mapped)
		goto free;
	/* With the reserves, as dma-debug itself asks: GFP_ATOMIC. */
	while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN)))
		list_add(&page->lru, &taken);
	use_up_entries(&pdev->dev, buffer, mapped);
	list_for_each_entry_safe(page, next, &taken, lru)
		__free_page(page);
	ret = 0;
free:
	kfree(mapped);
	kfree(buffer);
	pci_dev_put(pdev);
	return ret;
}
