# SPDX-License-Identifier: GPL-2.0-or-later
"""What a vfio-user client may ask, and what becomes of everything else."""

from __future__ import annotations

import errno
import gc
import json
import os
import socket
import struct
from pathlib import Path

import pytest

from dmasafe.devices import vfio_user
from dmasafe.devices.pci import Bar, PciFunction, Register
from dmasafe.devices.vfio_user import Broken, VfioUserCommand
from tests.pci_client import (
    CONFIG,
    EVENTFD,
    INTX,
    MASK,
    MSI,
    MSIX,
    NONE,
    TRIGGER,
    UNMASK,
    PciClient,
    Refusal,
)

C = VfioUserCommand
BOOL = 2


class Probe(PciFunction):
    """Does what it is told."""

    vendor_id, device_id = 0x1AF4, 0x10F0
    bars = (Bar(0, 0x100), Bar(2, 0x1000, wide=True, prefetchable=True, registers=()))
    msi, msix = 4, 3

    PLAIN = Register("PLAIN", 0x00, reset=0x11223344)
    FETCH = Register("FETCH", 0x08, width=8, on_write=lambda self, at: setattr(self, "fetched", self.dma.read(at, 4)))
    STORE = Register("STORE", 0x10, width=8, on_write=lambda self, at: self.dma.write(at, b"DATA"))
    LINE = Register("LINE", 0x18, on_write=lambda self, high: self.set_irq(bool(high)))
    MESSAGE = Register("MESSAGE", 0x1C, on_write=lambda self, vector: self.raise_irq(vector))
    LATER = Register("LATER", 0x20, on_write=lambda self, ms: self.later(ms / 1000, lambda: self.PLAIN_set(ms)))
    FAIL = Register("FAIL", 0x24, on_read=lambda self: 1 // 0, on_write=lambda self, value: {}[value])
    fetched = b""

    def __init__(self) -> None:
        super().__init__()
        self.bars = (Bar(0, 0x100), Bar(2, 0x1000, (Probe.PLAIN,), wide=True, prefetchable=True))

    def PLAIN_set(self, value: int) -> None:
        self.PLAIN = value


@pytest.fixture
def client():
    with PciClient(Probe()) as found:
        yield found


def descriptors():
    """How many are open. What an earlier test has left to the collector of cycles is closed before."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def access(offset, region, count, data=b""):
    return struct.pack("=QII", offset, region, count) + data


def dma_map(address=0x10_0000, size=0x1000, offset=0, flags=3, argsz=32):
    return struct.pack("=IIQQQ", argsz, flags, offset, address, size)


def irqs(index, flags, start=0, count=1, data=b""):
    return struct.pack("=IIIII", 20 + len(data), flags, index, start, count) + data


# Each row: what is sent, which rule it breaks, and the errno of the answer.
MALFORMED = {
    "unknown command": (99, b"", Broken.UNKNOWN_COMMAND, errno.EINVAL),
    "version twice": (C.VERSION, struct.pack("=HH", 0, 1), Broken.VERSION, errno.EINVAL),
    "map of a wrong size": (C.DMA_MAP, b"x" * 31, Broken.SIZE, errno.EINVAL),
    "map with a small argsz": (C.DMA_MAP, dma_map(argsz=8), Broken.SIZE, errno.EINVAL),
    "map with unknown flags": (C.DMA_MAP, dma_map(flags=4), Broken.FLAGS, errno.EINVAL),
    "map of nothing": (C.DMA_MAP, dma_map(size=0), Broken.DMA_RANGE, errno.EINVAL),
    "map beyond 64 bits": (C.DMA_MAP, dma_map(address=1 << 63, size=(1 << 63) + 1), Broken.DMA_RANGE, errno.EINVAL),
    "map over a map": (C.DMA_MAP, dma_map(address=0x8000), Broken.DMA_OVERLAP, errno.EEXIST),
    "unmap of a wrong size": (C.DMA_UNMAP, b"", Broken.SIZE, errno.EINVAL),
    "unmap of a part": (C.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 0, 0x1000), Broken.DMA_RANGE, errno.EINVAL),
    "unmap of a middle": (C.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 0x1000, 0x1000), Broken.DMA_RANGE, errno.EINVAL),
    "unmap of nothing": (C.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 0, 0), Broken.DMA_RANGE, errno.EINVAL),
    "unmap beyond 64 bits": (C.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 1, 2**64 - 1), Broken.DMA_RANGE, errno.EINVAL),
    "unmap of all, of a range": (C.DMA_UNMAP, struct.pack("=IIQQ", 24, 2, 0, 4096), Broken.DMA_RANGE, errno.EINVAL),
    "unmap with unknown flags": (C.DMA_UNMAP, struct.pack("=IIQQ", 24, 1, 0, 4096), Broken.FLAGS, errno.EINVAL),
    "info of a wrong size": (C.DEVICE_GET_INFO, b"1234", Broken.SIZE, errno.EINVAL),
    "region 9": (C.DEVICE_GET_REGION_INFO, struct.pack("=IIIIQQ", 32, 0, 9, 0, 0, 0), Broken.REGION, errno.EINVAL),
    "interrupts of kind 5": (C.DEVICE_GET_IRQ_INFO, struct.pack("=IIII", 16, 0, 5, 0), Broken.IRQ, errno.EINVAL),
    "interrupts of a wrong size": (C.DEVICE_SET_IRQS, b"x" * 19, Broken.SIZE, errno.EINVAL),
    "interrupts without an action": (C.DEVICE_SET_IRQS, irqs(INTX, NONE), Broken.FLAGS, errno.EINVAL),
    "two actions": (C.DEVICE_SET_IRQS, irqs(INTX, NONE | MASK | UNMASK), Broken.FLAGS, errno.EINVAL),
    "two kinds of data": (C.DEVICE_SET_IRQS, irqs(INTX, NONE | BOOL | MASK), Broken.FLAGS, errno.EINVAL),
    "unknown flags": (C.DEVICE_SET_IRQS, irqs(INTX, NONE | MASK | 64), Broken.FLAGS, errno.EINVAL),
    "vector 4 of 4": (C.DEVICE_SET_IRQS, irqs(MSI, NONE | TRIGGER, 4), Broken.IRQ, errno.EINVAL),
    "2**32 vectors": (C.DEVICE_SET_IRQS, irqs(MSIX, NONE | TRIGGER, 1, 2**32 - 1), Broken.IRQ, errno.EINVAL),
    "no kind of interrupt": (C.DEVICE_SET_IRQS, irqs(4, NONE | TRIGGER), Broken.IRQ, errno.EINVAL),
    "none of them, from 1 on": (C.DEVICE_SET_IRQS, irqs(MSI, NONE | TRIGGER, 1, 0), Broken.IRQ, errno.EINVAL),
    "none of them to mask": (C.DEVICE_SET_IRQS, irqs(INTX, NONE | MASK, 0, 0), Broken.FLAGS, errno.EINVAL),
    "an MSI to mask": (C.DEVICE_SET_IRQS, irqs(MSI, NONE | MASK), Broken.IRQ, errno.EINVAL),
    "a boolean too few": (C.DEVICE_SET_IRQS, irqs(MSI, BOOL | TRIGGER, 0, 2, b"\1"), Broken.SIZE, errno.EINVAL),
    "data that is none": (C.DEVICE_SET_IRQS, irqs(MSI, NONE | TRIGGER, 0, 1, b"\1"), Broken.SIZE, errno.EINVAL),
    "an eventfd for masking": (C.DEVICE_SET_IRQS, irqs(INTX, EVENTFD | MASK), Broken.FLAGS, errno.EOPNOTSUPP),
    "a read of a wrong size": (C.REGION_READ, b"", Broken.SIZE, errno.EINVAL),
    "a read of no region": (C.REGION_READ, access(0, 1, 4), Broken.REGION, errno.EINVAL),
    "a read of region 2**32-1": (C.REGION_READ, access(0, 2**32 - 1, 4), Broken.REGION, errno.EINVAL),
    "a read outside": (C.REGION_READ, access(0xFE, 0, 4), Broken.OUTSIDE_REGION, errno.EINVAL),
    "a read far outside": (C.REGION_READ, access(2**64 - 1, 0, 4), Broken.OUTSIDE_REGION, errno.EINVAL),
    "a read outside the configuration": (C.REGION_READ, access(256, CONFIG, 1), Broken.OUTSIDE_REGION, errno.EINVAL),
    "a read of nothing": (C.REGION_READ, access(0, 0, 0), Broken.OUTSIDE_REGION, errno.EINVAL),
    "a read of 2 MiB": (C.REGION_READ, access(0, 0, 1 << 21), Broken.TRANSFER_SIZE, errno.EINVAL),
    "a write of a wrong size": (C.REGION_WRITE, b"x" * 15, Broken.SIZE, errno.EINVAL),
    "a write of less than it says": (C.REGION_WRITE, access(0, 0, 4, b"xyz"), Broken.SIZE, errno.EINVAL),
    "a write outside": (C.REGION_WRITE, access(0x100, 0, 1, b"x"), Broken.OUTSIDE_REGION, errno.EINVAL),
    "writes of a wrong size": (C.REGION_WRITE_MULTI, b"", Broken.SIZE, errno.EINVAL),
    "more writes than it has": (C.REGION_WRITE_MULTI, struct.pack("=Q", 2) + bytes(24), Broken.SIZE, errno.EINVAL),
    "2**61 writes": (C.REGION_WRITE_MULTI, struct.pack("=Q", 2**61) + bytes(24), Broken.SIZE, errno.EINVAL),
    "a write of 9 bytes": (
        C.REGION_WRITE_MULTI, struct.pack("=QQII8s", 1, 0, 0, 9, b""), Broken.TRANSFER_SIZE, errno.EINVAL,
    ),
    "one of the writes outside": (
        C.REGION_WRITE_MULTI, struct.pack("=QQII8s", 1, 0xFF, 0, 4, b""), Broken.OUTSIDE_REGION, errno.EINVAL,
    ),
    "a reset with a payload": (C.DEVICE_RESET, b"now", Broken.SIZE, errno.EINVAL),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_message_is_named_and_the_connection_goes_on(client, case):
    command, payload, what, number = MALFORMED[case]
    with pytest.raises(Refusal) as refusal:
        client.ask(command, payload)
    assert refusal.value.errno == number
    assert [complaint.what for complaint in client.complaints] == [what]
    assert client.read(0) == 0x11223344
    assert client.said == ["connected"]


@pytest.mark.parametrize("fds", [2, 16])
def test_too_many_descriptors_for_a_map(client, fds):
    before = descriptors()
    with pytest.raises(Refusal):
        client.ask(C.DMA_MAP, dma_map(), (client.ram_fd,) * fds)
    assert [complaint.what for complaint in client.complaints] == [Broken.DESCRIPTORS]
    assert descriptors() == before


def test_more_eventfds_than_interrupts(client):
    fd = os.eventfd(0)
    with pytest.raises(Refusal):
        client.set_irqs(MSI, EVENTFD | TRIGGER, 0, 1, (fd, fd))
    with pytest.raises(Refusal):
        client.set_irqs(MSI, NONE | TRIGGER, 0, 1, (fd,))
    os.close(fd)
    assert [complaint.what for complaint in client.complaints] == [Broken.DESCRIPTORS] * 2


@pytest.mark.parametrize("command", [C.DEVICE_GET_REGION_IO_FDS, C.DIRTY_PAGES, C.DEVICE_FEATURE, C.DMA_READ])
def test_what_a_client_can_do_without_is_refused_without_a_complaint(client, command):
    with pytest.raises(Refusal) as refusal:
        client.ask(command, bytes(16))
    assert refusal.value.errno == errno.EOPNOTSUPP and not client.complaints


def test_a_reply_is_no_command(client):
    with pytest.raises(Refusal):
        client.ask(C.DEVICE_RESET, flags=1)
    assert [complaint.what for complaint in client.complaints] == [Broken.NO_COMMAND]


@pytest.mark.parametrize("size", [0, 15, (1 << 20) + 65, 2**32 - 1])
def test_a_message_without_an_end_ends_the_connection(client, size):
    client.socket.send(struct.pack("=HHIII", 1, C.DEVICE_RESET, size, 0, 0))
    client.turn()
    assert client.said == ["connected", "disconnected"]
    assert [complaint.what for complaint in client.complaints] == [Broken.FRAMING]


def test_more_descriptors_than_a_message_can_have_end_the_connection(client):
    before = descriptors()
    client.send(C.DMA_MAP, dma_map(), (client.ram_fd,) * 17)
    client.turn()
    assert client.said[-1] == "disconnected"
    # The connection's own, and those of its memory and listener.
    assert descriptors() < before


def test_a_client_that_reads_no_replies_is_dropped(client):
    for _ in range(5000):
        if client.said[-1] == "disconnected":
            break
        client.send(C.REGION_READ, access(0, 0, 0x100))
        client.turn()
    assert client.said[-1] == "disconnected"
    assert client.complaints[-1].what is Broken.FRAMING


def test_a_message_in_pieces_is_one(client):
    message = struct.pack("=HHIII", 5, C.REGION_READ, 32, 0, 0) + access(0, 0, 4)
    for octet in message:
        client.socket.send(bytes([octet]))
        client.turn()
    assert client.receive()[2][16:] == bytes.fromhex("44332211")


# The version


def test_nothing_comes_before_the_version():
    with PciClient(Probe(), start=False) as client:
        with pytest.raises(Refusal):
            client.ask(C.DEVICE_GET_INFO, bytes(16))
        assert [complaint.what for complaint in client.complaints] == [Broken.BEFORE_VERSION]
        client.version()
        assert client.ask(C.DEVICE_GET_INFO, bytes(16))


@pytest.mark.parametrize(
    "payload",
    [
        struct.pack("=HH", 1, 0), b"\0", struct.pack("=HH", 0, 0) + b"{", struct.pack("=HH", 0, 0) + b"[1]\0",
        struct.pack("=HH", 0, 0) + b'{"capabilities": 7}\0', struct.pack("=HH", 0, 0) + b"\xff\xfe\0",
        struct.pack("=HH", 0, 0) + b'{"capabilities": {"max_msg_fds": "many"}}\0',
        struct.pack("=HH", 0, 0) + b'{"capabilities": {"max_dma_maps": -1}}\0',
        struct.pack("=HH", 0, 0) + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_version_that_cannot_be_agreed_on(payload):
    with PciClient(Probe(), start=False) as client:
        with pytest.raises(Refusal):
            client.ask(C.VERSION, payload)
        assert client.complaints[0].what in (Broken.VERSION, Broken.SIZE)
        client.version()


def test_no_more_is_agreed_on_than_was_proposed():
    with PciClient(Probe(), start=False) as client:
        assert client.version(max_msg_fds=1, pgsizes=4096, twin_socket={"supported": True}) == {
            "max_msg_fds": 1,
            "pgsizes": 4096,
        }


def test_version_data_may_be_left_out():
    with PciClient(Probe(), start=False) as client:
        reply = client.ask(C.VERSION, struct.pack("=HH", 0, 0))
        assert json.loads(reply[4:-1]) == {"capabilities": {}}


# What the function is


def test_regions_and_interrupts_are_those_of_the_declaration(client):
    assert client.ask(C.DEVICE_GET_INFO, bytes(16)) == struct.pack("=IIII", 16, 3, 9, 5)
    sizes = []
    for index in range(9):
        reply = client.ask(C.DEVICE_GET_REGION_INFO, struct.pack("=IIIIQQ", 32, 0, index, 0, 0, 0))
        argsz, flags, number, cap, size, offset = struct.unpack("=IIIIQQ", reply)
        assert (argsz, number, cap, offset, flags) == (32, index, 0, 0, 3 if size else 0)
        sizes.append(size)
    # The MSI-X table took the last free BAR.
    assert sizes == [0x100, 0, 0x1000, 0, 0, 0x1000, 0, 256, 0]
    counts = []
    for index in range(5):
        reply = client.ask(C.DEVICE_GET_IRQ_INFO, struct.pack("=IIII", 16, 0, index, 0))
        argsz, flags, number, count = struct.unpack("=IIII", reply)
        assert (argsz, number, flags) == (16, index, 7 if index == INTX else 9)
        counts.append(count)
    assert counts == [1, 4, 3, 1, 0]


def test_the_configuration_space(client):
    def config(offset, size):
        return client.read(offset, size, CONFIG)

    assert (config(0, 2), config(2, 2), config(6, 2) & 16) == (0x1AF4, 0x10F0, 16)
    assert (config(8, 4), config(0x3D, 1)) == (0x0C8000 << 8, 1)
    assert (config(0x10, 4), config(0x18, 4)) == (0, 0xC)
    for bar, mask in ((0x10, 0xFFFFFF00), (0x14, 0), (0x18, 0xFFFFF00C), (0x1C, 0xFFFFFFFF), (0x24, 0xFFFFF000)):
        client.write(bar, 0xFFFFFFFF, 4, CONFIG)
        assert config(bar, 4) == mask
    client.write(0, 0xFFFFFFFF, 4, CONFIG)
    assert config(0, 4) == 0x10F01AF4
    msi = config(0x34, 1)
    assert (config(msi, 1), config(msi + 2, 2)) == (5, 0x84)
    msix = config(msi + 1, 1)
    assert (config(msix, 1), config(msix + 1, 1), config(msix + 2, 2)) == (0x11, 0, 2)
    assert (config(msix + 4, 4), config(msix + 8, 4)) == (5, 5 | 48)


# Memory


def test_dma_reaches_what_is_mapped_and_nothing_else(client):
    client.ram[0x800:0x804] = b"abcd"
    client.write(8, 0x800, 8)
    assert client.function.fetched == b"abcd"
    client.write(0x10, 0x900, 8)
    assert client.ram[0x900:0x904] == b"DATA"
    for address in (len(client.ram) - 3, 1 << 40, 2**64 - 2):
        client.write(8, address, 8)
        assert client.function.fetched == b"\xff" * 4
        client.write(0x10, address, 8)
    assert client.ram[len(client.ram) - 3 :] == bytes(3)


def test_dma_needs_the_bus_master_bit_unless_the_class_says_otherwise(client):
    client.ram[0:4] = b"abcd"
    client.write(4, 2, 2, CONFIG)
    client.write(8, 0, 8)
    assert client.function.fetched == b"\xff" * 4
    client.function.needs_bus_master = False
    client.write(8, 0, 8)
    assert client.function.fetched == b"abcd"


def test_a_range_has_a_permission_and_may_run_on_into_the_next(client):
    size = len(client.ram)
    client.map(size, 0x1000, 0x2000, permission=1)
    client.map(size + 0x1000, 0x1000, 0x5000, permission=2)
    client.ram[size - 2 :] = b"ab"
    client.ram[0x2000:0x2002] = b"cd"
    client.write(8, size - 2, 8)
    assert client.function.fetched == b"abcd"
    client.write(0x10, size - 2, 8)
    assert client.ram[size - 2 :] == b"ab" and client.ram[0x2000:0x2002] == b"cd"
    client.write(8, size + 0x1000, 8)
    assert client.function.fetched == b"\xff" * 4
    client.write(0x10, size + 0x1000, 8)
    assert client.ram[0x5000:0x5004] == b"DATA"


def test_the_range_that_was_used_last_keeps_its_permission(client):
    size = len(client.ram)
    client.map(size, 0x1000, 0x2000, permission=1)
    client.map(size + 0x1000, 0x1000, 0x5000, permission=2)
    client.write(8, size, 8)
    client.write(0x10, size, 8)
    assert client.ram[0x2000:0x2004] == bytes(4)
    client.write(0x10, size + 0x1000, 8)
    client.write(8, size + 0x1000, 8)
    assert client.function.fetched == b"\xff" * 4


def test_memory_without_a_descriptor_is_out_of_reach(client):
    client.ask(C.DMA_MAP, dma_map(address=0xFFF00000))
    client.write(8, 0xFFF00000, 8)
    assert client.function.fetched == b"\xff" * 4


def test_a_file_that_is_too_short_cannot_be_mapped(client):
    small = os.memfd_create("small")
    for size in (0, 100):
        os.ftruncate(small, size)
        with pytest.raises(Refusal):
            client.map(0x10_0000, 0x1000, fd=small)
    os.close(small)
    read_end, write_end = os.pipe()
    with pytest.raises(Refusal):
        client.map(0x10_0000, 0x1000, fd=read_end)
    os.close(read_end)
    os.close(write_end)
    assert {complaint.what for complaint in client.complaints} == {Broken.DMA_RANGE}


def test_what_is_unmapped_is_gone(client):
    client.unmap(0, len(client.ram))
    client.write(8, 0, 8)
    assert client.function.fetched == b"\xff" * 4
    client.map(0, len(client.ram))
    client.unmap(0, 0, flags=2)
    client.write(8, 0, 8)
    assert client.function.fetched == b"\xff" * 4
    # An IOMMU's driver flushes more than it mapped.
    client.unmap(0, 1 << 40)
    assert not client.complaints


def test_a_storm_of_maps_keeps_no_descriptor_and_no_memory(client):
    before = descriptors()
    pages = len(client.ram) >> 12
    client.unmap(0, len(client.ram))
    for _ in range(10):
        for page in range(pages):
            client.map(page << 13, 0x1000, page << 12)
        assert len(client.server.memory) == pages
        client.ram[(pages - 1) << 12 : ((pages - 1) << 12) + 4] = b"last"
        client.write(8, (pages - 1) << 13, 8)
        assert client.function.fetched == b"last"
        # In two halves: ranges go with what covers them.
        client.unmap(0, pages << 12)
        assert len(client.server.memory) == pages // 2
        client.unmap(pages << 12, 1 << 32)
        assert len(client.server.memory) == 0
    assert descriptors() <= before


# Accesses


def test_posted_writes_are_done_in_order_before_the_next_read(client):
    for value in range(100):
        client.send(C.REGION_WRITE, access(0, 0, 4, value.to_bytes(4, "little")), flags=0x10)
    assert client.read(0) == 99


def test_a_posted_write_that_is_wrong_gets_a_complaint_and_no_answer(client):
    client.send(C.REGION_WRITE, access(0x1000, 0, 4, b"abcd"), flags=0x10)
    assert client.read(0) == 0x11223344
    assert [complaint.what for complaint in client.complaints] == [Broken.OUTSIDE_REGION]


def test_many_writes_in_one_message(client):
    rows = [(0, 0, 4, b"\1\0\0\0"), (0, 0, 1, b"\2"), (0x3C, CONFIG, 1, b"\x0b"), (0, 2, 2, b"\x34\x12")]
    payload = struct.pack("=Q", len(rows)) + b"".join(struct.pack("=QII8s", *row) for row in rows)
    assert client.ask(C.REGION_WRITE_MULTI, payload) == struct.pack("=Q", 4)
    assert client.read(0) == 0x1234 and client.read(0x3C, 1, CONFIG) == 0x0B
    client.send(C.REGION_WRITE_MULTI, payload, flags=0x10)
    assert client.read(0) == 0x1234


def test_of_many_writes_with_a_wrong_one_none_is_done(client):
    rows = [(0, 0, 4, b"\1"), (0, 7, 9, b"")]
    payload = struct.pack("=Q", len(rows)) + b"".join(struct.pack("=QII8s", *row) for row in rows)
    with pytest.raises(Refusal):
        client.ask(C.REGION_WRITE_MULTI, payload)
    assert client.read(0) == 0x11223344


def test_a_function_that_raises_costs_its_answer_and_says_where(client):
    assert client.read(0x24) == 0xFFFFFFFF
    client.write(0x24, 5)
    whys = [complaint.why for complaint in client.complaints]
    assert [complaint.what for complaint in client.complaints] == [Broken.FUNCTION_FAILED] * 2
    assert "ZeroDivisionError" in whys[0] and f"{__file__}:" in whys[0] and "KeyError: 5" in whys[1]
    assert client.read(0) == 0x11223344


def test_a_function_that_is_slow_is_told_so(client, monkeypatch):
    monkeypatch.setattr(vfio_user, "SLOW_ACCESS_S", -1.0)
    client.read(0)
    assert [complaint.what for complaint in client.complaints] == [Broken.FUNCTION_SLOW]


# Interrupts


def test_intx_masks_itself_and_is_told_again_while_it_is_high(client, monkeypatch):
    monkeypatch.setattr(vfio_user, "SETTLE_S", 0.0)
    client.enable(INTX)
    client.write(0x18, 1)
    client.write(0x18, 1)
    assert client.interrupts() == 1
    client.unmask()
    assert client.interrupts() == 1
    client.write(0x18, 0)
    client.unmask()
    assert client.interrupts() == 0
    client.write(0x18, 1)
    assert client.interrupts() == 1


def test_a_handler_that_is_not_yet_through_is_not_interrupted_again(client, monkeypatch):
    monkeypatch.setattr(vfio_user, "SETTLE_S", 60.0)
    client.enable(INTX)
    client.write(0x18, 1)
    assert client.interrupts() == 1
    client.unmask()
    assert client.interrupts() == 0
    # What is new since is told at once.
    client.write(0x18, 0)
    client.write(0x18, 1)
    assert client.interrupts() == 1


def test_intx_can_be_masked_and_an_eventfd_can_unmask_it(client, monkeypatch):
    monkeypatch.setattr(vfio_user, "SETTLE_S", 0.0)
    client.enable(INTX)
    client.set_irqs(INTX, NONE | MASK, 0, 1)
    client.write(0x18, 1)
    assert client.interrupts() == 0
    resample = os.eventfd(0, os.EFD_NONBLOCK)
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, (resample,))
    os.eventfd_write(resample, 1)
    assert client.interrupts() == 1
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1)
    os.eventfd_write(resample, 1)
    assert client.interrupts() == 0
    with pytest.raises(Refusal), Path(__file__).open() as plain:
        client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, (plain.fileno(),))
    os.close(resample)
    assert [complaint.what for complaint in client.complaints] == [Broken.DESCRIPTORS]


def test_an_interrupt_that_nobody_heard_is_told_when_somebody_listens(client):
    client.write(0x18, 1)
    client.enable(INTX)
    assert client.interrupts() == 1


def test_a_level_sends_one_message_each_time_it_rises(client):
    client.enable(MSI)
    for level in (1, 1, 0, 1):
        client.write(0x18, level)
    assert client.interrupts() == 2


def test_each_vector_has_its_eventfd_and_those_not_granted_share_the_first(client):
    client.enable(MSI, vectors=2)
    for vector in (0, 1, 3):
        client.write(0x1C, vector)
    assert (client.interrupts(0), client.interrupts(1)) == (2, 1)


def test_an_msix_vector_without_an_eventfd_stays_pending(client):
    client.enable(MSIX, vectors=3)
    client.set_irqs(MSIX, EVENTFD | TRIGGER, 1, 1)
    client.write(0x1C, 1)
    client.write(0x1C, 2)
    assert (client.interrupts(1), client.interrupts(2)) == (0, 1)
    assert client.read(48, 8, 5) == 2
    client.enable(MSIX, vectors=3)
    assert client.interrupts(1) == 1 and client.read(48, 8, 5) == 0


def test_a_vector_that_is_not_there_is_the_functions_mistake(client):
    client.write(0x1C, 4)
    assert [complaint.what for complaint in client.complaints] == [Broken.FUNCTION_FAILED]


def test_a_client_can_trigger_and_disable(client):
    client.enable(MSI, vectors=3)
    client.set_irqs(MSI, BOOL | TRIGGER, 0, 3, data=b"\1\0\1")
    assert [client.interrupts(vector) for vector in range(3)] == [1, 0, 1]
    client.set_irqs(MSI, NONE | TRIGGER, 0, 0)
    client.write(0x1C, 0)
    assert client.interrupts() == 0


# Life


def test_a_reset_brings_back_everything_but_memory(client):
    client.enable(INTX)
    client.ram[0:4] = b"abcd"
    client.write(0, 7)
    client.write(0x3C, 9, 1, CONFIG)
    client.write(0x18, 1)
    client.write(0x20, 1)
    assert client.interrupts() == 1
    client.reset()
    client.settle()
    assert client.read(0) == 0x11223344 and client.read(0x3C, 1, CONFIG) == 0
    client.unmask()
    assert client.interrupts() == 0
    assert client.read(4, 2, CONFIG) == 0
    client.write(4, 7, 2, CONFIG)
    client.write(8, 0, 8)
    assert client.function.fetched == b"abcd"


def test_later_is_later_and_the_function_is_busy_until_then(client):
    client.write(0x20, 3)
    assert client.read(0) == 0x11223344 and client.server.busy
    client.settle()
    assert client.read(0) == 3 and not client.server.busy


def test_nobody_comes_after_the_first_client(client):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second, pytest.raises(OSError):
        second.connect(str(client.path))
    client.enable(MSI)
    before = descriptors()
    client.socket.close()
    client.turn()
    assert client.said == ["connected", "disconnected"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second, pytest.raises(OSError):
        second.connect(str(client.path))
    # Both ends of the connection, the memory and an eventfd.
    assert descriptors() <= before - 3
    client.function.raise_irq()
    assert client.function.dma.read(0, 1) == b"\xff"


def test_on_a_strict_machine_dma_reaches_what_its_table_maps(client):
    """images/strict/strict_table.c writes the table: here one page of bus addresses, at a mapping of 32 bytes."""
    client.write(4, 7, 2, CONFIG)
    chunks = [0x4_0000] + [0] * 15
    client.ram[0x1000:0x1098] = struct.pack("<8sIIQ16Q", b"dmastrct", 1, 1, 0x2000, *chunks)
    client.ram[0x2000:0x2020] = struct.pack("<QQIII4x", 0x4_0000, 0x5000, 32, 1 | 2, 7)
    client.ram[0x4_0000:0x4_0004] = b"abcd"
    client.server.be_strict(0x1000, "0000:00:12.0")
    client.write(8, 0x4_0000, 8)
    assert client.function.fetched == b"abcd"
    client.write(0x10, 0x4_0000, 8)
    client.write(8, 0x6000, 8)
    assert client.function.fetched == b"\xff" * 4 and client.ram[0x4_0000:0x4_0004] == b"abcd"
    (noted,) = struct.unpack("<I", client.ram[0x1098:0x109C])
    assert noted == 2
    client.server.be_strict(None, "")
    client.write(0x10, 0x4_0000, 8)
    assert client.ram[0x4_0000:0x4_0004] == b"DATA"
