// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A board's SPI controller. It says can_dma(), so the SPI core maps each transfer's buffers for
 * it, as for most controllers with DMA. What the core refuses to map (a module's data) it maps
 * itself with dma_map_single(), as controllers do that do not leave it to the core.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include "prove.h"

static struct board *board_of(struct spi_controller *controller)
{
	return *(struct board **)spi_controller_get_devdata(controller);
}

static unsigned int index_of(struct spi_controller *controller, struct spi_transfer *xfer)
{
	struct spi_transfer *other;
	unsigned int index = 0;

	list_for_each_entry(other, &controller->cur_msg->transfers, transfer_list) {
		if (other == xfer)
			break;
		index++;
	}
	return index;
}

static bool core_maps(const void *buf)
{
	return !buf || is_vmalloc_addr(buf) || virt_addr_valid(buf);
}

static int prove_prepare_message(struct spi_controller *controller, struct spi_message *message)
{
	board_of(controller)->own = 0;
	return 0;
}

static bool prove_can_dma(struct spi_controller *controller, struct spi_device *spi,
			  struct spi_transfer *xfer)
{
	struct board *board = board_of(controller);
	unsigned int index = index_of(controller, xfer);

	if (!chains_note(xfer, board->wish.number, index))
		return false;
	if (core_maps(xfer->tx_buf) && core_maps(xfer->rx_buf))
		return true;
	if (index < BITS_PER_TYPE(board->own))
		board->own |= BIT_ULL(index);
	return false;
}

/* Only for its mapping's sake: the bytes are the processor's, whatever comes of it. */
static void map_own(struct device *dev, void *buf, size_t len, enum dma_data_direction direction)
{
	dma_addr_t address;

	if (!buf)
		return;
	address = dma_map_single(dev, buf, len, direction);
	if (!dma_mapping_error(dev, address))
		dma_unmap_single_attrs(dev, address, len, direction, DMA_ATTR_SKIP_CPU_SYNC);
}

static int prove_transfer_one(struct spi_controller *controller, struct spi_device *spi,
			      struct spi_transfer *xfer)
{
	struct board *board = board_of(controller);
	unsigned int index = index_of(controller, xfer);
	struct device *dev = &board->device->dev;

	if (index < BITS_PER_TYPE(board->own) && board->own & BIT_ULL(index)) {
		map_own(dev, (void *)xfer->tx_buf, xfer->len, DMA_TO_DEVICE);
		map_own(dev, xfer->rx_buf, xfer->len, DMA_FROM_DEVICE);
	}
	board_pulse(board);
	if (board->player)
		return player_answer(board, xfer->tx_buf, xfer->rx_buf, xfer->len);
	chip_answer(&board->chip, xfer->tx_buf, xfer->rx_buf, xfer->len);
	return 0;
}

static void prove_set_cs(struct spi_device *spi, bool enable)
{
}

static int add_chip(struct board *board)
{
	struct spi_device *spi = spi_alloc_device(board->controller);
	int ret;

	if (!spi)
		return -ENOMEM;
	memset(spi->chip_select, 0xff, sizeof(spi->chip_select));
	spi_set_chipselect(spi, 0, 0);
	spi->cs_index_mask = BIT(0);
	spi->max_speed_hz = board->wish.speed;
	spi->mode = board->wish.mode;
	spi->irq = board->irq;
	spi->dev.platform_data = board->platform_data;
	strscpy(spi->modalias, board->wish.modalias, sizeof(spi->modalias));
	if (board->node)
		device_set_node(&spi->dev, of_fwnode_handle(of_node_get(board->node)));
	ret = spi_add_device(spi);
	if (ret) {
		spi_dev_put(spi);
		return ret;
	}
	board->spi = spi;
	return 0;
}

/**
 * spi_new() - make a board's controller and its chip; the chip's driver, if it is there, probes it
 * @board: what has a device, and all that the driver may ask for
 *
 * Return: 0 or a negative errno
 */
int spi_new(struct board *board)
{
	struct spi_controller *controller = spi_alloc_host(&board->device->dev, sizeof(board));
	int ret;

	if (!controller)
		return -ENOMEM;
	*(struct board **)spi_controller_get_devdata(controller) = board;
	controller->bus_num = BUS_BASE + board->wish.number;
	controller->num_chipselect = 2;
	controller->mode_bits = SPI_CPOL | SPI_CPHA | SPI_CS_HIGH | SPI_LSB_FIRST | SPI_3WIRE |
				SPI_NO_CS | SPI_READY | SPI_TX_DUAL | SPI_TX_QUAD | SPI_RX_DUAL |
				SPI_RX_QUAD | SPI_TX_OCTAL | SPI_RX_OCTAL;
	controller->can_dma = prove_can_dma;
	controller->prepare_message = prove_prepare_message;
	controller->transfer_one = prove_transfer_one;
	controller->set_cs = prove_set_cs;
	ret = spi_register_controller(controller);
	if (ret) {
		spi_controller_put(controller);
		return ret;
	}
	board->controller = controller;
	return add_chip(board);
}

/**
 * spi_delete() - remove a board's chip and controller
 * @board: the board
 */
void spi_delete(struct board *board)
{
	if (board->controller)
		spi_unregister_controller(board->controller);
	board->controller = NULL;
	board->spi = NULL;
}
