# SPDX-License-Identifier: GPL-2.0-or-later
"""What a record of the audit's module means, and what of it is not believed.

The fixture was recorded on 6.12: docs/examples/buggy at 0x30, at24 at 0x50, the dmasafe controller with policy pio.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.audit import MEMORY_CLASSES, AuditError, Dma, Level, judge, merge, parse
from dmasafe.outcome import Frame, Splat

RECORDED = (Path(__file__).parents[1] / "fixtures/audit/recorded-6.12-thermo-and-at24.json").read_text()
RECORD = parse(RECORDED)
RELEASE = "6.12.117"


def changed(number=None, **values):
    """The recording with some values of one line changed; line 0 is the head."""
    lines = [json.loads(line) for line in RECORDED.splitlines()]
    lines[0 if number is None else number].update(values)
    return parse("\n".join(map(json.dumps, lines)))


def rules(record, release=RELEASE, **options):
    return [(finding.rule, finding.level) for finding in judge(record, release, **options).findings]


def only(**values):
    """The flagged read of the recording alone, changed."""
    kind = replace(RECORD.kinds[1], **values)
    return replace(RECORD, kinds=(kind,), messages=kind.count)


def test_the_recorded_mistake_is_found_at_its_caller():
    judgement = judge(RECORD, RELEASE)
    flagged = [finding for finding in judgement.findings if finding.rule == "flagged-unsafe"]
    assert [finding.kind.blamed for finding in flagged] == [Frame("temperature_show", 0x45, 0x90, "thermo")]
    assert judgement.distrust == () and judgement.status() == 1
    assert flagged[0].kind.client_driver == "thermo" and flagged[0].kind.memory_class == "stack"


def test_a_driver_behind_regmap_is_the_caller():
    assert {kind.blamed.function for kind in RECORD.kinds if kind.address == 0x50} == {"at24_read"}


def test_a_missing_mark_is_a_note_from_the_chosen_length_on_and_fails_only_if_asked():
    clean = replace(RECORD, kinds=RECORD.kinds[2:], messages=6)
    assert rules(clean) == [("needless-bounce", Level.NOTE)]
    assert judge(clean, RELEASE).status() == 0 and judge(clean, RELEASE).status(strict=True) == 1
    assert rules(clean, bounce_bytes=129) == []


@pytest.mark.parametrize("slug", MEMORY_CLASSES)
def test_a_mark_on_each_class_has_its_own_consequence(slug):
    record = only(memory_class=slug)
    status = judge(record, RELEASE).status()
    assert status == {Dma.SAFE: 0, Dma.NOTHING: 0, Dma.UNSAFE: 1, Dma.UNKNOWN: 2}[MEMORY_CLASSES[slug].dma]
    assert judge(only(memory_class=slug, dma_safe=False), RELEASE).status() == 0


def test_an_unmarked_buffer_that_was_mapped_is_the_controllers_fault_and_a_marked_one_is_not():
    assert rules(only(dma_safe=False, mapped=1)) == [("maps-unflagged", Level.ERROR)]
    assert rules(only(dma_safe=False, mapped=1, memory_class="slab")) == [("maps-unflagged", Level.ERROR)]
    assert rules(only(mapped=1, memory_class="slab")) == []


@pytest.mark.parametrize(
    ("adapter", "release", "length", "found"),
    [
        ("OSIF at bus 001 device 002", "7.2.1", 1, True),
        ("STM32F7 I2C(0x40015000)", "6.1.0", 22, True),
        ("STM32F7 I2C(0x40015000)", "6.1.0", 21, False),
        ("STM32F7 I2C(0x40015000)", "6.12.0", 22, False),
        ("some other", "5.10.0", 99, False),
    ],
)
def test_a_controller_driver_known_to_map_is_named_where_it_does(adapter, release, length, found):
    record = only(dma_safe=False, adapter_name=adapter, min_bytes=length, max_bytes=length)
    assert rules(record, release) == ([("known-to-map", Level.WARNING)] if found else [])


def test_a_shared_cache_line_is_an_error_where_dma_is_not_coherent_and_a_note_elsewhere():
    record = only(memory_class="slab", before=1, object_size=192, offset=40)
    assert rules(record) == [("shared-line", Level.NOTE)]
    assert rules(replace(record, dma_alignment=128)) == [("shared-line", Level.ERROR)]
    assert rules(replace(only(memory_class="slab", after=1), dma_alignment=128)) == []


@pytest.mark.parametrize(
    ("head", "why", "with_error"),
    [
        ({"points": ["i2c_write", "i2c_read"]}, "no tracepoint i2c_result", 1),
        ({"check": "heap is taken for pages"}, "heap is taken for pages", 2),
        ({"lost": 2, "messages": 10}, "2 of 10 messages found no room", 1),
        ({"messages": 9}, "counted 9 messages, its table has 8", 2),
    ],
)
def test_what_the_module_could_not_see_is_inconclusive_unless_an_error_was_found_that_holds(head, why, with_error):
    record = changed(**head)
    judgement = judge(record, RELEASE)
    assert judgement.status() == with_error and any(why in text for text in judgement.distrust)
    unmarked = tuple(replace(kind, dma_safe=False) for kind in record.kinds)
    clean = judge(replace(record, kinds=unmarked), RELEASE)
    assert clean.status() == clean.status(strict=True) == 2
    assert clean.status(splats=[Splat("map-stack", None, None, "")]) == with_error


def test_what_one_function_sends_from_one_kind_of_memory_is_one_finding():
    read, write = RECORD.kinds[1], replace(RECORD.kinds[1], read=False)
    (finding,) = judge(replace(RECORD, kinds=(read, write)), RELEASE).findings
    assert finding.kinds == (read, write)
    elsewhere = replace(read, frames=(Frame("probe", 1, 2, "thermo"),))
    unknown = replace(read, frames=())
    found = judge(replace(RECORD, kinds=(read, elsewhere, replace(read, memory_class="vmalloc"), unknown)), RELEASE)
    assert len(found.findings) == 4


def test_an_audit_of_nothing_is_no_pass():
    assert judge(replace(RECORD, kinds=(), messages=0), RELEASE).status() == 2


@pytest.mark.parametrize(
    ("head", "note"),
    [
        ({"points": ["i2c_write", "i2c_read", "i2c_result"]}, "no tracepoints for DMA mappings"),
        ({"unmapped": 3}, "of 3 messages it was not seen"),
        ({"callers": 0}, "cannot name callers"),
        ({"objects": 0}, "slab objects' sizes"),
        ({"image": 0}, "sections are not known"),
    ],
)
def test_what_is_not_known_is_said_and_costs_no_verdict(head, note):
    judgement = judge(changed(**head), RELEASE)
    assert judgement.status() == 1 and any(note in text for text in judgement.notes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json\n{}",
        '{"audit":2}\n{"end":0}',
        "\n".join(RECORDED.splitlines()[:-1]),
        "\n".join([*RECORDED.splitlines()[:2], '{"end":1}']),
        RECORDED.replace('"class":"stack"', '"class":"\\u001b[31mheap"'),
        RECORDED.replace('"count":1', '"count":-1'),
        RECORDED.replace('"count":1', '"count":true'),
        RECORDED.replace('"caller":0', '"caller":"0"'),
        "[" * 100000,
    ],
)
def test_a_record_that_is_cut_or_forged_is_refused(text):
    with pytest.raises(AuditError):
        parse(text)


def test_a_caller_that_is_no_frame_is_not_believed_and_an_address_stays_one():
    record = changed(1, caller=99, frame0="0xffffffff81000000")
    assert record.kinds[0].blamed == Frame("0xffffffff81000000")


def test_static_data_is_named_without_the_size_that_old_kernels_get_wrong():
    kind = changed(1, symbol="table+0x10/0xfffffffffffffb80 [thermo]").kinds[0]
    assert kind.symbol == "table+0x10 [thermo]"


def test_boots_of_one_kernel_become_one_record():
    both = merge([RECORD, RECORD])
    assert len(both.kinds) == len(RECORD.kinds) and both.messages == 16
    assert [kind.count for kind in both.kinds] == [2 * kind.count for kind in RECORD.kinds]
    assert judge(both, RELEASE).distrust == ()
    clean = replace(RECORD, kinds=RECORD.kinds[2:], messages=6)
    assert judge(merge([clean], ["a boot was lost"]), RELEASE).status() == 2
    assert judge(merge([RECORD], ["the command ended with status 1"]), RELEASE).status() == 1
    with pytest.raises(AuditError):
        merge([])
