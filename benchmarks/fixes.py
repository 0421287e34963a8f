# SPDX-License-Identifier: GPL-2.0-or-later
"""Buffers that left the stack, or were annotated in their struct, between two kernels: found by text, not by results.

python -m benchmarks.fixes OLD NEW [NEWER]...      trees; prints file, function, sink, buffer, and what is handed now
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dmasafe.check.sinks import CALLS, MEMBERS

DIRECTORIES = ("arch", "crypto", "drivers", "fs", "net", "sound")
_CALLS = {
    name: first.argument for name, (first, *_) in CALLS.items() if not (first.weak or first.bus_init or first.needless)
}
_MEMBERS = frozenset({name for struct, name in MEMBERS if struct in ("spi_transfer", "urb")})
_CALLED = re.compile(rf"\b(\w+)\s*\(|(?:\.|->)({'|'.join(_MEMBERS)})\s*=\s*(?!=)")
_DEEPEST = 4
_BODY = re.compile(r"(?m)^\{\n((?:[^}\n][^\n]*\n|\n)*)\}")
_CAST = re.compile(r"^\(\s*(?:const\s+)?(?:unsigned\s+|struct\s+)?\w+\s*\**\s*\)\s*")
_NAME = re.compile(r"[A-Za-z_]\w*")


class Fix(NamedTuple):
    """``function`` of ``file`` handed ``buffer``, on its stack, to ``sink``; the later kernel's hands over ``now``.

    ``sink`` is a call or a member, or a function of the same file that hands on what it is given.
    """

    file: str
    function: str
    sink: str
    buffer: str
    now: str


class _Handed(NamedTuple):
    sink: str
    text: str
    name: str
    stack: bool


class _Function(NamedTuple):
    parameters: list[str]
    body: str
    words: frozenset[str]


def functions(text: str) -> dict[str, _Function]:
    """A file's functions."""
    made = {}
    for match in _BODY.finditer(text):
        before = re.split(r"\n\n|\n\}|;\n|\*/\n", text[max(0, match.start() - 600) : match.start()])[-1]
        head = re.match(r"[^(]*?\b(\w+)\s*\(", before)
        if head is not None:
            made[head[1]] = _Function(_arguments(before, head.end()), match[1], frozenset(_NAME.findall(match[1])))
    return made


def wrappers(found: dict[str, _Function]) -> dict[str, int]:
    """The sinks that a file can call, with the argument's index: the table's, and its functions that hand one on."""
    sinks = dict(_CALLS)
    for _ in range(_DEEPEST):
        before = len(sinks)
        for name, function in found.items():
            if name in sinks or (sinks.keys() | _MEMBERS).isdisjoint(function.words):
                continue
            pointers = {
                parameter.split()[-1].lstrip("*"): number
                for number, parameter in enumerate(function.parameters)
                if "*" in parameter and _NAME.search(parameter)
            }
            for one in handed(function, sinks) if pointers else ():
                if one.name in pointers and "->" not in one.text and not re.search(rf"\b{one.name}\s*=", function.body):
                    sinks[name] = pointers[one.name]
        if len(sinks) == before:
            break
    return sinks


def handed(function: _Function, sinks: dict[str, int]) -> list[_Handed]:
    """What a function hands to sinks by itself."""
    made: list[_Handed] = []
    if (sinks.keys() | _MEMBERS).isdisjoint(function.words):
        return made
    body = function.body
    for match in _CALLED.finditer(body):
        if match[1]:
            if match[1] not in sinks:
                continue
            arguments = _arguments(body, match.end())
            text = arguments[sinks[match[1]]] if len(arguments) > sinks[match[1]] else ""
        else:
            text = re.split(r"[,;}]", body[match.end() :], maxsplit=1)[0]
        text = bare = " ".join(text.split())
        while (cast := _CAST.match(bare)) is not None:
            bare = bare[cast.end() :]
        address, bare = bare.startswith("&"), bare.lstrip("&( ")
        name = _NAME.match(bare)
        if name is None or name[0] in ("NULL", "sizeof"):
            continue
        stack = "->" not in bare and _on_stack(body, name[0], address, "." in bare)
        made.append(_Handed(match[1] or match[2], text, name[0], stack))
    return made


def _arguments(body: str, at: int) -> list[str]:
    depth, start, made = 1, at, []
    for number in range(at, min(len(body), at + 2000)):
        char = body[number]
        depth += (char in "([{") - (char in ")]}")
        if depth == 0 or (depth == 1 and char == ","):
            made.append(body[start:number])
            start = number + 1
        if depth == 0:
            break
    return made


def _on_stack(body: str, name: str, address: bool, member: bool) -> bool:
    """Whether a variable is the function's own array, or what ``address`` is taken of."""
    for line in re.finditer(
        rf"(?m)^[ \t]+((?:(?:const|unsigned|struct|volatile|static)\s+)*\w+)\s+([^;(){{}}:]*?\b{name}\b[^;]*);", body
    ):
        if line[1].split()[0] in ("return", "goto", "static", "else", "case", "extern"):
            continue
        declared = re.search(rf"(\*\s*(?:const\s+)?)?\b{name}\b\s*(\[)?", re.sub(r"=[^,;]*", "", line[2]))
        if declared is not None and declared[1] is None:
            return address or (declared[2] is not None and not member)
    return False


def compared(old: str, new: str, file: str) -> Iterator[Fix]:
    """The fixes between two states of one file."""
    before, after = functions(old), functions(new)
    old_sinks, new_sinks = wrappers(before), wrappers(after)
    for name in sorted(before.keys() & after.keys()):
        was = [one for one in handed(before[name], old_sinks) if one.stack]
        now = handed(after[name], new_sinks) if was else []
        left = [one.name for one in now if one.stack]
        moved = [one for one in was if one.name not in left]
        if moved and len(left) < len(was):
            others = [one.text for one in now if not one.stack]
            yield Fix(file, name, moved[0].sink, moved[0].text, others[0] if others else "-")
    for member in sorted(_annotated(new, _FOR_DMA) - _annotated(old, _FOR_DMA)):
        # It was a member before: of a cache line's length at best, which is less than ARCH_DMA_MINALIGN.
        if member not in _annotated(old, _FOR_CACHE) and not re.search(
            rf"(?m)^\t\w[^\n(=]*\b{member}\[[^\n;]*\];", old
        ):
            continue
        for name, function in before.items():
            handing = next((one for one in handed(function, _CALLS) if _is_member(one.text, member)), None)
            if handing is not None:
                yield Fix(file, name, handing.sink, f"->{member}", "annotated")
                break


_FOR_DMA = re.compile(r"\b(\w+)(?:\[[^;]*\])*\s*__aligned\((?:IIO|ARCH)_DMA_MINALIGN\)")
_FOR_CACHE = re.compile(r"\b(\w+)(?:\[[^;]*\])*\s*____cacheline_aligned")


def _annotated(text: str, how: re.Pattern[str]) -> set[str]:
    return set(how.findall(text)) if "MINALIGN" in text or "cacheline_aligned" in text else set()


def _is_member(text: str, member: str) -> bool:
    return re.search(rf"->{member}\b", text) is not None


def between(old: Path, new: Path) -> Iterator[Fix]:
    """The fixes between two trees, in files that both have."""
    words = "\n".join([*_CALLS, *_MEMBERS])
    # Bytes: a locale makes grep many times slower.
    listed = subprocess.run(
        ["grep", "-rlwF", "--include=*.c", words, *DIRECTORIES],
        cwd=old, env={"LC_ALL": "C"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for file in sorted(listed.stdout.split()):
        later = new / file
        if later.is_file():
            text, after = (path.read_text(errors="replace") for path in (old / file, later))
            if text != after:
                yield from compared(text, after, file)


if __name__ == "__main__":
    for first, second in itertools.pairwise(sys.argv[1:]):
        for fix in between(Path(first), Path(second)):
            print("\t".join((first, second, *fix)))
