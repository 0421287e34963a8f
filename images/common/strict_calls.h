/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What other modules may ask of dmasafe_strict, by symbol_get(): it need not be there.
 */
#ifndef DMASAFE_STRICT_CALLS_H
#define DMASAFE_STRICT_CALLS_H

#include <linux/types.h>

struct device;

/* What a device may not use has no address. */
#define STRICT_REFUSED (~(phys_addr_t)0)

bool dmasafe_strict_has(struct device *dev);
phys_addr_t dmasafe_strict_reach(struct device *dev, dma_addr_t dma, size_t size, bool write);
void dmasafe_strict_settle(void);
void dmasafe_strict_fail(unsigned int one_of);

#endif
