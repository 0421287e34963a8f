# SPDX-License-Identifier: GPL-2.0-or-later
"""The DMA controller beside hosts that have none of their own: two channels, driven by a provider for Linux' dmaengine.

It is nobody's hardware: what is upstream's is the driver of the host, and what that asks of the DMA engine API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dmasafe.devices.hosts.base import I2cHost
from dmasafe.devices.hosts.declaration import DMA_WINDOW, DeviceTree, Window
from dmasafe.devices.hosts.nodes import engine, i2c, quoted
from dmasafe.devices.pci import Access, Register, RegisterBlock

CHANNEL_BYTES = 0x40
START, STOP, TO_MEMORY = 1, 0, 2
DONE, FAILED = 1, 2
#: Behind the channels: a reset line, for drivers that cannot do without.
_RESET_OFFSET = 0x80


def reset_line(restart: Callable[[], None]) -> RegisterBlock:
    """The line: any write to it is a whole reset, ``restart()``."""
    register = Register("RESET", 0, access=Access.WO, on_write=lambda _block, _value: restart())
    return RegisterBlock(DMA_WINDOW.offset + _RESET_OFFSET, (register,))


def with_dma(
    compatible: str,
    size: int,
    hertz: int,
    clocks: Sequence[str] = (),
    lines: str = "",
    *,
    channels: Sequence[str] = ("tx", "rx"),
    nodes: str = "",
    windows: tuple[Window, ...] = (),
) -> DeviceTree:
    """A host with ``size`` bytes of registers that asks for these ``channels`` of the DMA controller beside it.

    ``windows`` are further ones, from number 1 on. The rest is as for ``nodes.i2c()``. ``{label}_dma`` is the DMA
    controller, and has the reset line.
    """
    wanted = ", ".join(f"<&{{label}}_dma {number}>" for number in range(len(channels)))
    lines = f"{lines} dmas = {wanted}; dma-names = {quoted(channels)};"
    node = i2c(compatible, hertz, clocks, lines, nodes=nodes)
    return DeviceTree(engine(1 + len(windows)) + node, windows=(Window(0, size), *windows, DMA_WINDOW))


class Channel(RegisterBlock):
    """One channel. The provider writes ADDRESS and LENGTH (bytes), then START to CONTROL, and polls STATUS.

    With START comes TO_MEMORY if that is the direction: ``to_memory`` is for hosts with one channel for both.

    STOP to CONTROL forgets the transfer; so does the end of it (DONE or FAILED in STATUS, cleared by writing 1).
    RESIDUE are the bytes that are not yet moved. The host takes bytes for the bus, or gives those from it, whenever its
    own registers say that it wants DMA; ``on_start`` tells it that there is a transfer.
    """

    ADDRESS = Register("ADDRESS", 0x00, 8)
    LENGTH = Register("LENGTH", 0x08)
    CONTROL = Register("CONTROL", 0x0C, on_write="_controlled")
    STATUS = Register("STATUS", 0x10, access=Access.W1C)
    RESIDUE = Register("RESIDUE", 0x14, access=Access.RO)

    def __init__(self, base: int, host: I2cHost, on_start: Callable[[], None]) -> None:
        super().__init__(base)
        self._host = host
        self._on_start = on_start
        self._bytes: bytes | bytearray = b""

    @property
    def ready(self) -> bool:
        """Whether there is a transfer with bytes to move: who asks wants DMA, and an engine that fails does it then."""
        if self.CONTROL & START and self._host.fault.dma_error:
            self.CONTROL, self.STATUS = STOP, FAILED
        return bool(self.CONTROL & START) and self.RESIDUE > 0

    @property
    def to_memory(self) -> bool:
        """The direction of the transfer under way."""
        return bool(self.CONTROL & TO_MEMORY)

    def _controlled(self, value: int) -> None:
        self._bytes = b""
        self.RESIDUE = self.LENGTH if value & START else 0
        self.STATUS = 0
        if value & START:
            self._host.later(0, self._on_start)

    def take(self, control: bool = False) -> int:
        """The next byte from memory; the channel is ready. ``control``: the transfer has no payload; here and below."""
        if self.RESIDUE == self.LENGTH:
            at, length = self.ADDRESS, self.LENGTH
            self._bytes = self._host.dma.read(at, length, control) if control else self._host.fetch(at, length)
        byte = self._bytes[self.LENGTH - self.RESIDUE]
        self._moved()
        return byte

    def give(self, byte: int, control: bool = False) -> None:
        """The next byte to memory; the channel is ready. All of them are stored when the last one is here."""
        if self.RESIDUE == self.LENGTH:
            self._bytes = bytearray()
        assert isinstance(self._bytes, bytearray)
        self._bytes.append(byte)
        if self.RESIDUE == 1 and control:
            self._host.dma.write(self.ADDRESS, bytes(self._bytes), control)
        elif self.RESIDUE == 1:
            self._host.store(self.ADDRESS, bytes(self._bytes))
        self._moved()

    def _moved(self) -> None:
        self.RESIDUE -= 1
        if not self.RESIDUE:
            self.CONTROL, self.STATUS = STOP, DONE
