"""What the page refuses or cannot do, and what it says then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from kinto_orm.errors import (
    BackoffError,
    BadReply,
    Conflict,
    ConnectFailed,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    ServerError,
    Timeout,
    TransportError,
    Unauthorized,
    Unsupported,
    http_status,
)


class Refused(Exception):
    """The page does not do this.

    Args:
        status: The HTTP status.
        title: What is wrong, in a few words.
        remedy: What to do.
    """

    def __init__(self, status: int, title: str, remedy: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.remedy = remedy


class NotLoggedIn(Exception):
    """Somebody has to log in first.

    Args:
        wanted: The page to show then.
    """

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


@dataclass(frozen=True)
class Explanation:
    """What a page says of an error.

    Attributes:
        status: The HTTP status.
        title: What is wrong, in a few words.
        remedy: What to do.
        said: What the library says of it.
        log_in: Whether logging in may help.
    """

    status: int
    title: str
    remedy: str
    said: str = ""
    log_in: bool = False


_UNFIT: Final = (
    "This is stored, and cannot be shown here",
    "Another program wrote it, and what it wrote is nothing that this page can change. The command "
    "line has it as it is: kinto-orm get, or kinto-orm dump.",
)

_REMEDIES: Final[dict[type[Exception], tuple[str, str]]] = {
    ConnectFailed: (
        "The server cannot be reached",
        "Check that it is running and that its address is right, then load this page again.",
    ),
    Timeout: (
        "The server did not answer in time",
        "It may be busy. Load this page again in a moment.",
    ),
    BackoffError: (
        "The server asks to wait",
        "It is busy, or is being maintained. Load this page again in a minute.",
    ),
    BadReply: (
        "What answers is no Kinto server",
        "Check the server's address: it ends in /v1. A proxy in between may answer, too.",
    ),
    TransportError: (
        "No answer came from the server",
        "Check the connection, then load this page again.",
    ),
    Unauthorized: (
        "The server does not know you",
        "Log in again: a token may have expired, or the password was changed.",
    ),
    Forbidden: (
        "You may not see or do this",
        "Ask whoever owns it for the permission, or log in as somebody else. A server says the "
        "same of a bucket that does not exist: check its name.",
    ),
    NotFound: (
        "This is not there",
        "It may have been deleted, or the address is mistyped. Go one level up and look.",
    ),
    InvalidData: (
        "This cannot be stored or asked",
        "Go back and correct what the message names.",
    ),
    Unsupported: (
        "This server cannot do that",
        "Its administrator can enable the plugin that is named here.",
    ),
    Conflict: (
        "Somebody else was first",
        "Load the page again to see what is there now, then make your change once more.",
    ),
    ServerError: (
        "The server failed",
        "Load this page again in a moment. If it stays so, its administrator finds the cause in "
        "its log.",
    ),
    ValidationError: (
        "This does not fit",
        "Go back and correct what the message names.",
    ),
    KintoError: (
        "This did not work",
        "Go back, and try again. The message says what is wrong.",
    ),
}

OF_THE_PAGE: Final = Explanation(
    500,
    "This page has a fault",
    "Nothing is known to be lost. Load it again; if it stays so, report what you did: the log of "
    "the program that serves this page has the cause.",
)


def explained(error: Exception) -> Explanation:
    """What to say of an error; what nobody expects is a fault of the page."""
    if isinstance(error, Refused):
        return Explanation(error.status, error.title, error.remedy)
    for cls in type(error).__mro__:
        if cls in _REMEDIES:
            title, remedy = _UNFIT if _is_unfit(error) else _REMEDIES[cls]
            known = isinstance(error, Unauthorized)
            return Explanation(_status_of(error), title, remedy, said_of(error), log_in=known)
    return OF_THE_PAGE


def _is_unfit(error: Exception) -> bool:
    """Whether it is about what is stored, so that nobody's request was wrong."""
    return isinstance(error, InvalidData) and error.status is None


def _status_of(error: Exception) -> int:
    # To a program that calls a service these are faults of that; here they are said of the server.
    if _is_unfit(error):
        return 422
    return 501 if isinstance(error, Unsupported) else http_status(error)


def said_of(error: Exception) -> str:
    """What an error says, in one paragraph; the values that Pydantic would show are left out."""
    if isinstance(error, ValidationError):
        wrong = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in wrong)
    return str(error)
