# SPDX-License-Identifier: GPL-2.0-or-later
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dmasafe.dmesg import SPLAT_CLASSES

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"
SPLAT = FIXTURES / "synthetic-6.12-map-stack.log"
BOUND_S = 60


def dmasafe(*arguments, stdin=b""):
    return subprocess.run(
        [sys.executable, "-m", "dmasafe.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=BOUND_S,
    )


@pytest.mark.parametrize("form", ["table", "json", "sarif", "ktap"])
def test_parse_finds_a_splat_and_says_so_by_its_exit_status(form):
    done = dmasafe("parse", "--format", form, SPLAT)
    assert done.returncode == 1, done.stderr
    assert b"map-stack" in done.stdout


def test_standard_input_and_a_file_are_read_alike():
    from_file = dmasafe("parse", "--format", "json", SPLAT)
    from_stdin = dmasafe("parse", "--format", "json", "-", stdin=SPLAT.read_bytes())
    assert json.loads(from_file.stdout) == json.loads(from_stdin.stdout) != []


def test_a_clean_log_exits_0():
    done = dmasafe("parse", "-", stdin=b"[    1.0] DMA-API: debugging enabled by kernel config\n")
    assert (done.returncode, done.stdout) == (0, b"no splat in 1 lines\n")


@pytest.mark.parametrize(
    ("arguments", "stdin", "word"),
    [
        (("parse", "/no/such/log"), b"", b"/no/such/log"),
        (("parse", "-"), bytes(range(256)) * 64, b"readable"),
        (("parse", "/"), b"", b"cannot read /"),
        (("explain", "no-such-class"), b"", b"no-such-class"),
        (("repro", "/no/such/log"), b"", b"/no/such/log"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_exit_2(arguments, stdin, word):
    done = dmasafe(*arguments, stdin=stdin)
    assert done.returncode == 2
    assert word in done.stderr and b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1


def test_follow_prints_a_splat_while_the_log_is_still_open():
    command = [sys.executable, "-m", "dmasafe.cli", "parse", "--follow", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(SPLAT.read_bytes())
        process.stdin.flush()
        assert b"map-stack" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(BOUND_S) == 1


@pytest.mark.parametrize("slug", [*SPLAT_CLASSES, "other"])
def test_every_class_is_explained(slug):
    # In-process: a start of Python for each would take a minute.
    from click.testing import CliRunner

    from dmasafe.cli.explain_command import command

    done = CliRunner().invoke(command, [slug])
    assert done.exit_code == 0, done.output
    for title in ("What it means", "The rule", "Usual causes in I2C code", "How to fix it", "Read"):
        assert title in done.output


def test_explain_reads_a_log():
    done = dmasafe("explain", SPLAT)
    assert done.returncode == 0 and b"map-stack" in done.stdout and b"line " in done.stdout
