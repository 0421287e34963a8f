# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-tools and smbus2 through every USB bridge, upstream's drivers on both sides of which we know nothing."""

import json

import pytest

from dmasafe.progress import SILENT
from dmasafe.scenario import CONTROLLERS
from dmasafe.targets.machine import BoardGuest, board_image
from tests.qemu.built import versions
from tests.smbus2.board import Board
from tests.smbus2.guest_tools import tools

BRIDGES = [name for name, row in CONTROLLERS.items() if row.plug and row.plug.hcd]
# It hands buffers of the caller's stack to USB: SMBus calls that read fail, each with a report.
TRUSTING = ("osif", "osif-ehci")


@pytest.fixture(scope="module", params=versions("upstream"))
def board(request, tmp_path_factory):
    image = board_image(SILENT, source=request.param, configuration="upstream")
    directory = tmp_path_factory.mktemp("bridges")
    with BoardGuest(image, directory, controllers=tuple(BRIDGES)) as guest, Board(guest) as board:
        yield board


@pytest.fixture(scope="module")
def buses(board):
    """Each bridge's adapter number."""
    found = json.loads(board.run(f"python3 bridges.py {len(BRIDGES)}", 60))
    assert set(BRIDGES) <= set(found)
    return found


@pytest.mark.parametrize("name", BRIDGES)
def test_i2ctransfer_writes_and_reads(board, buses, name):
    number = buses[name]
    command = f"i2ctransfer -y {number} w4@0x20 0x40 0x11 0x22 0x33 && i2ctransfer -y {number} w1@0x20 0x40 r3"
    assert board.run(tools(command)).strip() == "0x11 0x22 0x33"


# What a bridge cannot do, by words in names of cases. A stop follows each message: the slave that speaks SMBus forgets
# the command before it is read.
STOPS = ("BlockData.test_a_command", "BlockData.test_one", "BlockData.test_thirty", "ProcessCall", "speaks_smbus")
# Its driver makes SMBus calls of its own, in which blocks, and calls without data, differ.
OWN_SMBUS = ("calls.BlockData", "BlockProcessCall", "Quick")
LIMITS = {
    **dict.fromkeys(("viperboard", "cp2615", "dln2"), STOPS),
    **dict.fromkeys(("mcp2221", "cp2112", "ft260"), OWN_SMBUS),
}
# Mended between 6.12 and 7.2: its I2C block reads waited for the wrong answer, and their data are zeros.
MENDED = {"mcp2221": ("I2cBlockData", "BlockData", "WordData.test_the_low_byte")}
AT_LEAST, AT_LEAST_MENDED = 30, 20


@pytest.mark.parametrize("name", [name for name in BRIDGES if name not in TRUSTING])
def test_smbus2_gets_right_data_from_each_bridge(board, buses, name):
    rows = board.suite(buses[name], name)
    old = board.run("uname -r").startswith("6.")
    mended = MENDED.get(name, ()) if old else ()
    words = LIMITS.get(name, ()) + mended
    able = {case: row for case, row in rows.items() if not any(word in case for word in words)}
    wrong = {case: row["why"] for case, row in able.items() if not row["passed"] and not row["unsupported"]}
    assert wrong == {}
    assert sum(row["passed"] for row in able.values()) >= (AT_LEAST_MENDED if mended else AT_LEAST)
    assert {case: row["splats"] for case, row in rows.items() if row["splats"]} == {}
