# SPDX-License-Identifier: GPL-2.0-or-later
"""The I2C bus of a test: slaves plugged in, and what the device saw of every message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pytest

from dmasafe.outcome import BusMessage, DmaSegment
from dmasafe.pytest_plugin.errors import plainly


class Wiring(Protocol):
    """What a target does for the bus; each may raise DmasafeError."""

    def plug(self, slaves: Mapping[int, object]) -> None: ...

    def update_slaves(self) -> None: ...

    def messages(self) -> list[BusMessage]: ...


class PluginBus:
    """The bus behind every adapter of the target. Until something is plugged in it has dmasafe's own slaves.

    A slave is an object with ``write(data)`` and ``read(length)`` (dmasafe/devices/bus.py says what they return), a
    class, ``functools.partial(class, ...)``, or ``"module:Class"``.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._stray_expected = False
        self._frozen: list[BusMessage] | None = None

    @plainly
    def plug(self, slaves: Mapping[int, object]) -> None:
        """Put these slaves on the bus, by 7-bit address, in place of all others."""
        __tracebackhide__ = True
        self._wiring.plug(slaves)

    @plainly
    def update(self) -> None:
        """Give the slave objects that were plugged in the state that they have on the bus now."""
        __tracebackhide__ = True
        self._wiring.update_slaves()

    @property
    def messages(self) -> list[BusMessage]:
        """Every message since the test began: address, direction, bytes, success, DMA addresses, stray or not."""
        __tracebackhide__ = True
        return self._messages()

    @property
    def strays(self) -> list[DmaSegment]:
        """DMA to addresses outside the guest's memory."""
        __tracebackhide__ = True
        return [segment for message in self._messages() for segment in message.segments if segment.stray]

    @plainly
    def expect_stray(self) -> DmaSegment:
        """The first stray DMA; all of it counts as expected. Fails the test if there is none."""
        __tracebackhide__ = True
        found = self.strays
        if not found:
            raise pytest.fail.Exception("the device saw no stray DMA")
        self._stray_expected = True
        return found[0]

    @plainly
    def _messages(self) -> list[BusMessage]:
        __tracebackhide__ = True
        return self._wiring.messages() if self._frozen is None else self._frozen

    # For the window.

    def freeze(self, messages: list[BusMessage]) -> None:
        """The test is over: what comes from now on is not its own."""
        self._frozen = list(messages)

    def unclaimed(self) -> list[DmaSegment]:
        return [] if self._stray_expected else self.strays
