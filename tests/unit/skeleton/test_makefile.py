# SPDX-License-Identifier: GPL-2.0-or-later
"""The Makefile with its tools played by stubs: what reaches the command, and what is made again when."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


class Checkout:
    """A checkout with the real Makefile; ``dmasafe`` and ``python -m pip`` only write down their arguments."""

    def __init__(self, place: Path) -> None:
        self.place = place
        shutil.copy(ROOT / "Makefile", place)
        (place / "pyproject.toml").touch()
        self.stub("scripts/install-packages", "exit ${PACKAGES_STATUS:-0}")
        self.stub(".venv/bin/dmasafe", 'printf "<%s>" "$@" >>calls; echo >>calls; exit ${DMASAFE_STATUS:-0}')
        self.stub(".venv/bin/python", '[ "$1" = -c ] || { printf "<%s>" "$@" >>calls; echo >>calls; }')
        os.utime(place / "pyproject.toml", (0, 0))
        for stamp in (".stamp-run", ".stamp-dev", ".stamp-compiled"):
            (place / ".venv" / stamp).touch()

    def stub(self, name: str, body: str) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "KDIR"))}
        return subprocess.run(
            ["make", *words],
            cwd=self.place,
            env={**clean, "HOME": "/home/me", **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        calls = self.place / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_test_qemu_runs_the_core_suite_and_says_nothing_of_its_own(checkout: Checkout) -> None:
    ran = checkout.make("test-qemu")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert checkout.calls == ["<run><--suite><core><--target><qemu>"]


@pytest.mark.parametrize(
    ("given", "reaches"),
    [
        ("~/linux", "/home/me/linux"),
        ("~", "/home/me"),
        ("../linux", "../linux"),
        ("/src/a b/it's $HOME `x`", "/src/a b/it's $HOME `x`"),
        ("/src/~/x", "/src/~/x"),
    ],
)
def test_kdir_reaches_the_command_as_it_was_meant(given: str, reaches: str, checkout: Checkout) -> None:
    ran = checkout.make("test-qemu", "KDIR=" + given.replace("$", "$$"))
    assert ran.returncode == 0, ran.stderr
    assert checkout.calls == [f"<run><--suite><core><--target><qemu><--kernel><{reaches}>"]


def test_kdir_counts_from_the_environment_too(checkout: Checkout) -> None:
    checkout.make("test-qemu", KDIR="~/linux")
    assert checkout.calls[-1].endswith("<--kernel></home/me/linux>")


def test_suite_and_further_arguments_are_passed_on(checkout: Checkout) -> None:
    checkout.make("test-qemu", "SUITE=smoke", "ARGS=--json 'a b'")
    assert checkout.calls == ["<run><--suite><smoke><--target><qemu><--json><a b>"]


def test_a_failing_run_fails_make(checkout: Checkout) -> None:
    assert checkout.make("test-qemu", DMASAFE_STATUS="1").returncode != 0


def test_without_the_packages_nothing_is_run(checkout: Checkout) -> None:
    assert checkout.make("test-qemu", PACKAGES_STATUS="1").returncode != 0
    assert checkout.calls == []


def test_a_newer_pyproject_is_installed_once_and_only_with_the_tools_that_are_needed(checkout: Checkout) -> None:
    for stamp in (".stamp-run", ".stamp-dev"):
        (checkout.place / ".venv" / stamp).unlink()
    assert checkout.make("test-qemu").returncode == 0
    assert checkout.make("test-qemu").returncode == 0
    install = "<-m><pip><install><--quiet><--disable-pip-version-check><--editable>"
    assert [call for call in checkout.calls if "pip" in call] == [f"{install}<.[matrix]>"]
    assert checkout.make("types").returncode != 0  # there is no mypy among the stubs
    assert [call for call in checkout.calls if "pip" in call] == [f"{install}<.[matrix]>", f"{install}<.[dev]>"]


def test_sources_are_compiled_once_after_each_change(checkout: Checkout) -> None:
    source = checkout.place / "harness" / "dmasafe" / "cli" / "run_command.py"
    source.parent.mkdir(parents=True)
    source.touch()
    stamp = checkout.place / ".venv" / ".stamp-compiled"
    os.utime(checkout.place / ".venv" / ".stamp-run", (1, 1))
    for compiled_at in (3, 1, None):
        os.utime(source, (2, 2))
        if compiled_at is not None:
            os.utime(stamp, (compiled_at, compiled_at))
        assert checkout.make("test-qemu").returncode == 0
    assert [call for call in checkout.calls if "compileall" in call] == ["<-m><compileall><-q><harness/dmasafe>"]


def test_a_python_that_is_too_old_is_one_sentence(checkout: Checkout) -> None:
    checkout.stub("old-python", "exit 1")
    (checkout.place / ".venv" / ".stamp-run").unlink()
    ran = checkout.make("test-qemu", "PYTHON=./old-python")
    assert ran.returncode != 0
    assert "./old-python is missing or older than 3.11" in ran.stderr


def test_help_is_the_default_and_names_every_target(checkout: Checkout) -> None:
    ran = checkout.make()
    assert ran.returncode == 0
    for target in ("test-qemu", "test", "lint", "types", "bench", "shell", "clean", "help"):
        assert f"\n  {target} " in ran.stdout
    assert checkout.calls == []
