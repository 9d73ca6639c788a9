"""Sending requests over HTTP, with requests.

Connections are pooled and shared by threads. Waiting and trying again follow urllib3's Retry,
within one deadline for the whole call.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict
from urllib3 import exceptions as urllib3_errors
from urllib3.exceptions import HTTPError

from kinto_orm._version import __version__
from kinto_orm.attempts import BUSY_FOR_READS, AnyRetry, Timeouts, as_pair, as_retry
from kinto_orm.authentication import as_headers, constant_headers, refuse_bad_headers
from kinto_orm.clock import end_within
from kinto_orm.errors import (
    BackoffError,
    BadReply,
    ConfigurationError,
    ConnectFailed,
    Timeout,
    TransportError,
)
from kinto_orm.forking import renew_in_children
from kinto_orm.masking import Mask
from kinto_orm.pooling import PooledAdapter
from kinto_orm.protocol import Reply, Request

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "User-Agent": f"kinto-orm/{__version__} requests/{requests.__version__}",
}


class Transport:
    """Sends requests to one server and to no other.

    Args:
        base_url: `http(s)://host[:port][/prefix]/v1`, without credentials.
        auth: What puts credentials on a request; None for anonymous.
        timeout: Seconds, (to connect, to wait for the next bytes), or one for both.
        retry: The policy of trying again.
        headers: Sent with every request.
        adapter: What speaks HTTP; by default requests' own, over sockets.

    Attributes:
        is_anonymous: Whether nothing on its requests says who asks.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: Callable[[requests.PreparedRequest], Any] | None = None,
        timeout: Timeouts = (3.05, 30.0),
        retry: AnyRetry | None = None,
        headers: Mapping[str, str] | None = None,
        adapter: BaseAdapter | None = None,
    ) -> None:
        self.base_url = base_url
        constant = constant_headers(auth)
        self._auth = auth if constant is None else None
        self._timeout = as_pair(timeout)
        self._retry = as_retry(retry)
        every = CaseInsensitiveDict(_HEADERS, **as_headers(headers))
        every.update(constant or {})
        refuse_bad_headers(every)
        self._headers: dict[str, Any] = dict(every)
        self._mask = Mask(self._headers)
        self.is_anonymous = auth is None and "Authorization" not in every
        self._adapter = adapter or PooledAdapter()
        self._send_options = _options_of_environment(base_url)
        self._not_before = 0.0
        self._lock = threading.Lock()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Open connections of its own, in a forked child."""
        self._lock = threading.Lock()
        if isinstance(self._adapter, PooledAdapter):
            self._adapter.after_fork()

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()

    def end(self) -> float:
        """When a call that begins now is over, by `time.monotonic()`."""
        return end_within(self._retry.deadline)

    def send(self, request: Request) -> Reply:
        """Send a request, trying again where that does no harm.

        Reading an answer ends with the clock of the call, which whoever calls this has set.

        Raises:
            TransportError: No usable answer came within the attempts and the deadline.
        """
        deadline = self.end()
        if deadline <= time.monotonic():
            over = Timeout(
                f"the time of the call was over before {request!r} was sent to {self.base_url}; "
                "give the session a Retry with a longer deadline"
            )
            over.lost = False
            raise over
        attempt = 0
        lost = False
        while True:
            attempt += 1
            self._wait_for_backoff(deadline, lost)
            error, reply = self._attempt(request, deadline)
            if reply is not None:
                reply.lost = lost
                if not self._try_again(request, reply):
                    return reply
                lost |= reply.is_lost
            elif error is not None:
                lost = error.lost = lost or error.lost
            pause = self._pause(request, attempt, reply, deadline)
            if pause is None:
                if reply is not None:
                    return reply
                assert error is not None  # noqa: S101  (for the type checker)
                raise error
            time.sleep(pause)

    def _attempt(
        self, request: Request, deadline: float
    ) -> tuple[TransportError | None, Reply | None]:
        mask = self._mask
        try:
            prepared = self._prepare(request)
            if self._auth is not None:
                mask = Mask(prepared.headers)
            response = self._adapter.send(
                prepared, timeout=self._timeout_until(deadline), **self._send_options
            )
            if prepared.hooks["response"]:
                # Digest and its like answer a 401 by a second request.
                response = dispatch_hook(  # type: ignore[no-untyped-call]
                    "response",
                    prepared.hooks,
                    response,
                    timeout=self._timeout_until(deadline),
                    **self._send_options,
                )
            body = response.content
        except (requests.RequestException, HTTPError, OSError) as error:
            return self._explain(error, request, mask), None
        self._heed(response.headers, mask)
        return None, Reply(response.status_code, response.headers, body, False, mask)

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        # By hand: requests' own preparation costs as much again as the sending.
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = self.base_url + request.target
        prepared.hooks = {"response": []}
        headers = self._headers | request.headers
        if request.body is not None:
            prepared.body = request.body
            headers["Content-Length"] = str(len(request.body))
            headers.setdefault("Content-Type", "application/json")
        elif request.method not in ("GET", "HEAD"):
            headers["Content-Length"] = "0"
        # Only an authentication cares about their case; without one a plain dict is quicker.
        prepared.headers = headers if self._auth is None else CaseInsensitiveDict(headers)  # type: ignore[assignment]
        if self._auth is not None:
            prepared._cookies = RequestsCookieJar()  # type: ignore[attr-defined]
            self._auth(prepared)
            refuse_bad_headers(prepared.headers)
        return prepared

    def _timeout_until(self, deadline: float) -> tuple[float, float]:
        left = max(deadline - time.monotonic(), 0.01)
        connect, read = self._timeout
        return min(connect or left, left), min(read or left, left)

    def _try_again(self, request: Request, reply: Reply) -> bool:
        busy = BUSY_FOR_READS if request.method in ("GET", "HEAD") else self._retry.status_forcelist
        # A 409 is rolled back by the server, so that it may be repeated whatever it was.
        return reply.status in busy and (request.repeatable or reply.status == 409)

    def _pause(
        self, request: Request, attempt: int, reply: Reply | None, deadline: float
    ) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        total = self._retry.total
        if attempt > (8 if total is None or total is True else int(total)):
            return None
        if reply is None and not request.repeatable:
            return None
        pause = self._retry.wait(attempt, reply)
        return pause if time.monotonic() + pause < deadline else None

    def _heed(self, headers: Mapping[str, str], mask: Mask) -> None:
        backoff = headers.get("Backoff")
        if backoff is not None and backoff.isdecimal():
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + int(backoff))
        if "Alert" in headers:
            warnings.warn(
                f"the Kinto server announces: {mask(headers['Alert'])}",
                DeprecationWarning,
                stacklevel=_levels_to_the_caller(),
            )

    def _wait_for_backoff(self, deadline: float, lost: bool) -> None:
        pause = self._not_before - time.monotonic()
        if pause <= 0:
            return
        if time.monotonic() + pause >= deadline:
            error = BackoffError(
                f"the server {self.base_url} asked to wait {pause:.0f} s more before the next "
                "request, longer than the deadline of the call; try again later, or give the "
                "session a Retry with a longer deadline." + ("" if lost else " Nothing was sent.")
            )
            error.lost = lost
            raise error
        time.sleep(pause)

    def _explain(self, error: Exception, request: Request, mask: Mask) -> TransportError:
        if isinstance(error, requests.ConnectionError) and error.args:
            # So requests calls a body that stopped.
            inner = error.args[0]
            error = inner if isinstance(inner, urllib3_errors.TimeoutError) else error
        what = f"no answer from {self.base_url} to {request!r}"
        reason = mask(_innermost(error))
        if _is_cut_off(error):
            return BadReply(f"{what}: the answer was cut off in the middle ({reason})")
        for kinds, cls, meaning in _TRANSPORT_ERRORS:
            if isinstance(error, kinds):
                found = cls(f"{what}: {meaning} ({reason})")
                found.lost = not isinstance(error, _NEVER_SENT)
                return found
        return TransportError(f"{what}: {reason}")


_UNREACHABLE = "is the server running, and are host and port right?"
_TRANSPORT_ERRORS: tuple[tuple[tuple[type[Exception], ...], type[TransportError], str], ...] = (
    # A kind of ConnectTimeoutError to urllib3, though no time has passed.
    ((urllib3_errors.NewConnectionError,), ConnectFailed, _UNREACHABLE),
    (
        (requests.ConnectTimeout, urllib3_errors.ConnectTimeoutError),
        ConnectFailed,
        "the server did not accept the connection in time",
    ),
    (
        (requests.Timeout, urllib3_errors.TimeoutError, TimeoutError),
        Timeout,
        "the server did not answer in time",
    ),
    (
        (requests.exceptions.SSLError, urllib3_errors.SSLError),
        ConnectFailed,
        "the TLS handshake failed",
    ),
    (
        (requests.ConnectionError, HTTPError, OSError),
        ConnectFailed,
        _UNREACHABLE,
    ),
)


_NEVER_SENT = (
    urllib3_errors.NewConnectionError,
    urllib3_errors.ConnectTimeoutError,
    requests.ConnectTimeout,
)


def _levels_to_the_caller() -> int:
    """How far up the program is that uses the library; Python shows warnings of its lines only."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("kinto_orm"):
        frame, level = frame.f_back, level + 1
    return level


def _is_cut_off(error: Exception) -> bool:
    """Whether an answer began and did not end as it should."""
    whole = (
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        urllib3_errors.DecodeError,
        urllib3_errors.IncompleteRead,
    )
    if isinstance(error, whole):
        return True
    # urllib3 says "Connection aborted" before an answer, "Connection broken" within one.
    return isinstance(error, urllib3_errors.ProtocolError) and "broken" in str(error)


def _innermost(error: BaseException) -> str:
    """The shortest true cause, without object addresses of connection pools."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    inner = reason if isinstance(reason, BaseException) else error
    text = str(inner.args[-1]) if inner.args else str(inner)
    return f"{type(inner).__name__}: {text}"


def _options_of_environment(base_url: str) -> dict[str, Any]:
    """Proxies and certificates from the environment, read once."""
    if urlsplit(base_url).hostname is None:
        raise ConfigurationError(f"{base_url!r} is not a server URL: it has no host")
    with requests.Session() as session:
        found = session.merge_environment_settings(base_url, {}, False, None, None)
    return {"stream": False, "verify": found["verify"], "cert": None, "proxies": found["proxies"]}
