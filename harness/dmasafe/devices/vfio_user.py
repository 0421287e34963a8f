# SPDX-License-Identifier: GPL-2.0-or-later
"""A vfio-user server: QEMU's ``vfio-user-pci`` (10.1 to 11) at one end of the wire, a PCI function at the other.

Written after QEMU's docs/interop/vfio-user.rst. It knows messages, eventfds and maps of memory; what a register does is
the function's. Memory that comes without a file descriptor (ROMs, other devices' BARs) is out of the function's reach.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Callable
from enum import IntEnum, StrEnum
from functools import partial
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from dmasafe.devices.dma_map import MAX_RANGES, READ, WRITE, DmaMap
from dmasafe.devices.errors import DevicesError, MemoryTableError, failure
from dmasafe.devices.framing import FrameReader, Unframed, close_fds
from dmasafe.devices.listener import Listener
from dmasafe.devices.loop import Loop
from dmasafe.devices.pci import Dma, I2cBus, PciFunction
from dmasafe.devices.pci.config_space import CONFIG_BYTES
from dmasafe.devices.strict import StrictSpace

MAX_FDS = 16
MAX_TRANSFER_BYTES = 1 << 20
MAX_MESSAGE_BYTES = MAX_TRANSFER_BYTES + 64
PAGE_BYTES = 4096
# Messages taken from the socket before other file descriptors get their turn.
MESSAGES_A_TURN = 64
# All of the guest waits while a register's handler runs; QEMU gives up after 5 s (x-msg-timeout).
SLOW_ACCESS_S = 1.0

REGIONS, CONFIG_REGION = 9, 7
INTX, MSI, MSIX, ERR, REQ = range(5)
IRQS = 5

_HEADER = Struct("=HHIII")
_VERSION = Struct("=HH")
_DMA_MAP = Struct("=IIQQQ")
_DMA_UNMAP = Struct("=IIQQ")
_INFO = Struct("=IIII")
_REGION_INFO = Struct("=IIIIQQ")
_IRQ_SET = Struct("=IIIII")
_ACCESS = Struct("=QII")
_COUNT = Struct("=Q")
_WRITE_ONE = Struct("=QII8s")

_TYPE_MASK, _COMMAND, _REPLY, _NO_REPLY, _ERROR = 0xF, 0, 1, 1 << 4, 1 << 5
_UNMAP_ALL = 1 << 1
_DEVICE_RESET, _DEVICE_PCI = 1 << 0, 1 << 1
_REGION_READ, _REGION_WRITE = 1 << 0, 1 << 1
_IRQ_EVENTFD, _IRQ_MASKABLE, _IRQ_AUTOMASKED, _IRQ_NORESIZE = 1, 2, 4, 8
_DATA_NONE, _DATA_BOOL, _DATA_EVENTFD = 1, 2, 4
_ACTION_MASK, _ACTION_UNMASK, _ACTION_TRIGGER = 8, 16, 32
_DATA, _ACTIONS = 7, 56
_MAX_IRQ_COUNT = 2048

_ONE = (1).to_bytes(8, "little")


# A handler under TCG, on a loaded machine, has quieted its device by then.
SETTLE_S = 0.01


class VfioUserCommand(IntEnum):
    """The protocol's commands, those included to which the answer is that there is no such thing here."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    DIRTY_PAGES = 14
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


_COMMANDS = frozenset(int(command) for command in VfioUserCommand)


class Broken(StrEnum):
    """The ways in which a client, or the function itself, breaks the rules, as slugs for the trace."""

    FRAMING = "vfio-user-framing"
    NO_COMMAND = "vfio-user-no-command"
    UNKNOWN_COMMAND = "vfio-user-unknown-command"
    BEFORE_VERSION = "vfio-user-before-version"
    VERSION = "vfio-user-version"
    SIZE = "vfio-user-size"
    FLAGS = "vfio-user-flags"
    DESCRIPTORS = "vfio-user-descriptors"
    DMA_RANGE = "vfio-user-dma-range"
    DMA_OVERLAP = "vfio-user-dma-overlap"
    REGION = "vfio-user-region"
    OUTSIDE_REGION = "vfio-user-outside-region"
    TRANSFER_SIZE = "vfio-user-transfer-size"
    IRQ = "vfio-user-irq"
    # The function's own.
    FUNCTION_FAILED = "function-failed"
    FUNCTION_SLOW = "function-slow"


class Complaint(NamedTuple):
    """One broken rule, with the numbers that broke it."""

    what: Broken
    why: str


class _Refused(DevicesError):
    """A message that is not obeyed: answered with an errno, the connection goes on. Without ``what`` it is allowed."""

    def __init__(self, why: str, what: Broken | None, number: int = errno.EINVAL) -> None:
        super().__init__(why)
        self.what = what
        self.number = number


class _Message(NamedTuple):
    number: int
    command: int
    flags: int
    payload: bytes
    fds: list[int]


def _length(header: tuple[Any, ...]) -> int:
    """See FrameReader."""
    size = int(header[2])
    if not _HEADER.size <= size <= MAX_MESSAGE_BYTES:
        raise Unframed(f"a message of {size} bytes; {_HEADER.size} to {MAX_MESSAGE_BYTES}")
    return size - _HEADER.size


class _Vectors:
    """The eventfds of one kind of interrupt."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.fds: dict[int, int] = {}

    def assign(self, vector: int, fd: int | None) -> None:
        old = self.fds.pop(vector, None)
        if old is not None:
            os.close(old)
        if fd is not None:
            os.set_blocking(fd, False)
            self.fds[vector] = fd

    def clear(self) -> None:
        for vector in list(self.fds):
            self.assign(vector, None)

    def signal(self, vector: int) -> bool:
        fd = self.fds.get(vector)
        if fd is None:
            return False
        # A full eventfd counter says it already; a client that is gone will be noticed on its socket.
        with contextlib.suppress(OSError):
            os.write(fd, _ONE)
        return True


class VfioUser:
    """One function on one listening socket, for one client: whoever comes after it is refused.

    It is the function's Machine (devices/pci). ``notify`` is told of ``connected`` and ``disconnected``, ``complain``
    of every broken rule, ``undeclared`` of accesses to (BAR, offset, size, write) where the function has no register.
    ``bus`` is what it drives. Raises FunctionError for a function that cannot be.
    """

    def __init__(
        self,
        loop: Loop,
        function: PciFunction,
        path: Path,
        notify: Callable[[str], None],
        complain: Callable[[Complaint], None],
        bus: I2cBus,
        undeclared: Callable[[int, int, int, bool], None] = lambda bar, offset, size, write: None,
    ) -> None:
        self._loop = loop
        self._function = function
        self._notify = notify
        self._complain = complain
        self.undeclared = undeclared
        self.memory = DmaMap()
        self.dma = Dma(self.memory, bus.seen, self._dma_forbidden)
        self.bus = bus
        self._connection: socket.socket | None = None
        self._reader: FrameReader | None = None
        self._agreed = False
        self._high = self._masked = False
        self._unmask_fd: int | None = None
        self._looks = 0
        # Timers of before a reset are not this one's.
        self._life = 0
        self._timers = 0
        self._more = False
        # One for errors, or QEMU warns that it cannot recover from them; nothing is signalled there.
        counts = {INTX: int(bool(function.irq_pin)), MSI: function.msi, MSIX: function.msix, ERR: 1}
        self._vectors = {index: _Vectors(count) for index, count in counts.items()}
        function.plug(self)
        self._guarded(function.reset_all)
        self._handlers: dict[int, Callable[[_Message], bytes]] = {
            VfioUserCommand.VERSION: self._version,
            VfioUserCommand.DMA_MAP: self._dma_map,
            VfioUserCommand.DMA_UNMAP: self._dma_unmap,
            VfioUserCommand.DEVICE_GET_INFO: self._get_info,
            VfioUserCommand.DEVICE_GET_REGION_INFO: self._get_region_info,
            VfioUserCommand.DEVICE_GET_IRQ_INFO: self._get_irq_info,
            VfioUserCommand.DEVICE_SET_IRQS: self._set_irqs,
            VfioUserCommand.REGION_READ: self._region_read,
            VfioUserCommand.REGION_WRITE: self._region_write,
            VfioUserCommand.REGION_WRITE_MULTI: self._region_write_multi,
            VfioUserCommand.DEVICE_RESET: self._device_reset,
        }
        self._listener: Listener | None = Listener(loop, path, self._connected)

    @property
    def busy(self) -> bool:
        """Whether messages wait, or the function has something to do later."""
        return self._more or bool(self._timers)

    def close(self) -> None:
        """Drops the client and removes the socket."""
        if self._connection is not None:
            self._disconnect()
        self._refuse_others()

    def poll(self) -> None:
        """Handles the messages that are in the socket; all that was asked of the function is done if it is not busy."""
        self._readable()
        if not self.busy:
            self.bus.finish()

    def be_strict(self, table: int | None, device: str) -> None:
        """From now on the machine is strict, by the table at ``table`` (strict.py); None: it is not."""
        self.dma.space = self.memory if table is None else StrictSpace(self.memory, table, device)

    # The function's machine

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """See Machine."""
        self._timers += 1
        self._loop.after(max(0.0, seconds), partial(self._due, self._life, callback))

    def message(self, vector: int) -> bool:
        """See Machine. A vector that the driver was not given shares the first."""
        if self._function.msix and self._function.config.msix_enabled:
            if not self._vectors[MSIX].signal(vector) and vector < self._function.msix:
                self._function.pending[vector // 8] |= 1 << vector % 8
            return True
        vectors = self._vectors[MSI]
        return bool(vectors.fds) and (vectors.signal(vector) or vectors.signal(0))

    def line(self, high: bool) -> None:
        """See Machine."""
        self._high = high
        if high and not self._masked and self._vectors[INTX].signal(0):
            self._masked = True

    def _due(self, life: int, callback: Callable[[], None]) -> None:
        if life != self._life:
            return
        self._timers -= 1
        self._guarded(callback)
        if not self._timers:
            self.bus.flush()

    def _dma_forbidden(self) -> str:
        wanted = self._function.needs_bus_master and not self._function.config.bus_master
        return "forbidden: the driver has not enabled bus mastering" if wanted else ""

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What the function makes of it; a function that raises costs its test and nothing else."""
        started = time.monotonic()
        try:
            result = call(*arguments)
        except Exception as error:
            kind = type(self._function)
            self._complain(Complaint(Broken.FUNCTION_FAILED, f"{kind.__name__} raised {failure(error, kind)}"))
            result = None
        took_s = time.monotonic() - started
        if took_s > SLOW_ACCESS_S:
            why = f"{type(self._function).__name__} took {took_s:.1f} s in one go: slow work is for later()"
            self._complain(Complaint(Broken.FUNCTION_SLOW, why))
        return result

    # The connection

    def _connected(self, connection: socket.socket) -> None:
        # A client that comes back would find a function in the middle of something: the protocol has no such thing.
        self._refuse_others()
        self._connection = connection
        self._reader = FrameReader(connection, _HEADER, _length, MAX_FDS)
        self._loop.on_readable(connection.fileno(), self._readable)
        self._notify("connected")

    def _refuse_others(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _readable(self) -> None:
        self._more = False
        try:
            for _ in range(MESSAGES_A_TURN):
                frame = None if self._reader is None else self._reader.read()
                if frame is None:
                    break
                number, command, _size, flags, _error = frame.header
                try:
                    self._dispatch(_Message(number, command, flags, frame.payload, frame.fds))
                finally:
                    close_fds(frame.fds)
            else:
                self._more = True
                self._loop.soon(self._readable)
        except Unframed as error:
            self._complain(Complaint(Broken.FRAMING, str(error)))
            self._disconnect()
        except (EOFError, OSError):
            # QEMU is gone, with or without a word: the caller is told "disconnected" and judges.
            self._disconnect()
        if not self._timers:
            self.bus.flush()

    def _disconnect(self) -> None:
        if self._connection is None or self._reader is None:
            return
        self._loop.forget(self._connection.fileno())
        self._reader.close()
        self._connection = self._reader = None
        self._agreed = self._more = False
        self._forget_timers()
        self.bus.reset()
        for vectors in self._vectors.values():
            vectors.clear()
        self._forget_unmask()
        self.memory.close()
        self._notify("disconnected")

    def _dispatch(self, message: _Message) -> None:
        """Obeys one message and answers it."""
        try:
            reply, number = self._obey(message), 0
        except _Refused as refused:
            reply, number = b"", refused.number
            if refused.what is not None:
                self._complain(Complaint(refused.what, f"{_name(message.command)}: {refused}"))
        if message.flags & _NO_REPLY:
            return
        flags = _REPLY | (_ERROR if number else 0)
        header = _HEADER.pack(message.number, message.command, _HEADER.size + len(reply), flags, number)
        assert self._connection is not None
        with contextlib.suppress(BlockingIOError):
            if self._connection.send(header + reply, socket.MSG_NOSIGNAL) == len(header) + len(reply):
                return
        raise Unframed("the client does not read its replies")

    def _obey(self, message: _Message) -> bytes:
        if message.flags & _TYPE_MASK != _COMMAND:
            raise _Refused(f"a message of type {message.flags & _TYPE_MASK}, not a command", Broken.NO_COMMAND)
        if not self._agreed and message.command != VfioUserCommand.VERSION:
            raise _Refused("the version comes first", Broken.BEFORE_VERSION)
        handler = self._handlers.get(message.command)
        if handler is None:
            known = message.command in _COMMANDS
            # A client may ask for what it can do without.
            what = None if known else Broken.UNKNOWN_COMMAND
            raise _Refused("there is no such thing here", what, errno.EOPNOTSUPP if known else errno.EINVAL)
        return handler(message)

    # Messages, in the order of the specification

    def _version(self, message: _Message) -> bytes:
        if self._agreed:
            raise _Refused("a second time", Broken.VERSION)
        if len(message.payload) < _VERSION.size:
            raise _Refused(f"{len(message.payload)} bytes", Broken.SIZE)
        major, minor = _VERSION.unpack_from(message.payload)
        if major:
            raise _Refused(f"version {major}.{minor}, not 0", Broken.VERSION)
        wanted = _capabilities(message.payload[_VERSION.size :])
        ours = {"max_msg_fds": MAX_FDS, "max_data_xfer_size": MAX_TRANSFER_BYTES, "max_dma_maps": MAX_RANGES}
        # No more than was proposed.
        offered: dict[str, object] = {name: min(ours[name], _number(wanted, name)) for name in ours if name in wanted}
        if "pgsizes" in wanted:
            offered["pgsizes"] = PAGE_BYTES
        if wanted.get("write_multiple") is True:
            offered["write_multiple"] = True
        self._agreed = True
        return _VERSION.pack(0, 0) + json.dumps({"capabilities": offered}).encode() + b"\0"

    def _dma_map(self, message: _Message) -> bytes:
        argsz, flags, offset, address, size = _fields(_DMA_MAP, message)
        if argsz < _DMA_MAP.size:
            raise _Refused(f"argsz {argsz}", Broken.SIZE)
        if flags & ~(READ | WRITE):
            raise _Refused(f"flags {flags:#x}", Broken.FLAGS)
        if len(message.fds) > 1:
            raise _Refused(f"{len(message.fds)} file descriptors", Broken.DESCRIPTORS)
        try:
            self.memory.add(address, size, flags, message.fds[0] if message.fds else None, offset)
        except FileExistsError as error:
            raise _Refused(str(error), Broken.DMA_OVERLAP, errno.EEXIST) from error
        except MemoryTableError as error:
            raise _Refused(str(error), Broken.DMA_RANGE) from error
        return b""

    def _dma_unmap(self, message: _Message) -> bytes:
        argsz, flags, address, size = _fields(_DMA_UNMAP, message)
        if flags & ~_UNMAP_ALL:
            raise _Refused(f"flags {flags:#x}", Broken.FLAGS)
        if flags & _UNMAP_ALL:
            if address or size:
                raise _Refused(f"{size} bytes at {address:#x} are not all", Broken.DMA_RANGE)
            size = self.memory.size()
            self.memory.close()
            return _DMA_UNMAP.pack(argsz, flags, address, size)
        if not size or address + size > 1 << 64:
            raise _Refused(f"{size} bytes at {address:#x}", Broken.DMA_RANGE)
        try:
            self.memory.remove(address, size)
        except MemoryTableError as error:
            raise _Refused(str(error), Broken.DMA_RANGE) from error
        return message.payload

    def _get_info(self, message: _Message) -> bytes:
        _fields(_INFO, message)
        return _INFO.pack(_INFO.size, _DEVICE_RESET | _DEVICE_PCI, REGIONS, IRQS)

    def _get_region_info(self, message: _Message) -> bytes:
        _argsz, _flags, index, _cap_offset, _size, _offset = _fields(_REGION_INFO, message)
        if index >= REGIONS:
            raise _Refused(f"region {index} of {REGIONS}", Broken.REGION)
        size = self._region_bytes(index)
        return _REGION_INFO.pack(_REGION_INFO.size, _REGION_READ | _REGION_WRITE if size else 0, index, 0, size, 0)

    def _get_irq_info(self, message: _Message) -> bytes:
        _argsz, _flags, index, _count = _fields(_INFO, message)
        if index >= IRQS:
            raise _Refused(f"interrupts of kind {index} of {IRQS}", Broken.IRQ)
        vectors = self._vectors.get(index)
        count = 0 if vectors is None else vectors.count
        flags = _IRQ_EVENTFD | (_IRQ_MASKABLE | _IRQ_AUTOMASKED if index == INTX else _IRQ_NORESIZE)
        return _INFO.pack(_INFO.size, flags, index, count)

    def _set_irqs(self, message: _Message) -> bytes:
        if len(message.payload) < _IRQ_SET.size:
            raise _Refused(f"{len(message.payload)} bytes", Broken.SIZE)
        _argsz, flags, index, start, count = _IRQ_SET.unpack_from(message.payload)
        flagged = message.payload[_IRQ_SET.size :]
        data, action = flags & _DATA, flags & _ACTIONS
        if flags & ~(_DATA | _ACTIONS) or data.bit_count() != 1 or action.bit_count() != 1:
            raise _Refused(f"flags {flags:#x}", Broken.FLAGS)
        vectors = self._vectors.get(index)
        if vectors is None or start + count > vectors.count or (not count and (start or data != _DATA_NONE)):
            raise _Refused(f"interrupts {start} to {start + count} of kind {index}", Broken.IRQ)
        if len(flagged) != (count if data == _DATA_BOOL else 0):
            raise _Refused(f"{len(flagged)} bytes of data for {count} interrupts", Broken.SIZE)
        if message.fds and (data != _DATA_EVENTFD or len(message.fds) != count):
            raise _Refused(f"{len(message.fds)} file descriptors for {count} interrupts", Broken.DESCRIPTORS)
        if data == _DATA_EVENTFD:
            self._set_eventfds(message, vectors, index, start, count, action)
        elif not count:
            if action != _ACTION_TRIGGER:
                raise _Refused("there is nothing to mask", Broken.FLAGS)
            vectors.clear()
        else:
            for vector in range(start, start + count):
                if data == _DATA_NONE or flagged[vector - start]:
                    self._act(vectors, index, vector, action)
        return b""

    def _set_eventfds(
        self, message: _Message, vectors: _Vectors, index: int, start: int, count: int, action: int
    ) -> None:
        if action == _ACTION_TRIGGER:
            for vector in range(start, start + count):
                vectors.assign(vector, message.fds.pop(0) if message.fds else None)
                self._assigned(index, vector)
        elif action == _ACTION_UNMASK and index == INTX:
            self._forget_unmask()
            if message.fds:
                self._unmask_fd = message.fds.pop()
                os.set_blocking(self._unmask_fd, False)
                try:
                    self._loop.on_readable(self._unmask_fd, self._unmask_asked)
                except OSError as error:
                    self._forget_unmask()
                    raise _Refused(f"nobody can wait for this descriptor: {error}", Broken.DESCRIPTORS) from error
        else:
            raise _Refused("an eventfd for masking", Broken.FLAGS, errno.EOPNOTSUPP)

    def _assigned(self, index: int, vector: int) -> None:
        """What came while nobody could be told is told now."""
        if index == INTX:
            self._masked = False
            self.line(self._high)
        elif index == MSIX:
            at, bit = vector // 8, 1 << vector % 8
            if self._function.pending[at] & bit and self._vectors[MSIX].signal(vector):
                self._function.pending[at] &= ~bit

    def _act(self, vectors: _Vectors, index: int, vector: int, action: int) -> None:
        if action == _ACTION_TRIGGER:
            vectors.signal(vector)
        elif index != INTX:
            raise _Refused(f"interrupts of kind {index} cannot be masked", Broken.IRQ)
        else:
            self._masked = action == _ACTION_MASK
            self._look_again()

    def _unmask_asked(self) -> None:
        assert self._unmask_fd is not None
        try:
            os.read(self._unmask_fd, 8)
        except BlockingIOError:
            return
        except OSError as error:
            self._complain(Complaint(Broken.DESCRIPTORS, f"the descriptor for unmasking cannot be read: {error}"))
            self._forget_unmask()
            return
        self._masked = False
        self._look_again()

    def _look_again(self) -> None:
        """After an acknowledgement a line that stays high is an interrupt, but not at once.

        QEMU acknowledges with each access to a BAR, the first of which is a handler's look at what has happened. What
        is sent then would reach the guest after the handler has quieted the function: a spurious interrupt, which no
        hardware would send, and of which some drivers die. So the handler's accesses must have come to an end.
        """
        self._looks += 1
        if self._high and not self._masked:
            self._loop.after(SETTLE_S, partial(self._still_high, self._looks))

    def _still_high(self, look: int) -> None:
        if look == self._looks:
            self.line(self._high)

    def _forget_unmask(self) -> None:
        if self._unmask_fd is not None:
            self._loop.forget(self._unmask_fd)
            os.close(self._unmask_fd)
            self._unmask_fd = None

    def _region_read(self, message: _Message) -> bytes:
        offset, region, count = _fields(_ACCESS, message)
        self._check_access(offset, region, count)
        if region == CONFIG_REGION:
            data = self._function.config.read(offset, count)
        else:
            found = self._guarded(self._function.decoders[region].read, offset, count)
            # All ones, as where nobody answers on a PCI bus.
            data = b"\xff" * count if found is None else found
        return message.payload + data

    def _region_write(self, message: _Message) -> bytes:
        if len(message.payload) < _ACCESS.size:
            raise _Refused(f"{len(message.payload)} bytes", Broken.SIZE)
        header, data = message.payload[: _ACCESS.size], message.payload[_ACCESS.size :]
        offset, region, count = _ACCESS.unpack(header)
        if count != len(data):
            raise _Refused(f"{len(data)} bytes of data, not {count}", Broken.SIZE)
        self._check_access(offset, region, count)
        self._write(region, offset, data)
        return header

    def _region_write_multi(self, message: _Message) -> bytes:
        if len(message.payload) < _COUNT.size:
            raise _Refused(f"{len(message.payload)} bytes", Broken.SIZE)
        (writes,) = _COUNT.unpack_from(message.payload)
        if len(message.payload) != _COUNT.size + writes * _WRITE_ONE.size:
            raise _Refused(f"{writes} writes in {len(message.payload)} bytes", Broken.SIZE)
        rows = list(_WRITE_ONE.iter_unpack(message.payload[_COUNT.size :]))
        for offset, region, count, data in rows:
            if count > len(data):
                raise _Refused(f"a write of {count} bytes; at most {len(data)}", Broken.TRANSFER_SIZE)
            self._check_access(offset, region, count)
        for offset, region, count, data in rows:
            self._write(region, offset, data[:count])
        return _COUNT.pack(len(rows))

    def _device_reset(self, message: _Message) -> bytes:
        if message.payload:
            raise _Refused(f"{len(message.payload)} bytes", Broken.SIZE)
        self._forget_timers()
        self.bus.reset()
        self._guarded(self._function.reset_all)
        return b""

    def _write(self, region: int, offset: int, data: bytes) -> None:
        if region == CONFIG_REGION:
            self._function.config.write(offset, data)
        else:
            self._guarded(self._function.decoders[region].write, offset, data)

    def _region_bytes(self, index: int) -> int:
        if index == CONFIG_REGION:
            return CONFIG_BYTES
        decoder = self._function.decoders.get(index)
        return 0 if decoder is None else decoder.bar.size

    def _check_access(self, offset: int, region: int, count: int) -> None:
        if count > MAX_TRANSFER_BYTES:
            raise _Refused(f"{count} bytes; at most {MAX_TRANSFER_BYTES}", Broken.TRANSFER_SIZE)
        if region >= REGIONS or not self._region_bytes(region):
            raise _Refused(f"there is no region {region}", Broken.REGION)
        if not count or offset + count > self._region_bytes(region):
            raise _Refused(f"{count} bytes at {offset:#x} of region {region}", Broken.OUTSIDE_REGION)

    def _forget_timers(self) -> None:
        self._life += 1
        self._timers = 0


def _fields(layout: Struct, message: _Message) -> tuple[int, ...]:
    if len(message.payload) != layout.size:
        raise _Refused(f"{len(message.payload)} bytes, not {layout.size}", Broken.SIZE)
    return layout.unpack(message.payload)


def _capabilities(data: bytes) -> dict[str, Any]:
    """What the client proposed. Raises _Refused for what is not made as it must be."""
    if not data.strip(b"\0"):
        return {}
    try:
        found = json.loads(data.rstrip(b"\0").decode())
        wanted = found.get("capabilities", {})
        if not isinstance(wanted, dict):
            raise ValueError("the capabilities are no object")
    except (ValueError, AttributeError, RecursionError) as error:
        raise _Refused(f"version data that is no JSON: {str(error)[:100]}", Broken.VERSION) from error
    return wanted


def _number(wanted: dict[str, Any], name: str) -> int:
    value = wanted[name]
    if type(value) is not int or value < 0:
        raise _Refused(f"{name} is {value!r:.50}", Broken.VERSION)
    return value


def _name(command: int) -> str:
    return VfioUserCommand(command).name if command in _COMMANDS else f"command {command}"
