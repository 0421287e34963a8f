# SPDX-License-Identifier: GPL-2.0-or-later
"""A splat in words: its frames, whom to blame, and all of it in a few lines. Several formats share it."""

from __future__ import annotations

from dmasafe.dmesg import Blame, blame
from dmasafe.dmesg.parties import parties
from dmasafe.outcome import Frame, Splat
from dmasafe.report.text import one_line, plural

FRAMES_SHOWN = 8


def frame_text(frame: Frame) -> str:
    """``fn+0x1/0x2 [module] file.c:12``, as far as the frame knows."""
    text = frame.function
    if frame.offset is not None:
        text += f"+{frame.offset:#x}" + (f"/{frame.size:#x}" if frame.size is not None else "")
    if frame.module:
        text += f" [{frame.module}]"
    if frame.file:
        text += f" {frame.file}" + (f":{frame.line}" if frame.line is not None else "")
    return text


def blamed(splat: Splat) -> str:
    """``function [module] file:line`` of whom to look at first, empty if the report names nobody.

    Of an I2C transfer both sides: ``controller ..., client ...``; which_of_both() says which of the two it is.
    """
    both = parties(splat)
    if both is not None:
        return f"controller {place_text(both.controller)}, client {place_text(both.client)}"
    found = blame(splat)
    return "" if found is None else place_text(found)


def which_of_both(splat: Splat) -> str:
    """Which side of an I2C transfer is wrong, and why; empty if the report does not show two sides."""
    both = parties(splat)
    if both is None:
        return ""
    return f"the {both.culprit} is wrong: {both.why}" if both.culprit else both.why


def place_text(found: Blame) -> str:
    """``function [module] file:line``."""
    text = found.function + (f" [{found.module}]" if found.module else "")
    return text + (f" {found.file}:{found.line}" if found.file else "")


def splat_lines(splat: Splat) -> list[str]:
    """A splat in a few lines: class and message, who reported it where, whom to blame, the first frames."""
    reporter = " ".join(part for part in (splat.driver, splat.device) if part)
    lines = [f"{splat.splat_class}: " + (f"{reporter}: " if reporter else "") + one_line(splat.message)]
    if splat.file:
        place = splat.file + (f":{splat.line}" if splat.line is not None else "")
        lines.append(f"reported at {one_line(place)}" + (f" in {one_line(splat.function)}" if splat.function else ""))
    if at_fault := blamed(splat):
        lines.append(f"blame: {one_line(at_fault)}")
    if which := which_of_both(splat):
        lines.append(which)
    frames = [frame for frame in splat.frames if frame.reliable]
    lines.extend(f"  {one_line(frame_text(frame))}" for frame in frames[:FRAMES_SHOWN])
    if len(frames) > FRAMES_SHOWN:
        lines.append(f"  and {plural(len(frames) - FRAMES_SHOWN, 'frame')} more")
    if splat.truncated:
        lines.append("the report is cut short")
    return lines
