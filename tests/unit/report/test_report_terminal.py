# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from report_samples import NASTY, errored, failed, lost, make_splat, passed, skipped

from dmasafe.report import terminal
from dmasafe.report.console import console_for
from dmasafe.report.results import Results, Row
from dmasafe.scenario import core_suite


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(results: Results, directory: Path | None = None) -> str:
    stream = io.StringIO()
    terminal.print_report(results, directory, console_for(stream))
    return stream.getvalue()


def cells(text: str, label: str) -> str:
    """The table's lines of one buffer kind, as one text."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{label} "))
    last = first + 1
    while last < len(lines) and lines[last].startswith(" "):
        last += 1
    return "\n".join(lines[first:last])


def test_the_table_of_a_core_run_fits_one_screen(passing) -> None:
    lines = [line.plain for line in terminal.table(passing.rows)]
    assert len(passing.rows) >= 2600
    assert len(lines) <= 40
    assert max(len(line) for line in lines) <= 100


def test_the_worst_core_run_still_fits_one_screen(passing) -> None:
    mixed = [passed(), failed(), lost(), errored(), skipped()]
    rows = [Row.of(scenario, mixed[number % 5]) for number, scenario in enumerate(core_suite())]
    lines = [line.plain for line in terminal.table(rows)]
    assert len(lines) <= 40 and max(len(line) for line in lines) <= 100
    # Only letters fit, so a legend says what they mean.
    assert "F FAIL" in lines[-1] and "U INCONCLUSIVE" in lines[-1]


@pytest.mark.parametrize("width", [72, 80, 100, 160])
def test_the_table_keeps_to_the_width_it_is_given(width: int, passing) -> None:
    assert max(line.cell_len for line in terminal.table(passing.rows, width)) <= width


def test_a_cell_counts_the_outcomes_of_its_rows(passing) -> None:
    text = printed(passing)
    assert re.split(r"\s{2,}", cells(text, "heap").strip()) == ["heap"] + ["SAFE 32"] * 5
    stack = cells(text, "stack")
    assert stack.count("SAFE 16") == 4 and stack.count("SAFE 32") == 1
    assert stack.count("SILENT 16") == 1 and stack.count("CAUGHT 16") == 3
    assert cells(text, "kmap").count("skip 32") == 5


def test_i2cdev_rows_are_listed_by_operation(passing) -> None:
    text = printed(passing)
    for operation in ("i2cdev_read", "i2cdev_write", "i2cdev_rdwr", "i2cdev_smbus"):
        assert "SAFE" in cells(text, operation)
    assert "REFUSED 1" in cells(text, "i2cdev_read")


def test_a_failed_row_counts_as_fail_whatever_its_outcome(with_rows) -> None:
    text = cells(printed(with_rows(passed(), failed(), failed())), "stack")
    assert "FAIL 2" in text and "SAFE 1" in text and "SILENT" not in text


def test_a_failure_is_told_in_full(with_rows) -> None:
    text = printed(with_rows(passed(), failed("stray DMA to 0x2000e0c0", make_splat(), make_splat())))
    for part in (
        "FAIL stack/master_send/dmasafe:bounce/1",
        "expected CAUGHT, happened SILENT",
        "why: stray DMA to 0x2000e0c0",
        "splat: map-vmalloc-rejected: dmasafe 0000:00:05.0: rejecting DMA map of vmalloc memory (and 1 splat more)",
        "blame: dmasafe_xfer [dmasafe_controller] dmasafe_controller.c:312",
    ):
        assert part in text
    assert text.rstrip().splitlines()[-1].startswith("FAIL: ")


def test_a_long_reason_is_not_cut_or_wrapped(with_rows) -> None:
    why = "x" * 400
    assert f"why: {why}" in printed(with_rows(failed(why)))


def test_a_thousand_failures_are_told_shortly(with_rows) -> None:
    text = printed(with_rows(*[failed("guard-after")] * 1000))
    assert text.count("FAIL stack/") == terminal.FAILURES_IN_FULL
    assert "FAIL 980 more: expected CAUGHT, happened SILENT: guard-after" in text
    assert len(text.splitlines()) < 150


def test_what_could_not_be_judged_is_summed_up_by_reason(with_rows) -> None:
    text = printed(with_rows(passed(), lost(), lost(), errored(), skipped(), reason="the canary did not splat"))
    assert "INCONCLUSIVE 2: the canary did not splat (first stack/master_send/dmasafe:bounce/1)" in text
    assert "ERROR 1: the agent sent half a line" in text
    assert "SKIP 1: x86_64 has no highmem (stack)" in text
    ending = text.rstrip().splitlines()[-1]
    assert ending.startswith("INCONCLUSIVE: ") and ending.endswith(": the canary did not splat")


def test_a_missing_canary_cannot_be_overlooked(with_rows) -> None:
    text = printed(with_rows(passed(), canary_splatted=False))
    assert "the canary did NOT splat" in text and "PASS: everything" not in text


def test_a_pass_ends_with_counts_times_and_place(passing, tmp_path: Path) -> None:
    directory = tmp_path / "20250102T030405Z-core"
    directory.mkdir()
    (tmp_path / "latest").symlink_to(directory.name)
    lines = printed(passing, directory).splitlines()
    total = len(passing.rows)
    assert lines[-4] == (
        f"{total:,} scenarios: {total - 160:,} PASS, 0 FAIL, 0 INCONCLUSIVE, 160 SKIP, 0 ERROR; the canary splatted"
    )
    assert lines[-3] == "kernel 0.1 s, boot 1.1 s, scenarios 2.2 s, total 4.5 s"
    assert lines[-2] == f"results: {tmp_path}/latest/ (now 20250102T030405Z-core)"
    assert lines[-1] == "PASS: everything happened as expected"


def test_off_a_terminal_there_are_no_control_sequences(passing) -> None:
    text = printed(passing)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_text_of_the_guest_is_neither_markup_nor_control_sequence(with_rows, monkeypatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "dumb-not")
    results = with_rows(failed(NASTY, make_splat(NASTY)), skipped(NASTY), notes=(NASTY,), reason=NASTY)
    assert "<script>alert(1)</script> & ]]> \\x1b[2J\\x00\\x07 \\ud800 [bold]x[/bold] # SKIP ok 1 forged" in printed(
        results
    )
    stream = Terminal()
    terminal.print_report(results, None, console_for(stream))
    assert "\x1b[2J" not in stream.getvalue() and "[bold]x[/bold]" in stream.getvalue()


def test_a_terminal_gets_colours_and_ci_does_not(passing, monkeypatch) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    terminal.print_report(passing, None, console_for(stream))
    assert "\x1b[32mSAFE 32" in stream.getvalue()
    monkeypatch.setenv("CI", "true")
    stream = Terminal()
    terminal.print_report(passing, None, console_for(stream))
    assert "\x1b" not in stream.getvalue()


def test_an_empty_run_is_reported_as_inconclusive(with_rows) -> None:
    text = printed(replace(with_rows(), reason="the guest never booted"))
    assert "INCONCLUSIVE" in text and text.rstrip().endswith("the guest never booted")


def test_a_run_of_skips_has_no_canary_to_blame(with_rows) -> None:
    text = printed(with_rows(skipped(), canary_splatted=False))
    assert "no canary was run, as nothing was" in text and "did NOT splat" not in text
    assert text.splitlines()[-1] == "INCONCLUSIVE: nothing was run, every scenario was skipped"


def test_reasons_that_differ_by_a_number_are_one(with_rows) -> None:
    text = printed(with_rows(*(lost(f"the guest hung after {1000 + n} ms") for n in range(40))))
    assert "INCONCLUSIVE 40: the guest hung after N ms (first " in text
