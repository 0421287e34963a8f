# SPDX-License-Identifier: GPL-2.0-or-later
"""NVIDIA's I2C controller as in the Tegra210, fed with packets by FIFO or DMA: upstream i2c-tegra."""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, EOPNOTSUPP, EREMOTEIO, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import Channel, reset_line, with_dma
from dmasafe.devices.pci import Access, Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN, I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-tegra.c in Linux 7.3; 6.12 does the same, less the mutex.
POLICY = HostPolicy(
    "",
    rules=(
        Rule(Path.REFUSED, "tegra_i2c_quirks 1748", most=0, errno=EOPNOTSUPP),
        # A write has a header of twelve bytes in front, and all is counted in words.
        Rule(Path.PIO, "tegra_i2c_xfer_msg() 1559-1567", most=32, reads=True),
        Rule(Path.PIO, "tegra_i2c_xfer_msg() 1562-1567", most=20, reads=False),
        # One buffer of coherent memory, for one message after another.
        Rule(Path.OWN, "tegra_i2c_init_dma() 723, tegra_i2c_xfer_msg() 1636", least=33, reads=True),
        Rule(Path.OWN, "tegra_i2c_init_dma() 723, tegra_i2c_xfer_msg() 1593", least=21, reads=False),
    ),
    nak=(Ending(EREMOTEIO, "ends the DMA, resets the controller", "1191, tegra_i2c_error_recover() 1513"),),
    lost=(Ending(EAGAIN, "ends the DMA, resets the controller, clears the bus", "1191, 1506, 1440"),),
    timeout=(Ending(ETIMEDOUT, "ends the DMA, resets the controller", "tegra_i2c_xfer_msg() 1632, 1646"),),
    timeout_s=0.1,  # 1527, and what the bytes take
    asks=True,  # tegra_i2c_wait_completion()
    quirks=I2cAdapterQuirks(I2C_AQ_NO_ZERO_LEN, max_write_len=4096 - 12, max_read_len=4096),
    blocks=True,
    header=12,  # 1562
    word=4,  # 1564
    maps_for="dma",
    notes=(
        "up to three bytes behind a message are fetched with its last word: what the buffer had there (1562, 1593)",
        "an interrupt without a cause ends the message with EIO, and the controller is reset (1182)",
        "6.12 hands coherent memory to dma_sync_single_for_device() and _for_cpu() (6.12: 1268, 1334)",
        "without a reset line it warns once, as it is bound (tegra_i2c_init() 903)",
    ),
)

# 33-115
_PACKET_MODE = 1 << 10
_BUS_CLEARED, _COMPLETE, _NO_ACK, _LOST, _TX, _RX = 1 << 11, 1 << 7, 1 << 3, 1 << 2, 1 << 1, 1 << 0
_HEADER_READ, _HEADER_REPEAT, _HEADER_CONTINUE = 1 << 19, 1 << 16, 1 << 15
_HEADER_WORDS = 3
_BUS_CLEAR = 1 << 0
_FIFO_WORDS = 8


class Tegra(I2cHost):
    """A packet is three words of header, and the payload of a write. ``_out`` is the transmit FIFO, ``_in`` the other.

    ``_payload`` are the bytes of the packet under way that have still to be moved on the wire.
    """

    CNFG = Register("CNFG", 0x000, on_write="_configured")
    STATUS = Register("STATUS", 0x01C, access=Access.RO)
    SL_CNFG = Register("SL_CNFG", 0x020)
    SL_ADDR1 = Register("SL_ADDR1", 0x02C)
    SL_ADDR2 = Register("SL_ADDR2", 0x030)
    TX_FIFO = Register("TX_FIFO", 0x050, access=Access.WO, on_write="_written")
    RX_FIFO = Register("RX_FIFO", 0x054, access=Access.RO, on_read="_fetched")
    PACKET_TRANSFER_STATUS = Register("PACKET_TRANSFER_STATUS", 0x058, access=Access.RO)
    FIFO_CONTROL = Register("FIFO_CONTROL", 0x05C, on_write="_flush")
    FIFO_STATUS = Register("FIFO_STATUS", 0x060, access=Access.RO, on_read="_levels")
    INT_MASK = Register("INT_MASK", 0x064, on_write="_update")
    INT_STATUS = Register("INT_STATUS", 0x068, access=Access.W1C, on_read="_status", on_write="_update")
    CLK_DIVISOR = Register("CLK_DIVISOR", 0x06C)
    BUS_CLEAR_CNFG = Register("BUS_CLEAR_CNFG", 0x084, on_write="_bus_clear")
    BUS_CLEAR_STATUS = Register("BUS_CLEAR_STATUS", 0x088, access=Access.RO)
    # What is loaded is so at once.
    CONFIG_LOAD = Register("CONFIG_LOAD", 0x08C, access=Access.WO)
    CLKEN_OVERRIDE = Register("CLKEN_OVERRIDE", 0x090)
    INTERFACE_TIMING_0 = Register("INTERFACE_TIMING_0", 0x094)
    INTERFACE_TIMING_1 = Register("INTERFACE_TIMING_1", 0x098)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self.channel = Channel(DMA_WINDOW.offset, self, self._pump)
        self.line = reset_line(self._restart)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.channel, self.line)),)
        self._idle()

    def _idle(self) -> None:
        self._out: deque[int] = deque()
        self._in: deque[int] = deque()
        self._header: list[int] = []
        self._payload = 0
        self._held = self._goes_on = False

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def _status(self) -> int:
        room = _TX if len(self._out) < _FIFO_WORDS else 0
        return self.INT_STATUS | room | (_RX if self._in else 0)

    def _update(self, _value: int = 0) -> None:
        self.level(bool(self._status() & self.INT_MASK))

    def _configured(self, value: int) -> None:
        if not value & _PACKET_MODE:
            self._drop()
        self._update()

    def _drop(self) -> None:
        self.abort()
        self.wire.end()
        self._idle()

    def _restart(self) -> None:
        self._drop()
        self.INT_STATUS = 0
        self._update()

    def _flush(self, value: int) -> None:
        self.FIFO_CONTROL = value & ~0x3
        if value & 0x1:
            self._in.clear()
        if value & 0x2:
            self._out.clear()
        self._update()

    def _levels(self) -> int:
        return (_FIFO_WORDS - len(self._out)) << 4 | len(self._in)

    def _bus_clear(self, value: int) -> None:
        if value & _BUS_CLEAR:
            self._drop()
            self.BUS_CLEAR_STATUS = 1
            self.INT_STATUS |= _BUS_CLEARED
            self.BUS_CLEAR_CNFG &= ~_BUS_CLEAR
        self._update()

    def _written(self, value: int) -> None:
        self._out.append(value)
        self._pump()

    def _fetched(self) -> int:
        value = self._in.popleft() if self._in else 0
        self._pump()
        return value

    def _word(self) -> int | None:
        """The next word for the wire, from the FIFO or else by DMA."""
        if self._out:
            return self._out.popleft()
        if self.channel.ready and not self.channel.to_memory:
            return int.from_bytes(bytes(self.channel.take() for _ in range(4) if self.channel.ready), "little")
        return None

    def _pump(self) -> None:
        """Goes on as far as words, room and the slave allow."""
        while not self._held and self._step():
            pass
        while self._in and self.channel.ready and self.channel.to_memory:
            for byte in self._in.popleft().to_bytes(4, "little"):
                if self.channel.ready:
                    self.channel.give(byte)
            while not self._held and self._step():
                pass
        self._update()

    def _step(self) -> bool:
        reads = len(self._header) == _HEADER_WORDS and bool(self._header[2] & _HEADER_READ)
        if reads:
            return self._receive()
        word = self._word()
        if word is None:
            return False
        if len(self._header) < _HEADER_WORDS:
            self._header.append(word)
            if len(self._header) == _HEADER_WORDS:
                self._begin()
            return True
        data = word.to_bytes(4, "little")[: self._payload]
        self._payload -= len(data)
        if not all(self.wire.put(byte) for byte in data):
            self._failed(_NO_ACK)
            return False
        if not self._payload:
            self._end()
        return True

    def _receive(self) -> bool:
        """One word from the slave, if there is room."""
        if len(self._in) == _FIFO_WORDS:
            return False
        size = min(4, self._payload)
        self._in.append(int.from_bytes(bytes(self.wire.get() for _ in range(size)), "little"))
        self._payload -= size
        if not self._payload:
            self._end()
        return True

    def _begin(self) -> None:
        self._payload = (self._header[1] & 0xFFF) + 1
        flags = self._header[2]
        if self._goes_on:
            # The packet before said that this one is of the same message.
            self._goes_on = False
            return
        self.abort()
        started = self.wire.start((flags & 0xFE) | bool(flags & _HEADER_READ))
        self._held = True
        job = self._job

        def addressed() -> None:
            if job == self._job:
                self._held = False
                if not started.ok:
                    self._failed(_LOST if started.lost else _NO_ACK)
                self._pump()

        self.later(self.wire.delay_s + self.fault.delay_s, addressed)

    def _failed(self, interrupt: int) -> None:
        self.wire.end()
        self._header = []
        self._out.clear()
        self._held = True
        self.INT_STATUS |= interrupt
        self._update()

    def _end(self) -> None:
        flags, self._header = self._header[2], []
        self._goes_on = bool(flags & _HEADER_CONTINUE)
        if not flags & (_HEADER_CONTINUE | _HEADER_REPEAT):
            self.wire.end()
        self.INT_STATUS |= _COMPLETE


HOST = HostModel(
    "tegra",
    module="i2c-tegra",
    symbol="I2C_TEGRA",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/nvidia,tegra20-i2c.yaml
    place=with_dma(
        "nvidia,tegra210-i2c",
        0x1000,
        136_000_000,
        ("div-clk",),
        "clock-frequency = <100000>; resets = <&{label}_dma 0>;",
        channels=("tx",),
    ),
    function=Tegra,
    policy=POLICY,
    # The driver asks for no channel of any engine unless NVIDIA's is built.
    needs=("TEGRA20_APB_DMA",),
)
