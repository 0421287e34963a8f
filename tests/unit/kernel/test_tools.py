# SPDX-License-Identifier: GPL-2.0-or-later
"""Missing tools are named by their Debian packages, all at once."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.architecture import architecture_names, project_root
from dmasafe.kernel import tools
from dmasafe.kernel.config import load_matrix
from dmasafe.kernel.errors import MissingToolError
from dmasafe.kernel.tools import Step, ToolKind, missing_packages, require, required_tools
from dmasafe.qemu.machines import find_machine

ROW = load_matrix().architectures["x86_64"]
NATIVE = replace(ROW, machine=platform.machine())


def test_an_empty_machine_misses_everything_for_the_asked_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "HEADER_DIRECTORIES", (tmp_path,))
    missing = missing_packages(NATIVE, [Step.AGENT])
    assert missing == {
        "gcc": ("gcc",),
        "binutils": ("ld",),
        "libc6-dev": ("stdio.h", "libc.a"),
        "libjsmn-dev": ("jsmn.h",),
    }
    with pytest.raises(MissingToolError, match=r"busybox is missing: install what Debian calls busybox-static"):
        require(NATIVE, Step.INITRAMFS)
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    with pytest.raises(MissingToolError, match=r"busybox is missing: apt-get install busybox-static"):
        require(NATIVE, Step.INITRAMFS)
    assert "ccache" not in missing_packages(NATIVE)
    assert missing_packages(NATIVE, optional=True) == {"git": ("git",), "ccache": ("ccache",)}


def test_nothing_tells_a_fedora_to_use_apt_get() -> None:
    telling = [path for path in project_root().glob("harness/dmasafe/**/*.py") if "apt-get install" in path.read_text()]
    # Where apt's own archive is asked, there is apt-get.
    assert {path.name for path in telling} == {"errors.py", "apt.py"}


def test_headers_are_found_in_multiarch_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "HEADER_DIRECTORIES", (tmp_path,))
    assert "libelf-dev" in missing_packages(NATIVE, [Step.KERNEL])
    (tmp_path / "riscv64-linux-gnu").mkdir()
    (tmp_path / "riscv64-linux-gnu" / "gelf.h").touch()
    assert "libelf-dev" not in missing_packages(NATIVE, [Step.KERNEL])


def test_a_foreign_architecture_needs_its_cross_compiler() -> None:
    foreign = replace(ROW, machine="pdp11", cross_compile="x86_64-linux-gnu-")
    names = {tool.name: tool.package for tool in required_tools(foreign) if tool.kind is ToolKind.PROGRAM}
    assert names["x86_64-linux-gnu-gcc"] == "gcc-x86-64-linux-gnu"
    assert names["x86_64-linux-gnu-ld"] == "binutils-x86-64-linux-gnu"


def test_the_bootstrap_list_installs_what_the_table_names() -> None:
    path = project_root() / "images" / "packages-debian.txt"
    if not path.exists():
        pytest.skip("this checkout has no images/packages-debian.txt yet")
    listed = {line.split()[0] for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")}
    # These come with every Debian, or as a dependency of gcc.
    implied = {"tar", "dpkg", "bash", "perl-base", "binutils"}
    assert {tool.package for tool in required_tools(NATIVE)} - implied <= listed


@pytest.mark.parametrize("arch", architecture_names())
def test_the_script_installs_what_an_architectures_cross_build_adds(arch: str, tmp_path: Path) -> None:
    # Nothing is installed.
    (tmp_path / "dpkg-query").write_text("#!/bin/sh\n")
    (tmp_path / "uname").write_text("#!/bin/sh\necho pdp11\n")
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DMASAFE_INSTALL": "no", "DMASAFE_ARCH": arch}
    script = project_root() / "scripts" / "install-packages"
    done = subprocess.run([script], env={**os.environ, **settings}, capture_output=True, text=True)
    assert done.returncode == 1
    command = done.stdout.splitlines()[-1]
    listed = set(command.partition("--no-install-recommends ")[2].split())
    foreign = replace(load_matrix().architectures[arch], machine="pdp11")
    added = {tool.package for tool in required_tools(foreign)} - {tool.package for tool in required_tools(NATIVE)}
    own = read_list("packages-debian.txt")
    assert (added | {find_machine(arch).debian_package}) - own == listed - own


def test_a_foreign_busybox_is_not_asked_of_this_machine() -> None:
    foreign = replace(load_matrix().architectures["arm64"], machine="pdp11")
    assert "busybox" not in {tool.name for tool in required_tools(foreign)}


def read_list(name: str) -> set[str]:
    lines = (project_root() / "images" / name).read_text().splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
