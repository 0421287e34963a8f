# SPDX-License-Identifier: GPL-2.0-or-later
"""One dummy of each kind that README's "a new ..." table names: the edits that it takes, and what must work then.

tests/unit/skeleton/test_add_lists.py does these edits in a copy of the project and compares the files that they
touched with the table. Where an edit has no place any more, or is no longer enough, either the table or this file is
out of date.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDING = "tests/fixtures/conformance/6.12-default-1.json"
LOG = "tests/fixtures/dmesg/synthetic-7.2-leak-on-release.log"
MESSAGE = "device driver does what a dummy does [count=1]"
LEAK = "device driver has pending DMA allocations while released from device [count=1]"


@dataclass(frozen=True)
class Edit:
    """``text`` put before the first line of ``path`` that has ``before`` in it; a new file if that is empty."""

    path: str
    text: str
    before: str = ""

    def apply(self, root: Path) -> None:
        path = root / self.path
        if not self.before:
            assert not path.exists()
            path.write_text(self.text)
            return
        lines = path.read_text().splitlines(keepends=True)
        place = next((number for number, line in enumerate(lines) if self.before in line), None)
        assert place is not None, f"{self.path} has no more '{self.before}': mend tests/additions/table.py"
        path.write_text("".join([*lines[:place], self.text, *lines[place:]]))


@dataclass(frozen=True)
class Addition:
    """A row of README's table: its name there, the edits, and the project's own tests that must pass with the dummy.

    ``tests`` are files, of which those run that have a dummy for a parameter, or FILE::TEST.
    ``members`` are the names of what there is of this kind: another file in which most of them stand in quotes is a
    table too, and must be in the row, or in ``beside`` with the reason why it needs no edit.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    members: Callable[[], Iterable[str]]
    beside: dict[str, str] = field(default_factory=dict)


def _buffer_kinds():
    from dmasafe.scenario import BUFFER_KINDS

    return BUFFER_KINDS


def _operations():
    from dmasafe.scenario import OPERATIONS

    return [operation.name for operation in OPERATIONS.values() if operation.front == "client"]


def _faults():
    from dmasafe.faults import FAULTS

    return FAULTS


def _classes():
    from dmasafe.dmesg import SPLAT_CLASSES

    return SPLAT_CLASSES


def _chips():
    from dmasafe.devices.slaves.catalogue import chips

    return chips()


def _controllers():
    from dmasafe.carriers import CONTROLLERS

    return [row.name for row in CONTROLLERS.values() if not row.always and row.module is None]


def _bridges():
    from dmasafe.devices.usb.bridges import bridges

    return bridges()


def _hosts():
    from dmasafe.devices.hosts import hosts

    return hosts()


def _clients():
    from dmasafe.expect.client_drivers import CLIENT_DRIVERS

    return CLIENT_DRIVERS


def _findings():
    from dmasafe.findings.catalogue import load

    return [finding.id for finding in load()]


def _architectures():
    from dmasafe.architecture import architecture_names

    return architecture_names()


def _fragments():
    return [path.stem for path in (ROOT / "kernel-configs").glob("*.config")]


def _formats():
    from dmasafe.report.formats import formats

    return [*formats(), *(each.FILE for each in formats().values())]


def _dummy_architecture() -> str:
    """x86_64 by another name."""
    text = (ROOT / "kernel-configs" / "arch" / "x86_64.toml").read_text()
    text = re.sub(r'^(uname|debian) = ".*"$', r'\1 = "dummy64"', text, flags=re.M)
    return text.replace('fragments = ["x86", "x86_64"]', 'fragments = ["x86", "dummy64"]')


def _dummy_recording() -> str:
    recording = json.loads((ROOT / RECORDING).read_text())
    recording["kernel"]["arch"] = "dummy64"
    return json.dumps(recording)


def _dummy_log() -> str:
    """A leak's log, with another message and without its second line."""
    head, expected, *lines = (ROOT / LOG).read_text().splitlines()[1:]
    want = json.loads(expected.removeprefix("# expect: "))
    mapped = {"mapped_at": want["fields"]["mapped_at"]}
    want |= {"class": "dummy-class", "message": MESSAGE, "fields": {"count": 1} | mapped}
    rest = [line.replace(LEAK, MESSAGE) for line in lines if "One of leaked entries" not in line]
    return "\n".join([head, f"# expect: {json.dumps(want)}", *rest, ""])


ADDITIONS = (
    Addition(
        "buffer kind",
        (
            Edit(
                "harness/dmasafe/vocabulary.py",
                '        BufferKind("dummy-kind", "kmalloc(), for a test"),\n',
                before='        BufferKind("heap-unaligned"',
            ),
            Edit(
                "harness/dmasafe/model/client.py",
                '    "dummy-kind": BufferMemory(_kmalloced(lambda client: client.lead), _kfree),\n',
                before='    "heap-unaligned": ',
            ),
            Edit(
                "images/modules/client_buffer.c",
                '\t{ .name = "dummy-kind", .get = heap_get, .put = heap_put },\n',
                before='\t{ .name = "heap-unaligned"',
            ),
        ),
        (
            "tests/unit/test_scenario.py::test_c_model_and_scenarios_know_the_same_buffer_kinds",
            "tests/model/test_model_memory.py::test_every_kind_gives_memory_and_takes_it_back",
        ),
        _buffer_kinds,
        {"harness/dmasafe/check/sinks.py": "what a source's words say of its memory"},
    ),
    Addition(
        "operation of a client",
        (
            Edit(
                "harness/dmasafe/vocabulary.py",
                '        Operation("dummy_send", "client", "for a test", writes=True, marked=False),\n',
                before='        Operation("master_recv",',
            ),
            Edit("harness/dmasafe/vocabulary.py", '    ("dummy_send", ()),\n', before='    ("master_recv", ()),'),
            Edit(
                "harness/dmasafe/model/client.py",
                '    "dummy_send": _master(0),\n',
                before='    "master_recv": _master(',
            ),
            Edit(
                "images/modules/client_operation.c",
                '\t{ .name = "dummy_send", .call = master_send, .adapter = true, .buffer = true },\n',
                before='\t{ .name = "master_recv", ',
            ),
        ),
        ("tests/unit/test_scenario.py::test_c_model_and_scenarios_know_the_same_operations",),
        _operations,
    ),
    Addition(
        "mistake of a driver's",
        (
            Edit(
                "harness/dmasafe/faults.py",
                '    Fault("dummy-mistake", "does not give the bounce buffer back, for a test", (RECV_BOUNCED,)),\n',
                before='    Fault("bounce-not-released"',
            ),
            Edit(
                "harness/dmasafe/expect/faults.py",
                '    "dummy-mistake": (_silent("what was read stays in the bounce buffer"),),\n',
                before='    "bounce-not-released": (',
            ),
            Edit(
                "images/modules/controller_fault_life.c",
                "\t/* dummy-mistake: the bounce buffer is not given back. Nobody notices. */\n"
                '\t{ "dummy-mistake", { .put = no_put } },\n',
                before='\t{ "bounce-not-released"',
            ),
        ),
        ("tests/unit/expect/test_expect_faults.py::test_the_driver_has_every_fault_and_no_other",),
        _faults,
        {
            "harness/dmasafe/dmesg/classes.py": "some mistakes are named after the splat class that they provoke",
            "harness/dmasafe/model/dma_debug.py": "some mistakes are named after the splat class that they provoke",
        },
    ),
    Addition(
        "splat class",
        (
            Edit(
                "harness/dmasafe/dmesg/classes.py",
                '    _row(\n        "dummy-class",\n        "lib/dummy.c dummy()",\n'
                '        Format("device driver does what a dummy does [count=%d]", ("count",)),\n    ),\n',
                before="    _row(",
            ),
            Edit(
                "harness/dmasafe/dmesg/explain.toml",
                '[splat.dummy-class]\nmeans = "A dummy."\nrule = "There are no dummies."\ncauses = ["a test"]\n'
                'fixes = ["none"]\nread = ["howto"]\n\n',
                before="[splat.map-stack]",
            ),
            Edit("tests/fixtures/dmesg/synthetic-7.2-dummy-class.log", _dummy_log()),
        ),
        ("tests/unit/dmesg/test_dmesg_reports.py", "tests/unit/dmesg/test_dmesg_explain.py"),
        _classes,
        {
            "harness/dmasafe/faults.py": "a class needs no mistake that provokes it",
            "harness/dmasafe/expect/faults.py": "what comes of the mistakes",
            "harness/dmasafe/model/dma_debug.py": "what the model's dma-debug says; it need not say everything",
        },
    ),
    Addition(
        "I2C slave",
        (
            Edit(
                "harness/dmasafe/devices/slaves/dummy_slave.py",
                '"""A slave, for a test."""\n\nfrom dmasafe.devices.slaves.pca9534 import Pca9534\n\n\n'
                'class Dummy(Pca9534):\n    """An expander."""\n\n\nCHIPS = {"dummy-chip": Dummy}\n',
            ),
        ),
        ("tests/unit/devices/test_devices_client_slaves.py",),
        _chips,
        {"harness/dmasafe/expect/client_drivers.py": "which chip a client driver drives"},
    ),
    Addition(
        "controller of a known kind",
        (
            Edit(
                "harness/dmasafe/carriers/controllers/dummy.py",
                '"""A controller, for a test."""\n\nfrom errno import ENXIO\n\n'
                "from dmasafe.carriers.drivers import BridgeDriver\n"
                "from dmasafe.carriers.usb_bridge import usb_bridge\n\n"
                'DRIVER = BridgeDriver("dummy", ENXIO)\n'
                'CONTROLLERS = (usb_bridge("dummy", "i2c-dummy", "I2C_DUMMY", DRIVER, device="tiny-usb"),)\n',
            ),
            Edit("kernel-configs/usb.config", "CONFIG_I2C_DUMMY=y\n", before="CONFIG_I2C_TINY_USB=y"),
        ),
        ("tests/unit/carriers/test_carriers.py::test_every_row_is_whole",),
        _controllers,
    ),
    Addition(
        "USB-to-I2C bridge",
        (
            Edit(
                "harness/dmasafe/carriers/controllers/dummy_bridge.py",
                '"""A bridge, for a test."""\n\nfrom errno import ENXIO\n\n'
                "from dmasafe.carriers.drivers import BridgeDriver\n"
                "from dmasafe.carriers.usb_bridge import usb_bridge\n\n"
                'DRIVER = BridgeDriver("dummy", ENXIO)\n'
                'CONTROLLERS = (usb_bridge("dummy-bridge", "i2c-dummy-bridge", "I2C_DUMMY_BRIDGE", DRIVER),)\n',
            ),
            Edit(
                "harness/dmasafe/devices/usb/dummy_bridge.py",
                '"""A bridge\'s firmware, for a test."""\n\nfrom dmasafe.devices.usb.tiny_usb import TinyUsb\n\n\n'
                'class Dummy(TinyUsb):\n    """A bridge."""\n\n\nBRIDGES = {"dummy-bridge": Dummy}\n',
            ),
            Edit("kernel-configs/usb.config", "CONFIG_I2C_DUMMY_BRIDGE=y\n", before="CONFIG_I2C_TINY_USB=y"),
        ),
        (),
        _bridges,
    ),
    Addition(
        "upstream controller with emulated hardware",
        (
            Edit(
                "harness/dmasafe/devices/hosts/dummy_host.py",
                '"""A controller, for a test."""\n\nfrom errno import ENXIO\n\n'
                "from dmasafe.devices.hosts.base import Carried, I2cHost\n"
                "from dmasafe.devices.hosts.declaration import DeviceTree, HostModel, Window\n"
                "from dmasafe.devices.hosts.nodes import i2c\n"
                "from dmasafe.devices.pci import Bar, Register\n"
                "from dmasafe.host_policy import Ending, HostPolicy, Path, Rule\n\n"
                '_ENDS = (Ending(ENXIO, "nothing", "1"),)\n\n\n'
                "class DummyHost(I2cHost):\n"
                '    """Sends what is at ADDRESS."""\n\n'
                '    ADDRESS = Register("ADDRESS", 0x0)\n    LENGTH = Register("LENGTH", 0x4, on_write="_go")\n'
                "    bars = (Bar(0, 0x100),)\n\n    def _go(self, length: int) -> None:\n"
                "        self.carry(0x30, False, self.fetch(self.ADDRESS, length), True, self._done)\n\n"
                "    def _done(self, carried: Carried) -> None:\n        self.event()\n\n\n"
                "HOST = HostModel(\n"
                '    "dummy-host",\n    module="i2c-dummy-host",\n    symbol="I2C_DUMMY_HOST",\n'
                '    architectures=("aarch64",),\n'
                '    place=DeviceTree(i2c("dummy,i2c", 1_000_000), windows=(Window(0, 0x100),)),\n'
                "    function=DummyHost,\n"
                '    policy=HostPolicy("Dummy", (Rule(Path.HELPER, "1"),), _ENDS, _ENDS, _ENDS, 1.0),\n)\n',
            ),
            Edit("kernel-configs/hosts-arm64.config", "CONFIG_I2C_DUMMY_HOST=m\n", before="CONFIG_I2C_MT65XX=m"),
        ),
        ("tests/unit/devices/hosts/test_hosts_declared.py", "tests/unit/carriers/test_carriers_hosts.py"),
        _hosts,
    ),
    Addition(
        "upstream client driver",
        (
            Edit(
                "harness/dmasafe/expect/client_drivers.py",
                '        ClientDriver(\n            "dummy", "dummy", "pca9534", 0x39, Pca9534, "GPIO_DUMMY",\n'
                '            "$C/base", _always(*_regmap_read(1)), probe=(), use=(),\n        ),\n',
                before="        ClientDriver(",
            ),
            Edit("kernel-configs/clients.config", "CONFIG_GPIO_DUMMY=y\n", before="CONFIG_GPIO_PCA953X=y"),
        ),
        ("tests/unit/expect/test_expect_clients.py",),
        _clients,
    ),
    Addition(
        "finding",
        (
            Edit(
                "harness/dmasafe/findings/catalogue.toml",
                '[[finding]]\nid = "dummy-finding"\ntitle = "A dummy"\nrule = "unsafe-buffer-mapped"\n'
                'where = "nowhere"\nversions = ["6.12"]\nwhat = "A test."\nremedy = "None."\n'
                'known = "Nobody knows."\n\n[finding.proof]\nconfig = "default"\n\n[[finding.proof.scenario]]\n'
                'scenario = "stack/master_recv_dmasafe/dmasafe:trusting/8"\noutcome = "CAUGHT"\n\n',
                before="[[finding]]",
            ),
        ),
        ("tests/unit/test_findings.py",),
        _findings,
    ),
    Addition(
        "architecture",
        (
            Edit("kernel-configs/arch/dummy64.toml", _dummy_architecture()),
            Edit("kernel-configs/dummy64.config", (ROOT / "kernel-configs" / "x86_64.config").read_text()),
            Edit("tests/fixtures/conformance/6.12-dummy64-default-0.json", _dummy_recording()),
            Edit("docs/cells.md", "| `dummy64` | q35 | a test |\n", before="| `i386` | q35"),
        ),
        (
            "tests/conformance/test_conformance_recorded.py",
            "tests/unit/skeleton/test_architectures.py::test_no_code_asks_for_an_architecture_by_name",
            "tests/unit/skeleton/test_architectures.py::test_the_page_of_cells_says_what_is_special_about_each",
            "tests/unit/targets/test_canaries.py",
            "tests/unit/qemu/test_machines.py",
            "tests/unit/kernel/test_tools.py",
            "tests/unit/kernel/test_config.py::test_every_row_of_the_matrix_resolves_for_every_architecture",
        ),
        _architectures,
    ),
    Addition(
        "kernel option",
        (
            Edit("kernel-configs/dummy-option.config", "CONFIG_DUMMY=y\n"),
            Edit(
                "kernel-configs/matrix.toml",
                '[configuration.dummy-option]\nfragments = ["base", "virtio", "i2c", "dummy-option"]\n\n',
                before="[configuration.no-vmap-stack]",
            ),
        ),
        ("tests/unit/kernel/test_config.py::test_every_fragment_is_used_or_documented_as_an_addition",),
        _fragments,
    ),
    Addition(
        "report format",
        (
            Edit(
                "harness/dmasafe/report/formats/dummy_format.py",
                '"""A format, for a test."""\n\nFILE = "results.dummy"\n\n\ndef render(results):\n'
                '    """How many there are."""\n    return f"{len(results.rows)} dummies\\n"\n',
            ),
        ),
        (),
        _formats,
    ),
)
