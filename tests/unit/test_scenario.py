# SPDX-License-Identifier: GPL-2.0-or-later
import re
from pathlib import Path

import pytest

from dmasafe.model import client as model_client
from dmasafe.scenario import (
    BUFFER_KINDS,
    CORE_LENGTHS,
    OPERATIONS,
    ScenarioError,
    core_suite,
    parse_scenario,
    places,
    select,
    smoke_suite,
    suite,
)


def test_every_core_scenario_has_an_id_of_its_own_that_reads_back():
    scenarios = core_suite()
    assert len({s.id for s in scenarios}) == len(scenarios) >= 1000
    assert [parse_scenario(s.id) for s in scenarios] == scenarios


def test_core_is_the_full_product_that_the_issue_of_dma_safety_needs():
    core = core_suite()
    operations = {
        ("master_send", None), ("master_recv", None), ("master_send_dmasafe", None), ("master_recv_dmasafe", None),
        ("transfer", "0"), ("transfer", "1"), ("get_put", "0"), ("get_put", "1"),
    }  # fmt: skip
    seen = {
        (s.buffer, s.operation, dict(s.options).get("dma_safe"), s.controller, s.policy, s.length)
        for s in core
        if s.buffer != "user"
    }
    wanted = {
        (kind, operation, flag, controller, policy, length)
        for kind in BUFFER_KINDS
        for operation, flag in operations
        for controller, policy in places()
        for length in CORE_LENGTHS
    }
    assert seen == wanted


def test_every_i2cdev_operation_runs_on_every_controller_and_policy():
    pairs = {(s.operation, s.controller, s.policy) for s in core_suite() if s.buffer == "user"}
    calls = ("i2cdev_read", "i2cdev_write", "i2cdev_rdwr", "i2cdev_smbus")
    assert pairs == {(call, *place) for call in calls for place in places()}


def test_smoke_has_thirty_scenarios():
    assert len({s.id for s in smoke_suite()}) == 30


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("heap", "BUFFER/OPERATION/CONTROLLER"),
        ("heep/master_send/virtio/8", "buffer kind 'heep'"),
        ("heap/send/virtio/8", "operation 'send'"),
        ("heap/master_send/virtual/8", "controller 'virtual'"),
        ("heap/master_send/dmasafe/8", "policy of controller dmasafe ''"),
        ("heap/master_send/virtio:bounce/8", "no policies"),
        ("heap/i2cdev_read/virtio/8", "does not fit"),
        ("user/master_send/virtio/8", "does not fit"),
        ("heap/master_send/virtio/eight", "LENGTH"),
        ("heap/master_send/virtio/8@xyz", "LENGTH"),
        ("heap/master_send/virtio/99999", "0 to 65535"),
        ("heap/transfer/virtio/8+dma_safe=2", "+dma_safe=2"),
        ("heap/transfer/virtio/8+colour=red", "+colour=red"),
        ("user/i2cdev_rdwr/virtio/8+messages=x8", "+messages=x8"),
        ("user/i2cdev_rdwr/virtio/8", "+messages=w1,r8"),
        ("user/i2cdev_smbus/virtio/8+rd=1", "+protocol=byte_data"),
    ],
)
def test_a_wrong_id_is_refused_with_a_sentence_that_names_the_part(text, named):
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_select_takes_ids_and_patterns_without_repetition():
    chosen = select(["stack/*_dmasafe/dmasafe:bounce/8", "stack/master_send_dmasafe/dmasafe:bounce/8"])
    assert [s.id for s in chosen] == [
        "stack/master_send_dmasafe/dmasafe:bounce/8",
        "stack/master_recv_dmasafe/dmasafe:bounce/8",
    ]
    with pytest.raises(ScenarioError, match=r"matches 'heap/nothing/\*'"):
        select(["heap/nothing/*"])


def test_an_unknown_suite_is_named_with_the_known_ones():
    with pytest.raises(ScenarioError, match=r"no suite 'cores'.*core, smoke"):
        suite("cores")


def c_names(file, table):
    """The names in a table of the client's module."""
    text = (Path(__file__).parents[2] / "images" / "modules" / file).read_text()
    rows = text.partition(f"{table}[] = {{")[2].partition("\n};")[0]
    return set(re.findall(r'\.name = "([\w-]+)"', rows))


def test_c_model_and_scenarios_know_the_same_buffer_kinds():
    assert c_names("client_buffer.c", "client_buffer_kinds") == set(BUFFER_KINDS) == set(model_client.KINDS)


def test_c_model_and_scenarios_know_the_same_operations():
    by_front = {front: {op.name for op in OPERATIONS.values() if op.front == front} for front in ("client", "i2cdev")}
    # What only other commands ask for.
    assert c_names("client_operation.c", "client_operations") == by_front["client"] | {"predicates", "smbus"}
    assert set(model_client.OPERATIONS) == by_front["client"] | by_front["i2cdev"]
