// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The platform device dmasafe-engine.0 and its driver.
 *
 * The module makes the device itself, when loaded with engine=1, so that no device tree and no
 * firmware need know of it. It has the DMA operations that the architecture gives a device nobody
 * describes; with like=PATH those of a bus of the device tree's (of_dma_configure()): its address
 * offset, its limits, whether it is coherent.
 */
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_device.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include "controller_engine.h"

#define ENGINE_NAME "dmasafe-engine"

static bool engine_wanted;
module_param_named(engine, engine_wanted, bool, 0444);
MODULE_PARM_DESC(engine, "make a platform device " ENGINE_NAME ".0 with a memory-to-memory engine");

static unsigned int mask_bits = 64;
module_param(mask_bits, uint, 0444);
MODULE_PARM_DESC(mask_bits, "width of the engine's DMA addresses in bits (64)");

static char *like;
module_param(like, charp, 0444);
MODULE_PARM_DESC(like, "path of a device tree node below whose bus the engine is to stand, such as /soc/serial");

static struct engine *the_engine;

/*
 * What the driver core does for a device with a node of its own. Undone by the driver core after
 * remove (device_unbind_cleanup()), so it is done at each probe. A node with an IOMMU is refused:
 * its stream is another device's.
 */
static int configure_dma(struct device *dev)
{
	struct device_node *node;
	int ret = -EINVAL;

	if (!like)
		return 0;
	node = of_find_node_by_path(like);
	if (!node) {
		dev_err(dev, "there is no device tree node %s\n", like);
		return -ENODEV;
	}
	if (of_property_read_bool(node, "iommus"))
		dev_err(dev, "%s stands behind an IOMMU, give another node\n", like);
	else
		ret = of_dma_configure(dev, node, true);
	of_node_put(node);
	return ret;
}

static void platform_del(void *data)
{
	struct controller_platform *platform = data;

	controller_del(&platform->ctl);
	engine_detach(platform->engine);
}

static int platform_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct controller_platform *platform;
	int ret;

	platform = devm_kzalloc(dev, sizeof(*platform), GFP_KERNEL);
	if (!platform)
		return -ENOMEM;
	platform->engine = the_engine;
	ret = configure_dma(dev);
	if (ret)
		return ret;
	ret = controller_prepare(&platform->ctl, dev, &engine_hardware, DMA_BIT_MASK(mask_bits));
	if (ret)
		return ret;
	ret = engine_attach(platform->engine, &platform->ctl);
	if (ret)
		return ret;
	ret = controller_add(&platform->ctl);
	if (ret) {
		engine_detach(platform->engine);
		return ret;
	}
	/* No .remove: its type changed in 6.11. */
	return devm_add_action_or_reset(dev, platform_del, platform);
}

static const struct platform_device_id platform_ids[] = {
	{ .name = ENGINE_NAME },
	{}
};

static struct platform_driver platform_controller_driver = {
	.driver = {
		.name = "dmasafe_controller",
	},
	.id_table = platform_ids,
	.probe = platform_probe,
};

static struct platform_device *engine_device;

/* The device comes last: its driver is bound at once, and wants the engine. */
static int make_engine(void)
{
	int ret = -ENOMEM;

	the_engine = kzalloc(sizeof(*the_engine), GFP_KERNEL);
	engine_device = platform_device_alloc(ENGINE_NAME, 0);
	if (!the_engine || !engine_device)
		goto free;
	ret = engine_create(the_engine, ENGINE_NAME ".0");
	if (ret)
		goto free;
	ret = platform_device_add(engine_device);
	if (ret)
		goto destroy;
	return 0;

destroy:
	engine_destroy(the_engine);
free:
	platform_device_put(engine_device);
	kfree(the_engine);
	return ret;
}

/**
 * controller_platform_init() - register the driver and, if it is wanted, make the engine
 *
 * Return: 0 or a negative errno.
 */
int controller_platform_init(void)
{
	int ret;

	if (!mask_bits || mask_bits > 64)
		return -EINVAL;
	ret = platform_driver_register(&platform_controller_driver);
	if (ret || !engine_wanted)
		return ret;
	ret = make_engine();
	if (ret)
		platform_driver_unregister(&platform_controller_driver);
	return ret;
}

/**
 * controller_platform_exit() - undo controller_platform_init()
 */
void controller_platform_exit(void)
{
	if (engine_wanted) {
		platform_device_unregister(engine_device);
		engine_destroy(the_engine);
		kfree(the_engine);
	}
	platform_driver_unregister(&platform_controller_driver);
}
