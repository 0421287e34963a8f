# SPDX-License-Identifier: GPL-2.0-or-later
"""Where results lie: out/<UTC timestamp>-<suite>[-n]/, and the link out/latest to the newest complete one.

A directory is filled under a hidden name and renamed when it is whole, then the link is replaced: whoever follows
out/latest finds all files of one run.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dmasafe import atomic
from dmasafe.report import ReportError, json_report
from dmasafe.report.files import failure, write_bytes, write_text
from dmasafe.report.formats import Format, formats
from dmasafe.report.results import Results

LATEST = "latest"
RESULTS_JSON = "results.json"
CONSOLE_LOG = "console.log"
KMSG_LOG = "kmsg.log"


class Incomplete(ReportError):
    """results.json was written, another file was not."""


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

    ``now`` (UTC; the clock's time if None) names it. Raises ReportError: Incomplete if results.json is there and
    another file is not, which says where; otherwise nothing is left.
    """
    _check_latest(root / LATEST)
    staging = _staging(root)
    missing: Incomplete | None = None
    try:
        try:
            write_all(results, staging, console_log, kmsg_log)
        except Incomplete as error:
            missing = error
        directory = _rename(staging, root, _name(results.suite, now or datetime.now(UTC)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _point(root / LATEST, directory.name)
    if missing is not None:
        text = str(missing).replace(str(staging), str(directory))
        raise Incomplete(f"{text}; {RESULTS_JSON} is complete in {directory}/") from missing
    return directory


def publish_texts(texts: Mapping[str, str], root: Path, name: str) -> Path:
    """Write these files into a new directory below ``root`` and point ``root``/latest at it. Raises ReportError."""
    _check_latest(root / LATEST)
    staging = _staging(root)
    try:
        for file, text in texts.items():
            write_text(staging / file, text)
        directory = _rename(staging, root, _name(name, datetime.now(UTC)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _point(root / LATEST, directory.name)
    return directory


def file_names() -> tuple[str, ...]:
    """What a directory of results has, what counts most first."""
    return (RESULTS_JSON, *(each.FILE for each in formats().values()), CONSOLE_LOG, KMSG_LOG)


def write_all(results: Results, directory: Path, console_log: Log = "", kmsg_log: Log = "") -> None:
    """Write the files of file_names() into ``directory``. Raises ReportError: Incomplete if results.json is there."""
    json_report.write(results, directory / RESULTS_JSON)
    failed: list[ReportError] = []
    for write in (
        *(partial(_write_format, results, each, directory) for each in formats().values()),
        partial(_write_log, directory / CONSOLE_LOG, console_log),
        partial(_write_log, directory / KMSG_LOG, kmsg_log),
    ):
        # Each by itself: on a full disk a smaller one may have room.
        try:
            write()
        except ReportError as error:
            failed.append(error)
    if failed:
        raise Incomplete(str(failed[0]))


def _write_format(results: Results, form: Format, directory: Path) -> None:
    write_text(directory / form.FILE, form.render(results))


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
