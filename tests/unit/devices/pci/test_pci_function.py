# SPDX-License-Identifier: GPL-2.0-or-later
"""A PCI function of one's own, driven as a driver would."""

from __future__ import annotations

import pytest

from dmasafe.devices.pci import Bar, PciFunction, Register
from tests.pci_client import INTX, MSI, MSIX, PciClient

DONE, FAILED, READ = 1, 2, 1 << 31


class Controller(PciFunction):
    """An I2C controller: address, length, where the bytes are, go."""

    vendor_id, device_id, revision, class_code = 0x1AF4, 0x10F0, 3, 0x0C0500
    bars = (Bar(0, 0x1000),)
    msi, msix = 1, 2

    TARGET = Register("TARGET", 0x00)
    LENGTH = Register("LENGTH", 0x04, width=2)
    MEMORY = Register("MEMORY", 0x08, width=8)
    GO = Register("GO", 0x10, access="wo", on_write="go")
    STATUS = Register("STATUS", 0x14, access="w1c", on_write="acknowledge")

    def go(self, value: int) -> None:
        read = bool(value & READ)
        if read:
            result = self.bus.transfer(self.TARGET, True, self.LENGTH)
            if result.ok:
                self.dma.write(self.MEMORY, result.data)
        else:
            result = self.bus.transfer(self.TARGET, False, self.dma.read(self.MEMORY, self.LENGTH))
        self.later(0.001, lambda: self.finish(DONE if result.ok else FAILED))

    def finish(self, status: int) -> None:
        self.STATUS |= status
        self.set_irq(True)

    def acknowledge(self, _value: int) -> None:
        self.set_irq(bool(self.STATUS))


def test_a_message_goes_out_by_dma_and_is_interrupted_when_it_is_done():
    with PciClient(Controller()) as client:
        client.enable(INTX)
        client.ram[0x5000:0x5003] = b"\x00ab"
        client.write(0x00, 0x20)
        client.write(0x04, 3, 2)
        client.write(0x08, 0x5000, 8)
        client.write(0x10, 1)
        assert client.interrupts() == 0
        client.settle()
        assert client.interrupts() == 1
        assert client.read(0x14) == DONE
        client.write(0x14, DONE)
        client.unmask()
        assert client.read(0x14) == 0 and client.interrupts() == 0
        (record,) = client.records
        assert (record.address, record.read, record.data, record.ok) == (0x20, False, b"\x00ab", True)
        assert [(s.address, s.length, s.stray) for s in record.segments] == [(0x5000, 3, False)]
        assert not client.complaints


def test_each_kind_of_interrupt():
    for kind in (INTX, MSI, MSIX):
        with PciClient(Controller()) as client:
            client.enable(kind)
            client.write(0x00, 0x20)
            client.write(0x04, 2, 2)
            client.write(0x10, 1 | READ)
            client.settle()
            assert client.interrupts() == 1


def start(client, read, length, address=0x5000, target=0x20):
    client.write(0x00, target)
    client.write(0x04, length, 2)
    client.write(0x08, address, 8)
    client.write(0x10, 1 | (READ if read else 0))


def test_what_came_from_a_slave_is_recorded_with_where_it_was_put():
    with PciClient(Controller()) as client:
        start(client, True, 4)
        assert not client.records
        client.settle()
        (record,) = client.records
        assert (record.read, record.length, len(record.data), record.seq) == (True, 4, 4, 7)
        assert [(s.address, s.length, s.stray) for s in record.segments] == [(0x5000, 4, False)]


def test_each_message_has_its_own_dma_and_none_of_anothers():
    with PciClient(Controller()) as client:
        for number in range(3):
            start(client, bool(number % 2), 4, 0x5000 + 16 * number)
        client.settle()
        assert [[s.address for s in record.segments] for record in client.records] == [[0x5000], [0x5010], [0x5020]]


@pytest.mark.parametrize("address", [0x6000, 1 << 40])
def test_messages_that_a_function_does_at_once_have_their_own_dma_too(address):
    with PciClient(Controller()) as client:
        function = client.function
        function.bus.transfer(0x20, True, 4)
        function.dma.write(0x4000, b"data")
        for where in (0x5000, address, 0x7000):
            function.bus.transfer(0x20, False, function.dma.read(where, 4))
        function.bus.transfer(0x20, True, 4)
        function.dma.write(0x8000, b"data")
        client.settle()
        assert [[segment.address for segment in record.segments] for record in client.records] == [
            [0x4000], [0x5000], [address], [0x7000], [0x8000],
        ]  # fmt: skip
        assert [bool(record.why) for record in client.records] == [False, False, address == 1 << 40, False, False]


def test_stray_payload_spoils_its_message():
    with PciClient(Controller()) as client:
        start(client, False, 4, 1 << 40)
        client.settle()
        (record,) = client.records
        assert not record.ok and record.why.startswith("stray DMA: 4 bytes at 0x10000000000")
        assert [(s.address, s.length, s.stray) for s in record.segments] == [(1 << 40, 4, True)]


def test_stray_payload_of_no_message_is_a_record_of_its_own():
    with PciClient(Controller()) as client:
        client.function.dma.write(1 << 40, b"late")
        client.function.dma.read(0x5000, 4)
        client.settle()
        (record,) = client.records
        assert (record.read, record.data, record.ok, record.segments[0].stray) == (True, b"", False, True)
        # What was fetched for nothing is not the next message's.
        start(client, False, 4, 0x6000)
        client.settle()
        assert [s.address for s in client.records[1].segments] == [0x6000]


def test_a_scenarios_dma_is_not_the_next_ones():
    with PciClient(Controller()) as client:
        seq = [1]
        client.bus._seq = lambda: seq[0]
        client.function.dma.read(0x5000, 4)
        seq[0] = 2
        client.function.dma.read(0x6000, 4)
        client.function.bus.transfer(0x20, False, b"\0\1\2\3")
        client.settle()
        (record,) = client.records
        assert record.seq == 2 and [s.address for s in record.segments] == [0x6000]


def test_a_message_that_is_under_way_keeps_its_scenario_and_its_dma():
    """Its driver may have given up, and the next scenario have begun."""
    with PciClient(Controller()) as client:
        seq = [1]
        client.bus._seq = lambda: seq[0]
        client.bus.begin()
        client.function.dma.read(0x5000, 4)
        client.settle()
        seq[0] = 2
        client.function.bus.transfer(0x20, False, b"\0\1\2\3")
        client.settle()
        (record,) = client.records
        assert record.seq == 1 and [s.address for s in record.segments] == [0x5000]


def test_bookkeeping_is_no_payload_and_must_not_be_stray():
    with PciClient(Controller()) as client:
        client.function.dma.read(0x1000, 16, control=True)
        start(client, False, 4)
        client.settle()
        (record,) = client.records
        assert [s.address for s in record.headers] == [0x1000] and [s.address for s in record.segments] == [0x5000]
        assert not client.complaints
        client.function.dma.write(1 << 40, b"status", control=True)
        (stray,) = client.records[1:]
        assert (stray.ok, stray.segments[0].stray, stray.length) == (False, True, 6)


def test_a_length_of_nonsense_is_stray_and_costs_no_memory():
    with PciClient(Controller()) as client:
        assert len(client.function.dma.read(0, 1 << 40)) == 1 << 24
        client.settle()
        assert client.records[0].segments[0].stray


def test_nobody_is_at_an_address_of_ten_bits():
    with PciClient(Controller()) as client:
        start(client, False, 4, target=0x3FF)
        client.settle()
        assert not client.records[0].ok and client.read(0x14) == FAILED


def test_a_bus_error_is_told_to_the_function_and_recorded():
    with PciClient(Controller()) as client:
        assert client.function.dma.reaches(0x5000, 4, write=False)
        assert not client.function.dma.reaches(1 << 40, 4, write=True)
        client.settle()
        (record,) = client.records
        assert (record.read, record.segments[0].address, record.segments[0].stray) == (True, 1 << 40, True)
