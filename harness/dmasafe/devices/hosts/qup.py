# SPDX-License-Identifier: GPL-2.0-or-later
"""Qualcomm's Universal Peripheral, version 2, as an I2C controller with BAM channels: upstream i2c-qup."""

from __future__ import annotations

from collections import deque
from errno import EINVAL, EIO, ENXIO, EOPNOTSUPP, ETIMEDOUT

from dmasafe.devices.hosts.base import I2cHost, Wire
from dmasafe.devices.hosts.declaration import DMA_WINDOW, HostModel
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, Channel, with_dma
from dmasafe.devices.hosts.faults import LATE_S
from dmasafe.devices.pci import Access, Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN, I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-qup.c in Linux 7.3; 6.12 does the same.
_FIFO_BYTES = 64
POLICY = HostPolicy(
    "QUP I2C adapter",
    rules=(
        Rule(Path.REFUSED, "qup_i2c_quirks_v2 1656", most=0, errno=EOPNOTSUPP),
        # All lengths of a transfer together decide.
        Rule(Path.PIO, "qup_i2c_determine_mode_v2() 1554", most=_FIFO_BYTES),
        Rule(Path.PIO, "qup_i2c_determine_mode_v2() 1547: is_vmalloc_addr() alone", vmalloc=True),
        Rule(Path.MAPS, "qup_i2c_bam_make_desc() 704, 735: in pieces of 256 bytes", least=_FIFO_BYTES + 1),
    ),
    nak=(
        Ending(
            ENXIO, "flushes the BAM, waits a second for that at most, unmaps", "qup_i2c_bam_schedule_desc() 826-848"
        ),
    ),
    lost=(Ending(EIO, "as for a missing acknowledgement", "826-848", unsafe=True),),
    timeout=(
        Ending(
            EIO,
            "flushes the BAM, waits for one more second, unmaps: the channels are never terminated",
            "qup_i2c_bam_schedule_desc() 823-848",
            unsafe=True,
        ),
    ),
    # By the processor (937), as in suite hosts-leaving; by DMA it is EIO (841).
    gone=(Ending(ETIMEDOUT, "gives up channels, interrupt and clocks before its adapter", "1965-1972", unsafe=True),),
    cut=True,
    awake=(Ending(0, "stops its clocks, and looks at no transfer", "1971, 1987"),),
    timeout_s=4.4,  # 1923: two seconds and what 128 KiB take; at 1 MHz
    quirks=I2cAdapterQuirks(I2C_AQ_NO_ZERO_LEN),
    blocks=True,
    together=True,
    pieces=256,
    leaves=("free-unallocated", "cacheline-overlap"),
    unmapped=EINVAL,  # 633
    mask_bits=32,
    notes=(
        "each piece is mapped as a scatterlist of its own, and all of them are unmapped as one (631, 845): what an "
        "IOMMU gave to the pieces is not next to each other",
        "the two bytes that take the tags of what is read are mapped once for each 256 bytes, all at the same time "
        "(696), and lie in a kmalloc'ed block of two bytes (1775)",
        "after a mapping that fails what is mapped already stays so (632, 893)",
        "a time-out is reported as EIO (841)",
        "a message whose length the slave says is read as one of a byte if its transfer goes by DMA (579)",
        "remove() takes channels, interrupt and clocks away before the adapter, in mid-transfer too (1965-1972)",
        "in FIFO mode a write ends as transferred with any interrupt, also one without a cause (373, 380)",
        "an error of the DMA controller counts as its end (621, 787, 812)",
    ),
)

# 28-107
_STATE_MASK, _VALID, _MASTER, _FLUSH = 0x3, 1 << 2, 1 << 4, 1 << 6
_RESET, _RUN = 0, 1
_OUT_SVC, _IN_SVC, _OUT_DONE, _IN_DONE = 1 << 8, 1 << 9, 1 << 10, 1 << 11
_OUT_BLOCK, _IN_BLOCK = 1 << 12, 1 << 13
_OUT_MODE, _IN_MODE, _BAM = 3 << 10, 3 << 12, 3
# 1877: blocks of 16 bytes, FIFOs of four of them.
_SIZES = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 7
_BLOCK_BYTES = 16
_NACK, _ARB_LOST, _ACTIVE = 1 << 3, 1 << 4, 1 << 8
_COUNT = 0xFFFF
_T_START, _T_WRITE, _T_WRITE_STOP, _T_READ, _T_READ_NACK, _T_READ_STOP = 0x81, 0x82, 0x83, 0x85, 0x86, 0x87
_T_EOT, _T_FLUSH_STOP = 0x93, 0x96
_ERRORS = 0x38000FC
# Of a byte that was read: it is not the slave's.
_TAG = 0x100
# The driver waits longer than others: what is late for them is not late for it.
_LATE_S = 6.0


class Qup(I2cHost):
    """Tags and data come as one stream, by FIFO, in blocks or by BAM; what is read goes back behind tags of its own.

    ``_tags`` is what of the stream is not yet done, ``_found`` what waits to be read. A count says how much a part of
    a transfer has, unless BAM does it.
    """

    CONFIG = Register("CONFIG", 0x000)
    STATE = Register("STATE", 0x004, reset=_VALID | _MASTER, on_write="_changed")
    IO_MODE = Register("IO_MODE", 0x008, reset=_SIZES, on_write="_mode")
    SW_RESET = Register("SW_RESET", 0x00C, access=Access.WO, on_write="_reset_core")
    OPERATIONAL = Register("OPERATIONAL", 0x018, access=Access.W1C, on_write="_served")
    ERROR_FLAGS = Register("ERROR_FLAGS", 0x01C, access=Access.W1C)
    ERROR_FLAGS_EN = Register("ERROR_FLAGS_EN", 0x020)
    OPERATIONAL_MASK = Register("OPERATIONAL_MASK", 0x028, on_write="_update")
    HW_VERSION = Register("HW_VERSION", 0x030, access=Access.RO, reset=0x20020001)
    MX_OUTPUT_CNT = Register("MX_OUTPUT_CNT", 0x100, on_write="_counted")
    OUT_FIFO = Register("OUT_FIFO", 0x110, access=Access.WO, on_write="_out")
    MX_WRITE_CNT = Register("MX_WRITE_CNT", 0x150, on_write="_counted")
    MX_INPUT_CNT = Register("MX_INPUT_CNT", 0x200)
    MX_READ_CNT = Register("MX_READ_CNT", 0x208)
    IN_FIFO = Register("IN_FIFO", 0x218, access=Access.RO, on_read="_in")
    I2C_CLK_CTL = Register("I2C_CLK_CTL", 0x400)
    I2C_STATUS = Register("I2C_STATUS", 0x404, access=Access.W1C, on_read="_status", on_write="_update")
    I2C_MASTER_GEN = Register("I2C_MASTER_GEN", 0x408)

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(self)
        self._idle()
        base = DMA_WINDOW.offset
        self.tx = Channel(base, self, self._pump)
        self.rx = Channel(base + CHANNEL_BYTES, self, self._pump)
        self.bars = (Bar(0, 0x10000, (*self.registers, self.tx, self.rx)),)

    def _idle(self) -> None:
        self._tags = bytearray()
        self._found: deque[int] = deque()
        self._expected = self._written = 0
        # Words of the block that the driver is asked for, or is to fetch.
        self._asked = self._offered = 0
        self._held = self._flushing = self._ends = False

    def reset(self) -> None:
        super().reset()
        self.wire.reset()
        self._idle()

    def fail(self, name: str | None) -> None:
        """See I2cHost."""
        super().fail(name)
        if self.fault.delay_s >= LATE_S:
            self.fault = self.fault._replace(delay_s=_LATE_S)

    @property
    def _runs(self) -> bool:
        return self.STATE & _STATE_MASK == _RUN

    @property
    def _bam(self) -> bool:
        return self.IO_MODE & (_OUT_MODE | _IN_MODE) == _OUT_MODE | _IN_MODE

    def _update(self, _value: int = 0) -> None:
        service = self.OPERATIONAL & (_OUT_SVC | _IN_SVC) & ~self.OPERATIONAL_MASK if self._runs else 0
        self.level(bool(service or self.I2C_STATUS & _ERRORS))

    def _status(self) -> int:
        return self.I2C_STATUS | (_ACTIVE if self.wire.active else 0)

    def _mode(self, value: int) -> None:
        self.IO_MODE = value & ~0x3FF | _SIZES

    def _reset_core(self, _value: int) -> None:
        self.abort()
        self.wire.end()
        self._idle()
        self.reset_registers()
        self._update()

    def _changed(self, value: int) -> None:
        state = value & _STATE_MASK
        self.STATE = _VALID | _MASTER | state
        if value & _FLUSH:
            self.abort()
            self.wire.end()
            self._idle()
            self._flushing = True
        if state == _RESET:
            self.abort()
            self.wire.end()
            self._idle()
            self.OPERATIONAL = 0
        self._pump()
        self._update()

    def _counted(self, value: int) -> None:
        if value & _COUNT:
            self._tags.clear()
            self._found.clear()
            self._expected, self._written = value & _COUNT, 0
            self._asked = self._offered = 0
            self.OPERATIONAL = 0
            self._pump()

    # The driver's side of the FIFOs.

    def _out(self, value: int) -> None:
        self._tags += value.to_bytes(4, "little")[: max(0, self._expected - self._written)]
        self._written += 4
        if self._asked:
            self._asked -= 1
        self._pump()
        self._update()

    def _in(self) -> int:
        word = bytes(self._found.popleft() & 0xFF if self._found else 0 for _ in range(4))
        if self._offered:
            self._offered -= 1
        self._offer()
        self._update()
        return int.from_bytes(word, "little")

    def _served(self, value: int) -> None:
        """With a service flag goes the request of a block that it announced."""
        self.OPERATIONAL &= ~((_OUT_BLOCK if value & _OUT_SVC else 0) | (_IN_BLOCK if value & _IN_SVC else 0))
        self._update()

    def _ask(self) -> None:
        """For the next block of the stream, once the one before is here."""
        if self.IO_MODE & _OUT_MODE and not self._asked and self._written < self._expected:
            self._asked = -(-min(_BLOCK_BYTES, self._expected - self._written) // 4)
            self.OPERATIONAL |= _OUT_SVC | _OUT_BLOCK

    def _offer(self) -> None:
        """What was read: a block at a time, or all of it."""
        if self._found and not self._offered:
            block = bool(self.IO_MODE & _IN_MODE)
            size = min(_BLOCK_BYTES, len(self._found)) if block else len(self._found)
            self._offered = -(-size // 4)
            self.OPERATIONAL |= _IN_SVC | _IN_DONE | (_IN_BLOCK if block else 0)

    # The stream.

    def _pump(self) -> None:
        """Goes on with what is there."""
        if not self._runs or self._held:
            return
        if self._flushing:
            for channel in (self.tx, self.rx):
                if channel.ready:
                    channel.CONTROL, channel.STATUS = 0, 1
            return
        if self._bam:
            # What was read goes first: the FIFO has no room for more.
            while self._drained() and self._step():
                pass
        elif not self._expected:
            return
        elif self._written < self._expected:
            self._ask()
        else:
            while self._step():
                pass
            if not self._held and not self.I2C_STATUS & _ERRORS:
                self._expected = self._written = 0
                self.OPERATIONAL |= _OUT_SVC | _OUT_DONE
                self._offer()
        self._update()

    def _drained(self) -> bool:
        while self._found and self.rx.ready:
            byte = self._found.popleft()
            self.rx.give(byte & 0xFF, control=bool(byte & _TAG))
        if not self._found:
            self._stop()
        return not self._found

    def _stop(self) -> None:
        """The stop after what was read: with BAM when it is in memory, so that this belongs to the message."""
        if self._ends:
            self._ends = False
            self.wire.end()

    def _need(self, count: int) -> bool:
        while self._bam and len(self._tags) < count and self.tx.ready:
            self._tags.append(self.tx.take(control=count <= 2))
        return len(self._tags) >= count

    def _step(self) -> bool:
        """The next tag; whether it could be done."""
        if self._held or self.I2C_STATUS & _ERRORS or not self._need(1):
            return False
        tag = self._tags[0]
        if tag in (_T_EOT, _T_FLUSH_STOP):
            del self._tags[0]
            if tag == _T_EOT:
                self._found.append(_TAG | tag)
            return True
        if not self._need(2):
            return False
        count = self._tags[1] or 256
        if tag == _T_START:
            self._start(self._tags[1])
        elif tag in (_T_WRITE, _T_WRITE_STOP):
            if not self._need(2 + count):
                return False
            self._write(bytes(self._tags[2 : 2 + count]), tag == _T_WRITE_STOP)
            del self._tags[:count]
        elif tag in (_T_READ, _T_READ_NACK, _T_READ_STOP):
            self._found.extend((_TAG | tag, _TAG | self._tags[1]))
            self._found.extend(self.wire.get() for _ in range(count))
            self._ends = tag == _T_READ_STOP
            if not self._bam:
                self._stop()
        del self._tags[:2]
        return True

    def _start(self, octet: int) -> None:
        self.abort()
        started = self.wire.start(octet)
        job = self._job

        def addressed() -> None:
            if job == self._job:
                self._held = False
                if not started.ok:
                    self._failed(_ARB_LOST if started.lost else _NACK)
                self._pump()
                self._update()

        wait_s = self.wire.delay_s + self.fault.delay_s
        if wait_s:
            self._held = True
            self.later(wait_s, addressed)
        elif not started.ok:
            self._failed(_ARB_LOST if started.lost else _NACK)

    def _write(self, data: bytes, last: bool) -> None:
        if not all(self.wire.put(byte) for byte in data):
            self._failed(_NACK)
        elif last:
            self.wire.end()

    def _failed(self, error: int) -> None:
        self.wire.end()
        self._tags.clear()
        self.I2C_STATUS |= error


HOST = HostModel(
    "qup",
    module="i2c-qup",
    symbol="I2C_QUP",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/qcom,i2c-qup.yaml
    place=with_dma("qcom,i2c-qup-v2.2.1", 0x1000, 50_000_000, ("core", "iface"), "clock-frequency = <1000000>;"),
    function=Qup,
    policy=POLICY,
    needs=("DMADEVICES",),
)
