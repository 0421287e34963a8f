# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio I2C adapter (VIRTIO 1.3, section 5.19): turns requests from a virtqueue into messages on the bus.

Nothing of a request is carried out before all of it has been checked: a payload or status outside guest memory is
recorded, and the bus stays silent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from dmasafe.devices.bus import Bus
from dmasafe.devices.guest_memory import AddressSpace, GuestMemory, Reach, fetch, store
from dmasafe.devices.lies import Trespass
from dmasafe.devices.trace import Record, Segment
from dmasafe.devices.vring import Chain, Descriptor, Violation, What

F_ZERO_LENGTH_REQUEST = 1 << 0
STATUS_OK = b"\x00"
STATUS_ERROR = b"\x01"

FLAG_FAIL_NEXT = 1 << 0
FLAG_READ = 1 << 1

# I2C messages carry 16-bit lengths in the kernel's struct i2c_msg.
MAX_MESSAGE_BYTES = 65535
# No slave may hold a controller for longer.
MAX_STRETCH_S = 65.536

MAILBOX_MAGIC = b"dmasafe1"
_MAILBOX = Struct("<8sI")
_MAILBOX_NONE = 0xFFFFFFFF

_OUT_HEADER = Struct("<HHI")
_OUT_HEADER_BYTES = _OUT_HEADER.size
_IN_HEADER_BYTES = 1


class Mailbox:
    """The guest's note of the scenario under way (docs/agent-protocol.md, "The mailbox")."""

    def __init__(self) -> None:
        self.address: int | None = None
        # What the harness says in the place of a guest that has no mailbox.
        self.told: int | None = None

    def seq(self, memory: GuestMemory) -> int | None:
        """The scenario's number, or None: no mailbox, outside memory, wrong magic, or no scenario."""
        if self.told is not None:
            return self.told
        if self.address is None:
            return None
        slot = memory.slot(self.address, _MAILBOX.size)
        if slot is None:
            return None
        magic, seq = _MAILBOX.unpack_from(slot[0], slot[1])
        return seq if magic == MAILBOX_MAGIC and seq != _MAILBOX_NONE else None


class _Area(NamedTuple):
    """A descriptor, or a part of one. ``reach`` is None if any of it is stray."""

    address: int
    length: int
    reach: Reach | None = None


@dataclass(slots=True, eq=False)
class Job:
    """A request that has been on the bus and whose result waits to be written, ``delay_s`` seconds from now.

    ``finish`` may raise IotlbMiss and may then be called again. It gives the number of bytes written.
    """

    _space: AddressSpace
    _trace: Callable[[Record], None]
    _record: Record | None
    _reply: Sequence[_Area]
    _answer: bytes
    _status: _Area | None
    delay_s: float
    # Where the payload of either direction lies.
    _payload: Sequence[_Area] = ()
    _read: bool = False

    def trespass(self, how: Trespass) -> None:
        """Uses memory as no honest device would (lies.py). What the address space refuses is not done."""
        if not self._payload or how is (Trespass.WRITE if self._read else Trespass.READ):
            return
        write = self._read is (how in (Trespass.BEYOND, Trespass.LATE))
        for address, length, _reach in self._payload:
            start, size = (address + length, 1) if how is Trespass.BEYOND else (address, length)
            reach = self._space.reach(start, size, write)
            if reach is not None and write:
                store(reach, bytes(octet ^ 0xFF for octet in fetch(reach)))

    def falsify(self, mask: int) -> None:
        """Makes a lie of the payload (lies.py): a read brings other bytes than the bus, a write is traced as others."""
        self._answer = bytes([octet ^ mask for octet in self._answer])
        if self._record is not None and not self._record.read:
            self._record = self._record._replace(data=bytes([octet ^ mask for octet in self._record.data]))

    def finish(self) -> int:
        record = self._record
        ok = record is not None and record.ok
        if self.delay_s:
            # Memory can have changed while a slow slave held the clock.
            self._reply = _reach_all(self._reply, self._space, True)
            if self._status is not None:
                (self._status,) = _reach_all((self._status,), self._space, True)
        written = 0
        if ok:
            for _address, length, reach in self._reply:
                if reach is None:
                    break
                store(reach, self._answer[written : written + length])
                written += length
        if self._status is not None and self._status.reach is not None:
            store(self._status.reach, STATUS_OK if ok else STATUS_ERROR)
            written += _IN_HEADER_BYTES
        if record is not None:
            self._trace(record)
        return written


class VirtioI2c:
    """One adapter with its bus. ``trace`` takes each message's Record, ``complain`` each Violation with its seq.

    Messages linked by FAIL_NEXT are one I2C transaction: repeated starts between them, a stop after the last, and once
    one has failed the others fail without reaching the bus.
    """

    features = F_ZERO_LENGTH_REQUEST

    def __init__(
        self,
        name: str,
        bus: Bus,
        mailbox: Mailbox,
        trace: Callable[[Record], None],
        complain: Callable[[Violation, int | None], None],
    ) -> None:
        self.name = name
        self.bus = bus
        self._mailbox = mailbox
        self._trace = trace
        self._complain = complain
        self._group_open = False
        self._group_failed = False
        self._group_seq: int | None = None

    def reset(self) -> None:
        """As after a device reset: a transaction under way is ended. The slaves keep what they hold."""
        self._end_group()

    def handle(self, chain: Chain, space: AddressSpace, memory: GuestMemory) -> Job:
        """Carries out one request, up to writing its result. May raise IotlbMiss, with nothing done yet."""
        header, payload, reply, status = _layout(chain.descriptors)
        header = _reach_all(header, space, False)
        status = _reach_all(status, space, True)
        seq = self._mailbox.seq(memory)

        violation = chain.violation or _unusable(header, status)
        if violation is None and 0 in [descriptor.length for descriptor in chain.descriptors]:
            # Harmless here; QEMU's own devices give up on such a driver (virtqueue_map_desc(), "zero sized buffers").
            self._complain(Violation(What.ZERO_LENGTH, "a descriptor of no bytes"), seq)
        if violation is not None:
            self._complain(violation, seq)
            self._group_failed = self._group_open
            answerable = status[0] if status and chain.violation is None else None
            return Job(space, self._trace, None, (), b"", answerable, 0.0)

        # The only look at the header: the guest may change it at any time.
        target, _padding, flags = _OUT_HEADER.unpack(_fetch_all(header))
        address = target >> 1
        read = bool(flags & FLAG_READ)
        areas = _reach_all(reply if read else payload, space, read)
        length = _length(areas)
        violation = _forbidden(target, flags, length, _length(payload if read else reply))
        why = ""
        if violation is None and status[0].reach is None:
            why = f"the status byte at {status[0].address:#x} is outside guest memory"
            violation = Violation(What.STRAY_STATUS, why)
        # From here on the request has happened: nothing below raises IotlbMiss.
        if violation is not None:
            why = violation.why
            self._complain(violation, seq)
        else:
            for area in areas:
                if area.reach is None:
                    why = f"stray DMA: {area.length} bytes at {area.address:#x} are outside guest memory"
                    break
        message = length if read else b"" if why else _fetch_all(areas)
        data, why, delay_s = self._perform(address, flags, message, seq, why)
        headers = _seen([*header, *status], space, memory)
        seen = _seen(areas, space, memory)
        record = Record(self.name, seq, address, read, length, data, not why, why, seen, headers)
        return Job(space, self._trace, record, areas if read else (), data, status[0], delay_s, areas, read)

    def _perform(
        self, address: int, flags: int, payload: bytes | int, seq: int | None, why: str
    ) -> tuple[bytes, str, float]:
        """(bytes on the wire, why it failed, seconds). With ``why`` it fails without reaching the bus."""
        if self._group_open and None not in (seq, self._group_seq) and seq != self._group_seq:
            # Linux's i2c-virtio marks the last message that fitted into the queue as followed by another one.
            why_not = f"scenario {self._group_seq} left a group of messages unfinished"
            self._complain(Violation(What.GROUP_UNFINISHED, why_not), self._group_seq)
            self._end_group()
        last = not flags & FLAG_FAIL_NEXT
        data = b""
        delay_s = 0.0
        if self._group_failed:
            why = why or "an earlier message of the group failed"
        elif not why:
            result = self.bus.transfer(address, bool(flags & FLAG_READ), payload, last)
            data, why = result.data, result.nak.value
            delay_s = min(result.delay_s, MAX_STRETCH_S)
        if last:
            self._end_group()
        else:
            self._group_open = True
            self._group_seq = seq
            if why:
                self._group_failed = True
                self.bus.stop()
        return data, why, delay_s

    def _end_group(self) -> None:
        self.bus.stop()
        self._group_open = False
        self._group_failed = False
        self._group_seq = None


def _layout(descriptors: Sequence[Descriptor]) -> tuple[list[_Area], list[_Area], list[_Area], list[_Area]]:
    """(request header, payload of a write, payload of a read, status) of a chain.

    The driver may cut a request into descriptors as it likes (VIRTIO 1.2, section 2.7.4): the header is the first eight
    bytes that the device may read, the status the last one that it may write.
    """
    readable = [_Area(address, length) for address, length, writable in descriptors if length and not writable]
    writable = [_Area(address, length) for address, length, writable in descriptors if length and writable]
    if readable and writable and readable[0].length == _OUT_HEADER_BYTES and writable[-1].length == _IN_HEADER_BYTES:
        # As every known driver does it.
        return readable[:1], readable[1:], writable[:-1], writable[-1:]
    header, payload = _cut(readable, _OUT_HEADER_BYTES)
    reply, status = _cut(writable, _length(writable) - _IN_HEADER_BYTES)
    return header, payload, reply, status


def _cut(areas: Sequence[_Area], size: int) -> tuple[list[_Area], list[_Area]]:
    """The first ``size`` bytes, and the rest."""
    first: list[_Area] = []
    rest: list[_Area] = []
    for area in areas:
        if size <= 0:
            rest.append(area)
        elif area.length <= size:
            first.append(area)
        else:
            first.append(_Area(area.address, size))
            rest.append(_Area(area.address + size, area.length - size))
        size -= area.length
    return first, rest


def _reach_all(areas: Sequence[_Area], space: AddressSpace, write: bool) -> list[_Area]:
    return [_Area(address, length, space.reach(address, length, write)) for address, length, _ in areas]


def _fetch_all(areas: Sequence[_Area]) -> bytes:
    """What lies in areas none of which is stray."""
    return b"".join([fetch(area.reach) for area in areas if area.reach is not None])


def _length(areas: Sequence[_Area]) -> int:
    return sum([area.length for area in areas])


def _seen(areas: Sequence[_Area], space: AddressSpace, memory: GuestMemory) -> list[Segment]:
    if space is memory:
        return [Segment(address, length, reach is None) for address, length, reach in areas]
    return [
        Segment(address, length, reach is None, None if reach is None else space.physical(address, reach))
        for address, length, reach in areas
    ]


def _unusable(header: Sequence[_Area], status: Sequence[_Area]) -> Violation | None:
    """Why a request has no header or no status to speak of."""
    size = _length(header)
    if size < _OUT_HEADER_BYTES:
        return Violation(What.NO_REQUEST_HEADER, f"{size} readable bytes are no request header")
    if not status:
        return Violation(What.NO_STATUS, "the request has no byte for the status")
    for area in header:
        if area.reach is None:
            why = f"the request header at {area.address:#x} is outside guest memory"
            return Violation(What.STRAY_REQUEST_HEADER, why)
    return None


def _forbidden(target: int, flags: int, length: int, other: int) -> Violation | None:
    """What the header says that it may not. ``other`` is the payload bytes of the wrong direction."""
    if target & ~0xFE:
        return Violation(What.ADDRESS_FORMAT, f"the address field {target:#06x} is no 7-bit address")
    if flags & ~(FLAG_FAIL_NEXT | FLAG_READ):
        return Violation(What.RESERVED_FLAGS, f"reserved bits are set in the flags {flags:#x}")
    if other:
        return Violation(What.WRONG_DIRECTION, f"{other} bytes of payload go against the request's direction")
    if length > MAX_MESSAGE_BYTES:
        return Violation(What.MESSAGE_TOO_LONG, f"a message of {length} bytes; at most {MAX_MESSAGE_BYTES}")
    return None
