# SPDX-License-Identifier: GPL-2.0-or-later
"""``--format`` and ``--output``, the same for every command, and the one place that writes what was asked for."""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click
from rich.table import Table
from rich.text import Text

from dmasafe.report.console import PLAIN_WIDTH, console_for, fitted
from dmasafe.report.files import write_text

# Without --format, the file's name says it. Some formats have the name of what their files end in.
_SUFFIXES = {".md": "markdown", ".xml": "junit"}
_NO_OLD_NAMES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Output:
    """Which format goes where: ``file`` None is standard output. ``also``: more files, each with its format."""

    form: str
    file: Path | None = None
    also: tuple[tuple[str, Path], ...] = ()

    @property
    def width(self) -> int:
        """Columns that a table may have."""
        return console_for().width if self.file is None else PLAIN_WIDTH

    def show(self, **renderings: Callable[[], Any]) -> None:
        """Write what the chosen format's function returns. Raises ReportError.

        That is text, a rich Text or Table, an iterable of these, or, for ``json``, anything that JSON can hold.
        """
        if self.file is None:
            _render(self.form, renderings[self.form](), sys.stdout)
        files = self.also if self.file is None else ((self.form, self.file), *self.also)
        for form, file in files:
            stream = io.StringIO()
            _render(form, renderings[form](), stream)
            write_text(file, stream.getvalue())


def _render(form: str, made: Any, stream: TextIO) -> None:
    if form == "json" and not isinstance(made, str):
        made = json.dumps(made, indent=2)
    console = console_for(stream)
    for part in (made,) if isinstance(made, str | Text | Table) else made:
        if isinstance(part, str):
            click.echo(part, file=stream, nl=not part.endswith("\n"))
        elif isinstance(part, Table):
            console.print(fitted(part, console))
        else:
            # Lines stay whole, for people copy them.
            console.print(part, soft_wrap=isinstance(part, Text))


class RenamedOption(click.Option):
    """``old`` spellings work as before, and neither help nor completion shows them."""

    def __init__(self, *arguments: Any, old: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._old = old

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown = self.opts
        self.opts = [*shown, *self._old]
        super().add_to_parser(parser, ctx)
        self.opts = shown


class _Format(click.Choice[str]):
    """Tables were called text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("table" if value == "text" and "table" in self.choices else value, param, ctx)


def output_options(
    *formats: str,
    file: Path | None = None,
    required: bool = False,
    flags: Mapping[str, str] = _NO_OLD_NAMES,
    old: Sequence[str] = (),
    also: Mapping[str, str] = _NO_OLD_NAMES,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--format (the first is the default) and --output (``file`` is the default), which become ``output``, an Output.

    What earlier versions had is hidden: ``flags`` name a format, ``also`` a file beside the table, ``old`` --output.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*arguments: Any, output_format: str | None, output_file: Path | None, **rest: Any) -> Any:
            said = {option: rest.pop(_parameter(option)) for option in (*flags, *also)}
            form = output_format or next((flags[option] for option in flags if said[option]), None)
            where = output_file or file
            if form is None and where is not None:
                form = _SUFFIXES.get(where.suffix, where.suffix[1:])
            more = tuple((also[option], said[option]) for option in also if said[option] not in (None, Path("-")))
            form = form or next((also[option] for option in also if said[option] == Path("-")), None)
            chosen = form if form in formats else formats[0]
            output = Output(chosen, where if where is None or str(where) != "-" else None, more)
            return function(*arguments, output=output, **rest)

        path = click.Path(path_type=Path)
        default = str(file or "standard output")
        options = [
            click.option(option, _parameter(option), type=path, hidden=True) for option in also
        ] + [
            click.option(option, _parameter(option), is_flag=True, hidden=True) for option in flags
        ] + [
            click.option(
                "--output", "output_file", metavar="FILE", type=path, cls=RenamedOption, old=old,
                help=f"Where to, - for standard output.  [default: {default}]",
            ),
            click.option(
                "--format", "output_format", type=_Format(formats), required=required,
                help="" if required else f"[default: what FILE's name ends in, else {formats[0]}]",
            ),
        ]  # fmt: skip
        decorated: Callable[..., Any] = command
        for option in options:
            decorated = option(decorated)
        return decorated

    return decorate


results_option = click.option(
    "--results", "out", cls=RenamedOption, old=("--out",), type=click.Path(path_type=Path), metavar="DIR",
    default=Path("out"), show_default=True, help="Where results go, a directory for each run.",
)  # fmt: skip


def _parameter(option: str) -> str:
    return f"old_{option.removeprefix('--')}"
