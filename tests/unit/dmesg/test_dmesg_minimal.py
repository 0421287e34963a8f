# SPDX-License-Identifier: GPL-2.0-or-later
"""The excerpt of a log parses to the same splat, and without any of its lines it would not."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.dmesg import parse, parse_stream
from dmasafe.dmesg.minimal import MAX_KEPT_BYTES, Recorder, minimal
from dmasafe.outcome import Splat

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"


def excerpts(data: bytes) -> list[tuple[Splat, list[str]]]:
    recorder = Recorder()
    found = list(parse_stream(io.BytesIO(data), recorder=recorder))
    assert [splat for splat, _ in recorder.found] == found
    return [(splat, minimal(lines, splat)) for splat, lines in recorder.found]


def read(lines: list[str]) -> list[Splat]:
    return [replace(splat, log_line=0) for splat in parse(lines)]


@pytest.mark.parametrize(
    "name",
    [
        "synthetic-6.12-kasan",
        "synthetic-7.2-leak-on-release",
        "synthetic-paste-vendor-stamp-motorola",
        "synthetic-paste-journalctl-json-pretty",
        "synthetic-paste-quoted-printable",
    ],
)
def test_an_excerpt_parses_to_the_same_splat_and_no_line_can_go(name: str) -> None:
    data = (FIXTURES / f"{name}.log").read_bytes()
    noise = b"".join(b"[    0.%06d] usb 1-1: new device\n" % n for n in range(50))
    ((splat, lines),) = excerpts(noise + data + noise)
    assert read(lines) == [replace(splat, log_line=0)]
    for number in range(len(lines)):
        assert read(lines[:number] + lines[number + 1 :]) != read(lines), lines[number]


def test_of_two_reports_each_has_its_own_lines() -> None:
    data = (FIXTURES / "synthetic-6.12-map-stack.log").read_bytes()
    (_, first), (_, second) = excerpts(data + data.replace(b"0000:00:05.0", b"0000:00:06.0"))
    assert len(first) == len(second)
    assert ("05.0" in first[0], "06.0" in second[0]) == (True, True)


def test_what_a_terminal_does_not_show_is_left_out() -> None:
    ((_, lines),) = excerpts(b"\x1b[31m[    1.0] BUG: \x1b[0mKASAN: use-after-free in foo+0x1/0x2\r\n")
    assert lines == ["[    1.0] BUG: KASAN: use-after-free in foo+0x1/0x2"]


def test_time_and_memory_are_bounded() -> None:
    data = (FIXTURES / "synthetic-6.12-map-stack.log").read_bytes()
    recorder = Recorder()
    (splat,) = parse_stream(io.BytesIO(data), recorder=recorder)
    ((_, lines),) = recorder.found
    late = iter([0.0] + [1e9] * 10**6)
    assert read(minimal(lines, splat, lambda: next(late))) == [replace(splat, log_line=0)]
    for number in range(9):
        recorder.take(number, b"x" * (MAX_KEPT_BYTES // 4))
    assert sum(len(line) for _, line in recorder._lines) <= MAX_KEPT_BYTES


def test_lines_that_do_not_parse_to_the_splat_have_no_excerpt() -> None:
    data = (FIXTURES / "synthetic-6.12-map-stack.log").read_bytes()
    (splat,) = parse(data.splitlines())
    assert minimal([b"nothing"], splat) == []
