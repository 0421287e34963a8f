# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of docs/model.md are true."""

import doctest
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "model.md"
_EXAMPLE = re.compile(r"^## (?P<title>.+?)\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (match["title"], match["body"]) for match in _EXAMPLE.finditer(DOCUMENT.read_text()) if ">>> " in match["body"]
]


def test_there_are_ten_examples_and_predictions():
    assert [title.partition(".")[0] for title, _body in EXAMPLES] == [*(str(n) for n in range(1, 11)), "Predictions"]


@pytest.mark.parametrize(("title", "body"), EXAMPLES, ids=[title for title, _body in EXAMPLES])
def test_the_example_is_true(title, body):
    if "smbus2" in body:
        pytest.importorskip("smbus2")
    test = doctest.DocTestParser().get_doctest(body, {}, title, str(DOCUMENT), 0)
    results: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=results.append)
    assert results == []
