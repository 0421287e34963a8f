# SPDX-License-Identifier: GPL-2.0-or-later
"""A foreign architecture, emulated: the same scenarios and the same board on arm64."""

import json
import platform
import shutil

import pytest

from dmasafe.guest.remote_command import run_command
from dmasafe.kernel import load_matrix, missing_packages
from dmasafe.progress import SILENT
from dmasafe.qemu.machines import find_machine
from dmasafe.targets.machine import BoardGuest, board_image
from tests.qemu.built import needs

ARCH = "arm64"
MACHINE = find_machine(ARCH)
MISSING = [*missing_packages(load_matrix().architectures[ARCH])]
if shutil.which(MACHINE.binary) is None:
    MISSING.append(MACHINE.debian_package)


pytestmark = pytest.mark.skipif(
    bool(MISSING) and platform.machine() != MACHINE.uname,
    reason=f"not installed: {' '.join(MISSING)} (DMASAFE_ARCH=arm64 scripts/install-packages)",
)


@needs("default", ARCH)
def test_the_smoke_suite_happens_as_on_any_architecture(dmasafe, tmp_path):
    done = dmasafe("run", "--suite", "smoke", "--arch", ARCH, "--out", tmp_path, timeout=900)
    results = json.loads((tmp_path / "latest" / "results.json").read_text())
    assert results["kernel"]["arch"] == ARCH
    assert results["canary"]["splatted"] is True
    rows = results["scenarios"]
    wrong = [(row["id"], row["outcome"], row["expected"], row["why"]) for row in rows if row["verdict"] != "PASS"]
    assert wrong == [], done.stderr[-2000:]
    assert len(rows) > 20


@needs("board", ARCH)
def test_a_board_has_python_and_its_bus(tmp_path):
    with BoardGuest(board_image(SILENT, arch=ARCH), tmp_path, serial=True) as board:
        script = "import platform, smbus2, pyudev; print(platform.machine(), smbus2.SMBus(0).read_byte_data(0x20, 0))"
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            status = run_command(
                board.host, board.port, board.user, board.identity, board.known_hosts,
                f"python3 -c '{script}' && tty < /dev/{MACHINE.login[0]}", out, err,
            )  # fmt: skip
    assert status == 0, (tmp_path / "err").read_text()
    first, terminal = (tmp_path / "out").read_text().splitlines()
    assert first.split()[0] == MACHINE.uname and terminal == f"/dev/{MACHINE.login[0]}"
