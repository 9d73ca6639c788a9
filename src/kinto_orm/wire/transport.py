"""Sending a request over HTTP once, with requests. Connections are pooled and shared by threads."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict
from urllib3 import exceptions as urllib3_errors
from urllib3.exceptions import HTTPError

from kinto_orm.errors import BadReply, ConnectFailed, Timeout, TransportError
from kinto_orm.wire.authentication import (
    Auth,
    authenticator,
    constant_headers,
    refuse_bad_headers,
)
from kinto_orm.wire.clock import Timeouts, as_pair, within
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.letterhead import Letterhead, announce
from kinto_orm.wire.masking import Mask
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.pooling import PooledAdapter
from kinto_orm.wire.quieting import unlogged
from kinto_orm.wire.route import Route


class RequestsTransport:
    """Sends requests to one server and to no other.

    Args:
        base_url: `http(s)://host[:port][/prefix]/v1`, without credentials.
        auth: As a Session takes it; None for anonymous.
        timeout: Seconds, (to connect, to wait for the next bytes), or one for both.
        headers: Sent with every request.
        adapter: What speaks HTTP; by default requests' own, over sockets.
        route: Certificates and proxies, before those of the environment.

    Attributes:
        is_anonymous: Whether nothing on its requests says who asks.
        timeout: Seconds, (to connect, to wait for the next bytes); None for any time.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: Auth | None = None,
        timeout: Timeouts = (3.05, 30.0),
        headers: Mapping[str, str] | None = None,
        adapter: BaseAdapter | None = None,
        route: Route = Route(),  # noqa: B008  (immutable)
    ) -> None:
        self.base_url = base_url
        signing = authenticator(auth)
        constant = constant_headers(signing)
        self._auth = signing if constant is None else None
        self.timeout = as_pair(timeout)
        self._letterhead = Letterhead(f"requests/{requests.__version__}", headers, constant)
        self.is_anonymous = auth is None and self._letterhead.is_anonymous
        self._adapter = adapter or PooledAdapter()
        found = route.completed(base_url)
        self._send_options: dict[str, Any] = {
            "stream": False,
            "verify": found.verify,
            "cert": found.cert,
            "proxies": found.proxies,
        }
        self._path = urlsplit(base_url).path
        # With none of them, nobody looks at a request of requests: none is made.
        plain = self._auth is None and not found.proxies and found.cert is None
        self._pooled = self._adapter if plain and isinstance(self._adapter, PooledAdapter) else None
        renew_in_children(self)

    def after_fork(self) -> None:
        """Open connections of its own, in a forked child."""
        if isinstance(self._adapter, PooledAdapter):
            self._adapter.after_fork()

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()

    def headers_of(self, request: Request) -> dict[str, Any]:
        """All headers of a request, but for those of an authentication that changes."""
        return self._letterhead.of(request)

    def send(self, request: Request, until: float) -> Reply:
        """Send a request once.

        Args:
            request: What is sent.
            until: When the answer has to be there, by `time.monotonic()`.

        Returns:
            The answer, of any status.

        Raises:
            TransportError: No usable answer came.
        """
        if request.veil is None:
            return self._send(request, until)
        with unlogged(request.shown.query):
            return self._send(request, until)

    def _send(self, request: Request, until: float) -> Reply:
        mask = self._letterhead.mask
        try:
            if self._pooled is not None:
                response = self._exchange(self._pooled, request, until)
            else:
                prepared = self._prepare(request)
                mask = mask if self._auth is None else Mask(prepared.headers)
                response = self._send_prepared(prepared, until)
            body = response.content
        except (requests.RequestException, HTTPError, OSError) as error:
            failure = self._explained(error, request, mask)
        else:
            if "Alert" in response.headers:
                announce(mask(response.headers["Alert"]))
            return Reply(response.status_code, response.headers, body, False, mask)
        # Not within `except`: what is chained to an error is shown, and may have credentials.
        raise failure

    def _exchange(self, pooled: PooledAdapter, request: Request, until: float) -> Any:
        return pooled.exchange(
            request.method,
            self._path + request.target,
            request.body,
            self._letterhead.of(request),
            within(self.timeout, until),
            self._send_options["verify"],
            self.base_url,
        )

    def _send_prepared(self, prepared: requests.PreparedRequest, until: float) -> requests.Response:
        response = self._adapter.send(
            prepared, timeout=within(self.timeout, until), **self._send_options
        )
        if not prepared.hooks["response"]:
            return response
        # Digest and its like answer a 401 by a second request.
        return dispatch_hook(  # type: ignore[no-any-return, no-untyped-call]
            "response",
            prepared.hooks,
            response,
            timeout=within(self.timeout, until),
            **self._send_options,
        )

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        # By hand: requests' own preparation costs as much again as the sending.
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = self.base_url + request.target
        prepared.hooks = {"response": []}
        prepared.body = request.body
        headers = self._letterhead.of(request)
        # Only an authentication cares about their case; without one a plain dict is quicker.
        prepared.headers = headers if self._auth is None else CaseInsensitiveDict(headers)  # type: ignore[assignment]
        if self._auth is not None:
            prepared._cookies = RequestsCookieJar()  # type: ignore[attr-defined]
            self._auth(prepared)
            refuse_bad_headers(prepared.headers)
        return prepared

    def _explained(self, error: Exception, request: Request, mask: Mask) -> TransportError:
        if isinstance(error, requests.ConnectionError) and error.args:
            # So requests calls a body that stopped.
            inner = error.args[0]
            error = inner if isinstance(inner, urllib3_errors.TimeoutError) else error
        what = f"no answer from {self.base_url} to {request!r}"
        reason = request.masked(mask)(_innermost(error))
        if request.veil is not None and _quotes(error):
            reason = type(error).__name__
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


def _quotes(error: Exception) -> bool:
    """Whether an error may repeat what came in the place of an answer."""
    cause = error.args[-1] if error.args else None
    cause = error if cause is None or isinstance(cause, str) else cause
    if isinstance(cause, ConnectionError):  # also that which http.client takes for an empty line
        return False
    return isinstance(cause, HTTPException | urllib3_errors.DecodeError | ValueError)


def _innermost(error: BaseException) -> str:
    """The shortest true cause, without object addresses of connection pools."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    inner = reason if isinstance(reason, BaseException) else error
    text = str(inner.args[-1]) if inner.args else str(inner)
    return f"{type(inner).__name__}: {text}"
