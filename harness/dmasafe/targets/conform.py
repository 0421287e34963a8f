# SPDX-License-Identifier: GPL-2.0-or-later
"""Conformance: the same scenarios on the model and in a guest, every oracle compared, a difference made small.

Both sides have slaves of their own that begin alike and see the same bytes in the same order, so that data is compared
byte by byte. Addresses are the guest's own: only what they mean is compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dmasafe.carriers import controller_of
from dmasafe.devices.bus import default_bus
from dmasafe.dmesg import parse_records
from dmasafe.facts import KernelFacts
from dmasafe.model.config import Config
from dmasafe.model.errors import Unsupported
from dmasafe.model.predict import Lab, cannot_exist
from dmasafe.outcome import BusMessage, CallerMessage, Observation, direct, outcome_of
from dmasafe.progress import Progress
from dmasafe.targets import generate
from dmasafe.targets.base import Target, TargetRun
from dmasafe.vocabulary import READ_ONLY_KINDS, RECORDER_ADDRESS, Scenario

# Shrinking: guests booted for one difference, and differences of different looks that are worth it.
MAX_ROUNDS = 16
MAX_SHRUNK = 6
_HEX = re.compile(r"0x[0-9a-f]+")

Facets = dict[str, str]


class Known(NamedTuple):
    """A difference that is understood and not solved. It counts in the percentage all the same."""

    name: str
    reason: str
    applies: Callable[[Scenario, Sequence[str], KernelFacts], bool]


def _not_announced(scenario: Scenario, fields: Sequence[str], facts: KernelFacts) -> bool:
    queued_before = scenario.operation == "transfer" and controller_of(scenario.controller).queues
    return facts.has("DEBUG_SG") and queued_before and set(fields) <= {"bus", "dma"}


def _slab_neighbours(scenario: Scenario, fields: Sequence[str], facts: KernelFacts) -> bool:
    words = [word for word in scenario.option("messages").split(",") if word]
    return controller_of(scenario.controller).queues and "splats" in fields and generate.neighbours(words)


KNOWN: tuple[Known, ...] = (
    Known(
        "not-announced",
        "i2c-virtio dies of the second message's buffer when the first is in the ring but not announced; whether the "
        "device looks at the ring before the driver is unbound is a matter of time",
        _not_announced,
    ),
    Known(
        "slab-neighbours",
        "two reads whose kmalloc'ed buffers are shorter than a cache line share one if the slab's history puts them "
        "side by side; the model's always are",
        _slab_neighbours,
    ),
)


@dataclass(frozen=True)
class Difference:
    """One scenario on which the two sides disagree, and ``first``, the one found, of which it is the smallest form.

    ``alone`` is False if it shows only after the scenarios before it; ``fields`` are the facets that differ.
    """

    scenario: Scenario
    fields: tuple[str, ...]
    model: Facets
    guest: Facets
    first: Scenario
    alone: bool | None = None
    known: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What a conformance run found. ``inconclusive`` maps a scenario's id to why its guest cannot be trusted."""

    compared: int
    differences: tuple[Difference, ...]
    inconclusive: Mapping[str, str]
    run: TargetRun


def facets(observation: Observation, foreign: bool = False) -> Facets:
    """An observation as what both sides must agree on: one text for each oracle.

    ``foreign`` data is not the harness's own (a read-only object of the guest's): only its length counts, and whether
    the bus carried the same. So it is with what the recorder serves, which counts the reads of all times, those of the
    target's own checks included.
    """
    served = _served(observation)
    outcome, _reason = outcome_of(observation)
    straight = direct(observation)
    found = {
        "outcome": str(outcome),
        "splats": ",".join(sorted(splat.splat_class for splat in observation.splats)),
        "ret": str(observation.ret),
        "transferred": "" if observation.ret is None else str(observation.transferred),
        "damage": ",".join(sorted(observation.damage)),
        "direct": str(straight),
        "lost": observation.lost or "",
        "caller": " ".join(
            _sent(message, foreign, served[: number + 1]) for number, message in enumerate(observation.caller)
        ),
        "marked": " ".join(str(message.flagged) for message in observation.caller),
        "bus": " ".join(
            _carried(message, foreign, served[: number + 1]) for number, message in enumerate(observation.bus or ())
        ),
        "dma": " ".join(_segments(message) for message in observation.bus or ()),
    }
    # Each message's own way to the bus: "direct" speaks of the last one only.
    if observation.bus and len(observation.bus) == len(observation.caller):
        pairs = zip(observation.caller, observation.bus, strict=True)
        found["ways"] = " ".join(_way(sent, seen) for sent, seen in pairs)
        found["same"] = " ".join(
            str(sent.data == seen.data) for sent, seen in zip(observation.caller, observation.bus, strict=True)
        )
    return found


def _served(observation: Observation) -> list[bytes]:
    """What the recorder served in each message on the bus; nothing for the others."""
    return [
        message.data if message.read and message.address == RECORDER_ADDRESS else b""
        for message in observation.bus or ()
    ]


def _told(data: bytes, foreign: bool, served: Sequence[bytes]) -> str:
    if data and data in served:
        return f"served:{len(data)}"
    return str(len(data)) if foreign else data.hex()


def _sent(message: CallerMessage, foreign: bool, served: Sequence[bytes]) -> str:
    way, more = "r" if message.read else "w", "+" if message.prefix else ""
    return f"{way}{_told(message.data, foreign, served)}{more}"


def _carried(message: BusMessage, foreign: bool, served: Sequence[bytes]) -> str:
    way = "r" if message.read else "w"
    why = "" if message.ok else f"({_HEX.sub('ADDRESS', message.why)})"
    data = _told(message.data, foreign and not message.read, served)
    return f"{way}{message.address:02x}:{data}{why}"


def _segments(message: BusMessage) -> str:
    return ",".join(f"{one.length}{' stray' if one.stray else ''}" for one in message.segments) or "-"


def _way(sent: CallerMessage, seen: BusMessage) -> str:
    if sent.physical is None or not seen.segments or seen.segments[0].stray:
        return "-"
    return "direct" if seen.segments[0].address == sent.physical else "bounced"


class ModelSide:
    """The model, with slaves of its own for each controller as the emulated hardware has, sending a guest's bytes."""

    def __init__(self, facts: KernelFacts) -> None:
        self.config = Config.of(facts)
        self._lab = Lab(self.config, default_bus())
        for hardware in self._lab.kernel.hardware.values():
            hardware.bus = default_bus()
        self._lab.client.exact = self._lab.remembers = True

    def perform(self, scenario: Scenario) -> Observation:
        """What comes of a scenario; ``lost`` says so if the client cannot do it."""
        try:
            seen, records, _notes = self._lab.run(scenario)
        except Unsupported as error:
            return Observation(None, bus=None, lost=f"the guest cannot do this: {error}")
        return replace(seen, splats=tuple(parse_records(records)) if records else ())


def draw(facts: KernelFacts, count: int, seed: int) -> list[Scenario]:
    """``count`` different scenarios that can exist on this kernel."""
    config = Config.of(facts)
    return generate.scenarios(count, seed, lambda scenario: cannot_exist(scenario, config) is None)


def destructive(facts: KernelFacts, scenarios: Iterable[Scenario]) -> frozenset[str]:
    """Ids of those that the caller does not survive, as the model has it: they come last."""
    side = ModelSide(facts)
    fatal = []
    for scenario in scenarios:
        seen = side.perform(scenario)
        if seen.ret is None and seen.lost is None:
            fatal.append(scenario.id)
    return frozenset(fatal)


def compare(target: Target, scenarios: Sequence[Scenario], progress: Progress) -> Comparison:
    """Runs the scenarios on both sides. Raises TargetError if no guest could be started."""
    facts = target.facts()
    return held(target.run(scenarios, destructive(facts, scenarios), progress), scenarios, facts)


def held(run: TargetRun, scenarios: Sequence[Scenario], facts: KernelFacts) -> Comparison:
    """What a guest did with the scenarios, compared with the model doing the same in the same order."""
    by_id = {scenario.id: scenario for scenario in scenarios}
    facts = run.facts or facts
    side = ModelSide(facts)
    differences = []
    inconclusive = dict(run.untrusted)
    # In the order in which the guest performed them: slaves remember.
    for id_, seen in run.observations.items():
        foreign = by_id[id_].buffer in READ_ONLY_KINDS
        found, wanted = facets(seen, foreign), facets(side.perform(by_id[id_]), foreign)
        if found["lost"] != wanted["lost"]:
            # A host that may have been too slow, or a guest that cannot do it.
            inconclusive.setdefault(id_, found["lost"] or wanted["lost"])
        if id_ in inconclusive:
            continue
        fields = tuple(name for name in {**wanted, **found} if wanted.get(name) != found.get(name))
        if fields:
            scenario = by_id[id_]
            known = next((row.name for row in KNOWN if row.applies(scenario, fields, facts)), None)
            differences.append(Difference(scenario, fields, wanted, found, scenario, known=known))
    # The new guest's slaves had forgotten what the model's remember.
    why = f"the guest had to be booted {run.boots} times"
    inconclusive |= {d.scenario.id: why for d in differences if d.scenario.controller in run.rebooted}
    for scenario in scenarios:
        if scenario.id not in run.observations:
            inconclusive.setdefault(scenario.id, "not reached")
    compared = len(scenarios) - len(inconclusive)
    return Comparison(compared, tuple(d for d in differences if d.scenario.id not in inconclusive), inconclusive, run)


def shrink(target: Target, difference: Difference, progress: Progress) -> Difference:
    """The smallest scenario that still differs in the same facets, found by running simpler ones in guests."""
    config = Config.of(target.facts())
    current, smallest, alone = difference.scenario, difference, None
    for _ in range(MAX_ROUNDS):
        candidates = {s.id: s for s in generate.simpler(current) if cannot_exist(s, config) is None}
        tried = [current, *candidates.values()] if alone is None else list(candidates.values())
        if not tried:
            break
        found = {d.scenario.id: d for d in compare(target, tried, progress).differences}
        if alone is None:
            alone = current.id in found
        better = next((found[id_] for id_ in candidates if id_ in found and _alike(found[id_], difference)), None)
        if better is None:
            break
        current, smallest = better.scenario, better
    return replace(smallest, first=difference.first, alone=alone)


def _alike(one: Difference, other: Difference) -> bool:
    return bool(set(one.fields) & set(other.fields))


def look(difference: Difference) -> tuple[object, ...]:
    """Differences of the same look have, most likely, one cause."""
    scenario = difference.scenario
    return (difference.fields, scenario.operation, scenario.controller, difference.known)


def shrink_all(target: Target, differences: Sequence[Difference], progress: Progress) -> list[Difference]:
    """One difference of each look made small, the others as they are; at most MAX_SHRUNK are worth guests."""
    seen: set[tuple[object, ...]] = set()
    answer = []
    for difference in differences:
        if difference.known is None and look(difference) not in seen and len(seen) < MAX_SHRUNK:
            seen.add(look(difference))
            answer.append(shrink(target, difference, progress))
        else:
            answer.append(difference)
    return answer
