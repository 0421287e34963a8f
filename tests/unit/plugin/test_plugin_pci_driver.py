# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture dmasafe_pci and its mark, without a guest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from dmasafe.devices.pci import PciFunction
from dmasafe.outcome import Judgement, Outcome, Verdict
from dmasafe.pytest_plugin.pci import PciLoader, marked


class Demo(PciFunction):
    """A function of a test's."""


def item(*marks):
    return SimpleNamespace(get_closest_marker=lambda name: next((m.mark for m in marks if m.mark.name == name), None))


def test_a_mark_names_a_class_or_its_import_path():
    assert marked(item()) == "1af4:1062"
    assert marked(item(pytest.mark.dmasafe_pci(function=Demo))) == f"{__name__}:Demo"
    assert marked(item(pytest.mark.dmasafe_pci(function="there:Other"))) == "there:Other"


@pytest.mark.parametrize("mark", [pytest.mark.dmasafe_pci("a:B"), pytest.mark.dmasafe_pci(klass=Demo)])
def test_another_mark_is_told_how_to_be_written(mark):
    with pytest.raises(pytest.fail.Exception, match=r"write @pytest.mark.dmasafe_pci\(function=CLASS\)"):
        marked(item(mark))


class Boot:
    """Lends and takes back."""

    def __init__(self):
        self.adapters, self.lent = {"dmasafe": 1}, []

    def lend(self, own):
        self.lent.append(own)
        return 5

    def take_back(self):
        self.lent.append(None)


@pytest.fixture
def boot():
    return Boot()


@pytest.fixture
def asked():
    return []


@pytest.fixture
def loader(boot, asked):
    def run(names):
        asked.extend(names)
        return [
            Judgement(Verdict.FAIL if "vmalloc" in name else Verdict.PASS, Outcome.SAFE, Outcome.SAFE, "")
            for name in names
        ]

    class Modules:
        objects: ClassVar = {"mine": Path("/built/mine.ko")}

        def __call__(self, directory, *, params, name):
            return SimpleNamespace(name="mine", built=(directory, params, name))

    shared = SimpleNamespace(boot=boot, seen=SimpleNamespace(undeclared=[(0, 8, 4, True)]))
    return PciLoader(shared, "there:Demo", Modules(), run, lambda: Path("/built/once.ko"))


def test_a_driver_is_loaded_lent_its_function_and_judged_by_its_promise(loader, boot, asked):
    driver = loader("fixed", policy="trusting", adapter="demo", params="debug=1")
    assert driver.module.built == ("fixed", "debug=1", None)
    (own,) = boot.lent
    assert (own.device, own.loaded, own.once) == ("there:Demo", (Path("/built/mine.ko"),), Path("/built/once.ko"))
    assert boot.adapters["demo"] == driver.adapter == 5 and driver.undeclared == [(0, 8, 4, True)]
    assert driver.run("stack/master_recv/8").verdict is Verdict.PASS
    assert driver.run("heap/transfer/8@51+dma_safe=1").verdict is Verdict.PASS
    assert asked == ["stack/master_recv/own:trusting/8", "heap/transfer/own:trusting/8@51+dma_safe=1"]
    loader.undo()
    loader.undo()
    assert boot.lent == [own, None]


def test_what_fails_of_a_suite_is_told_by_scenario(loader, asked):
    failures = loader("fixed").failures("smoke")
    assert len(asked) > 10 and all("/own:bounce/" in name for name in asked)
    assert failures and all("vmalloc" in name for name in failures)


def test_mistakes_are_told(loader):
    with pytest.raises(pytest.fail.Exception, match="there is no policy kind: it is one of bounce"):
        loader("fixed", policy="kind")
    driver = loader("fixed")
    with pytest.raises(pytest.fail.Exception, match="no BUFFER/OPERATION/LENGTH"):
        driver.run("stack/master_recv/own:bounce/8")
    with pytest.raises(pytest.fail.Exception, match="has a driver already"):
        loader("fixed")
