# SPDX-License-Identifier: GPL-2.0-or-later
"""The bridges by name: a new one is a file and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dmasafe.devices.usb.cp2112 import Cp2112
from dmasafe.devices.usb.cp2615 import Cp2615
from dmasafe.devices.usb.device import Function
from dmasafe.devices.usb.diolan_u2c import DiolanU2c
from dmasafe.devices.usb.dln2 import Dln2
from dmasafe.devices.usb.ft260 import Ft260
from dmasafe.devices.usb.hid import Hid
from dmasafe.devices.usb.master import Master
from dmasafe.devices.usb.mcp2221 import Mcp2221
from dmasafe.devices.usb.osif import Osif
from dmasafe.devices.usb.tiny_usb import TinyUsb
from dmasafe.devices.usb.viperboard import Viperboard

BRIDGES: Mapping[str, Callable[[Master], Function]] = {
    "tiny-usb": TinyUsb,
    "osif": Osif,
    "diolan-u2c": DiolanU2c,
    "viperboard": Viperboard,
    "cp2615": Cp2615,
    "dln2": Dln2,
    "mcp2221": lambda master: Hid(Mcp2221(master)),
    "cp2112": lambda master: Hid(Cp2112(master)),
    "ft260": lambda master: Hid(Ft260(master)),
}
