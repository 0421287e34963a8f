# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a check: searched for words, and read where a word is, until no wrapper brings a new word.

A file without such a word is never parsed. A wrapper that is found becomes a word: all files are searched for it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from ahocorasick_rs import BytesAhoCorasick

from dmasafe import atomic
from dmasafe.check.extract import parse_pieces
from dmasafe.check.facts import FileFacts
from dmasafe.check.flow import Program
from dmasafe.check.sinks import COPIES, SINKS, WORDS
from dmasafe.check.source import MAX_BYTES, Source
from dmasafe.errors import DmasafeError, os_sentence

_INCLUDE = re.compile(rb'(?m)^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]{1,200})"|<([^>\n]{1,200})>)')
_FIRST = WORDS | {name for sink in SINKS for name in sink.bus_init}
#: A tree in which wrappers call each other deeper than this is not one.
_MOST_ROUNDS = 24
_MOST_INCLUDED = 400
#: Names of primitive types: nobody defines them as structs.
_PRIMITIVE = re.compile(
    r"(?:unsigned |signed |const |long |short )*(?:int|char|long|short|void|bool|double|float|_Bool"
    r"|(?:__)?[us](?:8|16|32|64)|__[lb]e(?:16|32|64)|u?int(?:8|16|32|64|ptr)_t|size_t|ssize_t|dma_addr_t|phys_addr_t|loff_t|gfp_t|uint|ulong|acpi_handle|unsigned)"
)
#: How a use of %s looks, and a definition.
_CALLED = rb"\b(?:%s)\b"
_SLOT = rb"(?:->|\.)(?:%s)[ \t]*\("
_STRUCT = rb"\b(?:struct|union)\s+(?:%s)\s*(?:__\w+\s*)?\{|\}\s*(?:%s)\s*;"
_DEFINED = re.compile(rb"\b(?:struct|union)\s+(\w+)\s*(?:__\w+\s*)?\{|\}\s*(\w+)\s*;")
_FUNCTION = rb"(?m)^(?:[A-Za-z_][\w \t*]*[ \t*])?(?:%s)\((?![^\n]*;)"
_NAME = re.compile(r"[A-Za-z_]\w{2,}")
#: Structs of function pointers that the kernel's cores call: what they hand over is the core's business.
_CORE = re.compile(r"(?:^|/)include/")


class CheckError(DmasafeError):
    """A source cannot be read."""


class _Kept(msgspec.Struct):
    """The cache of one scope."""

    words: list[str]
    files: dict[str, FileFacts]


@dataclass
class Tree:
    """Files by the names that results give them. ``root``: the kernel's tree, where <linux/...> is, if there is one.

    ``given``: contents that replace files, or are files that do not exist.
    """

    names: list[str]
    base: Path
    root: Path | None
    given: Mapping[str, bytes] = field(default_factory=dict)
    facts: dict[str, FileFacts] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    files_read: int = 0
    bytes_read: int = 0
    pieces: int = 0
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._searched: dict[str, int] = {}
        self._scope = set(self.names)
        self._including: set[tuple[str, str]] = set()
        self._grown: set[str] = set()
        self._empty: set[str] = set()
        self._defines: dict[str, frozenset[str]] = {}

    # ---- reading

    def data(self, name: str) -> bytes:
        """What file ``name`` holds. Raises CheckError."""
        if name in self.given:
            return self.given[name]
        path = self.base / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CheckError(os_sentence("read", path, error)) from error
        return data

    def _read(self, name: str) -> bytes:
        data = self.data(name)
        self.files_read += 1
        self.bytes_read += len(data)
        if len(data) > MAX_BYTES:
            if name not in self.skipped:
                self.skipped.append(name)
            return b""
        return data

    def _extract(self, name: str, source: Source, places: Iterable[int]) -> None:
        """Read the pieces that have something at ``places``."""
        facts = self.facts.setdefault(name, FileFacts())
        starts = {source.piece(at) for at in places} - facts.done
        if starts:
            self.pieces += len(starts)
            self._grown.add(name)
            parse_pieces(source, starts, facts, name.endswith(".h"))

    # ---- the rounds

    def solve(self) -> Program:
        """Read what is needed, and find all wrappers. Raises CheckError."""
        if not self.words:
            self.words = sorted(_FIRST)
        while True:
            # While files are still being read, a function may be looked at before a struct that it needs is known.
            # What is returned was made of everything at once, in one order: it does not depend on when what was read.
            for facts in self.facts.values():
                facts.sort()
            program = Program(self.facts)
            program.update(sorted(self.facts))
            if not self._grow(program):
                return program

    def _grow(self, program: Program) -> bool:
        """Read what ``program`` makes wanted, until it wants nothing more; False if it wanted nothing at all."""
        pieces = self.pieces
        for _ in range(_MOST_ROUNDS):
            self._search_all()
            # What one file alone knows of is cheap: all of it, before all files are searched again.
            for _inner in range(_MOST_ROUNDS):
                if self._grown:
                    grown, self._grown = sorted(self._grown), set()
                    program.update(grown)
                for name, words in self._wanted(program).items():
                    self._extract_named(name, words, _CALLED)
                self._search_slots(program)
                self._find_structs(program)
                if not self._grown:
                    break
            fresh = sorted(set(self._global_words(program)) - set(self.words))
            self.words.extend(fresh)
            if not fresh:
                break
        return self.pieces > pieces

    def _search_all(self) -> None:
        """Search each file for the words that it was not yet searched for."""
        machines: dict[int, tuple[list[str], BytesAhoCorasick]] = {}
        total = len(self.words)
        for name in self.names:
            begin = self._searched.get(name, 0)
            if begin == total:
                continue
            self._searched[name] = total
            if begin not in machines:
                words = self.words[begin:]
                machines[begin] = words, BytesAhoCorasick([word.encode() for word in words])
            if name in self._empty:
                continue
            data = self._read(name)
            if name.endswith(".h") and b"inline" not in data:
                # No code: macros do nothing by themselves.
                self._empty.add(name)
                continue
            found = machines[begin][1].find_matches_as_indexes(data, overlapping=True)
            if found:
                source = Source(data)
                places = [at for _number, at in source.places(found)]
                if places:
                    self._extract(name, source, places)

    def _wanted(self, program: Program) -> dict[str, set[str]]:
        """Words by the file in which alone they are looked for: wrappers that only it can call."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for path, name in program.wrappers():
            if program.function((path, name)).local:
                wanted[path].add(name)
        return wanted

    def _global_words(self, program: Program) -> Iterator[str]:
        for key in program.wrappers():
            if not program.function(key).local and key[1] not in COPIES and _NAME.fullmatch(key[1]):
                yield key[1]

    def _search_slots(self, program: Program) -> None:
        """Members of structs of function pointers that hold a wrapper: calls through them, in the same directories."""
        slots: dict[str, set[str]] = defaultdict(set)
        for path, name in program.wrappers():
            for tag, member in program.tables_of(name, path):
                found = program.struct(tag, path) if tag else None
                if found is None or _CORE.search(found[0]) or not _NAME.fullmatch(member):
                    continue
                slots[_directory(found[0])].add(member)
                slots[_directory(path)].add(member)
        for name in self.names if slots else ():
            words = slots.get(_directory(name))
            if words:
                self._extract_named(name, {f"->{word}" for word in words}, _SLOT)

    def _find_structs(self, program: Program) -> None:
        """Look where structs are defined that something is a member of: in what the files include."""
        for path, names in program.unread.items():
            self._extract_named(path, {f"{name}()" for name in names}, _FUNCTION)
        program.unread.clear()
        by_file: dict[str, set[str]] = defaultdict(set)
        for tag, paths in program.missing.items():
            if tag.isidentifier() and not _PRIMITIVE.fullmatch(tag):
                for path in paths:
                    if (tag, path) not in self._including:
                        self._including.add((tag, path))
                        by_file[path].add(tag)
        wanted: dict[str, set[str]] = defaultdict(set)
        for path, names in by_file.items():
            wanted[path] |= names
            for header in self._included(path):
                if known := names & self._defined(header):
                    wanted[header] |= known
        for name, names in wanted.items():
            self._extract_named(name, {f"struct {tag}" for tag in names}, _STRUCT)

    def _defined(self, header: str) -> frozenset[str]:
        """The structs that a header defines."""
        if header not in self._defines:
            found = _DEFINED.findall(self._read(header))
            self._defines[header] = frozenset((one or other).decode(errors="replace") for one, other in found)
        return self._defines[header]

    def _extract_named(self, name: str, words: set[str], form: bytes) -> None:
        """Read the pieces of a file that ``form`` finds for ``words``, which it was not yet searched for."""
        facts = self.facts.setdefault(name, FileFacts())
        fresh = sorted(words - facts.asked)
        if not fresh:
            return
        facts.asked.update(fresh)
        source = Source(self._read(name))
        joined = b"|".join(re.escape(re.sub(r"^struct |^->|\(\)$", "", word).encode()) for word in fresh)
        pattern = re.compile(form.replace(b"%s", joined))
        self._extract(name, source, [match.start() for match in pattern.finditer(source.data)])

    def _included(self, name: str) -> list[str]:
        """The headers that a file includes, with those that these include from beside them."""
        found: dict[str, None] = {}
        waiting = [(name, 0)]
        while waiting and len(found) < _MOST_INCLUDED:
            current, depth = waiting.pop(0)
            for header, own in self._includes(current):
                if header not in found:
                    found[header] = None
                    if own and depth < 2:
                        waiting.append((header, depth + 1))
        return list(found)

    def _includes(self, name: str) -> list[tuple[str, bool]]:
        """The headers that a file names, and whether it does so in quotes: those are the driver's own."""
        cached = self._include_cache.get(name)
        if cached is None:
            cached = []
            general = os.path.relpath(self.root / "include", self.base) if self.root is not None else None
            for quoted, angled in _INCLUDE.findall(self.data(name)[: 1 << 16]):
                header = (quoted or angled).decode(errors="replace")
                places = [os.path.normpath(f"{_directory(name) or '.'}/{header}")] if quoted else []
                if general is not None:
                    places.append(os.path.normpath(f"{general}/{header}"))
                for place in places:
                    if place in self._scope or (self.base / place).is_file():
                        cached.append((place, bool(quoted)))
                        break
            self._include_cache[name] = cached
        return cached

    _include_cache: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)

    # ---- the cache

    def load(self, cache: Path) -> None:
        """Take from ``cache`` what was known of files that are still the same."""
        try:
            kept = msgspec.msgpack.decode(cache.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError, RecursionError):
            return
        self.words = list(kept.words)
        total = len(self.words)
        empty = FileFacts()
        for name in [*self.names, *(other for other in kept.files if other not in self._scope)]:
            known = kept.files.get(name, empty)
            if known.size >= 0 and name not in self.given and _stamp(self.base / name) == (known.size, known.changed):
                self._searched[name] = total
                if known.done or known.asked:
                    self.facts[name] = known

    def save(self, cache: Path) -> None:
        """Keep what is known. A cache that cannot be written is none. Files without a word are kept by their stamp."""
        files: dict[str, FileFacts] = {}
        for name in dict.fromkeys([*self.names, *self.facts]):
            if name not in self.given:
                facts = self.facts.get(name) or FileFacts()
                facts.size, facts.changed = _stamp(self.base / name)
                files[name] = facts
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            with atomic.publish(cache) as made:
                made.write_bytes(msgspec.msgpack.encode(_Kept(self.words, files)))
        except OSError:
            return


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def kernel_root(path: Path) -> Path | None:
    """The kernel's tree that ``path`` lies in."""
    for directory in (path, *path.parents):
        if (directory / "include" / "linux").is_dir() and (directory / "Makefile").is_file():
            return directory
    return None


def c_files(path: Path) -> Iterator[Path]:
    """The C files at or below ``path``, in order. Raises CheckError."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise CheckError(f"cannot read {path}: there is no such file or directory")
    for directory, directories, files in os.walk(path):
        directories[:] = sorted(one for one in directories if not one.startswith("."))
        for name in sorted(files):
            if name.endswith((".c", ".h")) and not name.endswith(".mod.c"):
                yield Path(directory, name)


def version(base: str, names: list[str]) -> str:
    """The name of a cache: what it depends on besides the files' contents, the code that reads them included."""
    digest = hashlib.sha256("\0".join((base, *names)).encode(errors="replace"))
    for part in ("extract", "facts", "sinks", "source", "tree"):
        digest.update(Path(__file__).with_name(f"{part}.py").read_bytes())
    return digest.hexdigest()[:20]
