"""What is said of an error, and the exit status that it means."""

from __future__ import annotations

import errno
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
    Unauthorized,
)
from kinto_orm.cli.printing import complain
from kinto_orm.cli.wording import ADVICE, said_of

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


# The command is meant well, and the disk or the stream does not take what is written.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}

WHOSE = (
    "KINTO_ORM_AUTH is for the server of KINTO_ORM_SERVER only; at another one, say who you are "
    "with --auth or a profile"
)
"""Said to whoever is nobody at a server, and has credentials in the environment."""


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
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
        return f"not all of it could be written: {error.strerror}"
    if isinstance(error, Unauthorized) and os.environ.get("KINTO_ORM_AUTH"):
        return f"{said_of(error)}\n{WHOSE}"
    if not isinstance(error, Conflict):
        return said_of(error)
    differing = ", ".join(sorted(error.fields))
    where = f"\nDifferent there: {differing}" if differing else ""
    advice = f"{ADVICE[Conflict]}."
    return f"{said_of(error).removesuffix(advice).rstrip()}{where}\n{advice[:-1]}"


def status_of(error: BaseException) -> int | None:
    """The exit status that an error means; None for what is the program's own fault."""
    if isinstance(error, BatchError):
        return max(status_of(each) or REFUSED for each in error.exceptions)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return REFUSED
    return next((_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS), None)


def _parts(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BatchError) else (error,)
