# SPDX-License-Identifier: GPL-2.0-or-later
"""What a board says of itself, what that means for KDIR, and what is never done to a board."""

import base64
import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.expect import expect
from dmasafe.guest.link import Done
from dmasafe.kernel.errors import BuildError
from dmasafe.kernel.kdir import BoardFiles, KernelDirectory, config_differences, make_arch_of, open_kdir
from dmasafe.outcome import Verdict, judge
from dmasafe.scenario import board_suite, parse_scenario
from dmasafe.targets.board import Board, BoardOptions, BoardTarget, check, probe
from dmasafe.targets.errors import TargetError

CONFIG = "# Linux/x86 6.12.1 Kernel Configuration\nCONFIG_SMP=y\nCONFIG_I2C_CHARDEV=y\nCONFIG_DMA_API_DEBUG=y\n"


class Link:
    """A board that answers what it is told to."""

    name = "ssh:desk"
    window_bytes, resend_s = 4096, 1.0

    def __init__(self, says="", config=""):
        self.says, self.config, self.commands = says, config, []

    def command(self, script, timeout_s=0.0):
        self.commands.append(script)
        return Done(0, self.config if "config.gz" in script else self.says)


def packed(config):
    return base64.encodebytes(gzip.compress(config.encode(), mtime=0)).decode()


SAYS = """release=6.12.1
machine=x86_64
root=1
oops=0
function=0000:00:05.0
function=0000:00:06.0
function=../../evil
bus=0
bus=3
bus=x
claimed=3-0050 at24
"""


def test_a_board_is_known_by_what_it_says():
    board = probe(Link(SAYS, packed(CONFIG)))
    assert (board.release, board.machine, board.functions) == ("6.12.1", "x86_64", ("0000:00:05.0", "0000:00:06.0"))
    assert (board.buses, board.panics) == ({0, 3}, False)
    assert board.claimed == {"3-0050": "at24"} and board.config == CONFIG


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"no gzip").decode(), packed("nothing")])
def test_a_configuration_that_cannot_be_read_is_none(text):
    assert probe(Link(SAYS, text)).config is None


@pytest.mark.parametrize(
    ("says", "why"), [("", "does not say what it runs"), (SAYS.replace("root=1\n", ""), "log in as root")]
)
def test_a_board_that_will_not_do_is_said(says, why):
    with pytest.raises(TargetError, match=why):
        probe(Link(says))


def kdir(release="6.12.1", arch="x86", config=CONFIG):
    return KernelDirectory(Path("/kdir"), release, arch, config)


BOARD = Board("6.12.1", "x86_64", buses=frozenset({0, 3}), claimed={"3-0050": "at24"}, config=CONFIG)


@pytest.mark.parametrize(
    ("directory", "why"),
    [
        (kdir(release="6.12.2"), "runs 6.12.1, but /kdir is for 6.12.2"),
        (kdir(arch="arm64"), "is x86_64, but /kdir is configured for arm64"),
        (kdir(config=CONFIG.replace("CONFIG_SMP=y", "")), "differ in CONFIG_SMP: such modules do not load"),
    ],
)
def test_what_would_not_load_is_said_before_anything_is_loaded(directory, why):
    with pytest.raises(TargetError, match=re.escape(why)):
        check(BOARD, directory, "ssh:desk")


def test_another_configuration_that_loads_is_a_note():
    assert check(BOARD, kdir(), "ssh:desk") == ()
    (note,) = check(BOARD, kdir(config=CONFIG + "CONFIG_VMAP_STACK=y\n"), "ssh:desk")
    assert "CONFIG_VMAP_STACK" in note and "the board's counts" in note


def test_what_compilers_call_themselves_is_no_difference():
    assert config_differences('CONFIG_CC_VERSION_TEXT="gcc 12"\n', 'CONFIG_CC_VERSION_TEXT="gcc 13"\n') == ()


@pytest.mark.parametrize(
    ("machine", "arch"),
    [("x86_64", "x86"), ("i686", "x86"), ("aarch64", "arm64"), ("armv7l", "arm"), ("alpha", "alpha")],
)
def test_machines_have_the_kernels_names(machine, arch):
    assert make_arch_of(machine) == arch


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "it has no Makefile"),
        ({"Makefile": ""}, "has no readable .config"),
        ({"Makefile": "", ".config": CONFIG}, "is not prepared for modules"),
        ({"Makefile": "", ".config": "nonsense", "include/config/kernel.release": "6.12.1"}, "is not prepared"),
    ],
)
def test_what_is_no_kernel_directory_is_said(tmp_path, files, why):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(BuildError, match=why):
        open_kdir(tmp_path)


def test_a_kernel_directory_says_its_release_either_way(tmp_path):
    (tmp_path / "Makefile").write_text("")
    (tmp_path / ".config").write_text(CONFIG)
    (tmp_path / "include" / "generated").mkdir(parents=True)
    (tmp_path / "include" / "generated" / "utsrelease.h").write_text('#define UTS_RELEASE "6.12.1-7-amd64"\n')
    found = open_kdir(tmp_path)
    assert (found.release, found.make_arch) == ("6.12.1-7-amd64", "x86")


def target(tmp_path, board=BOARD, **options):
    return BoardTarget(
        Link(), board, kdir(), BoardFiles((), tmp_path / "agent"), tmp_path / "run", tmp_path, BoardOptions(**options)
    )


class Silent:
    def stage(self, _text): ...

    def advance(self, _done, _total, _text): ...


@pytest.mark.parametrize(
    ("ids", "options", "why"),
    [
        (["heap/master_send/virtio/8"], {}, "no virtio I2C function"),
        (["user/i2cdev_read/board/8@50"], {}, "no bus is named"),
        (["user/i2cdev_read/board/8@50"], {"bus": 3, "addresses": (0x51,)}, "0x50 is not among those named"),
        (["user/i2cdev_write/board/8@50"], {"bus": 3, "addresses": (0x50,)}, "0x50 belongs to driver at24"),
        (["rodata/master_recv/dmasafe:pio/8"], {}, "it kills a task in the board's kernel"),
    ],
)
def test_what_was_not_allowed_is_skipped_and_the_board_not_touched(tmp_path, ids, options, why):
    place = target(tmp_path, **options)
    run = place.run([parse_scenario(id_) for id_ in ids], frozenset(ids), Silent())
    assert run.skipped.keys() == set(ids) and why in run.skipped[ids[0]]
    assert run.observations == {} and place._link.commands == [] and run.canary_splatted is False


def test_a_board_can_be_strict_where_its_kernel_lets_a_device_have_operations(tmp_path):
    with pytest.raises(TargetError, match=r"ssh:desk cannot be strict: .*CONFIG_ARCH_HAS_DMA_OPS"):
        target(tmp_path, strict=True)
    for symbol in ("ARCH_HAS_DMA_OPS", "DMA_OPS"):
        able = replace(BOARD, config=f"{CONFIG}CONFIG_{symbol}=y\n")
        place = target(tmp_path, able, strict=True)
        assert place.facts().strict_line == place._place.strict_line == 64
        assert target(tmp_path, able).facts().strict_line == 0
    with pytest.raises(TargetError, match="the controller's own engine"):
        target(tmp_path, able, strict=True, oracle=tmp_path)


def test_a_bus_that_is_not_there_is_said(tmp_path):
    with pytest.raises(TargetError, match="has no I2C bus 7: it has 0, 3"):
        target(tmp_path, bus=7)


def test_without_its_trace_an_emulated_function_is_not_used(tmp_path):
    board = Board("6.12.1", "x86_64", functions=("0000:00:05.0", "0000:00:06.0"))
    assert target(tmp_path, board)._place.functions == ()
    seen = target(tmp_path, board, oracle=tmp_path / "w")._place
    assert (seen.virtio, seen.dmasafe) == ("0000:00:05.0", "0000:00:06.0")


def test_the_board_suite_only_reads():
    for scenario in board_suite((0x48, 0x50)):
        assert scenario.controller == "board" and scenario.reads, scenario.id
        assert "w" not in scenario.option("messages") and scenario.option("rd", "1") == "1"
        assert parse_scenario(scenario.id) == scenario
    assert {scenario.address for scenario in board_suite((0x48, 0x50))} == {0x48, 0x50}


def test_a_device_that_answers_is_safe_and_a_splat_is_not(tmp_path):
    from dmasafe.outcome import CallerMessage, Observation

    expectation = expect(board_suite()[0], target(tmp_path).facts())
    good = Observation(1, (CallerMessage(True, b"\x00"),))
    assert judge(expectation, good).verdict is Verdict.PASS
    assert judge(expectation, Observation(-6, transferred=False)).verdict is Verdict.FAIL
