# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: one maker at a time, whole results only, and words for a disk that will not take them."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dmasafe.cli import group
from dmasafe.dmesg import known_as
from dmasafe.kernel import cache as cache_module
from dmasafe.kernel.cache import (
    Cache,
    Kernel,
    cache_limit,
    digest,
    explained,
    list_kernels,
    load_kernel,
    lock,
    open_cache,
    prune,
    publish_directory,
    publish_text,
    require_space,
    save_kernel,
    staging,
    written_below,
)
from dmasafe.kernel.errors import CacheFullError, CacheUnwritableError, KernelError
from dmasafe.outcome import Frame
from dmasafe.progress import SILENT

WAITER = """
import sys
from pathlib import Path
from dmasafe.kernel.cache import Cache, lock

class Told:
    def stage(self, text):
        print(text, flush=True)
    def advance(self, done, total, text):
        pass

with lock(Cache(Path(sys.argv[1])), "thing", Told(), "being second"):
    print("done" if Path(sys.argv[1], "result").exists() else "nothing there", flush=True)
"""


def make_kernel(cache: Cache, key: str) -> Kernel:
    home = cache.path("kernels", key)
    build_dir = cache.path("sources", f"source-of-{key}", "objects", "default")
    build_dir.mkdir(parents=True)
    home.mkdir(parents=True)
    for name in ("vmlinux", "config", "System.map"):
        (home / name).write_text(key)
    kernel = Kernel(
        key=key, release="6.12.7", version="6.12.7", arch="x86_64", configuration="default", source="a test",
        source_identity="none", vmlinux=home / "vmlinux", image=home / "vmlinux", config=home / "config",
        system_map=home / "System.map", build_dir=build_dir, absences=("NEWER",),
    )  # fmt: skip
    save_kernel(cache, kernel)
    return kernel


def test_a_second_process_says_whom_it_waits_for_and_finds_the_result(cache: Cache) -> None:
    with lock(cache, "thing", SILENT, "making a thing"):
        second = subprocess.Popen([sys.executable, "-c", WAITER, str(cache.root)], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == f"waiting for process {os.getpid()}, which is making a thing\n"
        publish_text(cache.path("result"), "whole")
    assert second.communicate(timeout=30)[0] == "done\n"
    assert second.returncode == 0


def test_the_lock_lives_on_in_a_child_whose_parent_was_killed(cache: Cache) -> None:
    with lock(cache, "thing", SILENT, "making") as held:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[held])
    second = subprocess.Popen([sys.executable, "-c", WAITER, str(cache.root)], stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert second.stdout.readline().startswith("waiting for process")
    child.communicate()
    assert second.communicate(timeout=30)[0] == "nothing there\n"


def test_a_file_in_the_place_of_the_cache_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CacheUnwritableError, match=r"cannot be written .*set DMASAFE_CACHE"):
        open_cache(tmp_path / "cache")
    with pytest.raises(CacheUnwritableError, match="set DMASAFE_CACHE"):
        open_cache(tmp_path / "cache" / "below")


def test_a_full_disk_is_one_sentence(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CacheFullError, match=r"is full: make room .*DMASAFE_CACHE"), explained(cache):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(CacheFullError, match=r"an elephant needs 1048576.0 GiB, and .* GiB are free"):
        require_space(cache, 2**50, "an elephant")


def test_errors_about_other_places_are_not_blamed_on_the_cache(cache: Cache) -> None:
    with pytest.raises(PermissionError), explained(cache):
        raise PermissionError(errno.EACCES, "Permission denied", "/somebody/else")


def test_the_place_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMASAFE_CACHE", str(tmp_path / "elsewhere"))
    assert open_cache().root == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere" / "CACHEDIR.TAG").exists()


def test_an_interrupted_write_leaves_the_old_text(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.path("text")
    publish_text(path, "old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish_text(path, "new")
    assert path.read_text() == "old"
    assert list(cache.root.glob(".text*")) == []


def test_the_first_of_two_equal_results_stays(cache: Cache) -> None:
    for text in ("first", "second"):
        with staging(cache) as directory:
            (directory / "made").mkdir()
            (directory / "made" / "file").write_text(text)
            publish_directory(directory / "made", cache.path("kernels", "key"))
    assert cache.path("kernels", "key", "file").read_text() == "first"
    assert list(cache.path("tmp").iterdir()) == []


def test_digest_keeps_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", b"b") == digest("a", "b")


def test_kernels_are_listed_last_used_first_and_survive_a_move_of_the_cache(cache: Cache, tmp_path: Path) -> None:
    for number, key in enumerate(("old", "new")):
        make_kernel(cache, key)
        os.utime(cache.path("kernels", key, "kernel.json"), (1000 + number, 1000 + number))
    assert [kernel.key for kernel in list_kernels(cache)] == ["new", "old"]
    load_kernel(cache, "old")
    assert [kernel.key for kernel in list_kernels(cache)] == ["old", "new"]
    cache.root.rename(tmp_path / "moved")
    moved = load_kernel(Cache(tmp_path / "moved"), "new")
    assert moved is not None
    assert moved.vmlinux == tmp_path / "moved" / "kernels" / "new" / "vmlinux"
    assert moved.absences == ("NEWER",)


def test_a_kernel_without_its_marker_or_image_is_none(cache: Cache) -> None:
    kernel = make_kernel(cache, "key")
    kernel.vmlinux.unlink()
    assert load_kernel(cache, "key") is None
    assert load_kernel(cache, "never") is None
    cache.path("kernels", "key", "kernel.json").write_text("{ damaged")
    assert load_kernel(cache, "key") is None


def test_prune_takes_what_nobody_used_and_what_killed_runs_left(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = make_kernel(cache, "old"), make_kernel(cache, "new")
    ago = 1_000_000
    for path in (cache.path("kernels", "old", "kernel.json"), old.build_dir, old.build_dir.parent.parent):
        os.utime(path, (ago, ago))
    cache.path("tmp", "1-alive").mkdir()
    left = cache.path("tmp", "999999999-dead")
    left.mkdir()
    (left / "file").write_text("12345")
    pruned = prune(cache)
    assert set(pruned.paths) == {cache.path("kernels", "old"), old.build_dir.parent.parent, left}
    assert pruned.bytes_freed > 5
    assert [kernel.key for kernel in list_kernels(cache)] == ["new"]
    assert new.build_dir.exists()
    assert cache.path("tmp", "1-alive").exists()


def test_prune_takes_old_downloads(cache: Cache) -> None:
    old, new = cache.path("downloads", "old.tar.xz"), cache.path("downloads", "new.tar.xz")
    for path in (old, new):
        path.write_text("12345")
    os.utime(old, (1_000_000, 1_000_000))
    assert prune(cache).paths == (old,) and new.exists()


def test_a_cache_over_its_limit_loses_the_least_recently_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for key, hours in (("oldest", 9), ("older", 8), ("recent", 0)):
        kernel = make_kernel(cache, key)
        kernel.image.write_bytes(bytes(3 << 20))
        for path in (cache.path("kernels", key, "kernel.json"), kernel.build_dir, kernel.build_dir.parent.parent):
            os.utime(path, (now - hours * 3600, now - hours * 3600))
    monkeypatch.setenv(cache_module.LIMIT_VARIABLE, "7M")
    assert cache_limit() == 7 << 20
    assert cache.path("kernels", "oldest") in prune(cache, dry_run=True, max_bytes=cache_limit()).paths
    prune(cache, math.inf, max_bytes=cache_limit())
    assert [kernel.key for kernel in list_kernels(cache)] == ["recent", "older"]
    prune(cache, math.inf, max_bytes=0)
    assert [kernel.key for kernel in list_kernels(cache)] == ["recent"], "a run may be about to boot it"
    monkeypatch.setenv(cache_module.LIMIT_VARIABLE, "much")
    with pytest.raises(KernelError, match="DMASAFE_CACHE_MAX is 'much': give a size, such as 20G"):
        cache_limit()


def test_prune_leaves_what_a_running_build_holds(cache: Cache) -> None:
    build_dir = cache.path("sources", "home", "objects", "default")
    build_dir.mkdir(parents=True)
    with lock(cache, cache_module.objects_lock(build_dir), SILENT, "building"):
        prune(cache, unused_days=0)
        assert build_dir.exists()
    prune(cache, unused_days=0)
    assert not build_dir.exists()


def test_prune_leaves_what_a_process_has_open_or_was_started_with(cache: Cache) -> None:
    opened, named = (make_kernel(cache, key) for key in ("opened", "named"))
    code = "import sys; print(flush=True); sys.stdin.read()"
    # As QEMU has it: the path is a part of an argument.
    command = [sys.executable, "-c", code, f"file={named.image},readonly=on"]
    with (
        opened.config.open(),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        prune(cache, unused_days=0)
        assert {kernel.key for kernel in list_kernels(cache)} == {"opened", "named"}
        assert opened.build_dir.exists()
        process.stdin.close()
    prune(cache, unused_days=0)
    assert list_kernels(cache) == ()


def test_a_dry_run_tells_what_would_go_and_removes_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kernel(cache, "old")
    monkeypatch.setenv(cache_module.CACHE_VARIABLE, str(cache.root))

    def prune_all(*options: str) -> dict[str, Any]:
        words = ["kernel", "prune", "--unused-days", "0", "--format", "json", *options]
        found: dict[str, Any] = json.loads(CliRunner().invoke(group, words).stdout)
        return found

    told = prune_all("--dry-run")
    assert "kernels/old" in told["paths"] and told["removed"] is False and list_kernels(cache)
    done = prune_all()
    assert (done["paths"], done["bytes"]) == (told["paths"], told["bytes"])
    assert not list_kernels(cache) and prune_all()["paths"] == []


def test_a_module_s_lines_are_found_wherever_the_cache_was_when_it_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the driver's own function was not known to be its own, and its caller was blamed."""
    (tmp_path / "moved").symlink_to(tmp_path / "cache")
    (tmp_path / "cache" / "modules" / "key" / "src").mkdir(parents=True)
    monkeypatch.setenv("DMASAFE_CACHE", str(tmp_path / "moved"))
    places = {
        written_below(tmp_path / "moved" / "modules" / "key" / "src"): "/home/me/thermo/",
        written_below(tmp_path / "linux"): "",
    }

    def known(file: str | None) -> str | None:
        return known_as(Frame("thermo_measure", 1, 2, file=file), places).file

    for built in (tmp_path / "cache", tmp_path / "moved", Path("/somewhere/else")):
        assert known(f"{built}/modules/key/src/thermo.c") == "/home/me/thermo/thermo.c"
    assert known(f"{tmp_path}/linux/drivers/i2c/i2c-core-base.c") == "drivers/i2c/i2c-core-base.c"
    assert known(f"/elsewhere{tmp_path}/linux/x.c") == f"/elsewhere{tmp_path}/linux/x.c"
    assert known(None) is None
