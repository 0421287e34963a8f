# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of a run, onto the disk and onto the screen: what the commands share that boot something."""

from __future__ import annotations

import functools
from pathlib import Path

from dmasafe.cli.output import Output
from dmasafe.report import ReportError, detection, directory, json_report, terminal
from dmasafe.report.directory import Log
from dmasafe.report.formats import formats
from dmasafe.report.results import Results, exit_status
from dmasafe.targets.interrupt import interrupt_deferred

RESULT_FORMATS = ("table", "json", *formats(), "markdown")


def show_results(output: Output, results: Results, directory: Path | None, unsaved: str | None = None) -> None:
    """Write the results of a run, which lie in ``directory``, in one of RESULT_FORMATS. Raises ReportError.

    ``unsaved`` says why they are not there, or not whole.
    """
    output.show(
        table=lambda: terminal.report(results, directory, output.width, unsaved),
        json=lambda: json_report.render(results),
        markdown=lambda: detection.markdown([results]),
        **{name: functools.partial(each.render, results) for name, each in formats().items()},
    )


def conclude(results: Results, out: Path, console_log: Log, kmsg_log: Log, output: Output) -> int:
    """A run's results onto the disk, then on the screen: what is called a PASS is safe. Returns the exit status.

    Ctrl-C could only lose what was measured: it waits. Raises ReportError.
    """
    with interrupt_deferred():
        try:
            published = directory.publish(results, out, console_log, kmsg_log)
        except ReportError as error:
            show_results(output, results, None, str(error))
            raise
        show_results(output, results, published)
    return exit_status(results)
