// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The network interface that the CPU port of every board's switch is wired to. Nobody is at its
 * other end.
 */
#include <linux/err.h>
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/platform_device.h>
#include "prove.h"

#if IS_ENABLED(CONFIG_NET) && IS_ENABLED(CONFIG_OF)
static struct platform_device *parent;
static struct net_device *conduit;

static netdev_tx_t conduit_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops conduit_ops = {
	.ndo_start_xmit = conduit_xmit,
};

/**
 * conduit_init() - make the interface
 * @node: the node that switches name it by
 *
 * Return: 0 or a negative errno
 */
int conduit_init(struct device_node *node)
{
	struct platform_device_info info = {
		.name = "dmasafe_prove_conduit", .id = PLATFORM_DEVID_NONE,
		.fwnode = of_fwnode_handle(node),
	};
	struct platform_device *device = platform_device_register_full(&info);
	struct net_device *dev;
	int ret = -ENOMEM;

	if (IS_ERR(device))
		return PTR_ERR(device);
	dev = alloc_etherdev(0);
	if (!dev)
		goto unregister;
	SET_NETDEV_DEV(dev, &device->dev);
	strscpy(dev->name, "conduit%d", sizeof(dev->name));
	dev->netdev_ops = &conduit_ops;
	/* Switches add their tags. */
	dev->max_mtu = ETH_MAX_MTU;
	eth_hw_addr_random(dev);
	ret = register_netdev(dev);
	if (ret)
		goto free;
	parent = device;
	conduit = dev;
	return 0;
free:
	free_netdev(dev);
unregister:
	platform_device_unregister(device);
	return ret;
}

/**
 * conduit_exit() - take the interface away
 */
void conduit_exit(void)
{
	if (!conduit)
		return;
	unregister_netdev(conduit);
	free_netdev(conduit);
	platform_device_unregister(parent);
}
#else
int conduit_init(struct device_node *node)
{
	return 0;
}

void conduit_exit(void)
{
}
#endif
