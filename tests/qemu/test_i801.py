# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's i2c-i801 on q35: programmed input and output, so no buffer is unsafe, and no transfer but SMBus calls."""

import json

import pytest

from tests.qemu.built import versions


@pytest.mark.parametrize("source", versions("i801"))
def test_smbus_calls_are_safe_and_everything_else_is_refused(dmasafe, tmp_path, source):
    dmasafe("run", "--kernel", source, "--config", "i801", "*/*/i801/*@50*", "--out", tmp_path, check=0)
    rows = json.loads((tmp_path / "latest" / "results.json").read_text())["scenarios"]
    mine = [row for row in rows if row["verdict"] != "SKIP"]
    assert {row["verdict"] for row in mine} == {"PASS"}
    outcomes = {(row["operation"], row["outcome"]) for row in mine}
    refused = {("master_send", "REFUSED"), ("i2cdev_read", "REFUSED"), ("i2cdev_write", "REFUSED")}
    assert outcomes == {("i2cdev_smbus", "SAFE"), *refused}
    assert all(row["direct"] is None and not row["splats"] for row in mine)
