# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot: device process, QEMU, agent and console joined; from power-on to a guest that takes scenarios.

Everything that can end a boot early is noticed here, named, and raised as BootLost.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dmasafe import scratch
from dmasafe.carriers import CONTROLLERS, Controller, Plug
from dmasafe.carriers.own import OWN
from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.hosts import hosts
from dmasafe.facts import KernelFacts
from dmasafe.guest.agent import AgentChannel, Message, integer
from dmasafe.guest.console import Console
from dmasafe.qemu.machines import Machine
from dmasafe.qemu.process import MEMORY_MIB, NO_EXTRAS, Extras, MachineConfig, QemuProcess, UsbDevice
from dmasafe.targets.buses import mount_file_systems
from dmasafe.targets.errors import BootLost
from dmasafe.targets.gathered import Gathered
from dmasafe.targets.hosts import DriverFile, host_adapters
from dmasafe.targets.interrupt import interrupt_deferred
from dmasafe.targets.own import OwnDriver, bind_own, give_back
from dmasafe.targets.session import (
    BORROWED,
    CLIENT_MODULE,
    LIMITS,
    MODULES,
    STRICT_PARAMETERS,
    WINDOW,
    Limits,
    Session,
    borrowed_objects,
)
from dmasafe.targets.usb import bridge_adapters

CONSOLE_LOG = "console.log"
QEMU_LOG = "qemu.log"


@dataclass(frozen=True)
class GuestImage:
    """What is booted: a kernel image and an initramfs with the modules and the agent.

    ``controllers`` are those to be there beside the ones that always are, ``file_systems`` are (bus, file system) on
    flashes. ``modules`` are the files that the driver of each of upstream's own controllers is loaded from, in order.
    ``strict_line`` are the bytes of a cache line of the strict machine, 0 if it is none; ``strict_words`` are
    more parameters of its module. ``symbols`` are addresses that its kernel was linked to, if it stays there.
    ``untouched``: it is a distribution's kernel, and no module of the harness's is loaded.
    """

    machine: Machine
    kernel: Path
    initrd: Path
    accelerator: str
    cmdline: tuple[str, ...] = ()
    memory_mib: int = MEMORY_MIB
    extras: Extras = NO_EXTRAS
    controllers: tuple[str, ...] = ()
    file_systems: tuple[tuple[str, str], ...] = ()
    strict_line: int = 0
    strict_words: tuple[str, ...] = ()
    modules: Mapping[str, tuple[DriverFile, ...]] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    own: OwnDriver | None = None
    untouched: bool = False

    @property
    def rows(self) -> list[Controller]:
        """All controllers that the guest has."""
        if self.untouched:
            return [CONTROLLERS[name] for name in self.controllers]
        machine = self.machine.variation
        return [
            row for row in CONTROLLERS.values() if row.always or row.machine == machine or row.name in self.controllers
        ]

    def plugs(self, transport: str) -> dict[str, Plug]:
        """The emulated ones that QEMU reaches by this protocol."""
        return {row.name: row.plug for row in self.rows if row.plug is not None and row.plug.transport == transport}


def plugged_for(names: Iterable[str], facts: KernelFacts) -> tuple[str, ...]:
    """Those of these controllers that are there only if an image asks for them, and that the kernel can have."""
    asked = set(names)
    extra = (row for row in CONTROLLERS.values() if row.name in asked and not row.always and row.machine is None)
    return tuple(row.name for row in extra if row.missing(facts.has) is None)


def make_devices(image: GuestImage, directory: Path) -> DeviceProcess:
    """The process that plays the controllers of ``image``, its sockets in ``directory``."""
    bridges = {name: plug.device for name, plug in image.plugs("usbredir").items()}
    classes = {name: hosts()[name].function for name in image.plugs("vfio-user")}
    functions = {name: f"{kind.__module__}:{kind.__qualname__}" for name, kind in classes.items()}
    own, path = own_function(image)
    return DeviceProcess(directory, tuple(image.plugs("vhost-user")), bridges, functions | own, path)


def own_function(image: GuestImage) -> tuple[dict[str, str], Sequence[str]]:
    """The PCI function of the user's driver, if it is the user's too: its name with its import path, and the path."""
    if image.own is None or image.own.function is None:
        return {}, ()
    return {OWN.name: image.own.function}, image.own.path


def machine_config(image: GuestImage, device: DeviceProcess, log_directory: Path) -> MachineConfig:
    """What QEMU boots, connected to the device's process."""
    return MachineConfig(
        machine=image.machine,
        accelerator=image.accelerator,
        kernel=image.kernel,
        initrd=image.initrd,
        i2c_sockets={name: device.socket(name) for name in image.plugs("vhost-user")},
        console_log=log_directory / CONSOLE_LOG,
        stderr_log=log_directory / QEMU_LOG,
        cmdline=image.cmdline,
        memory_mib=image.memory_mib,
        extras=image.extras,
        usb={name: UsbDevice(plug.hcd, device.socket(name)) for name, plug in image.plugs("usbredir").items()},
        hosts={name: device.socket(name) for name in image.plugs("vfio-user")},
        functions={name: device.socket(name) for name in own_function(image)[0]},
    )


class Boot(Session):
    """A guest from power-on to power-off; a context manager that leaves no process, socket or directory behind."""

    def __init__(
        self,
        image: GuestImage,
        log_directory: Path,
        kmsg_log: BinaryIO,
        limits: Limits = LIMITS,
        gathered: Gathered | None = None,
    ) -> None:
        super().__init__(gathered or Gathered(kmsg_log), limits)
        self.image = image
        # Without a mailbox the device is told which one scenario is under way.
        self.window = 1 if image.untouched else WINDOW
        self.can_be_lazy = not image.untouched
        self._prepared = False
        self._log_directory = log_directory
        self._muted = False
        # The PCI function that the user's own driver has.
        self._lent = ""

    def _start(self) -> None:
        private = self._stack.enter_context(scratch.directory())
        self.device = self._stack.enter_context(make_devices(self.image, private))
        # QEMU connects to the vhost-user sockets at start and gives up if nobody listens yet.
        self.device.wait_ready(self.limits.request_s)
        config = machine_config(self.image, self.device, self._log_directory)
        started = time.monotonic()
        self.qemu = self._stack.enter_context(QemuProcess(config))
        self._functions = config.i2c_functions()
        self.agent = AgentChannel(self.qemu.agent)
        self.console = Console(self.qemu.console)
        self._selector = self._stack.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._selector.register(self.agent.fileno(), selectors.EVENT_READ)
        self._selector.register(self.device.fileno(), selectors.EVENT_READ)
        self._selector.register(self.console.fileno(), selectors.EVENT_READ)
        self._hear_hello(started)

    def prepare(self) -> None:
        """Load the modules, bind the adapters, tell the device where the mailbox is: once. Raises BootLost."""
        if self._prepared:
            return
        self._prove_machine()
        if self.image.untouched:
            self._ask_memory()
            self._take_hosts()
            self._prepared = True
            return
        if self.image.strict_line:
            self._be_strict(self.image.strict_line)
        # Not there without dma-debug.
        self.request("write", path="/sys/kernel/debug/dma-api/all_errors", data="1")
        self._load_client()
        for module in dict.fromkeys((*MODULES, *(row.module for row in self.image.rows if row.module is not None))):
            if module != CLIENT_MODULE:
                self.hands.load(f"/modules/{module}.ko")
        self._ask_machine()
        if self.image.own is not None and self.image.own.modules:
            self.lend(self.image.own)
        self._bind_pci()
        self.adapters |= bridge_adapters(self, tuple(self.image.plugs("usbredir")))
        self._take_hosts()
        mount_file_systems(self, self.image.file_systems)
        mailbox = self.read("/sys/module/dmasafe_client/parameters/mailbox")
        if mailbox is not None:
            with contextlib.suppress(ValueError):
                self.device.set_mailbox(int(mailbox, 0))
        self._prepared = True

    def _take_hosts(self) -> None:
        functions = {name: self._functions[name] for name in self.image.plugs("vfio-user")}
        self.adapters |= host_adapters(self, self.image.machine, functions, self.image.modules)

    def send(self, *messages: Message) -> None:
        """Queue requests, when the device knows whose what follows is. Raises BootLost if the system is gone."""
        for message in messages:
            if self.image.untouched and message["op"] == "run":
                self._tell_device(message["seq"])
        super().send(*messages)

    def _tell_device(self, seq: int) -> None:
        try:
            self.device.set_scenario(seq)
        except DevicesError as error:
            raise BootLost(str(error)) from error

    def _load_client(self) -> None:
        """Load the client module, which is told where objects are that it may borrow."""
        path = f"/modules/{CLIENT_MODULE}.ko"
        if self.image.symbols:
            # The module asks the kernel itself what is there. To read all of kallsyms takes a fifth of the boot.
            guess = f"{borrowed_objects(self.image.symbols)} guessed=1"
            if self.request("load", path=path, params=guess).get("errno") == 0:
                return
        self.hands.load(path, borrowed_objects(self.request("symbols", names=",".join(BORROWED))))

    def _be_strict(self, line: int) -> None:
        """Give the controllers DMA operations of the strict machine's, and the hardware the table of what is mapped."""
        devices = {row.name: row.maps_on for row in self.image.rows} | self._functions
        names = dict.fromkeys(name for name in devices.values() if name is not None)
        words = (f"line={line}", f"devices={','.join(names)}", *self.image.strict_words)
        self.hands.load("/modules/dmasafe_strict.ko", " ".join(words))
        table = self.read(f"{STRICT_PARAMETERS}/table")
        if table is None:
            raise BootLost("the strict machine does not say where its table is")
        self.device.set_strict(int(table, 0), self._functions)

    def lend(self, own: OwnDriver) -> int:
        """Give a driver of the user's its PCI function, which is nobody else's then: its adapter. Raises BootLost."""
        number, self._lent = bind_own(self, own, self._functions)
        self.adapters = {name: nr for name, nr in self.adapters.items() if self._functions.get(name) != self._lent}
        self.adapters[OWN.name] = number
        return number

    def take_back(self) -> None:
        """The user's driver is gone: its PCI function is whose it was. Raises BootLost."""
        function, self._lent = self._lent, ""
        self.adapters.pop(OWN.name, None)
        give_back(self, function)
        self._bind_pci()

    def fail_hardware(self, controller: str, name: str | None) -> None:
        try:
            self.device.set_fault(controller, name)
        except DevicesError as error:
            raise BootLost(str(error)) from error

    def _bind_pci(self) -> None:
        """The adapters of controllers that are PCI functions, where QEMU or the machine has put them."""
        for row in self.image.rows:
            function = row.function or self._functions.get(row.name)
            if function is None or function == self._lent or row.name in self.image.plugs("vfio-user"):
                continue
            reply = self.request("adapter", name=row.name, device=function, driver=row.driver)
            number = integer(reply, "nr")
            if reply.get("errno") == 0 and number is not None:
                self.adapters[row.name] = number

    def _prove_machine(self) -> None:
        """Raises BootLost unless the guest sees what the machine's variation must be."""
        machine = self.image.machine
        for line in machine.proof:
            path, word = line.split()
            found = self.read(path)
            if (found is not None) if word == "-" else (word not in (found or "").split()):
                seen = "is missing" if found is None else f"says {found[:80]!a}"
                raise BootLost(f"the guest does not run on the machine '{machine.variation}': {path} {seen}")

    def mute_console(self, muted: bool) -> None:
        """Keep an expected oops off the serial console, where under TCG each costs 30 ms; the kernel log has it all.

        At level 0 console_verbose() leaves the level alone, so a panic is mute too: _lost() says so.
        """
        self._muted = muted
        self.hands.write("/proc/sys/kernel/printk", "0" if muted else "4")

    def _pump(self, deadline: float, what: str) -> None:
        """Wait for anything to arrive and sort it. Raises BootLost at the deadline or when somebody died."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._lost(f"the guest hung: {what} did not come in time")
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.agent.unsent else 0)
        self._selector.modify(self.agent.fileno(), events)
        # Bounded, so that a QEMU that dies without closing its channels is noticed too.
        ready = {key.fd for key, _ in self._selector.select(min(left, 0.5))}
        if self.console.fileno() in ready and self.console.open:
            last_words = self.console.last_words()
            if not self.console.open:
                self._selector.unregister(self.console.fileno())
            if last_words is not None:
                raise BootLost(f"the guest died: {last_words}")
        if self.device.fileno() in ready:
            self._take_trace()
        if not self.device.alive:
            raise BootLost("the emulated device's process died")
        self._exchange_lines()
        if self.agent.violations:
            # Whose line it was cannot be known: answers may be missing.
            raise BootLost(f"the agent's lines were damaged: {self.agent.violations[0]}")
        if self.qemu.exit_status() is not None:
            raise self._lost("QEMU ended")

    def _take_trace(self) -> None:
        try:
            # As with the agent's lines: half a trace is a transfer that was never on the bus.
            with interrupt_deferred():
                for event in self.device.receive():
                    self.gathered.take_event(event)
        except DevicesError as error:
            raise BootLost(str(error)) from error
        if self.gathered.stalled is not None:
            raise BootLost(self.gathered.stalled)

    def sync_device(self) -> None:
        """Make sure that the trace of everything done so far is here. Raises BootLost."""
        with interrupt_deferred():
            try:
                self.device.sync(self.limits.sync_s)
            except DevicesError as error:
                raise BootLost(self._stopped() or str(error)) from error
            finally:
                self._take_trace()

    def _stopped(self) -> str | None:
        """A sentence if a process was stopped (SIGSTOP, a debugger), which no time-out can tell from slowness."""
        for what, pid in (("the emulated device's process", self.device.pid), ("QEMU", self.qemu.pid)):
            with contextlib.suppress(OSError):
                # proc(5): the state follows the name, which ends at the last ')'.
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state in ("T", "t"):
                    return f"{what} is stopped (process {pid}, state {state})"
        return None

    def _lost(self, symptom: str) -> BootLost:
        """The best reason for a lost guest: the console's last words, QEMU's end, or the symptom itself."""
        stopped = self._stopped()
        if stopped is not None:
            return BootLost(f"{symptom}: {stopped}")
        deadline = time.monotonic() + self.limits.last_words_s
        while time.monotonic() < deadline:
            last_words = self.console.last_words()
            if last_words is not None:
                return BootLost(f"the guest died: {last_words}")
            if not self.console.open:
                break
            with contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
                selector.register(self.console.fileno(), selectors.EVENT_READ)
                selector.select(0.1)
        status = self.qemu.wait(self.limits.last_words_s) if not self.console.open else self.qemu.exit_status()
        symptom = self.console.symptom or symptom
        if status is None:
            closed = "; the agent closed its port" if self.qemu.agent_port_open() is False else ""
            return BootLost(f"{symptom}{closed} (QEMU: {self.qemu.run_state()})")
        if status < 0:
            return BootLost(f"QEMU was killed by signal {-status}")
        words = self.qemu.last_words()
        if status or words:
            return BootLost(f"QEMU ended with status {status}" + (f": {words}" if words else ""))
        if self.console.symptom:
            return BootLost(f"the guest ended: {self.console.symptom}")
        muted = " (its console was muted, as a scenario was expected to oops)" if self._muted else ""
        return BootLost(f"the guest rebooted or powered off by itself{muted}")
