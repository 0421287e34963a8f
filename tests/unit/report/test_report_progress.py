# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import re

import pytest

from dmasafe.progress import Stage
from dmasafe.report.progress import BAR_COLUMNS, PLAIN_INTERVAL_S, ProgressDisplay


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_off_a_terminal_a_stage_is_a_line_and_a_build_a_line_each_15_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock) as progress:
        progress.stage("kernel: building 6.12.117")
        for second in range(61):
            clock.now = 100.0 + second
            progress.advance(second * 10, 1830, "CC drivers/i2c/i2c-core-base.o")
        progress.stage("boot")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "kernel: building 6.12.117" and lines[-1] == "boot"
    assert lines[1:-1] == [
        f"kernel: {seconds * 10} of 1,830, CC drivers/i2c/i2c-core-base.o, {seconds} s" for seconds in (15, 30, 45, 60)
    ]
    assert PLAIN_INTERVAL_S == 15.0


def test_ci_counts_as_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    stream = Terminal()
    with ProgressDisplay(stream) as progress:
        progress.stage("kernel")
        progress.advance(1, 2)
    assert stream.getvalue() == "kernel\n"


def test_on_a_terminal_a_finished_stage_stays_and_the_cursor_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with ProgressDisplay(stream, clock) as progress:
        progress.stage("kernel: building [6.12]")
        clock.now += 2.5
        progress.advance(5, 5, "done [bold]")
        progress.stage("not built yet: about 10 minutes")
        progress.stage("boot")
        progress.note("a note \x1b[2J")
    text = stream.getvalue()
    assert "about 10 minutes" in text and ", 0.0 s" not in text
    assert "kernel: building [6.12], 2.5 s" in text
    assert "a note \\x1b[2J" in text and "\x1b[2J" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_stage_that_an_error_ends_is_not_called_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), ProgressDisplay(stream) as progress:
        progress.stage("kernel")
        raise KeyboardInterrupt
    assert "kernel: stopped after" in stream.getvalue()
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_stages_add_up_by_name_and_the_running_one_counts() -> None:
    clock = Clock()
    progress = ProgressDisplay(io.StringIO(), clock)
    with progress:
        for name, seconds in (("kernel: 6.12", 2.0), ("boot", 1.0), ("kernel: modules", 0.5)):
            progress.stage(name)
            clock.now += seconds
        assert progress.stages() == (Stage("kernel", 2.5), Stage("boot", 1.0))
    assert progress.stages() == (Stage("kernel", 2.5), Stage("boot", 1.0))


def test_advance_outside_a_stage_and_without_a_total_is_harmless() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock) as progress:
        progress.advance(1)
        clock.now += 20
        progress.advance(7, None, "objects")
    assert stream.getvalue() == "working: 7, objects, 20 s\n"


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_bar_keeps_its_width_and_the_line_stays_one(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.delenv("CI", raising=False)
    # Without colours the rest of a bar is blank.
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream, clock = Terminal(), Clock()
    with ProgressDisplay(stream, clock) as progress:
        progress.stage("kernel: building Linux 6.12.117 x86_64, configuration default, from apt:linux-source-6.12")
        clock.now += 2.5
        progress.advance(915, 1830, "CC drivers/media/pci/ivtv/ivtv-i2c-of-a-very-long-name.o")
        progress._bar.refresh()  # type: ignore[union-attr]
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n").splitlines()[-1]
    assert len(shown) <= columns
    assert sum(shown.count(part) for part in "━╸╺") == BAR_COLUMNS
    assert "915 of 1,830" in shown and "kernel: bui" in shown
    assert ("very-long-name.o" in shown) is (columns == 200)
