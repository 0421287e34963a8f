// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DMA operations of an attached device. dma-debug, where it is, sees every call beside them.
 *
 * What a driver does wrong is noted under strict_lock and reported when it is released.
 */
#include <linux/dma-map-ops.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "compat.h"
#include "strict.h"

DEFINE_RAW_SPINLOCK(strict_lock);
LIST_HEAD(strict_live);
LIST_HEAD(strict_dead);

static unsigned int fail;
module_param(fail, uint, 0644);
MODULE_PARM_DESC(fail, "one mapping of so many fails, 0 for none");

static unsigned int seed;
module_param(seed, uint, 0644);
MODULE_PARM_DESC(seed, "which of them fail; 0 for the last of each row");

/* What says what the mapping is, not what to do with it, is the same at map and unmap: check_unmap(). */
#define FIRM_ATTRS (DMA_ATTR_NO_KERNEL_MAPPING | DMA_ATTR_FORCE_CONTIGUOUS | \
		    DMA_ATTR_PRIVILEGED | STRICT_COHERENT_ONLY)

static const char *kind_name(enum strict_kind kind)
{
	static const char *const names[] = {
		[STRICT_SINGLE] = "single",
		[STRICT_SG] = "scatter-gather",
		[STRICT_COHERENT] = "coherent",
	};

	return names[kind];
}

static unsigned long strict_begin(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&strict_lock, flags);
	return flags;
}

static void strict_end(unsigned long flags)
{
	raw_spin_unlock_irqrestore(&strict_lock, flags);
	strict_report();
}

static bool is_reached(struct device *dev, dma_addr_t dma, size_t size)
{
	return dma + size - 1 <= min_not_zero(*dev->dma_mask, dev->bus_dma_limit);
}

static bool lines_meet(const struct strict_mapping *one, const struct strict_mapping *other)
{
	const phys_addr_t start = max(one->phys, other->phys);
	const phys_addr_t end = min(one->phys + one->size, other->phys + other->size);

	/* Both overlap, or the first line of the later one is the last line of the earlier one. */
	return start < ALIGN(end, strict_line) && !(strict_table_owns(start) && start >= end);
}

/*
 * "the mapped region must begin exactly on a cache line boundary and end exactly on one (to prevent
 * two separately mapped regions from sharing a single cache line)", core-api/dma-api.rst. Two that
 * the device only reads do no harm.
 */
static void check_overlap(const struct strict_mapping *mapping)
{
	struct strict_mapping *other;

	if (mapping->dir == DMA_TO_DEVICE)
		return;
	list_for_each_entry(other, &strict_live, node) {
		phys_addr_t start, end, unused;

		if (other == mapping || other->kind == STRICT_COHERENT ||
		    other->dir == DMA_TO_DEVICE || other->freed ||
		    mapping->attrs & other->attrs & STRICT_SHARES_LINE ||
		    !lines_meet(mapping, other))
			continue;
		/* Two objects of the allocator's share no line where it matters. */
		strict_memory_object(mapping->phys, &start, &unused);
		strict_memory_object(mapping->phys + mapping->size - 1, &unused, &end);
		if (other->phys >= end || other->phys + other->size <= start)
			continue;
		strict_find(mapping->dev, mapping, NULL,
			    "two mappings share a cache line [device address=0x%016llx] [size=%zu bytes] [other device address=0x%016llx] [other size=%zu bytes] [line=%u bytes]",
			    (u64)mapping->dma, mapping->size, (u64)other->dma, other->size,
			    strict_line);
		return;
	}
}

static bool may_be_mapped(struct device *dev, phys_addr_t phys, size_t size)
{
	const char *forbidden = strict_memory_forbidden(phys, size);

	if (forbidden)
		strict_find(dev, NULL, NULL,
			    "driver maps memory that no allocator gave it [physical address=%pa] [size=%zu bytes] [memory=%s]",
			    &phys, size, forbidden);
	return !forbidden;
}

static void mapping_of(struct strict_mapping *mapping, struct device *dev, phys_addr_t phys,
		       enum dma_data_direction dir, unsigned long attrs, enum strict_kind kind)
{
	mapping->dev = dev;
	strscpy(mapping->owner, dev_name(dev), sizeof(mapping->owner));
	mapping->phys = phys;
	mapping->dir = dir;
	mapping->attrs = attrs;
	mapping->kind = kind;
}

static void find_full(struct device *dev)
{
	struct strict_mapping *oldest;

	if (strict_full++ || list_empty(&strict_live))
		return;
	oldest = list_first_entry(&strict_live, struct strict_mapping, node);
	strict_find(dev, oldest, NULL,
		    "no bus address is left: the oldest mapping was never unmapped [device address=0x%016llx] [size=%zu bytes]",
		    (u64)oldest->dma, oldest->size);
}

/**
 * dmasafe_strict_fail() - let mappings fail from now on
 * @one_of: one of so many, 0 for none
 */
void dmasafe_strict_fail(unsigned int one_of)
{
	fail = one_of;
}
EXPORT_SYMBOL_GPL(dmasafe_strict_fail);

static bool shall_fail(void)
{
	static unsigned int asked;

	if (!fail)
		return false;
	asked++;
	return (seed ? hash_32(asked ^ seed, 32) : asked) % fail == 0;
}

static dma_addr_t map_locked(struct device *dev, phys_addr_t phys, size_t size,
			     enum dma_data_direction dir, unsigned long attrs,
			     enum strict_kind kind)
{
	struct strict_mapping *mapping;

	if (!size || attrs & STRICT_COHERENT_ONLY || !may_be_mapped(dev, phys, size))
		return DMA_MAPPING_ERROR;
	if (shall_fail())
		return DMA_MAPPING_ERROR;
	mapping = strict_table_take(offset_in_page(phys), size);
	if (!mapping) {
		find_full(dev);
		return DMA_MAPPING_ERROR;
	}
	if (!is_reached(dev, mapping->dma, size))
		return DMA_MAPPING_ERROR;
	mapping_of(mapping, dev, phys, dir, attrs, kind);
	strict_stack_save(&mapping->mapped);
	strict_view_begin(mapping, !(attrs & DMA_ATTR_SKIP_CPU_SYNC));
	strict_table_open(mapping);
	strict_watch_add(mapping);
	check_overlap(mapping);
	return mapping->dma;
}

static dma_addr_t strict_map(struct device *dev, phys_addr_t phys, size_t size,
			     enum dma_data_direction dir, unsigned long attrs)
{
	unsigned long flags = strict_begin();
	dma_addr_t dma;

	dma = map_locked(dev, phys, size, dir, attrs, STRICT_SINGLE);
	strict_end(flags);
	return dma;
}

/* Whether a mapping was made for a device; one that was left behind is, by name, its next driver's. */
static bool is_its(struct strict_mapping *mapping, struct device *dev)
{
	if (!mapping->dev && !strncmp(mapping->owner, dev_name(dev), sizeof(mapping->owner) - 1))
		mapping->dev = dev;
	return mapping->dev == dev;
}

/* The live mapping at exactly this address, for a driver that unmaps or frees it. */
static struct strict_mapping *find_to_unmap(struct device *dev, dma_addr_t dma, size_t size)
{
	struct strict_mapping *mapping = strict_table_find(dma);

	if (dma == DMA_MAPPING_ERROR) {
		strict_find(dev, NULL, NULL, "driver unmaps a mapping that failed");
		return NULL;
	}
	if (!mapping || mapping->state != STRICT_LIVE || mapping->dma != dma ||
	    !is_its(mapping, dev)) {
		strict_find(dev, mapping, NULL,
			    "driver unmaps what is not mapped for it [device address=0x%016llx] [size=%zu bytes]",
			    (u64)dma, size);
		return NULL;
	}
	return mapping;
}

static void check_unmap(const struct strict_mapping *mapping, size_t size,
			enum dma_data_direction dir, unsigned long attrs, enum strict_kind kind)
{
	const u64 dma = mapping->dma;

	if (mapping->kind != kind)
		strict_find(mapping->dev, mapping, NULL,
			    "driver unmaps by another function [device address=0x%016llx] [size=%zu bytes] [mapped as %s] [unmapped as %s]",
			    dma, mapping->size, kind_name(mapping->kind), kind_name(kind));
	else if (mapping->size != size)
		strict_find(mapping->dev, mapping, NULL,
			    "driver unmaps another size [device address=0x%016llx] [map size=%zu bytes] [unmap size=%zu bytes]",
			    dma, mapping->size, size);
	else if (mapping->dir != dir)
		strict_find(mapping->dev, mapping, NULL,
			    "driver unmaps in another direction [device address=0x%016llx] [size=%zu bytes] [mapped with %s] [unmapped with %s]",
			    dma, size, strict_direction(mapping->dir), strict_direction(dir));
	else if ((mapping->attrs ^ attrs) & FIRM_ATTRS)
		strict_find(mapping->dev, mapping, NULL,
			    "driver unmaps with other attributes [device address=0x%016llx] [size=%zu bytes] [mapped with 0x%lx] [unmapped with 0x%lx]",
			    dma, size, mapping->attrs, attrs);
}

static void close_mapping(struct strict_mapping *mapping)
{
	strict_stack_save(&mapping->unmapped);
	strict_watch_remove(mapping);
	strict_table_close(mapping);
}

static void unmap_locked(struct device *dev, dma_addr_t dma, size_t size,
			 enum dma_data_direction dir, unsigned long attrs, enum strict_kind kind)
{
	struct strict_mapping *mapping = find_to_unmap(dev, dma, size);

	if (!mapping)
		return;
	check_unmap(mapping, size, dir, attrs, kind);
	if (mapping->kind != STRICT_COHERENT && !(attrs & DMA_ATTR_SKIP_CPU_SYNC)) {
		strict_view_for_cpu(mapping, 0, mapping->size);
		strict_view_end(mapping);
	}
	close_mapping(mapping);
}

static void strict_unmap(struct device *dev, dma_addr_t dma, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
	unsigned long flags = strict_begin();

	unmap_locked(dev, dma, size, dir, attrs, STRICT_SINGLE);
	strict_end(flags);
}

/* No entry may be longer, or cross what, the driver says that its device cannot. */
static void check_segment(struct device *dev, const struct scatterlist *sg, dma_addr_t dma)
{
	const u64 boundary = dma_get_seg_boundary(dev);
	const unsigned int longest = dma_get_max_seg_size(dev);

	if (sg->length > longest)
		strict_find(dev, NULL, NULL,
			    "driver maps an entry longer than its device takes [size=%u bytes] [max=%u bytes]",
			    sg->length, longest);
	if ((dma ^ (dma + sg->length - 1)) & ~boundary)
		strict_find(dev, NULL, NULL,
			    "driver maps an entry across a boundary of its device's [device address=0x%016llx] [size=%u bytes] [boundary=0x%016llx]",
			    (u64)dma, sg->length, boundary);
}

static int strict_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			 enum dma_data_direction dir, unsigned long attrs)
{
	unsigned long flags = strict_begin();
	struct scatterlist *sg;
	int i, done;

	for_each_sg(sgl, sg, nents, i) {
		sg_dma_address(sg) = map_locked(dev, sg_phys(sg), sg->length, dir, attrs,
						STRICT_SG);
		if (sg_dma_address(sg) == DMA_MAPPING_ERROR)
			break;
		sg_dma_len(sg) = sg->length;
		check_segment(dev, sg, sg_dma_address(sg));
	}
	done = i;
	if (done < nents)
		for_each_sg(sgl, sg, done, i)
			unmap_locked(dev, sg_dma_address(sg), sg->length, dir,
				     attrs | DMA_ATTR_SKIP_CPU_SYNC, STRICT_SG);
	strict_end(flags);
	return done < nents ? -EIO : nents;
}

static void strict_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
			    enum dma_data_direction dir, unsigned long attrs)
{
	unsigned long flags = strict_begin();
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		unmap_locked(dev, sg_dma_address(sg), sg->length, dir, attrs, STRICT_SG);
	strict_end(flags);
}

/* The mapping that a range of addresses lies in, for a driver that syncs it. */
static struct strict_mapping *find_to_sync(struct device *dev, dma_addr_t dma, size_t size,
					   enum dma_data_direction dir)
{
	struct strict_mapping *mapping = strict_table_find(dma);

	if (!mapping || mapping->state != STRICT_LIVE || !is_its(mapping, dev) ||
	    dma < mapping->dma || dma - mapping->dma >= mapping->size ||
	    size > mapping->size - (dma - mapping->dma)) {
		strict_find(dev, mapping, NULL,
			    "driver syncs what is not mapped for it [device address=0x%016llx] [size=%zu bytes]",
			    (u64)dma, size);
		return NULL;
	}
	if (mapping->dir != dir && mapping->dir != DMA_BIDIRECTIONAL)
		strict_find(dev, mapping, NULL,
			    "driver syncs in another direction [device address=0x%016llx] [size=%zu bytes] [mapped with %s] [synced with %s]",
			    (u64)dma, size, strict_direction(mapping->dir), strict_direction(dir));
	return mapping;
}

static void sync_locked(struct device *dev, dma_addr_t dma, size_t size,
			enum dma_data_direction dir, bool for_cpu)
{
	struct strict_mapping *mapping = find_to_sync(dev, dma, size, dir);

	if (!mapping)
		return;
	if (for_cpu)
		strict_view_for_cpu(mapping, dma - mapping->dma, size);
	else
		strict_view_for_device(mapping, dma - mapping->dma, size);
}

static void strict_sync_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
				enum dma_data_direction dir)
{
	unsigned long flags = strict_begin();

	sync_locked(dev, dma, size, dir, true);
	strict_end(flags);
}

static void strict_sync_for_device(struct device *dev, dma_addr_t dma, size_t size,
				   enum dma_data_direction dir)
{
	unsigned long flags = strict_begin();

	sync_locked(dev, dma, size, dir, false);
	strict_end(flags);
}

static void sync_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir,
		    bool for_cpu)
{
	unsigned long flags = strict_begin();
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		sync_locked(dev, sg_dma_address(sg), sg->length, dir, for_cpu);
	strict_end(flags);
}

static void strict_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents,
				   enum dma_data_direction dir)
{
	sync_sg(dev, sgl, nents, dir, true);
}

static void strict_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents,
				      enum dma_data_direction dir)
{
	sync_sg(dev, sgl, nents, dir, false);
}

/* Registers of other hardware: at their physical addresses, and never RAM. */
static dma_addr_t map_resource(struct device *dev, phys_addr_t phys, size_t size)
{
	unsigned long flags;

	if (!pfn_valid(PHYS_PFN(phys)))
		return phys;
	flags = strict_begin();
	strict_find(dev, NULL, NULL,
		    "driver maps RAM as a resource [physical address=%pa] [size=%zu bytes]",
		    &phys, size);
	strict_end(flags);
	/* There are no registers: the device gets nowhere. */
	return phys;
}

static void *strict_alloc(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
			  unsigned long attrs)
{
	unsigned long flags = strict_begin();
	struct strict_mapping *mapping = strict_table_take(0, size);
	void *memory = NULL;

	if (!mapping)
		find_full(dev);
	if (mapping && mapping->dma + size - 1 <=
		       min_not_zero(dev->coherent_dma_mask, dev->bus_dma_limit)) {
		mapping_of(mapping, dev, mapping->dma, DMA_BIDIRECTIONAL, attrs, STRICT_COHERENT);
		strict_stack_save(&mapping->mapped);
		memory = strict_table_shadow(mapping);
		memset(memory, 0, size);
		strict_table_open(mapping);
		*handle = mapping->dma;
	}
	strict_end(flags);
	return memory;
}

static void strict_free(struct device *dev, size_t size, void *memory, dma_addr_t dma,
			unsigned long attrs)
{
	unsigned long flags = strict_begin();
	struct strict_mapping *mapping = find_to_unmap(dev, dma, size);

	if (mapping) {
		if (mapping->kind == STRICT_COHERENT && memory != strict_table_shadow(mapping))
			strict_find(dev, mapping, NULL,
				    "driver frees coherent memory at another CPU address [device address=0x%016llx] [size=%zu bytes]",
				    (u64)dma, mapping->size);
		check_unmap(mapping, size, mapping->dir, mapping->attrs, STRICT_COHERENT);
		close_mapping(mapping);
	}
	strict_end(flags);
}

static struct page *strict_alloc_pages(struct device *dev, size_t size, dma_addr_t *handle,
				       enum dma_data_direction dir, gfp_t gfp)
{
	void *memory = strict_alloc(dev, size, handle, gfp, 0);

	return memory ? virt_to_page(memory) : NULL;
}

static void strict_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
			      enum dma_data_direction dir)
{
	strict_free(dev, size, page_address(page), dma, 0);
}

static int strict_supported(struct device *dev, u64 mask)
{
	return mask >= DMA_BIT_MASK(32);
}

static size_t strict_max_mapping_size(struct device *dev)
{
	return SZ_1M;
}

#ifdef STRICT_MAP_PHYS

static dma_addr_t strict_map_phys(struct device *dev, phys_addr_t phys, size_t size,
				  enum dma_data_direction dir, unsigned long attrs)
{
	if (attrs & DMA_ATTR_MMIO)
		return map_resource(dev, phys, size);
	return strict_map(dev, phys, size, dir, attrs);
}

static void strict_unmap_phys(struct device *dev, dma_addr_t dma, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	if (!(attrs & DMA_ATTR_MMIO))
		strict_unmap(dev, dma, size, dir, attrs);
}

#else

static dma_addr_t strict_map_page(struct device *dev, struct page *page, unsigned long offset,
				  size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return strict_map(dev, page_to_phys(page) + offset, size, dir, attrs);
}

static dma_addr_t strict_map_resource(struct device *dev, phys_addr_t phys, size_t size,
				      enum dma_data_direction dir, unsigned long attrs)
{
	return map_resource(dev, phys, size);
}

#endif

const struct dma_map_ops strict_ops = {
	.alloc = strict_alloc,
	.free = strict_free,
	.STRICT_ALLOC_PAGES = strict_alloc_pages,
	.free_pages = strict_free_pages,
#ifdef STRICT_MAP_PHYS
	.map_phys = strict_map_phys,
	.unmap_phys = strict_unmap_phys,
#else
	.map_page = strict_map_page,
	.unmap_page = strict_unmap,
	.map_resource = strict_map_resource,
#endif
	.map_sg = strict_map_sg,
	.unmap_sg = strict_unmap_sg,
	.sync_single_for_cpu = strict_sync_for_cpu,
	.sync_single_for_device = strict_sync_for_device,
	.sync_sg_for_cpu = strict_sync_sg_for_cpu,
	.sync_sg_for_device = strict_sync_sg_for_device,
	.dma_supported = strict_supported,
	.max_mapping_size = strict_max_mapping_size,
};

/**
 * strict_leave() - a driver has left its device: report what it left mapped
 * @dev: the device, which may be freed afterwards
 */
void strict_leave(struct device *dev)
{
	struct strict_mapping *mapping, *first = NULL;
	unsigned long flags = strict_begin();
	unsigned int count = 0;

	list_for_each_entry(mapping, &strict_live, node) {
		if (mapping->dev != dev)
			continue;
		first = first ?: mapping;
		count++;
	}
	if (first)
		strict_find(dev, first, NULL,
			    "driver left mappings behind [device address=0x%016llx] [size=%zu bytes] [count=%u]",
			    (u64)first->dma, first->size, count);
	strict_table_disown(dev);
	strict_end(flags);
}
