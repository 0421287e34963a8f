# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts as a table, JSON, SARIF and a page; what the command refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmasafe.audit import Level
from dmasafe.check import CheckResult, Step
from dmasafe.cli.prove_command import command
from dmasafe.outcome import Frame, Splat
from dmasafe.prove import page
from dmasafe.prove.candidates import fingerprints
from dmasafe.prove.evidence import Attempt
from dmasafe.prove.judge import Status, Verdict
from dmasafe.prove.run import Proofs
from dmasafe.report import terminal

FILE = "drivers/hwmon/chip.c"
CANDIDATE = CheckResult(
    "unsafe-buffer-handed-over", Level.ERROR, "stack", "spi", "spi_write()", FILE, 12, "chip_set", "buf|x",
    "buf is on the stack", "copy it", "spi.h", (Step(FILE, 12, "chip_set", "spi_write()"),),
)  # fmt: skip
SPLAT = Splat(
    "map-stack", "dmasafe_prove.0", None, "device driver maps memory from stack",
    frames=(Frame("__spi_sync", 1, 2), Frame("chip_set", 3, 4, "chip", file=FILE, line=12)),
)  # fmt: skip
ATTEMPT = Attempt("chip - irq a:00", ("new: 0", "bound: 0"), (), (SPLAT,))


@pytest.fixture
def proofs() -> Proofs:
    proved = Verdict(CANDIDATE, Status.PROVED, "the kernel reported it in chip_set()", "chip", ATTEMPT, SPLAT)
    other = CheckResult(**{**CANDIDATE.__dict__, "line": 30, "function": "chip_get"})
    lost = Verdict(other, Status.NOT_REACHED, "the driver's probe failed in all 3 attempts: EIO")
    return Proofs("7.3.4", "apt:linux-source-7.3", (proved, lost), ("chip: the guest panicked",))


def test_the_table_counts_functions_and_files(proofs: Proofs) -> None:
    assert "1 proved, 0 reached, 1 not reached, 0 refuted; those proved are in 1 function of 1 file" in page.counts(
        proofs.verdicts
    )
    console = terminal.console_for()
    with console.capture() as captured:
        for part in page.table(proofs):
            console.print(part)
    assert "the guest panicked" in captured.get()


def test_json_has_the_proof_and_the_command_that_repeats_it(proofs: Proofs) -> None:
    found = json.loads(json.dumps(page.to_json(proofs)))
    first, second = found["results"]
    assert first["command"] == f"dmasafe prove {FILE}:12 --kernel apt:linux-source-7.3"
    assert (first["status"], first["board"], first["splat"]["class"]) == ("proved", "chip - irq a:00", "map-stack")
    assert (second["status"], second["splat"]) == ("not reached", None)
    assert found["counts"] == {"proved": 1, "reached": 0, "not reached": 1, "refuted": 0}


def test_sarif_has_the_proof_as_a_stack_and_can_be_proved_again(proofs: Proofs, tmp_path: Path) -> None:
    text = page.to_sarif(proofs)
    first, second = json.loads(text)["runs"][0]["results"]
    assert (first["kind"], first["level"]) == ("fail", "error")
    assert [frame["location"]["logicalLocations"][0]["name"] for frame in first["stacks"][0]["frames"]] == [
        "__spi_sync",
        "chip_set",
    ]
    assert (second["kind"], second["level"], "stacks" in second) == ("open", "none", False)
    (tmp_path / "proofs.sarif").write_text(text)
    assert CANDIDATE.fingerprint in fingerprints(tmp_path / "proofs.sarif")


def test_the_page_has_shares_and_both_lists(proofs: Proofs) -> None:
    text = "\n".join(page.to_markdown(proofs))
    assert "Of the 2 that the check calls errors: 1 proved (50.0 %)" in " ".join(text.split())
    assert f"| {FILE}:12 | chip_set | buf\\|x (stack) | spi_write() | map-stack |" in text
    assert f"| {FILE}:30 | chip_get | not reached | the driver's probe failed in all 3 attempts: EIO |" in text


def test_the_page_says_why_not_all_was_seen(proofs: Proofs) -> None:
    assert "| chip | the guest panicked |" in page.to_markdown(proofs)
    assert "## Why not all was seen" not in page.to_markdown(replace(proofs, notes=()))


def test_the_page_counts_reasons_however_often_they_were_tried(proofs: Proofs) -> None:
    lost = proofs.verdicts[1]
    other = replace(lost, why="the driver's probe failed in all 24 attempts: EIO; chip id is 7")
    bound = replace(lost, why="the driver bound in 1 of 2 attempts, and nothing that was tried led there")
    refuted = replace(lost, status=Status.REFUTED, why="the buffer is safe")
    text = "\n".join(page.to_markdown(replace(proofs, verdicts=(*proofs.verdicts, other, bound, refuted))))
    assert "| the buffer is safe | 1 |" not in text
    assert "| the driver's probe failed: EIO | 2 | 1 |" in text
    assert "| the driver bound, and nothing that was tried led there | 1 | 1 |" in text


@pytest.mark.parametrize("words", [[], ["--all", FILE]])
def test_either_places_or_all(words: list[str]) -> None:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2 and "or say --all" in done.output


def test_what_is_forgotten_cannot_be_judged() -> None:
    done = CliRunner().invoke(command, ["--all", "--again", "--kept"])
    assert done.exit_code == 2 and "leaves out" in done.output
