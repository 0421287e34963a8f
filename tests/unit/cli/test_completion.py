# SPDX-License-Identifier: GPL-2.0-or-later
"""What shells offer, asked for in real shells by the key a user would press, and by their protocol."""

import os
import shutil
import sys
from pathlib import Path

import pexpect
import pytest
from click.shell_completion import BashComplete

from dmasafe.cli import group
from dmasafe.cli.completion_command import VARIABLE
from dmasafe.scenario import SUITES

TIMEOUT_S = 30
# How each shell starts without the user's own files, and loads the script.
SHELLS = {
    "bash": ("bash --norc --noprofile", "source <(dmasafe completion bash)"),
    "zsh": ("zsh -f", "autoload -U compinit && compinit -u -D && source <(dmasafe completion zsh)"),
    "fish": ("fish --no-config", "dmasafe completion fish | source"),
}
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb", "CI": "1"}


def offered(*words: str) -> list[str]:
    """The completions of the last word, by bash's protocol."""
    asked = {"COMP_WORDS": " ".join(("dmasafe", *words)), "COMP_CWORD": str(len(words))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in asked.items():
            patch.setenv(name, value)
        lines = BashComplete(group, {}, "dmasafe", VARIABLE).complete().splitlines()
    return [line.partition(",")[2] for line in lines]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_the_rest_of_an_id_behind_its_colon(shell, tmp_path):
    start, load = SHELLS[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    with pexpect.spawn(
        start, env=ENVIRONMENT, timeout=TIMEOUT_S, dimensions=(40, 200), encoding="utf-8", cwd=tmp_path
    ) as child:
        # The echo of what is typed is not what is printed.
        child.send(f"{load}; echo rea''dy\r")
        child.expect("ready")
        # There is no length 3, so that without the rest of the word there is no such scenario.
        child.send("dmasafe run --target model heap/master_send/dmasafe:pio/3\t")
        child.expect("pio/32")
        child.send("\r")
        child.expect("PASS: everything happened as expected")


@pytest.mark.parametrize(
    ("words", "some", "others"),
    [
        (("",), {"run", "kernel", "completion"}, {"prepare"}),
        (("kernel", ""), {"build", "list", "prune"}, {"run"}),
        (("matrix", "re"), {"record", "report", "regressions"}, {"run"}),
        (("matrix", "run", "ni"), {"nightly"}, {"quick"}),
        (("run", "--suite", ""), set(SUITES), set()),
        (("run", "--config", "no-"), {"no-dma-debug", "no-vmap-stack"}, {"default"}),
        (("run", "--arch", ""), {"x86_64", "arm64"}, set()),
        (("run", "heap/master_send/dmasafe:b"), {"heap/master_send/dmasafe:bounce/8"}, {"heap/master_send/virtio/8"}),
        (("run", "--re"), {"--results", "--resume"}, {"--out"}),
        (("explain", "map-"), {"map-stack", "map-vmalloc"}, {"free-size"}),
        (("clients", "ad"), {"ad5110"}, set()),
        (("findings", "osif"), {"osif-callers-buffer"}, set()),
    ],
)  # fmt: skip
def test_words_are_completed_to_what_there_is(words, some, others):
    found = set(offered(*words))
    assert some <= found and not others & found
