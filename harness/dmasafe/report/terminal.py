# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdicts for a person: a table that fits one screen, failures in full, the rest in counts.

A table row is a buffer kind (for i2c-dev: an operation), a column a controller with its policy. Off a terminal
and under CI the same text comes without colour and control sequences, 100 columns wide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dmasafe.outcome import Outcome, Splat, Verdict
from dmasafe.report import detection
from dmasafe.report.console import PLAIN_WIDTH, console_for
from dmasafe.report.results import Results, Row, counts, exit_status
from dmasafe.report.splat_text import blamed
from dmasafe.report.text import general, one_line, plural
from dmasafe.scenario import USER

TABLE_LINES = 40
FAILURES_IN_FULL = 20
REASONS_SHOWN = 12
# A warm run walks through a dozen stages that find their work done; results.json has them all.
STAGE_WORTH_TELLING_S = 0.05

# An outcome has a colour of its own, whatever was expected; a verdict that is no pass is marked by its ground.
_STYLE: dict[Outcome | Verdict, str] = {
    Outcome.SAFE: "green",
    Outcome.CAUGHT: "yellow",
    Outcome.SILENT: "bold red",
    Outcome.REFUSED: "cyan",
    Verdict.PASS: "green",
    Verdict.FAIL: "bold white on red",
    Verdict.INCONCLUSIVE: "bold black on yellow",
    Verdict.SKIP: "dim",
    Verdict.ERROR: "bold white on magenta",
}
# Long and short word of what a cell counts: a row that passed counts as its outcome, any other as its verdict.
_WORDS: dict[Outcome | Verdict, tuple[str, str]] = {
    Verdict.FAIL: ("FAIL", "F"),
    Verdict.ERROR: ("ERROR", "E"),
    Verdict.INCONCLUSIVE: ("INCONCL", "U"),
    Outcome.SAFE: ("SAFE", "s"),
    Outcome.CAUGHT: ("CAUGHT", "c"),
    Outcome.SILENT: ("SILENT", "q"),
    Outcome.REFUSED: ("REFUSED", "r"),
    Verdict.SKIP: ("skip", "-"),
}
_GAP = 2
_ENDINGS = {
    0: ("green", "PASS: everything happened as expected"),
    1: ("bold red", "FAIL: what happened is not what the kernel's source says must happen"),
    2: ("bold yellow", "INCONCLUSIVE: this run proves nothing about what it could not judge"),
}


def print_report(results: Results, directory: Path | None = None, console: Console | None = None) -> None:
    """Print all of it. ``directory`` is where the result files lie."""
    console = console or console_for()
    for line in report(results, directory, console.width):
        # soft_wrap: what is too long for the screen (paths, reasons) stays whole, for people copy it.
        console.print(line, soft_wrap=True)


def report(
    results: Results, directory: Path | None = None, width: int = PLAIN_WIDTH, unsaved: str | None = None
) -> Iterator[Text]:
    """The whole report, line by line. ``unsaved`` says why the results are not on the disk: then nothing is a PASS."""
    yield Text(_title(results), "bold")
    yield Text()
    if results.rows:
        yield from table(results.rows, width)
        yield Text()
    yield from detection.table(results)
    yield from _failures(results)
    for verdict in _REASONED:
        yield from _reasons(results.rows, verdict)
    yield from (Text(f"note: {one_line(note)}") for note in results.notes)
    yield _counts_line(results)
    yield Text(_times(results), "dim")
    if directory is not None:
        yield Text(f"results: {_where(directory)}")
    if unsaved is not None:
        yield Text(f"NOT ALL SAVED: {one_line(unsaved)}", "bold red")
        return
    style, ending = _ENDINGS[exit_status(results)]
    if results.rows and counts(results)[Verdict.SKIP] == len(results.rows):
        ending = "INCONCLUSIVE: nothing was run, every scenario was skipped"
    yield Text(ending if results.reason is None else f"{ending}: {one_line(results.reason)}", style)


# ---- the table


@dataclass(frozen=True)
class _Token:
    """One count of a cell, such as ``SAFE 28``."""

    what: Outcome | Verdict
    count: int

    def text(self, short: bool) -> Text:
        long_word, letter = _WORDS[self.what]
        return Text.assemble((f"{self.count}{letter}" if short else f"{long_word} {self.count}", _STYLE[self.what]))


def table(rows: Sequence[Row], width: int = PLAIN_WIDTH, lines: int = TABLE_LINES) -> list[Text]:
    """The verdict table in at most ``lines`` lines of at most ``width`` columns, as long as any way of writing it fits.

    Tried in order: words; letters with a legend; letters with the i2c-dev operations in one row.
    """
    columns = list(dict.fromkeys((row.controller, row.policy) for row in rows))
    found: list[Text] = []
    for short, merge_user in ((False, False), (True, False), (True, True)):
        found = _table(rows, columns, width, short, merge_user)
        if len(found) <= lines and all(line.cell_len <= width for line in found):
            break
    return found


def _table(
    rows: Sequence[Row], columns: list[tuple[str, str | None]], width: int, short: bool, merge_user: bool
) -> list[Text]:
    cells: dict[str, dict[tuple[str, str | None], Counter[Outcome | Verdict]]] = {}
    for row in rows:
        label = row.operation if row.buffer == USER.name and not merge_user else row.buffer
        cell = cells.setdefault(label, {}).setdefault((row.controller, row.policy), Counter())
        judgement = row.judgement
        passed = judgement.verdict is Verdict.PASS and judgement.outcome is not None
        cell[judgement.outcome if passed and judgement.outcome else judgement.verdict] += 1
    first = max(len("buffer"), *(len(label) for label in cells)) + _GAP
    each = (width - first) // len(columns) - _GAP
    lines = [
        _line([("buffer", first)] + [(controller[:each], each + _GAP) for controller, _ in columns]),
        _line([("", first)] + [((policy or "")[:each], each + _GAP) for _, policy in columns]),
    ]
    if not any(policy for _, policy in columns):
        lines.pop()
    for line in lines:
        line.stylize("bold")
    lines.append(Text("-" * min(width, first + (each + _GAP) * len(columns))))
    for label, row_cells in cells.items():
        packed = [_pack(row_cells.get(column, Counter()), each, short) for column in columns]
        for number in range(max(len(cell) for cell in packed)):
            parts: list[tuple[str | Text, int]] = [(label if number == 0 else "", first)]
            parts += [(cell[number] if number < len(cell) else "", each + _GAP) for cell in packed]
            lines.append(_line(parts))
    if short:
        used = {what for row_cells in cells.values() for cell in row_cells.values() for what in cell}
        lines.append(Text(", ".join(f"{_WORDS[what][1]} {what}" for what in _WORDS if what in used), "dim"))
    return lines


def _pack(cell: Mapping[Outcome | Verdict, int], width: int, short: bool) -> list[Text]:
    """A cell's counts on as few lines of ``width`` as they need, the worst first."""
    lines: list[Text] = []
    for what in _WORDS:
        if not cell.get(what):
            continue
        token = _Token(what, cell[what]).text(short)
        if lines and lines[-1].cell_len + 1 + token.cell_len <= width:
            lines[-1].append(" ").append_text(token)
        else:
            lines.append(token)
    return lines


def _line(parts: Iterable[tuple[str | Text, int]]) -> Text:
    """The parts, each at the column where the widths before it end; no blanks at the end of the line."""
    line = Text()
    column = 0
    for part, width in parts:
        if part:
            line.append(" " * (column - line.cell_len))
            line.append_text(part if isinstance(part, Text) else Text(part))
        column += width
    return line


# ---- what needs words


def _failures(results: Results) -> Iterator[Text]:
    failed = [row for row in results.rows if row.judgement.verdict is Verdict.FAIL]
    for row in failed[:FAILURES_IN_FULL]:
        judgement = row.judgement
        yield Text.assemble(("FAIL", _STYLE[Verdict.FAIL]), " ", (one_line(row.id), "bold"))
        happened = (str(judgement.outcome), _STYLE[judgement.outcome] if judgement.outcome else "")
        yield Text.assemble(f"  expected {judgement.expected}, happened ", happened)
        yield Text(f"  why: {one_line(judgement.why)}")
        if judgement.splats:
            yield from _first_splat(judgement.splats)
        yield Text()
    rest = Counter(
        (row.judgement.expected, row.judgement.outcome, general(row.judgement.why)) for row in failed[FAILURES_IN_FULL:]
    )
    for (expected, outcome, why), count in rest.most_common(REASONS_SHOWN):
        style = _STYLE[Verdict.FAIL]
        yield Text.assemble(
            (f"FAIL {count:,} more", style), f": expected {expected}, happened {outcome}: {one_line(why)}"
        )
    if len(rest) > REASONS_SHOWN:
        yield Text(f"and {plural(len(rest) - REASONS_SHOWN, 'other kind')} of FAIL: see results.json")


def _first_splat(splats: Sequence[Splat]) -> Iterator[Text]:
    splat = splats[0]
    more = f" (and {plural(len(splats) - 1, 'splat')} more)" if len(splats) > 1 else ""
    reporter = " ".join(part for part in (splat.driver, splat.device) if part)
    yield Text(f"  splat: {splat.splat_class}: " + one_line(f"{reporter}: {splat.message}".removeprefix(": ")) + more)
    if whom := blamed(splat):
        yield Text(f"  blame: {one_line(whom)}")
    elif splat.function or splat.file:
        place = f"{splat.file}:{splat.line}" if splat.file else ""
        yield Text(f"  reported in: {one_line(f'{splat.function or str()} {place}')}")


# The verdicts that are summarised by reason, the most urgent first.
_REASONED = (Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.SKIP)


def _reasons(rows: Sequence[Row], verdict: Verdict) -> Iterator[Text]:
    """One line for each reason of ``verdict``: how many rows, why, and which."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.judgement.verdict is verdict:
            groups.setdefault(general(row.judgement.why), []).append(row)
    ordered = sorted(groups.values(), key=len, reverse=True)
    for group in ordered[:REASONS_SHOWN]:
        whys = {row.judgement.why for row in group}
        why = whys.pop() if len(whys) == 1 else general(group[0].judgement.why)
        buffers = list(dict.fromkeys(row.buffer for row in group))
        which = ", ".join(buffers) if verdict is Verdict.SKIP and len(buffers) <= 4 else f"first {group[0].id}"
        yield Text.assemble((f"{verdict} {len(group):,}", _STYLE[verdict]), f": {one_line(why)} ({one_line(which)})")
    if len(ordered) > REASONS_SHOWN:
        yield Text(f"and {plural(len(ordered) - REASONS_SHOWN, 'other reason')} for {verdict}: see results.json")


def _title(results: Results) -> str:
    kernel = results.kernel
    title = f"{results.suite} on {results.target}: Linux {kernel.release} {kernel.arch}, configuration {kernel.config}"
    return one_line(f"{title}, accelerator {results.accel}" if results.accel else title)


def _counts_line(results: Results) -> Text:
    line = Text(f"{plural(len(results.rows), 'scenario')}: ")
    for number, (verdict, count) in enumerate(counts(results).items()):
        line.append(", " if number else "")
        line.append(f"{count:,} {verdict}", _STYLE[verdict] if count else "dim")
    line.append(f"; {_canary(results)}", "" if results.canary_splatted else _STYLE[Verdict.INCONCLUSIVE])
    return line


def _canary(results: Results) -> str:
    if results.canary_splatted:
        return "the canary splatted"
    ran = any(row.judgement.outcome is not None for row in results.rows)
    return "the canary did NOT splat" if ran else "no canary was run, as nothing was"


def _times(results: Results) -> str:
    """Each stage that took time worth telling, with its seconds; without stages the durations of the contract."""
    told = [stage for stage in results.stages if stage.seconds >= STAGE_WORTH_TELLING_S]
    named = [(stage.name, stage.seconds) for stage in told] or [
        (name, seconds)
        for name, seconds in (("boot", results.boot_s), ("scenarios", results.scenarios_s))
        if seconds is not None
    ]
    return ", ".join(f"{one_line(name)} {seconds:.1f} s" for name, seconds in (*named, ("total", results.total_s)))


def _where(directory: Path) -> str:
    """``out/latest``, and the directory behind it, if that is where the link points."""
    latest = directory.parent / "latest"
    if latest.is_symlink() and latest.resolve() == directory.resolve():
        return f"{latest}/ (now {directory.name})"
    return f"{directory}/"
