# SPDX-License-Identifier: GPL-2.0-or-later
"""Selections resolved to cells, cells to a graph; what is wrong is said in one sentence."""

import pytest

from dmasafe.kernel import load_matrix
from dmasafe.matrix import engine, selections
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.plan import StageKind, plan, slug

SOURCES = """
[source.old]
spec = "apt:linux-source-5.10"
[source.new]
spec = "git:https://example.org/linux@main"
"""


def load(tmp_path, text, sources=SOURCES):
    path = tmp_path / "selections.toml"
    path.write_text(sources + text)
    return selections.load(path)


def names(cells):
    return [cell.name for cell in cells]


def test_quick_boots_one_kernel_in_two_ways_and_a_strict_one():
    cells = selections.load().cells("quick")
    course = plan(cells)
    kinds = [stage.kind for stage in course.stages.values()]
    assert len(cells) == 3
    assert (kinds.count(StageKind.BUILD), kinds.count(StageKind.BOOT)) == (2, 3)


def test_nightly_has_at_least_24_cells_and_every_cell_exists():
    known = selections.load()
    assert len(known.cells("nightly")) >= 24
    for name in known.selections:
        for cell in known.cells(name):
            row = known.matrix.configurations[cell.config]
            assert row.makes_sense(cell.source.version, cell.arch)
            assert known.matrix.architectures[cell.arch].makes_sense(cell.source.version)
            assert not known.matrix.configurations[cell.kernel].kernel


def test_includes_add_up_and_excludes_take_away(tmp_path):
    known = load(tmp_path, """
        [selection.some]
        exclude = ["new * debug-sg"]
        [[selection.some.include]]
        cells = ["* x86_64 default", "new x86_64 debug-sg*"]
        [[selection.some.include]]
        cells = ["old x86_64 default"]
        suites = ["faults", "core"]
    """)  # fmt: skip
    cells = known.cells("some")
    assert names(cells)[:2] == ["old x86_64 default", "new x86_64 default"]
    assert cells[0].suites == ("core", "faults")
    assert "new x86_64 debug-sg" not in names(cells)
    assert "new x86_64 debug-sg-no-vmap-stack" in names(cells)


def test_a_configuration_for_other_versions_or_architectures_is_no_cell(tmp_path):
    matrix = load_matrix()
    known = load(tmp_path, '[selection.all]\n[[selection.all.include]]\ncells = ["* * *"]\n')
    for cell in known.cells("all"):
        row = matrix.configurations[cell.config]
        assert not row.architectures or cell.arch in row.architectures


def test_shared_stages_are_one_and_lead_to_every_boot():
    course = plan(selections.load().cells("nightly"))
    place = {name: number for number, name in enumerate(course.stages)}
    for stage in course.stages.values():
        assert all(place[need] < place[stage.name] for need in stage.needs)
    fetches = [stage for stage in course.stages.values() if stage.kind is StageKind.FETCH]
    assert len(fetches) == len({stage.arguments["source"] for stage in fetches})
    groups = engine.grouped(course)
    assert sorted(stage.name for group in groups.values() for stage in group) == sorted(course.stages)
    assert {tuple(stage.kind for stage in group) for group in groups.values()} == {
        (StageKind.FETCH,),
        (StageKind.CONFIGURE, StageKind.BUILD, StageKind.IMAGE),
        (StageKind.BOOT,),
    }


def test_names_that_look_alike_stay_apart():
    assert slug("6.12", "x86_64") == "6.12-x86_64"
    assert len({slug("a/b"), slug("a_b"), slug("a b")}) == 3


def test_sources_of_the_command_line(tmp_path):
    known = load(tmp_path, '[selection.all]\n[[selection.all.include]]\ncells = ["* x86_64 default"]\n')
    more = known.with_sources([f"mine={tmp_path}", "old=apt:linux-source-6.1"])
    assert names(more.cells("all")) == ["old x86_64 default", "new x86_64 default", "mine x86_64 default"]
    assert more.sources["old"].version == "6.1"


INCLUDE = "[selection.a]\n[[selection.a.include]]\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[selection.a]\n", "selection.a: key 'include' is missing"),
        ("[selection.a]\ninclude = []\n", "needs at least one"),
        (INCLUDE + 'cells = ["6.12 x86_64"]\n', "is no cell"),
        (INCLUDE + 'cells = ["old x86_64 default"]\nsuites = ["corr"]\n', "no suite"),
        (INCLUDE + 'cells = ["old x86_64 default"]\nsuits = []\n', r"unknown key 'include\[0\].suits'"),
        (INCLUDE + 'cels = ["old x86_64 default"]\n', r"include\[0\]: key 'cells' is missing"),
        (INCLUDE + 'cells = "old x86_64 default"\n', r"include\[0\].cells: Expected `array`, got `str`"),
        ('[selection.a]\ninclude = "old x86_64 default"\n', "include: Expected `array`, got `str`"),
        ('[selection]\n[source."a b"]\nspec = "apt:linux-source-5.10"\n', "no name for a source"),
        ('[selection]\n[source.a]\nspec = "apt:../evil"\n', "not a Debian package's name"),
        ("[selection]\n[source.a]\nspec = 3\n", "source.a: spec: Expected `str`, got `int`"),
        ("[source.a]\nspec = 'apt:linux-source-5.10'\n", "key 'selection' is missing"),
        ("[selection", "cannot read .*selections.toml: Expected"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(MatrixError, match=sentence):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("none", "no selection 'none'"), ("odd", "no cell is called 'older"), ("empty", "excludes every cell")],
)
def test_a_selection_that_names_nothing_is_one_sentence(tmp_path, name, sentence):
    known = load(tmp_path, """
        [selection.odd]
        [[selection.odd.include]]
        cells = ["older x86_64 default"]
        [selection.empty]
        exclude = ["* * *"]
        [[selection.empty.include]]
        cells = ["old x86_64 default"]
    """)  # fmt: skip
    with pytest.raises(MatrixError, match=sentence):
        known.cells(name)
