# SPDX-License-Identifier: GPL-2.0-or-later
"""Microchip MCP2221: commands of 64 bytes with answers of 64 bytes (drivers/hid/hid-mcp2221.c).

A write comes in pieces of 60 bytes and is carried out with the last; a read is carried out at once and fetched in
pieces. Its GPIO pins are inputs with nothing on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from dmasafe.devices.usb.hid import REPORT_BYTES, Hid, Report, Use, descriptors
from dmasafe.devices.usb.master import Bridge

PIECE_BYTES = 60


class Command(IntEnum):
    """The first byte of a command and of its answer."""

    STATUS_SET_PARAMETERS = 0x10
    GET_DATA = 0x40
    GPIO_SET = 0x50
    GPIO_GET = 0x51
    SET_SRAM_SETTINGS = 0x60
    GET_SRAM_SETTINGS = 0x61
    WRITE = 0x90
    READ = 0x91
    READ_REPEATED_START = 0x93
    WRITE_NO_STOP = 0x94


class State(IntEnum):
    """Of the I2C engine."""

    IDLE = 0x00
    ADDRESS_NACK = 0x25
    READ_PARTIAL = 0x54
    READ_COMPLETE = 0x55


_CANCEL = 0x10
_SET_SPEED = 0x20
_NOT_ACKNOWLEDGED = 0x40
_UNKNOWN_COMMAND = 0x01
_ENGINE_STATE = 8
_ACK_STATUS = 20
_PINS = 4
_PIN_IS_INPUT = 1


class Mcp2221(Bridge):
    """The chip's I2C engine."""

    descriptors = descriptors(
        0x04D8, 0x00DD, ("Microchip Technology Inc.", "MCP2221 USB-I2C/UART Combo"),
        (Report(0, Use.INPUT, REPORT_BYTES), Report(0, Use.OUTPUT, REPORT_BYTES)),
    )  # fmt: skip

    def _idle(self) -> None:
        self._refused = False
        self._written = bytearray()
        self._read: bytes | None = None

    def feature(self, _number: int) -> bytes | None:
        return None

    def set_feature(self, _report: bytes) -> bool:
        return False

    def output(self, report: bytes) -> Sequence[bytes] | None:
        command = report[:REPORT_BYTES].ljust(REPORT_BYTES, b"\0")
        match command[0]:
            case Command.STATUS_SET_PARAMETERS:
                answer = self._status(command)
            case Command.WRITE | Command.WRITE_NO_STOP:
                answer = self._write(command)
            case Command.READ | Command.READ_REPEATED_START:
                answer = self._start_read(command)
            case Command.GET_DATA:
                answer = self._get_data()
            case Command.GPIO_GET:
                answer = b"\0" + bytes((0, _PIN_IS_INPUT)) * _PINS
            case Command.GPIO_SET | Command.SET_SRAM_SETTINGS | Command.GET_SRAM_SETTINGS:
                answer = b"\0"
            case _:
                answer = bytes((_UNKNOWN_COMMAND,))
        return [(command[:1] + answer).ljust(REPORT_BYTES, b"\0")]

    def _status(self, command: bytes) -> bytes:
        """What follows the command's byte in the answer."""
        answer = bytearray(REPORT_BYTES - 1)
        if command[2] == _CANCEL:
            self.reset()
            answer[1] = _CANCEL
        if command[3] == _SET_SPEED:
            answer[2], answer[3] = _SET_SPEED, command[4]
        answer[_ENGINE_STATE - 1] = State.ADDRESS_NACK if self._refused else State.IDLE
        answer[_ACK_STATUS - 1] = _NOT_ACKNOWLEDGED if self._refused else 0
        return bytes(answer)

    def _write(self, command: bytes) -> bytes:
        total, address = int.from_bytes(command[1:3], "little"), command[3] >> 1
        left = total - len(self._written)
        self._written += command[4 : 4 + min(left, PIECE_BYTES)]
        if len(self._written) >= total:
            payload = bytes(self._written)
            self._idle()
            self._refused = not self._master.transfer(address, False, payload, last=command[0] == Command.WRITE).ok
        return b"\0"

    def _start_read(self, command: bytes) -> bytes:
        total, address = int.from_bytes(command[1:3], "little"), command[3] >> 1
        self._idle()
        result = self._master.transfer(address, True, total)
        self._refused = not result.ok
        self._read = result.data if result.ok else None
        return b"\0"

    def _get_data(self) -> bytes:
        if self._refused:
            return bytes((0, State.ADDRESS_NACK, 0))
        if self._read is None:
            return bytes((0, State.IDLE, 0))
        piece, rest = self._read[:PIECE_BYTES], self._read[PIECE_BYTES:]
        self._read = rest or None
        return bytes((0, State.READ_PARTIAL if rest else State.READ_COMPLETE, len(piece))) + piece


BRIDGES = {"mcp2221": lambda master: Hid(Mcp2221(master))}
