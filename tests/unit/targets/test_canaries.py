# SPDX-License-Identifier: GPL-2.0-or-later
"""The canaries of every architecture splat what they are to, by the model's word."""

import pytest

from dmasafe.architecture import architecture_names
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.model.config import DEFAULT_SYMBOLS
from dmasafe.outcome import Expectation
from dmasafe.targets.canaries import canaries
from dmasafe.targets.kconfig import facts_from_config


@pytest.mark.parametrize("arch", architecture_names())
@pytest.mark.parametrize("debug", [True, False])
def test_each_canary_is_foretold_to_splat(arch, debug):
    symbols = DEFAULT_SYMBOLS if debug else DEFAULT_SYMBOLS - {"DMA_API_DEBUG"}
    symbols = symbols - {"VMAP_STACK"} if arch == "i386" else symbols
    facts = KernelFacts(arch, (6, 12, 117), symbols, True)
    found = canaries(facts)
    assert len(found) == 1 + debug
    for canary in found:
        foretold = expect(canary.scenario, facts)
        assert isinstance(foretold, Expectation) and canary.splat_class in foretold.classes


@pytest.mark.parametrize(
    ("words", "swiotlb"),
    [((), None), (("quiet", "swiotlb=force"), "force"), (("swiotlb=force", "swiotlb=noforce"), "noforce")],
)
def test_the_last_word_on_bouncing_counts(words, swiotlb):
    assert facts_from_config("", "x86_64", "6.12.117", cmdline=words).swiotlb == swiotlb
