# SPDX-License-Identifier: GPL-2.0-or-later
"""The catalogue of findings, what counts as reproduced, and the page."""

import contextlib
import json
from dataclasses import replace
from unittest.mock import MagicMock

import pytest

from dmasafe.architecture import project_root
from dmasafe.devices.bus import Bus
from dmasafe.devices.values import describe, make
from dmasafe.expect.client_drivers import Phase
from dmasafe.facts import KernelInfo
from dmasafe.findings import corrections as corrections
from dmasafe.findings import mail, record, reproduce
from dmasafe.findings.catalogue import PATCHES, CatalogueError, Corrected, PatchTest, load
from dmasafe.findings.corrections import Correction, Corrections, compare, correct
from dmasafe.findings.evidence import (
    Evidence,
    Report,
    from_program,
    from_rows,
    gone_from_program,
    gone_from_rows,
    plain,
)
from dmasafe.findings.page import VERSIONS, subsystem, to_markdown
from dmasafe.kernel import NotBuilt
from dmasafe.kernel.patched import PatchError
from dmasafe.outcome import Frame, Judgement, Outcome, Splat, Verdict
from dmasafe.progress import SILENT
from dmasafe.report.results import Results, Row
from dmasafe.scenario import core_suite, parse_scenario

KERNEL = KernelInfo("7.2.13", "x86_64", "upstream", "linux-source-7.2 7.2.13-1")
SOURCE = "apt:linux-source-7.2"
SPLAT = Splat(
    "usb-buffer-on-stack", None, None, "transfer buffer is on stack", file="drivers/usb/core/hcd.c", line=1507,
    function="usb_hcd_map_urb_for_dma", frames=(Frame("usb_hcd_map_urb_for_dma", 1, 2), Frame("osif_xfer", 3, 4)),
)  # fmt: skip
(OSIF,) = load(["osif-callers-buffer"])
(SIGNAL,) = load(["virtio-interrupted-transfer"])
ANYTHING = MagicMock()


def results_for(finding, **changes):
    """Results in which every row shows what it must; ``changes`` go to the first one's judgement."""
    rows = []
    for row in finding.proof.rows:
        frames = (*SPLAT.frames, Frame(row.frame or "driver", 5, 6))
        splats = tuple(replace(SPLAT, splat_class=name, frames=frames) for name in row.classes)
        verdict = Judgement(Verdict.PASS, row.outcome, row.outcome, f"so it is: {row.why}", row.direct, splats)
        rows.append(Row(row.scenario, "heap", "transfer", "virtio", None, 8, verdict))
    rows[0] = replace(rows[0], judgement=replace(rows[0].judgement, **changes))
    return Results("findings", "qemu", KERNEL, "tcg", True, tuple(rows))


@pytest.mark.parametrize("finding", load(), ids=lambda finding: finding.id)
def test_every_finding_is_proved_by_what_it_asks_for_and_says_its_command(finding):
    assert any(finding.concerns(f"apt:linux-source-{version}") for version in finding.versions)
    assert finding.command(SOURCE) == f"dmasafe findings {finding.id} --kernel {SOURCE}"
    if finding.proof.rows:
        assert from_rows(finding, results_for(finding), SOURCE).reproduced is True


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"outcome": Outcome.SAFE}, "SAFE, not CAUGHT"),
        ({"splats": ()}, "reported nothing"),
        ({"splats": (replace(SPLAT, splat_class="map-stack"),)}, "reported map-stack"),
        ({"splats": (replace(SPLAT, frames=()),)}, "osif_xfer() is not in the report's trace"),
    ],
)
def test_what_differs_is_not_reproduced(changes, why):
    found = from_rows(OSIF, results_for(OSIF, **changes), SOURCE)
    assert found.reproduced is False and why in found.why


def test_an_outcome_for_another_reason_is_no_proof():
    (finding,) = load(["imx-zero-length-read"])
    found = from_rows(finding, results_for(finding, why="wrong data without a report: 1 byte"), SOURCE)
    assert found.reproduced is False and "guard-after' is not why it is SILENT: wrong data" in found.why


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.SKIP, Verdict.ERROR])
def test_what_cannot_be_trusted_proves_nothing(verdict):
    found = from_rows(OSIF, results_for(OSIF, verdict=verdict, why="no canary"), SOURCE)
    assert found.reproduced is None and "no canary" in found.why


def test_a_scenario_that_was_not_run_proves_nothing():
    assert from_rows(OSIF, replace(results_for(OSIF), rows=()), SOURCE).reproduced is None


LEAK = [
    "6,0,1,-;------------[ cut here ]------------",
    "4,1,2,-;DMA-API: pci 0000:00:05.0: device driver has pending DMA allocations while released from device [count=4]",
    "4,2,3,-;WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:862 dma_debug_device_change+0x1/0x2",
    "4,3,4,-;---[ end trace 0000000000000000 ]---",
]
SAID = {"interrupted_read_failed": True, "later_reads_get_the_byte_before": True, "kmsg": LEAK}


@pytest.mark.parametrize(
    ("said", "reproduced", "why"),
    [
        (SAID, True, ""),
        (SAID | {"later_reads_get_the_byte_before": False}, False, "later_reads_get_the_byte_before is false"),
        (SAID | {"kmsg": []}, False, "did not report leak-on-release"),
        (SAID | {"kmsg": [1, None, {"a": 2}]}, False, "did not report"),
        ({"interrupted_read_failed": True}, None, "said nothing of later_reads"),
        ({name: said for name, said in SAID.items() if name != "kmsg"}, None, "said nothing of kmsg"),
    ],
)
def test_a_programs_word_is_held_against_the_catalogue(said, reproduced, why):
    found = from_program(SIGNAL, KERNEL, f"noise\n[1]\n{json.dumps(said)}\n", SOURCE)
    assert found.reproduced is reproduced and why in found.why


@pytest.mark.parametrize(
    ("frame", "reproduced"), [("dma_debug_device_change", True), ("somebody_else", False), (None, True)]
)
def test_a_report_counts_if_the_frame_is_in_its_trace(frame, reproduced):
    finding = replace(SIGNAL, proof=replace(SIGNAL.proof, frame=frame))
    trace = ["4,5,5,-;Call Trace:", "4,6,6,-; dma_debug_device_change+0x1/0x2"]
    said = json.dumps(SAID | {"kmsg": [*LEAK[:-1], *trace, LEAK[-1]]})
    found = from_program(finding, KERNEL, said, SOURCE)
    assert found.reproduced is reproduced and len(found.splats) == int(reproduced)
    assert reproduced or "leak-on-release with somebody_else() in the trace" in found.why


def test_findings_share_a_run_where_they_want_the_same_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(reproduce, "by_rows", lambda source, where, rows, *rest: asked.append((where, rows)) or {
        finding.id: evidence(finding, True) for finding in rows
    })  # fmt: skip
    names = [
        "at91-unmaps-more",
        "amd-mp2-late-answer-overflows",
        "amd-mp2-frees-under-dma",
        "qup-lists-of-one",
    ]
    reproduce.reproduce(load(names), ["apt:linux-source-6.12"], SILENT)
    assert [(*where, len(rows)) for where, rows in asked] == [
        ("hosts", "arm64", (), 2), ("hosts", "x86_64", (), 1), ("hosts", "x86_64", ("slab_debug=FZPU",), 1),
    ]  # fmt: skip


def test_a_program_runs_where_programs_run():
    with pytest.raises(ValueError, match="a program runs on x86_64"):
        replace(SIGNAL.proof, arch="arm64")


@pytest.mark.parametrize("finding", load(), ids=lambda finding: finding.id)
def test_what_a_program_needs_is_there(finding):
    bus = Bus({address: make(describe(name)) for address, name in finding.proof.slaves})
    assert all(bus.transfer(address, True, 1).ok for address, _ in finding.proof.slaves)
    assert all((project_root() / "images" / name / "Kbuild").is_file() for name in finding.proof.modules)


def evidence(finding, reproduced):
    return Evidence(finding, KERNEL, SOURCE, reproduced, "why", ("a fact",), (SPLAT,))


@pytest.mark.parametrize(
    ("seen", "status"), [([True, True], 0), ([True, False], 1), ([None, False], 1), ([True, None], 2), ([], 2)]
)
def test_the_status_is_the_worst(seen, status):
    assert Report(tuple(evidence(OSIF, each) for each in seen)).status == status


def test_only_what_was_reproduced_is_on_the_page_and_everything_in_the_json():
    report = Report((evidence(OSIF, True), evidence(SIGNAL, False)))
    page = to_markdown(report, Corrections(()), [OSIF, SIGNAL])
    assert OSIF.title in page and SIGNAL.title not in page
    assert f"`{OSIF.command(SOURCE)}`" in page and "drivers/usb/core/hcd.c:1507" in page and "  osif_xfer" in page
    rows = json.loads(record.to_json(report, Corrections(())))["findings"]
    assert [(row["finding"], row["reproduced"]) for row in rows] == [(OSIF.id, True), (SIGNAL.id, False)]


def test_the_page_says_on_which_architecture_if_it_is_not_the_usual_one():
    usual = evidence(OSIF, True)
    other = replace(usual, kernel=replace(KERNEL, arch="arm64"))
    assert "(upstream), 7.2.13 (upstream, arm64)\n" in to_markdown(Report((usual, other)), Corrections(()), [OSIF])


def test_a_trace_is_shown_as_far_as_the_frame_that_was_asked_for():
    frames = (*(Frame(f"core_{number}", 1, 2) for number in range(20)), Frame("osif_xfer", 1, 2), Frame("caller", 1, 2))
    seen = replace(evidence(OSIF, True), splats=(replace(SPLAT, frames=frames),))
    page = to_markdown(Report((seen,)), Corrections(()), [OSIF])
    assert "  core_19\n  osif_xfer\n" in page and "  caller\n" not in page


def test_a_finding_of_another_version_is_not_looked_for():
    finding = replace(OSIF, versions=("7.2",))
    assert not finding.concerns("apt:linux-source-6.12") and finding.concerns("/a/tree")


WHOLE = "[[finding]]\nid='x'\ntitle='t'\nrule='r'\nwhere='w'\nwhat='w'\nremedy='r'\nknown='k'\nversions=[]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("finding = 1", "finding: Expected `array`, got `int`"),
        ("[[finding]]\nid = 'x'", r"finding\[0\]: key 'title' is missing"),
        (WHOLE + "proof={config='c'}", r"finding\[0\].proof: a proof is by scenarios"),
        (WHOLE + "proof={config='c', program=['none.py']}", r"finding\[0\].proof: there is no none.py"),
        (WHOLE + "proof={config='c', program=['keyboard.py'], say={}}", r"unknown key 'finding\[0\].proof.say'"),
        (
            WHOLE + "proof={config='c', scenario=[{scenario='x', outcome='SAFE'}]}",
            "proof: 'x' is no scenario",
        ),
        (
            WHOLE + "proof={config='c', scenario=[{scenario='heap/master_send/virtio/08', outcome='SAFE'}]}",
            "proof: write",
        ),
        (
            WHOLE + "proof={config='c', scenario=[{scenario='x', outcome='GOOD'}]}",
            "outcome: .*GOOD",
        ),
    ],
)
def test_a_catalogue_that_is_none_is_refused(tmp_path, text, says):
    path = tmp_path / "catalogue.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=rf"catalogue.toml(:\d+)?: .*{says}"):
        load(path=path)


def test_an_unknown_finding_is_refused():
    with pytest.raises(CatalogueError, match="no finding is called 'nothing'"):
        load(["nothing"])


def test_a_kernel_that_may_not_be_built_costs_the_other_findings_nothing(monkeypatch):
    other = next(finding for finding in load() if finding.proof.program)

    def not_built(source, *_):
        raise NotBuilt(f"a kernel of {source} is not built")

    monkeypatch.setattr(reproduce, "by_program", not_built)
    monkeypatch.setattr(reproduce, "by_rows", lambda *_: {OSIF.id: evidence(OSIF, True)})
    report = reproduce.reproduce([other, OSIF], [SOURCE], SILENT)
    assert [(each.finding, each.reproduced) for each in report.evidence] == [(other, None), (OSIF, True)]
    assert report.evidence[0].why == f"a kernel of {SOURCE} is not built" and report.status == 2


QUIET = ["6,0,1,-;Linux version 7.2.13", "6,1,2,-;dmasafe: all is well"]


@pytest.mark.parametrize(
    ("said", "gone", "why"),
    [
        ({}, True, "as described"),
        ({"later_reads_get_the_byte_before": True}, False, "later_reads_get_the_byte_before is true, not false"),
        ({"kmsg": LEAK}, False, "the kernel reports leak-on-release"),
        ({"kmsg": QUIET[1:]}, None, "records of the kernel's log are missing"),
        ({"kmsg": []}, None, "records of the kernel's log are missing"),
        ({"kmsg": None}, None, "records of the kernel's log are missing"),
        ({"later_reads_get_the_byte_before": True, "kmsg": None}, False, "later_reads_get_the_byte_before is true"),
    ],
)
def test_a_program_shows_that_a_patch_corrects_by_what_it_says_and_by_a_whole_log_without_reports(said, gone, why):
    finding = replace(SIGNAL, decision="")
    object.__setattr__(finding, "patch", PatchTest(says={"later_reads_get_the_byte_before": False}))
    words = {**SAID, "later_reads_get_the_byte_before": False, "kmsg": QUIET, **said}
    found = gone_from_program(finding, KERNEL, json.dumps(words), SOURCE)
    assert found.reproduced is gone and why in found.why
    if gone:
        words.pop("kmsg")
        object.__setattr__(finding, "proof", replace(finding.proof, classes=()))
        assert gone_from_program(finding, KERNEL, json.dumps(words), SOURCE).reproduced


@pytest.mark.parametrize(
    ("changes", "gone", "why"),
    [
        ({}, True, "as described"),
        ({"outcome": Outcome.CAUGHT, "splats": (SPLAT,)}, False, "CAUGHT, not SAFE"),
        ({"splats": (SPLAT,)}, False, "reported usb-buffer-on-stack, not nothing"),
        ({"outcome": Outcome.REFUSED}, False, "REFUSED, not SAFE"),
        ({"verdict": Verdict.INCONCLUSIVE, "why": "no canary"}, None, "no canary"),
    ],
)
def test_scenarios_show_that_a_patch_corrects_by_their_outcome_and_silence(changes, gone, why):
    rows = [Row(row.scenario, "heap", "transfer", "osif", None, 8, GOOD) for row in OSIF.proof.rows]
    rows[0] = replace(rows[0], judgement=replace(GOOD, **changes))
    found = gone_from_rows(OSIF, Results("findings", "qemu", KERNEL, "tcg", True, tuple(rows)), SOURCE)
    assert found.reproduced is gone and why in found.why


@pytest.mark.parametrize(
    ("why", "gone"), [("not reached: probe: the driver did not bind", True), ("not reached: the guest hung", None)]
)
def test_a_phase_may_be_out_of_reach_with_a_patch_for_the_reason_that_the_catalogue_names(why, gone):
    (finding,) = load(["adm1266-reads-zeros"])
    seen = {row.scenario: replace(GOOD, outcome=row.with_patch.outcome) for row in finding.proof.rows}
    seen["adm1266/use/virtio"] = Judgement(Verdict.INCONCLUSIVE, None, Outcome.SILENT, why)
    assert gone_from_rows(finding, rows_of(**seen), SOURCE).reproduced is gone
    row = next(row for row in finding.proof.rows if row.scenario == "adm1266/use/virtio")
    alone = replace(finding, proof=replace(finding.proof, client=(row,)))
    assert from_rows(alone, rows_of(**seen), SOURCE).reproduced is None


GOOD = Judgement(Verdict.PASS, Outcome.SAFE, Outcome.SAFE, "so it is")


def test_hardware_that_fails_is_refused_with_a_patch_unless_the_catalogue_says_more():
    (row,) = load(["stm32f7-last-byte-refused"])[0].proof.rows
    assert (row.with_patch.outcome, row.with_patch.classes) == (Outcome.REFUSED, ())
    more = replace(row, corrected=Corrected(Outcome.CAUGHT, classes=("map-stack",), direct=True)).with_patch
    assert (more.outcome, more.classes, more.direct) == (Outcome.CAUGHT, ("map-stack",), True)


def rows_of(**judgements):
    rows = tuple(Row(name, "heap", "transfer", "virtio", None, 8, found) for name, found in judgements.items())
    return Results("core", "qemu", KERNEL, "tcg", True, rows)


def by_id(results):
    return {row.id: row for row in results.rows}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {}, "same"),
        ({"outcome": Outcome.CAUGHT, "splats": (SPLAT,)}, {}, "same"),
        ({"outcome": Outcome.SILENT}, {"outcome": Outcome.REFUSED, "verdict": Verdict.FAIL}, "same"),
        ({"outcome": Outcome.SILENT}, {"outcome": Outcome.CAUGHT, "splats": (SPLAT,)}, "same"),
        ({}, {"outcome": Outcome.REFUSED}, "worse"),
        ({}, {"splats": (SPLAT,)}, "worse"),
        ({"outcome": Outcome.CAUGHT, "splats": (SPLAT,)}, {"outcome": Outcome.SILENT}, "worse"),
        ({}, {"verdict": Verdict.FAIL}, "worse"),
        ({"direct": False}, {"verdict": Verdict.FAIL, "direct": True}, "same"),
        ({"verdict": Verdict.FAIL}, {"verdict": Verdict.FAIL}, "same"),
        ({"outcome": Outcome.REFUSED}, {"outcome": Outcome.CAUGHT, "splats": (SPLAT,)}, "worse"),
        ({}, {"verdict": Verdict.INCONCLUSIVE}, "doubts"),
        ({}, {"outcome": None}, "doubts"),
        ({"outcome": None}, {}, "doubts"),
        ({}, {"verdict": Verdict.ERROR}, "doubts"),
        ({}, {"verdict": Verdict.SKIP}, "doubts"),
        ({"verdict": Verdict.INCONCLUSIVE}, {"outcome": Outcome.SILENT}, "nothing"),
        ({"verdict": Verdict.ERROR}, {"outcome": Outcome.SILENT}, "nothing"),
        ({"verdict": Verdict.SKIP}, {"outcome": Outcome.SILENT}, "nothing"),
    ],
)
def test_what_a_patch_makes_of_other_scenarios(before, after, found):
    told = compare(by_id(rows_of(x=replace(GOOD, **before))), by_id(rows_of(x=replace(GOOD, **after))))
    assert {"same": told.same, "worse": len(told.worse), "doubts": len(told.doubts)} == {
        name: int(name == found) for name in ("same", "worse", "doubts")
    }


def test_a_scenario_that_a_patch_changes_on_purpose_is_not_compared_and_a_missing_one_is_doubted():
    before = by_id(rows_of(x=GOOD, y=GOOD, z=GOOD))
    told = compare(before, by_id(rows_of(x=GOOD, y=replace(GOOD, outcome=Outcome.SILENT))), ["y*"])
    assert (told.same, told.worse, told.doubts) == (1, {}, {"z": "it was not run"})


class Lab:
    """Kernels that are never built: what each run says, in order, with and without a patch."""

    def __init__(self, monkeypatch, proofs, runs=((), ()), scenarios=lambda _: ("x", "y")):
        self.proofs = {patched: list(found) for patched, found in proofs.items()}
        self.runs = {False: [*runs[0]], True: [*runs[1]]}
        self.asked = []
        monkeypatch.setattr(corrections, "build_kernel", lambda source, config, arch, _: (source, config, arch))
        monkeypatch.setattr(corrections, "patched", self.patched)
        monkeypatch.setattr(corrections.kernels, "open_cache", lambda: None)
        monkeypatch.setattr(corrections, "by_rows", self.by_rows)
        monkeypatch.setattr(corrections, "run_rows", self.run_rows)
        monkeypatch.setattr(corrections, "_scenarios", scenarios)

    @contextlib.contextmanager
    def patched(self, base, files, *_):
        self.base, self.files = base, [path.name for path in files]
        yield "corrected"

    def by_rows(self, source, where, findings, clients, progress, kernel=None):
        (finding,) = findings
        assert clients is bool(finding.proof.client)
        reproduced, why = self.proofs[kernel is not None].pop(0)
        return {finding.id: replace(evidence(finding, reproduced), why=why)}

    def run_rows(self, source, where, names, clients, progress, kernel=None):
        self.asked.append((source, where, tuple(names), clients, kernel))
        return self.runs[kernel is not None].pop(0), None


FINE = (True, "as described")
SAME = rows_of(x=GOOD, y=GOOD)
WORSE = rows_of(x=GOOD, y=replace(GOOD, outcome=Outcome.SILENT, why="bytes are wrong"))
LOST = rows_of(x=GOOD, y=replace(GOOD, verdict=Verdict.INCONCLUSIVE, why="the guest hung"))
BROKEN = rows_of(x=GOOD, y=replace(GOOD, verdict=Verdict.ERROR, why="no answer"))
NOTHING = rows_of(x=replace(GOOD, verdict=Verdict.INCONCLUSIVE))


def test_what_is_without_a_patch_is_looked_at_once_for_all_findings(monkeypatch):
    names = iter([("x", "y"), ("x",)])
    lab = Lab(
        monkeypatch, {False: [FINE, FINE], True: [FINE, FINE]}, ([SAME], [SAME, rows_of(x=GOOD)]), lambda _: next(names)
    )
    found = list(correct([OSIF, OSIF], ["apt:linux-source-6.12"], SILENT))
    assert [(each.corrected, each.kept) for each in found] == [(True, 2), (True, 1)]
    assert lab.runs == {False: [], True: []}


@pytest.mark.parametrize("other", ["kernel", "configuration"])
def test_what_is_without_a_patch_is_looked_at_again_elsewhere(monkeypatch, other):
    lab = Lab(monkeypatch, {False: [FINE, FINE], True: [FINE, FINE]}, ([SAME, SAME], [SAME, SAME]))
    if other == "kernel":
        findings, sources = [OSIF], ["apt:linux-source-6.12", SOURCE]
    else:
        findings, sources = [OSIF, replace(OSIF, proof=replace(OSIF.proof, config="default"))], [SOURCE]
    assert [each.corrected for each in correct(findings, sources, SILENT)] == [True, True]
    assert lab.runs == {False: [], True: []}


CLIENT_WORSE = "st1232/use/virtio: it is SILENT, and was SAFE"


@pytest.mark.parametrize(
    ("after", "changes", "corrected", "why"),
    [
        (GOOD, (), True, "nothing else is worse"),
        (replace(GOOD, outcome=Outcome.SILENT), (), False, CLIENT_WORSE),
        (replace(GOOD, outcome=Outcome.SILENT), ("st1232/use/*",), None, "nothing can be compared"),
    ],
)
def test_the_phases_of_clients_count_beside_the_scenarios(monkeypatch, after, changes, corrected, why):
    (st1232,) = load(["st1232-freed-qos-request"])
    finding = replace(st1232, proof=replace(OSIF.proof, cmdline=("quiet",)))
    object.__setattr__(finding, "patch", replace(st1232.patch, changes=changes))
    then = rows_of(**{"st1232/use/virtio": after})
    more = [] if corrected else [then]
    lab = Lab(
        monkeypatch,
        {False: [FINE], True: [FINE]},
        ([SAME, rows_of(**{"st1232/use/virtio": GOOD})], [SAME, then, *more]),
    )
    monkeypatch.setattr(corrections, "_phases", lambda _: ("st1232/use/virtio",))
    (told,) = correct([finding], [SOURCE], SILENT)
    assert told.corrected is corrected and why in told.why
    assert told.kept == (3 if corrected else 0)
    where = corrections.where_of(finding)._replace(cmdline=())
    assert {(where, clients, names) for _, where, names, clients, _ in lab.asked} == {
        (where, False, ("x", "y")), (where, True, ("st1232/use/virtio",)),
    }  # fmt: skip


def test_what_a_patch_must_leave_as_it_is():
    names = ["qup-lists-of-one", "st1232-freed-qos-request", "adm1266-reads-zeros", OSIF.id]
    qup, st1232, adm1266, osif = (load([name])[0] for name in names)
    core = {each.id for each in core_suite()}
    for finding, controller in ((qup, "qup"), (osif, "osif")):
        mine = set(corrections._scenarios(finding)) - core
        assert core < set(corrections._scenarios(finding))
        assert {parse_scenario(name).controller for name in mine} == {controller}
    assert set(corrections._scenarios(st1232)) == core
    phases = {f"{phase}" for phase in Phase}
    for finding, client in ((st1232, "st1232"), (adm1266, "adm1266")):
        told = [name.split("/", 2) for name in corrections._phases(finding)]
        assert {name for name, _, _ in told} == {client} and {phase for _, phase, _ in told} == phases
    assert {place for _, _, place in told} == {row.scenario.split("/", 2)[2] for row in adm1266.proof.client}
    assert not corrections._phases(qup)


@pytest.mark.parametrize("error", [PatchError("it does not apply"), NotBuilt("there is no kernel")])
def test_a_patch_that_cannot_be_tried_costs_the_others_nothing(monkeypatch, error):
    Lab(monkeypatch, {False: [FINE, FINE], True: [FINE]}, ([SAME], [SAME]))
    kernels_built = iter([error, "corrected"])

    @contextlib.contextmanager
    def patched(*_):
        built = next(kernels_built)
        if isinstance(built, Exception):
            raise built
        yield built

    monkeypatch.setattr(corrections, "patched", patched)
    first, second = correct([OSIF, OSIF], [SOURCE], SILENT)
    assert first.corrected is None and first.why == str(error) and second.corrected is True


def test_a_first_run_that_did_not_show_it_is_told(monkeypatch):
    Lab(monkeypatch, {False: [FINE], True: [(None, "hung"), FINE]}, ([SAME], [SAME]))
    (told,) = correct([OSIF], [SOURCE], SILENT)
    assert told.after == ("a fact", "In a first run: hung")


def test_a_program_is_asked_on_the_patched_kernel(monkeypatch):
    (st1232,) = load(["st1232-freed-qos-request"])
    lab = Lab(monkeypatch, {}, ([SAME, SAME], [SAME, SAME]))
    monkeypatch.setattr(corrections, "_phases", lambda _: ())
    asked = []
    monkeypatch.setattr(
        corrections, "by_program",
        lambda source, finding, progress, kernel=None: asked.append(kernel) or evidence(finding, True),
    )  # fmt: skip
    (told,) = correct([st1232], [SOURCE], SILENT)
    assert told.corrected and asked == [None, "corrected"] and lab.files == ["st1232-freed-qos-request.patch"]
    assert lab.base == (SOURCE, "upstream", "x86_64")


def test_a_patch_of_what_clients_show_is_tried_with_clients(monkeypatch):
    (adm1266,) = load(["adm1266-reads-zeros"])
    Lab(monkeypatch, {False: [FINE], True: [FINE]}, ([SAME, SAME], [SAME, SAME]))
    monkeypatch.setattr(corrections, "_phases", lambda _: ("x", "y"))
    (told,) = correct([adm1266], [SOURCE], SILENT)
    assert told.corrected and told.kept == 4


def test_a_patched_kernel_is_booted_and_judged_as_one(monkeypatch):
    prepared, judged = [], []
    where = reproduce.where_of(OSIF)
    monkeypatch.setattr(reproduce, "prepare", lambda *_, patched, **__: prepared.append(patched) or ANYTHING)
    monkeypatch.setattr(reproduce, "QemuTarget", lambda *_: None)
    monkeypatch.setattr(reproduce, "Symbols", lambda *_: ANYTHING)
    monkeypatch.setattr(reproduce, "run_and_judge", lambda *_: results_for(OSIF))
    monkeypatch.setattr(reproduce, "_with_lines", lambda found, _: judged.append(found.why) or found)
    assert reproduce.by_rows(SOURCE, where, [OSIF], False, SILENT)[OSIF.id].reproduced is True
    assert reproduce.by_rows(SOURCE, where, [OSIF], False, SILENT, "patched")[OSIF.id].reproduced is False
    assert prepared == [None, "patched"] and "CAUGHT, not SAFE" in judged[1]
    boards, patience = [], []
    monkeypatch.setattr(reproduce, "board_image", lambda *_, patched, **__: boards.append(patched) or ANYTHING)
    said = json.dumps({**SAID, "kmsg": LEAK})
    monkeypatch.setattr(reproduce, "_run_program", lambda _board, _logs, _proof, s: patience.append(s) or said)
    assert reproduce.by_program(SOURCE, SIGNAL, SILENT).reproduced is True
    assert reproduce.by_program(SOURCE, SIGNAL, SILENT, "patched").reproduced is False
    assert boards == [None, "patched"] and patience == [reproduce.PROGRAM_TIMEOUT_S, reproduce.GONE_TIMEOUT_S]


@pytest.mark.parametrize(
    ("seen", "status"), [([True, True], 0), ([True, None], 2), ([None, False], 1), ([False, True], 1), ([], 2)]
)
def test_the_status_of_patches_is_the_worst(seen, status):
    assert Corrections(tuple(replace(TRIED, corrected=each) for each in seen)).status == status


def test_a_patch_is_tested_where_it_corrects_and_nowhere_else():
    seen = Report((evidence(OSIF, True),))
    kept = "2,680 scenarios and phases as before"
    for corrected, state, line in (
        (True, "tested on 7.2.13", f"tested; {kept} ("),
        (False, "written, not shown in a guest", f"does NOT correct it; {kept}: why ("),
        (None, "written, not shown in a guest", f"cannot be told; {kept}: why ("),
    ):
        page = to_markdown(seen, Corrections((replace(TRIED, corrected=corrected),)), [OSIF])
        assert f"| {state} |\n" in page and f"- **Patch** on 7.2.13 (upstream): {line}" in page
        assert f"A patch of {int(corrected is True)} of them was tested" in page


@pytest.mark.parametrize(
    ("before", "after", "runs", "corrected", "why"),
    [
        (FINE, [FINE], ([SAME], [SAME]), True, "nothing else is worse"),
        ((False, "SAFE"), [], ([], []), None, "without the patch: SAFE"),
        ((None, "no canary"), [], ([], []), None, "without the patch: no canary"),
        (FINE, [(False, "CAUGHT"), (False, "CAUGHT")], ([], []), False, "CAUGHT"),
        (FINE, [(None, "hung"), (None, "hung")], ([], []), None, "hung"),
        (FINE, [(None, "hung"), FINE], ([SAME], [SAME]), True, "nothing else is worse"),
        (FINE, [FINE], ([SAME], [WORSE, WORSE]), False, "the proof is gone, but y: it is SILENT, and was SAFE"),
        (FINE, [FINE], ([SAME], [WORSE, SAME]), True, "nothing else is worse"),
        (FINE, [FINE], ([SAME], [LOST, LOST, LOST, LOST]), None, "y: the guest hung"),
        (FINE, [FINE], ([SAME], [LOST, LOST, SAME]), True, "nothing else is worse"),
        (FINE, [FINE], ([SAME], [LOST, WORSE]), False, "y: it is SILENT"),
        (FINE, [FINE], ([NOTHING, NOTHING], [SAME]), None, "nothing can be compared"),
        (FINE, [FINE], ([LOST, SAME], [SAME]), True, "nothing else is worse"),
        (FINE, [FINE], ([BROKEN, SAME], [SAME]), True, "nothing else is worse"),
        (FINE, [FINE], ([LOST, LOST], [SAME]), True, "(1 rows could not be trusted without the patch)"),
    ],
)
def test_a_patch_corrects_if_the_proof_was_there_and_is_gone_and_nothing_else_is_worse(
    monkeypatch, before, after, runs, corrected, why
):
    lab = Lab(monkeypatch, {False: [before], True: after}, runs)
    (told,) = correct([OSIF], ["apt:linux-source-6.12"], SILENT)
    assert told.corrected is corrected and why in told.why
    assert told.seen is not None and told.seen.reproduced is before[0]
    assert told.kept == (0 if not corrected else 1 if "could not be trusted" in why else 2)
    assert lab.runs == {False: [], True: []} and lab.proofs == {False: [], True: []}
    assert Corrections((told,)).status == {True: 0, False: 1, None: 2}[corrected]


def test_a_patch_that_no_guest_can_show_is_never_called_tested(monkeypatch):
    monkeypatch.setattr(corrections, "build_kernel", None)
    (elants,) = load(["elants-waiter-on-dma-line"])
    (told,) = correct([elants], ["apt:linux-source-6.12"], SILENT)
    assert told.corrected is None and "Not shown in a guest" in told.why


def test_a_finding_without_a_patch_for_this_kernel_is_not_tried(monkeypatch):
    monkeypatch.setattr(corrections, "build_kernel", None)
    (signal,) = load(["virtio-interrupted-transfer"])
    assert not list(correct([signal], ["apt:linux-source-6.12"], SILENT)) and Corrections(()).status == 2


@pytest.mark.parametrize("path", sorted(PATCHES.glob("*.patch")), ids=lambda path: path.name)
def test_a_patch_is_one_that_a_person_can_send(path):
    text = path.read_text()
    head, body, rest = mail._split(text)
    assert head.startswith("[PATCH] ") and len(head) <= len("[PATCH] ") + 75
    assert "\nAssisted-by: LLM dmasafe" in body and "Signed-off-by" not in text
    assert all(len(line) <= 75 for line in body.splitlines()) and "diff --git a/" in rest


def test_patches_and_findings_belong_together():
    used = {path for finding in load() for version in VERSIONS for path in finding.patches(version)}
    assert used == set(PATCHES.glob("*.patch"))


def test_a_version_may_have_a_patch_of_its_own_and_a_finding_several():
    names = [path.name for path in load(["dma-error-is-success"])[0].patches("apt:linux-source-6.12")]
    names, needed = names[1:], names[0]
    assert needed == "at91-unmaps-twice.patch"
    assert names == [
        f"dma-error-is-success.{name}.patch" for name in ("at91", "imx@6.12", "qup", "rcar@6.12", "shmobile")
    ]
    (finding,) = load(["stm32f7-maps-callers-buffer"])
    assert finding.patches("apt:linux-source-6.12") and not finding.patches("apt:linux-source-7.3")


def test_a_patch_that_the_catalogue_does_not_name_is_refused():
    with pytest.raises(ValueError, match=r"\[finding.patch\] and a patch in patches/ come together"):
        replace(OSIF, patch=None)


TRIED = Correction(OSIF, KERNEL, SOURCE, ("a.patch",), True, "why", ("CAUGHT",), ("SAFE",), 2680)


def test_a_record_keeps_what_was_not_tried_again(tmp_path):
    path = tmp_path / "findings.json"
    other = replace(evidence(OSIF, True), source="apt:linux-source-7.3")
    record.keep(path, Report((evidence(OSIF, False), evidence(SIGNAL, True))), Corrections((TRIED,)))
    old = record.load(path, [OSIF, SIGNAL])
    assert old == (Report((evidence(OSIF, False), evidence(SIGNAL, True))), Corrections((TRIED,)))
    new = record.merge(old, (Report((evidence(OSIF, True), other)), Corrections((replace(TRIED, corrected=None),))))
    assert [(each.finding.id, each.source[-3:], each.reproduced) for each in new[0].evidence] == [
        (OSIF.id, "7.2", True), (OSIF.id, "7.3", True), (SIGNAL.id, "7.2", True),
    ]  # fmt: skip
    assert [each.corrected for each in new[1].all] == [None]
    assert record.load(tmp_path / "none.json", [OSIF]) == (Report(()), Corrections(()))


def test_a_record_of_something_else_is_refused(tmp_path):
    path = tmp_path / "findings.json"
    path.write_text('{"schema": 1, "findings": []}')
    with pytest.raises(CatalogueError, match="is no record of findings"):
        record.load(path, [OSIF])


def test_the_page_says_what_became_of_a_finding_version_by_version():
    finding = replace(OSIF, corrected_in="7.3")
    seen = Report((replace(evidence(finding, True), source="apt:linux-source-6.12"), evidence(finding, None)))
    page = to_markdown(seen, Corrections((replace(TRIED, finding=finding),)), [finding])
    assert "## Corrected in a newer kernel" in page
    row = "| unsafe-buffer-mapped | reproduced | cannot be told | corrected | scenarios | tested on 7.2.13 |"
    assert row in page and "2,680 scenarios and phases as before" in page
    words = to_markdown(Report((evidence(SIGNAL, True),)), Corrections(()), [SIGNAL])
    assert "## I2C controllers" in words and "needs a decision" in words and SIGNAL.decision.splitlines()[0] in words


def test_a_finding_that_one_kernel_of_a_version_shows_is_there():
    other = replace(evidence(OSIF, False), source="git:tree@v7.2")
    page = to_markdown(Report((evidence(OSIF, True), other)), Corrections(()), [OSIF])
    assert "| unsafe-buffer-mapped | not tried | reproduced | not tried |" in page


def test_a_record_keeps_the_first_report_of_each_evidence(tmp_path):
    path = tmp_path / "findings.json"
    record.keep(path, Report((replace(evidence(OSIF, True), splats=(SPLAT, SPLAT)),)), Corrections(()))
    assert record.load(path, [OSIF])[0].evidence[0].splats == (SPLAT,)


def test_a_finding_is_of_the_subsystem_of_its_first_file():
    found = {finding.id: subsystem(finding) for finding in load([OSIF.id, SIGNAL.id, "i2c-dev-needless-bounce"])}
    assert list(found.values()) == ["USB bridges to I2C", "I2C controllers", "I2C core"]
    assert subsystem(replace(OSIF, where="net/core/dev.c")) == "Elsewhere"


MAINTAINER = """#!/usr/bin/perl
print "Some Body <some\\@body.example> (maintainer:A DRIVER)\\nlinux-i2c\\@list.example (open list:I2C)\\n";
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "get_maintainer.pl").write_text(MAINTAINER)
    return tmp_path


def test_a_mail_has_the_patch_what_was_seen_and_whom_to_ask(tree):
    text = mail.mails(OSIF, [evidence(OSIF, True)], [replace(TRIED, source="apt:linux-source-6.12")], tree)
    assert "To: Some Body <some@body.example>\nCc: linux-i2c@list.example\nSubject: [PATCH] i2c: robotfuzz" in text
    assert "Signed-off-by" in text.partition("From:")[0] and "Signed-off-by" not in text.partition("From:")[2]
    assert f"  {OSIF.command(SOURCE)}\n" in text and "With the patch, on 7.2.13 (x86_64): why, of 2,680 calls" in text
    assert "SILENT that something was wrong" in text
    assert text.index("\n---\n") < text.index("Seen on 7.2.13") < text.index("diff --git")
    prose = text.partition("diff --git")[0].splitlines()
    assert all(len(line) <= 76 for line in prose if "dmasafe findings" not in line)


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ("`a/b`: SAFE, through another buffer: the driver copies", "`a/b`: SAFE, through another buffer"),
        ("`a/b`: SILENT: 1 byte is wrong; expected SAFE: it copies", "`a/b`: SILENT: 1 byte is wrong"),
        ("`a/b`: CAUGHT: unexpected other; expected: it copies", "`a/b`: CAUGHT: unexpected other"),
        ("`a/b+hardware=slow`: REFUSED: the hardware fails (slow), and so on", "`a/b+hardware=slow`: REFUSED"),
        ("`a/b`: REFUSED: returned -16", "`a/b`: REFUSED: returned -16"),
        (
            "`a/b`: REFUSED: it maps (6.12: x() 9); returned -6, nothing moved",
            "`a/b`: REFUSED: returned -6, nothing moved",
        ),
        ("read: `[1]`", "read: `[1]`"),
    ],
)
def test_evidence_is_told_without_what_was_expected(tree, fact, said):
    assert plain(fact) == said
    seen = replace(evidence(OSIF, True), facts=(fact,))
    assert f"- {said}\n" in to_markdown(Report((seen,)), Corrections(()), [OSIF])
    assert f"  {said}\n" in mail.mails(OSIF, [seen], [], tree)


def test_a_mail_tells_of_all_kernels_that_the_patch_was_tested_on(tree):
    older = replace(TRIED, source="apt:linux-source-6.12", kernel=replace(KERNEL, release="6.12.1"))
    text = mail.mails(OSIF, [evidence(OSIF, True)], [older, replace(TRIED, source="apt:linux-source-6.12")], tree)
    assert "With the patch, on 6.12.1 (x86_64), 7.2.13 (x86_64): why" in text and text.count("\n  SAFE\n") == 1


def test_a_mail_of_a_finding_that_needs_a_decision_asks_for_it(tree):
    text = mail.mails(SIGNAL, [evidence(SIGNAL, True)], [], tree)
    assert f"Subject: [BUG] {SIGNAL.title}" in text and " ".join(SIGNAL.decision.split()[:5]) in text


def test_a_patch_that_was_not_shown_to_correct_says_so_in_the_mail(tree):
    text = mail.mails(OSIF, [], [replace(TRIED, corrected=None, why="hung", source="apt:linux-source-6.12")], tree)
    assert "NOT shown to correct it on 7.2.13: hung" in text and "With the patch" not in text
