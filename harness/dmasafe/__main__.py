# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe`` and ``python -m dmasafe``. Ctrl-C while the rest is imported ends the process without a word."""

import signal


def main() -> None:
    """The entry point; exits with the command's status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dmasafe.cli import main as command

    command()


if __name__ == "__main__":
    main()
