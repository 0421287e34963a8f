# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's system on the model: its files through the smbus2 door, and processes, which share one processor."""

import threading

from smbus2 import smbus2 as low

from dmasafe.devices.bus import default_bus
from dmasafe.dmesg import parse
from dmasafe.model import Config, ModelKernel
from dmasafe.model.smbus import checks_length
from tests.smbus2.smbus2_suite.run import all_cases, run_case

PROCESS_TIMEOUT_S = 120


class ModelSystem:
    def __init__(self, adapter, **config):
        config = Config(**config)
        self.kernel = ModelKernel(config, slaves=default_bus())
        self.adapter = adapter
        self.checks_lengths = checks_length(config.version)
        self.bus = self.kernel.adapter(adapter).nr

    def open(self):
        return low.SMBus(self.bus)

    def bind_driver(self, address):
        self.kernel.adapter(self.adapter).bound.add(address)

    def unbind_driver(self, address):
        self.kernel.adapter(self.adapter).bound.discard(address)

    def processes(self, functions):
        """Threads: whatever enters the kernel leaves it before the next one does."""
        results = [""] * len(functions)

        def run(number):
            try:
                results[number] = str(functions[number]())
            except Exception as error:
                results[number] = f"{type(error).__name__}: {error}"

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(functions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PROCESS_TIMEOUT_S)
        return results


def run_on_model(adapter, **config):
    """Every case's result by its name, in the suite's order, on one model; ``splats`` as in board.py.

    ``config`` is what of the model's Config is not as it always is.
    """
    system = ModelSystem(adapter, **config)
    results = {}
    with system.kernel.installed():
        for case in all_cases(system):
            before = len(system.kernel.dmesg().splitlines())
            result = run_case(case)
            splats = parse(system.kernel.dmesg().splitlines()[before:])
            results[result["case"]] = {**result, "splats": sorted({splat.splat_class for splat in splats})}
    return results
