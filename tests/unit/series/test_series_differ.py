# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way a row went. Every answer decides whether a series is called worse."""

from dataclasses import replace

import pytest
from series_rig import READ, SEND, caught, lost, refused, results, safe, silent, skipped, splat

from dmasafe.dmesg.classes import SPLAT_CLASSES
from dmasafe.outcome import Outcome, Verdict
from dmasafe.series import differ
from dmasafe.series.differ import Kind
from dmasafe.vocabulary import BUFFER_KINDS, USER

CAUGHT, SILENT, REFUSED = Outcome.CAUGHT, Outcome.SILENT, Outcome.REFUSED
STACK = "stack/master_send/virtio/8"


def kind(before, after, id_=SEND):
    """Of one row, by the judgements of the base's runs and of the tip's."""
    return differ.differing({id_: before}, {id_: after}).get(id_)


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ([safe()], [safe()], None),
        ([safe()], [caught()], Kind.WORSE),
        ([safe()], [silent()], Kind.WORSE),
        ([caught(expected=CAUGHT)], [silent(expected=CAUGHT)], Kind.WORSE),
        # The model does not know of the mend.
        ([caught(expected=CAUGHT)], [safe(False, expected=CAUGHT)], Kind.BETTER),
        ([silent(expected=SILENT)], [caught(expected=SILENT)], Kind.BETTER),
        ([silent()], [safe()], Kind.BETTER),
        # The device still takes the memory that was reported.
        ([caught(expected=CAUGHT)], [safe(True, expected=CAUGHT)], Kind.WORSE),
        # The model expects that nothing is reported: another kernel, another expectation.
        ([caught(expected=CAUGHT)], [safe(True)], Kind.BETTER),
        # Mapped before, bounced now.
        ([safe(True)], [safe(False, expected=CAUGHT)], Kind.WORSE),
        ([safe(True)], [safe(False)], Kind.OTHER),
        ([caught(expected=CAUGHT)], [caught(splat("other"), expected=CAUGHT)], Kind.OTHER),
        ([caught(expected=CAUGHT)], [caught(splat(splat_class="map-stack"))], Kind.WORSE),
        # Broken before.
        ([caught()], [caught()], None),
        ([safe()], [lost()], Kind.UNSAID),
        ([lost()], [safe()], Kind.UNSAID),
        ([safe()], [skipped()], Kind.GONE),
        ([safe()], [], Kind.GONE),
        ([skipped()], [safe()], None),
        ([skipped()], [caught()], Kind.WORSE),
        ([skipped()], [skipped()], None),
        ([], [safe()], None),
        ([], [lost()], Kind.UNSAID),
        ([lost()], [skipped()], Kind.GONE),
        ([lost()], [caught()], Kind.UNSAID),
        # A report more, of a row that went wrong before.
        ([caught()], [caught(splat(), splat(splat_class="map-stack"))], Kind.WORSE),
        ([caught()], [caught(splat("renamed"))], Kind.OTHER),
        ([refused()], [safe(expected=REFUSED)], Kind.BETTER),
        ([safe()], [refused(expected=Outcome.SAFE)], Kind.WORSE),
    ],
)
def test_a_row_goes_one_way(before, after, wanted):
    assert kind(before, after) is wanted


def test_a_seeded_mistake_that_nobody_notices_any_more_is_worse():
    id_ = "heap/master_send/dmasafe:bounce/8+fault=map-stack"
    assert kind([caught(expected=CAUGHT)], [safe(expected=CAUGHT)], id_) is Kind.WORSE

    before = [refused()]
    assert kind(before, [safe(expected=REFUSED)], id_) is Kind.WORSE
    # There it never was noticed in time.
    assert kind([silent(expected=SILENT)], [safe(expected=SILENT)], id_) is Kind.BETTER


def test_an_answer_of_nobody_is_worse():
    id_ = "user/i2cdev_smbus/virtio/0@77+protocol=quick+rd=0"
    assert kind([refused()], [safe(expected=REFUSED)], id_) is Kind.WORSE
    assert kind([caught(expected=REFUSED)], [safe(expected=REFUSED)], id_) is Kind.WORSE
    assert kind([silent(expected=REFUSED)], [safe(expected=REFUSED)], id_) is Kind.BETTER
    # The model knows of the report that is gone.
    assert kind([caught(expected=CAUGHT)], [refused(expected=CAUGHT)], id_) is Kind.BETTER


@pytest.mark.parametrize("expected", [Outcome.SAFE, CAUGHT])
def test_what_no_device_may_take_is_worse_when_one_does(expected):
    """Whatever the model expects: it takes what the series made of the configuration for given."""
    after = [safe(True, expected=expected)]
    for before in ([caught(expected=CAUGHT)], [safe(False, expected=expected)], [safe(None)], [refused()]):
        assert kind(before, after, STACK) is Kind.WORSE
    assert kind([replace(caught(expected=CAUGHT), direct=True)], after, STACK) is Kind.WORSE
    # Something else is taken.
    assert kind([caught(expected=CAUGHT)], [safe(False, expected=expected)], STACK) is Kind.BETTER
    # It was taken before, and went wrong.
    assert kind([replace(silent(), direct=True)], after, STACK) is Kind.BETTER


def test_another_report_of_what_the_device_took_before_is_worse():
    before = [safe(True)]
    assert kind(before, [replace(caught(splat(splat_class="map-stack")), direct=True)], STACK) is Kind.BETTER
    for others in ([splat(splat_class="kasan")], [splat(splat_class="map-stack"), splat(splat_class="free-size")]):
        assert kind(before, [replace(caught(*others), direct=True)], STACK) is Kind.WORSE
    assert kind(before, [replace(silent(), direct=True)], STACK) is Kind.WORSE


def test_a_mistake_of_who_maps_is_corrected_whatever_the_model_expects():
    """Its report is gone, and the device takes the same memory as it should: the model knows of the mistake."""
    before = [replace(caught(splat(splat_class="free-size"), expected=CAUGHT), direct=True)]
    assert kind(before, [safe(True, expected=CAUGHT)]) is Kind.BETTER
    # That memory is shared is true whoever maps it.
    shared = [replace(caught(splat(splat_class="cacheline-overlap"), expected=CAUGHT), direct=True)]
    assert kind(shared, [safe(True, expected=CAUGHT)]) is Kind.WORSE
    # Lines are shared with what is left mapped, too; of what kind the memory is does not depend on that.
    for other, wanted in (("cacheline-overlap", Kind.BETTER), ("map-invalid-area", Kind.WORSE)):
        splats = splat(splat_class="free-unallocated"), splat(splat_class=other)
        assert kind([replace(caught(*splats, expected=CAUGHT), direct=True)], [safe(True, expected=CAUGHT)]) is wanted


@pytest.mark.parametrize("expected", [CAUGHT, Outcome.SAFE])
def test_a_report_less_beside_another_is_better_unless_it_was_of_the_memory(expected):
    both = [splat(splat_class="map-stack"), splat(splat_class="free-size")]
    before = [caught(*both, expected=CAUGHT)]
    assert kind(before, [caught(both[0], expected=expected)]) is Kind.BETTER
    wanted = Kind.OTHER if expected is CAUGHT else Kind.WORSE
    assert kind(before, [caught(both[1], expected=expected)]) is wanted
    assert kind(before, [caught(both[0], splat(splat_class="kasan"), expected=expected)]) is wanted
    shared = [caught(splat(splat_class="cacheline-overlap"), both[1], expected=CAUGHT)]
    assert kind(shared, [caught(both[1], expected=expected)]) is wanted
    # There somebody seeded it.
    assert kind(before, [caught(both[0], expected=expected)], f"{SEND}+fault=free-size") is wanted


@pytest.mark.parametrize(
    ("id_", "wanted"),
    [
        ("heap/master_send/stm32f7/22", Kind.OTHER),
        ("heap/master_recv/stm32f7/22", Kind.OTHER),
        ("user/i2cdev_write/stm32f7/32+meanwhile=unbound", Kind.OTHER),
        ("user/i2cdev_read/stm32f7/32", Kind.OTHER),
        ("heap/transfer/stm32f7/22+dma_safe=0", Kind.OTHER),
        ("heap/transfer/stm32f7/22+dma_safe=1", Kind.WORSE),
        ("heap/master_send_dmasafe/stm32f7/22", Kind.WORSE),
        (SEND, Kind.WORSE),
    ],
)
def test_a_host_that_copies_what_nobody_marked_is_not_worse(id_, wanted):
    assert kind([safe(True)], [safe(False, expected=CAUGHT)], id_) is wanted
    # Nobody saw which way it goes, or went.
    assert kind([safe(True)], [safe(None, expected=CAUGHT)], id_) is Kind.WORSE
    assert kind([safe(None)], [safe(False, expected=CAUGHT)], id_) is Kind.WORSE


def test_a_copy_less_is_better_where_none_is_needed():
    before, after = [safe(False)], [safe(True, expected=CAUGHT)]
    assert kind(before, after, READ) is kind(before, after, SEND) is Kind.BETTER
    assert kind(before, after, "stack/master_send/virtio/8") is Kind.WORSE


@pytest.mark.parametrize("buffer", [*BUFFER_KINDS, USER.name])
def test_of_each_buffer_it_is_known_whether_a_device_may_take_it(buffer):
    id_, takes = f"{buffer}/master_send/virtio/8", [safe(True, expected=CAUGHT)]
    fit = buffer in ("heap", "devm", "kmem-cache", "pages", "user")
    assert kind([safe(False)], takes, id_) is (Kind.BETTER if fit else Kind.WORSE)
    unfit = buffer in ("stack", "rodata", "module-rodata", "module-data", "vmalloc")
    assert kind([safe(True)], [replace(caught(), direct=True)], id_) is (Kind.BETTER if unfit else Kind.WORSE)


def test_of_each_report_it_is_known_whether_it_is_of_the_memory():
    before, after = (
        [safe(True)],
        {name: [replace(caught(splat(splat_class=name)), direct=True)] for name in SPLAT_CLASSES},
    )
    assert {name for name in after if kind(before, after[name], STACK) is Kind.BETTER} == {
        "map-stack", "map-vmalloc", "map-vmalloc-rejected", "map-invalid-area", "map-text-or-rodata",
        "usb-buffer-on-stack", "usb-buffer-not-dma-capable", "strict-memory",
    }  # fmt: skip


def test_a_report_of_what_the_device_took_before_is_better_where_none_may():
    before, after = [safe(True)], [replace(caught(), direct=True)]
    assert kind(before, after, "rodata/master_send/virtio/8") is Kind.BETTER
    # It may; it took a copy before; or it does not take it any more.
    assert kind(before, after, "heap/master_send/virtio/8") is Kind.WORSE
    assert kind([safe(False)], after, "stack/master_send/virtio/8") is Kind.WORSE
    assert kind(before, [caught()], "stack/master_send/virtio/8") is Kind.WORSE


def test_what_went_as_before_and_is_judged_otherwise_is_told_by_the_judgement():
    """Memory of which no rule says whether a device may take it: what the model expects of another way."""
    before, after = "coherent/master_send/virtio/8", [safe(True, expected=CAUGHT)]
    assert kind([safe(False)], after, before) is Kind.WORSE
    assert kind([safe(False, expected=CAUGHT)], [safe(True)], before) is Kind.BETTER
    # Nobody saw which way it went.
    assert kind([safe(False)], [safe(None, expected=CAUGHT)]) is Kind.WORSE
    # Another report of the same memory, as expected.
    one, other = (replace(caught(splat(splat_class=name), expected=CAUGHT), direct=True) for name in ("map-stack", "x"))
    assert kind([one], [other], STACK) is Kind.OTHER
    # The same doings: it is the model that changed its mind.
    assert kind([safe(True)], [safe(True, expected=CAUGHT)]) is None


def test_repetitions_tell_flaky_from_changed():
    assert kind([safe()] * 3, [caught()] * 3) is Kind.WORSE
    assert kind([safe()] * 3, [caught(), safe(), safe()]) is Kind.FLAKY
    # It was before.
    assert kind([safe(), caught(), safe()], [caught(), safe(), safe()]) is None
    assert kind([safe(), caught()], [caught(), caught()]) is None
    # It did worse now and then.
    assert kind([safe(), silent()], [caught(), caught()]) is Kind.BETTER
    # Better now and then is no news.
    assert kind([caught()] * 2, [safe(), caught()]) is None
    # Of several that are new, the worst way counts, in whatever order.
    ways = [safe(False), safe(True, expected=CAUGHT)]
    assert kind([safe()] * 2, ways) is kind([safe()] * 2, ways[::-1]) is Kind.WORSE
    assert kind([skipped()] * 2, [caught(), safe()]) is Kind.FLAKY


def test_what_is_lost_now_and_then_is_no_pass():
    assert kind([safe()] * 3, [lost(), safe(), safe()]) is Kind.UNSAID
    assert kind([caught()] * 3, [lost(), safe(), safe()]) is Kind.UNSAID
    assert kind([safe()] * 3, [lost(), caught(), safe()]) is Kind.FLAKY
    assert kind([safe()] * 3, [lost(), caught(), caught()]) is Kind.WORSE
    # Better now and then, and lost now and then.
    assert kind([caught()] * 3, [lost(), safe(), caught()]) is Kind.UNSAID
    (one,) = differ.changed({SEND: [caught()] * 3}, {SEND: [safe(), lost("it hung"), caught()]})
    assert (one.kind, one.after, one.why, one.again) == (Kind.UNSAID, "INCONCLUSIVE", "it hung", (1, 3))
    # At the base, too: it is the machine.
    assert kind([safe(), lost(), safe()], [lost(), safe(), safe()]) is None
    (one,) = differ.changed({SEND: [safe()] * 3}, {SEND: [safe(), lost("the guest hung"), safe()]})
    assert (one.kind, one.before, one.after, one.why, one.again) == (
        Kind.UNSAID, "SAFE", "INCONCLUSIVE", "the guest hung", (1, 3),
    )  # fmt: skip


def test_what_a_busy_machine_does_once_is_no_news():
    was, odd = [safe()] * 6, refused(expected=Outcome.SAFE)
    for one, told in ((odd, "REFUSED"), (lost("it hung"), "INCONCLUSIVE")):
        after = [one, *[safe()] * 5]
        assert kind(was, after) is Kind.OTHER and kind(was[:5], after[:5]) in (Kind.FLAKY, Kind.UNSAID)
        assert differ.once({SEND: was[:2]}, {SEND: after[:2]}) == {SEND}
        (found,) = differ.changed({SEND: was}, {SEND: after})
        assert (found.before, found.after, found.again) == ("SAFE", told, (1, 6))
        # Twice is not once, and none of it was at the base.
        assert kind(was, [one, one, *was[2:]]) in (Kind.FLAKY, Kind.UNSAID)
        assert (
            differ.once({SEND: was[:1]}, {SEND: after[:1]})
            == differ.once({SEND: [one, safe()]}, {SEND: after})
            == set()
        )
    assert kind(was, [odd, lost(), *was[2:]]) is Kind.FLAKY
    # A report of the kernel's and wrong data are no machine's.
    for one in (caught(), silent()):
        assert kind(was, [one, *was[1:]]) is Kind.FLAKY and not differ.once({SEND: was}, {SEND: [one, *was[1:]]})


def test_a_run_that_is_not_trusted_has_no_word():
    for run in (results({SEND: safe()}, canary=False), results({SEND: safe()}, reason="the guest hung")):
        found = differ.differing(differ.judgements([results({SEND: safe()})]), differ.judgements([run]))
        assert found == {SEND: Kind.UNSAID}
        (why,) = {one.why for one in differ.judgements([run])[SEND]}
        assert why == (run.reason or "the canary did not splat")
        # What was lost says nothing of the base either, whatever it was before the run was.
        wrong = differ.judgements([replace(run, rows=results({SEND: silent()}).rows), results({SEND: safe()})])
        (one,) = differ.changed(wrong, {SEND: [caught()] * 2})
        assert (one.kind, one.before) == (Kind.WORSE, "SAFE")
        assert differ.said(wrong[SEND][0]) == "INCONCLUSIVE"
    # What is skipped needs no trust.
    found = differ.judgements([results({SEND: skipped()}, canary=False)])
    assert found[SEND][0].verdict is Verdict.SKIP


def test_rows_of_the_same_are_told_once():
    ids = [f"heap/master_send/virtio/{n}" for n in range(1, 5)]
    before = {id_: [safe()] for id_ in ids}
    after = {ids[0]: [caught()], ids[1]: [caught(), caught()], ids[2]: [caught(), safe()], ids[3]: [safe()]}
    one, two = differ.changed(before, after)
    assert (one.kind, one.ids, one.before, one.after) == (
        Kind.WORSE, (ids[0], ids[1]), "SAFE", "CAUGHT (map-vmalloc-rejected)",
    )  # fmt: skip
    assert one.blame == "payload_map [dmasafe_controller]" and one.function == "payload_map" and one.unexpected
    assert (two.kind, two.ids, two.again) == (Kind.FLAKY, (ids[2],), (1, 2))


def test_rows_are_told_in_the_order_of_the_tip_and_the_worst_first():
    ids = [f"heap/master_send/virtio/{n}" for n in (32, 1, 8, 256)]
    before = {ids[1]: [safe()], ids[0]: [safe(), caught()], ids[2]: [caught()], "gone": [safe()]}
    after = {ids[0]: [silent()], ids[1]: [caught(), silent()], ids[2]: [safe()], ids[3]: [caught()]}
    assert list(differ.differing(before, after).items()) == [
        (ids[0], Kind.WORSE), (ids[1], Kind.WORSE), (ids[2], Kind.BETTER), (ids[3], Kind.WORSE), ("gone", Kind.GONE),
    ]  # fmt: skip
    found = differ.changed(before, after)
    assert [(one.kind, one.before, one.after) for one in found] == [
        (Kind.WORSE, "CAUGHT (map-vmalloc-rejected)", "SILENT"),
        (Kind.WORSE, "SAFE", "SILENT"),
        (Kind.WORSE, "nothing", "CAUGHT (map-vmalloc-rejected)"),
        (Kind.GONE, "SAFE", "nothing"),
        (Kind.BETTER, "CAUGHT (map-vmalloc-rejected)", "SAFE"),
    ]
    # Of the better one the model has nothing to explain.
    assert [bool(one.why) for one in found] == [True, True, True, True, False]
    more = {id_: [caught()] for id_ in ids[1:3]}
    (many, one) = differ.changed({id_: [safe()] for id_ in ids[:3]}, {ids[0]: [silent()], **more})
    assert (many.ids, one.ids) == (tuple(ids[1:3]), (ids[0],))


def test_the_way_that_is_told_is_the_worst():
    (one,) = differ.changed({READ: [safe(None)]}, {READ: [safe(False), safe(True, expected=CAUGHT)]})
    assert (one.kind, one.after, one.unexpected) == (Kind.WORSE, "SAFE, straight from the caller's buffer", True)


def test_the_blame_is_of_the_report_that_is_new():
    old, new = splat("payload_map"), splat("other_map", "map-stack")
    (one,) = differ.changed({SEND: [caught(old)]}, {SEND: [caught(old, new)]})
    assert (one.kind, one.function) == (Kind.WORSE, "other_map")
    # It was not as the model expects before, either; and what is as it expects is not unexpected.
    assert not one.unexpected
    (one,) = differ.changed({}, {SEND: [caught(new)]})
    assert (one.kind, one.unexpected) == (Kind.WORSE, True)
    (one,) = differ.changed({SEND: [safe(True)]}, {SEND: [safe(False)]})
    assert (one.kind, one.unexpected) == (Kind.OTHER, False)


def test_of_rows_together_the_one_seen_least_is_counted():
    ids = (SEND, READ)
    (one,) = differ.changed(
        dict.fromkeys(ids, [safe()] * 3), {SEND: [caught()] * 3, READ: [lost(), caught(), caught()]}
    )
    assert one.again == (2, 3)


def test_what_is_not_judged_says_why():
    (one,) = differ.changed({SEND: [safe()]}, {SEND: [lost("its probe failed")]})
    assert (one.kind, one.after, one.why) == (Kind.UNSAID, "INCONCLUSIVE", "its probe failed")
    (one,) = differ.changed({SEND: [lost("its probe failed")]}, {SEND: [safe()]})
    assert (one.kind, one.before, one.after, one.why) == (Kind.UNSAID, "INCONCLUSIVE", "SAFE", "its probe failed")


def test_what_is_broken_in_both_is_a_number():
    before, after = {SEND: [caught()], READ: [safe()]}, {SEND: [caught()], READ: [safe()]}
    assert (differ.broken_in_both(before, after), differ.compared(before, after)) == (1, 2)
    assert differ.compared({SEND: [lost()]}, {SEND: [safe()]}) == 0
    assert differ.compared({SEND: [safe()]}, {SEND: [lost()]}) == 0
    assert differ.broken_in_both({SEND: [caught(), safe()]}, {SEND: [safe(), caught()]}) == 1
    # It fails otherwise than before: that is told by itself.
    assert differ.broken_in_both({SEND: [caught()]}, {SEND: [silent()]}) == 0


def times(base, **factors):
    """A run: calls of two kinds on one controller, slower by a factor each."""
    return results({
        f"heap/{name}/virtio/{n}": safe(us=base * factors.get(name, 1.0) * (1 + n / 50))
        for name in ("master_send", "master_recv") for n in range(20)
    })  # fmt: skip


def test_a_busy_machine_is_not_slower_and_one_call_is():
    assert differ.slower([times(50.0)], [times(200.0)]) == {}
    assert differ.slower([times(50.0)], [times(50.0, master_send=1.9)]) == {}
    assert differ.slower([times(50.0)], [times(50.0, master_send=2.1)])
    ((name, (factor, ids)),) = differ.slower([times(50.0)], [times(80.0, master_send=3.0)]).items()
    assert (name, len(ids)) == ("master_send on virtio", 20) and factor > 1.5
    # Nobody would call it noise, and it is not the machine.
    assert differ.slower([times(50.0)], [times(50.0, master_send=2.6)])
    assert differ.slower([], []) == {}


def test_slower_is_what_was_timed_and_went_well():
    def some(run, rows=20, change=lambda number, judgement: judgement):
        found = [one for one in run.rows if "recv" in one.id or int(one.id.split("/")[-1]) < rows]
        return replace(run, rows=tuple(replace(one, judgement=change(n, one.judgement)) for n, one in enumerate(found)))

    base, slow = times(50.0), times(50.0, master_send=3.0)
    # Of too few rows nothing is said, nor of a few that had to wait.
    assert differ.slower([some(base, 7)], [some(slow, 7)]) == {} != differ.slower([some(base, 8)], [some(slow, 8)])
    waited = some(base, change=lambda n, one: replace(one, us=one.us * (9 if n < 10 else 1)))
    assert differ.slower([base], [waited]) == {}
    # An error takes as long as it takes; what was not timed was not.
    errors = some(slow, change=lambda n, one: replace(refused(), us=one.us) if n < 20 else one)
    assert differ.slower([base], [errors]) == {}
    untimed = some(base, change=lambda n, one: replace(one, us=None if n else 0.0))
    assert differ.slower([untimed], [slow]) == differ.slower([base], [untimed]) == {}
    # Of several runs each row's best counts, of those that all have.
    assert differ.slower([base] * 2, [base, slow]) == differ.slower([base] * 2, [slow, base]) == {}
    ((_, (_, ids)),) = differ.slower([base, some(base, 9)], [slow, some(slow, 9)]).items()
    assert len(ids) == 9


def test_references_are_some_of_each_part_of_a_run():
    rows = {f"heap/master_send/virtio/{n:03}": safe(us=50.0) for n in range(4 * differ.REFERENCES)}
    run = [results(rows)]
    slow = set(list(rows)[:8])
    found = differ.references(run, run, slow)
    assert differ.REFERENCES <= len(found) <= 2 * differ.REFERENCES and not found & slow
    assert {id_[-3] for id_ in found} == {"0", "1"} and found <= rows.keys()
