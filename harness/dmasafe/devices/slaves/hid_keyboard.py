# SPDX-License-Identifier: GPL-2.0-or-later
"""A keyboard that speaks HID over I2C (Microsoft's protocol specification 1.0): descriptors, reports, commands."""

from __future__ import annotations

import struct

from dmasafe.devices.slaves.quick import Quick

DESCRIPTOR_REGISTER = 0x0001
REPORT_DESCRIPTOR_REGISTER, INPUT_REGISTER, OUTPUT_REGISTER, COMMAND_REGISTER, DATA_REGISTER = range(0x0002, 0x0007)
# Opcodes of the command register (specification, 7.2).
_RESET, _GET_REPORT, _SET_REPORT, _SET_POWER = 0x01, 0x02, 0x03, 0x08
_OUTPUT, _FEATURE = 0x02, 0x03
_LONG_REPORT_ID = 0x0F
_REPORT_ID = 1
_INPUT_BYTES = 8
_OUTPUT_BYTES = 1
VENDOR, PRODUCT, VERSION = 0x1209, 0x0001, 0x0100

# A boot keyboard (HID 1.11, appendix B.1) whose reports have a number: modifiers, six keys, five LEDs.
REPORT_DESCRIPTOR = bytes.fromhex(
    "05010906a1018501050719e029e71500250175019508810295017508810195057501050819012905910295017503910195067508"
    "150025650507190029658100c0"
)
_REPORT_ID_ITEM = bytes((0x85, _REPORT_ID))


class HidKeyboard(Quick):
    """``keys`` are the usages that are pressed, ``leds`` what the host made of its lights. Drivers: i2c_hid_of.

    Whoever pulls the interrupt line for it has the host read: a length of 0 after a reset, else the keys. Without
    ``numbered`` its two reports have no number.
    """

    def __init__(self, keys: tuple[int, ...] = (), numbered: bool = True) -> None:
        self.keys = keys
        self.number = bytes((_REPORT_ID,)) if numbered else b""
        self.leds = 0
        self.power = 0
        self.resets = 0
        self._reset_pending = False
        self._answer: bytes | None = None

    @classmethod
    def unnumbered(cls) -> HidKeyboard:
        return cls(numbered=False)

    @property
    def report_descriptor(self) -> bytes:
        return REPORT_DESCRIPTOR if self.number else REPORT_DESCRIPTOR.replace(_REPORT_ID_ITEM, b"", 1)

    @property
    def input_report(self) -> bytes:
        """The report with its length, as the input register serves it."""
        return self._with_length(bytes((0, 0)) + bytes(self.keys[:6]).ljust(6, b"\0"))

    @property
    def output_report(self) -> bytes:
        """What the host has made of the lights, as GET_REPORT serves it."""
        return self._with_length(bytes((self.leds,)))

    def _with_length(self, report: bytes) -> bytes:
        return (2 + len(self.number) + len(report)).to_bytes(2, "little") + self.number + report

    @property
    def descriptor(self) -> bytes:
        """The HID descriptor (specification, 5.1)."""
        return struct.pack(
            "<13HI",
            30,
            0x0100,
            len(self.report_descriptor),
            REPORT_DESCRIPTOR_REGISTER,
            INPUT_REGISTER,
            2 + len(self.number) + _INPUT_BYTES,
            OUTPUT_REGISTER,
            2 + len(self.number) + _OUTPUT_BYTES,
            COMMAND_REGISTER,
            DATA_REGISTER,
            VENDOR,
            PRODUCT,
            VERSION,
            0,
        )

    def write(self, data: bytes) -> int:
        self._answer = None
        if len(data) < 2:
            return len(data)
        register, rest = int.from_bytes(data[:2], "little"), data[2:]
        if register == DESCRIPTOR_REGISTER:
            self._answer = self.descriptor
        elif register == REPORT_DESCRIPTOR_REGISTER:
            self._answer = self.report_descriptor
        elif register == OUTPUT_REGISTER:
            self._output(rest)
        elif register == COMMAND_REGISTER and len(rest) >= 2:
            self._command(rest)
        return len(data)

    def read(self, length: int) -> bytes:
        answer, self._answer = self._answer, None
        if answer is None:
            # Without a register before it, a read is one of the input register.
            answer = bytes(2) if self._reset_pending else self.input_report
            self._reset_pending = False
        return answer[:length].ljust(length, b"\0")

    def _command(self, rest: bytes) -> None:
        kind, opcode = rest[0] >> 4 & 3, rest[1] & 0x0F
        # A report's number above 14 has a byte of its own; then come the data register, and what is written to it.
        payload = rest[3:] if rest[0] & 0x0F == _LONG_REPORT_ID else rest[2:]
        if opcode == _RESET:
            self.keys, self.leds = (), 0
            self.resets += 1
            self._reset_pending = True
        elif opcode == _SET_POWER:
            self.power = rest[0] & 3
        elif opcode == _GET_REPORT:
            self._answer = {_FEATURE: bytes(2), _OUTPUT: self.output_report}.get(kind, self.input_report)
        elif opcode == _SET_REPORT and kind == _OUTPUT:
            self._output(payload[2:])

    def _output(self, payload: bytes) -> None:
        """A report with its length before it; one whose length or number is wrong changes nothing."""
        report = payload[2 + len(self.number) :]
        if len(report) == _OUTPUT_BYTES and payload == self._with_length(report):
            self.leds = report[0]


CHIPS = {"hid-over-i2c": HidKeyboard}
