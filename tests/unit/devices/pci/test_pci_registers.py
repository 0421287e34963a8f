# SPDX-License-Identifier: GPL-2.0-or-later
"""A table of registers, and what accesses make of it."""

from __future__ import annotations

import pytest

from dmasafe.devices.errors import FunctionError
from dmasafe.devices.pci import Bar, PciFunction, Register, RegisterBlock, Window
from tests.pci_client import PciClient


class Channel(RegisterBlock):
    """Registers of which there are several, each with a side effect on the whole."""

    ADDRESS = Register("ADDRESS", 0x0)
    START = Register("START", 0x4, access="wo", on_write="start")

    def __init__(self, base, started):
        super().__init__(base)
        self._started = started

    def start(self, value):
        self._started.append((self.base, self["ADDRESS"], value))


class Table(PciFunction):
    vendor_id, device_id = 0x1AF4, 0x10F1

    RW = Register("RW", 0x00, reset=0x11223344)
    RO = Register("RO", 0x04, access="ro", reset=0x55)
    WO = Register("WO", 0x08, access="wo", reset=0x66)
    W1C = Register("W1C", 0x0C, access="w1c", reset=0xFF)
    W1S = Register("W1S", 0x10, access="w1s", reset=0x01)
    RC = Register("RC", 0x14, access="rc", reset=0x77)
    HALF = Register("HALF", 0x18, width=2, reset=0xABCD)
    OCTET = Register("OCTET", 0x1A, width=1, reset=0xEF)
    COUNT = Register("COUNT", 0x20, on_read="count", on_write="set_count")

    def __init__(self):
        super().__init__()
        self.reads, self.started = 0, []
        self.window = Window(0x200, 0x10, b"firmware")
        self.echo = Window(0x210, 4, on_read=lambda offset, size: b"\x10\x11\x12\x13"[offset:], on_write=self.took)
        self.taken = []
        channels = [Channel(base, self.started) for base in (0x100, 0x120)]
        self.bars = (Bar(0, 0x400, (*self.registers, *channels, self.window, self.echo)),)

    def count(self):
        self.reads += 1
        return self.reads

    def set_count(self, value):
        self.reads = value

    def took(self, offset, data):
        self.taken.append((offset, data))


@pytest.fixture
def client():
    with PciClient(Table()) as found:
        yield found
        assert not found.complaints


@pytest.mark.parametrize(
    ("offset", "first", "written", "then"),
    [
        (0x00, 0x11223344, 0x99, 0x99),
        (0x04, 0x55, 0x99, 0x55),
        (0x08, 0, 0x99, 0),
        (0x0C, 0xFF, 0x0F, 0xF0),
        (0x10, 0x01, 0x80, 0x81),
        (0x14, 0x77, 0x99, 0),
    ],
)
def test_access_says_what_reads_and_writes_do(client, offset, first, written, then):
    assert client.read(offset) == first
    client.write(offset, written)
    assert client.read(offset) == then


def test_the_attribute_is_the_value_without_side_effects(client):
    function = client.function
    function.W1C |= 0x100
    function.RC = 0x1_0000_0005
    assert (client.read(0x0C), client.read(0x14), function.RC) == (0x1FF, 5, 0)
    client.write(0x08, 0x42)
    assert (function.WO, function["WO"]) == (0x42, 0x42)
    function["RW"] = 7
    assert client.read(0) == 7
    with pytest.raises(FunctionError):
        function["NOTHING"] = 1


def test_handlers_of_a_name_can_be_overridden(client):
    assert [client.read(0x20) for _ in range(3)] == [1, 2, 3]
    client.write(0x20, 9)
    assert client.read(0x20) == 10


def test_a_part_of_a_register(client):
    assert (client.read(1, 2), client.read(3, 1)) == (0x2233, 0x11)
    client.write(1, 0xAA, 1)
    assert client.read(0) == 0x1122AA44
    # What is not written clears nothing.
    client.write(0x0C, 0x0F, 1)
    assert client.read(0x0C) == 0xF0
    client.write(0x0D, 0xFF, 1)
    assert client.read(0x0C) == 0xF0


def test_more_than_a_register(client):
    assert client.read(0x18, 4) == 0x00EFABCD
    client.write(0x18, 0x12345678, 4)
    assert (client.read(0x18, 2), client.read(0x1A, 1)) == (0x5678, 0x34)
    assert client.read(0, 8) == 0x55 << 32 | 0x11223344


def test_a_block_lies_at_its_base(client):
    client.write(0x100, 0x1000)
    client.write(0x120, 0x2000)
    client.write(0x124, 1)
    client.write(0x104, 2)
    assert client.function.started == [(0x120, 0x2000, 1), (0x100, 0x1000, 2)]
    client.reset()
    assert client.read(0x120) == 0


def test_a_window_is_memory_or_what_its_handlers_make_of_it(client):
    assert client.read_bytes(0x200, 8) == b"firmware"
    client.write(0x204, 0x21, 1)
    assert client.read_bytes(0x200, 8) == b"firm!are"
    assert client.read(0x212, 2) == 0x1312
    client.write(0x211, 0x55, 1)
    assert client.function.taken == [(1, b"\x55")]


def test_what_nobody_declared_reads_zero_and_is_told_once(client):
    for _ in range(2):
        assert client.read(0x300) == 0
        client.write(0x300, 5)
    # In the middle of what is declared.
    assert client.read(0x18, 8) == 0x00EFABCD
    assert client.undeclared == [(0, 0x300, 4, False), (0, 0x300, 4, True), (0, 0x1B, 5, False)]


def declared(**attributes):
    return type("Odd", (PciFunction,), attributes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Register("ODD", 0, width=3),
        lambda: Register("ODD", -4),
        lambda: Bar(0, 100),
        lambda: Bar(0, 8),
        lambda: Bar(6, 16),
        lambda: Bar(5, 16, wide=True),
        lambda: Window(0, 0),
        lambda: Window(0, 4, b"12345"),
        lambda: RegisterBlock(0, (Register("A", 0), Register("A", 4))),
        lambda: PciClient(declared(A=Register("A", 0), B=Register("B", 2), bars=(Bar(0, 16),))()),
        lambda: PciClient(declared(A=Register("A", 16), bars=(Bar(0, 16),))()),
        lambda: PciClient(declared(bars=(Bar(0, 16), Bar(0, 16)))()),
        lambda: PciClient(declared(bars=(Bar(0, 16, wide=True), Bar(1, 16)))()),
        lambda: PciClient(declared(irq_pin=5)()),
        lambda: PciClient(declared(msi=3)()),
        lambda: PciClient(declared(msix=2049)()),
        lambda: PciClient(declared(msix=1, bars=[Bar(index, 16, wide=True) for index in (0, 2, 4)])()),
        lambda: PciFunction().raise_irq(),
    ],
)
def test_a_declaration_that_cannot_be(make):
    with pytest.raises(FunctionError):
        make()


def test_a_port_bar_says_so():
    with PciClient(declared(bars=(Bar(1, 4, ports=True),))()) as client:
        assert client.read(0x14, 4, 7) == 1
        client.write(0x14, 0xFFFFFFFF, 4, 7)
        assert client.read(0x14, 4, 7) == 0xFFFFFFFD
