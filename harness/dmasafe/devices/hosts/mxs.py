# SPDX-License-Identifier: GPL-2.0-or-later
"""Freescale's I2C controller of the i.MX28 and a channel of its DMA engine APBX: upstream i2c-mxs and mxs-dma.

The driver hands the engine commands for the controller's registers beside the data: no other engine will do.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO, ENXIO, EOPNOTSUPP, ETIMEDOUT
from struct import Struct

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import HostModel, Window
from dmasafe.devices.hosts.irqsteer import SYMBOL, Irqsteer, with_irqs
from dmasafe.devices.hosts.nodes import clock
from dmasafe.devices.pci import Access, Bar, Register, RegisterBlock
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN, I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-mxs.c in Linux 7.3; 6.12 does the same.
POLICY = HostPolicy(
    "MXS I2C adapter",
    rules=(
        Rule(Path.REFUSED, "mxs_i2c_quirks 703", most=0, errno=EOPNOTSUPP),
        Rule(Path.PIO, "mxs_i2c_xfer_msg() 587", most=4, reads=True),
        Rule(Path.PIO, "mxs_i2c_xfer_msg() 589", most=6, reads=False),
        Rule(Path.HELPER, "mxs_i2c_xfer_msg() 599", least=5, reads=True),
        Rule(Path.HELPER, "mxs_i2c_xfer_msg() 599", least=7, reads=False),
    ),
    nak=(
        Ending(
            ENXIO, "completes, then unmaps; gives the buffer back as if it had been transferred", "610-616", copies=True
        ),
    ),
    lost=(Ending(EIO, "as for a missing acknowledgement", "mxs_i2c_isr() 690", copies=True),),
    timeout=(
        Ending(
            ETIMEDOUT,
            "frees the copy, unmaps, resets the controller; the DMA engine's commands stay",
            "612 before 648; never dmaengine_terminate",
            copies=True,
            unsafe=True,
        ),
    ),
    awake=(Ending(0, "has no callback for the system's sleep", "i2c-mxs.c"),),
    timeout_s=1.0,  # 610
    quirks=I2cAdapterQuirks(I2C_AQ_NO_ZERO_LEN),
    mask_bits=32,
    scatterlists=True,
    notes=(
        "it maps scatterlists, before which nobody checks for vmalloc() (237, 270)",
        "the callback completes first and unmaps then (176): whoever waits may have copied from the buffer, and freed "
        "it, before it is unmapped",
        "after a time-out mxs-dma still counts the channel as busy (mxs-dma.c 487): it puts the next "
        "message's commands behind those of the one that timed out, whose buffer is free",
        "nobody looks at what dma_map_sg() returns (208, 237, 270): a mapping may have failed, and two pieces that an "
        "IOMMU joins leave one of length 0, which is 64 KiB to the engine",
        "a byte of the driver's own struct goes by DMA with each message (207, 268)",
    ),
)

# 29-79
_SFTRST, _CLKGATE, _RUN = 1 << 31, 1 << 30, 1 << 29
_PRE_START, _POST_STOP, _SENDS = 1 << 19, 1 << 20, 1 << 16
_NAK_IRQ, _DONE_IRQ, _LOSS_IRQ, _CLR_NAK = 0x20, 0x40, 0x04, 1 << 28
_GOT_A_NAK, _BUS_BUSY = 1 << 28, 1 << 11
# mxs-dma.c 35-112: a command is next, bits, bytes, address, words for the controller.
_APBX = 0x1000
_COMMAND = Struct("<IHHI")
_CHAIN, _IRQ, _DEC_SEM = 1 << 2, 1 << 3, 1 << 6
_TO_MEMORY, _FROM_MEMORY = 1, 2
_BUS_ERROR = 1 << 16
_I2C, _DMA = 0, 1
# Between the controller's interrupt and the engine's, in seconds: the driver reads its result at the engine's.
_AFTER_S = 0.001
# Commands of a chain that are executed in one go.
_STEPS = 64


def _stmp(name: str, offset: int, reset: int = 0, changed: Callable[[], None] = lambda: None) -> tuple[Register, ...]:
    """A register and those behind it that set, clear and turn its bits; what is read there is the register too."""
    ways: tuple[tuple[str, Callable[[int, int], int]], ...] = (
        ("_SET", lambda old, new: old | new),
        ("_CLR", lambda old, new: old & ~new),
        ("_TOG", lambda old, new: old ^ new),
    )

    def behind(number: int, suffix: str, combine: Callable[[int, int], int]) -> Register:
        def write(block: RegisterBlock, value: int) -> None:
            block[name] = combine(block[name], value)
            changed()

        return Register(name + suffix, offset + 4 * number, on_read=lambda block: int(block[name]), on_write=write)

    plain = Register(name, offset, reset=reset, on_write=lambda _block, _value: changed())
    return (plain, *(behind(number, *way) for number, way in enumerate(ways, 1)))


class Mxs(I2cHost):
    """A command in CTRL0 runs until its count is through: what it sends or receives is in DATA, or the engine's.

    ``_left`` are the bytes of the command under way. ``_active``: the engine is at a command. If the controller is
    reset meanwhile, it is so for good: only the reset of its channel helps.
    """

    TIMING0 = Register("TIMING0", 0x10)
    TIMING1 = Register("TIMING1", 0x20)
    TIMING2 = Register("TIMING2", 0x30)
    STAT = Register("STAT", 0x50, access=Access.RO, on_read="_status")
    DATA = Register("DATA", 0xA0)
    DEBUG0 = Register("DEBUG0", 0xB0)
    DEBUG0_CLR = Register("DEBUG0_CLR", 0xB8, access=Access.WO)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self.irqs = Irqsteer(self.level)
        self.core = RegisterBlock(
            0,
            (
                *_stmp("CTRL0", 0x00, _SFTRST | _CLKGATE, self._controlled),
                *_stmp("CTRL1", 0x40, 0, self._acknowledged),
            ),
        )
        # mxs-dma.c 38-55, channel 0.
        self.apbx = RegisterBlock(
            _APBX,
            (
                *_stmp("APBX_CTRL0", 0x000, _SFTRST | _CLKGATE, self._engine_reset),
                *_stmp("APBX_CTRL1", 0x010, 0, self._update),
                *_stmp("APBX_CTRL2", 0x020, 0, self._update),
                *_stmp("CHANNEL_CTRL", 0x030, 0, self._channel_reset),
                Register("NXTCMDAR", 0x110),
                Register("BAR", 0x130),
                Register(
                    "SEMA",
                    0x140,
                    on_read=lambda _block: self._semaphore << 16,
                    on_write=lambda _block, value: self._kick(value),
                ),
                Register("DEBUG1", 0x150, access=Access.RO),
            ),
        )
        self.bars = (Bar(0, 0x10000, (*self.registers, self.core, self.apbx, self.irqs)),)
        self._idle()

    def _idle(self) -> None:
        self._left = self._semaphore = self._chain = self._steps = 0
        self._begins = self._runs = self._active = False

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _update(self) -> None:
        mine, engine = self.core["CTRL1"], self.apbx["APBX_CTRL1"]
        self.irqs.set(_I2C, bool(mine & mine >> 8 & 0xFF))
        self.irqs.set(_DMA, bool((engine & engine >> 16 | self.apbx["APBX_CTRL2"]) & 1))

    # The controller.

    def _status(self) -> int:
        return self.STAT | (_BUS_BUSY if self.wire.active else 0)

    def _controlled(self) -> None:
        value = self.core["CTRL0"]
        if value & _SFTRST:
            self.abort()
            self.wire.end()
            self._runs, self._left = False, 0
            self.core["CTRL0"], self.core["CTRL1"], self.STAT = _SFTRST | _CLKGATE, 0, 0
        elif value & _RUN and not self._runs:
            self._begin(value)
            if value & _SENDS:
                self._send(self.DATA.to_bytes(4, "little")[: self._left], lambda: None)
            else:
                self.DATA = int.from_bytes(self._receive(min(4, self._left)), "little")
        self._update()

    def _acknowledged(self) -> None:
        if self.core["CTRL1"] & _CLR_NAK:
            self.core["CTRL1"] &= ~_CLR_NAK
            self.core["CTRL0"] &= ~_RUN
            self.STAT &= ~_GOT_A_NAK
            self._runs = False
        self._update()

    def _begin(self, command: int) -> None:
        self._runs = True
        self._left = command & 0xFFFF
        self._begins = bool(command & _PRE_START)

    def _send(self, data: bytes, then: Callable[[], None]) -> None:
        """Bytes of the command under way; after a start the first is the address."""

        def rest(data: bytes) -> None:
            self._left -= len(data)
            if not all(self.wire.put(byte) for byte in data):
                self._failed(_NAK_IRQ)
                return
            if self._left <= 0:
                self._done()
            then()

        if not self._begins or not data:
            rest(data)
            return
        self._begins = False
        self._left -= 1
        self.abort()
        started = self.wire.start(data[0])
        job = self._job

        def addressed() -> None:
            if job != self._job:
                return
            if started.ok:
                rest(data[1:])
            else:
                self._failed(_LOSS_IRQ if started.lost else _NAK_IRQ)
            self._update()

        self.later(self.wire.delay_s + self.fault.delay_s, addressed)

    def _receive(self, length: int) -> bytes:
        data = bytes(self.wire.get() for _ in range(length))
        self._left -= length
        if self._left <= 0:
            self._done()
        return data

    def _done(self) -> None:
        if self.core["CTRL0"] & _POST_STOP:
            self.wire.end()
        self._runs = False
        self.core["CTRL0"] &= ~_RUN
        self.core["CTRL1"] |= _DONE_IRQ
        self._update()

    def _failed(self, irq: int) -> None:
        """It stays so until it is told to go on (619-625). The engine ends with an error (mxs-dma.c 343-357)."""
        self.wire.end()
        self.core["CTRL1"] |= irq
        self.STAT |= _GOT_A_NAK if irq == _NAK_IRQ else 0
        self._update()
        if self._active:
            chain = self._chain
            self.later(_AFTER_S, lambda: self._halt(chain, 1))

    # The engine.

    def _engine_reset(self) -> None:
        if self.apbx["APBX_CTRL0"] & _SFTRST:
            self.apbx["APBX_CTRL0"] |= _CLKGATE
            self._forget()
            self.apbx["APBX_CTRL1"] = self.apbx["APBX_CTRL2"] = 0
        self._update()

    def _channel_reset(self) -> None:
        if self.apbx["CHANNEL_CTRL"] >> 16 & 1:
            self.apbx["CHANNEL_CTRL"] &= ~(1 << 16)
            self._forget()

    def _forget(self) -> None:
        self._chain += 1
        self._active, self._semaphore, self._steps = False, 0, 0

    def _halt(self, chain: int, error: int) -> None:
        if chain == self._chain:
            self._forget()
            self.apbx["APBX_CTRL2"] |= error
            self._update()

    def _kick(self, value: int) -> None:
        self._semaphore = min(0xFF, self._semaphore + (value & 0xFF))
        if self._semaphore and not self._active:
            self._active = True
            self.bus.flush()
            self._execute(self._chain)

    def _execute(self, chain: int) -> None:
        """The command at NXTCMDAR, and then what comes behind it."""
        at = self.apbx["NXTCMDAR"]
        following, bits, length, address = _COMMAND.unpack(self.dma.read(at, _COMMAND.size, control=True))
        if bits >> 12:
            word = int.from_bytes(self.dma.read(at + _COMMAND.size, 4, control=True), "little")
            self.core["CTRL0"] = word | _RUN
            self._begin(word)
        self.apbx["NXTCMDAR"], self.apbx["BAR"] = following, address
        way = bits & 3

        def through() -> None:
            if chain == self._chain:
                self._through(bits, chain)

        if way and self.fault.dma_error:
            self._halt(chain, 1 | _BUS_ERROR)
        elif way == _FROM_MEMORY:
            whole = length or 0x10000
            payload = self.dma.read(address, whole, control=True) if self._begins else self.fetch(address, whole)
            self._send(payload[: self._left], through)
        elif way == _TO_MEMORY:
            self.store(address, self._receive(min(length or 0x10000, self._left)))
            through()
        else:
            through()

    def _through(self, bits: int, chain: int) -> None:
        if bits & _DEC_SEM:
            self._semaphore = max(0, self._semaphore - 1)
        if bits & _IRQ:
            self.apbx["APBX_CTRL1"] |= 1
        if bits & _CHAIN:
            self._steps += 1
            if self._steps % _STEPS:
                self._execute(chain)
            else:
                # A chain that leads back to itself never ends, as with the hardware: others get their turn.
                self.later(_AFTER_S, lambda: self._execute(chain) if chain == self._chain else None)
        else:
            self._active = False
        self._update()


HOST = HostModel(
    "mxs",
    module="i2c-mxs",
    symbol="I2C_MXS",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/i2c-mxs.yaml, dma/fsl,mxs-dma.yaml
    place=with_irqs(
        clock(24_000_000)
        + """
        {label}_apbx: dma-apbx@{base} {{
            compatible = "fsl,imx28-dma-apbx";
            reg = <{reg1}>;
            interrupt-parent = <&{label}_irqs>;
            interrupts = <1>;
            clocks = <&{label}_clk>;
            dma-channels = <1>;
            #dma-cells = <1>;
        }};
        i2c@{base} {{
            compatible = "fsl,imx28-i2c";
            reg = <{reg0}>;
            interrupt-parent = <&{label}_irqs>;
            interrupts = <0>;
            clock-frequency = <100000>;
            dmas = <&{label}_apbx 0>;
            dma-names = "rx-tx";
            #address-cells = <1>;
            #size-cells = <0>;
        }};
        """,
        Window(0, 0x1000),
        Window(_APBX, 0x1000),
    ),
    function=Mxs,
    policy=POLICY,
    needs=("MXS_DMA", SYMBOL),
)
