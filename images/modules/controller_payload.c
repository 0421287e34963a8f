// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One message: get a buffer for the hardware, map it, transfer, unmap it, put it back; by
 * policy, and by fault.
 */
#include "controller.h"

/*
 * I2C_M_RECV_LEN: the first byte read tells how many follow; msg->len counts it and a PEC
 * byte, if wanted.
 */
static size_t payload_len(const struct i2c_msg *msg)
{
	return msg->flags & I2C_M_RECV_LEN ? msg->len + I2C_SMBUS_BLOCK_MAX : msg->len;
}

/*
 * A bounce buffer of the helpers' has msg->len bytes, which for I2C_M_RECV_LEN is not yet the
 * length. The caller's own buffer has room for the longest block.
 */
static bool payload_unsuited(const struct payload *payload)
{
	return (payload->msg->flags & (I2C_M_RECV_LEN | I2C_M_DMA_SAFE)) == I2C_M_RECV_LEN;
}

static u8 *bounce_get(struct controller *ctl, struct payload *payload)
{
	if (payload_unsuited(payload))
		return NULL;
	return i2c_get_dma_safe_msg_buf(payload->msg, READ_ONCE(ctl->threshold));
}

static void bounce_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	i2c_put_dma_safe_msg_buf(payload->buf, payload->msg, transferred);
}

static u8 *flag_only_get(struct controller *ctl, struct payload *payload)
{
	struct i2c_msg *msg = payload->msg;

	if (payload_unsuited(payload) || !(msg->flags & I2C_M_DMA_SAFE) ||
	    msg->len < READ_ONCE(ctl->threshold))
		return NULL;
	return msg->buf;
}

static u8 *trusting_get(struct controller *ctl, struct payload *payload)
{
	return payload->msg->buf;
}

static u8 *pio_get(struct controller *ctl, struct payload *payload)
{
	return NULL;
}

static void no_put(struct controller *ctl, struct payload *payload, bool transferred)
{
}

/* The first row is the default. */
const struct controller_policy controller_policies[] = {
	{ "bounce", bounce_get, bounce_put },
	{ "flag-only", flag_only_get, no_put },
	{ "trusting", trusting_get, no_put },
	{ "pio", pio_get, no_put },
	{}
};

/**
 * payload_map() - the right way to map a message's buffer
 * @ctl: the controller
 * @payload: its buffer, length and direction
 *
 * Return: the DMA address, to be asked about with payload_map_failed().
 */
dma_addr_t payload_map(struct controller *ctl, struct payload *payload)
{
	return dma_map_single(ctl->dev, payload->buf, payload->len, payload->dir);
}

/**
 * payload_map_failed() - whether the buffer could not be mapped
 * @ctl: the controller
 * @payload: its DMA address is what the map step returned
 */
bool payload_map_failed(struct controller *ctl, struct payload *payload)
{
	return dma_mapping_error(ctl->dev, payload->dma);
}

/**
 * payload_unmap() - undo payload_map()
 * @ctl: the controller; the hardware is done
 * @payload: as it was mapped
 */
void payload_unmap(struct controller *ctl, struct payload *payload)
{
	dma_unmap_single(ctl->dev, payload->dma, payload->len, payload->dir);
}

/*
 * The steps: the seeded fault's, else the policy's or the right one. Only data is remembered from
 * one to the next: a function's address on the stack is a line more in every trace of it.
 */
static u8 *step_get(struct controller *ctl, struct payload *payload)
{
	return (payload->fault->wrong.get ?: payload->policy->get)(ctl, payload);
}

static dma_addr_t step_map(struct controller *ctl, struct payload *payload)
{
	return (payload->fault->wrong.map ?: payload_map)(ctl, payload);
}

static bool step_map_failed(struct controller *ctl, struct payload *payload)
{
	return (payload->fault->wrong.map_failed ?: payload_map_failed)(ctl, payload);
}

static void step_unmap(struct controller *ctl, struct payload *payload)
{
	(payload->fault->wrong.unmap ?: payload_unmap)(ctl, payload);
}

static void step_put(struct controller *ctl, struct payload *payload, bool transferred)
{
	(payload->fault->wrong.put ?: payload->policy->put)(ctl, payload, transferred);
}

/* Sets the length of a message whose length the slave gave. */
static int payload_received(struct i2c_msg *msg, u8 count)
{
	if (!(msg->flags & I2C_M_RECV_LEN))
		return 0;
	if (count == 0 || count > I2C_SMBUS_BLOCK_MAX)
		return -EPROTO;
	msg->len += count;
	return 0;
}

static int payload_by_pio(struct controller *ctl, struct payload *payload, bool last)
{
	struct i2c_msg *msg = payload->msg;
	int ret;

	if (payload->dir == DMA_TO_DEVICE)
		memcpy(ctl->fifo, msg->buf, payload->len);
	ret = controller_ring_send(ctl, msg, last, ctl->fifo_dma, payload->len);
	if (ret || payload->dir == DMA_TO_DEVICE)
		return ret;
	ret = payload_received(msg, ctl->fifo[0]);
	if (ret)
		return ret;
	memcpy(msg->buf, ctl->fifo, msg->len);
	return 0;
}

static void payload_allow(struct controller *ctl, const struct payload *payload)
{
	if (ctl->hardware->allow)
		ctl->hardware->allow(ctl, payload);
}

static int payload_by_dma(struct controller *ctl, struct payload *payload, bool last)
{
	ctl->mapped = true;
	payload->dma = step_map(ctl, payload);
	if (step_map_failed(ctl, payload)) {
		ctl->mapped = false;
		return -EIO;
	}
	payload_allow(ctl, payload);
	payload->ret = controller_ring_send(ctl, payload->msg, last, payload->dma,
					    payload->wire_len);
	payload_allow(ctl, NULL);
	step_unmap(ctl, payload);
	ctl->mapped = false;
	if (payload->ret || payload->dir == DMA_TO_DEVICE)
		return payload->ret;
	return payload_received(payload->msg, payload->buf[0]);
}

/**
 * controller_transfer() - carry out one message
 * @ctl: the controller; the caller holds the adapter's lock
 * @msg: the message; its length is set for I2C_M_RECV_LEN
 * @last: no message of the same transfer follows
 *
 * Return: 0 or a negative errno: -EIO if the buffer could not be mapped, -EPROTO if the slave
 * gave a bad length, else that of controller_ring_send().
 */
int controller_transfer(struct controller *ctl, struct i2c_msg *msg, bool last)
{
	struct payload payload = {
		.msg = msg,
		.policy = READ_ONCE(ctl->policy),
		.fault = READ_ONCE(ctl->fault),
		.len = payload_len(msg),
		.wire_len = payload_len(msg),
		.dir = msg->flags & I2C_M_RD ? DMA_FROM_DEVICE : DMA_TO_DEVICE,
	};
	int ret;

	if (!payload.len)
		return controller_ring_send(ctl, msg, last, 0, 0);
	payload.buf = step_get(ctl, &payload);
	if (!payload.buf)
		return payload_by_pio(ctl, &payload, last);
	ret = payload_by_dma(ctl, &payload, last);
	step_put(ctl, &payload, !ret);
	return ret;
}
