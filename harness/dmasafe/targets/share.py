# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of the host's in the guest, at /share: shared by 9p where the kernel has it, else copied in at boot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dmasafe.guest.hands import Hands, Refused
from dmasafe.kernel import Kernel, cpio
from dmasafe.qemu.process import SHARE_TAG
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.errors import TargetError
from dmasafe.targets.session import Session

SHARE = "/share"
# Copied files take the guest's memory twice while the kernel unpacks them.
MAX_COPIED_BYTES = 64 << 20
_NEEDED = ("CONFIG_NET_9P_VIRTIO=y", "CONFIG_9P_FS=y")
_MOUNT = f"mkdir -p {SHARE} && mount -t 9p -o trans=virtio,version=9p2000.L {SHARE_TAG} {SHARE}"
_MOUNT_S = 5.0


def can_share(kernel: Kernel) -> bool:
    """Whether the kernel has 9p built in."""
    lines = set(kernel.config.read_text().splitlines())
    return all(line in lines for line in _NEEDED)


def require_copy(directory: Path) -> None:
    """Raises TargetError for a directory that is too large for a guest's memory."""
    total = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    if total > MAX_COPIED_BYTES:
        raise TargetError(
            f"{directory} has {total >> 20} MiB, and at most {MAX_COPIED_BYTES >> 20} can be copied into the guest: "
            "share a smaller directory"
        )


def with_share(image: GuestImage, kernel: Kernel, directory: Path, private: Path) -> GuestImage:
    """The image with the directory in it; ``private`` takes what is made for that. Raises TargetError."""
    if can_share(kernel):
        return replace(image, extras=replace(image.extras, share=directory.resolve()))
    require_copy(directory)
    copy, initrd = private / "share.cpio", private / "initrd"
    try:
        with copy.open("wb") as sink:
            cpio.write_tree(directory, {}, sink, SHARE.strip("/"))
        with initrd.open("wb") as sink:
            cpio.join(image.initrd, copy, sink)
    except OSError as error:
        raise TargetError(f"{directory} cannot be copied into the guest: {error.strerror}") from error
    return replace(image, initrd=initrd)


def mount_share(session: Session, image: GuestImage) -> str:
    """Make the directory appear in the guest; what it is there, in words. Raises TargetError, BootLost."""
    if image.extras.share is None:
        return "a copy: what the guest changes is lost with it"
    try:
        done = Hands(session.request, lambda refused: TargetError(str(refused))).run(_MOUNT, _MOUNT_S)
    except Refused as refused:
        raise TargetError(f"{SHARE} could not be mounted: {refused.why}") from None
    if done.status:
        raise TargetError(f"{SHARE} could not be mounted: {done.output.strip()[-200:]}")
    return "shared: what the guest changes is changed"
