"""Asking at the terminal."""

from __future__ import annotations

import getpass
import sys

from kinto_orm.cli.failing import Misuse


def ask(prompt: str) -> str:
    """Ask for what may be seen; the question is no output.

    Raises:
        Misuse: Nothing was given.
    """
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return _required(sys.stdin.readline().strip())


def ask_secret(prompt: str) -> str:
    """Ask for what must not be seen.

    Raises:
        Misuse: Nothing was given.
    """
    try:
        return _required(getpass.getpass(prompt))
    except EOFError:  # Ctrl-D
        sys.stderr.write("\n")
        raise Misuse(_NOTHING) from None


_NOTHING = "nothing was given: nothing is done"


def _required(given: str) -> str:
    if not given:
        raise Misuse(_NOTHING)
    return given
