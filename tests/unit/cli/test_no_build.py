# SPDX-License-Identifier: GPL-2.0-or-later
"""A build says what it is for and how long it takes, may be forbidden, and comes after what costs nothing to check."""

import pytest
from click.testing import CliRunner

from dmasafe.cli import audit_command, clients_command, repro_command
from dmasafe.errors import DmasafeError
from dmasafe.kernel import NotBuilt
from dmasafe.kernel.permission import announcement, building, may_build
from dmasafe.qemu import QemuError, accelerators
from dmasafe.targets import prepare


def test_a_build_says_for_what_how_long_and_how_to_do_without():
    assert announcement(2) == "about 10 minutes with 2 jobs if nothing is cached"
    with building("'dmasafe repro'", allowed=True):
        may_build("Linux 6.12", "make")
        assert announcement(64).endswith("1 minute with 64 jobs if nothing is cached; 'dmasafe repro' needs it "
                                         "(--no-build does without)")  # fmt: skip


def test_a_build_can_be_forbidden_and_is_allowed_again_afterwards():
    with (
        building("'dmasafe repro'", allowed=False),
        pytest.raises(NotBuilt, match="'dmasafe kernel build x' builds it"),
    ):
        may_build("Linux 6.12", "dmasafe kernel build x")
    may_build("Linux 6.12", "dmasafe kernel build x")


@pytest.fixture
def asked(monkeypatch):
    """Every kernel is one that must be built."""
    seen = []

    def build(source, configuration, *_rest, **_options):
        seen.append(configuration)
        may_build(f"configuration {configuration}", "dmasafe kernel build")
        raise AssertionError("it began to build")

    monkeypatch.setattr(prepare, "build_kernel", build)
    return seen


@pytest.mark.parametrize("command", [clients_command.command, audit_command.command])
def test_commands_that_need_another_kernel_do_not_build_it_unasked(asked, command, tmp_path):
    arguments = [
        "--no-build",
        *(["--results", str(tmp_path)] if command is clients_command.command else ["--", "true"]),
    ]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, NotBuilt), result.exception
    assert asked == ["upstream" if command is clients_command.command else "default"]


def test_repro_says_which_kernel_is_missing_and_goes_on(asked):
    log = "kernel BUG at include/linux/scatterlist.h:187!\n"
    result = CliRunner().invoke(repro_command.command, ["--no-build", "-"], input=log, standalone_mode=False)
    assert result.return_value == repro_command.UNKNOWN
    assert "configuration debug-sg is not built, and --no-build forbids it" in " ".join(result.output.split())
    assert asked == ["debug-sg"]


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (("6.12", "nosuch", "x86_64", None), "no configuration 'nosuch'"),
        (("6.12", "default", "x86_64", "foo"), "no accelerator 'foo'"),
    ],
)
def test_what_is_wrong_in_any_case_is_said_before_anything_is_built(asked, choice, why):
    with pytest.raises(DmasafeError, match=why):
        prepare.prepare(*choice, None)
    assert asked == []


def test_kvm_that_nobody_may_open_is_refused_and_options_of_an_accelerator_are_taken(monkeypatch):
    monkeypatch.setattr(accelerators, "KVM", "/no/such/device")
    with pytest.raises(QemuError, match="leave --accel out"):
        accelerators.require_accelerator("kvm")
    for choice in (None, "tcg", "tcg,thread=single"):
        accelerators.require_accelerator(choice)


@pytest.mark.parametrize("there", [False, True])
def test_a_module_that_cannot_be_built_is_said_before_anything_else(asked, tmp_path, there):
    directory = tmp_path / "module"
    if there:
        directory.mkdir()
    result = CliRunner().invoke(audit_command.command, ["--module", str(directory), "--", "true"])
    assert ("has no Kbuild file" if there else "no module directory") in str(result.exception)
    assert asked == []
