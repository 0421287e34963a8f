# SPDX-License-Identifier: GPL-2.0-or-later
"""A keyboard that speaks HID over I2C (Microsoft's protocol specification 1.0): descriptors, reports, commands."""

from __future__ import annotations

import struct

DESCRIPTOR_REGISTER = 0x0001
REPORT_DESCRIPTOR_REGISTER, INPUT_REGISTER, OUTPUT_REGISTER, COMMAND_REGISTER, DATA_REGISTER = range(0x0002, 0x0007)
# Opcodes of the command register (specification, 7.2).
_RESET, _GET_REPORT, _SET_REPORT, _SET_POWER = 0x01, 0x02, 0x03, 0x08
_OUTPUT, _FEATURE = 0x02, 0x03
_LONG_REPORT_ID = 0x0F
_REPORT_ID = 1
# With the report's number.
_INPUT_BYTES = 9
_OUTPUT_BYTES = 2
VENDOR, PRODUCT, VERSION = 0x1209, 0x0001, 0x0100

# A boot keyboard (HID 1.11, appendix B.1) whose reports have a number: modifiers, six keys, five LEDs.
REPORT_DESCRIPTOR = bytes.fromhex(
    "05010906a1018501050719e029e71500250175019508810295017508810195057501050819012905910295017503910195067508"
    "150025650507190029658100c0"
)


class HidKeyboard:
    """``keys`` are the usages that are pressed, ``leds`` what the host made of its lights. Drivers: i2c_hid_of.

    Whoever pulls the interrupt line for it has the host read: a length of 0 after a reset, else the keys.
    """

    stretch_s = 0.0

    def __init__(self, keys: tuple[int, ...] = ()) -> None:
        self.keys = keys
        self.leds = 0
        self.power = 0
        self.resets = 0
        self._reset_pending = False
        self._answer: bytes | None = None

    @property
    def input_report(self) -> bytes:
        """The report with its length, as the input register serves it."""
        report = bytes((_REPORT_ID, 0, 0)) + bytes(self.keys[:6]).ljust(6, b"\0")
        return (len(report) + 2).to_bytes(2, "little") + report

    @property
    def descriptor(self) -> bytes:
        """The HID descriptor (specification, 5.1)."""
        return struct.pack(
            "<13HI",
            30,
            0x0100,
            len(REPORT_DESCRIPTOR),
            REPORT_DESCRIPTOR_REGISTER,
            INPUT_REGISTER,
            _INPUT_BYTES + 2,
            OUTPUT_REGISTER,
            _OUTPUT_BYTES + 2,
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
            self._answer = REPORT_DESCRIPTOR
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

    def stop(self) -> None:
        """Nothing happens at a stop."""

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
            self._answer = bytes(2) if kind == _FEATURE else self.input_report
        elif opcode == _SET_REPORT and kind == _OUTPUT:
            self._output(payload[2:])

    def _output(self, payload: bytes) -> None:
        """A report with its length before it; one whose length or number is wrong changes nothing."""
        whole = len(payload) == 2 + _OUTPUT_BYTES and int.from_bytes(payload[:2], "little") == len(payload)
        if whole and payload[2] == _REPORT_ID:
            self.leds = payload[3]
