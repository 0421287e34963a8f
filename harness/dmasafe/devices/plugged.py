# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves from outside this package on the bus: checked when they are plugged in, watched while they work.

A slave that raises or answers nonsense must cost its test and nothing else: the device's process lives on.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dmasafe.devices.bus import ADDRESS_NAK, Slave
from dmasafe.devices.errors import SlaveError, failure
from dmasafe.devices.values import encode, make

# I2C's reserved addresses are no slave's (UM10204, 3.1.12), but a test may want one: only the range is checked.
MAX_ADDRESS = 0x7F


class Plugged:
    """Stands between the bus and somebody's slave; ``complain`` takes a sentence."""

    def __init__(self, address: int, slave: Any, complain: Callable[[str], None]) -> None:
        self.slave = slave
        self._name = f"the slave at {address:#04x}"
        self._complain = complain

    @property
    def stretch_s(self) -> float:
        value = self._ask("stretch_s", lambda: float(getattr(self.slave, "stretch_s", 0.0)))
        return value if isinstance(value, float) and math.isfinite(value) and value >= 0 else 0.0

    def write(self, data: bytes) -> int:
        accepted = self._ask("write()", lambda: self.slave.write(data))
        if type(accepted) is int and ADDRESS_NAK <= accepted <= len(data):
            return accepted
        if accepted is not _FAILED:
            self._complain(f"{self._name}: write() gave {accepted!r:.80}, not the number of bytes it acknowledged")
        return ADDRESS_NAK

    def read(self, length: int) -> bytes | None:
        data = self._ask("read()", lambda: self.slave.read(length))
        if data is None or isinstance(data, bytes | bytearray):
            return None if data is None else bytes(data)
        if data is not _FAILED:
            self._complain(f"{self._name}: read() gave {data!r:.80}, not bytes or None")
        return None

    def stop(self) -> None:
        if hasattr(self.slave, "stop"):
            self._ask("stop()", self.slave.stop)

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:
            self._complain(f"{self._name}: {what} raised {failure(error, type(self.slave))}")
            return _FAILED


_FAILED = object()


def plug(slaves: Any, path: Any, complain: Callable[[str], None]) -> dict[int, Slave]:
    """Slaves by address from ``[[address, description], ...]``; ``path`` comes after sys.path. Raises SlaveError."""
    if not isinstance(path, list) or not all(isinstance(entry, str) for entry in path):
        raise SlaveError("the search path is no list of directories")
    sys.path.extend(entry for entry in path if entry not in sys.path)
    if not isinstance(slaves, list):
        raise SlaveError("the slaves are no list")
    plugged: dict[int, Slave] = {}
    for row in slaves:
        if not isinstance(row, list) or len(row) != 2 or row[0] in plugged:
            raise SlaveError(f"no address with one slave: {row!r:.100}")
        address, description = row
        plugged[address] = put_in(address, partial(make, description), complain)
    return plugged


def put_in(address: object, create: Callable[[], Any], complain: Callable[[str], None]) -> Plugged:
    """The slave that ``create`` makes, watched. Raises SlaveError if it or its address is none."""
    if type(address) is not int or not 0 <= address <= MAX_ADDRESS:
        raise SlaveError(f"{address!r:.20} is no 7-bit address")
    try:
        slave = create()
    except SlaveError:
        raise
    except Exception as error:
        raise SlaveError(f"the slave at {address:#04x} cannot be made: {type(error).__name__}: {error}") from error
    missing = [name for name in ("write", "read") if not callable(getattr(slave, name, None))]
    if missing:
        raise SlaveError(f"the slave at {address:#04x} has no {' and no '.join(missing)}: {slave!r:.80}")
    return Plugged(address, slave, complain)


def states(slaves: dict[int, Slave]) -> Sequence[tuple[int, Any]]:
    """The plugged slaves' attributes as values.encode() writes them, None for what cannot be written."""
    found = []
    for address, slave in slaves.items():
        if isinstance(slave, Plugged):
            try:
                found.append((address, encode(slave.slave)))
            except (SlaveError, RecursionError):
                found.append((address, None))
    return found
