# SPDX-License-Identifier: GPL-2.0-or-later
"""How commands print: one style of options, and what earlier versions called them."""

import json

import click
import pytest
from click.testing import CliRunner
from test_command_tree import TREE

from dmasafe.cli import group
from dmasafe.report import ReportError

# They make something, or hand over a terminal, and say so in a line.
NO_TABLE = {("shell",), ("completion",), ("kernel", "build"), ("matrix", "record"), ("matrix", "report")}
RUN = ("run", "--target", "model", "--suite", "smoke")


def invoke(*words, status=0):
    done = CliRunner().invoke(group, [str(word) for word in words], standalone_mode=False)
    assert done.exception is None and done.return_value in (status, None), done.output
    return done.stdout


@pytest.mark.parametrize(
    "words",
    [words for words, found in TREE.items() if not isinstance(found, click.Group) and words not in NO_TABLE],
    ids=" ".join,
)
def test_what_prints_a_table_prints_json_and_writes_files_by_the_same_options(words):
    options = {option.name: option for option in TREE[words].params}
    form, file = options["output_format"], options["output_file"]
    assert (form.opts, file.opts) == (["--format"], ["--output"])
    if words not in (("matrix", "emit"), ("matrix", "export")):
        assert "json" in form.type.choices


def test_a_file_gets_what_standard_output_would(tmp_path):
    file = tmp_path / "list.txt"
    shown = invoke("list", "--format", "json")
    assert invoke("list", "--format", "json", "--output", file) == ""
    assert file.read_text() == shown
    assert invoke("list", "--output", "-") == invoke("list")


def test_the_name_of_a_file_chooses_the_format_unless_format_does(tmp_path):
    file = tmp_path / "list.json"
    invoke("list", "--output", file)
    assert "suites" in json.loads(file.read_text())
    invoke("list", "--output", file, "--format", "table")
    assert file.read_text().startswith("suites:")
    # This command has no such format.
    other = tmp_path / "splat.ktap"
    invoke("explain", "map-stack", "--output", other)
    assert other.read_text().startswith("map-stack")


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    done = CliRunner().invoke(group, ["list", "--output", str(tmp_path)], standalone_mode=False)
    assert "it is a directory" in str(done.exception)


def test_a_run_is_written_in_every_format_of_results(tmp_path):
    results = ("--results", tmp_path / "out")
    assert json.loads(invoke(*RUN, *results, "--format", "json"))["counts"]["fail"] == 0
    for name, beginning in (("r.xml", "<?xml"), ("r.ktap", "KTAP"), ("r.md", "<!-- SPDX"), ("r.txt", "smoke on model")):
        assert invoke(*RUN, *results, "--output", tmp_path / name) == ""
        assert (tmp_path / name).read_text().lstrip().startswith(beginning)


def test_the_contract_of_json_beside_the_table_is_kept(tmp_path):
    printed = invoke(*RUN, "--out", tmp_path, "--json", tmp_path / "also.json", "--detection", tmp_path / "also.md")
    assert "PASS: everything happened as expected" in printed
    assert (tmp_path / "also.json").read_text() == (tmp_path / "latest" / "results.json").read_text()
    assert (tmp_path / "also.md").read_text().startswith("<!-- SPDX")


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (("list", "--format", "table"), ("list", "--format", "text")),
        (("matrix", "list", "--format", "json"), ("matrix", "list", "--json")),
        (("matrix", "list", "quick", "--format", "json"), ("matrix", "list", "quick", "--json")),
    ],
)
def test_earlier_names_still_work_and_help_does_not_show_them(now, before):
    assert invoke(*now) == invoke(*before)
    listed = CliRunner().invoke(group, [*now, "--help"]).output
    assert "--json" not in listed and "text" not in listed.split("--format")[1].split("]")[0]


def test_renamed_options_are_not_in_the_help():
    assert "--out " not in CliRunner().invoke(group, ["run", "--help"]).output


def test_pass_is_said_only_of_what_is_on_the_disk(tmp_path, monkeypatch):
    results = ("--results", str(tmp_path / "out"))
    assert "PASS: everything happened as expected" in invoke(*RUN, *results)

    def full(*_arguments):
        raise ReportError("cannot write it: the disk is full")

    monkeypatch.setattr("dmasafe.report.directory.publish", full)
    done = CliRunner().invoke(group, [*RUN, *results], standalone_mode=False)
    assert isinstance(done.exception, ReportError)
    assert "PASS: everything" not in done.stdout
    assert done.stdout.splitlines()[-1] == "NOT ALL SAVED: cannot write it: the disk is full"
