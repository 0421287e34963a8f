# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the built kernels the model takes after."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmasafe.cli import run_command
from dmasafe.facts import KernelInfo
from dmasafe.kernel.cache import Kernel, open_cache, publish_json
from dmasafe.kernel.errors import SourceError
from dmasafe.progress import SILENT
from dmasafe.qemu.machines import find_machine
from dmasafe.targets import doctor, prepare
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.errors import TargetError
from dmasafe.targets.prepare import Prepared, with_qemu_arguments


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A 7.3.4 in an empty cache, which "latest" stood for when it was fetched."""
    monkeypatch.setenv("DMASAFE_CACHE", str(tmp_path))
    config = tmp_path / "config"
    config.write_text("CONFIG_DMA_API_DEBUG=y\n")
    identity = "apt:linux-source-7.3=7.3.4-1 sha256:0"
    found = Kernel(
        "key", "7.3.4", "7.3.4", "x86_64", "default", "linux-source-7.3", identity,
        *(config,) * 4, tmp_path,
    )  # fmt: skip
    monkeypatch.setattr(prepare.kernels, "list_kernels", lambda cache: [found])
    publish_json(open_cache().path("resolutions", "release-latest.json"), {"slug": "s", "identity": identity})
    return found


@pytest.mark.parametrize("source", ["latest", "apt:linux-source-7.3"])
def test_the_model_takes_after_the_built_kernel(built, source):
    facts, info = prepare.model_kernel(source, "default", "x86_64")
    assert (info.release, facts.version) == ("7.3.4", (7, 3, 4))
    assert facts.symbols == {"DMA_API_DEBUG"}


def test_a_name_that_was_never_looked_up_has_no_version(built):
    with pytest.raises(TargetError, match="cannot tell the version of 'longterm'"):
        prepare.model_kernel("longterm", "default", "x86_64")


def test_a_users_words_for_qemu_are_in_the_results():
    image = GuestImage(find_machine("x86_64"), Path("vmlinux"), Path("initrd"), "tcg")
    prepared = Prepared(image, KernelInfo("6.12.117", "x86_64", "default", "here"), None, None)
    assert with_qemu_arguments(prepared, ()) is prepared
    given = with_qemu_arguments(prepared, ("-smp", "2"))
    assert given.image.extras.arguments == ("-smp", "2")
    (note,) = given.kernel.notes
    assert note.startswith("QEMU was given '-smp 2' as well")


def test_a_target_without_qemu_takes_no_words_for_it():
    done = CliRunner().invoke(run_command.command, ["--target", "model", "--qemu-arg", "-smp 2"], standalone_mode=False)
    assert "model has no QEMU" in str(done.exception)


def test_a_qemu_with_vfio_user_is_taken_as_it_is(monkeypatch):
    machine = find_machine("x86_64")
    monkeypatch.setattr(prepare, "has_vfio_user", lambda *words: True)
    assert prepare.with_vfio_user(machine, SILENT) is machine


def test_an_older_qemu_is_replaced_for_who_needs_it(built, monkeypatch):
    monkeypatch.setattr(prepare, "has_vfio_user", lambda *words: False)
    monkeypatch.setattr(prepare, "newer_qemu", lambda binary, package, cache, progress: cache.path("q", binary))
    found = prepare.with_vfio_user(find_machine("x86_64"), SILENT)
    assert found == replace(find_machine("x86_64"), binary=str(open_cache().path("q", "qemu-system-x86_64")))


def test_offline_one_sentence_says_what_is_missing(built, monkeypatch):
    def offline(*words):
        raise SourceError("downloading failed; its last lines are\n    Temporary failure\nand the whole log is /log")

    monkeypatch.setattr(prepare, "has_vfio_user", lambda *words: False)
    monkeypatch.setattr(prepare, "version_text", lambda *words: "7.2")
    monkeypatch.setattr(prepare, "newer_qemu", offline)
    with pytest.raises(SourceError) as error:
        prepare.with_vfio_user(find_machine("x86_64"), SILENT)
    assert str(error.value).startswith("host models need QEMU 10.1 or later, this machine has 7.2, and Debian's trixie")
    assert str(error.value).endswith("the whole log is /log") and "\n" not in str(error.value)


@pytest.mark.parametrize(("has", "fetched", "says"), [
    (True, None, "this one: it has vfio-user-pci"),
    (False, None, "needs 10.1 or later: Debian's trixie-backports is asked"),
    (False, Path("/q"), "11.1, of Debian's trixie-backports, in the cache"),
])  # fmt: skip
def test_doctor_says_which_qemu_host_models_get(has, fetched, says, monkeypatch):
    monkeypatch.setattr(doctor, "has_vfio_user", lambda *words: has)
    monkeypatch.setattr(doctor, "find_newer_qemu", lambda *words: fetched)
    monkeypatch.setattr(doctor, "version_text", lambda *words: "11.1")
    row = next(row for row in doctor.checks("x86_64") if row.name == "QEMU for hosts")
    assert row.ok is None and row.found.startswith(says)
