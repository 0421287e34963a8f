# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe run --controller``: what is wrong is said before a kernel is built."""

from __future__ import annotations

import pytest

from tests.in_process import dmasafe


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--policy", "pio"), "name that, too"),
        (("--device", "1b36:10f0"), "name that, too"),
        (("--controller", "DIR", "--target", "model"), "--controller is for the target qemu"),
        (("--controller", "DIR", "stack/nothing/*"), "no scenario of suite core on own:bounce matches stack/nothing/*"),
        (("--controller", "DIR", "--policy", "kind"), "'kind' is not one of 'bounce', 'flag-only'"),
        (("--controller", "DIR/none"), "does not exist"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, words, why):
    done = dmasafe("run", "--results", tmp_path / "out", *(word.replace("DIR", str(tmp_path)) for word in words))
    assert done.returncode == 2 and why in done.stderr and "Traceback" not in done.stderr
