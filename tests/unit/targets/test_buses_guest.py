# SPDX-License-Identifier: GPL-2.0-or-later
"""Other buses in a guest: the line, what its hardware saw, the file systems on its flashes."""

import struct

import pytest

from dmasafe.outcome import Outcome, direct, outcome_of
from dmasafe.scenario import parse_scenario
from dmasafe.targets.buses import file_systems_of, mount_file_systems
from dmasafe.targets.errors import BootLost
from dmasafe.targets.runner import _run_message
from dmasafe.targets.wire import line, observation

MEMORY = (range(1 << 12, 256 << 20),)
SCENARIO = parse_scenario("heap/regmap_raw_write/bus-spi/2")


def seen(*bus, ret=0, pa="0x5000", data="0102"):
    answer = {"bus": list(bus), "ret": ret, "transferred": ret >= 0, "msgs": [{"rd": 0, "data": data, "pa": pa}]}
    return observation(SCENARIO, {"re": "run", "answer": answer}, [], [], MEMORY)


def payload(address="0x5000", stray=0, data="0102", **more):
    return {"rd": 0, "data": data, "segments": [{"address": address, "length": 2, "stray": stray}], **more}


def test_the_line_names_the_bus_and_the_agent_needs_no_adapter():
    message = _run_message(3, SCENARIO)
    assert message["adapter"] == "" and message["line"] == line(SCENARIO)
    assert line(SCENARIO).startswith("op=regmap_raw_write buffer=heap ") and line(SCENARIO).endswith(" bus=bus-spi")


def test_the_address_says_whether_the_callers_buffer_was_mapped():
    assert outcome_of(seen(payload()))[0] is Outcome.SAFE and direct(seen(payload())) is True
    assert direct(seen(payload("0x6000"))) is False
    assert direct(seen({"rd": 0, "data": "0102", "segments": []})) is None


def test_wrong_bytes_stray_addresses_and_silence_are_not_safe():
    assert outcome_of(seen(payload(data="0103")))[0] is Outcome.SILENT
    assert outcome_of(seen(payload(stray=1)))[0] is Outcome.SILENT
    assert outcome_of(seen())[0] is Outcome.SILENT
    assert outcome_of(seen(ret=-22))[0] is Outcome.REFUSED


@pytest.mark.parametrize(
    "segment",
    [
        {"address": hex(1 << 40), "length": 2, "stray": 0},
        {"address": "0x5000", "length": -2, "stray": 0},
        {"address": "0x5000", "length": 2},
        {"address": "nowhere", "length": "x", "stray": []},
    ],
)
def test_a_guest_cannot_talk_a_segment_into_memory(segment):
    found = seen({"rd": 0, "data": "0102", "segments": [segment]})
    assert outcome_of(found)[0] is Outcome.SILENT


def test_garbage_for_a_bus_is_no_message():
    for bus in (None, 3, ["x", None], {"rd": 0}):
        answer = {"bus": bus, "ret": 0, "transferred": True, "msgs": [{"rd": 0, "data": "0102"}]}
        found = observation(SCENARIO, {"answer": answer}, [], [], MEMORY)
        assert outcome_of(found)[0] is Outcome.SILENT


class Guest:
    """A guest with MTD partitions and UBI; keeps what it was asked to do."""

    def __init__(self, mtds=("bus-spi-jffs2", "bus-spi-ubi"), refuses=None, blocks="30"):
        self.mtds, self.refuses, self.blocks, self.asked = mtds, refuses, blocks, []

    def request(self, op, **words):
        if op == "list":
            return {"errno": 0, "names": [f"mtd{n}{ro}" for n in range(len(self.mtds)) for ro in ("", "ro")]}
        self.asked.append((op, words))
        if self.refuses == op:
            return {"errno": 0, "status": 1, "output": "mount: no such device"} if op == "command" else {"errno": 19}
        return {"errno": 0, "status": 0, "output": ""}

    def read(self, path):
        if path.startswith("/sys/class/mtd/"):
            return self.mtds[int(path.split("/")[-2].removeprefix("mtd"))]
        return {"avail_eraseblocks": self.blocks, "eraseblock_size": "65408"}[path.split("/")[-1]]


def test_only_scenarios_with_files_ask_for_file_systems():
    texts = ("heap/ubifs_read/bus-spi/64", "heap/spi_read/bus-spi/8", "heap/jffs2_write/bus-spi-mem/64")
    scenarios = [parse_scenario(text) for text in (*texts, texts[0], "heap/master_send/virtio/8")]
    assert file_systems_of(scenarios) == (("bus-spi", "ubifs"), ("bus-spi-mem", "jffs2"))


def test_jffs2_is_mounted_by_its_partitions_name():
    guest = Guest()
    mount_file_systems(guest, [("bus-spi", "jffs2")])
    command = "mkdir -p /tmp/bus-spi-jffs2 && mount -t jffs2 mtd:bus-spi-jffs2 /tmp/bus-spi-jffs2"
    ((op, words),) = guest.asked
    assert op == "command" and words["command"] == command and 5000 < words["timeout_ms"] < 15000


def test_ubifs_gets_ubi_on_the_partition_and_a_volume_of_all_there_is():
    guest = Guest()
    mount_file_systems(guest, [("bus-spi", "ubifs")])
    (_, attach), (_, volume), (_, mount) = guest.asked
    # The number in a request is (direction, size, type, number): the size must be the data's.
    for asked in (attach, volume):
        assert asked["request"] >> 16 & 0x3FFF == len(asked["data"])
    assert struct.unpack_from("=ii", attach["data"].encode("latin-1")) == (0, 1)
    assert struct.unpack_from("=iiq", volume["data"].encode("latin-1")) == (-1, 1, 30 * 65408)
    assert attach["path"] == "/dev/ubi_ctrl" and volume["path"] == "/dev/ubi0"
    assert "mount -t ubifs ubi0:files /tmp/bus-spi-ubifs" in mount["command"]


@pytest.mark.parametrize(
    ("guest", "why"),
    [
        (Guest(mtds=()), "no MTD partition bus-spi-ubi"),
        (Guest(refuses="ioctl"), "refused ioctl .* on /dev/ubi_ctrl: No such device"),
        (Guest(refuses="command"), "mount: no such device"),
        (Guest(blocks="many"), "is no number"),
    ],
)
def test_a_file_system_that_cannot_be_had_is_a_lost_boot(guest, why):
    with pytest.raises(BootLost, match=why):
        mount_file_systems(guest, [("bus-spi", "ubifs")])
