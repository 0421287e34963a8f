# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host controller's driver does with messages, as data of which the model makes the driver.

A driver that does what one of these classes says is a row. One that does something else is a new class here, and a
class in dmasafe/model that carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from dmasafe.host_policy import HostPolicy
from dmasafe.quirks import I2C_M_RD, I2cAdapterQuirks


class Message(Protocol):
    """What a driver may look at of a struct i2c_msg."""

    addr: int
    flags: int
    len: int


def two_at_most(msgs: Sequence[Message]) -> str:
    """Refuses what is neither one message nor a write and a read of the same slave, as drivers of HID bridges do."""
    if len(msgs) == 1:
        return ""
    if len(msgs) == 2:
        first, second = msgs
        if first.addr == second.addr and not first.flags & I2C_M_RD and second.flags & I2C_M_RD:
            return ""
    return "the driver does one message, or a write and a read of the same slave"


class QueueDriver(NamedTuple):
    """Queues all messages of a transfer, each in a buffer of i2c_get_dma_safe_msg_buf(), as i2c-virtio does.

    ``adapter`` is the I2C adapter's name, here and below.
    """

    adapter: str
    quirks: I2cAdapterQuirks | None = None


class PolicyDriver(NamedTuple):
    """Maps one message after the other, by a policy; ``threshold`` is the least length in bytes that goes by DMA."""

    adapter: str
    policy: str = "bounce"
    threshold: int = 1
    quirks: I2cAdapterQuirks | None = None


def _in_one_piece(length: int) -> tuple[tuple[int, int], ...]:
    return ((0, length),)


def _anything(_messages: Sequence[Message]) -> str:
    return ""


class BridgeDriver(NamedTuple):
    """Sends messages to a bridge on USB.

    ``nak`` is the errno for a slave that does not acknowledge. ``trusting``: msg->buf itself is given to USB, otherwise
    the payload is copied. ``stops``: a stop after every message. ``refuses`` says why the driver itself will not do a
    transfer (empty: it will). ``pieces`` are the parts of the buffer, (offset, length) in bytes, that a write sends;
    ``wrongly`` is what goes wrong where there are several.
    """

    adapter: str
    nak: int
    trusting: bool = False
    stops: bool = False
    quirks: I2cAdapterQuirks | None = None
    refuses: Callable[[Sequence[Message]], str] = _anything
    pieces: Callable[[int], Sequence[tuple[int, int]]] = _in_one_piece
    wrongly: str = ""


#: A policy of dmasafe/devices/hosts is one, too.
Driver = QueueDriver | PolicyDriver | BridgeDriver | HostPolicy
