# SPDX-License-Identifier: GPL-2.0-or-later
import dataclasses
import json
import os

import pytest

from dmasafe.qemu import accelerators, versions
from dmasafe.qemu.accelerators import accelerator_works, choose_accelerator
from dmasafe.qemu.machines import find_machine


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose QEMU is a script; ``behave`` sets what it does when it boots something."""
    versions.qemu_version.cache_clear()
    monkeypatch.setattr(accelerators, "PROBE_TIMEOUT_S", 0.3)
    binary = tmp_path / "qemu"
    runs = tmp_path / "runs"

    def behave(script):
        binary.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "QEMU emulator version 7.2.0"; exit; fi\n'
            f"echo run >> {runs}\n{script}\n"
        )
        binary.chmod(0o755)

    row = dataclasses.replace(find_machine("x86_64"), binary=str(binary), arch=os.uname().machine)
    behave.runs = lambda: len(runs.read_text().split()) if runs.exists() else 0
    return row, behave, tmp_path / "memory.json", tmp_path / "vmlinux"


@pytest.mark.parametrize(
    ("script", "works"),
    [
        ("echo 'Linux version 6.12'", True),
        ("echo 'Linux version 6.12'; exit 1", False),
        ("echo nothing", False),
        ("exec sleep 30", False),
    ],
)
def test_only_a_boot_within_the_bound_proves_an_accelerator(machine, script, works):
    row, behave, memory, kernel = machine
    behave(script)
    assert accelerator_works(row, "hvf", kernel, memory) is works


def test_the_answer_is_remembered_until_the_next_host_boot(machine):
    row, behave, memory, kernel = machine
    behave("exit 1")
    assert [accelerator_works(row, "hvf", kernel, memory) for _ in range(3)] == [False] * 3
    assert behave.runs() == 1
    remembered = json.loads(memory.read_text())
    other_boot = {key.replace(key.split()[-2], "another-boot"): value for key, value in remembered.items()}
    memory.write_text(json.dumps(other_boot))
    accelerator_works(row, "hvf", kernel, memory)
    assert behave.runs() == 2


def test_tcg_is_what_is_left(machine):
    row, behave, memory, kernel = machine
    behave("exit 1")
    assert choose_accelerator(row, kernel, memory, candidates=("hvf", "tcg")) == "tcg"


def test_a_damaged_memory_is_no_reason_to_stop(machine):
    row, behave, memory, kernel = machine
    behave("echo 'Linux version 6.12'")
    memory.write_text("[")
    assert accelerator_works(row, "hvf", kernel, memory) is True


def test_the_users_own_choice_is_taken(machine):
    row, _, memory, kernel = machine
    assert choose_accelerator(row, kernel, memory, wanted="xen") == "xen"
