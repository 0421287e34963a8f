// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver for a thermometer, with the mistake that this example is about.
 * Needs Linux 6.3 or newer.
 *
 * The chip has one register, 0x00: the temperature in 1/256 degrees, high byte first.
 */
#include <linux/i2c.h>
#include <linux/module.h>
#include <linux/sysfs.h>

static int thermo_measure(struct i2c_client *client)
{
	u8 data[2] = { 0x00 };
	int ret;

	ret = i2c_master_send(client, data, 1);
	if (ret < 0)
		return ret;
	/* The mistake: "dmasafe" promises a buffer that DMA may touch. This one is on the stack. */
	ret = i2c_master_recv_dmasafe(client, data, sizeof(data));
	if (ret < 0)
		return ret;
	return data[0] << 8 | data[1];
}

static ssize_t temperature_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int raw = thermo_measure(to_i2c_client(dev));

	return raw < 0 ? raw : sysfs_emit(buf, "%d\n", raw * 1000 / 256);
}
static DEVICE_ATTR_RO(temperature);

static struct attribute *thermo_attrs[] = { &dev_attr_temperature.attr, NULL };
ATTRIBUTE_GROUPS(thermo);

static int thermo_probe(struct i2c_client *client)
{
	return 0;
}

static const struct i2c_device_id thermo_ids[] = { { "thermo" }, { } };
MODULE_DEVICE_TABLE(i2c, thermo_ids);

static struct i2c_driver thermo_driver = {
	.driver = { .name = "thermo", .dev_groups = thermo_groups },
	.probe = thermo_probe,
	.id_table = thermo_ids,
};
module_i2c_driver(thermo_driver);

MODULE_DESCRIPTION("Example of dmasafe: a buffer on the stack handed to DMA");
MODULE_LICENSE("GPL");
