# SPDX-License-Identifier: GPL-2.0-or-later
"""A slave that speaks SMBus: block, word and byte commands, process calls, and packet error codes.

The command byte says which protocol is meant (``PROTOCOLS``), as on a real chip; only so can a trailing PEC byte be
told from data. SMBus 3.2, sections 6.4 (PEC) and 6.5 (protocols).
"""

from __future__ import annotations

from typing import NamedTuple

BLOCK_MAX = 32  # bytes; SMBus 2.0, and I2C_SMBUS_BLOCK_MAX in the kernel
_IDLE = 0xFF  # what a master reads from a bus that nobody drives
_CRC8_POLYNOMIAL = 0x07


def _crc8_row(value: int) -> int:
    for _ in range(8):
        value = (value << 1) ^ (_CRC8_POLYNOMIAL if value & 0x80 else 0)
    return value & 0xFF


_CRC8 = bytes(_crc8_row(value) for value in range(256))
_INVERT = bytes(value ^ 0xFF for value in range(256))


def crc8(data: bytes) -> int:
    """The packet error code of all bytes of a message or transaction, address bytes included (SMBus 3.2, 6.4)."""
    code = 0
    for value in data:
        code = _CRC8[code ^ value]
    return code


class Protocol(NamedTuple):
    """What the commands ``first`` to ``last`` mean.

    ``size`` is the number of data bytes, None where a count or the stop says it.
    """

    name: str
    first: int
    last: int
    size: int | None


PROTOCOLS = (
    Protocol("block", 0x00, 0x3F, None),
    Protocol("byte", 0x40, 0x7F, 1),
    Protocol("word", 0x80, 0xBF, 2),
    Protocol("i2c_block", 0xC0, 0xFF, None),
)
_PROTOCOL_OF = tuple(next(p for p in PROTOCOLS if p.first <= command <= p.last) for command in range(256))


class SmbusBlockSlave:
    """Keeps one value per command. ``values`` holds the bytes without count and PEC.

    A write is kept at the stop; followed by a repeated start and a read it is a process call instead, answered with
    every bit inverted. A PEC byte is checked if sent (a wrong one is not acknowledged, and the write is dropped) and
    served if asked for; i2c_block has none. Reading on after the end gives 0xff.
    """

    stretch_s = 0.0

    def __init__(self, address: int = 0x40) -> None:
        self._to = bytes((address << 1,))
        self._from = bytes((address << 1 | 1,))
        self.values: dict[int, bytes] = {}
        self._written = b""
        self._command = 0

    def write(self, data: bytes) -> int:
        self._written = b""
        if not data:
            return 0
        accepted = self._accepts(data)
        if accepted == len(data):
            self._written = data
            self._command = data[0]
        return accepted

    def read(self, length: int) -> bytes:
        written, self._written = self._written, b""
        answer = self._answer(written) if written else bytes((self._command,))
        if not written or _PROTOCOL_OF[written[0]].name != "i2c_block":
            heard = self._to + written if written else b""
            answer += bytes((crc8(heard + self._from + answer),))
        return answer[:length].ljust(length, bytes((_IDLE,)))

    def stop(self) -> None:
        written, self._written = self._written, b""
        if len(written) > 1:
            value = self._value(written)
            if value is not None:
                self.values[written[0]] = value

    def value(self, command: int) -> bytes:
        """What ``command`` holds; before the first write something that depends on the command."""
        size = _PROTOCOL_OF[command].size or 8
        return self.values.get(command, bytes((command + n) & 0xFF for n in range(size)))

    def _accepts(self, data: bytes) -> int:
        """How many bytes of a write are acknowledged."""
        protocol = _PROTOCOL_OF[data[0]]
        if len(data) == 1 or protocol.name == "i2c_block":
            return len(data)
        if len(data) == 2 and protocol.name == "block" and data[1] == crc8(self._to + data[:1]):
            return 2  # Send Byte with PEC
        if protocol.name == "block" and data[1] > BLOCK_MAX:
            return 1
        end = self._end(data)
        if len(data) <= end:
            return len(data)
        if data[end] != crc8(self._to + data[:end]):
            return end
        return end + 1

    @staticmethod
    def _end(data: bytes) -> int:
        """Where the data of a block, byte or word write end and a PEC may follow."""
        size = _PROTOCOL_OF[data[0]].size
        return 1 + size if size is not None else 2 + data[1]

    def _value(self, written: bytes) -> bytes | None:
        """The value in an accepted write, or None if it was cut short."""
        name = _PROTOCOL_OF[written[0]].name
        if name == "i2c_block":
            return written[1:]
        end = self._end(written)
        return written[2 if name == "block" else 1 : end] if len(written) >= end else None

    def _answer(self, written: bytes) -> bytes:
        """The bytes to read after ``written`` and a repeated start, without PEC."""
        command = written[0]
        name = _PROTOCOL_OF[command].name
        value: bytes | None = self.value(command)
        if len(written) > 1:
            value = self._value(written)
            value = value.translate(_INVERT) if value is not None and name in ("block", "word") else None
        if value is None:
            return b""
        return bytes((len(value),)) + value if name == "block" else value
