// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An I2C adapter that maps msg->buf whatever it is, and cannot do I2C_M_NOSTART, like most.
 * The flag I2C_M_DMA_SAFE is what it should have asked for; regmap never sets it.
 */
#include <linux/i2c.h>
#include "buses.h"

#define I2C_ADDRESS 0x20

static int i2c_message(struct buses_bus *bus, const struct i2c_msg *msg)
{
	struct buses_chip *chip = &bus->registers;

	if (msg->addr != I2C_ADDRESS)
		return -ENXIO;
	if (!msg->len)
		return 0;
	if (!(msg->flags & I2C_M_RD))
		chip->type->begin(chip);
	return buses_dma_single(chip, msg->buf, msg->len, msg->flags & I2C_M_RD);
}

static int buses_i2c_xfer(struct i2c_adapter *adap, struct i2c_msg *msgs, int num)
{
	int ret = 0;
	int i;

	for (i = 0; i < num && !ret; i++)
		ret = i2c_message(i2c_get_adapdata(adap), &msgs[i]);
	return ret ?: num;
}

static u32 buses_i2c_functionality(struct i2c_adapter *adap)
{
	return I2C_FUNC_I2C;
}

static const struct i2c_algorithm buses_i2c_algorithm = {
	.master_xfer = buses_i2c_xfer,
	.functionality = buses_i2c_functionality,
};

static struct i2c_adapter buses_i2c_adapter = {
	.owner = THIS_MODULE,
	.name = "dmasafe bus-i2c",
	.algo = &buses_i2c_algorithm,
};

/**
 * buses_i2c_start() - make the adapter, and a device with a regmap
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_i2c_start(struct buses_bus *bus)
{
	int ret = buses_registers_init(&bus->registers, bus->dev, 1);

	if (ret)
		return ret;
	buses_i2c_adapter.dev.parent = bus->dev;
	i2c_set_adapdata(&buses_i2c_adapter, bus);
	ret = i2c_add_adapter(&buses_i2c_adapter);
	if (ret)
		return ret;
	bus->i2c = i2c_new_dummy_device(&buses_i2c_adapter, I2C_ADDRESS);
	if (IS_ERR(bus->i2c))
		return PTR_ERR(bus->i2c);
	bus->regmap = regmap_init_i2c(bus->i2c, &buses_regmap_8_8);
	return PTR_ERR_OR_ZERO(bus->regmap);
}
