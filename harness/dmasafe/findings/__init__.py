# SPDX-License-Identifier: GPL-2.0-or-later
"""What upstream gets wrong: a catalogue in which each finding says how it is proved, and the page of the proved ones.

A finding that was not reproduced is not listed, whatever the catalogue says of it.
"""
