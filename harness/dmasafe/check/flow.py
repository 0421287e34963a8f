# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts of many files in, flows out: which parameters reach a sink, to a fixpoint, and what memory arrives there.

A function whose parameter reaches a sink is a wrapper: its calls are sinks too, by name and through members of structs
of function pointers.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dmasafe.check.facts import (
    SIZEOF,
    Call,
    FileFacts,
    Function,
    Global,
    Guard,
    Member,
    Store,
    StructType,
    Value,
    Values,
)
from dmasafe.check.sinks import (
    ALLOCATORS,
    CALLS,
    CONTRACTS,
    COPIES,
    MEMBERS,
    NEEDLESS,
    PREDICATES,
    READ,
    SAME,
    STATE,
    UNMARKED,
    Sink,
)

#: A function of a file: the path, and its name.
Key = tuple[str, str]
#: Steps from a parameter to the buffer: members that are loaded, and with "&" those that lie in the object itself.
Path = tuple[str, ...]
_MOST_SINKS = 4
_LONGEST_PATH = 4
_DEEPEST = 12


@dataclass(frozen=True)
class Origin:
    """Where a buffer comes from: ``kind`` is a kind of memory, or param, i2c-message, contract, unknown.

    ``embedded``: struct and member, outermost first, that it lies in. ``sure``: on this path it is nothing else.
    ``kept``: some function somewhere stores it in the member that is loaded here. ``guards``: what must hold for it.
    """

    kind: str
    name: str = ""
    file: str = ""
    line: int = 0
    number: int = 0
    path: Path = ()
    embedded: tuple[tuple[str, str], ...] = ()
    sure: bool = True
    kept: bool = False
    guards: tuple[Guard, ...] = ()

    def excludes(self, other: Origin) -> bool:
        """Whether what must hold for one cannot hold for the other."""
        return any((number, text, not equal) in other.guards for number, text, equal in self.guards)


@dataclass(frozen=True)
class Use:
    """A parameter reaches ``sink`` at ``line``: by itself, or as what another function's parameter is (``via``)."""

    sink: Sink
    line: int
    via: tuple[Key, int, Path, str] | None = None
    sure: bool = True
    guards: tuple[Guard, ...] = ()

    @property
    def identity(self) -> str:
        """What two uses of one parameter differ in."""
        return f"{self.sink.word}{self.guards or ''}"


@dataclass(frozen=True)
class Arrival:
    """Memory of ``origin`` reaches ``use`` by what function ``key`` does. ``others``: what else it can be."""

    key: Key
    use: Use
    origin: Origin
    others: tuple[Origin, ...] = ()
    marked: bool = False


_UNKNOWN = Origin("unknown")
_TO_DEVICE = frozenset({"DMA_TO_DEVICE", "PCI_DMA_TODEVICE"})
_ORDERS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
Summary = dict[tuple[int, Path], dict[str, Use]]


@dataclass
class Program:
    """All that is known of a tree. ``missing``: structs that were not found, and the files that need them.

    ``unread``: functions that may be in a file, and whose return value arrives somewhere.
    """

    files: Mapping[str, FileFacts]
    summaries: dict[Key, Summary] = field(default_factory=dict)
    missing: dict[str, set[str]] = field(default_factory=dict)
    unread: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self._local: dict[Key, Function] = {}
        self._global: dict[str, list[Key]] = defaultdict(list)
        self._structs: dict[str, list[tuple[str, StructType]]] = defaultdict(list)
        self._aliases: dict[str, str] = {}
        self._globals: dict[Key, Global] = {}
        self._tables: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._assigned: dict[tuple[str, str], list[tuple[Key, Store]]] = defaultdict(list)
        self._callers: dict[str, set[Key]] = defaultdict(set)
        self._buses: dict[str, set[str]] = defaultdict(set)
        self._members: dict[tuple[str, str], dict[str, Member]] = {}
        self._returned: dict[tuple[str, str, int], list[Origin] | None] = {}
        self._filled: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._slots: dict[Key, set[tuple[str, str]]] = defaultdict(set)
        self._indexed: dict[str, tuple[int, int, int, int]] = {}
        self._loose: list[tuple[Key, Store]] = []
        self._state: dict[tuple[str, str], bool] = {}

    def update(self, paths: Iterable[str]) -> None:
        """Take in what was added to the facts of files ``paths``, and find the wrappers that this makes."""
        waiting: dict[Key, None] = {}
        callees: set[str] = set()
        self._returned.clear()
        stores: list[tuple[Key, Store]] = []
        for path in paths:
            facts = self.files[path]
            functions, structs, variables, tables = self._indexed.get(path, (0, 0, 0, 0))
            self._indexed[path] = (len(facts.functions), len(facts.structs), len(facts.globals), len(facts.tables))
            for struct in facts.structs[structs:]:
                self._structs[struct.tag].append((path, struct))
                for other in self.missing.pop(struct.tag, ()):
                    waiting.update(dict.fromkeys((other, one.name) for one in self.files[other].functions))
            self._aliases.update(facts.aliases)
            for variable in facts.globals[variables:]:
                self._globals[path, variable.name] = variable
            for tag, member, name, table in facts.tables[tables:]:
                self._put(tag, member, (path, name))
                self._filled[path, table, member].add(name)
                callees.add(member)
            for function in facts.functions[functions:]:
                key = (path, function.name)
                self._local[key] = function
                if not function.local:
                    self._global[function.name].append(key)
                callees.add(function.name)
                for call in function.calls:
                    self._callers[call.callee].add(key)
                    if "regmap_init" in call.callee:
                        self._buses[path].add(call.callee)
                stores.extend((key, store) for store in function.stores)
            waiting.update(dict.fromkeys((path, one.name) for one in facts.functions))
        self._state.clear()
        loose, self._loose = self._loose, []
        for key, store in (*loose, *stores):
            tag, member, _ = self.stored(store, key[0])
            if not tag:
                self._loose.append((key, store))
                continue
            if any(one.kind != "S" for one in store.base):
                # What a struct on the stack holds goes with it.
                self._assigned[tag, member].append((key, store))
            for value in store.values:
                if value.kind == "G" and not value.tag and self.resolve(value.name, key[0]):
                    self._put(tag, member, (key[0], value.name))
                    callees.add(member)
        for name in [name for name in callees if name in self._global]:
            # A bus's part calls the driver's core, which is in a file of its own.
            for path, _caller in self._callers.get(name, ()):
                if self._buses.get(path):
                    for other, _ in self._global[name]:
                        if other != path and _directory(other) == _directory(path):
                            self._buses[other] |= {f"+{bus.lstrip('+')}" for bus in self._buses[path]}
        for name in callees:
            waiting.update(dict.fromkeys(self._callers.get(name, ())))
        self._solve(waiting)

    def _put(self, tag: str, member: str, key: Key) -> None:
        self._tables[tag, member].add(key)
        self._slots[key].add((tag, member))

    # ---- names

    def resolve(self, name: str, path: str) -> list[Key]:
        """The functions that a call of ``name`` in file ``path`` can mean."""
        if (path, name) in self._local:
            return [(path, name)]
        return self._global.get(name, [])

    def functions(self) -> list[Key]:
        """All functions, in order."""
        return sorted(self._local)

    def function(self, key: Key) -> Function:
        return self._local[key]

    def struct(self, tag: str, path: str) -> tuple[str, StructType] | None:
        """The definition of struct ``tag`` that file ``path`` sees: its own, one nearby, or the only one there is."""
        tag = self._aliases.get(tag, tag)
        found = self._structs.get(tag)
        if not found:
            if tag:
                self.missing.setdefault(tag, set()).add(path)
            return None
        if len(found) == 1:
            return found[0]
        near = max(found, key=lambda one: (one[0] == path, _shared(one[0], path), one[0].endswith(".h")))
        if near[0] == path or _directory(near[0]) == _directory(path) or all(one[0].endswith(".h") for one in found):
            return near
        return None

    def member(self, tag: str, name: str, path: str) -> Member | None:
        """The member ``name`` of struct ``tag``; ``#3`` is the fourth."""
        found = self.struct(tag, path)
        if found is None:
            return None
        key = (found[0], f"{found[1].tag}:{found[1].line}")
        members = self._members.get(key)
        if members is None:
            members = self._members[key] = {one.name: one for one in found[1].members}
        if name.startswith("#") and name[1:].isdigit():
            number = int(name[1:])
            return found[1].members[number] if number < len(found[1].members) else None
        return members.get(name)

    def tag_of(self, value: Value, path: str) -> str:
        """The struct that a pointer points at, "" if that is not known."""
        if value.kind in "FA":
            member = self.member(self.tag_of(value.base[0], path), value.name, path)
            return member.tag if member is not None else ""
        if value.kind in "DI":
            return self.tag_of(value.base[0], path)
        if value.kind == "G" and not value.tag:
            found = self._globals.get((path, value.name))
            return found.tag if found is not None else ""
        return value.tag

    def stored(self, store: Store, path: str) -> tuple[str, str, Values]:
        """Struct, member and base of a store; members of structs inside it are written with dots."""
        if store.tag:
            return store.tag, store.member, store.base
        if len(store.base) != 1:
            tags = {self.tag_of(one, path) for one in store.base} - {""}
            return (tags.pop() if len(tags) == 1 else ""), store.member, store.base
        member, value = store.member, store.base[0]
        tag = self.tag_of(value, path)
        while value.kind == "A" and (tag, member) not in MEMBERS:
            member, value = f"{value.name}.{member}", value.base[0]
            tag = self.tag_of(value, path)
            if (tag, member) in MEMBERS:
                return tag, member, (value,)
        return self.tag_of(store.base[0], path), store.member, store.base

    # ---- origins

    def origins(self, values: Iterable[Value], path: str, depth: int = 0) -> list[Origin]:
        """Where each of ``values``, of a function in file ``path``, can come from."""
        made: dict[Origin, None] = {}
        for value in values:
            for origin in self._origin(value, path, depth):
                made[origin] = None
        return list(made)

    def _origin(self, value: Value, path: str, depth: int) -> list[Origin]:
        if depth > _DEEPEST:
            return [_UNKNOWN]
        kind = value.kind
        if kind == "S":
            return [Origin("stack", value.name, path, value.number)]
        if kind == "P":
            return [Origin("param", value.name, path, 0, value.number)]
        if kind == "L":
            return [Origin("rodata", "a string literal", path, value.number)]
        if kind == "G":
            known = self._globals.get((path, value.name))
            if known is None or known.form == "pointer":
                return [_UNKNOWN]
            what = "percpu" if known.percpu else "rodata" if known.constant else "module-data"
            return [Origin(what, value.name.partition("@")[0], path, known.line)]
        if kind == "C":
            return self._returns(value, path, depth)
        if kind == "I":
            guard = (value.number, value.tag, value.name == "==")
            return [replace(one, guards=(*one.guards, guard)) for one in self._origin(value.base[0], path, depth + 1)]
        if kind in "FA":
            return self._member_origin(value, path, depth)
        return [_UNKNOWN]

    def _member_origin(self, value: Value, path: str, depth: int) -> list[Origin]:
        base, name = value.base[0], value.name
        tag = self.tag_of(base, path)
        if value.kind == "F":
            if tag == "i2c_msg" and name == "buf":
                return [Origin("i2c-message", "msg->buf", path)]
            if tag in CONTRACTS:
                return [Origin("contract", f"{tag}.{name}", path)]
        member = self.member(tag, name, path)
        if value.kind == "F" and member is not None and member.form == "user":
            return [Origin("user", f"{tag}.{name}", path)]
        inside = value.kind == "A" or (member is not None and member.form in ("array", "struct"))
        if inside and value.kind == "A" and member is not None and member.form == "pointer":
            # The address of a pointer that lies in the object.
            member = None
        made: list[Origin] = []
        for origin in self._origin(base, path, depth + 1):
            if inside:
                step = (*origin.path, f"&{name}")
                if origin.kind == "param" and len(step) <= _LONGEST_PATH:
                    made.append(replace(origin, path=step, embedded=(*origin.embedded, (tag, name))))
                elif origin.kind == "param":
                    made.append(_UNKNOWN)
                else:
                    made.append(replace(origin, embedded=(*origin.embedded, (tag, name))))
            elif member is not None and member.form != "pointer":
                made.append(_UNKNOWN)
            else:
                if origin.kind == "param" and len(origin.path) < _LONGEST_PATH:
                    made.append(replace(origin, path=(*origin.path, name), embedded=()))
                else:
                    made.append(_UNKNOWN)
                if member is not None and depth < 4:
                    made.extend(self._kept(tag, name, depth))
        return made

    def _kept(self, tag: str, name: str, depth: int) -> list[Origin]:
        """What is stored anywhere in that member of that struct: only what is surely no good is told."""
        made: list[Origin] = []
        for (path, _function), store in self._assigned.get((tag, name), ())[:20]:
            for origin in self.origins(store.values, path, depth + 4):
                if origin.kind not in ("param", "unknown", "stack"):
                    made.append(replace(origin, sure=False, kept=True, guards=()))
        return made

    def _returns(self, value: Value, path: str, depth: int) -> list[Origin]:
        name = value.name
        if value.number and (name in ALLOCATORS or name in SAME):
            return [_UNKNOWN]
        if name in ALLOCATORS:
            return [Origin(ALLOCATORS[name], name, path)]
        if name in SAME:
            number = SAME[name]
            return self._origin(value.base[number], path, depth + 1) if number < len(value.base) else [_UNKNOWN]
        made: list[Origin] = []
        known = self.resolve(name, path)
        if not known:
            self.unread[path].add(name)
        for key in known[:3]:
            which = (*key, value.number)
            if which not in self._returned:
                self._returned[which] = None
                function = self.function(key)
                values = dict(function.gives).get(value.number - 1, ()) if value.number else function.returns
                # What the callee asks of its parameters says nothing of the caller's.
                found = self.origins(values, key[0], depth + 2)
                self._returned[which] = list(dict.fromkeys(replace(one, guards=()) for one in found))
            for origin in self._returned[which] or [_UNKNOWN]:
                if origin.kind == "param" and origin.number < len(value.base):
                    for given in self._origin(value.base[origin.number], path, depth + 2):
                        made.append(_along(given, origin.path))
                elif origin.kind == "stack":
                    made.append(_UNKNOWN)
                elif origin.kind != "param":
                    made.append(origin)
                else:
                    made.append(_UNKNOWN)
        return made or [_UNKNOWN]

    # ---- flows

    def _solve(self, functions: Iterable[Key]) -> None:
        """Let the summaries grow, from ``functions`` on, until nothing changes."""
        waiting = dict.fromkeys(sorted(functions))
        while waiting:
            changed: set[Key] = set()
            for key in waiting:
                if key[1] in COPIES or key[1] in PREDICATES:
                    continue
                summary = self.summaries.setdefault(key, {})
                for arrival in self.arrivals(key):
                    origin = arrival.origin
                    if (
                        origin.kind != "param"
                        or arrival.use.sink.needless
                        or (origin.path and self.stateful(key, origin.number))
                    ):
                        continue
                    uses = summary.setdefault((origin.number, origin.path), {})
                    use = replace(arrival.use, guards=(*arrival.use.guards, *origin.guards))
                    identity = use.identity
                    others = [one for one in arrival.others if not origin.excludes(one)]
                    sure = use.sure and not others and origin.sure
                    known = uses.get(identity)
                    if (known is None and len(uses) < _MOST_SINKS) or (known is not None and sure and not known.sure):
                        uses[identity] = replace(use, sure=sure)
                        changed.add(key)
            again: dict[Key, None] = {}
            names = {name for _path, name in changed}
            names |= {member for key in changed for _tag, member in self._slots.get(key, ())}
            for name in sorted(names):
                again.update(dict.fromkeys(sorted(self._callers.get(name, ()))))
            waiting = again

    def stateful(self, key: Key, number: int) -> bool:
        """Whether a parameter points at a driver's state: a struct that nobody has on the stack."""
        parameters = self._local[key].parameters
        if number >= len(parameters):
            return False
        tag = parameters[number].tag
        known = self._state.get((tag, key[0]))
        if known is None:
            found = self.struct(tag, key[0])
            known = tag in STATE or (found is not None and any(one.tag in STATE for one in found[1].members))
            self._state[tag, key[0]] = known
        return known

    def arrivals(self, key: Key) -> Iterator[Arrival]:
        """All memory that reaches a sink by what function ``key`` does."""
        path, function = key[0], self._local[key]
        for call in function.calls:
            for number, steps, use in self._uses(call, path):
                if number >= len(call.arguments):
                    continue
                found = self._followed(call, call.arguments[number], steps, path)
                yield from _arrivals(key, replace(use, guards=(*use.guards, *call.guards)), found, function)
        for store in function.stores:
            tag, member, _base = self.stored(store, path)
            if member.startswith("#") and (known := self.member(tag, member, path)) is not None:
                member = known.name
            filled = MEMBERS.get((tag, member))
            if filled is None:
                continue
            use = Use(UNMARKED if filled.marked and not store.marked else filled, store.line, guards=store.guards)
            yield from _arrivals(key, use, self.origins(store.values, path), function)

    def _uses(self, call: Call, path: str) -> Iterator[tuple[int, Path, Use]]:
        """The parameters of what is called that reach a sink."""
        if not call.through:
            for sink in CALLS.get(call.callee, ()):
                if sink.direction and dict(call.constants).get(sink.direction) in _TO_DEVICE:
                    sink = READ[sink]
                if sink.bus_init:
                    made = self._buses.get(path, set())
                    near = any(bus in made for bus in sink.bus_init)
                    if not near and not any(f"+{bus}" in made for bus in sink.bus_init):
                        continue
                    yield sink.argument, (), Use(sink, call.line, None, near)
                    continue
                yield sink.argument, (), Use(sink, call.line)
            if (copying := NEEDLESS.get(call.callee)) is not None:
                yield copying.argument, (), Use(copying, call.line)
            if call.callee in CALLS or call.callee in COPIES:
                return
            called, sure = self.resolve(call.callee, path), True
        else:
            tags = {self.tag_of(one, path) for one in call.through} - {""}
            called = sorted(key for tag in tags for key in self._through(tag, call.callee))
            known = [self._globals.get((path, one.name)) for one in call.through if one.kind == "G"]
            if len(known) == len(call.through) and all(one is not None and one.form == "struct" for one in known):
                # It is known which table this is; one that was not read has no wrapper in it.
                filled = {name for one in call.through for name in self._filled[path, one.name, call.callee]}
                called = [key for key in called if key[0] == path and key[1] in filled]
            sure = len(called) == 1
        for key in called[:16]:
            for (number, steps), uses in self.summaries.get(key, {}).items():
                for use in uses.values():
                    guards = _passed(use.guards, call)
                    if guards is None:
                        continue
                    sure_too = sure and use.sure and len(guards) == sum(1 for one in guards if one[0] >= 0)
                    guards = tuple(one for one in guards if one[0] >= 0)
                    yield number, steps, Use(use.sink, call.line, (key, number, steps, use.identity), sure_too, guards)

    def _through(self, tag: str, member: str) -> Iterator[Key]:
        for path, name in self._tables.get((tag, member), ()):
            yield from self.resolve(name, path)

    def _followed(self, call: Call, values: Values, steps: Path, path: str) -> list[Origin]:
        """The origins of what lies ``steps`` behind an argument."""
        if not steps:
            return self.origins(values, path)
        made: list[Origin] = []
        for value in values:
            held = self._content(call, value, steps)
            if held is not None:
                rest, found = held
                made.extend(self._followed(call, found, rest, path) or [])
                continue
            for step in steps:
                kind: Literal["A", "F"] = "A" if step.startswith("&") else "F"
                value = Value(kind, step.lstrip("&"), "", 0, (value,))
            made.extend(self._origin(value, path, 1))
        return made

    @staticmethod
    def _content(call: Call, value: Value, steps: Path) -> tuple[Path, Values] | None:
        """What a member of a struct on the stack holds, and the steps that remain."""
        if value.kind != "S":
            return None
        for number, step in enumerate(steps):
            if not step.startswith("&"):
                member = ".".join(one.lstrip("&") for one in steps[: number + 1])
                for name, kept, held in call.contents:
                    if name == value.name and kept == member:
                        return steps[number + 1 :], held
                return None
        return None

    def steps(self, key: Key, use: Use) -> list[tuple[str, int, str, str]]:
        """The way of a buffer from function ``key`` to the sink: file, line, function, what is called there."""
        made: list[tuple[str, int, str, str]] = []
        seen = set()
        while True:
            if use.via is None:
                made.append((key[0], use.line, key[1], use.sink.word))
                return made
            via, number, path, identity = use.via
            made.append((key[0], use.line, key[1], f"{via[1]}()"))
            if use.via in seen:
                return made
            seen.add(use.via)
            following = self.summaries.get(via, {}).get((number, path), {}).get(identity)
            if following is None:
                return made
            key, use = via, following

    def wrappers(self) -> Iterator[Key]:
        """The functions whose parameter reaches a sink."""
        for key, summary in self.summaries.items():
            if summary:
                yield key

    def tables_of(self, name: str, path: str) -> list[tuple[str, str]]:
        """Struct and member that a function was put into."""
        return sorted(self._slots.get((path, name), ()))


def _arrivals(key: Key, use: Use, found: list[Origin], function: Function) -> Iterator[Arrival]:
    runs = use.sink.runs if use.via is None else ()
    if function.looks or (runs and not any(call.callee in runs for call in function.calls)):
        # It looks what memory it has, or may keep the buffer for itself: none of its paths is certain.
        use = replace(use, sure=False)
    for origin in found:
        if origin.kind == "i2c-message" and function.asks:
            continue
        others = tuple(one for one in found if one is not origin and not one.kept)
        yield Arrival(key, use, origin, others)


def _passed(guards: tuple[Guard, ...], call: Call) -> tuple[Guard, ...] | None:
    """What a callee asks of its parameters, as the caller's: None if the call answers no, index -1 if nobody knows.

    What it asks of a driver's state has that index from the start.
    """
    if not guards:
        return guards
    constants = dict(call.constants)
    made: list[Guard] = []
    for number, wanted, equal in guards:
        text = constants.get(number, "")
        if text.startswith("$"):
            made.append((int(text[1:]), wanted, equal))
        elif wanted[0] in "<>":
            if not _ordered(text, wanted):
                return None
        elif not text or (text == SIZEOF and _number(wanted) != "0"):
            # Lengths are seldom none.
            if wanted != "0" or equal:
                made.append((-1, wanted, equal))
        elif (_number(text) == _number(wanted)) != equal:
            return None
    return tuple(made)


def _ordered(text: str, wanted: str) -> bool:
    """Whether a constant may be in such an order: of what is no number nothing is known."""
    order = wanted.rstrip("0123456789abcdefxABCDEFXuUlL")
    first, second = _number(text), _number(wanted[len(order) :])
    if not (first.lstrip("-").isdigit() and second.isdigit()):
        return True
    return bool(_ORDERS[order](int(first), int(second)))


def _number(text: str) -> str:
    """A constant's value, as far as its text tells."""
    try:
        return str(int(text.rstrip("uUlL"), 0))
    except ValueError:
        return "0" if text in ("NULL", "false") else text


def _along(origin: Origin, steps: Path) -> Origin:
    if not steps:
        return origin
    if all(step.startswith("&") for step in steps):
        embedded = (*origin.embedded, *(("", step[1:]) for step in steps))
        return replace(origin, path=(*origin.path, *steps)[:_LONGEST_PATH], embedded=embedded)
    return _UNKNOWN


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _shared(first: str, second: str) -> int:
    """How many directories two paths have in common."""
    count = 0
    for one, other in zip(first.split("/"), second.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count
