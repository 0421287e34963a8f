# SPDX-License-Identifier: GPL-2.0-or-later
"""Building, on a tree that is a small Makefile: what is built again, what is not, and what a failure leaves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.kernel import build as build_module
from dmasafe.kernel.build import adopt_configuration, build_kernel, build_modules, configure, find_kernel
from dmasafe.kernel.cache import Cache, Kernel, list_kernels, open_cache
from dmasafe.kernel.config import load_matrix
from dmasafe.kernel.errors import BuildError, CacheFullError, ConfigError, MissingToolError
from dmasafe.kernel.kdir import KernelDirectory, build_for_board
from dmasafe.kernel.source import LocalSource, fetch
from dmasafe.progress import SILENT, Progress

ARCH = "x86_64"

BUILDER = """
import sys
from pathlib import Path
from dmasafe.kernel import build
from dmasafe.kernel.cache import Cache
from dmasafe.kernel.config import load_matrix
from dmasafe.kernel.source import LocalSource, fetch

class Told:
    def stage(self, text):
        print(text, flush=True)
    def advance(self, done, total, text):
        pass

build.require = lambda *_: None
cache = Cache(Path(sys.argv[1]))
tree = fetch(LocalSource(Path(sys.argv[2])), cache)
kernel = build.build_kernel(tree, "default", "x86_64", cache, Told(), matrix=load_matrix(Path(sys.argv[3])))
print(kernel.key, flush=True)
"""


class Told:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int | None, str]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def advance(self, done: int, total: int | None, text: str) -> None:
        self.steps.append((done, total, text))


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree of these tests needs neither flex nor libelf."""
    monkeypatch.setattr(build_module, "require", lambda *_: None)


@pytest.fixture
def build(cache: Cache, kernel_tree: Path, matrix_dir: Path) -> Builder:
    return Builder(cache, kernel_tree, matrix_dir)


class Builder:
    """Builds the tree as it is now, and counts the calls of make vmlinux."""

    def __init__(self, cache: Cache, tree: Path, matrix_dir: Path) -> None:
        self.cache, self.tree, self.matrix_dir = cache, tree, matrix_dir

    def __call__(self, configuration: str = "default", progress: Progress = SILENT) -> Kernel:
        tree = fetch(LocalSource(self.tree), self.cache)
        return build_kernel(tree, configuration, ARCH, self.cache, progress, 1, matrix=load_matrix(self.matrix_dir))

    def calls(self, kernel: Kernel) -> int:
        return len((kernel.build_dir / "calls").read_text().splitlines())


def test_a_kernel_is_built_once(build: Builder) -> None:
    told = Told()
    kernel = build(progress=told)
    assert kernel.release == "6.12.7"
    assert kernel.vmlinux.read_text() == "int main;\n"
    assert kernel.image == kernel.vmlinux
    assert "CONFIG_WANTED=y" in kernel.config.read_text()
    assert kernel.absences == ("NEWER",)
    assert told.stages == [
        "configuring 6.12.7 default",
        "not built yet: Linux 6.12.7, configuration default for x86_64, "
        "about 20 minutes with 1 job if nothing is cached",
        "building 6.12.7 default for x86_64",
    ]
    assert told.steps == [(1, 3, "init/main.o")]
    again = Told()
    assert build(progress=again) == kernel
    assert again.stages == []
    assert build.calls(kernel) == 1
    assert list_kernels(build.cache) == (kernel,)


def test_what_would_have_to_be_built_is_not_found(build: Builder) -> None:
    tree, rules = fetch(LocalSource(build.tree), build.cache), load_matrix(build.matrix_dir)
    assert find_kernel(tree, "default", ARCH, build.cache, matrix=rules) is None
    kernel = build()
    assert find_kernel(tree, "default", ARCH, build.cache, matrix=rules) == kernel


def test_a_configuration_is_taken_over_where_the_caller_says_so(build: Builder) -> None:
    build()
    tree, rules = fetch(LocalSource(build.tree), build.cache), load_matrix(build.matrix_dir)
    other, third = replace(tree, identity="git-tree:1"), replace(tree, identity="git-tree:2")
    adopt_configuration(other, tree, "default", ARCH, build.cache, matrix=rules)
    # Of a tree that has none there is nothing to be taken.
    adopt_configuration(third, replace(tree, identity="git-tree:3"), "default", ARCH, build.cache, matrix=rules)
    for one, configured in ((other, False), (third, True)):
        told = Told()
        kernel = build_kernel(one, "default", ARCH, build.cache, told, 1, matrix=rules)
        assert ("configuring 6.12.7 default" in told.stages) is configured
        assert "CONFIG_WANTED=y" in kernel.config.read_text() and kernel.absences == ("NEWER",)


def test_nothing_is_written_in_the_source_tree(build: Builder) -> None:
    before = sorted(build.tree.rglob("*"))
    kernel = build()
    assert sorted(build.tree.rglob("*")) == before
    assert build.cache.root in kernel.build_dir.parents


def test_the_recipe_reaches_make_and_the_callers_make_does_not(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKELEVEL", "7")
    kernel = build()
    assert (kernel.build_dir / "calls").read_text() == "dmasafe 0\n"


def test_clang_is_refused_in_one_sentence(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLVM", "-18")
    with pytest.raises(BuildError, match=r"^LLVM=-18: kernels and modules are built with gcc only"):
        build()
    monkeypatch.setenv("LLVM", "0")
    assert build().release == "6.12.7"


def test_a_board_whose_kernel_clang_built_is_refused(tmp_path: Path, cache: Cache) -> None:
    kdir = KernelDirectory(tmp_path, "6.12.7", "x86", "CONFIG_CC_IS_CLANG=y\n")
    with pytest.raises(BuildError, match=f"{tmp_path} was built with clang"):
        build_for_board(kdir, "x86_64", "", tmp_path, cache)


def test_configurations_have_kernels_and_objects_of_their_own(build: Builder) -> None:
    first, other = build(), build("other")
    assert first.key != other.key
    assert first.build_dir != other.build_dir
    assert "-default-" in first.key
    assert "-other-" in other.key


def test_an_edit_of_a_local_tree_updates_its_objects_and_makes_another_kernel(build: Builder) -> None:
    first = build()
    (build.tree / "main.c").write_text("int edited;\n")
    second = build()
    assert second.key != first.key
    assert second.build_dir == first.build_dir
    assert first.vmlinux.read_text() == "int main;\n"
    assert second.vmlinux.read_text() == "int edited;\n"


def test_objects_of_another_state_are_not_built_against(build: Builder, tmp_path: Path) -> None:
    first = build()
    (build.tree / "main.c").write_text("int edited;\n")
    build()
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "Kbuild").write_text("obj-m := a.o\n")
    (modules / "a.c").write_text("int a;\n")
    with pytest.raises(BuildError, match="build that kernel again first"):
        build_modules(first, modules, build.cache)
    (build.tree / "main.c").write_text("int main;\n")
    again = build()
    assert build_modules(again, modules, build.cache)


def test_a_broken_build_shows_the_line_and_is_resumed(build: Builder) -> None:
    (build.tree / "main.c").write_text("BROKEN\n")
    with pytest.raises(BuildError, match=r"building 6.12.7 default for x86_64 failed") as caught:
        build()
    assert "main.c:1:1: error: BROKEN" in str(caught.value)
    assert list_kernels(build.cache) == ()
    (build.tree / "main.c").write_text("int mended;\n")
    assert build().vmlinux.read_text() == "int mended;\n"


def test_an_interrupted_build_leaves_no_kernel(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(Told):
        def advance(self, done: int, total: int | None, text: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(progress=Interrupting())
    assert list_kernels(build.cache) == ()
    assert build().vmlinux.exists()


def test_two_runs_at_once_build_once(build: Builder) -> None:
    arguments = [str(build.cache.root), str(build.tree), str(build.matrix_dir)]
    runs = [
        subprocess.Popen([sys.executable, "-c", BUILDER, *arguments], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in runs]
    assert [process.returncode for process in runs] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    (kernel,) = list_kernels(build.cache)
    assert build.calls(kernel) == 1


def test_a_symbol_that_did_not_take_is_an_error_with_its_reason(build: Builder) -> None:
    kconfig = build.tree / "Kconfig"
    kconfig.write_text(kconfig.read_text().replace("config WANTED", "config WANTEDD"))
    with pytest.raises(ConfigError) as caught:
        build()
    assert str(caught.value).startswith(
        "Linux 6.12.7 did not take CONFIG_WANTED=y of base.config:1: "
        "this tree's Kconfig does not have it (did you mean WANTEDD?)"
    )
    assert "[[absence]]" in str(caught.value)


def test_a_kernel_without_what_is_not_required_is_built_and_says_so(build: Builder) -> None:
    base = build.matrix_dir / "base.config"
    base.write_text(base.read_text() + "CONFIG_WANTEDD=y\n")
    note = (
        "Linux 6.12.7 is built without CONFIG_WANTEDD=y (base.config:3): "
        "this tree's Kconfig does not have it (did you mean WANTED?)"
    )
    assert build().notes == (note,)
    (kernel,) = list_kernels(build.cache)
    assert kernel.notes == (note,), "the note is lost with the run that built"


def test_every_line_of_a_users_own_fragment_is_required(build: Builder, tmp_path: Path) -> None:
    (tmp_path / "my.config").write_text("CONFIG_MINE=y\n")
    with pytest.raises(ConfigError, match=r"did not take CONFIG_MINE=y of my.config:1"):
        build(configuration=f"default+{tmp_path}/my.config")


def test_what_a_lost_line_depends_on_is_enabled_and_said(build: Builder) -> None:
    """The stand-in for olddefconfig drops a line whose Kconfig entry depends on what is not set, as Kconfig does."""
    makefile = build.tree / "Makefile"
    drop = "\tgrep -q CONFIG_BASE=y $(O)/.tmp || sed -i /CONFIG_NEEDY/d $(O)/.tmp\n\tmv $(O)/.tmp $(O)/.config\n"
    makefile.write_text(makefile.read_text().replace("\tmv $(O)/.tmp $(O)/.config\n", drop))
    kconfig = build.tree / "Kconfig"
    kconfig.write_text(
        kconfig.read_text() + 'config BASE\n\tbool "base"\n\nconfig NEEDY\n\tbool "needy"\n\tdepends on BASE && TINY\n'
    )
    base = build.matrix_dir / "base.config"
    base.write_text(base.read_text() + "CONFIG_NEEDY=y\n")
    kernel = build()
    assert kernel.notes == ("BASE enabled, for NEEDY needs it",)
    config = kernel.config.read_text()
    assert "CONFIG_BASE=y" in config and "CONFIG_NEEDY=y" in config
    # What a fragment switches off stays off.
    base.write_text(base.read_text() + "# CONFIG_BASE is not set\n")
    (note,) = build().notes
    assert "built without CONFIG_NEEDY=y" in note and "BASE is n" in note


def test_configure_gives_the_config_without_building(build: Builder) -> None:
    tree = fetch(LocalSource(build.tree), build.cache)
    config = configure(tree, "default", ARCH, build.cache, matrix=load_matrix(build.matrix_dir))
    assert "CONFIG_WANTED=y" in config.read_text()
    assert list_kernels(build.cache) == ()


def test_a_changed_fragment_or_compiler_makes_another_kernel(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {build().key}
    (build.matrix_dir / "base.config").write_text("CONFIG_WANTED=y\nCONFIG_STACKS=y\n")
    keys.add(build().key)
    monkeypatch.setattr(build_module, "toolchain_version", lambda _: "gcc 99")
    keys.add(build().key)
    assert len(keys) == 3


def test_another_way_to_ask_for_the_same_builds_nothing(build: Builder) -> None:
    kernel = build()
    fragment = build.matrix_dir / "base.config"
    fragment.write_text("# In other words.\n" + fragment.read_text())
    told = Told()
    assert build(progress=told) == kernel
    assert told.stages == ["configuring 6.12.7 default"]
    with (build.matrix_dir / "matrix.toml").open("a") as rules:
        rules.write('\n[[absence]]\nsymbol = "ELSEWHERE"\nversions = ">=5.10"\nwhy = "nobody here wants it"\n')
    again = Told()
    assert build(progress=again) == kernel
    assert again.stages == []
    assert build.calls(kernel) == 1


def test_a_disk_without_room_is_noticed_before_building(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "BUILD_SPACE_BYTES", 2**60)
    with pytest.raises(CacheFullError, match=r"building 6.12.7 default for x86_64 needs"):
        build()


def test_missing_tools_are_named_before_anything_is_done(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingToolError("flex is missing: apt-get install flex")

    monkeypatch.setattr(build_module, "require", missing)
    with pytest.raises(MissingToolError, match="apt-get install flex"):
        build()


def test_modules_are_built_from_a_copy_and_once(build: Builder, tmp_path: Path) -> None:
    kernel = build()
    source = tmp_path / "modules"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m := a.o\n")
    (source / "a.c").write_text("int a;\n")
    (source / "a.o").write_text("somebody's own build")
    before = sorted(source.iterdir())
    (module,) = build_modules(kernel, source, build.cache)
    assert module.name == "a.ko"
    assert build.cache.root in module.parents
    assert sorted(source.iterdir()) == before
    told = Told()
    assert build_modules(kernel, source, build.cache, told) == (module,)
    assert told.stages == []
    (source / "a.c").write_text("int b;\n")
    (changed,) = build_modules(kernel, source, build.cache)
    assert changed != module


def test_common_headers_lie_beside_a_copy_of_modules_and_count(
    build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "project_root", lambda: tmp_path)
    common, source = tmp_path / "images" / "common", tmp_path / "images" / "modules"
    (source / "below").mkdir(parents=True)
    common.mkdir()
    (source / "Kbuild").write_text("obj-m := a.o\n")
    (source / "a.c").write_text("int a;\n")
    (source / "below" / "b.h").write_text("int b;\n")
    (common / "compat.h").write_text("#define FIRST\n")
    kernel = build()
    (module,) = build_modules(kernel, source, build.cache)
    copy = module.parent
    assert (copy / ".." / "common" / "compat.h").read_text() == "#define FIRST\n"
    assert (copy / "below" / "b.h").is_file()
    (common / "compat.h").write_text("#define SECOND\n")
    (changed,) = build_modules(kernel, source, build.cache)
    assert (changed.parent.parent / "common" / "compat.h").read_text() == "#define SECOND\n"


def test_a_broken_module_is_shown_under_its_own_path(build: Builder, tmp_path: Path) -> None:
    kernel = build()
    source = tmp_path / "modules"
    source.mkdir()
    with pytest.raises(BuildError, match="has no Kbuild file"):
        build_modules(kernel, source, build.cache)
    (source / "Kbuild").write_text("obj-m := a.o\n")
    (source / "a.c").write_text("BROKEN\n")
    with pytest.raises(BuildError, match=r"building the modules of .* failed") as caught:
        build_modules(kernel, source, build.cache)
    assert "    BROKEN\n" in str(caught.value)
    assert f"{source}/a.c" in str(caught.value) or "BROKEN" in str(caught.value)


def test_ccache_is_used_by_the_compilers_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ccache").write_text("#!/bin/sh\n")
    (programs / "ccache").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("CCACHE_DIR", raising=False)
    row = load_matrix().architectures[ARCH]
    native = replace(row, cross_compile="cross-")
    assert "CCACHE_DIR" not in build_module.compiler_environment(cache, native, tmp_path), "no other kernel will gain"
    cache.path("kernels", "another").mkdir()
    environment = build_module.compiler_environment(open_cache(cache.root), native, tmp_path)
    masks = Path(environment["PATH"].split(":")[0])
    assert (masks / "gcc").readlink() == programs / "ccache"
    assert environment["CCACHE_DIR"] == str(cache.path("ccache"))
    assert "CCACHE_NOCPP2" not in environment, "Kbuild would probe the compiler wrongly"
    (programs / "ccache").unlink()
    assert "CCACHE_DIR" not in build_module.compiler_environment(cache, native, tmp_path)
