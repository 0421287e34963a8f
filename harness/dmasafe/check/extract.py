# SPDX-License-Identifier: GPL-2.0-or-later
"""Pieces of a C file in, facts out: each function is interpreted once, statement by statement, over sets of values.

Branches are followed apart and joined behind; a loop's body is taken twice. Every branch of the preprocessor is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from tree_sitter import Language, Node, Parser
from tree_sitter_c import language

from dmasafe.check.facts import (
    SIZEOF,
    Call,
    FileFacts,
    Form,
    Function,
    Global,
    Guard,
    Member,
    Parameter,
    Store,
    StructType,
    Value,
    Values,
)
from dmasafe.check.sinks import ALLOCATORS, PERCPU, PREDICATES, USER, words
from dmasafe.check.source import Source, cleaned

_PARSER = Parser(Language(language()))
_MOST_VALUES = 8
_DEEPEST = 6
# Values that an argument may consist of: calls in calls would grow without end.
_LARGEST_ARGUMENT = 16
# A function that nests deeper was generated: what is below is not interpreted.
_DEEPEST_NODE = 150
_ALIGNED = re.compile(
    r"\b(IIO_DMA_MINALIGN|ARCH_DMA_MINALIGN|ARCH_KMALLOC_MINALIGN|CRYPTO_MINALIGN(?:_ATTR)?|L1_CACHE_BYTES"
    r"|SMP_CACHE_BYTES|DMA_MINALIGN|____cacheline_aligned(?:_in_smp)?|____dma_from_device_aligned"
    r"|IIO_DECLARE_DMA_(?:BUFFER_WITH_TS|QUATERNION))"
)
_GROUP = re.compile(r"\b__dma_from_device_group_(begin|end)\s*\(\s*(\w*)\s*\)")
_USER = re.compile(rb"\b__user\b")
_ASKS = re.compile(rb"I2C_M_DMA_SAFE|i2c_get_dma_safe_msg_buf")
_LOOKS = re.compile(rb"virt_addr_valid|is_vmalloc_addr|is_vmalloc_or_module_addr|object_is_on_stack")
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,8}|\d{1,8}")
_SIZES = {
    "u8": 1,
    "s8": 1,
    "char": 1,
    "bool": 1,
    "u16": 2,
    "s16": 2,
    "short": 2,
    "__le16": 2,
    "__be16": 2,
    "uint8_t": 1,
}
_SIZES |= {"u32": 4, "s32": 4, "int": 4, "__le32": 4, "__be32": 4, "unsigned int": 4, "unsigned char": 1, "uint16_t": 2}
_SIZES |= {
    "u64": 8,
    "s64": 8,
    "__le64": 8,
    "__be64": 8,
    "uint32_t": 4,
    "unsigned short": 2,
    "__u8": 1,
    "__u16": 2,
    "uint8_t": 1,
}
#: Statements, each times the variables that are known then.
_MOST_WORK = 3_000_000
#: Calls with nothing to learn from, however many there are.
_NOISE = words(
    """dev_err dev_warn dev_info dev_dbg dev_err_probe printk pr_err pr_info pr_warn pr_debug mutex_lock mutex_unlock
    spin_lock spin_unlock spin_lock_irqsave spin_unlock_irqrestore kfree kvfree vfree WARN_ON WARN_ON_ONCE BUG_ON IS_ERR
    PTR_ERR unlikely likely msleep usleep_range udelay mdelay sizeof ARRAY_SIZE BIT GENMASK FIELD_PREP FIELD_GET min max
    min_t max_t clamp memset memcmp strcmp strncmp strlen snprintf sprintf scnprintf sysfs_emit init_completion
    complete wait_for_completion spin_lock_init mutex_init dev_name netdev_err netdev_dbg netif_err EXPORT_SYMBOL
    MODULE_LICENSE MODULE_AUTHOR get_unaligned_be16 get_unaligned_le16 get_unaligned_be32 get_unaligned_le32
    put_unaligned_be16 put_unaligned_le16 put_unaligned_be32 put_unaligned_le32 be16_to_cpu le16_to_cpu be32_to_cpu
    le32_to_cpu cpu_to_be16 cpu_to_le16 cpu_to_be32 cpu_to_le32 be16_to_cpup le16_to_cpup IS_ENABLED
    print_hex_dump hex_dump_to_buffer sprintf seq_printf platform_get_drvdata dev_set_drvdata spi_set_drvdata
    i2c_set_clientdata spi_message_init WRITE_ONCE atomic_read atomic_set test_bit set_bit clear_bit"""
)
_CONTAINERS = frozenset({"container_of", "container_of_const", "list_entry", "from_timer", "timer_container_of"})
#: What may have functions and structs in it, besides the file.
_OUTER = ("preproc_if", "preproc_el", "linkage", "declaration_list", "ERROR", "expression_st")
_OPPOSITE = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}
_EMPTY: frozenset[Value] = frozenset()
_USERS = frozenset((Value("C", USER),))
Set = frozenset[Value]
Environment = dict[str, Set]


class _TooLargeError(Exception):
    """A function that was generated: what it does is not followed."""


class _Declared:
    """A variable of a function."""

    __slots__ = ("form", "kept", "line", "pointers", "static", "tag")

    def __init__(self, tag: str, form: Form, line: int, static: bool = False, pointers: bool = False) -> None:
        self.tag = tag
        self.form = form
        self.line = line
        self.static = static
        self.kept = ""
        self.pointers = pointers


def parse_piece(source: Source, start: int, header: bool) -> FileFacts:
    """What the piece of ``source`` holds that begins at ``start``: that depends on nothing else that was read."""
    facts = FileFacts()
    piece = _Piece(source, start, source.text(start), facts, header)
    piece.read(_PARSER.parse(piece.bytes).root_node)
    return facts


class _Piece:
    """One piece: what stands outside functions."""

    def __init__(self, source: Source, start: int, text: bytes, facts: FileFacts, header: bool) -> None:
        self.source = source
        self.start = start
        self.original = text
        self.bytes = cleaned(text)
        self.facts = facts
        self.header = header
        self.known: dict[str, Global] = {}
        self.looked: set[str] = set()

    def text(self, node: Node) -> str:
        return self.bytes[node.start_byte : node.end_byte].decode(errors="replace")

    def line(self, node: Node) -> int:
        return self.source.line(self.start + node.start_byte)

    def read(self, node: Node, depth: int = 0) -> None:
        for child in node.named_children:
            kind = child.type
            if kind == "function_definition":
                _Body(self, child)
            elif kind in ("struct_specifier", "union_specifier"):
                self.struct(child)
            elif kind == "type_definition":
                self.type_definition(child)
            elif kind == "declaration":
                self.declaration(child)
            elif depth < 40 and kind.startswith(
                ("preproc_if", "preproc_el", "linkage", "declaration_list", "ERROR", "expression_st")
            ):
                self.read(child, depth + 1)

    # ---- types

    def type_of(self, node: Node | None) -> tuple[str, bool]:
        """The tag that a type's node names, and whether it is a struct or union by itself."""
        if node is None:
            return "", False
        if node.type in ("struct_specifier", "union_specifier"):
            name = node.child_by_field_name("name")
            return (self.text(name) if name is not None else ""), True
        text = " ".join(self.text(node).split())
        return text, False

    def struct(self, node: Node, tag: str = "", depth: int = 0) -> str:
        """Keep a struct's definition; returns its tag ("" if it has no body and no name)."""
        name = node.child_by_field_name("name")
        tag = self.text(name) if name is not None else tag
        body = node.child_by_field_name("body")
        if body is None or depth > 12:
            return tag
        if tag:
            members = tuple(self.members(body, tag, depth))
            union, groups = node.type == "union_specifier", self.open_groups(body)
            self.facts.structs.append(StructType(tag, self.line(node), members, union, groups))
        return tag

    def open_groups(self, body: Node) -> tuple[str, ...]:
        """The groups of a struct that do not end in it, in order."""
        found: dict[str, None] = {}
        for mark, named in _GROUP.findall(self.original[body.start_byte : body.end_byte].decode(errors="replace")):
            if mark == "begin":
                found[named or "default"] = None
            else:
                found.pop(named or "default", None)
        return tuple(found)

    def user(self, node: Node) -> bool:
        """Whether a declaration or a type says that a pointer is one of user space."""
        return _USER.search(self.original, node.start_byte, node.end_byte) is not None

    def members(self, body: Node, tag: str, depth: int) -> Iterable[Member]:
        group, at = "", body.start_byte
        for field in body.named_children:
            if field.type.startswith(("preproc_if", "preproc_el")):
                yield from self.members(field, tag, depth + 1) if depth < 12 else ()
                at = field.end_byte
                continue
            if field.type != "field_declaration":
                continue
            before = self.original[at : field.end_byte].decode(errors="replace")
            at = field.end_byte
            for mark, named in _GROUP.findall(before):
                group = (named or "default") if mark == "begin" else ""
            specifier = field.child_by_field_name("type")
            declarators = field.children_by_field_name("declarator")
            found, struct = self.type_of(specifier)
            aligned = _ALIGNED.search(before)
            if struct and specifier is not None and specifier.child_by_field_name("body") is not None:
                if not declarators:
                    inner = specifier.child_by_field_name("body")
                    behind = _ALIGNED.search(
                        self.original[specifier.end_byte : field.end_byte].decode(errors="replace")
                    )
                    for one in self.members(inner, tag, depth + 1) if inner is not None and depth < 12 else ():
                        one.aligned = one.aligned or (behind[1] if behind else "")
                        one.group = one.group or group
                        yield one
                    continue
                name = _declared(declarators[0], self)[0]
                found = self.struct(specifier, found or f"{tag}::{name}", depth + 1)
            for declarator in declarators:
                name, form, _pointers = _declared(declarator, self)
                if form == "plain" and struct:
                    form = "struct"
                elif form == "pointer" and self.user(field):
                    form = "user"
                size = _SIZES.get(found, 0) if form in ("plain", "array") else 0
                if form == "array" and size:
                    number = _NUMBER.search(self.text(declarator).partition("[")[2])
                    size = size * int(number[0], 16 if "x" in number[0] else 10) if number else 0
                yield Member(name, found, form, self.line(declarator), aligned[1] if aligned else "", group, size)

    def type_definition(self, node: Node) -> None:
        specifier = node.child_by_field_name("type")
        names = [self.text(one) for one in node.children_by_field_name("declarator") if one.type == "type_identifier"]
        if specifier is not None and specifier.type in ("struct_specifier", "union_specifier") and names:
            tag = self.struct(specifier, names[0])
            self.facts.aliases.extend((name, tag) for name in names if name != tag and tag)

    # ---- variables

    def declaration(self, node: Node) -> None:
        specifier = node.child_by_field_name("type")
        if specifier is not None and specifier.type in ("struct_specifier", "union_specifier"):
            self.struct(specifier)
        tag, struct = self.type_of(specifier)
        for declarator in node.children_by_field_name("declarator"):
            if declarator.type == "init_declarator":
                value = declarator.child_by_field_name("value")
                if value is not None and value.type == "initializer_list" and (struct or tag):
                    self.table(tag, _declared(declarator, self)[0], value)

    def table(self, tag: str, variable: str, values: Node, depth: int = 0) -> None:
        """What an initializer gives the members of struct ``tag``: the names of functions."""
        for each in values.named_children:
            if each.type == "initializer_list" and depth < 8:
                self.table(tag, variable, each, depth + 1)
            elif each.type == "initializer_pair":
                value = each.child_by_field_name("value")
                designator = each.child_by_field_name("designator")
                if value is None or designator is None:
                    continue
                if value.type == "pointer_expression":
                    value = value.child_by_field_name("argument") or value
                if value.type == "identifier" and designator.type == "field_designator":
                    self.facts.tables.append((tag, self.text(designator).lstrip(". "), self.text(value), variable))
                elif value.type == "initializer_list" and depth < 8:
                    self.table(tag if designator.type != "field_designator" else "", variable, value, depth + 1)

    def look_up(self, name: str) -> None:
        """Keep the declaration of a variable of this file that a function uses."""
        if name in self.known or name in self.looked:
            return
        self.looked.add(name)
        found = self.source.declared(name)
        if found is None:
            return
        line, before, behind = found
        words = before.replace("*", " * ").split()
        if not words or words[0] in ("return", "goto", "else", "case", "typedef", "extern") or words[0].endswith(":"):
            return
        if behind.startswith("__") and "(" in behind.partition("=")[0] and "[" not in behind:
            return
        form: Form = "plain"
        if behind.startswith("["):
            form = "array"
        elif "*" in words:
            form = "pointer"
        elif "struct" in words or "union" in words:
            form = "struct"
        tag = words[-1]
        for word in ("struct", "union"):
            if word in words and words.index(word) + 1 < len(words):
                tag = words[words.index(word) + 1]
        pointers = form == "array" and "*" in words
        constant = "const" in words and not pointers
        self.keep(Global(name, line, tag, "pointer" if pointers else form, constant))

    def keep(self, found: Global) -> None:
        self.facts.globals.append(found)
        self.known[found.name] = found


def _declared(node: Node, piece: _Piece) -> tuple[str, Form, bool]:
    """Name and form of a declarator, and whether an array's elements are pointers."""
    layers: list[str] = []
    current: Node | None = node
    for _ in range(12):
        if current is None:
            break
        kind = current.type
        if kind in ("identifier", "field_identifier", "type_identifier"):
            inner = layers[-1] if layers else ""
            form: Form = "array" if inner == "array" else "pointer" if inner in ("pointer", "function") else "plain"
            return piece.text(current), form, inner == "array" and "pointer" in layers[:-1]
        if kind == "array_declarator":
            layers.append("array")
        elif kind == "pointer_declarator":
            layers.append("pointer")
        elif kind == "function_declarator":
            layers.append("function")
        following = current.child_by_field_name("declarator")
        if following is None and current.named_children:
            following = current.named_children[0]
        current = following
    return "", "plain", False


def _joined(
    first: Environment | None, second: Environment | None, holds: Sequence[Guard] = (), fails: Sequence[Guard] = ()
) -> Environment | None:
    """Either environment; which of the two, ``holds`` and ``fails`` say if they are conditions on a parameter."""
    if first is None or second is None:
        return first if second is None else second
    made = dict(first)
    for name, values in second.items():
        if made.get(name) is not values:
            made[name] = _either(made[name], values, holds, fails) if name in made else values
    return made


def _either(first: Set, second: Set, holds: Sequence[Guard], fails: Sequence[Guard]) -> Set:
    if len(holds) == len(fails) == 1:
        return _bounded((first & second) | _guarded(first - second, holds[0]) | _guarded(second - first, fails[0]))
    return _bounded(first | second)


def _guarded(values: Set, guard: Guard) -> Set:
    number, text, equal = guard
    if number < 0 or text[0] in "<>" or any(one.kind == "I" for one in values):
        return values
    return frozenset(Value("I", "==" if equal else "!=", text, number, (one,)) for one in values)


def _bounded(values: Set) -> Set:
    if len(values) <= _MOST_VALUES:
        return values
    return frozenset(sorted(values, key=repr)[: _MOST_VALUES - 1]) | {Value("U")}


def _inside(value: Value) -> Value:
    """A value without what must hold for it."""
    return value.base[0] if value.kind == "I" else value


def _depth(value: Value) -> int:
    return 1 + max(map(_depth, value.base), default=0)


def _ordered(values: Iterable[Value]) -> Values:
    return tuple(sorted(values, key=repr))


class _Body:
    """One function, interpreted."""

    def __init__(self, piece: _Piece, node: Node) -> None:
        self.piece = piece
        self.text = piece.text
        self.variables: dict[str, _Declared] = {}
        self.calls: dict[int, Call] = {}
        self.stores: dict[tuple[int, str], tuple[Store, str]] = {}
        self.marked: set[str] = set()
        self.guarded: set[str] = set()
        self.returns: Set = _EMPTY
        self.gives: dict[int, Set] = {}
        self.depth = 0
        self.work = 0
        self.breaks: list[Environment | None] = []
        self.numbers: dict[str, int] = {}
        self.guards: list[Guard] = []
        declarator = node.child_by_field_name("declarator")
        while declarator is not None and declarator.type != "function_declarator":
            declarator = declarator.child_by_field_name("declarator") or next(iter(declarator.named_children), None)
        body = node.child_by_field_name("body")
        if declarator is None or body is None:
            return
        named = declarator.child_by_field_name("declarator")
        listed = declarator.child_by_field_name("parameters")
        if named is None or listed is None:
            return
        head = piece.bytes[node.start_byte : declarator.start_byte]
        environment: Environment = {}
        parameters: list[Parameter] = []
        for each in listed.named_children:
            if each.type != "parameter_declaration":
                continue
            tag, struct = piece.type_of(each.child_by_field_name("type"))
            inner = each.child_by_field_name("declarator")
            name, form, _pointers = _declared(inner, piece) if inner is not None else ("", "plain", False)
            if form == "array":
                form = "pointer"
            elif form == "plain" and struct:
                form = "struct"
            parameters.append(Parameter(name, tag, form))
            if name:
                self.variables[name] = _Declared(tag, form, piece.line(each))
                if form == "plain":
                    self.numbers[name] = len(parameters) - 1
                if form == "pointer":
                    given = Value("P", name, tag, len(parameters) - 1)
                    environment[name] = _USERS if piece.user(each) else frozenset((given,))
        try:
            self.statement(body, environment)
        except (RecursionError, _TooLargeError):
            return
        piece.facts.functions.append(
            Function(
                self.text(named),
                piece.line(named),
                b"static" in head.split() and not piece.header,
                tuple(parameters),
                tuple(self.calls[at] for at in sorted(self.calls)),
                tuple(self._store(*self.stores[key]) for key in sorted(self.stores)),
                _ordered(self.returns),
                _ASKS.search(piece.bytes, node.start_byte, node.end_byte) is not None,
                _LOOKS.search(piece.bytes, node.start_byte, node.end_byte) is not None,
                tuple((number, _ordered(self.gives[number])) for number in sorted(self.gives)),
            )
        )

    def _store(self, store: Store, instance: str) -> Store:
        store.marked = instance in self.marked
        return store

    # ---- statements: each returns the environment behind it, None if nothing comes behind

    def statement(self, node: Node, env: Environment | None) -> Environment | None:
        self.work += 1 + len(env or ())
        if self.work > _MOST_WORK:
            raise _TooLargeError
        if env is None:
            if node.type == "compound_statement" or node.type in ("labeled_statement", "case_statement"):
                env = {}
            else:
                return None
        handler = _STATEMENTS.get(node.type)
        if handler is None:
            self.value(node, env)
            return env
        self.depth += 1
        try:
            return handler(self, node, env) if self.depth < _DEEPEST_NODE else env
        finally:
            self.depth -= 1

    def _block(self, node: Node, env: Environment) -> Environment | None:
        current: Environment | None = env
        guarded = len(self.guards)
        for child in node.named_children:
            if current is None and child.type == "labeled_statement":
                # A goto leads here from somewhere behind the declarations.
                current = dict(env)
                del self.guards[guarded:]
            current = self.statement(child, current) if current is not None else None
        del self.guards[guarded:]
        return current

    def asked(self, node: Node | None, holds: bool) -> list[Guard]:
        """What a condition that holds (or does not) says about parameters that are no pointers, and about states."""
        if node is None:
            return []
        if node.type == "parenthesized_expression" and len(node.named_children) == 1:
            return self.asked(node.named_children[0], holds)
        if node.type == "identifier":
            number = self.numbers.get(self.text(node))
            return [(number, "0", not holds)] if number is not None else []
        if node.type == "unary_expression" and node.children[0].type == "!":
            return self.asked(node.child_by_field_name("argument"), not holds)
        if node.type == "binary_expression":
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            sign = node.children[1].type
            if sign == ("&&" if holds else "||"):
                return self.asked(left, holds) + self.asked(right, holds)
            if sign in ("==", "!=") and left is not None and right is not None:
                return self.compared(left, right, (sign == "==") == holds)
            if sign in _OPPOSITE and left is not None and right is not None and right.type == "number_literal":
                number = self.numbers.get(self.text(left))
                order = f"{sign if holds else _OPPOSITE[sign]}{self.text(right)}"
                return [(number, order, True)] if number is not None else []
        return []

    def compared(self, left: Node, right: Node, equal: bool) -> list[Guard]:
        number, text = self.numbers.get(self.text(left)), self.constant(right)
        if number is not None and text and not text.startswith("$"):
            return [(number, text, equal)]
        if equal and right.type == "identifier" and left.type == "field_expression" and left.children[1].type == "->":
            # One of several states that have names: in which of them a caller is, nobody can tell.
            return [(-1, text, True)] if text and not text.startswith("$") and text != "NULL" else []
        return []

    def constant(self, node: Node) -> str:
        """A constant's text, ``$2`` for a parameter that was not changed, "" for all else."""
        text = self.text(node)
        if node.type == "identifier":
            number = self.numbers.get(text)
            return f"${number}" if number is not None else text if text.isupper() or text in ("NULL",) else ""
        if node.type in ("true", "false", "null"):
            return {"true": "1", "false": "0"}.get(text, "0")
        if node.type in ("number_literal", "char_literal"):
            return text
        return SIZEOF if node.type == "sizeof_expression" else ""

    def _if(self, node: Node, env: Environment) -> Environment | None:
        condition = node.child_by_field_name("condition")
        if condition is not None:
            self.value(condition, env)
        then, other = node.child_by_field_name("consequence"), node.child_by_field_name("alternative")
        guarded = len(self.guards)
        self.guards += self.asked(condition, True)
        after = self.statement(then, dict(env)) if then is not None else env
        self.guards[guarded:] = self.asked(condition, False)
        behind = self.statement(other, dict(env)) if other is not None else env
        if after is not None:
            # Else what follows happens only if the condition does not hold; the block forgets it at its end.
            del self.guards[guarded:]
        return _joined(after, behind, self.asked(condition, True), self.asked(condition, False))

    def _loop(self, node: Node, env: Environment) -> Environment | None:
        body = node.child_by_field_name("body")
        first = node.child_by_field_name("initializer")
        if first is not None:
            self.statement(first, env)
        self.breaks.append(None)
        current: Environment = env
        for _ in range(2):
            for field in ("condition", "update"):
                part = node.child_by_field_name(field)
                if part is not None:
                    self.value(part, current)
            behind = _joined(current, self.statement(body, dict(current)) if body is not None else None)
            if behind is None or behind == current:
                break
            current = behind
        return _joined(current, self.breaks.pop())

    def _switch(self, node: Node, env: Environment) -> Environment | None:
        condition, body = node.child_by_field_name("condition"), node.child_by_field_name("body")
        if condition is not None:
            self.value(condition, env)
        self.breaks.append(None)
        current: Environment | None = None
        while condition is not None and condition.type == "parenthesized_expression" and condition.named_children:
            condition = condition.named_children[0]
        guarded = len(self.guards)
        if body is not None:
            for case in body.named_children:
                value = case.child_by_field_name("value") if case.type == "case_statement" else None
                if current is not None or value is None:
                    # More than one label leads here.
                    del self.guards[guarded:]
                elif condition is not None:
                    self.guards[guarded:] = self.compared(condition, value, True)
                current = _joined(current, dict(env))
                for child in case.named_children if case.type == "case_statement" else [case]:
                    if child == value:
                        continue
                    current = self.statement(child, current) if current is not None else None
        del self.guards[guarded:]
        return _joined(_joined(current, self.breaks.pop()), env)

    def _break(self, node: Node, env: Environment) -> Environment | None:
        if self.breaks:
            self.breaks[-1] = _joined(self.breaks[-1], env)
        return None

    def _return(self, node: Node, env: Environment) -> Environment | None:
        for child in node.named_children:
            self.returns = _bounded(self.returns | self.value(child, env))
        return None

    def _goto(self, node: Node, env: Environment) -> Environment | None:
        return None

    def _children(self, node: Node, env: Environment) -> Environment | None:
        current: Environment | None = env
        for child in node.named_children:
            current = self.statement(child, current if current is not None else dict(env))
        return current

    def _expression(self, node: Node, env: Environment) -> Environment | None:
        for child in node.named_children:
            self.value(child, env)
        return env

    def _declaration(self, node: Node, env: Environment) -> Environment | None:
        specifier = node.child_by_field_name("type")
        tag, struct = self.piece.type_of(specifier)
        if struct and specifier is not None and specifier.child_by_field_name("body") is not None:
            tag = self.piece.struct(specifier, tag or f"::{self.piece.start + node.start_byte}")
        qualifiers = {self.text(child) for child in node.children if child.type.endswith(("_specifier", "qualifier"))}
        static, constant = "static" in qualifiers, "const" in qualifiers
        for declarator in node.children_by_field_name("declarator"):
            name, form, pointers = _declared(declarator, self.piece)
            if not name or declarator.type == "function_declarator":
                continue
            if form == "plain" and struct:
                form = "struct"
            line = self.piece.line(declarator)
            self.variables[name] = _Declared(tag, form, line, static or "extern" in qualifiers, pointers)
            if static:
                # Another function may have one of the same name.
                kept = self.variables[name].kept = f"{name}@{line}"
                self.piece.keep(Global(kept, line, tag, "pointer" if pointers else form, constant and not pointers))
            for key in [key for key in env if key == name or key.startswith((f"{name}.", f"{name}["))]:
                del env[key]
            value = declarator.child_by_field_name("value") if declarator.type == "init_declarator" else None
            if value is None:
                continue
            if value.type == "initializer_list":
                self.initializer(value, name, tag, frozenset((self.object(name),)), env)
            elif form == "pointer" and self.piece.user(node):
                self.value(value, env)
                env[name] = _USERS
            elif form == "struct":
                self.copy(name, value, env)
            else:
                env[name] = self.typed(self.value(value, env), tag if form == "pointer" else "")
        return env

    # ---- values

    def typed(self, values: Set, tag: str) -> Set:
        """``values`` as seen through a pointer to ``tag``: what had no type, or was bytes, gets it."""
        if not tag or tag == "void":
            return values
        return frozenset(
            Value(one.kind, one.name, tag, one.number, one.base)
            if (one.kind in "CUD" and not one.tag)
            or (one.kind in "SGLP" and (one.tag in ("", "void") or one.tag in _SIZES))
            else one
            for one in values
        )

    def object(self, name: str) -> Value:
        """The address of a variable."""
        known = self.variables.get(name)
        if known is None or known.static:
            if known is not None and known.kept:
                return Value("G", known.kept, known.tag)
            self.piece.look_up(name)
            return Value("G", name, known.tag if known else "")
        return Value("S", name, known.tag, known.line)

    def value(self, node: Node, env: Environment) -> Set:
        """What a pointer that ``node`` evaluates to can be; empty for what is no pointer."""
        handler = _VALUES.get(node.type)
        self.depth += 1
        try:
            if self.depth > _DEEPEST_NODE:
                return _EMPTY
            if handler is not None:
                return handler(self, node, env)
            for child in node.named_children:
                self.value(child, env)
            return _EMPTY
        finally:
            self.depth -= 1

    def _identifier(self, node: Node, env: Environment) -> Set:
        name = self.text(node)
        known = self.variables.get(name)
        if known is None:
            if name.isupper() or name in ("NULL", "true", "false"):
                return _EMPTY
            made = self.object(name)
            found = self.piece.known.get(name)
            if found is not None and found.form == "plain":
                return _EMPTY
            return frozenset((made if found is None or found.form != "pointer" else Value("U", "", found.tag),))
        if known.form == "array" or (known.form == "struct"):
            return frozenset((self.object(name),))
        if name in env:
            return env[name]
        return frozenset((Value("U", "", known.tag),)) if known.form == "pointer" else _EMPTY

    def _pointer(self, node: Node, env: Environment) -> Set:
        argument = node.child_by_field_name("argument")
        if argument is None:
            return _EMPTY
        if node.children[0].type == "&":
            return self.address(argument, env)
        return self.loaded(self.value(argument, env))

    def loaded(self, values: Set) -> Set:
        return frozenset(Value("D", "", "", 0, (one,)) if _depth(one) < _DEEPEST else Value("U") for one in values)

    def address(self, node: Node, env: Environment) -> Set:
        """What ``&node`` is."""
        kind = node.type
        if kind == "identifier":
            return frozenset((self.object(self.text(node)),))
        if kind == "subscript_expression":
            argument, index = node.child_by_field_name("argument"), node.child_by_field_name("index")
            if index is not None:
                self.value(index, env)
            return self.value(argument, env) if argument is not None else _EMPTY
        if kind == "field_expression":
            return self.member(node, env, "A")
        if kind == "parenthesized_expression" and node.named_children:
            return self.address(node.named_children[0], env)
        if kind == "pointer_expression" and node.children[0].type == "*":
            argument = node.child_by_field_name("argument")
            return self.value(argument, env) if argument is not None else _EMPTY
        if kind == "call_expression" and (name := self.text(node).partition("(")[0].strip()) in PERCPU:
            return frozenset((Value("C", name),))
        return self.value(node, env)

    def path(self, node: Node, env: Environment) -> str:
        """The key under which what an lvalue holds is kept: ``x``, ``x.tx_buf``, ``x[0].tx_buf``; "" for others."""
        kind = node.type
        if kind == "identifier":
            return self.text(node)
        if kind == "parenthesized_expression" and node.named_children:
            return self.path(node.named_children[0], env)
        if kind == "subscript_expression":
            argument, index = node.child_by_field_name("argument"), node.child_by_field_name("index")
            base = self.path(argument, env) if argument is not None else ""
            number = self.text(index) if index is not None and index.type == "number_literal" else ""
            return f"{base}[{number}]" if base else ""
        if kind == "field_expression":
            argument, field = node.child_by_field_name("argument"), node.child_by_field_name("field")
            if argument is None or field is None:
                return ""
            base = self.path(argument, env)
            if not base:
                return ""
            if node.children[1].type == "->" and (aims := env.get(base)) and len(aims) == 1:
                # A pointer to a struct on the stack is another name of it.
                (aim,) = aims
                if aim.kind == "S" and aim.name in self.variables:
                    known = self.variables[aim.name]
                    base = f"{aim.name}[0]" if known.form == "array" else aim.name
            return f"{base}.{self.text(field)}"
        return ""

    def member(self, node: Node, env: Environment, kind: Literal["F", "A"]) -> Set:
        argument, field = node.child_by_field_name("argument"), node.child_by_field_name("field")
        if argument is None or field is None:
            return _EMPTY
        if kind == "F" and (key := self.path(node, env)) in env:
            return env[key]
        name = self.text(field)
        base = self.value(argument, env) if node.children[1].type == "->" else self.address(argument, env)
        return frozenset(Value(kind, name, "", 0, (one,)) if _depth(one) < _DEEPEST else Value("U") for one in base)

    def _field(self, node: Node, env: Environment) -> Set:
        return self.member(node, env, "F")

    def _subscript(self, node: Node, env: Environment) -> Set:
        argument, index = node.child_by_field_name("argument"), node.child_by_field_name("index")
        if index is not None:
            self.value(index, env)
        if argument is None:
            return _EMPTY
        key = self.path(node, env)
        if key and key in env:
            return env[key]
        known = self.variables.get(self.text(argument)) if argument.type == "identifier" else None
        if known is not None and known.form == "array":
            return frozenset((Value("U", "", known.tag),)) if known.pointers else self._row(argument, env)
        return self.loaded(self.value(argument, env))

    def _row(self, argument: Node, env: Environment) -> Set:
        """An element of an array on the stack: a number, or an array of its own."""
        return frozenset(Value("D", "", "", 0, (one,)) for one in self.value(argument, env))

    def _cast(self, node: Node, env: Environment) -> Set:
        value = node.child_by_field_name("value")
        if value is None:
            return _EMPTY
        kind = node.child_by_field_name("type")
        tag = ""
        if kind is not None:
            tag = self.piece.type_of(kind.child_by_field_name("type"))[0]
            if self.piece.user(kind):
                self.value(value, env)
                return _USERS
        return self.typed(self.value(value, env), tag)

    def _binary(self, node: Node, env: Environment) -> Set:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        first = self.value(left, env) if left is not None else _EMPTY
        second = self.value(right, env) if right is not None else _EMPTY
        operator = node.child_by_field_name("operator")
        sign = operator.type if operator is not None else ""
        if sign == "+":
            # An index may be a member or a parameter too: the side that surely is a pointer counts.
            sure = [one for one in (first, second) if any(_inside(value).kind in "SGLPA" for value in one)]
            return sure[0] if len(sure) == 1 else first or second
        return first if sign == "-" else _EMPTY

    def _conditional(self, node: Node, env: Environment) -> Set:
        condition = node.child_by_field_name("condition")
        if condition is not None:
            self.value(condition, env)
        parts = (node.child_by_field_name(field) for field in ("consequence", "alternative"))
        first, second = (self.value(part, env) if part is not None else _EMPTY for part in parts)
        return _either(first, second, self.asked(condition, True), self.asked(condition, False))

    def _inner(self, node: Node, env: Environment) -> Set:
        made = _EMPTY
        for child in node.named_children:
            if child.type == "compound_statement":
                self.statement(child, env)
            else:
                made = self.value(child, env)
        return made

    def _string(self, node: Node, env: Environment) -> Set:
        return frozenset((Value("L", "", "", self.piece.line(node)),))

    def _nothing(self, node: Node, env: Environment) -> Set:
        return _EMPTY

    def _literal(self, node: Node, env: Environment) -> Set:
        """A compound literal is a variable without a name."""
        kind, value = node.child_by_field_name("type"), node.child_by_field_name("value")
        tag, struct = self.piece.type_of(kind.child_by_field_name("type") if kind is not None else None)
        name = f"(compound literal {self.piece.start + node.start_byte})"
        array = kind is not None and kind.child_by_field_name("declarator") is not None
        form: Form = "array" if array else "struct" if struct else "plain"
        self.variables[name] = _Declared(tag, form, self.piece.line(node))
        made = frozenset((self.object(name),))
        if value is not None:
            self.initializer(value, name, tag, made, env)
        return made

    def initializer(self, node: Node, key: str, tag: str, base: Set, env: Environment) -> None:
        """``key`` is what is initialized: its members are kept, and those of structs that are sinks as stores."""
        position = 0
        for each in node.named_children:
            if each.type == "initializer_pair":
                value = each.child_by_field_name("value")
                designators = each.children_by_field_name("designator")
                if value is None or not designators:
                    continue
                name = "".join(self.text(one) for one in designators)
            else:
                value = each
                name = f"[{position}]" if each.type == "initializer_list" else f".#{position}"
                position += 1
            inner = key + name if name.startswith("[") else f"{key}.{name.lstrip('.')}"
            if value.type == "initializer_list":
                if self.depth < _DEEPEST_NODE:
                    self.depth += 1
                    self.initializer(value, inner, tag, base, env)
                    self.depth -= 1
                continue
            found = self.value(value, env)
            member = inner[len(key) + 1 :] if not name.startswith("[") else ""
            if member:
                self.store(inner, tag, member, base, found, value, env)

    def copy(self, name: str, value: Node, env: Environment) -> None:
        """``struct x a = b``: what b's members hold."""
        found = self.value(value, env)
        for one in found:
            if one.kind == "S":
                for key in [key for key in env if key.startswith(f"{one.name}.")]:
                    env[name + key[len(one.name) :]] = env[key]

    def store(self, key: str, tag: str, member: str, base: Set, found: Set, node: Node, env: Environment) -> None:
        instance = key[: -len(member) - 1]
        if member == "flags":
            text = self.text(node)
            if "I2C_M_DMA_SAFE" in text:
                self.marked.add(instance)
            return
        env[key] = found
        if found and not all(one.kind in "U" for one in found):
            made = Store(self.piece.line(node), tag, member, _ordered(base), _ordered(found))
            made.guards = tuple(self.guards)
            self.stores[node.start_byte, member] = (made, instance)

    def _assignment(self, node: Node, env: Environment) -> Set:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if left is None or right is None:
            return _EMPTY
        found = self.value(right, env)
        operator = node.child_by_field_name("operator")
        if operator is not None and operator.type not in ("=", "|="):
            self.value(left, env)
            return _EMPTY
        while left.type == "parenthesized_expression" and left.named_children:
            left = left.named_children[0]
        if left.type == "identifier":
            if operator is not None and operator.type == "|=":
                return _EMPTY
            name = self.text(left)
            known = self.variables.get(name)
            self.numbers.pop(name, None)
            if known is not None:
                if known.form == "struct":
                    self.copy(name, right, env)
                else:
                    made = self.typed(found, known.tag if known.form == "pointer" else "")
                    if not made and known.form == "pointer":
                        made = _EMPTY
                    env[name] = made
                    for key in [key for key in env if key.startswith(f"{name}.")]:
                        del env[key]
            return found
        if left.type == "field_expression":
            field, argument = left.child_by_field_name("field"), left.child_by_field_name("argument")
            if field is not None and argument is not None:
                base = self.value(argument, env) if left.children[1].type == "->" else self.address(argument, env)
                key = self.path(left, env)
                member = self.text(field)
                if operator is not None and operator.type == "|=" and member != "flags":
                    return _EMPTY
                self.store(key or f"?{left.start_byte}.{member}", "", member, base, found, right, env)
                if "[]" in key:
                    env[key] = _EMPTY
                    del env[key]
            return found
        if left.type == "subscript_expression":
            key = self.path(left, env)
            if key and "[]" not in key:
                env[key] = found
            self.value(left, env)
            return found
        aims = self.value(left, env)
        if left.type == "pointer_expression" and left.children[0].type == "*" and found:
            for one in aims:
                if one.kind == "D" and one.base[0].kind == "P":
                    number = one.base[0].number
                    self.gives[number] = _bounded(self.gives.get(number, _EMPTY) | found)
        return found

    def _call(self, node: Node, env: Environment) -> Set:
        function, listed = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or listed is None:
            return _EMPTY
        while function.type == "parenthesized_expression" and function.named_children:
            function = function.named_children[0]
        through: Set = _EMPTY
        if function.type == "identifier":
            callee = self.text(function)
            if callee in self.variables:
                through, callee = self.value(function, env), ""
        elif function.type == "field_expression":
            field, argument = function.child_by_field_name("field"), function.child_by_field_name("argument")
            callee = self.text(field) if field is not None else ""
            if argument is not None:
                arrow = function.children[1].type == "->"
                through = self.value(argument, env) if arrow else self.address(argument, env)
            through = through or frozenset((Value("U"),))
        else:
            self.value(function, env)
            callee = ""
        nodes = listed.named_children
        if callee in _CONTAINERS and len(nodes) > 1:
            # Of "struct tag" the parser makes two.
            tag, member = self.text(nodes[-2]).replace("struct ", "").strip(), self.text(nodes[-1])
            return frozenset(_around(one, member, tag) for one in self.value(nodes[0], env)) or frozenset(
                (Value("U", "", tag),)
            )
        if callee in PREDICATES:
            self.guarded.update(self.text(one) for one in nodes)
        arguments: list[Set] = []
        contents: dict[tuple[str, str], Set] = {}
        for each in nodes:
            found = self.value(each, env)
            if self.guarded and self.text(each) in self.guarded and callee not in PREDICATES:
                found = frozenset((Value("U"),))
            arguments.append(found)
        if callee in _NOISE:
            return _EMPTY
        for found in arguments:
            for one in found:
                if one.kind == "S" and (known := self.variables.get(one.name)) is not None and known.form != "array":
                    begin = f"{one.name}."
                    for key, held in env.items():
                        if held and key.startswith(begin):
                            contents[one.name, key[len(begin) :]] = held
        if (callee or through) and any(arguments):
            self.calls[node.start_byte] = Call(
                self.piece.line(node),
                callee,
                tuple(_ordered(one) for one in arguments),
                _ordered(through),
                tuple((name, member, _ordered(held)) for (name, member), held in sorted(contents.items())),
                tuple(self.guards),
                tuple((number, text) for number, each in enumerate(nodes) if (text := self.constant(each))),
            )
        for number, (each, found) in enumerate(zip(nodes, arguments, strict=True), 1):
            # The callee may set the pointer whose address it is given.
            while each.type == "cast_expression" and (inner := each.child_by_field_name("value")) is not None:
                each = inner
            if each.type == "pointer_expression" and each.children[0].type == "&":
                for one in found:
                    known = self.variables.get(one.name) if one.kind == "S" else None
                    if known is not None and known.form == "pointer":
                        made = frozenset((Value("U", "", known.tag),))
                        if callee and not through:
                            made = _called(callee, arguments, known.tag, number)
                        env[one.name] = env.get(one.name, _EMPTY) | made
        if through or not callee or callee in PERCPU:
            return frozenset((Value("U"),))
        # Memory of an allocator has no origin among its arguments; what another function returns may have.
        if callee in ALLOCATORS:
            return frozenset((Value("C", callee),))
        return _called(callee, arguments)


def _called(callee: str, arguments: list[Set], tag: str = "", number: int = 0) -> Set:
    """What a call returns (or gives back through a parameter): one value for each that one of its arguments may be."""
    given = [_single(one) for one in arguments[:8]]
    several = next((at for at, one in enumerate(arguments[:8]) if 1 < len(one) <= 4), None)
    if several is None:
        return frozenset((Value("C", callee, tag, number, tuple(given)),))
    return frozenset(
        Value("C", callee, tag, number, (*given[:several], _single(frozenset((one,))), *given[several + 1 :]))
        for one in arguments[several]
    )


def _around(value: Value, member: str, tag: str) -> Value:
    """What has ``value`` as its ``member``: of memory that is known, the same memory."""
    if value.kind in "AF" and value.name == member:
        return value.base[0]
    return Value(value.kind, value.name, tag, value.number, value.base) if value.kind in "SGLC" else Value("U", "", tag)


def _single(values: Set) -> Value:
    """The one value that an argument can be."""
    if len(values) != 1:
        return Value("U")
    (one,) = values
    return one if _size(one) <= _LARGEST_ARGUMENT else Value("U")


def _size(value: Value) -> int:
    return 1 + sum(map(_size, value.base))


_Handler = Callable[[_Body, Node, Environment], Environment | None]
_STATEMENTS: dict[str, _Handler] = {
    "compound_statement": _Body._block,
    "if_statement": _Body._if,
    "for_statement": _Body._loop,
    "while_statement": _Body._loop,
    "do_statement": _Body._loop,
    "switch_statement": _Body._switch,
    "break_statement": _Body._break,
    "continue_statement": _Body._goto,
    "goto_statement": _Body._goto,
    "return_statement": _Body._return,
    "labeled_statement": _Body._children,
    "case_statement": _Body._children,
    "else_clause": _Body._children,
    "expression_statement": _Body._expression,
    "declaration": _Body._declaration,
    "preproc_if": _Body._children,
    "preproc_ifdef": _Body._children,
    "preproc_else": _Body._children,
    "preproc_elif": _Body._children,
    "preproc_def": lambda body, node, env: env,
    "preproc_function_def": lambda body, node, env: env,
    "preproc_call": lambda body, node, env: env,
    "comment": lambda body, node, env: env,
}
_VALUES: dict[str, Callable[[_Body, Node, Environment], Set]] = {
    "identifier": _Body._identifier,
    "pointer_expression": _Body._pointer,
    "field_expression": _Body._field,
    "subscript_expression": _Body._subscript,
    "cast_expression": _Body._cast,
    "binary_expression": _Body._binary,
    "conditional_expression": _Body._conditional,
    "assignment_expression": _Body._assignment,
    "call_expression": _Body._call,
    "parenthesized_expression": _Body._inner,
    "comma_expression": _Body._inner,
    "string_literal": _Body._string,
    "concatenated_string": _Body._string,
    "number_literal": _Body._nothing,
    "char_literal": _Body._nothing,
    "sizeof_expression": _Body._nothing,
    "offsetof_expression": _Body._nothing,
    "comment": _Body._nothing,
    "compound_literal_expression": _Body._literal,
    "compound_statement": _Body._inner,
}
