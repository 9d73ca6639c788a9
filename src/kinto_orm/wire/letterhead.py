"""What every request of a transport has in common, whichever library sends it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from types import FrameType
from typing import Any

from requests.structures import CaseInsensitiveDict

from kinto_orm._version import __version__
from kinto_orm.wire.authentication import as_headers, refuse_bad_headers
from kinto_orm.wire.masking import Mask
from kinto_orm.wire.messages import Request

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}


class Letterhead:
    """The headers that are on every request.

    Args:
        library: What sends: "requests/2.32".
        headers: What the session was given.
        credentials: The headers that say who asks, if they are always the same.

    Attributes:
        constant: These headers.
        mask: Hides them in what is shown.
        is_anonymous: Whether none of them says who asks.
    """

    def __init__(
        self,
        library: str,
        headers: Mapping[str, str | bytes] | None,
        credentials: Mapping[str, str] | None,
    ) -> None:
        own = {"User-Agent": f"kinto-orm/{__version__} {library}"}
        every = CaseInsensitiveDict(_HEADERS | own, **as_headers(headers))
        every.update(credentials or {})
        refuse_bad_headers(every)
        self.constant: dict[str, Any] = dict(every)
        self.mask = Mask(self.constant)
        self.is_anonymous = "Authorization" not in every

    def of(self, request: Request) -> dict[str, Any]:
        """All headers of a request."""
        return self.constant | own_headers(request)


def own_headers(request: Request) -> dict[str, Any]:
    """The headers of one request, beside those of all."""
    headers: dict[str, Any] = dict(request.headers)
    if request.body is not None:
        headers["Content-Length"] = str(len(request.body))
        headers.setdefault("Content-Type", "application/json")
    elif request.method not in ("GET", "HEAD"):
        headers["Content-Length"] = "0"
    return headers


def announce(alert: str) -> None:
    """Tell the program what the server's administrator wants it to know."""
    # Python shows warnings of a program's own lines only.
    warnings.warn(
        f"the Kinto server announces: {alert}",
        DeprecationWarning,
        stacklevel=len(own_frames()) + 1,
    )


def own_frames() -> list[FrameType]:
    """The frames of the library, from the function that asks to the one that the program called."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("kinto_orm"):
        found.append(frame)
        frame = frame.f_back
    return found
