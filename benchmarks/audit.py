# SPDX-License-Identifier: GPL-2.0-or-later
"""What watching costs a transfer: the same transfers with dmasafe_audit.ko and without, by turns in one boot.

Times are the guest's own, of the API call alone, on the controller's engine: no process outside takes part. Of each
turn the tenth percentile counts, as other work on the host only ever adds. Under TCG kernel code is many times slower
than on a processor, the audit's too; a real bus is not: 9 bytes at 400 kHz take 200 us.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from dmasafe.guest.agent import integer
from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.progress import SILENT
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets import audit
from dmasafe.targets.boot import Boot
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, prepare
from dmasafe.targets.wire import line, settings

TURNS = 10
CALLS = 200
_DEVICE, _DRIVER = "dmasafe-engine.0", "dmasafe_controller"
SCENARIOS = tuple(
    parse_scenario(text)
    for text in (
        "heap/master_send/dmasafe:pio/8",
        "heap/master_recv_dmasafe/dmasafe:bounce/32",
        "stack/master_recv/dmasafe:bounce/8",
        "vmalloc/master_send/dmasafe:pio/256",
    )
)


def turn(boot: Boot, scenario: Scenario) -> float:
    """Nanoseconds of one call, the tenth percentile."""
    took = []
    for _ in range(CALLS):
        request = {"op": "run", "seq": 1, "adapter": scenario.controller, "set": settings(scenario)}
        boot.send({**request, "line": line(scenario)})
        (reply,) = boot.replies()
        nanoseconds = integer(reply.get("answer", {}), "ns")
        assert nanoseconds is not None, reply
        took.append(nanoseconds)
    return statistics.quantiles(took, n=10)[0]


def take_engine(boot: Boot) -> None:
    """Put the controller's engine in the place of the emulated device."""
    boot.request("unload", name=_DRIVER)
    for request in (
        {"op": "load", "path": f"/modules/{_DRIVER}.ko", "params": "engine=1"},
        {"op": "adapter", "name": "dmasafe", "bus": "platform", "device": _DEVICE, "driver": _DRIVER},
    ):
        reply = boot.request(**request)
        assert reply.get("errno") == 0, (request, reply)


def main() -> None:
    prepared = prepare(DEFAULT_SOURCE, DEFAULT_CONFIGURATION, DEFAULT_ARCH, None, SILENT, extra_modules=audit.SOURCES)
    without: dict[str, list[float]] = {scenario.id: [] for scenario in SCENARIOS}
    watched: dict[str, list[float]] = {scenario.id: [] for scenario in SCENARIOS}
    with (
        tempfile.TemporaryDirectory(prefix="dmasafe-") as logs,
        (Path(logs) / "kmsg.log").open("wb") as kmsg_log,
        Boot(prepared.image, Path(logs), kmsg_log) as boot,
    ):
        boot.prepare()
        take_engine(boot)
        for _ in range(TURNS):
            for scenario in SCENARIOS:
                without[scenario.id].append(turn(boot, scenario))
            audit.begin(boot, f"/modules/{audit.MODULE}.ko")
            for scenario in SCENARIOS:
                watched[scenario.id].append(turn(boot, scenario))
            assert audit.finish(boot).messages >= CALLS * len(SCENARIOS)
    print(
        f"{prepared.kernel.release} {prepared.kernel.arch}, {prepared.image.accelerator}; "
        f"of {TURNS} turns of {CALLS} calls the median, by turns in one boot"
    )
    for scenario in SCENARIOS:
        plain, seen = (statistics.median(turns[scenario.id]) for turns in (without, watched))
        print(
            f"{scenario.id:<46} {plain / 1000:7.1f} us   watched {seen / 1000:7.1f} us   "
            f"{seen / plain:5.2f} x   {seen - plain:+8.0f} ns"
        )


if __name__ == "__main__":
    main()
