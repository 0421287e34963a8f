# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios to the agent's lines, the agent's answers and the device's trace to Observations."""

from __future__ import annotations

from collections.abc import Sequence

from dmasafe.carriers import Record, controller_of
from dmasafe.devices.hosts.faults import SLOW_S
from dmasafe.dmesg import parse_records
from dmasafe.faults import NO_FAULT
from dmasafe.guest.agent import Message, integer, octets
from dmasafe.host_policy import HostPolicy
from dmasafe.outcome import BusMessage, CallerMessage, DmaSegment, Observation, Splat
from dmasafe.scenario import OPERATIONS, Scenario
from dmasafe.vocabulary import SUSPEND

_I2CDEV = "i2cdev_"
_ETIMEDOUT = 110
# dma_map_single() says so, and returns an error.
_REJECTED = "map-vmalloc-rejected"
# The agent's words for it.
_GONE = ("the adapter is gone", "meanwhile: there is no such adapter")
# Hardware that does what it should, in time.
_SOUND = (None, "busy")


def settings(scenario: Scenario) -> str:
    """The adapter's attributes for this scenario, as the agent's ``set`` wants them."""
    if scenario.policy is None or controller_of(scenario.controller).like:
        return ""
    threshold, fault = scenario.option("threshold", "1"), scenario.option("fault", NO_FAULT)
    # All of them always: nothing of an earlier scenario's is left.
    return f"policy={scenario.policy} threshold={threshold} fault={fault}"


def line(scenario: Scenario, strict: bool = False) -> str:
    """The agent's line for this scenario; ``strict``: on the strict machine."""
    words = [f"addr={scenario.address:#04x}", f"len={scenario.length}", f"fill={scenario.seed}"]
    # Elsewhere the threshold is the controller's: settings().
    elsewhere = {"fault", "hardware", "meanwhile"} | ({"threshold"} if scenario.operation != "get_put" else set())
    words += [f"{name}={value}" for name, value in scenario.options if name not in elsewhere]
    if scenario.meanwhile == SUSPEND and not OPERATIONS[scenario.operation].from_user_space:
        words.append("awake=1")
    if strict and scenario.fault is not None and scenario.fault.unseen_alone:
        words.append("fail=1")
    if OPERATIONS[scenario.operation].from_user_space:
        return " ".join(["front=i2cdev", f"op={scenario.operation.removeprefix(_I2CDEV)}", *words])
    own_words = controller_of(scenario.controller).words
    return " ".join([f"op={scenario.operation}", f"buffer={scenario.buffer}", *words, *own_words])


def observation(
    scenario: Scenario,
    reply: Message,
    records: Sequence[str],
    trace: Sequence[BusMessage],
    memory: Sequence[range],
    splats: Sequence[Splat] | None = None,
) -> Observation:
    """All that is known of one scenario.

    ``reply`` is the agent's to ``run``, ``records`` the kernel log of the scenario, ``trace`` what the device saw,
    ``memory`` the physical addresses of memory, ``splats`` what is in ``records``, if that is known.
    """
    splats = tuple(parse_records(records) if splats is None else splats)
    answer = reply.get("answer")
    if not isinstance(answer, dict):
        lost = _lost(reply, bool(splats))
        return Observation(None, bus=tuple(trace), splats=splats, lost=lost, hasty=_gone(scenario, reply))
    if "unsupported" in answer:
        return Observation(None, splats=splats, lost=f"the guest cannot do this: {answer['unsupported']}")
    if scenario.meanwhile == SUSPEND:
        # Behind them is the agent's own read after it, where the device cannot tell it from the scenario's.
        trace = trace[: len(_messages(answer, "msgs"))]
    ret = integer(answer, "ret")
    ns = integer(answer, "ns")
    messages = _messages(answer, "msgs")
    damage = tuple(str(item) for item in _list(answer, "damage"))
    caller = tuple(_caller_message(message) for message in messages)
    # A driver that the kernel reports while it goes need not come back.
    leaving = None if splats and scenario.meanwhile else _not_rebound(scenario, reply) or _over_before(scenario, reply)
    # Memory that is damaged is so whatever the driver says.
    hasty = None if damage else _impatient(scenario, ret, splats, messages, trace)
    bus: tuple[BusMessage, ...] | None
    if scenario.operation == "get_put":
        bus = tuple(_mapped_message(message, memory) for message in messages)
    else:
        bus = _on_bus(controller_of(scenario.controller).record, answer, trace, memory)
    return Observation(
        ret=ret,
        caller=caller,
        bus=bus,
        splats=splats,
        damage=damage,
        transferred=bool(answer.get("transferred", ret is not None and ret >= 0)),
        us=None if ns is None else ns / 1000,
        wrong=_after_sleep(scenario, reply),
        # Who is frozen does not see when its call was over.
        slept=reply.get("slept") is True and not OPERATIONS[scenario.operation].from_user_space,
        lost=leaving or hasty,
        hasty=hasty is not None or (leaving is not None and scenario.meanwhile is not None),
    )


def _on_bus(
    record: Record, answer: Message, trace: Sequence[BusMessage], memory: Sequence[range]
) -> tuple[BusMessage, ...] | None:
    """What was on the bus, by the word of those who can tell; None if nobody can."""
    match record:
        case Record.DEVICE:
            return tuple(trace)
        case Record.DEVICE_IF_ANY:
            return tuple(trace) or None
        case Record.GUEST:
            return tuple(_hardware_message(message, memory) for message in _messages(answer, "bus"))
        case Record.NOBODY:
            return None


def _impatient(
    scenario: Scenario,
    ret: int | None,
    splats: Sequence[Splat],
    messages: Sequence[Message],
    trace: Sequence[BusMessage],
) -> str | None:
    """Some drivers wait 50 ms to 8 s for an answer: too short for a guest that shares a busy host.

    Of a driver that stumbles when it gives up, what the kernel reports says nothing either.
    """
    row = controller_of(scenario.controller)
    if not row.impatient or not _is_bearable(scenario) or ret is None or ret >= 0:
        return None
    if splats and not (row.stumbles and ret == -_ETIMEDOUT):
        return None
    if in_vain(scenario, ret, splats, trace):
        return None
    if scenario.meanwhile == SUSPEND and not OPERATIONS[scenario.operation].from_user_space:
        # No interrupt comes any more, and nobody waits for the transfer.
        return None
    if scenario.meanwhile and isinstance(row.model, HostPolicy) and any(e.errno == -ret for e in row.model.gone):
        # It waits in vain for what it has given up.
        return None
    if not all(message.ok for message in trace):
        return None
    # One that gives up does not send the rest.
    if (len(trace) != len(messages) and not (row.stumbles and ret == -_ETIMEDOUT)) or not messages:
        return None
    done = f"the hardware carried out {len(trace)} of {len(messages)} messages and its driver returned {ret}"
    return f"{done}: a host that is too slow for the driver and a driver that waits in vain look alike"


def in_vain(scenario: Scenario, ret: int | None, splats: Sequence[Splat], trace: Sequence[BusMessage]) -> bool:
    """Whether the driver gave up because it waited for DMA that it had not started: the mapping was rejected.

    That is so on every host, however fast; ``ret`` is what its policy says of a buffer that cannot be mapped.
    """
    policy = controller_of(scenario.controller).model
    if not isinstance(policy, HostPolicy) or not policy.unmapped or ret != -policy.unmapped:
        return False
    rejected = any(splat.splat_class == _REJECTED for splat in splats)
    return rejected and not any(message.segments for message in trace[-1:])


def _is_bearable(scenario: Scenario) -> bool:
    """Whether the hardware does what it should while its driver waits."""
    model = controller_of(scenario.controller).model
    patient = isinstance(model, HostPolicy) and model.bears(SLOW_S)
    return scenario.hardware in _SOUND or (scenario.hardware == "slow" and patient)


def _after_sleep(scenario: Scenario, reply: Message) -> tuple[str, ...]:
    error = integer(reply, "after", 0)
    # Slower than the driver has patience the hardware is then, too.
    slow = not _is_bearable(scenario) and error == _ETIMEDOUT
    return (f"errno {error} of a transfer after the system has slept",) if error and not slow else ()


def _gone(scenario: Scenario, reply: Message) -> bool:
    """Whether a driver did not come back in time, in this scenario or one before."""
    if "hung" in reply:
        return scenario.meanwhile is not None
    return str(reply.get("error", "")) in _GONE


def _not_rebound(scenario: Scenario, reply: Message) -> str | None:
    fault = scenario.fault
    leaves = scenario.meanwhile is not None or (fault is not None and fault.rebinds)
    if not leaves:
        return None
    if reply.get("rebound") is True:
        return None
    return "the controller's driver did not come back when it was unbound and bound again"


def _over_before(scenario: Scenario, reply: Message) -> str | None:
    if scenario.meanwhile is None or reply.get("caught") is not False:
        return None
    what = "the system slept" if scenario.meanwhile == SUSPEND else "its driver was unbound"
    return f"the call was over before {what}"


def _messages(answer: Message, key: str) -> list[Message]:
    return [message for message in _list(answer, key) if isinstance(message, dict)]


def _list(answer: Message, key: str) -> list[object]:
    """A list of a guest's answer; empty for anything else."""
    found = answer.get(key)
    return found if isinstance(found, list) else []


def _lost(reply: Message, reported: bool) -> str | None:
    """Why there is no answer; None if the kernel itself said why the caller died."""
    signal = integer(reply, "died")
    if signal is not None:
        return None if reported else f"the calling task died of signal {signal} and the kernel reported nothing"
    hung = integer(reply, "hung")
    if hung is not None:
        return f"the call did not return within {hung} ms"
    return f"the agent: {str(reply.get('error', 'an answer without an answer'))[:200]}"


def _caller_message(message: Message) -> CallerMessage:
    flagged = integer(message, "dma_safe")
    # get_put says what the buffer should have held beside what it did hold.
    data = octets(message, "want") if "want" in message else octets(message, "data")
    return CallerMessage(
        read=bool(integer(message, "rd", 0)),
        data=data,
        physical=integer(message, "pa"),
        flagged=None if flagged is None else bool(flagged),
        prefix=bool(integer(message, "recv_len", 0)),
    )


def _mapped_message(message: Message, memory: Sequence[range]) -> BusMessage:
    """get_put stops before the bus: what was mapped stands in for what the device would have seen."""
    data = octets(message, "data")
    address = integer(message, "dma")
    segments: tuple[DmaSegment, ...] = ()
    if address is not None:
        segments = (DmaSegment(address, len(data), not _inside(memory, address, len(data))),)
    return BusMessage(0, bool(integer(message, "rd", 0)), data, True, segments)


def _inside(memory: Sequence[range], address: int, length: int) -> bool:
    return length >= 0 and any(part.start <= address <= part.stop - length for part in memory)


def _hardware_message(message: Message, memory: Sequence[range]) -> BusMessage:
    """What hardware in the guest saw of a payload; it says of an address itself if it leads elsewhere."""
    segments = []
    for segment in _messages(message, "segments"):
        address, length = integer(segment, "address", 0) or 0, integer(segment, "length", 0) or 0
        stray = bool(integer(segment, "stray", 1)) or not _inside(memory, address, length)
        segments.append(DmaSegment(address, length, stray))
    return BusMessage(0, bool(integer(message, "rd", 0)), octets(message, "data"), True, tuple(segments))
