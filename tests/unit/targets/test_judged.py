# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole run judged: what a target cannot do is skipped, what cannot be trusted is no pass, and the exit status."""

import time
from dataclasses import replace

import pytest
from fake_session import (
    BOUNCED,
    BUFFER,
    FACTS,
    KERNEL,
    ON_STACK,
    Rig,
    System,
    only_once_more,
    raises,
    sound,
    splats,
    then,
)

from dmasafe.expect import expect
from dmasafe.facts import KernelFacts, MachineFacts
from dmasafe.model.config import DEFAULT_SYMBOLS
from dmasafe.outcome import BusMessage, CallerMessage, DmaSegment, Observation, Outcome, Splat, Verdict
from dmasafe.progress import Stage
from dmasafe.report.results import counts, exit_status
from dmasafe.scenario import parse_scenario
from dmasafe.targets.base import TargetRun
from dmasafe.targets.board import BoardTarget
from dmasafe.targets.errors import BootLost
from dmasafe.targets.judged import observe_and_judge, run_and_judge
from dmasafe.targets.model import ModelTarget
from dmasafe.targets.qemu import QemuTarget

SEND, RECV = "heap/master_send/dmasafe:pio/16", "heap/master_recv/dmasafe:pio/16"
# Skipped on x86_64, which has no highmem.
HIGHMEM = "kmap/master_send/dmasafe:bounce/8"
FAULTY = "heap/master_recv_dmasafe/dmasafe:bounce/32+fault=free-size"
OOPS = "rodata/master_recv/virtio/1"
SYMBOLS = frozenset(DEFAULT_SYMBOLS) | FACTS.symbols
BUSES = {"I2C_CHARDEV", "REGMAP_I2C", "REGMAP_SPI", "REGMAP_SPMI", "REGMAP_SLIMBUS", "REGMAP_W1", "MTD_SPI_NOR"}
ALL = KernelFacts("x86_64", (6, 12, 117), SYMBOLS)


class Listening:
    def stage(self, text):
        """Nobody looks."""

    def advance(self, done, total, text):
        """Nobody looks."""

    def stages(self):
        return (Stage("boot", 1.5),)


class FakeTarget:
    """A Target that gives back a TargetRun, or makes one of a Rig."""

    kernel = KERNEL

    def __init__(self, run=None, rig=None, name="qemu", facts=ALL):
        self.name = name
        self._facts = facts
        self._run = run
        self._rig = rig

    def facts(self):
        return self._facts

    def cannot(self, scenario):
        """As the target of this name says it; it looks at nothing else."""
        places = {"model": ModelTarget, "qemu": QemuTarget, "ssh": BoardTarget}
        return places[self.name].cannot(self, scenario)

    def run(self, scenarios, destructive, progress):
        self.asked = [scenario.id for scenario in scenarios]
        self.destructive = destructive
        if self._rig is not None:
            return self._rig.run(*self.asked, destructive=destructive)
        return self._run


def run_of(*ids, **changes):
    """A run in which every scenario went well."""
    good = TargetRun(KERNEL, "fake", True, {id_: _good(id_) for id_ in ids}, boot_s=1.5, scenarios_s=2.5)
    return replace(good, **changes)


def _good(id_):
    read, data = "recv" in id_, bytes(8)
    bus = BusMessage(0x30, read, data, True, (DmaSegment(BOUNCED, 8),))
    return Observation(8, (CallerMessage(read, data, BUFFER),), (bus,))


def judged(target, *ids, started=None):
    return run_and_judge(
        target,
        [parse_scenario(id_) for id_ in ids],
        "mine",
        Listening(),
        time.monotonic() if started is None else started,
    )


def rows(results):
    return {row.id: row.judgement for row in results.rows}


def test_a_good_run_becomes_rows_in_the_order_asked_for():
    results = judged(FakeTarget(run_of(RECV, SEND, notes=("a note",))), SEND, RECV)
    assert [row.id for row in results.rows] == [SEND, RECV]
    assert counts(results)[Verdict.PASS] == 2 and exit_status(results) == 0
    assert (results.suite, results.target, results.accel, results.canary_splatted) == ("mine", "qemu", "fake", True)
    assert (results.kernel.release, results.kernel.arch, results.kernel.source) == (KERNEL.release, "x86_64", "made up")
    assert (results.boot_s, results.scenarios_s, results.reason, results.notes) == (1.5, 2.5, None, ("a note",))
    assert results.stages == (Stage("boot", 1.5),)
    assert all(row.noticed is None for row in results.rows)


def test_the_whole_time_counts_from_where_the_caller_says():
    assert 100 <= judged(FakeTarget(run_of(SEND)), SEND, started=time.monotonic() - 100).total_s < 160


def test_the_run_comes_back_with_its_results():
    target = FakeTarget(run_of(SEND))
    results, run = observe_and_judge(target, [parse_scenario(SEND)], "mine", Listening(), 0.0)
    assert run is target._run and rows(results)[SEND].verdict is Verdict.PASS


def test_what_cannot_exist_is_not_asked_and_skipped_with_its_reason():
    target = FakeTarget(run_of(SEND))
    results = judged(target, HIGHMEM, SEND)
    assert target.asked == [SEND]
    assert rows(results)[HIGHMEM].verdict is Verdict.SKIP and "highmem" in rows(results)[HIGHMEM].why.lower()
    assert exit_status(results) == 0


def test_what_the_target_found_it_cannot_do_is_skipped_with_its_reason():
    results = judged(FakeTarget(run_of(SEND, skipped={RECV: "no such bus"})), SEND, RECV)
    assert (rows(results)[RECV].verdict, rows(results)[RECV].why) == (Verdict.SKIP, "no such bus")


def test_a_scenario_that_may_cost_the_adapter_is_announced():
    expected = expect(parse_scenario(OOPS), ALL)
    assert expected.destructive
    target = FakeTarget(run_of(SEND))
    judged(target, SEND, OOPS, HIGHMEM)
    assert target.destructive == {OOPS}


# What a target's place cannot do: its name, a scenario, the reason.
PLACES = [
    ("model", FAULTY, "the model's controllers make no mistakes"),
    ("model", "user/i2cdev_read/board/8@50", "only a board has a bus of its own"),
    ("qemu", "user/i2cdev_read/board/8@50", "only a board has a bus of its own"),
    ("model", "user/i2cdev_smbus/i801/1@50+protocol=byte_data", "only a guest has QEMU's own controllers and slaves"),
    ("ssh", "user/i2cdev_smbus/i801/1@50+protocol=byte_data", "only a guest has QEMU's own controllers and slaves"),
    ("model", "heap/regmap_write/bus-spi/1", "only a guest has the harness's controllers on other buses"),
    ("ssh", "heap/regmap_write/bus-spi/1", "only a guest has the harness's controllers on other buses"),
]


# What happens in a boot: (system, exit status, verdicts of SEND and RECV, reason of the whole run).
STATUS = {
    "sound": (System(), 0, "PASS PASS", None),
    "wrong data": (
        System(does={SEND: lambda s, n, c: sound(s, n, c, data="ff" * 16)}), 1, "FAIL PASS", None,
    ),
    "splat": (System(does={SEND: splats(ON_STACK)}), 1, "FAIL PASS", None),
    "refused": (
        System(does={SEND: lambda s, n, c: {"answer": {"ret": -5, "transferred": False}}}), 1, "FAIL PASS", None,
    ),
    "miscount": (
        System(files={"error_count": "3"}), 2, "INCONCLUSIVE INCONCLUSIVE",
        "dma-debug counted 3 reports, the log has 2",
    ),
    "dma-debug off": (
        System(files={"disabled": "Y"}), 2, "INCONCLUSIVE INCONCLUSIVE",
        "dma-debug is disabled (switched off, or out of entries)",
    ),
    "a fail that cannot be trusted": (
        System(does={SEND: lambda s, n, c: sound(s, n, c, data="ff" * 16)}, files={"disabled": "Y"}),
        2, "INCONCLUSIVE INCONCLUSIVE", "dma-debug is disabled (switched off, or out of entries)",
    ),
    "one lost": (System(does={SEND: raises(BootLost("the guest died"))}), 2, "INCONCLUSIVE PASS", None),
    "one lost and one wrong": (
        System(does={SEND: raises(BootLost("died")), RECV: lambda s, n, c: sound(s, n, c, data="ff" * 16)}),
        1, "INCONCLUSIVE FAIL", None,
    ),
    "a log with a gap": (
        System(does={SEND: then(lambda s, n: s.log(n, "text", gap=1))}), 2, "INCONCLUSIVE PASS", None,
    ),
    "hung": (System(does={SEND: lambda s, n, c: {"hung": 5000}}), 2, "INCONCLUSIVE PASS", None),
    "canary silent": (
        System(does={"vmalloc/master_send_dmasafe/dmasafe:trusting/8": only_once_more(
            lambda s, n, c: {"answer": {"ret": -5, "transferred": False}})}),
        2, "INCONCLUSIVE INCONCLUSIVE",
        "the canary vmalloc/master_send_dmasafe/dmasafe:trusting/8 did not splat map-vmalloc-rejected (REFUSED)",
    ),
    "interrupted": (System(does={RECV: raises(KeyboardInterrupt())}), 2, "PASS INCONCLUSIVE", None),
}  # fmt: skip


@pytest.mark.parametrize("name", STATUS)
def test_what_happens_in_a_boot_decides_the_exit_status(tmp_path, name):
    system, status, verdicts, reason = STATUS[name]
    rig = Rig([system, replace(System(), does={RECV: system.does[RECV]} if RECV in system.does else {})], tmp_path)
    results = judged(FakeTarget(rig=rig), SEND, RECV)
    found = rows(results)
    assert [str(found[id_].verdict) for id_ in (SEND, RECV)] == verdicts.split(), found
    assert exit_status(results) == status
    assert results.reason == reason


@pytest.mark.parametrize(
    ("untrusted", "reason"),
    [
        ({}, None),
        ({SEND: "the canary"}, None),
        ({SEND: "the canary", RECV: "the canary"}, "the canary"),
        ({SEND: "the canary", RECV: "a gap"}, None),
    ],
)
def test_a_run_has_a_reason_of_its_own_if_it_is_that_of_every_scenario(untrusted, reason):
    results = judged(FakeTarget(run_of(SEND, RECV, untrusted=untrusted)), SEND, HIGHMEM, RECV)
    assert results.reason == reason
    assert {row.id for row in results.rows if row.judgement.verdict is Verdict.INCONCLUSIVE} == set(untrusted)
    assert exit_status(results) == (2 if untrusted else 0)


def test_what_is_skipped_after_all_hides_no_doubt():
    run = replace(run_of(SEND, untrusted={RECV: "a gap"}), skipped={RECV: "refused"}, doubts={SEND: "no checks"})
    results = judged(FakeTarget(run), SEND, RECV)
    assert [row.judgement.verdict for row in results.rows] == [Verdict.PASS, Verdict.SKIP]
    assert results.reason == "no checks" and exit_status(results) == 2


def test_a_run_of_nothing_but_skips_has_no_reason_and_is_no_pass():
    results = judged(FakeTarget(run_of()), HIGHMEM)
    assert results.reason is None and exit_status(results) == 2


def test_what_was_not_reached_is_inconclusive():
    found = rows(judged(FakeTarget(run_of(SEND)), SEND, RECV))[RECV]
    assert (found.verdict, found.expected, found.why) == (
        Verdict.INCONCLUSIVE, Outcome.SAFE, "the scenario was not reached",
    )  # fmt: skip


def test_where_faults_are_seeded_every_row_says_what_was_noticed():
    splat = Splat("free-size", None, None, "device driver frees DMA memory with different size")
    observations = {SEND: _good(SEND), FAULTY: replace(_good(FAULTY), splats=(splat,))}
    results = judged(FakeTarget(run_of(observations=observations)), SEND, FAULTY, RECV)
    assert [None if row.noticed is None else row.noticed.kernel for row in results.rows] == [(), ("free-size",), None]


@pytest.mark.parametrize(("place", "id_", "why"), PLACES)
def test_what_a_place_cannot_do_is_skipped_with_the_way_to_do_it(place, id_, why):
    target = FakeTarget(run_of(SEND), name=place)
    found = rows(judged(target, id_, SEND))[id_]
    assert found.verdict is Verdict.SKIP and why in found.why
    assert target.asked == [SEND]


@pytest.mark.parametrize(
    ("place", "id_"),
    [("qemu", FAULTY), ("ssh", "user/i2cdev_read/board/8@50"), ("qemu", "heap/regmap_write/bus-spi/1")],
)
def test_what_a_place_can_do_is_asked(place, id_):
    target = FakeTarget(run_of(SEND), name=place, facts=replace(ALL, symbols=ALL.symbols | BUSES))
    judged(target, id_, SEND)
    assert id_ in target.asked


MANY = f"user/i2cdev_rdwr/virtio/4+messages={','.join(['w4'] * 42)}"


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        # QEMU 7.2's queue takes four of the 42 messages: that all went well is wrong there.
        (None, Verdict.FAIL),
        (4, Verdict.FAIL),
        (64, Verdict.PASS),
    ],
)
def test_what_the_running_machine_told_decides_what_is_expected(told, verdict):
    sent = tuple(BusMessage(0x30, False, bytes(4), True, (DmaSegment(BUFFER, 4),)) for _ in range(42))
    caller = tuple(CallerMessage(False, bytes(4), BUFFER) for _ in range(42))
    facts = None if told is None else replace(ALL, running=MachineFacts(queue_entries=told))
    run = run_of(facts=facts, observations={MANY: Observation(42, caller, sent)})
    assert rows(judged(FakeTarget(run), MANY))[MANY].verdict is verdict
