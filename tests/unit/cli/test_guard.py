# SPDX-License-Identifier: GPL-2.0-or-later
"""How a command may end: by its own status, a sentence, a signal, or as a bug of ours, which is none of these."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import dmasafe
from dmasafe.cli.guard import status_of
from dmasafe.errors import DmasafeError


def raises(error):
    def command():
        raise error

    return command


def test_a_bug_is_status_3_one_sentence_and_a_traceback_in_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert status_of(raises(ValueError("two\nlines"))) == 3
    told = capsys.readouterr()
    [file] = tmp_path.iterdir()
    assert told.out == "" and told.err.count("\n") == 1 and "Traceback" not in told.err
    assert "internal error" in told.err and "ValueError: two;" in told.err and str(file) in told.err
    assert "please report it" in told.err
    kept = file.read_text()
    assert "Traceback (most recent call last)" in kept and "ValueError: two\nlines" in kept


def test_a_traceback_that_cannot_be_kept_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert status_of(raises(KeyError("x"))) == 3
    told = capsys.readouterr().err
    assert "the traceback below" in told and "Traceback (most recent call last)" in told


@pytest.mark.parametrize("path", ["relative", "/home/user/linux", "/tmp/results"])
def test_the_system_s_no_to_a_path_is_a_user_error_that_names_it(path, capsys):
    assert status_of(raises(PermissionError(errno.EACCES, "Permission denied", path))) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"dmasafe: cannot use {path}: Permission denied; ") and told.count("\n") == 1


@pytest.mark.parametrize("path", ["/proc/1/nothing", f"{dmasafe.__path__[0]}/missing.toml"])
def test_a_path_of_our_own_is_a_bug(path, capsys):
    assert status_of(raises(FileNotFoundError(errno.ENOENT, "No such file or directory", path))) == 3


def test_a_machine_that_runs_out_of_something_is_no_bug(capsys):
    assert status_of(raises(OSError(errno.EMFILE, "Too many open files"))) == 2
    assert capsys.readouterr().err == "dmasafe: this machine has not enough of something: Too many open files\n"
    assert status_of(raises(ConnectionResetError(errno.ECONNRESET, "reset"))) == 3


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (DmasafeError("do that"), 2, "dmasafe: do that\n"),
        (click.UsageError("wrong"), 2, "wrong"),
        (KeyboardInterrupt(), 130, "dmasafe: interrupted\n"),
        (click.Abort(), 130, "dmasafe: interrupted\n"),
        (KeyboardInterrupt("SIGTERM"), 143, "dmasafe: interrupted by SIGTERM\n"),
        (KeyboardInterrupt("SIGHUP"), 129, "dmasafe: interrupted by SIGHUP\n"),
    ],
)
def test_every_other_end_has_its_status(error, status, told, capsys):
    assert status_of(raises(error)) == status
    assert told in capsys.readouterr().err


def test_a_command_s_own_status_is_its_own():
    assert [status_of(lambda: 1), status_of(lambda: 0), status_of(lambda: None)] == [1, 0, 0]


LIST = f"{sys.executable} -m dmasafe list"


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (f"{LIST} > /dev/full", 2, "cannot write standard output: No space left on device"),
        (f"{LIST} >&-", 2, "cannot write standard output: Bad file descriptor"),
        (f"{sys.executable} -m dmasafe parse - <&-", 2, "cannot read standard input: Bad file descriptor"),
        (f"{LIST} 2>&- >&-", 2, ""),
        (f"{LIST} 2>/dev/full >/dev/null", 0, ""),
    ],
)
def test_streams_that_are_full_or_closed(command, status, told):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == status and told in done.stderr and done.stderr.count("\n") == bool(told)


def test_a_reader_that_goes_away_ends_it_quietly():
    done = subprocess.run(["bash", "-c", f"{LIST} | :; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("141\n", "")


SLEEPER = """
import sys, time
import click
from dmasafe.cli import guard
@click.command()
def command():
    guard.hear_signals()
    print("ready", flush=True)
    # In pieces: Python handles a signal that comes between the two calls only after the second.
    for _ in range(600):
        time.sleep(0.1)
sys.exit(guard.status_of(lambda: command.main([], standalone_mode=False)))
"""


@pytest.mark.parametrize(
    ("number", "ignored"), [(signal.SIGTERM, 0), (signal.SIGQUIT, 0), (signal.SIGHUP, 0), (signal.SIGHUP, 1)]
)
def test_signals_interrupt_unless_they_are_ignored(number, ignored):
    how = signal.SIG_IGN if ignored else signal.SIG_DFL
    child = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, how),
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(number)
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
        child.send_signal(signal.SIGTERM)
    _, told = child.communicate(timeout=10)
    expected = signal.SIGTERM if ignored else number
    assert (
        child.returncode == 128 + expected
        and told.lstrip() == f"dmasafe: interrupted by {signal.Signals(expected).name}\n"
    )


def test_the_start_imports_nothing_before_ctrl_c_ends_it():
    script = "import sys; before = set(sys.modules); import dmasafe.__main__; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, env=_found())
    assert done.stdout == "['dmasafe', 'dmasafe.__main__']\n"


def _found():
    return {**os.environ, "PYTHONPATH": str(Path(dmasafe.__path__[0]).parent)}


def test_ctrl_c_before_the_first_import_says_nothing():
    script = "import os, signal, sys; import dmasafe.__main__ as m\n"
    script += "class Stop:\n def find_spec(self, *_): os.kill(os.getpid(), signal.SIGINT)\n"
    script += "sys.meta_path.insert(0, Stop()); m.main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["shell", "--ssh", "--", "true"],
        ["predicates"],
        ["clients"],
        ["findings"],
        ["conform"],
        ["detection"],
        ["kernel", "build"],
        ["kernel", "prune"],
        ["matrix", "run", "quick"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_a_cache_that_cannot_be_made_is_a_user_error(words, tmp_path, monkeypatch, capsys):
    from dmasafe.cli import group

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMASAFE_CACHE", "/proc/nothing")
    assert status_of(lambda: group.main(words, prog_name="dmasafe", standalone_mode=False)) == 2
    told = "".join(capsys.readouterr())
    assert "the cache /proc/nothing cannot be written (No such file or directory: /proc/nothing)" in told
    assert "set DMASAFE_CACHE to a directory that can be written" in told


def unreadable():
    """A path that even root cannot look at."""
    return "x" * (os.pathconf("/", "PC_NAME_MAX") + 1)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--target", "model", "--results", "PATH/x"],
        ["run", "--kernel", "./PATH"],
        ["run", "--resume", "PATH"],
        ["audit", "--module", "PATH"],
        ["matrix", "record", "PATH/results.json"],
        ["matrix", "summary", "--db", "PATH"],
        ["bisect", "--good", "v6.11", "--bad", "v6.12", "--kdir", "PATH", "heap/master_recv/virtio/8"],
        ["run", "--target", "serial:PATH", "--kdir", "PATH"],
        ["parse", "PATH"],
    ],
)
def test_a_path_that_cannot_be_looked_at_is_a_user_error(words, tmp_path, monkeypatch, capsys):
    from dmasafe.cli import group

    monkeypatch.setenv("DMASAFE_HISTORY", str(tmp_path / "h.sqlite3"))
    name = unreadable()
    arguments = [word.replace("PATH", name) for word in words]
    assert status_of(lambda: group.main(arguments, prog_name="dmasafe", standalone_mode=False)) == 2
    told = capsys.readouterr().err.strip()
    assert "\n" not in told and name in told
    # Since 3.14 pathlib answers "not there" to such a question instead of raising.
    assert "File name too long" in told or (sys.version_info >= (3, 14) and " is no " in told)
