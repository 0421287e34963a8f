# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-dev on a real kernel through the clients that people use: smbus2, compared with the model case by case, and
i2c-tools, compared with what the slaves hold.
"""

import errno
import re

import pytest

from dmasafe.guest.link import LinkError
from dmasafe.progress import SILENT
from dmasafe.targets.machine import BoardGuest, board_image
from tests.smbus2.__main__ import run_both
from tests.smbus2.board import Board
from tests.smbus2.guest_tools import tools
from tests.smbus2.smbus2_suite.run import all_cases, case_name

ADAPTERS = ("virtio", "dmasafe")
CASES = [case_name(case) for case in all_cases(None)]


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    with BoardGuest(board_image(SILENT), tmp_path_factory.mktemp("smbus2")) as guest:
        yield guest


@pytest.fixture(scope="module")
def board(guest):
    with Board(guest) as board:
        yield board


@pytest.fixture(scope="module")
def buses(board, guest):
    """Adapter -> its number in the guest."""
    return board.bind_all(guest.functions)


@pytest.fixture(scope="module")
def results(board, buses):
    """Adapter -> the suite's rows, model against guest, and what the guest said."""
    rows = {}

    def of(adapter):
        if adapter not in rows:
            compared, _, in_guest = run_both(board, adapter, buses[adapter])
            rows[adapter] = {row.case: row for row in compared}, in_guest
        return rows[adapter]

    return of


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_smbus2_sees_the_same_on_the_model_and_in_the_guest(results, adapter, case):
    row = results(adapter)[0][case]
    assert row.agrees, row.differences


def test_the_harnesss_own_controller_earns_no_report(results):
    assert {name: row["splats"] for name, row in results("dmasafe")[1].items() if row["splats"]} == {}


# i2c-tools: a second client, whose output shows what the slaves hold.


@pytest.fixture(scope="module", params=ADAPTERS)
def bus(request, board, buses):
    """The name of each adapter and its number, register N of the slave at 0x20 holding N."""
    number = buses[request.param]
    board.run(tools(f"i2ctransfer -y {number} w257@0x20 0 0+ && i2ctransfer -y {number} w3@0x68 0 5 0"))
    return request.param, number


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("i2cget -y {bus} 0x20 0x33", "0x33"),
        ("i2cget -y {bus} 0x20 0x33 w", "0x3433"),
        ("i2cget -y {bus} 0x20 0x33 i 4", "0x33 0x34 0x35 0x36"),
        ("i2cset -y {bus} 0x20 0x44 && i2cget -y {bus} 0x20", "0x44"),
        ("i2cset -y {bus} 0x20 0x44 0xbeef w && i2cget -y {bus} 0x20 0x45; i2cset -y {bus} 0x20 0x44 0x4544 w", "0xbe"),
        ("i2cset -y -r {bus} 0x20 0x46 0x46", "Value 0x46 written, readback matched"),
        ("i2cset -y -m 0x0f {bus} 0x20 0x47 0xff && i2cget -y {bus} 0x20 0x47; i2cset -y {bus} 0x20 0x47 0x47", "0x4f"),
        ("i2cset -y {bus} 0x40 0x41 0x99 bp && i2cget -y {bus} 0x40 0x41 bp", "0x99"),
        ("i2cset -y {bus} 0x40 0x81 0x1234 wp && i2cget -y {bus} 0x40 0x81 wp", "0x1234"),
        ("i2cset -y {bus} 0x40 0x05 1 2 3 s && i2ctransfer -y {bus} w1@0x40 0x05 r4", "0x03 0x01 0x02 0x03"),
        ("i2ctransfer -y {bus} w1@0x20 0x80 r8", "0x80 0x81 0x82 0x83 0x84 0x85 0x86 0x87"),
        ("i2ctransfer -y {bus} w1@0x20 0x10 r2 w1 0x50 r2@0x20", "0x10 0x11\n0x50 0x51"),
        ("i2ctransfer -y {bus} w4@0x51 0x07 0x00 0xab 0xcd && i2ctransfer -y {bus} w2@0x51 0x07 0x00 r3",
         "0xab 0xcd 0xff"),
        ("i2ctransfer -y {bus} w17@0x20 0xd0 0x10+ && i2ctransfer -y {bus} w1@0x20 0xd0 r3 && "
         "i2ctransfer -y {bus} w17@0x20 0xd0 0xd0+", "0x10 0x11 0x12"),
        ("i2ctransfer -y {bus} w1@0x20 0x00 r8192 | wc -w", "8192"),
        ("i2cget -y {bus} 0x68 0x80", "0x80"),
    ],
)  # fmt: skip
def test_i2c_tools_show_what_the_slaves_hold(board, bus, command, output):
    assert board.run(tools(command.format(bus=bus[1]))).strip() == output


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("i2cget -y {bus} 0x77 0", "Read failed"),
        ("i2cset -y {bus} 0x77 0 0", "Write failed"),
        ("i2cset -y {bus} 0x60 1 2", "Write failed"),
        ("i2cget -y {bus} 0x20 0x33 i 33", "Length"),
        ("i2cget -y 4711 0x20 0", "Could not open file"),
    ],
)
def test_i2c_tools_notice_what_fails(board, bus, command, words):
    status, output = board.attempt(tools(command.format(bus=bus[1])))
    assert status != 0 and words.lower() in output.lower(), output


def test_i2ctransfer_tells_what_was_left_out(board, bus):
    status, output = board.attempt(tools(f"i2ctransfer -y {bus[1]} w1@0x77 0x00"))
    if bus[0] == "dmasafe":
        assert status != 0 and "No such device or address" in output
    else:
        # Upstream's driver returns how many messages were carried out, not an error.
        assert (status, output.strip()) == (0, "Warning: only 0/1 messages were sent")


def test_i2cdetect_finds_the_slaves_and_nobody_else(board, bus):
    output = board.run(tools(f"i2cdetect -y -r {bus[1]} 0x08 0x77"))
    cells = {}
    for line in output.splitlines()[1:]:
        row = int(line[:2], 16)
        for column in range(16):
            cells[row + column] = line[4 + 3 * column : 6 + 3 * column].strip()
    found = {address for address, cell in cells.items() if re.fullmatch(r"[0-9a-f]{2}", cell)}
    assert found == {0x20, 0x30, 0x40, 0x50, 0x51, 0x60, 0x68}


def test_i2cdetect_lists_what_the_adapter_can_do(board, bus):
    rows = dict(re.findall(r"^(.+?)\s+(yes|no)$", board.run(tools(f"i2cdetect -F {bus[1]}")), re.MULTILINE))
    assert rows["I2C"] == rows["SMBus Quick Command"] == rows["SMBus PEC"] == rows["I2C Block Read"] == "yes"
    assert rows["SMBus Block Read"] == rows["SMBus Block Process Call"] == ("yes" if bus[0] == "dmasafe" else "no")


def test_i2cdump_prints_every_register(board, bus):
    lines = board.run(tools(f"i2cdump -y {bus[1]} 0x20 b")).splitlines()[1:]
    shown = [int(cell, 16) for line in lines for cell in line[4:51].split()]
    assert shown == list(range(256))


def test_i2cdump_prints_words(board, bus):
    first = board.run(tools(f"i2cdump -y {bus[1]} 0x20 w")).splitlines()[1]
    assert first.split()[1:] == [f"{low + 1:02x}{low:02x}" for low in range(8)]


# What a signal does to a transfer, each in a guest of its own: upstream's driver does not get over it.


# Longer than the signal takes to come, shorter than dmasafe_controller's patience.
READ_MS = 700


REGISTERS_READ = [f"{register:#x}" for register in range(0x55, 0x5A)]


def reads_after_a_signal(logs, adapter):
    """Register -> what was read, one of the reads interrupted; nothing must have been reported of our own driver."""
    with BoardGuest(board_image(SILENT), logs) as guest, Board(guest) as board:
        bus = board.bind_all(guest.functions)[adapter]
        record = board.last_record()
        answers = dict(line.split(": ") for line in board.run(f"python3 interrupted.py {bus} {READ_MS}").splitlines())
        if adapter == "dmasafe":
            assert board.splats_after(record) == []
        return answers


def test_our_own_driver_does_not_mind_a_signal(tmp_path):
    assert reads_after_a_signal(tmp_path, "dmasafe") == dict(zip(REGISTERS_READ, REGISTERS_READ, strict=True))


def test_after_a_signal_upstreams_driver_gives_each_read_the_answer_of_the_one_before(tmp_path):
    """virtio_i2c_complete_reqs() frees a request that is still in the queue; its completion then ends the next one.

    Memory that was freed is written to, so the guest may also stop answering.
    """
    try:
        answers = reads_after_a_signal(tmp_path, "virtio")
    except LinkError as error:
        assert "did not end within" in str(error)
        return
    assert answers == dict(zip(REGISTERS_READ, [f"errno {errno.EIO}", *REGISTERS_READ[:-1]], strict=True))
