# SPDX-License-Identifier: GPL-2.0-or-later
"""The site as files: whole, bounded, escaped, and never over something else."""

import json
import re
from html.parser import HTMLParser

import pytest
from matrix_samples import SEND, failed, history_of, reading, run
from matrix_site import HOSTILE, NIGHTS, runs

from dmasafe.matrix import site
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.site import plots


class Page(HTMLParser):
    """Every element with its attributes, and the text of some of them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)


@pytest.fixture
def written(file_database, tmp_path):
    with history_of(file_database, *runs()) as history:
        site.write(history, tmp_path / "site")
    return tmp_path / "site"


def test_every_page_is_there_and_every_link_leads_somewhere(written):
    pages = {path.name: Page(path.read_text()) for path in written.iterdir()}
    assert {"index.html", "scenarios.html", "splats.html", "timings.html", "detection.html"} < set(pages)
    assert sum(name.startswith("cell-") for name in pages) == 4
    for name, page in pages.items():
        ids = {found["id"] for _, found in page.elements if "id" in found}
        for tag, found in page.elements:
            if tag == "a":
                file, _, anchor = found["href"].partition("#")
                assert not file or file in pages, (name, found["href"])
                assert file or anchor in ids, (name, found["href"])


def test_nothing_is_loaded_from_anywhere(written):
    for path in written.iterdir():
        elements = Page(path.read_text()).elements
        for tag, found in elements:
            assert "src" not in found and tag not in ("link", "img", "iframe", "object"), (path.name, tag, found)
            assert not found.get("href", "").startswith(("http", "//", "javascript", "data"))
            assert "style" not in found and not any(key.startswith("on") for key in found)
        policies = [found["content"] for _, found in elements if found.get("http-equiv") == "Content-Security-Policy"]
        assert len(policies) == 1 and policies[0].startswith("default-src 'none'; style-src 'sha256-")


def test_text_of_a_guest_is_text(written):
    for path in written.iterdir():
        text = path.read_text()
        assert "<script>window.pwned" not in text and "<img" not in text and "<b>old" not in text
        page = Page(text)
        scripts = [found.get("type") for tag, found in page.elements if tag == "script"]
        assert scripts in ([None], [None, "application/json"])
    shown = [Page(path.read_text()).texts.get("pre", []) for path in written.glob("cell-*.html")]
    assert " ".join(HOSTILE.split()) in "".join(text for texts in shown for text in texts)


def data_of(directory):
    page = (directory / "scenarios.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def unpacked(data):
    """What site.js makes of the data: for each cell and night, scenario to verdict."""
    whole = []
    for coded in data["vectors"]:
        if "base" in coded:
            base = whole[coded["base"]]
            findings = list(base[1])
            for place, finding in zip(coded["changes"][::2], coded["changes"][1::2], strict=True):
                findings[place] = finding
            whole.append((base[0], findings))
        else:
            findings = [f for f, n in zip(coded["runs"][::2], coded["runs"][1::2], strict=True) for _ in range(n)]
            whole.append((coded["set"], findings))
    return {
        (cell["name"], night): None if number is None else {
            data["scenarios"][scenario][0]: data["findings"][finding][0]
            for scenario, finding in zip(data["sets"][whole[number][0]], whole[number][1], strict=True)
        }
        for cell, row in zip(data["cells"], data["grid"], strict=True)
        for night, number in zip(data["nights"], row, strict=True)
    }  # fmt: skip


def test_the_data_of_the_scenarios_is_what_was_recorded(written):
    found = unpacked(data_of(written))
    for one in runs():
        recorded = {id_: finding.verdict.value for id_, finding in one.findings.items()}
        assert found[one.cell.name, one.night] == recorded
    assert found["linux-source-6.12 x86_64 default faults", "2026-11-05"] is None


def test_only_the_last_nights_are_in_it(file_database, tmp_path):
    nights = [run(night, {SEND: failed(why=f"reason {night}x")} if night % 2 else {}) for night in range(60)]
    with history_of(file_database, *nights) as history:
        small = site.write(history, tmp_path / "small", nights=3)
        large = site.write(history, tmp_path / "large", nights=50)
    assert len(data_of(tmp_path / "small")["nights"]) == 3
    assert small < large
    assert "3 of 60 nights" in (tmp_path / "small" / "index.html").read_text()


def test_an_older_report_is_replaced_and_nothing_else_ever(written, file_database):
    (written / "cell-99.html").write_text("of a cell that is gone")
    with reading(file_database) as history:
        site.write(history, written)
        assert not (written / "cell-99.html").exists()
        (written.parent / "home").mkdir()
        (written.parent / "home" / "thesis.tex").write_text("x")
        with pytest.raises(MatrixError, match="holds something else than an older report"):
            site.write(history, written.parent / "home")
        with pytest.raises(MatrixError, match="not a directory"):
            site.write(history, written / "index.html")
    assert (written.parent / "home" / "thesis.tex").exists()
    assert sorted(path.name for path in written.parent.iterdir() if path.name.startswith(".")) == []


def test_an_empty_history_is_a_sentence(file_database, tmp_path):
    with reading(file_database) as history, pytest.raises(MatrixError, match="the history is empty"):
        site.write(history, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_what_changed_and_what_is_wrong_are_told(written):
    index = (written / "index.html").read_text()
    assert "New failure: 1" in index and SEND in index
    detection = (written / "detection.html").read_text()
    assert "log: map-stack" in detection and "nobody" in detection
    assert f"{NIGHTS} of {NIGHTS} nights" in index


def test_a_plot_breaks_where_nothing_was_measured_and_begins_at_zero():
    found = plots.plot("boot", ["a", "b", "c", "d"], [1.0, None, 2.0, 4.0], 100, 50)
    assert [[point.label for point in line] for line in found.lines] == [["a: 1.0 s"], ["c: 2.0 s", "d: 4.0 s"]]
    bottom, top = found.ticks[0], found.ticks[-1]
    assert bottom.label == "0.00 s" and top.at < found.lines[1][1].y + 1 < bottom.at
    assert (found.newest, found.usual, found.ratio) == (4.0, 1.5, 4.0 / 1.5)
    empty = plots.plot("build", ["a"], [None], 100, 50)
    assert empty.lines == () and empty.ratio is None
