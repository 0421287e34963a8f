# SPDX-License-Identifier: GPL-2.0-or-later
"""What the agent does alone, as a plain program: an ioctl as long as its number says, bytes as JSON."""

import errno
import json
import os
import random
import subprocess

import pytest

from dmasafe.kernel import build_agent, open_cache, project_root
from dmasafe.progress import SILENT

# _IOW('o', 99, int), which no driver of /dev/null knows.
REQUEST = 1 << 30 | 4 << 16 | ord("o") << 8 | 99


pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the agent is built for x86_64")


@pytest.fixture(scope="module")
def ask():
    """The agent's replies to requests."""
    agent = build_agent("x86_64", project_root() / "images" / "agent", open_cache(), SILENT)

    def replies(*requests):
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run([agent, "-"], input=lines.encode(), capture_output=True, timeout=60)
        return [json.loads(line) for line in done.stdout.decode("latin-1").splitlines()]

    return replies


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"path": "/dev/null", "request": REQUEST, "data": "\x00\x01\xfe\xff"}, errno.ENOTTY),
        ({"path": "/dev/null", "request": REQUEST, "data": "\x00\x01\xfe"}, errno.EINVAL),
        ({"path": "/dev/null", "request": REQUEST, "data": "\x00\x01\xfe\xff\x00"}, errno.EINVAL),
        ({"path": "/dev/null", "request": REQUEST}, errno.EINVAL),
        ({"path": "/nowhere", "request": REQUEST, "data": "abcd"}, errno.ENOENT),
    ],
)
def test_an_ioctl_says_what_the_kernel_said(ask, words, error):
    assert {"re": "ioctl", "n": 7, "errno": error} in ask({"op": "ioctl", "n": 7, **words})


def test_every_byte_of_a_file_arrives_wherever_it_stands(ask, tmp_path):
    # The agent looks at eight bytes at once: each byte alone between plain ones, at any place, and all in a row.
    dice = random.Random(14)
    alone = b"".join(b"plain" * 3 + b"." * dice.randrange(8) + bytes([byte]) for byte in range(256))
    data = alone + bytes(range(256)) * 2 + bytes(dice.choices(range(256), k=4000))
    (tmp_path / "bytes").write_bytes(data)
    (reply,) = [one for one in ask({"op": "read", "path": str(tmp_path / "bytes")}) if one["re"] == "read"]
    assert reply["errno"] == 0 and reply["data"].encode("latin-1") == data


def test_numbers_are_written_as_they_are(ask):
    numbers = (0, 7, -1, 1 << 62, -(1 << 62), -(1 << 63))
    told = ask(*({"op": "hello", "n": number} for number in numbers))
    assert [reply["n"] for reply in told if "n" in reply] == list(numbers)
