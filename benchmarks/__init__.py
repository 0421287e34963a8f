# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmarks kept in the project: ratios in one run, against baselines that anybody can run."""
