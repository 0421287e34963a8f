# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's ioctl: the data must be as long as the request's number says."""

import errno
import json
import os
import subprocess

import pytest

from dmasafe.kernel import build_agent, open_cache, project_root
from dmasafe.progress import SILENT

# _IOW('o', 99, int), which no driver of /dev/null knows.
REQUEST = 1 << 30 | 4 << 16 | ord("o") << 8 | 99


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the agent is built for x86_64")
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
def test_an_ioctl_says_what_the_kernel_said(words, error):
    agent = build_agent("x86_64", project_root() / "images" / "agent", open_cache(), SILENT)
    request = json.dumps({"op": "ioctl", "n": 7, **words}) + "\n"
    done = subprocess.run([agent, "-"], input=request.encode(), capture_output=True, timeout=60)
    replies = [json.loads(line) for line in done.stdout.decode("latin-1").splitlines()]
    assert {"re": "ioctl", "n": 7, "errno": error} in replies
