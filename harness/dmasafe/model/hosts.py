# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's drivers of I2C controllers, made of their policies (dmasafe/devices/hosts): which way each message goes.

Their hardware reads all ones where an address leads nowhere, and goes on; what it would write there is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EOPNOTSUPP
from typing import NamedTuple

from dmasafe.devices.bus import Nak
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.model.controllers import Platform
from dmasafe.model.device import DMA_FROM_DEVICE, DMA_TO_DEVICE, Scatterlist
from dmasafe.model.hardware import Seen
from dmasafe.model.i2c import (
    HZ,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_EMUL,
    I2C_FUNC_SMBUS_READ_BLOCK_DATA,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2cAdapter,
    I2cMsg,
    SmbusData,
)
from dmasafe.model.layout import PAGE_MASK, PAGE_SHIFT
from dmasafe.model.smbus import (
    I2C_SMBUS_BLOCK_DATA,
    I2C_SMBUS_BLOCK_MAX,
    I2C_SMBUS_BYTE,
    I2C_SMBUS_BYTE_DATA,
    I2C_SMBUS_I2C_BLOCK_DATA,
    I2C_SMBUS_PROC_CALL,
    I2C_SMBUS_QUICK,
    I2C_SMBUS_READ,
    I2C_SMBUS_WORD_DATA,
    SMBUS_SIZES,
)

_OWN_BYTES = 64
# Tags, what is read of them, and those at the end each have memory of their own.
_TAG_BLOCK = 1024


class _Mapping(NamedTuple):
    """``length`` bytes at ``at`` of the buffer ``buf``, as the device has them; ``entry`` if it is a scatterlist."""

    rule: Rule
    buf: int
    at: int
    length: int
    direction: int
    dma: int
    entry: Scatterlist | None = None


class HostDriver:
    """One driver on one device. ``native_smbus``: it has SMBus calls that are not what the core makes of messages."""

    def __init__(self, platform: Platform, policy: HostPolicy) -> None:
        self.platform = platform
        self.policy = policy
        self.name = policy.adapter
        self.quirks = policy.quirks
        self.native_smbus = policy.smbus or bool(policy.native)
        self._native = {SMBUS_SIZES[name] for name in policy.native}
        self._unanswered = {SMBUS_SIZES[name] for name in policy.unanswered}
        self._refusal = ""
        self._version = (platform.config.version[0], platform.config.version[1])
        owns = policy.native or any(rule.path is Path.OWN for rule in policy.rules)
        self._buffer = platform.allocators.kmalloc(_OWN_BYTES) if owns else 0
        self._tags = platform.allocators.kmalloc(3 * _TAG_BLOCK) if policy.pieces else 0

    def functionality(self, adap: I2cAdapter) -> int:
        blocks = I2C_FUNC_SMBUS_READ_BLOCK_DATA if self.policy.smbus or self.policy.blocks else 0
        return I2C_FUNC_SMBUS_EMUL | blocks | (0 if self.policy.smbus else I2C_FUNC_I2C)

    # I2C transfers.

    def master_xfer(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        if self.policy.smbus:
            return -EOPNOTSUPP
        rules = self._rules(msgs)
        if self.policy.pieces and rules[0].path is Path.MAPS:
            return self._by_pieces(msgs, rules[0])
        if self.policy.pairs and [bool(msg.flags & I2C_M_RD) for msg in msgs] == [False, True]:
            ret = self._paired(msgs, rules)
            if ret:
                self.platform.hardware.end_group()
            return ret or len(msgs)
        for number, (msg, rule) in enumerate(zip(msgs, rules, strict=True)):
            ret = self._transfer(msg, rule, number == len(msgs) - 1)
            if ret:
                self.platform.hardware.end_group()
                return ret
        return len(msgs)

    def _rules(self, msgs: Sequence[I2cMsg]) -> list[Rule]:
        memory = self.platform.memory
        vmalloc = [memory.vmalloc_start <= msg.buf < memory.vmalloc_end for msg in msgs]
        lengths = [msg.len for msg in msgs]
        if self.policy.together:
            vmalloc, lengths = [any(vmalloc)] * len(msgs), [sum(lengths)] * len(msgs)
        return [
            self.policy.rule(
                self._version, length, bool(msg.flags & I2C_M_RD), bool(msg.flags & I2C_M_DMA_SAFE), is_vmalloc
            )
            for msg, length, is_vmalloc in zip(msgs, lengths, vmalloc, strict=True)
        ]

    def _transfer(self, msg: I2cMsg, rule: Rule, last: bool) -> int:
        core = self.platform.i2c
        core.notes.append(f"the driver {rule.path.value.removeprefix('the driver ')} ({rule.line})")
        if rule.path is Path.REFUSED:
            return -rule.errno
        buf = self._buffer_of(msg, rule)
        if buf is None:
            return self._by_processor(msg, last, self._own(rule.path is Path.OWN and msg.len > 0))
        mapping = self._map(msg, buf, rule)
        if mapping is not None:
            return self._given_back(msg, mapping, self._carried(msg, mapping, last))
        # The mapping failed; what the helper gave is not given back by every driver, but nobody sees that.
        core.i2c_put_dma_safe_msg_buf(buf, msg, False)
        if msg.flags & I2C_M_RD and self.policy.begun:
            self._on_bus(msg.addr, True, self.policy.begun, last)
        if self.policy.unmapped:
            return -self.policy.unmapped
        core.notes.append("the mapping failed: the processor moves the bytes")
        return self._by_processor(msg, last)

    def _paired(self, msgs: Sequence[I2cMsg], rules: Sequence[Rule]) -> int:
        """A write and a read, both mapped before the first is sent."""
        core = self.platform.i2c
        mappings: list[_Mapping] = []
        for msg, rule in zip(msgs, rules, strict=True):
            core.notes.append(f"the driver {rule.path.value.removeprefix('the driver ')} ({rule.line})")
            buf = self._buffer_of(msg, rule)
            mapping = None if buf is None else self._map(msg, buf, rule)
            if mapping is None:
                if buf is not None:
                    core.i2c_put_dma_safe_msg_buf(buf, msg, False)
                for done, its in zip(msgs, mappings, strict=False):
                    self._given_back(done, its, -self.policy.unmapped)
                return -self.policy.unmapped
            mappings.append(mapping)
        ret = 0
        for number, (msg, mapping) in enumerate(zip(msgs, mappings, strict=True)):
            ret = ret or self._carried(msg, mapping, number == len(msgs) - 1)
        for msg, mapping in zip(msgs, mappings, strict=True):
            self._given_back(msg, mapping, ret)
        return ret

    def _buffer_of(self, msg: I2cMsg, rule: Rule) -> int | None:
        """What is mapped for it; None if that is nothing of the message's."""
        if rule.path is Path.HELPER:
            return self.platform.i2c.i2c_get_dma_safe_msg_buf(msg, 1)
        return msg.buf if rule.path is Path.MAPS else None

    def _by_processor(self, msg: I2cMsg, last: bool, own: int | None = None) -> int:
        memory = self.platform.memory
        reads = bool(msg.flags & I2C_M_RD)
        payload: bytes | int = msg.len if reads else (memory.load(msg.buf, msg.len) if msg.len else b"")
        counts = self.policy.blocks and bool(msg.flags & I2C_M_RECV_LEN)
        word = self.policy.word
        size = -(-(msg.len + (0 if reads else self.policy.header)) // word) * word
        data = self._on_bus(msg.addr, reads, msg.len + I2C_SMBUS_BLOCK_MAX if counts else payload, last, own, size)
        if data is None:
            return -self._nak.errno
        if counts:
            data = self._cut(data, msg.len)
            msg.len = len(data)
        if reads and data:
            memory.store(msg.buf, data)
        return 0

    def _map(self, msg: I2cMsg, buf: int, rule: Rule) -> _Mapping | None:
        """The buffer mapped, or None: that failed. The processor moves the bytes around what is mapped."""
        platform = self.platform
        dma, dev, memory = platform.dma, platform.dev, platform.memory
        reads = bool(msg.flags & I2C_M_RD)
        direction = DMA_FROM_DEVICE if reads else DMA_TO_DEVICE
        length = msg.len - rule.before - rule.after
        at = buf + rule.before
        if self.policy.scatterlists:
            # sg_init_one()
            entry = Scatterlist((memory.virt_to_page(at) << PAGE_SHIFT) + (at & PAGE_MASK), length)
            if not dma.dma_map_sg(dev, [entry], direction):
                return None
            return _Mapping(rule, buf, at, length, direction, entry.dma_address, entry)
        mapped = dma.dma_map_single(dev, at, length, direction)
        if dma.dma_mapping_error(dev, mapped):
            return None
        return _Mapping(rule, buf, at, length, direction, mapped)

    def _carried(self, msg: I2cMsg, mapping: _Mapping, last: bool) -> int:
        """A mapped message on the bus: 0 or a negative errno."""
        memory = self.platform.memory
        rule, _buf, at, length, _direction, mapped, _entry = mapping
        reads = bool(msg.flags & I2C_M_RD)
        stray = not memory.is_ram(mapped, length)
        payload: bytes | int = msg.len
        if not reads:
            inner = b"\xff" * length if stray else memory.ram_read(mapped, length)
            payload = memory.load(at - rule.before, rule.before) + inner if rule.before else inner
            payload += memory.load(at + length, rule.after) if rule.after else b""
        seen = mapped if stray else self._physical(mapped, length, reads)
        data = self._on_bus(msg.addr, reads, payload, last, seen, length, stray)
        if data is None:
            return -self._nak.errno
        if reads and not stray:
            memory.ram_write(mapped, data[rule.before : rule.before + length])
        if reads and rule.before:
            memory.store(at - rule.before, data[: rule.before])
        if reads and rule.after:
            memory.store(at + length, data[rule.before + length :])
        return 0

    def _given_back(self, msg: I2cMsg, mapping: _Mapping, ret: int) -> int:
        """Unmapped, and given back to the helper after a transfer that ended with ``ret``, which it returns."""
        platform = self.platform
        _rule, buf, _at, length, direction, mapped, entry = mapping
        if entry is None:
            platform.dma.dma_unmap_single(platform.dev, mapped, length, direction)
        else:
            platform.dma.dma_unmap_sg(platform.dev, [entry], direction)
        platform.i2c.i2c_put_dma_safe_msg_buf(buf, msg, not ret or self._nak.copies)
        return ret

    def _by_pieces(self, msgs: Sequence[I2cMsg], rule: Rule) -> int:
        """A whole transfer as two scatterlists, mapped entry by entry and unmapped at once, as i2c-qup does."""
        platform = self.platform
        dma, dev, memory = platform.dma, platform.dev, platform.memory
        platform.i2c.notes.append(f"the driver {rule.path.value} ({rule.line})")
        lists: dict[int, list[Scatterlist]] = {DMA_TO_DEVICE: [], DMA_FROM_DEVICE: []}
        failed = False

        def add(address: int, length: int, direction: int) -> Scatterlist:
            nonlocal failed
            # sg_set_buf()
            entry = Scatterlist((memory.virt_to_page(address) << PAGE_SHIFT) + (address & PAGE_MASK), length)
            lists[direction].append(entry)
            failed = failed or not dma.dma_map_sg(dev, [entry], direction)
            return entry

        tags, scratch, end = self._tags, self._tags + _TAG_BLOCK, self._tags + 2 * _TAG_BLOCK
        found: list[list[Scatterlist]] = []
        for msg in msgs:
            reads, entries = bool(msg.flags & I2C_M_RD), []
            for at in range(0, msg.len, self.policy.pieces):
                size = min(self.policy.pieces, msg.len - at)
                if reads:
                    add(scratch, 2, DMA_FROM_DEVICE)
                else:
                    add(tags, 2 if at else 4, DMA_TO_DEVICE)
                    tags += 2 if at else 4
                entries.append(add(msg.buf + at, size, DMA_FROM_DEVICE if reads else DMA_TO_DEVICE))
            if reads:
                size = 2 + 2 * len(entries)
                add(tags, size, DMA_TO_DEVICE)
                tags += size
            found.append(entries)
        if lists[DMA_FROM_DEVICE]:
            add(scratch, 1, DMA_FROM_DEVICE)
        add(end, 2 if lists[DMA_FROM_DEVICE] else 1, DMA_TO_DEVICE)
        if failed:
            return -self.policy.unmapped
        refused = not all(
            self._piecewise(msg, entries, number == len(msgs) - 1)
            for number, (msg, entries) in enumerate(zip(msgs, found, strict=True))
        )
        for direction, entries in lists.items():
            if entries:
                dma.dma_unmap_sg(dev, entries, direction)
        return -self._nak.errno if refused else len(msgs)

    def _piecewise(self, msg: I2cMsg, entries: Sequence[Scatterlist], last: bool) -> bool:
        """One message of mapped pieces; whether it was acknowledged."""
        memory = self.platform.memory
        stray = not all(memory.is_ram(entry.dma_address, entry.length) for entry in entries)
        payload: bytes | int = msg.len
        if not msg.flags & I2C_M_RD:
            parts = (memory.ram_read(entry.dma_address, entry.length) for entry in entries)
            payload = b"\xff" * msg.len if stray else b"".join(parts)
        first = entries[0].dma_address
        first = first if stray else self._physical(first, entries[0].length, bool(msg.flags & I2C_M_RD))
        data = self._on_bus(msg.addr, bool(msg.flags & I2C_M_RD), payload, last, first, entries[0].length, stray)
        if data is not None and msg.flags & I2C_M_RD and not stray:
            for number, entry in enumerate(entries):
                at = number * self.policy.pieces
                memory.ram_write(entry.dma_address, data[at : at + entry.length])
        return data is not None

    @property
    def _nak(self) -> Ending:
        """What the driver does when a slave does not acknowledge."""
        of_data = self.policy.nak_data if self._refusal == Nak.DATA else ()
        return next(ending for ending in (*of_data, *self.policy.nak) if ending.in_(self._version))

    def _physical(self, mapped: int, length: int, reads: bool) -> int:
        """The driver's own memory behind an address that is mapped: the trace has that, on a strict machine too."""
        strict = self.platform.hardware.strict
        return mapped if strict is None else strict.reach(mapped, length, reads) or mapped

    def _on_bus(
        self,
        address: int,
        reads: bool,
        payload: bytes | int,
        last: bool,
        dma: int | None = None,
        length: int = 0,
        stray: bool = False,
    ) -> bytes | None:
        """What the bus carried, None if it was refused.

        ``dma`` is where ``length`` bytes of it (0: all) come from or go to.
        """
        hardware = self.platform.hardware
        result = hardware.bus.transfer(address & 0x7F, reads, payload, last)
        self.platform.i2c.jiffies += int(result.delay_s * HZ)
        why = self._refusal = str(result.nak)
        way = "write to" if reads else "read"
        told = f"stray DMA: {length} bytes at {dma:#x} are outside what the machine lets it {way}" if stray else ""
        size = payload if isinstance(payload, int) else len(payload)
        if why and reads and not self.policy.reads_on:
            # No byte came that could be stored.
            dma, length = None, 0
        hardware.trace.append(Seen(address, reads, result.data, why or told, dma, length or size, stray))
        if why:
            hardware.bus.stop()
        return None if why else result.data

    def _cut(self, data: bytes, more: int) -> bytes:
        """Of what a slave has to say as much as its first byte says, and ``more``: the master stops there."""
        trace = self.platform.hardware.trace
        data = data[: more + min(data[0], I2C_SMBUS_BLOCK_MAX)]
        trace[-1] = trace[-1]._replace(data=data, length=len(data))
        return data

    # SMBus calls.

    def smbus_xfer(
        self, adap: I2cAdapter, addr: int, flags: int, read_write: int, command: int, size: int, data: SmbusData | None
    ) -> int:
        """The hardware knows the protocols; the driver copies what goes out and what comes in."""
        block = SmbusData().block if data is None else data.block
        reads = read_write == I2C_SMBUS_READ
        row = _PROTOCOLS.get(size)
        if row is None or not (self.policy.smbus or size in self._native):
            return -EOPNOTSUPP
        sent, wanted = row(reads, bytes((command,)), bytes(block))
        if sent or not wanted:
            quick = reads and size == I2C_SMBUS_QUICK
            # The hardware counts a block that it sends: its buffer begins behind the count.
            mapped = len(sent) - (self.policy.smbus and size == I2C_SMBUS_BLOCK_DATA and not reads)
            own = self._own(self._by_own_buffer(len(sent), False))
            if self._on_bus(addr, quick, 0 if quick else sent, not wanted, own, mapped) is None:
                return -self._nak.errno
        if wanted:
            got = self._on_bus(addr, True, wanted, True, self._own(self._by_own_buffer(wanted, True)))
            if got is None:
                return -self._nak.errno
            if size == I2C_SMBUS_BLOCK_DATA:
                got = self._cut(got, 1)
            if size in self._unanswered:
                self.platform.i2c.notes.append("the driver does not return the answer")
                return 0
            start = int(size == I2C_SMBUS_I2C_BLOCK_DATA)
            block[start : start + len(got)] = got
        return 0

    def _by_own_buffer(self, length: int, reads: bool) -> bool:
        """Whether the bytes of an SMBus call go by DMA; only a driver without I2C transfers has one way for most."""
        if self.policy.smbus:
            return reads or length > 1
        return self.policy.rule(self._version, length, reads, True, False).path is not Path.PIO

    def _own(self, mapped: bool) -> int | None:
        """Where the hardware has the driver's own buffer: some place that is nobody's."""
        memory = self.platform.memory
        return memory.translate(self._buffer) if mapped and self._buffer else None


_Protocol = Callable[[bool, bytes, bytes], tuple[bytes, int]]
# What goes out and how many bytes come in, for a direction, the command byte and union i2c_smbus_data.
_PROTOCOLS: dict[int, _Protocol] = {
    I2C_SMBUS_QUICK: lambda reads, command, block: (b"", 0),
    I2C_SMBUS_BYTE: lambda reads, command, block: (b"", 1) if reads else (command, 0),
    I2C_SMBUS_BYTE_DATA: lambda reads, command, block: (command, 1) if reads else (command + block[:1], 0),
    I2C_SMBUS_WORD_DATA: lambda reads, command, block: (command, 2) if reads else (command + block[:2], 0),
    I2C_SMBUS_PROC_CALL: lambda reads, command, block: (command + block[:2], 2),
    I2C_SMBUS_BLOCK_DATA: lambda reads, command, block: (
        (command, 1 + I2C_SMBUS_BLOCK_MAX) if reads else (command + block[: 1 + block[0]], 0)
    ),
    I2C_SMBUS_I2C_BLOCK_DATA: lambda reads, command, block: (
        (command, block[0]) if reads else (command + block[1 : 1 + block[0]], 0)
    ),
}
