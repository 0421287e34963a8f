# SPDX-License-Identifier: GPL-2.0-or-later
"""usbredir's usb-host end for one device: packets in, transfers on the device, packets out.

A transfer in is answered when the device has something to say; until then it waits and can be cancelled. The guest
steers all of this through QEMU: what waits and what is kept is bounded, and what makes no sense is stalled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from dmasafe.devices.usb.device import IN, Setup, Transfer, UsbDevice
from dmasafe.devices.usb.usbredir import Packet, Status, Type, Wire

# QEMU passes on what the guest queued, as deep as the guest's transfer ring; Linux queues 16 (drivers/mfd/dln2.c).
MAX_WAITING = 1024
MAX_READY_BYTES = 1 << 20


class _Waiting(NamedTuple):
    """A bulk transfer in that has nothing to carry yet."""

    id: int
    length: int
    stream: int


class Redirection:
    """One connection's state; ``send`` takes the bytes for QEMU. Raises ProtocolError from ``handle``."""

    def __init__(self, device: UsbDevice, wire: Wire, send: Callable[[bytes], None]) -> None:
        self._device = device
        self._wire = wire
        self._send = send
        self._waiting: dict[int, deque[_Waiting]] = {}
        self._ready: dict[int, deque[bytes]] = {}
        self._receiving: set[int] = set()
        self._interrupt_id = 0
        device.reset()
        send(wire.hello())

    def handle(self, packet: Packet) -> None:
        """One packet of the usb-guest's."""
        handler = self._HANDLERS.get(packet.type)
        if handler is not None:
            handler(self, packet)

    # Control packets, in usbredir's sense.

    def _hello(self, _packet: Packet) -> None:
        found = self._device.descriptors
        self._send_tables()
        self._send(
            self._wire.device_connect(found.speed, found.device_class, found.vendor, found.product, found.version)
        )

    def _send_tables(self) -> None:
        """The endpoints, then the interfaces: the order in which QEMU needs them before a connect."""
        rows = {address: (int(Transfer.CONTROL), 0, 0, self._device.descriptors.max_packet) for address in (0x00, IN)}
        interfaces = self._device.interfaces()
        for interface in interfaces:
            for endpoint in interface.endpoints:
                kind, size = int(endpoint.transfer), endpoint.max_packet
                rows[endpoint.address] = (kind, endpoint.interval, interface.number, size)
        self._send(self._wire.ep_info(rows))
        self._send(self._wire.interface_info([(row.number, *row.interface_class) for row in interfaces]))

    def _reset(self, _packet: Packet) -> None:
        self._drop_all()
        self._device.reset()

    def _set_configuration(self, packet: Packet) -> None:
        (number,) = packet.fields
        if not self._device.configure(number):
            status = Status.STALL
        else:
            status = Status.SUCCESS
            self._drop_all()
            self._send_tables()
        self._send(self._wire.configuration_status(packet.id, status, self._device.configuration))

    def _get_configuration(self, packet: Packet) -> None:
        self._send(self._wire.configuration_status(packet.id, Status.SUCCESS, self._device.configuration))

    def _set_alt_setting(self, packet: Packet) -> None:
        interface, alt = packet.fields
        if not self._device.select(interface, alt):
            status = Status.STALL
        else:
            status = Status.SUCCESS
            self._send_tables()
        self._send(self._wire.alt_setting_status(packet.id, status, interface, alt))

    def _get_alt_setting(self, packet: Packet) -> None:
        (interface,) = packet.fields
        status = Status.SUCCESS if self._device.has_interface(interface) else Status.STALL
        self._send(self._wire.alt_setting_status(packet.id, status, interface, self._device.alts.get(interface, 0)))

    def _no_iso(self, packet: Packet) -> None:
        self._send(self._wire.iso_stream_status(packet.id, Status.STALL, packet.fields[0]))

    def _start_receiving(self, packet: Packet) -> None:
        (address,) = packet.fields
        endpoint = self._device.endpoint(address)
        good = endpoint is not None and endpoint.transfer is Transfer.INTERRUPT and bool(address & IN)
        status = Status.SUCCESS if good else Status.STALL
        self._send(self._wire.interrupt_receiving_status(packet.id, status, address))
        if good:
            self._receiving.add(address)
            self._deliver(address)

    def _stop_receiving(self, packet: Packet) -> None:
        (address,) = packet.fields
        self._receiving.discard(address)
        self._send(self._wire.interrupt_receiving_status(packet.id, Status.SUCCESS, address))

    def _cancel(self, packet: Packet) -> None:
        """A transfer that was answered in the meantime is none any more."""
        for address, queue in self._waiting.items():
            for waiting in queue:
                if waiting.id == packet.id:
                    queue.remove(waiting)
                    self._send(self._wire.bulk(packet.id, address, waiting.stream, Status.CANCELLED, 0))
                    return

    def _drop_all(self) -> None:
        """What was under way is over: unanswered transfers come back cancelled."""
        for address, queue in self._waiting.items():
            for waiting in queue:
                self._send(self._wire.bulk(waiting.id, address, waiting.stream, Status.CANCELLED, 0))
        self._waiting.clear()
        self._ready.clear()
        self._receiving.clear()

    # Data packets.

    def _control(self, packet: Packet) -> None:
        endpoint, request, request_type, _status, value, index, length = packet.fields
        if endpoint & ~IN:
            self._send(self._wire.control(packet, Status.STALL, 0))
            return
        setup = Setup(request_type, request, value, index, length)
        answer = self._device.control(setup, packet.data)
        if answer is None:
            self._send(self._wire.control(packet, Status.STALL, 0))
        elif setup.reads:
            self._send(self._wire.control(packet, Status.SUCCESS, len(answer), answer))
        else:
            self._send(self._wire.control(packet, Status.SUCCESS, len(packet.data)))

    def _bulk(self, packet: Packet) -> None:
        address, stream = packet.fields[0], packet.fields[3]
        length = packet.fields[2] | (packet.fields[4] << 16 if len(packet.fields) > 4 else 0)
        endpoint = self._device.endpoint(address)
        if endpoint is None or endpoint.transfer is not Transfer.BULK:
            self._send(self._wire.bulk(packet.id, address, stream, Status.STALL, 0))
        elif address & IN:
            queue = self._waiting.setdefault(address, deque())
            if len(queue) >= MAX_WAITING:
                self._send(self._wire.bulk(packet.id, address, stream, Status.IOERROR, 0))
                return
            queue.append(_Waiting(packet.id, length, stream))
            self._deliver(address)
        else:
            status = self._out(address, packet.data)
            done = len(packet.data) if status is Status.SUCCESS else 0
            self._send(self._wire.bulk(packet.id, address, stream, status, done))
            self._deliver(self._device.function.source)

    def _interrupt(self, packet: Packet) -> None:
        address = packet.fields[0]
        endpoint = self._device.endpoint(address)
        status = Status.STALL
        if endpoint is not None and endpoint.transfer is Transfer.INTERRUPT and not address & IN:
            status = self._out(address, packet.data)
        done = len(packet.data) if status is Status.SUCCESS else 0
        self._send(self._wire.interrupt(packet.id, address, status, done))
        self._deliver(self._device.function.source)

    def _out(self, address: int, data: bytes) -> Status:
        """Hand a transfer to the function; its answers wait for somebody to fetch them."""
        source = self._device.function.source
        ready = self._ready.setdefault(source, deque())
        if sum(map(len, ready)) > MAX_READY_BYTES:
            return Status.STALL
        answers = self._device.function.out(address, data)
        if answers is None:
            return Status.STALL
        ready.extend(answers)
        return Status.SUCCESS

    def _deliver(self, address: int) -> None:
        """Give what is ready to whoever waits for it."""
        endpoint = self._device.endpoint(address)
        ready = self._ready.get(address)
        if endpoint is None or not ready:
            return
        if endpoint.transfer is Transfer.INTERRUPT:
            while ready and address in self._receiving:
                self._interrupt_in(address, endpoint.max_packet, ready.popleft())
            return
        queue = self._waiting.get(address)
        while ready and queue:
            waiting = queue.popleft()
            data = ready.popleft()
            if len(data) > waiting.length:
                # The rest goes to the next one, as packets that the host has not asked for yet.
                ready.appendleft(data[waiting.length :])
                data = data[: waiting.length]
            self._send(self._wire.bulk(waiting.id, address, waiting.stream, Status.SUCCESS, len(data), data))

    def _interrupt_in(self, address: int, size: int, data: bytes) -> None:
        """A transfer in, packet by packet."""
        for start in range(0, max(len(data), 1), size):
            piece = data[start : start + size]
            self._send(self._wire.interrupt(self._interrupt_id, address, Status.SUCCESS, len(piece), piece))
            self._interrupt_id = (self._interrupt_id + 1) & 0xFFFFFFFF

    _HANDLERS: ClassVar[dict[Type, Callable[[Redirection, Packet], None]]] = {
        Type.HELLO: _hello,
        Type.RESET: _reset,
        Type.SET_CONFIGURATION: _set_configuration,
        Type.GET_CONFIGURATION: _get_configuration,
        Type.SET_ALT_SETTING: _set_alt_setting,
        Type.GET_ALT_SETTING: _get_alt_setting,
        Type.START_ISO_STREAM: _no_iso,
        Type.STOP_ISO_STREAM: _no_iso,
        Type.START_INTERRUPT_RECEIVING: _start_receiving,
        Type.STOP_INTERRUPT_RECEIVING: _stop_receiving,
        Type.CANCEL_DATA_PACKET: _cancel,
        Type.CONTROL_PACKET: _control,
        Type.BULK_PACKET: _bulk,
        Type.INTERRUPT_PACKET: _interrupt,
    }
