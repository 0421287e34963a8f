# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build knows better: libclang reads a file as KDIR compiles it, and says what macros and types decide.

Functions that are not compiled drop out, structs have their true layout, and calls that a macro or a typedef hid
from extract.py are judged if their argument is a variable.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dmasafe.audit import SHARED_LINE, Level
from dmasafe.check.flow import Origin
from dmasafe.check.judge import HANDED_OVER, CheckResult, Step, result_of
from dmasafe.check.sinks import BREAKS, CALLS, UNSAFE, Sink
from dmasafe.check.tree import CheckError, Tree
from dmasafe.errors import os_sentence

#: What a file's end says of the lines that DMA shares: the larger of two macros, if there are such.
_LINE = """
#ifndef L1_CACHE_BYTES
#define L1_CACHE_BYTES 64
#endif
#ifndef ARCH_DMA_MINALIGN
#define ARCH_DMA_MINALIGN 1
#endif
enum { dmasafe_line = ARCH_DMA_MINALIGN > L1_CACHE_BYTES ? ARCH_DMA_MINALIGN : L1_CACHE_BYTES };
"""
_SAVED = re.compile(r"(?m)^(?:saved)?cmd_\S+ := (.*)$")
_KEPT = re.compile(r"-[IDU].|-std=|-nostdinc|-fshort-wchar|-funsigned-char|--target=|-m(?:32|64)$")
_WITH_WORD = frozenset({"-include", "-isystem", "-idirafter", "-I", "-D"})
#: A compiler for another machine has its name.
_TARGET = re.compile(r"(?:.*/)?([a-z0-9_]+(?:-[a-z0-9_]+){1,3})-gcc(?:-\d+)?$")
_DEEPEST = 40


@dataclass(frozen=True)
class Command:
    """How KDIR compiles a file: ``own`` is False if it is how it compiles another one."""

    arguments: list[str]
    own: bool


def decide(tree: Tree, results: list[CheckResult], kdir: Path, kernel: str) -> list[CheckResult]:
    """``results`` and more, as the build in ``kdir`` has the files of ``tree``. Raises CheckError."""
    clang = _clang()
    if not kdir.is_dir():
        raise CheckError(f"cannot read {kdir}: there is no such directory")
    index = clang.Index.create()
    made = [one for one in results if one.file not in tree.facts or not one.file.endswith(".c")]
    for name in sorted(name for name in tree.facts if name in tree.names and name.endswith(".c")):
        mine = [one for one in results if one.file == name]
        path = (tree.base / name).resolve()
        command = _command(path, kdir.resolve(), tree.root)
        unit = _parsed(index, clang, path, tree.data(name), command, name)
        made += _Unit(clang, unit, str(path), name, command).decided(mine, kernel)
    return sorted(made, key=lambda one: (one.file, one.line, one.name, one.rule))


def _clang() -> Any:
    try:
        from clang import cindex
    except ImportError as error:
        raise CheckError(
            "--precise needs libclang: pip install 'dmasafe[precise]', or Debian's python3-clang"
        ) from error
    try:
        cindex.Index.create()
    except cindex.LibclangError as error:
        raise CheckError(f"--precise needs libclang: {str(error).splitlines()[0]}") from error
    return cindex


def _command(path: Path, kdir: Path, root: Path | None) -> Command:
    """The command that made the object of ``path``; of a file that was not built, that of one that was."""
    inside = path.relative_to(root) if root is not None and path.is_relative_to(root) else None
    places = [kdir / inside.parent / f".{path.stem}.o.cmd"] if inside is not None else []
    places.append(path.with_name(f".{path.stem}.o.cmd"))
    own = next((place for place in places if place.is_file()), None)
    found = own or next(_commands(kdir, inside), None)
    if found is None:
        raise CheckError(f"{kdir} has no .o.cmd files: name the directory that a kernel was built in")
    try:
        match = _SAVED.search(found.read_text(errors="replace"))
        words = shlex.split(match[1].partition(" ; ")[0]) if match is not None else []
    except OSError as error:
        raise CheckError(os_sentence("read", found, error)) from error
    except ValueError as error:
        raise CheckError(f"{found} is no command: {error}") from error
    arguments = [f"-working-directory={kdir}"]
    for number, word in enumerate(words):
        if word in _WITH_WORD and number + 1 < len(words):
            arguments += [word, words[number + 1]]
        elif _KEPT.match(word) and (own is not None or "KBUILD_" not in word):
            arguments.append(word)
    if own is None:
        arguments += ['-DKBUILD_MODNAME="x"', '-DKBUILD_BASENAME="x"', "-D__KBUILD_MODNAME=x", f"-I{path.parent}"]
    if words and (target := _TARGET.match(words[0])) is not None:
        arguments.append(f"--target={target[1]}")
    return Command([*arguments, "-w", "-ferror-limit=0"], own is not None)


def _commands(kdir: Path, inside: Path | None) -> Iterator[Path]:
    """Commands of drivers, the nearest to ``inside`` first."""
    for directory in (*(inside.parents if inside is not None else ()), Path("drivers"), Path("lib")):
        if (kdir / directory).is_dir() and directory != Path():
            yield from sorted(kdir.glob(f"{directory}/**/.[!.]*.o.cmd"))


def _parsed(index: Any, clang: Any, path: Path, data: bytes, command: Command, name: str) -> Any:
    given = [(str(path), data.decode(errors="replace") + _LINE)]
    try:
        unit = index.parse(str(path), command.arguments, given)
    except clang.TranslationUnitLoadError as error:
        raise CheckError(f"libclang cannot read {name}") from error
    fatal = next((one for one in unit.diagnostics if one.severity >= clang.Diagnostic.Fatal), None)
    if fatal is not None:
        raise CheckError(f"libclang cannot read {name} as KDIR compiles it: {fatal.spelling}")
    return unit


class _Unit:
    """One file, as it is compiled."""

    def __init__(self, clang: Any, unit: Any, path: str, name: str, command: Command) -> None:
        self.kind, self.types, self.storage = clang.CursorKind, clang.TypeKind, clang.StorageClass
        self.name, self.command = name, command
        self.functions: dict[str, Any] = {}
        self.structs: dict[str, Any] = {}
        self.line = 64
        for cursor in unit.cursor.get_children():
            kind = cursor.kind
            if kind == self.kind.STRUCT_DECL and cursor.is_definition():
                self.structs[cursor.spelling] = cursor
            elif kind == self.kind.ENUM_DECL:
                self.line = next(
                    (one.enum_value for one in cursor.get_children() if one.spelling == "dmasafe_line"), self.line
                )
            elif kind == self.kind.FUNCTION_DECL and cursor.is_definition():
                file = cursor.location.file
                if file is not None and file.name == path:
                    self.functions[cursor.spelling] = cursor

    def decided(self, results: list[CheckResult], kernel: str) -> list[CheckResult]:
        made = []
        for one in results:
            if self.command.own and one.function not in self.functions:
                continue
            decided = self.laid_out(one) if one.rule == SHARED_LINE else one
            if decided is not None:
                made.append(decided)
        known = {(one.line, one.sink) for one in results}
        for function in self.functions.values():
            made += [one for one in self.hidden(function, kernel) if (one.line, one.sink) not in known]
        return made

    def laid_out(self, result: CheckResult) -> CheckResult | None:
        """A buffer inside a struct, with its true neighbours; None if it has none."""
        tag, _, member = result.name.removeprefix("struct ").partition(".")
        struct = self.structs.get(tag)
        if struct is None:
            return result
        line = self.line
        fields = {one.spelling: one for one in struct.type.get_fields()}
        buffer = fields.get(member)
        if buffer is None:
            return result
        begin = buffer.get_field_offsetof() // 8
        end = begin + max(buffer.type.get_size(), 1)
        # Where in a line a struct begins that is not aligned to one, nobody knows.
        certain = struct.type.get_align() >= line
        first, last = (begin // line * line, -(-end // line) * line) if certain else (begin - line + 1, end + line - 1)
        beside = [
            name
            for name, one in fields.items()
            if name != member
            and not self.bytes_(one.type)
            and one.get_field_offsetof() // 8 < last
            and one.get_field_offsetof() // 8 + max(one.type.get_size(), 1) > first
        ]
        if not beside:
            return None if certain else result
        shown = f"{', '.join(beside[:4])}{' and others' if len(beside) > 4 else ''}"
        shares = "shares" if certain else "can share"
        place = f"bytes {begin} to {end - 1}" if end - begin > 1 else f"byte {begin}"
        where = f"at {place} of struct {tag}, {shares} lines of {line} bytes with {shown}"
        return replace(result, why=f"{member}, {where}")

    def bytes_(self, kind: Any) -> bool:
        """Whether a type is another buffer, or nothing at all."""
        kind = kind.get_canonical()
        return kind.get_size() <= 0 or (self.array_type(kind) and kind.get_array_element_type().get_size() == 1)

    def hidden(self, function: Any, kernel: str) -> Iterator[CheckResult]:
        """Calls of sinks with a variable's address, whatever they look like in the source."""
        waiting = [function]
        while waiting:
            cursor = waiting.pop()
            waiting.extend(cursor.get_children())
            if cursor.kind != self.kind.CALL_EXPR:
                continue
            for sink in CALLS.get(cursor.spelling, ()):
                arguments = list(cursor.get_arguments())
                if sink.argument < len(arguments) and not (sink.bus_init or sink.runs) and sink.exists_in(kernel):
                    found = self.memory(arguments[sink.argument])
                    if found is not None and found[0] not in sink.takes:
                        yield self.result(function, cursor, sink, *found)

    def result(self, function: Any, call: Any, sink: Sink, memory: str, variable: Any) -> CheckResult:
        line = call.location.line
        name = variable.spelling if variable is not None else "a string literal"
        origin = Origin(memory, name, self.name, variable.location.line if variable is not None else line)
        level = Level.NOTE if sink.weak else Level.WARNING if sink.depends else Level.ERROR
        why = f"{name} is {UNSAFE[memory]}: it {BREAKS[memory]}"
        key = (self.name, function.spelling)
        steps = (
            Step(self.name, origin.line, function.spelling, f"{name} is declared"),
            Step(self.name, line, function.spelling, sink.word),
        )
        return result_of(HANDED_OVER, level, key, line, origin, sink, why, steps)

    def memory(self, cursor: Any, depth: int = 0) -> tuple[str, Any] | None:
        """Kind of memory and variable that a pointer points at, None if it is not known."""
        inner = list(cursor.get_children())
        kind = cursor.kind
        if depth > _DEEPEST:
            return None
        if kind == self.kind.STRING_LITERAL:
            return "rodata", None
        if kind in (self.kind.DECL_REF_EXPR, self.kind.MEMBER_REF_EXPR) and self.array(cursor):
            return self.object(cursor, depth)
        if kind == self.kind.UNARY_OPERATOR and inner:
            pointee = cursor.type.get_canonical().get_pointee()
            if pointee.get_canonical() == inner[0].type.get_canonical():
                return self.object(inner[0], depth)
            return None
        if kind == self.kind.BINARY_OPERATOR and inner:
            return self.memory(inner[0], depth + 1)
        if kind in (self.kind.UNEXPOSED_EXPR, self.kind.PAREN_EXPR, self.kind.CSTYLE_CAST_EXPR) and inner:
            return self.memory(inner[-1], depth + 1)
        return None

    def array(self, cursor: Any) -> bool:
        return self.array_type(cursor.type.get_canonical())

    def object(self, cursor: Any, depth: int) -> tuple[str, Any] | None:
        """The variable that an lvalue lies in."""
        inner = list(cursor.get_children())
        if depth > _DEEPEST:
            return None
        if cursor.kind == self.kind.DECL_REF_EXPR:
            variable = cursor.referenced
            if variable is None or variable.kind not in (self.kind.VAR_DECL, self.kind.PARM_DECL):
                return None
            if variable.kind == self.kind.PARM_DECL and self.array(cursor):
                return None
            outside = variable.semantic_parent.kind == self.kind.TRANSLATION_UNIT
            if not outside and variable.storage_class != self.storage.STATIC:
                return "stack", variable
            element = variable.type.get_canonical()
            while self.array_type(element):
                element = element.get_array_element_type()
            return ("rodata" if element.is_const_qualified() else "module-data"), variable
        if not inner:
            return None
        if cursor.kind == self.kind.MEMBER_REF_EXPR:
            pointer = inner[0].type.get_canonical().kind == self.types.POINTER
            return None if pointer else self.object(inner[0], depth + 1)
        if cursor.kind == self.kind.ARRAY_SUBSCRIPT_EXPR:
            return self.memory(inner[0], depth + 1)
        if cursor.kind in (self.kind.UNEXPOSED_EXPR, self.kind.PAREN_EXPR):
            return self.object(inner[0], depth + 1)
        return None

    def array_type(self, kind: Any) -> bool:
        return kind.kind in (self.types.CONSTANTARRAY, self.types.INCOMPLETEARRAY, self.types.VARIABLEARRAY)
