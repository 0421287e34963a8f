# SPDX-License-Identifier: GPL-2.0-or-later
"""What the client module and the agent would answer: messages, marks, lengths and data of each operation."""

from dataclasses import replace

import pytest

from dmasafe.devices.bus import default_bus
from dmasafe.devices.slaves.smbus_block import crc8
from dmasafe.dmesg import parse_records
from dmasafe.model import Config, KernelDied, ModelKernel
from dmasafe.model.allocators import PCPU_MIN_UNIT_SIZE
from dmasafe.model.client import KINDS, Client, Unsupported, client_fill
from dmasafe.scenario import parse_scenario

POISON = 0x5A


def boot(config=None):
    kernel = ModelKernel(config, default_bus())
    for name in ("virtio", "dmasafe"):
        kernel.adapter(name)
    client = Client(kernel)
    client.exact = True
    return kernel, client


def run(text, config=None):
    """(kernel, what was seen, what the buffer was filled with)."""
    kernel, client = boot(config)
    scenario = parse_scenario(text)
    return kernel, client.run(scenario), client_fill(scenario.length, scenario.seed)


def calls(seen):
    return [(message.read, message.data) for message in seen.caller]


@pytest.mark.parametrize("policy", ["bounce", "pio"])
@pytest.mark.parametrize(("operation", "flagged"), [("master_send", False), ("master_send_dmasafe", True)])
def test_what_is_sent_is_told_with_its_mark_and_place(operation, flagged, policy):
    _kernel, seen, fill = run(f"heap/{operation}/dmasafe:{policy}/8")
    assert (seen.ret, seen.transferred, calls(seen)) == (8, True, [(False, fill)])
    (message,) = seen.caller
    (segment,) = seen.bus[0].segments
    assert message.flagged is flagged and (
        message.physical == segment.address if flagged and policy == "bounce" else True
    )
    assert seen.bus[0].data == fill and seen.damage == () and seen.lost is None and segment.length == 8


def test_what_is_received_is_what_the_bus_had_and_nothing_else():
    _kernel, seen, _fill = run("heap/master_recv/dmasafe:bounce/8")
    assert (seen.ret, seen.transferred) == (8, True) and calls(seen) == [(True, seen.bus[0].data)]


def test_a_read_that_fails_leaves_poison():
    _kernel, seen, fill = run("heap/master_recv/dmasafe:bounce/8@77")
    assert (seen.ret, seen.transferred) == (-6, False)
    assert calls(seen) == [(True, bytes(value ^ POISON for value in fill))] and seen.bus[0].data == b""


@pytest.mark.parametrize("marked", [0, 1])
def test_a_transfer_writes_one_byte_and_reads_the_rest(marked):
    _kernel, seen, fill = run(f"heap/transfer/dmasafe:bounce/8+dma_safe={marked}")
    assert (seen.ret, seen.transferred) == (2, True)
    assert calls(seen) == [(False, fill[:1]), (True, seen.bus[1].data)] and len(seen.bus[1].data) == 8
    assert [message.flagged for message in seen.caller] == [bool(marked)] * 2
    assert seen.caller[0].physical not in (None, seen.caller[1].physical)


@pytest.mark.parametrize(
    ("letters", "ret", "reads"),
    [("s", 8, [False, False]), ("R", 8, [False, True]), ("srS", 8, [False, False, True, False])],
)
def test_more_calls_use_the_same_buffer(letters, ret, reads):
    _kernel, seen, _fill = run(f"heap/master_send/dmasafe:bounce/8+then={letters}")
    assert seen.ret == ret and seen.transferred and [message.read for message in seen.caller] == reads
    assert [message.data for message in seen.caller] == [message.data for message in seen.bus]
    assert [message.flagged for message in seen.caller][1:] == [letter.isupper() for letter in letters]
    assert len({message.physical for message in seen.caller}) == 1
    for before, after in zip(seen.caller, seen.caller[1:], strict=False):
        assert after.read or after.data == before.data


def test_the_first_error_of_several_calls_counts():
    _kernel, seen, fill = run("heap/master_recv/dmasafe:bounce/8@77+then=s")
    poison = bytes(value ^ POISON for value in fill)
    assert (seen.ret, seen.transferred) == (-6, False) and calls(seen) == [(True, poison), (False, poison)]
    _kernel, seen, _fill = run("heap/master_recv/dmasafe:bounce/2@60+then=s")
    assert (seen.ret, seen.transferred) == (-6, False) and len(seen.caller) == 2


@pytest.mark.parametrize(("length", "fits"), [(1638, True), (1639, False)])
def test_an_answer_has_room_for_five_buffers(length, fits):
    if fits:
        assert run(f"heap/master_send/dmasafe:bounce/{length}+then=s")[1].ret == length
    else:
        with pytest.raises(Unsupported, match="room"):
            run(f"heap/master_send/dmasafe:bounce/{length}+then=s")


def test_a_task_that_dies_answers_nothing():
    config = Config().enable("DEBUG_SG")
    for text in ("stack/master_send_dmasafe/virtio/8", "stack/master_send/virtio/8+then=S"):
        kernel, seen, _fill = run(text, config)
        assert (seen.ret, seen.caller, seen.transferred and "then" not in text, seen.lost) == (None, (), False, None)
        assert [splat.splat_class for splat in seen.splats] == ["sg-virt-invalid"]
        assert kernel.adapters["virtio"].locked


def test_a_call_that_does_not_return_is_lost():
    kernel, client = boot()
    kernel.adapters["dmasafe"].locked = True
    seen = client.run(parse_scenario("heap/master_send/dmasafe:bounce/8"))
    assert seen.ret is None and seen.caller == () and seen.lost.startswith("the call did not return: i2c-")


@pytest.mark.parametrize("kind", ["rodata", "data", "module-rodata"])
def test_a_borrowed_object_is_as_it_was_and_keeps_its_own_guards(kind):
    kernel, client = boot()
    start = {"rodata": client.rodata_object, "data": client.data_object, "module-rodata": client.module_rodata}[kind]
    before = kernel.load(start, 256)
    seen = client.run(parse_scenario(f"{kind}/master_recv/dmasafe:bounce/64"))
    assert kernel.load(start, 256) == before
    # A bounce buffer is copied by the CPU, which may not write what is read-only.
    assert (seen.ret is None) is ("rodata" in kind)


@pytest.mark.parametrize(("marked", "threshold", "direct"), [(1, 1, True), (0, 1, False), (1, 8, True), (1, 9, None)])
@pytest.mark.parametrize("rd", [0, 1])
def test_the_helpers_called_directly(marked, threshold, direct, rd):
    text = f"heap/get_put/dmasafe:bounce/8+dma_safe={marked}+rd={rd}+threshold={threshold}"
    kernel, seen, fill = run(text)
    assert seen.ret == 0 and seen.transferred is (direct is not None) and kernel.hardware["dmasafe"].trace == []
    if direct is None:
        assert seen.caller == () and seen.bus == ()
        return
    (message,), (bus,) = seen.caller, seen.bus
    assert message.read is bus.read is bool(rd) and message.flagged is bool(marked)
    assert message.data == bus.data == fill and not bus.why
    (segment,) = bus.segments
    assert (segment.address == message.physical) is direct and segment.length == 8 and not segment.stray
    assert kernel.dma_debug.entries == len(kernel.devices) - 1


def test_the_helpers_on_memory_that_cannot_be_mapped():
    _kernel, seen, _fill = run("stack/get_put/dmasafe:bounce/8+dma_safe=1+rd=0")
    assert (seen.ret, seen.transferred, seen.caller, seen.bus) == (-5, False, (), ())
    (splat,) = seen.splats
    assert splat.splat_class == "map-vmalloc-rejected"
    kernel, client = boot()
    kernel.devices["dmasafe"].dma_mask = 0xFFFF
    before = len(kernel.allocators.allocated)
    seen = client.run(parse_scenario("heap/get_put/dmasafe:bounce/8+dma_safe=0+rd=0"))
    assert (seen.ret, seen.caller) == (-5, ()) and len(kernel.allocators.allocated) == before


# The agent's system calls.


@pytest.mark.parametrize(("length", "moved"), [(8, 8), (8192, 8192)])
def test_files_are_read_and_written(length, moved):
    _kernel, seen, fill = run(f"user/i2cdev_write/dmasafe:bounce/{length}")
    assert (seen.ret, seen.transferred, calls(seen)) == (moved, True, [(False, fill[:moved])])
    _kernel, seen, _fill = run(f"user/i2cdev_read/dmasafe:bounce/{length}")
    assert (seen.ret, seen.transferred, calls(seen)) == (moved, True, [(True, seen.bus[0].data)])
    _kernel, seen, fill = run(f"user/i2cdev_read/dmasafe:bounce/{length}@77")
    assert (seen.ret, seen.transferred) == (-6, False)
    assert calls(seen) == [(True, bytes(value ^ POISON for value in fill))]


def test_messages_have_bytes_of_their_own():
    text = "user/i2cdev_rdwr/dmasafe:bounce/9+messages=w3,r4,w2"
    _kernel, seen, _fill = run(text)
    seed = parse_scenario(text).seed
    assert seen.ret == 3 and seen.transferred
    assert calls(seen) == [(False, client_fill(3, seed)), (True, seen.bus[1].data), (False, client_fill(2, seed + 2))]
    assert [message.flagged for message in seen.caller] == [True] * 3
    text = "user/i2cdev_rdwr/dmasafe:bounce/7@77+messages=r4,r3"
    _kernel, seen, _fill = run(text)
    fills = [client_fill(size, parse_scenario(text).seed + number) for number, size in enumerate((4, 3))]
    assert calls(seen) == [(True, bytes(value ^ POISON for value in fill)) for fill in fills]
    assert not seen.transferred


def smbus(protocol, rd=0, length=4, command=1, address=0x40, pec=0):
    options = f"command={command}+pec={pec}+protocol={protocol}+rd={rd}"
    return run(f"user/i2cdev_smbus/dmasafe:bounce/{length}@{address:x}+{options}")


@pytest.mark.parametrize(
    ("protocol", "rd", "command", "sent"),
    [
        ("quick", 0, 0, ""),
        ("byte", 0, 0x41, "41"),
        ("byte_data", 0, 0x41, "41+1"),
        ("word_data", 0, 0x81, "81+2"),
        ("block_data", 0, 0x01, "0104+4"),
        ("i2c_block_data", 0, 0xC1, "c1+4"),
        ("byte_data", 1, 0x41, "41"),
        ("word_data", 1, 0x81, "81"),
        ("block_data", 1, 0x01, "01"),
        ("i2c_block_data", 1, 0xC1, "c1"),
        ("proc_call", 0, 0x81, "81+2"),
        ("block_proc_call", 0, 0x01, "0104+4"),
    ],
)
def test_each_protocol_writes_what_the_agent_says_it_wrote(protocol, rd, command, sent):
    head, _plus, count = sent.partition("+")
    _kernel, seen, fill = smbus(protocol, rd, command=command)
    wanted = bytes.fromhex(head) + fill[: int(count or 0)]
    assert seen.ret == 0 and seen.transferred
    assert (False, wanted) in calls(seen) and seen.bus[0].data == wanted


@pytest.mark.parametrize(
    ("protocol", "rd", "command", "length"),
    [
        ("byte", 1, 0, 1),
        ("byte_data", 1, 0x41, 1),
        ("word_data", 1, 0x81, 2),
        ("i2c_block_data", 1, 0xC1, 4),
        ("proc_call", 0, 0x81, 2),
    ],
)
def test_each_protocol_reads_what_the_bus_had(protocol, rd, command, length):
    _kernel, seen, _fill = smbus(protocol, rd, command=command)
    message = seen.caller[-1]
    assert message.read and message.data == seen.bus[-1].data and len(message.data) == length and not message.prefix
    assert len(seen.caller) == len(seen.bus)


@pytest.mark.parametrize(("protocol", "rd"), [("block_data", 1), ("block_proc_call", 0)])
def test_blocks_that_are_read_are_the_beginning_of_what_the_bus_had(protocol, rd):
    _kernel, seen, _fill = smbus(protocol, rd)
    message = seen.caller[-1]
    assert message.prefix and message.data[0] == len(message.data) - 1 > 0
    assert seen.bus[-1].data.startswith(message.data) and len(seen.bus[-1].data) == 33


def test_packet_error_codes_are_part_of_what_is_written_and_not_of_what_is_read():
    _kernel, seen, _fill = smbus("byte_data", command=0x41, pec=1)
    ((_read, data),) = calls(seen)
    assert seen.ret == 0 and data[2:] == bytes((crc8(bytes((0x80,)) + data[:2]),)) and seen.bus[0].data == data
    _kernel, seen, _fill = smbus("byte_data", 1, command=0x41, pec=1)
    assert seen.caller[-1].prefix and len(seen.caller[-1].data) == 1 and len(seen.bus[-1].data) == 2
    _kernel, seen, _fill = smbus("i2c_block_data", command=0xC1, pec=1)
    assert seen.bus[0].data == calls(seen)[0][1] and len(seen.bus[0].data) == 5
    assert calls(smbus("quick", pec=1)[1]) == [(False, b"")]


def test_a_block_too_long_for_smbus_is_refused_and_told_as_it_was():
    _kernel, seen, fill = smbus("block_data", length=33)
    assert seen.ret == -22 and not seen.transferred and seen.bus == ()
    assert calls(seen) == [(False, b"\x01\x21" + fill)]
    _kernel, seen, fill = smbus("block_data", length=40)
    # The union has room for 33 bytes after the count.
    assert calls(seen) == [(False, b"\x01\x28" + fill[:33])]
    assert smbus("i2c_block_data", 1, length=33)[1].ret == -22


def test_policies_and_thresholds_are_set_when_they_change():
    kernel, client = boot()
    algo = kernel.adapters["dmasafe"].algo
    for text, policy, threshold in (
        ("heap/master_send/dmasafe:pio/8", "pio", 1),
        ("heap/master_send/dmasafe:bounce/8+threshold=9", "bounce", 9),
        ("heap/master_send/dmasafe:bounce/8", "bounce", 1),
    ):
        client.run(parse_scenario(text))
        assert (algo.policy, algo.threshold) == (policy, threshold)


def test_scenarios_differ_in_their_bytes_unless_they_are_exact():
    _kernel, client = boot()
    client.exact = False
    scenario = parse_scenario("heap/master_send/dmasafe:bounce/8")
    sent = [client.run(scenario).caller[0].data for _ in range(9)]
    assert len(set(sent)) == 9 and all(len(set(data)) == 8 for data in sent)


def test_where_a_kind_puts_its_buffer():
    """images/modules/client_buffer.c: take(), lead(), vmlinux_get()."""
    kernel, client = boot()
    dev = kernel.devices["dmasafe"]
    line = client.lead
    assert line == 64
    for kind, offset in (
        ("heap", 64),
        ("heap-unaligned", 67),
        ("devm", 64),
        ("struct-embedded", 40),
        ("vmalloc", 64),
        ("kmem-cache", 64),
    ):
        assert KINDS[kind].get(client, 8, dev) - client.held == offset
        KINDS[kind].put(client)
    for length, size in ((32, 128), (33, 256)):
        for kind, less in (("heap", 0), ("heap-unaligned", 3)):
            KINDS[kind].get(client, length - less, dev)
            assert kernel.allocators.allocated[client.held].size == size
    KINDS["coherent"].get(client, 8, dev)
    assert client.held_coherent[1] == 40
    pointer = kernel.task.stack_pointer
    assert KINDS["stack"].get(client, 8, dev) == kernel.task.stack_pointer + 32 == pointer - 288
    # Objects of the cache have room for the longest buffer between lead and guard.
    assert client.cache.size == 64 + 8192 + 32 + 32
    before = set(kernel.allocators.allocated)
    KINDS["devm"].get(client, 456, dev)
    (memory,) = set(kernel.allocators.allocated) - before
    assert kernel.allocators.allocated[memory].size >= 64 + 456 + 32
    assert KINDS["rodata"].get(client, 8, dev) == client.rodata_object + 64
    assert KINDS["rodata"].get(client, (16 << 10) - 96, dev) == client.rodata_object + 64
    assert KINDS["rodata"].get(client, (16 << 10) - 95, dev) == client.rodata_object + 40
    assert KINDS["module-rodata"].get(client, 8, dev) == client.module_rodata
    assert KINDS["module-data"].get(client, 8, dev) == client.module_data
    with pytest.raises(Unsupported, match="per-CPU"):
        KINDS["percpu"].get(client, PCPU_MIN_UNIT_SIZE - 95, dev)
    KINDS["percpu"].get(client, PCPU_MIN_UNIT_SIZE - 96, dev)


@pytest.mark.parametrize(("length", "fits"), [(4032, True), (4033, False)])
def test_a_kmapped_page_has_room_for_lead_and_guard(length, fits):
    config = Config(arch="i686").enable("HIGHMEM")
    _kernel, client = boot(config)
    scenario = parse_scenario(f"kmap/master_send/dmasafe:bounce/{length}")
    if fits:
        assert client.lead == 32 and client.run(scenario).ret == length
    else:
        with pytest.raises(Unsupported, match="page"):
            client.run(scenario)


@pytest.mark.parametrize(("length", "order"), [(1, 0), (4000, 0), (4001, 1), (8096, 1), (8097, 2)])
def test_pages_are_as_many_as_lead_buffer_and_guard_need(length, order):
    kernel, client = boot()
    KINDS["pages"].get(client, length, kernel.devices["dmasafe"])
    assert client.held_order == order


@pytest.mark.parametrize(
    ("text", "config", "found"),
    [
        ("stack/master_send_dmasafe/dmasafe:bounce/8", Config().disable("VMAP_STACK"), ["map-stack"]),
        ("stack/master_send_dmasafe/dmasafe:bounce/8", Config(), ["map-vmalloc-rejected"]),
        ("module-data/master_send_dmasafe/dmasafe:bounce/8", Config(), ["map-invalid-area"]),
        ("coherent/master_recv_dmasafe/dmasafe:bounce/8", Config(), ["cacheline-overlap"]),
        ("stack/master_send_dmasafe/virtio/8", Config().enable("DEBUG_SG"), ["sg-virt-invalid"]),
        ("module-rodata/master_recv/dmasafe:bounce/8", Config(), ["other"]),
    ],
)
@pytest.mark.parametrize("version", [(5, 10), (6, 12), (7, 2)])
def test_reports_are_what_would_be_read_from_the_log(text, config, found, version):
    if version == (7, 2) and "cacheline-overlap" in found:
        pytest.skip("7.2 does not report it where devices see the caches")
    if version == (5, 10) and "cacheline-overlap" in found:
        pytest.skip("5.10 does not report it")
    kernel, seen, _fill = run(text, replace(config, version=version))
    read = parse_records(kernel.log.take())
    fields = ("splat_class", "device", "driver", "message", "file", "line")
    told = [tuple(getattr(splat, name) for name in fields) for splat in seen.splats]
    assert told == [tuple(getattr(splat, name) for name in fields) for splat in read]
    assert [splat.splat_class for splat in seen.splats] == found


def test_dma_debug_that_gives_up_is_a_report_too():
    kernel, client = boot()
    kernel.dma_debug.num_free_entries = 0
    kernel.dma_debug.out_of_memory = True
    seen = client.run(parse_scenario("heap/master_send/dmasafe:bounce/8"))
    (read,) = parse_records(kernel.log.take())
    assert [(splat.splat_class, splat.message) for splat in seen.splats] == [(read.splat_class, read.message)]
    assert read.splat_class == "debug-disabled"


@pytest.mark.parametrize(
    "text",
    [
        "heap/transfer/dmasafe:bounce/8",
        "heap/get_put/dmasafe:bounce/8+dma_safe=0+rd=1",
        "heap/master_send/dmasafe:bounce/8+then=sR",
        "user/i2cdev_rdwr/dmasafe:bounce/8+messages=w3,r4",
        "user/i2cdev_read/dmasafe:bounce/8",
        "user/i2cdev_smbus/dmasafe:bounce/4@40+command=1+protocol=block_proc_call+rd=0",
    ],
)
def test_an_operation_gives_back_what_it_took(text):
    kernel, client = boot()
    before = len(kernel.allocators.allocated), kernel.dma_debug.entries, kernel.task.stack_pointer
    assert client.run(parse_scenario(text)).ret >= 0
    assert (len(kernel.allocators.allocated), kernel.dma_debug.entries, kernel.task.stack_pointer) == before


def test_each_place_that_maps_is_warned_about_once():
    _kernel, client = boot()
    texts = [f"stack/{name}/dmasafe:bounce/8" for name in ("master_send_dmasafe", "get_put", "master_send_dmasafe")]
    texts = [text if "get" not in text else f"{text}+dma_safe=1+rd=0" for text in (*texts, texts[1])]
    counts = []
    for text in texts:
        client.kernel.log.entries = []
        counts.append(len(client.run(parse_scenario(text)).splats))
    assert counts == [1, 1, 0, 0]


def test_a_kmapped_page_lies_beyond_the_linear_map_and_is_unmapped_again():
    kernel, client = boot(Config(arch="i686", memory_bytes=2 << 30).enable("HIGHMEM"))
    dev = kernel.devices["dmasafe"]
    for _ in range(2):
        buf = KINDS["kmap"].get(client, 8, dev)
        assert kernel.memory.page_is_highmem(client.held) and kernel.memory.translate(buf) >> 12 == client.held
        kernel.store(buf, b"in use")
        KINDS["kmap"].put(client)
        with pytest.raises(KernelDied):
            kernel.store(buf, b"gone")


@pytest.mark.parametrize("kind", ["rodata", "module-rodata"])
def test_constants_have_bytes_that_differ(kind):
    _kernel, seen, _fill = run(f"{kind}/master_send/dmasafe:pio/8")
    assert calls(seen) == [(False, seen.bus[0].data)] and len(set(seen.bus[0].data)) == 8
