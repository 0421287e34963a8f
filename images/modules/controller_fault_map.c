// SPDX-License-Identifier: GPL-2.0-or-later
/* Mistakes in mapping: memory that must not be mapped, mappings that overlap, errors ignored. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "controller.h"

/* Maps the page behind any address that has one, which dma_map_single() would not. */
static dma_addr_t map_page_behind(struct controller *ctl, struct payload *payload)
{
	const u8 *buf = payload->buf;
	struct page *page = is_vmalloc_addr(buf) ? vmalloc_to_page(buf) : virt_to_page(buf);

	return dma_map_page(ctl->dev, page, offset_in_page(buf), payload->len,
			    payload->dir);
}

/*
 * map-stack: a task's stack must not be mapped. dma_map_page() does not look at the address as
 * dma_map_single() does; check_for_stack() knows the pages of the current task's stack.
 */
static dma_addr_t map_stack(struct controller *ctl, struct payload *payload)
{
	return map_page_behind(ctl, payload);
}

static u8 *vmalloc_get(struct controller *ctl, struct payload *payload)
{
	return fault_bounce(payload, vmalloc(payload->len));
}

static void vmalloc_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	vfree(payload->spare.memory);
}

/*
 * map-vmalloc: vmalloc memory has no linear address. Since 5.4 or so dma_map_single() rejects
 * it before dma-debug gets to see it; what a driver can still do is what dma_map_single() was until
 * then: ask debug_dma_map_single(), which is exported, and go on whatever it says. It notices,
 * both that the area is invalid and that it is vmalloc's.
 */
static dma_addr_t map_vmalloc(struct controller *ctl, struct payload *payload)
{
	debug_dma_map_single(ctl->dev, payload->buf, payload->len);
	return map_page_behind(ctl, payload);
}

static u8 static_buffer[CONTROLLER_MAX_LEN] __aligned(L1_CACHE_BYTES) = { 1 };

/*
 * map-invalid-area: a module's static memory lies outside the linear map. debug_dma_map_single()
 * notices that virt_addr_valid() is false. The mapping succeeds and is nonsense.
 */
static u8 *static_get(struct controller *ctl, struct payload *payload)
{
	if (payload->len > sizeof(static_buffer))
		return NULL;
	return fault_bounce(payload, static_buffer);
}

static void static_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
}

/* The distance from the buffer to an object that has nothing to do with it: a constant. */
static size_t length_across_objects(const struct payload *payload)
{
	static const char end[] = "not the end of the buffer";

	return (unsigned long)end - (unsigned long)payload->buf;
}

/*
 * map-text-or-rodata: a length must not reach beyond the buffer's allocation. This one is the
 * difference of two pointers into different objects, which on x86_64 spans everything between the
 * linear map and the kernel image. check_for_illegal_area() notices the image in it. An
 * object that lies in the image itself it cannot see: it looks at the linear address.
 */
static dma_addr_t map_text(struct controller *ctl, struct payload *payload)
{
	return dma_map_single(ctl->dev, payload->buf, length_across_objects(payload),
			      payload->dir);
}

static void unmap_text(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(ctl->dev, payload->dma, length_across_objects(payload),
			 payload->dir);
}

/*
 * map-resource-ram: dma_map_resource() is for MMIO. debug_dma_map_phys() notices RAM since 6.18 or
 * so; up to 5.14 dma_map_resource() itself warned and refused; nobody looked in between.
 */
static dma_addr_t map_resource(struct controller *ctl, struct payload *payload)
{
	return dma_map_resource(ctl->dev, virt_to_phys(payload->buf), payload->len,
				payload->dir, 0);
}

static void unmap_resource(struct controller *ctl, struct payload *payload)
{
	dma_unmap_resource(ctl->dev, payload->dma, payload->len, payload->dir, 0);
}

/*
 * addr-overflow: the DMA mask must say what the device can reach. With this one it reaches nothing
 * but the first page: dma_direct_map_page() (7.2: dma_direct_map_phys()) warns and refuses.
 */
static dma_addr_t map_beyond_mask(struct controller *ctl, struct payload *payload)
{
	struct device *dev = ctl->dev;
	const u64 mask = *dev->dma_mask;
	dma_addr_t dma;

	*dev->dma_mask = DMA_BIT_MASK(PAGE_SHIFT);
	dma = payload_map(ctl, payload);
	*dev->dma_mask = mask;
	return dma;
}

/*
 * map-error-unchecked: whatever dma_map_*() returns must be shown to dma_mapping_error().
 * check_unmap() notices that it was not. With map_beyond_mask() before it this is
 * map-error-ignored: the device is sent to DMA_MAPPING_ERROR, and that is then unmapped.
 */
static bool map_never_failed(struct controller *ctl, struct payload *payload)
{
	return false;
}

/*
 * wrong-device-map: the device to map for is the one that does DMA, not the I2C adapter below
 * it. dma_map_page_attrs() (7.2: dma_map_phys()) warns that the adapter has no DMA mask.
 */
static dma_addr_t map_for_adapter(struct controller *ctl, struct payload *payload)
{
	return dma_map_single(&ctl->adap.dev, payload->buf, payload->len, payload->dir);
}

static bool map_for_adapter_failed(struct controller *ctl, struct payload *payload)
{
	return dma_mapping_error(&ctl->adap.dev, payload->dma);
}

static enum dma_data_direction opposite(enum dma_data_direction dir)
{
	return dir == DMA_TO_DEVICE ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
}

/*
 * wrong-direction: the direction must be that of the transfer. check_unmap() only compares what
 * is unmapped with what was mapped, and both are wrong: nobody notices.
 */
static dma_addr_t map_wrong_way(struct controller *ctl, struct payload *payload)
{
	return dma_map_single(ctl->dev, payload->buf, payload->len, opposite(payload->dir));
}

static void unmap_wrong_way(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(ctl->dev, payload->dma, payload->len, opposite(payload->dir));
}

#define OVERRUN_BYTES 4

/*
 * device-overrun: the device must not be told more than was mapped. No function of the kernel's
 * sees what the device is told.
 */
static dma_addr_t map_less_than_sent(struct controller *ctl, struct payload *payload)
{
	payload->wire_len = payload->len + OVERRUN_BYTES;
	return payload_map(ctl, payload);
}

/* Maps a second time, what or where the caller says; a mapping that fails is none. */
static void map_more(struct controller *ctl, struct payload *payload, void *buf, size_t len)
{
	payload->spare.dma = dma_map_single(ctl->dev, buf, len, payload->dir);
	if (dma_mapping_error(ctl->dev, payload->spare.dma))
		payload->spare.dma = DMA_MAPPING_ERROR;
}

static void unmap_more(struct controller *ctl, struct payload *payload, size_t len)
{
	if (payload->spare.dma != DMA_MAPPING_ERROR)
		dma_unmap_single(ctl->dev, payload->spare.dma, len, payload->dir);
}

/*
 * cacheline-overlap: what is mapped must not be mapped again. add_dma_entry() notices from 5.15
 * until some release before 7.2, where on x86 it keeps silent, and never for DMA_TO_DEVICE
 * (active_cacheline_insert()).
 */
static dma_addr_t map_twice(struct controller *ctl, struct payload *payload)
{
	map_more(ctl, payload, payload->buf, payload->len);
	return payload_map(ctl, payload);
}

static void unmap_twice_mapped(struct controller *ctl, struct payload *payload)
{
	payload_unmap(ctl, payload);
	unmap_more(ctl, payload, payload->len);
}

/*
 * messages-on-one-line: two buffers that the device writes to must not share a cache line,
 * for the CPU writes back a line as a whole. Noticed as cacheline-overlap is.
 */
static u8 *half_line_get(struct controller *ctl, struct payload *payload)
{
	if (payload->len > L1_CACHE_BYTES / 2)
		return NULL;
	return fault_bounce(payload, kmalloc(L1_CACHE_BYTES, GFP_KERNEL));
}

static void half_line_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	kfree(payload->spare.memory);
}

static dma_addr_t map_both_halves(struct controller *ctl, struct payload *payload)
{
	map_more(ctl, payload, payload->buf + L1_CACHE_BYTES / 2, L1_CACHE_BYTES / 2);
	return payload_map(ctl, payload);
}

static void unmap_both_halves(struct controller *ctl, struct payload *payload)
{
	payload_unmap(ctl, payload);
	unmap_more(ctl, payload, L1_CACHE_BYTES / 2);
}

const struct controller_fault controller_faults_map[] = {
	{ "map-stack", { .map = map_stack } },
	{ "map-vmalloc", { .get = vmalloc_get, .map = map_vmalloc, .put = vmalloc_put } },
	/* map-vmalloc-rejected: the same by the API. dma_map_single_attrs() warns and refuses. */
	{ "map-vmalloc-rejected", { .get = vmalloc_get, .put = vmalloc_put } },
	{ "map-invalid-area", { .get = static_get, .put = static_put } },
	{ "map-text-or-rodata", { .map = map_text, .unmap = unmap_text } },
	{ "map-resource-ram", { .map = map_resource, .unmap = unmap_resource } },
	{ "map-error-unchecked", { .map_failed = map_never_failed } },
	{ "map-error-ignored", { .map = map_beyond_mask, .map_failed = map_never_failed } },
	{ "addr-overflow", { .map = map_beyond_mask } },
	{ "wrong-device-map", { .map = map_for_adapter, .map_failed = map_for_adapter_failed } },
	{ "wrong-direction", { .map = map_wrong_way, .unmap = unmap_wrong_way } },
	{ "device-overrun", { .map = map_less_than_sent } },
	{ "cacheline-overlap", { .map = map_twice, .unmap = unmap_twice_mapped } },
	{ "messages-on-one-line", { .get = half_line_get, .map = map_both_halves,
				    .unmap = unmap_both_halves, .put = half_line_put } },
	{}
};
