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
from dmasafe.kernel.cache import Cache
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


@pytest.fixture
def agent_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "agent"
    directory.mkdir()
    (directory / "agent.c").write_text(AGENT)
    (directory / "words.h").write_text('#define WORDS "hello"\n')
    return directory


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


def test_an_initramfs_holds_what_a_guest_needs(cache: Cache, tmp_path: Path) -> None:
    spec = tmp_path / "initramfs"
    spec.mkdir()
    (spec / "init").write_text("#!/bin/sh\n")
    (spec / "applets").write_text("vi\nsh\n")
    (spec / "extra.conf").write_text("extra")
    for name in ("agent", "busybox", "b.ko", "a.ko"):
        (tmp_path / name).write_text(name)
    modules = [tmp_path / "b.ko", tmp_path / "a.ko"]
    image = build_initramfs("x86_64", spec, modules, tmp_path / "agent", tmp_path / "busybox", cache)
    listed = subprocess.run(
        ["cpio", "--list", "--verbose", "--numeric-uid-gid", "--quiet"],
        input=image.read_bytes(), capture_output=True, check=True, env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    rows = {line.split()[8 + line.startswith("c")]: line for line in listed.stdout.decode().splitlines()}
    assert rows["bin/vi"].endswith("bin/vi -> busybox") and rows["bin/sh"].endswith("-> busybox")
    assert rows["dev/console"].startswith("crw-------") and "5,   1" in rows["dev/console"]
    assert [(name, line.split()[0]) for name, line in rows.items() if line.startswith("-")] == [
        ("init", "-rwxr-xr-x"),
        ("bin/busybox", "-rwxr-xr-x"),
        ("bin/agent", "-rwxr-xr-x"),
        ("modules/a.ko", "-rw-r--r--"),
        ("modules/b.ko", "-rw-r--r--"),
        ("etc/extra.conf", "-rw-r--r--"),
    ]
    # What goes in carries no time of today.
    assert all("1970" in line for line in rows.values())
    os.utime(tmp_path / "agent")
    again = build_initramfs("x86_64", spec, reversed(modules), tmp_path / "agent", tmp_path / "busybox", cache)  # type: ignore[arg-type]
    assert again == image
    early = build_initramfs("x86_64", spec, modules, tmp_path / "agent", tmp_path / "busybox", cache, first=["b.ko"])
    assert b"etc/first-modules\0" in early.read_bytes() and b"b.ko\n" in early.read_bytes()
    (tmp_path / "agent").write_text("changed")
    assert build_initramfs("x86_64", spec, modules, tmp_path / "agent", tmp_path / "busybox", cache) != image


def test_what_is_missing_for_an_initramfs_is_a_sentence(cache: Cache, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.touch()
    with pytest.raises(BuildError, match="has no file init"):
        build_initramfs("x86_64", tmp_path, [], agent, agent, cache)
    (tmp_path / "init").touch()
    with pytest.raises(BuildError, match="two files of the initramfs have one name"):
        build_initramfs("x86_64", tmp_path, [tmp_path / "a.ko", tmp_path / "x" / "a.ko"], agent, agent, cache)


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
