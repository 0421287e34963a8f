// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A SLIMbus controller that maps the buffers of a value element's message. Upstream's copies
 * them into its own coherent memory, and slim_msg_response() copies what comes back.
 */
#include <linux/slimbus.h>
#include "buses.h"
#include "slimbus.h"

static struct buses_bus *slimbus;

static int slimbus_xfer(struct slim_controller *ctrl, struct slim_msg_txn *txn)
{
	struct buses_chip *chip = &slimbus->registers;
	struct slim_val_inf *msg = txn->msg;
	bool rd = slim_tid_txn(txn->mt, txn->mc);
	int ret;

	chip->position = msg->start_offset;
	ret = buses_dma_single(chip, rd ? msg->rbuf : (void *)msg->wbuf, msg->num_bytes, rd);
	if (!rd)
		return ret;
	if (ret)
		slim_free_txn_tid(ctrl, txn);
	else
		/* The bytes are where they belong: none to copy, only the end to tell. */
		slim_msg_response(ctrl, msg->rbuf, txn->tid, 0);
	return ret;
}

static struct slim_framer slimbus_framer = {
	.rootfreq = 24576000 / 10,
	.superfreq = 24576000 / 10 / 6144,
};

static struct slim_controller slimbus_controller = {
	.name = "dmasafe",
	.a_framer = &slimbus_framer,
	.xfer_msg = slimbus_xfer,
};

/**
 * buses_slimbus_start() - make the controller, and a device with a regmap
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_slimbus_start(struct buses_bus *bus)
{
	struct slim_eaddr address = { .manf_id = 0x217, .prod_code = 0xd3a };
	int ret = buses_registers_init(&bus->registers, bus->dev, 0);

	if (ret)
		return ret;
	slimbus = bus;
	slimbus_controller.dev = bus->dev;
	ret = slim_register_controller(&slimbus_controller);
	if (ret)
		return ret;
	bus->slim = slim_get_device(&slimbus_controller, &address);
	if (IS_ERR(bus->slim))
		return PTR_ERR(bus->slim);
	bus->regmap = regmap_init_slimbus(bus->slim, &buses_regmap_16_8);
	return PTR_ERR_OR_ZERO(bus->regmap);
}

static int call_slim_read(struct buses_bus *bus, struct scenario *s)
{
	return slim_read(bus->slim, BUSES_REGISTER, s->len, s->buf);
}

static int call_slim_write(struct buses_bus *bus, struct scenario *s)
{
	return slim_write(bus->slim, BUSES_REGISTER, s->len, s->buf);
}

static int call_slim_readb(struct buses_bus *bus, struct scenario *s)
{
	int ret = s->len == 1 ? slim_readb(bus->slim, BUSES_REGISTER) : -EINVAL;

	if (ret >= 0)
		*s->buf = ret;
	return ret;
}

static int call_slim_writeb(struct buses_bus *bus, struct scenario *s)
{
	return s->len == 1 ? slim_writeb(bus->slim, BUSES_REGISTER, *s->buf) : -EINVAL;
}

const struct buses_operation buses_slimbus_operations[] = {
	BUSES_OPERATION("slim_read", true, BUSES_SLIMBUS, NULL, buses_registers, call_slim_read),
	BUSES_OPERATION("slim_write", false, BUSES_SLIMBUS, NULL, buses_registers, call_slim_write),
	BUSES_OPERATION("slim_readb", true, BUSES_SLIMBUS, NULL, buses_registers, call_slim_readb),
	BUSES_OPERATION("slim_writeb", false, BUSES_SLIMBUS, NULL, buses_registers, call_slim_writeb),
	{}
};
