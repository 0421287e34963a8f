# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU guest as a board: over SSH and over a serial line the same verdicts as booted, and a board left as it was."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from boards import shell_board

from dmasafe.devices.trace_socket import TraceServer
from dmasafe.guest.serial import SerialLink
from dmasafe.guest.ssh import Address, SshLink, SshOptions
from dmasafe.kernel import build_modules, open_cache
from dmasafe.progress import SILENT
from dmasafe.targets.machine import BoardGuest, board_image

ROOT = Path(__file__).parents[2]
RUN_TIMEOUT_S = 600
CUT_AFTER = 60
# No more than 4 KiB of memory is the board's own; what is left of a session would be seen here.
STATE = r"""
ls /tmp /run; cat /proc/modules
for f in /proc/sys/kernel/printk /sys/kernel/debug/dma-api/all_errors /sys/kernel/debug/dma-api/driver_filter; do
echo "$f: $(cat $f)"
done
for d in /sys/bus/pci/devices/*; do echo "$d $(readlink $d/driver) $(cat $d/driver_override)"; done
ls /sys/bus/i2c/devices
"""
# Each outcome, both fronts, both controllers; two that cost a task in the kernel.
SLICE = (
    "heap/master_send/virtio/8",
    "stack/master_send_dmasafe/virtio/8",
    "heap/master_recv_dmasafe/dmasafe:bounce/256",
    "stack/*/dmasafe:bounce/8",
    "module-rodata/master_send_dmasafe/dmasafe:trusting/8",
    "rodata/master_recv_dmasafe/dmasafe:bounce/8",
    "coherent/master_recv_dmasafe/dmasafe:bounce/8",
    "user/i2cdev_*/dmasafe:bounce/8*",
    "rodata/master_recv/dmasafe:pio/8",
)


class _Board:
    """A running board, how a run names it, and its state as somebody else sees it."""

    def __init__(self, guest, image, oracle, tmp_path):
        self.guest, self.image, self.oracle, self.tmp_path = guest, image, oracle, tmp_path
        self.target = f"ssh:root@{guest.host}:{guest.port}"

    def link(self):
        options = SshOptions(self.guest.known_hosts, self.guest.identity)
        return SshLink(Address(self.guest.host, "root", self.guest.port), options)

    def state(self):
        with contextlib.closing(self.link()) as link:
            return link.command(STATE).output

    def arguments(self, *more, command="run"):
        return [
            *(command, "--target", self.target, "--kdir", self.image.build.build_dir, "--oracle", self.oracle),
            *("--identity", self.guest.identity, "--known-hosts", self.guest.known_hosts, *more),
        ]


@pytest.fixture(scope="module")
def ssh_board(tmp_path_factory):
    """A board with SSH and the emulated I2C functions, whose devices' trace is served at a socket."""
    logs = tmp_path_factory.mktemp("board")
    image = board_image(SILENT)
    with (
        BoardGuest(image, logs) as guest,
        TraceServer(guest.device.channel, logs / "oracle"),
        _listening(guest.qemu),
    ):
        yield _Board(guest, image, logs / "oracle", logs)


@contextlib.contextmanager
def _listening(qemu):
    """Somebody must read the console, or the guest waits for it in its first oops."""
    qemu.console.setblocking(True)

    def listen():
        with contextlib.suppress(OSError):
            while qemu.console.recv(65536):
                pass

    threading.Thread(target=listen, daemon=True).start()
    yield


def rows(out):
    return {row["id"]: row for row in json.loads((out / "latest" / "results.json").read_text())["scenarios"]}


def same(mine, theirs):
    """All that two runs must agree on."""
    keys = ("verdict", "outcome", "expected", "direct")
    return {id_: [row[key] for key in keys] + [[s["class"] for s in row["splats"]]] for id_, row in mine.items()} == {
        id_: [row[key] for key in keys] + [[s["class"] for s in row["splats"]]] for id_, row in theirs.items()
    }


@pytest.fixture(scope="module")
def booted(dmasafe, tmp_path_factory):
    """The slice as --target qemu judges it."""
    out = tmp_path_factory.mktemp("booted")
    dmasafe("run", *SLICE, "--out", out, check=0)
    return rows(out)


def test_over_ssh_the_verdicts_are_those_of_qemu_and_nothing_is_left(ssh_board, booted, dmasafe, tmp_path):
    before = ssh_board.state()
    dmasafe(*ssh_board.arguments("--destructive", "--out", tmp_path, *SLICE), check=0, timeout=RUN_TIMEOUT_S)
    assert same(rows(tmp_path), booted)
    assert ssh_board.state() == before


@pytest.mark.skipif("DMASAFE_SERIAL" not in os.environ, reason="takes two minutes: DMASAFE_SERIAL=1")
def test_over_a_bad_serial_line_the_verdicts_are_those_of_qemu(guest, booted, dmasafe, tmp_path):
    with shell_board(guest, tmp_path / "board") as (line, oracle):
        line.damage = 0.002
        out = tmp_path / "out"
        target = f"serial:{line.device}@1500000"
        arguments = ("run", "--target", target, "--kdir", guest.build.build_dir, "--oracle", oracle, "--destructive")
        dmasafe(*arguments, "--out", out, *SLICE, check=0, timeout=RUN_TIMEOUT_S)
        assert same(rows(out), booted)
        line.damage = 0.0
        with contextlib.closing(SerialLink(line.device, 1500000)) as link:
            assert link.command("ls /tmp /run; cat /proc/modules").output.split() == ["/run:", "/tmp:"]
            assert link.command("cat /proc/sys/kernel/printk").output.split()[0] != "1"


def test_without_a_trace_the_engine_takes_over_and_virtio_is_skipped(ssh_board, dmasafe, tmp_path):
    arguments = [word for word in ssh_board.arguments() if word not in ("--oracle", ssh_board.oracle)]
    chosen = (
        "heap/master_send/virtio/8",
        "heap/master_*/dmasafe:bounce/8",
        "module-rodata/master_send/dmasafe:trusting/8",
    )
    dmasafe(*arguments, "--out", tmp_path, *chosen, check=0, timeout=RUN_TIMEOUT_S)
    found = rows(tmp_path)
    assert "no trace of the virtio device" in found["heap/master_send/virtio/8"]["why"]
    assert found["heap/master_send_dmasafe/dmasafe:bounce/8"]["direct"] is True
    assert found["module-rodata/master_send/dmasafe:trusting/8"]["outcome"] == "CAUGHT"


def test_a_link_cut_in_mid_suite_is_said_tidied_up_and_resumed(ssh_board, dmasafe, tmp_path):
    with contextlib.closing(ssh_board.link()) as link:
        link.command("dmesg -c > /dev/null")
    before = ssh_board.state()
    arguments = [str(word) for word in ssh_board.arguments("--out", tmp_path, "heap*/*/*/*")]
    run = subprocess.Popen(
        [sys.executable, "-m", "dmasafe.cli", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    _cut_ssh_in_the_middle(ssh_board, run)
    output, _ = run.communicate(timeout=RUN_TIMEOUT_S)
    assert run.returncode == 2, output
    first = rows(tmp_path)
    lost = {id_ for id_, row in first.items() if row["verdict"] == "INCONCLUSIVE"}
    done = {id_ for id_, row in first.items() if row["verdict"] == "PASS"}
    assert lost and done and lost | done == first.keys()
    assert {row["why"] for id_, row in first.items() if id_ in lost} and all(
        "the agent's channel was closed" in first[id_]["why"] or "link is cut" in first[id_]["why"] for id_ in lost
    )
    assert ssh_board.state() == before

    resumed = ssh_board.arguments("--out", tmp_path, "--resume", tmp_path / "latest")
    dmasafe(*resumed, check=0, timeout=RUN_TIMEOUT_S)
    merged = rows(tmp_path)
    assert list(merged) == list(first) and {row["verdict"] for row in merged.values()} == {"PASS"}
    # Nobody checked the board after the cut: what had passed was run again, too.
    assert all("doubt" in first[id_] for id_ in done) and not any("doubt" in row for row in merged.values())


def _cut_ssh_in_the_middle(board, run):
    """Kill the board's end of the connection once scenarios are under way: one's mark is in the log by then.

    All on the board, and without a process for each step: the scenarios do not wait for us.
    """
    script = f"""
read -r _ _ _ server _ < /proc/$PPID/stat
tries=0
until dmesg | grep -q 'dmasafe: end {CUT_AFTER}$'; do
tries=$((tries + 1)); [ $tries -lt 6000 ] || exit 1
sleep 0.01
done
for p in /proc/[0-9]*; do
read -r pid _ _ parent _ < $p/stat
[ "$parent" = "$server" ] && [ "$pid" != "$PPID" ] && kill -9 "$pid"
done; true
"""
    with contextlib.closing(board.link()) as link:
        done = link.command(script, RUN_TIMEOUT_S)
    assert done.status == 0, f"scenario {CUT_AFTER} never ended; the run: {run.poll()}"


def test_a_command_right_after_an_upload_is_done(ssh_board):
    for _ in range(10):
        with contextlib.closing(ssh_board.link()) as link:
            link.upload({"uploaded": b"here"}, "/tmp")
            assert link.command("cat /tmp/uploaded && rm /tmp/uploaded").output == "here"


def test_a_driver_on_a_board_is_audited_and_named_at_its_line(ssh_board, dmasafe):
    (module,) = build_modules(ssh_board.image.build, ROOT / "docs/examples/buggy", open_cache(), cflags=("-g",))
    before = ssh_board.state()
    with contextlib.closing(ssh_board.link()) as link:
        link.upload({module.name: module.read_bytes()}, "/tmp")
        read = f"""insmod /tmp/{module.name} && rm /tmp/{module.name} &&
cd /sys/bus/i2c/devices/i2c-$DMASAFE_BUS && echo thermo 0x30 > new_device && cat $DMASAFE_BUS-0030/temperature
echo 0x30 > delete_device && rmmod thermo"""
        options = ("--modules", module.parent, "--format", "json", "--", read)
        done = dmasafe(*ssh_board.arguments(*options, command="audit"), check=1)
    found = json.loads(done.stdout)
    assert found["distrust"] == [] and found["kernel"]["release"] == ssh_board.image.kernel.release
    (finding,) = found["findings"]
    message = found["messages"][finding["message"]]
    caller = message["frames"][message["caller"]]
    lines = (ROOT / "docs/examples/buggy/thermo.c").read_text().splitlines()
    assert (finding["rule"], caller["function"]) == ("flagged-unsafe", "thermo_measure")
    assert Path(caller["file"]).name == "thermo.c" and "i2c_master_recv_dmasafe" in lines[caller["line"] - 1]
    # The controller does DMA: the kernel noticed too.
    assert [splat["class"] for splat in found["splats"]] == ["map-vmalloc-rejected"]
    assert ssh_board.state() == before


def test_a_kernel_directory_of_another_release_is_refused_before_anything_is_loaded(ssh_board, dmasafe, tmp_path):
    before = ssh_board.state()
    kdir = tmp_path / "kdir"
    (kdir / "include" / "config").mkdir(parents=True)
    (kdir / "Makefile").write_text("")
    (kdir / ".config").write_text(ssh_board.image.build.config.read_text())
    (kdir / "include" / "config" / "kernel.release").write_text("6.12.99-other\n")
    arguments = [
        kdir if word == ssh_board.image.build.build_dir else word for word in ssh_board.arguments("--suite", "smoke")
    ]
    done = dmasafe(*arguments, "--out", tmp_path / "out", check=2)
    assert f"runs {ssh_board.image.build.release}, but" in done.stderr and "is for 6.12.99-other" in done.stderr
    assert ssh_board.state() == before
