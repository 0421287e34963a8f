# SPDX-License-Identifier: GPL-2.0-or-later
"""NXP's low-power I2C of i.MX7ULP, i.MX8 and i.MX9: upstream i2c-imx-lpi2c."""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, EIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.pci import Access, Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-imx-lpi2c.c in Linux 7.3. DMA came between 6.12 and 7.2.
_DMA_SINCE = (6, 14)
POLICY = HostPolicy(
    "imx-lpi2c",
    rules=(
        Rule(Path.PIO, "6.12 has no DMA", until=_DMA_SINCE),
        Rule(Path.PIO, "is_use_dma() 683", most=7, since=_DMA_SINCE),
        Rule(Path.HELPER, "lpi2c_imx_dma_xfer() 1049", least=8, since=_DMA_SINCE),
    ),
    nak=(
        Ending(EIO, "by the processor: at once", "431, 1167", until=_DMA_SINCE),
        Ending(EIO, "terminates the DMA, unmaps, gives the buffer back", "1082, 1094-1107", since=_DMA_SINCE),
    ),
    lost=(Ending(EAGAIN, "looked at after the start only", "240"),),
    timeout=(Ending(ETIMEDOUT, "terminates the DMA, unmaps, gives the buffer back", "1094-1107"),),
    awake=(Ending(0, "stops its clocks, and looks at no transfer", "6.12 lpi2c_pm_ops 705", until=_DMA_SINCE),),
    timeout_s=1.0,  # by the processor 416; by DMA seconds instead of milliseconds for each byte (724-730)
    maps_for="dma",
    notes=(
        "the time-out of a DMA transfer is 1 s and 80 ms for each byte at 100 kHz: 12 minutes for 8 KiB (724-730)",
        "a read whose mapping fails frees the command buffer of the DMA read before it once more (1062-1064, 1104)",
        "a missing acknowledgement is lost if its interrupt comes while DMA is set up: it is enabled before "
        "the completion is made ready (1016, 890); the driver then waits for the time-out",
        "where DMA cannot be set up the message goes by the processor (1146)",
        "the length of the commands for a read is kept in 8 bits: from 32513 bytes on it is 0 (165, 747)",
        "an error of the DMA controller counts as its end (806, 891)",
    ),
)

_TRAN, _RECV, _STOP_COMMAND, _START_COMMAND = 0, 1, 2, 4
_RST, _RTF, _RRF, _MEN = 1 << 1, 1 << 8, 1 << 9, 1 << 0
_TDF, _RDF, _SDF, _NDF, _ALF, _BUSY = 1 << 0, 1 << 1, 1 << 9, 1 << 10, 1 << 11, 3 << 24
_RXEMPTY = 1 << 14
_TDDE, _RDDE = 1 << 0, 1 << 1
_FIFO_BITS, _FIFO_WORDS = 4, 16
# An address has nine clocks, while the driver sets up its DMA: long for a processor, and here for a guest.
_REFUSED_S = 0.02


class Lpi2c(I2cHost):
    """Commands with data go through a FIFO of ``_FIFO_WORDS``; one that cannot be done holds those behind it."""

    VERID = Register("VERID", 0x00, access=Access.RO, reset=0x01010003)
    PARAM = Register("PARAM", 0x04, access=Access.RO, reset=_FIFO_BITS | _FIFO_BITS << 8)
    MCR = Register("MCR", 0x10, on_write="_controlled")
    MSR = Register("MSR", 0x14, access=Access.W1C, on_read="_status", on_write="_cleared")
    MIER = Register("MIER", 0x18, on_write="_update")
    MDER = Register("MDER", 0x1C, on_write="_go")
    MCFGR0 = Register("MCFGR0", 0x20)
    MCFGR1 = Register("MCFGR1", 0x24)
    MCFGR2 = Register("MCFGR2", 0x28)
    MCFGR3 = Register("MCFGR3", 0x2C)
    MCCR0 = Register("MCCR0", 0x48)
    MCCR1 = Register("MCCR1", 0x50)
    MFCR = Register("MFCR", 0x58, on_write="_update")
    MFSR = Register("MFSR", 0x5C, access=Access.RO, on_read="_levels")
    MTDR = Register("MTDR", 0x60, access=Access.WO, on_write="_queued")
    MRDR = Register("MRDR", 0x70, access=Access.RO, on_read="_popped")
    SCR = Register("SCR", 0x110)
    SSR = Register("SSR", 0x114, access=Access.W1C)
    SIER = Register("SIER", 0x118)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._idle()
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._go)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._go)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.tx, self.rx)),)

    def _idle(self) -> None:
        self._commands: deque[int] = deque()
        self._received: deque[int] = deque()
        self._to_receive = 0
        self._waiting = False

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _status(self) -> int:
        transmit, receive = self.MFCR & 0xFF, self.MFCR >> 16 & 0xFF
        flags = _TDF if len(self._commands) <= transmit else 0
        if len(self._received) > receive:
            flags |= _RDF
        return self.MSR | flags | (_BUSY if self.wire.active else 0)

    def _levels(self) -> int:
        return len(self._commands) | len(self._received) << 16

    def _update(self, _value: int = 0) -> None:
        self.level(bool(self._status() & self.MIER & 0x7FFF))

    def _cleared(self, _value: int) -> None:
        self._go()

    def _controlled(self, value: int) -> None:
        if value & _RST or not value & _MEN:
            self.abort()
            self.wire.end()
            self._idle()
            if value & _RST:
                self.MSR = self.MIER = self.MDER = self.MFCR = 0
        if value & _RTF:
            self._commands.clear()
        if value & _RRF:
            self._received.clear()
        self.MCR &= ~(_RTF | _RRF)
        self._update()

    def _queued(self, value: int) -> None:
        self._commands.append(value & 0x7FF)
        self._go()

    def _popped(self) -> int:
        if not self._received:
            return _RXEMPTY
        byte = self._received.popleft()
        self.later(0, self._go)
        return byte

    def _go(self, _value: int = 0) -> None:
        """Does commands, from the FIFO and from DMA, as long as that is possible."""
        while not self._waiting and not self.MSR & (_NDF | _ALF) and self.MCR & _MEN:
            if self._to_receive:
                if not self._receive():
                    break
            elif self._commands:
                self._do(self._commands.popleft())
            elif self.MDER & _TDDE and self.tx.ready and self.wire.active:
                # With reads the channel brings commands of two bytes (lpi2c_dma_config(), 964), else data.
                commands = bool(self.MDER & _RDDE)
                word = self.tx.take(control=commands)
                if commands:
                    word |= self.tx.take(control=commands) << 8
                self._do(word)
            else:
                break
        if self._waiting and self.MDER & (_TDDE | _RDDE) == _TDDE:
            # The FIFO fills while the address is on the wire.
            while self.tx.ready and len(self._commands) < _FIFO_WORDS:
                self._commands.append(self.tx.take())
        if self.MDER & _RDDE:
            while self._received and self.rx.ready:
                self.rx.give(self._received.popleft())
        self._update()

    def _receive(self) -> bool:
        by_dma = self.MDER & _RDDE and self.rx.ready
        if not by_dma and len(self._received) >= _FIFO_WORDS:
            return False
        self._to_receive -= 1
        byte = self.wire.get()
        if by_dma:
            while self._received and self.rx.ready:
                self.rx.give(self._received.popleft())
        if by_dma and self.rx.ready:
            self.rx.give(byte)
        else:
            self._received.append(byte)
        return True

    def _do(self, word: int) -> None:
        command, data = word >> 8 & 7, word & 0xFF
        if command in (_START_COMMAND, _START_COMMAND + 1):
            self._start(data)
        elif command == _STOP_COMMAND:
            if not self.wire.end():
                self.MSR |= _NDF
            self.MSR |= _SDF
        elif command == _RECV:
            self._to_receive = data + 1
        elif command == _TRAN and not self.wire.put(data):
            self._refused()

    def _start(self, octet: int) -> None:
        self._waiting = True
        self.abort()
        started = self.wire.start(octet)
        job = self._job

        def addressed() -> None:
            if job != self._job:
                return
            self._waiting = False
            if started.lost:
                self.MSR |= _ALF
            elif not started.ok:
                self._refused()
            self._go()

        self.later((0.0 if started.ok else _REFUSED_S) + self.wire.delay_s + self.fault.delay_s, addressed)

    def _refused(self) -> None:
        """The stop comes by itself, and nothing else until NDF is cleared."""
        self.wire.end()
        self._commands.clear()
        self._to_receive = 0
        self.MSR |= _NDF | _SDF


HOST = HostModel(
    "imx-lpi2c",
    module="i2c-imx-lpi2c",
    symbol="I2C_IMX_LPI2C",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/i2c-imx-lpi2c.yaml
    place=with_dma("fsl,imx7ulp-lpi2c", 0x200, 24_000_000, ("per", "ipg")),
    function=Lpi2c,
    policy=POLICY,
)
