# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's and the guest's part: usbredir packets made by hand, and what each Linux driver says to its bridge."""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

from dmasafe.devices.bus import Bus, default_bus
from dmasafe.devices.trace import Record
from dmasafe.devices.usb.bridges import bridges
from dmasafe.devices.usb.device import UsbDevice
from dmasafe.devices.usb.master import Master
from dmasafe.devices.usb.redirection import Redirection
from dmasafe.devices.usb.usbredir import Wire

HELLO, DEVICE_CONNECT, RESET, INTERFACE_INFO, EP_INFO = 0, 1, 3, 4, 5
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION_STATUS = 6, 7, 8
SET_ALT, GET_ALT, ALT_STATUS = 9, 10, 11
START_ISO, ISO_STATUS = 12, 14
START_INTERRUPT, STOP_INTERRUPT, INTERRUPT_STATUS = 15, 16, 17
CANCEL, CONTROL, BULK, INTERRUPT = 21, 100, 101, 103
SUCCESS, CANCELLED, STALL = 0, 1, 4
# What QEMU 7.2 says of itself.
QEMU_CAPABILITIES = 0xF6
IN = 0x80


class Answer(NamedTuple):
    type: int
    id: int
    body: bytes


def packet(kind: int, body: bytes = b"", packet_id: int = 0, wide: bool = True) -> bytes:
    return struct.pack("<IIQ" if wide else "<III", kind, len(body), packet_id) + body


def hello(capabilities: int | None = QEMU_CAPABILITIES) -> bytes:
    words = b"" if capabilities is None else struct.pack("<I", capabilities)
    return packet(HELLO, b"qemu".ljust(64, b"\0") + words, wide=False)


class Answers:
    """Bytes from the device's side as packets; the first is its hello, with a short id."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._first = True
        self.wide = True

    def feed(self, data: bytes) -> list[Answer]:
        self._buffer += data
        found = []
        while True:
            form = "<III" if self._first or not self.wide else "<IIQ"
            size = struct.calcsize(form)
            if len(self._buffer) < size:
                return found
            kind, length, packet_id = struct.unpack_from(form, self._buffer)
            if len(self._buffer) < size + length:
                return found
            found.append(Answer(kind, packet_id, bytes(self._buffer[size : size + length])))
            del self._buffer[: size + length]
            self._first = False


class Guest:
    """A guest whose bridge is plugged in, in this process; ``capabilities`` are QEMU's."""

    def __init__(self, bridge: str, bus: Bus | None = None, capabilities: int | None = QEMU_CAPABILITIES) -> None:
        self.records: list[Record] = []
        self.bus = bus or default_bus()
        self.master = Master(bridge, self.bus, lambda: 17, self.records.append)
        self.device = UsbDevice(bridges()[bridge](self.master), bridge)
        self.wire = Wire()
        self._answers = Answers()
        self._answers.wide = bool((capabilities or 0) & 0x20)
        self.long = bool((capabilities or 0) & 0x40)
        self.seen: deque[Answer] = deque()
        self._id = 100
        self.inputs: deque[bytes] = deque()
        self.redirection = Redirection(self.device, self.wire, self._receive)
        self.send(hello(capabilities))
        self.greeting = list(self.seen)
        self.seen.clear()

    def _receive(self, data: bytes) -> None:
        self.seen.extend(self._answers.feed(data))

    def send(self, data: bytes) -> None:
        self.wire.feed(data)
        for found in self.wire.packets():
            self.redirection.handle(found)

    def ask(self, kind: int, body: bytes = b"") -> int:
        """A packet with an id of its own."""
        self._id += 1
        self.send(packet(kind, body, self._id, self._answers.wide))
        return self._id

    def answer(self, kind: int, packet_id: int) -> bytes:
        """The body of the answer with this id; interrupt input that is in between is kept in ``inputs``."""
        while self.seen:
            found = self.seen.popleft()
            if (found.type, found.id) == (kind, packet_id):
                return found.body
            self._keep(found)
        raise AssertionError(f"no answer of type {kind} to packet {packet_id}")

    def _keep(self, found: Answer) -> None:
        if found.type in (EP_INFO, INTERFACE_INFO):
            return
        assert found.type == INTERRUPT and found.body[0] & IN, found
        _endpoint, status, length = struct.unpack_from("<BBH", found.body)
        assert status == SUCCESS and length == len(found.body) - 4
        self.inputs.append(found.body[4:])

    def control(self, request_type: int, request: int, value: int, index: int, payload: bytes | int) -> bytes | None:
        """usb_control_msg(): the bytes that came, b"" for a transfer out, None for a stall."""
        length = payload if isinstance(payload, int) else len(payload)
        data = b"" if isinstance(payload, int) else payload
        head = struct.pack("<BBBBHHH", request_type & IN, request, request_type, 0, value, index, length)
        body = self.answer(CONTROL, self.ask(CONTROL, head + data))
        _endpoint, _request, _type, status, _value, _index, done = struct.unpack_from("<BBBBHHH", body)
        if status == STALL:
            return None
        assert status == SUCCESS
        assert done == (len(body) - 10 if request_type & IN else len(data))
        return body[10:]

    def _bulk_head(self, endpoint: int, length: int) -> bytes:
        if self.long:
            return struct.pack("<BBHIH", endpoint, 0, length & 0xFFFF, 0, length >> 16)
        return struct.pack("<BBHI", endpoint, 0, length, 0)

    def bulk_out(self, endpoint: int, data: bytes) -> bool:
        """Whether it was taken, and not stalled."""
        body = self.answer(BULK, self.ask(BULK, self._bulk_head(endpoint, len(data)) + data))
        return body[1] == SUCCESS

    def submit_in(self, endpoint: int, length: int) -> int:
        return self.ask(BULK, self._bulk_head(endpoint, length))

    def bulk_in(self, endpoint: int, length: int) -> bytes:
        """What comes at once."""
        return self.bulk_answer(self.submit_in(endpoint, length))

    def bulk_answer(self, packet_id: int) -> bytes:
        body = self.answer(BULK, packet_id)
        assert body[1] == SUCCESS, body
        return body[10 if self.long else 8 :]

    def open_hid(self) -> None:
        self.answer(INTERRUPT_STATUS, self.ask(START_INTERRUPT, b"\x81"))

    def report(self, data: bytes) -> bool:
        """hid_hw_output_report(); what it brings is in ``inputs``."""
        body = self.answer(INTERRUPT, self.ask(INTERRUPT, struct.pack("<BBH", 0x01, 0, len(data)) + data))
        while self.seen:
            self._keep(self.seen.popleft())
        return body[1] == SUCCESS


class TinyUsb:
    """i2c-tiny-usb.c usb_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        came = []
        for number, (address, payload) in enumerate(messages):
            command = 4 | (number == 0) | 2 * (number == len(messages) - 1)
            read = isinstance(payload, int)
            data = self.guest.control(0xC1 if read else 0x41, command, int(read), address, payload)
            assert data is not None and (not read or len(data) == payload)
            if self.guest.control(0xC1, 3, 0, 0, 1) != b"\x01":
                return None
            came += [data] if read else []
        return came


class Osif:
    """i2c-robotfuzz-osif.c osif_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        assert guest.control(0x41, 24, 52, 0, b"") == b""

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        came = []
        for address, payload in messages:
            read = isinstance(payload, int)
            data = self.guest.control(0xC1 if read else 0x41, 20 if read else 21, int(read), address, payload)
            assert data is not None
            assert self.guest.control(0x41, 22, 0, 0, b"") == b""
            if self.guest.control(0xC1, 23, 0, 0, 1) != b"\0":
                return None
            came += [data] if read else []
        return came


class DiolanU2c:
    """i2c-diolan-u2c.c diolan_usb_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._commands: list[bytes] = []
        for command in (b"\x0a", b"\x0b", b"\x1b\x01", b"\x24\x01", b"\x26\xc8\x00"):
            assert self._command(command, flush=True) >= 0

    def _flush(self) -> int:
        commands, self._commands = self._commands, []
        assert self.guest.bulk_out(0x02, b"".join(commands))
        ret = 0
        for number in range(len(commands)):
            answer = self.guest.bulk_in(0x84, 256)
            if ret < 0:
                continue
            self.answer = answer
            ret = len(answer) - 1 if answer[-1] == 0 else (-6 if number == 1 else -5)
        return ret

    def _command(self, command: bytes, flush: bool = False) -> int:
        self._commands.append(command)
        return self._flush() if flush or sum(map(len, self._commands)) >= 124 else 0

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        came: list[bytes] | None = []
        self._command(b"\x0c")
        for number, (address, payload) in enumerate(messages):
            data = self._message(number, address, payload)
            if data is None:
                came = None
                break
            if isinstance(payload, int) and came is not None:
                came.append(data)
        return None if self._command(b"\x0d", flush=True) < 0 else came

    def _message(self, number: int, address: int, payload: bytes | int) -> bytes | None:
        read = isinstance(payload, int)
        if number and self._command(b"\x0e") < 0:
            return None
        if self._command(bytes((0x13, address << 1 | read))) < 0:
            return None
        data = b""
        if isinstance(payload, int):
            for left in range(payload, 0, -1):
                if self._command(bytes((0x14, left > 1)), flush=True) <= 0:
                    return None
                data += self.answer[:1]
        else:
            for octet in payload:
                if self._command(bytes((0x13, octet))) < 0:
                    return None
        return data


class Viperboard:
    """i2c-viperboard.c vprbrd_i2c_xfer(), for messages that fit into one USB message."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        assert guest.control(0xC0, 0xEA, 0, 0, 1) == b"\x01"
        assert guest.control(0x40, 0xE6, 0, 0, b"\x06") == b""

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        came = []
        for address, payload in messages:
            if isinstance(payload, int):
                assert self.guest.bulk_out(0x02, struct.pack("<BBBHBB", 2, address, 1, payload, 0, 0))
                lengths = (payload, 0, 0) if payload <= 255 else (payload - 255, 255, 0)
                head = struct.pack("<BHBBBBBBHH", 1, 0x4000, *lengths, 0, 0, 0, payload, 0)
                assert self.guest.bulk_out(0x02, head)
                came.append(self.guest.bulk_in(0x86, payload))
            else:
                first = min(len(payload), 255)
                head = struct.pack("<BHBBBBH", 0, 0x4000, first, len(payload) - first, 0, 0, 0)
                if payload:
                    assert self.guest.bulk_out(0x02, head + payload)
                assert self.guest.bulk_out(0x02, struct.pack("<BBBHBB", 2, address, 0, len(payload), 0, 0))
            status = self.guest.control(0xC0, 0xE9, 0, 0, 12)
            assert status is not None and len(status) == 12
            if status[11]:
                return None
        return came


class Cp2615:
    """i2c-cp2615.c cp2615_i2c_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        assert guest.answer(ALT_STATUS, guest.ask(SET_ALT, b"\x01\x02"))[0] == SUCCESS
        info = self._message(0xD100, b"")
        assert info[:2] == b"\xa1\x00" and info[2:4] in (b"\x14\x00", b"\x15\x00")

    def _message(self, kind: int, body: bytes) -> bytes:
        assert self.guest.bulk_out(0x02, struct.pack(">HHH", 0x2A2A, 6 + len(body), kind) + body)
        answer = self.guest.bulk_in(0x82, 64)
        preamble, length = struct.unpack_from(">HH", answer)
        assert preamble == 0x2A2A and length == len(answer)
        return answer[4:]

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        came = []
        for address, payload in messages:
            read = isinstance(payload, int)
            lengths = (payload, 0) if isinstance(payload, int) else (0, len(payload))
            body = bytes((0xDD, address << 1 | read, *lengths)) + (b"" if isinstance(payload, int) else payload)
            answer = self._message(0xD400, body)
            assert answer[:4] == b"\xa4\x00" + bytes((0xDD, address << 1 | read))
            if answer[4]:
                return None
            if read:
                assert answer[5] == payload
                came.append(answer[6:])
        return came


class Dln2:
    """mfd/dln2.c _dln2_transfer() and i2c-dln2.c, with URBs waiting before anything is asked."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._urbs = deque(guest.submit_in(0x81, 512) for _ in range(16))
        assert self._transfer(1, 0x0030, b"") == struct.pack("<I", 0x200)
        assert len(self._transfer(1, 0x0031, b"") or b"") == 4
        assert self._transfer(3, 0x0301, b"\0") == b""

    def _transfer(self, handle: int, command: int, body: bytes) -> bytes | None:
        head = struct.pack("<HHHH", 8 + len(body), command, 5, handle)
        assert self.guest.bulk_out(0x01, head + body)
        answer = self.guest.bulk_answer(self._urbs.popleft())
        self._urbs.append(self.guest.submit_in(0x81, 512))
        size, seen, echo, seen_handle, result = struct.unpack_from("<HHHHH", answer)
        assert (size, seen, echo, seen_handle) == (len(answer), command, 5, handle)
        return None if result > 0x80 else answer[10:]

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        came = []
        for address, payload in messages:
            read = isinstance(payload, int)
            length = payload if isinstance(payload, int) else len(payload)
            body = struct.pack("<BBBIH", 0, address, 0, 0, length) + (b"" if isinstance(payload, int) else payload)
            answer = self._transfer(3, 0x0307 if read else 0x0306, body)
            if answer is None:
                return None
            if read:
                assert struct.unpack_from("<H", answer)[0] == length
                came.append(answer[2:])
        return came


class Mcp2221:
    """hid-mcp2221.c mcp_i2c_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        guest.open_hid()
        assert self._command(b"\x10\0\0\x20\x1b\0\0\0")[3] == 0x20
        assert self._command(b"\x51")[2:4] == b"\0\x01"

    def _command(self, report: bytes) -> bytes:
        assert self.guest.report(report)
        answer = self.guest.inputs.popleft()
        assert len(answer) == 64 and answer[0] == report[0]
        return answer

    def _acknowledged(self) -> bool:
        answer = self._command(b"\x10" + bytes(7))
        assert answer[1] == 0
        if answer[20] & 0x40:
            assert self._command(b"\x10\0\x10" + bytes(5))[1] == 0
            return False
        return answer[8] == 0

    def _write(self, command: int, address: int, payload: bytes, check: bool) -> bool:
        head = bytes((command, len(payload) & 0xFF, len(payload) >> 8, address << 1))
        for start in range(0, max(len(payload), 1), 60):
            assert self._command(head + payload[start : start + 60])[1] == 0
            if check and not self._acknowledged():
                return False
        return True

    def _read(self, command: int, address: int, length: int) -> bytes | None:
        assert self._command(bytes((command, length & 0xFF, length >> 8, address << 1)))[1] == 0
        data = b""
        while len(data) < length:
            answer = self._command(b"\x40")
            if answer[2] == 0x25:
                return None
            assert answer[2] in (0x54, 0x55) and 0 < answer[3] <= 60
            data += answer[4 : 4 + answer[3]]
        return data if self._acknowledged() else None

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        if len(messages) == 2:
            (address, written), (_address, length) = messages
            assert isinstance(written, bytes) and isinstance(length, int)
            self._write(0x94, address, written, check=False)
            data = self._read(0x93, address, length)
            return None if data is None else [data]
        ((address, payload),) = messages
        if isinstance(payload, int):
            data = self._read(0x91, address, payload)
            return None if data is None else [data]
        return [] if self._write(0x90, address, payload, check=True) else None


class Cp2112:
    """hid-cp2112.c cp2112_i2c_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        guest.open_hid()
        version = guest.control(0xA1, 1, 0x0305, 0, 3)
        assert version is not None and len(version) == 3 and version[2] > 1
        config = guest.control(0xA1, 1, 0x0306, 0, 14)
        assert config is not None and len(config) == 14
        assert guest.control(0x21, 9, 0x0306, 0, config[:12] + b"\0\x01") == b""

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        guest = self.guest
        address, payload = messages[0]
        length = messages[-1][1]
        if len(messages) == 2:
            assert isinstance(payload, bytes) and isinstance(length, int)
            request = struct.pack(">BBHB", 0x11, address << 1, length, len(payload)) + payload
        elif isinstance(payload, int):
            request = struct.pack(">BBH", 0x10, address << 1, payload)
        else:
            request = bytes((0x14, address << 1, len(payload))) + payload
        assert guest.report(request)
        assert guest.report(b"\x15\x01")
        status = guest.inputs.popleft()
        assert len(status) == 7 and status[0] == 0x16
        if status[1] != 2:
            return None
        if not isinstance(length, int):
            return []
        data = b""
        while len(data) < length:
            assert guest.report(struct.pack(">BH", 0x12, min(length - len(data), 61)))
            answer = guest.inputs.popleft()
            assert len(answer) == 64 and answer[0] == 0x13 and answer[2]
            data += answer[3 : 3 + answer[2]]
        return [data]


class Ft260:
    """hid-ft260.c ft260_i2c_xfer()."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        guest.open_hid()
        version = guest.control(0xA1, 1, 0x03A0, 0, 13)
        assert version is not None and len(version) == 13
        settings = guest.control(0xA1, 1, 0x03A1, 0, 25)
        assert settings is not None and len(settings) == 25 and settings[1] == 1

    def _good(self) -> bool:
        status = self.guest.control(0xA1, 1, 0x03C0, 0, 5)
        assert status is not None and len(status) == 5 and status[2:4] != b"\0\0"
        if status[1] & 0x02:
            assert self.guest.control(0x21, 9, 0x03A1, 0, b"\xa1\x20") == b""
            return False
        return not status[1] & 0x41

    def _write(self, address: int, payload: bytes, last: bool) -> bool:
        flag = 2
        for start in range(0, len(payload), 60):
            piece = payload[start : start + 60]
            if last and start + 60 >= len(payload):
                flag |= 4
            report = bytes((0xD0 + (len(piece) - 1) // 4, address, flag, len(piece))) + piece
            assert self.guest.report(report)
            if not self._good():
                return False
            flag = 0
        return True

    def _read(self, address: int, length: int, repeated: bool) -> bytes | None:
        flag, most, data = 3 if repeated else 2, 60, b""
        while len(data) < length:
            size = min(length - len(data), most)
            flag |= 4 if size == length - len(data) else 0
            assert self.guest.report(struct.pack("<BBBH", 0xC2, address, flag, size))
            start = len(data)
            while len(data) < start + size:
                if not self.guest.inputs:
                    return None
                answer = self.guest.inputs.popleft()
                assert 0xD0 <= answer[0] <= 0xDE and len(answer) == 2 + 4 * (answer[0] - 0xD0 + 1)
                data += answer[2 : 2 + answer[1]]
            if not self._good():
                return None
            flag, most = 0, 180
        return data

    def xfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        if len(messages) == 2:
            (address, written), (_address, length) = messages
            assert isinstance(written, bytes) and isinstance(length, int)
            if not self._write(address, written, last=False):
                return None
            data = self._read(address, length, repeated=True)
            return None if data is None else [data]
        ((address, payload),) = messages
        if isinstance(payload, int):
            data = self._read(address, payload, repeated=False)
            return None if data is None else [data]
        return [] if self._write(address, payload, last=True) else None


DRIVERS = {
    "tiny-usb": TinyUsb,
    "osif": Osif,
    "diolan-u2c": DiolanU2c,
    "viperboard": Viperboard,
    "cp2615": Cp2615,
    "dln2": Dln2,
    "mcp2221": Mcp2221,
    "cp2112": Cp2112,
    "ft260": Ft260,
}
