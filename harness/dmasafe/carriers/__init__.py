# SPDX-License-Identifier: GPL-2.0-or-later
"""What carries a scenario's messages: a file for each kind of controller, and one for each of upstream's controllers.

A new controller is a file in controllers/, which has its rows as CONTROLLERS. Nobody else asks what kind a controller
is: its row (controller.py) has the answers.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from dmasafe.carriers import controllers, hosts, other_bus
from dmasafe.carriers.board import BOARD
from dmasafe.carriers.controller import Controller, Plug, Record, Where
from dmasafe.carriers.own import OWN
from dmasafe.carriers.policy import DMASAFE, POLICIES
from dmasafe.carriers.virtio import VIRTIO


def _upstream() -> Iterator[Controller]:
    """The rows of every file in controllers/, in the order of the files' names."""
    for module in sorted(pkgutil.iter_modules(controllers.__path__), key=lambda found: found.name):
        yield from import_module(f"{controllers.__name__}.{module.name}").CONTROLLERS


CONTROLLERS: dict[str, Controller] = {
    row.name: row
    for row in (
        VIRTIO,
        DMASAFE,
        *_upstream(),
        *other_bus.CONTROLLERS.values(),
        *hosts.CONTROLLERS.values(),
        OWN,
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
