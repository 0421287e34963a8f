// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A DMA controller for the drivers of I2C controllers that have none of their own: two channels, one for each
 * direction or one for both, which the emulated hardware fills and empties (harness/dmasafe/devices/hosts/dmaengine.py).
 *
 * A machine's PCI function has one interrupt line, which is the I2C controller's. So the end of a transfer is polled
 * for.
 */
#include <linux/dmaengine.h>
#include <linux/dma-mapping.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_dma.h>
#include <linux/platform_device.h>
#include <linux/reset-controller.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "compat.h"

#define CHANNELS 2
#define CHANNEL_BYTES 0x40

/* A channel's registers: one segment of memory at a time. */
#define ADDRESS_LOW 0x00
#define ADDRESS_HIGH 0x04
#define LENGTH 0x08
#define CONTROL 0x0c
#define CONTROL_STOP 0
#define CONTROL_START BIT(0)
/* For hardware that has one channel for both directions. */
#define CONTROL_TO_MEMORY BIT(1)
#define STATUS 0x10
#define STATUS_DONE BIT(0)
#define STATUS_FAILED BIT(1)
#define RESIDUE 0x14

/* Behind the channels: a write is a reset of the I2C controller, for drivers that insist on a reset line. */
#define RESET 0x80

#define FIRST_POLL_NS (100 * NSEC_PER_USEC)
#define LONGEST_POLL_NS (2 * NSEC_PER_MSEC)

struct segment {
	dma_addr_t address;
	u32 length;
};

struct transfer {
	struct dma_async_tx_descriptor tx;
	struct list_head node;
	enum dma_transfer_direction direction;
	unsigned int count;
	unsigned int at;
	struct segment segments[];
};

struct channel {
	struct dma_chan chan;
	void __iomem *registers;
	/* Guards all below. */
	spinlock_t lock;
	struct list_head submitted;
	struct list_head issued;
	/* The first of those that were issued, if the hardware has it. */
	struct transfer *active;
	dma_cookie_t failed;
	struct hrtimer timer;
	u64 poll_ns;
};

struct engine {
	struct dma_device device;
	struct reset_controller_dev resets;
	void __iomem *reset;
	struct channel channels[CHANNELS];
};

static struct channel *channel_of(struct dma_chan *chan)
{
	return container_of(chan, struct channel, chan);
}

static dma_cookie_t transfer_submit(struct dma_async_tx_descriptor *tx)
{
	struct transfer *transfer = container_of(tx, struct transfer, tx);
	struct channel *channel = channel_of(tx->chan);
	dma_cookie_t cookie;
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	cookie = tx->chan->cookie + 1;
	if (cookie < DMA_MIN_COOKIE)
		cookie = DMA_MIN_COOKIE;
	tx->cookie = cookie;
	tx->chan->cookie = cookie;
	list_add_tail(&transfer->node, &channel->submitted);
	spin_unlock_irqrestore(&channel->lock, flags);
	return cookie;
}

static struct dma_async_tx_descriptor *channel_prep_slave_sg(struct dma_chan *chan, struct scatterlist *sgl,
							     unsigned int length,
							     enum dma_transfer_direction direction, unsigned long flags,
							     void *context)
{
	struct transfer *transfer;
	struct scatterlist *sg;
	unsigned int i;

	if (!length || !is_slave_direction(direction))
		return NULL;
	transfer = kzalloc(struct_size(transfer, segments, length), GFP_NOWAIT);
	if (!transfer)
		return NULL;
	transfer->direction = direction;
	transfer->count = length;
	for_each_sg(sgl, sg, length, i) {
		transfer->segments[i].address = sg_dma_address(sg);
		transfer->segments[i].length = sg_dma_len(sg);
	}
	dma_async_tx_descriptor_init(&transfer->tx, chan);
	transfer->tx.flags = flags;
	transfer->tx.tx_submit = transfer_submit;
	return &transfer->tx;
}

static int channel_config(struct dma_chan *chan, struct dma_slave_config *config)
{
	/* The hardware knows which controller it belongs to. */
	return 0;
}

/* Under the lock: hands the next segment to the hardware, if there is one. */
static void channel_start(struct channel *channel)
{
	const struct transfer *transfer;
	const struct segment *segment;

	if (!channel->active)
		channel->active = list_first_entry_or_null(&channel->issued, struct transfer, node);
	transfer = channel->active;
	if (!transfer)
		return;
	segment = &transfer->segments[transfer->at];
	writel(lower_32_bits(segment->address), channel->registers + ADDRESS_LOW);
	writel(upper_32_bits(segment->address), channel->registers + ADDRESS_HIGH);
	writel(segment->length, channel->registers + LENGTH);
	writel(CONTROL_START | (transfer->direction == DMA_DEV_TO_MEM ? CONTROL_TO_MEMORY : 0),
	       channel->registers + CONTROL);
	channel->poll_ns = FIRST_POLL_NS;
}

static void channel_issue_pending(struct dma_chan *chan)
{
	struct channel *channel = channel_of(chan);
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	list_splice_tail_init(&channel->submitted, &channel->issued);
	if (!channel->active) {
		channel_start(channel);
		if (channel->active)
			hrtimer_start(&channel->timer, ns_to_ktime(channel->poll_ns), HRTIMER_MODE_REL_SOFT);
	}
	spin_unlock_irqrestore(&channel->lock, flags);
}

static void transfer_tell(const struct transfer *transfer, bool failed)
{
	const struct dma_async_tx_descriptor *tx = &transfer->tx;
	struct dmaengine_result result = { .result = DMA_TRANS_NOERROR };

	if (failed)
		result.result = transfer->direction == DMA_MEM_TO_DEV ? DMA_TRANS_READ_FAILED : DMA_TRANS_WRITE_FAILED;
	if (tx->callback_result)
		tx->callback_result(tx->callback_param, &result);
	else if (tx->callback)
		tx->callback(tx->callback_param);
}

static enum hrtimer_restart channel_poll(struct hrtimer *timer)
{
	struct channel *channel = container_of(timer, struct channel, timer);
	struct transfer *ended = NULL;
	bool failed = false, more;
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	if (channel->active) {
		struct transfer *transfer = channel->active;
		u32 status = readl(channel->registers + STATUS);

		failed = status & STATUS_FAILED;
		if (!failed && !(status & STATUS_DONE)) {
			channel->poll_ns = min_t(u64, 2 * channel->poll_ns, LONGEST_POLL_NS);
		} else if (!failed && ++transfer->at < transfer->count) {
			channel_start(channel);
		} else {
			list_del(&transfer->node);
			channel->active = NULL;
			channel->chan.completed_cookie = transfer->tx.cookie;
			if (failed)
				channel->failed = transfer->tx.cookie;
			ended = transfer;
			channel_start(channel);
		}
	}
	more = channel->active;
	if (more)
		hrtimer_forward_now(timer, ns_to_ktime(channel->poll_ns));
	spin_unlock_irqrestore(&channel->lock, flags);
	if (ended) {
		transfer_tell(ended, failed);
		kfree(ended);
	}
	return more ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

static int channel_terminate_all(struct dma_chan *chan)
{
	struct channel *channel = channel_of(chan);
	struct transfer *transfer, *next;
	unsigned long flags;
	LIST_HEAD(dropped);

	spin_lock_irqsave(&channel->lock, flags);
	if (channel->active)
		writel(CONTROL_STOP, channel->registers + CONTROL);
	channel->active = NULL;
	list_splice_tail_init(&channel->issued, &dropped);
	list_splice_tail_init(&channel->submitted, &dropped);
	spin_unlock_irqrestore(&channel->lock, flags);
	list_for_each_entry_safe(transfer, next, &dropped, node)
		kfree(transfer);
	return 0;
}

static void channel_synchronize(struct dma_chan *chan)
{
	hrtimer_cancel(&channel_of(chan)->timer);
}

static enum dma_status channel_tx_status(struct dma_chan *chan, dma_cookie_t cookie, struct dma_tx_state *state)
{
	struct channel *channel = channel_of(chan);
	enum dma_status status;
	unsigned long flags;
	u32 residue = 0;

	spin_lock_irqsave(&channel->lock, flags);
	status = dma_async_is_complete(cookie, chan->completed_cookie, chan->cookie);
	if (status == DMA_COMPLETE && cookie == channel->failed)
		status = DMA_ERROR;
	if (channel->active && channel->active->tx.cookie == cookie) {
		unsigned int i;

		residue = readl(channel->registers + RESIDUE);
		for (i = channel->active->at + 1; i < channel->active->count; i++)
			residue += channel->active->segments[i].length;
	}
	spin_unlock_irqrestore(&channel->lock, flags);
	if (state) {
		state->last = chan->completed_cookie;
		state->used = chan->cookie;
		state->residue = residue;
	}
	return status;
}

static int channel_alloc(struct dma_chan *chan)
{
	return 0;
}

static void channel_free(struct dma_chan *chan)
{
	channel_terminate_all(chan);
	channel_synchronize(chan);
}

static int engine_reset(struct reset_controller_dev *resets, unsigned long id)
{
	writel(1, container_of(resets, struct engine, resets)->reset);
	return 0;
}

static const struct reset_control_ops engine_reset_ops = {
	.reset = engine_reset,
};

static void engine_unregister(void *data)
{
	struct engine *engine = data;

	of_dma_controller_free(engine->device.dev->of_node);
	dma_async_device_unregister(&engine->device);
}

static int engine_probe(struct platform_device *pdev)
{
	const u32 widths = BIT(DMA_SLAVE_BUSWIDTH_1_BYTE) | BIT(DMA_SLAVE_BUSWIDTH_2_BYTES) |
			   BIT(DMA_SLAVE_BUSWIDTH_4_BYTES);
	struct dma_device *device;
	struct engine *engine;
	void __iomem *base;
	int ret, i;

	engine = devm_kzalloc(&pdev->dev, sizeof(*engine), GFP_KERNEL);
	if (!engine)
		return -ENOMEM;
	base = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(base))
		return PTR_ERR(base);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	engine->reset = base + RESET;
	engine->resets.owner = THIS_MODULE;
	engine->resets.of_node = pdev->dev.of_node;
	engine->resets.ops = &engine_reset_ops;
	engine->resets.nr_resets = 1;
	ret = devm_reset_controller_register(&pdev->dev, &engine->resets);
	if (ret)
		return ret;
	device = &engine->device;
	device->dev = &pdev->dev;
	INIT_LIST_HEAD(&device->channels);
	dma_cap_set(DMA_SLAVE, device->cap_mask);
	dma_cap_set(DMA_PRIVATE, device->cap_mask);
	device->src_addr_widths = widths;
	device->dst_addr_widths = widths;
	device->directions = BIT(DMA_MEM_TO_DEV) | BIT(DMA_DEV_TO_MEM);
	device->residue_granularity = DMA_RESIDUE_GRANULARITY_BURST;
	device->device_alloc_chan_resources = channel_alloc;
	device->device_free_chan_resources = channel_free;
	device->device_prep_slave_sg = channel_prep_slave_sg;
	device->device_config = channel_config;
	device->device_terminate_all = channel_terminate_all;
	device->device_synchronize = channel_synchronize;
	device->device_tx_status = channel_tx_status;
	device->device_issue_pending = channel_issue_pending;
	for (i = 0; i < CHANNELS; i++) {
		struct channel *channel = &engine->channels[i];

		channel->registers = base + i * CHANNEL_BYTES;
		channel->chan.device = device;
		channel->chan.cookie = DMA_MIN_COOKIE;
		channel->chan.completed_cookie = DMA_MIN_COOKIE;
		spin_lock_init(&channel->lock);
		INIT_LIST_HEAD(&channel->submitted);
		INIT_LIST_HEAD(&channel->issued);
		dmasafe_hrtimer_setup(&channel->timer, channel_poll, HRTIMER_MODE_REL_SOFT);
		list_add_tail(&channel->chan.device_node, &device->channels);
	}
	ret = dma_async_device_register(device);
	if (ret)
		return ret;
	ret = of_dma_controller_register(pdev->dev.of_node, of_dma_xlate_by_chan_id, device);
	if (ret) {
		dma_async_device_unregister(device);
		return ret;
	}
	return devm_add_action_or_reset(&pdev->dev, engine_unregister, engine);
}

static const struct of_device_id engine_matches[] = {
	{ .compatible = "dmasafe,dmaengine" },
	{ }
};
MODULE_DEVICE_TABLE(of, engine_matches);

static struct platform_driver engine_driver = {
	.probe = engine_probe,
	.driver = {
		.name = "dmasafe_dma",
		.of_match_table = engine_matches,
	},
};
module_platform_driver(engine_driver);

MODULE_DESCRIPTION("A DMA controller for emulated I2C controllers");
MODULE_LICENSE("GPL");
