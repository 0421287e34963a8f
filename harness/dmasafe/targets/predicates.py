# SPDX-License-Identifier: GPL-2.0-or-later
"""The talk's question, measured: why is there no is_dma_capable()?

For every buffer kind the guest's kernel answers the predicates that people reach for, and DMA is then really tried,
both ways. A predicate that says yes where DMA fails, or no where it works, errs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmasafe.guest.agent import integer
from dmasafe.outcome import Outcome, outcome_of
from dmasafe.scenario import BUFFER_KINDS, parse_scenario
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.session import KMSG_LOG
from dmasafe.targets.wire import line, observation, settings

# Predicate as the kernel names it -> the answer that somebody would take for "DMA may touch this".
PREDICATES: dict[str, bool] = {
    "is_vmalloc_addr": False,
    "is_vmalloc_or_module_addr": False,
    "virt_addr_valid": True,
    "object_is_on_stack": False,
    "cacheline_aligned": True,
}
# A controller driver that maps what it is given shows what DMA does with the memory itself.
_TRIALS = ("master_send_dmasafe", "master_recv_dmasafe")
_PLACE = "dmasafe:trusting"
_BYTES = 8


@dataclass(frozen=True)
class Measured:
    """One buffer kind: what the predicates said and what DMA did; ``error`` if the guest cannot have the kind."""

    kind: str
    answers: Mapping[str, bool]
    outcomes: Mapping[str, Outcome]
    whys: Mapping[str, str]
    error: str | None = None

    @property
    def dma_works(self) -> bool:
        """Whether DMA reached the buffer both ways without a report and without damage."""
        return bool(self.outcomes) and all(outcome is Outcome.SAFE for outcome in self.outcomes.values())

    def errs(self, predicate: str) -> bool:
        """Whether believing this predicate would have been wrong here."""
        return predicate in self.answers and (self.answers[predicate] is PREDICATES[predicate]) is not self.dma_works


def measure(image: GuestImage, log_directory: Path, kinds: Sequence[str] = tuple(BUFFER_KINDS)) -> list[Measured]:
    """Boot the image and measure each kind. Raises BootLost."""
    rows = []
    with (log_directory / KMSG_LOG).open("wb") as kmsg_log, Boot(image, log_directory, kmsg_log) as boot:
        boot.prepare()
        number = 0
        for kind in kinds:
            number += 1
            boot.send({"op": "run", "seq": number, "adapter": "dmasafe", "line": f"op=predicates buffer={kind} len=64"})
            reply = next(iter(boot.replies()))
            answer = reply.get("answer")
            if not isinstance(answer, dict) or "unsupported" in answer:
                why = answer.get("unsupported") if isinstance(answer, dict) else reply.get("error")
                rows.append(Measured(kind, {}, {}, {}, str(why or "no answer")))
                continue
            answers = {name: bool(integer(answer, name)) for name in PREDICATES if name in answer}
            outcomes: dict[str, Outcome] = {}
            whys: dict[str, str] = {}
            for operation in _TRIALS:
                number += 1
                scenario = parse_scenario(f"{kind}/{operation}/{_PLACE}/{_BYTES}")
                request = {"op": "run", "seq": number, "adapter": scenario.controller}
                boot.send({**request, "set": settings(scenario), "line": line(scenario)})
                reply = next(iter(boot.replies()))
                boot.sync_device()
                trace = boot.gathered.trace.get(number, ())
                records = boot.gathered.records.get(number, ())
                seen = observation(scenario, reply, records, trace, boot.memory)
                outcomes[operation], whys[operation] = outcome_of(seen)
            rows.append(Measured(kind, answers, outcomes, whys))
    return rows
