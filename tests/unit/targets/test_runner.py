# SPDX-License-Identifier: GPL-2.0-or-later
"""What the runner trusts: one row a reason that makes verdicts INCONCLUSIVE, one a way in which a boot is lost."""

import errno
import os
import re
import signal
from dataclasses import replace

import pytest
from fake_session import (
    BOUNCED,
    BUFFER,
    DISABLED,
    FACTS,
    INVALID_AREA,
    KERNEL,
    ON_STACK,
    OVERLAP,
    REFUSED,
    REJECTED,
    STRICT,
    TIMED_OUT,
    TOLD,
    TOO_MANY_OVERLAPS,
    WITHOUT_DMA_DEBUG,
    Rig,
    System,
    only_at_first,
    only_once_more,
    raises,
    sound,
    splats,
    then,
)

from dmasafe.devices.errors import DevicesError, TraceError
from dmasafe.guest import GuestError
from dmasafe.outcome import Expectation, Outcome, Verdict, judge
from dmasafe.progress import SILENT
from dmasafe.qemu import QemuError
from dmasafe.report.results import exit_status
from dmasafe.scenario import CONTROLLERS, parse_scenario
from dmasafe.targets import runner as runners
from dmasafe.targets.canaries import canaries
from dmasafe.targets.errors import BootLost, HostTrouble
from dmasafe.targets.judged import judged
from dmasafe.targets.runner import CONTROLS, WINDOW
from dmasafe.targets.session import Limits
from dmasafe.targets.wire import line

SEND, RECV = "heap/master_send/dmasafe:bounce/8", "heap/master_recv/dmasafe:bounce/8"
VIRTIO = "heap/master_send/virtio/16"
BOTH = (SEND, RECV)
STACK = "stack/master_send_dmasafe/dmasafe:trusting/16"
# With a seeded fault; the last one spends its boot, the one before it wants the driver bound again.
FAULTY = "heap/master_recv_dmasafe/dmasafe:bounce/32+fault=free-size"
REBINDING = "heap/master_send_dmasafe/dmasafe:bounce/32+fault=leak-on-release"
SPENDING = "heap/master_send_dmasafe/dmasafe:bounce/32+fault=debug-disabled"
CANARY, SECOND_CANARY = (canary.scenario.id for canary in canaries(FACTS))
CONTROL, LAST_CONTROL = CONTROLS[0].id, CONTROLS[-1].id
SAFE = Expectation(Outcome.SAFE, "it is heap memory")
# One scenario more than can be under way.
MANY = tuple(f"heap/master_send/dmasafe:bounce/{length}" for length in range(9, 10 + WINDOW))


def silent(session, number, scenario):
    """The kernel refuses, and reports nothing."""
    return {"answer": {"ret": -5, "transferred": False, "msgs": []}}


def wrong_data(session, number, scenario):
    return sound(session, number, scenario, data="ff" * scenario.length)


def timed_out(session, number, scenario):
    return TIMED_OUT


def hung(session, number, scenario):
    return {"hung": 5000}


def starved(seconds):
    return lambda session, number: session.gathered.take_event({"ev": "late", "seconds": seconds})


def broken_rule(seq=None):
    def act(session, number):
        event = {"ev": "violation", "what": "chain-too-long", "why": "too long", "seq": number if seq is None else seq}
        session.gathered.take_event(event)

    return act


def outside_rule(session, number):
    session.gathered.take_event({"ev": "violation", "what": "chain-too-long", "why": "too long", "seq": None})


def stray_outside(session, number):
    session.trace(None, b"\0", address=1 << 40)


def gaps(session, number):
    session.gathered.take_event({"ev": "dropped"})


def overwritten(session, number):
    session.gathered.take_message({"ev": "kmsg-lost"})


@pytest.fixture
def rig(tmp_path):
    """``rig(system, ...)``: a runner over one system a boot."""

    def make(*systems, **changes):
        return Rig(systems or (System(),), tmp_path, **changes)

    return make


def trusted(run):
    return set(run.observations) - set(run.untrusted)


def test_a_sound_run_is_trusted_and_its_kernel_log_is_kept(rig, tmp_path):
    runner = rig()
    run = runner.run(*BOTH)
    assert run.untrusted == {} and run.notes == () and run.skipped == {}
    assert [judge(SAFE, run.observations[id_]).verdict for id_ in BOTH] == [Verdict.PASS, Verdict.PASS]
    assert (run.canary_splatted, run.boots, run.boot_s, run.accel, run.kernel) == (True, 1, 1.5, "fake", KERNEL)
    assert 0 <= run.scenarios_s < 1.4
    assert runner.heard.stages == ["boot", "scenarios"]
    assert runner.heard.advances == [(1, 2, SEND), (2, 2, RECV)]
    assert (tmp_path / "kmsg.log").read_text().count("maps memory from invalid area") == 2


def test_the_run_says_what_the_machine_told_and_the_device_of_its_queue(rig):
    def tell(session, number, scenario):
        session.gathered.take_event({"ev": "queue", "controller": "virtio", "entries": 64})
        return sound(session, number, scenario)

    assert rig().run(SEND).facts == replace(FACTS, running=TOLD)
    assert rig(System(does={SEND: tell})).run(SEND).facts == replace(FACTS, running=replace(TOLD, queue_entries=64))


def test_canaries_and_controls_stand_before_the_first_scenario_and_after_the_last(rig):
    runner = rig()
    runner.run(*BOTH)
    around = [CANARY, SECOND_CANARY, *(control.id for control in CONTROLS)]
    assert runner.sessions[0].asked == [*around, *BOTH, *around]
    assert runner.sessions[0].requests == ["kmsg"]


# Of the whole boot: a name, the system, the facts, the reason for every scenario.
REASONS = {
    "another kernel": (System(release="6.12.118"), r"the guest runs 6\.12\.118, not the kernel .* 6\.12\.117$"),
    "no adapter for the canary": (System(adapters={"virtio": 0}), r"the canary needs the dmasafe controller"),
    "canary silent": (
        System(does={CANARY: silent}),
        rf"the canary {CANARY} did not splat map-invalid-area \(REFUSED\)$",
    ),
    "second canary silent": (
        System(does={SECOND_CANARY: silent}),
        rf"the canary {SECOND_CANARY} did not splat map-vmalloc-rejected \(REFUSED\)$",
    ),
    "canary splats another class": (System(does={CANARY: splats(ON_STACK)}), r"did not splat map-invalid-area \(CAUGH"),
    "canary without an answer": (
        System(does={SECOND_CANARY: hung}),
        r"did not splat map-vmalloc-rejected \(the call did not return within 5000 ms\)$",
    ),
    "canary silent at the end": (
        System(does={CANARY: only_once_more(silent)}),
        r"did not splat map-invalid-area \(REFUSED\)$",
    ),
    "second canary silent at the end": (
        System(does={SECOND_CANARY: only_once_more(silent)}),
        r"did not splat map-vmalloc-rejected \(REFUSED\)$",
    ),
    "canary silent as dma-debug is off": (
        System(does={CANARY: silent}, files={"disabled": "Y"}),
        r"did not splat map-invalid-area \(dma-debug is disabled",
    ),
    "the other canary's cause is not dma-debug": (
        System(does={SECOND_CANARY: silent}, files={"disabled": "Y"}),
        r"did not splat map-vmalloc-rejected \(REFUSED\)$",
    ),
    "dma-debug missing": (System(files={"disabled": None}), r"dma-debug's files are missing below /sys/kernel/debug"),
    "dma-debug off": (System(files={"disabled": "Y"}), r"dma-debug is disabled \(switched off, or out of entries\)$"),
    "driver filter": (System(files={"driver_filter": "ohci"}), r"driver filter hides all drivers but ohci$"),
    "all_errors not set": (System(files={"all_errors": "0"}), r"all_errors is not set"),
    "all_errors missing": (System(files={"all_errors": None}), r"all_errors is not set"),
    "miscount: one more": (System(files={"error_count": "3"}), r"^dma-debug counted 3 reports, the log has 2$"),
    "miscount: one less": (System(files={"error_count": "1"}), r"^dma-debug counted 1 reports, the log has 2$"),
    "miscount: no number": (System(files={"error_count": ""}), r"^dma-debug counted  reports, the log has 2$"),
    "miscount: reports before the run": (
        System(reports_before=5, files={"error_count": "8"}),
        r"^dma-debug counted 8 reports, 5 of them before the run; the log has 2$",
    ),
    "control wrong at the end": (
        System(does={CONTROL: only_once_more(wrong_data)}),
        rf"^the control {CONTROL} went wrong \(wrong data without a report: .*\)$",
    ),
    "last control wrong at the end": (
        System(does={LAST_CONTROL: only_once_more(wrong_data)}),
        rf"^the control {LAST_CONTROL} went wrong \(wrong data",
    ),
    "control late at the end": (
        System(does={CONTROL: only_once_more(lambda s, n, c: starved(1.5)(s, n) or timed_out(s, n, c))}),
        r"\(returned -110, nothing was transferred, and the emulated device's process did not run for 1\.5 s\)",
    ),
    "stray DMA outside any scenario": (System(does={SEND: then(stray_outside)}), r"stray DMA outside any scenario"),
    "gaps in the trace": (System(does={RECV: then(gaps)}), r"its trace has gaps"),
    "rules broken outside any scenario": (System(does={SEND: then(outside_rule)}), r"broke the rules"),
    "log lost after the last scenario": (
        System(does={CONTROL: only_once_more(then(overwritten))}),
        r"the kernel overwrote log records before they were read$",
    ),
    "distrust outweighs other reasons": (
        System(does={SEND: then(stray_outside)}, files={"disabled": "Y"}),
        r"stray DMA outside any scenario",
    ),
    "what was wrong at first is the reason": (
        System(release="6.1.1", files={"disabled": "Y"}),
        r"the guest runs 6\.1\.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REASONS)
def test_a_boot_that_cannot_be_trusted_makes_every_verdict_inconclusive(rig, name):
    system, reason = REASONS[name]
    run = rig(system).run(*BOTH)
    assert set(run.untrusted) == set(BOTH)
    for id_ in BOTH:
        assert re.search(reason, run.untrusted[id_]), run.untrusted[id_]
        found = judge(SAFE, run.observations[id_], run.untrusted[id_])
        assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, run.untrusted[id_])
    assert run.boots == 1


@pytest.mark.parametrize(
    ("name", "splatted"),
    [
        ("canary silent", False),
        ("second canary silent", False),
        ("canary silent at the end", False),
        ("no adapter for the canary", False),
        ("dma-debug off", True),
        ("miscount: one more", True),
    ],
)
def test_the_run_says_whether_the_canary_splatted(rig, name, splatted):
    assert rig(REASONS[name][0]).run(*BOTH).canary_splatted is splatted


# Of one scenario, while the others stay good: a name, what SEND does, the reason.
SINGLE = {
    "a broken rule of virtio": (then(broken_rule()), r"^a driver or the device broke the rules: device: too long"),
    "a gap in the log": (then(lambda s, n: s.log(n, "text", gap=3)), r"^log records 3 to 5 are missing$"),
    "records overwritten": (then(overwritten), r"^the kernel overwrote log records before they were read$"),
    "timed out on a device that did not run": (
        lambda s, n, c: starved(1.6)(s, n) or timed_out(s, n, c),
        r"^the transfer timed out, and the emulated device's process did not run for 1\.6 s$",
    ),
    "hung on a device that did not run": (
        lambda s, n, c: starved(2.0)(s, n) or hung(s, n, c),
        r"^the transfer timed out, and the emulated device's process did not run for 2\.0 s$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_what_spoils_one_scenario_costs_that_one_only(rig, name):
    act, reason = SINGLE[name]
    run = rig(System(does={SEND: act})).run(*BOTH)
    assert list(run.untrusted) == [SEND]
    assert re.search(reason, run.untrusted[SEND])
    assert judge(SAFE, run.observations[SEND], run.untrusted[SEND]).verdict is Verdict.INCONCLUSIVE
    assert judge(SAFE, run.observations[RECV], run.untrusted.get(RECV)).verdict is Verdict.PASS


LOST_ANSWERS = {
    "killed without a report": ({"died": 11}, r"died of signal 11 and the kernel reported nothing"),
    "hung": ({"hung": 5000}, r"did not return within 5000 ms"),
    "not understood": ({"error": "no such operation"}, r"the agent: no such operation"),
    "empty": ({}, r"an answer without an answer"),
    "not possible": ({"answer": {"unsupported": "no highmem"}}, r"the guest cannot do this: no highmem"),
}


@pytest.mark.parametrize("name", LOST_ANSWERS)
def test_an_answer_that_says_nothing_is_inconclusive_by_itself(rig, name):
    reply, reason = LOST_ANSWERS[name]
    run = rig(System(does={SEND: lambda s, n, c: reply})).run(*BOTH)
    found = judge(SAFE, run.observations[SEND], run.untrusted.get(SEND))
    assert found.verdict is Verdict.INCONCLUSIVE and re.search(reason, found.why)
    assert judge(SAFE, run.observations[RECV], run.untrusted.get(RECV)).verdict is Verdict.PASS


def test_a_seeded_faults_broken_rules_are_no_reason_for_distrust(rig):
    run = rig(System(does={FAULTY: then(broken_rule())})).run(FAULTY)
    assert run.untrusted == {}


def test_a_lost_log_belongs_to_the_first_answer_after_it_only(rig):
    run = rig(System(does={CONTROL: only_at_first(then(overwritten))})).run(*BOTH)
    assert run.untrusted == {SEND: "the kernel overwrote log records before they were read"}


def test_a_time_out_on_a_device_that_ran_is_the_drivers(rig):
    run = rig(System(does={SEND: timed_out})).run(*BOTH)
    assert run.untrusted == {}
    assert judge(SAFE, run.observations[SEND]).verdict is Verdict.FAIL


def test_lateness_costs_nothing_where_nothing_timed_out(rig):
    assert rig(System(does={SEND: then(starved(3.0))})).run(*BOTH).untrusted == {}


# Counting

COUNTS = {
    "reports of scenarios count": System(does={SEND: splats(INVALID_AREA, ON_STACK)}),
    "warnings of others do not": System(does={SEND: splats(REJECTED)}),
    "the overlap counts": System(does={SEND: splats(OVERLAP)}),
    "the count of overlaps does not": System(does={SEND: splats(TOO_MANY_OVERLAPS)}),
    "reports between scenarios count": System(does={SEND: then(lambda s, n: s.log(-1, INVALID_AREA))}),
    "canaries and controls count": System(does={CONTROL: only_at_first(then(lambda s, n: s.log(-1, ON_STACK)))}),
    "reports before the run": System(reports_before=7, does={SEND: splats(INVALID_AREA)}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_log_has_as_many_reports_as_dma_debug_counted(rig, name):
    assert rig(COUNTS[name]).run(*BOTH).untrusted == {}


MISCOUNTS = {
    "a report that only the log has": then(lambda s, n: s.log(n, INVALID_AREA, counted=False)),
    "a report between scenarios that only the log has": then(lambda s, n: s.log(-1, INVALID_AREA, counted=False)),
    "an overlap that only the log has": then(lambda s, n: s.log(n, OVERLAP, counted=False)),
    "a report that the log has not": then(lambda s, n: s.log(n, "text", counted=True)),
    "a warning of another's that was counted": then(lambda s, n: s.log(n, REJECTED, counted=True)),
    "a count of overlaps that was counted": then(lambda s, n: s.log(n, TOO_MANY_OVERLAPS, counted=True)),
}


@pytest.mark.parametrize("name", MISCOUNTS)
def test_a_miscount_costs_the_whole_boot(rig, name):
    run = rig(System(does={SEND: MISCOUNTS[name]})).run(*BOTH)
    assert set(run.untrusted) == set(BOTH)
    assert all(re.fullmatch(r"dma-debug counted \d reports, the log has \d", why) for why in run.untrusted.values())


def test_giving_up_is_a_message_that_is_not_counted(rig):
    run = rig(System(does={SEND: splats(DISABLED)})).run(SEND)
    assert [splat.splat_class for splat in run.observations[SEND].splats] == ["debug-disabled"]
    assert run.untrusted == {}


def test_without_dma_debug_nothing_is_read_of_it(rig):
    nothing = dict.fromkeys(("disabled", "driver_filter", "num_free_entries", "error_count", "all_errors"))
    system = System(facts=WITHOUT_DMA_DEBUG, files=nothing)
    runner = rig(system, facts=WITHOUT_DMA_DEBUG)
    assert runner.run(*BOTH).untrusted == {}
    assert CANARY not in runner.sessions[0].asked and SECOND_CANARY in runner.sessions[0].asked


def test_a_missing_count_is_no_count(rig):
    assert rig(System(files={"error_count": None})).run(*BOTH).untrusted == {}


# The strict machine

STRICT_CANARY = canaries(STRICT)[-1].scenario.id
STRICT_DISTRUST = {
    "not attached to any device": System(facts=STRICT, files={"attached": "0"}),
    "lost 3 reports": System(facts=STRICT, files={"unread": "3"}),
    "no bus address left for 2 mappings": System(facts=STRICT, files={"full": "2"}),
    "counted 9 reports, the log has 2": System(facts=STRICT, files={"reports": "9"}),
    "did not splat strict-unmapped": System(facts=STRICT, does={STRICT_CANARY: silent}),
    "the strict machine is not": System(facts=STRICT, files=dict.fromkeys(("attached", "full", "unread", "reports"))),
}


@pytest.mark.parametrize("why", STRICT_DISTRUST)
def test_a_strict_machine_that_is_not_or_that_gave_up_makes_every_verdict_inconclusive(rig, why):
    run = rig(STRICT_DISTRUST[why], facts=STRICT).run(*BOTH)
    assert set(run.untrusted) == set(BOTH) and all(why in reason for reason in run.untrusted.values())


def test_what_a_device_does_when_nobody_asked_makes_every_verdict_inconclusive(rig):
    late = then(lambda s, n: s.log(-1, REFUSED))
    runs = [
        rig(System(facts=STRICT, does={CONTROL: late}), facts=STRICT).run(*BOTH),
        rig(System(facts=STRICT, does={SEND: late}), facts=STRICT).run(*BOTH),
    ]
    for run in runs:
        reasons = set(run.untrusted.values())
        assert len(run.untrusted) == 2 and all(
            "reported strict-unmapped outside any scenario" in why for why in reasons
        )


def test_what_was_reported_before_the_run_is_somebody_elses(rig):
    """In a boot that is shared: a test's, and in a check's second run those of the first."""
    system = System(facts=STRICT, said_before=(REFUSED,), strict_before=2)
    assert rig(system, facts=STRICT).run(*BOTH).untrusted == {}
    run = rig(replace(system, files={"reports": "9"}), facts=STRICT).run(*BOTH)
    assert all("counted 9 reports, 2 of them before the run; the log has 3" in why for why in run.untrusted.values())


def test_a_strict_machine_that_works_is_trusted_and_its_canary_comes_before_and_after(rig):
    runner = rig(System(facts=STRICT, does={SEND: splats(REFUSED)}), facts=STRICT)
    assert runner.run(*BOTH).untrusted == {}
    assert runner.sessions[0].asked.count(STRICT_CANARY) == 2


@pytest.mark.parametrize("facts", [STRICT, replace(STRICT, symbols=WITHOUT_DMA_DEBUG.symbols)])
def test_a_boot_that_was_to_run_out_of_addresses_may(rig, facts):
    system = System(facts=facts, files={"full": "9"})
    runner = rig(system, facts=facts)
    assert runner.run(SPENDING).untrusted == {}
    assert runner.sessions[0].asked.count(STRICT_CANARY) == 1, "afterwards nothing can be mapped"


def test_mappings_fail_on_purpose_where_a_fault_does_not_look(rig):
    scenario = "heap/master_recv_dmasafe/dmasafe:bounce/32+fault=map-error-unchecked"
    strict = rig(System(facts=STRICT), facts=STRICT)
    plain = rig(System())
    for runner in (strict, plain):
        runner.run(scenario)
    lines = [[m["line"] for m in runner.sessions[0].sent if "unchecked" in m["set"]] for runner in (strict, plain)]
    assert ["fail=1" in found[0] for found in lines] == [True, False]


# Ways in which a boot is lost

LOSSES = {
    "a scenario ends it": (System(does={SEND: raises(BootLost("the guest died: panic"))}), "the guest died: panic"),
    "a device says nonsense": (System(does={SEND: raises(BootLost("nonsense"))}), "nonsense"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_boot_costs_the_scenario_under_way_and_the_rest_goes_on_in_another(rig, name):
    system, why = LOSSES[name]
    runner = rig(system, System())
    run = runner.run(SEND, RECV, VIRTIO)
    assert run.untrusted == {SEND: why}
    assert run.notes == (f"boot 1: {why}",)
    assert run.boots == 2 and runner.heard.stages == ["boot", "scenarios", "boot 2", "scenarios"]
    assert {RECV, VIRTIO} <= trusted(run) and SEND not in run.observations
    assert run.boot_s == 1.5


def test_what_the_kernel_said_of_the_scenario_that_ended_the_boot_is_kept(rig):
    def dies(session, number, scenario):
        session.log(number, INVALID_AREA)
        raise BootLost("the guest died: panic")

    run = rig(System(does={SEND: dies}), System()).run(*BOTH)
    seen = run.observations[SEND]
    assert [splat.splat_class for splat in seen.splats] == ["map-invalid-area"]
    assert judge(SAFE, seen, run.untrusted[SEND]).verdict is Verdict.INCONCLUSIVE


def test_answers_before_the_loss_are_kept_and_not_asked_again(rig):
    runner = rig(System(does={RECV: raises(BootLost("the guest hung"))}), System())
    run = runner.run(SEND, RECV, VIRTIO)
    assert run.untrusted == {RECV: "the guest hung"}
    assert SEND not in runner.sessions[1].asked and RECV not in runner.sessions[1].asked
    assert [done for done, _, _ in runner.heard.advances] == [1, 2]


def test_the_oldest_scenario_under_way_is_taken_for_the_cause(rig):
    answers = dict.fromkeys(MANY[:3], raises(BootLost("the guest hung")))
    run = rig(System(does={MANY[0]: sound, **{id_: answers[id_] for id_ in MANY[1:3]}}), System()).run(*MANY)
    assert run.untrusted == {MANY[1]: "the guest hung"}
    assert trusted(run) == set(MANY) - {MANY[1]}


def test_a_loss_while_answers_may_be_held_back_is_nobodys_until_it_happens_again(rig):
    dies = raises(BootLost("the guest hung"))
    systems = [System(does={RECV: dies}, can_be_lazy=True) for _ in range(2)]
    runner = rig(*systems, System(can_be_lazy=True))
    run = runner.run(SEND, RECV, VIRTIO)
    assert run.untrusted == {RECV: "the guest hung"} and trusted(run) == {SEND, VIRTIO}
    assert run.notes == ("boot 1: the guest hung", "boot 2: the guest hung")
    lazy = [["lazy" in message for message in session.sent if message["seq"] > 4] for session in runner.sessions]
    assert any(lazy[0]) and not any(lazy[1]) and not any(lazy[2])


def test_a_loss_that_does_not_come_again_makes_the_run_inconclusive(rig):
    dies_once = System(does={RECV: raises(BootLost("the guest hung"))}, can_be_lazy=True)
    run = rig(dies_once, System(can_be_lazy=True)).run(SEND, RECV, VIRTIO)
    assert (run.untrusted, run.boots) == ({}, 2)
    why = "a boot was lost in one of several scenarios, and in none of them again: the guest hung"
    unchecked = "the checks after the last scenario were not made: the guest hung"
    assert run.doubts == {SEND: unchecked, RECV: why, VIRTIO: why}
    results = judged(
        "qemu",
        run,
        [parse_scenario(id_) for id_ in (SEND, RECV, VIRTIO)],
        dict.fromkeys((SEND, RECV, VIRTIO), SAFE),
        "smoke",
        SILENT,
        0.0,
    )
    assert {row.judgement.verdict for row in results.rows} == {Verdict.PASS}
    assert results.reason in (why, unchecked) and exit_status(results) == 2
    assert [row.doubt for row in results.rows] == [unchecked, why, why]


def test_a_trace_that_a_lazy_loss_cut_off_names_the_loss(rig):
    dies_once = System(
        does={RECV: raises(BootLost("the device died"))}, can_be_lazy=True, sync=BootLost("gone"), sync_from=2
    )
    run = rig(dies_once, System(can_be_lazy=True)).run(SEND, RECV, VIRTIO)
    assert run.untrusted == {SEND: "the device's trace ends before this scenario: the device died"}


def test_a_loss_that_comes_again_explains_the_first_one(rig):
    systems = [System(does={RECV: raises(BootLost("the guest hung"))}, can_be_lazy=True) for _ in range(2)]
    run = rig(*systems, System(can_be_lazy=True)).run(SEND, RECV, VIRTIO)
    assert run.doubts == {SEND: "the checks after the last scenario were not made: the guest hung"}


def test_a_loss_of_another_scenario_does_not_explain_the_first_one(rig):
    """Or --resume would run only that one again."""
    first = System(does={MANY[0]: raises(BootLost("the guest hung"))}, can_be_lazy=True)
    run = rig(first, System(does={MANY[-1]: raises(BootLost("the guest died"))}), System()).run(*MANY)
    assert run.untrusted == {MANY[-1]: "the guest died"}
    why = "a boot was lost in one of several scenarios, and in none of them again: the guest hung"
    assert run.doubts[MANY[0]] == run.doubts[MANY[1]] == why


def test_a_loss_with_one_scenario_under_way_is_its_own_however_lazy(rig):
    run = rig(System(does={VIRTIO: raises(BootLost("the guest hung"))}, can_be_lazy=True)).run(SEND, RECV, VIRTIO)
    assert run.untrusted == {VIRTIO: "the guest hung"} and run.boots == 1


def test_losses_that_are_nobodys_end_no_run(rig):
    """Three boots without a scenario done end it; the first of them only said that answers must come at once."""
    dies = raises(BootLost("the guest hung"))
    systems = [System(does=dict.fromkeys((SEND, RECV), dies), can_be_lazy=True) for _ in range(3)]
    run = rig(*systems, System(can_be_lazy=True)).run(SEND, RECV, VIRTIO)
    assert set(run.untrusted) == {SEND, RECV} and trusted(run) == {VIRTIO}


def test_no_answer_is_held_back_where_a_session_is_dear_or_a_scenario_destructive(rig):
    dear, cheap = rig(System()), rig(System(can_be_lazy=True))
    dear.run(SEND, RECV)
    cheap.run(SEND, RECV, destructive=[RECV])
    assert not any("lazy" in message for message in dear.sessions[0].sent)
    by_line = {message["line"]: "lazy" in message for message in cheap.sessions[0].sent}
    assert [by_line[line(parse_scenario(id_))] for id_ in (SEND, RECV)] == [True, False]


LATE = tuple(f"heap/master_recv/at91/{length}+hardware=late" for length in (8, 32))
NAK = "heap/master_send/at91/8+hardware=nak-8"


def test_hardware_fails_for_the_scenarios_that_want_it_and_nobody_else(rig):
    runner = rig(System(can_be_lazy=True, does=dict.fromkeys(LATE, timed_out), adapters={"at91": 2, "dmasafe": 1}))
    run = runner.run(SEND, *LATE, NAK, "heap/master_send/at91/8", RECV)
    session = runner.sessions[0]
    assert not run.untrusted and session.failing is None
    # A time-out is what was asked for: no reason to ask the controls in between.
    assert session.asked.count(CONTROL) == 2
    failing = {id_: how for id_, how in session.asked_while.items() if how}
    assert failing == {**dict.fromkeys(LATE, ("at91", "late")), NAK: ("at91", "nak-8")}
    # Those that want the same go together, so that the second comes while the first one's command is still at work.
    assert session.asked.index(LATE[1]) == session.asked.index(LATE[0]) + 1


# Before the first scenario: a name, the system of the first boot, the note.
EARLY = {
    "the device's process does not start": (System(enter=DevicesError("no device")), "no device", True),
    "QEMU does not start": (System(enter=QemuError("no QEMU")), "no QEMU", True),
    "the guest's channel breaks": (System(enter=GuestError("no guest")), "no guest", True),
    "the trace makes no sense": (System(prepare=TraceError("no trace")), "no trace", True),
    "no first word": (System(enter=BootLost("the guest hung")), "the guest hung", False),
    "a module is refused": (System(prepare=BootLost("refused client.ko")), "refused client.ko", False),
    "a canary ends it": (System(does={CANARY: raises(BootLost("the guest died"))}), "the guest died", False),
    "a control ends it": (System(does={CONTROL: raises(BootLost("the guest died"))}), "the guest died", False),
    "a control goes wrong": (
        System(does={CONTROL: wrong_data}),
        f"the control {CONTROL} went wrong (wrong data without a report: message 0, byte 0: the caller sent 0xff, "
        "the bus carried 0x00)",
        False,
    ),
    "the last control goes wrong": (
        System(does={LAST_CONTROL: silent}),
        f"the control {LAST_CONTROL} went wrong (returned -5, nothing was transferred)",
        False,
    ),
    "a control is without an answer": (
        System(does={CONTROL: hung}),
        f"the control {CONTROL} went wrong (the call did not return within 5000 ms)",
        False,
    ),
    "a control splats": (
        System(does={CONTROL: then(lambda s, n: s.log(n, INVALID_AREA))}),
        f"the control {CONTROL} went wrong (the kernel reported map-invalid-area)",
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EARLY)
def test_a_boot_lost_before_the_first_scenario_costs_no_scenario(rig, name):
    system, why, _ = EARLY[name]
    runner = rig(System(does={SEND: raises(BootLost("the first"))}), system, System())
    run = runner.run(SEND, RECV, VIRTIO)
    assert run.untrusted == {SEND: "the first"}
    assert run.notes == ("boot 1: the first", f"boot 2: {why}")
    assert run.boots == 3 and {RECV, VIRTIO} <= trusted(run)


@pytest.mark.parametrize("name", EARLY)
def test_what_cannot_be_started_at_first_is_the_users_error_and_what_is_lost_is_not_reached(rig, name):
    system, why, is_error = EARLY[name]
    runner = rig(system)
    if is_error:
        with pytest.raises((DevicesError, GuestError, QemuError), match=why):
            runner.run(*BOTH)
        return
    run = runner.run(*BOTH)
    assert run.boots == Limits().fruitless_boots == len(runner.sessions)
    assert run.untrusted == dict.fromkeys(BOTH, f"not reached: boot 3: {why}")
    assert run.notes == tuple(f"boot {number}: {why}" for number in (1, 2, 3))
    assert run.observations == {} and run.canary_splatted is False


def test_boots_in_which_scenarios_were_done_are_not_fruitless(rig):
    """Every boot answers two scenarios and dies in the third."""

    def dies_in_third(session, number, scenario):
        if len([id_ for id_ in session.asked if id_ in MANY]) == 3:
            raise BootLost("the guest died")
        return sound(session, number, scenario)

    runner = rig(System(does=dict.fromkeys(MANY, dies_in_third)), limits=Limits(fruitless_boots=1))
    run = runner.run(*MANY)
    assert set(run.untrusted.values()) == {"the guest died"}
    assert list(run.untrusted) == list(MANY[2::3])
    assert run.boots == len(MANY) // 3


def test_boots_in_which_only_the_cause_was_lost_are_fruitless(rig):
    runner = rig(System(does=dict.fromkeys(MANY, raises(BootLost("the guest died")))), limits=Limits(fruitless_boots=2))
    run = runner.run(*MANY)
    assert run.boots == 2
    assert run.untrusted == {
        MANY[0]: "the guest died",
        MANY[1]: "the guest died",
        **dict.fromkeys(MANY[2:], "not reached: boot 2: the guest died"),
    }


def test_a_boot_with_a_single_scenario_that_it_lost_was_not_fruitless(rig):
    """It was done with: it is not asked again."""
    spent = tuple(f"heap/master_send_dmasafe/dmasafe:bounce/{length}+fault=debug-disabled" for length in (32, 33, 34))
    dies = dict.fromkeys(spent, raises(BootLost("the guest died")))
    run = rig(System(does=dies), limits=Limits(fruitless_boots=1)).run(*spent)
    assert run.boots == 3 and run.untrusted == dict.fromkeys(spent, "the guest died")


def test_controllers_for_which_a_boot_has_no_room_come_in_the_next_one(rig, monkeypatch):
    names = ("virtio", "cp2112", "osif")
    rows = {name: replace(CONTROLLERS[name], room=2) for name in names}
    monkeypatch.setattr(runners, "controller_of", lambda name: rows.get(name, CONTROLLERS.get(name)))
    todo = [parse_scenario(f"heap/master_send/{name}/8") for name in ("virtio", "dmasafe:pio", "cp2112", "osif")]
    now, later = runners._for_one_boot(todo)
    assert [scenario.controller for scenario in now] == ["virtio", "dmasafe", "cp2112"]
    assert runners._for_one_boot(later) == (later, [])
    rows["cp2112"] = replace(rows["cp2112"], room=1)
    now, later = runners._for_one_boot(todo)
    assert [scenario.controller for scenario in now] == ["virtio", "dmasafe", "osif"]
    assert runners._for_one_boot(later) == (later, [])


def test_what_comes_after_a_transfer_that_timed_out_proves_nothing_of_a_driver_that_stumbles(rig, monkeypatch):
    rows = {"virtio": replace(CONTROLLERS["virtio"], stumbles=True)}
    monkeypatch.setattr(runners, "controller_of", lambda name: rows.get(name, CONTROLLERS.get(name)))
    monkeypatch.setattr(runners, "_TRIES", 0)

    def times_out(session, number, scenario):
        return {"answer": {"ret": -errno.ETIMEDOUT, "msgs": []}}

    ids = [f"heap/master_send/virtio/{length}" for length in (16, 24, 32)]
    run = rig(System(does={ids[0]: times_out})).run(*ids)
    assert set(run.untrusted) == {ids[1]} and run.untrusted[ids[1]].startswith("the transfer before it timed out")
    # Another controller's does what it does.
    other = "heap/master_send/dmasafe:pio/16"
    assert not rig(System(does={ids[0]: times_out})).run(ids[0], other).untrusted
    assert not rig(System(does={other: times_out})).run(other, ids[0]).untrusted


def too_soon(session, number, scenario):
    """The call was over before its driver was unbound."""
    return {"answer": {"ret": 8, "msgs": []}, "rebound": True, "caught": False}


@pytest.mark.parametrize("slow_boots", [0, 1, 3, 9])
def test_what_a_slow_machine_cost_is_tried_again(rig, slow_boots):
    adapters = {"virtio": 0, "dmasafe": 1, "at91": 2}
    leaving = "heap/master_send/at91/8+hardware=busy+meanwhile=unbind"
    on_time = System(adapters=adapters, does={leaving: lambda s, n, c: too_soon(s, n, c) | {"caught": True}})
    systems = [System(adapters=adapters, does={leaving: too_soon})] * slow_boots + [on_time]
    runner = rig(*systems)
    run = runner.run(leaving, SEND)
    assert run.boots == 1 + min(slow_boots, 3)
    # Whoever reads a PASS sees that it took more than one try.
    assert run.notes == (f"tried again: {leaving}: the call was over before its driver was unbound",) * (run.boots - 1)
    assert (run.observations[leaving].lost is None) is (slow_boots <= 3)
    # Who was judged is not tried again.
    assert [sum(m["line"] == line(parse_scenario(SEND)) for m in s.sent) for s in runner.sessions][1:] == [0] * (
        run.boots - 1
    )


LEAVING = "heap/master_send/at91/8+hardware=busy+meanwhile=unbind"
ASLEEP = "heap/master_send/at91/8+hardware=busy+meanwhile=suspend"
WITH_AT91 = {"virtio": 0, "dmasafe": 1, "at91": 2}
ZEROS = {"rd": 0, "data": "00" * 8, "pa": hex(BUFFER)}


def left(session, number, scenario):
    """As too_soon(), but in time."""
    return {"answer": {"ret": 8, "msgs": []}, "rebound": True}


def hasty(act=lambda session, number: None, answer=(), **reply):
    """A try that was too slow, and what was seen in it."""

    def does(session, number, scenario):
        act(session, number)
        return {"answer": {"ret": 8, "msgs": [], **dict(answer)}, "rebound": True, "caught": False, **reply}

    return does


def late_and(act):
    """The same of a transfer that timed out while the device's process did not run."""

    def does(session, number, scenario):
        act(session, number)
        starved(1.5)(session, number)
        return TIMED_OUT

    return does


@pytest.mark.parametrize(
    ("scenario", "first", "seen"),
    [
        (SEND, late_and(lambda s, n: s.log(n, ON_STACK)), "map-stack"),
        (SEND, late_and(lambda s, n: s.trace(n, bytes(8), address=1 << 40)), "stray DMA"),
        (SEND, late_and(broken_rule()), "too long"),
        (LEAVING, hasty(answer={"damage": ["guard-after"]}), "guard-after"),
        (LEAVING, hasty(lambda s, n: s.trace(n, b"\1" * 8), {"msgs": [ZEROS]}), "wrong data"),
        (LEAVING, lambda s, n, c: s.log(n, ON_STACK) or {"hung": 10_000}, "map-stack"),
        (SEND, late_and(lambda s, n: s.log(n, REFUSED)), "strict-unmapped"),
        (ASLEEP, hasty(after=errno.ESHUTDOWN), "errno 108"),
        (ASLEEP, hasty(slept=True, rebound=False, caught=True), "slept"),
    ],
)  # fmt: skip
def test_another_try_does_not_unsay_what_an_earlier_one_saw(rig, scenario, first, seen):
    second = sound if scenario == SEND else left
    runner = rig(*(System(adapters=WITH_AT91, does={scenario: does}) for does in (first, second)))
    run = runner.run(scenario)
    assert seen in run.untrusted[scenario]
    assert judge(SAFE, run.observations[scenario], run.untrusted[scenario]).verdict is Verdict.INCONCLUSIVE


def test_what_an_earlier_try_saw_and_the_last_one_too_is_judged(rig):
    def reports(session, number, scenario):
        session.log(number, ON_STACK)
        return sound(session, number, scenario)

    run = rig(*(System(does={SEND: does}) for does in (late_and(lambda s, n: s.log(n, ON_STACK)), reports))).run(SEND)
    assert not run.untrusted and run.boots == 2
    assert judge(SAFE, run.observations[SEND]).verdict is Verdict.FAIL


@pytest.mark.parametrize(("first", "last", "doubted"), [
    (BUFFER, BOUNCED, True), (BOUNCED, BUFFER, True), (BOUNCED, BOUNCED, False), (BOUNCED, None, False),
])  # fmt: skip
def test_a_payload_that_goes_another_way_in_another_try_proves_nothing(rig, first, last, doubted):
    def went(address, **reply):
        def does(session, number, scenario):
            if address is not None:
                session.trace(number, bytes(8), address=address)
            return {"answer": {"ret": 8, "msgs": [ZEROS] if address is not None else []}, "rebound": True, **reply}

        return does

    tries = went(first, caught=False), went(last)
    run = rig(*(System(adapters=WITH_AT91, does={LEAVING: does}) for does in tries)).run(LEAVING)
    assert run.boots == 2 and (LEAVING in run.untrusted) is doubted
    assert not doubted or "another way" in run.untrusted[LEAVING]


def test_who_loses_a_boot_in_another_try_is_not_tried_until_it_goes_well(rig):
    dies = System(adapters=WITH_AT91, does={LEAVING: raises(BootLost("the guest died"))})
    slow, well = (System(adapters=WITH_AT91, does={LEAVING: does}) for does in (too_soon, left))
    run = rig(slow, dies, well).run(LEAVING)
    assert run.boots == 2 and run.untrusted[LEAVING] == "the guest died"


def test_who_is_at_the_end_of_a_trace_that_broke_off_is_not_tried_again(rig):
    lost = BootLost("the guest died")
    slow = System(adapters=WITH_AT91, does={LEAVING: too_soon, SEND: raises(lost)}, sync=lost, sync_from=2)
    run = rig(slow, System(adapters=WITH_AT91, does={LEAVING: left})).run(LEAVING, SEND)
    assert "trace ends" in run.untrusted[LEAVING]


def test_what_is_destructive_comes_last_in_another_try_too(rig):
    other = LEAVING.replace("/8+", "/9+")
    slow, well = (System(adapters=WITH_AT91, does={LEAVING: does, other: does}) for does in (too_soon, left))
    runner = rig(slow, well)
    runner.run(LEAVING, other, destructive=[LEAVING])
    assert [[one for one in session.asked if "at91" in one] for session in runner.sessions] == [[other, LEAVING]] * 2


def test_notes_of_another_try_name_a_few_and_count_all(rig):
    ids = [LEAVING.replace("/8+", f"/{length}+") for length in range(8, 13)]
    slow, well = (System(adapters=WITH_AT91, does=dict.fromkeys(ids, does)) for does in (too_soon, left))
    notes = rig(slow, well).run(*ids).notes
    assert [ids[n] in note for n, note in enumerate(notes[:3])] == [True] * 3
    assert notes[3:] == ("tried again: 5 scenarios in all",)
    assert len(rig(slow, well).run(*ids[:3]).notes) == 3


def test_what_a_slow_machine_cost_the_next_one_is_forgotten_when_that_was_tried_again(rig, monkeypatch):
    rows = {"virtio": replace(CONTROLLERS["virtio"], stumbles=True)}
    monkeypatch.setattr(runners, "controller_of", lambda name: rows.get(name, CONTROLLERS.get(name)))
    ids = [f"heap/master_send/virtio/{length}" for length in (16, 24)]
    slow = System(does={ids[0]: lambda s, n, c: {"answer": {"ret": -errno.ETIMEDOUT, "msgs": []}}})
    run = rig(slow, System()).run(*ids)
    assert not run.untrusted and run.boots == 2


@pytest.mark.parametrize("rejected", [True, False])
def test_what_comes_after_a_wait_for_dma_that_was_never_started_can_be_told(rig, rejected, monkeypatch):
    """The mapping was rejected, which i2c-at91 does not notice."""
    monkeypatch.setattr(runners, "_TRIES", 0)

    def waits(session, number, scenario):
        if rejected:
            session.log(number, "i2c i2c-1: rejecting DMA map of vmalloc memory")
        return {"answer": {"ret": -errno.ETIMEDOUT, "msgs": []}}

    ids = ["vmalloc/master_send_dmasafe/at91/9", "heap/master_send/at91/9"]
    run = rig(System(does={ids[0]: waits})).run(*ids)
    assert set(run.untrusted) == (set() if rejected else {ids[1]})


def test_controllers_that_more_than_one_boot_had_are_told(rig):
    system = System(does={MANY[1]: raises(BootLost("the guest died"))})
    assert rig(system, System()).run(SEND, *MANY[:3]).rebooted == {"dmasafe"}
    assert rig().run(SEND, *MANY[:3]).rebooted == set()


def test_hardware_that_is_late_is_not_waited_for_while_more_is_under_way(rig, monkeypatch):
    monkeypatch.setattr(runners, "KEEP_EVERY_S", 0.0)
    waiting, told = [], []

    def watched(session, number, scenario):
        sync, fail = type(session).sync_device, type(session).fail_hardware
        session.sync_device = lambda: (waiting.append(len(session._waiting)), sync(session))
        session.fail_hardware = lambda *how: (told.append(how), fail(session, *how))
        return sound(session, number, scenario)

    late = [f"heap/master_recv/at91/{length}+hardware=late" for length in range(9, 10 + WINDOW)]
    rig(System(does={SEND: watched})).run(SEND, *late)
    assert waiting and not any(waiting)
    assert told == [("at91", "late"), ("at91", None)]


def test_there_is_a_bound_on_boots(rig):
    def dies_in_second(session, number, scenario):
        if len([id_ for id_ in session.asked if id_ in MANY]) == 2:
            raise BootLost("the guest died")
        return sound(session, number, scenario)

    run = rig(System(does=dict.fromkeys(MANY, dies_in_second)), limits=Limits(boots=3)).run(*MANY)
    assert run.boots == 3
    assert [run.untrusted[id_] for id_ in MANY[6:]] == ["not reached: boot 3: the guest died"] * len(MANY[6:])
    assert trusted(run) == {MANY[0], MANY[2], MANY[4]}


def test_a_device_that_died_leaves_the_newest_of_its_trace_in_doubt(rig):
    """The device's last record is of RECV: nothing proves that it is whole."""

    def dies(session, number, scenario):
        session.tell()
        raise BootLost("the device died")

    system = System(does={VIRTIO: dies}, sync=BootLost("gone"), sync_from=2)
    run = rig(system, System()).run(SEND, RECV, VIRTIO)
    assert run.untrusted == {
        RECV: "the device's trace ends before this scenario: the device died",
        VIRTIO: "the device died",
    }
    assert trusted(run) == {SEND}


def test_a_device_that_can_still_tell_everything_leaves_no_doubt(rig):
    run = rig(System(does={VIRTIO: raises(BootLost("the guest died"))}), System()).run(SEND, RECV, VIRTIO)
    assert run.untrusted == {VIRTIO: "the guest died"}


def test_a_device_that_told_nothing_leaves_all_in_doubt(rig):
    def untold(session, number, scenario):
        return {"answer": {"ret": 8, "transferred": True, "msgs": []}}

    def dies(session, number, scenario):
        session.gathered.trace.clear()
        raise BootLost("the device died")

    system = System(does={SEND: untold, RECV: dies}, sync=BootLost("gone"), sync_from=2)
    run = rig(system, System()).run(*BOTH)
    assert run.untrusted[SEND] == "the device's trace ends before this scenario: the device died"


def test_another_reason_stands_before_the_end_of_the_trace(rig):
    system = System(
        does={SEND: then(overwritten), RECV: raises(BootLost("the device died"))}, sync=BootLost("gone"), sync_from=2
    )
    run = rig(system, System()).run(*BOTH)
    assert run.untrusted[SEND] == "the kernel overwrote log records before they were read"


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (BootLost("the guest died"), "the guest died"),
        (KeyboardInterrupt("SIGTERM"), "interrupted by SIGTERM"),
        (HostTrouble("the disk is full"), "the disk is full"),
    ],
)
def test_a_loss_after_the_last_scenario_keeps_its_verdict_and_makes_the_run_inconclusive(rig, ending, why):
    """What came late in dma-debug's count, or was never logged, would have shown only then."""
    run = rig(System(does={CONTROL: only_once_more(raises(ending))})).run(*BOTH)
    assert (run.untrusted, run.boots) == ({}, 1)
    assert run.doubts == dict.fromkeys(BOTH, f"the checks after the last scenario were not made: {why}")
    scenarios = [parse_scenario(id_) for id_ in BOTH]
    results = judged("qemu", run, scenarios, dict.fromkeys(BOTH, SAFE), "smoke", SILENT, 0.0)
    assert {row.judgement.verdict for row in results.rows} == {Verdict.PASS}
    assert results.reason == f"the checks after the last scenario were not made: {why}"
    assert exit_status(results) == 2


def test_a_loss_that_a_scenario_answers_for_leaves_those_before_unchecked(rig):
    """Or --resume would make a PASS of it: the lost scenario goes well, and nothing else is run again."""
    run = rig(System(does={RECV: raises(BootLost("the guest died"))}), System()).run(SEND, RECV, VIRTIO)
    assert run.doubts == {SEND: "the checks after the last scenario were not made: the guest died"}
    assert set(run.untrusted) == {RECV}
    assert rig().run(*BOTH).doubts == {}


def test_a_failure_to_leave_costs_nothing_that_was_measured(rig):
    system = System(does={SEND: raises(BootLost("the first"))})
    run = rig(system, System(leave=QemuError("QEMU does not end"))).run(*BOTH)
    assert run.notes == ("boot 1: the first", "boot 2: QEMU does not end")
    assert RECV in trusted(run)


# The end by hand, and by this machine


def test_ctrl_c_keeps_what_was_measured_and_what_is_on_its_way(rig):
    runner = rig(System(interrupts=MANY[1]))
    run = runner.run(*MANY)
    why = "interrupted by the user"
    assert run.untrusted == {MANY[-1]: f"not reached: {why}"} and run.doubts == {}
    assert trusted(run) == set(MANY[:-1]) and run.notes == (why,) and run.boots == 1
    assert runner.sessions[0].asked[-len(CONTROLS) :] == [control.id for control in CONTROLS]


def test_ctrl_c_does_not_hide_what_the_checks_at_the_end_find(rig):
    """It would never be found: what --resume runs again has a boot of its own."""
    run = rig(System(interrupts=RECV, files={"disabled": "Y"})).run(*BOTH)
    assert all("dma-debug is disabled" in run.untrusted[id_] for id_ in BOTH)


def test_a_guest_that_is_too_slow_for_ctrl_c_leaves_what_was_measured_unchecked(rig):
    runner = rig(System(interrupts=MANY[1], takes_s=1.0))
    run = runner.run(*MANY)
    answered = [id_ for id_ in MANY if id_ in trusted(run)]
    assert 1 < len(answered) < 10 and runner.sessions[0].hurried_s < 0
    assert run.doubts == dict.fromkeys(
        answered, "the checks after the last scenario were not made: interrupted by the user"
    )
    assert run.untrusted[MANY[len(answered)]] == "interrupted by the user"


def test_ctrl_c_during_the_checks_waits_for_them(rig):
    def interrupts(session, number):
        os.kill(os.getpid(), signal.SIGINT)

    runner = rig(System(does={CONTROL: only_once_more(then(interrupts))}))
    run = runner.run(*BOTH)
    assert (run.untrusted, run.doubts, run.notes) == ({}, {}, ("interrupted by the user",))
    assert runner.sessions[0].asked.count(CONTROL) == 2


@pytest.mark.parametrize("where", [CANARY, CONTROL])
def test_ctrl_c_before_the_first_scenario_reaches_none(rig, where):
    run = rig(System(does={where: raises(KeyboardInterrupt())})).run(*BOTH)
    assert run.untrusted == dict.fromkeys(BOTH, "not reached: interrupted by the user")
    assert run.boots == 1


def test_ctrl_c_with_a_dead_device_doubts_the_newest_trace(rig):
    run = rig(System(interrupts=RECV, sync=BootLost("gone"), sync_from=2)).run(*BOTH)
    why = "interrupted by the user"
    assert run.untrusted == dict.fromkeys(BOTH, f"the device's trace ends before this scenario: {why}")
    assert set(run.doubts) == set(BOTH)


def test_this_machines_trouble_ends_the_run_and_what_was_judged_is_kept(rig):
    trouble = HostTrouble("cannot write kmsg.log: No space left on device")
    runner = rig(System(does={RECV: raises(trouble)}))
    run = runner.run(SEND, RECV, VIRTIO)
    assert run.untrusted == {RECV: str(trouble), VIRTIO: f"not reached: {trouble}"}
    assert run.notes == (str(trouble),) and run.boots == 1
    assert run.observations[SEND].ret == 8


def test_this_machines_trouble_with_a_dead_device_doubts_the_newest_trace(rig):
    system = System(does={RECV: raises(HostTrouble("full"))}, sync=BootLost("gone"), sync_from=2)
    assert rig(system).run(*BOTH).untrusted[SEND] == "the device's trace ends before this scenario: full"


def test_a_second_ctrl_c_costs_nothing(rig, monkeypatch):
    def twice(session, number, scenario):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            monkeypatch.setattr(type(session), "sync_device", lambda _: os.kill(os.getpid(), signal.SIGINT))

    assert SEND in trusted(rig(System(does={RECV: twice})).run(*BOTH))


def test_this_machines_trouble_before_the_first_scenario_reaches_none(rig):
    run = rig(System(prepare=HostTrouble("the disk is full"))).run(*BOTH)
    assert run.untrusted == dict.fromkeys(BOTH, "not reached: the disk is full")
    assert run.notes == ("the disk is full",) and run.boots == 1


def test_a_log_that_cannot_be_written_is_named(rig, tmp_path):
    run = rig(System(leave=OSError(errno.ENOSPC, "No space left on device"))).run(*BOTH)
    assert run.notes == (
        f"cannot write {tmp_path}/kmsg.log: No space left on device; free some space there, or set TMPDIR to another "
        "place",
    )
    assert trusted(run) == set(run.observations) == set(BOTH)


def test_a_log_that_cannot_be_written_is_not_named_twice(rig):
    def both(session, number, scenario):
        raise BootLost("the first")

    run = rig(System(does={SEND: both}, leave=OSError(errno.ENOSPC, "full"))).run(*BOTH)
    assert run.notes == ("boot 1: the first",)
    assert run.untrusted[RECV] == "not reached: boot 1: the first"


# The way through the scenarios


def test_destructive_scenarios_come_last_with_the_console_muted(rig):
    runner = rig()
    runner.run(SEND, RECV, VIRTIO, destructive=(SEND,))
    asked = runner.sessions[0].asked
    assert [id_ for id_ in asked if id_ in (SEND, RECV, VIRTIO)] == [RECV, VIRTIO, SEND]
    assert runner.sessions[0].muted == [True, False]


def test_the_console_is_not_muted_without_destructive_scenarios(rig):
    runner = rig()
    runner.run(*BOTH)
    assert runner.sessions[0].muted == []


def test_the_policy_changes_as_rarely_as_the_order_lets_it(rig):
    pio = "heap/master_send/dmasafe:pio/16"
    pio_too = "heap/master_send/dmasafe:pio/17"
    runner = rig()
    runner.run(SEND, pio, RECV, pio_too)
    asked = [id_ for id_ in runner.sessions[0].asked if id_ in (SEND, RECV, pio, pio_too)]
    assert asked in ([SEND, RECV, pio, pio_too], [RECV, SEND, pio, pio_too]) or asked[:2] == [pio, pio_too]


def test_no_more_scenarios_are_under_way_than_can_be_lost(rig):
    runner = rig(System(at_once=3))
    assert trusted(runner.run(*MANY)) == set(MANY)
    assert runner.sessions[0].most_waiting == WINDOW


def test_a_time_out_makes_the_runner_ask_the_controls_before_it_goes_on(rig):
    runner = rig(System(does={MANY[0]: timed_out}))
    run = runner.run(*MANY)
    asked = runner.sessions[0].asked
    assert run.untrusted == {}
    # Those under way come first; the last one was not sent.
    after = [control.id for control in CONTROLS]
    at = asked.index(MANY[WINDOW - 1])
    assert asked[at + 1 : at + 2 + len(after)] == [*after, MANY[-1]]


def test_a_device_that_lies_after_a_time_out_ends_the_batch(rig):
    """Nothing more is asked, nothing of the boot is trusted, and what was not asked was not reached."""
    runner = rig(System(does={MANY[0]: timed_out, CONTROL: only_once_more(wrong_data)}), limits=Limits(boots=1))
    run = runner.run(*MANY, VIRTIO, destructive=[VIRTIO])
    unasked = {MANY[-1], VIRTIO}
    assert unasked.isdisjoint(runner.sessions[0].asked) and runner.sessions[0].muted == []
    assert all("went wrong" in run.untrusted[id_] for id_ in MANY[:-1])
    assert {run.untrusted[id_] for id_ in unasked} == {"not reached: the run ended before"}


def test_a_control_that_timed_out_is_the_last_one_asked(rig):
    runner = rig(System(does={CONTROL: timed_out}), limits=Limits(fruitless_boots=1))
    runner.run(*BOTH)
    assert runner.sessions[0].asked == [CANARY, SECOND_CANARY, CONTROL]


def test_controls_are_those_of_the_adapters_that_are_there(rig):
    runner = rig(System(adapters={"dmasafe": 1}))
    assert runner.run(*BOTH).untrusted == {}
    assert not any("virtio" in id_ for id_ in runner.sessions[0].asked)


def test_an_answer_to_nothing_makes_a_boot_untrusted(rig):
    def twice(session, number, scenario):
        session._waiting.appendleft({**session.sent[-1], "seq": 999})
        return sound(session, number, scenario)

    runner = rig(System(does={SEND: only_at_first(twice)}))
    run = runner.run(*BOTH)
    assert set(run.untrusted) == set(BOTH)
    assert all("an answer to nothing asked: {'re': 'run', 'seq': 999" in why for why in run.untrusted.values())


def test_an_answer_to_nothing_is_no_canarys(rig):
    def twice(session, number, scenario):
        session._waiting.append({**session.sent[-1], "seq": 999})
        return sound(session, number, scenario)

    canary = canaries(rig().facts)[0].scenario.id
    run = rig(System(does={canary: only_at_first(twice)})).run(*BOTH)
    assert all("an answer to nothing asked" in why for why in run.untrusted.values()) and set(run.untrusted) == set(
        BOTH
    )


def test_a_guest_that_is_lost_between_scenarios_leaves_those_before_unchecked(rig):
    """After a time-out the controls are asked, and the guest does not live through them."""
    dying = System(does={MANY[0]: timed_out, CONTROL: only_once_more(raises(BootLost("the guest died")))})
    run = rig(dying, System()).run(*MANY)
    assert set(run.doubts.values()) == {"the checks after the last scenario were not made: the guest died"}
    assert set(run.doubts) == set(MANY[:WINDOW])


@pytest.mark.parametrize("reply", [{"re": "read"}, {"seq": None}, {"seq": "x"}, {"seq": 1}])
def test_an_answer_that_is_none_is_not_taken_for_one(rig, reply):
    system = System(does={SEND: lambda s, n, c: {**sound(s, n, c), **reply}, RECV: raises(BootLost("silence"))})
    run = rig(system, System()).run(*BOTH)
    assert SEND in run.untrusted
    assert run.notes[-1].startswith("boot 1: an answer to nothing asked")


def test_at_most_three_notes_of_a_boot_are_kept(rig):
    def noisy(session, number):
        for text in "abcd":
            session.gathered.violation(text)

    run = rig(System(does={SEND: then(noisy)})).run(*BOTH)
    assert run.notes == ("boot 1: a", "boot 1: b", "boot 1: c")


def test_a_board_has_sessions_not_boots(rig):
    runner = rig(System(does={SEND: raises(BootLost("the link is cut"))}), System(), word="session")
    run = runner.run(*BOTH)
    assert run.notes == ("session 1: the link is cut",)
    assert runner.heard.stages == ["session", "scenarios", "session 2", "scenarios"]


def test_a_device_that_lies_only_once_is_not_believed_afterwards(rig):
    """Whatever the controls say at the end."""
    lies = {MANY[0]: timed_out, CONTROL: lambda s, n, c: (wrong_data if s.answered[CONTROL] == 1 else sound)(s, n, c)}
    run = rig(System(does=lies)).run(*MANY)
    assert all("went wrong" in why for why in run.untrusted.values()) and set(run.untrusted) == set(MANY)


def test_a_boots_reason_stands_before_a_time_out(rig):
    late = lambda s, n, c: starved(1.6)(s, n) or timed_out(s, n, c)  # noqa: E731
    run = rig(System(does={SEND: late}, files={"disabled": "Y"})).run(*BOTH)
    assert {why[:21] for why in run.untrusted.values()} == {"dma-debug is disabled"}


def test_what_the_device_tells_at_last_belongs_to_its_scenarios(rig):
    """Also if the canary fell silent, so that no control asks for it."""
    run = rig(System(does={CANARY: only_once_more(silent)})).run(*BOTH)
    assert [len(run.observations[id_].bus) for id_ in BOTH] == [1, 1]


def test_one_scenario_less_is_no_fruit_of_a_boot_that_lost_it(rig):
    run = rig(System(does={SEND: raises(BootLost("died"))}), limits=Limits(fruitless_boots=1)).run(*BOTH)
    assert run.untrusted == {SEND: "died", RECV: "not reached: boot 1: died"}


# Scenarios that spend their boot


def test_what_spends_a_boot_has_one_of_its_own_after_the_others(rig):
    other = SPENDING.replace("/32+", "/33+")
    runner = rig(System(does={SPENDING: splats(DISABLED), other: splats(DISABLED)}))
    run = runner.run(SPENDING, SEND, other, RECV)
    asked = [[id_ for id_ in session.asked if id_ in (SPENDING, other, *BOTH)] for session in runner.sessions]
    assert asked == [[SEND, RECV], [SPENDING], [other]]
    assert run.untrusted == {} and run.boots == 3


def test_dma_debug_is_not_asked_after_it_was_spent(rig):
    runner = rig(System(does={SPENDING: splats(DISABLED)}, files={"disabled": "Y", "error_count": "99"}))
    assert runner.run(SPENDING).untrusted == {}
    assert runner.sessions[0].asked.count(CANARY) == 1 and runner.sessions[0].requests == ["kmsg"]


def test_without_dma_debug_nothing_is_spent(rig):
    runner = rig(System(facts=WITHOUT_DMA_DEBUG), facts=WITHOUT_DMA_DEBUG)
    runner.run(SPENDING)
    assert runner.sessions[0].asked.count(SECOND_CANARY) == 2


def test_a_log_that_was_lost_in_a_spent_boot_is_noticed(rig):
    run = rig(System(does={SPENDING: splats(DISABLED)}, request=overwritten)).run(SPENDING)
    assert run.untrusted == {SPENDING: "the kernel overwrote log records before they were read"}


def test_a_device_that_cannot_tell_everything_after_a_spent_boot_is_noticed(rig):
    runner = rig(System(does={SPENDING: splats(DISABLED)}, sync=BootLost("the device died"), sync_from=2))
    run = runner.run(SPENDING)
    assert run.notes == ("boot 1: the device died",)


# What is asked of the agent


def test_a_request_names_adapter_policy_and_call(rig):
    runner = rig()
    runner.run(SEND, "heap/master_send/virtio/16")
    first = next(message for message in runner.sessions[0].sent if "len=16" in message["line"])
    assert (first["op"], first["adapter"], first["set"]) == ("run", "virtio", "")
    second = next(m for m in runner.sessions[0].sent if m["set"].startswith("policy=bounce"))
    assert second["adapter"] == "dmasafe" and "rebind" not in second
    numbers = [message["seq"] for message in runner.sessions[0].sent]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_fault_that_shows_when_the_driver_goes_has_it_bound_again(rig):
    runner = rig(System(does={REBINDING: lambda s, n, c: {**sound(s, n, c), "rebound": True}}))
    run = runner.run(REBINDING, FAULTY)
    marked = {m["seq"]: m.get("rebind") for m in runner.sessions[0].sent if "fault=none" not in m["set"] and m["set"]}
    assert list(marked.values()) == [1, None]
    assert run.observations[REBINDING].lost is None


def test_the_agent_is_told_when_to_unbind_a_driver(rig):
    runner = rig(System(adapters={"virtio": 0, "dmasafe": 1, "at91": 2}))
    leaving = "heap/master_send/at91/8+hardware=busy+meanwhile=unbind"
    runner.run(leaving, "heap/master_send/at91/8")
    told = [message.get("meanwhile") for message in runner.sessions[0].sent if message["adapter"] == "at91"]
    assert told == ["unbind", None]
    # Longer than a driver waits that was cut off.
    assert next(m["timeout_ms"] for m in runner.sessions[0].sent if m.get("meanwhile")) > 5400


def test_a_driver_that_does_not_come_back_is_inconclusive(rig):
    run = rig().run(REBINDING)
    assert judge(SAFE, run.observations[REBINDING]).verdict is Verdict.INCONCLUSIVE
