# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness's own controller: the same vhost-user device, and a driver that can be set to a policy or a fault."""

from dmasafe.carriers.controller import Controller, Plug
from dmasafe.carriers.drivers import PolicyDriver
from dmasafe.quirks import I2cAdapterQuirks

POLICIES: dict[str, str] = {
    "bounce": "uses i2c_get_dma_safe_msg_buf() with a threshold",
    "flag-only": "DMA only for messages with I2C_M_DMA_SAFE, PIO otherwise",
    "trusting": "maps msg->buf whatever it is: the classic bug",
    "pio": "never maps a message buffer",
}
# images/modules/controller.h
MAX_LEN = 8192
DMASAFE = Controller(
    "dmasafe",
    "the harness's own controller and driver",
    policies=tuple(POLICIES),
    model=PolicyDriver(
        "dmasafe controller at 0000:00:06.0", quirks=I2cAdapterQuirks(max_write_len=MAX_LEN, max_read_len=MAX_LEN)
    ),
    always=True,
    plug=Plug("vhost-user", 0x6),
    driver="dmasafe_controller",
)
