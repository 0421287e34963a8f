# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources: what a user may write, what is fetched, and that nothing is written where we do not own it."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmasafe.kernel import apt
from dmasafe.kernel import source as source_module
from dmasafe.kernel.cache import Cache, file_sha256
from dmasafe.kernel.errors import HashMismatchError, SourceError
from dmasafe.kernel.source import (
    AptSource,
    GitSource,
    LocalSource,
    TarballSource,
    fetch,
    parse_source,
)

SHA = "ab" * 32


def state_of(tree: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(tree.rglob("*"))}


def pack(tree: Path, into: Path) -> str:
    with tarfile.open(into, "w:gz") as archive:
        archive.add(tree, "linux-6.12.7")
    return file_sha256(into)


def git(tree: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, "-C", str(tree), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """tmp_path over HTTP."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("apt:linux-source-6.12", AptSource("linux-source-6.12")),
        (f"https://example.org/l.tar.xz#sha256={SHA.upper()}", TarballSource("https://example.org/l.tar.xz", SHA)),
        (f"file:/tmp/l.tar.xz#sha256={SHA}", TarballSource("file:/tmp/l.tar.xz", SHA)),
        ("git:https://example.org/linux@v6.12", GitSource("https://example.org/linux", "v6.12")),
        ("git:git@example.org:linux.git@main", GitSource("git@example.org:linux.git", "main")),
        ("git:/src/linux@HEAD~2", GitSource("/src/linux", "HEAD~2")),
        (" /src/linux ", LocalSource(Path("/src/linux"))),
    ],
)
def test_every_kind_of_source_is_understood(text: str, source: object) -> None:
    assert parse_source(text) == source
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no kernel source was given"),
        ("apt:", "not a Debian package's name"),
        ("apt:--option", "not a Debian package's name"),
        ("https://example.org/l.tar.xz", "names no checksum"),
        ("https://example.org/l.tar.xz#sha256=123", "64 hexadecimal digits"),
        ("git:https://example.org/linux", "names no revision"),
        ("git:/src/linux@--upload-pack=x", "names no revision"),
        ("ssh://example.org/linux", "write git:ssh://example.org/linux@REVISION"),
        ("linux-source-6.12", "write apt:linux-source-6.12"),
        (__file__, "is a file: write file:"),
    ],
)
def test_what_cannot_be_a_source_is_told_what_to_write(text: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        parse_source(text)


def test_a_directory_that_is_no_kernel_tree_is_refused(cache: Cache, tmp_path: Path, kernel_tree: Path) -> None:
    with pytest.raises(SourceError, match="there is no directory"):
        fetch(LocalSource(tmp_path / "missing"), cache)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"is not a kernel tree: it has no Makefile, no Kconfig"):
        fetch(LocalSource(tmp_path / "empty"), cache)
    (kernel_tree / "Makefile").write_text("all:\n")
    with pytest.raises(SourceError, match="no VERSION and PATCHLEVEL in its Makefile"):
        fetch(LocalSource(kernel_tree), cache)


def test_a_clean_local_tree_is_used_in_place_and_not_touched(cache: Cache, kernel_tree: Path) -> None:
    before = state_of(kernel_tree)
    tree = fetch(LocalSource(kernel_tree), cache)
    assert tree.path == kernel_tree
    assert (tree.version, tree.changing, tree.writable) == ("6.12.7", True, False)
    assert cache.root in tree.home.parents
    assert state_of(kernel_tree) == before
    assert fetch(LocalSource(kernel_tree), cache).identity == tree.identity


def test_an_edit_changes_the_identity_of_a_local_tree(cache: Cache, kernel_tree: Path) -> None:
    first = fetch(LocalSource(kernel_tree), cache)
    (kernel_tree / "main.c").write_text("int changed;\n")
    second = fetch(LocalSource(kernel_tree), cache)
    assert second.identity != first.identity
    assert second.home == first.home


def test_a_git_tree_is_named_by_commit_difference_and_untracked_files(cache: Cache, kernel_tree: Path) -> None:
    (kernel_tree / ".gitignore").write_text("*.o\n")
    git(kernel_tree, "init", "--quiet")
    git(kernel_tree, "add", ".")
    git(kernel_tree, "commit", "--quiet", "-m", "one")
    head = git(kernel_tree, "rev-parse", "HEAD")
    before = state_of(kernel_tree)
    assert fetch(LocalSource(kernel_tree), cache).identity == f"git:{head}"
    (kernel_tree / "main.o").write_text("ignored")
    assert fetch(LocalSource(kernel_tree), cache).identity == f"git:{head}"
    os.utime(kernel_tree / "main.c")
    assert fetch(LocalSource(kernel_tree), cache).identity == f"git:{head}"
    (kernel_tree / "main.o").unlink()
    identities = set()
    for name, text in (("main.c", "int a;\n"), ("new.c", "int b;\n"), ("new.c", "int c;\n")):
        (kernel_tree / name).write_text(text)
        identities.add(fetch(LocalSource(kernel_tree), cache).identity)
    assert len(identities) == 3
    git_files = {path: facts for path, facts in before.items() if "/.git/" in path}
    assert {path: facts for path, facts in state_of(kernel_tree).items() if "/.git/" in path} == git_files


def test_a_tree_that_was_built_in_is_copied_file_by_file(cache: Cache, kernel_tree: Path) -> None:
    (kernel_tree / ".gitignore").write_text("*.o\n.*\n!.gitignore\n/vmlinux\n/include/config/\n")
    (kernel_tree / "include" / "config").mkdir(parents=True)
    (kernel_tree / "include" / "config" / "auto.conf").write_text("CONFIG_X=y\n")
    for product in (".config", "vmlinux", "main.o"):
        (kernel_tree / product).write_text("product")
    before = state_of(kernel_tree)
    tree = fetch(LocalSource(kernel_tree), cache)
    assert state_of(kernel_tree) == before
    assert tree.path != kernel_tree
    names = {str(path.relative_to(tree.path)) for path in tree.path.rglob("*") if path.is_file()}
    assert names == {".gitignore", "Kconfig", "Makefile", "main.c", "scripts/kconfig/merge_config.sh"}

    copied = (tree.path / "Kconfig").stat().st_mtime_ns
    (kernel_tree / "main.c").rename(kernel_tree / "other.c")
    (kernel_tree / "vmlinux").write_text("built again")
    again = fetch(LocalSource(kernel_tree), cache)
    assert again.identity != tree.identity
    assert (again.path / "other.c").exists()
    assert not (again.path / "main.c").exists()
    assert (again.path / "Kconfig").stat().st_mtime_ns == copied


def test_without_git_a_gitignore_that_names_everything_hides_nothing(cache: Cache, kernel_tree: Path) -> None:
    # The last lines of the one in Debian's kernel packages.
    (kernel_tree / ".gitignore").write_text("/*\n!/debian/\n")
    for product in (".config", "System.map", "a.mod.c", ".main.o.cmd", "odd-product"):
        (kernel_tree / product).write_text("product")
    tree = fetch(LocalSource(kernel_tree), cache)
    names = {str(path.relative_to(tree.path)) for path in tree.path.rglob("*") if path.is_file()}
    assert names == {".gitignore", "Kconfig", "Makefile", "main.c", "scripts/kconfig/merge_config.sh"}
    assert fetch(LocalSource(kernel_tree), cache).identity == tree.identity
    assert not (tree.path / "odd-product").exists(), "what mrproper removed came back"
    (kernel_tree / "main.c").write_text("int edited;\n")
    edited = fetch(LocalSource(kernel_tree), cache)
    assert edited.identity != tree.identity
    assert (edited.path / "main.c").read_text() == "int edited;\n"


@pytest.mark.parametrize("built", [False, True])
def test_sources_that_a_checkout_ignores_are_seen_all_the_same(cache: Cache, kernel_tree: Path, built: bool) -> None:
    """Debian's packaging repository, with upstream's tarball unpacked into it."""
    (kernel_tree / "debian").mkdir()
    (kernel_tree / "debian" / "control").write_text("")
    (kernel_tree / ".gitignore").write_text("/*\n!/debian/\n")
    git(kernel_tree, "init", "--quiet")
    git(kernel_tree, "add", "debian")
    git(kernel_tree, "commit", "--quiet", "-m", "one")
    if built:
        (kernel_tree / ".config").write_text("")
    first = fetch(LocalSource(kernel_tree), cache)
    (kernel_tree / "main.c").write_text("int edited;\n")
    second = fetch(LocalSource(kernel_tree), cache)
    assert first.identity != second.identity
    assert (second.path / "main.c").read_text() == "int edited;\n"


def test_a_tarball_is_fetched_once(cache: Cache, kernel_tree: Path, tmp_path: Path, served: str) -> None:
    sha = pack(kernel_tree, tmp_path / "l.tar.gz")
    tree = fetch(TarballSource(f"{served}/l.tar.gz", sha), cache)
    assert (tree.path / "main.c").read_text() == "int main;\n"
    assert (tree.identity, tree.version, tree.changing) == (f"sha256:{sha}", "6.12.7", False)
    (tmp_path / "l.tar.gz").unlink()
    assert fetch(TarballSource(f"{served}/l.tar.gz", sha), cache) == tree


def test_a_tarball_with_another_hash_is_refused_naming_both(cache: Cache, kernel_tree: Path, tmp_path: Path) -> None:
    sha = pack(kernel_tree, tmp_path / "l.tar.gz")
    with pytest.raises(HashMismatchError, match=f"has SHA-256 {sha}, but {SHA} was asked for"):
        fetch(TarballSource(f"file:{tmp_path}/l.tar.gz", SHA), cache)
    assert list(cache.path("sources").iterdir()) == []
    assert list(cache.path("tmp").iterdir()) == []


def test_a_tarball_that_is_not_there_or_no_kernel_is_a_sentence(cache: Cache, tmp_path: Path, served: str) -> None:
    for url in (f"file:{tmp_path}/none.tar", f"{served}/none.tar", "http://127.0.0.1:1/l.tar"):
        with pytest.raises(SourceError, match="cannot be read"):
            fetch(TarballSource(url, SHA), cache)
    (tmp_path / "notes").mkdir()
    sha = pack(tmp_path / "notes", tmp_path / "notes.tar.gz")
    with pytest.raises(SourceError, match="is not a kernel tree"):
        fetch(TarballSource(f"file:{tmp_path}/notes.tar.gz", sha), cache)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(SourceError, match=r"unpacking .* failed"):
        fetch(TarballSource(f"file:{tmp_path}/text", file_sha256(tmp_path / "text")), cache)


@pytest.mark.parametrize("prefix", ["", "file://"], ids=["path", "url"])
def test_a_git_revision_is_checked_out(cache: Cache, kernel_tree: Path, prefix: str) -> None:
    git(kernel_tree, "init", "--quiet")
    git(kernel_tree, "add", ".")
    git(kernel_tree, "commit", "--quiet", "-m", "one")
    git(kernel_tree, "tag", "v1")
    first = git(kernel_tree, "rev-parse", "HEAD")
    (kernel_tree / "main.c").write_text("int two;\n")
    git(kernel_tree, "commit", "--quiet", "-a", "-m", "two")
    second = git(kernel_tree, "rev-parse", "HEAD")
    before = state_of(kernel_tree)
    url = f"{prefix}{kernel_tree}"
    tag = fetch(GitSource(url, "v1"), cache)
    assert tag.identity == f"git:{first}"
    assert (tag.path / "main.c").read_text() == "int main;\n"
    assert fetch(GitSource(url, "main"), cache).identity == f"git:{second}"
    assert fetch(GitSource(url, first), cache).path == tag.path
    with pytest.raises(SourceError, match="has no revision 'v9'"):
        fetch(GitSource(url, "v9"), cache)
    assert state_of(kernel_tree) == before


def test_a_package_is_looked_up_once_and_again_on_update(
    cache: Cache, kernel_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = tmp_path / "linux-source-6.12.tar.gz"
    pack(kernel_tree, tarball)
    calls: list[str] = []
    monkeypatch.setattr(apt, "installed", lambda package: None)

    def find(package: str, *_: object) -> tuple[apt.Package, Path]:
        calls.append(package)
        return apt.Package(package, f"6.12.7-{len(calls)}", "bookworm", SHA, 1), Path("apt.conf")

    monkeypatch.setattr(apt, "find", find)
    monkeypatch.setattr(apt, "download_tarball", lambda *_: tarball)
    first = fetch(AptSource("linux-source-6.12"), cache)
    assert first.description == "linux-source-6.12 6.12.7-1"
    assert "6.12.7-1 sha256:" in first.identity
    assert fetch(AptSource("linux-source-6.12"), cache) == first
    assert calls == ["linux-source-6.12"]
    second = fetch(AptSource("linux-source-6.12"), cache, update=True)
    assert second.description == "linux-source-6.12 6.12.7-2"
    assert fetch(AptSource("linux-source-6.12"), cache) == second
    assert len(calls) == 2


def test_an_installed_package_needs_no_network(
    cache: Cache, kernel_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = tmp_path / "linux-source-6.12.tar.gz"
    pack(kernel_tree, tarball)
    package = apt.Package("linux-source-6.12", "6.12.7-1", "installed", "", 1, tarball)
    monkeypatch.setattr(apt, "installed", lambda name: package)
    tree = fetch(AptSource("linux-source-6.12"), cache)
    assert tree.description == "linux-source-6.12 6.12.7-1"
    assert tarball.exists()


def test_a_disk_without_room_is_noticed_before_unpacking(
    cache: Cache, kernel_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = pack(kernel_tree, tmp_path / "l.tar.gz")
    monkeypatch.setattr(source_module, "UNPACK_SPACE_BYTES", 2**60)
    with pytest.raises(Exception, match=r"unpacking .* needs .* GiB, and .* are free"):
        fetch(TarballSource(f"file:{tmp_path}/l.tar.gz", sha), cache)
