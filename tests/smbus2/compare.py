# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's results on the model and in a guest, case by case: claims that hold, and what each call saw."""

from typing import NamedTuple

# Two reads of a transfer can share a cache line (conform's known difference "slab-neighbours").
SLAB_NEIGHBOURS = {"virtio": {"cacheline-overlap"}}


class Row(NamedTuple):
    """One case on one adapter. ``differences`` are (what, on the model, in the guest); empty if the two agree."""

    case: str
    model_passed: bool
    guest_passed: bool
    differences: tuple

    @property
    def agrees(self):
        return self.model_passed and self.guest_passed and not self.differences


def compare(adapter, model, guest):
    """A Row for each case that either side knows; a case that is missing on one side differs."""
    return [_row(adapter, name, model.get(name), guest.get(name)) for name in dict.fromkeys((*model, *guest))]


def _row(adapter, name, model, guest):
    if model is None or guest is None:
        return Row(name, model is not None, guest is not None, (("case", model is not None, guest is not None),))
    differences = []
    for number in range(max(len(model["saw"]), len(guest["saw"]))):
        lines = [saw[number] if number < len(saw) else "nothing more" for saw in (model["saw"], guest["saw"])]
        if lines[0] != lines[1]:
            differences.append((f"call {number + 1}", *lines))
            break
    for side, result in (("model", model), ("guest", guest)):
        if not result["passed"]:
            differences.append((f"claim on the {side}", *([result["why"].strip()] * 2)))
    known = SLAB_NEIGHBOURS.get(adapter, set())
    if set(model["splats"]) - known != set(guest["splats"]) - known:
        differences.append(("kernel log", model["splats"], guest["splats"]))
    return Row(name, model["passed"], guest["passed"], tuple(differences))
