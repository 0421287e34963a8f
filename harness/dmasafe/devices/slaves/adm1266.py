# SPDX-License-Identifier: GPL-2.0-or-later
"""The ADM1266 super sequencer, a PMBus device: pages, bytes, words, blocks, and two kinds of block process calls.

Commands and block lengths are those of the datasheet (Rev. D, "PMBus commands"); PEC is not offered.
"""

from __future__ import annotations

PAGES = 17
RECORD_BYTES = 64
_PAGE, _CLEAR_FAULTS, _CAPABILITY, _VOUT_MODE, _WRITE_PROTECT = 0x00, 0x03, 0x19, 0x20, 0x10
_STATUS_BYTE, _STATUS_WORD, _STATUS_VOUT, _STATUS_CML = 0x78, 0x79, 0x7A, 0x7E
_READ_VOUT, _REVISION = 0x8B, 0x98
_IC_DEVICE_REV, _PDIO_CONFIG, _READ_STATE, _READ_BLACKBOX = 0xAE, 0xD4, 0xD9, 0xDE
_SET_RTC, _GPIO_CONFIG, _POWERUP_COUNTER, _BLACKBOX_INFO = 0xDF, 0xE1, 0xE4, 0xE6
_PDIO_STATUS, _GPIO_STATUS = 0xE9, 0xEA
# Voltages are in 1/1024 V: a five-bit two's complement exponent of -10.
EXPONENT = -10
_CLEAR_RECORDS = 0xFE


class Adm1266:
    """``volts`` are READ_VOUT's words by page, ``gpio`` and ``pdio`` pins by bit, ``records`` the black box.

    A command that there is not is not acknowledged. Drivers: adm1266 and the PMBus core.
    """

    stretch_s = 0.0

    def __init__(self, records: int = 2) -> None:
        self.volts = [1024 + 57 * page for page in range(PAGES)]
        self.gpio = 0x0A05
        self.pdio = 0xBEEF
        self.state = 0x0123
        self.powerups = 0x0102
        self.rtc = bytes(6)
        self.records = [bytes((7 * number + at) & 0xFF for at in range(RECORD_BYTES)) for number in range(records)]
        self.page = 0
        self._answer: bytes | None = None
        self._written = b""

    def write(self, data: bytes) -> int:
        self._answer, self._written = None, b""
        if not data:
            return 0
        command, rest = data[0], data[1:]
        if not rest and command == _CLEAR_FAULTS:
            return 1
        if not rest:
            self._answer = self._served(command)
            return 1 if self._answer is not None else 0
        return self._stored(command, rest, data)

    def read(self, length: int) -> bytes | None:
        answer, self._answer = self._answer, None
        if self._written:
            answer, self._written = self._called(self._written), b""
        if answer is None:
            # Nobody asked for anything; the probing for a device gets a byte.
            answer = b""
        return answer[:length].ljust(length, b"\xff")

    def stop(self) -> None:
        """A block write that no read followed takes effect."""
        written, self._written = self._written, b""
        if written[:1] == bytes((_SET_RTC,)) and len(written) == 8:
            self.rtc = written[2:]
        elif written[:1] == bytes((_READ_BLACKBOX,)) and written[2:] == bytes((_CLEAR_RECORDS, 0)):
            self.records.clear()

    def _served(self, command: int) -> bytes | None:
        bytes_of = {
            _PAGE: self.page,
            _CAPABILITY: 0,
            _VOUT_MODE: EXPONENT & 0x1F,
            _WRITE_PROTECT: 0,
            _STATUS_BYTE: 0,
            _STATUS_VOUT: 0,
            _STATUS_CML: 0,
            _REVISION: 0x22,
        }
        if command in bytes_of:
            return bytes((bytes_of[command],))
        words = {_STATUS_WORD: 0, _READ_STATE: self.state, _READ_VOUT: self.volts[self.page % PAGES]}
        if command in words:
            return words[command].to_bytes(2, "little")
        blocks = {
            _IC_DEVICE_REV: bytes((1, 14, 3, 0, 0, 9, 0x41, 0x31)),
            _POWERUP_COUNTER: self.powerups.to_bytes(2, "little"),
            _GPIO_STATUS: self.gpio.to_bytes(2, "little"),
            _PDIO_STATUS: self.pdio.to_bytes(2, "little"),
            _SET_RTC: self.rtc,
            _BLACKBOX_INFO: bytes((len(self.records), 0, 0, len(self.records))),
        }
        return _block(blocks[command]) if command in blocks else None

    def _stored(self, command: int, rest: bytes, data: bytes) -> int:
        if command == _PAGE:
            # 0xff is every page.
            self.page = rest[0]
            return min(len(data), 2)
        if command in (_SET_RTC, _READ_BLACKBOX, _GPIO_CONFIG, _PDIO_CONFIG):
            if len(rest) != 1 + rest[0]:
                return 1
            self._written = data
            return len(data)
        return 0

    def _called(self, written: bytes) -> bytes | None:
        """What a block process call answers."""
        command, argument = written[0], written[2:]
        if len(argument) != 1:
            return None
        if command == _READ_BLACKBOX and argument[0] < len(self.records):
            return _block(self.records[argument[0]])
        if command == _GPIO_CONFIG:
            return _block(bytes((0x1D, argument[0])))
        if command == _PDIO_CONFIG:
            return _block(bytes(0x20 for _ in range(32)))
        return None


def _block(data: bytes) -> bytes:
    return bytes((len(data),)) + data


CHIPS = {"adm1266": Adm1266}
