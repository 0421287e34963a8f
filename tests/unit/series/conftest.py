# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree, and the repository that dmasafe keeps beside it."""

import shutil

import pytest
from series_rig import make_tree

from dmasafe.kernel.cache import open_cache
from dmasafe.progress import SILENT
from dmasafe.series.tree import Repository


@pytest.fixture(scope="session")
def first(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("linux"))


@pytest.fixture
def tree(first, tmp_path):
    return shutil.copytree(first, tmp_path / "linux")


@pytest.fixture
def repository(tree, tmp_path):
    found = Repository(tree, open_cache(tmp_path / "cache"))
    with found.held(SILENT):
        yield found
