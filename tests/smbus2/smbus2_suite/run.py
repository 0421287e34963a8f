# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the cases in a fixed order and tells, for each, what came of it and all that it saw."""

import errno
import traceback
import unittest

from . import calls, files, messages, pec, processes, times

MODULES = (calls, pec, messages, files, times, processes)


def all_cases(system, modules=MODULES):
    """Every case of these modules, bound to this system."""
    for module in modules:
        loader = unittest.TestLoader()
        for group in loader.loadTestsFromModule(module):
            for case in group:
                case.system = system
                yield case


def case_name(case):
    """``calls.Byte.test_nobody_is_there``"""
    module = type(case).__module__.rpartition(".")[2]
    return f"{module}.{type(case).__name__}.{case._testMethodName}"


class _Outcome(unittest.TestResult):
    """One case's result; ``why`` is the last lines of its traceback, "" if it passed.

    ``unsupported``: it ended because the adapter does not do what it was asked.
    """

    why = ""
    unsupported = False

    def _failed(self, test, error):
        self.unsupported = isinstance(error[1], OSError) and error[1].errno == errno.EOPNOTSUPP
        self.why = self.why or "".join(traceback.format_exception(*error)[-3:])

    def addError(self, test, error):
        self._failed(test, error)

    def addFailure(self, test, error):
        self._failed(test, error)

    def addSkip(self, test, reason):
        self.why = f"skipped: {reason}"

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._failed(test, error)


def run_case(case):
    """``{"case": name, "passed": bool, "unsupported": bool, "why": text, "saw": [line, ...]}``; ``why`` is empty if it
    passed."""
    outcome = _Outcome()
    case(outcome)
    return {
        "case": case_name(case),
        "passed": outcome.why == "",
        "unsupported": outcome.unsupported,
        "why": outcome.why,
        "saw": getattr(case, "noted", []),
    }
