# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings that a program in the guest proves, reproduced as the page says, on every kernel that is built."""

import json

import pytest

from dmasafe.findings.catalogue import load
from tests.qemu.built import versions

CONFIGURATION = "upstream"
FINDINGS = [finding for finding in load() if finding.proof.program and finding.proof.config == CONFIGURATION]
RUN_TIMEOUT_S = 900


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
