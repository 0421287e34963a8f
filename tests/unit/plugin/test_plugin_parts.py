# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings, records and blame by themselves."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from dmasafe.dmesg import parse_path
from dmasafe.errors import DmasafeError
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Frame, Observation, Outcome, Splat
from dmasafe.pytest_plugin.dmesg import Dmesg
from dmasafe.pytest_plugin.lab import _scope_key
from dmasafe.pytest_plugin.options import OPTIONS
from dmasafe.pytest_plugin.settings import Settings
from dmasafe.targets import shared_boot
from dmasafe.targets.base import TargetRun
from dmasafe.targets.errors import BootLost
from dmasafe.targets.gathered import MAX_RECORDS_PER_SCENARIO
from dmasafe.targets.session import STRICT_PARAMETERS
from dmasafe.targets.shared_boot import MAX_MESSAGES_PER_TEST, PROBE, SeenRecords, SharedBoot

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"


class Config:
    """What Settings asks of pytest's."""

    def __init__(self, given=(), ini=()):
        self._given, self._ini = dict(given), dict(ini)

    def getoption(self, name):
        return self._given.get(name)

    def getini(self, name):
        return self._ini.get(name, "")


def test_the_command_line_wins_over_the_ini_file_and_that_over_the_default():
    settings = Settings.of(Config({"dmasafe_config": "debug-sg"}, {"dmasafe_config": "x", "dmasafe_accel": "tcg"}))
    assert (settings.config, settings.accel, settings.target, settings.boot_scope) == (
        "debug-sg",
        "tcg",
        "qemu",
        "session",
    )


def test_every_option_has_its_attribute_and_a_help_text():
    assert {option.ini for option in OPTIONS} == {f"dmasafe_{name}" for name in Settings.__dataclass_fields__}
    assert all(option.help for option in OPTIONS)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dmasafe_boot_scope": "module"}, "dmasafe_boot_scope = module: it is one of session, class, function"),
        ({"dmasafe_kdir": "/nowhere"}, "there is no kernel tree /nowhere"),
        ({"dmasafe_kernel": "apt:x", "dmasafe_kdir": "/"}, "both name a kernel"),
    ],
)
def test_what_cannot_be_chosen_is_said(given, why):
    with pytest.raises(DmasafeError, match=why):
        Settings.of(Config(given))


def test_a_tree_is_a_source_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "linux").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Settings.of(Config({"dmasafe_kdir": "linux"})).source() == str(tmp_path / "linux")


def message(stray=False, seq=None):
    segments = [{"address": 4096, "length": 2, "stray": stray}]
    return {
        "ev": "message", "controller": "virtio", "seq": seq, "addr": 72, "read": False, "len": 2, "data": "0102",
        "ok": True, "why": "", "segments": segments, "headers": [],
    }  # fmt: skip


def test_a_stray_dma_of_the_tests_is_seen_and_no_reason_to_distrust_the_boot():
    seen = SeenRecords(io.BytesIO())
    seen.take_event(message(stray=True))
    assert seen.messages[0].segments[0].stray
    assert seen.distrust is None


def test_a_broken_rule_of_virtio_and_a_gap_in_the_trace_are_reasons():
    for event in ({"ev": "dropped", "count": 1}, {"ev": "violation", "what": "loop", "why": "x", "seq": None}):
        seen = SeenRecords(io.BytesIO())
        seen.take_event(event)
        assert seen.distrust


def test_more_than_can_be_kept_is_never_silently_less():
    seen = SeenRecords(io.BytesIO())
    for _ in range(MAX_MESSAGES_PER_TEST + 1):
        seen.take_event(message())
    assert len(seen.messages) == MAX_MESSAGES_PER_TEST
    assert "I2C messages" in seen.overflow
    seen = SeenRecords(io.BytesIO())
    for number in range(MAX_RECORDS_PER_SCENARIO):
        seen.take_message({"ev": "kmsg", "seq": -1, "records": [f"4,{number},0,-;text"]})
    seen.outside()
    assert "log records" in seen.overflow


def test_reports_of_an_earlier_test_are_counted_as_such(tmp_path, monkeypatch):
    boot = mock.Mock()
    boot.request.return_value = {"errno": 0}
    boot.replies.side_effect = lambda: iter([{"answer": {}}])
    boot.read.side_effect = {f"{STRICT_PARAMETERS}/reports": "4", "/sys/kernel/debug/dma-api/error_count": "3"}.get
    monkeypatch.setattr(shared_boot, "Boot", lambda *_: boot)
    facts = KernelFacts("x86_64", (6, 12, 117), frozenset(), strict_line=64)
    shared = SharedBoot(mock.Mock(), mock.Mock(), facts, tmp_path)
    shared.begin("a test")
    assert (boot.reports_before, boot.strict_before) == (3, 4)


def test_a_check_that_was_not_whole_is_a_reason_to_distrust(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_boot, "Boot", mock.Mock())
    monkeypatch.setattr(shared_boot, "outcome_of", lambda _observation: (Outcome.SAFE, ""))
    shared = SharedBoot(mock.Mock(), mock.Mock(), mock.Mock(), tmp_path)
    run = TargetRun(mock.Mock(), None, True, {PROBE.id: Observation(8)})
    for one, reason in ((run, None), (replace(run, doubts={PROBE.id: "the guest died"}), "the guest died")):
        monkeypatch.setattr(shared, "run", lambda _scenarios, one=one: one)
        assert shared.distrust() == reason


@pytest.mark.parametrize("reason", [None, "the canary did not splat"])
def test_a_boot_that_its_checks_distrust_is_ended(tmp_path, monkeypatch, reason):
    shared = mock.Mock()
    shared.distrust.return_value = reason
    monkeypatch.setattr(shared_boot, "SharedBoot", lambda *_: shared)
    words = (mock.Mock(), mock.Mock(), mock.Mock(), tmp_path / "boot-1")
    with contextlib.nullcontext() if reason is None else pytest.raises(BootLost, match=reason):
        assert shared_boot.trusted_boot(*words) is shared
    assert shared.start.called and shared.end.called is (reason is not None)


def test_scenarios_keep_their_own_trace():
    seen = SeenRecords(io.BytesIO())
    seen.take_event(message(seq=5))
    assert not seen.messages
    assert len(seen.trace[5]) == 1


def records(name):
    return (FIXTURES / name).read_text().splitlines()


def test_expecting_one_class_leaves_the_others_unexpected():
    log = records("recorded-6.12-map-vmalloc-rejected-stack-trusting.log")
    log += records("recorded-6.12-map-invalid-area-module-data.log")
    dmesg = Dmesg(lambda: log, list, lambda: None)
    assert {splat.splat_class for splat in dmesg.splats} >= {"map-vmalloc-rejected", "map-invalid-area"}
    dmesg.expect("map-vmalloc-rejected")
    with pytest.raises(pytest.fail.Exception, match="map-invalid-area") as failure:
        dmesg.assert_clean()
    assert "map-vmalloc-rejected" not in str(failure.value)
    dmesg.expect("map-invalid-area")
    for splat in dmesg.unclaimed():
        dmesg.expect(splat.splat_class)
    dmesg.assert_clean()


def test_splats_are_resolved_once_and_what_comes_later_is_too():
    asked = []
    log = records("recorded-6.12-map-invalid-area-module-data.log")
    shown = log[:-1]

    def resolve(splats):
        asked.extend(splats)
        return splats

    dmesg = Dmesg(lambda: shown, resolve, lambda: None)
    assert dmesg.splats == dmesg.splats
    assert len(asked) == len(dmesg.splats) == len(list(parse_path(FIXTURES / log_name())))


def log_name():
    return "recorded-6.12-map-invalid-area-module-data.log"


def splat(*frames):
    return Splat("map-stack", "x", "y", "z", frames=frames, log_line=1)


def test_blame_goes_to_the_module_under_test_and_not_to_a_header_inlined_into_it():
    dmesg = Dmesg(list, list, lambda: None)
    dmesg.modules.add("thermo")
    dmesg.places = ("/home/me/thermo/",)
    controller = Frame("payload_map", 1, 2, "dmasafe_controller")
    header = Frame("i2c_master_recv_dmasafe", None, None, "thermo", file="include/linux/i2c.h", line=94)
    measure = Frame("thermo_measure", None, None, "thermo", file="/home/me/thermo/thermo.c", line=20)
    show = Frame("temperature_show", 5, 9, "thermo")
    assert dmesg.blame(splat(controller, header, measure, show)).function == "thermo_measure"
    assert dmesg.blame(splat(controller, show)).function == "temperature_show"
    assert dmesg.blame(splat(controller)).function == "payload_map"
    assert "blame: thermo_measure() [thermo] at /home/me/thermo/thermo.c:20" in dmesg.describe([splat(header, measure)])


@pytest.mark.parametrize(
    ("scope", "shared"),
    [("session", [True, True, True]), ("class", [True, False, False]), ("function", [False, False, False])],
)
def test_the_boot_scope_says_who_shares_a_boot(scope, shared):
    def item(nodeid, cls, module):
        parents = {pytest.Class: cls, pytest.Module: module}
        holders = {kind: None if name is None else SimpleNamespace(nodeid=name) for kind, name in parents.items()}
        return SimpleNamespace(nodeid=nodeid, getparent=holders.get)

    first = _scope_key(item("a.py::A::test_1", "a.py::A", "a.py"), scope)
    others = [("a.py::A::test_2", "a.py::A", "a.py"), ("a.py::test_3", None, "a.py"), ("b.py::test_4", None, "b.py")]
    assert [_scope_key(item(*other), scope) == first for other in others] == shared


@pytest.mark.parametrize(
    ("config", "strict", "found"),
    [
        ("default", "off", "default"),
        ("default", "on", "default+strict"),
        ("upstream", "on", "upstream+strict"),
        ("strict-128", "on", "strict-128"),
        ("strict", "off", "strict"),
        ("default", None, "default+strict"),
        ("default+debug-info", None, "default+debug-info+strict"),
        ("no-dma-debug", None, "no-dma-debug+strict"),
        ("strict-128", None, "strict-128"),
        ("upstream", None, "upstream+strict"),
        # A kernel of its own, that nobody asked for, or a machine on which it would see nothing.
        ("kasan", None, "kasan"),
        ("iommu", None, "iommu"),
    ],
)
def test_any_configuration_can_be_made_strict_once(config, strict, found):
    given = {"dmasafe_config": config, "dmasafe_strict": strict, "dmasafe_arch": "x86_64"}
    assert Settings.of(Config(given)).configuration == found


def test_nothing_is_strict_by_default_where_there_is_no_such_kernel():
    assert Settings.of(Config({"dmasafe_arch": "riscv64"})).configuration == "default"
