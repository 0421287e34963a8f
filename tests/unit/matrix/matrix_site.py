# SPDX-License-Identifier: GPL-2.0-or-later
"""A small history with something of everything, and hostile text in it, for the tests of the site."""

from __future__ import annotations

from dataclasses import replace

from matrix_samples import FIRST, RECEIVE, SEND, STACK, failed, lost, passed, results, run, splat

from dmasafe.matrix.record import Facts, prepare
from dmasafe.outcome import Noticed, Outcome
from dmasafe.report import json_report
from dmasafe.report.results import Row
from dmasafe.scenario import core_suite, faults_suite

HOSTILE = "</pre></script><script>window.pwned = 1</script><img src=x onerror='window.pwned=2'> {{ 7 * 7 }}"
NIGHTS = 5
CONFIGURATIONS = ("default", "debug-sg", "kasan")


def runs():
    """Five nights of three cells; SEND fails in one cell from the last night on, with a hostile splat."""
    found = []
    for night in range(NIGHTS):
        for number, config in enumerate(CONFIGURATIONS):
            changes = {}
            if number == 0 and night == NIGHTS - 1:
                changes[SEND] = failed(Outcome.SILENT, f"damaged: {HOSTILE}", splat("guilty", HOSTILE))
            if number == 1 and night % 2:
                changes[RECEIVE] = lost()
            if number == 2:
                changes[STACK] = passed(Outcome.CAUGHT, splat("fn" if night else "<b>old</b>", HOSTILE))
            version = f"6.12.{117 + night}-1"
            more = {"version": version, "config": config, "boot_s": 1.0 + night / 4}
            found.append(run(night, changes, build_s=100.0 if night else None, **more))
    return [*found, faults()]


def faults(config="default"):
    """A run of the suite of seeded faults in which the kernel reports every other one."""
    rows = []
    for number, scenario in enumerate(faults_suite()):
        said = Noticed(kernel=("map-stack",)) if scenario.fault and number % 2 else Noticed()
        rows.append(Row.of(scenario, passed(), said))
    found = replace(results(suite="faults", config=config), rows=tuple(rows))
    return prepare(found, json_report.render(found).encode(), Facts(FIRST), "results.json")


def troubled():
    """Two nights of six cells with every buffer kind; the last cell fails 48 scenarios: of stack and vmalloc only."""
    kinds: dict[str, list[str]] = {}
    for scenario in core_suite():
        kinds.setdefault(scenario.buffer, []).append(scenario.id)
    usual = {id_: passed() for ids in kinds.values() for id_ in ids[:24]}
    found = []
    for night in range(2):
        for number, config in enumerate(("default", "debug-sg", "kasan", "no-vmap-stack", "swiotlb", "zz-last")):
            wrong = kinds["stack"][:24] + kinds["vmalloc"][:24] if night and config == "zz-last" else []
            why = "damaged: guard-after, and the device wrote outside of guest memory at 0x2000e0c0, a stray DMA"
            bad = {id_: failed(Outcome.SILENT, why, splat("guilty")) for id_ in wrong}
            boot_s = 9.0 if night > 0 and number == 5 else 2.0
            found.append(run(night, {**usual, **bad}, config=config, boot_s=boot_s))
    earlier = [run(night, usual, config="zz-last", boot_s=2.0) for night in (-3, -2, -1)]
    return [*earlier, *found, faults()]
