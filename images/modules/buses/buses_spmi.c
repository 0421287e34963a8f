// SPDX-License-Identifier: GPL-2.0-or-later
/* SPMI controllers that map what read_cmd() and write_cmd() hand over. */
#include <linux/spmi.h>
#include "buses.h"

static int transfer(struct spmi_controller *ctrl, u16 addr, void *buf, size_t len, bool rd)
{
	struct buses_bus *bus = *(struct buses_bus **)spmi_controller_get_drvdata(ctrl);

	bus->registers.position = addr;
	return buses_dma_single(&bus->registers, buf, len, rd);
}

static int buses_spmi_read(struct spmi_controller *ctrl, u8 opcode, u8 sid, u16 addr, u8 *buf,
			   size_t len)
{
	return transfer(ctrl, addr, buf, len, true);
}

static int buses_spmi_write(struct spmi_controller *ctrl, u8 opcode, u8 sid, u16 addr,
			    const u8 *buf, size_t len)
{
	return transfer(ctrl, addr, (void *)buf, len, false);
}

static int add(struct buses_bus *bus)
{
	struct spmi_controller *ctrl;
	int ret = buses_registers_init(&bus->registers, bus->dev, 0);

	if (ret)
		return ret;
	ctrl = spmi_controller_alloc(bus->dev, sizeof(bus));
	/* Before 6.7 NULL, since then an ERR_PTR(). */
	if (IS_ERR_OR_NULL(ctrl))
		return ctrl ? PTR_ERR(ctrl) : -ENOMEM;
	*(struct buses_bus **)spmi_controller_get_drvdata(ctrl) = bus;
	ctrl->read_cmd = buses_spmi_read;
	ctrl->write_cmd = buses_spmi_write;
	ret = spmi_controller_add(ctrl);
	if (ret)
		return ret;
	bus->spmi = spmi_device_alloc(ctrl);
	if (!bus->spmi)
		return -ENOMEM;
	return spmi_device_add(bus->spmi);
}

/**
 * buses_spmi_start() - make a controller, and a device whose regmap uses extended commands
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_spmi_start(struct buses_bus *bus)
{
	int ret = add(bus);

	if (ret)
		return ret;
	bus->regmap = regmap_init_spmi_ext(bus->spmi, &buses_regmap_16_8);
	return PTR_ERR_OR_ZERO(bus->regmap);
}

/**
 * buses_spmi_base_start() - make a controller, and a device whose regmap uses base commands
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_spmi_base_start(struct buses_bus *bus)
{
	int ret = add(bus);

	if (ret)
		return ret;
	bus->regmap = regmap_init_spmi_base(bus->spmi, &buses_regmap_8_8);
	return PTR_ERR_OR_ZERO(bus->regmap);
}

static int call_register_read(struct buses_bus *bus, struct scenario *s)
{
	return s->len == 1 ? spmi_register_read(bus->spmi, BUSES_REGISTER, s->buf) : -EINVAL;
}

static int call_register_write(struct buses_bus *bus, struct scenario *s)
{
	return s->len == 1 ? spmi_register_write(bus->spmi, BUSES_REGISTER, *s->buf) : -EINVAL;
}

static int call_ext_register_read(struct buses_bus *bus, struct scenario *s)
{
	return spmi_ext_register_read(bus->spmi, BUSES_REGISTER, s->buf, s->len);
}

static int call_ext_register_write(struct buses_bus *bus, struct scenario *s)
{
	return spmi_ext_register_write(bus->spmi, BUSES_REGISTER, s->buf, s->len);
}

const struct buses_operation buses_spmi_operations[] = {
	BUSES_OPERATION("spmi_register_read", true, BUSES_SPMI, NULL, buses_registers, call_register_read),
	BUSES_OPERATION("spmi_register_write", false, BUSES_SPMI, NULL, buses_registers,
			call_register_write),
	BUSES_OPERATION("spmi_ext_register_read", true, BUSES_SPMI, NULL, buses_registers,
			call_ext_register_read),
	BUSES_OPERATION("spmi_ext_register_write", false, BUSES_SPMI, NULL, buses_registers,
			call_ext_register_write),
	{}
};
