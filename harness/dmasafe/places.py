# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are kept between runs. What may be there, dmasafe/kernel/cache.py says."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "DMASAFE_CACHE"


def cache_root() -> Path:
    """$DMASAFE_CACHE, else below the user's cache directory: absolute; it may be missing."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("dmasafe")).expanduser().absolute()
