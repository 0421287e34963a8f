# SPDX-License-Identifier: GPL-2.0-or-later
"""What Boot decides: when a guest is ready, when it is lost, and which reason it names. No QEMU: see fake_guest.py."""

import contextlib
import io
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_guest import MAILBOX, FakeDevice, FakeGuest, FakeQemu

from dmasafe.devices.errors import DevicesError
from dmasafe.facts import KernelFacts, MachineFacts
from dmasafe.qemu.machines import Machine
from dmasafe.scenario import CONTROLLERS
from dmasafe.targets import boot as boots
from dmasafe.targets.boot import Boot, GuestImage, machine_config, make_devices, plugged_for
from dmasafe.targets.errors import BootLost
from dmasafe.targets.hosts import DriverFile
from dmasafe.targets.session import BORROWED, IOMEM, Limits

LIMITS = Limits(boot_s=20, request_s=21, silence_s=22, sync_s=7.0, last_words_s=0.05)
# For those tests only in which nothing comes.
IMPATIENT = Limits(boot_s=0.1, request_s=0.1, silence_s=0.1, sync_s=7.0, last_words_s=0.05)
MACHINE = Machine("x86_64", "x86_64", "qemu-system-x86_64", "q35", "max", "qemu-system-x86", ("ttyS1",))
IMAGE = GuestImage(MACHINE, Path("bzImage"), Path("initramfs.cpio"), "tcg")
MESSAGE = {
    "ev": "message", "controller": "virtio", "seq": 1, "addr": 0x30, "read": False, "data": "00", "ok": True, "why": "",
    "segments": [],
}  # fmt: skip


class Bench:
    """Boot's surroundings; ``up`` enters a Boot."""

    def __init__(self, monkeypatch, directory):
        self.guest = FakeGuest()
        self.qemu = FakeQemu(self.guest)
        self.device = FakeDevice()
        self.directory = directory
        monkeypatch.setattr(boots, "QemuProcess", lambda config: self.qemu(config))
        monkeypatch.setattr(boots, "make_devices", lambda image, private: self.device(image, private))

    @contextlib.contextmanager
    def up(self, image=IMAGE, limits=LIMITS):
        with Boot(image, self.directory, io.BytesIO(), limits) as boot:
            self.boot = boot
            yield boot


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


@pytest.fixture
def stopped():
    """A process that was stopped."""
    child = subprocess.Popen(["sleep", "60"])
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    yield child.pid
    child.kill()
    child.wait()


# Up and down


def test_a_guest_is_up_once_its_agent_has_spoken(bench):
    with bench.up() as boot:
        assert boot.release == "6.12.117" and 0 < boot.boot_s < 10
        assert boot.reports_before == 0 and boot.adapters == {}
        assert bench.device.ready == [LIMITS.request_s]
        assert bench.device.directory.is_dir()
        assert not bench.qemu.closed and not bench.device.closed
    assert bench.qemu.closed and bench.device.closed and not bench.device.directory.exists()


def test_a_guest_that_was_not_started_is_none(tmp_path):
    boot = Boot(IMAGE, tmp_path, io.BytesIO(), LIMITS)
    assert (boot.release, boot.boot_s, boot.adapters, boot.reports_before) == ("", 0.0, {}, 0)


def test_a_guest_that_does_not_speak_is_lost_and_leaves_nothing(bench):
    bench.guest.release = None
    with pytest.raises(
        BootLost, match=r"^the guest hung: the agent's first word did not come in time \(QEMU: running\)$"
    ):
        bench.up(limits=IMPATIENT).__enter__()
    assert bench.qemu.closed and bench.device.closed and not bench.device.directory.exists()


def test_a_first_word_without_a_release_is_no_release(bench):
    bench.guest.hello = lambda: {"re": "hello"}
    with bench.up() as boot:
        assert boot.release == ""


def test_what_comes_before_the_first_word_is_dropped(bench):
    bench.qemu.agent.say({"re": "read", "data": "early"})
    bench.guest.does["read"] = lambda request: None
    with bench.up(limits=replace(LIMITS, request_s=0.1)) as boot, pytest.raises(BootLost, match="the reply to 'read'"):
        boot.read("/x")


def test_memory_lies_where_the_running_kernel_says(bench):
    bench.guest.files[IOMEM] = (
        "40000000-401fffff : System RAM\n  40080000-400fffff : Kernel code\n80000000-80000fff : ram"
    )
    bench.guest.does["run"] = lambda request: {"seq": request["seq"], "answer": {"dma_alignment": 64}}
    with bench.up() as boot:
        boot.prepare()
        assert boot.memory == (range(0x40000000, 0x40200000),)
        assert boot.machine == MachineFacts(memory=boot.memory, dma_alignment=64)
        # The agent refuses a number below 0.
        assert [request["seq"] for request in bench.guest.asked("run")] == [0]


@pytest.mark.parametrize("said", ["", "00000000-00000000 : System RAM", "00100000-0fffffff : Reserved"])
def test_a_guest_that_does_not_say_where_memory_lies_is_not_believed(bench, said):
    bench.guest.files[IOMEM] = said
    with bench.up() as boot, pytest.raises(BootLost, match=r"^/proc/iomem does not say where memory lies"):
        boot.prepare()


def test_qemu_gets_the_devices_sockets_and_the_logs_of_the_run(bench):
    image = replace(IMAGE, cmdline=("dma_debug=off",), controllers=("cp2112",), memory_mib=333)
    with bench.up(image):
        config = bench.qemu.config
    assert config.i2c_sockets == {"virtio": Path("/sockets/virtio"), "dmasafe": Path("/sockets/dmasafe")}
    assert (config.console_log, config.stderr_log) == (bench.directory / "console.log", bench.directory / "qemu.log")
    assert (config.kernel, config.initrd, config.accelerator) == (IMAGE.kernel, IMAGE.initrd, "tcg")
    assert (config.cmdline, config.memory_mib, config.machine) == (("dma_debug=off",), 333, MACHINE)
    assert config.usb["cp2112"].socket == Path("/sockets/cp2112")
    assert bench.device.image is image


def test_the_devices_process_plays_the_bridges_that_are_plugged_in(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(boots, "DeviceProcess", lambda *arguments: made.append(arguments))
    make_devices(replace(IMAGE, controllers=("cp2112", "dmasafe")), tmp_path)
    assert made == [(tmp_path, ("virtio", "dmasafe"), {"cp2112": CONTROLLERS["cp2112"].plug.device}, {}, ())]


def test_a_bridge_sits_behind_its_own_usb_host_controller(tmp_path):
    usb = machine_config(replace(IMAGE, controllers=("cp2112", "osif-ehci")), FakeDevice(), tmp_path).usb
    assert {name: device.hcd for name, device in usb.items()} == {"cp2112": "xhci", "osif-ehci": "ehci"}


def test_an_image_is_asked_only_for_what_not_every_guest_has_and_the_kernel_can_have():
    facts = KernelFacts(
        "x86_64", (6, 12, 117), frozenset({"HID_CP2112", "I2C_HID", "USB_HID", "I2C_I801", "I2C_VIRTIO"})
    )
    needs = frozenset(CONTROLLERS["cp2112"].needs) | facts.symbols
    facts = replace(facts, symbols=needs)
    assert plugged_for(["virtio", "dmasafe", "cp2112", "i801", "osif"], facts) == ("cp2112",)
    assert plugged_for(["virtio"], facts) == ()


# A distribution's kernel


def test_no_module_of_the_harnesses_is_loaded_into_a_distributions_kernel(bench, monkeypatch):
    monkeypatch.setattr(boots, "host_adapters", lambda boot, machine, functions, files: dict.fromkeys(functions, 5))
    image = replace(IMAGE, untouched=True, controllers=("ismt",), modules={"ismt": (DriverFile("i2c-ismt.ko"),)})
    assert make_devices(image, bench.directory)._controllers == ("ismt",)
    with bench.up(image) as boot:
        boot.prepare()
        assert boot.adapters == {"ismt": 5} and boot.machine.memory
        assert (boot.window, boot.can_be_lazy) == (1, False)
        boot.send({"op": "run", "seq": 3})
        boot.send({"op": "kmsg"})
    assert bench.guest.asked("load") == bench.guest.asked("adapter") == bench.guest.asked("symbols") == []
    assert bench.device.scenarios == [3] and bench.device.mailbox is None


# Prepared


def test_preparing_loads_the_modules_takes_the_adapters_and_tells_the_mailbox(bench):
    bench.guest.does["symbols"] = lambda request: {"kernel_config_data": "0x1000", "kernel_config_data_end": "0x1100"}
    with bench.up() as boot:
        boot.prepare()
        assert boot.adapters == {"virtio": 3, "dmasafe": 4}
    guest = bench.guest
    assert guest.asked("symbols") == [{"names": ",".join(BORROWED)}]
    assert guest.asked("load") == [
        {"path": "/modules/dmasafe_client.ko", "params": "rodata_address=0x1000 rodata_size=256"},
        {"path": "/modules/dmasafe_controller.ko", "params": ""},
    ]
    assert guest.asked("adapter") == [
        {"name": "virtio", "device": "0000:00:0a.0", "driver": "virtio-pci"},
        {"name": "dmasafe", "device": "0000:00:06.0", "driver": "dmasafe_controller"},
    ]
    assert guest.asked("write") == [{"path": "/sys/kernel/debug/dma-api/all_errors", "data": "1"}]
    assert bench.device.mailbox == 0x1000


@pytest.mark.parametrize("errno", [0, 116])
def test_where_the_kernel_was_linked_to_stays_there_its_table_of_symbols_is_read_only_if_the_module_objects(
    bench, errno
):
    bench.guest.does["symbols"] = lambda request: {"argv_init": "0xffffffff81000000"}
    bench.guest.does["load"] = lambda request: {"errno": errno if "guessed" in request["params"] else 0}
    with bench.up(replace(IMAGE, symbols={"argv_init": 0xFFFFFFFF82000000})) as boot:
        boot.prepare()
    parameters = [load["params"] for load in bench.guest.asked("load") if "client" in load["path"]]
    assert parameters[0] == "data_address=0xffffffff82000000 data_size=272 guessed=1"
    assert parameters[1:] == (["data_address=0xffffffff81000000 data_size=272"] if errno else [])
    assert len(bench.guest.asked("symbols")) == len(parameters) - 1


def test_a_guest_is_prepared_once(bench):
    with bench.up() as boot:
        boot.prepare()
        heard = len(bench.guest.heard)
        boot.prepare()
    assert len(bench.guest.heard) == heard


def test_the_module_of_other_buses_is_loaded_where_they_are_asked_for(bench):
    with bench.up(replace(IMAGE, controllers=("bus-spi",))) as boot:
        boot.prepare()
    assert [load["path"] for load in bench.guest.asked("load")][2:] == ["/modules/dmasafe_buses.ko"]
    assert bench.guest.asked("load")[2]["params"] == ""


def test_bridges_and_file_systems_are_prepared(bench):
    bench.guest.does["list"] = lambda request: {
        "errno": 0,
        "names": {"/sys/bus/usb/devices": ["1-1"], "/sys/bus/usb/devices/1-1": ["1-1:1.0"]}.get(
            request["path"], ["i2c-7"]
        ),
    }
    bench.guest.files["/sys/bus/usb/devices/1-1/serial"] = "cp2112"
    bench.guest.does["adapter"] = lambda request: {"errno": 0, "nr": 7}
    bench.guest.does["command"] = lambda request: {"errno": 0, "status": 0}
    image = replace(IMAGE, controllers=("cp2112",), file_systems=(("bus-spi", "jffs2"),))
    with bench.up(image) as boot:
        boot.prepare()
        assert boot.adapters["cp2112"] == 7
    assert "mount -t jffs2" in bench.guest.asked("command")[0]["command"]


def test_a_kernel_without_dma_debug_is_prepared_all_the_same(bench):
    bench.guest.does["write"] = lambda request: {"errno": 2}
    with bench.up() as boot:
        boot.prepare()
        assert boot.adapters


def test_a_module_that_the_guest_refuses_ends_the_boot(bench):
    bench.guest.does["load"] = lambda request: {"errno": 8 if "controller" in request["path"] else 0}
    with (
        bench.up() as boot,
        pytest.raises(BootLost, match=r"^the kernel refused dmasafe_controller.ko: Exec format error$"),
    ):
        boot.prepare()


@pytest.mark.parametrize("reply", [{"errno": 19}, {"errno": 19, "nr": 4}, {"errno": 0}, {"errno": 0, "nr": "many"}])
def test_an_adapter_that_does_not_come_is_left_out(bench, reply):
    bench.guest.does["adapter"] = lambda request: reply if request["name"] == "virtio" else {"errno": 0, "nr": 4}
    with bench.up() as boot:
        boot.prepare()
        assert boot.adapters == {"dmasafe": 4}


@pytest.mark.parametrize(("text", "address"), [("4096", 4096), ("0x2000", 0x2000), ("(null)", None), ("", None)])
def test_the_mailbox_is_where_the_module_says(bench, text, address):
    bench.guest.files[MAILBOX] = text
    with bench.up() as boot:
        boot.prepare()
    assert bench.device.mailbox == address


def test_without_a_mailbox_the_device_is_told_nothing(bench):
    del bench.guest.files[MAILBOX]
    with bench.up() as boot:
        boot.prepare()
    assert bench.device.mailbox is None


def test_a_controller_of_the_machines_own_is_bound_on_that_machine_only(bench):
    found = CONTROLLERS["i801"]
    bench.guest.does["adapter"] = lambda request: {"errno": 0, "nr": 9}
    with bench.up(replace(IMAGE, machine=replace(MACHINE, variation=found.machine))) as boot:
        boot.prepare()
        assert boot.adapters["i801"] == 9
    assert bench.guest.asked("adapter")[-1] == {"name": "i801", "device": found.function, "driver": found.driver}


@pytest.mark.parametrize("reply", [{"errno": 19}, {"errno": 19, "nr": 4}, {"errno": 0}])
def test_a_controller_of_the_machines_own_that_does_not_come_is_left_out(bench, reply):
    machine = replace(MACHINE, variation=CONTROLLERS["i801"].machine)
    bench.guest.does["adapter"] = lambda request: reply if request["name"] == "i801" else {"errno": 0, "nr": 4}
    with bench.up(replace(IMAGE, machine=machine)) as boot:
        boot.prepare()
        assert sorted(boot.adapters) == ["dmasafe", "virtio"]


# How a guest proves that its machine is the one asked for: (proof, what the guest's file holds, the reason).
PROOFS = [
    ("/x yes", "no yes maybe", None),
    ("/x yes", "no", r"the guest does not run on the machine 'odd': /x says 'no'$"),
    ("/x yes", "yesterday", r"/x says 'yesterday'$"),
    ("/x yes", None, r"/x is missing$"),
    ("/x -", None, None),
    ("/x -", "", r"/x says ''$"),
    ("/x -", "y" * 99, rf"/x says '{'y' * 80}'$"),
]


@pytest.mark.parametrize(("proof", "text", "reason"), PROOFS)
def test_a_guest_on_another_machine_is_lost(bench, proof, text, reason):
    if text is not None:
        bench.guest.files["/x"] = text
    machine = replace(MACHINE, variation="odd", proof=(proof,))
    with bench.up(replace(IMAGE, machine=machine)) as boot:
        if reason is None:
            boot.prepare()
            return
        with pytest.raises(BootLost, match=reason):
            boot.prepare()


# Asked


def test_the_console_is_muted_and_heard_again(bench):
    with bench.up() as boot:
        boot.mute_console(True)
        boot.mute_console(False)
    assert bench.guest.asked("write") == [
        {"path": "/proc/sys/kernel/printk", "data": "0"},
        {"path": "/proc/sys/kernel/printk", "data": "4"},
    ]


def test_a_file_is_read_stripped_and_a_missing_one_is_none(bench):
    bench.guest.files["/x"] = " text "
    with bench.up() as boot:
        assert boot.read("/x") == "text" and boot.read("/y") is None


def test_events_are_kept_and_replies_given(bench):
    def run(request):
        bench.qemu.agent.say({"ev": "kmsg", "seq": 1, "records": ["4,1,1,-;text"]})
        bench.device.say(MESSAGE)
        return {"seq": 1}

    bench.guest.does["run"] = run
    with bench.up() as boot:
        boot.send({"op": "run"})
        assert list(boot.replies()) == [{"re": "run", "seq": 1}]
        assert boot.gathered.records == {1: ["4,1,1,-;text"]} and len(boot.gathered.trace[1]) == 1


def test_a_request_waits_until_the_socket_takes_it(bench):
    with bench.up() as boot:
        bench.qemu.agent.full = 12
        started = time.monotonic()
        assert boot.read("/x") is None
        assert bench.qemu.agent.full == 0
        # It was told each time that the socket takes more; asking again each half second takes six seconds.
        assert time.monotonic() - started < 4


def counted(monkeypatch, thing, name):
    """How often a method is called from now on."""
    calls = []
    method = getattr(thing, name)
    monkeypatch.setattr(thing, name, lambda *arguments: calls.append(arguments) or method(*arguments))
    return calls


def test_the_device_is_asked_for_all_that_it_has(bench):
    with bench.up() as boot:
        bench.device.say(MESSAGE)
        boot.sync_device()
        assert bench.device.synced == [LIMITS.sync_s] and len(boot.gathered.trace[1]) == 1


# Lost


def wait(boot):
    return list(boot.replies())


def ends(status, words="", console=b""):
    def act(bench):
        bench.qemu.console_end.sendall(console)
        bench.qemu.end(status, words)

    return act


def closes(bench):
    bench.qemu.agent.theirs.close()


def closes_half_a_line(bench):
    bench.qemu.agent.theirs.sendall(b'{"re":')
    bench.qemu.agent.theirs.close()


def console(text):
    return lambda bench: bench.qemu.console_end.sendall(text)


def nonsense(bench):
    bench.qemu.agent.theirs.sendall(b"no json\n")


def dead_device(bench):
    bench.device.alive = False
    bench.device.say(MESSAGE)


def closed_port(bench):
    bench.qemu.port_open = False


def symptom_then_closed(bench):
    bench.qemu.console_end.sendall(b"dmasafe: the agent ended with status 137\n")
    closes(bench)


def only_ended(bench):
    """QEMU is gone, and a child of its own keeps the agent's channel open."""
    bench.qemu.status = 0
    bench.qemu.console_end.close()


# What happens while somebody waits: (act, reason).
LOSSES = {
    "silence": (lambda bench: None, r"^the guest hung: an answer did not come in time \(QEMU: running\)$"),
    "silence of a closed port": (
        closed_port,
        r"^the guest hung: an answer did not come in time; the agent closed its port \(QEMU: running\)$",
    ),
    "panic": (console(b"Kernel panic - not syncing: bug\r\n"), r"^the guest died: Kernel panic - not syncing: bug$"),
    "panic and end": (
        ends(0, console=b"Kernel panic - not syncing: Oops\n"),
        r"^the guest died: Kernel panic - not syncing: Oops$",
    ),
    "symptom without an end": (
        console(b"watchdog: BUG: soft lockup - CPU#0 stuck\n"),
        r"^watchdog: BUG: soft lockup - CPU#0 stuck \(QEMU: running\)$",
    ),
    "symptom and a closed channel": (
        symptom_then_closed,
        r"^dmasafe: the agent ended with status 137 \(QEMU: running\)$",
    ),
    "symptom and end": (
        ends(0, console=b"Out of memory: Killed process 1\n"),
        r"^the guest ended: Out of memory: Killed process 1$",
    ),
    "reboot": (ends(0), r"^the guest rebooted or powered off by itself$"),
    "killed": (ends(-9, "words"), r"^QEMU was killed by signal 9$"),
    "an error of QEMU's": (ends(1, "no memory"), r"^QEMU ended with status 1: no memory$"),
    "an error that QEMU does not name": (ends(1), r"^QEMU ended with status 1$"),
    "an end without its channel": (only_ended, r"^the guest rebooted or powered off by itself$"),
    "closed channel": (closes, r"^the agent's channel was closed \(QEMU: running\)$"),
    "closed in a line": (closes_half_a_line, r"^the agent's channel was closed in the middle of a line \(QEMU"),
    "no JSON": (nonsense, r"^the agent's lines were damaged: no JSON: b'no json'$"),
    "the device's process died": (dead_device, r"^the emulated device's process died$"),
    "the device's process did not answer a PCI access": (
        lambda bench: bench.device.say({"ev": "stalled", "seconds": 6.2}),
        r"^the emulated device's process did not run for 6.2 s: QEMU answered the guest in the place of a PCI",
    ),
    "the device's trace is nonsense": (
        lambda bench: bench.device.say(DevicesError("said nonsense")),
        r"^said nonsense$",
    ),
    "an event of the device's is nonsense": (
        lambda bench: bench.device.say({"ev": "message"}),
        r"^a trace line lacks something",
    ),
}  # fmt: skip


SILENT = ("silence", "silence of a closed port", "symptom without an end")


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_guest_is_lost_for_the_best_reason(bench, name):
    act, reason = LOSSES[name]
    with bench.up(limits=replace(LIMITS, silence_s=0.1) if name in SILENT else LIMITS) as boot:
        act(bench)
        with pytest.raises(BootLost, match=reason):
            wait(boot)


def test_a_panic_is_waited_for_after_the_channel_is_closed(bench, monkeypatch):
    """QEMU closes the agent's channel first."""
    with bench.up(limits=replace(LIMITS, last_words_s=30)) as boot:
        closes(bench)
        read = boot.console.last_words

        def late():
            boot.console.last_words = read
            bench.qemu.console_end.sendall(b"Kernel panic - not syncing: late\n")

        boot.console.last_words = late
        with pytest.raises(BootLost, match="the guest died: Kernel panic - not syncing: late"):
            wait(boot)


def test_qemus_end_is_waited_for_once_its_console_is_closed(bench):
    with bench.up() as boot:
        bench.qemu.end(0)
        with pytest.raises(BootLost, match="rebooted"):
            wait(boot)
        assert bench.qemu.waited == [LIMITS.last_words_s]


def test_qemus_end_is_not_waited_for_while_its_console_is_open(bench):
    with bench.up() as boot:
        closes(bench)
        with pytest.raises(BootLost):
            wait(boot)
        assert bench.qemu.waited == []


def test_an_end_with_a_muted_console_is_said_to_be_one(bench):
    with bench.up() as boot:
        boot.mute_console(True)
        bench.qemu.end(0)
        with pytest.raises(BootLost, match=r"by itself \(its console was muted, as a scenario was expected to oops\)$"):
            wait(boot)


def test_a_console_that_closes_alone_does_not_end_the_boot(bench):
    with bench.up() as boot:
        bench.qemu.console_end.close()
        assert boot.read("/x") is None and boot.read("/y") is None
        assert not boot.console.open


def test_a_console_that_is_closed_wakes_nobody(bench, monkeypatch):
    with bench.up(limits=replace(LIMITS, silence_s=0.3)) as boot:
        bench.qemu.console_end.close()
        boot.read("/x")
        waits = counted(monkeypatch, boot._selector, "select")
        with pytest.raises(BootLost):
            wait(boot)
        assert len(waits) < 5


def test_last_words_are_waited_for_at_rest(bench, monkeypatch):
    with bench.up(limits=replace(LIMITS, silence_s=0.1, last_words_s=0.3)) as boot:
        looks = counted(monkeypatch, boot.console, "last_words")
        with pytest.raises(BootLost):
            wait(boot)
        assert 2 <= len(looks) < 8


def test_a_request_to_a_guest_that_is_gone_is_a_lost_boot(bench):
    with bench.up() as boot:
        bench.qemu.agent.broken = True
        with pytest.raises(BootLost, match=r"^the agent's channel broke: Broken pipe \(QEMU: running\)$"):
            boot.send({"op": "run"})


def test_a_stopped_qemu_is_told_from_a_slow_one(bench, stopped):
    with bench.up(limits=replace(LIMITS, silence_s=0.1)) as boot:
        bench.qemu.pid = stopped
        with pytest.raises(
            BootLost, match=rf"^the guest hung: .* in time: QEMU is stopped \(process {stopped}, state T\)$"
        ):
            wait(boot)


def test_a_stopped_device_is_told_from_a_slow_one(bench, stopped):
    with bench.up() as boot:
        bench.device.pid = stopped
        bench.device.sync_error = DevicesError("did not answer within 5 s")
        with pytest.raises(
            BootLost, match=rf"^the emulated device's process is stopped \(process {stopped}, state T\)$"
        ):
            boot.sync_device()


def test_a_device_that_does_not_answer_is_lost_and_its_last_events_are_kept(bench):
    with bench.up() as boot:
        bench.device.sync_error = DevicesError("did not answer within 5 s")
        bench.device.say(MESSAGE)
        with pytest.raises(BootLost, match=r"^did not answer within 5 s$"):
            boot.sync_device()
        assert len(boot.gathered.trace[1]) == 1


def test_a_process_that_is_gone_is_not_stopped(bench):
    gone = subprocess.Popen(["true"])
    gone.wait()
    with bench.up(limits=replace(LIMITS, silence_s=0.1)) as boot:
        bench.qemu.pid = bench.device.pid = gone.pid
        with pytest.raises(BootLost, match=r"in time \(QEMU: running\)$"):
            wait(boot)


def test_a_stage_of_the_wait_is_bounded_so_that_a_silent_end_is_noticed(bench):
    """A QEMU that dies without closing its channels."""
    with bench.up(limits=replace(LIMITS, silence_s=60)) as boot:
        bench.qemu.status = -11
        with pytest.raises(BootLost, match="QEMU was killed by signal 11"):
            wait(boot)
