// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver's side of the ring: one request at a time, without Linux's virtio core.
 *
 * References are to the virtio specification 1.2: 2.7 split virtqueues, 5.15 the I2C adapter.
 */
#include "controller.h"
#include "controller_ring.h"

static u16 ring_used_count(struct controller *ctl)
{
	return le16_to_cpu(READ_ONCE(ctl->ring->used.idx));
}

/**
 * controller_ring_done() - the hardware's interrupt
 * @ctl: the controller
 */
void controller_ring_done(struct controller *ctl)
{
	if (ring_used_count(ctl) == READ_ONCE(ctl->sent))
		complete(&ctl->done);
}

/**
 * controller_ring_alloc() - get the ring's memory
 * @ctl: the controller, its DMA mask set; the memory is its device's, freed with it
 *
 * Return: 0 or a negative errno.
 */
int controller_ring_alloc(struct controller *ctl)
{
	init_completion(&ctl->done);
	ctl->ring = dmam_alloc_coherent(ctl->dev, sizeof(*ctl->ring), &ctl->ring_dma, GFP_KERNEL);
	return ctl->ring ? 0 : -ENOMEM;
}

/**
 * controller_ring_start() - bring the hardware to work
 * @ctl: the controller, its hardware reset
 *
 * Return: 0 or a negative errno; then the hardware must be reset again.
 */
int controller_ring_start(struct controller *ctl)
{
	memset(ctl->ring, 0, sizeof(*ctl->ring));
	ctl->sent = 0;
	ctl->group_open = false;
	return ctl->hardware->start(ctl);
}

/**
 * controller_ring_stop() - undo controller_ring_start()
 * @ctl: the controller; no request may be under way
 */
void controller_ring_stop(struct controller *ctl)
{
	ctl->hardware->reset(ctl);
}

/**
 * controller_ring_idle() - whether the hardware is done with all that it was given
 * @ctl: the controller; nobody sends anything
 *
 * Return: whether the next message will be the first of a transfer, and the only one.
 */
bool controller_ring_idle(struct controller *ctl)
{
	return !ctl->group_open && ring_used_count(ctl) == ctl->sent;
}

static void ring_describe(struct controller *ctl, u16 *used, dma_addr_t dma, size_t len, u16 flags)
{
	struct ring_desc *desc = &ctl->ring->desc[*used];

	desc->addr = cpu_to_le64(dma);
	desc->len = cpu_to_le32(len);
	desc->flags = cpu_to_le16(flags);
	desc->next = cpu_to_le16(++*used);
}

/* Takes the device back to where controller_ring_start() left it. */
static int ring_restart(struct controller *ctl)
{
	int ret = ctl->hardware->reset(ctl);

	if (!ret)
		ret = controller_ring_start(ctl);
	if (ret)
		dev_err(ctl->dev, "the device does not come back\n");
	return ret;
}

/**
 * controller_ring_abort() - end a transfer before its last message
 * @ctl: the controller; the caller holds the adapter's lock
 *
 * The device waits for the rest of a group of messages that were marked
 * VIRTIO_I2C_FLAGS_FAIL_NEXT, and would take the next transfer for it (VIRTIO 1.2, 5.15.6).
 * There is no request that means STOP, so the device is reset.
 */
void controller_ring_abort(struct controller *ctl)
{
	if (ctl->group_open)
		ring_restart(ctl);
}

/**
 * controller_ring_send() - have the hardware carry out one message
 * @ctl: the controller; the caller holds the adapter's lock
 * @msg: address and direction
 * @last: no message of the same transfer follows
 * @dma: where the device finds or puts the payload
 * @len: bytes of payload; may be 0
 *
 * When this returns, whatever the result, the device no longer touches the payload: after a
 * timeout it was reset.
 *
 * Return: 0, -ENXIO if the slave did not acknowledge, -ETIMEDOUT, or -EIO if the device did
 * not come back.
 */
int controller_ring_send(struct controller *ctl, const struct i2c_msg *msg, bool last,
			 dma_addr_t dma, size_t len)
{
	struct controller_ring *ring = ctl->ring;
	bool rd = msg->flags & I2C_M_RD;
	u32 flags = 0;
	u16 used = 0;

	if (rd)
		flags |= VIRTIO_I2C_FLAGS_M_RD;
	if (!last)
		flags |= VIRTIO_I2C_FLAGS_FAIL_NEXT;
	ring->out.addr = cpu_to_le16(msg->addr << 1);
	ring->out.padding = 0;
	ring->out.flags = cpu_to_le32(flags);
	ring->in.status = 0xff;

	ring_describe(ctl, &used, RING_DMA(ctl, out), sizeof(ring->out), VRING_DESC_F_NEXT);
	if (len)
		ring_describe(ctl, &used, dma, len,
			      VRING_DESC_F_NEXT | (rd ? VRING_DESC_F_WRITE : 0));
	ring_describe(ctl, &used, RING_DMA(ctl, in), sizeof(ring->in), VRING_DESC_F_WRITE);

	ctl->group_open = !last;
	reinit_completion(&ctl->done);
	ring->avail.ring[ctl->sent % ctl->queue_size] = cpu_to_le16(0);
	dma_wmb();
	WRITE_ONCE(ctl->sent, ctl->sent + 1);
	WRITE_ONCE(ring->avail.idx, cpu_to_le16(ctl->sent));
	ctl->hardware->kick(ctl);

	if (!wait_for_completion_timeout(&ctl->done, ctl->adap.timeout)) {
		dev_err(ctl->dev, "no answer from address 0x%02x, resetting\n", msg->addr);
		return ring_restart(ctl) ? -EIO : -ETIMEDOUT;
	}
	dma_rmb();
	return READ_ONCE(ring->in.status) == VIRTIO_I2C_MSG_OK ? 0 : -ENXIO;
}
