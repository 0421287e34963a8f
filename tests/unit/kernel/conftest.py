# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache in a temporary directory, and a kernel tree that is a Makefile of thirty lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmasafe.kernel.cache import Cache, open_cache

MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 7
EXTRAVERSION =

tinyconfig:
\tmkdir -p $(O)
\tln -sfn $(CURDIR) $(O)/source
\techo 'CONFIG_TINY=y' > $(O)/.config

# Like Kconfig: what the tree does not have is dropped in silence.
olddefconfig:
\tgrep -E "^(# )?CONFIG_($$(sed -n 's/^config //p' Kconfig | paste -sd'|'))[ =]" $(O)/.config > $(O)/.tmp || true
\tmv $(O)/.tmp $(O)/.config

# Kbuild's VPATH: what lies in the object directory comes first.
MAIN = $(firstword $(wildcard $(O)/main.c) main.c)
# The target comes last: make deletes no target when it is ended between two commands.
vmlinux: $(O)/vmlinux
$(O)/vmlinux: $(MAIN) $(O)/.config
\t@echo "  CC      init/main.o"
\t@echo "$(KBUILD_BUILD_USER) $(MAKELEVEL)" >> $(O)/calls
\t@if grep -q BROKEN $(MAIN); then echo "main.c:1:1: error: BROKEN" >&2; exit 1; fi
\t@mkdir -p $(O)/include/config
\t@echo 6.12.7 > $(O)/include/config/kernel.release
\t@cp $(MAIN) $(O)/System.map
\t@printf 'modules:\\n\\t@echo "  CC [M]  a.o"; cat $$(M)/a.c > $$(M)/a.ko; ! grep BROKEN $$(M)/a.c\\n' > $(O)/Makefile
\t@cat $(MAIN) > $(O)/vmlinux

modules:
\t@:

mrproper:
\trm -f odd-product
"""
MERGE = """\
#!/bin/sh
# merge_config.sh -m -O DIRECTORY BASE FRAGMENT
cat "$4" "$5" > "$3/.config.new"
mv "$3/.config.new" "$3/.config"
"""
KCONFIG = """\
config TINY
\tbool "tiny"

config WANTED
\tbool "wanted"
\tdepends on TINY

config STACKS
\tbool "stacks"
"""
MATRIX = """\
verified = ["6.12"]

[configuration.default]
fragments = ["base"]

[configuration.other]
fragments = ["base", "other"]

[[required]]
symbols = ["WANTED", "STACKS"]
why = "the test is about them"

[[absence]]
symbol = "NEWER"
versions = "<7.0"
why = "came with 7.0"
"""
ARCHITECTURE = """\
uname = "x86_64"
debian = "amd64"
elf = "EM_X86_64"

[memory]

[log]

[kernel]
fragments = []
make_arch = "x86"
cross_compile = "x86_64-linux-gnu-"
targets = ["vmlinux", "modules"]
image = "vmlinux"
agent_cflags = []
steps = 3

[machine]
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return open_cache(tmp_path / "cache")


@pytest.fixture
def kernel_tree(tmp_path: Path) -> Path:
    """A tree that passes for a kernel's, built in a millisecond."""
    tree = tmp_path / "linux"
    (tree / "scripts" / "kconfig").mkdir(parents=True)
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "Kconfig").write_text(KCONFIG)
    (tree / "scripts" / "kconfig" / "merge_config.sh").write_text(MERGE)
    (tree / "main.c").write_text("int main;\n")
    return tree


@pytest.fixture
def matrix_dir(tmp_path: Path) -> Path:
    """A kernel-configs/ for that tree."""
    directory = tmp_path / "kernel-configs"
    directory.mkdir()
    (directory / "matrix.toml").write_text(MATRIX)
    (directory / "arch").mkdir()
    (directory / "arch" / "x86_64.toml").write_text(ARCHITECTURE)
    (directory / "base.config").write_text("CONFIG_WANTED=y\nCONFIG_NEWER=y\n")
    (directory / "other.config").write_text("# CONFIG_STACKS is not set\n")
    return directory
