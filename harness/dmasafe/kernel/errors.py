# SPDX-License-Identifier: GPL-2.0-or-later
"""The error family of this package: each is raised where the cause is known, with a sentence that says what to do."""

from __future__ import annotations

from dmasafe.errors import DmasafeError


class KernelError(DmasafeError):
    """Any failure of getting, configuring or building what a guest boots."""


class SourceError(KernelError):
    """A kernel source cannot be read, found, downloaded or trusted."""


class HashMismatchError(SourceError):
    """A download is not the file that its SHA-256 names."""


class ConfigError(KernelError):
    """A configuration, a fragment or an architecture is not what the kernel's Kconfig can give."""


class BuildError(KernelError):
    """A build step failed; the message carries its last lines and the path of the whole log."""


class MissingToolError(KernelError):
    """A program, header or library is not installed; the message names the Debian package."""


class CacheError(KernelError):
    """The cache cannot be used."""


class CacheUnwritableError(CacheError):
    """The cache directory cannot be created or written."""


class CacheFullError(CacheError):
    """The disk of the cache has no room."""
