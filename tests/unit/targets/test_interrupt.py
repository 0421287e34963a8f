# SPDX-License-Identifier: GPL-2.0-or-later
import os
import signal

import pytest

from dmasafe.targets.interrupt import interrupt_deferred


def test_ctrl_c_takes_effect_when_the_work_is_done():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupt_deferred():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]


def test_it_nests_and_leaves_the_handler_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    with interrupt_deferred(), interrupt_deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is before
