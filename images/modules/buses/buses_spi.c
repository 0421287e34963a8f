// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SPI controllers. That of bus-spi says can_dma(), so the SPI core maps each transfer's buffers
 * for it; that of bus-spi-own maps them itself, with dma_map_single(). A chip on each select.
 */
#include <linux/mtd/mtd.h>
#include <linux/mtd/partitions.h>
#include <linux/sizes.h>
#include <linux/spi/flash.h>
#include <linux/spi/spi.h>
#include "buses.h"

enum {
	SELECT_PLAIN,
	SELECT_REGISTERS,
	SELECT_FLASH,
	SELECT_FILES,
	SELECTS,
};

/**
 * buses_spi_chip() - the chip that a device is
 * @spi: on one of this file's controllers
 */
struct buses_chip *buses_spi_chip(struct spi_device *spi)
{
	struct buses_bus *bus = *(struct buses_bus **)spi_controller_get_devdata(spi->controller);
	struct buses_chip *const chips[SELECTS] = {
		&bus->plain, &bus->registers, &bus->flash, &bus->files,
	};

	return chips[spi_get_chipselect(spi, 0)];
}

static bool buses_spi_can_dma(struct spi_controller *ctlr, struct spi_device *spi,
			      struct spi_transfer *xfer)
{
	return true;
}

static int buses_spi_prepare_message(struct spi_controller *ctlr, struct spi_message *message)
{
	struct buses_chip *chip = buses_spi_chip(message->spi);

	chip->type->begin(chip);
	return 0;
}

static int transfer(struct buses_chip *chip, void *buf, struct sg_table *table, size_t len, bool rd)
{
	if (!buf)
		return 0;
	buses_files_count(chip, buf);
	return table->nents ? buses_dma_sg(chip, table, len, rd) :
			      buses_dma_single(chip, buf, len, rd);
}

static int buses_spi_transfer_one(struct spi_controller *ctlr, struct spi_device *spi,
				  struct spi_transfer *xfer)
{
	struct buses_chip *chip = buses_spi_chip(spi);
	int ret;

	ret = transfer(chip, (void *)xfer->tx_buf, &xfer->tx_sg, xfer->len, false);
	return ret ?: transfer(chip, xfer->rx_buf, &xfer->rx_sg, xfer->len, true);
}

static struct spi_device *add_device(struct spi_controller *ctlr, const char *modalias,
				     unsigned int select, struct flash_platform_data *data)
{
	struct spi_board_info info = {
		.chip_select = select, .max_speed_hz = 1000000, .platform_data = data,
	};

	strscpy(info.modalias, modalias, sizeof(info.modalias));
	return spi_new_device(ctlr, &info);
}

static int add_flash(struct buses_bus *bus, struct spi_controller *ctlr, unsigned int select,
		     struct buses_chip *chip, struct flash_platform_data *data)
{
	int ret = buses_flash_init(chip, bus->dev);

	if (ret)
		return ret;
	return add_device(ctlr, "spi-nor", select, data) ? 0 : -ENODEV;
}

/* What spi-nor keeps of a bus's two flashes: one for mtd_read(), one in halves for file systems. */
struct flash_names {
	struct flash_platform_data plain;
	struct flash_platform_data files;
	struct mtd_partition parts[2];
};

static int add_flashes(struct buses_bus *bus, struct spi_controller *ctlr)
{
	struct flash_names *names = devm_kzalloc(bus->dev, sizeof(*names), GFP_KERNEL);
	struct mtd_partition *parts;
	int ret;

	if (!names)
		return -ENOMEM;
	parts = names->parts;
	names->plain.name = (char *)bus->name;
	parts[0].name = devm_kasprintf(bus->dev, GFP_KERNEL, "%s-jffs2", bus->name);
	parts[1].name = devm_kasprintf(bus->dev, GFP_KERNEL, "%s-ubi", bus->name);
	if (!parts[0].name || !parts[1].name)
		return -ENOMEM;
	parts[0].size = SZ_2M;
	parts[1].offset = SZ_2M;
	parts[1].size = MTDPART_SIZ_FULL;
	names->files.parts = parts;
	names->files.nr_parts = ARRAY_SIZE(names->parts);
	ret = add_flash(bus, ctlr, SELECT_FLASH, &bus->flash, &names->plain);
	ret = ret ?: add_flash(bus, ctlr, SELECT_FILES, &bus->files, &names->files);
	return ret ?: buses_files_watch(bus);
}

/**
 * buses_spi_add() - make a controller with a device of each sort
 * @bus: its row
 * @core_maps: the SPI core is to map transfers
 * @ops: spi-mem operations, or NULL
 *
 * Return: 0 or a negative errno.
 */
int buses_spi_add(struct buses_bus *bus, bool core_maps, const struct spi_controller_mem_ops *ops)
{
	struct spi_controller *ctlr = devm_spi_alloc_host(bus->dev, sizeof(bus));
	struct spi_device *spi;
	int ret;

	if (!ctlr)
		return -ENOMEM;
	*(struct buses_bus **)spi_controller_get_devdata(ctlr) = bus;
	ctlr->bus_num = -1;
	ctlr->num_chipselect = SELECTS;
	ctlr->can_dma = core_maps ? buses_spi_can_dma : NULL;
	ctlr->prepare_message = buses_spi_prepare_message;
	ctlr->transfer_one = buses_spi_transfer_one;
	ctlr->mem_ops = ops;
	ret = buses_registers_init(&bus->plain, bus->dev, 0);
	ret = ret ?: buses_registers_init(&bus->registers, bus->dev, 1);
	ret = ret ?: devm_spi_register_controller(bus->dev, ctlr);
	if (ret)
		return ret;
	bus->spi = add_device(ctlr, "dmasafe", SELECT_PLAIN, NULL);
	spi = add_device(ctlr, "dmasafe", SELECT_REGISTERS, NULL);
	if (!bus->spi || !spi)
		return -ENODEV;
	bus->regmap = regmap_init_spi(spi, &buses_regmap_8_8);
	if (IS_ERR(bus->regmap))
		return PTR_ERR(bus->regmap);
	ret = add_flashes(bus, ctlr);
	if (ret)
		return ret;
	bus->mtd = get_mtd_device_nm(bus->name);
	return PTR_ERR_OR_ZERO(bus->mtd);
}

/**
 * buses_spi_start() - make the controller for which the SPI core maps
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_spi_start(struct buses_bus *bus)
{
	return buses_spi_add(bus, true, NULL);
}

/**
 * buses_spi_own_start() - make the controller that maps by itself
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_spi_own_start(struct buses_bus *bus)
{
	return buses_spi_add(bus, false, NULL);
}

static int call_spi_write(struct buses_bus *bus, struct scenario *s)
{
	return spi_write(bus->spi, s->buf, s->len);
}

static int call_spi_read(struct buses_bus *bus, struct scenario *s)
{
	return spi_read(bus->spi, s->buf, s->len);
}

static int call_spi_write_then_read(struct buses_bus *bus, struct scenario *s)
{
	return spi_write_then_read(bus->spi, NULL, 0, s->buf, s->len);
}

const struct buses_operation buses_spi_operations[] = {
	BUSES_OPERATION("spi_write", false, BUSES_SPI, NULL, buses_plain, call_spi_write),
	BUSES_OPERATION("spi_read", true, BUSES_SPI, NULL, buses_plain, call_spi_read),
	BUSES_OPERATION("spi_write_then_read", true, BUSES_SPI, NULL, buses_plain,
			call_spi_write_then_read),
	{}
};
