# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accelerator to use, by proof: one counts only after it has booted a kernel within a bound.

/dev/kvm can exist and run a few real-mode instructions, and yet spin for ever before a kernel's first line
(nested hosts, broken sandboxes). So the very kernel of the run is booted once per accelerator, QEMU and host boot,
without an initramfs: it has to panic for want of one. The answer is remembered.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dmasafe.atomic import publish
from dmasafe.qemu import QemuError
from dmasafe.qemu.machines import Machine
from dmasafe.qemu.versions import firmware_options, qemu_version

# Hardware needs a fraction of a second for this; a spinning one would need for ever.
PROBE_TIMEOUT_S = 5.0
KVM = "/dev/kvm"
ACCELERATORS = ("kvm", "tcg")
_PROOF = b"Linux version "
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boots(machine: Machine, accelerator: str, kernel: Path) -> bool:
    """Whether this accelerator boots the kernel to its panic within PROBE_TIMEOUT_S."""
    command = [machine.binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-accel", accelerator, "-machine", machine.words(accelerator), "-cpu", "host", "-m", "256M"]
    command += ["-kernel", str(kernel), "-append", " ".join((*machine.cmdline, "panic=-1")), "-serial", "stdio"]
    command += firmware_options(machine.binary, machine.firmware)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            start_new_session=True,
        )
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode == 0 and _PROOF in done.stdout


def _identity(machine: Machine, accelerator: str) -> str:
    version = qemu_version(machine.binary, machine.debian_package)
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"
    # Who asks matters too: /dev/kvm may be readable for one user and not for another.
    return f"{accelerator} {machine.binary} {version[0]}.{version[1]} {boot} {os.geteuid()}"


def accelerator_works(machine: Machine, accelerator: str, kernel: Path, memory: Path) -> bool:
    """Whether the accelerator has proved itself on this host boot.

    ``kernel`` is the image that the proof boots, ``memory`` the JSON file of remembered answers.
    """
    if accelerator == "kvm" and not os.access(KVM, os.R_OK | os.W_OK):
        return False
    remembered: dict[str, bool] = {}
    with contextlib.suppress(OSError, ValueError):
        loaded = json.loads(memory.read_text())
        remembered = loaded if isinstance(loaded, dict) else {}
    key = _identity(machine, accelerator)
    if key not in remembered:
        works = _boots(machine, accelerator, kernel)
        boot = key.split()[-2]
        remembered = {k: v for k, v in remembered.items() if k.split()[-2:-1] == [boot]} | {key: works}
        # A host that cannot remember pays the proof again: no reason to stop.
        with contextlib.suppress(OSError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            with publish(memory) as made:
                made.write_text(json.dumps(remembered))
    return bool(remembered[key])


def require_accelerator(wanted: str | None) -> None:
    """Raises QemuError for a user's choice that cannot be, as far as that is known without a boot."""
    name = (wanted or "tcg").partition(",")[0]
    if name not in ACCELERATORS:
        raise QemuError(f"there is no accelerator '{name}': it is {' or '.join(ACCELERATORS)}")
    if name == "kvm" and not os.access(KVM, os.R_OK | os.W_OK):
        raise QemuError(f"there is no {KVM} that you may open: leave --accel out, or use --accel tcg")


def choose_accelerator(
    machine: Machine, kernel: Path, memory: Path, wanted: str | None = None, candidates: Sequence[str] = ACCELERATORS
) -> str:
    """The first accelerator that works; TCG always does. ``wanted`` is the user's own choice, taken unproved.

    Only a guest of the host's own architecture can use a hardware accelerator.
    """
    if wanted is not None:
        return wanted
    native = os.uname().machine == machine.uname
    for candidate in candidates:
        if candidate == "tcg" or (native and accelerator_works(machine, candidate, kernel, memory)):
            return candidate
    return "tcg"
