// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver of this example with another mistake, of which no kernel says a word.
 * Needs Linux 6.3 or newer.
 */
#include <linux/i2c.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

struct thermo {
	struct i2c_client *client;
	int last;
	/* The mistake: DMA writes whole cache lines, and this one holds the members above, too. */
	u8 data[2];
};

static int thermo_measure(struct thermo *thermo)
{
	int ret;

	thermo->data[0] = 0;
	ret = i2c_master_send(thermo->client, thermo->data, 1);
	if (ret < 0)
		return ret;
	ret = i2c_master_recv_dmasafe(thermo->client, thermo->data, sizeof(thermo->data));
	if (ret < 0)
		return ret;
	thermo->last = thermo->data[0] << 8 | thermo->data[1];
	return thermo->last;
}

static ssize_t temperature_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int raw = thermo_measure(dev_get_drvdata(dev));

	return raw < 0 ? raw : sysfs_emit(buf, "%d\n", raw * 1000 / 256);
}
static DEVICE_ATTR_RO(temperature);

static struct attribute *thermo_attrs[] = { &dev_attr_temperature.attr, NULL };
ATTRIBUTE_GROUPS(thermo);

static int thermo_probe(struct i2c_client *client)
{
	struct thermo *thermo = devm_kzalloc(&client->dev, sizeof(*thermo), GFP_KERNEL);

	if (!thermo)
		return -ENOMEM;
	thermo->client = client;
	i2c_set_clientdata(client, thermo);
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

MODULE_DESCRIPTION("Example of dmasafe: a buffer inside a struct handed to DMA");
MODULE_LICENSE("GPL");
