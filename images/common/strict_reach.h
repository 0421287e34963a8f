/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For hardware that a module plays in the kernel: where an address leads on a strict machine, and on
 * any other.
 */
#ifndef DMASAFE_STRICT_REACH_H
#define DMASAFE_STRICT_REACH_H

#include <linux/dma-direct.h>
#include <linux/module.h>
#include "strict_calls.h"

/* Whether a device's operations are the strict machine's. */
static inline bool strict_has(struct device *dev)
{
	bool (*has)(struct device *dev) = symbol_get(dmasafe_strict_has);
	bool found;

	if (!has)
		return false;
	found = has(dev);
	symbol_put(dmasafe_strict_has);
	return found;
}

/* The driver's own memory at an address, or STRICT_REFUSED; the device's is at dma_to_phys(). */
static inline phys_addr_t strict_reach(struct device *dev, dma_addr_t dma, size_t len, bool write)
{
	phys_addr_t (*reach)(struct device *dev, dma_addr_t dma, size_t size, bool write) =
		symbol_get(dmasafe_strict_reach);
	phys_addr_t phys;

	if (!reach)
		return dma_to_phys(dev, dma);
	phys = reach(dev, dma, len, write);
	symbol_put(dmasafe_strict_reach);
	return phys;
}

#endif
