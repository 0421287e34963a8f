# SPDX-License-Identifier: GPL-2.0-or-later
"""A host's directory in the guest: by 9p where the kernel has it, else copied, and never more than fits."""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmasafe.qemu.process import Extras
from dmasafe.targets import share
from dmasafe.targets.audit import AuditError, load_all
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.errors import TargetError


@pytest.fixture
def kernel(tmp_path):
    """Only what is asked of a kernel: its .config."""
    config = tmp_path / "config"
    config.write_text("# CONFIG_9P_FS is not set\n")
    return SimpleNamespace(config=config)


@pytest.fixture
def image(tmp_path):
    initrd = tmp_path / "initrd-of-the-image"
    initrd.write_bytes(b"x" * 512)
    return GuestImage(None, tmp_path / "kernel", initrd, "tcg")


@pytest.fixture
def directory(tmp_path):
    found = tmp_path / "tools"
    (found / "deep").mkdir(parents=True)
    (found / "deep" / "file").write_text("hello")
    (found / "run").write_text("#!/bin/sh\n")
    (found / "run").chmod(0o755)
    return found


def test_without_9p_the_directory_is_unpacked_behind_the_image(image, kernel, directory, tmp_path):
    made = share.with_share(image, kernel, directory, tmp_path)
    data = made.initrd.read_bytes()
    assert made.extras.share is None and data.startswith(image.initrd.read_bytes())
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=data[512:], capture_output=True, check=True).stdout
    assert listed.decode().split() == ["share", "share/deep", "share/deep/file", "share/run"]
    assert "a copy" in share.mount_share(None, made)


def test_with_9p_qemu_shares_it(image, kernel, directory, tmp_path):
    kernel.config.write_text("CONFIG_NET_9P_VIRTIO=y\nCONFIG_9P_FS=y\n")
    made = share.with_share(image, kernel, directory, tmp_path)
    assert made == replace(image, extras=Extras(share=directory))
    options = " ".join(made.extras.options(None))
    assert f"path={directory}" in options and "mount_tag=dmasafe" in options


def test_what_does_not_fit_is_refused(image, kernel, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(share, "MAX_COPIED_BYTES", 4)
    with pytest.raises(TargetError, match="share a smaller directory"):
        share.with_share(image, kernel, directory, tmp_path)


def test_modules_that_need_each_other_are_loaded_in_any_order(monkeypatch):
    loaded = []

    def load(_session, file):
        if (file.stem == "sensor" and "core" not in loaded) or file.stem == "broken":
            raise AuditError(f"{file.stem}: unknown symbol")
        loaded.append(file.stem)

    monkeypatch.setattr("dmasafe.targets.audit.load", load)
    load_all(None, [Path("sensor.ko"), Path("core.ko")])
    assert loaded == ["core", "sensor"]
    with pytest.raises(AuditError, match="broken: unknown symbol"):
        load_all(None, [Path("broken.ko"), Path("core.ko")])
