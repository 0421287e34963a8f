// SPDX-License-Identifier: GPL-2.0-or-later
/* Mistakes in the order of things, and in how long they live. */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/nmi.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include "controller.h"

/*
 * unmap-early: the device must be done before its buffer is unmapped. dma-debug does not know
 * when the device works: nobody notices.
 */
static dma_addr_t map_and_unmap(struct controller *ctl, struct payload *payload)
{
	dma_addr_t dma = payload_map(ctl, payload);

	payload->dma = dma;
	payload->unmapped = true;
	if (!payload_map_failed(ctl, payload))
		payload_unmap(ctl, payload);
	return dma;
}

static bool map_known_good(struct controller *ctl, struct payload *payload)
{
	return payload->dma == DMA_MAPPING_ERROR;
}

/* A bounce buffer that the fault may free as it likes. */
static u8 *own_get(struct controller *ctl, struct payload *payload)
{
	return fault_bounce(payload, kmalloc(payload->len, GFP_KERNEL));
}

static void own_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	kfree(payload->spare.memory);
}

#define SOMEBODY_ELSES_BYTE 0x77
#define NEXT_OWNERS 64

/*
 * Frees the buffer and waits for its next owner, who writes to it. The slab allocator hands out
 * first what was freed last, so the wait is short.
 */
static void free_and_reuse(struct payload *payload)
{
	void *owners[NEXT_OWNERS] = {};
	unsigned int i;

	kfree(payload->buf);
	payload->spare.memory = NULL;
	for (i = 0; i < NEXT_OWNERS && !payload->spare.memory; i++) {
		owners[i] = kmalloc(payload->len, GFP_KERNEL);
		if (owners[i] == payload->buf)
			payload->spare.memory = owners[i];
	}
	for (i = 0; i < NEXT_OWNERS; i++)
		if (owners[i] != payload->spare.memory)
			kfree(owners[i]);
	if (payload->spare.memory)
		memset(payload->spare.memory, SOMEBODY_ELSES_BYTE, payload->len);
	payload->freed = !payload->spare.memory;
}

/*
 * use-after-unmap: after unmapping the device must not be sent there. The buffer has a new owner by
 * then. Nobody in the kernel notices.
 */
static dma_addr_t map_unmap_and_free(struct controller *ctl, struct payload *payload)
{
	dma_addr_t dma = map_and_unmap(ctl, payload);

	free_and_reuse(payload);
	return dma;
}

/*
 * free-while-mapped: memory must be unmapped before it is freed. Since 5.10, when
 * debug_dma_assert_idle() went, dma-debug has not known of frees: nobody in the kernel notices.
 */
static dma_addr_t map_and_free(struct controller *ctl, struct payload *payload)
{
	dma_addr_t dma = payload_map(ctl, payload);

	free_and_reuse(payload);
	return dma;
}

/*
 * put-before-unmap: bounced data must be copied after unmapping, which is when the CPU may look.
 * Where DMA is coherent it sees the same: nobody notices.
 */
static void put_then_unmap(struct controller *ctl, struct payload *payload)
{
	i2c_put_dma_safe_msg_buf(payload->buf, payload->msg, !payload->ret);
	payload_unmap(ctl, payload);
}

static void no_put(struct controller *ctl, struct payload *payload, bool transferred)
{
}

/*
 * bounce-not-copied: xferred of i2c_put_dma_safe_msg_buf() must say whether the transfer succeeded;
 * else what was read stays in the bounce buffer. Nobody in the kernel notices.
 */
static void put_as_failed(struct controller *ctl, struct payload *payload, bool transferred)
{
	i2c_put_dma_safe_msg_buf(payload->buf, payload->msg, false);
}

/*
 * threshold-never-met: the threshold is to tell short messages from long ones. This one is longer
 * than any message: none ever goes by DMA. Nobody in the kernel notices.
 */
static u8 *never_long_enough_get(struct controller *ctl, struct payload *payload)
{
	return i2c_get_dma_safe_msg_buf(payload->msg, U16_MAX + 1);
}

/* What was leaked, to be put right when the device is bound again. */
static struct {
	const struct device *dev;
	void *coherent;
	dma_addr_t dma;
	size_t len;
	enum dma_data_direction dir;
} leaked;

/**
 * controller_fault_settle() - undo what a fault left behind when the device was bound last
 * @ctl: the controller, about to be bound
 */
void controller_fault_settle(struct controller *ctl)
{
	struct device *dev = ctl->dev;

	if (!leaked.len || leaked.dev != dev)
		return;
	if (leaked.coherent)
		dma_free_coherent(dev, leaked.len, leaked.coherent, leaked.dma);
	else
		dma_unmap_single(dev, leaked.dma, leaked.len, leaked.dir);
	leaked.len = 0;
}

/**
 * fault_leak() - forget a mapping
 * @ctl: the controller
 * @payload: the message, mapped
 * @coherent: the memory, if it is coherent
 */
void fault_leak(struct controller *ctl, struct payload *payload, void *coherent)
{
	controller_fault_settle(ctl);
	leaked.dev = ctl->dev;
	leaked.coherent = coherent;
	leaked.dma = payload->dma;
	leaked.len = payload->len;
	leaked.dir = payload->dir;
}

/*
 * leak-on-release: what is mapped must be unmapped before the device goes. dma_debug_device_change()
 * notices when it is unbound.
 */
static void never_unmap(struct controller *ctl, struct payload *payload)
{
	fault_leak(ctl, payload, NULL);
}

#define EXHAUSTING_MAPPINGS (1 << 17)

/*
 * debug-disabled: every mapping must be unmapped some day. Where memory has become scarce
 * meanwhile, dma_entry_alloc() finds none for its books, and dma-debug gives up until the next boot.
 */
static dma_addr_t map_without_end(struct controller *ctl, struct payload *payload)
{
	struct page *page, *next;
	LIST_HEAD(scarce);
	unsigned int i;

	/* Whoever asks for memory meanwhile, and may sleep, would have the machine panic. */
	preempt_disable();
	while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN)))
		list_add(&page->lru, &scarce);
	for (i = 0; i < EXHAUSTING_MAPPINGS; i++) {
		dma_map_single(ctl->dev, payload->buf, payload->len, payload->dir);
		touch_softlockup_watchdog();
	}
	list_for_each_entry_safe(page, next, &scarce, lru)
		__free_page(page);
	preempt_enable();
	return payload_map(ctl, payload);
}

const struct controller_fault controller_faults_life[] = {
	{ "unmap-early", { .map = map_and_unmap, .map_failed = map_known_good,
			   .unmap = fault_no_unmap } },
	{ "use-after-unmap", { .get = own_get, .map = map_unmap_and_free,
			       .map_failed = map_known_good, .unmap = fault_no_unmap,
			       .put = own_put } },
	{ "free-while-mapped", { .get = own_get, .map = map_and_free, .put = own_put } },
	{ "put-before-unmap", { .unmap = put_then_unmap, .put = no_put } },
	/*
	 * bounce-not-released: what i2c_get_dma_safe_msg_buf() returned must be put back; else it
	 * is lost, and with it what was read. Nobody in the kernel notices.
	 */
	{ "bounce-not-released", { .put = no_put } },
	{ "bounce-not-copied", { .put = put_as_failed } },
	{ "threshold-never-met", { .get = never_long_enough_get } },
	{ "leak-on-release", { .unmap = never_unmap } },
	{ "debug-disabled", { .map = map_without_end, .unmap = fault_no_unmap } },
	{}
};
