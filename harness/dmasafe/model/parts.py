# SPDX-License-Identifier: GPL-2.0-or-later
"""What i2c-dev and regmap use of a kernel; ModelKernel is one."""

from __future__ import annotations

from typing import Protocol

from dmasafe.model.allocators import Allocators
from dmasafe.model.config import Config
from dmasafe.model.i2c import I2cCore
from dmasafe.model.memory import Memory
from dmasafe.model.smbus import Smbus


class Parts(Protocol):
    """A kernel's memory, its I2C core, and ``notes``, where decisions are explained."""

    config: Config
    memory: Memory
    allocators: Allocators
    i2c: I2cCore
    smbus: Smbus
    notes: list[str]

    def memdup_user(self, data: bytes) -> int:
        """mm/util.c memdup_user(): a kmalloc'ed copy."""
