# SPDX-License-Identifier: GPL-2.0-or-later
"""Where kernel versions differ, the model differs."""

import pytest

from dmasafe.model import Config, predict
from dmasafe.scenario import parse_scenario


def test_what_another_version_reports_differs_where_its_source_does():
    overlap = "coherent/master_recv_dmasafe/dmasafe:bounce/8"
    by_version = {
        version: predict(parse_scenario(overlap), Config(version=version)).classes
        for version in ((5, 10), (6, 1), (6, 12), (7, 2))
    }
    # 5.10 does not report overlaps, 7.2 only where devices cannot see the caches: not on x86.
    assert by_version == {(5, 10): (), (6, 1): ("cacheline-overlap",), (6, 12): ("cacheline-overlap",), (7, 2): ()}


@pytest.mark.parametrize(
    ("version", "outcome"),
    [
        *(((5, 10), "SAFE"), ((6, 1), "SAFE"), ((6, 12), "REFUSED")),
        *(((6, 12, 107), "SAFE"), ((6, 12, 117), "REFUSED"), ((7, 2), "REFUSED")),
    ],
)
def test_an_empty_block_is_refused_since_the_length_check(version, outcome):
    text = "user/i2cdev_smbus/dmasafe:bounce/0@40+command=18+protocol=block_data+rd=0"
    assert predict(parse_scenario(text), Config(version=version)).outcome == outcome
