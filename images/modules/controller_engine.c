// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's main part: takes requests from the driver's ring, carries them out on the bus,
 * writes what was read, and interrupts.
 *
 * What it does is what harness/dmasafe/devices/virtio_i2c.py does for the emulated PCI function: messages
 * marked VIRTIO_I2C_FLAGS_FAIL_NEXT are one I2C transfer, nothing of a request is carried out
 * before all of it has been checked, and stray DMA is recorded, not performed.
 */
#include <linux/jiffies.h>
#include <linux/slab.h>
#include "controller_engine.h"

#define STATUS_OK VIRTIO_I2C_MSG_OK
#define STATUS_ERROR 1

static struct engine *to_engine(struct controller *ctl)
{
	return container_of(ctl, struct controller_platform, ctl)->engine;
}

/* One request as it lies in the ring. */
struct engine_chain {
	u16 head;
	unsigned int count;
	struct ring_desc desc[RING_MAX];
};

/* Reads the chain of descriptors that starts at chain->head. Returns NULL or what is wrong. */
static const char *chain_fetch(struct engine *engine, struct engine_chain *chain)
{
	u16 index = chain->head;
	struct ring_desc *desc;

	for (chain->count = 0; chain->count < RING_MAX;) {
		desc = &chain->desc[chain->count];
		if (index >= engine->queue_size)
			return "a descriptor outside the table";
		if (engine_memory_read(&engine->memory, engine->desc + index * sizeof(*desc), desc,
				       sizeof(*desc)))
			return "the descriptor table cannot be read";
		chain->count++;
		if (!(le16_to_cpu(desc->flags) & VRING_DESC_F_NEXT))
			return NULL;
		index = le16_to_cpu(desc->next);
	}
	return "a chain without end";
}

static bool is_writable(const struct ring_desc *desc)
{
	return le16_to_cpu(desc->flags) & VRING_DESC_F_WRITE;
}

static void take_segment(struct engine *engine, struct engine_segment *segment,
			 const struct ring_desc *desc)
{
	segment->dma = le64_to_cpu(desc->addr);
	segment->len = le32_to_cpu(desc->len);
	segment->write = is_writable(desc);
	engine_memory_reach(&engine->memory, segment);
}

/*
 * Fills the message from the chain: header, payload, status, one descriptor each or more for the
 * payload, as controller_ring_send() cuts them. Returns NULL or why it is no request.
 */
static const char *take_request(struct engine *engine, const struct engine_chain *chain)
{
	struct engine_message *message = &engine->message;
	struct virtio_i2c_out_hdr out;
	unsigned int i, last = chain->count - 1;
	u32 flags;

	if (chain->count < 2 || is_writable(&chain->desc[0]) || !is_writable(&chain->desc[last]))
		return "no request header or no status";
	take_segment(engine, &message->header, &chain->desc[0]);
	take_segment(engine, &message->status, &chain->desc[last]);
	if (message->header.len != sizeof(out) ||
	    message->status.len != sizeof(struct virtio_i2c_in_hdr))
		return "a request header or a status of another size";
	if (engine_memory_read(&engine->memory, message->header.dma, &out, sizeof(out)) ||
	    message->status.why)
		return "a request header or a status where there is no memory";

	flags = le32_to_cpu(out.flags);
	message->address = le16_to_cpu(out.addr) >> 1;
	message->read = flags & VIRTIO_I2C_FLAGS_M_RD;
	message->last = !(flags & VIRTIO_I2C_FLAGS_FAIL_NEXT);
	message->count = 0;
	message->len = 0;
	message->why = NULL;
	for (i = 1; i < last; i++) {
		struct engine_segment *segment = &message->segments[message->count++];

		if (is_writable(&chain->desc[i]) != message->read)
			return "payload that goes against the request's direction";
		take_segment(engine, segment, &chain->desc[i]);
		if (segment->len > ENGINE_MAX_LEN - message->len)
			return "a message that is too long";
		message->len += segment->len;
		message->why = message->why ?: segment->why;
	}
	return NULL;
}

/* Copies the payload between memory and message->data. */
static int copy_payload(struct engine *engine)
{
	struct engine_message *message = &engine->message;
	u8 *data = message->data;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < message->count && !ret; i++) {
		const struct engine_segment *segment = &message->segments[i];

		ret = message->read ? engine_memory_write(&engine->memory, segment->dma, data,
							  segment->len)
				    : engine_memory_read(&engine->memory, segment->dma, data,
							 segment->len);
		data += segment->len;
	}
	return ret;
}

/* One message on the bus, if nothing speaks against it. */
static void perform_message(struct engine *engine)
{
	struct engine_message *message = &engine->message;

	message->wire_len = 0;
	message->delay_ms = 0;
	if (engine->group_failed && !message->why)
		message->why = "an earlier message of the group failed";
	if (!message->why && !message->read && copy_payload(engine))
		message->why = "the payload cannot be read";
	if (!message->why)
		engine_bus_transfer(engine->bus, message);
	else
		engine_bus_stop(engine->bus);
	engine->group_failed = !message->last && message->why;
}

/* Waits while a slave holds the clock. Returns false if the driver resets the engine meanwhile. */
static bool hold_clock(struct engine *engine)
{
	return !engine->message.delay_ms ||
	       !wait_event_timeout(engine->wake, READ_ONCE(engine->stopping),
				   msecs_to_jiffies(engine->message.delay_ms));
}

/* Gives the request back to the driver, which learns of it by controller_ring_done(). */
static void give_back(struct engine *engine, u16 head, u32 written)
{
	struct ring_used_elem elem = { .id = cpu_to_le32(head), .len = cpu_to_le32(written) };
	u16 slot = engine->next % engine->queue_size;
	__le16 idx;

	engine_memory_write(&engine->memory,
			    engine->used + offsetof(struct ring_used, ring) + slot * sizeof(elem),
			    &elem, sizeof(elem));
	idx = cpu_to_le16(++engine->next);
	/* The result is all there before its number is. */
	mb();
	engine_memory_write(&engine->memory, engine->used + offsetof(struct ring_used, idx), &idx,
			    sizeof(idx));
	/* The driver looks for the number when it is interrupted. */
	mb();
	controller_ring_done(engine->ctl);
}

static void answer(struct engine *engine, u16 head)
{
	struct engine_message *message = &engine->message;
	struct virtio_i2c_in_hdr in;
	u32 written = sizeof(in);

	if (!message->why && message->read) {
		/* Memory can have gone while a slow slave held the clock. */
		if (copy_payload(engine))
			message->why = "the payload cannot be written";
		else
			written += message->len;
	}
	in.status = message->why ? STATUS_ERROR : STATUS_OK;
	engine_memory_write(&engine->memory, message->status.dma, &in, sizeof(in));
	engine_trace_message(&engine->trace, message);
	give_back(engine, head, written);
}

/* One request. Returns false when there is none, or none may follow. */
static bool perform_request(struct engine *engine)
{
	u16 slot = engine->next % engine->queue_size;
	struct engine_chain chain;
	const char *wrong;
	__le16 idx, head;

	if (engine_memory_read(&engine->memory, engine->avail + offsetof(struct ring_avail, idx),
			       &idx, sizeof(idx)) ||
	    le16_to_cpu(idx) == engine->next)
		return false;
	/* The number says that the request is there: look at it afterwards. */
	mb();
	if (engine_memory_read(&engine->memory, engine->avail + offsetof(struct ring_avail, ring) +
			       slot * sizeof(head), &head, sizeof(head)))
		return false;
	chain.head = le16_to_cpu(head);
	engine->message.seq = engine_trace_seq(&engine->trace);
	wrong = chain_fetch(engine, &chain) ?: take_request(engine, &chain);
	if (wrong) {
		engine_trace_violation(&engine->trace, "bad-request", wrong);
		give_back(engine, chain.head, 0);
		return true;
	}
	perform_message(engine);
	if (!hold_clock(engine))
		return false;
	answer(engine, chain.head);
	return true;
}

static void engine_work(struct work_struct *work)
{
	struct engine *engine = container_of(work, struct engine, work);

	while (!READ_ONCE(engine->stopping) && perform_request(engine))
		;
}

static int engine_reset(struct controller *ctl)
{
	struct engine *engine = to_engine(ctl);

	WRITE_ONCE(engine->stopping, true);
	wake_up(&engine->wake);
	cancel_work_sync(&engine->work);
	engine_bus_stop(engine->bus);
	engine->group_failed = false;
	return 0;
}

static int engine_start(struct controller *ctl)
{
	struct engine *engine = to_engine(ctl);

	ctl->queue_size = RING_MAX;
	engine->queue_size = ctl->queue_size;
	engine->next = 0;
	engine->desc = RING_DMA(ctl, desc);
	engine->avail = RING_DMA(ctl, avail);
	engine->used = RING_DMA(ctl, used);
	WRITE_ONCE(engine->stopping, false);
	return 0;
}

static void engine_kick(struct controller *ctl)
{
	struct engine *engine = to_engine(ctl);

	queue_work(engine->queue, &engine->work);
}

static void engine_allow(struct controller *ctl, const struct payload *payload)
{
	engine_memory_allow(&to_engine(ctl)->memory, payload);
}

const struct controller_hardware engine_hardware = {
	.reset = engine_reset,
	.start = engine_start,
	.kick = engine_kick,
	.allow = engine_allow,
};

/**
 * engine_attach() - a driver takes over the engine
 * @engine: the engine, stopped
 * @ctl: the driver's controller, its coherent memory allocated
 *
 * Return: 0, or -EOPNOTSUPP if DMA addresses of this device cannot be followed.
 */
int engine_attach(struct engine *engine, struct controller *ctl)
{
	engine->ctl = ctl;
	return engine_memory_attach(&engine->memory, ctl);
}

/**
 * engine_detach() - the driver of engine_attach() is gone
 * @engine: the engine, reset
 */
void engine_detach(struct engine *engine)
{
	engine->ctl = NULL;
}

/**
 * engine_create() - make the hardware
 * @engine: zeroed; lives until engine_destroy()
 * @name: its name; stays the caller's
 *
 * Return: 0 or a negative errno.
 */
int engine_create(struct engine *engine, const char *name)
{
	int ret = -ENOMEM;

	engine->stopping = true;
	init_waitqueue_head(&engine->wake);
	INIT_WORK(&engine->work, engine_work);
	engine->message.data = kvmalloc(ENGINE_MAX_LEN, GFP_KERNEL);
	engine->bus = engine_bus_create();
	engine->queue = alloc_ordered_workqueue("%s", WQ_MEM_RECLAIM, name);
	if (engine->message.data && engine->bus && engine->queue)
		ret = engine_trace_create(&engine->trace, name);
	if (!ret)
		return 0;
	if (engine->queue)
		destroy_workqueue(engine->queue);
	engine_bus_destroy(engine->bus);
	kvfree(engine->message.data);
	return ret;
}

/**
 * engine_destroy() - undo engine_create()
 * @engine: without a driver
 */
void engine_destroy(struct engine *engine)
{
	engine_trace_destroy(&engine->trace);
	destroy_workqueue(engine->queue);
	engine_bus_destroy(engine->bus);
	kvfree(engine->message.data);
}
