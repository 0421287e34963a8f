# SPDX-License-Identifier: GPL-2.0-or-later
"""C functions at random, source x flows x sink, each with what is true of it: the checker must say the same.

python -m tests.unit.check.programs SEED COUNT      prints them
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field

HEAD = """\
#include <linux/dma-mapping.h>
#include <linux/i2c.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spi/spi.h>
#include <linux/usb.h>
#include <linux/vmalloc.h>

struct packet {
	u8 header[2];
	u8 body[8];
};

struct holder {
	void *data;
	int len;
};

struct ops {
	int (*send)(struct spi_device *spi, void *data);
};
"""

#: What declares it (%d is the program's number), the pointer, the kind of memory ("" for memory that DMA may touch).
SOURCES = {
    "array": ("\tu8 buf[8] = { 1 };\n", "buf", "stack"),
    "scalar": ("\tu32 val = 1;\n", "&val", "stack"),
    "struct": ("\tstruct packet packet = { };\n", "&packet", "stack"),
    "member": ("\tstruct packet packet = { };\n", "packet.body", "stack"),
    "parameter": ("", "&given", "stack"),
    "literal": ("", "(u8[]){ 1, 2, 3, 4 }", "stack"),
    "string": ("", '(void *)"1234"', "rodata"),
    "const": ("\tstatic const u8 table[4] = { 1 };\n", "(void *)table", "rodata"),
    "static": ("\tstatic u8 kept[8];\n", "kept", "module-data"),
    "vmalloc": ("\tvoid *big = vmalloc(64);\n", "big", "vmalloc"),
    "kvmalloc": ("\tvoid *big = kvmalloc(64, GFP_KERNEL);\n", "big", "kvmalloc"),
    "kmalloc": ("\tvoid *heap = kmalloc(64, GFP_KERNEL);\n", "heap", ""),
    "kmemdup": ("\tvoid *heap = kmemdup(&given, 1, GFP_KERNEL);\n", "heap", ""),
    "devm": ("\tvoid *heap = devm_kzalloc(&spi->dev, 64, GFP_KERNEL);\n", "heap", ""),
    "pages": ("\tvoid *page = (void *)__get_free_page(GFP_KERNEL);\n", "page", ""),
}

#: How the pointer %P is handed over; whether that demands DMA-safe memory.
SINKS = {
    "spi_write": ("\treturn spi_write(spi, %P, 4);\n", True),
    "spi_read": ("\treturn spi_read(spi, %P, 4);\n", True),
    "tx_buf": (
        "\tstruct spi_transfer xfer = { .tx_buf = %P, .len = 4 };\n\n"
        "\treturn spi_sync_transfer(spi, &xfer, 1);\n", True,
    ),
    "rx_buf": (
        "\tstruct spi_transfer xfer[2] = { };\n\n\txfer[1].rx_buf = %P;\n\txfer[1].len = 4;\n"
        "\treturn spi_sync_transfer(spi, xfer, 2);\n", True,
    ),
    "usb_bulk_msg": ("\treturn usb_bulk_msg(usb, 0, %P, 4, NULL, 100);\n", True),
    "usb_control_msg": ("\treturn usb_control_msg(usb, 0, 1, 2, 3, 4, %P, 4, 100);\n", True),
    "sg_init_one": ("\tstruct scatterlist sg;\n\n\tsg_init_one(&sg, %P, 4);\n\treturn 0;\n", True),
    "dma_map_single": ("\treturn dma_map_single(&spi->dev, %P, 4, DMA_TO_DEVICE) == 0;\n", True),
    "dmasafe": ("\treturn i2c_master_send_dmasafe(i2c, %P, 4);\n", True),
    "marked": (
        "\tstruct i2c_msg msg = { .flags = I2C_M_DMA_SAFE, .len = 4, .buf = %P };\n\n"
        "\treturn i2c_transfer(i2c->adapter, &msg, 1);\n",
        True,
    ),
    "unmarked": (
        "\tstruct i2c_msg msg = { .len = 4, .buf = %P };\n\n\treturn i2c_transfer(i2c->adapter, &msg, 1);\n", False,
    ),
    "master_send": ("\treturn i2c_master_send(i2c, %P, 4);\n", False),
    "write_then_read": ("\treturn spi_write_then_read(spi, %P, 4, NULL, 0);\n", False),
}  # fmt: skip

_SIGNATURE = "struct spi_device *spi, struct usb_device *usb, struct i2c_client *i2c"
_PASSED = "spi, usb, i2c"


@dataclass
class Program:
    """``outside`` are helpers, in order; ``body`` statements before the pointer is handed over."""

    number: int
    pointer: str
    outside: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    copied: bool = False
    count: int = 0

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what}_{self.number}_{self.count}"


def _local(program: Program, draw: random.Random) -> None:
    name = program.name("p")
    program.body.append(f"\tvoid *{name} = {program.pointer};\n")
    program.pointer = name


def _arithmetic(program: Program, draw: random.Random) -> None:
    program.pointer = (
        draw.choice(["(u8 *)(%s) + 1", "(void *)((u8 *)(%s) + 2 - 1)", "&((u8 *)(%s))[1]"]) % program.pointer
    )


def _branch(program: Program, draw: random.Random) -> None:
    name = program.name("p")
    program.body.append(f"\tvoid *{name} = NULL;\n\n\tif (given > 1)\n\t\t{name} = {program.pointer};\n")
    program.body.append(f"\telse\n\t\t{name} = {program.pointer};\n")
    program.pointer = name


def _loop(program: Program, draw: random.Random) -> None:
    name, index = program.name("p"), program.name("i")
    program.body.append(f"\tvoid *{name} = {program.pointer};\n\tint {index};\n\n")
    program.body.append(f"\tfor ({index} = 0; {index} < 2; {index}++)\n\t\t{name} += 1;\n")
    program.pointer = name


def _switch(program: Program, draw: random.Random) -> None:
    name = program.name("p")
    program.body.append(
        f"\tvoid *{name};\n\n\tswitch (given) {{\n\tcase 1:\n\t\t{name} = {program.pointer};\n\t\tbreak;\n"
    )
    program.body.append(f"\tdefault:\n\t\t{name} = {program.pointer};\n\t}}\n")
    program.pointer = name


def _ternary(program: Program, draw: random.Random) -> None:
    program.pointer = f"(spi ? (void *)({program.pointer}) : (void *)({program.pointer}))"


def _held(program: Program, draw: random.Random) -> None:
    name = program.name("holder")
    if draw.random() < 0.5:
        program.body.append(f"\tstruct holder {name} = {{ .data = {program.pointer} }};\n")
    else:
        program.body.append(f"\tstruct holder {name};\n\n\t{name}.data = {program.pointer};\n")
    program.pointer = f"{name}.data"


def _returned(program: Program, draw: random.Random) -> None:
    name = program.name("same")
    program.outside.append(f"static void *{name}(void *p)\n{{\n\treturn p + 1;\n}}\n")
    program.pointer = f"{name}({program.pointer})"


def _replaced(program: Program, draw: random.Random) -> None:
    name = program.name("p")
    program.body.append(f"\tvoid *{name} = {program.pointer};\n\n\t{name} = kmemdup({name}, 4, GFP_KERNEL);\n")
    program.pointer = name
    program.copied = True


FLOWS = (_local, _arithmetic, _branch, _loop, _switch, _ternary, _held, _returned)


def _wrapped(program: Program, hand_over: str, draw: random.Random) -> str:
    """Hand over by a function above what hands over: returns the new way, which takes %P."""
    name = program.name("send")
    way = draw.choice(["plain", "struct", "ops"])
    if way == "struct":
        body = hand_over.replace("%P", "h->data")
        program.outside.append(f"static int {name}({_SIGNATURE}, struct holder *h)\n{{\n{body}}}\n")
        held = program.name("h")
        return f"\tstruct holder {held} = {{ .data = %P, .len = 4 }};\n\n\treturn {name}({_PASSED}, &{held});\n"
    body = hand_over.replace("%P", "data")
    if way == "ops" and "usb" not in hand_over and "i2c" not in hand_over:
        program.outside.append(f"static int {name}(struct spi_device *spi, void *data)\n{{\n{body}}}\n")
        table = program.name("table")
        program.outside.append(f"static const struct ops {table} = {{\n\t.send = {name},\n}};\n")
        return f"\tconst struct ops *ops = &{table};\n\n\treturn ops->send(spi, %P);\n"
    program.outside.append(f"static int {name}({_SIGNATURE}, void *data)\n{{\n{body}}}\n")
    return f"\treturn {name}({_PASSED}, %P);\n"


def program(number: int, draw: random.Random) -> tuple[str, str, str]:
    """The C text, the kind of memory that must be found ("" for none), and what it was made of."""
    source, sink = draw.choice(sorted(SOURCES)), draw.choice(sorted(SINKS))
    declared, pointer, kind = SOURCES[source]
    made = Program(number, pointer)
    flows = draw.choices((*FLOWS, _replaced), k=draw.randint(0, 3))
    for flow in flows:
        flow(made, draw)
    hand_over, demands = SINKS[sink]
    depth = draw.randint(0, 4)
    for _ in range(depth):
        hand_over = _wrapped(made, hand_over, draw)
    body = declared + "".join(made.body) + hand_over.replace("%P", made.pointer)
    text = "\n".join(made.outside) + f"\nint program_{number}({_SIGNATURE}, u8 given)\n{{\n{body}}}\n"
    true = "" if made.copied or not demands else kind
    what = " ".join([source, *(flow.__name__.strip("_") for flow in flows), f"{depth} calls", sink])
    return text, true, what


def programs(seed: int, count: int) -> tuple[str, dict[int, tuple[str, str]]]:
    """One file of ``count`` programs, and of each by its number what must be found, and what it was made of."""
    draw = random.Random(seed)
    made = [program(number, draw) for number in range(count)]
    return HEAD + "\n".join(text for text, _, _ in made), {n: (true, what) for n, (_, true, what) in enumerate(made)}


if __name__ == "__main__":
    print(programs(int(sys.argv[1]), int(sys.argv[2]))[0])
