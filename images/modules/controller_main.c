// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The harness's own I2C host controller driver, for the PCI function of QEMU's vhost-
 * user-i2c-pci (1af4:1062).
 *
 * Bind it by driver_override; see controller.h for the parts. Attributes of the PCI device,
 * settable at any time: policy, threshold (bytes), fault.
 */
#include <linux/module.h>
#include "controller.h"
#include "rearm.h"

static ssize_t policy_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct controller *ctl = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%s\n", READ_ONCE(ctl->policy)->name);
}

static ssize_t policy_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	struct controller *ctl = dev_get_drvdata(dev);
	const struct controller_policy *policy;

	for (policy = controller_policies; policy->name; policy++) {
		if (sysfs_streq(buf, policy->name)) {
			WRITE_ONCE(ctl->policy, policy);
			return count;
		}
	}
	return -EINVAL;
}
static DEVICE_ATTR_RW(policy);

static ssize_t fault_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct controller *ctl = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%s\n", READ_ONCE(ctl->fault)->name);
}

static ssize_t fault_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t count)
{
	const struct controller_fault *fault = controller_fault_find(buf);
	struct controller *ctl = dev_get_drvdata(dev);

	if (!fault)
		return -EINVAL;
	WRITE_ONCE(ctl->fault, fault);
	return count;
}
static DEVICE_ATTR_RW(fault);

static ssize_t threshold_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct controller *ctl = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u\n", READ_ONCE(ctl->threshold));
}

static ssize_t threshold_store(struct device *dev, struct device_attribute *attr,
			       const char *buf, size_t count)
{
	struct controller *ctl = dev_get_drvdata(dev);
	unsigned int threshold;
	int ret;

	ret = kstrtouint(buf, 0, &threshold);
	if (ret)
		return ret;
	WRITE_ONCE(ctl->threshold, threshold);
	return count;
}
static DEVICE_ATTR_RW(threshold);

static struct attribute *controller_attrs[] = {
	&dev_attr_policy.attr,
	&dev_attr_fault.attr,
	&dev_attr_threshold.attr,
	NULL
};

static const struct attribute_group controller_group = {
	.attrs = controller_attrs,
};

static int controller_xfer(struct i2c_adapter *adap, struct i2c_msg *msgs, int num)
{
	struct controller *ctl = i2c_get_adapdata(adap);
	int i, ret;

	for (i = 0; i < num; i++)
		if (msgs[i].flags & I2C_M_TEN)
			return -EOPNOTSUPP;
	for (i = 0; i < num; i++) {
		ret = controller_transfer(ctl, &msgs[i], i == num - 1);
		if (ret) {
			controller_ring_abort(ctl);
			return ret;
		}
	}
	return num;
}

static u32 controller_functionality(struct i2c_adapter *adap)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL | I2C_FUNC_SMBUS_READ_BLOCK_DATA |
	       I2C_FUNC_SMBUS_BLOCK_PROC_CALL;
}

/* master_xfer is called xfer since 6.11, and still has its old name beside it. */
static const struct i2c_algorithm controller_algorithm = {
	.master_xfer = controller_xfer,
	.functionality = controller_functionality,
};

static const struct i2c_adapter_quirks controller_quirks = {
	.max_write_len = CONTROLLER_MAX_LEN,
	.max_read_len = CONTROLLER_MAX_LEN,
};

static int controller_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct controller *ctl;
	int ret;

	ctl = devm_kzalloc(&pdev->dev, sizeof(*ctl), GFP_KERNEL);
	if (!ctl)
		return -ENOMEM;
	ctl->pdev = pdev;
	ctl->policy = &controller_policies[0];
	ctl->fault = controller_fault_find("none");
	ctl->threshold = 1;
	pci_set_drvdata(pdev, ctl);
	controller_fault_settle(ctl);

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	/*
	 * Freed by devres after controller_remove(). I2C_M_RECV_LEN reads more than msg->len.
	 */
	ctl->fifo = dmam_alloc_coherent(&pdev->dev, CONTROLLER_MAX_LEN + I2C_SMBUS_BLOCK_MAX,
					&ctl->fifo_dma, GFP_KERNEL);
	if (!ctl->fifo)
		return -ENOMEM;
	ret = devm_device_add_group(&pdev->dev, &controller_group);
	if (ret)
		return ret;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = pci_request_regions(pdev, "dmasafe_controller");
	if (ret)
		goto disable;
	pci_set_master(pdev);
	ret = controller_ring_init(ctl);
	if (ret)
		goto release;

	ctl->adap.owner = THIS_MODULE;
	ctl->adap.algo = &controller_algorithm;
	ctl->adap.quirks = &controller_quirks;
	ctl->adap.timeout = HZ;
	ctl->adap.dev.parent = &pdev->dev;
	snprintf(ctl->adap.name, sizeof(ctl->adap.name), "dmasafe controller at %s",
		 pci_name(pdev));
	i2c_set_adapdata(&ctl->adap, ctl);
	ret = i2c_add_adapter(&ctl->adap);
	if (ret)
		goto exit;
	return 0;

exit:
	controller_ring_exit(ctl);
release:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return ret;
}

static void controller_remove(struct pci_dev *pdev)
{
	struct controller *ctl = pci_get_drvdata(pdev);

	i2c_del_adapter(&ctl->adap);
	controller_ring_exit(ctl);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

/*
 * Empty: upstream's virtio-pci keeps the device until driver_override says otherwise
 * (pci_match_device()).
 */
static const struct pci_device_id controller_ids[] = {
	{}
};

static struct pci_driver controller_driver = {
	.name = "dmasafe_controller",
	.id_table = controller_ids,
	.probe = controller_probe,
	.remove = controller_remove,
};
module_pci_driver(controller_driver);

MODULE_DESCRIPTION("I2C host controller with a choice of DMA policies");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
