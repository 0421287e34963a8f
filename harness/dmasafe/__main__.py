# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe`` and ``python -m dmasafe``. Ctrl-C while the rest is imported ends the process without a word."""

# Built into Python. `import signal` makes enumerations, in which a Ctrl-C would be a traceback.
import _signal  # type: ignore[import-not-found]


def main() -> None:
    """The entry point; exits with the command's status."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from dmasafe.cli import main as command

    command()


if __name__ == "__main__":
    main()
