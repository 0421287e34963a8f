# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change brings: the C files that differ from a revision, or that a patch touches, before and after it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dmasafe import scratch
from dmasafe.check.tree import CheckError
from dmasafe.errors import os_sentence

_TOUCHED = re.compile(rb"(?m)^(?:\+\+\+|---) [ab]/([^\t\n\r]+)")
_GIT_TIMEOUT_S = 300


@dataclass(frozen=True)
class Change:
    """Contents by name, relative to the base; a file is missing in ``before`` (``after``) if it is new (deleted)."""

    before: dict[str, bytes]
    after: dict[str, bytes]


def change_of(what: str, base: Path) -> Change:
    """The change since revision ``what``, or that the patch in file ``what`` makes. Raises CheckError."""
    return _of_patch(Path(what), base) if Path(what).is_file() else _of_revision(what, base)


def _of_revision(revision: str, base: Path) -> Change:
    if revision.startswith("-"):
        raise CheckError(f"'{revision}' is neither a revision nor a file: name a commit or a patch")
    listed = _git(base, "diff", "--name-only", "-z", "--relative", "--no-renames", revision, "--")
    names = [name.decode(errors="replace") for name in listed.split(b"\0") if name.endswith((b".c", b".h"))]
    known = (
        set(_git(base, "ls-tree", "-r", "-z", "--name-only", revision, "--", *names).split(b"\0")) if names else set()
    )
    before = {name: _git(base, "show", f"{revision}:./{name}") for name in names if name.encode() in known}
    return Change(before, {name: (base / name).read_bytes() for name in names if (base / name).is_file()})


def _of_patch(patch: Path, base: Path) -> Change:
    try:
        text = patch.read_bytes()
    except OSError as error:
        raise CheckError(os_sentence("read", patch, error)) from error
    names = sorted({found.decode(errors="replace") for found in _TOUCHED.findall(text)})
    names = [name for name in names if name.endswith((".c", ".h")) and not name.startswith("/") and ".." not in name]
    if not names:
        raise CheckError(
            f"{patch} changes no C file: name a patch in git's format (git format-patch, or a mailbox of them)"
        )
    only = [word for name in names for word in ("--include", name)]
    with scratch.directory() as copies:
        for name in names:
            if (base / name).is_file():
                (copies / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(base / name, copies / name)
        here = _contents(copies, names)
        failed = ""
        for way in ([], ["-R"]):
            done = _run(copies, "apply", "--whitespace=nowarn", *way, *only, str(patch.resolve()))
            if done.returncode == 0:
                there = _contents(copies, names)
                return Change(here, there) if not way else Change(there, here)
            failed = failed or done.stderr.decode(errors="replace").strip().splitlines()[-1]
    raise CheckError(f"{patch} does not apply to {base}, nor does its reverse: {failed}")


def _contents(directory: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names if (directory / name).is_file()}


def _git(base: Path, *words: str) -> bytes:
    done = _run(base, *words)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CheckError(f"git {words[0]} failed in {base}: {said[0] if said else done.returncode}")
    return done.stdout


def _run(base: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    # A patch is applied as outside of any repository, wherever temporary files are.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(base.parent)} if words[0] == "apply" else None
    try:
        return subprocess.run(
            ["git", "-C", str(base), *words], capture_output=True, timeout=_GIT_TIMEOUT_S, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckError(f"git could not be run: {error}") from error
