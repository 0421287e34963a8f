# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells (kernel source x architecture x configuration) over time: what was recorded, what changed, as a site.

record.py turns a results.json into rows of the history (schema.py, database.py, history.py); compare.py asks it what
changed, changes.py says so in text and JSON; site/ writes the report.
"""
