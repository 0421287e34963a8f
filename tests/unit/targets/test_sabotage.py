# SPDX-License-Identifier: GPL-2.0-or-later
"""A sabotage is done once, at its moment, to the boot that it is meant for; and it fails aloud if it cannot be done."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
from types import SimpleNamespace

import pytest
from fake_session import Heard

from dmasafe.dmesg import parse_records
from dmasafe.guest import ChannelClosed
from dmasafe.guest.agent import AgentChannel
from dmasafe.qemu.machines import Machine
from dmasafe.targets import sabotage
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.errors import TargetError
from dmasafe.targets.runner import _is_counted
from dmasafe.targets.sabotage import MIDDLE_ANSWERS, SABOTAGES, Moment, Sabotage, SabotageKind, Saboteur, saboteur
from dmasafe.targets.session import Limits

MACHINE = Machine("x86_64", "x86_64", "qemu-system-x86_64", "q35", "max", "qemu-system-x86", ("ttyS1",))


@pytest.fixture
def image(tmp_path):
    initrd = tmp_path / "initramfs.cpio"
    initrd.write_bytes(b"..modules/dmasafe_controller.ko\0..vermagic=6.12..")
    return GuestImage(MACHINE, tmp_path / "bzImage", initrd, "tcg", ("quiet",))


class FakeBoot:
    """Answers every request with ``reply`` and keeps the requests."""

    def __init__(self, **reply):
        self.reply = {"errno": 0, **reply}
        self.asked = []
        self.lies = []
        self.device = SimpleNamespace(pid=0, set_fault=lambda *lie: self.lies.append(lie))
        self.qemu = SimpleNamespace(pid=0, qmp=lambda command: self.asked.append(("qmp", command)))
        self.hands = SimpleNamespace(names=lambda path: ["virtio2", "other"])

    def request(self, op, **arguments):
        self.asked.append((op, *arguments.values()))
        return self.reply

    def send(self, message):
        self.asked.append(tuple(message.values()))


def row(**fields):
    return Sabotage("mine", SabotageKind.GUEST, "it breaks", "broken", **fields)


@pytest.fixture
def wrecked(image, tmp_path, monkeypatch):
    """``wrecked(row)``: boots in which the moments pass, and the numbers of those boots in which it was done."""

    def run(found, boots=2):
        done = []
        at = []
        changed = dict(found.__dict__, act=lambda boot: done.append((boot.number, at[-1])))
        saboteur = Saboteur(Sabotage(**changed), image, tmp_path)
        heard = Heard()
        watched = saboteur.watch(heard)
        for number in range(1, boots + 1):
            boot = FakeBoot()
            boot.number = number
            monkeypatch.setattr(sabotage, "Boot", lambda *_, boot=boot: contextlib.nullcontext(boot))
            at.append("booted")
            with saboteur.boots(saboteur.image, tmp_path, io.BytesIO(), Limits()):
                for stage in ("boot", "scenarios"):
                    at.append(stage)
                    watched.stage(stage)
                for answer in range(1, MIDDLE_ANSWERS + 3):
                    at.append(answer)
                    watched.advance(answer, None, "id")
        assert heard.stages == ["boot", "scenarios"] * boots
        assert len(heard.advances) == boots * (MIDDLE_ANSWERS + 2)
        return done

    return run


@pytest.mark.parametrize(
    ("moment", "when"),
    [(Moment.BOOTED, "booted"), (Moment.READY, "scenarios"), (Moment.MIDDLE, MIDDLE_ANSWERS)],
)
def test_it_is_done_at_its_moment_in_the_first_boot_or_in_every_one(wrecked, moment, when):
    assert wrecked(row(moment=moment)) == [(1, when)]
    assert wrecked(row(moment=moment, every=True)) == [(1, when), (2, when)]


def test_what_is_not_done_at_run_time_is_done_to_what_is_booted(wrecked, image, tmp_path):
    assert wrecked(row()) == []
    found = Saboteur(row(cmdline=("dma_debug=off",), initrd=bytes.upper), image, tmp_path)
    assert found.image.cmdline == ("quiet", "dma_debug=off")
    assert found.image.initrd != image.initrd and b"VERMAGIC=6.12" in found.image.initrd.read_bytes()
    assert Saboteur(row(), image, tmp_path).image == image


def test_one_that_is_not_known_is_named_with_all_that_are(image, tmp_path):
    assert saboteur("qemu-killed", image, tmp_path).image == image
    with pytest.raises(TargetError, match=r"no sabotage 'nothing': it is one of qemu-killed, "):
        saboteur("nothing", image, tmp_path)


@pytest.mark.parametrize("found", SABOTAGES.values(), ids=SABOTAGES)
def test_a_row_is_done_at_run_time_or_changes_what_is_booted(found):
    assert (found.act is None) == (found.moment is Moment.NEVER)
    assert found.act is not None or found.cmdline or found.initrd is not None or found.image
    assert found.spoils_all == (found.every or found.act is None)


@pytest.mark.parametrize("name", ["canary-module-missing", "foreign-modules"])
def test_an_initramfs_keeps_its_length_and_must_have_what_is_changed(name, image, tmp_path):
    changed = Saboteur(SABOTAGES[name], image, tmp_path).image.initrd.read_bytes()
    assert len(changed) == len(image.initrd.read_bytes()) and changed != image.initrd.read_bytes()
    image.initrd.write_bytes(b"nothing of it")
    with pytest.raises(TargetError, match="the initramfs has no"):
        Saboteur(SABOTAGES[name], image, tmp_path)


# What is asked of the guest, in order.
ASKED = {
    "qemu-paused": [("qmp", "stop")],
    "guest-panic": [("write", "/proc/sysrq-trigger", "c")],
    "reboot-loop": [("write", "/proc/sysrq-trigger", "b")],
    "agent-killed": [("write", "/proc/sysrq-trigger", "i")],
    "guest-hang": [("load", "/modules/dmasafe_sabotage.ko", "act=hang")],
    "log-flood": [("load", "/modules/dmasafe_sabotage.ko", "act=flood")],
    "soft-lockup": [
        ("write", "/proc/sys/kernel/watchdog_thresh", "1"),
        ("load", "/modules/dmasafe_sabotage.ko", "act=soft-lockup"),
    ],
    "error-budget": [
        ("write", "/sys/kernel/debug/dma-api/num_errors", "0"),
        ("write", "/sys/kernel/debug/dma-api/all_errors", "0"),
    ],
    "driver-filter-later": [("write", "/sys/kernel/debug/dma-api/driver_filter", "nobody")],
    "agent-port-closed": [("write", "/sys/bus/virtio/drivers/virtio_console/unbind", "virtio2")],
    "descriptor-loop": [
        ("write", "/sys/bus/virtio/drivers/i2c_virtio/unbind", "virtio2"),
        ("load", "/modules/dmasafe_sabotage.ko", "act=descriptor-loop"),
    ],
}


@pytest.mark.parametrize("name", ASKED)
def test_a_sabotage_asks_the_guest_for_what_it_needs(name):
    boot = FakeBoot()
    SABOTAGES[name].act(boot)
    assert boot.asked == ASKED[name]


@pytest.mark.parametrize("name", ["log-flood", "error-budget", "soft-lockup", "miscount", "descriptor-loop"])
def test_a_sabotage_that_the_guest_refuses_says_so(name):
    with pytest.raises(TargetError, match=r"^the sabotage failed: "):
        SABOTAGES[name].act(FakeBoot(errno=13))


def test_the_forged_report_is_one_that_dma_debug_would_have_counted():
    boot = FakeBoot()
    SABOTAGES["miscount"].act(boot)
    ((op, path, text),) = boot.asked
    assert (op, path) == ("write", "/dev/kmsg")
    (splat,) = parse_records([f"12,1,1,-;{text}"])
    assert splat.splat_class == "map-invalid-area" and _is_counted(splat)


def test_the_device_lies_as_the_row_says():
    boot = FakeBoot()
    SABOTAGES["device-lies-twice-virtio"].act(boot)
    assert boot.lies == [("virtio", "twice")]


@pytest.mark.parametrize(
    ("name", "which", "number"),
    [("qemu-killed", "qemu", signal.SIGKILL), ("device-killed", "device", signal.SIGKILL)],
)
def test_a_process_is_killed(name, which, number):
    boot = FakeBoot()
    child = subprocess.Popen(["sleep", "60"])
    getattr(boot, which).pid = child.pid
    SABOTAGES[name].act(boot)
    assert child.wait() == -number


def test_a_process_is_stopped_or_starved(monkeypatch):
    boot = FakeBoot()
    child = subprocess.Popen(["sleep", "60"])
    boot.device.pid = child.pid
    rested = []

    def rest(seconds):
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        rested.append(seconds)

    try:
        monkeypatch.setattr(sabotage.time, "sleep", rest)
        SABOTAGES["device-starved"].act(boot)
        os.waitid(os.P_PID, child.pid, os.WCONTINUED)
        assert rested == [sabotage.STARVED_S]
        SABOTAGES["device-stopped"].act(boot)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(("name", "ends"), [("half-line", False), ("half-line-then-end", True)])
def test_one_line_loses_its_second_half(name, ends):
    ours, theirs = socket.socketpair()
    boot = FakeBoot()
    boot.qemu = SimpleNamespace(agent=ours)
    SABOTAGES[name].act(boot)
    assert isinstance(boot.agent, AgentChannel)
    theirs.sendall(json.dumps({"re": "hello"}).encode() + b'\n{"re":"a"}\n')
    if ends:
        assert boot.agent.receive() == []
        with pytest.raises(ChannelClosed, match="in the middle of a line"):
            boot.agent.receive()
        return
    assert boot.agent.receive() == [{"re": "a"}] and len(boot.agent.violations) == 1
    theirs.sendall(b'{"re":"b"}\n')
    assert boot.agent.receive() == [{"re": "b"}] and len(boot.agent.violations) == 1
