# SPDX-License-Identifier: GPL-2.0-or-later
"""Client drivers go the way of scenarios: expectations, observations, one judge, rows that say how to run again."""

from types import SimpleNamespace

import pytest

from dmasafe.expect.clients import parse_client_scenario
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.model.config import DEFAULT_SYMBOLS
from dmasafe.outcome import Observation, Verdict
from dmasafe.progress import SILENT
from dmasafe.qemu.machines import find_machine
from dmasafe.report.results import exit_status
from dmasafe.scenario import parse_scenario
from dmasafe.targets import clients
from dmasafe.targets.clients import BOOTS, run_clients
from dmasafe.targets.errors import BootLost

KERNEL = KernelInfo("7.2.0", "x86_64", "upstream", "test")
WANTED = [parse_client_scenario(f"lm75/{phase}/dmasafe:bounce") for phase in ("probe", "use")]


def prepared(*symbols):
    facts = KernelFacts("x86_64", (7, 2, 0), DEFAULT_SYMBOLS | {*symbols})
    return SimpleNamespace(
        image=SimpleNamespace(accelerator="tcg", machine=find_machine("x86_64")), kernel=KERNEL, facts=facts
    )


@pytest.fixture
def no_boot(monkeypatch):
    """Guests that never come up; how many were tried."""
    tried = []

    def lost(*_arguments):
        tried.append(1)
        raise BootLost("the guest did not say a word")

    shared = SimpleNamespace(start=lost, end=lambda: None)
    monkeypatch.setattr(clients, "plugged", lambda image, *_words: image)
    monkeypatch.setattr(clients, "SharedBoot", lambda *_arguments: shared)
    return tried


def test_a_client_that_this_kernel_does_not_have_is_skipped_and_nothing_is_booted(no_boot, tmp_path):
    results, records = run_clients(prepared(), WANTED, tmp_path, SILENT, 0.0)
    assert [(row.id, row.judgement.verdict) for row in results.rows] == [(w.id, Verdict.SKIP) for w in WANTED]
    assert (no_boot, records, results.kernel, exit_status(results)) == ([], [], KERNEL, 2)


def test_a_guest_that_is_lost_makes_every_phase_inconclusive_with_the_reason(no_boot, tmp_path):
    results, _ = run_clients(prepared("SENSORS_LM75"), WANTED, tmp_path, SILENT, 0.0)
    assert {row.judgement.verdict for row in results.rows} == {Verdict.INCONCLUSIVE}
    assert "the guest did not say a word" in results.reason and 1 <= len(no_boot) <= BOOTS
    assert (results.suite, results.target, results.canary_splatted) == ("clients", "qemu", False)


def test_an_interrupt_before_the_last_check_makes_the_run_inconclusive(no_boot, tmp_path, monkeypatch):
    def interrupted(run, _shared, _place, scenarios):
        run._observations.update({one.id: Observation(0) for one in scenarios})
        raise KeyboardInterrupt("SIGTERM")

    monkeypatch.setattr(clients.Performer, "_new_boot", lambda run, _: SimpleNamespace(end=lambda: None, boot=None))
    monkeypatch.setattr(clients.Performer, "_at", interrupted)
    results, _ = run_clients(prepared("SENSORS_LM75"), WANTED, tmp_path, SILENT, 0.0)
    assert Verdict.INCONCLUSIVE not in {row.judgement.verdict for row in results.rows}
    assert results.reason == "the checks after the last scenario were not made: interrupted by SIGTERM"


def test_a_row_says_which_command_does_it_again(no_boot, tmp_path):
    results, _ = run_clients(prepared(), WANTED[:1], tmp_path, SILENT, 0.0)
    [row] = results.rows
    assert row.again == "dmasafe clients lm75 --place dmasafe:bounce --phase probe"
    scenario = parse_scenario("heap/spi_read/bus-spi/8")
    of_scenario = row.of(scenario, row.judgement)
    assert of_scenario.again == "dmasafe run --target qemu 'heap/spi_read/bus-spi/8'"


def test_a_host_has_a_boot_of_its_own(monkeypatch, tmp_path):
    """Others are in the first one, where nothing is plugged in."""
    made = []

    def boot(run, controllers):
        made.append(controllers)
        return SimpleNamespace(end=lambda: None, boot=SimpleNamespace(image=SimpleNamespace(controllers=controllers)))

    monkeypatch.setattr(clients.Performer, "_new_boot", boot)
    monkeypatch.setattr(clients.Performer, "_at", lambda *_words: True)
    places = ("ismt", "virtio", "amd-mp2", "dmasafe:bounce")
    wanted = [parse_client_scenario(f"lm75/probe/{place}") for place in places]
    run = clients.Performer(prepared("I2C_ISMT", "I2C_AMD_MP2", "ACPI"), tmp_path, SILENT)
    run.perform(wanted)
    assert made == [(), ("ismt",), ("amd-mp2",)]
