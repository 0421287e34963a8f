# SPDX-License-Identifier: GPL-2.0-or-later
"""A built kernel with patches: only what they touch is compiled again, in a copy of its object directory.

Nothing is written in the source tree. Kbuild's VPATH finds a file of the object directory before that of the tree, so
the patched files lie there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dmasafe.kernel.build import BUILD_SPACE_BYTES, OBJECTS_KEY, compiler_environment, make_variables
from dmasafe.kernel.cache import (
    KEY_DIGITS,
    Cache,
    Kernel,
    digest,
    explained,
    lock,
    new_log,
    objects_lock,
    publish_directory,
    publish_file,
    publish_json,
    publish_text,
    read_json,
    require_space,
    staging,
)
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.errors import BuildError
from dmasafe.kernel.process import clean_environment, query, run
from dmasafe.progress import SILENT, Progress

#: Which files of an object directory are patched ones.
OVERLAY = "dmasafe-patched.json"
#: Where in an object directory the files are that are booted.
BOOTED = "dmasafe-booted"


class PatchError(BuildError):
    """A patch that does not apply, or that cannot be built in this way."""


def source_of(kernel: Kernel) -> Path:
    """The tree that a kernel was built from. Raises BuildError if it is gone."""
    tree = kernel.build_dir / "source"
    if not (tree / "Makefile").is_file():
        raise BuildError(f"the source of {kernel.release} is gone: build that kernel again ('dmasafe kernel build')")
    return tree.resolve()


def apply(patches: Sequence[Path], tree: Path, into: Path) -> list[str]:
    """Copy the files of ``tree`` that these patches change to ``into``, patch them there, and return their names.

    Lines may have moved, but must be the same (git-apply(1)). Raises PatchError.
    """
    names: list[str] = []
    for patch in patches:
        listed = query(["git", "apply", "--numstat", "-z", patch], cwd=into, env=_environment(into))
        names += [line.split("\t")[2] for line in listed.split("\0") if line]
    for name in dict.fromkeys(names):
        if not (tree / name).is_file():
            raise PatchError(f"{patches[0].name} does not apply: {tree} has no {name}")
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, into / name)
    for patch in patches:
        what = f"applying {patch.name}"
        log = into.parent / f"{into.name}.log"
        run(["git", "apply", patch], what=what, log=log, cwd=into, env=_environment(into), error=PatchError)
    return list(dict.fromkeys(names))


def _environment(directory: Path) -> dict[str, str]:
    # A repository around the cache would make git leave out files that are not in it.
    return clean_environment({"GIT_CEILING_DIRECTORIES": str(directory.parent), "GIT_CONFIG_NOSYSTEM": "1"})


@contextmanager
def patched(kernel: Kernel, patches: Sequence[Path], cache: Cache, progress: Progress = SILENT) -> Iterator[Kernel]:
    """``kernel`` with these patches, applied in this order; within the ``with``, nobody else patches it.

    External modules that were built for ``kernel`` fit: a patch may change no header that they could see. Raises
    PatchError, BuildError, CacheError.
    """
    tree = source_of(kernel)
    architecture = find_architecture(kernel.arch)
    directory = kernel.build_dir.with_name(f"{kernel.build_dir.name}-patched")
    key = f"{kernel.key}-patched-{digest(kernel.key, *(path.read_bytes() for path in patches))[:KEY_DIGITS]}"
    doing = f"building {kernel.release} with {', '.join(path.name for path in patches)}"
    with explained(cache), lock(cache, objects_lock(directory), progress, doing) as held:
        progress.stage(doing)
        marker = directory / OBJECTS_KEY
        if not marker.is_file() or marker.read_text(encoding="utf-8").strip() != key:
            with staging(cache) as place:
                (place / "files").mkdir()
                names = apply(patches, tree, place / "files")
                names += _including(names, tree, place / "files")
                _copy_objects(kernel, directory, cache, progress)
                _lay_over(directory, names, place / "files")
            run(
                [
                    "make", "-C", str(tree), f"O={directory}", f"-j{len(os.sched_getaffinity(0))}",
                    *make_variables(architecture), *architecture.targets,
                ],
                what=doing,
                log=new_log(cache, f"build-{key}"),
                env=compiler_environment(cache, architecture, kernel.build_dir.parent.parent),
                hold_fds=[held],
                shown_as={f"{directory}/": ""},
            )  # fmt: skip
            # Side by side, as a kernel's files are in the cache.
            for product in ("vmlinux", "System.map", architecture.image):
                publish_file(directory / product, directory / BOOTED / Path(product).name)
            publish_text(marker, key + "\n")
        os.utime(marker)
        booted = directory / BOOTED
        yield replace(
            kernel,
            key=key,
            vmlinux=booted / "vmlinux",
            image=booted / Path(architecture.image).name,
            config=directory / ".config",
            system_map=booted / "System.map",
            build_dir=directory,
            notes=(*kernel.notes, *(f"with {path.name}" for path in patches)),
        )


def _including(names: Sequence[str], tree: Path, into: Path) -> list[str]:
    """Copy what includes a patched header beside it, so that it finds that one; the names.

    Raises PatchError for a header that others can include too: external modules and files far away.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if path.suffix != ".h":
            continue
        if "include" in path.parts:
            raise PatchError(f"a patch that changes {name} needs a tree of its own: every module sees that header")
        for source in sorted((tree / path.parent).glob("*.[ch]")):
            other = str(source.relative_to(tree))
            if other in (*names, *found) or f'"{path.name}"' not in source.read_text(errors="replace"):
                continue
            shutil.copyfile(source, into / other)
            found.append(other)
    return found


def _copy_objects(kernel: Kernel, directory: Path, cache: Cache, progress: Progress) -> None:
    """Make ``directory`` a copy of the kernel's objects, with their times, unless it is one."""
    marker = directory / OVERLAY
    facts = read_json(marker)
    if facts is not None and facts.get("of") == kernel.key:
        return
    shutil.rmtree(directory, ignore_errors=True)
    require_space(cache, BUILD_SPACE_BYTES, f"copying the objects of {kernel.release}")
    with (
        lock(cache, objects_lock(kernel.build_dir), progress, f"copying the objects of {kernel.release}"),
        staging(cache) as place,
    ):
        objects = kernel.build_dir / OBJECTS_KEY
        if not objects.is_file() or objects.read_text(encoding="utf-8").strip() != kernel.key:
            raise BuildError(f"the objects of {kernel.release} have been replaced: build that kernel again first")
        shutil.copytree(kernel.build_dir, place / "objects", symlinks=True)
        (place / "objects" / OBJECTS_KEY).unlink()
        # The build of tools/ notes whole paths. With others it would make objtool anew, and then all objects.
        for path in (place / "objects" / "tools").rglob(".*.cmd"):
            path.write_text(path.read_text().replace(f"{kernel.build_dir}/", f"{directory}/"))
        publish_json(place / "objects" / OVERLAY, {"of": kernel.key, "files": []})
        publish_directory(place / "objects", directory)


def _lay_over(directory: Path, names: Sequence[str], patched_files: Path) -> None:
    """Put these files into an object directory, and take out those of the patches before."""
    (directory / OBJECTS_KEY).unlink(missing_ok=True)
    facts = read_json(directory / OVERLAY) or {}
    for name in facts.get("files", ()):
        (directory / name).unlink(missing_ok=True)
        # Times tell make nothing here: the tree's file is older than the object that was made of the patched one.
        (directory / name).with_suffix(".o").unlink(missing_ok=True)
    publish_json(directory / OVERLAY, {**facts, "files": list(names)})
    for name in names:
        if (directory / name).exists():
            raise PatchError(f"{name} is made by the build: it cannot be patched in this way")
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(patched_files / name, directory / name)
