// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attaches the strict machine's DMA operations to devices: those named by the parameter "devices",
 * whose drivers are bound anew, and the I2C adapters and clients below them.
 */
#include <linux/dma-map-ops.h>
#include <linux/i2c.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/workqueue.h>
#include "compat.h"
#include "strict.h"

/* So often is looked after devices where no scenario does. */
#define SETTLE_MS 100

static char *devices = "";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices, "devices (PCI functions, platform devices), separated by commas");

unsigned int strict_line = 64;
module_param_named(line, strict_line, uint, 0444);
MODULE_PARM_DESC(line, "bytes of a cache line: 16 to 256, a power of two");

static unsigned int attached;
module_param(attached, uint, 0444);
MODULE_PARM_DESC(attached, "devices that were attached, with what is below them");

/**
 * strict_is_attached() - whether a device has the operations
 * @dev: the device
 */
bool strict_is_attached(struct device *dev)
{
	return get_dma_ops(dev) == &strict_ops;
}

static bool is_named(const struct device *dev)
{
	const char *name = dev_name(dev), *found = devices;
	const size_t len = strlen(name);

	while ((found = strstr(found, name))) {
		if ((found == devices || found[-1] == ',') && (!found[len] || found[len] == ','))
			return true;
		found += len;
	}
	return false;
}

static void attach(struct device *dev)
{
	if (strict_is_attached(dev))
		return;
	set_dma_ops(dev, &strict_ops);
	strict_no_skipped_sync(dev);
	attached++;
}

static int watch_bus(struct notifier_block *notifier, unsigned long event, void *data)
{
	struct device *dev = data;

	switch (event) {
	case BUS_NOTIFY_ADD_DEVICE:
	case BUS_NOTIFY_BIND_DRIVER:
		if (is_named(dev) || (dev->bus == &i2c_bus_type && dev->parent &&
				      strict_is_attached(dev->parent)))
			attach(dev);
		break;
	case BUS_NOTIFY_UNBOUND_DRIVER:
		if (strict_is_attached(dev))
			strict_leave(dev);
		break;
	}
	return NOTIFY_OK;
}

static struct {
	STRICT_BUS_CONST struct bus_type *bus;
	struct notifier_block notifier;
} buses[] = {
	{ &platform_bus_type, { .notifier_call = watch_bus } },
	{ &i2c_bus_type, { .notifier_call = watch_bus } },
#ifdef CONFIG_PCI
	{ &pci_bus_type, { .notifier_call = watch_bus } },
#endif
};

/* A device that has a driver by now gets it anew, so that all its mappings are strict. */
static int attach_present(struct device *dev, void *unused)
{
	if (!is_named(dev))
		return 0;
	device_release_driver(dev);
	attach(dev);
	return device_attach(dev) < 0 ? -ENODEV : 0;
}

static int detach_present(struct device *dev, void *unused)
{
	const bool named = is_named(dev);

	if (!strict_is_attached(dev))
		return 0;
	if (named)
		device_release_driver(dev);
	set_dma_ops(dev, NULL);
	return 0;
}

typedef int (*device_work)(struct device *dev, void *unused);

static int on_all_buses(device_work work)
{
	int ret = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buses) && !ret; i++)
		ret = bus_for_each_dev(buses[i].bus, NULL, NULL, work);
	return ret;
}

static void settle_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(settle, settle_work);

static void settle_work(struct work_struct *work)
{
	dmasafe_strict_settle();
	schedule_delayed_work(&settle, msecs_to_jiffies(SETTLE_MS));
}

static void strict_stop(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buses); i++)
		bus_unregister_notifier(buses[i].bus, &buses[i].notifier);
	on_all_buses(detach_present);
	cancel_delayed_work_sync(&settle);
	strict_watch_exit();
	strict_table_exit();
}

static int __init strict_init(void)
{
	size_t i;
	int ret;

	if (strict_line < STRICT_LINE_MIN || strict_line > STRICT_LINE_MAX ||
	    !is_power_of_2(strict_line))
		return -EINVAL;
	ret = strict_table_init();
	if (ret)
		return ret;
	ret = strict_watch_init();
	if (ret) {
		strict_table_exit();
		return ret;
	}
	schedule_delayed_work(&settle, msecs_to_jiffies(SETTLE_MS));
	for (i = 0; i < ARRAY_SIZE(buses); i++)
		bus_register_notifier(buses[i].bus, &buses[i].notifier);
	ret = on_all_buses(attach_present);
	if (ret)
		strict_stop();
	return ret;
}
module_init(strict_init);

static void __exit strict_exit(void)
{
	strict_stop();
}
module_exit(strict_exit);

MODULE_DESCRIPTION("DMA operations that keep what the DMA API promises, and nothing beyond it");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
