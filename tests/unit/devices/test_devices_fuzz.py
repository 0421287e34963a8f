# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a guest writes into its rings and tables: no exception escapes, and every request takes bounded work."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from devices_frontend import I2C_FEATURES, USER_BASE, DriverQueue, Frontend, GuestRam, I2cDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from dmasafe.devices import trace
from dmasafe.devices.bus import default_bus
from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.guest_memory import GuestMemory
from dmasafe.devices.iotlb import READ, WRITE, Iotlb, IotlbMiss
from dmasafe.devices.virtio_i2c import Mailbox, VirtioI2c
from dmasafe.devices.vring import F_ACCESS_PLATFORM, Chain, Violation, Vring

SIZE = 8
RAM = 0x20000

# Addresses near the interesting places: rings, tables, the ends of memory and of the address space.
addresses = st.one_of(
    st.sampled_from([0, 0x1000, 0x4000, 0x8000, RAM - 1, RAM - 8, RAM, 0x2000E0C0, 2**32 - 1, 2**63, 2**64 - 1]),
    st.integers(0, RAM),
    st.integers(0, 2**64 - 1),
)
lengths = st.one_of(st.sampled_from([0, 1, 8, 16, 48, 128, 65535, 65536, 2**32 - 1]), st.integers(0, 300))
flags = st.integers(0, 7)
links = st.one_of(st.integers(0, SIZE), st.integers(0, 0xFFFF))
rows = st.tuples(addresses, lengths, flags, links).map(lambda row: struct.pack("<QIHH", *row))
tables = st.lists(rows, min_size=SIZE, max_size=SIZE).map(b"".join)
headers = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 7)).map(
    lambda row: struct.pack("<HHI", *row)
)
heads = st.lists(st.one_of(st.integers(0, SIZE - 1), st.integers(0, 0xFFFF)), min_size=1, max_size=SIZE)


@settings(max_examples=400)
@given(
    table=tables, indirect=tables, header=headers, offered=heads, behind_iommu=st.booleans(), ahead=st.integers(0, 9)
)
def test_no_guest_can_break_the_device(
    table: bytes, indirect: bytes, header: bytes, offered: list[int], behind_iommu: bool, ahead: int
) -> None:
    ram = GuestRam(RAM)
    memory = GuestMemory()
    try:
        memory.replace([ram.spec], [ram.fd])
        queue = DriverQueue(ram, size=SIZE)
        iotlb = Iotlb(memory)
        vring = Vring(memory, iotlb)
        vring.size = SIZE
        vring.set_features(I2C_FEATURES | (F_ACCESS_PLATFORM if behind_iommu else 0))
        offset = 0 if behind_iommu else USER_BASE
        vring.set_addresses(offset + queue.descriptors, offset + queue.available, offset + queue.used)
        records: list[str] = []
        device = VirtioI2c(
            "virtio", default_bus(), Mailbox(), lambda r: records.append(trace.line(r)), lambda _v, _seq: None
        )
        ram.write(0x4000, header)
        ram.write(0x8000, indirect)
        ram.write(queue.descriptors, table)
        for head in offered:
            queue.offer(head)
        if ahead == 9:
            ram.write(queue.available + 2, b"\x00\x80")
        misses = 0
        handled = 0
        while True:
            try:
                chain = vring.peek()
                if chain is None:
                    break
                if isinstance(chain, Violation):
                    assert chain.why
                    break
                assert isinstance(chain, Chain) and len(chain.descriptors) <= SIZE
                job = device.handle(chain, vring.address_space, memory)
                vring.ready()
                length = job.finish()
                assert 0 <= length <= 65536
                vring.give_back(chain, length)
                handled += 1
                # A guest can let the device overwrite its own rings; what counts is that it ends.
                assert handled <= 0x10000
                if handled > 4 * SIZE:
                    break
            except IotlbMiss as miss:
                misses += 1
                assert misses < 4000, "misses without end"
                page = miss.address & ~0xFFF
                if page < RAM:
                    iotlb.update(page, 0x1000, USER_BASE + page, READ | WRITE)
                else:
                    iotlb.deny(miss.address, miss.write)
        vring.publish()
    finally:
        memory.close()
        ram.close()


payloads = st.one_of(
    st.binary(max_size=64),
    st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=8).map(
        lambda words: struct.pack(f"={len(words)}Q", *words)
    ),
    st.tuples(st.integers(0, 2), st.integers(0, 2**32 - 1)).map(lambda words: struct.pack("=II", *words)),
)
messages = st.lists(st.tuples(st.integers(0, 45), payloads, st.integers(0, 4)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    with DeviceProcess(tmp_path_factory.mktemp("fuzz")) as found:
        found.wait_ready()
        yield found


@settings(max_examples=150)
@given(sequence=messages)
def test_no_frontend_can_break_the_process(devices: DeviceProcess, sequence: list[tuple[int, bytes, int]]) -> None:
    path: Path = devices.socket("virtio")
    with contextlib.closing(GuestRam(RAM)) as ram:
        with contextlib.closing(Frontend(path)) as frontend, contextlib.ExitStack() as stack:
            reader, writer = os.pipe()
            stack.callback(os.close, reader)
            stack.callback(os.close, writer)
            choices = [(), (ram.fd,), (frontend.kick,), (frontend.channel.fileno(),), (reader, writer)]
            for request, payload, choice in sequence:
                frontend.send(request, payload, choices[choice], flags=1 | 8)
                # Every message is answered, obeyed or not.
                assert frontend.receive()[0] == request
        with contextlib.closing(Frontend(path)) as frontend:
            queue = DriverQueue(ram, size=4)
            frontend.begin()
            frontend.start(queue)
            queue.want_event(0)
            _, status = I2cDriver(queue).add(0x30, b"alive")
            frontend.notify()
            assert frontend.called() and ram.read(status, 1) == b"\x00"
    devices.sync()
    devices.receive()
