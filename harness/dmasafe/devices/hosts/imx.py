# SPDX-License-Identifier: GPL-2.0-or-later
"""NXP's I2C of i.MX, as in the i.MX21: upstream i2c-imx."""

from __future__ import annotations

from errno import EAGAIN, EINVAL, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.pci import Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-imx.c in Linux 7.3; 6.12 does the same with buffers.
POLICY = HostPolicy(
    "i2c-imx",
    rules=(
        Rule(Path.PIO, "i2c_imx_xfer_common() 1638: DMA_THRESHOLD", most=15),
        Rule(Path.PIO, "i2c_imx_xfer_common() 1639: only what is marked", marked=False),
        Rule(Path.MAPS, "i2c_imx_dma_read() 1297: the last two bytes by the processor", reads=True, after=2),
        Rule(Path.MAPS, "i2c_imx_dma_write() 1190: the last byte by the processor", reads=False, after=1),
    ),
    nak=(
        Ending(
            ENXIO,
            "by the processor: at once. By DMA a write waits for the time-out, and its mapping stays",
            "622, 980, 1204",
            unsafe=True,
        ),
    ),
    lost=(Ending(EAGAIN, "looked at in multi-master mode only", "545, 602"),),
    timeout=(Ending(ETIMEDOUT, "terminates the DMA; only its callback would unmap", "1207, 1305, 472", unsafe=True),),
    unmapped=EINVAL,  # 517
    gone=(
        Ending(
            0,
            "its DMA struct is the adapter's own, freed by i2c_del_adapter() and used after it",
            "6.12 i2c_imx_dma_request() 351, i2c_imx_remove() 1582-1585",
            unsafe=True,
            until=(7, 2),
        ),
    ),
    awake=(Ending(0, "has no callback for the system's sleep", "6.12 i2c_imx_pm_ops 1626", until=(7, 2)),),
    timeout_s=0.1,  # by the processor, and what each byte takes (1419); by DMA 1 s (65)
    maps_for="dma",
    notes=(
        "7.3: a read of no bytes has no end before its time-out; all that is read is written behind the buffer (1029)",
        "an error of the DMA controller counts as its end (467, 501)",
        "7.3: i2csr is not cleared before a message: a DMA read after a message that timed out may take that one's "
        "interrupt for its own (593, 1247)",
    ),
)

# 91-104
_RXAK, _IIF, _IAL, _IBB, _ICF = 0x01, 0x02, 0x10, 0x20, 0x80
_DMAEN, _RSTA, _MTX, _MSTA, _IIEN, _IEN = 0x02, 0x04, 0x10, 0x20, 0x40, 0x80


class Imx(I2cHost):
    """A write to I2DR sends, a read of it receives the next byte; each ends with IIF. Registers are 4 bytes apart."""

    IADR = Register("IADR", 0x00, 1)
    IFDR = Register("IFDR", 0x04, 1)
    I2CR = Register("I2CR", 0x08, 1, on_write="_commanded")
    I2SR = Register("I2SR", 0x0C, 1, on_read="_status", on_write="_cleared", reset=_ICF)
    I2DR = Register("I2DR", 0x10, 1, on_read="_read", on_write="_written")

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._idle()
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._pump)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._pump)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.tx, self.rx)),)

    def _idle(self) -> None:
        self._flags = _ICF
        self._before = 0
        self._address_next = False
        self._received = 0
        self._full = False

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _status(self) -> int:
        return self._flags

    def _update(self) -> None:
        self.level(bool(self._flags & _IIF and self.I2CR & _IIEN))

    def _cleared(self, value: int) -> None:
        # Writing 0 clears IIF and IAL on i.MX (109).
        self._flags &= value | ~(_IIF | _IAL)
        self._update()

    def _commanded(self, value: int) -> None:
        before, self._before = self._before, value
        if not value & _IEN:
            self.abort()
            self.wire.end()
            self._idle()
        elif value & _MSTA and not before & _MSTA:
            self._flags |= _IBB
            self._address_next = True
        elif value & _RSTA:
            self._address_next = True
            self.I2CR &= ~_RSTA
            self._before &= ~_RSTA
        elif before & _MSTA and not value & _MSTA:
            self.wire.end()
            self._flags &= ~_IBB
        self._update()
        self._pump()

    def _through(self, acknowledged: bool, lost: bool = False) -> None:
        """A byte is through; with DMA there is no interrupt for it."""
        self._flags = (self._flags & ~_RXAK) | _ICF | (0 if acknowledged else _RXAK)
        if lost:
            self._flags |= _IAL
        if not self.I2CR & _DMAEN:
            self._flags |= _IIF
        self._update()
        self._pump()

    def _written(self, value: int) -> None:
        if not self.I2CR & _MSTA or not self.I2CR & _MTX:
            return
        self._flags &= ~_ICF
        if self._address_next:
            self._address_next = self._full = False
            self.abort()
            started = self.wire.start(value)
            job = self._job

            def addressed() -> None:
                if job == self._job:
                    self._through(started.ok, started.lost)

            self.later(self.wire.delay_s + self.fault.delay_s, addressed)
        elif self.wire.active:
            acknowledged = self.wire.put(value)
            self.later(0, lambda: self._through(acknowledged))

    def _read(self) -> int:
        value, self._full = self._received, False
        if self.I2CR & _MSTA and not self.I2CR & _MTX and self.wire.active and self.wire.read:
            self._flags &= ~_ICF
            self._received = self.wire.get()
            self._full = True
            self.later(0, lambda: self._through(True))
        return value

    def _pump(self) -> None:
        """DMA: requests while the last byte was acknowledged (assumed of NXP's, as of its FIFO-less peripherals)."""
        if not self.I2CR & _DMAEN or not self.wire.active or not self._flags & _ICF:
            return
        if not self.wire.read:
            while self.tx.ready and not self._flags & _RXAK:
                if not self.wire.put(self.tx.take()):
                    self._flags |= _RXAK
        elif self._full:
            while self.rx.ready:
                self.rx.give(self._received)
                self._received = self.wire.get()


HOST = HostModel(
    "imx",
    module="i2c-imx",
    symbol="I2C_IMX",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/i2c-imx.yaml
    place=with_dma("fsl,imx21-i2c", 0x40, 66_000_000, lines="single-master;"),
    function=Imx,
    policy=POLICY,
)
