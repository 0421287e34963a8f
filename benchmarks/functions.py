# SPDX-License-Identifier: GPL-2.0-or-later
"""What a PCI function in Python costs: a boot with one beside a boot without, a message through it beside virtio's."""

from __future__ import annotations

import statistics
from dataclasses import replace

from benchmarks.measure import booted
from dmasafe import kernel as kernels
from dmasafe.guest.agent import integer
from dmasafe.progress import SILENT
from dmasafe.scenario import parse_scenario
from dmasafe.targets.boot import Boot
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, prepare, with_own_driver
from dmasafe.targets.wire import line, settings

EXAMPLE = kernels.project_root() / "docs" / "examples" / "controller"
WANTED_BOOT_RATIO = 1.3
BOOTS = 7
MESSAGES = 200
PLACES = ("virtio", "dmasafe:bounce", "own:bounce")


def messages_us(boot: Boot, place: str, length: int) -> list[float]:
    """Microseconds in the guest of each of many messages from a slave."""
    scenario = parse_scenario(f"heap/master_recv_dmasafe/{place}/{length}")
    found = []
    for number in range(1, MESSAGES + 1):
        reply = boot.request(
            "run", seq=number, adapter=scenario.controller, set=settings(scenario), line=line(scenario)
        )
        answer = reply.get("answer")
        assert isinstance(answer, dict) and integer(answer, "ret") == length, reply
        found.append((integer(answer, "ns") or 0) / 1000)
    return found


def main() -> None:
    plain = prepare(kernels.DEFAULT_SOURCE, DEFAULT_CONFIGURATION, DEFAULT_ARCH, None, SILENT)
    with_function = with_own_driver(plain, EXAMPLE / "fixed", f"{EXAMPLE}/demo_controller.py:DemoController", SILENT)
    # The same QEMU, without the function.
    without = replace(plain, image=replace(with_function.image, own=None))
    boots: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(BOOTS):
        for name, prepared in (("without", without), ("with", with_function)):
            with booted(prepared) as boot:
                boots[name].append(boot.boot_s)
    medians = {name: statistics.median(seconds) for name, seconds in boots.items()}
    ratio = medians["with"] / medians["without"]
    print(f"{plain.kernel.release} {plain.kernel.arch}, {plain.image.accelerator}; medians")
    print(f"boot without a function {medians['without']:.2f} s, with one {medians['with']:.2f} s: {ratio:.2f} times")
    print(f"wanted: {WANTED_BOOT_RATIO} times at most")
    with booted(with_function) as boot:
        boot.prepare()
        for length in (8, 256):
            for place in PLACES:
                us = messages_us(boot, place, length)
                print(
                    f"{place:<15} {length:>4} bytes from a slave: {statistics.median(us):7.0f} us, best {min(us):.0f}"
                )
