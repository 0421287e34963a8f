# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe check`` as it is typed: formats, exit statuses, what a change brings."""

import email
import json
import quopri
import subprocess
from pathlib import Path

import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif

from tests.in_process import dmasafe

CLEAN = "static int f(struct spi_device *spi)\n{\n\treturn 0;\n}\n"
UNSAFE = "static int g(struct spi_device *spi)\n{\n\tu8 v;\n\treturn spi_write(spi, &v, 1);\n}\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMASAFE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / "a.c").write_text(CLEAN + UNSAFE)
    return tmp_path


def test_the_exit_status_tells_clean_found_and_unreadable(tree):
    assert dmasafe("check", "drivers").returncode == 1
    (tree / "drivers" / "a.c").write_text(CLEAN)
    assert dmasafe("check", "drivers").returncode == 0
    for words, said in ((["missing"], "there is no such file"), (["/dev/null"], "is no file"), (["-", "x"], "alone")):
        done = dmasafe("check", *words)
        assert done.returncode == 2 and said in done.stderr


def test_lines_are_what_editors_read_and_standard_input_is_a_file(tree):
    done = dmasafe("check", "--format", "lines", "-", stdin=UNSAFE)
    assert done.stdout.startswith("-:4: unsafe-buffer-handed-over: v is a variable on the stack")


def test_the_table_shows_the_way_through_the_code(tree):
    said = dmasafe("check", "drivers/a.c").stdout
    assert "drivers/a.c:7: u8 v;" in said and "drivers/a.c:8: return spi_write(spi, &v, 1);" in said


def test_sarif_has_the_way_as_a_code_flow_and_a_validator_takes_it(tree):
    document = json.loads(dmasafe("check", "--format", "sarif", "drivers").stdout)
    Sarif.model_validate(document)
    (result,) = document["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 8}
    assert len(result["codeFlows"][0]["threadFlows"][0]["locations"]) == 2


def test_the_page_counts_and_lists_errors(tree):
    page = dmasafe("check", "--format", "markdown", "drivers").stdout
    assert "| drivers | 1 / 0 / 0 |" in page and "| drivers/a.c:8 | g | v | stack | spi_write() |" in page


def test_two_kernels_stand_side_by_side(tree):
    for name, text in (("5.10", CLEAN), ("7.3", UNSAFE)):
        (tree / "drivers" / "a.c").write_text(text)
        dmasafe("check", "--output", f"{name}.json", "drivers")
        document = json.loads((tree / f"{name}.json").read_text())
        (tree / f"{name}.json").write_text(json.dumps({**document, "kernel": name}))
    page = dmasafe("check", "--format", "markdown", "5.10.json", "7.3.json").stdout
    assert "| directory | 5.10 | 7.3 |" in page and "| drivers | 0 / 0 / 0 | 1 / 0 / 0 |" in page
    done = dmasafe("check", "5.10.json", "7.3.json")
    assert done.returncode == 2 and "side by side with --format markdown" in done.stderr
    (tree / "none.json").write_text("{}")
    done = dmasafe("check", "none.json")
    assert done.returncode == 2 and "is no result of 'dmasafe check" in done.stderr


def test_the_hook_for_pre_commit_is_a_command_that_takes_files(tree):
    yaml = pytest.importorskip("yaml")
    (hook,) = yaml.safe_load((Path(__file__).parents[3] / ".pre-commit-hooks.yaml").read_text())
    command, *words = hook["entry"].split()
    done = dmasafe(*words, "drivers/a.c")
    assert command == "dmasafe" and done.returncode == 1 and done.stdout.startswith("drivers/a.c:8: unsafe-buffer")


@pytest.mark.parametrize("form", ["table", "lines", "json", "sarif", "markdown"])
def test_a_file_may_have_any_name(tree, form):
    directory = tree / "x y\n\udcff"
    directory.mkdir()
    for name in ("a|b.c", "%41#?.c"):
        (directory / name).write_text(UNSAFE)
    done = dmasafe("check", "--format", form, directory.name)
    assert done.returncode == 1 and "b.c" in done.stdout
    if form == "sarif":
        Sarif.model_validate(json.loads(done.stdout))
        assert "x%20y%0A%5Cudcff/%2541%23%3F.c" in done.stdout


def test_a_baseline_leaves_out_what_was_there_even_if_lines_moved(tree):
    dmasafe("check", "--output", "old.json", "drivers")
    (tree / "drivers" / "a.c").write_text("\n\n" + CLEAN + UNSAFE + UNSAFE.replace("g(", "h("))
    done = dmasafe("check", "--baseline", "old.json", "--format", "json", "drivers")
    assert [one["function"] for one in json.loads(done.stdout)["results"]] == ["h"]


def test_a_baseline_with_one_of_two_alike_leaves_the_other(tree):
    dmasafe("check", "--output", "old.json", "drivers")
    twice = UNSAFE.replace("\treturn", "\tspi_write(spi, &v, 1);\n\treturn")
    (tree / "drivers" / "a.c").write_text(CLEAN + twice)
    done = dmasafe("check", "--baseline", "old.json", "--format", "json", "drivers")
    assert len(json.loads(done.stdout)["results"]) == 1


MAY_BE = UNSAFE.replace(
    "\treturn spi_write(spi, &v", "\tu8 *p = &v;\n\tif (spi)\n\t\tp = other(spi);\n\treturn spi_write(spi, p"
)


def test_what_was_a_warning_and_is_an_error_is_news(tree):
    """And what was an error and is a warning is not."""
    for before, after, status in ((MAY_BE, MAY_BE.replace("p = other(spi)", ";"), 1), (UNSAFE, MAY_BE, 0)):
        (tree / "drivers" / "a.c").write_text(before)
        dmasafe("check", "--output", "old.json", "drivers")
        (tree / "drivers" / "a.c").write_text(after)
        assert dmasafe("check", "--baseline", "old.json", "drivers").returncode == status


def test_notes_are_shown_if_asked_for_and_are_no_reason_to_fail(tree):
    (tree / "drivers" / "a.c").write_text(UNSAFE.replace("spi_write(spi", "w1_write_block(spi"))
    plain, shown = dmasafe("check", "drivers"), dmasafe("check", "--notes", "drivers")
    assert (plain.returncode, shown.returncode) == (0, 0)
    assert "nothing found" in plain.stdout and "note: unsafe-buffer-handed-over" in shown.stdout


def test_a_file_that_was_not_read_is_not_called_clean(tree, monkeypatch):
    monkeypatch.setattr("dmasafe.check.tree.MAX_BYTES", len(UNSAFE) - 1)
    (tree / "drivers" / "a.c").write_text(UNSAFE)
    done = dmasafe("check", "drivers")
    assert done.returncode == 2 and "nothing found" in done.stdout and "not read" in done.stderr


@pytest.mark.parametrize(
    "words",
    [("--diff", "HEAD", "drivers"), ("--precise", ".", "--diff", "HEAD"), ("--precise", ".", "-"), ()],
)
def test_what_does_not_go_together_is_refused(tree, words):
    assert dmasafe("check", *words).returncode == 2


def git(tree, *words):
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.run(["git", "-C", tree, *identity, *words], check=True, capture_output=True, text=True).stdout


def test_a_diff_shows_only_what_the_change_brings(tree):
    git(tree, "init", "-q")
    git(tree, "add", "drivers")
    git(tree, "commit", "-qm", "before")
    (tree / "drivers" / "a.c").write_text(CLEAN + UNSAFE + UNSAFE.replace("g(", "h("))
    (tree / "drivers" / "new.c").write_text(UNSAFE)
    git(tree, "add", "drivers")
    expected = [("drivers/a.c", "h"), ("drivers/new.c", "g")]

    def brought(*words):
        done = dmasafe("check", "--format", "json", "--diff", *words)
        assert done.returncode == 1, done.stderr
        return [(one["file"], one["function"]) for one in json.loads(done.stdout)["results"]]

    assert brought("HEAD") == expected
    (tree / "change.patch").write_text(git(tree, "diff", "--cached"))
    assert brought("change.patch") == expected, "applied already"
    git(tree, "reset", "-q", "--hard")
    assert brought("change.patch") == expected, "not yet applied"


NEW_LINE = "\tspi_write(spi, &v, 1);\n"


@pytest.fixture
def series(tree):
    """A mailbox of two patches to files that are not here any more: a line in g(), and a new file."""
    git(tree, "init", "-q")
    (tree / "drivers" / "a.c").write_text("\n" * 9 + CLEAN + UNSAFE.replace("spi_write(spi, &v, 1)", "v"))
    git(tree, "add", "drivers")
    git(tree, "commit", "-qm", "before")
    (tree / "drivers" / "a.c").write_text(
        "\n" * 9 + CLEAN + UNSAFE.replace("spi_write(spi, &v, 1)", "v").replace("\tret", NEW_LINE + "\tret")
    )
    git(tree, "commit", "-qam", "first")
    (tree / "drivers" / "new.c").write_text(UNSAFE)
    git(tree, "add", "drivers")
    git(tree, "commit", "-qm", "second")
    (tree / "series.mbox").write_text(git(tree, "format-patch", "--stdout", "HEAD~2"))
    return tree


def brought(*words):
    done = dmasafe("check", "--format", "json", "--diff", *words)
    return [
        (one["file"], one["line"], one["function"]) for one in json.loads(done.stdout or '{"results": []}')["results"]
    ]


FOUND = [("drivers/a.c", 17, "g"), ("drivers/new.c", 4, "g")]


def test_a_mailbox_is_checked_without_the_files_that_it_changes(series):
    assert brought("series.mbox") == FOUND, "applied"
    (series / "drivers" / "a.c").unlink()
    (series / "drivers" / "new.c").unlink()
    assert brought("series.mbox") == FOUND
    (series / "deep.patch").write_text(
        "--- a/drivers/b.c\n+++ b/drivers/b.c\n@@ -40,3 +40,4 @@ static int g(struct spi_device *spi)\n"
        " \tu8 v;\n \n+\tspi_write(spi, &v, 1);\n \treturn 0;\n"
    )
    assert brought("deep.patch") == [("drivers/b.c", 42, "g")], "in a function whose head is not shown"


def test_mails_may_be_encoded_or_have_the_line_ends_of_mails(series):
    text = (series / "series.mbox").read_bytes()
    (series / "series.mbox").write_bytes(text.replace(b"\n", b"\r\n"))
    assert brought("series.mbox") == FOUND
    mail = email.message_from_bytes(text.partition(b"\n")[2])
    mail.set_payload(quopri.encodestring(text.partition(b"\n\n")[2]))
    mail["Content-Transfer-Encoding"] = "quoted-printable"
    (series / "series.mbox").write_bytes(b"From 0123 Mon Sep 17 00:00:00 2001\n" + mail.as_bytes())
    assert brought("series.mbox") == FOUND


def test_a_patch_names_files_from_the_top_of_the_kernel(series, monkeypatch):
    (series / "include" / "linux").mkdir(parents=True)
    (series / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 3\n")
    monkeypatch.chdir(series / "drivers")
    assert brought("../series.mbox") == [(file.removeprefix("drivers/"), *rest) for file, *rest in FOUND]


@pytest.mark.parametrize("words", [("--diff", "nothere"), ("--diff", "-x"), ("--diff", "drivers/a.c")])
def test_what_is_no_change_is_a_sentence(tree, words):
    done = dmasafe("check", *words)
    assert done.returncode == 2 and done.stderr.startswith("dmasafe: ")
