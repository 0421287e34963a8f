# SPDX-License-Identifier: GPL-2.0-or-later
"""Renesas' IIC of SH-Mobile and R-Car, second generation: upstream i2c-sh_mobile."""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.pci import Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN_READ, I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-sh_mobile.c in Linux 7.3; 6.12 does the same.
POLICY = HostPolicy(
    "i2c-sh_mobile",
    rules=(
        Rule(Path.PIO, "start_ch() 584", most=7),
        Rule(Path.HELPER, "start_ch() 584: threshold 8", least=8),
    ),
    nak=(
        Ending(
            ENXIO,
            "goes on to the end of the message, DMA or not, and gives the buffer back as if it had been transferred",
            "419, 687, 627",
            copies=True,
        ),
    ),
    lost=(Ending(EAGAIN, "goes on to the end of the message", "419, 629", copies=True),),
    timeout=(
        Ending(
            ETIMEDOUT,
            "frees the copy, then terminates the DMA and unmaps: until then the hardware has it",
            "687 before 692",
            unsafe=True,
        ),
    ),
    timeout_s=1.0,  # HZ, the I2C core's own
    quirks=I2cAdapterQuirks(flags=I2C_AQ_NO_ZERO_LEN_READ),  # 747
    maps_for="dma",
    reads_on=True,  # sh_mobile_i2c_isr() 456: to issue a stop
    notes=(
        "while DMA is to start after an address that nobody acknowledges, the interrupt stays high (417)",
        "each interrupt after the end of a read writes one more byte behind the buffer (395)",
        "whoever does not acknowledge and then holds the clock beyond the time-out leaves buffer and mapping with the "
        "DMA controller: only a wait without TACK ends in its termination (683, 691)",
        "an error of the DMA controller counts as its end (461)",
    ),
)

# ICCR (159-164), ICSR (166-173), ICIC (175-182).
_ICE, _RACK, _TRS, _BBSY, _SCP = 0x80, 0x40, 0x10, 0x04, 0x01
_BUSY, _AL, _TACK, _WAIT, _DTE = 0x10, 0x08, 0x04, 0x02, 0x01
_TDMAE, _RDMAE = 0x20, 0x10
# DTE tells of the last byte, and BUSY ends with the stop after it (88-99): on a bus there is time for an interrupt.
# Here the stop comes when that has read the byte, or after so many looks at ICSR; the driver takes 1000 (614).
_LOOKS = 900


class ShMobile(I2cHost):
    """DTE asks for an address, WAIT is after the eight bits of each byte: what follows is done when it is cleared.

    ``_queue`` is what was received: ICDR has the byte before the one in the shift register.
    """

    ICDR = Register("ICDR", 0x00, 1, on_read="_read_data", on_write="_data")
    ICCR = Register("ICCR", 0x04, 1, on_write="_commanded")
    ICSR = Register("ICSR", 0x08, 1, on_read="_status", on_write="_acknowledged")
    ICIC = Register("ICIC", 0x0C, 1, on_write="_enabled")
    ICCL = Register("ICCL", 0x10, 1)
    ICCH = Register("ICCH", 0x14, 1)
    ICSTART = Register("ICSTART", 0x70, 1)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._idle()
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._pump)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._pump)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.tx, self.rx)),)

    def _idle(self) -> None:
        self._flags = 0
        self._queue: deque[int] = deque()
        self._idle_message()

    def _idle_message(self) -> None:
        self._queue.clear()
        self._byte: int | None = None
        self._wants_address = self._receives = self._dma_through = self._stops = False
        self._looks = 0
        self._acked = True

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _show(self, flags: int) -> None:
        self._flags |= flags
        self.level(bool(self._flags & self.ICIC & 0x0F))

    def _status(self) -> int:
        if self._looks:
            self._looks -= 1
            if not self._looks:
                self._stopped()
        return self._flags

    def _enabled(self, _value: int) -> None:
        self._show(0)
        self._after_dma()
        self._pump()

    def _after_dma(self) -> None:
        """While DMA serves the register its bit is not to be seen; nor is it before the driver has taken TACK."""
        if self._dma_through and not self.ICIC & (_TDMAE | _RDMAE) and not self._flags & _TACK:
            self._dma_through = False
            self._show(_WAIT)

    def _commanded(self, value: int) -> None:
        if not value & _ICE:
            self.abort()
            self.wire.end()
            self._idle()
            self._show(0)
        elif value & _TRS and value & _BBSY:
            # A start, or a repeated one: the address is wanted.
            self._wants_address = True
            self._flags &= ~_WAIT
            self._show(_DTE | _BUSY | (0 if self._acked else _TACK))
        elif value & _TRS:
            # WAIT holds the clock: the stop comes when the driver has cleared it.
            self._stops = True
            if not self._flags & _WAIT:
                self._stop()
        elif value & _SCP:
            self._receives = True
        # RACK: the byte in the shift register is the last. WAIT, when it is cleared, says the rest.

    def _stop(self) -> None:
        self._stops = False
        acknowledged = self.wire.end()
        self.later(0, lambda: self._stopped(0 if acknowledged else _TACK))

    def _stopped(self, shown: int = 0) -> None:
        """The driver polls for it (611). An interrupt now would find it with a message that is no more."""
        self._looks = 0
        self._flags = self._flags & ~_BUSY | shown

    def _data(self, value: int) -> None:
        self._flags &= ~_DTE
        if self._wants_address:
            self._idle_message()
            self.abort()
            started = self.wire.start(value)
            self._acked = started.ok
            job = self._job

            def addressed() -> None:
                if job == self._job:
                    self._show(_AL if started.lost else _WAIT)

            self.later(self.wire.delay_s + self.fault.delay_s, addressed)
        else:
            self._byte = value
        self._show(0)

    def _read_data(self) -> int:
        byte = self._queue.popleft() if self._queue else 0xFF
        if not self._queue and not self.wire.active:
            self._flags &= ~_DTE
            self._show(0)
            self._stopped()
        return byte

    def _acknowledged(self, value: int) -> None:
        """Writing 0 clears a bit."""
        before = self._flags
        self._flags &= value | _BUSY | _DTE
        cleared = before & ~self._flags
        self._show(0)
        if not self.wire.active:
            return
        if cleared & _WAIT and self._stops:
            self._stop()
            return
        if cleared & _WAIT and not self._acked:
            # The ninth bit comes after the eight of WAIT (88-93).
            self._acked = True
            self.later(0, lambda: self._show(_TACK))
        elif cleared & (_WAIT | _TACK) and not self._flags & (_WAIT | _TACK):
            self._go_on()
        self._after_dma()

    def _go_on(self) -> None:
        if self._byte is not None:
            byte, self._byte = self._byte, None
            self._acked = self.wire.put(byte)
            self.later(0, lambda: self._show(_WAIT))
        elif self.ICCR & _RACK:
            self.wire.end()
            if self._queue:
                self._looks = _LOOKS
                self._show(_DTE)
            else:
                self._stopped()
                self._show(0)
        elif self._receives and not self.ICIC & _RDMAE:
            self._queue.append(self.wire.get())
            self.later(0, lambda: self._show(_WAIT))
        else:
            self._pump()

    def _pump(self) -> None:
        """DMA, while it is enabled and WAIT is not held."""
        if not self.wire.active or self._flags & _WAIT:
            return
        if self.ICIC & _TDMAE and not self.wire.read:
            while self.tx.ready:
                self._acked = self.wire.put(self.tx.take()) and self._acked
            self._dma_through = True
        elif self.ICIC & _RDMAE and self._receives:
            if not self.rx.ready and not self._dma_through:
                # It is received, then DMA is asked to take it, and fails.
                self._queue.append(self.wire.get())
            while self.rx.ready:
                self.rx.give(self.wire.get())
            self._dma_through = True


HOST = HostModel(
    "sh-mobile",
    module="i2c-sh_mobile",
    symbol="I2C_SH_MOBILE",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/renesas,rmobile-iic.yaml
    place=with_dma("renesas,rmobile-iic", 0x100, 10_000_000),
    function=ShMobile,
    policy=POLICY,
)
