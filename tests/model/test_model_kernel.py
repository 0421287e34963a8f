# SPDX-License-Identifier: GPL-2.0-or-later
"""The booted kernel as a whole, the laboratory that predicts with it, and the client that plays the guest."""

import pytest

from dmasafe.devices.bus import Bus
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.model import Config, ModelError, ModelKernel, predict
from dmasafe.model.bus import SlaveBus, StandardBus
from dmasafe.model.client import CLIENT_GUARD, KINDS, Client, Unsupported, client_fill, predicates
from dmasafe.model.i2c import I2cAdapter
from dmasafe.model.predict import Lab
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import parse_scenario

FUNCTIONS = """
kmalloc kzalloc kmemdup kfree vmalloc vfree devm_kmalloc devm_kfree alloc_pages free_pages page_address alloc_percpu
free_percpu kmap kunmap kmem_cache_create kmem_cache_alloc load store virt_to_page page_to_phys is_vmalloc_addr
is_vmalloc_or_module_addr virt_addr_valid object_is_on_stack alloca dma_map_single dma_unmap_single dma_map_page
dma_unmap_page dma_map_sg dma_unmap_sg dma_mapping_error dma_alloc_coherent dma_free_coherent dma_pool_create
dma_sync_single_for_cpu dma_sync_single_for_device dma_set_mask dma_set_mask_and_coherent i2c_transfer
i2c_transfer_buffer_flags i2c_master_send i2c_master_recv i2c_master_send_dmasafe i2c_master_recv_dmasafe
i2c_get_dma_safe_msg_buf i2c_put_dma_safe_msg_buf i2c_release_dma_safe_msg_buf i2c_check_functionality i2c_smbus_xfer
i2c_smbus_read_byte i2c_smbus_write_byte i2c_smbus_read_byte_data i2c_smbus_write_byte_data i2c_smbus_read_word_data
i2c_smbus_write_word_data i2c_smbus_read_block_data i2c_smbus_write_block_data i2c_smbus_read_i2c_block_data
i2c_smbus_write_i2c_block_data
"""


def test_the_kernels_functions_are_there_under_their_names():
    kernel = ModelKernel()
    for name in FUNCTIONS.split():
        # include/linux/dma-mapping.h: macros; without an IOMMU a single mapping is undone as a page's.
        wanted = name if name != "dma_unmap_single" else "dma_unmap_page"
        assert getattr(kernel, name).__name__ in (wanted, f"{wanted}_attrs")


def test_a_kernel_takes_slaves_a_bus_or_nothing():
    slaves, bus = {0x30: Recorder()}, Bus({})
    assert isinstance(ModelKernel(slaves=slaves).bus, SlaveBus) and ModelKernel(slaves=slaves).bus.slaves == slaves
    assert ModelKernel(slaves=bus).bus is bus and isinstance(ModelKernel().bus, StandardBus)


@pytest.mark.parametrize(
    ("config", "coherent"),
    [
        (Config(), True),
        (Config(coherent=False), False),
        (Config(arch="aarch64"), False),
        (Config(arch="aarch64", coherent=True), True),
    ],
)
def test_devices_are_as_coherent_as_the_machine(config, coherent):
    kernel = ModelKernel(config)
    assert kernel.dma_coherent is coherent and (kernel.memory.cache is None) is coherent
    assert kernel.device("a", None).dma_coherent is coherent
    kernel.adapter("dmasafe")
    assert kernel.devices["dmasafe"].dma_coherent is coherent


def test_a_device_reaches_everything_unless_told_otherwise():
    kernel = ModelKernel()
    wide, narrow = kernel.device("a", None), kernel.device("b", None, 0xFFFFFF)
    assert (wide.dma_mask, wide.coherent_dma_mask) == ((1 << 64) - 1,) * 2
    assert (narrow.dma_mask, narrow.coherent_dma_mask) == (0xFFFFFF,) * 2


def test_controllers_sit_in_their_slots_and_share_the_bus():
    kernel = ModelKernel()
    virtio, dmasafe = kernel.adapter("virtio"), kernel.adapter("dmasafe")
    assert [(device.name, device.driver) for device in kernel.devices.values()] == [
        ("0000:00:0a.0", "virtio-pci"),
        ("0000:00:06.0", "dmasafe_controller"),
    ]
    assert kernel.adapter("virtio") is virtio and [virtio.nr, dmasafe.nr] == [0, 1]
    assert {hardware.bus for hardware in kernel.hardware.values()} == {kernel.bus}
    assert kernel.open(1).adapter is dmasafe
    with pytest.raises(ModelError, match="/dev/i2c-2"):
        kernel.open(2)


def test_a_kernel_without_dma_debug_releases_a_device_in_silence():
    kernel = ModelKernel(Config().disable("DMA_API_DEBUG"))
    kernel.adapter("dmasafe")
    kernel.unbind("dmasafe")
    assert kernel.adapters == {} and kernel.log.entries == []


def test_a_restored_kernel_is_as_it_was():
    kernel = ModelKernel(slaves={0x30: Recorder()})
    adap = kernel.adapter("dmasafe")
    adap.retries, adap.timeout, adap.bound = 2, 77, {0x20}
    buf = kernel.memdup_user(b"data")
    pointer = kernel.task.stack_pointer
    allocated = set(kernel.allocators.allocated)
    entries = kernel.dma_debug.entries
    state = kernel.save()
    adap.retries, adap.timeout = 5, 5
    adap.bound.add(0x21)
    adap.locked = adap.suspended = True
    kernel.store(buf, b"gone")
    kernel.kmalloc(8)
    kernel.alloca(64)
    kernel.i2c.trace = []
    kernel.i2c.jiffies = 9
    kernel.notes.append("a note")
    kernel.dma_map_single(kernel.devices["dmasafe"], buf, 4, 1)
    kernel.i2c_master_send_dmasafe(kernel.client(kernel.adapter("virtio"), 0x30), kernel.vmalloc(8), 8)
    del kernel.adapters["virtio"]
    assert kernel.hardware["virtio"].trace
    kernel.log.printk("3", "a line")
    kernel.restore(state)
    assert (adap.retries, adap.timeout, adap.bound) == (2, 77, {0x20}) and not (adap.locked or adap.suspended)
    assert kernel.load(buf, 4) == b"data" and set(kernel.allocators.allocated) == allocated
    assert kernel.task.stack_pointer == pointer and kernel.dma_debug.entries == entries
    assert kernel.i2c.trace is None and kernel.i2c.jiffies == 0 and kernel.notes == [] and kernel.log.entries == []
    assert kernel.hardware["virtio"].trace == []
    adap.bound.add(0x22)
    kernel.restore(state)
    assert adap.bound == {0x20}


def test_reasons_are_told_once_and_in_order():
    kernel = ModelKernel()
    kernel.notes += ["b", "a", "b"]
    assert kernel.why() == "b; a" and kernel.why() == ""


def test_nothing_is_copied_to_a_buffer_of_no_bytes():
    kernel = ModelKernel()
    assert kernel.memdup_user(b"") not in kernel.allocators.allocated
    assert kernel.load(kernel.memdup_user(b"ab"), 2) == b"ab"


def test_an_adapter_of_the_callers_own_has_a_file():
    kernel = ModelKernel()
    adap = I2cAdapter(7, "own", None)
    kernel.add_adapter("own", adap)
    assert kernel.open(7).adapter is adap


# The laboratory.


def facts(**more):
    return Config(**more)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("stack/master_send/dmasafe:bounce/257", "longer than a buffer on the stack may be"),
        ("module-rodata/master_send/dmasafe:bounce/257", "longer than the module's constant"),
        ("percpu/master_send/dmasafe:bounce/8192", None),
        ("rodata/master_send/dmasafe:bounce/8192", None),
        ("data/master_send/dmasafe:bounce/272", None),
        ("data/master_send/dmasafe:bounce/273", "longer than the borrowed object"),
        ("module-rodata/master_send/dmasafe:bounce/256", None),
        ("stack/master_send/dmasafe:bounce/256", None),
    ],
)
def test_what_the_client_has_no_room_for_is_skipped(text, why):
    found = predict(parse_scenario(text), facts())
    assert (found.why if isinstance(found, Skip) else None) == why


def test_a_laboratory_undoes_what_a_scenario_left():
    lab = Lab(Config().enable("DEBUG_SG"))
    assert set(lab.kernel.adapters) == {"virtio", "dmasafe"}
    kernel = lab.kernel
    allocated = set(kernel.allocators.allocated)
    seen, records, notes = lab.run(parse_scenario("stack/master_send_dmasafe/virtio/8"))
    assert seen.ret is None and any("BUG" in record for record in records) and notes
    assert not kernel.adapters["virtio"].locked and set(kernel.allocators.allocated) == allocated
    # Once-only reports come again, and what was noted for one scenario is not told of the next.
    for _ in range(2):
        seen, records, notes = lab.run(parse_scenario("vmalloc/master_send_dmasafe/dmasafe:bounce/8"))
        assert [splat.splat_class for splat in seen.splats] == ["map-vmalloc-rejected"]
        assert records and notes == ["the message is marked I2C_M_DMA_SAFE: its own buffer is used", *notes[1:]]
    assert lab.run(parse_scenario("heap/master_send/dmasafe:pio/8"))[1] == []


def test_a_laboratorys_slaves_serve_every_scenario_alike_unless_they_are_the_callers():
    scenario = parse_scenario("heap/master_recv/dmasafe:bounce/8")
    lab = Lab(Config())
    assert lab.run(scenario)[0].caller == lab.run(scenario)[0].caller
    recorder = Recorder()
    lab = Lab(Config(), Bus({0x30: recorder}))
    assert lab.run(scenario)[0].caller != lab.run(scenario)[0].caller and len(recorder.messages) == 2


def test_what_a_scenario_left_mapped_is_undone_where_dma_debug_counts_it():
    text = parse_scenario("heap/master_send/dmasafe:bounce/8")
    assert Lab(Config().disable("DMA_API_DEBUG")).run(text)[0].ret == 8
    lab = Lab(Config())
    kernel = lab.kernel
    entries = kernel.dma_debug.entries
    kernel.dma_map_single(kernel.devices["dmasafe"], kernel.memory.page_to_virt(4096), 8, 1)
    lab.run(text)
    assert kernel.dma_debug.entries == entries


def test_a_kernel_without_virtios_driver_has_no_such_adapter():
    assert set(Lab(Config().disable("I2C_VIRTIO")).kernel.adapters) == {"dmasafe"}


@pytest.mark.parametrize(
    ("text", "outcome", "classes", "direct", "why"),
    [
        ("heap/master_send/dmasafe:pio/8", Outcome.SAFE, (), False, "the payload is copied by the CPU"),
        ("heap/master_send_dmasafe/dmasafe:bounce/8", Outcome.SAFE, (), True, "its own buffer is used"),
        ("heap/master_send/dmasafe:bounce/8", Outcome.SAFE, (), False, "a kmalloc'ed bounce buffer is used"),
        ("stack/master_send_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, ("map-vmalloc-rejected",), None, "; "),
        ("stack/master_send_dmasafe/virtio/8", Outcome.SILENT, (), None, "stray DMA"),
    ],
)
def test_a_prediction_says_what_comes_of_it_and_why(text, outcome, classes, direct, why):
    found = predict(parse_scenario(text), Config())
    assert (found.outcome, found.classes, found.direct, found.destructive) == (outcome, classes, direct, False)
    assert why in found.why and "right data, no splat" not in found.why


def test_a_task_that_dies_makes_a_prediction_destructive():
    lethal = parse_scenario("stack/master_send_dmasafe/virtio/8")
    found = predict(lethal, Config().enable("DEBUG_SG"))
    assert found.destructive and found.classes == ("sg-virt-invalid",)


# The client.


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_gives_back_what_it_took(kind):
    kernel = ModelKernel(Config().enable("HIGHMEM") if kind != "kmap" else Config(arch="i686").enable("HIGHMEM"))
    kernel.adapter("dmasafe")
    client = Client(kernel)
    dev = kernel.devices["dmasafe"]
    baseline = kernel.dma_debug.entries, len(kernel.allocators.allocated)
    taken = []
    for length in (1, 8, 200, 200):
        buf = KINDS[kind].get(client, length, dev)
        start, size = buf - KINDS[kind].front, KINDS[kind].front + length + CLIENT_GUARD
        assert len(kernel.load(start, size)) == size
        taken.append((buf, kernel.memory.translate(buf)))
        KINDS[kind].put(client)
        assert (kernel.dma_debug.entries, len(kernel.allocators.allocated)) == baseline
    if kind in ("vmalloc", "devm", "heap", "pages"):
        # One byte more than a page holds with lead and guard.
        start = KINDS[kind].get(client, 4001, dev) - CLIENT_GUARD
        assert len(kernel.load(start, 4001 + 2 * CLIENT_GUARD)) == 4065
        KINDS[kind].put(client)
    # What went back is handed out again.
    assert taken[2] == taken[3] or kind == "stack"


def test_a_guest_would_send_these_very_bytes():
    """client_fill() of images/modules/client_operation.c, computed by hand for its first steps."""

    def by_hand(length, seed):
        state, out = (seed * 2654435761 + 0x9E3779B9) % 2**32, []
        for _ in range(length):
            state = (state ^ state << 13) % 2**32
            state ^= state >> 17
            state = (state ^ state << 5) % 2**32
            out.append(state % 256)
        return bytes(out)

    for seed in (0, 1, 77):
        assert client_fill(40, seed) == by_hand(40, seed)


@pytest.mark.parametrize(
    ("where", "damage"),
    [
        (-1, ("guard-before",)),
        (-CLIENT_GUARD, ("guard-before",)),
        (-CLIENT_GUARD - 1, ()),
        (0, ("source",)),
        (7, ("source",)),
        (8, ("guard-after",)),
        (8 + CLIENT_GUARD - 1, ("guard-after",)),
        (8 + CLIENT_GUARD, ()),
    ],
)
def test_damage_is_named_by_where_it_is(where, damage):
    kernel = ModelKernel()
    kernel.adapter("dmasafe")
    client = Client(kernel)
    hardware = kernel.hardware["dmasafe"]
    genuine = hardware.request

    def request(address, read, dma, length, last):
        kernel.memory.ram_write(dma + where, bytes((kernel.memory.ram_read(dma + where, 1)[0] ^ 1,)))
        return genuine(address, read, dma, length, last)

    hardware.request = request
    assert client.run(parse_scenario("heap/master_send_dmasafe/dmasafe:bounce/8")).damage == damage


def test_predicates_of_a_buffer_are_the_kernels():
    kernel = ModelKernel()
    client = Client(kernel)
    heap, stack = predicates(client, "heap", 8), predicates(client, "stack", 8)
    assert heap == {
        "va": heap["va"],
        "pa": kernel.memory.translate(heap["va"]),
        "is_vmalloc_addr": 0,
        "is_vmalloc_or_module_addr": 0,
        "virt_addr_valid": 1,
        "object_is_on_stack": 0,
        "cacheline_aligned": 1,
        "dma_alignment": 1,
    }
    assert {name: stack[name] for name in ("is_vmalloc_addr", "virt_addr_valid", "object_is_on_stack")} == {
        "is_vmalloc_addr": 1,
        "virt_addr_valid": 0,
        "object_is_on_stack": 1,
    }
    assert predicates(client, "module-data", 8)["is_vmalloc_or_module_addr"] == 1
    assert predicates(client, "heap-unaligned", 8)["cacheline_aligned"] == 0
    pointer = kernel.task.stack_pointer
    predicates(client, "stack", 8)
    assert kernel.task.stack_pointer == pointer
    before = len(kernel.allocators.allocated)
    predicates(client, "heap", 8)
    assert len(kernel.allocators.allocated) == before
    with pytest.raises(Unsupported, match="stack"):
        predicates(client, "stack", 257)
