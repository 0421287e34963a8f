# SPDX-License-Identifier: GPL-2.0-or-later
"""A bounded slice of ``make fuzz``: the corpus, then random inputs from a seed that a failure prints."""

import contextlib
import io
import json
import random

import fuzz_agent
import fuzz_check
import fuzz_devices
import fuzz_frontend
import fuzz_registers
import fuzz_usbredir
import fuzz_vfio_user
import fuzzing
import pytest

from dmasafe.dmesg import parse_records
from dmasafe.targets.gathered import Gathered

COUNT = 4000
TARGETS = {
    "agent": fuzz_agent.check,
    "check": fuzz_check.check,
    "devices": fuzz_devices.check,
    "frontend": fuzz_frontend.check,
    "registers": fuzz_registers.check,
    "usbredir": fuzz_usbredir.check,
    "vfio-user": fuzz_vfio_user.check,
}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_gives_way(name, capsys):
    for data in fuzzing.seeds(name):
        TARGETS[name](data)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"{name}: seed {seed}")
    tried, _ = fuzzing.hammer(TARGETS[name], name, seed, COUNT)
    assert tried >= COUNT


def test_seeds_of_the_agents_lines_reach_the_parser():
    gathered = Gathered(io.BytesIO())
    for data in fuzzing.seeds("agent"):
        for line in data.splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                message = json.loads(line)
                if isinstance(message, dict):
                    gathered.take_message(message)
    assert parse_records(record for records in gathered.records.values() for record in records)


def test_a_byte_outside_guest_memory_does_not_go_unseen():
    """The watch itself: what it guards, it sees."""
    guest = fuzz_devices.GUEST
    place = guest.low - 1
    before = guest.file[place]
    guest.file[place] ^= 0xFF
    try:
        assert not guest.untouched()
    finally:
        guest.file[place] = before
    assert guest.untouched()
