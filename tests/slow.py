# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests that take long, or need kernels that take minutes to build: only with DMASAFE_SLOW=1 (make test-all)."""

import os

import pytest

SLOW = "DMASAFE_SLOW" in os.environ
slow = pytest.mark.skipif(not SLOW, reason="takes long: make test-all")
