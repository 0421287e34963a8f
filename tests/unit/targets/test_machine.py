# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that plays a board: up once its SSH server listens, lost for the best reason before; who can have one."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_guest import FakeDevice, FakeGuest, FakeQemu

from dmasafe.kernel import MINIMAL
from dmasafe.qemu.machines import Machine
from dmasafe.qemu.process import Extras
from dmasafe.targets import machine as machines
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.machine import BoardGuest, require_ssh, with_ssh

MACHINE = Machine("x86_64", "x86_64", "qemu-system-x86_64", "q35", "max", "qemu-system-x86", ("ttyS1",))
IMAGE = GuestImage(MACHINE, Path("bzImage"), Path("initramfs.cpio"), "tcg")
READY = b"[    3.1] dmasafe: ssh is ready\r\n"
KEYS = SimpleNamespace(
    handover={"host-key": Path("/keys/host")},
    identity=Path("/keys/id"),
    known_hosts=lambda host, port: f"{host}:{port}",
)


class Bench:
    def __init__(self, monkeypatch, directory):
        self.qemu = FakeQemu(FakeGuest(release=None))
        self.qemu.ssh_port = lambda: 2222
        self.qemu.login_terminal = lambda: Path("/dev/pts/7")
        self.device = FakeDevice()
        self.directory = directory
        self.private = []
        monkeypatch.setattr(machines, "QemuProcess", lambda config: self.qemu(config))
        monkeypatch.setattr(machines, "make_devices", lambda image, private: self.device(image, private))
        monkeypatch.setattr(machines, "make_keys", lambda private: self.private.append(private) or KEYS)

    def guest(self, **options):
        return BoardGuest(SimpleNamespace(image=IMAGE), self.directory, **options)

    def console(self, text):
        self.qemu.console_end.sendall(text)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


def test_a_board_is_up_once_its_ssh_server_listens_and_leaves_nothing(bench):
    bench.console(b"booting\r\n" + READY)
    with bench.guest(controllers=("cp2112",)) as guest:
        assert (guest.port, guest.identity, guest.known_hosts) == (2222, Path("/keys/id"), "127.0.0.1:2222")
        assert guest.functions == {"virtio": "0000:00:0a.0", "dmasafe": "0000:00:06.0"} and guest.serial is None
        assert 0 < guest.boot_s < 60 and bench.private[0].is_dir()
        assert bench.device.image.extras == Extras({"host-key": Path("/keys/host")}, ssh=True)
        assert bench.device.image.controllers == ("cp2112",) and bench.device.ready == [machines.DEVICE_READY_S]
    assert bench.qemu.closed and bench.device.closed and not bench.private[0].exists()


def test_the_line_may_come_after_much_else(bench):
    bench.console(b"x" * 3 * machines._KEEP_BYTES + READY)
    with bench.guest() as guest:
        assert guest.boot_s > 0


@pytest.fixture
def in_pieces(bench):
    """The console says one half of the line, and the other once that was read."""
    receive = bench.qemu.console.recv
    pieces = [READY[:15], READY[15:]]

    class Console:
        fileno = bench.qemu.console.fileno

        @staticmethod
        def recv(size):
            receive(size)
            if len(pieces) > 1:
                bench.console(b"more")
            return pieces.pop(0)

    bench.qemu.console = Console()
    bench.console(b"first")
    return pieces


def test_a_line_that_comes_in_two_pieces_is_one(bench, in_pieces):
    with bench.guest():
        assert in_pieces == []


@pytest.mark.parametrize("password", ["", "secret"])
def test_a_second_terminal_has_logins_with_a_password_or_without(bench, password):
    bench.console(READY)
    with bench.guest(serial=True, serial_password=password) as guest:
        extras = bench.device.image.extras
        assert guest.serial == Path("/dev/pts/7") and extras.login
        assert extras.handover["password"].read_text() == f"{password}\n" and "host-key" in extras.handover


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", r"^the board did not come up: nothing came on its console \(its console is \S+/console.log\)$"),
        (b"one\r\ntwo \x1b[1m\r\n", r"^the board did not come up: two \\x1b\[1m \(its console is "),
        (
            b"Kernel panic - not syncing: no init\r\n",
            r"^the board did not come up: Kernel panic - not syncing: no init",
        ),
        (b"y" * 300, rf"^the board did not come up: {'y' * 200} \(its"),
    ],
)
def test_a_board_that_does_not_come_up_is_lost_with_its_last_line(bench, text, reason):
    bench.console(text)
    with pytest.raises(BootLost, match=reason):
        bench.guest(ready_s=0.2).__enter__()
    assert bench.qemu.closed and bench.device.closed and not bench.private[0].exists()


def test_a_panic_is_not_waited_out(bench):
    bench.console(b"Kernel panic - not syncing: no init\r\n")
    with pytest.raises(BootLost, match="no init"):
        bench.guest(ready_s=3600).__enter__()


@pytest.mark.parametrize(("words", "reason"), [("no memory", "no memory"), ("", "Booting")])
def test_a_qemu_that_ends_first_says_why(bench, words, reason):
    bench.console(b"Booting\n")
    bench.qemu.words = words
    bench.qemu.console_end.close()
    with pytest.raises(BootLost, match=rf"^QEMU ended before the board was up: {reason}$"):
        bench.guest().__enter__()


def test_a_guest_that_can_be_logged_into_keeps_its_other_extras():
    image = with_ssh(IMAGE, KEYS, Extras({"password": Path("/p")}, login=True))
    assert image.extras == Extras({"password": Path("/p"), "host-key": Path("/keys/host")}, ssh=True, login=True)
    assert with_ssh(IMAGE, KEYS).extras.login is False


@pytest.mark.parametrize(
    ("configuration", "image", "reason"),
    [
        ("board", "python", None),
        ("default+network", "python", None),
        ("board", MINIMAL, r"has no SSH server: say --image python$"),
        ("default", "python", r"asks for no \S.*, which SSH needs: say --config board, or --config default\+network$"),
    ],
)
def test_only_a_guest_with_a_network_and_a_server_can_be_logged_into(configuration, image, reason):
    if reason is None:
        require_ssh(configuration, "x86_64", image)
        return
    with pytest.raises(TargetError, match=reason):
        require_ssh(configuration, "x86_64", image)
