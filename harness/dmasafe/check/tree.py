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
from dmasafe.check.extract import parse_piece
from dmasafe.check.facts import Answers, FileFacts
from dmasafe.check.flow import Program
from dmasafe.check.sinks import COPIES, ONLY_WITH_MEMORY, SINKS, WORDS
from dmasafe.check.source import MAX_BYTES, Source
from dmasafe.errors import DmasafeError, os_sentence

_INCLUDE = re.compile(rb'(?m)^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]{1,200})"|<([^>\n]{1,200})>)')
_FIRST = WORDS | ONLY_WITH_MEMORY | {name for sink in SINKS for name in sink.bus_init}
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
_MEMORY = re.compile(rb"alloc|memdup|get_free_page")
_NAME = re.compile(r"[A-Za-z_]\w{2,}")
#: Structs of function pointers that the kernel's cores call: what they hand over is the core's business.
_CORE = re.compile(r"(?:^|/)include/")


class CheckError(DmasafeError):
    """A source cannot be read."""


class _Kept(msgspec.Struct):
    """The cache of one scope: each of ``files`` in the scope was searched for ``words``."""

    words: list[str]
    files: dict[str, Answers]


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
    words: list[str] = field(default_factory=lambda: sorted(_FIRST))
    pieces: int = 0
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._scope = set(self.names)
        self._answers: dict[str, Answers] = {}
        self._kept: set[str] = set()
        self._kept_words: frozenset[str] = frozenset()
        self._searched = 0
        self._asked: dict[tuple[str, bytes], set[str]] = defaultdict(set)
        self._including: set[tuple[str, str]] = set()
        self._grown: set[str] = set()
        self._empty: set[str] = set()
        self._defines: dict[str, frozenset[str]] = {}
        self._last: tuple[str, Source] | None = None

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

    def _source(self, name: str) -> Source:
        if self._last is None or self._last[0] != name:
            data = self.data(name)
            if len(data) > MAX_BYTES:
                if name not in self.skipped:
                    self.skipped.append(name)
                data = b""
            self._last = name, Source(data)
        return self._last[1]

    def _of(self, name: str) -> Answers:
        """What file ``name`` has said. Its stamp is taken before it is read."""
        answers = self._answers.get(name)
        if answers is None:
            answers = self._answers[name] = Answers(*((-1, -1) if name in self.given else _stamp(self.base / name)))
        return answers

    def _extract(self, name: str, starts: Iterable[int]) -> None:
        """Take in the pieces of a file that begin at ``starts``."""
        facts = self.facts.get(name)
        fresh = sorted(set(starts) - facts.done if facts is not None else set(starts))
        if not fresh:
            return
        if facts is None:
            facts = self.facts[name] = FileFacts()
        pieces = self._of(name).pieces
        for start in fresh:
            if start not in pieces:
                self.pieces += 1
                pieces[start] = parse_piece(self._source(name), start, name.endswith(".h"))
            facts.add(start, pieces[start])
        self._grown.add(name)

    # ---- the rounds

    def solve(self) -> Program:
        """Read what is needed, and find all wrappers. Raises CheckError."""
        while True:
            # While files are still being read, a function may be looked at before a struct that it needs is known.
            # What is returned was made of everything at once, in one order: it does not depend on when what was read.
            program = Program(self.facts)
            program.update(sorted(self.facts))
            if not self._grow(program):
                return program

    def _grow(self, program: Program) -> bool:
        """Read what ``program`` makes wanted, until it wants nothing more; False if it wanted nothing at all."""
        grew = False
        for _ in range(_MOST_ROUNDS):
            self._search_all()
            # What one file alone knows of is cheap: all of it, before all files are searched again.
            for _inner in range(_MOST_ROUNDS):
                if self._grown:
                    grew = True
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
        return grew

    def _search_all(self) -> None:
        """Search each file for the words that it was not yet searched for, and take in the pieces that have one."""
        words, self._searched = self.words[self._searched :], len(self.words)
        if not words:
            return
        wanted = frozenset(words)
        # What was kept knows of some words already.
        asked = {False: words, True: [word for word in words if word not in self._kept_words]}
        machines = {kept: BytesAhoCorasick([word.encode() for word in some]) for kept, some in asked.items()}
        for name in self.names:
            kept = name in self._kept
            places = self._of(name).places
            if asked[kept] and name not in self._empty:
                source = self._source(name)
                if name.endswith(".h") and b"inline" not in source.data:
                    # No code: macros do nothing by themselves.
                    self._empty.add(name)
                    continue
                found = machines[kept].find_matches_as_indexes(source.data, overlapping=True)
                for number, at in source.places(found):
                    word, piece = asked[kept][number], source.piece(at)
                    if word not in ONLY_WITH_MEMORY or _MEMORY.search(source.text(piece)):
                        places.setdefault(word, []).append(piece)
            if places:
                self._extract(name, [at for word in wanted & places.keys() for at in places[word]])

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
                if found is None or _CORE.search(found[0]) or len(member) < 2 or not member.isidentifier():
                    continue
                slots[_directory(found[0])].add(member)
                slots[_directory(path)].add(member)
        for name in self.names if slots else ():
            words = slots.get(_directory(name))
            if words:
                self._extract_named(name, words, _SLOT)

    def _find_structs(self, program: Program) -> None:
        """Look where structs are defined that something is a member of: in what the files include."""
        for path, names in program.unread.items():
            self._extract_named(path, names, _FUNCTION)
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
            self._extract_named(name, names, _STRUCT)

    def _defined(self, header: str) -> frozenset[str]:
        """The structs that a header defines."""
        if header not in self._defines:
            found = _DEFINED.findall(self._source(header).data)
            self._defines[header] = frozenset((one or other).decode(errors="replace") for one, other in found)
        return self._defines[header]

    def _extract_named(self, name: str, words: set[str], form: bytes) -> None:
        """Take in the pieces of a file that ``form`` finds for ``words``, which it was not yet searched for."""
        fresh = sorted(words - self._asked[name, form])
        if not fresh:
            return
        self._asked[name, form].update(fresh)
        pattern = form.replace(b"%s", b"|".join(re.escape(word.encode()) for word in fresh))
        places = self._of(name).places
        key = pattern.decode()
        if key not in places:
            source = self._source(name)
            places[key] = [source.piece(match.start()) for match in re.finditer(pattern, source.data)]
        self._extract(name, places[key])

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
        self._kept_words = frozenset(kept.words)
        for name, answers in kept.files.items():
            stamp = answers.size, answers.changed
            if name not in self.given and answers.size >= 0 and _stamp(self.base / name) == stamp:
                self._answers[name] = answers
                self._kept.add(name)

    def save(self, cache: Path) -> None:
        """Keep what was said. A cache that cannot be written is none. Files without a word are kept by their stamp."""
        unread = {*self.given, *self.skipped, *(name for name in self.names if not _is_text(name))}
        files = {name: answers for name, answers in self._answers.items() if name not in unread}
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            with atomic.publish(cache) as made:
                made.write_bytes(msgspec.msgpack.encode(_Kept(self.words[: self._searched], files)))
        except OSError:
            return


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _is_text(name: str) -> bool:
    """Whether a file's name can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def kernel_root(path: Path) -> Path | None:
    """The kernel's tree that ``path`` lies in."""
    for directory in (path, *path.parents):
        if (directory / "include" / "linux").is_dir() and (directory / "Makefile").is_file():
            return directory
    return None


def release(root: Path | None) -> str:
    """The release of the kernel's tree ``root`` ("7.3.4"), "" if that is not known."""
    try:
        text = (root / "Makefile").read_bytes()[:1000] if root is not None else b""
    except OSError:
        text = b""
    found = [re.search(rb"(?m)^%s = (\d+)$" % name, text) for name in (b"VERSION", b"PATCHLEVEL", b"SUBLEVEL")]
    return ".".join(one[1].decode() for one in found if one is not None) if found[0] and found[1] else ""


def c_files(path: Path) -> Iterator[Path]:
    """The C files at or below ``path``, in order. Raises CheckError."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        if path.exists():
            raise CheckError(f"{path} is no file: hand over what it holds by standard input, as -")
        raise CheckError(f"cannot read {path}: there is no such file or directory")
    for directory, directories, files in os.walk(path):
        directories[:] = sorted(one for one in directories if not one.startswith("."))
        for name in sorted(files):
            if name.endswith((".c", ".h")) and not name.endswith(".mod.c"):
                yield Path(directory, name)


def cache_name(base: str, names: list[str]) -> str:
    """The name of a cache: what it depends on besides the files' contents, the code that reads them included."""
    digest = hashlib.sha256("\0".join((base, *names)).encode(errors="replace"))
    for part in ("extract", "facts", "sinks", "source", "tree"):
        digest.update(Path(__file__).with_name(f"{part}.py").read_bytes())
    return digest.hexdigest()[:20]
