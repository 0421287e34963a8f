# SPDX-License-Identifier: GPL-2.0-or-later
"""The dmasafe controller as a platform device with an engine in the kernel: verdicts as on the PCI function."""

import io
import random
from dataclasses import replace

import pytest

from dmasafe.expect import expect
from dmasafe.outcome import Outcome, Skip, Verdict, direct, judge, outcome_of
from dmasafe.progress import SILENT
from dmasafe.scenario import core_suite, faults_suite, parse_scenario
from dmasafe.targets.boot import Boot
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.wire import observation

ENGINE = "dmasafe-engine.0"
ENGINE_DEVICE = f"/sys/bus/platform/devices/{ENGINE}"
ADAPTER = {"bus": "platform", "device": ENGINE, "driver": "dmasafe_controller"}
# drivers/pci calls dma_debug_add_bus(), drivers/base/platform.c does not: nobody counts what is left behind.
PCI_ONLY = {"leak-coherent", "leak-on-release"}
SLAVES = (0x20, 0x30, 0x40, 0x50, 0x51, 0x60, 0x68, 0x77)
SEED = 6


class EngineBoot(Boot):
    """An ordinary boot, but `dmasafe` is the platform device's adapter."""

    def request(self, op, **arguments):
        if op == "load" and "dmasafe_controller" in arguments["path"]:
            arguments["params"] = arguments["params"] or "engine=1"
        if op == "load" and "dmasafe_strict" in arguments["path"]:
            arguments["params"] = arguments["params"].replace("devices=", f"devices={ENGINE},")
        if op == "adapter" and arguments["name"] == "dmasafe":
            arguments |= ADAPTER
        return super().request(op, **arguments)


def run(guest, scenarios, directory, **image):
    """Observations and the judgements of scenarios run on the engine."""
    expected = {scenario.id: expect(scenario, guest.facts) for scenario in scenarios}
    wanted = [scenario for scenario in scenarios if not isinstance(expected[scenario.id], Skip)]
    destructive = frozenset(scenario.id for scenario in wanted if expected[scenario.id].destructive)
    booted = replace(guest.image, **image)
    target = QemuTarget(booted, guest.kernel, guest.facts, directory, boots=EngineBoot)
    done = target.run(wanted, destructive, SILENT)
    return done.observations, {
        scenario.id: judge(expected[scenario.id], done.observations.get(scenario.id), done.untrusted.get(scenario.id))
        for scenario in wanted
    }


@pytest.fixture(scope="module")
def slice_(guest, tmp_path_factory):
    """Every kind, operation and policy in one length, the longest messages, i2c-dev, every fault."""
    wanted = [
        scenario
        for scenario in core_suite()
        if scenario.controller == "dmasafe" and (scenario.length == 8 or scenario.buffer == "user")
    ]
    wanted += [parse_scenario("user/i2cdev_rdwr/dmasafe:bounce/8192+messages=w8192,r8192")]
    return run(guest, wanted + faults_suite(), tmp_path_factory.mktemp("engine"))[1]


def leaks(scenario_id):
    return scenario_id.rpartition("+fault=")[2] in PCI_ONLY


def test_every_verdict_is_as_expected_of_the_pci_function(slice_):
    wrong = {key: found.why for key, found in slice_.items() if found.verdict is not Verdict.PASS and not leaks(key)}
    assert len(slice_) > 600 and not wrong


def test_each_row_is_that_of_the_pci_function(slice_, core):
    rows = {row["id"]: row for row in core[0]["scenarios"]}
    compared = slice_.keys() & rows.keys()
    assert len(compared) > 500
    for key in compared:
        mine, theirs = slice_[key], rows[key]
        assert (mine.outcome, mine.direct) == (theirs["outcome"], theirs["direct"]), key
        assert {splat.splat_class for splat in mine.splats} == {splat["class"] for splat in theirs["splats"]}, key


def test_what_a_driver_leaves_behind_is_not_reported_on_the_platform_bus(slice_):
    left = {key: found for key, found in slice_.items() if leaks(key)}
    assert len(left) == 3
    assert all(found.outcome is Outcome.SAFE and not found.splats for found in left.values())


def test_a_wild_address_in_somebody_elses_page_is_stray_and_left_alone(guest, tmp_path):
    # With 1 GiB the nonsense address of a module's object (0x2000....) has memory behind it.
    scenario = parse_scenario("module-data/master_recv_dmasafe/dmasafe:trusting/8")
    seen, judged = run(guest, [scenario], tmp_path, memory_mib=1024)
    (message,) = seen[scenario.id].bus
    (segment,) = message.segments
    assert segment.stray and 512 << 20 <= segment.address < 1024 << 20
    assert not message.ok and message.data == b"" and "somebody else's memory" in message.why
    assert judged[scenario.id].verdict is Verdict.PASS


def test_a_bounce_buffer_of_swiotlbs_is_the_drivers_while_it_is_mapped(guest, tmp_path):
    heap = "heap/master_recv_dmasafe/dmasafe:bounce/32"
    right, early, wrong_way = map(parse_scenario, (heap, f"{heap}+fault=unmap-early", f"{heap}+fault=wrong-direction"))
    seen, _ = run(guest, [right, early, wrong_way], tmp_path, cmdline=("swiotlb=force",))
    assert outcome_of(seen[right.id])[0] is Outcome.SAFE and direct(seen[right.id]) is False
    # What the direct mapping of x86 forgives shows where the DMA API really moves data.
    assert "somebody else's memory" in seen[early.id].bus[0].why
    assert outcome_of(seen[early.id])[0] is outcome_of(seen[wrong_way.id])[0] is Outcome.SILENT


@pytest.fixture(scope="module")
def both(guest, tmp_path_factory):
    """A boot with adapters of both kinds: `pci` and `dmasafe`, the engine."""
    directory = tmp_path_factory.mktemp("both")
    with EngineBoot(guest.image, directory, io.BytesIO()) as boot:
        boot.prepare()
        function = boot._functions["dmasafe"]
        reply = Boot.request(boot, "adapter", name="pci", device=function, driver="dmasafe_controller")
        assert reply["errno"] == 0, reply
        yield boot


def ask(boot, adapter, line, number=1, setting="policy=bounce threshold=1 fault=none"):
    boot.send({"op": "run", "seq": number, "adapter": adapter, "set": setting, "line": line, "timeout_ms": 5000})
    return next(iter(boot.replies()))


def any_line(dice):
    """One i2c-dev call on any slave: raw messages, or SMBus with and without packet error codes."""
    address = dice.choice(SLAVES)
    words = f"front=i2cdev addr={address:#x} fill={dice.getrandbits(24)}"
    if dice.random() < 0.5:
        count = dice.randint(1, 3)
        lengths = [dice.choice((0, 1, 2, 3, 5, 9, 34, 40, 300)) for _ in range(count)]
        # A read of no bytes is what upstream's own drivers refuse to send.
        messages = [("r" if length and dice.random() < 0.4 else "w") + str(length) for length in lengths]
        return f"{words} op=rdwr messages={','.join(messages)}"
    protocol = dice.choice(
        ("byte", "byte_data", "word_data", "proc_call", "block_data", "i2c_block_data", "block_proc_call")
    )
    length = {"byte": 1, "byte_data": 1, "word_data": 2, "proc_call": 2}.get(protocol, dice.randint(1, 32))
    reads = 1 if "proc" in protocol else dice.randint(0, 1)
    command = dice.randrange(256)
    pec = dice.randint(0, 1)
    return f"{words} op=smbus protocol={protocol} rd={reads} command={command} len={length} pec={pec}"


def told(reply):
    """What a caller learns of the bus."""
    answer = reply["answer"]
    return answer["ret"], [(message["rd"], message["data"]) for message in answer["msgs"]]


def test_the_slaves_are_those_of_the_device_process_byte_for_byte(both):
    dice = random.Random(SEED)
    lines = [any_line(dice) for _ in range(400)]
    # The slow slave keeps its 20 ms: nothing is written to it.
    lines = [line for line in lines if "0x68" not in line or ("rd=1" in line and "proc" not in line)]
    differences = []
    returned = set()
    for number, line in enumerate(lines, 1):
        mine, theirs = ask(both, "dmasafe", line, number), ask(both, "pci", line, number)
        returned.add(told(theirs)[0])
        if told(mine) != told(theirs):
            differences.append((line, told(mine), told(theirs)))
    assert not differences[:3], f"seed {SEED}"
    # Right and wrong ones: the address nobody has, a refused byte.
    assert len(lines) > 300 and len({number >= 0 for number in returned}) == 2


def test_the_trace_says_on_both_what_was_on_the_bus(both):
    line = "front=i2cdev op=rdwr addr=0x20 messages=w3,r5 fill=9"
    reply = {name: ask(both, name, line, 5000 + n) for n, name in enumerate(("dmasafe", "pci"))}
    both.sync_device()
    mine, theirs = both.gathered.trace[5000], both.gathered.trace[5001]
    assert [(m.address, m.read, m.ok, m.why) for m in mine] == [(0x20, False, True, ""), (0x20, True, True, "")]
    assert [m.data.hex() for m in mine] == [message["data"] for message in reply["dmasafe"]["answer"]["msgs"]]
    assert [(m.read, m.ok, len(m.segments)) for m in mine] == [(m.read, m.ok, len(m.segments)) for m in theirs]


def test_a_driver_that_loses_patience_resets_the_engine_and_goes_on(both):
    # Registers 0 and 1 of the slow slave are its milliseconds; a fill is chosen whose high byte is a second or more.
    for fill in range(64):
        reply = ask(both, "dmasafe", f"front=i2cdev op=smbus addr=0x68 protocol=byte_data rd=0 command=1 fill={fill}")
        (message,) = reply["answer"]["msgs"]
        if reply["answer"]["ret"] == -110:
            break
        if bytes.fromhex(message["data"])[1] >= 5:
            reply = ask(both, "dmasafe", "front=i2cdev op=smbus addr=0x68 protocol=byte rd=1")
            break
    assert reply["answer"]["ret"] == -110
    line = "op=master_recv_dmasafe buffer=heap len=8 addr=0x30"
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/8")
    after = ask(both, "dmasafe", line, 6000)
    seen = observation(scenario, after, (), both.gathered.trace[6000], both.memory)
    assert outcome_of(seen)[0] is Outcome.SAFE


def test_it_comes_back_after_a_caller_that_died_with_its_lock(both):
    reply = ask(both, "dmasafe", "op=master_recv buffer=rodata len=8 addr=0x30", 7000, "policy=pio")
    assert reply["died"] and reply["rebound"] is True
    after = ask(both, "dmasafe", "op=master_recv_dmasafe buffer=heap len=8 addr=0x30", 7001)
    assert after["answer"]["ret"] == 8


@pytest.mark.parametrize(("fault", "renewed"), [("none", True), ("sync-direction", False)])
@pytest.mark.parametrize("adapter", ["pci", "dmasafe"])
def test_after_a_death_the_driver_stays_bound_if_nothing_but_the_lock_is_left_behind(both, adapter, fault, renewed):
    device = f"/sys/bus/pci/devices/{both._functions['dmasafe']}" if adapter == "pci" else ENGINE_DEVICE
    before = ask(both, adapter, "op=get_put buffer=heap len=8", 7100, f"policy=pio fault={fault}")
    # What binding sets to 1, unknown to the agent.
    both.request("write", path=f"{device}/threshold", data="77")
    reply = ask(both, adapter, "op=master_recv buffer=rodata len=8 addr=0x30", 7101, f"policy=pio fault={fault}")
    assert before["answer"]["ret"] == 0 and reply["died"] and reply["rebound"] is True
    assert both.read(f"{device}/threshold") == ("77" if renewed else "1")
    after = ask(both, adapter, "op=master_recv_dmasafe buffer=heap len=8 addr=0x30", 7102)
    assert after["answer"]["ret"] == 8


def test_an_oops_that_is_expected_stays_off_a_muted_console(both):
    both.mute_console(True)
    assert ask(both, "pci", "op=master_recv buffer=rodata len=8 addr=0x30", 7200, "policy=pio")["died"]
    assert both.read("/proc/sys/kernel/printk").split()[0] == "0"
    both.mute_console(False)
    assert ask(both, "pci", "op=master_recv buffer=rodata len=8 addr=0x30", 7201, "policy=pio")["died"]
    assert both.read("/proc/sys/kernel/printk").split()[0] == "4"


def test_once_only_warnings_come_again_after_each_report(both):
    line = "op=master_recv_dmasafe buffer=heap len=8 addr=0x30"
    for number in (7300, 7301, 7302):
        ask(both, "pci", line, number, "policy=bounce fault=addr-overflow")
        assert any("overflow" in record for record in both.gathered.records[number])


def test_the_module_can_be_unloaded_with_its_engine(both):
    # Last: nothing is left to ask.
    reply = both.request("unload", name="dmasafe_controller")
    assert reply["errno"] == 0
    assert both.read("/sys/bus/platform/devices/dmasafe-engine.0/modalias") is None
    reply = both.request("load", path="/modules/dmasafe_controller.ko", params="engine=1 mask_bits=0")
    assert reply["errno"] == 22
