// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The controller of bus-spi-mem: one for flashes, that takes whole commands (spi-mem) and has
 * the data mapped by the SPI core's helper, as spi-mem controllers with DMA do.
 */
#include <linux/spi/spi.h>
#include <linux/spi/spi-mem.h>
#include <linux/unaligned.h>
#include "buses.h"

static void send_header(struct buses_chip *chip, const struct spi_mem_op *op)
{
	u8 opcode = op->cmd.opcode;
	u8 bytes[sizeof(op->addr.val)];
	u8 dummy[16] = {};

	chip->type->begin(chip);
	buses_pio(chip, &opcode, 1, false);
	put_unaligned_be64(op->addr.val, bytes);
	buses_pio(chip, bytes + sizeof(bytes) - op->addr.nbytes, op->addr.nbytes, false);
	buses_pio(chip, dummy, min_t(size_t, op->dummy.nbytes, sizeof(dummy)), false);
}

static int buses_spi_mem_exec_op(struct spi_mem *mem, const struct spi_mem_op *op)
{
	struct spi_controller *ctlr = mem->spi->controller;
	struct buses_chip *chip = buses_spi_chip(mem->spi);
	struct sg_table table = {};
	int ret;

	send_header(chip, op);
	if (op->data.dir == SPI_MEM_NO_DATA)
		return 0;
	buses_files_count(chip, op->data.buf.in);
	ret = spi_controller_dma_map_mem_op_data(ctlr, op, &table);
	if (ret)
		return ret;
	ret = buses_dma_sg(chip, &table, op->data.nbytes, op->data.dir == SPI_MEM_DATA_IN);
	spi_controller_dma_unmap_mem_op_data(ctlr, op, &table);
	return ret;
}

const struct spi_controller_mem_ops buses_spi_mem_ops = {
	.exec_op = buses_spi_mem_exec_op,
};

/**
 * buses_spi_mem_start() - make the controller that takes spi-mem operations
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_spi_mem_start(struct buses_bus *bus)
{
	return buses_spi_add(bus, false, &buses_spi_mem_ops);
}
