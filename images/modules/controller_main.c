// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The harness's own I2C host controller driver, whatever the hardware: see controller.h for the
 * parts. Attributes of the device, settable at any time: policy, threshold (bytes), fault; and
 * renew, which takes any word.
 */
#include <linux/module.h>
#include "controller.h"
#include "rearm.h"

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

/* Adds the adapter under this number, or under any if it is -1. */
static int controller_add_adapter(struct controller *ctl, int nr)
{
	struct i2c_adapter *adap = &ctl->adap;

	memset(adap, 0, sizeof(*adap));
	adap->owner = THIS_MODULE;
	adap->algo = &controller_algorithm;
	adap->quirks = &controller_quirks;
	adap->timeout = HZ;
	adap->dev.parent = ctl->dev;
	adap->nr = nr;
	snprintf(adap->name, sizeof(adap->name), "dmasafe controller at %s", dev_name(ctl->dev));
	i2c_set_adapdata(adap, ctl);
	return i2c_add_numbered_adapter(adap);
}

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

/*
 * A task that died in a transfer keeps the adapter's lock for good. Gives the controller another
 * adapter of the same number, if the lock is all that the task left behind: binding the driver
 * again costs ten times as much, and is what remains to be done where this refuses.
 */
static ssize_t renew_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t count)
{
	struct controller *ctl = dev_get_drvdata(dev);
	int ret;

	if (ctl->mapped || !controller_ring_idle(ctl) ||
	    READ_ONCE(ctl->fault) != controller_fault_find("none"))
		return -EBUSY;
	i2c_del_adapter(&ctl->adap);
	ret = controller_add_adapter(ctl, ctl->adap.nr);
	return ret ?: count;
}
static DEVICE_ATTR_WO(renew);

static struct attribute *controller_attrs[] = {
	&dev_attr_policy.attr,
	&dev_attr_fault.attr,
	&dev_attr_threshold.attr,
	&dev_attr_renew.attr,
	NULL
};

static const struct attribute_group controller_group = {
	.attrs = controller_attrs,
};

/**
 * controller_prepare() - give a controller all that it needs but its hardware
 * @ctl: the controller, zeroed; becomes the device's driver data
 * @dev: its device; what is allocated here goes with it
 * @hardware: how to reach the hardware
 * @mask: DMA addresses that the hardware can reach
 *
 * Return: 0 or a negative errno.
 */
int controller_prepare(struct controller *ctl, struct device *dev,
		       const struct controller_hardware *hardware, u64 mask)
{
	int ret;

	ctl->dev = dev;
	ctl->hardware = hardware;
	ctl->policy = &controller_policies[0];
	ctl->fault = controller_fault_find("none");
	ctl->threshold = 1;
	dev_set_drvdata(dev, ctl);
	controller_fault_settle(ctl);

	ret = dma_set_mask_and_coherent(dev, mask);
	if (ret)
		return ret;
	ctl->fifo = dmam_alloc_coherent(dev, CONTROLLER_FIFO_BYTES, &ctl->fifo_dma, GFP_KERNEL);
	if (!ctl->fifo)
		return -ENOMEM;
	ret = controller_ring_alloc(ctl);
	if (ret)
		return ret;
	return devm_device_add_group(dev, &controller_group);
}

/**
 * controller_add() - start the ring and add the adapter
 * @ctl: the controller, its hardware reset
 *
 * Return: 0 or a negative errno, with the hardware reset.
 */
int controller_add(struct controller *ctl)
{
	int ret;

	ret = controller_ring_start(ctl);
	if (ret)
		goto stop;
	ret = controller_add_adapter(ctl, -1);
	if (ret)
		goto stop;
	return 0;

stop:
	controller_ring_stop(ctl);
	return ret;
}

/**
 * controller_del() - undo controller_add()
 * @ctl: the controller
 */
void controller_del(struct controller *ctl)
{
	i2c_del_adapter(&ctl->adap);
	controller_ring_stop(ctl);
}

/**
 * controller_suspend() - leave the hardware still
 * @ctl: the controller; its clients are suspended already
 */
void controller_suspend(struct controller *ctl)
{
	i2c_mark_adapter_suspended(&ctl->adap);
	controller_ring_stop(ctl);
}

/**
 * controller_resume() - undo controller_suspend(), whatever became of the hardware meanwhile
 * @ctl: the controller
 *
 * Return: 0 or a negative errno; transfers are then refused.
 */
int controller_resume(struct controller *ctl)
{
	int ret;

	controller_ring_stop(ctl);
	ret = controller_ring_start(ctl);
	if (ret)
		return ret;
	i2c_mark_adapter_resumed(&ctl->adap);
	return 0;
}

static int __init controller_init(void)
{
	int ret;

	ret = controller_pci_init();
	if (ret)
		return ret;
	ret = controller_platform_init();
	if (ret)
		controller_pci_exit();
	return ret;
}
module_init(controller_init);

static void __exit controller_exit(void)
{
	controller_platform_exit();
	controller_pci_exit();
}
module_exit(controller_exit);

MODULE_DESCRIPTION("I2C host controller with a choice of DMA policies");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
