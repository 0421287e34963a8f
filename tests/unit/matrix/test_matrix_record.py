# SPDX-License-Identifier: GPL-2.0-or-later
"""results.json into the history: what is kept, what is refused, what is never trusted."""

import json
from datetime import date

import pytest
from matrix_samples import IDS, RECEIVE, SEND, STACK, failed, history_of, passed, results, run, splat
from sqlalchemy import func, select

from dmasafe.matrix import record, schema
from dmasafe.matrix.cells import Cell, identity_of, label_of
from dmasafe.matrix.database import open_history
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.judgements import Signature, general
from dmasafe.outcome import Judgement, Outcome, Verdict
from dmasafe.report import ReportError, json_report

CELL = Cell("linux-source-6.12", "x86_64", "default", "qemu", "core")


def count(history, table):
    return history.connection.execute(select(func.count()).select_from(table)).scalar_one()


def findings_of(history, night):
    found = history.runs_of_nights(night, night)[-1]
    vector = history.vectors([found.vector_id])[found.vector_id]
    now = history.by_scenario(vector)
    return {history.scenarios[id_].name: history.findings([finding])[finding] for id_, finding in now.items()}


def test_what_was_recorded_comes_back(database):
    wanted = run(0, {SEND: failed(), RECEIVE: passed()}, build_s=181.5, boot_s=1.25)
    with history_of(database, wanted) as history:
        found = findings_of(history, "2026-11-01")
        (row,) = history.runs_of_nights("2026-11-01", "2026-11-01")
        assert history.cells[row.cell_id] == CELL
    assert found == dict(wanted.findings)
    assert found[STACK].signatures == (Signature("map-vmalloc-rejected", "payload_map"),)
    assert (row.build_s, row.boot_s, row.scenarios_s, row.revision, row.accel) == (181.5, 1.25, 10.0, "1bc8f64", "tcg")


def test_the_same_run_twice_is_one_run(database):
    first = run(0, {SEND: failed()})
    assert record.record(database, [first, first]) == 1
    assert record.record(database, [first]) == 0
    with history_of(database) as history:
        assert count(history, schema.run) == 1


def test_a_hundred_nights_alike_are_one_vector(database):
    with history_of(database, *(run(night) for night in range(100))) as history:
        assert count(history, schema.run) == 100
        assert count(history, schema.vector) == count(history, schema.scenario_set) == 1


def test_the_order_of_recording_does_not_matter(tmp_path):
    runs = [run(night, {STACK: passed(Outcome.CAUGHT, splat(f"fn{night % 3}"))}) for night in range(6)]
    seen = []
    for name, order in (("a", runs), ("b", runs[::-1])):
        with open_history(str(tmp_path / name), create=True) as database:
            for one in order:
                record.record(database, [one])
            with history_of(database) as history:
                seen.append([(one.signature, one.first_time, one.last_time) for one in history.sightings()])
    assert seen[0] == seen[1]
    assert len(seen[0]) == 3


@pytest.mark.parametrize("more", [{"canary": False}, {"reason": "dma-debug ran out of entries"}])
def test_nothing_of_an_untrusted_run_is_a_verdict(more):
    found = run(0, {SEND: failed()}, **more).findings
    assert {one.verdict for one in found.values()} == {Verdict.INCONCLUSIVE, Verdict.SKIP}
    assert found[SEND].why == more.get("reason", "the canary did not splat")


def test_a_pass_that_contradicts_its_outcome_is_an_error():
    forged = Judgement(Verdict.PASS, Outcome.SILENT, Outcome.SAFE, "trust me")
    assert run(0, {SEND: forged}).findings[SEND].verdict is Verdict.ERROR


def test_reasons_that_differ_in_addresses_are_one_finding(database):
    nights = [
        run(night, {SEND: failed(why=f"stray DMA to {0x2000E0C0 + night:#x} without a report; scenario {500 + night}")})
        for night in range(5)
    ]
    with history_of(database, *nights) as history:
        assert count(history, schema.vector) == 1


def test_general_keeps_what_means_something():
    assert general("message 0, byte 3: 0xFF at 5.10.223 after 1234 calls") == (
        "message 0, byte 3: 0x... at 5.10.223 after N calls"
    )
    assert len(general("x" * 10_000)) <= 300
    assert "\n" not in general("a\nb") and "\x1b" not in general("\x1b[2J")


def test_evidence_is_kept_where_a_scenario_begins_to_fail(database):
    bad = failed(Outcome.SILENT, "stray DMA to 0x2000e0c0", splat("culprit"))
    with history_of(database, run(0), run(1, {SEND: bad}), run(2, {SEND: bad})) as history:
        rows = history.runs_of_nights("2026-11-01", "2026-11-03")
        documents = history.documents(row.evidence_id for row in rows if row.evidence_id)
    assert [row.evidence_id is not None for row in rows] == [False, True, False]
    told = record.unpacked(documents[rows[1].evidence_id])
    assert told[SEND]["why"] == "stray DMA to 0x2000e0c0"
    assert told[SEND]["splats"][0]["frames"][1]["function"] == "culprit"


def test_cells_are_what_is_followed_and_sources_what_was_built():
    assert label_of("linux-source-6.12 6.12.117-1~deb12u1") == "linux-source-6.12"
    assert label_of("https://host/linux.git main (1bc8f64d6684)") == "https://host/linux.git main"
    assert label_of("/home/me/linux") == "/home/me/linux"
    assert identity_of("linux-source-6.12 6.12.117-1", "6.12.117") != identity_of(
        "linux-source-6.12 6.12.118-1", "6.12.118"
    )
    # What a directory holds today is not what it held yesterday.
    assert identity_of("/home/me/linux", "6.12.117") == ""


def write(directory, found=None, sidecar=None):
    directory.mkdir(parents=True, exist_ok=True)
    json_report.write(found or results(), directory / "results.json")
    if sidecar is not None:
        (directory / "matrix.json").write_text(json.dumps(sidecar))
    return directory / "results.json"


def test_the_directorys_name_tells_when(tmp_path):
    found = record.read(write(tmp_path / "20261122T235501Z-core"))
    assert (found.time, found.night, found.build_s, found.revision) == (1795391701, "2026-11-22", None, None)


def test_the_sidecar_tells_the_rest_and_options_outweigh_it(tmp_path):
    sidecar = {
        "schema": 1,
        "time": "2026-11-23T01:00:00+02:00",
        "night": "2026-11-21",
        "revision": "abc",
        "build_s": 93.5,
        "source": "mainline",
        "source_id": "sha256:12",
    }
    path = write(tmp_path, sidecar=sidecar)
    found = record.read(path, assumed={"revision": "assumed"})
    assert (found.night, found.revision, found.build_s, found.source_id) == ("2026-11-21", "abc", 93.5, "sha256:12")
    assert found.cell.source == "mainline" and found.time == 1795388400
    assert record.read(path, {"night": "2026-11-20"}).night == date(2026, 11, 20).isoformat()


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [
        ({"schema": 2}, "matrix.json has schema 2, this dmasafe reads 1"),
        ({"schema": 1, "build_s": -1}, "no number of seconds"),
        ({"schema": 1, "build_s": True}, "matrix.json: build_s: Expected `float"),
        ({"schema": 1, "revision": "x\0"}, "is no name"),
        ({"schema": 1, "time": "yesterday"}, "not an ISO date"),
        ({"schema": 1, "revision": 7}, "matrix.json: revision: Expected `str"),
    ],
)
def test_a_wrong_sidecar_is_one_sentence(tmp_path, sidecar, words):
    with pytest.raises(MatrixError, match=words):
        record.read(write(tmp_path, sidecar=sidecar))


def broken(**changes):
    found = json_report.to_json(results())
    for path, value in changes.items():
        target = found
        *way, last = path.split("__")
        for step in way:
            target = target[int(step)] if step.isdigit() else target[step]
        target[last] = value
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"scenarios": []},
        {"scenarios__0__id": 7},
        {"scenarios__0__id": ""},
        {"scenarios__0__id": "x" * 501},
        {"scenarios__0__id": "nul\0byte"},
        {"scenarios__0__id": RECEIVE},
        {"scenarios__0__verdict": "MAYBE"},
        {"scenarios__2__splats__0__frames": [{"function": 1}]},
        {"scenarios__2__splats__0__message": 17},
        {"scenarios__2__splats__0__device": {"a": 1}},
        {"scenarios__2__splats__0__fields": 3},
        {"kernel__source": None},
        {"kernel__arch": ["x86_64"]},
        {"durations__boot_s": "fast"},
        {"durations__boot_s": -3},
    ],
)
def test_what_breaks_the_contract_is_one_sentence(tmp_path, changes):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(broken(**changes)))
    with pytest.raises((MatrixError, ReportError), match=r"results\.json"):
        record.read(path)


def test_a_hostile_splat_is_recorded_in_bounds(database):
    message = "<script>alert(1)</script>\x00\ud800" + "A" * 100_000
    nasty = splat("f" * 10_000, message)
    with history_of(database, run(0, {SEND: failed(Outcome.SILENT, message, *[nasty] * 500)})) as history:
        (one,) = [seen for seen in history.sightings() if seen.signature.function.startswith("ff")]
        row = history.runs_of_nights("2026-11-01", "2026-11-01")[0]
        documents = history.documents([row.evidence_id])
    assert len(one.signature.function) <= 100
    assert all(len(json.dumps(record.unpacked(data))) < 50_000 for data in (one.example, *documents.values()))


def test_directories_are_searched_and_an_empty_one_is_named(tmp_path):
    paths = [write(tmp_path / "out" / name) for name in ("20261121T000000Z-core", "20261122T000000Z-core")]
    (tmp_path / "out" / "latest").symlink_to(paths[-1].parent)
    assert list(record.find([tmp_path / "out"])) == paths
    (tmp_path / "nothing").mkdir()
    with pytest.raises(MatrixError, match=r"there is no results\.json in"):
        list(record.find([tmp_path / "nothing"]))


def test_another_suite_is_another_cell(database):
    with history_of(database, run(0), run(0, suite="smoke")) as history:
        assert sorted(cell.name for cell in history.cells.values()) == [
            "linux-source-6.12 x86_64 default",
            "linux-source-6.12 x86_64 default smoke",
        ]
        assert {row.name for row in history.scenarios.values()} == set(IDS)
