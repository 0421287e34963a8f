# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``dmasafe conform`` says beside its differences."""

from dmasafe.cli.conform_command import _Report, _table
from dmasafe.facts import KernelInfo
from dmasafe.targets.base import TargetRun
from dmasafe.targets.conform import Comparison


def test_the_notes_of_the_kernel_and_of_its_boots_are_told():
    kernel = KernelInfo("7.9.0", "x86_64", "default", "a tree", notes=("7.9.0 is not verified",))
    run = TargetRun(kernel, "tcg", True, {}, notes=("boot 1: slow",))
    lines = list(_table(_Report(7, 1, Comparison(1, (), {}, run), [], "", 1.0)))
    assert [line for line in lines if line.startswith("note")] == ["note: 7.9.0 is not verified", "note: boot 1: slow"]
