// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes with coherent memory: the message goes through an allocation of its own, which is then
 * given back wrongly.
 *
 * All are such that dma_direct_free() frees the right page nevertheless, because it goes by the DMA
 * address and by whole pages. Otherwise the guest would not outlive the report.
 */
#include "controller.h"

static u8 *coherent_get(struct controller *ctl, struct payload *payload)
{
	return fault_bounce(payload, dma_alloc_coherent(ctl->dev, payload->len,
							&payload->spare.dma, GFP_KERNEL));
}

static dma_addr_t coherent_map(struct controller *ctl, struct payload *payload)
{
	return payload->spare.dma;
}

static bool coherent_map_failed(struct controller *ctl, struct payload *payload)
{
	return false;
}

/* free-size-coherent: the size to free is the size that was allocated. check_unmap() notices. */
static void coherent_put_less(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	dma_free_coherent(ctl->dev, payload->len - 1, payload->spare.memory,
			  payload->spare.dma);
}

/* free-cpu-address: the CPU's address to free is the one that was returned. check_unmap() notices. */
static void coherent_put_inside(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	dma_free_coherent(ctl->dev, payload->len, payload->spare.memory + 1,
			  payload->spare.dma);
}

/*
 * free-function-coherent: coherent memory must be freed, not unmapped. check_unmap() notices. The
 * page is lost.
 */
static void coherent_put_unmap(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	dma_unmap_single(ctl->dev, payload->spare.dma, payload->len, DMA_BIDIRECTIONAL);
}

/*
 * leak-coherent: everything must be freed before the device goes. dma_debug_device_change() notices
 * when it is unbound.
 */
static void coherent_put_leak(struct controller *ctl, struct payload *payload, bool transferred)
{
	fault_unbounce(payload, transferred);
	fault_leak(ctl, payload, payload->spare.memory);
}

#define COHERENT_FAULT(name, put_step) \
	{ name, { .get = coherent_get, .map = coherent_map, .map_failed = coherent_map_failed, \
		  .unmap = fault_no_unmap, .put = put_step } }

const struct controller_fault controller_faults_coherent[] = {
	COHERENT_FAULT("free-size-coherent", coherent_put_less),
	COHERENT_FAULT("free-cpu-address", coherent_put_inside),
	COHERENT_FAULT("free-function-coherent", coherent_put_unmap),
	COHERENT_FAULT("leak-coherent", coherent_put_leak),
	{}
};
