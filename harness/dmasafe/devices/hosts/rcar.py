# SPDX-License-Identifier: GPL-2.0-or-later
"""Renesas' I2C of R-Car, second generation: upstream i2c-rcar."""

from __future__ import annotations

from errno import EAGAIN, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.pci import Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN, I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-rcar.c in Linux 7.3.
POLICY = HostPolicy(
    "i2c-rcar",
    rules=(
        Rule(Path.PIO, "rcar_i2c_dma() 495: RCAR_MIN_DMA_LEN", most=7),
        Rule(Path.PIO, "rcar_i2c_dma() 496: only what is marked", marked=False),
        Rule(Path.MAPS, "rcar_i2c_dma() 504: the last two bytes by the processor", reads=True, marked=True, after=2),
        Rule(Path.MAPS, "rcar_i2c_dma() 510: the first byte by the processor", reads=False, marked=True, before=1),
    ),
    nak=(Ending(ENXIO, "terminates the DMA, then unmaps", "949, 955"),),
    lost=(Ending(EAGAIN, "terminates the DMA, then unmaps", "949, 957"),),
    timeout=(Ending(ETIMEDOUT, "terminates the DMA, then unmaps", "949, 952"),),
    timeout_s=1.0,  # HZ, the I2C core's own; for each message (945)
    quirks=I2cAdapterQuirks(flags=I2C_AQ_NO_ZERO_LEN),  # 1099
    maps_for="dma",
    notes=("generation 3 and later: only one message from a slave in each transfer goes by DMA (461)",),
)

# ICMCR (57-65), ICMSR (76-83), ICDMAER (85-89).
_MIE, _FSB, _ESG = 1 << 3, 1 << 1, 1 << 0
_MNR, _MAL, _MST, _MDE, _MDR, _MAT = 1 << 6, 1 << 5, 1 << 4, 1 << 3, 1 << 1, 1 << 0
_RMDMAE, _TMDMAE = 1 << 1, 1 << 0


class Rcar(I2cHost):
    """The hardware goes on when the driver clears what it was told (ICMSR), and as ICMCR then says: a start, a stop,

    the next byte. ``_ending``: the last byte before a stop or start is with the driver.
    """

    ICSCR = Register("ICSCR", 0x00)
    ICMCR = Register("ICMCR", 0x04, on_write="_commanded")
    ICSSR = Register("ICSSR", 0x08)
    # Writing 0 clears a bit (rcar_i2c_clear_irq(), 189).
    ICMSR = Register("ICMSR", 0x0C, on_write="_acknowledged")
    ICSIER = Register("ICSIER", 0x10)
    ICMIER = Register("ICMIER", 0x14, on_write="_enabled")
    ICCCR = Register("ICCCR", 0x18)
    ICSAR = Register("ICSAR", 0x1C)
    ICMAR = Register("ICMAR", 0x20)
    ICRXTX = Register("ICRXTX", 0x24, on_write="_sent")
    ICCCR2 = Register("ICCCR2", 0x28)
    ICMPR = Register("ICMPR", 0x2C)
    ICHPR = Register("ICHPR", 0x30)
    ICLPR = Register("ICLPR", 0x34)
    ICFBSCR = Register("ICFBSCR", 0x38)
    ICDMAER = Register("ICDMAER", 0x3C, on_write="_dma_enabled")

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._idle()
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._pump)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._pump)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.tx, self.rx)),)

    def _idle(self) -> None:
        self._ending = 0
        self._byte: int | None = None
        self._held: int | None = None
        self._flags = 0

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _show(self, flags: int) -> None:
        """New bits of ICMSR."""
        self._flags |= flags
        self.ICMSR = self._flags
        self.level(bool(self._flags & self.ICMIER))

    def _enabled(self, value: int) -> None:
        if value == _MST and self._flags & _MNR:
            # The hardware stops by itself after a missing acknowledgement (751).
            self.later(0, lambda: self._show(_MST))
        self.level(bool(self._flags & self.ICMIER))

    def _commanded(self, value: int) -> None:
        if not value & _MIE:
            self.abort()
            self.wire.end()
            self._idle()
            self._show(0)
        elif value & _ESG and not self.wire.active:
            self._start()

    def _start(self) -> None:
        self._idle()
        self.abort()
        started = self.wire.start(self.ICMAR)
        job = self._job

        def addressed() -> None:
            if job != self._job:
                return
            if started.lost:
                self._show(_MAL)
            elif not started.ok:
                self._refused()
            else:
                self._show(_MAT | (_MDR if self.wire.read else _MDE))

        self.later(self.wire.delay_s + self.fault.delay_s, addressed)

    def _refused(self) -> None:
        self.wire.end()
        self._byte = None
        self._show(_MNR)

    def _acknowledged(self, value: int) -> None:
        before = self._flags
        self._flags &= value
        self._show(0)
        cleared = before & ~self._flags
        if self.wire.active and cleared & (_MDE | _MDR):
            self._advance(bool(cleared & _MAT))

    def _advance(self, after_address: bool) -> None:
        ending = self.ICMCR & (_FSB | _ESG)
        if self.wire.read:
            if self.ICDMAER & _RMDMAE:
                self._pump()
            elif self._ending and not after_address:
                self._end(self._ending)
            else:
                # The driver takes a stop back as soon as it is told of the last byte (788).
                self._ending = ending
                self.ICRXTX = self.wire.get()
                self._show(_MDR)
        elif self.ICDMAER & _TMDMAE:
            self._pump()
        else:
            if self._byte is not None:
                byte, self._byte = self._byte, None
                if not self.wire.put(byte):
                    self._refused()
                    return
            if ending:
                self._end(ending)
            else:
                self._show(_MDE)

    def _end(self, ending: int) -> None:
        if ending & _ESG:
            self._start()
        elif self.wire.end():
            self._show(_MST)
        else:
            self._show(_MNR)

    def _sent(self, value: int) -> None:
        self._byte = value & 0xFF

    def _dma_enabled(self, value: int) -> None:
        if not self.wire.active:
            return
        if value & _RMDMAE and self._flags & _MDR and not self._flags & _MAT:
            # A byte that the driver has looked at and not cleared is the DMA's first (632).
            self._held = self.ICRXTX
            self._flags &= ~_MDR
            self._show(0)
        if not value:
            # DMA is through: the register is as full or as empty as it was for the processor.
            if self.wire.read:
                self._ending = 0
                self.ICRXTX = self.wire.get()
            self._show(_MDR if self.wire.read else _MDE)
        elif value & _TMDMAE:
            self._pump()

    def _pump(self) -> None:
        """DMA: while it serves the register, the register's bit is not to be seen."""
        if not self.wire.active or self._flags & (_MNR | _MAT):
            return
        if self.ICDMAER & _TMDMAE:
            self._flags &= ~_MDE
            if self._byte is not None:
                byte, self._byte = self._byte, None
                if not self.wire.put(byte):
                    self._refused()
                    return
            while self.tx.ready:
                if not self.wire.put(self.tx.take()):
                    self._refused()
                    return
        elif self.ICDMAER & _RMDMAE:
            self._flags &= ~_MDR
            while self.rx.ready:
                held, self._held = self._held, None
                self.rx.give(self.wire.get() if held is None else held)
        self._show(0)


HOST = HostModel(
    "rcar",
    module="i2c-rcar",
    symbol="I2C_RCAR",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/renesas,rcar-i2c.yaml
    place=with_dma("renesas,rcar-gen2-i2c", 0x40, 65_000_000),
    function=Rcar,
    policy=POLICY,
)
