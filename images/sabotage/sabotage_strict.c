// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Wrecking the strict machine (images/strict/): behind its back, and by using up its addresses or its
 * room for reports.
 */
#include <linux/dma-map-ops.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include "sabotage.h"

/* Virtio's I2C adapter: what the harness's controller sits on too. */
#define I2C_VENDOR 0x1af4
#define I2C_DEVICE 0x1062
/* More than the machine has addresses for. */
#define MAPPINGS 65536
/* More than the machine can report at a time. */
#define FREED_MAPPINGS 40

/**
 * sabotage_strict_bypass() - take the strict machine's DMA operations from the I2C adapters
 *
 * Return: 0
 */
int sabotage_strict_bypass(void)
{
	struct pci_dev *pdev = NULL;

	while ((pdev = pci_get_device(I2C_VENDOR, I2C_DEVICE, pdev)))
		set_dma_ops(&pdev->dev, NULL);
	return 0;
}

/**
 * sabotage_strict_full() - map until no bus address is left, and leave it at that
 *
 * Return: 0 or a negative errno.
 */
int sabotage_strict_full(void)
{
	struct pci_dev *pdev = pci_get_device(I2C_VENDOR, I2C_DEVICE, NULL);
	void *buffer = kzalloc(SMP_CACHE_BYTES, GFP_KERNEL);
	unsigned int i;
	dma_addr_t dma;

	if (!pdev || !buffer)
		return -ENODEV;
	for (i = 0; i < MAPPINGS; i++) {
		dma = dma_map_single(&pdev->dev, buffer, SMP_CACHE_BYTES, DMA_TO_DEVICE);
		if (dma_mapping_error(&pdev->dev, dma))
			break;
	}
	return 0;
}

/**
 * sabotage_strict_flood() - break more rules at a time than can be reported: free what is mapped often
 *
 * Return: 0 or a negative errno.
 */
int sabotage_strict_flood(void)
{
	struct pci_dev *pdev = pci_get_device(I2C_VENDOR, I2C_DEVICE, NULL);
	void *buffer = kzalloc(SMP_CACHE_BYTES, GFP_KERNEL);
	unsigned int i;

	if (!pdev || !buffer)
		return -ENODEV;
	for (i = 0; i < FREED_MAPPINGS; i++)
		if (dma_mapping_error(&pdev->dev, dma_map_single(&pdev->dev, buffer, SMP_CACHE_BYTES,
								 DMA_TO_DEVICE)))
			return -EIO;
	kfree(buffer);
	return 0;
}
