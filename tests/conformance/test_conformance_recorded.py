# SPDX-License-Identifier: GPL-2.0-or-later
"""The model against what real guests did, without booting one."""

import json

import pytest

from tests.conformance.recorded import recordings, replay


@pytest.mark.parametrize("path", recordings(), ids=lambda path: path.stem)
def test_the_model_does_what_a_guest_did(path):
    assert list(replay(json.loads(path.read_text()))) == []


def test_there_are_recordings_of_every_kernel_at_hand():
    names = {path.stem.rsplit("-", 1)[0] for path in recordings()}
    assert names >= {
        "5.10-default",
        "6.1-default",
        "6.12-default",
        "7.2-default",
        "7.3-default",
        "6.12-debug-sg",
        "6.12-riscv64-default",
        "6.12-no-vmap-stack",
    }
