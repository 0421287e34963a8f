# SPDX-License-Identifier: GPL-2.0-or-later
"""Where results lie: out/<UTC timestamp>-<suite>[-n]/, and the link out/latest to the newest complete one.

A directory is filled under a hidden name and renamed when it is whole, then the link is replaced: whoever follows
out/latest finds all files of one run.
"""

from __future__ import annotations

import re
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from dmasafe import atomic
from dmasafe.report import ReportError, json_report
from dmasafe.report.files import failure, write_bytes, write_text
from dmasafe.report.formats import formats
from dmasafe.report.results import Results

LATEST = "latest"
RESULTS_JSON = "results.json"
CONSOLE_LOG = "console.log"
KMSG_LOG = "kmsg.log"

Log = str | bytes | Path
"""A log as text, as bytes, or as the file that holds it (one that does not exist is an empty log)."""


def prepare(root: Path) -> None:
    """Find out, before a run takes its minutes, whether its results can be published below ``root`` (made if missing).

    Raises ReportError.
    """
    _check_latest(root / LATEST)
    _staging(root).rmdir()


def publish(
    results: Results, root: Path, console_log: Log = "", kmsg_log: Log = "", now: datetime | None = None
) -> Path:
    """Write everything into a new directory below ``root`` and point ``root``/latest at it; returns the directory.

    ``now`` (UTC; the clock's time if None) names it. Raises ReportError; nothing half-written is left then.
    """
    _check_latest(root / LATEST)
    staging = _staging(root)
    try:
        write_all(results, staging, console_log, kmsg_log)
        directory = _rename(staging, root, _name(results.suite, now or datetime.now(UTC)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _point(root / LATEST, directory.name)
    return directory


def file_names() -> tuple[str, ...]:
    """What a directory of results has; results.json is there last."""
    return (CONSOLE_LOG, KMSG_LOG, *(each.FILE for each in formats().values()), RESULTS_JSON)


def write_all(results: Results, directory: Path, console_log: Log = "", kmsg_log: Log = "") -> None:
    """Write the files of file_names() into ``directory``. Raises ReportError."""
    _write_log(directory / CONSOLE_LOG, console_log)
    _write_log(directory / KMSG_LOG, kmsg_log)
    for each in formats().values():
        write_text(directory / each.FILE, each.render(results))
    # Last: where results.json is, the others are.
    json_report.write(results, directory / RESULTS_JSON)


def _name(suite: str, now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%SZ}-{re.sub(r'[^A-Za-z0-9._-]+', '-', suite)}"


def _write_log(path: Path, log: Log) -> None:
    if isinstance(log, str):
        write_text(path, log)
        return
    if isinstance(log, Path):
        try:
            content = log.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise failure("read", log, error) from error
    else:
        content = log
    write_bytes(path, content)


def _staging(root: Path) -> Path:
    staging = root / f".unfinished-{secrets.token_hex(4)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
    except OSError as error:
        raise failure("write results below", root, error) from error
    return staging


def _rename(staging: Path, root: Path, name: str) -> Path:
    """Give ``staging`` its final name, with -2, -3, ... if runs of the same second took it (rename() never merges)."""
    number = 1
    while True:
        directory = root / (name if number == 1 else f"{name}-{number}")
        try:
            if atomic.adopt(staging, directory):
                return directory
        except OSError as error:
            raise failure("write", directory, error) from error
        number += 1


def _check_latest(latest: Path) -> None:
    if latest.exists() and not latest.is_symlink():
        what = "directory" if latest.is_dir() else "file"
        raise ReportError(f"{latest} is a {what}, not the link that dmasafe makes there: move it away")


def _point(latest: Path, name: str) -> None:
    """Make ``latest`` a link to its neighbour ``name``; there is no moment without a link."""
    try:
        with atomic.publish(latest) as made:
            made.symlink_to(name)
    except OSError as error:
        raise failure("replace the link", latest, error) from error
