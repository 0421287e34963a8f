# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is handed at power-on so that one person, and nobody else, can log in: keys made for one run.

Both key pairs are made on the host, so that the guest's is known before its first word. The files are private to the
run; the guest gets them as fw_cfg files (images/initramfs/board).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_KEY_TYPE = b"ssh-ed25519"


@dataclass(frozen=True)
class Keys:
    """``identity`` is the user's private key in OpenSSH's format, ``host_key`` the guest's public key (base64).

    ``handover`` names the fw_cfg files.
    """

    identity: Path
    host_key: str
    handover: Mapping[str, Path]

    def known_hosts(self, host: str, port: int) -> Path:
        """A known_hosts file in which ``host`` at ``port`` has the guest's key, and there is nobody else."""
        path = self.identity.with_name("known_hosts")
        _write_private(path, f"[{host}]:{port} {_KEY_TYPE.decode()} {self.host_key}\n".encode())
        return path


def make_keys(directory: Path) -> Keys:
    """Two fresh ed25519 key pairs in a directory that is private to the run."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    user, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    identity = directory / "id_ed25519"
    _write_private(
        identity,
        user.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ),
    )
    authorized = directory / "authorized_keys"
    _write_private(authorized, b"%b %b dmasafe\n" % (_KEY_TYPE, _public(user.public_key().public_bytes(*raw))))
    host_key = directory / "host_key"
    public = host.public_key().public_bytes(*raw)
    # dropbear's own format (buf_put_ed25519_priv_key() in its ed25519.c): the name, then seed and public key as one.
    _write_private(host_key, _string(_KEY_TYPE) + _string(host.private_bytes_raw() + public))
    handover = {"authorized_keys": authorized, "host_key": host_key}
    return Keys(identity, _public(public).decode(), handover)


def _public(raw: bytes) -> bytes:
    """A public key as SSH writes it (RFC 8709)."""
    return base64.b64encode(_string(_KEY_TYPE) + _string(raw))


def _string(data: bytes) -> bytes:
    """A string of RFC 4251: its length, then itself."""
    return struct.pack(">I", len(data)) + data


def _write_private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
