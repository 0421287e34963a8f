// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory that is freed while it is mapped, by the tracepoints of the allocators. What is mapped is
 * counted by page, so that nearly every free costs a look at one counter.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/kmem.h>
#include "compat.h"
#include "strict.h"

#define COUNTERS 1024

static u16 counters[COUNTERS];
/* Mappings whose memory is watched. */
static unsigned int watched;

static void count(const struct strict_mapping *mapping, int by)
{
	unsigned long pfn = PHYS_PFN(mapping->phys);

	if (mapping->kind == STRICT_COHERENT)
		return;
	WRITE_ONCE(watched, watched + by);
	for (; pfn <= PHYS_PFN(mapping->phys + mapping->size - 1); pfn++)
		WRITE_ONCE(counters[pfn % COUNTERS], counters[pfn % COUNTERS] + by);
}

/**
 * strict_watch_add() - watch the memory of a mapping
 * @mapping: the mapping
 */
void strict_watch_add(const struct strict_mapping *mapping)
{
	count(mapping, 1);
}

/**
 * strict_watch_remove() - undo strict_watch_add()
 * @mapping: the mapping
 */
void strict_watch_remove(const struct strict_mapping *mapping)
{
	count(mapping, -1);
}

static bool may_be_mapped(phys_addr_t phys, size_t size)
{
	unsigned long pfn = PHYS_PFN(phys);

	for (; pfn <= PHYS_PFN(phys + size - 1); pfn++)
		if (READ_ONCE(counters[pfn % COUNTERS]))
			return true;
	return false;
}

static void find_mapped(phys_addr_t phys, size_t size)
{
	struct strict_mapping *mapping;
	unsigned long flags;

	raw_spin_lock_irqsave(&strict_lock, flags);
	list_for_each_entry(mapping, &strict_live, node) {
		if (mapping->kind == STRICT_COHERENT || mapping->freed ||
		    mapping->phys >= phys + size || mapping->phys + mapping->size <= phys)
			continue;
		/* Nothing is copied there any more: it may be anybody's. */
		mapping->freed = true;
		strict_find(mapping->dev, mapping, NULL,
			    "memory is freed while it is mapped [device address=0x%016llx] [size=%zu bytes] [mapped with %s]",
			    (u64)mapping->dma, mapping->size, strict_direction(mapping->dir));
	}
	raw_spin_unlock_irqrestore(&strict_lock, flags);
	strict_report();
}

static void object_freed(const void *object)
{
	phys_addr_t phys;
	size_t size;

	/* Mostly it ends here, without asking the allocator. */
	if (!READ_ONCE(watched) || ZERO_OR_NULL_PTR(object) || is_vmalloc_addr(object))
		return;
	phys = virt_to_phys((void *)object);
	size = ksize(object);
	if (size && may_be_mapped(phys, size))
		find_mapped(phys, size);
}

static void watch_kfree(void *data, unsigned long call_site, const void *object)
{
	object_freed(object);
}

static void watch_cache_free(void *data, unsigned long call_site, const void *object
			     STRICT_FREED_FROM)
{
	object_freed(object);
}

static void watch_page_free(void *data, struct page *page, unsigned int order)
{
	const phys_addr_t phys = page_to_phys(page);

	if (may_be_mapped(phys, PAGE_SIZE << order))
		find_mapped(phys, PAGE_SIZE << order);
}

static struct {
	const char *name;
	void *probe;
	struct tracepoint *point;
} points[] = {
	{ "kfree", watch_kfree },
	{ "kmem_cache_free", watch_cache_free },
	{ "mm_page_free", watch_page_free },
};

/* The compiler checks the probes with the tracepoints' prototypes. */
static void __maybe_unused check_prototypes(void)
{
	check_trace_callback_type_kfree(watch_kfree);
	check_trace_callback_type_kmem_cache_free(watch_cache_free);
	check_trace_callback_type_mm_page_free(watch_page_free);
}

static void find_point(struct tracepoint *point, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(points); i++)
		if (!strcmp(point->name, points[i].name))
			points[i].point = point;
}

/**
 * strict_watch_init() - attach to the tracepoints
 *
 * Return: 0 or a negative errno: a machine that does not see memory freed is not strict.
 */
int strict_watch_init(void)
{
	size_t i;
	int ret;

	for_each_kernel_tracepoint(find_point, NULL);
	for (i = 0; i < ARRAY_SIZE(points); i++) {
		ret = -ENOENT;
		if (points[i].point)
			ret = tracepoint_probe_register(points[i].point, points[i].probe, NULL);
		if (ret) {
			points[i].point = NULL;
			strict_watch_exit();
			return ret;
		}
	}
	return 0;
}

/**
 * strict_watch_exit() - detach, and wait until no probe runs
 */
void strict_watch_exit(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(points) && points[i].point; i++)
		tracepoint_probe_unregister(points[i].point, points[i].probe, NULL);
	tracepoint_synchronize_unregister();
}
