# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test may rely on."""

import signal

from hypothesis import settings

# A shell starts background jobs, and some CI systems everything, with SIGINT ignored; Python then leaves it so, and
# hands it down. The tests of Ctrl-C need what a terminal gives; what is caught here is default in every child.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure.
settings.register_profile("dmasafe", deadline=None)
settings.load_profile("dmasafe")

# Files whose tests take seconds each: begun first, so that none runs alone at the end while the other workers wait.
LONGEST = (
    *("test_matrix_run.py", "test_plugin_wheel.py", "test_matrix_browser.py"),
    *("test_add_lists.py", "test_serial.py"),
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)
