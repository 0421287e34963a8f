# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m dmasafe.matrix.stage_main``: the process of its own in which a worker has stages done."""

from collections.abc import Mapping

from dmasafe.matrix import stage_process


def _stages() -> Mapping[str, stage_process.Stage]:
    # Half a second of imports, which should end with the worker too.
    from dmasafe.matrix.stages import STAGES

    return STAGES


if __name__ == "__main__":
    stage_process.main(_stages)
