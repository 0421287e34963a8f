# SPDX-License-Identifier: GPL-2.0-or-later
"""Every message that kernel/dma/debug.c passes to err_printk() is provoked on a real kernel, or its reason is told."""

import json
import re

import pytest
from dmesg_sources import err_printk_formats, kernel_trees

from dmasafe.expect.faults import unreachable
from dmasafe.scenario import faults_suite

# One message needs a stack in the linear map, another one in vmalloc space.
CONFIGURATIONS = ("default", "no-vmap-stack")
# The kernel that every checkout has, and how many messages it can print; another one is tested where it is built.
MESSAGES = {"6.12": 23, "7.2": 25}
# The words of the messages that no driver can provoke, by class.
OUT_OF_REACH = {"cacheline-overlap": "cacheline tracking EEXIST"}


def built(dmasafe, series):
    rows = json.loads(dmasafe("kernel", "list", "--format", "json", check=0).stdout)
    return {row["config"] for row in rows if row["release"].startswith(f"{series}.")}


@pytest.fixture(scope="module")
def said(dmasafe, kernel_of, tmp_path_factory):
    """A function: the release and all splats of suite faults on a kernel, which must be as expected."""
    seen = {}

    def run(series):
        if series in seen:
            return seen[series]
        if series != "6.12" and not built(dmasafe, series) >= set(CONFIGURATIONS):
            pytest.skip(f"not built: dmasafe kernel build apt:linux-source-{series} --config no-vmap-stack")
        splats, release = [], ""
        for configuration in CONFIGURATIONS:
            if series == "6.12":
                kernel_of(configuration)
            out = tmp_path_factory.mktemp("faults")
            source = ("--kernel", f"apt:linux-source-{series}", "--config", configuration)
            dmasafe("run", "--suite", "faults", "--out", out, *source, check=0, timeout=1200)
            results = json.loads((out / "latest" / "results.json").read_text())
            assert results["counts"]["pass"] == len(faults_suite()), results["counts"]
            release = results["kernel"]["release"]
            splats += [splat for row in results["scenarios"] for splat in row["splats"]]
        seen[series] = release, splats
        return seen[series]

    return run


def pattern(text):
    """What a printed message looks like: the first line of a printf format, its conversions anything."""
    parts = re.split(r"%(?:0?\d*)(?:ll|l|z)?(?:[diuxs]|p[ad]?)", text.split("\n")[0])
    return re.compile(".+?".join(re.escape(part.strip()) if part == parts[-1] else re.escape(part) for part in parts))


@pytest.mark.parametrize("series", MESSAGES)
def test_every_message_is_provoked_and_parsed_or_cannot_be(said, series):
    release, splats = said(series)
    trees = [tree for tree in kernel_trees() if version_of(tree) == release]
    assert trees, f"no source of {release} in the cache"
    formats = err_printk_formats(trees[0])
    assert len(formats) == MESSAGES[series]
    messages = [splat["message"] for splat in splats if splat["class"] != "other"]
    silent = [text for text in formats if not any(pattern(text).search(message) for message in messages)]
    version = tuple(int(part) for part in release.split("."))
    reasons = unreachable("x86_64", version)
    expected = [text for slug, text in OUT_OF_REACH.items() if slug in reasons]
    assert len(silent) == len(expected), silent
    assert all(any(words in text for text in silent) for words in expected)


def test_the_guess_of_the_parser_is_never_other_for_dma_debug(said):
    _, splats = said("6.12")
    others = {splat["message"] for splat in splats if splat["class"] == "other"}
    assert not any("DMA-API" in message for message in others)


def version_of(tree):
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", (tree / "Makefile").read_text(), re.M))
    return ".".join(found[key] for key in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def test_detection_prints_who_notices(dmasafe, tmp_path):
    output = tmp_path / "detection.md"
    only = ("--kernel", "apt:linux-source-6.12", "--config", "default")
    dmasafe("detection", *only, "--output", output, check=0)
    text = output.read_text()
    assert "| `wrong-direction` | maps and unmaps in the opposite direction | **nobody** |" in text
    assert "device: wrong data; memory: guard-after" in text
