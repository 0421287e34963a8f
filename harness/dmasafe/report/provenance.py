# SPDX-License-Identifier: GPL-2.0-or-later
"""Where results come from: which dmasafe, which QEMU, which machine, which command line."""

from __future__ import annotations

import contextlib
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from dmasafe.architecture import project_root

_GIT_S = 10
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
_PROCESSOR = re.compile(r"^(?:model name|cpu model|cpu|uarch|machine)\s*:\s*(.+)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Tool:
    """The harness; ``revision`` is the commit of its checkout, with ``-dirty`` if that is changed, None without one."""

    version: str
    revision: str | None


@dataclass(frozen=True)
class Host:
    """The machine that the run was on; ``accelerator`` is QEMU's."""

    distribution: str
    processor: str
    accelerator: str | None


@dataclass(frozen=True)
class Provenance:
    """``qemu`` is its version, None where there was none. ``command`` is the command line, without passwords."""

    dmasafe: Tool
    qemu: str | None
    host: Host
    command: str


def provenance(accelerator: str | None, qemu: str | None) -> Provenance:
    """That of a run of this process."""
    command = shlex.join(["dmasafe", *sys.argv[1:]])
    host = Host(_distribution(), _processor(), accelerator)
    return Provenance(_tool(), qemu, host, _PASSWORD.sub("...@", command))


@cache
def _tool() -> Tool:
    revision = None
    if (project_root() / ".git").exists():
        command = ["git", "-C", str(project_root()), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)
            revision = done.stdout.strip() or None
    try:
        return Tool(metadata.version("dmasafe"), revision)
    except metadata.PackageNotFoundError:
        return Tool("unknown", revision)


@cache
def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


@cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        if found := _PROCESSOR.search(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")):
            return " ".join(found[1].split())
    return platform.machine()
