# SPDX-License-Identifier: GPL-2.0-or-later
"""C functions at random, source x flows x sink, each with what is true of it: the checker must say the same.

They compile in a kernel's module too (images/check, targets/check_conform.py), so that a guest can say what is true.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dmasafe.audit import Level
from dmasafe.check.judge import CheckResult

HEAD = """\
#include <linux/dma-mapping.h>
#include <linux/i2c.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spi/spi.h>
#include <linux/usb.h>
#include <linux/vmalloc.h>
#include "check.h"

struct packet {
	u8 header[2];
	u8 body[14];
};

struct holder {
	void *data;
	int len;
};

struct nested {
	int kind;
	struct holder holder;
};

struct state {
	u8 header[64];
	u8 body[64];
};

struct ops {
	int (*send)(struct spi_device *spi, struct usb_device *usb, struct i2c_client *i2c,
			struct device *dev, u8 given, void *data);
};
"""
#: What a run gives functions (images/check/check_main.c); what depends on it asks for ``given > 1``.
SMALL, LARGE = 1, 3
GIVEN = (SMALL, LARGE)
#: What every function takes.
SIGNATURE = "struct spi_device *spi, struct usb_device *usb, struct i2c_client *i2c, struct device *dev, u8 given"
_NUMBERED = re.compile(r"_(\d+)(?:_\d+)?$")
_PASSED = "spi, usb, i2c, dev, given"


@dataclass(frozen=True)
class Source:
    """What declares memory, the pointer to it, its kind ("" for memory that DMA may touch), its bytes.

    ``bad``: for which of GIVEN it really is of that kind.
    """

    declared: str
    pointer: str
    kind: str
    room: int
    bad: frozenset[int] = frozenset(GIVEN)


SOURCES = {
    "array": Source("\tu8 buf[16] = { 1 };\n", "buf", "stack", 16),
    "scalar": Source("\tu32 val = 1;\n", "&val", "stack", 4),
    "struct": Source("\tstruct packet packet = { };\n", "&packet", "stack", 16),
    "member": Source("\tstruct packet packet = { };\n", "packet.body", "stack", 14),
    "parameter": Source("", "&given", "stack", 1),
    "literal": Source("", "(u8[]){ 1, 2, 3, 4, 5, 6, 7, 8 }", "stack", 8),
    "string": Source("", '(void *)"1234567"', "rodata", 8),
    "const": Source("\tstatic const u8 table[16] = { 1 };\n", "(void *)table", "rodata", 16),
    "static": Source("\tstatic u8 kept[16];\n", "kept", "module-data", 16),
    "vmalloc": Source("\tvoid *big = vmalloc(64);\n\n\tcheck_keep(big);\n", "big", "vmalloc", 64),
    "kvmalloc": Source(
        "\tvoid *big = kvmalloc(given > 1 ? 8 << 20 : 64, GFP_KERNEL);\n\n\tcheck_keep(big);\n",
        "big", "kvmalloc", 64, frozenset({LARGE}),
    ),
    "kmalloc": Source("\tvoid *heap = kmalloc(64, GFP_KERNEL);\n", "heap", "", 64),
    "kmemdup": Source("\tvoid *heap = kmemdup(&given, 1, GFP_KERNEL);\n", "heap", "", 1),
    "devm": Source("\tvoid *heap = devm_kzalloc(&i2c->dev, 64, GFP_KERNEL);\n", "heap", "", 64),
    "pages": Source("\tvoid *page = (void *)__get_free_page(GFP_KERNEL);\n", "page", "", 64),
    "embedded": Source("\tstruct state *state = kzalloc(sizeof(*state), GFP_KERNEL);\n", "state->body", "", 64),
}  # fmt: skip


@dataclass(frozen=True)
class Sink:
    """How the pointer ``%P`` is handed over, ``%L`` bytes of it; whether that ``demands`` DMA-safe memory.

    ``bus``: spi, usb, i2c or dma.
    """

    text: str
    bus: str
    demands: bool = True

    @property
    def twice(self) -> bool:
        """Whether the pointer is written down more than once: it must be the same each time."""
        return self.text.count("%P") > 1


_MESSAGE = ".addr = i2c->addr, .len = %L, .buf = (u8 *)%P"
SINKS = {
    "spi_write": Sink("\tret = spi_write(spi, %P, %L);\n", "spi"),
    "spi_read": Sink("\tret = spi_read(spi, %P, %L);\n", "spi"),
    "tx_buf": Sink(
        "\tstruct spi_transfer xfer = { .tx_buf = %P, .len = %L };\n\n"
        "\tret = spi_sync_transfer(spi, &xfer, 1);\n", "spi",
    ),
    "rx_buf": Sink(
        "\tstruct spi_transfer xfer[2] = { };\n\tstatic u8 *sent;\n\n\tif (!sent)\n\t\tsent = kzalloc(8, GFP_KERNEL);\n"
        "\txfer[0].tx_buf = sent;\n\txfer[0].len = 1;\n\txfer[1].rx_buf = %P;\n\txfer[1].len = %L;\n"
        "\tret = spi_sync_transfer(spi, xfer, 2);\n", "spi",
    ),
    "message": Sink(
        "\tstruct spi_transfer xfer = { };\n\tstruct spi_message message;\n\n\tspi_message_init(&message);\n"
        "\txfer.tx_buf = %P;\n\txfer.len = %L;\n\tspi_message_add_tail(&xfer, &message);\n"
        "\tret = spi_sync(spi, &message);\n", "spi",
    ),
    "usb_bulk_msg": Sink("\tret = usb_bulk_msg(usb, 0, %P, %L, NULL, 100);\n", "usb"),
    "usb_control_msg": Sink("\tret = usb_control_msg(usb, 0, 1, 2, 3, 4, %P, %L, 100);\n", "usb"),
    "sg_init_one": Sink(
        "\tstruct scatterlist sg;\n\n\tsg_init_one(&sg, %P, %L);\n"
        "\tret = check_list(dev, &sg, %P, DMA_TO_DEVICE);\n", "dma",
    ),
    "sg_set_buf": Sink(
        "\tstruct scatterlist sg[1];\n\n\tsg_init_table(sg, 1);\n\tsg_set_buf(&sg[0], %P, %L);\n"
        "\tret = check_list(dev, sg, %P, DMA_FROM_DEVICE);\n", "dma",
    ),
    "dma_map_single": Sink(
        "\tdma_addr_t at = dma_map_single(dev, %P, %L, DMA_TO_DEVICE);\n\n"
        "\tret = check_single(dev, at, %P, %L, DMA_TO_DEVICE);\n", "dma",
    ),
    "dma_map_single_from": Sink(
        "\tdma_addr_t at = dma_map_single(dev, %P, %L, DMA_FROM_DEVICE);\n\n"
        "\tret = check_single(dev, at, %P, %L, DMA_FROM_DEVICE);\n", "dma",
    ),
    "send_dmasafe": Sink("\tret = i2c_master_send_dmasafe(i2c, (char *)%P, %L);\n", "i2c"),
    "recv_dmasafe": Sink("\tret = i2c_master_recv_dmasafe(i2c, (char *)%P, %L);\n", "i2c"),
    "marked": Sink(
        f"\tstruct i2c_msg msg = {{ .flags = I2C_M_DMA_SAFE, {_MESSAGE} }};\n\n"
        "\tret = i2c_transfer(i2c->adapter, &msg, 1);\n", "i2c",
    ),
    "marked_later": Sink(
        "\tstruct i2c_msg msg[2] = {\n\t\t{ .addr = i2c->addr },\n"
        f"\t\t{{ .flags = I2C_M_RD, {_MESSAGE} }},\n\t}};\n\n"
        "\tmsg[1].flags |= I2C_M_DMA_SAFE;\n\tret = i2c_transfer(i2c->adapter, &msg[1], 1);\n", "i2c",
    ),
    "unmarked": Sink(
        f"\tstruct i2c_msg msg = {{ {_MESSAGE} }};\n\n\tret = i2c_transfer(i2c->adapter, &msg, 1);\n", "i2c", False
    ),
    "master_send": Sink("\tret = i2c_master_send(i2c, (char *)%P, %L);\n", "i2c", False),
    "smbus": Sink("\tret = i2c_smbus_write_i2c_block_data(i2c, 0, %L, (u8 *)%P);\n", "i2c", False),
    "write_then_read": Sink("\tret = spi_write_then_read(spi, %P, %L, NULL, 0);\n", "spi", False),
}  # fmt: skip


@dataclass
class Program:
    """A function in the making: ``outside`` are helpers, in order; ``body`` statements before the hand-over.

    ``room``: bytes behind the pointer. ``kind`` and ``bad``: as its source's.
    """

    number: int
    pointer: str
    room: int
    kind: str
    bad: frozenset[int]
    outside: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    count: int = 0

    def name(self, what: str) -> str:
        """A name that no other function has."""
        self.count += 1
        return f"{what}_{self.number}_{self.count}"

    def keep(self, statements: str) -> None:
        """Keep the pointer in a variable: ``statements`` declare ``%N``, and give it ``%P``."""
        name = self.name("p")
        self.body.append(statements.replace("%N", name).replace("%P", self.pointer))
        self.pointer = name

    def moves(self, by: int) -> bool:
        """Whether the pointer may move on by so many bytes; it then has so many less."""
        if self.room <= by:
            return False
        self.room -= by
        return True

    def pure(self) -> bool:
        """Whether the pointer's expression means the same memory each time."""
        return '"' not in self.pointer and "{" not in self.pointer


def _local(program: Program, draw: random.Random) -> None:
    program.keep("\tvoid *%N = %P;\n")


def _arithmetic(program: Program, draw: random.Random) -> None:
    if not program.moves(1):
        return
    way = draw.choice(["(u8 *)(%s) + 1", "(void *)((u8 *)(%s) + 2 - 1)", "&((u8 *)(%s))[1]"])
    program.pointer = way % program.pointer


def _number(program: Program, draw: random.Random) -> None:
    program.pointer = f"(void *)(unsigned long)({program.pointer})"


def _branch(program: Program, draw: random.Random) -> None:
    program.keep("\tvoid *%N = NULL;\n\n\tif (given > 1)\n\t\t%N = %P;\n\telse\n\t\t%N = %P;\n")


def _mixed(program: Program, draw: random.Random) -> None:
    """One branch gives memory of its own."""
    if draw.random() < 0.5:
        program.keep("\tvoid *%N = %P;\n\n\tif (given > 1)\n\t\t%N = kmalloc(64, GFP_KERNEL);\n")
    else:
        program.keep("\tvoid *%N;\n\n\t%N = given > 1 ? kmalloc(64, GFP_KERNEL) : (void *)(%P);\n")
    program.bad -= {LARGE}


def _loop(program: Program, draw: random.Random) -> None:
    if not program.moves(2):
        return
    program.keep("\tvoid *%N = %P;\n\tint i_%N;\n\n\tfor (i_%N = 0; i_%N < 2; i_%N++)\n\t\t%N += 1;\n")


def _switch(program: Program, draw: random.Random) -> None:
    program.keep(
        "\tvoid *%N;\n\n\tswitch (given) {\n\tcase 1:\n\t\t%N = %P;\n\t\tbreak;\n\tdefault:\n\t\t%N = %P;\n\t}\n"
    )


def _ternary(program: Program, draw: random.Random) -> None:
    program.pointer = f"(given > 1 ? (void *)({program.pointer}) : (void *)({program.pointer}))"


def _held(program: Program, draw: random.Random) -> None:
    """In a member of a struct on the stack."""
    name, other = program.name("holder"), program.name("other")
    way = draw.choice(["initialized", "assigned", "copied", "nested", "pointed"])
    if way == "assigned":
        program.body.append(f"\tstruct holder {name};\n\n\t{name}.data = {program.pointer};\n")
    elif way == "nested":
        program.body.append(f"\tstruct nested {name} = {{ .holder = {{ .data = {program.pointer} }} }};\n")
        program.pointer = f"{name}.holder.data"
        return
    else:
        program.body.append(f"\tstruct holder {name} = {{ .data = {program.pointer} }};\n")
    if way == "copied":
        program.body.append(f"\tstruct holder {other} = {name};\n")
        name = other
    elif way == "pointed":
        program.body.append(f"\tstruct holder *{other} = &{name};\n")
        program.pointer = f"{other}->data"
        return
    program.pointer = f"{name}.data"


def _row(program: Program, draw: random.Random) -> None:
    """In an array of pointers."""
    name = program.name("row")
    program.body.append(f"\tvoid *{name}[2] = {{ }};\n\n\t{name}[1] = {program.pointer};\n")
    program.pointer = f"{name}[1]"


def _container(program: Program, draw: random.Random) -> None:
    if not program.moves(2):
        return
    name, outer = program.name("p"), program.name("outer")
    program.body.append(f"\tvoid *{name} = (u8 *)({program.pointer}) + 2;\n")
    program.body.append(f"\tstruct packet *{outer} = container_of({name}, struct packet, body);\n")
    program.pointer = f"{outer}->body"


def _returned(program: Program, draw: random.Random) -> None:
    name = program.name("same")
    if program.moves(1):
        program.outside.append(f"static void *{name}(void *p)\n{{\n\treturn p + 1;\n}}\n")
    else:
        program.outside.append(
            f"static void *{name}(void *p)\n{{\n\tif (IS_ERR_OR_NULL(p))\n\t\treturn NULL;\n\treturn p;\n}}\n"
        )
    program.pointer = f"{name}({program.pointer})"


def _given_back(program: Program, draw: random.Random) -> None:
    """By the address of a pointer."""
    get = program.name("get")
    program.outside.append(f"static void {get}(void **to, void *p)\n{{\n\t*to = p;\n}}\n")
    program.keep(f"\tvoid *%N;\n\n\t{get}(&%N, %P);\n")


def _replaced(program: Program, draw: random.Random) -> None:
    if draw.random() < 0.5:
        program.keep("\tvoid *%N = %P;\n\n\t%N = kmemdup(%N, 1, GFP_KERNEL);\n")
    else:
        program.keep("\tvoid *%N = kzalloc(64, GFP_KERNEL);\n\n\tmemcpy(%N, %P, 1);\n")
    program.room, program.bad = 1, frozenset()


Flow = Callable[[Program, random.Random], None]
FLOWS: tuple[Flow, ...] = (
    _local, _arithmetic, _number, _branch, _mixed, _loop, _switch, _ternary, _held, _row, _container, _returned,
    _given_back, _replaced,
)  # fmt: skip


def _wrapped(program: Program, hand_over: str, draw: random.Random) -> str:
    """Hand over by a function above what hands over: returns the new way, which takes %P."""
    name = program.name("send")
    way = draw.choice(["plain", "struct", "ops", "copies", "copies not", "may copy"])
    program.ways.append(way)
    takes, before, data = "void *data", "", "data"
    if way == "struct":
        takes, data = "struct holder *h", "h->data"
    elif "cop" in way:
        takes = "void *data, bool copy"
        before = "\tif (copy)\n\t\tdata = kmemdup(data, 1, GFP_KERNEL);\n"
    body = hand_over.replace("%P", data)
    if "cop" in way:
        # Declarations come first.
        inner = program.name("inner")
        program.outside.append(
            f"static int {inner}({SIGNATURE}, void *data)\n{{\n\tint ret;\n{body}\treturn ret;\n}}\n"
        )
        body = f"{before}\tret = {inner}({_PASSED}, data);\n"
    program.outside.append(f"static int {name}({SIGNATURE}, {takes})\n{{\n\tint ret;\n{body}\treturn ret;\n}}\n")
    if way == "struct":
        held = program.name("h")
        return f"\tstruct holder {held} = {{ .data = %P, .len = 4 }};\n\n\tret = {name}({_PASSED}, &{held});\n"
    if way == "ops":
        table = program.name("table")
        program.outside.append(f"static const struct ops {table} = {{\n\t.send = {name},\n}};\n")
        return f"\tconst struct ops *ops = &{table};\n\n\tret = ops->send({_PASSED}, %P);\n"
    if way == "copies":
        program.bad = frozenset()
    elif way == "may copy":
        program.bad -= {LARGE}
    asked = {"copies": ", true", "copies not": ", false", "may copy": ", given > 1"}.get(way, "")
    return f"\tret = {name}({_PASSED}, %P{asked});\n"


@dataclass(frozen=True)
class Written:
    """A finished function: its text, the ``kind`` of memory that must be found ("" for none), what it was made of.

    ``bad``: for which of GIVEN it is unsafe. ``limit``: the name in LIMITS of why the checker may not say so.
    """

    name: str
    text: str
    kind: str
    bad: frozenset[int]
    bus: str
    what: str
    limit: str | None


#: What the checker is known not to say right (docs/check.md).
LIMITS = {
    "belong-together": "two conditions that are never true together are taken for two that may be: a warning",
}


def _limit(made: Program, flows: Sequence[Flow]) -> str | None:
    if made.bad or not made.kind or _replaced in flows or "copies" in made.ways:
        return None
    return "belong-together"


def program(number: int, draw: random.Random, buses: frozenset[str]) -> Written:
    """One function, whose sink is of one of ``buses``."""
    sink_name = draw.choice(sorted(name for name, sink in SINKS.items() if sink.bus in buses))
    source_name, sink = draw.choice(sorted(SOURCES)), SINKS[sink_name]
    source = SOURCES[source_name]
    made = Program(number, source.pointer, source.room, source.kind, source.bad if source.kind else frozenset())
    flows = draw.choices(FLOWS, k=draw.randint(0, 3))
    for flow in flows:
        flow(made, draw)
    if sink.twice and not made.pure():
        _local(made, draw)
    length = min(4, made.room)
    hand_over = sink.text
    depth = draw.randint(0, 4)
    for _ in range(depth):
        hand_over = _wrapped(made, hand_over, draw)
    body = f"\tint ret;\n{source.declared}{''.join(made.body)}{hand_over.replace('%P', made.pointer)}\treturn ret;\n"
    name = f"program_{number}"
    text = "\n".join([*made.outside, f"int {name}({SIGNATURE})\n{{\n{body}}}\n"]).replace("%L", str(length))
    what = " ".join(
        [source_name, *(flow.__name__.strip("_") for flow in flows), *(f"<{way}>" for way in made.ways), sink_name]
    )
    bad = made.bad if sink.demands else frozenset()
    return Written(name, text, made.kind if bad else "", bad, sink.bus, what, _limit(made, flows))


def programs(seed: int, count: int, buses: frozenset[str] = frozenset({"spi", "usb", "i2c", "dma"})) -> list[Written]:
    """``count`` functions: the same for the same arguments."""
    draw = random.Random(seed)
    return [program(number, draw, buses) for number in range(count)]


def file_of(written: list[Written]) -> str:
    """One C file of these functions."""
    return HEAD + "".join(f"\n{one.text}" for one in written)


def said(results: Iterable[CheckResult]) -> dict[str, list[CheckResult]]:
    """What the checker says of functions by their names, its notes left out: a helper's is its function's."""
    found: dict[str, list[CheckResult]] = {}
    for result in results:
        number = _NUMBERED.search(result.function)
        if number is not None and result.level is not Level.NOTE:
            found.setdefault(f"program_{number[1]}", []).append(result)
    return found
