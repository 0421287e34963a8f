# SPDX-License-Identifier: GPL-2.0-or-later
"""What real guests did, kept compact in tests/fixtures/conformance: record it, and compare the model with it.

Record anew: python -m tests.conformance.recorded [--kernel SOURCE] [--arch NAME] [--config NAME] [--scenarios N]
[--seed S]
"""

import argparse
import hashlib
import json
import shlex
import sys
import tempfile
from pathlib import Path

from dmasafe.facts import KernelFacts
from dmasafe.model import Config, predict
from dmasafe.model.predict import cannot_exist
from dmasafe.outcome import Skip
from dmasafe.scenario import RECORDER_ADDRESS, USER, core_suite, parse_scenario
from dmasafe.targets import conform, generate

DIRECTORY = Path(__file__).parents[1] / "fixtures" / "conformance"
# What the model, or what can exist on it, depends on in a .config.
SYMBOLS = {
    *("DEBUG_DEVRES", "DEBUG_SG", "DMA_API_DEBUG", "DMA_API_DEBUG_SG", "DMA_BOUNCE_UNALIGNED_KMALLOC", "HIGHMEM"),
    *("I2C_CHARDEV", "I2C_VIRTIO", "KALLSYMS_ALL", "MODULES", "SWIOTLB", "VMAP_STACK"),
}
_LONGEST_TEXT = 16


def compact(facets):
    """Facets in few bytes: what is empty is left out, long ones are known by their hash."""
    short = {}
    for name, text in facets.items():
        if len(text) > _LONGEST_TEXT:
            text = "#" + hashlib.sha256(text.encode()).hexdigest()[:8]
        if text:
            short[name] = text
    return short


def replay(recording):
    """(scenario id, what the model says, what the guest did) for each scenario on which they differ, lazily."""
    kernel = recording["kernel"]
    facts = KernelFacts(kernel["arch"], tuple(kernel["version"]), frozenset(kernel["symbols"]))
    side = conform.ModelSide(facts)
    rows = {scenario.id for scenario in core_suite()}
    for id_, guest in recording["scenarios"].items():
        scenario = parse_scenario(id_)
        foreign = scenario.buffer in generate.READ_ONLY_KINDS
        model = compact(conform.facets(side.perform(scenario), foreign))
        if model != guest:
            yield id_, model, guest
        # A prediction has slaves that do not judge what they are sent.
        if id_ in rows or (scenario.address == RECORDER_ADDRESS and scenario.operation != "i2cdev_smbus"):
            expected = predict(scenario, facts)
            if isinstance(expected, Skip):
                told = {"lost": f"the guest cannot do this: {expected.why}", "outcome": "SILENT"}
            else:
                told = {"outcome": str(expected.outcome), "direct": str(expected.direct)}
            short = compact(told)
            if any(short[name] != guest.get(name) for name in short):
                yield id_, short, guest


def recordings():
    return sorted(DIRECTORY.glob("*.json"))


def _main(words):
    from dmasafe.architecture import REFERENCE_ARCH
    from dmasafe.kernel import DEFAULT_SOURCE
    from dmasafe.progress import SILENT
    from dmasafe.targets.prepare import prepare
    from dmasafe.targets.qemu import QemuTarget

    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", default=DEFAULT_SOURCE)
    parser.add_argument("--arch", default=REFERENCE_ARCH)
    parser.add_argument("--config", default="default")
    parser.add_argument("--scenarios", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as logs:
        prepared = prepare(options.kernel, options.config, options.arch, None, SILENT)
        target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, Path(logs))
        # The limits of i2c-dev and every SMBus protocol, which the lot finds now and then only.
        rows = [s for s in core_suite() if s.buffer == USER.name]
        drawn = conform.draw(prepared.facts, options.scenarios, options.seed)
        drawn = list({s.id: s for s in (*rows, *drawn) if cannot_exist(s, Config.of(prepared.facts)) is None}.values())
        comparison = conform.compare(target, drawn, SILENT)
    run = comparison.run
    known = {difference.scenario.id for difference in comparison.differences if difference.known is not None}
    if run.untrusted or run.boots > 1 or not run.canary_splatted:
        sys.exit(f"not recorded: this run cannot be trusted: {next(iter(run.untrusted.values()), 'see its notes')}")
    scenarios = {
        id_: compact(conform.facets(seen, parse_scenario(id_).buffer in generate.READ_ONLY_KINDS))
        for id_, seen in run.observations.items()
        if id_ not in known
    }
    facts = prepared.facts
    kernel = {"arch": facts.arch, "version": facts.version, "symbols": sorted(facts.symbols & SYMBOLS)}
    command = shlex.join(["python", "-m", "tests.conformance.recorded", *words])
    head = json.dumps({"recorded_with": command, "kernel": kernel})[:-1]
    rows = ",\n".join(
        f"{json.dumps(id_)}:{json.dumps(found, separators=(',', ':'))}" for id_, found in scenarios.items()
    )
    version = ".".join(map(str, facts.version[:2]))
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    arch = "" if options.arch == REFERENCE_ARCH else f"{options.arch}-"
    path = DIRECTORY / f"{version}-{arch}{options.config}-{options.seed}.json"
    path.write_text(f'{head}, "scenarios": {{\n{rows}\n}}}}\n')
    print(path, len(scenarios))


if __name__ == "__main__":
    _main(sys.argv[1:])
