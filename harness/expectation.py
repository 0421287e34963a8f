# SPDX-License-Identifier: GPL-2.0-or-later
"""What an expectation depends on, and what must come of a seeded fault.

Everything else is predicted by the model; harness/targets/expected.py asks the right one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.expectation_faults import expect_fault
from harness.outcome import Expectation, Skip
from harness.scenario import Scenario


@dataclass(frozen=True)
class KernelFacts:
    """One kernel: ``arch`` as uname says it, ``version`` (6, 12, 117), ``symbols`` set to y or m.

    ``coherent`` says whether the controller sees what is in the processor's caches; None takes the architecture's
    habit. ``swiotlb`` is the boot parameter of that name (``force``, ``noforce``), None without it. ``iommu``
    says whether DMA addresses are translated, ``machine`` which variation of the machine it is (empty: the plain one).
    """

    arch: str
    version: tuple[int, ...]
    symbols: frozenset[str]
    coherent: bool | None = None
    swiotlb: str | None = None
    iommu: bool = False
    machine: str = ""

    def has(self, symbol: str) -> bool:
        return symbol in self.symbols


def expect_seeded(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to a scenario with a seeded fault; its ``fault`` must not be None."""
    fault = scenario.fault
    assert fault is not None
    if scenario.without_fault.id not in fault.shown_with:
        return Skip(f"what must come of fault {fault.name} is known for {' and '.join(fault.shown_with)} only")
    return expect_fault(fault.name, scenario.reads, kernel)
