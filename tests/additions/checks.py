# SPDX-License-Identifier: GPL-2.0-or-later
"""What must work once table.py's dummies are in: run by tests/unit/skeleton/test_add_lists.py, in the copy only."""

import json

import pytest

from dmasafe.carriers import CONTROLLERS
from dmasafe.cli import group
from dmasafe.devices.usb.bridges import bridges
from dmasafe.devices.values import describe, make
from dmasafe.dmesg import SPLAT_CLASSES
from dmasafe.expect import expect
from dmasafe.expect.client_drivers import CLIENT_DRIVERS
from dmasafe.expect.clients import ClientScenario, expect_client, parse_client, parse_place
from dmasafe.facts import KernelFacts
from dmasafe.findings.catalogue import load
from dmasafe.kernel.config import load_matrix, resolve
from dmasafe.model import Config, ModelKernel
from dmasafe.outcome import Expectation, Outcome
from dmasafe.qemu.machines import find_machine
from dmasafe.scenario import core_suite, faults_suite, suite
from dmasafe.targets.boot import plugged_for

SYMBOLS = frozenset({"DMA_API_DEBUG", "VMAP_STACK", "I2C_CHARDEV", "MODULES", "KALLSYMS_ALL", "I2C_VIRTIO"})
FACTS = KernelFacts("x86_64", (6, 12, 117), SYMBOLS)


@pytest.fixture
def dmasafe(capsys):
    """The command: what it prints."""

    def run(*words):
        assert not group.main([str(word) for word in words], prog_name="dmasafe", standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_the_core_suite_has_the_buffer_kind_and_the_model_answers(dmasafe):
    rows = [one for one in core_suite() if one.buffer == "dummy-kind"]
    assert len(rows) > 100 and all(isinstance(expect(one, FACTS), Expectation) for one in rows)
    assert "dummy-kind" in dmasafe("list")


def test_the_core_suite_has_the_operation_and_the_model_answers(dmasafe):
    rows = [one for one in core_suite() if one.operation == "dummy_send" and one.buffer != "kmap"]
    assert len(rows) > 100 and all(isinstance(expect(one, FACTS), Expectation) for one in rows)
    assert "dummy_send" in dmasafe("list")


def test_something_is_expected_of_the_mistake():
    (scenario,) = (one for one in faults_suite() if one.fault and one.fault.name == "dummy-mistake")
    assert expect(scenario, FACTS).outcome is Outcome.SILENT


def test_the_splat_class_is_found_and_explained(dmasafe, tmp_path):
    log = tmp_path / "log"
    log.write_text("[    1.0] DMA-API: driver 0000:00:05.0: device driver does what a dummy does [count=1]\n")
    assert "There are no dummies." in dmasafe("explain", log)
    assert "dummy-class" in SPLAT_CLASSES


def test_the_slave_can_be_plugged_in_by_its_chips_name():
    assert type(make(describe("dummy-chip"))).__name__ == "Dummy"


def test_the_controller_is_in_the_suite_of_upstreams_and_the_model_answers(dmasafe):
    rows = [one for one in suite("upstream") if one.controller == "dummy"]
    facts = KernelFacts("x86_64", (7, 2, 0), SYMBOLS | {"I2C_DUMMY"})
    assert len(rows) > 100 and sum(isinstance(expect(one, facts), Expectation) for one in rows) > 100
    assert "I2C_DUMMY" in {line.symbol for line in resolve(load_matrix(), "upstream", "x86_64").wanted}
    assert plugged_for(["dummy"], facts) == ("dummy",) and "i2c-dummy on USB" in dmasafe("list")


def test_the_bridge_is_emulated_and_the_model_answers():
    rows = [one for one in suite("upstream") if one.controller == "dummy-bridge"]
    facts = KernelFacts("x86_64", (7, 2, 0), SYMBOLS | {"I2C_DUMMY_BRIDGE"})
    assert len(rows) > 100 and sum(isinstance(expect(one, facts), Expectation) for one in rows) > 100
    assert bridges()[CONTROLLERS["dummy-bridge"].plug.device].__name__ == "Dummy"


def test_the_client_driver_is_in_a_configuration_and_something_is_expected_of_it():
    row = CLIENT_DRIVERS["dummy"]
    assert row.needs in {line.symbol for line in resolve(load_matrix(), "upstream", "x86_64").wanted}
    facts = KernelFacts("x86_64", (7, 2, 0), SYMBOLS | {row.needs})
    scenario = ClientScenario(parse_client("dummy"), next(iter(row.sends((7, 2, 0)))), parse_place("virtio"))
    assert isinstance(expect_client(scenario, facts), Expectation)


def test_the_finding_is_in_the_catalogue():
    assert [finding.title for finding in load(["dummy-finding"])] == ["A dummy"]


def test_the_architecture_is_built_booted_and_modelled(dmasafe):
    assert resolve(load_matrix(), "default", "dummy64", "6.12.117").architecture.debian == "dummy64"
    assert find_machine("dummy64").binary == "qemu-system-x86_64"
    assert find_machine("dummy64", "iommu").iommu
    assert ModelKernel(Config(arch="dummy64")).memory.layout.arch == "dummy64"
    assert "dummy64" in dmasafe("run", "--help")


def test_the_option_is_a_configuration():
    assert "DUMMY" in {line.symbol for line in resolve(load_matrix(), "dummy-option", "x86_64").wanted}


def test_the_format_is_written_and_can_be_asked_for(dmasafe, tmp_path):
    words = ("run", "--target", "model", "--results", tmp_path, "heap/master_send/dmasafe:bounce/8")
    assert dmasafe(*words, "--format", "dummy_format").endswith("1 dummies\n")
    assert (tmp_path / "latest" / "results.dummy").read_text() == "1 dummies\n"
    assert json.loads((tmp_path / "latest" / "results.json").read_text())["counts"]["pass"] == 1
