// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DMA of all controllers: map what the subsystem handed over, let the chip's bytes go to
 * the address that came of it, unmap.
 *
 * A real controller hits whatever lies there. This one shares its machine with a kernel that is
 * to survive, so an address that does not lead to the buffer is noted as stray, not touched.
 */
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "buses.h"
#include "compat.h"
#include "strict_reach.h"

static const char *objection(const struct buses_segment *segment, phys_addr_t meant)
{
	if (segment->phys == STRICT_REFUSED)
		return "refused by the strict machine";
	if (!pfn_valid(PHYS_PFN(segment->phys)))
		return "outside memory";
	return segment->phys == meant ? NULL : "somebody else's memory";
}

/* Where a segment's address leads: to what was @meant, or it has an objection. */
static void find_memory(struct buses_chip *chip, struct buses_segment *segment, bool rd,
			phys_addr_t meant)
{
	segment->at = dma_to_phys(chip->dev, segment->dma);
	segment->phys = strict_reach(chip->dev, segment->dma, segment->len, rd);
	segment->why = objection(segment, meant);
}

/* The linear map's read-only bit, on rodata, stops no device: writes go through another mapping. */
static int write_page(struct page *page, size_t offset, const u8 *from, size_t len)
{
	u8 *at = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	if (!at)
		return -ENOMEM;
	memcpy(at + offset, from, len);
	vunmap(at);
	return 0;
}

static int read_page(struct page *page, size_t offset, u8 *to, size_t len)
{
	u8 *at = kmap_local_page(page);

	memcpy(to, at + offset, len);
	kunmap_local(at);
	return 0;
}

/* Between memory and @bytes, page by page. What is stray reads as a bus that nobody drives. */
static int move_segment(const struct buses_segment *segment, u8 *bytes, bool to_memory)
{
	phys_addr_t phys = segment->at;
	size_t len = segment->len;
	int ret = 0;

	if (segment->why) {
		if (!to_memory)
			memset(bytes, 0xff, len);
		return 0;
	}
	while (len && !ret) {
		size_t offset = offset_in_page(phys);
		size_t size = min_t(size_t, len, PAGE_SIZE - offset);
		struct page *page = pfn_to_page(PHYS_PFN(phys));

		ret = to_memory ? write_page(page, offset, bytes, size) :
				  read_page(page, offset, bytes, size);
		phys += size;
		bytes += size;
		len -= size;
	}
	return ret;
}

static int move(const struct buses_segment *segments, unsigned int count, u8 *bytes,
		bool to_memory)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < count && !ret; i++) {
		ret = move_segment(&segments[i], bytes, to_memory);
		bytes += segments[i].len;
	}
	return ret;
}

/* The hardware's part: it knows addresses and a chip, no buffers. */
static int carry_out(struct buses_chip *chip, const struct buses_segment *segments,
		     unsigned int count, size_t len, bool rd)
{
	u8 *bytes = kmalloc(len, GFP_KERNEL);
	size_t skip = 0;
	int ret;

	if (!bytes)
		return -ENOMEM;
	if (rd) {
		skip = chip->type->rx(chip, bytes, len);
		ret = move(segments, count, bytes, true);
	} else {
		ret = move(segments, count, bytes, false);
		if (!ret)
			skip = chip->type->tx(chip, bytes, len);
	}
	if (!ret)
		buses_record_payload(chip, rd, bytes, len, segments, count, skip);
	kfree(bytes);
	return ret;
}

/**
 * buses_dma_single() - map a buffer, transfer it, unmap it
 * @chip: where to or from
 * @buf: what the subsystem handed over, whatever memory it is
 * @len: bytes
 * @rd: the chip's bytes go to memory
 *
 * Return: 0, -EIO if it could not be mapped, or -ENOMEM.
 */
int buses_dma_single(struct buses_chip *chip, void *buf, size_t len, bool rd)
{
	enum dma_data_direction direction = rd ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	struct buses_segment segment = { .len = len };
	int ret;

	segment.dma = dma_map_single(chip->dev, buf, len, direction);
	if (dma_mapping_error(chip->dev, segment.dma))
		return -EIO;
	find_memory(chip, &segment, rd, memory_phys(NULL, buf));
	ret = carry_out(chip, &segment, 1, len, rd);
	dma_unmap_single(chip->dev, segment.dma, len, direction);
	return ret;
}

/**
 * buses_dma_sg() - transfer what is mapped already
 * @chip: where to or from
 * @table: mapped for the chip's device
 * @len: bytes
 * @rd: the chip's bytes go to memory
 *
 * Return: 0, -EINVAL for more pieces than can be kept, or -ENOMEM.
 */
int buses_dma_sg(struct buses_chip *chip, struct sg_table *table, size_t len, bool rd)
{
	struct buses_segment *segments;
	struct scatterlist *sg;
	size_t left = len;
	int i, ret;

	if (table->nents > BUSES_SEGMENTS)
		return -EINVAL;
	segments = kcalloc(table->nents, sizeof(*segments), GFP_KERNEL);
	if (!segments)
		return -ENOMEM;
	for_each_sgtable_dma_sg(table, sg, i) {
		segments[i].dma = sg_dma_address(sg);
		segments[i].len = min_t(size_t, sg_dma_len(sg), left);
		find_memory(chip, &segments[i], rd, sg_phys(sg));
		left -= segments[i].len;
	}
	ret = left ? -EINVAL : carry_out(chip, segments, table->nents, len, rd);
	kfree(segments);
	return ret;
}

/**
 * buses_pio() - transfer without DMA
 * @chip: where to or from
 * @bytes: the processor's
 * @len: how many
 * @rd: the chip's bytes go to @bytes
 */
void buses_pio(struct buses_chip *chip, u8 *bytes, size_t len, bool rd)
{
	size_t skip = rd ? chip->type->rx(chip, bytes, len) : chip->type->tx(chip, bytes, len);

	buses_record_payload(chip, rd, bytes, len, NULL, 0, skip);
}
