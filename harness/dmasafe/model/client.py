# SPDX-License-Identifier: GPL-2.0-or-later
"""Plays dmasafe_client.ko and the agent: takes a scenario, makes the call under test, and says what came of it.

After images/modules/client_*.c and docs/agent-protocol.md; a buffer kind is one row of KINDS, an operation one of
OPERATIONS.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO
from functools import cache, lru_cache
from typing import NamedTuple

from dmasafe.model import smbus
from dmasafe.model.allocators import PCPU_MIN_UNIT_SIZE, Allocators, KmemCache, get_order
from dmasafe.model.bus import pattern
from dmasafe.model.device import DMA_FROM_DEVICE, DMA_TO_DEVICE, Device
from dmasafe.model.dma import DmaPool
from dmasafe.model.errors import KernelDied, TaskHung, Unsupported
from dmasafe.model.hardware import Hardware, Seen
from dmasafe.model.i2c import I2C_M_DMA_SAFE, I2C_M_RD, I2cAdapter, I2cClient, I2cMsg, SmbusData
from dmasafe.model.i2cdev import I2CDEV_MAX_BYTES, I2cDevFile, UserMsg
from dmasafe.model.kernel import ModelKernel
from dmasafe.model.layout import PAGE_SHIFT, dma_get_cache_alignment
from dmasafe.model.log import Death, Line, Report
from dmasafe.outcome import BusMessage, CallerMessage, DmaSegment, Observation, Splat
from dmasafe.vocabulary import Scenario

# images/modules/client.h
CLIENT_GUARD = 32
CLIENT_STACK_LEN = 256
CLIENT_MAX_LEN = 8192
_MODULE_RODATA_LEAD = 128
_MODULE_RODATA_LEN = 256
# argv_init[MAX_INIT_ARGS + 2], and an ordinary kernel_config_data: the vmlinux objects that the harness borrows.
_DATA_OBJECT_OFFSET = 0x1A40
_DATA_OBJECT_POINTERS = 34
_RODATA_OBJECT_OFFSET = 0x2_3000
_RODATA_OBJECT_SIZE = 16 << 10
_GUARD_BEFORE = b"\xb6" * CLIENT_GUARD
_GUARD_AFTER = b"\xa9" * CLIENT_GUARD
_POISON_DIFFERENCE = bytes(value ^ 0x5A for value in range(256))
# Bytes that differ from their neighbours; a scenario starts somewhere in them. The second row differs everywhere.
_FILL = pattern(197)
_POISON = _FILL.translate(_POISON_DIFFERENCE)


# A shift and XOR of client_fill()'s is linear in its state's bits: so is what comes of many.
_FILL_STEP = 64
_STATE_BYTES = 4


@cache
def _fill_tables() -> tuple[tuple[int, ...], ...]:
    """For each byte of a state and each value of it, _FILL_STEP bytes and the state after them, as one number."""
    tables = []
    for place in range(_STATE_BYTES):
        table = [0]
        for bit in range(8 * place, 8 * place + 8):
            state, filled = 1 << bit, bytearray()
            for _ in range(_FILL_STEP):
                state ^= state << 13 & 0xFFFFFFFF
                state ^= state >> 17
                state ^= state << 5 & 0xFFFFFFFF
                filled.append(state & 0xFF)
            step = int.from_bytes(filled + state.to_bytes(_STATE_BYTES, "little"), "little")
            table += [step ^ other for other in table]
        tables.append(tuple(table))
    return tuple(tables)


@lru_cache(maxsize=256)
def client_fill(length: int, seed: int) -> bytes:
    """client_operation.c client_fill(): the very bytes that a guest sends."""
    first, second, third, fourth = _fill_tables()
    state = (seed * 2654435761 + 0x9E3779B9) & 0xFFFFFFFF
    filled = bytearray()
    while len(filled) < length:
        step = first[state & 0xFF] ^ second[state >> 8 & 0xFF] ^ third[state >> 16 & 0xFF] ^ fourth[state >> 24]
        filled += (step & (1 << 8 * _FILL_STEP) - 1).to_bytes(_FILL_STEP, "little")
        state = step >> 8 * _FILL_STEP
    return bytes(filled[:length])


class Call:
    """One scenario under way: its buffer before the call, and what came of that.

    ``listed`` says that the operation itself lists all its messages; else what was read into the buffer is one more.
    """

    __slots__ = ("before", "buf", "caller", "damage", "front", "listed", "mapped", "reads", "ret", "transferred")

    # Set by operations that have a buffer.
    buf: int
    before: bytes
    front: int
    reads: bool

    def __init__(self) -> None:
        self.listed = False
        self.ret: int | None = None
        self.transferred = False
        self.caller: list[CallerMessage] = []
        self.damage: tuple[str, ...] = ()
        self.mapped: BusMessage | None = None


class BufferMemory(NamedTuple):
    """A buffer kind: how the client gets and gives back its memory, and what it may do with it.

    ``front`` is how many bytes before the buffer are its guard.
    """

    get: Callable[[Client, int, Device], int]
    put: Callable[[Client], None]
    read_only: bool = False
    borrowed: bool = False
    front: int = CLIENT_GUARD


# What performs an operation, or its part between filling the buffer and looking at it again.
Body = Callable[["Client", Scenario, I2cAdapter, Call], None]


class Client:
    """The client module and the agent on one kernel. Adapters are bound on first use.

    ``exact`` makes it send the very bytes that a guest would; others will do for all that is decided here.
    """

    def __init__(self, kernel: ModelKernel) -> None:
        self.kernel = kernel
        config, memory, allocators = kernel.config, kernel.memory, kernel.allocators
        layout = memory.layout
        self.lead = max(CLIENT_GUARD, layout.l1_cache_bytes, dma_get_cache_alignment(config, layout))
        line = layout.l1_cache_bytes
        size = self.lead + CLIENT_MAX_LEN + CLIENT_GUARD
        self.cache: KmemCache = allocators.kmem_cache_create("dmasafe", size, line)
        self.module_data = allocators.module_alloc(line + CLIENT_MAX_LEN + CLIENT_GUARD) + line
        rodata = allocators.module_alloc(_MODULE_RODATA_LEAD + _MODULE_RODATA_LEN + CLIENT_GUARD, read_only=True)
        memory.poke(rodata, _FILL[: _MODULE_RODATA_LEAD + _MODULE_RODATA_LEN + CLIENT_GUARD])
        self.module_rodata = rodata + _MODULE_RODATA_LEAD
        self.rodata_object = memory.start_rodata + _RODATA_OBJECT_OFFSET
        memory.poke(self.rodata_object, _FILL[:_RODATA_OBJECT_SIZE])
        self.data_object = memory.sdata + _DATA_OBJECT_OFFSET
        # What a kind keeps until the buffer goes back.
        self.held = 0
        self.held_order = 0
        self.held_block: tuple[DmaPool, int, int] | None = None
        self.held_coherent: tuple[Device, int, int, int] | None = None
        self.exact = False
        self._seq = 0
        self._set: tuple[str, int] | None = None

    # One scenario.

    def adapter(self, scenario: Scenario) -> I2cAdapter:
        """The scenario's adapter, with the policy and threshold that it asks for."""
        policy = scenario.policy
        if policy is None:
            return self.kernel.adapter(scenario.controller)
        threshold = 1
        for name, value in scenario.options:
            if name == "threshold":
                threshold = int(value)
        if self._set != (policy, threshold):
            # Like the agent, which writes what changed only.
            self._set = (policy, threshold)
            return self.kernel.adapter(scenario.controller, policy, threshold)
        return self.kernel.adapters[scenario.controller]

    def run(self, scenario: Scenario) -> Observation:
        """Performs one scenario. Raises Unsupported if this kernel cannot have it. The log is the caller's to take."""
        kernel = self.kernel
        self._seq = scenario.seed if self.exact else self._seq + 1
        adap = self.adapter(scenario)
        hardware = kernel.hardware[scenario.controller]
        hardware.end_group()
        hardware.trace = []
        kernel.i2c.trace = []
        call = Call()
        lost = None
        try:
            OPERATIONS[scenario.operation](self, scenario, adap, call)
        except KernelDied:
            call.ret = None
            call.caller = []
        except TaskHung as hung:
            call.ret = None
            call.caller = []
            lost = f"the call did not return: {hung}"
        if kernel.dma.strict is not None:
            kernel.dma.strict.settle()
        bus = self._bus(hardware) if call.mapped is None else (call.mapped,)
        return Observation(
            ret=call.ret,
            caller=tuple(call.caller),
            bus=bus,
            splats=self._splats(),
            damage=call.damage,
            transferred=call.transferred,
            lost=lost,
        )

    @staticmethod
    def _bus(hardware: Hardware) -> tuple[BusMessage, ...]:
        return tuple([_bus_message(seen) for seen in hardware.trace])

    def _splats(self) -> tuple[Splat, ...]:
        if not self.kernel.log.entries:
            return ()
        return tuple(_splat(entry) for entry in self.kernel.log.reports())

    def _flags(self, number: int) -> tuple[int | None, bool | None]:
        """Physical address and mark of a message as the adapter saw it, like the client's tracepoint probes."""
        trace = self.kernel.i2c.trace
        if trace is None or number >= len(trace):
            return None, None
        flags, _length, buf = trace[number]
        return self.kernel.memory.translate(buf), bool(flags & I2C_M_DMA_SAFE)

    def _fill(self, length: int, message: int = 0) -> bytes:
        """What a message writes."""
        if self.exact:
            return client_fill(length, self._seq + message)
        at = self._seq + message & 0xFF
        return _FILL[at : at + length]

    def _poison(self, length: int, message: int = 0) -> bytes:
        """What a read must overwrite."""
        if self.exact:
            return client_fill(length, self._seq + message).translate(_POISON_DIFFERENCE)
        at = self._seq + message & 0xFF
        return _POISON[at : at + length]

    def _add(self, call: Call, read: bool, data: bytes, prefix: bool = False) -> None:
        physical, flagged = self._flags(len(call.caller))
        call.caller.append(CallerMessage(read, data, physical, flagged, prefix))

    # Around a call with a buffer: client_operation.c with_buffer(), examine(), give_back().

    def with_buffer(
        self,
        scenario: Scenario,
        adap: I2cAdapter,
        call: Call,
        body: Body,
    ) -> None:
        kernel = self.kernel
        memory = kernel.memory
        length = scenario.length
        kind = KINDS[scenario.buffer]
        stack_pointer = kernel.task.stack_pointer
        buf = call.buf = kind.get(self, length, kernel.devices[scenario.controller])
        front = call.front = kind.front
        start = buf - front
        size = front + length + CLIENT_GUARD
        fill = self._poison(length) if call.reads else self._fill(length)
        if kind.borrowed:
            original = memory.load(start, size)
            if not kind.read_only:
                memory.store(buf, fill)
            before = memory.load(start, size)
        else:
            original = b""
            before = _GUARD_BEFORE[:front] + fill + _GUARD_AFTER
            memory.store(start, before)
        call.before = before
        body(self, scenario, adap, call)
        after = memory.load(start, size)
        if call.reads and not call.listed:
            self._add(call, True, after[front : front + length])
        if after != before:
            call.damage = _damage(before, after, front, length, call.reads, kind.read_only)
        if kind.borrowed and after != original:
            memory.poke(start, original)
        kind.put(self)
        kernel.task.stack_pointer = stack_pointer


def _bus_message(seen: Seen) -> BusMessage:
    address, read, data, why, dma, length, stray = seen
    segments = () if dma is None else (DmaSegment(dma, length, stray),)
    return BusMessage(address, read, data, not why, segments, why)


def _splat(entry: Report | Line | Death) -> Splat:
    """The report as dmasafe/dmesg would read it from the log, without frames."""
    kind = entry.splat_class or "other"
    if isinstance(entry, Report):
        message = entry.message.replace("\n", " ")
        head = f"{entry.driver} {entry.device}: "
        start = message.find(head)
        if start >= 0:
            message = message[start + len(head) :]
        return Splat(
            kind,
            entry.device,
            entry.driver,
            message,
            file=entry.place.file,
            line=entry.place.line,
            function=entry.place.function,
        )
    if isinstance(entry, Death):
        place = entry.place
        file = place.file if place is not None and place.file else None
        return Splat(kind, None, None, entry.message, file=file, line=place.line if file and place else None)
    return Splat(kind, None, None, entry.text.removeprefix("DMA-API: "))


def _damage(before: bytes, after: bytes, front: int, length: int, reads: bool, read_only: bool) -> tuple[str, ...]:
    """client_operation.c examine()."""
    end = front + length
    damage = []
    if before[:front] != after[:front]:
        damage.append("guard-before")
    if before[end:] != after[end:]:
        damage.append("guard-after")
    if before[front:end] != after[front:end]:
        if not reads:
            damage.append("source")
        elif read_only:
            damage.append("read-only")
    return tuple(damage)


# Buffer kinds: client_buffer.c.


def _kmalloced(offset: Callable[[Client], int]) -> Callable[[Client, int, Device], int]:
    """A buffer ``offset`` bytes into kmalloc'ed memory whose size is a power of two."""

    def get(client: Client, length: int, dev: Device) -> int:
        before = offset(client)
        size = before + length + CLIENT_GUARD
        client.held = client.kernel.allocators.kmalloc(1 << (size - 1).bit_length())
        return client.held + before

    return get


def _led(allocate: Callable[[Client, int], int]) -> Callable[[Client, int, Device], int]:
    """A buffer behind its lead in what ``allocate`` gives of the whole size."""

    def get(client: Client, length: int, dev: Device) -> int:
        client.held = allocate(client, client.lead + length + CLIENT_GUARD)
        return client.held + client.lead

    return get


def _freed(free: Callable[[Allocators, int], None]) -> Callable[[Client], None]:
    return lambda client: free(client.kernel.allocators, client.held)


def _pages_get(client: Client, length: int, dev: Device) -> int:
    allocators = client.kernel.allocators
    client.held_order = get_order(client.lead + length + CLIENT_GUARD)
    client.held = allocators.alloc_pages(client.held_order)
    return allocators.page_address(client.held) + client.lead


def _pages_put(client: Client) -> None:
    client.kernel.allocators.free_pages(client.held, client.held_order)


def _coherent_get(client: Client, length: int, dev: Device) -> int:
    size = length + CLIENT_GUARD
    address, handle = client.kernel.dma.dma_alloc_coherent(dev, size)
    client.held_coherent = (dev, size, address, handle)
    return address


def _coherent_put(client: Client) -> None:
    assert client.held_coherent is not None
    client.kernel.dma.dma_free_coherent(*client.held_coherent)


def _dma_pool_get(client: Client, length: int, dev: Device) -> int:
    size = length + CLIENT_GUARD
    pool = client.kernel.dma.dma_pool_create("dmasafe", dev, size, client.kernel.memory.layout.l1_cache_bytes)
    client.held_block = (pool, *pool.alloc())
    return client.held_block[1]


def _dma_pool_put(client: Client) -> None:
    assert client.held_block is not None
    pool, address, handle = client.held_block
    pool.free(address, handle)
    pool.destroy()


def _percpu(client: Client, size: int) -> int:
    if size > PCPU_MIN_UNIT_SIZE:
        raise Unsupported("longer than a per-CPU allocation may be")
    return client.kernel.allocators.alloc_percpu(size, client.kernel.memory.layout.l1_cache_bytes)


def _stack_get(client: Client, length: int, dev: Device) -> int:
    if length > CLIENT_STACK_LEN:
        raise Unsupported("longer than a buffer on the stack may be")
    return client.kernel.task.alloca(2 * CLIENT_GUARD + CLIENT_STACK_LEN) + CLIENT_GUARD


def _in_object(client: Client, start: int, size: int, length: int) -> int:
    """client_buffer.c vmlinux_get(): in whole cache lines where the object has room for guards, else in its middle."""
    line = client.kernel.memory.layout.l1_cache_bytes
    if length > size:
        raise Unsupported("longer than the borrowed object")
    buf = -(-(start + CLIENT_GUARD) // line) * line
    if buf + length + CLIENT_GUARD <= start + size:
        return buf
    if client.kernel.config.has("KASAN"):
        raise Unsupported("too long for guards inside the borrowed object, and KASAN watches its neighbours")
    return start + (size - length) // 2 & ~7


def _rodata_get(client: Client, length: int, dev: Device) -> int:
    return _in_object(client, client.rodata_object, _RODATA_OBJECT_SIZE, length)


def _data_get(client: Client, length: int, dev: Device) -> int:
    return _in_object(client, client.data_object, _DATA_OBJECT_POINTERS * client.kernel.memory.layout.bits // 8, length)


def _module_rodata_get(client: Client, length: int, dev: Device) -> int:
    if length > _MODULE_RODATA_LEN:
        raise Unsupported("longer than the module's constant")
    return client.module_rodata


def _kmap_get(client: Client, length: int, dev: Device) -> int:
    if client.lead + length + CLIENT_GUARD > 1 << PAGE_SHIFT:
        raise Unsupported("longer than a page")
    client.held = client.kernel.allocators.alloc_highpage()
    return client.kernel.allocators.kmap(client.held) + client.lead


def _kmap_put(client: Client) -> None:
    client.kernel.allocators.kunmap(client.held)
    client.kernel.allocators.free_highpage(client.held)


def _no_put(client: Client) -> None:
    """Nothing was taken."""


_kfree = _freed(Allocators.kfree)

KINDS: dict[str, BufferMemory] = {
    "heap": BufferMemory(_kmalloced(lambda client: client.lead), _kfree),
    "heap-unaligned": BufferMemory(_kmalloced(lambda client: client.lead + 3), _kfree),
    "devm": BufferMemory(
        _led(lambda client, size: client.kernel.allocators.devm_kmalloc(size)), _freed(Allocators.devm_kfree)
    ),
    # struct embedding: five words before the buffer, members after it.
    "struct-embedded": BufferMemory(_kmalloced(lambda client: (CLIENT_GUARD // 8 + 1) * 8), _kfree),
    "kmem-cache": BufferMemory(_led(lambda client, _: client.kernel.allocators.kmem_cache_alloc(client.cache)), _kfree),
    "pages": BufferMemory(_pages_get, _pages_put),
    "coherent": BufferMemory(_coherent_get, _coherent_put, front=0),
    "dma-pool": BufferMemory(_dma_pool_get, _dma_pool_put, front=0),
    "percpu": BufferMemory(_led(_percpu), _freed(Allocators.free_percpu)),
    "stack": BufferMemory(_stack_get, _no_put),
    "rodata": BufferMemory(_rodata_get, _no_put, read_only=True, borrowed=True),
    "data": BufferMemory(_data_get, _no_put, borrowed=True),
    "module-data": BufferMemory(lambda client, length, dev: client.module_data, _no_put),
    "module-rodata": BufferMemory(_module_rodata_get, _no_put, read_only=True, borrowed=True),
    "vmalloc": BufferMemory(
        _led(lambda client, size: client.kernel.allocators.vmalloc(size)), _freed(Allocators.vfree)
    ),
    "kmap": BufferMemory(_kmap_get, _kmap_put),
}


# Operations of the client module: client_operation.c.


def _master(flags: int) -> Body:
    """i2c_master_send(), i2c_master_recv() and their _dmasafe siblings, which differ in the message's flags."""
    reads = bool(flags & I2C_M_RD)

    def body(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
        length = scenario.length
        i2c_client = I2cClient(adap, scenario.address)
        call.ret = client.kernel.i2c.i2c_transfer_buffer_flags(i2c_client, call.buf, length, flags)
        call.transferred = call.ret == length
        if not reads:
            client._add(call, False, call.before[call.front : call.front + length])

    def operation(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
        call.reads = reads
        _with_calls(client, scenario, adap, call, body)

    return operation


# The letters of dmasafe/vocabulary.py STEPS.
_STEP_FLAGS = {"s": 0, "r": I2C_M_RD, "S": I2C_M_DMA_SAFE, "R": I2C_M_RD | I2C_M_DMA_SAFE}
# client.h CLIENT_MAX_CALLS
_MAX_CALLS = 4


def _and_then(body: Body, letters: str) -> Body:
    """make_calls(): more calls on the same buffer. Together they return the first error, or what the last returned."""

    def bodies(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
        kernel = client.kernel
        length = scenario.length
        if length * (_MAX_CALLS + 1) > CLIENT_MAX_LEN:
            raise Unsupported("then= has more bytes than an answer has room for")
        body(client, scenario, adap, call)
        if call.reads:
            client._add(call, True, kernel.memory.load(call.buf, length))
        call.listed = True
        assert call.ret is not None
        error = min(call.ret, 0)
        for letter in letters:
            flags = _STEP_FLAGS[letter]
            reads = bool(flags & I2C_M_RD)
            sent = kernel.memory.load(call.buf, length)
            call.ret = kernel.i2c.i2c_transfer_buffer_flags(I2cClient(adap, scenario.address), call.buf, length, flags)
            client._add(call, reads, kernel.memory.load(call.buf, length) if reads else sent)
            call.reads = call.reads or reads
            call.transferred = call.transferred and call.ret == length
            error = error or min(call.ret, 0)
        call.ret = error or call.ret

    return bodies


def _with_calls(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call, body: Body) -> None:
    letters = scenario.option("then") if scenario.options else ""
    client.with_buffer(scenario, adap, call, _and_then(body, letters) if letters else body)


def _transfer_body(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    kernel = client.kernel
    flags = I2C_M_DMA_SAFE if scenario.marked else 0
    first = kernel.allocators.kmalloc(kernel.memory.layout.l1_cache_bytes)
    kernel.memory.store(first, client._fill(1))
    msgs = (
        I2cMsg(scenario.address, flags, 1, first),
        I2cMsg(scenario.address, flags | I2C_M_RD, scenario.length, call.buf),
    )
    call.ret = kernel.i2c.i2c_transfer(adap, msgs)
    call.transferred = call.ret == 2
    client._add(call, False, client._fill(1))
    kernel.allocators.kfree(first)


def _transfer(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    call.reads = True
    _with_calls(client, scenario, adap, call, _transfer_body)


def _get_put_body(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    """get_map_unmap_put(), with the device that the client plays."""
    kernel = client.kernel
    memory, dma, i2c = kernel.memory, kernel.dma, kernel.i2c
    dev = kernel.devices[scenario.controller]
    length, reads = scenario.length, call.reads
    flags = (I2C_M_RD if reads else 0) | (I2C_M_DMA_SAFE if scenario.marked else 0)
    msg = I2cMsg(scenario.address, flags, length, call.buf)
    direction = DMA_FROM_DEVICE if reads else DMA_TO_DEVICE
    call.ret = 0
    call.listed = True
    buf = i2c.i2c_get_dma_safe_msg_buf(msg, int(scenario.option("threshold", "1")))
    if buf is None:
        return
    dma.call_site = ("get_put", "dmasafe_client")
    mapped = dma.dma_map_single(dev, buf, length, direction)
    dma.call_site = None
    if dma.dma_mapping_error(dev, mapped):
        i2c.i2c_put_dma_safe_msg_buf(buf, msg, False)
        call.ret = -EIO
        return
    held = client._fill(length) if reads else memory.load(buf, length)
    dma.dma_unmap_single(dev, mapped, length, direction)
    wanted = call.before[call.front : call.front + length]
    if reads:
        wanted = held
        if buf == call.buf and KINDS[scenario.buffer].read_only:
            memory.poke(buf, held)
        else:
            memory.store(buf, held)
    i2c.i2c_put_dma_safe_msg_buf(buf, msg, True)
    call.transferred = True
    call.caller.append(CallerMessage(reads, wanted, memory.translate(call.buf), scenario.marked))
    stray = not memory.is_ram(mapped, length)
    call.mapped = BusMessage(0, reads, held, True, (DmaSegment(mapped, length, stray),))


def _get_put(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    call.reads = scenario.option("rd") == "1"
    client.with_buffer(scenario, adap, call, _get_put_body)


# Operations of the agent: system calls on /dev/i2c-N.


def _open(client: Client, scenario: Scenario, adap: I2cAdapter) -> I2cDevFile:
    file = I2cDevFile(client.kernel, adap)
    file.client.addr = scenario.address
    return file


def _i2cdev_read(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    answer = _open(client, scenario, adap).read(scenario.length)
    # What the kernel did not copy leaves the caller's buffer alone.
    got = b"" if isinstance(answer, int) else answer
    data = got + client._poison(min(scenario.length, I2CDEV_MAX_BYTES))[len(got) :]
    call.ret = answer if isinstance(answer, int) else len(answer)
    call.transferred = call.ret == min(scenario.length, I2CDEV_MAX_BYTES)
    client._add(call, True, data)


def _i2cdev_write(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    data = client._fill(min(scenario.length, I2CDEV_MAX_BYTES))
    call.ret = _open(client, scenario, adap).write(data)
    call.transferred = call.ret == len(data)
    client._add(call, False, data)


def _i2cdev_rdwr(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    msgs = []
    for number, word in enumerate(scenario.option("messages").split(",")):
        length = int(word[1:])
        if word[0] == "r":
            msgs.append(UserMsg(scenario.address, I2C_M_RD, client._poison(length, number)))
        else:
            msgs.append(UserMsg(scenario.address, 0, client._fill(length, number)))
    call.ret = _open(client, scenario, adap).rdwr(msgs)
    call.transferred = call.ret == len(msgs)
    for msg in msgs:
        client._add(call, bool(msg.flags & I2C_M_RD), bytes(msg.data))


class _Protocol(NamedTuple):
    """client_smbus.c struct smbus_protocol."""

    size: int
    bytes: int = 0
    command: bool = True
    counted: bool = False
    writes: bool = False


_PROTOCOLS = {
    "quick": _Protocol(smbus.SMBUS_SIZES["quick"], command=False),
    "byte": _Protocol(smbus.SMBUS_SIZES["byte"], bytes=1, command=False),
    "byte_data": _Protocol(smbus.SMBUS_SIZES["byte_data"], bytes=1),
    "word_data": _Protocol(smbus.SMBUS_SIZES["word_data"], bytes=2),
    "proc_call": _Protocol(smbus.SMBUS_SIZES["proc_call"], bytes=2, writes=True),
    "block_data": _Protocol(smbus.SMBUS_SIZES["block_data"], counted=True),
    "i2c_block_data": _Protocol(smbus.SMBUS_SIZES["i2c_block_data"]),
    "block_proc_call": _Protocol(smbus.SMBUS_SIZES["block_proc_call"], counted=True, writes=True),
}


def _smbus_message(protocol: _Protocol, data: SmbusData, length: int) -> bytes:
    """The message that carries ``length`` data bytes."""
    if protocol.bytes:
        return bytes(data.block[:length])
    return (bytes((length,)) if protocol.counted else b"") + bytes(data.block[1 : 1 + length])


def _i2cdev_smbus(client: Client, scenario: Scenario, adap: I2cAdapter, call: Call) -> None:
    options = dict(scenario.options)
    protocol = _PROTOCOLS[options.get("protocol", "quick")]
    command = int(options.get("command", "0"))
    reads = options.get("rd") == "1" or protocol.writes
    length = 0 if protocol.size == smbus.I2C_SMBUS_QUICK else protocol.bytes or scenario.length
    data = SmbusData()
    fill = client._fill(length) if not reads or protocol.writes else bytes(length)
    if not protocol.bytes and protocol.size != smbus.I2C_SMBUS_QUICK:
        data.block[0] = length & 0xFF
        data.block[1 : 1 + min(length, 33)] = fill[:33]
    else:
        data.block[:length] = fill
    out = bytes((command,)) if protocol.command else b""
    if protocol.size == smbus.I2C_SMBUS_BYTE and not reads:
        out = bytes((command,))
    elif not reads or protocol.writes:
        out += _smbus_message(protocol, data, length)
    # Protocols that write and read are writes to the API.
    way = smbus.I2C_SMBUS_READ if reads and not protocol.writes else smbus.I2C_SMBUS_WRITE
    file = _open(client, scenario, adap)
    pec = options.get("pec") == "1"
    file.pec(pec)
    call.ret = file.smbus(way, command, protocol.size, data)
    call.transferred = call.ret == 0
    pec = pec and protocol.size not in (smbus.I2C_SMBUS_QUICK, smbus.I2C_SMBUS_I2C_BLOCK_DATA)
    if pec and not reads:
        out += bytes((smbus.i2c_smbus_pec(0, bytes((scenario.address << 1,)) + out),))
    if out or not reads:
        client._add(call, False, out)
    if reads:
        if protocol.counted:
            length = min(data.block[0], smbus.I2C_SMBUS_BLOCK_MAX)
        answer = _smbus_message(protocol, data, length)
        if protocol.counted:
            # The count as the kernel left it, too large a one included.
            answer = bytes(data.block[:1]) + answer[1:]
        client._add(call, True, answer, prefix=protocol.counted or pec)


OPERATIONS: dict[str, Body] = {
    "master_send": _master(0),
    "master_recv": _master(I2C_M_RD),
    "master_send_dmasafe": _master(I2C_M_DMA_SAFE),
    "master_recv_dmasafe": _master(I2C_M_RD | I2C_M_DMA_SAFE),
    "transfer": _transfer,
    "get_put": _get_put,
    "i2cdev_read": _i2cdev_read,
    "i2cdev_write": _i2cdev_write,
    "i2cdev_rdwr": _i2cdev_rdwr,
    "i2cdev_smbus": _i2cdev_smbus,
}


def predicates(client: Client, kind: str, length: int) -> dict[str, int]:
    """What the kernel's predicates say of a buffer of this kind (client_memory.c memory_predicates())."""
    kernel = client.kernel
    memory = kernel.memory
    dev = kernel.devices[next(iter(kernel.devices))] if kernel.devices else kernel.device("dmasafe", None)
    stack_pointer = kernel.task.stack_pointer
    buf = KINDS[kind].get(client, length, dev)
    answer = {"va": buf}
    physical = memory.translate(buf)
    if physical is not None:
        answer["pa"] = physical
    answer |= {
        "is_vmalloc_addr": int(memory.is_vmalloc_addr(buf)),
        "is_vmalloc_or_module_addr": int(memory.is_vmalloc_or_module_addr(buf)),
        "virt_addr_valid": int(memory.virt_addr_valid(buf)),
        "object_is_on_stack": int(kernel.task.object_is_on_stack(buf)),
        "cacheline_aligned": int(buf % memory.layout.l1_cache_bytes == 0),
        "dma_alignment": dma_get_cache_alignment(kernel.config, memory.layout),
    }
    KINDS[kind].put(client)
    kernel.task.stack_pointer = stack_pointer
    return answer


__all__ = ["KINDS", "OPERATIONS", "Client", "Unsupported", "predicates"]
