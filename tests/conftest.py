# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test may rely on."""

import signal

# A shell starts background jobs, and some CI systems everything, with SIGINT ignored; Python then leaves it so, and
# hands it down. The tests of Ctrl-C need what a terminal gives; what is caught here is default in every child.
signal.signal(signal.SIGINT, signal.default_int_handler)
