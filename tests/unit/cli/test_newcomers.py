# SPDX-License-Identifier: GPL-2.0-or-later
"""What a newcomer types first: words nearly right, commands without arguments, files that are none of the kind."""

import json
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dmasafe.cli import group, kernel_command, predicates_command
from dmasafe.cli.matrix.summary import _table as summary_table
from dmasafe.dmesg import SPLAT_CLASSES
from dmasafe.errors import DmasafeError
from dmasafe.findings.catalogue import load
from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.matrix.summary import HEADINGS, Line
from dmasafe.outcome import Outcome
from dmasafe.report.console import fitted
from dmasafe.scenario import BUFFER_KINDS
from dmasafe.selftest.cases import CASES
from dmasafe.targets import doctor
from dmasafe.targets.predicates import PREDICATES, Measured

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"
SPLAT = FIXTURES / "synthetic-6.12-map-stack.log"
MODEL = ("run", "--target", "model")


def invoke(*words, status=0):
    done = CliRunner().invoke(group, [str(word) for word in words], standalone_mode=False)
    assert done.exception is None and done.return_value in (status, None), (done.exception, done.output)
    return done.stdout


def sentence(*words):
    """What the command line says is wrong."""
    done = CliRunner().invoke(group, [str(word) for word in words], standalone_mode=False)
    assert isinstance(done.exception, DmasafeError | click.UsageError), (done.exception, done.output)
    return str(done.exception)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("rnu",), "did you mean 'run'?"),
        (("kernel", "biuld"), "did you mean 'build'?"),
        (("matrix", "sumary"), "did you mean 'summary'?"),
        ((*MODEL, "stak/master_send/virtio/8"), "did you mean 'stack'?"),
        ((*MODEL, "stack/mastr_send/virtio/8"), "did you mean 'master_send'?"),
        ((*MODEL, "stack/master_send/virtoi/8"), "did you mean 'virtio'?"),
        ((*MODEL, "stack/master_send/dmasafe:bouce/8"), "did you mean 'bounce'?"),
        ((*MODEL, "stak/*"), "did you mean 'stack'?"),
        ((*MODEL, "--suite", "smok"), "did you mean 'smoke'?"),
        ((*MODEL, "smoke"), "'smoke' is a suite, no scenario: write --suite smoke"),
        ((*MODEL, "--suite", "smoke", "--config", "defualt"), "did you mean 'default'?"),
        (("explain", "map-stak"), "did you mean 'map-stack'?"),
        (("selftest", "--only", "guest-panik", "--list"), "did you mean 'guest-panic'?"),
        (("matrix", "list", "quikc"), "did you mean 'quick'?"),
        (("clients", "lm57"), "did you mean 'lm75'?"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_a_word_that_is_nearly_right_gets_the_right_one(words, meant):
    said = sentence(*words)
    assert meant in said and "\n" not in said


def test_a_word_that_is_like_none_gets_all_of_them():
    assert sentence("run", "x/master_send/virtio/8").startswith("there is no buffer kind 'x': it is one of heap, ")


def test_explain_alone_lists_the_classes():
    assert [line.split()[0] for line in invoke("explain").splitlines() if line[0] != " "] == list(SPLAT_CLASSES)
    assert json.loads(invoke("explain", "--format", "json")).keys() == SPLAT_CLASSES.keys()


def test_selftest_lists_its_cases_without_running_any():
    assert [line.split()[0] for line in invoke("selftest", "--list").splitlines()] == list(CASES)
    (only,) = json.loads(invoke("selftest", "--list", "--only", "guest-panic", "--format", "json"))
    assert (only["sabotage"], only["bound_s"]) == ("guest-panic", CASES["guest-panic"].bound_s)


def test_json_to_a_dash_is_standard_output_and_makes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert json.loads(invoke(*MODEL, "--suite", "smoke", "--json", "-"))["counts"]["fail"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("words", [("6.12",), ("--kernel", "6.12"), ("6.12", "--kernel", "6.12"), ()])
def test_the_kernel_to_build_is_named_as_everywhere_else(monkeypatch, words):
    asked = []

    def build(source, *rest, **options):
        asked.append(source)
        raise DmasafeError("not built")

    monkeypatch.setattr(kernel_command, "build_kernel", build)
    assert sentence("kernel", "build", *words) == "not built"
    assert asked == (["6.12"] if words else [DEFAULT_SOURCE])
    assert "one of them" in sentence("kernel", "build", "6.12", "--kernel", "7.3")


def test_what_can_name_no_lines_is_said(tmp_path):
    image = tmp_path / "bzImage"
    image.write_bytes(b"MZ" + bytes(1000))
    assert "is no ELF file: name the build's vmlinux" in sentence("parse", "--vmlinux", image, SPLAT)
    (tmp_path / "t.c").write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-s", "-o", tmp_path / "stripped", tmp_path / "t.c"], check=True)
    assert "has no symbols" in sentence("parse", "--vmlinux", tmp_path / "stripped", SPLAT)
    assert "has no .ko file" in sentence("parse", "--modules", tmp_path, SPLAT)


def test_a_log_without_a_splat_reproduces_nothing(tmp_path):
    (tmp_path / "log").write_text("[    1.0] all is well\n")
    assert "there is nothing to reproduce" in invoke("repro", tmp_path / "log", status=2)
    assert CliRunner().invoke(group, ["repro", str(tmp_path / "log")], standalone_mode=False).return_value == 2


def test_the_model_needs_no_home(tmp_path, monkeypatch):
    nowhere = tmp_path / "nowhere"
    nowhere.write_text("in the way of any directory")
    monkeypatch.delenv("DMASAFE_CACHE", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(nowhere / "home"))
    assert "1 PASS" in invoke(*MODEL, "heap/master_send/virtio/8", "--results", tmp_path / "out")
    assert "no kernel is built yet" in invoke("kernel", "list")


def test_doctor_says_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DMASAFE_CACHE", str(tmp_path / "file" / "cache"))
    doctor.qemu_version.cache_clear()
    printed = CliRunner().invoke(group, ["doctor"], standalone_mode=False).stdout
    assert "accelerator" not in printed
    for said in ("Debian calls qemu-system-x86", "set DMASAFE_CACHE", "is not installed", "cannot be written"):
        assert printed.count(said) == 1, printed
    for line in printed.splitlines():
        assert line.count("Debian calls") <= 1


# ---- tables at the widths of real terminals


def shown(table, columns):
    console = Console(width=columns, file=None, color_system=None)
    with console.capture() as capture:
        console.print(fitted(table, console))
    return capture.get()


def tables():
    answers = dict.fromkeys(PREDICATES, True)
    outcomes = {"send": Outcome.SILENT, "receive": Outcome.REFUSED}
    measured = [Measured(kind, answers, outcomes, {}) for kind in BUFFER_KINDS]
    configurations = ["debug-sg", "no-vmap-stack", "swiotlb-force"]
    line = Line("6.12", "x86_64", {"6.12.117"}, configurations, 0, 4, 7100, 7100, 3, 34, 30, 22)
    catalogue = Table("finding", "where")
    for finding in load(()):
        catalogue.add_row(finding.id, Text(finding.where))
    return {
        "predicates": (predicates_command._table(measured, "6.12"), [*BUFFER_KINDS, "SILENT", "REFUSED"]),
        "summary": (summary_table([line]), [*(word for one in HEADINGS for word in one.split()), *configurations]),
        "findings": (catalogue, [word for finding in load(()) for word in (finding.id, *finding.where.split())]),
    }


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("name", ["predicates", "summary", "findings"])
def test_no_table_breaks_a_word_or_leaves_the_screen(name, columns):
    table, words = tables()[name]
    text = shown(table, columns)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns
    assert [word for word in words if word not in text] == []
    if columns == 200:
        assert len(text.splitlines()) < len(shown(tables()[name][0], 60).splitlines())


def test_the_predicates_can_be_told_apart_at_80_columns():
    table, _ = tables()["predicates"]
    lines = shown(table, 80).splitlines()
    head = lines[: next(number for number, line in enumerate(lines) if line.startswith("heap "))]
    columns = [slice(16, 24), slice(25, 33), slice(34, 39), slice(40, 47), slice(48, 58)]
    read = ["".join(line[place].strip() for line in head[1:]) for place in columns]
    assert read == list(PREDICATES)
    assert sum("heap " in line for line in lines) == 1
