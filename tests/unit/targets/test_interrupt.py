# SPDX-License-Identifier: GPL-2.0-or-later
import os
import signal
import threading

import pytest

from dmasafe.cli import guard
from dmasafe.targets.interrupt import SIGNALS, by_whom, interrupt_deferred, interrupt_once


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


@pytest.fixture
def heard():
    """The signals interrupt, as in a command that was started in the foreground."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        # A shell has ignored SIGQUIT for what it started in the background.
        signal.signal(number, signal.SIG_DFL)
    guard.hear_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_thread_leaves_the_main_threads_signals_alone(heard):
    """No handlers of its own are behind it: a gate of a thread's would defer nothing."""

    def elsewhere():
        with interrupt_once():
            entered.set()
            left.wait(5)

    entered, left = threading.Event(), threading.Event()
    thread = threading.Thread(target=elsewhere)
    with interrupt_once():
        thread.start()
        entered.wait(5)
    left.set()
    thread.join()
    done = []
    with pytest.raises(KeyboardInterrupt), interrupt_deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("all of it")
    assert done == ["all of it"]


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_that_interrupts_is_put_off(heard, number):
    with pytest.raises(KeyboardInterrupt) as caught, interrupt_deferred():
        os.kill(os.getpid(), number)
    assert by_whom(caught.value) == ("the user" if number == signal.SIGINT else number.name)


def test_what_comes_after_the_first_one_changes_nothing(heard):
    kept = []
    with interrupt_once():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            with interrupt_deferred():
                os.kill(os.getpid(), signal.SIGINT)
            for number in SIGNALS:
                os.kill(os.getpid(), number)
            kept.append("all of it")
    assert kept == ["all of it"]
    with pytest.raises(KeyboardInterrupt), interrupt_once():
        os.kill(os.getpid(), signal.SIGINT)
