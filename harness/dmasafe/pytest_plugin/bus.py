# SPDX-License-Identifier: GPL-2.0-or-later
"""The I2C bus of a test: slaves plugged in, and what the device saw of every message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import pytest

from dmasafe.audit import AuditFinding
from dmasafe.outcome import BusMessage, DmaSegment, Splat
from dmasafe.pytest_plugin.buffers import FAILING, Buffers, like, told
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

    def __init__(self, wiring: Wiring, buffers: Buffers | None = None) -> None:
        self._wiring = wiring
        self._buffers = buffers
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

    @property
    def findings(self) -> tuple[AuditFinding, ...]:
        """What the audit found wrong with the buffers of the test's messages (docs/audit.md): ``rule``, ``why``."""
        __tracebackhide__ = True
        return self._findings()

    @plainly
    def expect_finding(self, rule: str, function: str | None = None) -> AuditFinding:
        """The first finding of a rule of the audit; all like it count as expected. Fails the test if there is none.

        ``rule`` is ``flagged-unsafe``, ``shared-line`` or ``maps-unflagged``, ``function`` is whose buffer it must be.
        """
        __tracebackhide__ = True
        if rule not in FAILING:
            raise pytest.fail.Exception(f"{rule} is none of {', '.join(FAILING)}")
        if self._buffers is None or not self._buffers.audited():
            raise pytest.fail.Exception("no buffers are audited here: see --dmasafe-audit and --dmasafe-target")
        found = [finding for finding in self._buffers.findings() if like(finding, rule, function)]
        if not found:
            whose = f" in {function}()" if function else ""
            said = "\n".join(map(told, self._buffers.findings())) or "nothing"
            raise pytest.fail.Exception(f"the audit did not find {rule}{whose}; it found:\n{said}")
        self._buffers.claim(rule, function)
        return found[0]

    @plainly
    def _findings(self) -> tuple[AuditFinding, ...]:
        __tracebackhide__ = True
        return () if self._buffers is None else self._buffers.findings()

    @plainly
    def _messages(self) -> list[BusMessage]:
        __tracebackhide__ = True
        return self._wiring.messages() if self._frozen is None else self._frozen

    # For the window.

    def freeze(self, messages: list[BusMessage]) -> None:
        """The test is over: what comes from now on is not its own."""
        self._frozen = list(messages)

    def astray(self) -> list[BusMessage]:
        """The messages of strays, expected or not."""
        return [message for message in self._messages() if any(segment.stray for segment in message.segments)]

    def accounts(self, splats: Sequence[Splat]) -> list[str]:
        """What of stray DMA and of the buffers the test did not expect, and what ``splats`` do not tell already."""
        astray, buffers = self.astray(), self._buffers
        lines: dict[str, str] = {}
        for message in astray if not self._stray_expected else ():
            segment = next(segment for segment in message.segments if segment.stray)
            whose = buffers.of(message) if buffers is not None else ""
            lines.setdefault(
                whose or "once",
                f"stray DMA to {segment.address:#x}, {segment.length} bytes{whose}\n"
                "if that is what the test is about, it must say so with dmasafe_bus.expect_stray()",
            )
        found = buffers.unclaimed(splats, astray) if buffers is not None else []
        return [*lines.values(), *map(told, found)]
