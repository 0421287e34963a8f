// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A supply of a fixed voltage for clients that ask for theirs.
 */
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/platform_device.h>
#include <linux/regulator/fixed.h>
#include <linux/regulator/machine.h>
#include <linux/slab.h>
#include "clients.h"

#if IS_ENABLED(CONFIG_REGULATOR_FIXED_VOLTAGE)

struct supply {
	struct platform_device *regulator;
	struct regulator_init_data init_data;
	struct regulator_consumer_supply consumer;
	/* BUS-ADDRESS, as the I2C core names its devices */
	char device[16];
};

/**
 * supply_new() - make the supply "vcc" of a client that is still to come
 * @wish: the client
 *
 * Return: what supply_delete() takes, NULL if the wish has no voltage, or an ERR_PTR()
 */
struct supply *supply_new(const struct client_wish *wish)
{
	struct fixed_voltage_config config = { .supply_name = "dmasafe" };
	struct supply *supply;

	if (!wish->microvolts)
		return NULL;
	supply = kzalloc(sizeof(*supply), GFP_KERNEL);
	if (!supply)
		return ERR_PTR(-ENOMEM);
	snprintf(supply->device, sizeof(supply->device), "%u-%04x", wish->bus, wish->address);
	supply->consumer.dev_name = supply->device;
	supply->consumer.supply = "vcc";
	supply->init_data.constraints.always_on = 1;
	supply->init_data.consumer_supplies = &supply->consumer;
	supply->init_data.num_consumer_supplies = 1;
	config.microvolts = wish->microvolts;
	config.enabled_at_boot = 1;
	config.init_data = &supply->init_data;
	supply->regulator = platform_device_register_data(NULL, "reg-fixed-voltage",
							  PLATFORM_DEVID_AUTO, &config,
							  sizeof(config));
	if (IS_ERR(supply->regulator)) {
		long error = PTR_ERR(supply->regulator);

		kfree(supply);
		return ERR_PTR(error);
	}
	/* Its probe is asynchronous, and without it the client gets a dummy that has no voltage. */
	wait_for_device_probe();
	return supply;
}

/**
 * supply_delete() - the end of a supply, after its client's
 * @supply: what supply_new() returned
 */
void supply_delete(struct supply *supply)
{
	if (!supply)
		return;
	platform_device_unregister(supply->regulator);
	kfree(supply);
}

#else

struct supply *supply_new(const struct client_wish *wish)
{
	return wish->microvolts ? ERR_PTR(-EOPNOTSUPP) : NULL;
}

void supply_delete(struct supply *supply)
{
}

#endif
