# SPDX-License-Identifier: GPL-2.0-or-later
"""Predictions, and the target that runs scenarios on the model: two ways to the same outcome."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmasafe.dmesg.kmsg import gaps, parse_record
from dmasafe.facts import KernelFacts
from dmasafe.model import Config, ModelKernel, predict
from dmasafe.model.client import Client
from dmasafe.model.predict import Lab
from dmasafe.outcome import Expectation, Outcome, Skip, Verdict, judge
from dmasafe.scenario import (
    BUFFER_KINDS,
    OPERATIONS,
    SMBUS_PROTOCOLS,
    Scenario,
    core_suite,
    parse_scenario,
    places,
    smoke_suite,
)
from dmasafe.targets.model import ModelTarget


class Silent:
    def __init__(self):
        self.stages, self.done = [], 0

    def stage(self, text):
        self.stages.append(text)

    def advance(self, done, total, text):
        self.done = done


def facts(version=(6, 12), arch="x86_64", more=(), less=()):
    return KernelFacts(arch, version, Config().symbols.union(more).difference(less))


CELLS = [
    facts(version, more=more, less=less)
    for version in ((5, 10), (6, 1), (6, 12), (7, 2))
    for more, less in (((), ()), ((), ("VMAP_STACK",)), (("DEBUG_SG",), ()), ((), ("DMA_API_DEBUG",)))
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda f: f"{f.version[0]}.{f.version[1]}-{len(f.symbols)}")
def test_what_the_log_says_is_what_was_predicted(cell):
    scenarios = core_suite()
    progress = Silent()
    run = ModelTarget(cell).run(scenarios, frozenset(), progress)
    assert run.canary_splatted and not run.untrusted and progress.done == len(scenarios)
    wrong = {}
    for scenario in scenarios:
        judged = judge(predict(scenario, cell), run.observations[scenario.id])
        if judged.verdict not in (Verdict.PASS, Verdict.SKIP):
            wrong[scenario.id] = judged
    assert wrong == {}


def test_each_outcome_occurs_and_says_why():
    found = [predict(scenario, facts()) for scenario in smoke_suite()]
    assert {e.outcome for e in found} == set(Outcome) and all(e.why for e in found)


def test_the_reason_names_what_was_decided():
    def why(text):
        return predict(parse_scenario(text), facts()).why

    assert "bounce buffer is used" in why("heap/master_send/dmasafe:bounce/8")
    assert "its own buffer is used" in why("heap/master_send_dmasafe/dmasafe:bounce/8")
    assert "rejects vmalloc" in why("stack/master_send_dmasafe/dmasafe:bounce/8")
    assert "copied by the CPU" in why("heap/master_send/dmasafe:pio/8")
    assert "stray DMA" in why("stack/master_send_dmasafe/virtio/8")


def test_what_a_kernel_does_not_have_is_skipped():
    assert isinstance(predict(parse_scenario("kmap/master_send/virtio/8"), facts()), Skip)
    assert isinstance(predict(parse_scenario("heap/master_send/virtio/8"), facts(less=["I2C_VIRTIO"])), Skip)
    assert isinstance(predict(parse_scenario("user/i2cdev_read/virtio/8"), facts(less=["I2C_CHARDEV"])), Skip)
    assert isinstance(predict(parse_scenario("stack/master_send/virtio/257"), facts()), Skip)
    assert isinstance(predict(parse_scenario("module-rodata/master_send/virtio/257"), facts()), Skip)


def test_a_scenario_does_not_remember_the_one_before():
    lab = Lab(Config.of(facts(more=["DEBUG_SG"])))
    lethal = parse_scenario("stack/master_send_dmasafe/virtio/8")
    harmless = parse_scenario("heap/master_send/virtio/8")
    for _ in range(3):
        assert lab.run(lethal)[0].ret is None
        assert lab.run(harmless)[0].ret == 8
    assert len(lab.kernel.allocators.allocated) == lab._baseline[0]


def test_rodata_that_a_device_overwrote_is_repaired():
    lab = Lab(Config.of(facts()))
    before = lab.kernel.load(lab.client.rodata_object, 512)
    seen, _records, _notes = lab.run(parse_scenario("rodata/master_recv_dmasafe/dmasafe:bounce/8"))
    assert seen.damage == ("read-only",)
    assert lab.kernel.load(lab.client.rodata_object, 512) == before


@pytest.mark.parametrize(
    ("slip", "damage"),
    [((-1, 0), "guard-before"), ((0, 1), "guard-after"), ((0, 0), "source")],
)
def test_a_device_that_writes_where_it_should_not_is_found_out(slip, damage):
    kernel = ModelKernel()
    kernel.adapter("dmasafe")
    client = Client(kernel)
    hardware = kernel.hardware["dmasafe"]
    genuine = hardware.request

    def request(address, read, dma, length, last):
        ok = genuine(address, read, dma, length, last)
        where = dma + slip[0] if not slip[1] else dma + length
        kernel.memory.ram_write(where, b"\x00")
        return ok

    hardware.request = request
    seen = client.run(parse_scenario("heap/master_send_dmasafe/dmasafe:bounce/8"))
    assert seen.damage == (damage,)


CLIENT_OPERATIONS = [name for name, op in OPERATIONS.items() if op.front == "client"]


@st.composite
def scenarios(draw):
    controller, policy = draw(st.sampled_from(list(places())))
    address = draw(st.sampled_from([0x30, 0x30, 0x20, 0x40, 0x60, 0x77]))
    options = {}
    if policy is not None and draw(st.booleans()):
        options["threshold"] = str(draw(st.integers(0, 300)))
    if draw(st.booleans()):
        operation = draw(st.sampled_from(CLIENT_OPERATIONS))
        buffer = draw(st.sampled_from(list(BUFFER_KINDS)))
        length = draw(st.integers(0, 300))
        if operation in ("transfer", "get_put"):
            options["dma_safe"] = str(draw(st.integers(0, 1)))
    else:
        buffer, operation = (
            "user",
            draw(st.sampled_from(["i2cdev_read", "i2cdev_write", "i2cdev_rdwr", "i2cdev_smbus"])),
        )
        length = draw(st.integers(0, 40))
        if operation == "i2cdev_rdwr":
            words = st.tuples(st.sampled_from("rw"), st.integers(0, 40)).map(lambda word: f"{word[0]}{word[1]}")
            options["messages"] = ",".join(draw(st.lists(words, min_size=1, max_size=6)))
        if operation == "i2cdev_smbus":
            options["protocol"] = draw(st.sampled_from(SMBUS_PROTOCOLS))
            options["rd"] = str(draw(st.integers(0, 1)))
            options["command"] = str(draw(st.integers(0, 255)))
    return Scenario(buffer, operation, controller, policy, length, address, tuple(sorted(options.items())))


@settings(max_examples=400, deadline=None)
@given(scenarios(), st.sampled_from(CELLS))
def test_any_scenario_has_an_outcome_and_leaves_nothing_behind(scenario, cell):
    found = predict(scenario, cell)
    assert isinstance(found, Expectation | Skip)
    assert predict(scenario, cell) == found
    if isinstance(found, Expectation) and found.outcome is Outcome.CAUGHT:
        assert found.classes


@pytest.mark.parametrize("arch", ["aarch64", "armv7l", "i686", "riscv64"])
def test_other_architectures_have_predictions_too(arch):
    cell = facts(arch=arch, more=["HIGHMEM"])
    found = {s.id: predict(s, cell) for s in core_suite()}
    assert all(isinstance(e, Expectation | Skip) for e in found.values())
    rodata = found["rodata/master_send_dmasafe/dmasafe:bounce/8"]
    elsewhere = {"aarch64": ("map-vmalloc-rejected",), "riscv64": ()}
    assert rodata.classes == elsewhere.get(arch, ("map-text-or-rodata",))


def test_the_log_of_a_run_has_no_gaps(tmp_path):
    run = ModelTarget(facts(), log_directory=tmp_path).run(smoke_suite(), frozenset(), Silent())
    lines = (tmp_path / "kmsg.log").read_text().splitlines()
    records = [parse_record(line) for line in lines]
    assert all(records) and run.kernel.release == "6.12"


def test_without_a_splatting_canary_nothing_is_believed(monkeypatch):
    import dmasafe.targets.model as target

    monkeypatch.setattr(target, "parse_records", lambda records: [])
    run = ModelTarget(facts()).run(smoke_suite()[:2], frozenset(), Silent())
    assert not run.canary_splatted and len(run.untrusted) == 2


def test_an_interrupted_run_keeps_what_was_done():
    class Impatient(Silent):
        def advance(self, done, total, text):
            if done == 3:
                raise KeyboardInterrupt

    run = ModelTarget(facts()).run(smoke_suite(), frozenset(), Impatient())
    assert len(run.observations) == 3 and len(run.untrusted) == 27 and run.notes


def test_the_model_imports_no_transport_nor_anything_that_runs_it():
    code = (
        "import sys, dmasafe.model, dmasafe.model.regmap, dmasafe.model.smbus_door\n"
        "print(' '.join(sorted(name.removeprefix('dmasafe.') for name in sys.modules if name.startswith('dmasafe.'))))"
    )
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # What lies below: controllers, the hardware that some of them declare, and what scenarios are made of.
    below = {
        *("architecture", "buses", "carriers", "decode", "devices", "errors", "facts", "faults"),
        *("host_policy", "outcome", "quirks", "vocabulary"),
    }
    assert {name.partition(".")[0] for name in names} == {"model", *below}
    assert not {f"devices.{one}" for one in ("loop", "server", "vfio_user", "vhost_user", "usb")}.intersection(names)


def test_sequence_numbers_can_be_checked_for_gaps():
    lab = Lab(Config())
    lab.run(parse_scenario("stack/master_send_dmasafe/dmasafe:bounce/8"))
    _seen, records, _notes = lab.run(parse_scenario("vmalloc/master_send_dmasafe/dmasafe:bounce/8"))
    assert gaps(parse_record(record).sequence for record in records) == []
