# SPDX-License-Identifier: GPL-2.0-or-later
"""Patched kernels, on a tree that is a small Makefile: what is copied, what is built, what stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmasafe.kernel import build as build_module
from dmasafe.kernel.build import build_kernel
from dmasafe.kernel.cache import Cache, Kernel
from dmasafe.kernel.config import load_matrix
from dmasafe.kernel.errors import BuildError
from dmasafe.kernel.patched import PatchError, apply, patched
from dmasafe.kernel.source import LocalSource, fetch

PATCH = """\
From: somebody <somebody@example.invalid>
Subject: [PATCH] {new}

Why.
---
 {path} | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/{path} b/{path}
--- a/{path}
+++ b/{path}
@@ -1 +1 @@
-{old}
+{new}
"""


@pytest.fixture
def kernel(cache: Cache, kernel_tree: Path, matrix_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(build_module, "require", lambda *_: None)
    tree = fetch(LocalSource(kernel_tree), cache)
    return build_kernel(tree, "default", "x86_64", cache, jobs=1, matrix=load_matrix(matrix_dir))


def patch(directory: Path, new: str, path: str = "main.c", old: str = "int main;") -> Path:
    file = directory / f"{new.split()[-1].strip(';')}.patch"
    file.write_text(PATCH.format(path=path, old=old, new=new))
    return file


def test_what_is_patched_is_a_copy(kernel: Kernel, cache: Cache, kernel_tree: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in kernel.build_dir.rglob("*") if path.is_file()}
    with patched(kernel, [patch(tmp_path, "int corrected;")], cache) as made:
        assert made.vmlinux.read_text() == made.system_map.read_text() == "int corrected;\n"
        assert made.image.with_name("System.map") == made.system_map
        assert made.key != kernel.key and made.release == kernel.release and "corrected.patch" in made.notes[-1]
    assert (kernel_tree / "main.c").read_text() == kernel.vmlinux.read_text() == "int main;\n"
    assert {path: path.read_bytes() for path in before} == before


def test_the_same_patch_is_built_once_and_the_next_one_starts_from_the_tree(
    kernel: Kernel, cache: Cache, tmp_path: Path
) -> None:
    calls = kernel.build_dir.with_name(f"{kernel.build_dir.name}-patched") / "calls"
    for _ in range(2):
        with patched(kernel, [patch(tmp_path, "int first;")], cache) as made:
            assert made.vmlinux.read_text() == "int first;\n"
            # The kernel's own build is the first of them.
            assert len(calls.read_text().splitlines()) == 2
    with patched(kernel, [patch(tmp_path, "int second;")], cache) as made:
        assert made.vmlinux.read_text() == "int second;\n"


def test_patches_are_applied_one_upon_the_other(kernel: Kernel, cache: Cache, tmp_path: Path) -> None:
    pair = [patch(tmp_path, "int once;"), patch(tmp_path, "int twice;", old="int once;")]
    with patched(kernel, pair, cache) as made:
        assert made.vmlinux.read_text() == "int twice;\n"


def test_a_patch_for_another_version_is_refused(kernel: Kernel, cache: Cache, tmp_path: Path) -> None:
    with (
        pytest.raises(PatchError, match=r"(?s)applying new.patch failed.*patch does not apply"),
        patched(kernel, [patch(tmp_path, "int new;", old="int other;")], cache),
    ):
        pass
    with (
        pytest.raises(PatchError, match=r"none.patch does not apply: .* has no gone.c"),
        patched(kernel, [patch(tmp_path, "int none;", "gone.c")], cache),
    ):
        pass


def test_a_patch_that_does_not_compile_leaves_nothing_to_boot(kernel: Kernel, cache: Cache, tmp_path: Path) -> None:
    for _ in range(2):
        with (
            pytest.raises(BuildError, match=r"(?s)building 6.12.7 with BROKEN.patch failed.*error: BROKEN"),
            patched(kernel, [patch(tmp_path, "int BROKEN;")], cache),
        ):
            pass


def test_objects_of_another_state_are_not_copied(kernel: Kernel, cache: Cache, tmp_path: Path) -> None:
    (kernel.build_dir / "dmasafe-key").write_text("other\n")
    with (
        pytest.raises(BuildError, match="have been replaced: build that kernel again"),
        patched(kernel, [patch(tmp_path, "int corrected;")], cache),
    ):
        pass


def test_a_header_that_other_modules_see_is_refused(
    kernel: Kernel, cache: Cache, kernel_tree: Path, tmp_path: Path
) -> None:
    (kernel_tree / "include").mkdir()
    (kernel_tree / "include" / "a.h").write_text("int main;\n")
    with (
        pytest.raises(PatchError, match=r"changes include/a\.h needs a tree of its own"),
        patched(kernel, [patch(tmp_path, "int corrected;", "include/a.h")], cache),
    ):
        pass


def test_what_includes_a_patched_header_is_compiled_with_it(
    kernel: Kernel, cache: Cache, kernel_tree: Path, tmp_path: Path
) -> None:
    (kernel_tree / "drivers").mkdir()
    for name, text in {"a.h": "int main;\n", "a.c": '#include "a.h"\n', "b.c": '#include "b.h"\n'}.items():
        (kernel_tree / "drivers" / name).write_text(text)
    with patched(kernel, [patch(tmp_path, "int corrected;", "drivers/a.h")], cache) as made:
        assert sorted(path.name for path in (made.build_dir / "drivers").iterdir()) == ["a.c", "a.h"]


def test_a_repository_around_the_cache_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    tree, into = tmp_path / "tree", tmp_path / "place" / "files"
    tree.mkdir()
    into.mkdir(parents=True)
    (tree / "main.c").write_text("int main;\n")
    assert apply([patch(tmp_path, "int corrected;")], tree, into) == ["main.c"]
    assert (into / "main.c").read_text() == "int corrected;\n"


def test_the_tools_of_a_build_are_not_made_anew(kernel: Kernel, cache: Cache, tmp_path: Path) -> None:
    noted = kernel.build_dir / "tools" / "objtool" / ".check.o.cmd"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"cmd_{kernel.build_dir}/tools/objtool/check.o := gcc\n")
    with patched(kernel, [patch(tmp_path, "int corrected;")], cache) as made:
        copy = made.build_dir / "tools" / "objtool" / ".check.o.cmd"
        assert copy.read_text() == f"cmd_{made.build_dir}/tools/objtool/check.o := gcc\n"
    assert str(kernel.build_dir) in noted.read_text()
