# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash reports that are not about DMA, as crash databases publish them: one report each, blamed on whom people name.

tests/fixtures/crashes/crashes.txt has one of each kind, made up after the kernel's formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dmasafe.dmesg import blame, parse

_FILE = Path(__file__).parents[2] / "fixtures" / "crashes" / "crashes.txt"
CRASHES = [part.split("\n", 1) for part in re.split(r"^== ", _FILE.read_text(), flags=re.MULTILINE)[1:]]
_SOURCE = re.compile(r"(?<=0x[0-9a-f]{2}) [\w./-]+\.[chS]:\d+|(?<=0x[0-9a-f]{3}) [\w./-]+\.[chS]:\d+")


def console(log: str) -> str:
    """The log before symbols were added: no inlined calls, no files behind frames."""
    lines = (line for line in log.splitlines() if not line.endswith(" [inline]") and " [inline], CPU#" not in line)
    return "\n".join(_SOURCE.sub("", line) for line in lines)


def stamped(log: str) -> str:
    """The log of a kernel with CONFIG_PRINTK_CALLER, other tasks between its lines."""
    lines: list[str] = []
    for number, line in enumerate(log.splitlines()):
        lines.append(f"[  101.{number:06d}][ T5333] {line}")
        if number % 4 == 0:
            lines.append(f"[  101.{number:06d}][ T4121] usb 4-1: new high-speed USB device number 7")
    return "\n".join(lines)


FORMS: dict[str, Callable[[str], str]] = {"symbolized": str, "console": console, "stamped": stamped}


@pytest.mark.parametrize("form", FORMS)
def test_a_crash_is_one_report_and_blamed_on_whom_people_name(form: str) -> None:
    assert len(CRASHES) >= 50
    wrong = []
    for function, log in CRASHES:
        found = list(parse(FORMS[form](log).splitlines()))
        blamed = [blame(splat) for splat in found]
        names = [culprit and culprit.function for culprit in blamed]
        if names != [function]:
            wrong.append((function, names))
        # What is no DMA report never becomes one.
        assert all(splat.splat_class == "other" for splat in found), function
    assert wrong == []


def test_the_memorys_own_stacks_are_fields() -> None:
    log = dict(CRASHES)["foo_leaf_free"]
    (splat,) = parse(log.splitlines())
    assert splat.fields["allocated_at"] == "__kasan_kmalloc+0x98/0xb0 < foo_leaf_free+0x1f/0x90 < foo_insert+0x2a/0xc0"
    assert splat.fields["freed_at"] == "kfree+0x1a0/0x440 < foo_drop+0x2c/0x80"
    assert [frame.function for frame in splat.frames] == ["dump_stack_lvl", "kasan_report", "rb_next"]


def test_the_header_with_the_place_that_is_no_inlined_call_counts() -> None:
    (splat,) = parse(dict(CRASHES)["foo_ioctl"].splitlines())
    assert (splat.file, splat.line, splat.function) == ("drivers/misc/foo.c", 215, "foo_ioctl")
