# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs in the guest: a static agent, and an initramfs with the right files and equal bytes every time."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from dmasafe.architecture import project_root
from dmasafe.kernel import guest, tools
from dmasafe.kernel.cache import Cache, Kernel
from dmasafe.kernel.errors import BuildError, MissingToolError
from dmasafe.kernel.guest import build_agent, build_initramfs, find_busybox, is_static

AGENT = """\
#include <jsmn.h>
#include <stdio.h>
#include "words.h"

int main(void)
{
	jsmn_parser parser;

	jsmn_init(&parser);
	return puts(WORDS) < 0;
}
"""
#: Prints its list, as gen_init_cpio -t 0 LIST would print the archive.
GENERATOR = '#!/bin/sh\ntest "$1 $2" = "-t 0" || exit 1\ncat "$3"\nls -l --time-style=+%s\n'


@pytest.fixture
def agent_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "agent"
    directory.mkdir()
    (directory / "agent.c").write_text(AGENT)
    (directory / "words.h").write_text('#define WORDS "hello"\n')
    return directory


@pytest.fixture
def kernel(cache: Cache) -> Kernel:
    build_dir = cache.path("sources", "home", "objects", "default")
    (build_dir / "usr").mkdir(parents=True)
    generator = build_dir / "usr" / "gen_init_cpio"
    generator.write_text(GENERATOR)
    generator.chmod(0o755)
    nothing = cache.path("nothing")
    return Kernel(
        key="key", release="6.12.7", version="6.12.7", arch="x86_64", configuration="default", source="a test",
        source_identity="none", vmlinux=nothing, image=nothing, config=nothing, system_map=nothing, build_dir=build_dir,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="musl-tools is not installed")
def test_musl_makes_the_real_agent_where_glibc_is_not_static(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_has_static_libc", lambda _: False)
    program = build_agent("x86_64", project_root() / "images" / "agent", cache)
    assert is_static(program)
    assert b"GLIBC" not in program.read_bytes()


def test_the_agent_is_static_and_compiled_once(cache: Cache, agent_dir: Path) -> None:
    program = build_agent("x86_64", agent_dir, cache)
    assert is_static(program)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "hello\n"
    assert build_agent("x86_64", agent_dir, cache) == program
    (agent_dir / "words.h").write_text('#define WORDS "goodbye"\n')
    assert build_agent("x86_64", agent_dir, cache) != program


def test_a_warning_in_the_agent_is_an_error_under_its_own_path(cache: Cache, agent_dir: Path) -> None:
    (agent_dir / "agent.c").write_text(AGENT.replace("return", "int unused;\n\treturn"))
    with pytest.raises(BuildError, match="unused") as caught:
        build_agent("x86_64", agent_dir, cache)
    assert str(agent_dir) in str(caught.value)
    assert list(cache.path("agents").iterdir()) == []
    with pytest.raises(BuildError, match=r"has no \.c file"):
        build_agent("x86_64", cache.root, cache)


def test_an_initramfs_holds_what_a_guest_needs(cache: Cache, kernel: Kernel, tmp_path: Path) -> None:
    spec = tmp_path / "initramfs"
    spec.mkdir()
    (spec / "init").write_text("#!/bin/sh\n")
    (spec / "applets").write_text("vi\nsh\n")
    (spec / "a file.conf").write_text("extra")
    (spec / "a file.conf").rename(spec / "extra.conf")
    for name in ("agent", "busybox", "b.ko", "a.ko"):
        (tmp_path / name).write_text(name)
    modules = [tmp_path / "b.ko", tmp_path / "a.ko"]
    image = build_initramfs(kernel, spec, modules, tmp_path / "agent", tmp_path / "busybox", cache)
    lines = image.read_text().splitlines()
    assert "nod /dev/console 0600 0 0 c 5 1" in lines
    assert "slink /bin/vi busybox 0777 0 0" in lines
    assert lines.count("slink /bin/sh busybox 0777 0 0") == 1
    files = [line.split() for line in lines if line.startswith("file ")]
    assert [(words[1], words[3]) for words in files] == [
        ("/init", "0755"),
        ("/bin/busybox", "0755"),
        ("/bin/agent", "0755"),
        ("/modules/a.ko", "0644"),
        ("/modules/b.ko", "0644"),
        ("/etc/extra.conf", "0644"),
    ]
    # ls -l: what goes in carries no time of today.
    assert [line.split()[5] for line in lines if " file" in line and line.startswith("-")] == ["0"] * len(files)
    os.utime(tmp_path / "agent")
    again = build_initramfs(kernel, spec, reversed(modules), tmp_path / "agent", tmp_path / "busybox", cache)  # type: ignore[arg-type]
    assert again == image
    (tmp_path / "agent").write_text("changed")
    assert build_initramfs(kernel, spec, modules, tmp_path / "agent", tmp_path / "busybox", cache) != image


def test_what_is_missing_for_an_initramfs_is_a_sentence(cache: Cache, kernel: Kernel, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.touch()
    with pytest.raises(BuildError, match="has no file init"):
        build_initramfs(kernel, tmp_path, [], agent, agent, cache)
    (tmp_path / "init").touch()
    with pytest.raises(BuildError, match="two files of the initramfs have one name"):
        build_initramfs(kernel, tmp_path, [tmp_path / "a.ko", tmp_path / "x" / "a.ko"], agent, agent, cache)
    (kernel.build_dir / "usr" / "gen_init_cpio").unlink()
    with pytest.raises(BuildError, match="build the kernel again"):
        build_initramfs(kernel, tmp_path, [], agent, agent, cache)


def test_a_busybox_with_shared_libraries_is_refused(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamic = tmp_path / "busybox"
    dynamic.write_bytes(Path("/bin/ls").read_bytes())
    dynamic.chmod(dynamic.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(guest, "require", lambda *_: None)
    assert not is_static(dynamic)
    with pytest.raises(MissingToolError, match="busybox-static"):
        find_busybox("x86_64", cache)
    dynamic.write_text("#!/bin/sh\n")
    assert not is_static(dynamic)
