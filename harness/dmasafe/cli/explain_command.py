# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe explain``: what a class of splat means, which rule it breaks, what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from dmasafe.cli.options import completing
from dmasafe.cli.output import Output, output_options
from dmasafe.dmesg import SPLAT_CLASSES, Explanation, Tally, explanation
from dmasafe.dmesg.explain import provoking
from dmasafe.dmesg.files import LogError, open_log, read_all
from dmasafe.errors import unknown
from dmasafe.report.splat_text import blamed, which_of_both
from dmasafe.report.splats import grouped
from dmasafe.report.text import one_line

COLUMNS = 100


@click.command(name="explain", epilog="Examples: dmasafe explain map-stack | dmasafe explain dmesg.txt")
@click.argument(
    "what", metavar="[CLASS|FILE|-]", required=False, shell_complete=completing(lambda: SPLAT_CLASSES, files=True)
)
@output_options("table", "json")
def command(what: str | None, output: Output) -> None:
    """Explain a splat class, or every splat of a log: the rule, the usual cause in I2C code, the fix.

    Without either, list the classes.
    """
    if what is None:
        means = {slug: explanation(slug).means for slug in SPLAT_CLASSES}
        output.show(table=lambda: _classes(means, output.width), json=lambda: means)
        return
    slugs, heads = _wanted(what)
    explanations = [explanation(slug) for slug in slugs]
    output.show(table=lambda: _table(explanations, heads), json=lambda: [asdict(told) for told in explanations])


def _classes(means: Mapping[str, str], columns: int) -> Iterator[str]:
    left = max(map(len, means)) + 2
    for slug, text in means.items():
        yield textwrap.fill(text, columns, initial_indent=f"{slug:{left}}", subsequent_indent=" " * left)


def _table(explanations: Sequence[Explanation], heads: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for told in explanations:
        yield from heads.get(told.slug, ())
        yield from _text(told)
        yield ""
    if not explanations:
        yield "no splat in this log"


def _wanted(what: str) -> tuple[list[str], dict[str, list[str]]]:
    """The classes to explain, and for a log what was found of each."""
    if what in SPLAT_CLASSES or what == "other":
        return [what], {}
    if what != "-" and not Path(what).exists():
        raise LogError(f"'{what}' is no file, and {unknown('class', what, SPLAT_CLASSES)}")
    with open_log(what) as stream:
        found = read_all(stream, what, Tally())
    heads: dict[str, list[str]] = {}
    for group in grouped(found):
        splat = group[0]
        whom = one_line(blamed(splat))
        more = f" and {len(group) - 1:,} more" if len(group) > 1 else ""
        head = f"line {splat.log_line}{more}: {one_line(splat.message)}" + (f" (look at {whom})" if whom else "")
        which = which_of_both(splat)
        heads.setdefault(splat.splat_class, []).extend([head, f"  {which}"] if which else [head])
    return list(heads), heads


def _text(told: Explanation) -> Iterator[str]:
    yield told.slug
    yield from _paragraph("What it means", told.means)
    yield from _paragraph("The rule", told.rule)
    yield from _points("Usual causes in I2C code", told.causes)
    yield from _points("How to fix it", told.fixes)
    yield from _points("Read", told.read)
    if scenarios := provoking(told):
        configuration = "" if told.configuration == "default" else f" --config {told.configuration}"
        yield from _points("See it happen", [f"dmasafe run {scenarios[0]}{configuration}"])


def _paragraph(title: str, text: str) -> Iterator[str]:
    yield f"  {title}:"
    yield textwrap.fill(text, COLUMNS, initial_indent="    ", subsequent_indent="    ")


def _points(title: str, points: tuple[str, ...] | list[str]) -> Iterator[str]:
    yield f"  {title}:"
    for point in points:
        yield textwrap.fill(point, COLUMNS, initial_indent="    - ", subsequent_indent="      ", break_long_words=False)
