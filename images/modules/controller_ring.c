// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The hardware: a virtio 1 I2C adapter driven by hand, one request at a time, without Linux's
 * virtio core.
 *
 * References are to the virtio specification 1.2: 2.7 split virtqueues, 3.1.1 initialisation,
 * 4.1.4 the PCI capabilities, 5.15 the I2C adapter.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include "controller.h"

/* QEMU 7.2 gives vhost-user-i2c a queue of 4; more than this is not used. */
#define RING_MAX 16
#define RING_NEEDED 3

#define RESET_POLL_US 100
#define RESET_TIMEOUT_US 1000000

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

struct ring_used {
	__le16 flags;
	__le16 idx;
	struct {
		__le32 id;
		__le32 len;
	} ring[RING_MAX];
};

struct controller_ring {
	struct ring_desc desc[RING_MAX] __aligned(16);
	struct ring_avail avail __aligned(2);
	struct ring_used used __aligned(4);
	struct virtio_i2c_out_hdr out __aligned(8);
	struct virtio_i2c_in_hdr in __aligned(8);
};

#define RING_DMA(ctl, member) ((ctl)->ring_dma + offsetof(struct controller_ring, member))

static u16 ring_used_count(struct controller *ctl)
{
	return le16_to_cpu(READ_ONCE(ctl->ring->used.idx));
}

static irqreturn_t ring_interrupt(int irq, void *data)
{
	struct controller *ctl = data;

	/* Reading the ISR acknowledges INTx. With MSI-X it is not used (4.1.4.5.2). */
	if (!ctl->pdev->msix_enabled && !ioread8(ctl->isr))
		return IRQ_NONE;
	if (ring_used_count(ctl) == READ_ONCE(ctl->sent))
		complete(&ctl->done);
	return IRQ_HANDLED;
}

/* Maps the register block of one kind (4.1.4), or returns NULL. */
static void __iomem *ring_map_registers(struct pci_dev *pdev, u8 type, size_t size, int *where)
{
	u32 offset, length;
	u8 found, bar;
	int pos;

	for (pos = pci_find_capability(pdev, PCI_CAP_ID_VNDR); pos;
	     pos = pci_find_next_capability(pdev, pos, PCI_CAP_ID_VNDR)) {
		pci_read_config_byte(pdev, pos + VIRTIO_PCI_CAP_CFG_TYPE, &found);
		if (found != type)
			continue;
		pci_read_config_byte(pdev, pos + VIRTIO_PCI_CAP_BAR, &bar);
		pci_read_config_dword(pdev, pos + VIRTIO_PCI_CAP_OFFSET, &offset);
		pci_read_config_dword(pdev, pos + VIRTIO_PCI_CAP_LENGTH, &length);
		if (bar >= PCI_STD_NUM_BARS || length < size)
			continue;
		*where = pos;
		return pci_iomap_range(pdev, bar, offset, length);
	}
	return NULL;
}

static void ring_write64(u64 value, __le32 __iomem *low, __le32 __iomem *high)
{
	iowrite32(lower_32_bits(value), low);
	iowrite32(upper_32_bits(value), high);
}

static int ring_reset(struct controller *ctl)
{
	u8 status;

	iowrite8(0, &ctl->common->device_status);
	return readx_poll_timeout(ioread8, &ctl->common->device_status, status, !status,
				  RESET_POLL_US, RESET_TIMEOUT_US);
}

static u64 ring_offered_features(struct controller *ctl)
{
	u64 features;

	iowrite32(1, &ctl->common->device_feature_select);
	features = (u64)ioread32(&ctl->common->device_feature) << 32;
	iowrite32(0, &ctl->common->device_feature_select);
	return features | ioread32(&ctl->common->device_feature);
}

/* Brings a device that was just reset to work (3.1.1). */
static int ring_start(struct controller *ctl)
{
	const u64 needed = BIT_ULL(VIRTIO_F_VERSION_1) |
			   BIT_ULL(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);
	const u64 wanted = needed | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	struct virtio_pci_common_cfg __iomem *common = ctl->common;
	u8 status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	u64 features;

	iowrite8(status, &common->device_status);
	features = ring_offered_features(ctl) & wanted;
	if ((features & needed) != needed)
		return -ENODEV;
	iowrite32(1, &common->guest_feature_select);
	iowrite32(upper_32_bits(features), &common->guest_feature);
	iowrite32(0, &common->guest_feature_select);
	iowrite32(lower_32_bits(features), &common->guest_feature);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	iowrite8(status, &common->device_status);
	if (!(ioread8(&common->device_status) & VIRTIO_CONFIG_S_FEATURES_OK))
		return -ENODEV;

	memset(ctl->ring, 0, sizeof(*ctl->ring));
	ctl->sent = 0;
	ctl->group_open = false;
	if (ctl->pdev->msix_enabled)
		iowrite16(VIRTIO_MSI_NO_VECTOR, &common->msix_config);
	iowrite16(0, &common->queue_select);
	ctl->queue_size = min_t(u16, ioread16(&common->queue_size), RING_MAX);
	if (ctl->queue_size < RING_NEEDED)
		return -ENODEV;
	iowrite16(ctl->queue_size, &common->queue_size);
	if (ctl->pdev->msix_enabled) {
		iowrite16(0, &common->queue_msix_vector);
		if (ioread16(&common->queue_msix_vector))
			return -EBUSY;
	}
	ring_write64(RING_DMA(ctl, desc), &common->queue_desc_lo, &common->queue_desc_hi);
	ring_write64(RING_DMA(ctl, avail), &common->queue_avail_lo, &common->queue_avail_hi);
	ring_write64(RING_DMA(ctl, used), &common->queue_used_lo, &common->queue_used_hi);
	iowrite16(1, &common->queue_enable);

	status |= VIRTIO_CONFIG_S_DRIVER_OK;
	iowrite8(status, &common->device_status);
	return 0;
}

static int ring_map_all_registers(struct controller *ctl)
{
	struct pci_dev *pdev = ctl->pdev;
	u32 multiplier;
	u16 offset;
	int pos;

	ctl->common = ring_map_registers(pdev, VIRTIO_PCI_CAP_COMMON_CFG,
					 sizeof(*ctl->common), &pos);
	ctl->isr = ring_map_registers(pdev, VIRTIO_PCI_CAP_ISR_CFG, sizeof(u8), &pos);
	ctl->doorbell = ring_map_registers(pdev, VIRTIO_PCI_CAP_NOTIFY_CFG, sizeof(u16), &pos);
	if (!ctl->common || !ctl->isr || !ctl->doorbell)
		return -ENODEV;

	pci_read_config_dword(pdev, pos + VIRTIO_PCI_NOTIFY_CAP_MULT, &multiplier);
	iowrite16(0, &ctl->common->queue_select);
	offset = ioread16(&ctl->common->queue_notify_off);
	ctl->doorbell += offset * multiplier;
	return 0;
}

static void ring_unmap_registers(struct controller *ctl)
{
	if (ctl->doorbell)
		pci_iounmap(ctl->pdev, ctl->doorbell);
	if (ctl->isr)
		pci_iounmap(ctl->pdev, ctl->isr);
	if (ctl->common)
		pci_iounmap(ctl->pdev, ctl->common);
}

/**
 * controller_ring_init() - bring the hardware to work
 * @ctl: the controller, its PCI function enabled and its regions requested
 *
 * Return: 0 or a negative errno.
 */
int controller_ring_init(struct controller *ctl)
{
	struct pci_dev *pdev = ctl->pdev;
	int ret;

	init_completion(&ctl->done);
	ret = ring_map_all_registers(ctl);
	if (ret)
		goto unmap;
	ctl->ring = dma_alloc_coherent(&pdev->dev, sizeof(*ctl->ring), &ctl->ring_dma, GFP_KERNEL);
	if (!ctl->ring) {
		ret = -ENOMEM;
		goto unmap;
	}
	/*
	 * Before MSI-X is switched on: what an earlier driver left running must not write to
	 * it.
	 */
	ret = ring_reset(ctl);
	if (ret)
		goto free;
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		goto free;
	ret = request_irq(pci_irq_vector(pdev, 0), ring_interrupt, IRQF_SHARED,
			  "dmasafe_controller", ctl);
	if (ret)
		goto free_vectors;
	ret = ring_start(ctl);
	if (ret)
		goto free_irq;
	return 0;

free_irq:
	ring_reset(ctl);
	free_irq(pci_irq_vector(pdev, 0), ctl);
free_vectors:
	pci_free_irq_vectors(pdev);
free:
	dma_free_coherent(&pdev->dev, sizeof(*ctl->ring), ctl->ring, ctl->ring_dma);
unmap:
	ring_unmap_registers(ctl);
	return ret;
}

/**
 * controller_ring_exit() - undo controller_ring_init()
 * @ctl: the controller; no request may be under way
 */
void controller_ring_exit(struct controller *ctl)
{
	ring_reset(ctl);
	free_irq(pci_irq_vector(ctl->pdev, 0), ctl);
	pci_free_irq_vectors(ctl->pdev);
	dma_free_coherent(&ctl->pdev->dev, sizeof(*ctl->ring), ctl->ring, ctl->ring_dma);
	ring_unmap_registers(ctl);
}

static void ring_describe(struct controller *ctl, u16 *used, dma_addr_t dma, size_t len, u16 flags)
{
	struct ring_desc *desc = &ctl->ring->desc[*used];

	desc->addr = cpu_to_le64(dma);
	desc->len = cpu_to_le32(len);
	desc->flags = cpu_to_le16(flags);
	desc->next = cpu_to_le16(++*used);
}

/* Takes the device back to where controller_ring_init() left it. */
static int ring_restart(struct controller *ctl)
{
	int ret = ring_reset(ctl);

	if (!ret)
		ret = ring_start(ctl);
	if (ret)
		dev_err(&ctl->pdev->dev, "the device does not come back\n");
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
	iowrite16(0, ctl->doorbell);

	if (!wait_for_completion_timeout(&ctl->done, ctl->adap.timeout)) {
		dev_err(&ctl->pdev->dev, "no answer from address 0x%02x, resetting\n", msg->addr);
		return ring_restart(ctl) ? -EIO : -ETIMEDOUT;
	}
	dma_rmb();
	return READ_ONCE(ring->in.status) == VIRTIO_I2C_MSG_OK ? 0 : -ENXIO;
}
