# SPDX-License-Identifier: GPL-2.0-or-later
"""Diolan U2C-12: single steps of the I2C protocol as commands, several in a bulk transfer, an answer to each
(drivers/i2c/busses/i2c-diolan-u2c.c).

The bus of this package takes whole messages. Bytes of a write are acknowledged as they come and the message is carried
out at what ends it, so that a refused byte is told there if it came in an earlier transfer; bytes of a read are those
that the slave would serve, and the read itself happens when its last byte was taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from enum import Enum, IntEnum

from dmasafe.devices.bus import Nak
from dmasafe.devices.usb.device import Descriptors, Endpoint, Function, Interface, Transfer
from dmasafe.devices.usb.master import Bridge

EP_OUT = 0x02
EP_IN = 0x84
# The driver reads byte by byte, and the kernel's messages end here.
MAX_READ_BYTES = 65535
_FIRST_PREVIEW_BYTES = 256
_VERSION = bytes((3, 4))
_SERIAL = (12).to_bytes(4, "little")


class Command(IntEnum):
    """The first byte of a command."""

    GET_FW_VERSION = 0x0A
    GET_SERIAL = 0x0B
    I2C_START = 0x0C
    I2C_STOP = 0x0D
    I2C_REPEATED_START = 0x0E
    I2C_PUT_BYTE_ACK = 0x13
    I2C_GET_BYTE_ACK = 0x14
    I2C_SET_SPEED = 0x1B
    I2C_SET_CLK_SYNC = 0x24
    I2C_SET_CLK_SYNC_TO = 0x26


class Response(IntEnum):
    """The last byte of an answer."""

    OK = 0x00
    FAILED = 0x01
    NOT_IMPLEMENTED = 0x06
    NACK = 0x07


_OPERANDS: dict[int, int] = {
    Command.I2C_PUT_BYTE_ACK: 1,
    Command.I2C_GET_BYTE_ACK: 1,
    Command.I2C_SET_SPEED: 1,
    Command.I2C_SET_CLK_SYNC: 1,
    Command.I2C_SET_CLK_SYNC_TO: 2,
}


class _Phase(Enum):
    """Where in a message the bridge is."""

    IDLE = 0
    ADDRESS = 1
    WRITE = 2
    READ = 3
    OVER = 4
    REFUSED = 5


class DiolanU2c(Bridge, Function):
    """The bridge. What follows a refused byte is refused too, up to the next start."""

    descriptors = Descriptors(
        vendor=0x0ABF, product=0x3370, strings=("Diolan", "U2C-12"),
        interfaces=(Interface(0, endpoints=(Endpoint(EP_OUT, Transfer.BULK), Endpoint(EP_IN, Transfer.BULK))),),
    )  # fmt: skip
    source = EP_IN

    def _idle(self) -> None:
        self._begin(_Phase.IDLE)

    def _begin(self, phase: _Phase) -> None:
        self._phase = phase
        self._address = 0
        self._written = bytearray()
        self._served = b""
        self._taken = 0

    def out(self, endpoint: int, data: bytes) -> Sequence[bytes] | None:
        """All commands of a transfer, an answer each; None if there is half a command in it."""
        commands = _commands(data)
        if endpoint != EP_OUT or commands is None:
            return None
        answers: list[bytes] = []
        while len(answers) < len(commands):
            code, operands = commands[len(answers)]
            if code == Command.I2C_PUT_BYTE_ACK:
                run = _run(commands[len(answers) :])
                following = commands[len(answers) + len(run) :]
                whole = bool(following) and following[0][0] in (Command.I2C_STOP, Command.I2C_REPEATED_START)
                answers += [bytes((_ack(taken),)) for taken in self._put(run, whole)]
            else:
                answers.append(self._single(code, operands))
        return answers

    def _single(self, code: int, operands: bytes) -> bytes:
        match code:
            case Command.I2C_START | Command.I2C_REPEATED_START:
                good = self._end()
                self._begin(_Phase.ADDRESS)
            case Command.I2C_STOP:
                good = self._end()
                self.reset()
            case Command.I2C_GET_BYTE_ACK:
                return self._get(bool(operands[0]))
            case Command.GET_FW_VERSION:
                return _VERSION + bytes((Response.OK,))
            case Command.GET_SERIAL:
                return _SERIAL + bytes((Response.OK,))
            case Command.I2C_SET_SPEED | Command.I2C_SET_CLK_SYNC | Command.I2C_SET_CLK_SYNC_TO:
                good = True
            case _:
                return bytes((Response.NOT_IMPLEMENTED,))
        return bytes((_ack(good),))

    def _put(self, octets: bytes, whole: bool) -> list[bool]:
        """Bytes to the bus, and whether each was acknowledged; ``whole``: the message ends with them."""
        taken: list[bool] = []
        if self._phase is _Phase.ADDRESS:
            taken.append(self._put_address(octets[0]))
            octets = octets[1:]
        if self._phase is not _Phase.WRITE:
            return taken + [False] * len(octets)
        before = len(self._written)
        self._written += octets
        accepted = self._write() if whole else len(self._written)
        if accepted < 0 and taken:
            taken[0] = False
        return taken + [before + number < accepted for number in range(len(octets))]

    def _put_address(self, octet: int) -> bool:
        self._address, read = octet >> 1, bool(octet & 1)
        if not self._master.present(self._address):
            self._master.transfer(self._address, read, 0 if read else b"", last=False)
            self._phase = _Phase.REFUSED
            return False
        if not read:
            self._phase = _Phase.WRITE
            return True
        return self._serve(_FIRST_PREVIEW_BYTES)

    def _serve(self, length: int) -> bool:
        """Look at what the slave would say; whether it says anything."""
        served = self._master.preview(self._address, length)
        if served is None:
            self._master.transfer(self._address, True, self._taken, last=False)
            self._phase = _Phase.REFUSED
            return False
        self._served = served
        self._phase = _Phase.READ
        return True

    def _get(self, more: bool) -> bytes:
        """One byte of a read; ``more`` follow."""
        if self._phase is not _Phase.READ or self._taken >= MAX_READ_BYTES:
            return bytes((Response.NACK,))
        if self._taken == len(self._served) and not self._serve(2 * self._taken):
            return bytes((Response.NACK,))
        octet = self._served[self._taken]
        self._taken += 1
        if not more:
            self._end()
        return bytes((octet, Response.OK))

    def _write(self) -> int:
        """Carries the write out: how many of its bytes were acknowledged, -1 if not even the address."""
        result = self._master.transfer(self._address, False, bytes(self._written), last=False)
        self._phase = _Phase.OVER if result.ok else _Phase.REFUSED
        if result.ok:
            return len(self._written)
        return len(result.data) - 1 if result.nak is Nak.DATA else -1

    def _end(self) -> bool:
        """A message is over, if one was under way; whether it went well."""
        if self._phase is _Phase.WRITE:
            return self._write() == len(self._written)
        if self._phase is _Phase.READ:
            self._phase = _Phase.OVER
            return self._master.transfer(self._address, True, self._taken, last=False).ok
        return True


def _ack(good: bool) -> Response:
    return Response.OK if good else Response.NACK


def _commands(data: bytes) -> list[tuple[int, bytes]] | None:
    """(code, operands) of each command, or None if the last one is not whole."""
    found = []
    at = 0
    while at < len(data):
        end = at + 1 + _OPERANDS.get(data[at], 0)
        if end > len(data):
            return None
        found.append((data[at], data[at + 1 : end]))
        at = end
    return found


def _run(commands: Sequence[tuple[int, bytes]]) -> bytes:
    """The bytes of the PUT_BYTE_ACKs in a row with which ``commands`` begin."""
    row = itertools.takewhile(lambda command: command[0] == Command.I2C_PUT_BYTE_ACK, commands)
    return b"".join(operands for _code, operands in row)


BRIDGES = {"diolan-u2c": DiolanU2c}
