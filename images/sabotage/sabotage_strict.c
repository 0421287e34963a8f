// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Wrecking the strict machine (images/strict/): behind its back, and by using up its addresses or its
 * room for reports.
 */
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/moduleparam.h>
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

/* The page that hardware reads, and where it notes what it refused: docs/strict.md, "The table". */
#define TABLE_PAGES 8
#define TABLE_ENTRIES 16
#define TABLE_NOTED 152
#define TABLE_REFUSALS 160
#define ENTRY_BYTES 32
#define ENTRY_ID 24
#define REFUSAL_BYTES 40
#define REFUSALS 32

static unsigned long table;
module_param(table, ulong, 0444);
MODULE_PARM_DESC(table, "strict-refusals: what dmasafe_strict has in its parameter of this name");

static unsigned long dma;
module_param(dma, ulong, 0444);
MODULE_PARM_DESC(dma, "strict-refusals: the first bus address");

static unsigned int count;
module_param(count, uint, 0444);
MODULE_PARM_DESC(count, "strict-refusals: how many");

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

static u32 mapping_at(const u8 *header, u64 address)
{
	const u32 pages = le32_to_cpup((const __le32 *)(header + TABLE_PAGES));
	const u8 *entry = phys_to_virt(le64_to_cpup((const __le64 *)(header + TABLE_ENTRIES)));
	u32 i;

	for (i = 0; i < pages; i++, entry += ENTRY_BYTES)
		if (le64_to_cpup((const __le64 *)entry) == address)
			return le32_to_cpup((const __le32 *)(entry + ENTRY_ID));
	return 0;
}

/**
 * sabotage_strict_refusals() - note refused reads as hardware does, more at a time than there is room for
 *
 * Return: 0 or a negative errno.
 */
int sabotage_strict_refusals(void)
{
	u8 *header = table ? phys_to_virt(table) : NULL;
	__le32 *noted = (__le32 *)(header + TABLE_NOTED);
	unsigned int i;

	if (!header)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		u8 *refusal = header + TABLE_REFUSALS + le32_to_cpup(noted) % REFUSALS * REFUSAL_BYTES;

		memset(refusal, 0, REFUSAL_BYTES);
		*(__le64 *)refusal = cpu_to_le64(dma + i);
		*(__le32 *)(refusal + 8) = cpu_to_le32(1);
		*(__le32 *)(refusal + 12) = cpu_to_le32(mapping_at(header, dma + i));
		*noted = cpu_to_le32(le32_to_cpup(noted) + 1);
	}
	return 0;
}
