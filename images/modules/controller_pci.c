// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The hardware that QEMU emulates: the PCI function of vhost-user-i2c-pci (1af4:1062), a virtio 1
 * I2C adapter driven by hand.
 *
 * Bind it by driver_override. References are to the virtio specification 1.2: 3.1.1
 * initialisation, 4.1.4 the PCI capabilities.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include "controller.h"
#include "controller_ring.h"

#define RESET_POLL_US 100
#define RESET_TIMEOUT_US 1000000

/**
 * struct controller_pci - a controller behind a PCI function
 * @ctl: the controller
 * @pdev: the PCI function
 * @common: virtio registers
 * @isr: virtio register
 * @doorbell: virtio register
 */
struct controller_pci {
	struct controller ctl;
	struct pci_dev *pdev;
	struct virtio_pci_common_cfg __iomem *common;
	u8 __iomem *isr;
	void __iomem *doorbell;
};

static struct controller_pci *to_pci(struct controller *ctl)
{
	return container_of(ctl, struct controller_pci, ctl);
}

static irqreturn_t pci_interrupt(int irq, void *data)
{
	struct controller_pci *pci = data;

	/* Reading the ISR acknowledges INTx. With MSI-X it is not used (4.1.4.5.2). */
	if (!pci->pdev->msix_enabled && !ioread8(pci->isr))
		return IRQ_NONE;
	controller_ring_done(&pci->ctl);
	return IRQ_HANDLED;
}

/* Maps the register block of one kind (4.1.4), or returns NULL. */
static void __iomem *map_registers(struct pci_dev *pdev, u8 type, size_t size, int *where)
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

static void write64(u64 value, __le32 __iomem *low, __le32 __iomem *high)
{
	iowrite32(lower_32_bits(value), low);
	iowrite32(upper_32_bits(value), high);
}

static int pci_reset(struct controller *ctl)
{
	struct controller_pci *pci = to_pci(ctl);
	u8 status;

	iowrite8(0, &pci->common->device_status);
	return readx_poll_timeout(ioread8, &pci->common->device_status, status, !status,
				  RESET_POLL_US, RESET_TIMEOUT_US);
}

static u64 offered_features(struct virtio_pci_common_cfg __iomem *common)
{
	u64 features;

	iowrite32(1, &common->device_feature_select);
	features = (u64)ioread32(&common->device_feature) << 32;
	iowrite32(0, &common->device_feature_select);
	return features | ioread32(&common->device_feature);
}

/* Brings a device that was just reset to work (3.1.1). */
static int pci_start(struct controller *ctl)
{
	const u64 needed = BIT_ULL(VIRTIO_F_VERSION_1) |
			   BIT_ULL(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);
	const u64 wanted = needed | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	u8 status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	struct controller_pci *pci = to_pci(ctl);
	struct virtio_pci_common_cfg __iomem *common = pci->common;
	u64 features;

	iowrite8(status, &common->device_status);
	features = offered_features(common) & wanted;
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

	if (pci->pdev->msix_enabled)
		iowrite16(VIRTIO_MSI_NO_VECTOR, &common->msix_config);
	iowrite16(0, &common->queue_select);
	ctl->queue_size = min_t(u16, ioread16(&common->queue_size), RING_MAX);
	if (ctl->queue_size < RING_NEEDED)
		return -ENODEV;
	iowrite16(ctl->queue_size, &common->queue_size);
	if (pci->pdev->msix_enabled) {
		iowrite16(0, &common->queue_msix_vector);
		if (ioread16(&common->queue_msix_vector))
			return -EBUSY;
	}
	write64(RING_DMA(ctl, desc), &common->queue_desc_lo, &common->queue_desc_hi);
	write64(RING_DMA(ctl, avail), &common->queue_avail_lo, &common->queue_avail_hi);
	write64(RING_DMA(ctl, used), &common->queue_used_lo, &common->queue_used_hi);
	iowrite16(1, &common->queue_enable);

	status |= VIRTIO_CONFIG_S_DRIVER_OK;
	iowrite8(status, &common->device_status);
	return 0;
}

static void pci_kick(struct controller *ctl)
{
	iowrite16(0, to_pci(ctl)->doorbell);
}

static const struct controller_hardware pci_hardware = {
	.reset = pci_reset,
	.start = pci_start,
	.kick = pci_kick,
};

static int map_all_registers(struct controller_pci *pci)
{
	struct pci_dev *pdev = pci->pdev;
	u32 multiplier;
	u16 offset;
	int pos;

	pci->common = map_registers(pdev, VIRTIO_PCI_CAP_COMMON_CFG,
				     sizeof(*pci->common), &pos);
	pci->isr = map_registers(pdev, VIRTIO_PCI_CAP_ISR_CFG, sizeof(u8), &pos);
	pci->doorbell = map_registers(pdev, VIRTIO_PCI_CAP_NOTIFY_CFG, sizeof(u16), &pos);
	if (!pci->common || !pci->isr || !pci->doorbell)
		return -ENODEV;

	pci_read_config_dword(pdev, pos + VIRTIO_PCI_NOTIFY_CAP_MULT, &multiplier);
	iowrite16(0, &pci->common->queue_select);
	offset = ioread16(&pci->common->queue_notify_off);
	pci->doorbell += offset * multiplier;
	return 0;
}

static void unmap_registers(struct controller_pci *pci)
{
	if (pci->doorbell)
		pci_iounmap(pci->pdev, pci->doorbell);
	if (pci->isr)
		pci_iounmap(pci->pdev, pci->isr);
	if (pci->common)
		pci_iounmap(pci->pdev, pci->common);
}

/*
 * Everything up to a device that is still. The reset comes before MSI-X is switched on: what an
 * earlier driver left running must not write to it.
 */
static int pci_attach(struct controller_pci *pci)
{
	int ret;

	ret = map_all_registers(pci);
	if (ret)
		goto unmap;
	ret = pci_reset(&pci->ctl);
	if (ret)
		goto unmap;
	ret = pci_alloc_irq_vectors(pci->pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		goto unmap;
	ret = request_irq(pci_irq_vector(pci->pdev, 0), pci_interrupt, IRQF_SHARED,
			  "dmasafe_controller", pci);
	if (ret)
		goto free_vectors;
	return 0;

free_vectors:
	pci_free_irq_vectors(pci->pdev);
unmap:
	unmap_registers(pci);
	return ret;
}

static void pci_detach(struct controller_pci *pci)
{
	free_irq(pci_irq_vector(pci->pdev, 0), pci);
	pci_free_irq_vectors(pci->pdev);
	unmap_registers(pci);
}

static int pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct controller_pci *pci;
	int ret;

	pci = devm_kzalloc(&pdev->dev, sizeof(*pci), GFP_KERNEL);
	if (!pci)
		return -ENOMEM;
	pci->pdev = pdev;
	ret = controller_prepare(&pci->ctl, &pdev->dev, &pci_hardware, DMA_BIT_MASK(64));
	if (ret)
		return ret;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = pci_request_regions(pdev, "dmasafe_controller");
	if (ret)
		goto disable;
	pci_set_master(pdev);
	ret = pci_attach(pci);
	if (ret)
		goto release;
	ret = controller_add(&pci->ctl);
	if (ret)
		goto detach;
	return 0;

detach:
	pci_detach(pci);
release:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return ret;
}

static void pci_remove(struct pci_dev *pdev)
{
	struct controller_pci *pci = to_pci(pci_get_drvdata(pdev));

	controller_del(&pci->ctl);
	pci_detach(pci);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

static int __maybe_unused pci_suspend(struct device *dev)
{
	controller_suspend(dev_get_drvdata(dev));
	return 0;
}

static int __maybe_unused pci_resume(struct device *dev)
{
	return controller_resume(dev_get_drvdata(dev));
}

/* Without them the PCI core switches bus mastering off, and the device forgets its driver. */
static SIMPLE_DEV_PM_OPS(pci_pm_ops, pci_suspend, pci_resume);

/*
 * Empty: upstream's virtio-pci keeps the device until driver_override says otherwise
 * (pci_match_device()).
 */
static const struct pci_device_id pci_ids[] = {
	{}
};

static struct pci_driver pci_controller_driver = {
	.name = "dmasafe_controller",
	.id_table = pci_ids,
	.probe = pci_probe,
	.remove = pci_remove,
	.driver.pm = &pci_pm_ops,
};

/**
 * controller_pci_init() - register the driver of the PCI function
 *
 * Return: 0 or a negative errno.
 */
int controller_pci_init(void)
{
	return pci_register_driver(&pci_controller_driver);
}

/**
 * controller_pci_exit() - undo controller_pci_init()
 */
void controller_pci_exit(void)
{
	pci_unregister_driver(&pci_controller_driver);
}
