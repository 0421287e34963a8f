# SPDX-License-Identifier: GPL-2.0-or-later
"""A board's shell for tests: commands, files, its kernel log, and which driver an I2C function has."""

import json
from functools import cached_property
from pathlib import Path

from dmasafe.carriers import CONTROLLERS
from dmasafe.dmesg import parse_records
from dmasafe.facts import DEFAULT_QUEUE_ENTRIES
from dmasafe.guest.ssh import SshLink, SshOptions, parse_address
from dmasafe.model.smbus import checks_length

HERE = Path(__file__).parent
GUEST_SCRIPTS = HERE / "guest"
SUITE = HERE / "smbus2_suite"
DIRECTORY = "/tmp/smbus2"
SUITE_TIMEOUT_S = 400
COMMAND_TIMEOUT_S = 120

_BIND = """set -e
device=/sys/bus/pci/devices/{function}
[ -e /sys/module/dmasafe_client ] || insmod /modules/dmasafe_client.ko
[ -e /sys/module/dmasafe_controller ] || insmod /modules/dmasafe_controller.ko
echo {driver} > $device/driver_override
[ ! -e $device/driver ] || echo {function} > $device/driver/unbind
echo {function} > /sys/bus/pci/drivers/{driver}/bind
"""
# The virtio device stands between the PCI function and upstream's adapter.
_NUMBER = """for path in /sys/bus/pci/devices/{function}/i2c-* /sys/bus/pci/devices/{function}/virtio*/i2c-*; do
[ -e $path ] && echo ${{path##*/i2c-}}; done; true"""


class Board:
    """What tests do on a BoardGuest, through one SSH connection."""

    def __init__(self, guest):
        self._device, self._queue_entries = guest.device, DEFAULT_QUEUE_ENTRIES
        address = parse_address(f"{guest.user}@{guest.host}:{guest.port}")
        self._link = SshLink(address, SshOptions(guest.known_hosts, guest.identity))
        self.run(f"mkdir -p {DIRECTORY}/{SUITE.name}; echo 1 > /sys/kernel/debug/dma-api/all_errors")
        paths = [*GUEST_SCRIPTS.glob("*.py"), *SUITE.glob("*.py")]
        files = {str(path.relative_to(path.parents[path.parent == SUITE])): path.read_bytes() for path in paths}
        self._link.upload(files, DIRECTORY)

    def close(self):
        self._link.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def attempt(self, script, timeout_s=COMMAND_TIMEOUT_S):
        """Exit status and output of a shell script, in the directory with the scripts."""
        done = self._link.command(f"cd {DIRECTORY} 2>/dev/null; {script}", timeout_s)
        return done.status, done.output

    def run(self, script, timeout_s=COMMAND_TIMEOUT_S):
        """The output of a shell script that succeeds."""
        status, output = self.attempt(script, timeout_s)
        assert status == 0, f"{script[:300]}: status {status}: {output[-2000:]}"
        return output

    def start(self, command, log):
        """Start a command that goes on; its output is in ``log``. Its process's number."""
        return int(self.run(f"{command} > {log} 2>&1 < /dev/null & echo $!"))

    def log_after(self, number=-1):
        """The kernel's log records after this one."""
        return json.loads(self.run(f"python3 kmsg.py {number}"))

    def last_record(self):
        """The number of the newest log record."""
        records = self.log_after()
        return int(records[-1].split(",", 2)[1]) if records else -1

    def splats_after(self, number):
        """What the kernel reported after that record."""
        return parse_records(self.log_after(number))

    def debug(self, name):
        """A number in dma-debug's directory."""
        return int(self.run(f"cat /sys/kernel/debug/dma-api/{name}"))

    def bind(self, function, driver):
        """Make ``driver`` the driver of a PCI function; the number of its I2C adapter."""
        self.run(_BIND.format(function=function, driver=driver))
        return self.bus_of(function)

    def bind_all(self, functions):
        """Give each controller's function its driver; the numbers of their adapters."""
        return {name: self.bind(functions[name], row.driver) for name, row in CONTROLLERS.items() if row.always}

    def bus_of(self, function):
        """The number of the I2C adapter on a PCI function, or None."""
        numbers = self.run(_NUMBER.format(function=function)).split()
        return int(numbers[0]) if numbers else None

    def queue_entries(self):
        """The length of i2c-virtio's queue, which differs by QEMU's version, once its driver has bound."""
        for event in self._device.receive():
            if event["ev"] == "queue" and event["controller"] == "virtio":
                self._queue_entries = event["entries"]
        return self._queue_entries

    @cached_property
    def version(self):
        """``6.12.117`` -> (6, 12, 117)"""
        return tuple(int(part) for part in self.run("uname -r").strip().split("-")[0].split("."))

    def suite(self, bus, adapter):
        """Every case's result by its name, with the classes of what the kernel reported meanwhile as ``splats``."""
        before = self.last_record()
        command = f"python3 -m {SUITE.name} --bus {bus} --adapter {adapter} --mark"
        if not checks_length(self.version):
            command += " --unchecked-lengths"
        status, output = self.attempt(command, SUITE_TIMEOUT_S)
        rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        assert rows and status in (0, 1), output[-2000:]
        splats = _splats_by_case(self.log_after(before))
        return {row["case"]: {**row, "splats": splats.get(row["case"], [])} for row in rows}


def _splats_by_case(records):
    """Classes of reports by the case in whose time they came, each class once."""
    spans = {"": []}
    for record in records:
        name = record.partition(";smbus2: begin ")[2]
        if name:
            spans[name] = []
        else:
            spans[next(reversed(spans))].append(record)
    return {name: sorted({splat.splat_class for splat in parse_records(span)}) for name, span in spans.items()}
