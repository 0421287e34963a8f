# SPDX-License-Identifier: GPL-2.0-or-later
"""A distribution's kernel: what is skipped, what proves a boot, and whose a report of SLUB's is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_session import OUTSIDE, FakeSession, Rig, System, sound

from dmasafe.facts import KernelFacts
from dmasafe.guest.agent import Message
from dmasafe.outcome import BusMessage, DmaSegment
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets import untouched
from dmasafe.targets.untouched import canary, cannot, is_proved, provers, with_prover

X86 = KernelFacts("x86_64", (6, 12, 117), frozenset({"I2C_AMD_MP2", "ACPI", "I2C_ISMT", "I2C_CHARDEV"}), untouched=True)
ARM64 = KernelFacts("arm64", (6, 12, 117), frozenset({"I2C_MT65XX", "I2C_QUP", "DMADEVICES"}), untouched=True)
POISON = "BUG kmalloc-64 (Not tainted): Poison overwritten"
WRITE, READ = "user/i2cdev_write/amd-mp2/32", "user/i2cdev_read/amd-mp2/32"


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (READ, None),
        ("user/i2cdev_write/mt65xx/32+hardware=late", None),
        ("heap/master_send/mt65xx/32", "called by a module of dmasafe's"),
        ("user/i2cdev_read/at91/8", "dmasafe_dma.ko"),
        ("user/i2cdev_read/virtio/8", "only upstream's own controllers"),
        ("user/i2cdev_read/dmasafe:pio/8", "only upstream's own controllers"),
    ],
)
def test_what_needs_a_module_of_the_harnesses_is_skipped_with_the_reason(scenario, why):
    found = cannot(parse_scenario(scenario))
    assert found is None if why is None else why in found


def test_a_boot_is_proved_by_a_driver_that_frees_what_it_reads_into():
    assert (provers(X86), provers(ARM64), provers(replace(X86, symbols=frozenset()))) == (("amd-mp2",), ("mt65xx",), ())
    assert with_prover(["ismt", "ismt"], X86) == ("ismt", "amd-mp2")
    assert with_prover(["amd-mp2", "ismt"], X86) == ("amd-mp2", "ismt")
    assert with_prover(["a", "b", "c"], X86) == ("a", "b", "c")


class Machine:
    """A machine with SLUB's poison: it reports when it is asked to look, once, what was written since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reports: bool = True) -> None:
        self.reports = reports
        self.written = False
        self.looks: list[str] = []
        monkeypatch.setattr(untouched, "let_it_write", lambda session: None)
        self.session: FakeSession | None = None

    def answer(self, session: FakeSession, number: int, scenario: Scenario) -> Message:
        self.session = session
        self.written = self.written or scenario.hardware is not None
        data = bytes(range(scenario.length))
        read = scenario.operation == "i2cdev_read"
        session.trace(number, data, read)
        message = {"rd": int(read), "data": data.hex()}
        return {"answer": {"ret": scenario.length, "ns": 1, "transferred": True, "msgs": [message]}}

    def request(self, session: FakeSession, _number: int) -> None:
        if session.requests[-1] == "command":
            self.looks.append(session.asked[-1])
            if self.written and self.reports:
                session.log(OUTSIDE, POISON)
            self.written = False

    def system(self, *ids: str) -> System:
        known = [*ids, canary("amd-mp2").id, *(one.id for one in untouched.controls("amd-mp2"))]
        return System(
            facts=X86, adapters={"amd-mp2": 1}, does=dict.fromkeys(known, self.answer), request=self.request
        )  # fmt: skip


@pytest.fixture(autouse=True)
def shell(monkeypatch):
    """A shell that does as it is told."""
    plain = FakeSession.request
    monkeypatch.setattr(FakeSession, "request", lambda *a, **words: {"status": 0, **plain(*a, **words)})


def test_each_scenario_is_alone_and_memory_is_looked_at_behind_it(tmp_path: Path, monkeypatch):
    machine = Machine(monkeypatch)
    rig = Rig([machine.system(WRITE, READ)], tmp_path, X86)
    run = rig.run(WRITE, READ)
    assert run.canary_splatted and not run.untrusted and set(run.observations) == {WRITE, READ}
    assert rig.sessions[0].most_waiting == 1
    proof = canary("amd-mp2").id
    assert machine.looks == [proof, WRITE, READ, proof]
    # The hardware is sound again when others are asked.
    assert rig.sessions[0].asked_while[proof] == ("amd-mp2", "writes-after")
    assert rig.sessions[0].asked_while[READ] is None
    assert not any(seen.splats for seen in run.observations.values())


def test_a_write_to_free_memory_is_the_scenarios_after_which_it_was_found(tmp_path: Path, monkeypatch):
    machine = Machine(monkeypatch)
    system = machine.system(WRITE, READ)

    def writes(session, number, scenario):
        machine.written = True
        return machine.answer(session, number, scenario)

    run = Rig([replace(system, does={**system.does, WRITE: writes})], tmp_path, X86).run(WRITE, READ)
    assert [splat.message for splat in run.observations[WRITE].splats] != []
    assert run.observations[READ].splats == () and not run.untrusted


def test_behind_an_iommu_the_write_has_to_be_refused():
    stray, right = (BusMessage(0, True, b"", True, (DmaSegment(0x1000, 64, how),)) for how in (True, False))
    assert is_proved((), (right, stray), iommu=True) and not is_proved((f"3,1,1,-;{POISON}",), (right,), iommu=True)
    assert not is_proved((), (stray,), iommu=False)


def test_without_the_report_nothing_of_a_boot_is_believed(tmp_path: Path, monkeypatch):
    run = Rig([Machine(monkeypatch, reports=False).system(WRITE)], tmp_path, X86).run(WRITE)
    assert not run.canary_splatted and "did not have SLUB report" in run.untrusted[WRITE]


def test_without_a_driver_to_prove_it_nothing_of_a_boot_is_believed(tmp_path: Path, monkeypatch):
    machine = Machine(monkeypatch)
    run = Rig([replace(machine.system(WRITE), adapters={"ismt": 1})], tmp_path, X86).run(WRITE)
    assert "no adapter of one appeared" in run.untrusted[WRITE]


def test_a_control_that_goes_wrong_ends_the_boot(tmp_path: Path, monkeypatch):
    machine = Machine(monkeypatch)
    system = machine.system(WRITE)
    control = untouched.controls("amd-mp2")[0].id
    system = replace(system, does={**system.does, control: lambda *words: sound(*words, data="ff")})
    run = Rig([system], tmp_path, X86).run(WRITE)
    assert f"the control {control} went wrong" in run.untrusted[WRITE]
