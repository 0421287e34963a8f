# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults in Python, the faults in C and what is expected of them agree; the table says who noticed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.architecture import architecture_names, find_layout
from dmasafe.dmesg import SPLAT_CLASSES
from dmasafe.expect import expect
from dmasafe.expect.faults import ATTRS_COMPARED, FAULT_ROWS, STRICT_ROWS, UNSEEDED, FaultRow, unreachable
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.faults import FAULTS
from dmasafe.outcome import (
    BusMessage,
    CallerMessage,
    DmaSegment,
    Expectation,
    Judgement,
    Noticed,
    Observation,
    Outcome,
    Skip,
    Splat,
    Verdict,
    noticed,
)
from dmasafe.report import detection, json_report
from dmasafe.report.results import Results, Row
from dmasafe.scenario import ScenarioError, faults_suite, parse_scenario, select
from dmasafe.targets import runner
from dmasafe.targets.wire import line, observation, settings

MODULES = Path(__file__).parents[3] / "images" / "modules"
C_SOURCES = {path.name: path.read_text() for path in MODULES.glob("controller_fault*.c")}
DEFAULT = frozenset({"DMA_API_DEBUG", "DMA_API_DEBUG_SG", "VMAP_STACK", "I2C_CHARDEV", "SWIOTLB"})
VERSIONS = ((5, 10, 223), (6, 1, 192), (6, 12, 117), (7, 2, 13))


ARCHITECTURES = architecture_names()


def kernel(version=(6, 12, 117), symbols=DEFAULT, arch="x86_64"):
    return KernelFacts(arch, version, symbols)


def test_the_driver_has_every_fault_and_no_other():
    rows = [
        name for text in C_SOURCES.values() for name in re.findall(r'^\t(?:\{ |\w+_FAULT\()"([a-z-]+)"', text, re.M)
    ]
    assert len(rows) == len(set(rows))
    assert set(rows) == {*FAULTS, "none"} and FAULTS.keys() == FAULT_ROWS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_says_in_c_which_rule_it_breaks_and_who_notices(name):
    comments = [c for text in C_SOURCES.values() for c in re.findall(r"/\*.*?\*/", text, re.S)]
    assert any(re.search(rf"\b{name}[:,]", comment) or f"\n * {name}:" in comment for comment in comments)


def test_the_suite_has_each_fault_with_the_same_scenario_without_it():
    scenarios = faults_suite()
    ids = [s.id for s in scenarios]
    assert len(ids) == len(set(ids)) and [parse_scenario(id_) for id_ in ids] == scenarios
    assert {s.fault.name for s in scenarios if s.fault} == set(FAULTS)
    assert all(s.without_fault.id in ids for s in scenarios)


def cannot_be_seeded(fault, arch):
    return fault in UNSEEDED and UNSEEDED[fault][0](find_layout(arch))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("symbols", [DEFAULT, DEFAULT - {"DMA_API_DEBUG", "DMA_API_DEBUG_SG"}])
def test_something_is_expected_of_each_on_every_kernel(arch, version, symbols):
    for scenario in faults_suite():
        found = expect(scenario, kernel(version, symbols, arch))
        if scenario.fault and cannot_be_seeded(scenario.fault.name, arch):
            assert isinstance(found, Skip)
            continue
        assert isinstance(found, Expectation)
        assert set(found.classes) <= set(SPLAT_CLASSES) and bool(found.classes) is (found.outcome is Outcome.CAUGHT)
        if scenario.fault and "DMA_API_DEBUG" not in symbols:
            sources = {SPLAT_CLASSES[slug].source for slug in found.classes}
            assert not any(source.startswith("kernel/dma/debug.c") for source in sources)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_since_7_0_overlaps_are_reported_where_buffers_have_cache_lines_of_their_own(arch):
    """include/linux/dma-mapping.h dma_get_cache_alignment(): 1 without ARCH_HAS_DMA_MINALIGN, as on x86 and riscv."""
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=cacheline-overlap")
    outcomes = [expect(scenario, kernel(version, arch=arch)).outcome for version in ((6, 12, 117), (7, 2, 13))]
    assert outcomes == [Outcome.CAUGHT, Outcome.CAUGHT if arch in ("arm", "arm64") else Outcome.SAFE]


def test_what_dma_debug_can_say_is_expected_of_some_fault_or_unreachable():
    for version in VERSIONS:
        found = [expect(s, kernel(version)) for s in faults_suite()]
        expected = {slug for e in found if isinstance(e, Expectation) for slug in e.classes}
        out_of_reach = set(unreachable("x86_64", version))
        wanted = {slug for slug, row in SPLAT_CLASSES.items() if row.source.startswith("kernel/dma/debug.c")}
        assert wanted == (expected & wanted) | out_of_reach
        assert not expected & out_of_reach


def test_where_mappings_bounce_only_what_is_known_is_expected():
    facts = replace(kernel(symbols=DEFAULT | {"DMA_BOUNCE_UNALIGNED_KMALLOC"}, arch="arm64"), coherent=False)
    found = {s.fault.name: expect(s, facts) for s in faults_suite() if s.fault and s.reads}
    known = {name: e.outcome for name, e in found.items() if isinstance(e, Expectation)}
    assert known == {"unmap-early": Outcome.SILENT, "put-before-unmap": Outcome.SILENT}
    for other in ({"swiotlb": "force"}, {"iommu": True}, {"coherent": False, "swiotlb": "noforce"}):
        assert all(isinstance(expect(s, replace(kernel(), **other)), Skip) for s in faults_suite() if s.fault)


@pytest.mark.parametrize(("swiotlb", "outcome"), [(None, Outcome.SAFE), ("noforce", Outcome.CAUGHT)])
def test_overlaps_are_forgiven_where_small_memory_may_bounce(swiotlb, outcome):
    facts = replace(kernel(symbols=DEFAULT | {"DMA_BOUNCE_UNALIGNED_KMALLOC"}, arch="aarch64"), swiotlb=swiotlb)
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=cacheline-overlap")
    assert expect(scenario, facts).outcome is outcome


def test_a_fault_elsewhere_than_shown_is_skipped_not_guessed():
    found = expect(parse_scenario("stack/master_send/dmasafe:pio/8+fault=free-size"), kernel())
    assert isinstance(found, Skip) and "heap/master_recv_dmasafe/dmasafe:bounce/32" in found.why


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("heap/master_send/virtio/8+fault=free-size", "driver of controller dmasafe"),
        ("heap/master_send/dmasafe:bounce/8+fault=none", "+fault=none"),
    ],
)
def test_a_fault_that_cannot_be_seeded_is_refused(text, word):
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    assert word in str(caught.value)


def test_a_pattern_with_a_fault_goes_over_the_faults():
    assert {s.fault.name for s in select(["*+fault=sg-*"])} == {"sg-too-long", "sg-boundary"}


def test_the_fault_goes_to_the_driver_and_never_stays():
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=free-size")
    assert settings(scenario) == "policy=bounce threshold=1 fault=free-size"
    assert settings(scenario.without_fault) == "policy=bounce threshold=1 fault=none"
    assert "fault" not in line(scenario)


def test_a_driver_that_does_not_come_back_is_not_judged():
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=leak-on-release")
    reply = {"answer": {"ret": 32, "transferred": True, "msgs": []}}
    assert runner._run_message(1, scenario)["rebind"] == 1
    assert "did not come back" in (observation(scenario, reply, [], [], range(1 << 20)).lost or "")
    assert observation(scenario, {**reply, "rebound": True}, [], [], range(1 << 20)).lost is None


def test_what_ends_dma_debug_gets_a_boot_of_its_own_and_comes_last():
    todo = faults_suite()[::-1]
    now, later = runner._for_one_boot(todo)
    assert [s.fault.name for s in later] == ["debug-disabled"] and len(now) == len(todo) - 1
    assert runner._for_one_boot(later) == (later, [])


GOOD = Observation(
    ret=2,
    caller=(CallerMessage(False, b"\x01\x02", 0x5000, True),),
    bus=(BusMessage(0x30, False, b"\x01\x02", True, (DmaSegment(0x5000, 2),)),),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, Noticed()),
        ({"splats": (Splat("free-size", None, None, ""),) * 2}, Noticed(kernel=("free-size",))),
        ({"ret": -5, "transferred": False, "bus": ()}, Noticed(returned=("-EIO",))),
        ({"ret": None}, Noticed(returned=("never",))),
        ({"damage": ("guard-after",)}, Noticed(memory=("guard-after",))),
        (
            {"bus": (BusMessage(0x30, False, b"\x01\x03", True, (DmaSegment(0x5000, 2),)),)},
            Noticed(device=("wrong data",)),
        ),
        (
            {"bus": (BusMessage(0x30, False, b"\x01\x02", True, (DmaSegment(0x6000, 2),)),)},
            Noticed(device=("other buffer",)),
        ),
        (
            {"bus": (BusMessage(0x30, False, b"", False, (DmaSegment(1 << 40, 2, True),)),)},
            Noticed(device=("stray DMA",)),
        ),
    ],
)
def test_each_oracle_speaks_for_itself(changes, said):
    assert noticed(replace(GOOD, **changes)) == said


def results(*rows, release="6.12.117"):
    judged = Judgement(Verdict.PASS, Outcome.SAFE, Outcome.SAFE, "as the source says")
    made = []
    for id_, said in rows:
        judgement = judged if said is not None else Judgement(Verdict.INCONCLUSIVE, None, Outcome.SAFE, "no | canary")
        made.append(Row.of(parse_scenario(id_), judgement, said))
    return Results("faults", "qemu", KernelInfo(release, "x86_64", "default", "apt"), "tcg", True, tuple(made))


SEND, RECV = (f"heap/master_{way}_dmasafe/dmasafe:bounce/32" for way in ("send", "recv"))
SAID = results(
    (SEND, Noticed()),
    (RECV, Noticed(device=("other buffer",))),
    (f"{SEND}+fault=double-unmap", Noticed(("free-unallocated",))),
    (f"{RECV}+fault=double-unmap", Noticed(("free-unallocated",), device=("other buffer",))),
    (f"{SEND}+fault=cacheline-overlap", Noticed()),
    (f"{RECV}+fault=cacheline-overlap", Noticed(("cacheline-overlap",))),
    (f"{RECV}+fault=free-size", None),
)


def test_the_table_says_what_comes_of_the_fault_alone():
    found = {detection._name(one): one for one in detection.detections(SAID)}
    assert list(found) == ["cacheline-overlap (write)", "cacheline-overlap (read)", "double-unmap", "free-size"]
    assert found["double-unmap"].noticed == Noticed(("free-unallocated",))
    assert found["cacheline-overlap (write)"].nobody and not found["cacheline-overlap (read)"].nobody
    assert found["free-size"].noticed is None and "canary" in found["free-size"].why


def test_the_terminal_and_markdown_say_nobody_in_plain_words():
    lines = [text.plain for text in detection.table(SAID)]
    assert "cacheline-overlap (write)    nobody" in lines
    assert "4 rows: the kernel reports 2, only others notice 0, nobody notices 1" in lines
    assert max(map(len, lines)) <= 100
    text = detection.markdown([SAID, results((f"{RECV}+fault=cacheline-overlap", Noticed()), release="7.2.13")])
    assert "| `cacheline-overlap` (write) | maps a buffer twice at the same time | **nobody** | **nobody** |" in text
    assert "| `cacheline-overlap` (read) | maps a buffer twice at the same time | log: `cacheline-overlap`" in text
    assert "INCONCLUSIVE: no \\| canary" in text
    # The class, the fault that provoked it on the one kernel, the reason why none can on the other.
    assert re.search(r"\| `cacheline-overlap` \| `cacheline-overlap` \| add_dma_entry\(\) asks", text)


def test_a_run_without_faults_has_no_table():
    assert list(detection.table(results((SEND, None)))) == []


def test_what_the_oracles_said_survives_json():
    assert json_report.from_json(json_report.to_json(SAID)) == SAID
    assert all(("noticed" in row) is (made.noticed is not None)
               for row, made in zip(json_report.to_json(SAID)["scenarios"], SAID.rows, strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("version", "holds"),
    [((6, 0, 99), False), ((6, 1), True), ((6, 1, 0), True), ((6, 11, 9), True), ((6, 12), False), ((6, 12, 1), False)],
)
def test_a_row_holds_from_its_first_version_on_and_before_the_last(version, holds):
    row = FaultRow(Outcome.SAFE, "why", since=(6, 1), before=(6, 12))
    assert row.holds(kernel(version), True) is holds


@pytest.mark.parametrize(
    ("row", "symbols", "reads", "holds"),
    [
        ({}, (), True, True),
        ({"needs": "DMA_API_DEBUG"}, (), True, False),
        ({"needs": "DMA_API_DEBUG"}, ("DMA_API_DEBUG",), True, True),
        ({"reads": True}, (), True, True),
        ({"reads": True}, (), False, False),
        ({"reads": False}, (), False, True),
        ({"where": lambda memory: True}, (), True, True),
        ({"where": lambda memory: False}, (), True, False),
        ({"may_bounce": True}, (), True, False),
        ({"may_bounce": True}, ("DMA_BOUNCE_UNALIGNED_KMALLOC",), True, True),
        ({"bounces": True}, (), True, False),
    ],
)
def test_a_row_holds_if_all_its_conditions_do(row, symbols, reads, holds):
    assert FaultRow(Outcome.SAFE, "why", **row).holds(kernel(symbols=frozenset(symbols)), reads) is holds


def test_a_row_of_a_memory_layout_does_not_hold_where_there_is_none():
    row = FaultRow(Outcome.SAFE, "why", where=lambda memory: True)
    assert not row.holds(kernel(arch="sparc"), True)


@pytest.mark.parametrize(
    ("splat_class", "first", "without"),
    [("free-attrs", ATTRS_COMPARED, "before"), ("map-resource-ram", ATTRS_COMPARED, "before"),
     ("cacheline-touched", (5, 10), "since")],
)  # fmt: skip
def test_a_class_is_unreachable_up_to_a_version_or_from_it_on(splat_class, first, without):
    just_before = (*first[:-1], first[-1] - 1, 99)
    assert (splat_class in unreachable("x86_64", first)) is (without == "since")
    assert (splat_class in unreachable("x86_64", just_before)) is (without == "before")


@pytest.mark.parametrize(
    ("arch", "symbols", "classes"),
    [
        ("arm", ["DMA_API_DEBUG"], ("map-invalid-area", "addr-overflow")),
        ("arm", [], ("addr-overflow",)),
        ("arm64", ["DMA_API_DEBUG"], ("map-invalid-area",)),
        ("arm64", [], ()),
        ("i386", [], ("map-vmalloc-rejected",)),
    ],
)
def test_where_modules_lie_decides_who_notices_their_memory(arch, symbols, classes):
    scenario = parse_scenario("heap/master_recv/dmasafe:bounce/32+fault=map-invalid-area")
    assert expect(scenario, kernel(symbols=frozenset(symbols), arch=arch)).classes == classes


STRICT = replace(kernel(), strict_line=64)
# What breaks no rule of the DMA API's: two mappings that the device only reads may overlap, and the helpers are I2C's.
NO_RULE_OF_THE_APIS = {
    ("cacheline-overlap", False), ("messages-on-one-line", False), ("bounce-not-released", False),
    ("bounce-not-released", True), ("bounce-not-copied", True), ("threshold-never-met", False),
    ("threshold-never-met", True),
}  # fmt: skip


# Nobody sees the CPU read; what it gets is not what was on the bus.
DATA_TELLS = {"read-early"}


@pytest.mark.parametrize("symbols", [DEFAULT, DEFAULT - {"DMA_API_DEBUG", "DMA_API_DEBUG_SG"}])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_strict_machine_notices_every_fault_that_breaks_a_rule(version, symbols):
    facts = replace(STRICT, version=version, symbols=symbols)
    unnoticed = set()
    for scenario in faults_suite():
        found = expect(scenario, facts)
        if scenario.fault is None or isinstance(found, Skip):
            continue
        if found.outcome is not Outcome.CAUGHT and scenario.fault.name not in DATA_TELLS:
            unnoticed.add((scenario.fault.name, scenario.reads))
    # An error that the driver looks at; and pages of vmalloc memory, which may be mapped one by one (dma-api-howto).
    allowed = {("addr-overflow", True)} | (set() if "DMA_API_DEBUG" in symbols else {("map-vmalloc", True)})
    assert unnoticed == NO_RULE_OF_THE_APIS | allowed


def test_strict_rows_are_of_faults_and_name_classes_of_the_strict_machines():
    assert STRICT_ROWS.keys() <= FAULTS.keys()
    for row in STRICT_ROWS.values():
        assert {*row.classes, *(row.debug or ())} <= SPLAT_CLASSES.keys()
        assert all(slug.startswith("strict-") for slug in row.classes)


@pytest.mark.parametrize(
    ("scenario", "classes", "alone"),
    [
        # dma-debug sees the same beside it; or nothing, as the mapping is refused; or another thing.
        (
            "heap/master_recv_dmasafe/dmasafe:bounce/32+fault=free-size",
            ("strict-unmap", "free-size"),
            ("strict-unmap",),
        ),
        ("stack/master_recv_dmasafe/dmasafe:trusting/8+fault=map-stack", ("strict-memory",), ("strict-memory",)),
        (
            "heap/master_recv_dmasafe/dmasafe:bounce/32+fault=map-error-unchecked",
            ("strict-unmapped", "strict-unmap", "free-invalid-address"),
            ("strict-unmapped", "strict-unmap"),
        ),
        ("heap/master_recv/dmasafe:bounce/32+fault=map-vmalloc-rejected",) + (("map-vmalloc-rejected",),) * 2,
    ],
)
def test_what_dma_debug_adds_on_the_strict_machine(scenario, classes, alone):
    one = expect(parse_scenario(scenario), STRICT)
    two = expect(parse_scenario(scenario), replace(STRICT, symbols=DEFAULT - {"DMA_API_DEBUG", "DMA_API_DEBUG_SG"}))
    assert (one.classes, two.classes) == (classes, alone)


def test_lines_of_32_bytes_do_not_meet_in_the_middle_of_64():
    read = "heap/master_recv/dmasafe:bounce/32+fault=messages-on-one-line"
    facts = replace(STRICT, strict_line=32, symbols=DEFAULT - {"DMA_API_DEBUG", "DMA_API_DEBUG_SG"})
    assert expect(parse_scenario(read), facts).outcome is Outcome.SAFE
    assert expect(parse_scenario(read), replace(facts, strict_line=64)).classes == ("strict-overlap",)
