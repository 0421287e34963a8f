# SPDX-License-Identifier: GPL-2.0-or-later
"""The packets of the usbredir protocol, version 0.7, as its usb-host end sends and receives them.

Of it all that QEMU's usb-redir asks of a device with control, bulk and interrupt endpoints; no isochronous transfers,
bulk streams or buffered bulk input, which this end does not offer in its hello. All integers are little-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from dmasafe.devices.errors import DevicesError

VERSION = b"dmasafe usbredir 0.7"
# A URB's buffer is what Linux drivers allocate; the rest is somebody's attempt at filling memory.
MAX_DATA_BYTES = 1 << 20
# struct usb_redir_ep_info_header, struct usb_redir_interface_info_header: so many rows.
TABLE_ROWS = 32


class Type(IntEnum):
    """What a packet is."""

    HELLO = 0
    DEVICE_CONNECT = 1
    DEVICE_DISCONNECT = 2
    RESET = 3
    INTERFACE_INFO = 4
    EP_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALT_SETTING = 9
    GET_ALT_SETTING = 10
    ALT_SETTING_STATUS = 11
    START_ISO_STREAM = 12
    STOP_ISO_STREAM = 13
    ISO_STREAM_STATUS = 14
    START_INTERRUPT_RECEIVING = 15
    STOP_INTERRUPT_RECEIVING = 16
    INTERRUPT_RECEIVING_STATUS = 17
    CANCEL_DATA_PACKET = 21
    FILTER_REJECT = 22
    FILTER_FILTER = 23
    DEVICE_DISCONNECT_ACK = 24
    CONTROL_PACKET = 100
    BULK_PACKET = 101
    INTERRUPT_PACKET = 103


class Status(IntEnum):
    """What became of a transfer or a request."""

    SUCCESS = 0
    CANCELLED = 1
    INVAL = 2
    IOERROR = 3
    STALL = 4
    TIMEOUT = 5
    BABBLE = 6


class Capability(IntFlag):
    """What an end can do beyond version 0.3; a packet's layout depends on what both ends can."""

    BULK_STREAMS = 1 << 0
    CONNECT_DEVICE_VERSION = 1 << 1
    FILTER = 1 << 2
    DEVICE_DISCONNECT_ACK = 1 << 3
    EP_INFO_MAX_PACKET_SIZE = 1 << 4
    IDS_64_BITS = 1 << 5
    BULK_LENGTH_32_BITS = 1 << 6
    BULK_RECEIVING = 1 << 7


#: QEMU attaches a device to xHCI only if it has the last three.
OURS = (
    Capability.CONNECT_DEVICE_VERSION
    | Capability.FILTER
    | Capability.EP_INFO_MAX_PACKET_SIZE
    | Capability.IDS_64_BITS
    | Capability.BULK_LENGTH_32_BITS
)

TRANSFER_INVALID = 255


class ProtocolError(DevicesError):
    """The other end broke the protocol: its packets can no longer be told apart."""


class Packet(NamedTuple):
    """One packet. ``fields`` are its header's numbers in the order of the struct, ``data`` what follows them."""

    type: Type
    id: int
    fields: tuple[int, ...]
    data: bytes


_HEADER_32 = Struct("<III")
_HEADER_64 = Struct("<IIQ")
_HELLO_VERSION_BYTES = 64
_EP_INFO_ROWS = Struct(f"<{3 * TABLE_ROWS}B")
_EP_INFO_SIZES = Struct(f"<{TABLE_ROWS}H")
_INTERFACE_INFO = Struct(f"<I{4 * TABLE_ROWS}B")
_BULK = Struct("<BBHI")
_BULK_LONG = Struct("<BBHIH")
_CONTROL = Struct("<BBBBHHH")
_INTERRUPT = Struct("<BBH")
_EMPTY = Struct("")
# Type -> the header of a packet that comes without data.
_PLAIN: dict[Type, Struct] = {
    Type.RESET: _EMPTY,
    Type.SET_CONFIGURATION: Struct("<B"),
    Type.GET_CONFIGURATION: _EMPTY,
    Type.SET_ALT_SETTING: Struct("<BB"),
    Type.GET_ALT_SETTING: Struct("<B"),
    Type.START_ISO_STREAM: Struct("<BBB"),
    Type.STOP_ISO_STREAM: Struct("<B"),
    Type.START_INTERRUPT_RECEIVING: Struct("<B"),
    Type.STOP_INTERRUPT_RECEIVING: Struct("<B"),
    Type.CANCEL_DATA_PACKET: _EMPTY,
    Type.FILTER_REJECT: _EMPTY,
    Type.DEVICE_DISCONNECT_ACK: _EMPTY,
}
_IN = 0x80
_DEVICE_CONNECT = Struct("<BBBBHHH")
_CONFIGURATION_STATUS = Struct("<BB")
_ALT_SETTING_STATUS = Struct("<BBB")
_RECEIVING_STATUS = Struct("<BB")


class Wire:
    """One connection's bytes: ``feed`` what came, take ``packets``, send what the other methods return.

    Nothing but ``hello`` may be sent before the other end's hello has come, since it decides the layouts.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._peer: Capability | None = None

    @property
    def greeted(self) -> bool:
        return self._peer is not None

    def can(self, capability: Capability) -> bool:
        """Whether both ends have it."""
        return self._peer is not None and bool(self._peer & OURS & capability)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def packets(self) -> Iterator[Packet]:
        """The packets that have come whole. Raises ProtocolError."""
        while (packet := self._next()) is not None:
            yield packet

    def _next(self) -> Packet | None:
        # Everybody's first packet has a 32-bit id, whatever follows.
        header = _HEADER_64 if self.can(Capability.IDS_64_BITS) else _HEADER_32
        if len(self._buffer) < header.size:
            return None
        number, length, packet_id = header.unpack_from(self._buffer)
        if length > MAX_DATA_BYTES:
            raise ProtocolError(f"a usbredir packet of type {number} with {length} bytes; at most {MAX_DATA_BYTES}")
        end = header.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[header.size : end])
        del self._buffer[:end]
        try:
            kind = Type(number)
        except ValueError:
            raise ProtocolError(f"a usbredir packet of unknown type {number}") from None
        if not self.greeted and kind is not Type.HELLO:
            raise ProtocolError(f"the first usbredir packet is no hello but {kind.name}")
        return Packet(kind, packet_id, *self._read(kind, body))

    def _read(self, kind: Type, body: bytes) -> tuple[tuple[int, ...], bytes]:
        """(fields, data) of a packet's body."""
        if kind is Type.HELLO:
            return self._read_hello(body), b""
        if kind is Type.FILTER_FILTER:
            # The guest's side says what it would refuse; here it is told what it gets.
            return (), b""
        if kind is Type.CONTROL_PACKET:
            return _with_data(kind, _CONTROL, body, lambda fields: (fields[2], fields[6]))
        if kind is Type.BULK_PACKET and self.can(Capability.BULK_LENGTH_32_BITS):
            return _with_data(kind, _BULK_LONG, body, lambda fields: (fields[0], fields[2] | fields[4] << 16))
        if kind is Type.BULK_PACKET:
            return _with_data(kind, _BULK, body, lambda fields: (fields[0], fields[2]))
        if kind is Type.INTERRUPT_PACKET:
            return _with_data(kind, _INTERRUPT, body, lambda fields: (fields[0], fields[2]))
        layout = _PLAIN.get(kind)
        if layout is None:
            raise ProtocolError(f"a usbredir packet {kind.name}, which only a usb-host sends")
        if len(body) != layout.size:
            raise ProtocolError(f"a usbredir packet {kind.name} of {len(body)} bytes, not {layout.size}")
        return layout.unpack(body), b""

    def _read_hello(self, body: bytes) -> tuple[int]:
        if self.greeted:
            raise ProtocolError("a second usbredir hello")
        if len(body) < _HELLO_VERSION_BYTES or (len(body) - _HELLO_VERSION_BYTES) % 4:
            raise ProtocolError(f"a usbredir hello of {len(body)} bytes")
        # An end of before 0.3 has no capabilities.
        word = int.from_bytes(body[_HELLO_VERSION_BYTES : _HELLO_VERSION_BYTES + 4], "little")
        self._peer = Capability(word & 0xFF)
        return (word,)

    # What this end sends.

    @staticmethod
    def hello() -> bytes:
        body = VERSION.ljust(_HELLO_VERSION_BYTES, b"\0") + int(OURS).to_bytes(4, "little")
        return _HEADER_32.pack(Type.HELLO, len(body), 0) + body

    def device_connect(
        self, speed: int, device_class: tuple[int, int, int], vendor: int, product: int, bcd: int
    ) -> bytes:
        body = _DEVICE_CONNECT.pack(speed, *device_class, vendor, product, bcd)
        if not self.can(Capability.CONNECT_DEVICE_VERSION):
            body = body[:-2]
        return self._pack(Type.DEVICE_CONNECT, 0, body)

    def interface_info(self, rows: list[tuple[int, int, int, int]]) -> bytes:
        """``rows``: number, class, subclass and protocol of each interface."""
        columns = [bytes(row[n] for row in rows).ljust(TABLE_ROWS, b"\0") for n in range(4)]
        return self._pack(Type.INTERFACE_INFO, 0, _INTERFACE_INFO.pack(len(rows), *b"".join(columns)))

    def ep_info(self, rows: dict[int, tuple[int, int, int, int]]) -> bytes:
        """``rows``: endpoint address -> transfer type, interval, interface, largest packet."""
        types, intervals, interfaces = [TRANSFER_INVALID] * TABLE_ROWS, [0] * TABLE_ROWS, [0] * TABLE_ROWS
        sizes = [0] * TABLE_ROWS
        for address, (kind, interval, interface, size) in rows.items():
            row = (address & _IN) >> 3 | address & 0x0F
            types[row], intervals[row], interfaces[row], sizes[row] = kind, interval, interface, size
        body = _EP_INFO_ROWS.pack(*types, *intervals, *interfaces)
        if self.can(Capability.EP_INFO_MAX_PACKET_SIZE):
            body += _EP_INFO_SIZES.pack(*sizes)
        return self._pack(Type.EP_INFO, 0, body)

    def configuration_status(self, packet_id: int, status: Status, configuration: int) -> bytes:
        return self._pack(Type.CONFIGURATION_STATUS, packet_id, _CONFIGURATION_STATUS.pack(status, configuration))

    def alt_setting_status(self, packet_id: int, status: Status, interface: int, alt: int) -> bytes:
        return self._pack(Type.ALT_SETTING_STATUS, packet_id, _ALT_SETTING_STATUS.pack(status, interface, alt))

    def iso_stream_status(self, packet_id: int, status: Status, endpoint: int) -> bytes:
        return self._pack(Type.ISO_STREAM_STATUS, packet_id, _RECEIVING_STATUS.pack(status, endpoint))

    def interrupt_receiving_status(self, packet_id: int, status: Status, endpoint: int) -> bytes:
        return self._pack(Type.INTERRUPT_RECEIVING_STATUS, packet_id, _RECEIVING_STATUS.pack(status, endpoint))

    def control(self, request: Packet, status: Status, length: int, data: bytes = b"") -> bytes:
        """The answer to a control packet; ``length`` is what was transferred, ``data`` it if it went in."""
        endpoint, number, kind, _status, value, index, _length = request.fields
        body = _CONTROL.pack(endpoint, number, kind, status, value, index, length)
        return self._pack(Type.CONTROL_PACKET, request.id, body + data)

    def bulk(self, packet_id: int, endpoint: int, stream: int, status: Status, length: int, data: bytes = b"") -> bytes:
        """The answer to a bulk packet, likewise."""
        if self.can(Capability.BULK_LENGTH_32_BITS):
            body = _BULK_LONG.pack(endpoint, status, length & 0xFFFF, stream, length >> 16)
        else:
            body = _BULK.pack(endpoint, status, length, stream)
        return self._pack(Type.BULK_PACKET, packet_id, body + data)

    def interrupt(self, packet_id: int, endpoint: int, status: Status, length: int, data: bytes = b"") -> bytes:
        """The answer to an interrupt packet going out, or one that came in by itself."""
        return self._pack(Type.INTERRUPT_PACKET, packet_id, _INTERRUPT.pack(endpoint, status, length) + data)

    def _pack(self, kind: Type, packet_id: int, body: bytes) -> bytes:
        header = _HEADER_64 if self.can(Capability.IDS_64_BITS) else _HEADER_32
        return header.pack(kind, len(body), packet_id) + body


def _with_data(
    kind: Type, layout: Struct, body: bytes, measure: Callable[[tuple[int, ...]], tuple[int, int]]
) -> tuple[tuple[int, ...], bytes]:
    """A transfer's fields and data; ``measure`` gives its direction (in bit 7) and its length from the fields."""
    if len(body) < layout.size:
        raise ProtocolError(f"a usbredir packet {kind.name} of {len(body)} bytes, less than its header")
    fields = layout.unpack_from(body)
    data = body[layout.size :]
    direction, length = measure(fields)
    wanted = 0 if direction & _IN else length
    if len(data) != wanted:
        raise ProtocolError(f"a usbredir packet {kind.name} with {len(data)} bytes of data, not {wanted}")
    return fields, data
