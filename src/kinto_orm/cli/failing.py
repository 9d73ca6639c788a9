"""What is said of an error, and the exit status that it means."""

from __future__ import annotations

import os
import sys

from pydantic import ValidationError

from kinto_orm import (
    BatchError,
    ConfigurationError,
    Conflict,
    KintoError,
    PathError,
    TransportError,
)
from kinto_orm.cli.printing import complain

REFUSED, MISUSE, NO_ANSWER = 1, 2, 3
_INTERRUPTED = 130  # as shells say it: 128 and the number of the signal
_PIPE_CLOSED = 141

_STATUS: dict[type[BaseException], int] = {
    KintoError: REFUSED,
    ValidationError: REFUSED,
    ConfigurationError: MISUSE,
    PathError: MISUSE,
    OSError: MISUSE,
    UnicodeError: MISUSE,
    TransportError: NO_ANSWER,
}


_REMEDY = (
    "Look what is there now with kinto-orm get or history, and run the command again; --force "
    "overwrites it, in the commands that have it"
)


class Misuse(ConfigurationError):
    """The command cannot be meant like this; the message says how to write it."""


def failure_of(error: BaseException) -> int | None:
    """Say what went wrong, and give the exit status; None for what is the program's own fault."""
    if isinstance(error, KeyboardInterrupt):
        complain("interrupted")
        return _INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # What Python still holds must not be written at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    status = status_of(error)
    if status is not None:
        for each in _parts(error):
            complain(_told(each))
    return status


def _told(error: BaseException) -> str:
    """What an error says; of a conflict also where, and what to do."""
    if not isinstance(error, Conflict):
        return str(error)
    differing = ", ".join(sorted(error.fields))
    where = f"\nDifferent there: {differing}" if differing else ""
    return f"{error}{where}\n{_REMEDY}"


def status_of(error: BaseException) -> int | None:
    """The exit status that an error means; None for what is the program's own fault."""
    if isinstance(error, BatchError):
        return max(status_of(each) or REFUSED for each in error.exceptions)
    return next((_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS), None)


def _parts(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BatchError) else (error,)
