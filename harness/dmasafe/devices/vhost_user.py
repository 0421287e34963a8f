# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-user back-end: QEMU's (or a test's) end of the wire, and the queue it sets up.

Written after QEMU's docs/interop/vhost-user.rst, for what QEMU 7.2 to 11 sends to a vhost-user-i2c device. Takes
requests off the ring, hands them to a device, and gives them back.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from pathlib import Path
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple, Protocol

from dmasafe.devices.errors import DevicesError
from dmasafe.devices.framing import FrameReader, Unframed, close_fds
from dmasafe.devices.guest_memory import AddressSpace, GuestMemory, RegionSpec
from dmasafe.devices.iotlb import READ, WRITE, Iotlb, IotlbMiss
from dmasafe.devices.lies import LATE_S, TIMEOUT_S, Lie, Trespass
from dmasafe.devices.listener import Listener
from dmasafe.devices.loop import Loop
from dmasafe.devices.strict import StrictSpace
from dmasafe.devices.vring import (
    F_ACCESS_PLATFORM,
    F_EVENT_IDX,
    F_INDIRECT_DESC,
    MAX_QUEUE_SIZE,
    Chain,
    Violation,
    Vring,
    What,
)

F_PROTOCOL_FEATURES = 1 << 30
F_VERSION_1 = 1 << 32
TRANSPORT_FEATURES = F_INDIRECT_DESC | F_EVENT_IDX | F_PROTOCOL_FEATURES | F_VERSION_1 | F_ACCESS_PLATFORM

# NOTIFY_ON_EMPTY, ANY_LAYOUT, IN_ORDER, ORDER_PLATFORM, RING_RESET: QEMU offers some of them whatever the back-end
# says, and this one behaves accordingly anyway.
HARMLESS_FEATURES = 1 << 24 | 1 << 27 | 1 << 35 | 1 << 36 | 1 << 40

PROTOCOL_F_MQ = 1 << 0
PROTOCOL_F_REPLY_ACK = 1 << 3
PROTOCOL_F_BACKEND_REQ = 1 << 5
# Not CONFIG: the device has no configuration space, and QEMU warns of a back-end that offers it all the same.
# Not CONFIGURE_MEM_SLOTS: SET_MEM_TABLE tells the whole table each time, and its eight regions are enough.
# Not STATUS: nothing here depends on it, and a stopped ring says the same.
PROTOCOL_FEATURES = PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_BACKEND_REQ

QUEUES = 1
MAX_REGIONS = 8
MAX_FDS = 8
# QEMU's largest message (a crypto session) is below 1,200 bytes.
MAX_PAYLOAD_BYTES = 4096
# Requests taken from a ring before the other file descriptors get their turn.
REQUESTS_A_TURN = 64

_HEADER = Struct("=III")
_U64 = Struct("=Q")
_STATE = Struct("=II")
_ADDRESSES = Struct("=IIQQQQ")
_TABLE = Struct("=II")
_REGION = Struct("=QQQQ")
_IOTLB = Struct("=QQQBB6x")

_VERSION = 1
_VERSION_MASK = 3
_FLAG_REPLY = 1 << 2
_FLAG_NEED_REPLY = 1 << 3
_VRING_INDEX_MASK = 0xFF
_VRING_NO_FD = 1 << 8
_VRING_LOG = 1

_IOTLB_MISS = 1
_IOTLB_UPDATE = 2
_IOTLB_INVALIDATE = 3
_BACKEND_IOTLB_MSG = 1

_ONE = (1).to_bytes(8, "little")
_HONEST = Lie()


class VhostUserRequest(IntEnum):
    """Front-end message types that are understood here; the numbers are the protocol's."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22


class Job(Protocol):
    """A request that was carried out, its result not yet written."""

    delay_s: float

    def finish(self) -> int:
        """Writes the result; the number of bytes written. May raise IotlbMiss and be called again."""

    def falsify(self, mask: int) -> None:
        """Makes the result a lie, see lies.Lie.flip."""

    def trespass(self, how: Trespass) -> None:
        """Uses memory that is not to be used, see lies.Lie.trespass. May raise IotlbMiss."""


class Device(Protocol):
    """What is behind the queue."""

    name: str
    features: int

    def handle(self, chain: Chain, space: AddressSpace, memory: GuestMemory) -> Job:
        """Carries out a request. May raise IotlbMiss, with nothing done."""

    def reset(self) -> None:
        """The queue was stopped or the front-end went away."""


class _Refused(DevicesError):
    """A message that is understood and cannot be obeyed: answered with an error, the connection goes on."""


class _Message(NamedTuple):
    request: int
    flags: int
    payload: bytes
    fds: list[int]


class _Pending(NamedTuple):
    chain: Chain
    job: Job


def _length(header: tuple[int, int, int]) -> int:
    """See FrameReader."""
    _request, flags, length = header
    if flags & _VERSION_MASK != _VERSION:
        raise Unframed(f"a message of protocol version {flags & _VERSION_MASK}")
    if length > MAX_PAYLOAD_BYTES:
        raise Unframed(f"a message of {length} bytes; at most {MAX_PAYLOAD_BYTES}")
    return length


def _reader(connection: socket.socket) -> FrameReader:
    return FrameReader(connection, _HEADER, _length, MAX_FDS)


class Backend:
    """One device on one listening socket, with one front-end at a time.

    ``notify`` is told of ``connected`` and ``disconnected``; ``complain`` of every broken rule. After a disconnect
    all state is as in the beginning and the next front-end may come; one that comes too early waits in the backlog.
    """

    def __init__(
        self,
        loop: Loop,
        device: Device,
        path: Path,
        notify: Callable[[str], None],
        complain: Callable[[Violation], None],
        sized: Callable[[int], None] = lambda entries: None,
    ) -> None:
        self._loop = loop
        self._device = device
        self._sized = sized
        self._path = path
        self._notify = notify
        self._complain = complain
        self.memory = GuestMemory()
        self._iotlb = Iotlb(self.memory)
        self._vring = Vring(self.memory, self._iotlb)
        self._reader: FrameReader | None = None
        self._connection: socket.socket | None = None
        self._channel: socket.socket | None = None
        self._channel_reader: FrameReader | None = None
        self._kick: int | None = None
        self._call: int | None = None
        self._error: int | None = None
        self._enabled = False
        self._pending: _Pending | None = None
        self._awaited: IotlbMiss | None = None
        self._more = False
        self.lie: Lie | None = None
        self._handlers: dict[int, Callable[[_Message], bytes | None]] = {
            VhostUserRequest.GET_FEATURES: self._get_features,
            VhostUserRequest.SET_FEATURES: self._set_features,
            VhostUserRequest.SET_OWNER: self._set_owner,
            VhostUserRequest.RESET_OWNER: self._reset_owner,
            VhostUserRequest.SET_MEM_TABLE: self._set_mem_table,
            VhostUserRequest.SET_VRING_NUM: self._set_vring_num,
            VhostUserRequest.SET_VRING_ADDR: self._set_vring_addr,
            VhostUserRequest.SET_VRING_BASE: self._set_vring_base,
            VhostUserRequest.GET_VRING_BASE: self._get_vring_base,
            VhostUserRequest.SET_VRING_KICK: self._set_vring_kick,
            VhostUserRequest.SET_VRING_CALL: self._set_vring_call,
            VhostUserRequest.SET_VRING_ERR: self._set_vring_err,
            VhostUserRequest.GET_PROTOCOL_FEATURES: self._get_protocol_features,
            VhostUserRequest.SET_PROTOCOL_FEATURES: self._set_protocol_features,
            VhostUserRequest.GET_QUEUE_NUM: self._get_queue_num,
            VhostUserRequest.SET_VRING_ENABLE: self._set_vring_enable,
            VhostUserRequest.SET_BACKEND_REQ_FD: self._set_backend_req_fd,
            VhostUserRequest.IOTLB_MSG: self._iotlb_msg,
        }
        self._listener = Listener(loop, path, self._connected)

    @property
    def busy(self) -> bool:
        """Whether a request was taken from the ring and not yet given back."""
        return self._pending is not None or self._awaited is not None or self._more

    def be_strict(self, table: int | None, device: str) -> None:
        """From now on the machine is strict, by the table at ``table`` (strict.py); None: it is not."""
        self._vring.strict = None if table is None else StrictSpace(self.memory, table, device)

    def close(self) -> None:
        """Drops the front-end and removes the socket."""
        if self._connection is not None:
            self._disconnect()
        self._listener.close()

    def poll(self) -> None:
        """Handles the requests that are in the ring, kicked or not."""
        if self._connection is None or not self._enabled or self._kick is None:
            return
        if self._pending is not None or self._awaited is not None:
            return
        try:
            self._run()
        except IotlbMiss as miss:
            self._ask(miss)

    # The connection

    def _connected(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = _reader(connection)
        self._loop.on_readable(connection.fileno(), self._readable)
        self._notify("connected")

    def _readable(self) -> None:
        try:
            while self._reader is not None:
                frame = self._reader.read()
                if frame is None:
                    return
                message = _Message(frame.header[0], frame.header[1], frame.payload, frame.fds)
                try:
                    self._dispatch(message)
                finally:
                    close_fds(message.fds)
        except Unframed as error:
            self._complain(Violation(What.FRONTEND_MESSAGE, str(error)))
            self._disconnect()
        except (EOFError, OSError):
            # QEMU is gone, with or without a word: the caller is told "disconnected" and judges.
            self._disconnect()

    def _disconnect(self) -> None:
        assert self._connection is not None and self._reader is not None
        self._loop.forget(self._connection.fileno())
        self._reader.close()
        self._connection = self._reader = None
        self._close_channel()
        self._pending = None
        self._stop()
        self._call = self._replace_fd(self._call, [])
        self._error = self._replace_fd(self._error, [])
        self._enabled = False
        self._vring.reset()
        self._iotlb.clear()
        self.memory.close()
        self._listener.again()
        self._notify("disconnected")

    def _dispatch(self, message: _Message) -> None:
        """Obeys one message and answers it: with its own reply, or with an acknowledgement where one is asked for."""
        reply: bytes | None = None
        status = 0
        handler = self._handlers.get(message.request)
        try:
            if handler is None:
                raise _Refused(f"a message of unknown type {message.request}")
            reply = handler(message)
        except (DevicesError, struct_error) as error:
            status = 1
            self._complain(Violation(What.FRONTEND_MESSAGE, f"{_name(message.request)}: {error}"))
        # Whether REPLY_ACK was negotiated does not matter: whoever asks waits. QEMU 7.2's vhost-user-i2c, for one, does
        # not negotiate again after a reconnect.
        if reply is None and message.flags & _FLAG_NEED_REPLY:
            reply = _U64.pack(status)
        if reply is not None:
            self._send(_HEADER.pack(message.request, _VERSION | _FLAG_REPLY, len(reply)) + reply)

    def _send(self, data: bytes) -> None:
        """Replies are small and awaited: a front-end that does not take one is broken."""
        assert self._connection is not None
        if self._connection.send(data, socket.MSG_NOSIGNAL) != len(data):
            raise Unframed("the front-end does not read its replies")

    # Messages, in the order of the specification

    def _get_features(self, _message: _Message) -> bytes:
        return _U64.pack(TRANSPORT_FEATURES | self._device.features)

    def _set_features(self, message: _Message) -> None:
        (features,) = _U64.unpack(message.payload)
        unknown = features & ~(TRANSPORT_FEATURES | self._device.features | HARMLESS_FEATURES)
        if unknown:
            self._complain(Violation(What.FRONTEND_MESSAGE, f"features {unknown:#x} were not offered"))
        missing = self._device.features & ~features
        if missing:
            self._complain(Violation(What.FEATURE_MISSING, f"the driver did not accept the features {missing:#x}"))
        self._vring.set_features(features)
        # A ring whose front-end cannot enable it is enabled from the start.
        if not features & F_PROTOCOL_FEATURES:
            self._enabled = True

    def _set_owner(self, _message: _Message) -> None:
        """The session starts; nothing here depends on it."""

    def _reset_owner(self, _message: _Message) -> None:
        self._enabled = False

    def _get_protocol_features(self, _message: _Message) -> bytes:
        return _U64.pack(PROTOCOL_FEATURES)

    def _set_protocol_features(self, message: _Message) -> None:
        (features,) = _U64.unpack(message.payload)
        if features & ~PROTOCOL_FEATURES:
            raise _Refused(f"protocol features {features & ~PROTOCOL_FEATURES:#x} were not offered")

    def _get_queue_num(self, _message: _Message) -> bytes:
        return _U64.pack(QUEUES)

    def _set_mem_table(self, message: _Message) -> None:
        count, _padding = _TABLE.unpack_from(message.payload)
        if count > MAX_REGIONS or len(message.payload) != _TABLE.size + count * _REGION.size:
            raise _Refused(f"{count} regions in {len(message.payload)} bytes; at most {MAX_REGIONS} regions")
        specs = [RegionSpec(*row) for row in _REGION.iter_unpack(message.payload[_TABLE.size :])]
        self.memory.replace(specs, message.fds)

    def _set_vring_num(self, message: _Message) -> None:
        size = self._state(message)
        if not 0 < size <= MAX_QUEUE_SIZE or size & (size - 1):
            raise _Refused(f"a queue of {size} entries; a power of two up to {MAX_QUEUE_SIZE}")
        self._vring.size = size
        self._sized(size)

    def _set_vring_addr(self, message: _Message) -> None:
        index, flags, descriptors, used, available, _log = _ADDRESSES.unpack(message.payload)
        _check_index(index)
        if flags & _VRING_LOG:
            raise _Refused("a log of the used ring was not offered")
        wrong = self._vring.set_addresses(descriptors, available, used)
        if wrong is not None:
            raise _Refused(wrong)

    def _set_vring_base(self, message: _Message) -> None:
        self._vring.set_base(self._state(message) & 0xFFFF)

    def _get_vring_base(self, message: _Message) -> bytes:
        self._state(message)
        if self._pending is not None:
            # The front-end takes every request up to the base as done.
            with contextlib.suppress(IotlbMiss):
                self._finish()
                self._publish()
        self._stop()
        return _STATE.pack(0, self._vring.base)

    def _set_vring_kick(self, message: _Message) -> None:
        self._vring_fd(message)
        if not message.fds:
            raise _Refused("polling a ring without kicks is not supported")
        self._forget_kick()
        self._kick = self._replace_fd(None, message.fds)
        assert self._kick is not None
        try:
            self._loop.on_readable(self._kick, self._kicked)
        except OSError as error:
            self._forget_kick()
            raise _Refused(f"the kick descriptor cannot be waited for: {error}") from error
        # Requests may have come before the descriptor did, after a reconnect.
        self._loop.soon(self.poll)

    def _set_vring_call(self, message: _Message) -> None:
        self._vring_fd(message)
        self._call = self._replace_fd(self._call, message.fds)

    def _set_vring_err(self, message: _Message) -> None:
        self._vring_fd(message)
        self._error = self._replace_fd(self._error, message.fds)

    def _set_vring_enable(self, message: _Message) -> None:
        self._enabled = bool(self._state(message))
        self._loop.soon(self.poll)

    def _set_backend_req_fd(self, message: _Message) -> None:
        if len(message.fds) != 1:
            raise _Refused(f"{len(message.fds)} file descriptors in place of one")
        self._close_channel()
        try:
            channel = socket.socket(fileno=message.fds[0])
        except OSError as error:
            raise _Refused(f"the back-end channel is no socket: {error}") from error
        message.fds.clear()
        self._channel = channel
        self._channel_reader = _reader(channel)
        self._loop.on_readable(channel.fileno(), self._channel_readable)

    def _iotlb_msg(self, message: _Message) -> None:
        iova, size, user, permission, kind = _IOTLB.unpack(message.payload)
        if kind == _IOTLB_UPDATE:
            if not self._iotlb.update(iova, size, user, permission):
                raise _Refused(f"an impossible IOTLB entry: {size} bytes at {iova:#x}")
        elif kind == _IOTLB_INVALIDATE:
            self._iotlb.invalidate(iova, size)
        else:
            raise _Refused(f"an IOTLB message of kind {kind}")

    def _state(self, message: _Message) -> int:
        index, number = _STATE.unpack(message.payload)
        _check_index(index)
        return int(number)

    def _vring_fd(self, message: _Message) -> None:
        """Checks a message that carries one file descriptor, or says that it carries none."""
        (value,) = _U64.unpack(message.payload)
        _check_index(value & _VRING_INDEX_MASK)
        if len(message.fds) != (0 if value & _VRING_NO_FD else 1):
            raise _Refused(f"{len(message.fds)} file descriptors with {value:#x}")

    def _replace_fd(self, old: int | None, fds: list[int]) -> int | None:
        """Closes ``old`` and takes the descriptor from ``fds``, if there is one."""
        if old is not None:
            os.close(old)
        if not fds:
            return None
        fd = fds.pop()
        os.set_blocking(fd, False)
        return fd

    # The ring

    def _kicked(self) -> None:
        assert self._kick is not None
        try:
            os.read(self._kick, 8)
        except BlockingIOError:
            return
        except OSError as error:
            self._complain(Violation(What.FRONTEND_MESSAGE, f"the kick descriptor cannot be read: {error}"))
            self._forget_kick()
            return
        self.poll()

    def _run(self) -> None:
        """Takes requests off the ring until it is empty, one must wait, or the others are to have their turn."""
        vring = self._vring
        self._more = False
        for _ in range(REQUESTS_A_TURN):
            request = vring.peek()
            if request is None:
                if not self._publish():
                    return
                continue
            if isinstance(request, Violation):
                self._complain(request)
                self._signal(self._error)
                self._publish()
                return
            job = self._device.handle(request, vring.address_space, self.memory)
            self._pending = _Pending(request, job)
            if self.lie is not None:
                job.falsify(self.lie.flip)
                job.delay_s += self.lie.delay_s
            if job.delay_s > 0:
                self._publish()
                self._loop.after(job.delay_s, partial(self._waited, self._pending))
                return
            self._finish()
        self._publish()
        self._more = True
        self._loop.soon(self.poll)

    def _finish(self) -> None:
        """Writes the pending result and gives the request back. May raise IotlbMiss, and then be called again."""
        assert self._pending is not None
        chain, job = self._pending
        self._vring.ready()
        lie = self.lie or _HONEST
        if lie.trespass is Trespass.LATE:
            self._loop.after(lie.delay_s + LATE_S + (TIMEOUT_S if not lie.times else 0.0), partial(self._late, job))
        elif lie.trespass is not None:
            job.trespass(lie.trespass)
        length = job.finish()
        for _ in range(lie.times):
            wrong = self._vring.give_back(chain, length + lie.extra)
            if wrong is not None:
                self._complain(wrong)
        if not lie.times:
            self._vring.forget()
        self._pending = None
        if self._iotlb_in_use:
            self._iotlb.allow_again()

    def _late(self, job: Job) -> None:
        """What a request left behind, when it is done. Behind an IOMMU an unknown address is nobody's."""
        with contextlib.suppress(IotlbMiss):
            job.trespass(Trespass.LATE)

    def _waited(self, pending: _Pending) -> None:
        """The slow slave let go of the clock."""
        if self._pending is pending and self._awaited is None:
            self._resume()

    def _resume(self) -> None:
        """Goes on with a request that had to wait, and then with the ring."""
        try:
            if self._pending is not None:
                self._finish()
            if self._kick is not None and self._enabled:
                self._run()
            else:
                self._publish()
        except IotlbMiss as miss:
            self._ask(miss)

    def _publish(self) -> bool:
        """Whether requests have come in the meantime."""
        call, more = self._vring.publish()
        if call:
            self._signal(self._call)
        return more

    @staticmethod
    def _signal(fd: int | None) -> None:
        if fd is not None:
            # A full eventfd counter says it already; a front-end that is gone will be noticed on its socket.
            with contextlib.suppress(OSError):
                os.write(fd, _ONE)

    def _stop(self) -> None:
        self._pending = None
        self._awaited = None
        self._more = False
        self._forget_kick()
        self._device.reset()

    def _forget_kick(self) -> None:
        if self._kick is not None:
            self._loop.forget(self._kick)
            os.close(self._kick)
            self._kick = None

    # The IOTLB and the channel on which its misses are asked for

    @property
    def _iotlb_in_use(self) -> bool:
        return bool(self._vring.features & F_ACCESS_PLATFORM)

    def _ask(self, miss: IotlbMiss) -> None:
        """Asks the front-end for a mapping; the ring rests until the answer."""
        if self._channel is None:
            self._iotlb.deny(miss.address, miss.write)
            self._loop.soon(self._resume)
            return
        self._awaited = miss
        payload = _IOTLB.pack(miss.address, 0, 0, WRITE if miss.write else READ, _IOTLB_MISS)
        header = _HEADER.pack(_BACKEND_IOTLB_MSG, _VERSION | _FLAG_NEED_REPLY, len(payload))
        try:
            self._channel.send(header + payload, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            self._complain(Violation(What.FRONTEND_MESSAGE, f"the back-end channel is broken: {error}"))
            self._close_channel()

    def _channel_readable(self) -> None:
        """The front-end answers a miss after it has sent the mapping, if it has one, on the main connection."""
        try:
            while self._channel_reader is not None:
                message = self._channel_reader.read()
                if message is None:
                    return
                close_fds(message.fds)
                # The mapping may still be waiting in the other socket.
                self._readable()
                self._answered()
        except (EOFError, OSError, Unframed):
            self._close_channel()

    def _answered(self) -> None:
        miss, self._awaited = self._awaited, None
        if miss is None or self._connection is None:
            return
        if not self._iotlb.maps(miss.address, miss.write):
            self._iotlb.deny(miss.address, miss.write)
        self._resume()

    def _close_channel(self) -> None:
        if self._channel is None or self._channel_reader is None:
            return
        self._loop.forget(self._channel.fileno())
        self._channel_reader.close()
        self._channel = self._channel_reader = None
        # Nobody is left to ask: what was asked for is stray.
        self._loop.soon(self._answered)


def _check_index(index: int) -> None:
    if index >= QUEUES:
        raise _Refused(f"queue {index} of {QUEUES}")


def _name(request: int) -> str:
    try:
        return VhostUserRequest(request).name
    except ValueError:
        return f"message {request}"
