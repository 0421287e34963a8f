# SPDX-License-Identifier: GPL-2.0-or-later
"""The intermediate form: what is kept of a C file after it was parsed once, small enough to cache.

A Value says where a pointer comes from, as far as one function can tell; flow.py resolves it over the whole tree.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: S object on the stack, G static object or global, L string literal, P parameter, F member that is loaded (or decays),
#: A address of a member, D what a pointer points at, C what a call returns, U unknown, I another if something holds.
Kind = Literal["S", "G", "L", "P", "F", "A", "D", "C", "U", "I"]
#: Of a variable, a member or a parameter; a "user" is a pointer to memory of user space.
Form = Literal["plain", "pointer", "array", "struct", "user"]


class Value(Struct, frozen=True, array_like=True, gc=False, cache_hash=True, omit_defaults=True):
    """Where one pointer comes from. ``tag`` names the struct (or scalar) that it points at, "" if that is not known.

    ``name`` is the variable, the member or the called function; ``number`` the parameter's index from 0, or the line
    of a variable's declaration; ``base`` what a member is taken of, or a call's arguments, one set after the other.
    A call with a number gives its value back where its parameter points, from 1. Of kind I, ``name`` says whether the
    parameter ``number`` must be equal to the constant ``tag``: "==" or "!=".
    """

    kind: Kind
    name: str = ""
    tag: str = ""
    number: int = 0
    base: tuple[Value, ...] = ()


Values = tuple[Value, ...]


#: A parameter's index, or -1 for a member of a driver's state; a constant, and whether the two must be equal. Before
#: the constant there may be one of < > <= >=.
Guard = tuple[int, str, bool]
#: A constant that is not none, and of which no more is known.
SIZEOF = "sizeof"


class Call(Struct, array_like=True, gc=False):
    """One call: ``through`` is the object whose member (``callee``) was called, empty for a call by name.

    ``contents``: what members of structs on the stack hold whose address is an argument: variable, member, values.
    ``guards``: what was asked about parameters before it comes to this. ``constants``: arguments by their index that
    are constants, or ``$2``, the function's own parameter.
    """

    line: int
    callee: str
    arguments: tuple[Values, ...]
    through: Values = ()
    contents: tuple[tuple[str, str, Values], ...] = ()
    guards: tuple[Guard, ...] = ()
    constants: tuple[tuple[int, str], ...] = ()


class Store(Struct, array_like=True, gc=False):
    """A pointer is kept in a member of a struct. ``marked``: with I2C_M_DMA_SAFE in the same message's flags."""

    line: int
    tag: str
    member: str
    base: Values
    values: Values
    marked: bool = False
    guards: tuple[Guard, ...] = ()


class Parameter(Struct, array_like=True, gc=False):
    """A function's parameter."""

    name: str
    tag: str
    form: Form


class Function(Struct, array_like=True, gc=False):
    """A function's flows. ``local``: static, in a .c file. ``asks``: it looks at I2C_M_DMA_SAFE or bounces by it.

    ``looks``: it asks what memory a pointer points at. ``gives``: what it stores where its parameters point.
    """

    name: str
    line: int
    local: bool
    parameters: tuple[Parameter, ...] = ()
    calls: tuple[Call, ...] = ()
    stores: tuple[Store, ...] = ()
    returns: Values = ()
    asks: bool = False
    looks: bool = False
    gives: tuple[tuple[int, Values], ...] = ()


class Member(Struct, array_like=True, gc=False):
    """A member of a struct. ``aligned``: the macro that aligns it for DMA, "" if there is none; ``size`` in bytes or 0.

    ``group``: its __dma_from_device_group, "" outside of one.
    """

    name: str
    tag: str
    form: Form
    line: int
    aligned: str = ""
    group: str = ""
    size: int = 0


class StructType(Struct, array_like=True, gc=False):
    """A struct or union. Members of nameless structs inside it are its own.

    ``open``: the __dma_from_device_groups that have no end, or another's.
    """

    tag: str
    line: int
    members: tuple[Member, ...]
    union: bool = False
    open: tuple[str, ...] = ()


class Global(Struct, array_like=True, gc=False):
    """A variable outside functions, or a static one inside: ``constant`` is in rodata."""

    name: str
    line: int
    tag: str
    form: Form
    constant: bool = False
    percpu: bool = False


class FileFacts(Struct, gc=False):
    """What is known of one file, or of one piece of it. ``done``: where the pieces begin, in bytes.

    ``tables``: struct, member, function, variable: what a struct of function pointers has been given.
    """

    done: set[int] = set()
    functions: list[Function] = []
    structs: list[StructType] = []
    globals: list[Global] = []
    tables: list[tuple[str, str, str, str]] = []
    aliases: list[tuple[str, str]] = []

    def add(self, start: int, piece: FileFacts) -> None:
        """Take in the piece that begins at ``start``."""
        self.done.add(start)
        self.functions += piece.functions
        self.structs += piece.structs
        self.globals += piece.globals
        self.tables += piece.tables
        self.aliases += piece.aliases


class Answers(Struct, gc=False):
    """What was asked of one file, and what it said: by that alone another run need not read it.

    ``places``: where the pieces begin that have what was searched for. ``pieces``: what those hold that were parsed.
    ``size`` and ``changed`` (ns) say whether it is still the same file.
    """

    size: int = -1
    changed: int = -1
    places: dict[str, list[int]] = {}
    pieces: dict[int, FileFacts] = {}
