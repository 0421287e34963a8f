# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU process: its command line, its private channels, its QMP, its end.

The console, the agent's port and QMP are socket pairs inherited by QEMU, so nothing listens anywhere; only the
vhost-user sockets, on which the emulated devices listen, are files, in a private directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import re
import signal
import socket
import subprocess
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmasafe import scratch
from dmasafe.closing import Closing
from dmasafe.qemu import QemuError, hosts
from dmasafe.qemu.clock import clock_words
from dmasafe.qemu.device_tree import changed_tree
from dmasafe.qemu.machines import (
    AGENT_SLOT,
    COMMON_CMDLINE,
    FUNCTION_SLOTS,
    HCDS,
    I2C_SLOTS,
    NETWORK_SLOT,
    SHARE_SLOT,
    Machine,
    pci_function,
)
from dmasafe.qemu.versions import firmware_options, options_for, qemu_version

if TYPE_CHECKING:
    import asyncio

QMP_TIMEOUT_S = 5.0
MEMORY_MIB = 256
SHARE_TAG = "dmasafe"
# Seccomp: refuse obsolete and resource-control calls, new privileges and new processes.
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_PR_SET_PDEATHSIG = 1
# A row of "info usernet": protocol and state, file descriptor, source address and port, destination, queues.
_FORWARDED = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(?P<port>\d+)\s+\S+\s+22\b")
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: a harness that is killed outright must not leave a machine running."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass(frozen=True)
class Extras:
    """What a machine has only where somebody asks for it.

    ``handover``: files that the guest finds as fw_cfg files below opt/dmasafe. ``ssh``: a network in which there is
    only the guest, whose port 22 the host reaches at a port of 127.0.0.1. ``login``: the machine's second terminal, at
    a pty of the host's. ``gdb``: the socket that a debugger connects to. ``arguments``: a user's
    own words for QEMU, which come last. ``share``: a directory, as 9p's SHARE_TAG.
    """

    handover: Mapping[str, Path] = field(default_factory=dict)
    ssh: bool = False
    login: bool = False
    gdb: Path | None = None
    arguments: tuple[str, ...] = ()
    share: Path | None = None

    def options(self, machine: Machine) -> list[str]:
        """QEMU's options for all this."""
        options = []
        for name, path in self.handover.items():
            options += ["-fw_cfg", f"name=opt/dmasafe/{name},file={_escape(path)}"]
        if self.ssh:
            # Port 0: the host's kernel chooses one that is free.
            options += ["-netdev", "user,id=ssh,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22"]
            options += ["-device", f"virtio-net-pci,netdev=ssh,addr={NETWORK_SLOT:#x},romfile=,disable-legacy=on"]
        if self.login:
            options += ["-chardev", "pty,id=login", *machine.login[1:]]
        if self.gdb is not None:
            options += ["-chardev", f"socket,id=gdb,path={_escape(self.gdb)},server=on,wait=off"]
            options += ["-gdb", "chardev:gdb"]
        if self.share is not None:
            options += ["-fsdev", f"local,id=share,security_model=none,path={_escape(self.share)}"]
            options += ["-device", f"virtio-9p-pci,fsdev=share,mount_tag={SHARE_TAG},addr={SHARE_SLOT:#x}"]
        return options

    def words(self, machine: Machine) -> list[str]:
        """What the guest's init is told of it."""
        return [f"dmasafe.login={machine.login[0]}"] if self.login else []


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class UsbDevice:
    """A device behind the USB host controller ``hcd`` (``xhci`` or ``ehci``) that speaks usbredir at ``socket``."""

    hcd: str
    socket: Path


@dataclass(frozen=True)
class MachineConfig:
    """What to boot. ``i2c_sockets`` maps controller names to vhost-user sockets, in the order of their PCI slots.

    ``usb`` maps further ones to USB devices, ``hosts`` those of upstream's own (dmasafe/devices/hosts) and
    ``functions`` the user's PCI functions to vfio-user sockets.
    """

    machine: Machine
    accelerator: str
    kernel: Path
    initrd: Path
    i2c_sockets: Mapping[str, Path]
    console_log: Path
    stderr_log: Path
    cmdline: Sequence[str] = ()
    memory_mib: int = MEMORY_MIB
    cpus: int = 1
    sandbox: bool = True
    extras: Extras = NO_EXTRAS
    usb: Mapping[str, UsbDevice] = field(default_factory=dict)
    hosts: Mapping[str, Path] = field(default_factory=dict)
    functions: Mapping[str, Path] = field(default_factory=dict)

    @property
    def vfio_user(self) -> dict[str, tuple[int, Path]]:
        """PCI slot and socket of each function that vfio-user carries."""
        slots = {**hosts.slots(self.hosts), **dict(zip(self.functions, FUNCTION_SLOTS, strict=False))}
        return {name: (slot, {**self.hosts, **self.functions}[name]) for name, slot in slots.items()}

    def i2c_functions(self) -> dict[str, str]:
        """Controller name -> the PCI function it sits on, as sysfs names it."""
        slots = dict(zip(self.i2c_sockets, I2C_SLOTS, strict=False))
        slots |= {name: slot for name, (slot, _path) in self.vfio_user.items()}
        return {name: pci_function(self.machine, slot) for name, slot in slots.items()}


def command_line(
    config: MachineConfig,
    console_fd: int,
    agent_fd: int,
    qmp_fd: int,
    device_tree: Path | None = None,
    tables: Sequence[Path] = (),
) -> list[str]:
    """QEMU's arguments for this machine; the three numbers are inherited socket descriptors.

    ``device_tree`` is what the kernel is given instead of QEMU's own, ``tables`` are ACPI tables beside QEMU's.
    """
    machine = config.machine
    version = qemu_version(machine.binary, machine.debian_package)
    words = (*COMMON_CMDLINE, *machine.cmdline, *clock_words(machine, config.accelerator))
    append = " ".join((*words, *config.extras.words(machine), *config.cmdline))
    cpu = machine.cpu + (machine.random if config.extras.ssh else "")
    command = [
        machine.binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", config.accelerator,
        "-machine", f"{machine.words(config.accelerator)},memory-backend=ram",
        "-cpu", cpu if config.accelerator == "tcg" else "host",
        "-smp", str(config.cpus), "-m", f"{config.memory_mib}M",
        # vhost-user devices reach guest memory by mapping this file.
        "-object", f"memory-backend-memfd,id=ram,size={config.memory_mib}M,share=on",
        "-kernel", str(config.kernel), "-initrd", str(config.initrd), "-append", append,
        "-chardev", f"socket,id=console,fd={console_fd},logfile={_escape(config.console_log)},logappend=on",
        "-serial", "chardev:console",
        "-chardev", f"socket,id=qmp,fd={qmp_fd}",
        "-device", f"virtio-serial-pci,addr={AGENT_SLOT:#x},disable-legacy=on,max_ports=2",
        "-chardev", f"socket,id=agent,fd={agent_fd}",
        "-device", "virtserialport,chardev=agent,name=dmasafe.agent",
        *config.extras.options(machine), *machine.options, *options_for(version),
    ]  # fmt: skip
    command += firmware_options(machine.binary, machine.firmware)
    if device_tree is not None:
        command += ["-dtb", str(device_tree)]
    for table in tables:
        command += ["-acpitable", f"file={_escape(table)}"]
    if config.sandbox:
        command += ["-sandbox", SANDBOX]
    for slot, (name, path) in zip(I2C_SLOTS, config.i2c_sockets.items(), strict=False):
        # Without iommu_platform the guest's virtio core bypasses the DMA API, and dma-debug sees nothing.
        command += ["-chardev", f"socket,id=i2c-{name},path={_escape(path)}"]
        device = f"vhost-user-i2c-pci,chardev=i2c-{name},iommu_platform=on"
        command += ["-device", f"{device},addr={slot:#x}"]
    for slot, path in config.vfio_user.values():
        # Only the JSON form takes a socket.
        place = {"type": "unix", "path": str(path)}
        command += ["-device", json.dumps({"driver": "vfio-user-pci", "socket": place, "addr": f"{slot:x}.0"})]
    return command + _usb_options(config.usb) + list(config.extras.arguments)


def _usb_options(devices: Mapping[str, UsbDevice]) -> list[str]:
    options = []
    for hcd, (slot, device) in HCDS.items():
        if any(found.hcd == hcd for found in devices.values()):
            options += ["-device", f"{device},addr={slot:#x}"]
    for name, found in devices.items():
        options += ["-chardev", f"socket,id=usb-{name},path={_escape(found.socket)}"]
        options += ["-device", f"usb-redir,chardev=usb-{name},bus={found.hcd}.0"]
    return options


def _escape(path: Path) -> str:
    """QEMU's option syntax doubles commas."""
    return str(path).replace(",", ",,")


class QemuProcess(Closing):
    """A running QEMU; a context manager that leaves no process behind.

    ``console`` and ``agent`` are the harness's ends of the guest's serial console and virtio-serial port.
    Raises QemuError from ``__enter__`` when QEMU does not come up.
    """

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self._sockets: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Any = None
        self._qmp_loop: asyncio.AbstractEventLoop | None = None
        self._stack = contextlib.ExitStack()

    def _start(self) -> None:
        private = self._stack.enter_context(scratch.directory("qemu-"))
        pairs = [socket.socketpair() for _ in range(3)]
        self.console, self.agent, self._qmp_socket = (ours for ours, _ in pairs)
        self._sockets = [ours for ours, _ in pairs]
        theirs = [their for _, their in pairs]
        try:
            console, agent, qmp = (their.fileno() for their in theirs)
            tree, tables = self._device_tree(private), hosts.tables(self.config.hosts, private)
            command = command_line(self.config, console, agent, qmp, tree, tables)
            with self.config.stderr_log.open("ab") as stderr:
                # Its own session: Ctrl-C at the terminal is the harness's to handle.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=[their.fileno() for their in theirs],
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
        except OSError as error:
            raise QemuError(f"cannot start {command[0]}: {error}") from error
        finally:
            for their in theirs:
                their.close()

    def _device_tree(self, directory: Path) -> Path | None:
        machine, config = self.config.machine, self.config
        nodes = hosts.nodes(machine, config.hosts)
        if not machine.without and not nodes:
            return None
        path = directory / "machine.dtb"
        words = ["-nodefaults", "-cpu", machine.cpu, "-smp", str(config.cpus), "-m", f"{config.memory_mib}M"]
        command = [machine.binary, *words, "-display", "none", "-machine", machine.machine]
        changed_tree(command, path, machine.without, nodes)
        return path

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs; otherwise its exit status, negative for a signal."""
        assert self._process is not None
        return self._process.poll()

    def last_words(self) -> str:
        """The last lines that QEMU wrote to its standard error, for an error message.

        Warnings end nothing, and a newer QEMU may have some in every run.
        """
        with contextlib.suppress(OSError):
            lines = self.config.stderr_log.read_text(errors="replace").strip().splitlines()
            return " | ".join([line for line in lines if "warning: " not in line][-3:])
        return ""

    def qmp(self, command: str, **arguments: object) -> Any:
        """One QMP command's return value. Raises QemuError if QEMU does not answer within QMP_TIMEOUT_S."""
        # qemu.qmp starts an event loop and costs tens of ms to import: only a run that asks something pays.
        import asyncio

        from qemu.qmp import QMPClient, QMPError

        # Not the package's synchronous wrapper: its connect() has no bound, and a stopped QEMU never greets.
        if self._qmp_loop is None:
            # It logs what it also raises.
            logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
            self._qmp_loop = asyncio.new_event_loop()
        try:
            if self._qmp is None:
                self._qmp = QMPClient("dmasafe")
                self._within(self._qmp.connect(self._qmp_socket))
            return self._within(self._qmp.execute(command, arguments or None))
        except (QMPError, OSError, TimeoutError) as error:
            raise QemuError(f"QEMU did not answer '{command}' on QMP: {error or type(error).__name__}") from error

    def _within(self, answer: Coroutine[Any, Any, Any]) -> Any:
        import asyncio

        assert self._qmp_loop is not None
        return self._qmp_loop.run_until_complete(asyncio.wait_for(answer, QMP_TIMEOUT_S))

    def ssh_port(self) -> int:
        """The port of 127.0.0.1 behind which the guest's SSH server listens. Raises QemuError if there is none."""
        table = self.qmp("human-monitor-command", **{"command-line": "info usernet"})
        match = _FORWARDED.search(str(table))
        if match is None:
            raise QemuError(f"QEMU forwards no port to the guest's SSH server: {str(table).strip()[:200]}")
        return int(match["port"])

    def login_terminal(self) -> Path:
        """The pty of the machine's second terminal. Raises QemuError if there is none."""
        for chardev in self.qmp("query-chardev"):
            kind, _, name = str(chardev.get("filename", "")).partition(":")
            if chardev.get("label") == "login" and kind == "pty":
                return Path(name)
        raise QemuError("QEMU has no pty for the machine's second terminal")

    def run_state(self) -> str:
        """QMP's query-status: ``running``, ``shutdown``, ``guest-panicked``, ..., or ``unknown``."""
        with contextlib.suppress(QemuError):
            return str(self.qmp("query-status").get("status", "unknown"))
        return "unknown"

    def agent_port_open(self) -> bool | None:
        """Whether somebody in the guest has the agent's port open; None if QEMU does not say."""
        with contextlib.suppress(QemuError):
            for chardev in self.qmp("query-chardev"):
                if chardev.get("label") == "agent":
                    return bool(chardev.get("frontend-open"))
        return None

    def wait(self, timeout_s: float) -> int | None:
        """The exit status, or None if it still runs after the bound."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End the process and every channel; safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            # SIGKILL also ends a stopped process, which SIGTERM would not; there is nothing to save in it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._qmp_loop is not None:
            # QEMU is gone by now; disconnecting only collects the client's tasks.
            with contextlib.suppress(Exception):
                self._within(self._qmp.disconnect())
            self._qmp_loop.close()
            self._qmp, self._qmp_loop = None, None
        for sock in self._sockets:
            sock.close()
        self._sockets = []
        self._stack.close()
