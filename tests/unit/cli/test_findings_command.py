# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe findings`` with patches, mails and a record; no kernel is built, no guest is booted."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from dmasafe.cli import findings_command
from dmasafe.cli.findings_command import command
from dmasafe.facts import KernelInfo
from dmasafe.findings.catalogue import CatalogueError, load
from dmasafe.findings.corrections import Correction
from dmasafe.findings.evidence import Evidence
from dmasafe.kernel.source import SourceTree

KERNEL = KernelInfo("6.12.117", "x86_64", "upstream", "linux-source-6.12")
SOURCE = "apt:linux-source-6.12"
(OSIF,) = load(["osif-callers-buffer"])
SEEN = Evidence(OSIF, KERNEL, SOURCE, True, "as described", ("CAUGHT",))
TRIED = Correction(OSIF, KERNEL, SOURCE, ("osif.patch",), True, "the proof is gone", ("CAUGHT",), ("SAFE",), 7, SEEN)


@pytest.fixture
def tried(monkeypatch):
    """Has --with-patch find this."""

    def found(*corrections):
        monkeypatch.setattr(findings_command, "correct", lambda *_: iter(corrections))

    return found


def invoke(*arguments):
    return CliRunner().invoke(command, [str(word) for word in arguments], standalone_mode=False)


@pytest.mark.parametrize(
    ("corrected", "word", "status"), [(True, "corrected", 0), (False, "NOT corrected", 1), (None, "INCONCLUSIVE", 2)]
)
def test_a_patch_is_shown_before_and_after(tried, corrected, word, status):
    tried(replace(TRIED, corrected=corrected))
    result = invoke(OSIF.id, "--with-patch")
    assert result.return_value == status
    for text in (word, "CAUGHT", "SAFE", "the proof is gone; 7 scenarios"):
        assert text in result.output


def test_what_is_found_is_kept_even_if_the_next_one_is_interrupted(monkeypatch, tmp_path):
    def found(*_):
        yield TRIED
        raise KeyboardInterrupt

    monkeypatch.setattr(findings_command, "correct", found)
    record = tmp_path / "findings.json"
    assert invoke("--with-patch", "--record", record).exception is not None
    kept = json.loads(record.read_text())
    assert [row["corrected"] for row in kept["patches"]] == [row["reproduced"] for row in kept["findings"]] == [True]
    page = invoke("--list", "--record", record, "--format", "markdown").output
    assert "tested on 6.12.117" in page and "| reproduced | not tried | not tried |" in page


def test_json_says_what_was_tried(tried):
    tried(TRIED)
    (row,) = json.loads(invoke(OSIF.id, "--with-patch", "--format", "json").output)["patches"]
    assert row["command"] == f"{OSIF.command(SOURCE)} --with-patch" and row["kept"] == 7


def test_a_mail_is_printed_from_the_record_and_nothing_is_run(tried, monkeypatch, tmp_path):
    tried(TRIED)
    record = tmp_path / "findings.json"
    invoke(OSIF.id, "--with-patch", "--record", record)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "get_maintainer.pl").write_text("print 'some@body.example (maintainer:IT)';")
    tree = SourceTree(tmp_path, "", "6.12.117", "", tmp_path)
    monkeypatch.setattr(findings_command.kernels, "remembered", lambda *_: "here")
    monkeypatch.setattr(findings_command.kernels, "fetch", lambda *_: tree)
    monkeypatch.setattr(findings_command, "reproduce", None)
    output = invoke(OSIF.id, "--mail", "--record", record).output
    assert "To: some@body.example" in output
    assert "With the patch, on 6.12.117" in output


def test_a_mail_needs_the_kernels_source(monkeypatch):
    monkeypatch.setattr(findings_command.kernels, "remembered", lambda *_: None)
    result = invoke(OSIF.id, "--mail")
    assert isinstance(result.exception, CatalogueError) and "is not here: run 'dmasafe findings" in str(
        result.exception
    )
