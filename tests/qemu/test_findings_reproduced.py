# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings that a program in the guest proves, reproduced as the page says, on every kernel that is built."""

import json

import pytest

from dmasafe.findings.catalogue import load
from dmasafe.scenario import core_suite
from tests.qemu.built import versions

CONFIGURATION = "upstream"
FINDINGS = [finding for finding in load() if finding.proof.program and finding.proof.config == CONFIGURATION]
RUN_TIMEOUT_S = 900
CORE = core_suite()


@pytest.mark.parametrize("source", versions(CONFIGURATION))
def test_every_finding_that_a_program_proves_is_reproduced(dmasafe, tmp_path, source):
    file = tmp_path / "findings.json"
    names = [finding.id for finding in FINDINGS if finding.concerns(source)]
    dmasafe("findings", *names, "--kernel", source, "--json", file, check=0, timeout=RUN_TIMEOUT_S)
    seen = {row["finding"]: row for row in json.loads(file.read_text())["findings"]}
    assert list(seen) == names and all(row["reproduced"] for row in seen.values())
    for finding in FINDINGS:
        functions = {frame["function"] for splat in seen[finding.id]["splats"] for frame in splat["frames"]}
        assert finding.proof.frames <= functions


@pytest.mark.parametrize("source", versions("default")[:1])
def test_a_patch_is_shown_to_correct_its_finding_and_nothing_else_is_worse(dmasafe, tmp_path, source):
    file = tmp_path / "patches.json"
    name = "i2c-dev-needless-bounce"
    dmasafe("findings", name, "--with-patch", "--kernel", source, "--json", file, check=0, timeout=RUN_TIMEOUT_S)
    (row,) = json.loads(file.read_text())["patches"]
    assert row["corrected"] and row["kept"] > len(CORE) / 2, row["why"]
