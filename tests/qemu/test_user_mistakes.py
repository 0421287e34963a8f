# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: one clear sentence, a non-zero exit, no traceback, before minutes are spent."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--suite", "cores"), ("no suite 'cores'", "core, smoke")),
        (("run", "heap/nothing/virtio/8"), ("no operation 'nothing'",)),
        (("run", "--suite", "core", "heap/master_send/virtio/8"), ("not both",)),
        (("run", "--kernel", "/etc", "--suite", "smoke"), ("/etc", "kernel tree")),
        (("run", "--kernel", "/nowhere/linux", "--suite", "smoke"), ("/nowhere/linux",)),
        (("run", "--config", "fastest", "--suite", "smoke"), ("fastest",)),
        (("run", "--out", "/proc/out", "--suite", "smoke"), ("/proc/out",)),
        (("kernel", "build", "apt:linux-source-0.1"), ("linux-source-0.1",)),
        (("kernel", "build", "https://127.0.0.1:9/linux.tar.xz"), ("sha256",)),
        (("shell",), ("terminal",)),
    ],
)
def test_a_mistake_is_one_sentence(dmasafe, arguments, words):
    done = dmasafe(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith(("dmasafe: ", "Error: "))]
    assert len(sentences) == 1, done.stderr
    assert all(word in sentences[0] for word in words), sentences[0]


def test_an_unwritable_cache_is_one_sentence(dmasafe, tmp_path):
    # A file where the directory should be: root may write anywhere else.
    (tmp_path / "file").write_text("")
    done = dmasafe("run", "--suite", "smoke", DMASAFE_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "DMASAFE_CACHE" in done.stderr
