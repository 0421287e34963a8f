# SPDX-License-Identifier: GPL-2.0-or-later
"""Registers declared as a table, and what an access of the guest's to a BAR does with them.

All values are little-endian, as PCI's are. Nothing here knows a socket, an interrupt or DMA.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Self, overload

from dmasafe.devices.errors import FunctionError

WIDTHS = (1, 2, 4, 8)
# More of a BAR than this without a declaration is another device.
MAX_TOLD = 256

# A handler is a function of the block (and the value), or the name of such a method.
OnRead = Callable[[Any], int | None] | str | None
OnWrite = Callable[[Any, int], None] | str | None


class Access(StrEnum):
    """What a read answers and what a write does to the value that is kept."""

    RW = "rw"
    RO = "ro"
    """Writes change nothing; ``on_write`` is not called."""
    WO = "wo"
    """Reads answer 0, unless ``on_read`` says otherwise."""
    W1C = "w1c"
    """Each bit that is written as 1 is cleared."""
    W1S = "w1s"
    """Each bit that is written as 1 is set."""
    RC = "rc"
    """A read clears it; writes change nothing."""


class Register:
    """One register: ``width`` bytes at ``offset`` of its block, ``reset`` after power-on and each reset.

    ``on_read(block)`` gives the answer to a read, or None for the value that is kept. ``on_write(block, value)`` comes
    after ``access`` has changed that value, and is given what was written. Both may be a method's name.

    As a class attribute of a RegisterBlock (a PciFunction is one) it is also the value that is kept:
    ``self.STATUS |= DONE`` changes it without any side effect.
    """

    def __init__(
        self,
        name: str,
        offset: int,
        width: int = 4,
        access: Access | str = Access.RW,
        reset: int = 0,
        on_read: OnRead = None,
        on_write: OnWrite = None,
    ) -> None:
        if width not in WIDTHS or offset < 0:
            raise FunctionError(f"the register {name} has {width} bytes at {offset:#x}: a width is one of {WIDTHS}")
        self.name = name
        self.offset = offset
        self.width = width
        self.access = Access(access)
        self.mask = (1 << 8 * width) - 1
        self.reset = reset & self.mask
        self.on_read = on_read
        self.on_write = on_write

    @overload
    def __get__(self, block: None, owner: type) -> Self: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> int: ...
    def __get__(self, block: RegisterBlock | None, owner: type) -> Self | int:
        return self if block is None else block.values[self.name]

    def __set__(self, block: RegisterBlock, value: int) -> None:
        block.values[self.name] = value & self.mask


class RegisterBlock:
    """Registers that belong together, at ``base`` of a BAR: those among the class's attributes, and ``registers``.

    ``block["NAME"]`` is the value that is kept, as the attribute is. Raises FunctionError for two of one name.
    """

    def __init__(self, base: int = 0, registers: Iterable[Register] = ()) -> None:
        attributes = {name: value for kind in reversed(type(self).__mro__) for name, value in vars(kind).items()}
        own = [value for value in attributes.values() if isinstance(value, Register)]
        self.base = base
        self.registers: Sequence[Register] = (*own, *registers)
        self.values: dict[str, int] = {}
        self.reset_registers()
        if len(self.values) != len(self.registers):
            raise FunctionError(f"two registers of {type(self).__name__} have the same name")

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def __setitem__(self, name: str, value: int) -> None:
        register = next((register for register in self.registers if register.name == name), None)
        if register is None:
            raise FunctionError(f"{type(self).__name__} has no register {name}")
        self.values[name] = value & register.mask

    def reset_registers(self) -> None:
        """Every register as after power-on; no handler is called."""
        self.values.update({register.name: register.reset for register in self.registers})

    def read_register(self, register: Register) -> int:
        """What a read of the guest's answers."""
        answer = _call(self, register.on_read)
        if answer is None:
            answer = 0 if register.access is Access.WO else self.values[register.name]
        if register.access is Access.RC:
            self.values[register.name] = 0
        return int(answer) & register.mask

    def write_register(self, register: Register, value: int) -> None:
        """What a write of the guest's does."""
        match register.access:
            case Access.RW | Access.WO:
                self.values[register.name] = value
            case Access.W1C:
                self.values[register.name] &= ~value
            case Access.W1S:
                self.values[register.name] |= value
            case _:
                return
        _call(self, register.on_write, value)


def _call(block: RegisterBlock, handler: OnRead | OnWrite, *arguments: int) -> Any:
    if handler is None:
        return None
    if isinstance(handler, str):
        return getattr(block, handler)(*arguments)
    return handler(block, *arguments)


class Window:
    """``size`` bytes at ``offset`` that are no registers: memory with ``content``, or whatever the handlers make of it.

    ``on_read(offset, size)`` gives that many bytes, ``on_write(offset, data)`` takes them; offsets begin at the window.
    """

    def __init__(
        self,
        offset: int,
        size: int,
        content: bytes = b"",
        on_read: Callable[[int, int], bytes] | None = None,
        on_write: Callable[[int, bytes], None] | None = None,
    ) -> None:
        if offset < 0 or size <= 0 or len(content) > size:
            raise FunctionError(f"a window of {size} bytes at {offset:#x} with {len(content)} bytes in it")
        self.offset = offset
        self.size = size
        self.content = bytearray(content.ljust(size, b"\0"))
        self.on_read = on_read
        self.on_write = on_write

    def read(self, offset: int, size: int) -> bytes:
        if self.on_read is None:
            return bytes(self.content[offset : offset + size])
        return self.on_read(offset, size)[:size].ljust(size, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        if self.on_write is None:
            self.content[offset : offset + len(data)] = data
        else:
            self.on_write(offset, data)


class Bar:
    """Base address register ``index`` with ``size`` bytes (a power of two, 16 or more; 4 for ports) behind it.

    ``registers`` are RegisterBlocks, Windows, and Registers of the function's own; none at all means all of the
    function's. ``wide`` takes 64 bits and the next index too, ``ports`` makes it I/O space.
    """

    def __init__(
        self,
        index: int,
        size: int,
        registers: Sequence[Register | RegisterBlock | Window] = (),
        *,
        wide: bool = False,
        prefetchable: bool = False,
        ports: bool = False,
    ) -> None:
        if size & (size - 1) or size < (4 if ports else 16):
            raise FunctionError(f"BAR {index} has {size} bytes: it takes a power of two, 16 or more (4 for ports)")
        if not 0 <= index < (5 if wide else 6):
            raise FunctionError(f"there is no BAR {index}")
        self.index = index
        self.size = size
        self.registers = registers
        self.wide = wide
        self.prefetchable = prefetchable
        self.ports = ports


# What lies in a BAR: its first offset, the one behind it, whose register it is, and itself.
_Place = tuple[int, int, RegisterBlock | None, Register | Window]


class Decoder:
    """A BAR of one function: who answers at which offset.

    Where nobody is declared reads give 0 and writes are lost: ``undeclared(offset, size, write)`` is told once of each.
    """

    def __init__(self, bar: Bar, function: RegisterBlock, undeclared: Callable[[int, int, bool], None]) -> None:
        self.bar = bar
        self._undeclared = undeclared
        self._told: set[tuple[int, int, bool]] = set()
        places: list[_Place] = []
        for entry in bar.registers or (function,):
            match entry:
                case Window():
                    places.append((entry.offset, entry.offset + entry.size, None, entry))
                case Register():
                    places.append((entry.offset, entry.offset + entry.width, function, entry))
                case RegisterBlock():
                    starts = ((entry.base + register.offset, register) for register in entry.registers)
                    places += [(at, at + register.width, entry, register) for at, register in starts]
        self._places = sorted(places, key=lambda place: place[0])
        self._starts = [start for start, _end, _block, _what in self._places]
        self._exact: dict[tuple[int, int], tuple[RegisterBlock, Register]] = {}
        free = 0
        for start, end, block, what in self._places:
            if start < free or end > bar.size:
                raise FunctionError(f"what is at {start:#x} of BAR {bar.index} overlaps another, or ends outside")
            free = end
            if block is not None and isinstance(what, Register):
                self._exact[start, end - start] = block, what

    def read(self, offset: int, size: int) -> bytes:
        """An access of the guest's; it lies in the BAR."""
        exact = self._exact.get((offset, size))
        if exact is not None:
            return exact[0].read_register(exact[1]).to_bytes(size, "little")
        parts = []
        for place, start, end in self._covered(offset, size, False):
            parts.append(bytes(end - start) if place is None else _read_part(place, start, end))
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """An access of the guest's; it lies in the BAR."""
        exact = self._exact.get((offset, len(data)))
        if exact is not None:
            exact[0].write_register(exact[1], int.from_bytes(data, "little"))
            return
        for place, start, end in self._covered(offset, len(data), True):
            if place is not None:
                _write_part(place, start, data[start - offset : end - offset])

    def _covered(self, offset: int, size: int, write: bool) -> list[tuple[_Place | None, int, int]]:
        """Who answers for which part of a range, in order."""
        found: list[tuple[_Place | None, int, int]] = []
        at, stop = offset, offset + size
        number = bisect_right(self._starts, at) - 1
        while at < stop:
            place = self._places[number] if number >= 0 else None
            following = self._starts[number + 1] if number + 1 < len(self._starts) else stop
            if place is not None and at < place[1]:
                end = min(stop, place[1])
                found.append((place, at, end))
            else:
                end = min(stop, following)
                found.append((None, at, end))
                place_used = (at, end - at, write)
                if place_used not in self._told and len(self._told) < MAX_TOLD:
                    self._told.add(place_used)
                    self._undeclared(*place_used)
            at = end
            if at >= following:
                number += 1
        return found


def _read_part(place: _Place, start: int, end: int) -> bytes:
    at, _end, block, what = place
    if isinstance(what, Window):
        return what.read(start - at, end - start)
    assert block is not None
    return block.read_register(what).to_bytes(what.width, "little")[start - at : end - at]


def _write_part(place: _Place, start: int, data: bytes) -> None:
    at, _end, block, what = place
    if isinstance(what, Window):
        what.write(start - at, data)
        return
    assert block is not None
    # Bytes that are not written keep their value, and clear or set nothing.
    kept = block.values[what.name] if what.access in (Access.RW, Access.WO) else 0
    whole = bytearray(kept.to_bytes(what.width, "little"))
    whole[start - at : start - at + len(data)] = data
    block.write_register(what, int.from_bytes(whole, "little"))
