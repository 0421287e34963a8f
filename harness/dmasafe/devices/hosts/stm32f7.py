# SPDX-License-Identifier: GPL-2.0-or-later
"""ST's I2C of STM32F7, STM32MP1 and STM32MP2, as in the last with one interrupt line: upstream i2c-stm32f7."""

from __future__ import annotations

from errno import EAGAIN, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel, Window
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.hosts.nodes import reset
from dmasafe.devices.pci import Access, Bar, Register, RegisterBlock
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-stm32f7.c in Linux 7.3. The helper came between 6.12 and 7.2.
_HELPER_SINCE = (6, 17)
POLICY = HostPolicy(
    "STM32F7 I2C",
    rules=(
        Rule(Path.PIO, "stm32f7_i2c_xfer_msg() 928: STM32F7_I2C_DMA_LEN_MIN is 0x16", most=21),
        Rule(Path.MAPS, "6.12: stm32f7_i2c_xfer_msg() 938, no look at the mark", least=22, until=_HELPER_SINCE),
        Rule(Path.HELPER, "stm32f7_i2c_xfer_msg() 928", least=22, since=_HELPER_SINCE),
    ),
    nak=(
        Ending(
            ENXIO,
            "runs the DMA's callback by hand: unmaps and frees before the engine has stopped; once more if the engine "
            "was through already",
            "1619, 732-745, 1733",
            copies=True,
            unsafe=True,
        ),
    ),
    lost=(Ending(EAGAIN, "as for a missing acknowledgement", "1554", copies=True, unsafe=True),),
    timeout=(
        Ending(ETIMEDOUT, "terminates the DMA; neither unmaps nor gives the buffer back", "1745-1751", unsafe=True),
    ),
    timeout_s=8.0,  # 2245; 2 s in 6.12
    maps_for="host",
    mask_bits=32,
    native=("quick", "byte", "byte_data", "word_data", "proc_call", "block_data"),
    unanswered=("proc_call",),  # 6.12: 1844
    notes=(
        "an SMBus process call's answer is not returned: it counts as a write (1840)",
        "SMBus calls go through a buffer in the driver's struct, mapped from 22 bytes on (1104)",
        "the buffer is mapped for the I2C device, not for the DMA controller that uses it (931, i2c-stm32.c 118)",
    ),
)

# RM0436 and others, chapter I2C; bits as in the driver (53-151).
_TXDMAEN, _RXDMAEN, _PE = 1 << 14, 1 << 15, 1 << 0
_START, _STOP, _AUTOEND, _RELOAD, _RD = 1 << 13, 1 << 14, 1 << 25, 1 << 24, 1 << 10
_BUSY, _ARLO, _TCR, _TC, _STOPF, _NACKF = 1 << 15, 1 << 9, 1 << 7, 1 << 6, 1 << 5, 1 << 4
_RXNE, _TXIS, _TXE = 1 << 2, 1 << 1, 1 << 0
# Which enabling bit of CR1 is for which flags of ISR.
# Longer than the provider of the DMA engine waits before it looks again (images/hosts).
_LAST_BYTE_S = 0.01
_ENABLES = ((1 << 1, _TXIS), (1 << 2, _RXNE), (1 << 4, _NACKF), (1 << 5, _STOPF), (1 << 6, _TC | _TCR), (1 << 7, _ARLO))


class Stm32f7(I2cHost):
    """``_left`` bytes of NBYTES are left to move; then TCR asks for more, TC for a start or a stop."""

    CR1 = Register("CR1", 0x00, on_write="_configured")
    CR2 = Register("CR2", 0x04, on_write="_commanded")
    OAR1 = Register("OAR1", 0x08)
    OAR2 = Register("OAR2", 0x0C)
    TIMINGR = Register("TIMINGR", 0x10)
    ISR = Register("ISR", 0x18, access=Access.RO, reset=_TXE)
    ICR = Register("ICR", 0x1C, access=Access.WO, on_write="_cleared")
    PECR = Register("PECR", 0x20, access=Access.RO)
    RXDR = Register("RXDR", 0x24, access=Access.RO, on_read="_received")
    TXDR = Register("TXDR", 0x28, on_write="_sent")

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._left = 0
        # What reset-simple drives: a bit of a register, for the driver cannot do without a reset line.
        self.resets = RegisterBlock(0x1000, (Register("RESETS", 0x0),))
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._pump)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._pump)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.resets, self.tx, self.rx)),)

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._left = 0

    def _update(self) -> None:
        self.level(any(self.CR1 & enable and self.ISR & flags for enable, flags in _ENABLES))

    def _configured(self, value: int) -> None:
        if not value & _PE:
            # RM: clearing PE is a software reset; the bus is let go.
            self.abort()
            self.wire.end()
            self.ISR, self._left = _TXE, 0
            self.CR2 &= ~(_START | _STOP)
        self._update()
        self._pump()

    def _commanded(self, value: int) -> None:
        if value & _START:
            self.ISR = (self.ISR | _BUSY) & ~(_TC | _TCR)
            self._left = value >> 16 & 0xFF
            self.abort()
            started = self.wire.start(value & 0xFE | bool(value & _RD))
            job = self._job

            def addressed() -> None:
                if job != self._job:
                    return
                self.CR2 &= ~_START
                if started.lost:
                    self.ISR = (self.ISR | _ARLO) & ~_BUSY
                elif not started.ok:
                    self._refused()
                else:
                    self._pump()
                self._update()

            self.later(self.wire.delay_s + self.fault.delay_s, addressed)
        elif value & _STOP:
            self.CR2 &= ~_STOP
            if self.wire.active:
                self._stopped(self.wire.end())
        elif self.ISR & _TCR and value >> 16 & 0xFF:
            self.ISR &= ~_TCR
            self._left = value >> 16 & 0xFF
            self._pump()
        self._update()

    def _refused(self) -> None:
        """RM: the stop after a missing acknowledgement comes by itself."""
        self.wire.end()
        self._left = 0
        self.ISR = (self.ISR | _NACKF | _STOPF) & ~(_BUSY | _TXIS | _TC | _TCR)

    def _stopped(self, acknowledged: bool) -> None:
        self.ISR = (self.ISR | _STOPF | (0 if acknowledged else _NACKF)) & ~(_BUSY | _TC | _TCR)

    def _pump(self) -> None:
        """Moves what can be moved: all that DMA has room for, or one byte and its flag."""
        if not self.wire.active or self.wire.refused or self.CR2 & _START:
            return
        if self.wire.read:
            while self._left and self.CR1 & _RXDMAEN and self.rx.ready:
                self.rx.give(self.wire.get())
                self._left -= 1
            if self._left and not self.CR1 & _RXDMAEN and not self.ISR & _RXNE:
                self.RXDR = self.wire.get()
                self.ISR |= _RXNE
        else:
            while self._left and self.CR1 & _TXDMAEN and self.tx.ready:
                if not self._put(self.tx.take()):
                    return
            if self._left and not self.CR1 & _TXDMAEN:
                self.ISR |= _TXIS
        if not self._left and not self.ISR & (_TC | _TCR | _RXNE):
            self._counted()
        self._update()

    def _counted(self) -> None:
        if self.CR2 & _RELOAD:
            self.ISR |= _TCR
        elif self.CR2 & _AUTOEND:
            self._stopped(self.wire.end())
        else:
            self.ISR |= _TC

    def _put(self, byte: int) -> bool:
        self.ISR &= ~_TXIS
        self._left -= 1
        if self.wire.put(byte):
            return True
        job = self._job

        def refuse() -> None:
            if job == self._job and self.wire.active:
                self._refused()
                self._update()

        if self.CR1 & _TXDMAEN and not self.tx.ready:
            # The last byte is still on the wire when the DMA controller is through.
            self.later(_LAST_BYTE_S, refuse)
        else:
            refuse()
        return False

    def _sent(self, value: int) -> None:
        if self.ISR & _TXIS and self._put(value & 0xFF):
            self.later(0, self._pump)
        self._update()

    def _received(self) -> None:
        if self.ISR & _RXNE:
            self.ISR &= ~_RXNE
            self._left -= 1
            self.later(0, self._pump)
            self._update()

    def _cleared(self, value: int) -> None:
        self.ISR &= ~(value & (_STOPF | _NACKF | _ARLO | 1 << 8 | 1 << 11 | 1 << 13))
        self._update()


HOST = HostModel(
    "stm32f7",
    module="i2c-stm32f7-drv",
    symbol="I2C_STM32F7",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/st,stm32-i2c.yaml
    place=with_dma(
        "st,stm32mp25-i2c",
        0x400,
        64_000_000,
        lines="resets = <&{label}_rst 0>;",
        nodes=reset(1),
        windows=(Window(0x1000, 0x10),),
    ),
    function=Stm32f7,
    policy=POLICY,
    needs=("RESET_SIMPLE",),
)
