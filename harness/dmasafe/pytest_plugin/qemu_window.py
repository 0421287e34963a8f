# SPDX-License-Identifier: GPL-2.0-or-later
"""A test on a booted guest: what happened since its begin, whether that can be trusted, what the test left unsaid."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.audit import Record
from dmasafe.dmesg import Symbols, known_as, parse_records
from dmasafe.errors import DmasafeError
from dmasafe.expect import expect
from dmasafe.model import ModelKernel
from dmasafe.outcome import BusMessage, Judgement, Observation, Skip, Splat, Verdict, judge
from dmasafe.progress import SILENT
from dmasafe.pytest_plugin.buffers import Buffers
from dmasafe.pytest_plugin.bus import PluginBus
from dmasafe.pytest_plugin.dmesg import Dmesg
from dmasafe.pytest_plugin.errors import Inconclusive, plainly
from dmasafe.pytest_plugin.guest import Guest
from dmasafe.pytest_plugin.module import ModuleLoader
from dmasafe.pytest_plugin.pci import PciLoader, marked
from dmasafe.pytest_plugin.window import PluginTarget
from dmasafe.scenario import parse_scenario
from dmasafe.targets.audit import with_lines
from dmasafe.targets.boot import CONSOLE_LOG
from dmasafe.targets.prepare import Prepared, once_module
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.session import KMSG_LOG
from dmasafe.targets.shared_boot import SharedBoot

_NO_ORACLE = "this kernel has no CONFIG_DMA_API_DEBUG: that it reports nothing means nothing"


class QemuWindow:
    """See the module. ``symbols`` are the kernel's, None if it has no debug information."""

    def __init__(
        self, item: pytest.Item, shared: SharedBoot, prepared: Prepared, symbols: Symbols | None, strict: bool = True
    ) -> None:
        self._item = item
        self._shared = shared
        self._prepared = prepared
        self._settled = False
        self._stuck: list[str] = []
        self._kernel_symbols = symbols
        self._told = False
        self._slaves: Mapping[int, object] | None = None
        self._guest = Guest(shared)
        self._dmesg = Dmesg(self._records, self._resolve, self._doubt)
        self._modules = ModuleLoader(prepared.build, self._guest, self._dmesg, item.path.parent)
        self.inconclusive: str | None = None
        self.target = PluginTarget(QemuTarget.name, prepared.kernel, prepared.facts, self._run)
        self._buffers = Buffers(
            shared.record, self._lined, lambda: shared.boot.adapters.values(), prepared.kernel.release, strict
        )
        self.bus = PluginBus(self, self._buffers)
        self._pci = PciLoader(
            shared, marked(item), self._modules, self._run_all, lambda: once_module(prepared.build, SILENT)
        )

    def guest(self) -> Guest:
        return self._guest

    def modules(self) -> ModuleLoader:
        return self._modules

    def pci(self) -> PciLoader:
        return self._pci

    def dmesg(self) -> Dmesg:
        return self._dmesg

    def model(self) -> ModelKernel:
        pytest.skip("dmasafe_model is there on the target model only: --dmasafe-target=model")

    # The bus's wiring.

    def plug(self, slaves: Mapping[int, object]) -> None:
        self._slaves = slaves
        self._shared.boot.device.plug(
            slaves, [str(self._item.path.parent), *(entry or str(Path.cwd()) for entry in sys.path)]
        )

    def update_slaves(self) -> None:
        self._shared.boot.sync_device()
        self._shared.boot.device.update_slaves()

    def messages(self) -> list[BusMessage]:
        self._shared.boot.sync_device()
        return list(self._shared.seen.messages)

    # What the hooks ask.

    def complaint(self) -> str | None:
        self._settle()
        if self.inconclusive is not None:
            return f"INCONCLUSIVE: {self.inconclusive}"
        parts = self._accounts()
        self._told = True
        return "\n".join(parts) or None

    def distrusted(self, error: BaseException) -> str | None:
        self._settle()
        if self.inconclusive is None:
            return None
        self._told = True
        said = str(error).strip().splitlines()
        if not said or self.inconclusive in said[0]:
            return self.inconclusive
        return f"{self.inconclusive}; the test itself had failed: {said[0]}"

    def accounts(self) -> list[str]:
        try:
            return [] if self._told or (self._shared.ended and not self._settled) else self._accounts()
        except DmasafeError:
            # A guest that is lost is the teardown's to tell.
            return []

    def _accounts(self) -> list[str]:
        slaves = [f"{why}\nto the driver it was as if the slave did not answer" for why in self._slave_errors()]
        functions = [f"{why}\nthe driver read all ones" for why in dict.fromkeys(self._shared.seen.function_errors)]
        return [*slaves, *functions, *self._dmesg.accounts(), *self.bus.accounts(self._dmesg.splats), *self._stuck]

    def _slave_errors(self) -> list[str]:
        return list(dict.fromkeys(self._shared.seen.slave_errors))

    def section(self) -> str:
        lines = [
            f"Linux {self._shared.boot.release}, {self.target.kernel.arch}, configuration {self.target.kernel.config}"
        ]
        if self.inconclusive is not None:
            lines.append(f"INCONCLUSIVE: {self.inconclusive}")
        if self._settled:
            expected = [splat for splat in self._dmesg.splats if splat not in self._dmesg.unclaimed()]
            lines.append(self._dmesg.describe(expected))
        if self._shared.unaudited is not None:
            lines.append(f"buffers are not audited: {self._shared.unaudited}")
        lines += [f"{name}: {self._shared.directory / name}" for name in (KMSG_LOG, CONSOLE_LOG)]
        return "\n".join(line for line in lines if line)

    def close(self) -> str | None:
        if self._shared.ended:
            return None
        if not self._settled:
            # The test's own code was never reached: a fixture failed, or it was skipped.
            return self.complaint()
        try:
            self._shared.flush()
        except DmasafeError as error:
            self._shared.end()
            return f"INCONCLUSIVE: after the test: {error}"
        late = self._resolve(parse_records(self._shared.seen.outside()))
        strays = [s for m in self._shared.seen.messages[len(self.bus.messages) :] for s in m.segments if s.stray]
        parts = [f"after the test the kernel reported\n{self._dmesg.describe(late)}"] if late else []
        parts += [f"after the test stray DMA went to {stray.address:#x}" for stray in strays[:1]]
        return "\n".join(parts) or None

    def _settle(self) -> None:
        """Look at everything once: unload modules, collect, check the boot. A boot that cannot be trusted ends here."""
        if self._settled:
            return
        self._settled = True
        reason: str | None = None
        stuck: list[str] = []
        try:
            stuck = self._modules.unload_all()
            if not stuck:
                self._pci.undo()
            self._shared.flush()
        except (DmasafeError, pytest.fail.Exception) as error:
            reason = str(error).removeprefix("INCONCLUSIVE: ")
        self._dmesg.freeze(self._shared.records())
        self.bus.freeze(self._shared.seen.messages)
        try:
            reason = self._buffers.freeze() or reason
        except DmasafeError as error:
            reason = reason or str(error)
        self._stuck = stuck
        if reason is None:
            try:
                self._shared.boot.device.plug(None)
                reason = self._shared.distrust()
            except DmasafeError as error:
                reason = str(error)
        if reason is not None or stuck:
            self._shared.end()
        if reason is None and self._doubt() is not None and (self._dmesg.used or self._modules.loaded):
            reason = _NO_ORACLE
        self.inconclusive = reason

    def _records(self) -> list[str]:
        self._shared.flush()
        return self._shared.records()

    def _doubt(self) -> str | None:
        return None if self.target.facts.has("DMA_API_DEBUG") else _NO_ORACLE

    def _resolve(self, splats: list[Splat]) -> list[Splat]:
        if not splats:
            return []
        splats = Symbols(None, self._modules.objects).resolve(splats)
        if self._kernel_symbols is not None:
            splats = self._kernel_symbols.resolve(splats)
        return [
            replace(splat, frames=tuple(known_as(frame, self._modules.places) for frame in splat.frames))
            for splat in splats
        ]

    def _lined(self, record: Record) -> Record:
        """The record with files and lines where a module has debug information."""
        lined = with_lines(record, Symbols(None, self._modules.objects))
        places = self._modules.places
        kinds = (replace(kind, frames=tuple(known_as(frame, places) for frame in kind.frames)) for kind in lined.kinds)
        return replace(lined, kinds=tuple(kinds))

    def _run(self, scenario_id: str) -> Judgement:
        __tracebackhide__ = True
        (judged,) = self._run_all([scenario_id])
        if judged.verdict is Verdict.SKIP:
            pytest.skip(judged.why)
        return judged

    @plainly
    def _run_all(self, scenario_ids: Sequence[str]) -> list[Judgement]:
        __tracebackhide__ = True
        scenarios = [parse_scenario(scenario_id) for scenario_id in scenario_ids]
        expected = {scenario.id: expect(scenario, self.target.facts) for scenario in scenarios}
        possible = [scenario for scenario in scenarios if not isinstance(expected[scenario.id], Skip)]
        observations: Mapping[str, Observation] = {}
        if possible:
            # Canaries, controls and scenarios need the slaves that they know.
            self.update_slaves()
            self._shared.boot.device.plug(None)
            run = self._shared.run(possible)
            if self._slaves is not None:
                self.plug(self._slaves)
            observations = run.observations
            reason = next((run.untrusted[s.id] for s in possible if s.id in run.untrusted), None)
            if reason is not None:
                self.inconclusive = reason
                raise Inconclusive(reason)
        return [judge(expected[scenario.id], observations.get(scenario.id)) for scenario in scenarios]
