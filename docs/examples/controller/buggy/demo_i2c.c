// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver for the I2C controller of demo_controller.py, a PCI function, with the mistake that this example is about.
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/i2c.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>

#define DEMO_TARGET	0x00
#define DEMO_LENGTH	0x04
#define DEMO_MEMORY	0x08
#define DEMO_COMMAND	0x10
#define  DEMO_WRITE	BIT(0)
#define  DEMO_READ	BIT(1)
#define  DEMO_LAST	BIT(2)
#define  DEMO_ABORT	BIT(3)
#define DEMO_STATUS	0x14
#define  DEMO_DONE	BIT(0)
#define  DEMO_NAK	BIT(1)
#define  DEMO_BUS_ERROR	BIT(2)

#define DEMO_TIMEOUT	msecs_to_jiffies(1000)

struct demo {
	struct i2c_adapter adapter;
	struct device *dev;
	void __iomem *regs;
	struct completion done;
	u32 status;
};

static irqreturn_t demo_irq(int irq, void *data)
{
	struct demo *demo = data;
	u32 status = readl(demo->regs + DEMO_STATUS);

	if (!status)
		return IRQ_NONE;
	demo->status = status;
	writel(status, demo->regs + DEMO_STATUS);
	complete(&demo->done);
	return IRQ_HANDLED;
}

/* One message whose bytes are at @dma. */
static int demo_message(struct demo *demo, struct i2c_msg *msg, dma_addr_t dma, bool last)
{
	u32 command = msg->flags & I2C_M_RD ? DEMO_READ : DEMO_WRITE;

	reinit_completion(&demo->done);
	writel(msg->addr, demo->regs + DEMO_TARGET);
	writew(msg->len, demo->regs + DEMO_LENGTH);
	writel(lower_32_bits(dma), demo->regs + DEMO_MEMORY);
	writel(upper_32_bits(dma), demo->regs + DEMO_MEMORY + 4);
	writel(command | (last ? DEMO_LAST : 0), demo->regs + DEMO_COMMAND);
	if (!wait_for_completion_timeout(&demo->done, DEMO_TIMEOUT)) {
		/* The hardware lets go of the memory before anybody else gets it; the read waits until it has. */
		writel(DEMO_ABORT, demo->regs + DEMO_COMMAND);
		readl(demo->regs + DEMO_STATUS);
		return -ETIMEDOUT;
	}
	if (demo->status & DEMO_NAK)
		return -ENXIO;
	return demo->status & DEMO_BUS_ERROR ? -EIO : 0;
}

static int demo_xfer(struct i2c_adapter *adapter, struct i2c_msg *msgs, int num)
{
	struct demo *demo = i2c_get_adapdata(adapter);
	int i, ret = 0;

	for (i = 0; i < num && !ret; i++) {
		struct i2c_msg *msg = &msgs[i];
		enum dma_data_direction direction = msg->flags & I2C_M_RD ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
		dma_addr_t dma;

		/* The mistake: nobody has promised that DMA may touch this buffer. It can be on a stack. */
		dma = dma_map_single(demo->dev, msg->buf, msg->len, direction);
		if (dma_mapping_error(demo->dev, dma))
			return -ENOMEM;
		ret = demo_message(demo, msg, dma, i == num - 1);
		dma_unmap_single(demo->dev, dma, msg->len, direction);
	}
	return ret ? ret : num;
}

static u32 demo_functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | (I2C_FUNC_SMBUS_EMUL & ~I2C_FUNC_SMBUS_QUICK);
}

static const struct i2c_algorithm demo_algorithm = {
	.master_xfer = demo_xfer,
	.functionality = demo_functionality,
};

static const struct i2c_adapter_quirks demo_quirks = {
	.flags = I2C_AQ_NO_ZERO_LEN,
};

static void demo_free_vectors(void *pdev)
{
	pci_free_irq_vectors(pdev);
}

static int demo_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct demo *demo;
	int ret;

	demo = devm_kzalloc(&pdev->dev, sizeof(*demo), GFP_KERNEL);
	if (!demo)
		return -ENOMEM;
	demo->dev = &pdev->dev;
	init_completion(&demo->done);
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	demo->regs = pcim_iomap(pdev, 0, 0);
	if (!demo->regs)
		return -ENOMEM;
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		return ret;
	ret = devm_add_action_or_reset(&pdev->dev, demo_free_vectors, pdev);
	if (ret)
		return ret;
	ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, 0), demo_irq, IRQF_SHARED, "demo-i2c", demo);
	if (ret)
		return ret;

	demo->adapter.owner = THIS_MODULE;
	demo->adapter.algo = &demo_algorithm;
	demo->adapter.quirks = &demo_quirks;
	demo->adapter.dev.parent = &pdev->dev;
	snprintf(demo->adapter.name, sizeof(demo->adapter.name), "demo I2C controller");
	i2c_set_adapdata(&demo->adapter, demo);
	return devm_i2c_add_adapter(&pdev->dev, &demo->adapter);
}

static const struct pci_device_id demo_ids[] = { { PCI_DEVICE(0x1b36, 0x10f0) }, { } };
MODULE_DEVICE_TABLE(pci, demo_ids);

static struct pci_driver demo_driver = {
	.name = "demo-i2c",
	.id_table = demo_ids,
	.probe = demo_probe,
};
module_pci_driver(demo_driver);

MODULE_DESCRIPTION("Example of dmasafe: a PCI I2C controller whose driver maps any buffer");
MODULE_LICENSE("GPL");
