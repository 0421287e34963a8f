# SPDX-License-Identifier: GPL-2.0-or-later
"""How far the model agrees is kept beside the results, in the history, in the summary and on a cell's page."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from matrix_samples import SEND, failed, history_of, lost, reading, results, run
from matrix_site import faults
from sqlalchemy import text
from sqlalchemy.schema import CreateTable

from dmasafe.cli.matrix_command import command
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.matrix import agreement, schema, site
from dmasafe.matrix.agreement import Agreement, Difference
from dmasafe.matrix.database import open_history
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.record import read, record
from dmasafe.matrix.summary import markdown, summarise
from dmasafe.report import json_report
from dmasafe.scenario import parse_scenario, suite
from dmasafe.targets import conform
from dmasafe.targets.base import TargetRun
from dmasafe.targets.kconfig import facts_from_config

SYMBOLS = ["DMA_API_DEBUG", "MODULES", "I2C_CHARDEV", "I2C_VIRTIO", "KALLSYMS_ALL", "VMAP_STACK", "SWIOTLB", "64BIT"]
FACTS = KernelFacts("x86_64", (6, 12, 117), frozenset(SYMBOLS), True)
FOUND = Agreement(2840, 2, 1, (Difference(SEND, ("ret", "bus"), ("8", "w30:00"), ("-5", "<script>")),))


@pytest.fixture(scope="module")
def smoke():
    """The smoke suite on the model itself, which plays the kernel."""
    scenarios = [s for s in suite("smoke") if s.buffer != "kmap"]
    side = conform.ModelSide(FACTS)
    seen = {scenario.id: side.perform(scenario) for scenario in scenarios}
    return scenarios, TargetRun(KernelInfo("6.12.117", "x86_64", "default", "model"), None, True, seen)


def test_a_kernel_that_does_as_the_model_agrees_in_every_row(smoke):
    scenarios, done = smoke
    found = agreement.agreement(done, scenarios, FACTS)
    assert (found.differing, found.unsaid) == (0, 0), found.differences
    assert (found.compared, found.percent) == (len(scenarios), 100.0)


def test_one_oracle_that_differs_is_a_disagreement_whatever_the_verdict(smoke):
    scenarios, done = smoke
    id_ = "heap/master_send/virtio/8"
    seen = replace(done.observations[id_], damage=("guard-after",))
    found = agreement.agreement(replace(done, observations={**done.observations, id_: seen}), scenarios, FACTS)
    assert (found.differing, found.differences[0].scenario) == (1, id_)
    assert "damage" in found.differences[0].fields


def test_the_known_differences_are_asked_of_whatever_differs():
    for scenario in suite("core"):
        applying = [row.name for row in conform.KNOWN if row.applies(scenario, ("splats", "bus", "dma"), FACTS)]
        assert not applying or scenario.operation == "i2cdev_rdwr", scenario.id


def test_a_boot_without_canary_agrees_in_nothing(smoke):
    scenarios, done = smoke
    found = agreement.agreement(replace(done, canary_splatted=False), scenarios, FACTS)
    assert (found.compared, found.unsaid, found.percent) == (0, len(scenarios), None)


def test_seeded_faults_are_none_of_the_models_business(smoke):
    fault = parse_scenario(next(s.id for s in suite("faults") if s.fault is not None))
    assert agreement.agreement(smoke[1], [fault], FACTS) is None


def test_model_json_comes_back_and_damage_is_one_sentence(tmp_path):
    path = tmp_path / "model.json"
    assert agreement.read(path) is None
    agreement.write(FOUND, path)
    assert agreement.read(path) == FOUND
    whole = json.loads(path.read_text())
    (row,) = whole["differences"]
    for broken, says in (
        ({**whole, "compared": 1}, "its numbers cannot be"),
        ({**whole, "unsaid": -1}, "its numbers cannot be"),
        ({**whole, "schema": 9}, "has schema 9"),
        ({**whole, "unsaid": "x"}, "unsaid: Expected `int`, got `str`"),
        ([], "has no 'schema'"),
        ({**whole, "differences": [{}]}, r"differences\[0\]: key 'scenario' is missing"),
        ({**whole, "differences": [{**row, "model": []}]}, r"differences\[0\]: .* not as many values as fields"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(MatrixError, match=rf"model\.json:? {says}"):
            agreement.read(path)


def recorded(tmp_path, database, name="a", agreed=FOUND, **more):
    directory = tmp_path / name
    directory.mkdir()
    json_report.write(results(**more), directory / "results.json")
    if agreed is not None:
        agreement.write(agreed, directory / "model.json")
    record(database, [read(directory / "results.json")])


def test_the_history_and_the_cells_page_have_it(tmp_path, database):
    recorded(tmp_path, database)
    with reading(database) as history:
        (newest,) = history.runs_of_nights("0", "9")
        assert newest.model_id is not None
        site.write(history, tmp_path / "site", 3)
    page = (tmp_path / "site" / "cell-1.html").read_text()
    assert "In 2 of 2840 rows" in page
    assert "&lt;script&gt;" in page
    assert '<td class="wide"><script>' not in page
    assert "99.9 %" in (tmp_path / "site" / "index.html").read_text()


def test_an_older_history_learns_of_the_model(place):
    """A history of version 1, as it was made before there was model.json."""
    with open_history(place, create=True) as database, database.writing() as connection:
        made = str(CreateTable(schema.run).compile(connection))
        old = "\n".join(line for line in made.splitlines() if "model_id" not in line)
        connection.execute(text("DROP TABLE run"))
        connection.execute(text(re.sub(r",\s*\)\s*$", ")", old)))
        connection.execute(schema.version.update().values(version=1))
    with open_history(place) as database, history_of(database, run(0)) as history:
        (newest,) = history.runs_of_nights("0", "9")
        assert newest.model_id is None


def test_the_summary_counts_by_version_and_architecture(tmp_path, file_database):
    recorded(tmp_path, file_database, "a")
    recorded(tmp_path, file_database, "b", config="debug-sg", changes={SEND: failed()})
    recorded(
        tmp_path,
        file_database,
        "c",
        version="7.2.13-1",
        source="linux-source-7.2 7.2.13-1",
        changes={SEND: lost()},
        agreed=None,
    )
    with reading(file_database) as history:
        lines = summarise(history, 7)
    assert [line.cells()[:5] for line in lines] == [
        ("6.12.117", "x86_64", "debug-sg, default", "1 of 6", "0"),
        ("7.2.13", "x86_64", "default", "0 of 2", "1"),
    ]
    assert lines[0].cells()[5:] == ("99.9 % of 5,680", "not run", "not run")
    table = list(markdown(lines))
    assert {line.count("|") for line in table} == {9}


def test_the_summary_counts_faults_where_every_oracle_is_there(file_database):
    seeded = sum(scenario.fault is not None for scenario in suite("faults"))
    with history_of(file_database, run(0), faults(), faults("no-dma-debug")) as history:
        (line,) = summarise(history, 7)
    assert line.faults == seeded > line.noticed > 0


def test_the_summary_goes_between_its_marks(tmp_path, file_database):
    recorded(tmp_path, file_database)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- summary: begin -->\nold\n<!-- summary: end -->\nafter\n")
    words = ["summary", "--db", file_database.name, "--into", str(page)]
    CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=False)
    written = page.read_text()
    assert "6.12.117" in written
    assert "old" not in written
    assert written.startswith("before\n") and written.endswith("after\n")


def test_facts_of_this_test_are_those_of_a_kernel():
    config = "".join(f"CONFIG_{name}=y\n" for name in SYMBOLS)
    assert facts_from_config(config, "x86_64", "6.12.117", True) == FACTS
