# SPDX-License-Identifier: GPL-2.0-or-later
"""Controllers that a variation of the machine comes with (kernel-configs/arch/), with slaves of QEMU's own.

Nothing is seen from their slaves' side, and the model has none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dmasafe.carriers.controller import Controller, Predict, Record, Where
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.vocabulary import Scenario, kind_of


def on_board(
    name: str,
    what: str,
    machine: str,
    function: str,
    driver: str,
    needs: str,
    scenarios: dict[str, Callable[[], Iterable[Scenario]]],
) -> Controller:
    """A controller at a PCI ``function`` of the machine, which copies bytes and carries SMBus calls only."""

    def expects(scenario: Scenario, kernel: KernelFacts, _predict: Predict) -> Expectation | Skip:
        if kernel.machine != machine or not kernel.has(needs):
            return Skip(f"{name} is there with --config {name} only")
        if scenario.operation == "get_put":
            return Skip("get_put maps for the controller that is named, and this one has no DMA")
        absent = kind_of(scenario).missing(kernel.has)
        if absent is not None:
            return Skip(absent)
        if scenario.operation != "i2cdev_smbus":
            why = "the adapter carries SMBus calls only: i2c_transfer() returns -EOPNOTSUPP"
            return Expectation(Outcome.REFUSED, why)
        return Expectation(Outcome.SAFE, "programmed input and output: no buffer is mapped")

    return Controller(
        name,
        what,
        scenarios=scenarios,
        places=frozenset({Where.GUEST}),
        elsewhere="only a guest has QEMU's own controllers and slaves: --target qemu",
        needs=(needs,),
        machine=machine,
        expects=expects,
        driver=driver,
        function=function,
        record=Record.NOBODY,
    )
