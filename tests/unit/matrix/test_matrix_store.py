# SPDX-License-Identifier: GPL-2.0-or-later
"""What workers share: whole or not at all, first come first kept, and damage is noticed."""

import gzip
import os

import pytest

from dmasafe.kernel.cache import Kernel, open_cache, prune
from dmasafe.matrix import bundle
from dmasafe.matrix.errors import StoreError
from dmasafe.matrix.store import Store


@pytest.fixture(params=["directory", "memory"])
def store(request, tmp_path):
    made = Store(str(tmp_path / "store") if request.param == "directory" else f"memory://{tmp_path}")
    yield made
    made.remove("")


@pytest.fixture
def made(tmp_path):
    """A bundle in the cache of the machine that built its kernel."""
    cache = open_cache(tmp_path / "cache-a")
    files = {name: tmp_path / name for name in ("vmlinux", "config", "initrd")}
    for name, path in files.items():
        path.write_text(name)
    kernel = Kernel(
        "6.12-key", "6.12.117", "6.12.117", "x86_64", "default", "linux-source-6.12 1", "apt:1",
        files["vmlinux"], files["vmlinux"], files["config"], files["vmlinux"], tmp_path,
    )  # fmt: skip
    return bundle.make(kernel, files["initrd"], cache)


def test_what_is_there_stays_and_what_is_not_is_none(store):
    assert (store.get("a/b"), store.has("a/b")) == (None, False)
    store.put("a/b", b"first")
    store.put("a/b", b"second")
    assert store.get("a/b") == b"first"
    store.remove("a")
    assert store.get("a/b") is None


def test_another_machine_boots_what_it_did_not_build(store, made, tmp_path):
    bundle.push(made, store)
    bundle.index(made, store)
    elsewhere = open_cache(tmp_path / "cache-b")
    assert bundle.find(made.name, elsewhere) is None
    name = bundle.indexed("6.12-key", store)
    taken = bundle.pull(name, elsewhere, store)
    assert (taken.kernel.read_text(), taken.initrd.read_text(), taken.config) == ("vmlinux", "initrd", "config")
    assert taken.facts == made.facts
    assert bundle.indexed("6.12-another", store) is None


def test_the_notes_of_a_build_go_with_its_bundle(made, store, tmp_path):
    cache = open_cache(tmp_path / "cache-a")
    kernel = Kernel(
        **{**made.facts.__dict__, "notes": ("NVMEM enabled, for EEPROM_AT24 needs it",)}, version="6.12.117",
        vmlinux=made.kernel, image=made.kernel, config=made.directory / "config", system_map=made.kernel,
        build_dir=tmp_path,
    )  # fmt: skip
    noted = bundle.make(kernel, made.initrd, cache)
    assert noted.name != made.name
    # What was made before there were notes keeps its name and content.
    assert "notes" not in (made.directory / "bundle.json").read_text()
    bundle.push(noted, store)
    assert bundle.pull(noted.name, open_cache(tmp_path / "cache-b"), store).facts.notes == kernel.notes


def test_equal_files_are_one_bundle(made, tmp_path):
    cache = open_cache(tmp_path / "cache-c")
    kernel = Kernel(
        **{**made.facts.__dict__, "key": "6.12-key"}, version="6.12.117", vmlinux=made.kernel, image=made.kernel,
        config=made.directory / "config", system_map=made.kernel, build_dir=tmp_path,
    )  # fmt: skip
    assert bundle.make(kernel, made.initrd, cache).name == made.name
    made.initrd.unlink()
    (made.directory / "initrd").write_text("another")
    assert bundle.make(kernel, made.initrd, cache).name != made.name


@pytest.mark.parametrize("damage", ["cut", "changed", "evil"])
def test_a_damaged_archive_is_said_and_never_booted(made, damage, tmp_path):
    store = Store(str(tmp_path / "store"))
    whole = bundle.pack(made.directory)
    data = {
        "cut": whole[: len(whole) // 2],
        "changed": gzip.compress(gzip.decompress(whole).replace(b"vmlinux", b"evilinux"[:7])),
    }
    if damage == "evil":
        import io
        import tarfile

        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
        data["evil"] = content.getvalue()
    store.put(f"bundles/{made.name}.tar.gz", data[damage])
    elsewhere = open_cache(tmp_path / "cache-d")
    with pytest.raises(StoreError, match=r"is damaged|has another content"):
        bundle.pull(made.name, elsewhere, store)
    assert bundle.find(made.name, elsewhere) is None
    assert not (tmp_path / "cache-d" / "tmp" / "outside").exists()


def test_a_store_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for url in (str(tmp_path / "file" / "store"), "nosuch://bucket/x"):
        with pytest.raises(StoreError, match="name a directory or a URL"):
            Store(url).put("a", b"")


def test_prune_leaves_the_bundle_that_was_used(made, tmp_path):
    cache = open_cache(tmp_path / "cache-a")
    store = Store(str(cache.path("store")))
    bundle.push(made, store)
    bundle.index(made, store)
    store.put("bundles/old.tar.gz", b"")
    files = [path for path in cache.path("store").rglob("*") if path.is_file()]
    for path in files:
        os.utime(path, (1_000_000, 1_000_000))
    assert bundle.indexed("6.12-key", store) == made.name
    assert [path.name for path in prune(cache).paths if "store" in path.parts] == ["old.tar.gz"]
    assert bundle.indexed("6.12-key", store) == made.name
