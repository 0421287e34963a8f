# SPDX-License-Identifier: GPL-2.0-or-later
"""Both sides of a transfer in a splat: the controller's driver that maps, the client's driver whose buffer it is.

The trace names both, one on each side of the I2C core. Which of them is wrong depends on what the controller's driver
does with an unmarked message. What is known of that is one table, DRIVERS, read in Linux 6.12, 7.2 and 7.3.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dmasafe.dmesg.culprit import Blame, machinery
from dmasafe.outcome import Frame, Splat


class Parties(NamedTuple):
    """``culprit`` is ``controller``, ``client``, or empty if the log alone cannot tell; ``why`` says it in words."""

    controller: Blame
    client: Blame
    culprit: str
    why: str


class _Driver(NamedTuple):
    """A controller's driver by the beginnings of its functions; ``asks``: it maps marked messages only, or a copy."""

    functions: tuple[str, ...]
    asks: bool
    what: str


_COPIES = "copies unmarked messages with i2c_get_dma_safe_msg_buf()"
_DRIVERS_THAT_COPY = (
    "i2c_amd_", "at91_", "lpi2c_", "mtk_i2c_", "mxs_i2c_", "geni_i2c_", "sh_mobile_i2c_", "virtio_i2c_",
)  # fmt: skip
DRIVERS = (
    _Driver(_DRIVERS_THAT_COPY, True, _COPIES),
    _Driver(("i2c_imx_", "rcar_i2c_"), True, "uses DMA for messages marked I2C_M_DMA_SAFE only"),
    _Driver(("osif_",), False, "gives msg->buf to USB whether it is marked or not"),
    _Driver(("qup_i2c_",), False, "asks is_vmalloc_addr() instead of I2C_M_DMA_SAFE"),
)
# What is wrong is the caller's memory,
_OF_MEMORY = frozenset(
    (
        "map-stack", "map-vmalloc", "map-vmalloc-rejected", "map-invalid-area", "map-text-or-rodata", "sg-virt-invalid",
        "usb-buffer-on-stack", "usb-buffer-not-dma-capable",
    )
)  # fmt: skip
# or how the controller's driver maps and unmaps it, by the beginnings of classes. Of others the trace tells nothing.
_OF_MAPPING = ("free-", "sync-", "sg-", "map-error-unchecked")
_CORE = re.compile(r"_*i2c_(?:transfer|smbus_|master_|mux_)")
_SMBUS = re.compile(r"_*i2c_smbus_")


def parties(splat: Splat) -> Parties | None:
    """Who took part; None for other reports, and if the trace does not show a driver on each side of the I2C core."""
    if splat.splat_class not in _OF_MEMORY and not splat.splat_class.startswith(_OF_MAPPING):
        return None
    frames = [frame for frame in splat.frames if frame.reliable]
    core = [index for index, frame in enumerate(frames) if _CORE.match(frame.function) and machinery(frame)]
    if not core:
        return None
    controller = next((frame for frame in frames[: core[0]] if machinery(frame) is None), None)
    client = _first_driver(frames[core[-1] + 1 :])
    if controller is None or client is None:
        return None
    smbus = any(_SMBUS.match(frames[index].function) for index in core)
    culprit, why = _which(splat.splat_class, frames[: core[0]], smbus)
    return Parties(_blame(controller), _blame(client), culprit, why)


def _first_driver(frames: list[Frame]) -> Frame | None:
    for frame in frames:
        row = machinery(frame)
        if row is None or row.caller:
            return frame if row is None else None
    return None


def _which(splat_class: str, controllers: list[Frame], smbus: bool) -> tuple[str, str]:
    if splat_class not in _OF_MEMORY:
        return "controller", "how a message is mapped is its own doing, whoever sent it"
    if smbus:
        return "controller", "the I2C core's SMBus functions never mark memory that DMA must not touch"
    for driver in DRIVERS:
        if any(frame.function.startswith(driver.functions) for frame in controllers):
            if driver.asks:
                return "client", f"it marked the buffer I2C_M_DMA_SAFE: the controller's driver {driver.what}"
            return "controller", f"the controller's driver {driver.what}"
    return "", (
        "the client is wrong if it marked the buffer I2C_M_DMA_SAFE, the controller if it maps unmarked messages "
        "without i2c_get_dma_safe_msg_buf()"
    )


def _blame(frame: Frame) -> Blame:
    return Blame(frame.function, frame.module, frame.file, frame.line)
