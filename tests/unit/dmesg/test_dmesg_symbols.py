# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames get files and lines from the objects that the kernel was made of; what is missing changes nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dmasafe.dmesg import Blame, blame
from dmasafe.dmesg.symbols import Symbols
from dmasafe.outcome import Frame, Splat

# warn_here() is a static inline of a header's, as dma_map_single_attrs() is; twice() exists in two sections.
HEADER = """
extern void report(void);
static inline __attribute__((always_inline)) void dma_map_single_attrs(void)
{
	report(); /* reported */
}
"""
SOURCE = """
#include "dma-mapping.h"
int start_kernel(int x) { return x; }
int __attribute__((section(".init.text"))) probe(int x) { report(); return x; }
int xfer(int x)
{
	dma_map_single_attrs(); /* called */
	return x + 1;
}
#line 7 "/far/objects/arch/x86/include/generated/asm/syscalls_64.h"
int call(int x) { report(); return x; }
"""


def line_of(text: str, comment: str) -> int:
    return 1 + text[: text.index(f"/* {comment} */")].count("\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    if shutil.which("gcc") is None or shutil.which("addr2line") is None:
        pytest.skip("needs gcc and binutils")
    folder = tmp_path / "linux" / "init"
    folder.mkdir(parents=True)
    (folder / "dma-mapping.h").write_text(HEADER)
    (folder / "main.c").write_text(SOURCE)
    command = ["gcc", "-g", "-O2", "-c", "-fno-pic", "-o", str(tmp_path / "i2c-foo.ko"), str(folder / "main.c")]
    subprocess.run(command, check=True)
    subprocess.run([*command[:1], "-O2", "-c", "-o", str(tmp_path / "bare.ko"), str(folder / "main.c")], check=True)
    return tmp_path


def call_in(tree: Path, function: str) -> Frame:
    """The frame that the call of report() in this function leaves in a trace: its return address."""
    listing = subprocess.run(
        ["objdump", "-dr", "--no-show-raw-insn", str(tree / "i2c-foo.ko")], check=True, capture_output=True, text=True
    ).stdout
    block = listing[listing.index(f"<{function}>:") :].split("\n\n")[0]
    addresses = [int(address, 16) for address in re.findall(r"^\s*([0-9a-f]+):\t", block, re.MULTILINE)]
    called = int(re.findall(r"^\s*([0-9a-f]+):\t(?:call|bl)", block, re.MULTILINE)[0], 16)
    after = next(address for address in [*addresses, called + 5] if address > called)
    return Frame(function, after - addresses[0], addresses[-1] - addresses[0] + 1, module="i2c_foo")


def splat(*frames: Frame, function: str | None = None) -> Splat:
    return Splat("map-vmalloc-rejected", None, None, "", function=function, frames=frames)


def test_a_frame_gets_its_line_and_inlined_calls_become_frames(tree: Path) -> None:
    symbols = Symbols(None, {"i2c-foo": tree / "i2c-foo.ko"})
    frame = call_in(tree, "xfer")
    (found,) = symbols.resolve([splat(frame)])
    inlined, own = found.frames
    header, source = str(tree / "linux/init/dma-mapping.h"), str(tree / "linux/init/main.c")
    assert (inlined.function, inlined.file, inlined.line) == (
        "dma_map_single_attrs",
        header,
        line_of(HEADER, "reported"),
    )
    assert (own.function, own.file, own.line) == ("xfer", source, line_of(SOURCE, "called"))
    assert (own.offset, own.size, own.module) == (frame.offset, frame.size, "i2c_foo")


def test_every_section_of_a_module_has_addresses_of_its_own(tree: Path) -> None:
    symbols = Symbols(None, {"i2c_foo": tree / "i2c-foo.ko"})
    frames = [call_in(tree, "xfer"), call_in(tree, "probe")]
    found = symbols.resolve([splat(frame) for frame in frames])
    lines = [one.frames[-1].line for one in found]
    assert lines == [line_of(SOURCE, "called"), 4]


def test_blame_names_the_line_of_the_driver_not_of_the_inline(tree: Path) -> None:
    (found,) = Symbols(None, {"i2c_foo": tree / "i2c-foo.ko"}).resolve([splat(call_in(tree, "xfer"))])
    source = str(tree / "linux/init/main.c")
    assert blame(found) == Blame("xfer", "i2c_foo", source, line_of(SOURCE, "called"))


def test_the_kernels_own_files_are_named_by_their_path_in_the_tree(tree: Path) -> None:
    linked = tree / "vmlinux"
    done = subprocess.run(
        ["gcc", "-nostdlib", "-static", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-e,xfer", "-o", str(linked),
         str(tree / "i2c-foo.ko")],
        capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("this gcc does not link a program without a C library")
    frame = Frame("probe", 4, None)
    (found,) = Symbols(linked, {}).resolve([splat(frame)])
    assert found.frames[-1].file == "init/main.c"


def test_a_generated_header_is_named_by_its_path_in_the_object_directory(tree: Path) -> None:
    """Where that lies is no business of a reader on another machine."""
    (found,) = Symbols(None, {"i2c_foo": tree / "i2c-foo.ko"}).resolve([splat(call_in(tree, "call"))])
    assert (found.frames[-1].file, found.frames[-1].line) == ("arch/x86/include/generated/asm/syscalls_64.h", 7)


def test_without_debug_information_frames_stay_as_they_are(tree: Path) -> None:
    before = splat(call_in(tree, "xfer"), Frame("not_there", 1, 2, "i2c_foo"), Frame("built_in", 1, 2))
    for path in (tree / "bare.ko", tree / "missing.ko", tree / "linux/init/main.c"):
        assert Symbols(path, {"i2c_foo": path}).resolve([before]) == [before]
    assert Symbols(None, {}).resolve([before]) == [before]


def test_a_function_of_another_size_is_another_function(tree: Path) -> None:
    frame = Frame("xfer", 4096, 8192, "i2c_foo")
    before = splat(frame)
    assert Symbols(None, {"i2c_foo": tree / "i2c-foo.ko"}).resolve([before]) == [before]
