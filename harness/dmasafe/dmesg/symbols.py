# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames to source lines, with the kernel that printed them: symbol tables by pyelftools, lines by addr2line.

A frame is function+offset in an object: where KASLR or the module loader put it does not matter. One addr2line
process reads each section of an object once, however many frames are asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from dmasafe.architecture import architecture_names, read_architecture
from dmasafe.outcome import Frame, Splat

# The longest that one addr2line may take: it reads the debug information of a whole vmlinux.
ADDR2LINE_TIMEOUT_S = 300

# Architectures without guests here, of which logs are read all the same: Debian's names of their binutils.
_FOREIGN = {"EM_MIPS": "mips-linux-gnu-", "EM_PPC": "powerpc-linux-gnu-", "EM_PPC64": "powerpc64le-linux-gnu-"}
_SHF_EXECINSTR = 4
_DISCRIMINATOR = re.compile(r" \(discriminator \d+\)$")
# A function of every kernel, and its file: what stands before it is the folder of the sources.
_LANDMARK = Frame("start_kernel", 0, None)
_LANDMARK_FILE = "/init/main.c"
# What was made for one configuration lies in its object directory.
_ABOVE_GENERATED = re.compile(r"^/.*?/(?=(?:arch/\w+/)?include/generated/)")


@dataclass(frozen=True)
class _Place:
    """One address in an object: section name and address in it (vmlinux: address in the image)."""

    section: str
    address: int


@dataclass(frozen=True)
class _Call:
    """One level of a place, innermost first; ``file`` None where there is no debug information."""

    function: str
    file: str | None
    line: int | None


@dataclass
class _Object:
    """One ELF file: where its functions are."""

    path: Path
    relocatable: bool
    machine: str
    # function -> (section, address, bytes to the next symbol), one for each static function of that name
    functions: dict[str, list[tuple[str, int, int]]] = field(default_factory=lambda: defaultdict(list))

    def place(self, frame: Frame, back: int) -> _Place | None:
        """Where a frame points, ``back`` bytes before its address; None if its function is not here, or several are."""
        if frame.offset is None:
            return None
        found = self.functions.get(frame.function, [])
        # kallsyms counts a function's size to the next symbol, as scripts/faddr2line does.
        exact = [row for row in found if row[2] == frame.size] or (found if len(found) == 1 else [])
        if len(exact) != 1 or frame.offset > max(exact[0][2], frame.size or 0):
            return None
        section, address, _ = exact[0]
        return _Place(section, address + max(0, frame.offset - back))


class Symbols:
    """The objects of one kernel: its vmlinux, and its modules by name (``i2c_virtio``) with their .ko files.

    What an object lacks (no debug information, another kernel's, not readable) leaves frames as they are.
    """

    def __init__(self, vmlinux: Path | None, modules: Mapping[str, Path]) -> None:
        self._paths: dict[str | None, Path] = {name.replace("-", "_"): path for name, path in modules.items()}
        if vmlinux is not None:
            self._paths[None] = vmlinux
        self._objects: dict[str | None, _Object | None] = {}
        self._tree = ""

    @classmethod
    def of(cls, vmlinux: Path | None, modules: Path | None) -> Symbols | None:
        """A vmlinux and all .ko files below the directory ``modules``; None without either."""
        if vmlinux is None and modules is None:
            return None
        return cls(vmlinux, {path.stem: path for path in modules.rglob("*.ko")} if modules else {})

    def resolve(self, splats: Iterable[Splat]) -> list[Splat]:
        """The splats with files and lines in their frames; an inlined call becomes a frame before its caller's."""
        splats = list(splats)
        wanted: dict[tuple[str | None, _Place], list[_Call]] = {}
        for splat in splats:
            for index, frame in enumerate(splat.frames):
                place = self._place(splat, index, frame)
                if place is not None:
                    wanted[frame.module, place] = []
        by_object: dict[str | None, list[_Place]] = defaultdict(list)
        for module, place in wanted:
            by_object[module].append(place)
        kernel = self._object(None) if by_object and not self._tree else None
        landmark = kernel.place(_LANDMARK, 0) if kernel is not None else None
        if landmark is not None:
            wanted[None, landmark] = []
            by_object[None].append(landmark)
        for module, places in by_object.items():
            found = self._objects[module]
            if found is not None:
                for place, calls in _addr2line(found, places).items():
                    wanted[module, place] = calls
        if landmark is not None:
            calls = wanted[None, landmark]
            file = calls[-1].file if calls else None
            if file is not None and file.endswith(_LANDMARK_FILE):
                self._tree = file.removesuffix(_LANDMARK_FILE[1:])
        return [self._resolved(splat, wanted) for splat in splats]

    def _resolved(self, splat: Splat, known: Mapping[tuple[str | None, _Place], Sequence[_Call]]) -> Splat:
        frames: list[Frame] = []
        for index, frame in enumerate(splat.frames):
            place = self._place(splat, index, frame)
            calls = known.get((frame.module, place), ()) if place is not None else ()
            if not calls or calls[-1].file is None:
                frames.append(frame)
                continue
            *inlined, own = calls
            frames += [
                Frame(
                    call.function,
                    module=frame.module,
                    reliable=frame.reliable,
                    file=self._in_tree(call.file),
                    line=call.line,
                )
                for call in inlined
            ]
            frames.append(replace(frame, file=self._in_tree(own.file), line=own.line))
        return replace(splat, frames=tuple(frames))

    def _in_tree(self, file: str | None) -> str | None:
        """A file of the kernel's by its path in the source tree, as WARNING lines name it; any other as it is."""
        return _ABOVE_GENERATED.sub("", file.removeprefix(self._tree), count=1) if file is not None else None

    def _place(self, splat: Splat, index: int, frame: Frame) -> _Place | None:
        found = self._object(frame.module)
        # A trace holds return addresses, one byte past the call: its line can be the next statement's. The first frame
        # is the address of the trap itself.
        trap = index == 0 and frame.function == splat.function
        return found.place(frame, 0 if trap else 1) if found is not None and frame.file is None else None

    def _object(self, module: str | None) -> _Object | None:
        if module not in self._objects:
            path = self._paths.get(module)
            self._objects[module] = _read_object(path) if path is not None else None
        return self._objects[module]


def known_as(frame: Frame, places: Mapping[str, str]) -> Frame:
    """The frame with its file by the path that the user knows.

    ``places`` maps beginnings of paths to what stands for them; one that is not absolute may have any before it.
    """
    for written, known in places.items():
        before, found, rest = (frame.file or "").partition(written)
        if found and not (before and written.startswith("/")):
            return replace(frame, file=known + rest)
    return frame


def _read_object(path: Path) -> _Object | None:
    """The functions of an ELF file, None if it cannot be read as one."""
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            found = _Object(path, elf["e_type"] == "ET_REL", str(elf["e_machine"]))
            names = [section.name for section in elf.iter_sections()]
            code = {index for index, section in enumerate(elf.iter_sections()) if section["sh_flags"] & _SHF_EXECINSTR}
            ends = {index: elf.get_section(index)["sh_addr"] + elf.get_section(index)["sh_size"] for index in code}
            table = elf.get_section_by_name(".symtab")
            symbols = [
                (symbol["st_shndx"], symbol["st_value"], symbol.name, symbol["st_info"]["type"])
                for symbol in (table.iter_symbols() if isinstance(table, SymbolTableSection) else ())
                if symbol["st_shndx"] in code
            ]
    except (OSError, ELFError, ValueError, KeyError, AttributeError, UnicodeError):
        return None
    starts: dict[int, list[int]] = defaultdict(list)
    for section, address, name, _ in symbols:
        if name and not name.startswith(("$", ".L")):
            starts[section].append(address)
    for section in starts:
        starts[section] = sorted(set(starts[section]))
    for section, address, name, kind in symbols:
        if kind in ("STT_FUNC", "STT_NOTYPE") and name:
            following = starts[section]
            index = bisect_right(following, address)
            end = following[index] if index < len(following) else ends[section]
            found.functions[name].append((names[section], address, end - address))
    return found


@cache
def _prefix(elf: str) -> str:
    """What goes before ``addr2line`` for this e_machine: a binutils of one machine reads no other's objects."""
    rows = (read_architecture(name) for name in architecture_names())
    return next((row.kernel["cross_compile"] for row in rows if row.elf == elf), _FOREIGN.get(elf, ""))


def _addr2line(found: _Object, places: Sequence[_Place]) -> dict[_Place, list[_Call]]:
    """The calls at each place; empty lists where the tool is missing or fails."""
    tool = shutil.which(f"{_prefix(found.machine)}addr2line") or shutil.which("llvm-addr2line")
    tool = tool or shutil.which("addr2line")
    by_section: dict[str, list[_Place]] = defaultdict(list)
    for place in places:
        # An address of vmlinux is one of the whole image; a module has an address space for each section.
        by_section[place.section if found.relocatable else ""].append(place)
    calls: dict[_Place, list[_Call]] = {}
    for section, wanted in by_section.items() if tool is not None else ():
        command = [str(tool), "-a", "-f", "-i", "-e", str(found.path), *(["-j", section] if section else [])]
        addresses = "".join(f"{place.address:#x}\n" for place in wanted)
        try:
            done = subprocess.run(
                command, input=addresses, capture_output=True, text=True, errors="replace", timeout=ADDR2LINE_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        for place, block in zip(wanted, _blocks(done.stdout), strict=False):
            calls[place] = block
    return calls


def _blocks(output: str) -> list[list[_Call]]:
    """What addr2line -a -f -i prints: an address, then a function and a place for each level of inlining."""
    blocks: list[list[_Call]] = []
    lines = iter(output.splitlines())
    for line in lines:
        if line.startswith("0x"):
            blocks.append([])
        elif blocks:
            blocks[-1].append(_call(line, next(lines, "??:?")))
    return blocks


def _call(function: str, place: str) -> _Call:
    file, _, line = _DISCRIMINATOR.sub("", place).rpartition(":")
    if file in ("", "??") or not line.isdigit() or line == "0":
        return _Call(function, None, None)
    return _Call(function, os.path.normpath(file), int(line))
