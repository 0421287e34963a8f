# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change brings: the C files that differ from a revision, or that a patch touches, before and after it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dmasafe import scratch
from dmasafe.check.tree import CheckError, kernel_root
from dmasafe.errors import os_sentence

_TOUCHED = re.compile(rb"(?m)^(?:\+\+\+|---) [ab]/([^\t\n\r]+)")
_CREATED = re.compile(rb"(?m)^--- /dev/null[^\n]*\n\+\+\+ b/([^\t\n\r]+)")
_HUNK = re.compile(rb"@@ -(\d{1,7})(?:,(\d{1,7}))? \+(\d{1,7})(?:,(\d{1,7}))? @@(.*)")
_ENCODED = re.compile(rb"(?mi)^Content-Transfer-Encoding:[ \t]*(?:quoted-printable|base64)")
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
        text = _decoded(patch.read_bytes())
    except OSError as error:
        raise CheckError(os_sentence("read", patch, error)) from error
    named = sorted({found.decode(errors="replace") for found in _TOUCHED.findall(text)})
    names = [name for name in named if name.endswith((".c", ".h")) and not name.startswith("/") and ".." not in name]
    if not names:
        raise CheckError(
            f"{patch} changes no C file: name a patch in git's format (git format-patch, or a mailbox of them)"
        )
    # A patch names files as seen from the top, wherever below it somebody is.
    root = kernel_root(base) or base
    made = _applied(text, names, root)
    if isinstance(made, str):
        created = {found.decode(errors="replace") for found in _CREATED.findall(text)}
        missing = [name for name in names if not (root / name).is_file() and name not in created]
        rest = [name for name in names if name not in missing]
        known = _applied(text, rest, root) if rest and missing else Change({}, {})
        if not missing or isinstance(known, str):
            why = known if isinstance(known, str) else made
            raise CheckError(f"{patch} does not apply to {root}, nor does its reverse: {why}")
        shown = _fragments(text, missing)
        made = Change({**known.before, **shown.before}, {**known.after, **shown.after})

    def seen(contents: Mapping[str, bytes]) -> dict[str, bytes]:
        return {os.path.relpath(root / name, base): data for name, data in contents.items()}

    return Change(seen(made.before), seen(made.after))


def _decoded(data: bytes) -> bytes:
    """A patch as git reads it: mails may be encoded, or have the line ends of mails."""
    if _ENCODED.search(data):
        import email

        parts = []
        for mail in re.split(rb"(?m)^From (?=\S+ .*\d{4}$)", data):
            found = email.message_from_bytes(mail.partition(b"\n")[2] if not mail.startswith(b"From:") else mail)
            payloads = [one.get_payload(decode=True) for one in found.walk() if not one.is_multipart()]
            parts += [one for one in payloads if isinstance(one, bytes)]
        data = b"\n".join(parts)
    return data.replace(b"\r\n", b"\n")


def _applied(text: bytes, names: list[str], root: Path) -> Change | str:
    """What the patch makes of the files ``names``, or has made; why not, if it applies in neither direction."""
    only = [word for name in names for word in ("--include", name)]
    with scratch.directory() as copies:
        for name in names:
            if (root / name).is_file():
                (copies / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, copies / name)
        here = _contents(copies, names)
        failed = ""
        for way in ([], ["-R"]):
            done = _run(copies, "apply", "--whitespace=nowarn", *way, *only, "-", text=text)
            if done.returncode == 0:
                there = _contents(copies, names)
                return Change(here, there) if not way else Change(there, here)
            failed = failed or done.stderr.decode(errors="replace").strip().splitlines()[-1]
    return failed


def _fragments(text: bytes, names: list[str]) -> Change:
    """What a patch shows of files that are not here, at its lines; what it says a hunk is in begins a function."""
    shown: tuple[dict[str, list[bytes]], ...] = ({}, {})
    current, left = "", [0, 0]
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        hunk = _HUNK.match(line)
        if hunk is not None and current in names:
            places, left = [int(hunk[1]), int(hunk[3])], [int(hunk[2] or 1), int(hunk[4] or 1)]
            first = next((one[1:] for one in lines[number + 1 : number + 9] if one[1:].strip()), b"")
            # What begins in the first column is in no function.
            heading = hunk[5].strip() if first[:1].isspace() else b""
            for side, place in enumerate(places):
                _begin(shown[side].setdefault(current, []), place, heading)
        elif not any(left) or line[:1] not in (b"", b" ", b"+", b"-", b"\t"):
            left = [0, 0]
            if (touched := _TOUCHED.match(line)) is not None:
                current = touched[1].decode(errors="replace")
        else:
            for side, sign in enumerate((b"-", b"+")):
                if left[side] and line[:1] in (b" ", b"", sign):
                    shown[side][current].append(line[1:])
                    left[side] -= 1
    before, after = ({name: b"\n".join(kept) + b"\n" for name, kept in one.items()} for one in shown)
    return Change(before, after)


def _begin(lines: list[bytes], place: int, heading: bytes) -> None:
    """Go on at line ``place``, from 1, of a file of which ``lines`` are known."""
    room = place - 1 - len(lines)
    if room <= 0:
        return
    # What was open ends, and is no part of what follows.
    lines += [b"}", *[b""] * (room - 1)] if room > 1 else [b""]
    if room > 2 and heading.endswith((b")", b",")) and not heading.startswith((b"#", b"struct ")):
        lines[-1] = heading + (b" {" if heading.endswith(b")") else b" ...) {")


def _contents(directory: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names if (directory / name).is_file()}


def _git(base: Path, *words: str) -> bytes:
    done = _run(base, *words)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CheckError(f"git {words[0]} failed in {base}: {said[0] if said else done.returncode}")
    return done.stdout


def _run(base: Path, *words: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # A patch is applied as outside of any repository, wherever temporary files are.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(base.parent)} if words[0] == "apply" else None
    try:
        return subprocess.run(
            ["git", "-C", str(base), *words],
            input=text,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckError(f"git could not be run: {error}") from error
