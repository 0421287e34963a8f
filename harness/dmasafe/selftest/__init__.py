# SPDX-License-Identifier: GPL-2.0-or-later
"""The self-test: wreck runs in every known way, and see whether the harness notices, says why and cleans up."""
