# SPDX-License-Identifier: GPL-2.0-or-later
"""The catalogue of findings, what counts as reproduced, and the page."""

import json
from dataclasses import replace

import pytest

from dmasafe.architecture import project_root
from dmasafe.devices.bus import Bus
from dmasafe.devices.values import describe, make
from dmasafe.facts import KernelInfo
from dmasafe.findings import reproduce
from dmasafe.findings.catalogue import CatalogueError, load
from dmasafe.findings.evidence import Evidence, Report, from_program, from_rows
from dmasafe.findings.page import to_json, to_markdown
from dmasafe.kernel import NotBuilt
from dmasafe.outcome import Frame, Judgement, Outcome, Splat, Verdict
from dmasafe.progress import SILENT
from dmasafe.report.results import Results, Row

KERNEL = KernelInfo("7.2.13", "x86_64", "upstream", "linux-source-7.2 7.2.13-1")
SOURCE = "apt:linux-source-7.2"
SPLAT = Splat(
    "usb-buffer-on-stack", None, None, "transfer buffer is on stack", file="drivers/usb/core/hcd.c", line=1507,
    function="usb_hcd_map_urb_for_dma", frames=(Frame("usb_hcd_map_urb_for_dma", 1, 2), Frame("osif_xfer", 3, 4)),
)  # fmt: skip
(OSIF,) = load(["osif-callers-buffer"])
(SIGNAL,) = load(["virtio-interrupted-transfer"])


def results_for(finding, **changes):
    """Results in which every row shows what it must; ``changes`` go to the first one's judgement."""
    rows = []
    for row in finding.proof.rows:
        frames = (*SPLAT.frames, Frame(row.frame or "driver", 5, 6))
        splats = tuple(replace(SPLAT, splat_class=name, frames=frames) for name in row.classes)
        verdict = Judgement(Verdict.PASS, row.outcome, row.outcome, "so it is", row.direct, splats)
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


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.SKIP, Verdict.ERROR])
def test_what_cannot_be_trusted_proves_nothing(verdict):
    found = from_rows(OSIF, results_for(OSIF, verdict=verdict, why="no canary"), SOURCE)
    assert found.reproduced is None and "no canary" in found.why


def test_a_scenario_that_was_not_run_proves_nothing():
    assert from_rows(OSIF, replace(results_for(OSIF), rows=()), SOURCE).reproduced is None


LEAK = [
    "6,1,1,-;------------[ cut here ]------------",
    "4,2,2,-;DMA-API: pci 0000:00:05.0: device driver has pending DMA allocations while released from device [count=4]",
    "4,3,3,-;WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:862 dma_debug_device_change+0x1/0x2",
    "4,4,4,-;---[ end trace 0000000000000000 ]---",
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
    monkeypatch.setattr(reproduce, "_by_rows", lambda source, where, rows, *rest: asked.append((where, rows)) or {
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
    page = to_markdown(report, [OSIF, SIGNAL])
    assert OSIF.title in page and SIGNAL.title not in page
    assert f"`{OSIF.command(SOURCE)}`" in page and "drivers/usb/core/hcd.c:1507" in page and "  osif_xfer" in page
    rows = json.loads(to_json(report))["findings"]
    assert [(row["finding"], row["reproduced"]) for row in rows] == [(OSIF.id, True), (SIGNAL.id, False)]


def test_the_page_says_on_which_architecture_if_it_is_not_the_usual_one():
    usual = evidence(OSIF, True)
    other = replace(usual, kernel=replace(KERNEL, arch="arm64"))
    assert "(upstream), 7.2.13 (upstream, arm64)\n" in to_markdown(Report((usual, other)), [OSIF])


def test_a_trace_is_shown_as_far_as_the_frame_that_was_asked_for():
    frames = (*(Frame(f"core_{number}", 1, 2) for number in range(20)), Frame("osif_xfer", 1, 2), Frame("caller", 1, 2))
    seen = replace(evidence(OSIF, True), splats=(replace(SPLAT, frames=frames),))
    page = to_markdown(Report((seen,)), [OSIF])
    assert "  core_19\n  osif_xfer\n" in page and "caller\n" not in page


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

    monkeypatch.setattr(reproduce, "_by_program", not_built)
    monkeypatch.setattr(reproduce, "_by_rows", lambda *_: {OSIF.id: evidence(OSIF, True)})
    report = reproduce.reproduce([other, OSIF], [SOURCE], SILENT)
    assert [(each.finding, each.reproduced) for each in report.evidence] == [(other, None), (OSIF, True)]
    assert report.evidence[0].why == f"a kernel of {SOURCE} is not built" and report.status == 2
