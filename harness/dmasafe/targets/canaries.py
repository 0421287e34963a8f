# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios known to splat on every kernel of an architecture: if one does not, nothing of a boot can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from dmasafe.architecture import find_layout
from dmasafe.facts import KernelFacts
from dmasafe.scenario import Scenario, parse_scenario


@dataclass(frozen=True)
class Canary:
    """A scenario, and the class of the splat that must come of it."""

    scenario: Scenario
    splat_class: str


# Through dma-debug.
_INVALID_AREA = Canary(parse_scenario("module-rodata/master_send_dmasafe/dmasafe:trusting/8"), "map-invalid-area")
# Where modules live in vmalloc space dma_map_single() rejects that one itself; stacks are in the linear map there.
_STACK = Canary(parse_scenario("stack/master_send_dmasafe/dmasafe:trusting/8"), "map-stack")
# Through dma_map_single()'s own check, which proves the way from the kernel's log to here without dma-debug.
_REJECTED = Canary(parse_scenario("vmalloc/master_send_dmasafe/dmasafe:trusting/8"), "map-vmalloc-rejected")
# Through the strict machine's table, the hardware that reads it, and back.
_REFUSED = Canary(parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=unmap-early"), "strict-unmapped")


def canaries(facts: KernelFacts) -> tuple[Canary, ...]:
    """The canaries of this kernel, dma-debug's own first if it has one."""
    strict = (_REFUSED,) if facts.strict_line else ()
    if not facts.has("DMA_API_DEBUG"):
        return (_REJECTED, *strict)
    layout = find_layout(facts.arch)
    return (_STACK if layout is not None and layout.modules_in_vmalloc else _INVALID_AREA, _REJECTED, *strict)
