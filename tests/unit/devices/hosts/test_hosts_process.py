# SPDX-License-Identifier: GPL-2.0-or-later
"""A host in the device's process: it is found by its class, and fails when it is told to."""

from __future__ import annotations

import pytest

from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import DevicesError


def test_a_host_has_the_faults_of_hardware_and_no_others(tmp_path):
    functions = {"mt65xx": "dmasafe.devices.hosts.mt65xx:Mt65xx"}
    with DeviceProcess(tmp_path, controllers=(), functions=functions) as devices:
        for name in ("late", "nak-8", None):
            devices.set_fault("mt65xx", name)
        with pytest.raises(DevicesError, match="no fault 'wrong-bytes'"):
            devices.set_fault("mt65xx", "wrong-bytes")
