# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe`` as a user types it, without a Python of its own for each line: a tenth of the time."""

import contextlib
import io
import os
import sys
from typing import NamedTuple
from unittest import mock

from dmasafe.cli import main


class Done(NamedTuple):
    """What came of a command; the names are those of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


def dmasafe(*words, environment=None, stdin=""):
    """Run one command through the installed program's entry point."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with (
        mock.patch.object(sys, "argv", ["dmasafe", *map(str, words)]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")),
        mock.patch.dict(os.environ, environment or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Done(status, *texts)
