# SPDX-License-Identifier: GPL-2.0-or-later
"""The Kconfig reader: enough of the language to say why a symbol did not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmasafe.kernel.kconfig import Kconfig, enabling, evaluate, read_kconfig, why_not

FILES = {
    "Kconfig": """\
# a comment
mainmenu "Linux"
flavour := i2c

source "drivers/$(flavour)/Kconfig"
source "arch/$(SRCARCH)/Kconfig"
source "missing/Kconfig"
""",
    "drivers/i2c/Kconfig": """\
menuconfig I2C
\ttristate "I2C support"
\tselect RT_MUTEXES
\thelp
\t  depends on NOTHING, for this is help.

\t  config HELP

if I2C

config I2C_VIRTIO
\ttristate "Virtio I2C Adapter"
\tdepends on VIRTIO && !UML && \\
\t\t(PCI || OF)
\tselect REGMAP_I2C if PCI

menu "deeper"
\tdepends on HAS_IOPORT = y
config I2C_PORT
\tbool "port" if EXPERT
\tdepends on $(cc-option,-mfoo)
endmenu

endif

config REGMAP_I2C
\ttristate
\tdepends on I2C

menuconfig VIRTIO
\tbool "virtio"

config AT24
\ttristate "EEPROMs"
\tdepends on NVMEM && NVMEM_SYSFS
\tselect REGMAP_I2C

config NVMEM
\tbool "NVMEM"

config NVMEM_SYSFS
\tbool "in sysfs"
\tdepends on NVMEM && (!TINY || TINY = n)

config APART
\ttristate "beside a module only"
\tdepends on NVMEM = m

config LOOP
\tbool "in a circle"
\tdepends on POOL
config POOL
\tbool "in a circle"
\tdepends on LOOP
""",
    "arch/x86/Kconfig": """\
config X86
\tdef_bool y
\tselect SWIOTLB

config SWIOTLB
\tbool

choice
\tprompt "unwinder"
config ORC
\tbool "orc"
config FRAMES
\tbool "frames"
endchoice
""",
}


@pytest.fixture
def kconfig(tmp_path: Path) -> Kconfig:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return read_kconfig(tmp_path, "x86")


def test_help_texts_define_nothing(kconfig: Kconfig) -> None:
    assert set(kconfig.definitions) == {
        *("I2C", "I2C_VIRTIO", "I2C_PORT", "REGMAP_I2C", "X86", "SWIOTLB", "ORC", "FRAMES"),
        *("VIRTIO", "AT24", "NVMEM", "NVMEM_SYSFS", "APART", "LOOP", "POOL"),
    }


def test_an_unmet_dependency_is_named_with_its_value(kconfig: Kconfig) -> None:
    text = why_not(kconfig, "I2C_VIRTIO", "y", {"I2C": "y", "PCI": "y"})
    assert text == "it depends on VIRTIO (drivers/i2c/Kconfig:11), and VIRTIO is n"
    text = why_not(kconfig, "I2C_VIRTIO", "y", {"VIRTIO": "y"})
    assert text == "it depends on I2C && (PCI || OF) (drivers/i2c/Kconfig:11), and I2C is n, OF is n, PCI is n"


def test_the_blocks_around_a_symbol_count(kconfig: Kconfig) -> None:
    text = why_not(kconfig, "I2C_PORT", "y", {"I2C": "m"})
    assert "it depends on HAS_IOPORT = y" in text
    assert "HAS_IOPORT is n" in text
    text = why_not(kconfig, "I2C_PORT", "y", {"I2C": "m", "HAS_IOPORT": "y"})
    assert text == "its prompt needs EXPERT (drivers/i2c/Kconfig:19)"


def test_a_symbol_without_a_prompt_says_what_selects_it(kconfig: Kconfig) -> None:
    text = why_not(kconfig, "REGMAP_I2C", "y", {"I2C": "y"})
    assert text == "it has no prompt (drivers/i2c/Kconfig:26): enable what selects it (AT24, I2C_VIRTIO)"


def test_a_symbol_that_is_forced_on_says_by_whom(kconfig: Kconfig) -> None:
    assert why_not(kconfig, "SWIOTLB", "n", {"X86": "y", "SWIOTLB": "y"}) == "it is selected by X86"
    assert "another choice or a default won" in why_not(kconfig, "FRAMES", "y", {"ORC": "y"})


def test_a_symbol_that_is_not_there_suggests_others(kconfig: Kconfig) -> None:
    text = why_not(kconfig, "I2C_VIRTO", "y", {})
    assert text.startswith("this tree's Kconfig does not have it (did you mean I2C_VIRTIO")


@pytest.mark.parametrize(
    ("symbol", "values", "way"),
    [
        ("I2C", {}, {"I2C": "y"}),
        ("I2C", {"I2C": "m"}, {}),
        ("AT24", {"I2C": "y"}, {"NVMEM": "y", "NVMEM_SYSFS": "y", "AT24": "y"}),
        # It has no prompt, and another way to it has a condition.
        ("REGMAP_I2C", {"I2C": "y", "NVMEM": "y"}, {"NVMEM_SYSFS": "y", "AT24": "y"}),
        ("I2C_VIRTIO", {"I2C": "y"}, None),  # neither PCI nor OF is in the tree
        ("I2C_VIRTIO", {"I2C": "y", "OF": "y"}, {"VIRTIO": "y", "I2C_VIRTIO": "y"}),
        ("I2C_PORT", {"I2C": "y", "HAS_IOPORT": "y"}, None),  # EXPERT is not in the tree
        ("NVMEM_SYSFS", {"I2C": "y", "TINY": "y"}, None),  # nothing is switched off for it
        ("APART", {"I2C": "y"}, None),  # what is enabled is built in
        ("LOOP", {"I2C": "y"}, None),
        ("NO_SUCH", {}, None),
    ],
)
def test_what_would_enable_a_symbol(
    kconfig: Kconfig, symbol: str, values: dict[str, str], way: dict[str, str] | None
) -> None:
    assert enabling(kconfig, symbol, values) == way


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("A", 2),
        ("M", 1),
        ("N", 0),
        ("!N", 2),
        ("!M", 1),
        ("A && M", 1),
        ("N || M && A", 1),
        ("(N || A) && !N", 2),
        ("A = y", 2),
        ("A != y", 0),
        ("N = n", 2),
        ("M<y", 0),
        ("SHIFT >= 12", 2),
        ("SHIFT < 0x0c", 0),
        ('NAME = "text"', 2),
        ("$(success,test -e (x))", 2),
        ("y", 2),
        ("", 2),
    ],
)
def test_expressions_have_kconfigs_values(text: str, level: int) -> None:
    values = {"A": "y", "M": "m", "SHIFT": "12", "NAME": '"text"'}
    assert evaluate(text, values) == level
