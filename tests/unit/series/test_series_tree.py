# SPDX-License-Identifier: GPL-2.0-or-later
"""A series is found in a branch, a range or mails, and nothing of the user's changes by it."""

import subprocess

import pytest
from series_rig import BASE, CORE, DEV, DOCUMENT, commit, git, mails, subjects

from dmasafe.progress import SILENT
from dmasafe.series import tree as series_tree
from dmasafe.series.errors import SeriesError
from dmasafe.series.tree import Repository, from_lore


@pytest.fixture
def three(tree):
    """Three commits on the tag, the second of a document."""
    commit(tree, "core: One", core="one\n")
    commit(tree, "Documentation: Two", document="two\n")
    commit(tree, "core: Three", core="one\nthree\n", base="three\n")
    return tree


def state(tree):
    """Everything that could be left behind in somebody's repository."""
    words = ("rev-parse HEAD", "status --porcelain --ignored", "for-each-ref", "worktree list", "count-objects -v")
    return [git(tree, *word.split()) for word in words]


def test_without_a_range_it_is_what_the_branch_has_since_upstream(three, repository):
    before = state(three)
    found = repository.find([], None, SILENT)
    assert state(three) == before
    assert subjects(found.commits) == ["core: One", "Documentation: Two", "core: Three"]
    assert (found.base.subject, found.based_on) == ("Linux 6.12.117", "the merge base with v6.12.117")
    assert found.paths == (CORE, DOCUMENT, BASE)
    git(three, "branch", "--set-upstream-to=master", "mine")
    commit(three, "core: Four", core="four\n")
    git(three, "update-ref", "refs/heads/master", "HEAD~2")
    assert "@{upstream}" in repository.find([], None, SILENT).based_on
    assert subjects(repository.find([], None, SILENT).commits) == ["core: Three", "core: Four"]


def test_a_range_is_compared_with_where_it_left(three, repository):
    git(three, "checkout", "--quiet", "master")
    commit(three, "core: Elsewhere", core="elsewhere\n")
    # What happened on master meanwhile is not the series'.
    found = repository.find(["master..mine"], None, SILENT)
    assert (found.base.subject, len(found.commits)) == ("Linux 6.12.117", 3)
    assert found.based_on == "where it left master"
    assert subjects(repository.find(["mine~1..mine"], None, SILENT).commits) == ["core: Three"]
    for words in ["mine"], ["mine~1..mine"], ["master..mine"]:
        assert subjects(repository.find(words, "mine~2", SILENT).commits) == ["Documentation: Two", "core: Three"]


def test_a_documents_commit_has_the_kernel_of_the_one_before(three, repository):
    found = repository.find([], None, SILENT)
    one, two, _three = (found.compiled_as(each) for each in found.commits)
    assert one == two == found.commits[0].tree != found.compiled_as(found.base)


def test_behind_a_merge_the_tip_keeps_its_files_and_its_kernel(tree, repository):
    commit(tree, "core: One", core="one\n")
    git(tree, "checkout", "--quiet", "-b", "other", "HEAD~1")
    commit(tree, "dev: Two", dev="two\n")
    git(tree, "checkout", "--quiet", "mine")
    git(tree, "merge", "--quiet", "--no-ff", "-m", "Merge other", "other")
    found = repository.find(["v6.12.117..mine"], None, SILENT)
    assert (found.tip.subject, set(found.paths)) == ("Merge other", {CORE, DEV}) and "1 merge(s)" in found.notes[0]
    # Neither side's alone.
    assert found.compiled_as(found.tip) == found.tip.tree
    commit(tree, "base: Three", base="three\n")
    found = repository.find(["v6.12.117..mine"], None, SILENT)
    assert found.tip.paths == (BASE,) and set(found.paths) == {CORE, DEV, BASE}
    assert found.compiled_as(found.tip) == found.tip.tree
    commit(tree, "Documentation: Four", document="four\n")
    found = repository.find(["v6.12.117..mine"], None, SILENT)
    assert found.compiled_as(found.tip) not in {one.tree for one in found.commits[:2]}


def test_a_checkout_writes_only_what_differs(three, repository):
    found = repository.find([], None, SILENT)
    repository.check_out(found.base, found)
    times = {name: (repository.tree / name).stat().st_mtime_ns for name in (CORE, BASE, DOCUMENT, "Makefile")}
    tree = repository.check_out(found.commits[0], found)
    changed = [name for name, then in times.items() if (repository.tree / name).stat().st_mtime_ns != then]
    assert changed == [CORE]
    assert (tree.path / CORE).read_text() == "one\n"
    assert (tree.version, tree.changing) == ("6.12.117", True)
    # A file of a killed run's stands in nobody's way.
    (repository.home / "git" / "index.lock").touch()


def test_mails_make_the_commits_of_their_author(three, tmp_path, repository):
    box = mails(three, tmp_path, "v6.12.117..mine")
    git(three, "checkout", "--quiet", "master")
    before = state(three)
    found = repository.find([str(box)], None, SILENT)
    assert subjects(found.commits) == ["core: One", "Documentation: Two", "core: Three"]
    assert [one.author for one in found.commits] == ["dmasafe <dmasafe@example.org>"] * 3
    assert all(one.message_id and one.message_id.startswith("<") for one in found.commits)
    assert found.tip.tree == git(three, "rev-parse", "mine^{tree}")
    repository.check_out(found.tip, found)
    assert (repository.tree / BASE).read_text() == "three\n"
    assert state(three) == before
    # The same mails are the same commits: what was built for them is found again.
    assert repository.find([str(box)], None, SILENT) == found
    # As loose files, in any order.
    files = sorted(tmp_path.glob("*.patch"), reverse=True)
    assert repository.find([str(file) for file in files], None, SILENT) == found


def test_a_mail_alone_is_a_series(three, tmp_path, repository):
    git(three, "format-patch", "--quiet", "-o", tmp_path, "HEAD~1..HEAD")
    (file,) = tmp_path.glob("*.patch")
    # As a program saves it, without the line that begins a mail in a mailbox.
    file.write_text(file.read_text().split("\n", 1)[1])
    assert subjects(repository.find([str(file)], "HEAD~1", SILENT).commits) == ["core: Three"]


def test_mails_in_the_directory_above_are_no_range(three, tmp_path, repository, monkeypatch):
    mails(three, tmp_path, "v6.12.117..mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(repository.find(["../series.mbox"], "v6.12.117", SILENT).commits) == 3


def test_mails_go_onto_the_base_that_they_name(three, tmp_path, repository):
    base = git(three, "rev-parse", "v6.12.117")
    box = mails(three, tmp_path, "v6.12.117..mine")
    # Onto what is checked out they do not apply: it has them.
    with pytest.raises(SeriesError, match=r"'.*core: One' does not apply to .*name another --base"):
        repository.find([str(box)], None, SILENT)
    assert len(repository.find([str(box)], "v6.12.117", SILENT).commits) == 3
    box.write_text(box.read_text().replace("\n---\n", f"\n---\nbase-commit: {base}\n", 1))
    found = repository.find([str(box)], None, SILENT)
    assert found.based_on == "the base-commit of the mails"
    box.write_text(box.read_text().replace(base, "0" * 40))
    git(three, "checkout", "--quiet", "master")
    assert "is not in" in repository.find([str(box)], None, SILENT).notes[0]


def test_hunks_know_their_place(tree, repository):
    text = "\n".join(f"int f{n}(void)\n{{\n\treturn {n};\n}}\n" for n in range(30))
    commit(tree, "core: Begin", core=text)
    commit(tree, "core: Change", core=text.replace("return 3;", "return 33;").replace("return 20;", "return 0;"))
    found = repository.find(["HEAD~1..HEAD"], None, SILENT)
    one, two = repository.hunks(found.tip)
    assert (one.file, one.line, one.covers(18), one.covers(103)) == (CORE, 18, True, False)
    assert "-\treturn 20;" in two.text and two.covers(103)
    assert repository.blamed(found, CORE, 18) == found.tip
    assert repository.blamed(found, CORE, 2) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing..HEAD"], "no revision 'nothing'"),
        (["HEAD..HEAD"], "no commit between"),
        (["--help"], "no revision '--help'"),
        (["HEAD~1..HEAD", "more.mbox"], "no file more.mbox"),
        ([], "has no commit since .*v6.12.117: name a range"),
    ],
)
def test_a_mistake_is_one_sentence(repository, words, sentence):
    with pytest.raises(SeriesError, match=sentence):
        repository.find(words, None, SILENT)


def test_what_holds_no_patch_is_no_series(repository, tmp_path):
    (tmp_path / "text").write_text("From nobody Mon Sep 17 00:00:00 2001\nSubject: hello\n\nNothing.\n")
    with pytest.raises(SeriesError, match="no patch in"):
        repository.find([str(tmp_path / "text")], None, SILENT)


def test_without_a_repository_there_is_no_series(tmp_path, repository):
    with pytest.raises(SeriesError, match="is no git repository"):
        Repository(tmp_path, repository.cache)


def test_lore_needs_b4_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SeriesError, match="--lore needs b4"):
        from_lore("<id@example.org>", tmp_path)


def test_lore_is_asked_through_b4(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "b4").write_text(
        '#!/bin/sh\n[ "$6" = good@example.org ] || { echo "no such thread" >&2; exit 1; }\necho "$@" > "$3/$5"\n'
    )
    (tools / "b4").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert from_lore("good@example.org", tmp_path).name == "series.mbx"
    with pytest.raises(SeriesError, match=r"b4 could not get other@example.org: no such thread"):
        from_lore("other@example.org", tmp_path)


def test_a_shallow_clone_has_its_series(three, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth=3", f"file://{three}", clone], check=True)
    found = Repository(clone, series_tree.Cache(tmp_path / "cache"))
    found.cache.path("locks").mkdir(parents=True, exist_ok=True)
    with found.held(SILENT):
        assert subjects(found.find(["HEAD~2..HEAD"], None, SILENT).commits) == ["Documentation: Two", "core: Three"]
