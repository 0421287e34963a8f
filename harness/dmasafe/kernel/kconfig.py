# SPDX-License-Identifier: GPL-2.0-or-later
"""Why did a symbol not take, and what would make it? A modest reader of a kernel tree's Kconfig files.

It knows what a symbol depends on and what selects it; the kernel's own conf decides, before and afterwards.
(kconfiglib 14.1 stops at 7.2's `transitional` keyword, and the kernel's tools print no reasons.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

_BLOCK_ENDS = {"endmenu": "menu", "endchoice": "choice", "endif": "if"}
_TYPED = re.compile(r'^(?:bool|tristate|string|int|hex|prompt)\s+("(?:[^"\\]|\\.)*"|\'[^\']*\')\s*(?:if\s+(.*))?$')
_TOKEN = re.compile(r'\s*(&&|\|\||!=|<=|>=|[!()=<>]|"[^"]*"|\'[^\']*\'|\$\((?:[^()]|\([^()]*\))*\)|[\w.-]+)')
_LEVELS = {"n": 0, "m": 1, "y": 2}
SUGGESTIONS = 3
#: How far enabling() goes from a symbol to what it depends on.
MAX_DEPTH = 6
#: A symbol, or an operator with what it joins.
Expression: TypeAlias = "str | tuple[Any, ...]"


@dataclass
class _Definition:
    """One ``config`` entry: where it stands and the conditions around and in it."""

    place: str
    depends: list[str] = field(default_factory=list)
    prompt: bool = False
    prompt_if: list[str] = field(default_factory=list)
    selects: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Kconfig:
    """All symbols of a tree, for one architecture."""

    definitions: Mapping[str, list[_Definition]]


def read_kconfig(tree: Path, srcarch: str) -> Kconfig:
    """Read the tree's Kconfig files, starting at the top one."""
    definitions: dict[str, list[_Definition]] = {}
    variables = {"SRCARCH": srcarch, "ARCH": srcarch, "srctree": str(tree)}
    _read_file(tree, "Kconfig", variables, [], definitions)
    return Kconfig(definitions)


def why_not(kconfig: Kconfig, symbol: str, wanted: str, values: Mapping[str, str]) -> str:
    """Why ``symbol`` (without CONFIG_) is not ``wanted`` ("y", "m", "n", a string): a clause for a sentence.

    ``values`` are the .config's (symbols that are not there are n).
    """
    found = kconfig.definitions.get(symbol)
    if not found:
        close = get_close_matches(symbol, kconfig.definitions, SUGGESTIONS)
        meant = f" (did you mean {', '.join(close)}?)" if close else ""
        return f"this tree's Kconfig does not have it{meant}"
    if wanted == "n":
        selectors = [
            name
            for name, entries in kconfig.definitions.items()
            for entry in entries
            for selected, condition in entry.selects
            if selected == symbol and _level(values.get(name, "n")) > 0 and evaluate(condition, values) > 0
        ]
        if selectors:
            return f"it is selected by {', '.join(sorted(set(selectors)))}"
        return f"nothing selects it, but it has no prompt that is visible here ({found[0].place})"
    reasons = []
    for entry in found:
        unmet = [clause for text in entry.depends for clause in _clauses(text) if evaluate(clause, values) == 0]
        if unmet:
            missing = sorted({name for clause in unmet for name in symbols_in(clause)})
            states = ", ".join(f"{name} is {values.get(name, 'n')}" for name in missing)
            reasons.append(f"it depends on {' && '.join(unmet)} ({entry.place}), and {states}")
        elif not entry.prompt:
            reasons.append(f"it has no prompt ({entry.place}): enable what selects it{_selectors(kconfig, symbol)}")
        elif any(evaluate(text, values) == 0 for text in entry.prompt_if):
            reasons.append(f"its prompt needs {' && '.join(entry.prompt_if)} ({entry.place})")
    return "; ".join(reasons) or f"its dependencies are met ({found[0].place}): another choice or a default won"


def _selectors(kconfig: Kconfig, symbol: str) -> str:
    names = sorted(
        name
        for name, entries in kconfig.definitions.items()
        if any(selected == symbol for entry in entries for selected, _ in entry.selects)
    )
    return f" ({', '.join(names[:SUGGESTIONS])}{', ...' if len(names) > SUGGESTIONS else ''})" if names else ""


def enabling(
    kconfig: Kconfig, symbol: str, values: Mapping[str, str], preferred: Collection[str] = ()
) -> dict[str, str] | None:
    """What has to be set beside ``values`` so that ``symbol`` can be: symbols and values, the shortest way found.

    What the symbol depends on and, where it has no prompt, one symbol that selects it: a ``preferred`` one if it can
    be. None if the reader finds no way. The symbol itself is among them if it can be set.
    """
    if any(entry.prompt for entry in kconfig.definitions.get(symbol, ())):
        return _enable(kconfig, symbol, values, frozenset())
    ways = []
    for name, entries in kconfig.definitions.items():
        # Unconditional selections only: a condition can be anything.
        if any((symbol, "") in entry.selects for entry in entries):
            way = _enable(kconfig, name, values, frozenset())
            if way is not None:
                ways.append((name not in preferred, len(way), name, way))
    return min(ways)[-1] if ways else None


def _enable(kconfig: Kconfig, symbol: str, values: Mapping[str, str], above: frozenset[str]) -> dict[str, str] | None:
    """enabling() of a symbol with a prompt; ``above`` are those on whose behalf it is asked."""
    if _level(values.get(symbol, "n")) > 0:
        return {}
    if symbol in above or len(above) >= MAX_DEPTH:
        return None
    ways = []
    for entry in kconfig.definitions.get(symbol, ()):
        if entry.prompt:
            conditions = [parse_expression(text) for text in (*entry.depends, *entry.prompt_if)]
            needs = _all(kconfig, conditions, values, above | {symbol})
            if needs is not None:
                ways.append({**needs, symbol: "y"})
    return min(ways, key=len, default=None)


def _all(
    kconfig: Kconfig, expressions: Sequence[Expression], values: Mapping[str, str], above: frozenset[str]
) -> dict[str, str] | None:
    """What makes all of the expressions true."""
    found: dict[str, str] = {}
    for expression in expressions:
        needs = _satisfy(kconfig, expression, {**values, **found}, above)
        if needs is None:
            return None
        found |= needs
    return found


def _satisfy(
    kconfig: Kconfig, expression: Expression, values: Mapping[str, str], above: frozenset[str]
) -> dict[str, str] | None:
    if _result(expression, values) > 0:
        return {}
    match expression:
        case ("&&", left, right):
            return _all(kconfig, [left, right], values, above)
        case ("||", *sides):
            ways = [_satisfy(kconfig, side, values, above) for side in sides]
            return min((way for way in ways if way is not None), key=len, default=None)
        case ("=", str(name), "y"):
            return _enable(kconfig, name, values, above)
        case str(name):
            return _enable(kconfig, name, values, above)
    # Nothing is switched off for the sake of another symbol.
    return None


def parse_expression(text: str) -> Expression:
    """A Kconfig expression as nested tuples: ("&&", left, right), ("!", of), ("=", "A", "y"), "A"; "y" if empty."""
    tokens = _TOKEN.findall(text)
    position = 0

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    def take() -> str:
        nonlocal position
        position += 1
        return tokens[position - 1] if position <= len(tokens) else ""

    def either() -> Expression:
        value = both()
        while peek() == "||":
            take()
            value = ("||", value, both())
        return value

    def both() -> Expression:
        value = single()
        while peek() == "&&":
            take()
            value = ("&&", value, single())
        return value

    def single() -> Expression:
        token = take()
        if token == "!":
            return ("!", single())
        if token == "(":
            value = either()
            take()
            return value
        if peek() in ("=", "!=", "<", ">", "<=", ">="):
            return (take(), token, take())
        return token

    return either() if tokens else "y"


def evaluate(text: str, values: Mapping[str, str]) -> int:
    """A Kconfig expression's value: 0 (n), 1 (m), 2 (y). What the reader cannot know (a shell macro) counts as y."""
    return _result(parse_expression(text), values)


def _result(expression: Expression, values: Mapping[str, str]) -> int:
    match expression:
        case ("||", left, right):
            return max(_result(left, values), _result(right, values))
        case ("&&", left, right):
            return min(_result(left, values), _result(right, values))
        case ("!", of):
            return 2 - _result(of, values)
        case (str(operator), str(left), str(right)):
            return 2 if _compare(_value(left, values), operator, _value(right, values)) else 0
        case str(token):
            return 2 if token.startswith("$") else _level(_value(token, values))
    raise AssertionError(expression)


def symbols_in(text: str) -> list[str]:
    """The symbols that an expression names."""
    return [token for token in _TOKEN.findall(text) if re.fullmatch(r"[A-Z0-9_]*[A-Z_][A-Z0-9_]*", token)]


def _value(token: str, values: Mapping[str, str]) -> str:
    if token[:1] in "\"'" or token in _LEVELS or re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", token):
        return token.strip("\"'")
    return values.get(token, "n").strip('"')


def _level(value: str) -> int:
    return _LEVELS.get(value, 2 if value else 0)


def _compare(left: str, operator: str, right: str) -> bool:
    if operator == "=":
        return left == right
    if operator == "!=":
        return left != right
    try:
        low, high = int(left, 0), int(right, 0)
    except ValueError:
        return False
    return {"<": low < high, ">": low > high, "<=": low <= high, ">=": low >= high}[operator]


def _clauses(text: str) -> Iterator[str]:
    """The parts of a conjunction, split where no parenthesis is open; one part if an || stands outside of any."""
    depth, start, parts = 0, 0, []
    for match in re.finditer(r"&&|\|\||[()]", text):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
        elif depth == 0 and match[0] == "||":
            yield text.strip()
            return
        elif depth == 0:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    yield from [*parts, text[start:].strip()]


def _read_file(
    tree: Path, name: str, variables: dict[str, str], outer: list[str], definitions: dict[str, list[_Definition]]
) -> None:
    path = tree / name
    if not path.is_file():
        return
    # (kind, conditions): the blocks that are open; a menu's or choice's own "depends on" joins its conditions.
    blocks: list[tuple[str, list[str]]] = [("file", list(outer))]
    entry: _Definition | None = None
    for number, line in _logical_lines(path):
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        conditions = [text for _, texts in blocks for text in texts]
        if word in ("config", "menuconfig") and rest:
            entry = _Definition(f"{name}:{number}", list(conditions))
            definitions.setdefault(rest, []).append(entry)
        elif word in ("menu", "choice", "if", "comment"):
            entry = None
            if word != "comment":
                blocks.append((word, [rest] if word == "if" else []))
        elif word in _BLOCK_ENDS:
            entry = None
            if len(blocks) > 1:
                blocks.pop()
        elif word in ("source", "rsource", "osource", "orsource"):
            target = _expand(rest.strip("\"'"), variables)
            base = Path(name).parent if word.startswith(("r", "or")) else Path()
            _read_file(tree, str(base / target), variables, conditions, definitions)
        elif word == "depends" and rest.startswith("on "):
            (entry.depends if entry is not None else blocks[-1][1]).append(_expand(rest[3:].strip(), variables))
        elif entry is not None and word in ("select", "imply"):
            selected, _, condition = rest.partition(" if ")
            if word == "select":
                entry.selects.append((selected.strip(), condition.strip()))
        elif entry is not None and (match := _TYPED.match(line)):
            entry.prompt = True
            if match[2]:
                entry.prompt_if.append(match[2])
        elif (match := re.match(r"^([\w-]+)\s*:?=\s*(.*)$", line)) and entry is None:
            variables.setdefault(match[1], match[2])


def _logical_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, continuations joined; help texts (told by their indentation) and comments left out."""
    help_indent: int | None = None
    in_help = False
    joined, first = "", 0
    for number, raw in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        text = raw.expandtabs()
        indent = len(text) - len(text.lstrip())
        if in_help:
            if not text.strip():
                continue
            if help_indent is None and indent > 0:
                help_indent = indent
            if help_indent is not None and indent >= help_indent:
                continue
            in_help, help_indent = False, None
        first = first or number
        joined += text.strip()
        if joined.endswith("\\"):
            joined = joined[:-1].rstrip() + " "
            continue
        line, start = joined, first
        joined, first = "", 0
        if line in ("help", "---help---"):
            in_help = True
        elif line and not line.startswith("#"):
            yield start, re.sub(r"\s+#.*$", "", line)


def _expand(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$\(([\w-]+)\)|\$(\w+)", lambda m: variables.get(m[1] or m[2], m[0]), text)
