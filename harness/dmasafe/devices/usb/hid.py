# SPDX-License-Identifier: GPL-2.0-or-later
"""The HID class (HID 1.11) for chips whose commands are reports: one interface, an interrupt endpoint each way.

A chip says what its reports are and what they mean; GET_REPORT and SET_REPORT carry features, the endpoints the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple, Protocol

from dmasafe.devices.usb.device import (
    Descriptors,
    DescriptorType,
    Endpoint,
    Interface,
    RequestType,
    Setup,
    Speed,
    Transfer,
)

EP_IN = 0x81
EP_OUT = 0x01
REPORT_BYTES = 64


class Use(Enum):
    """A report's direction, as the main item (HID 1.11, 6.2.2.5) that declares it: data, variable, absolute."""

    INPUT = b"\x81\x02"
    OUTPUT = b"\x91\x02"
    FEATURE = b"\xb1\x02"


class Report(NamedTuple):
    """``number`` is 0 in a device without report numbers; ``length`` is without it."""

    number: int
    use: Use
    length: int


class HidRequest(IntEnum):
    """Class requests (7.2)."""

    GET_REPORT = 0x01
    GET_IDLE = 0x02
    SET_REPORT = 0x09
    SET_IDLE = 0x0A
    SET_PROTOCOL = 0x0B


_FEATURE = 3
_HID = Struct("<BBHBBBH")


class Chip(Protocol):
    """What the reports are for. Reports begin with their number, if they have numbers."""

    @property
    def descriptors(self) -> Descriptors: ...

    def reset(self) -> None: ...

    def feature(self, number: int) -> bytes | None:
        """The feature report of this number, or None if there is none to read."""

    def set_feature(self, report: bytes) -> bool:
        """Whether the chip takes it."""

    def output(self, report: bytes) -> Sequence[bytes] | None:
        """An output report: the input reports that answer it, or None if it makes no sense."""


class Hid:
    """A chip as a USB function."""

    source = EP_IN

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self.descriptors = chip.descriptors

    def reset(self) -> None:
        self._chip.reset()

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        kind, number = setup.value >> 8, setup.value & 0xFF
        match setup.kind:
            case (RequestType.CLASS_IN, HidRequest.GET_REPORT) if kind == _FEATURE:
                return self._chip.feature(number)
            case (RequestType.CLASS_OUT, HidRequest.SET_REPORT) if kind == _FEATURE and data[:1] == bytes((number,)):
                return b"" if self._chip.set_feature(data) else None
            case (RequestType.CLASS_OUT, HidRequest.SET_IDLE | HidRequest.SET_PROTOCOL):
                return b""
            case (RequestType.CLASS_IN, HidRequest.GET_IDLE):
                return b"\0"
        return None

    def out(self, endpoint: int, data: bytes) -> Sequence[bytes] | None:
        return self._chip.output(data) if endpoint == EP_OUT and data else None


def descriptors(vendor: int, product: int, strings: tuple[str, str], reports: Sequence[Report]) -> Descriptors:
    """A full-speed device with these reports."""
    report = report_descriptor(reports)
    functional = _HID.pack(_HID.size, DescriptorType.HID, 0x0111, 0, 1, DescriptorType.HID_REPORT, len(report))
    endpoints = (Endpoint(EP_IN, Transfer.INTERRUPT, interval=1), Endpoint(EP_OUT, Transfer.INTERRUPT, interval=1))
    interface = Interface(0, interface_class=(3, 0, 0), endpoints=endpoints, functional=functional, report=report)
    return Descriptors(vendor, product, strings, (interface,), Speed.FULL)


def report_descriptor(reports: Sequence[Report]) -> bytes:
    """Vendor-defined bytes from 0 to 255, so many in each report."""
    items = b"\x06\x00\xff\x09\x01\xa1\x01\x15\x00\x26\xff\x00\x75\x08"
    for report in reports:
        if report.number:
            items += bytes((0x85, report.number))
        items += bytes((0x95, report.length, 0x09, 0x01)) + report.use.value
    return items + b"\xc0"
