// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile driver: takes an unbound virtio I2C adapter and sends it one request that breaks
 * the rules of virtqueues (VIRTIO 1.2, section 2.7).
 */
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include "sabotage.h"

#define ID_I2C_ADAPTER 34
#define DESCRIPTORS 3
#define ANSWER_POLL_US 1000
#define ANSWER_POLLS 500

/* Addresses below this are offsets in our own page: the request's header, a payload, the status. */
#define OWN_PAGE 0x1000
#define HEADER 0
#define PAYLOAD 0x40
#define STATUS 0x80
/* Far above any guest's memory. */
#define STRAY 0xfffff00000000ULL

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

struct row {
	u64 addr;
	u32 len;
	u16 flags;
	u16 next;
};

/* The header asks for a write to the recorder at 0x30. */
static const struct request {
	const char *act;
	struct row rows[DESCRIPTORS];
} requests[] = {
	{ "descriptor-loop", { { HEADER, 8, NEXT, 1 }, { PAYLOAD, 8, NEXT, 0 } } },
	{ "descriptor-stray",
	  { { HEADER, 8, NEXT, 1 }, { STRAY, 64, NEXT, 2 }, { STATUS, 1, WRITE, 0 } } },
	{ "descriptor-empty",
	  { { HEADER, 8, NEXT, 1 }, { PAYLOAD, 0, NEXT, 2 }, { STATUS, 1, WRITE, 0 } } },
	{ "descriptor-4gib",
	  { { HEADER, 8, NEXT, 1 }, { PAYLOAD, U32_MAX, NEXT, 2 }, { STATUS, 1, WRITE, 0 } } },
	{ "descriptor-outside", { { HEADER, 8, NEXT, 0xfff0 } } },
	{ "descriptor-indirect", { { STRAY, 48, VRING_DESC_F_INDIRECT, 0 } } },
};

static const struct request *request;

static void describe(struct vring_desc *desc, const struct row *row, phys_addr_t page)
{
	u64 addr = row->addr < OWN_PAGE ? page + row->addr : row->addr;

	desc->addr = cpu_to_le64(addr);
	desc->len = cpu_to_le32(row->len);
	desc->flags = cpu_to_le16(row->flags);
	desc->next = cpu_to_le16(row->next);
}

/*
 * Past the virtio core, which would not do such a thing. No IOMMU lies between: the bus address
 * is the physical one.
 */
static void send(struct virtqueue *vq, u8 *page)
{
	const struct vring *ring = virtqueue_get_vring(vq);
	int i;

	page[HEADER] = 0x30 << 1;
	for (i = 0; i < DESCRIPTORS; i++)
		describe(&ring->desc[i], &request->rows[i], virt_to_phys(page));
	ring->avail->ring[0] = 0;
	wmb(); /* the device reads the index first */
	ring->avail->idx = cpu_to_le16(1);
	wmb(); /* and it must be there when it is told */
	virtqueue_notify(vq);
	for (i = 0; i < ANSWER_POLLS && !READ_ONCE(ring->used->idx); i++)
		usleep_range(ANSWER_POLL_US, 2 * ANSWER_POLL_US);
}

static int hostile_probe(struct virtio_device *vdev)
{
	struct virtqueue *vq = virtio_find_single_vq(vdev, NULL, "hostile");
	u8 *page;

	if (IS_ERR(vq))
		return PTR_ERR(vq);
	/* Never freed: the device may write to it at any time. */
	page = (u8 *)get_zeroed_page(GFP_KERNEL);
	if (!page) {
		vdev->config->del_vqs(vdev);
		return -ENOMEM;
	}
	virtio_device_ready(vdev);
	send(vq, page);
	return 0;
}

static void hostile_remove(struct virtio_device *vdev)
{
	vdev->config->reset(vdev);
	vdev->config->del_vqs(vdev);
}

static const struct virtio_device_id hostile_ids[] = {
	{ ID_I2C_ADAPTER, VIRTIO_DEV_ANY_ID },
	{}
};

static unsigned int hostile_features[] = { 0 };

static struct virtio_driver hostile_driver = {
	.driver.name = "dmasafe_hostile",
	.feature_table = hostile_features,
	.feature_table_size = ARRAY_SIZE(hostile_features),
	.id_table = hostile_ids,
	.probe = hostile_probe,
	.remove = hostile_remove,
};

/**
 * sabotage_hostile() - be a driver that sends one hostile request to each adapter it gets
 * @act: which request
 *
 * Return: 0 or a negative errno.
 */
int sabotage_hostile(const char *act)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		if (!strcmp(act, requests[i].act)) {
			request = &requests[i];
			return register_virtio_driver(&hostile_driver);
		}
	}
	return -EINVAL;
}
