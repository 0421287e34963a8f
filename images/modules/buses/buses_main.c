// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The buses, their operations by name, and one operation from begin to end.
 *
 * The module stays loaded: nothing here is ever taken down.
 */
#include <linux/dma-mapping.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include "buses.h"
#include "rearm.h"

static struct buses_bus buses[] = {
	{ .name = "bus-i2c", .kind = BUSES_I2C, .start = buses_i2c_start },
	{ .name = "bus-spi", .kind = BUSES_SPI, .start = buses_spi_start },
	{ .name = "bus-spi-own", .kind = BUSES_SPI, .start = buses_spi_own_start },
	{ .name = "bus-spi-mem", .kind = BUSES_SPI, .start = buses_spi_mem_start },
	{ .name = "bus-spmi", .kind = BUSES_SPMI, .start = buses_spmi_start },
	{ .name = "bus-spmi-base", .kind = BUSES_SPMI, .start = buses_spmi_base_start },
	{ .name = "bus-slimbus", .kind = BUSES_SLIMBUS, .start = buses_slimbus_start },
	{ .name = "bus-w1", .kind = BUSES_W1, .start = buses_w1_start },
	{ .name = "bus-w1-pair", .kind = BUSES_W1, .start = buses_w1_pair_start },
};

static const struct buses_operation *const buses_tables[] = {
	buses_regmap_operations,
	buses_mtd_operations,
	buses_files_operations,
	buses_spi_operations,
	buses_spmi_operations,
	buses_slimbus_operations,
	buses_w1_operations,
};

static const struct operation *find_operation(const char *name)
{
	const struct buses_operation *row;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buses_tables); i++)
		for (row = buses_tables[i]; row->operation.name; row++)
			if (!strcmp(row->operation.name, name))
				return &row->operation;
	return NULL;
}

static struct buses_bus *find_bus(const struct scenario *s)
{
	size_t i;

	for (i = 0; s->bus && i < ARRAY_SIZE(buses); i++)
		if (!strcmp(buses[i].name, s->bus))
			return &buses[i];
	return NULL;
}

static const struct buses_operation *row_of(const struct scenario *s)
{
	return container_of(s->operation, struct buses_operation, operation);
}

/**
 * buses_operation_objection() - why the scenario's bus cannot make its call
 * @s: the scenario, whose operation is one of &struct buses_operation
 *
 * Return: the reason, or NULL.
 */
const char *buses_operation_objection(const struct scenario *s)
{
	const struct buses_operation *row = row_of(s);
	const struct buses_bus *bus = find_bus(s);

	if (!bus)
		return "no such bus in this module";
	if (bus->error)
		return "the bus could not be made";
	if (row->kind != BUSES_ANY && row->kind != bus->kind)
		return "no such call on this bus";
	return row->objection ? row->objection(bus) : NULL;
}

/**
 * buses_operation_call() - make the call, and answer with what its chip saw
 * @s: the scenario, to which there was no objection
 */
void buses_operation_call(struct scenario *s)
{
	const struct buses_operation *row = row_of(s);
	struct buses_bus *bus = find_bus(s);
	struct buses_chip *chip = row->chip(bus);
	u64 begin;

	chip->type->prepare(chip, s->rd, s->len, s->fill);
	buses_record_begin(chip);
	begin = ktime_get_ns();
	s->ret = row->call(bus, s);
	s->ns += ktime_get_ns() - begin;
	s->transferred = s->ret >= 0;
	buses_record_answer(s);
	client_add_own_message(s);
}

/**
 * buses_plain() - the chip that the buses' own APIs talk to
 * @bus: any
 */
struct buses_chip *buses_plain(struct buses_bus *bus)
{
	return &bus->plain;
}

/**
 * buses_registers() - the chip behind the buses' regmaps
 * @bus: any
 */
struct buses_chip *buses_registers(struct buses_bus *bus)
{
	return &bus->registers;
}

/* The buses' devices need a driver: spi-nor holds that of its controller's parent. */
static int buses_probe(struct platform_device *pdev)
{
	struct buses_bus *bus = &buses[pdev->id];
	int ret;

	bus->dev = &pdev->dev;
	ret = dma_coerce_mask_and_coherent(bus->dev, DMA_BIT_MASK(64));
	bus->error = ret ?: bus->start(bus);
	if (bus->error)
		dev_err(bus->dev, "%s: errno %d\n", bus->name, -bus->error);
	/* What was made before an error stays. */
	return 0;
}

static struct platform_driver buses_driver = {
	.driver = {
		.name = "dmasafe_buses",
		.suppress_bind_attrs = true,
	},
	.probe = buses_probe,
};

static int __init buses_init(void)
{
	int ret = platform_driver_register(&buses_driver);
	size_t i;

	if (ret)
		return ret;
	/* From here on things are made that stay, so this module has to, whatever comes. */
	__module_get(THIS_MODULE);
	for (i = 0; i < ARRAY_SIZE(buses); i++) {
		struct platform_device *pdev;

		buses[i].error = -ENODEV;
		pdev = platform_device_register_simple(buses_driver.driver.name, i, NULL, 0);
		if (IS_ERR(pdev))
			return PTR_ERR(pdev);
	}
	return dmasafe_client_add_operations(find_operation);
}
module_init(buses_init);

MODULE_DESCRIPTION("Controllers on other buses that map for DMA what they are given");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
