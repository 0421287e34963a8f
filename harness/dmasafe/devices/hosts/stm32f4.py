# SPDX-License-Identifier: GPL-2.0-or-later
"""STMicroelectronics' first I2C controller, as in the STM32F4, without its DMA: upstream i2c-stm32f4."""

from __future__ import annotations

from errno import EAGAIN, EIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import HostModel, Window
from dmasafe.devices.hosts.irqsteer import SYMBOL, Irqsteer, with_irqs
from dmasafe.devices.hosts.nodes import i2c, reset
from dmasafe.devices.pci import Access, Bar, Register, RegisterBlock
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-stm32f4.c in Linux 7.3; 6.12 does the same.
POLICY = HostPolicy(
    "STM32 I2C(",
    rules=(Rule(Path.PIO, "stm32f4_i2c_write_msg() 327, stm32f4_i2c_read_msg() 335: it has no DMA"),),
    nak=(Ending(EIO, "sends a stop after a write, none after a read", "stm32f4_i2c_isr_error() 644-652"),),
    lost=(Ending(EAGAIN, "disables its interrupts", "634, 661"),),
    timeout=(
        Ending(
            ETIMEDOUT,
            "leaves interrupts enabled and a pointer into the buffer: what comes late goes there, or comes from there",
            "stm32f4_i2c_xfer_msg() 705-710",
            unsafe=True,
        ),
    ),
    gone=(Ending(0, "disables its clock at the end of its probe, and devm_clk_get_enabled() once more", "780, 833"),),
    awake=(Ending(0, "has no callback for the system's sleep", "i2c-stm32f4.c"),),
    timeout_s=2.0,  # 819
    wedges=True,
    notes=(
        "a read that nobody acknowledges gets no stop (645), and so the bus stays busy, says RM0090 of SR1.AF: every "
        "later transfer is EBUSY (697). ST's own HAL sends one in both directions",
        "the message after one that timed out gets its interrupts: only the first waits for a free bus (696)",
    ),
)

# 33-80
_START, _STOP, _ACK, _POS, _PE = 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 0
_ITERREN, _ITEVTEN, _ITBUFEN = 1 << 8, 1 << 9, 1 << 10
_AF, _ARLO, _BERR, _TXE, _RXNE, _BTF, _ADDR, _SB = 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 6, 1 << 2, 1 << 1, 1 << 0
_BUSY = 1 << 1
_EVENTS, _BUFFERS, _ERRORS = _BTF | _ADDR | _SB, _TXE | _RXNE, _AF | _ARLO | _BERR
_EVENT, _ERROR = 0, 1


class Stm32f4(I2cHost):
    """One byte in DR and one in the shift register (``_shift``), in both directions; RM0090, 27.

    BTF says that both are full, or empty. It comes a byte's time after RXNE or TXE, which a driver has for DR: here
    only once the driver no longer listens to those.
    """

    CR1 = Register("CR1", 0x00, on_write="_commanded")
    CR2 = Register("CR2", 0x04, on_write="_update")
    OAR1 = Register("OAR1", 0x08)
    OAR2 = Register("OAR2", 0x0C)
    DR = Register("DR", 0x10, on_read="_receive", on_write="_transmit")
    SR1 = Register("SR1", 0x14, on_read="_status", on_write="_cleared")
    SR2 = Register("SR2", 0x18, access=Access.RO, on_read="_addressed")
    CCR = Register("CCR", 0x1C)
    TRISE = Register("TRISE", 0x20)
    FLTR = Register("FLTR", 0x24)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self.irqs = Irqsteer(self.level)
        # What reset-simple drives: the driver cannot do without a reset line.
        self.resets = RegisterBlock(0x1000, (Register("RESETS", 0x0, on_write=lambda _block, _value: self._restart()),))
        self.bars = (Bar(0, 0x10000, (*self.registers, self.resets, self.irqs)),)
        self._idle()

    def _idle(self) -> None:
        self._flags = 0
        self._held = False
        self._received: list[int] = []
        self._last = self._wants_start = False

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _restart(self) -> None:
        self.abort()
        self.wire.end()
        self._idle()
        self.CR1 = self.CR2 = 0
        self._update()

    def _status(self) -> int:
        flags = self._flags
        if not self.CR2 & _ITBUFEN and not self._held:
            waits = len(self._received) == 2 if self.wire.read else flags & _TXE
            flags |= _BTF if waits and not flags & _ADDR else 0
        return flags

    def _update(self, _value: int = 0) -> None:
        flags, cr2 = self._status(), self.CR2
        events = _EVENTS | (_BUFFERS if cr2 & _ITBUFEN else 0)
        self.irqs.set(_EVENT, bool(cr2 & _ITEVTEN and flags & events))
        self.irqs.set(_ERROR, bool(cr2 & _ITERREN and flags & _ERRORS))

    def _cleared(self, value: int) -> None:
        """Writing 0 clears an error."""
        self._flags &= value | ~_ERRORS
        self._update()

    def _commanded(self, value: int) -> None:
        self.CR1 = value & ~(_START | _STOP)
        if not value & _PE:
            self._restart()
        if value & _STOP:
            self.abort()
            self.wire.end()
            self._flags &= ~(_TXE | _SB)
            self._held = False
        if value & _START:
            # A repeated one waits until what was received is fetched.
            self._wants_start = True
            self._started()
        self._update()

    def _started(self) -> None:
        if self._wants_start and not self._received:
            self._wants_start = False
            self._flags = (self._flags & ~_TXE) | _SB

    def _transmit(self, value: int) -> None:
        if self._flags & _SB:
            self._flags &= ~_SB
            self._address(value & 0xFF)
        elif self._flags & _TXE:
            self._flags &= ~_TXE
            if self.wire.put(value):
                self._flags |= _TXE
            else:
                self._flags |= _AF
        self._update()

    def _address(self, octet: int) -> None:
        self.abort()
        started = self.wire.start(octet)
        job = self._job
        self._held = True
        self._received = []
        self._last = False

        def addressed() -> None:
            if job == self._job:
                self._held = False
                self._flags |= _ADDR if started.ok else _ARLO if started.lost else _AF
                self._update()

        self.later(self.wire.delay_s + self.fault.delay_s, addressed)

    def _addressed(self) -> int:
        """SR2: to read it clears ADDR, and the bytes begin."""
        busy = _BUSY if self.wire.active or self._held else 0
        if self._flags & _ADDR:
            self._flags &= ~_ADDR
            if not self.wire.read and self.wire.active:
                self._flags |= _TXE
            self._fill()
            self._update()
        return busy

    def _fill(self) -> None:
        """Receives until DR and the shift register are full, or a byte was not acknowledged."""
        while self.wire.active and self.wire.read and len(self._received) < 2 and not self._last:
            # With POS it is the second byte that is not acknowledged.
            self._last = not self.CR1 & _ACK and (not self.CR1 & _POS or len(self._received) == 1)
            self._received.append(self.wire.get())
        if self._received:
            self._flags |= _RXNE

    def _receive(self) -> int:
        if not self._received:
            return 0
        byte = self._received.pop(0)
        self._flags &= ~_RXNE
        self._fill()
        if not self._received:
            self._started()
        self._update()
        return byte


HOST = HostModel(
    "stm32f4",
    module="i2c-stm32f4",
    symbol="I2C_STM32F4",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/st,stm32-i2c.yaml
    place=with_irqs(
        i2c(
            "st,stm32f4-i2c",
            42_000_000,
            lines="resets = <&{label}_rst 0>;",
            nodes=reset(1),
            interrupts="interrupt-parent = <&{label}_irqs>; interrupts = <0>, <1>;",
        ),
        Window(0, 0x400),
        Window(0x1000, 0x10),
    ),
    function=Stm32f4,
    policy=POLICY,
    needs=("RESET_SIMPLE", SYMBOL),
)
