/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The descriptor ring as driver and hardware share it: a split virtqueue (VIRTIO 1.2, 2.7), and
 * behind it the headers of the one request under way.
 */
#ifndef DMASAFE_CONTROLLER_RING_H
#define DMASAFE_CONTROLLER_RING_H

#include <linux/types.h>
#include <linux/virtio_ring.h>
#include "compat.h"

/* QEMU 7.2 gives vhost-user-i2c a queue of 4; more than this is not used. */
#define RING_MAX 16
#define RING_NEEDED 3

/* The specification's structures, little-endian since VIRTIO_F_VERSION_1 is negotiated. */
struct ring_desc {
	__le64 addr;
	__le32 len;
	__le16 flags;
	__le16 next;
};

struct ring_avail {
	__le16 flags;
	__le16 idx;
	__le16 ring[RING_MAX];
};

struct ring_used_elem {
	__le32 id;
	__le32 len;
};

struct ring_used {
	__le16 flags;
	__le16 idx;
	struct ring_used_elem ring[RING_MAX];
};

struct controller_ring {
	struct ring_desc desc[RING_MAX] __aligned(16);
	struct ring_avail avail __aligned(2);
	struct ring_used used __aligned(4);
	struct virtio_i2c_out_hdr out __aligned(8);
	struct virtio_i2c_in_hdr in __aligned(8);
};

#define RING_DMA(ctl, member) ((ctl)->ring_dma + offsetof(struct controller_ring, member))

#endif
