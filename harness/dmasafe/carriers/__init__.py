# SPDX-License-Identifier: GPL-2.0-or-later
"""What carries a scenario's messages: a file for each kind of controller, and one for each of upstream's controllers.

A new controller is a file and a name in the table here; a new kind likewise. Nobody else asks what kind a controller
is: its row (controller.py) has the answers.
"""

from __future__ import annotations

from dmasafe.carriers import other_bus
from dmasafe.carriers.board import BOARD
from dmasafe.carriers.controller import Controller, Plug, Record, Where
from dmasafe.carriers.controllers import (
    cp2112,
    cp2615,
    diolan_u2c,
    dln2,
    ft260,
    i801,
    mcp2221,
    osif,
    tiny_usb,
    viperboard,
)
from dmasafe.carriers.policy import DMASAFE, POLICIES
from dmasafe.carriers.virtio import VIRTIO

# In the order in which suites and lists have them.
_UPSTREAM = (tiny_usb, osif, diolan_u2c, viperboard, cp2615, dln2, mcp2221, cp2112, ft260, i801)
CONTROLLERS: dict[str, Controller] = {
    row.name: row
    for row in (
        VIRTIO,
        DMASAFE,
        *(row for module in _UPSTREAM for row in module.CONTROLLERS),
        *other_bus.CONTROLLERS.values(),
    )
}


def controller_names() -> list[str]:
    """What can stand for a controller in a scenario's id."""
    return [*CONTROLLERS, BOARD.name]


def controller_of(name: str) -> Controller:
    """The controller of a scenario; a bus of a board's own is one too."""
    return BOARD if name == BOARD.name else CONTROLLERS[name]


__all__ = [
    "BOARD",
    "CONTROLLERS",
    "POLICIES",
    "Controller",
    "Plug",
    "Record",
    "Where",
    "controller_names",
    "controller_of",
]
