# SPDX-License-Identifier: GPL-2.0-or-later
"""Microchip's two-wire interface (TWIHS) of the SAMA5D2: upstream i2c-at91."""

from __future__ import annotations

from errno import ENOMEM, EREMOTEIO, ETIMEDOUT
from functools import partial

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.pci import Access, Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2C_AQ_COMB, I2C_AQ_COMB_SAME_ADDR, I2C_AQ_COMB_WRITE_FIRST, I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-at91-master.c in Linux 7.3; 6.12 does the same.
POLICY = HostPolicy(
    "AT91",
    rules=(
        # With DMA channels the helper is asked for every message, and has no buffer for nothing.
        Rule(Path.REFUSED, "at91_twi_xfer() 707", most=0, errno=ENOMEM),
        # The processor reads and writes the helper's copy.
        Rule(Path.PIO, "at91_twi_xfer() 707: a copy all the same; at91_do_twi_transfer() 570, 580", most=8),
        Rule(Path.HELPER, "at91_twi_xfer() 707; not in alternative command mode: two bytes less", 9, reads=True),
        Rule(Path.HELPER, "at91_twi_xfer() 707", least=9, reads=False),
    ),
    nak=(
        Ending(
            EREMOTEIO,
            "terminates and unmaps if a mapping was ever made: also one that the DMA's callback has unmapped",
            "632, 133-149, 179",
            unsafe=True,
        ),
    ),
    lost=(
        Ending(
            ETIMEDOUT,
            "knows no such bit: a message by DMA times out; one by the processor counts as transferred, for TXCOMP "
            "comes with the bit",
            "463, 600-630",
            unsafe=True,
        ),
    ),
    timeout=(Ending(ETIMEDOUT, "terminates and unmaps, as for a missing acknowledgement", "594, 632", unsafe=True),),
    timeout_s=0.1,  # i2c-at91.h AT91_I2C_TIMEOUT
    awake=(Ending(0, "stops its clock, and looks at no transfer", "core 300-303"),),
    unmapped=ETIMEDOUT,  # 212, 349: nothing is started, and nothing says so
    quirks=I2cAdapterQuirks(
        flags=I2C_AQ_COMB | I2C_AQ_COMB_WRITE_FIRST | I2C_AQ_COMB_SAME_ADDR, max_comb_1st_msg_len=3
    ),  # 729
    maps_for="host",
    mask_bits=32,
    begun=1,  # 560 before 572: START is written first, and RHR takes a byte
    stale=("free-unallocated",),
    notes=(
        "a read of 256 bytes or more maps two bytes less than it unmaps (341-346, 321)",
        "buf_mapped is still set when the DMA's callback has unmapped: each later error unmaps again (146)",
        "a mapping that fails leaves the interrupts masked (210, 347)",
        "an unmarked I2C_M_RECV_LEN message gets a copy of one byte, and up to 33 are written to it (707, 284-297)",
        "a write before another message is sent as that one's internal address: two writes are one message (670)",
    ),
)

# i2c-at91.h 30-95
_CR_START, _CR_STOP, _CR_QUICK, _CR_SWRST = 1 << 0, 1 << 1, 1 << 6, 1 << 7
_CR_ACMEN, _CR_ACMDIS, _CR_THRCLR, _CR_LOCKCLR = 1 << 16, 1 << 17, 1 << 24, 1 << 26
_TXCOMP, _RXRDY, _TXRDY, _NACK, _LOCK, _LINES = 1 << 0, 1 << 1, 1 << 2, 1 << 8, 1 << 23, 3 << 24
# The driver knows no such bit; the data sheet: TXCOMP is set with it.
_ARBLST = 1 << 9
_MREAD, _ACR_DIR = 1 << 12, 1 << 8


class At91(I2cHost):
    """A write begins with the first byte in THR, a read with START. ``_left`` counts in alternative command mode."""

    CR = Register("CR", 0x00, access=Access.WO, on_write="_commanded")
    MMR = Register("MMR", 0x04)
    SMR = Register("SMR", 0x08)
    IADR = Register("IADR", 0x0C)
    CWGR = Register("CWGR", 0x10)
    SR = Register("SR", 0x20, access=Access.RO, reset=_TXCOMP | _TXRDY | _LINES, on_read="_status")
    IER = Register("IER", 0x24, access=Access.WO, on_write="_enable")
    IDR = Register("IDR", 0x28, access=Access.WO, on_write="_disable")
    IMR = Register("IMR", 0x2C, access=Access.RO)
    RHR = Register("RHR", 0x30, access=Access.RO, on_read="_received")
    THR = Register("THR", 0x34, access=Access.WO, on_write="_sent")
    ACR = Register("ACR", 0x40)
    FILTR = Register("FILTR", 0x44)
    FMR = Register("FMR", 0x50)
    FLR = Register("FLR", 0x54, access=Access.RO)
    VER = Register("VER", 0xFC, access=Access.RO, reset=0x704)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._idle()
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._pump)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._pump)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.tx, self.rx)),)

    def _idle(self) -> None:
        self._alternative = False
        self._waiting = False
        self._stops = False
        self._left = 0

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _update(self) -> None:
        self.level(bool(self.SR & self.IMR))

    def _status(self) -> int:
        value = self.SR
        # Reading clears it (532).
        self.SR &= ~(_NACK | _ARBLST)
        self._update()
        return value

    def _enable(self, value: int) -> None:
        self.IMR |= value
        self._update()

    def _disable(self, value: int) -> None:
        self.IMR &= ~value
        self._update()

    def _commanded(self, value: int) -> None:
        if value & _CR_SWRST:
            self.abort()
            self.wire.end()
            self._idle()
            self.SR, self.IMR = _TXCOMP | _TXRDY | _LINES, 0
        if value & (_CR_ACMEN | _CR_ACMDIS):
            self._alternative = bool(value & _CR_ACMEN)
        if value & (_CR_LOCKCLR | _CR_THRCLR):
            self.SR &= ~_LOCK
        if value & _CR_QUICK:
            self._begin(bool(self.MMR & _MREAD), stops=True)
        elif value & _CR_START:
            self._begin(True, stops=bool(value & _CR_STOP))
        elif value & _CR_STOP:
            self._stops = True
            if not self.wire.read and not self._waiting:
                self._complete(self.wire.end())
        self._update()

    def _begin(self, read: bool, stops: bool = False) -> None:
        """A start, the address, and before another message the bytes of the internal address."""
        self.SR &= ~(_TXCOMP | _TXRDY | _RXRDY)
        self._stops = stops
        self._left = self.ACR & 0xFF if self._alternative else 0
        self._waiting = True
        self.abort()
        address = self.MMR >> 16 & 0x7F
        inner = self.MMR >> 8 & 3
        started = self.wire.start(address << 1 | (read and not inner))
        ok = started.ok
        if ok and inner:
            for number in reversed(range(inner)):
                ok = ok and self.wire.put(self.IADR >> 8 * number & 0xFF)
            if ok and read:
                ok = self.wire.start(address << 1 | 1).ok
        job = self._job

        def addressed() -> None:
            if job != self._job:
                return
            self._waiting = False
            if started.lost:
                self.SR |= _ARBLST | _TXCOMP
                self._update()
            elif not ok or self.wire.refused:
                self._refused()
            else:
                self._go_on()
                self._pump()

        self.later(self.wire.delay_s + self.fault.delay_s, addressed)

    def _refused(self) -> None:
        self.wire.end()
        self._waiting = False
        # The three come together (426); the transmitter locks in alternative command mode (457).
        self.SR |= _NACK | _TXCOMP | _TXRDY | (_LOCK if self._alternative else 0)
        self._update()

    def _complete(self, acknowledged: bool) -> None:
        if not acknowledged:
            self._refused()
        else:
            self.SR |= _TXCOMP | _TXRDY
            self._update()

    def _go_on(self) -> None:
        """After the address or a byte: what the hardware does by itself."""
        if self.wire.read:
            if not self.SR & _RXRDY:
                self._next_read()
        elif not self._left if self._alternative else self._stops:
            self._complete(self.wire.end())
        else:
            self.SR |= _TXRDY
        self._update()

    def _next_read(self) -> None:
        if self._alternative and not self._left:
            self._complete(self.wire.end())
            return
        if self.rx.ready:
            self._pump()
            return
        self.RHR = self.wire.get()
        self._left -= 1
        self.SR |= _RXRDY

    def _received(self) -> None:
        if not self.SR & _RXRDY:
            return
        self.SR &= ~_RXRDY
        if self.wire.active:
            # On a wire a byte takes longer than the driver from one read to its stop: a stop before the next read is
            # in time for that byte, and one after this read is too late for this one.
            self.later(0, partial(self._after_read, self._stops))

    def _after_read(self, last: bool) -> None:
        if not self.wire.active or self.SR & _RXRDY:
            return
        if not self._alternative and last:
            self._complete(self.wire.end())
        else:
            self._next_read()
        self._update()

    def _sent(self, value: int) -> None:
        if self.SR & _LOCK:
            return
        if not self.wire.active:
            self._begin(False)
        self.SR &= ~(_TXRDY | _TXCOMP)
        self._update()
        self._put(value & 0xFF)
        if not self._waiting and self.wire.active:
            self.later(0, self._written)

    def _written(self) -> None:
        if self.wire.active:
            self._go_on()

    def _put(self, byte: int) -> None:
        self._left -= 1
        if not self.wire.put(byte) and not self._waiting:
            self._refused()

    def _pump(self) -> None:
        """DMA: the transmitter asks for bytes whenever it is empty, the receiver when it is full."""
        if self.tx.ready and not self.wire.active and not self.SR & _LOCK:
            self._begin(False)
            return
        if self._waiting or not self.wire.active:
            return
        if self.wire.read:
            if not self.rx.ready:
                return
            if self.SR & _RXRDY:
                self.SR &= ~_RXRDY
                self.rx.give(self.RHR)
            while self.rx.ready and (self._left or not self._alternative):
                self.rx.give(self.wire.get())
                self._left -= 1
            if not self.rx.ready:
                # Two bytes are left for the processor, or there is the end.
                self._next_read()
        else:
            self.SR &= ~_TXRDY
            while self.tx.ready and self.wire.active:
                self._put(self.tx.take())
            if self.wire.active:
                self._go_on()
        self._update()


HOST = HostModel(
    "at91",
    module="i2c-at91",
    symbol="I2C_AT91",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/atmel,at91sam-i2c.yaml
    place=with_dma("atmel,sama5d2-i2c", 0x100, 83_000_000),
    function=At91,
    policy=POLICY,
)
