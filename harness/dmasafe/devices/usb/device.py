# SPDX-License-Identifier: GPL-2.0-or-later
"""A USB device: descriptors, configuration, alternate settings, the standard requests of USB 2.0, chapter 9.

What is particular to a bridge is a Function: its vendor and class requests, and what its endpoints carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Protocol

IN = 0x80
_TYPE_MASK = 0x60
_RECIPIENT_MASK = 0x1F
_RECIPIENT_DEVICE = 0
_RECIPIENT_INTERFACE = 1
_RECIPIENT_ENDPOINT = 2


class Speed(IntEnum):
    """As usbredir numbers them."""

    LOW = 0
    FULL = 1
    HIGH = 2


class Transfer(IntEnum):
    """An endpoint's transfer type."""

    CONTROL = 0
    BULK = 2
    INTERRUPT = 3


class StandardRequest(IntEnum):
    """bRequest of the standard requests (table 9-4); set and get of configuration and interface never come here."""

    GET_STATUS = 0
    CLEAR_FEATURE = 1
    SET_FEATURE = 3
    GET_DESCRIPTOR = 6


class RequestType(IntEnum):
    """bmRequestType (table 9-2): class requests go to an interface, vendor requests to the device or an interface."""

    CLASS_OUT = 0x21
    CLASS_IN = 0xA1
    VENDOR_OUT = 0x40
    VENDOR_IN = 0xC0
    VENDOR_INTERFACE_OUT = 0x41
    VENDOR_INTERFACE_IN = 0xC1


class DescriptorType(IntEnum):
    """Table 9-5, and the HID class's own."""

    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3
    INTERFACE = 4
    ENDPOINT = 5
    HID = 0x21
    HID_REPORT = 0x22


_DEVICE = Struct("<BBHBBBBHHHBBBB")
_CONFIGURATION = Struct("<BBHBBBBB")
_INTERFACE = Struct("<BBBBBBBBB")
_ENDPOINT = Struct("<BBBBHB")
_LANGUAGE_US_ENGLISH = b"\x09\x04"
_BUS_POWERED = 0x80
_MAX_POWER_2MA = 50


@dataclass(frozen=True)
class Setup:
    """A control transfer's eight bytes."""

    request_type: int
    request: int
    value: int
    index: int
    length: int

    @property
    def reads(self) -> bool:
        return bool(self.request_type & IN)

    @property
    def standard(self) -> bool:
        return not self.request_type & _TYPE_MASK

    @property
    def kind(self) -> tuple[int, int]:
        """bmRequestType and bRequest, to match against."""
        return self.request_type, self.request


@dataclass(frozen=True)
class Endpoint:
    """``address`` has the direction in bit 7; ``interval`` is bInterval."""

    address: int
    transfer: Transfer
    max_packet: int = 64
    interval: int = 0


@dataclass(frozen=True)
class Interface:
    """One alternate setting of an interface. ``functional`` are class descriptors, ``report`` is a HID's."""

    number: int
    alt: int = 0
    interface_class: tuple[int, int, int] = (0xFF, 0, 0)
    endpoints: Sequence[Endpoint] = ()
    functional: bytes = b""
    report: bytes = b""


@dataclass(frozen=True)
class Descriptors:
    """All that a device says of itself. It has one configuration, number 1."""

    vendor: int
    product: int
    strings: tuple[str, str]
    interfaces: Sequence[Interface]
    speed: Speed = Speed.FULL
    version: int = 0x0100
    max_packet: int = 64
    device_class: tuple[int, int, int] = (0, 0, 0)


class Function(Protocol):
    """What makes a device a bridge. ``source`` is the endpoint on which its answers go in."""

    @property
    def descriptors(self) -> Descriptors: ...

    @property
    def source(self) -> int: ...

    def reset(self) -> None:
        """As after power-on; the slaves keep what they hold."""

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        """A vendor or class request: what goes in (b"" if nothing does), or None for a stall."""
        return None

    def out(self, endpoint: int, data: bytes) -> Sequence[bytes] | None:
        """A transfer to an endpoint: what ``source`` says to it, transfer by transfer; None for a stall."""
        return None


@dataclass
class UsbDevice:
    """A function with its USB state: configuration, alternate settings. ``serial`` is how a guest can tell it."""

    function: Function
    serial: str
    configuration: int = 0
    alts: dict[int, int] = field(default_factory=dict)

    @property
    def descriptors(self) -> Descriptors:
        return self.function.descriptors

    def _string(self, number: int) -> bytes | None:
        """Manufacturer, product and serial number are 1 to 3; 0 says in which language."""
        strings = (*self.descriptors.strings, self.serial)
        if number > len(strings):
            return None
        text = strings[number - 1].encode("utf-16-le") if number else _LANGUAGE_US_ENGLISH
        return bytes((2 + len(text), DescriptorType.STRING)) + text

    def reset(self) -> None:
        self.configuration = 0
        self.alts = {}
        self.function.reset()

    def configure(self, number: int) -> bool:
        """Whether there is such a configuration; 0 is none."""
        if number not in (0, 1):
            return False
        self.configuration = number
        self.alts = {}
        return True

    def select(self, interface: int, alt: int) -> bool:
        """Whether there is such an alternate setting."""
        if not any((row.number, row.alt) == (interface, alt) for row in self.descriptors.interfaces):
            return False
        self.alts[interface] = alt
        return True

    def has_interface(self, interface: int) -> bool:
        return any(row.number == interface for row in self.descriptors.interfaces)

    def interfaces(self) -> list[Interface]:
        """Each interface in its present setting."""
        return [row for row in self.descriptors.interfaces if row.alt == self.alts.get(row.number, 0)]

    def endpoint(self, address: int) -> Endpoint | None:
        """The endpoint, if it is there now."""
        for interface in self.interfaces():
            for found in interface.endpoints:
                if found.address == address:
                    return found
        return None

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        """A control transfer on endpoint 0: what goes in, or None for a stall."""
        answer = self._standard(setup) if setup.standard else self.function.control(setup, data)
        return None if answer is None else answer[: setup.length]

    def _standard(self, setup: Setup) -> bytes | None:
        recipient = setup.request_type & _RECIPIENT_MASK
        if recipient > _RECIPIENT_ENDPOINT:
            return None
        if setup.reads and setup.request == StandardRequest.GET_DESCRIPTOR:
            return self._descriptor(setup, recipient)
        if setup.reads and setup.request == StandardRequest.GET_STATUS:
            return bytes(2)
        if not setup.reads and setup.request in (StandardRequest.CLEAR_FEATURE, StandardRequest.SET_FEATURE):
            # Endpoints do not stay halted here, so that there is nothing to clear.
            return b""
        return None

    def _descriptor(self, setup: Setup, recipient: int) -> bytes | None:
        kind, number = setup.value >> 8, setup.value & 0xFF
        if recipient == _RECIPIENT_INTERFACE:
            return self._class_descriptor(kind, setup.index)
        if recipient != _RECIPIENT_DEVICE:
            return None
        if kind == DescriptorType.DEVICE:
            return device_descriptor(self.descriptors)
        if kind == DescriptorType.CONFIGURATION and number == 0:
            return configuration_descriptor(self.descriptors)
        if kind == DescriptorType.STRING:
            return self._string(number)
        return None

    def _class_descriptor(self, kind: int, number: int) -> bytes | None:
        for interface in self.interfaces():
            if interface.number == number and interface.report:
                if kind == DescriptorType.HID:
                    return interface.functional
                if kind == DescriptorType.HID_REPORT:
                    return interface.report
        return None


def device_descriptor(found: Descriptors) -> bytes:
    """Table 9-8."""
    usb = 0x0200 if found.speed is Speed.HIGH else 0x0110
    strings = (1, 2, 3)
    return _DEVICE.pack(
        _DEVICE.size, DescriptorType.DEVICE, usb, *found.device_class, found.max_packet,
        found.vendor, found.product, found.version, *strings, 1,
    )  # fmt: skip


def configuration_descriptor(found: Descriptors) -> bytes:
    """Tables 9-10, 9-12 and 9-13: the configuration with all that belongs to it."""
    body = b""
    for row in found.interfaces:
        body += _INTERFACE.pack(
            _INTERFACE.size, DescriptorType.INTERFACE, row.number, row.alt, len(row.endpoints), *row.interface_class, 0
        )
        body += row.functional
        for endpoint in row.endpoints:
            body += _ENDPOINT.pack(
                _ENDPOINT.size, DescriptorType.ENDPOINT, endpoint.address, endpoint.transfer, endpoint.max_packet,
                endpoint.interval,
            )  # fmt: skip
    count = len({row.number for row in found.interfaces})
    total = _CONFIGURATION.size + len(body)
    head = _CONFIGURATION.pack(
        _CONFIGURATION.size, DescriptorType.CONFIGURATION, total, count, 1, 0, _BUS_POWERED, _MAX_POWER_2MA
    )
    return head + body
