"""Sending a request over HTTP once, with aiohttp. Connections are pooled and shared by tasks."""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import aiohttp
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from yarl import URL

from kinto_orm.errors import (
    BadReply,
    ConfigurationError,
    ConnectFailed,
    Timeout,
    TransportError,
)
from kinto_orm.wire.clock import Timeouts, as_pair, within
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.letterhead import Letterhead, announce, own_headers
from kinto_orm.wire.masking import Mask
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.renewing import AsyncAuth, HeaderSource
from kinto_orm.wire.route import Route

# As many as a Session keeps open; further requests wait for one of them.
_CONNECTIONS = 32
# Bytes.
_LARGE, _PIECE = 2**19, 2**16


class AiohttpTransport:
    """Sends requests to one server and to no other; what it sends is awaited.

    Args:
        base_url: `http(s)://host[:port][/prefix]/v1`, without credentials.
        auth: As an AsyncSession takes it; None for anonymous.
        timeout: Seconds, (to connect, to wait for the next bytes), or one for both.
        headers: Sent with every request.
        route: Certificates and proxies, before those of the environment.

    Attributes:
        is_anonymous: Whether nothing on its requests says who asks.
        timeout: Seconds, (to connect, to wait for the next bytes); None for any time.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: AsyncAuth | None = None,
        timeout: Timeouts = (3.05, 30.0),
        headers: Mapping[str, str] | None = None,
        route: Route = Route(),  # noqa: B008  (immutable)
    ) -> None:
        self.base_url = base_url
        self.timeout = as_pair(timeout)
        source = None if auth is None else HeaderSource(auth)
        constant = source.constant if source is not None else None
        self._auth = source if constant is None else None
        self._letterhead = Letterhead(f"aiohttp/{aiohttp.__version__}", headers, constant)
        self._constant = _in_ascii(self._letterhead.constant)
        self.is_anonymous = auth is None and self._letterhead.is_anonymous
        self._proxy, self._ssl = _options_of(route, base_url)
        # A client belongs to the loop in which it was made.
        self._clients: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._endings: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}
        renew_in_children(self)

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent, in a forked child, and open others."""
        self._clients, self._endings = {}, {}

    async def close(self) -> None:
        """Close all connections."""
        endings, self._clients, self._endings = self._endings, {}, {}
        for ending in endings.values():
            await ending.aclose()

    async def send(self, request: Request, until: float) -> Reply:
        """Send a request once.

        Args:
            request: What is sent.
            until: When the answer has to be there, by `time.monotonic()`.

        Returns:
            The answer, of any status.

        Raises:
            TransportError: No usable answer came.
        """
        headers, mask = own_headers(request), self._letterhead.mask
        if self._auth is not None:
            every = self._constant | headers
            headers = _in_ascii(await self._auth.fetch(self.base_url, request, every))
            mask = Mask(headers)
        try:
            loop = asyncio.get_running_loop()
            client = self._clients.get(loop) or await self._opened(loop)
            response = await client.request(
                request.method,
                URL(self.base_url + request.target, encoded=True),
                data=_in_pieces(request.body),
                headers=headers,
                timeout=self._timeouts(until),
                allow_redirects=False,
                proxy=self._proxy,
                ssl=self._ssl,
                skip_auto_headers=_unasked(request),
            )
            # It gives the connection back, or closes it when it is not read to its end.
            body = await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._explained(error, request, mask)
        else:
            if "Alert" in response.headers:
                announce(mask(response.headers["Alert"]))
            return Reply(response.status, response.headers, body, False, mask)
        # Not within `except`: what is chained to an error is shown, and may have credentials.
        raise failure

    async def _opened(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        client = self._clients[loop] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._constant,
            middlewares=() if _has_switch else (once,),
        )
        if _has_switch:
            client._retry_connection = False  # noqa: SLF001
        ending = self._endings[loop] = _closing_with_its_loop(client)
        await anext(ending)
        for closed in [each for each in self._clients if each.is_closed()]:
            del self._clients[closed]
            await self._endings.pop(closed).aclose()
        return client

    def _timeouts(self, until: float) -> aiohttp.ClientTimeout:
        connect, read = within(self.timeout, until)
        # Rounded up: what ended a moment before the call would be tried again.
        hundredths = math.ceil(max(until - time.monotonic(), 0.01) * 100)
        return _timeouts(connect, read, hundredths / 100)

    def _explained(self, error: Exception, request: Request, mask: Mask) -> TransportError:
        what = f"no answer from {self.base_url} to {request!r}"
        error = error.error if isinstance(error, _Broken) else error
        reason = request.masked(mask)(f"{type(error).__name__}: {error}")
        if request.veil is not None and isinstance(error, _QUOTING):
            reason = type(error).__name__
        for kinds, cls, meaning in _TRANSPORT_ERRORS:
            if isinstance(error, kinds):
                found = cls(f"{what}: {meaning} ({reason})")
                found.lost = not isinstance(error, _NEVER_SENT)
                return found
        return TransportError(f"{what}: {reason}")


async def _closing_with_its_loop(client: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Close a client at the end of its loop, if nobody did before.

    What runs a loop ends the generators that are open in it, before it closes it.
    """
    try:
        yield
    finally:
        await client.close()


def _in_ascii(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    """The same as texts. What is beyond ASCII aiohttp sends as UTF-8, and requests as Latin-1.

    Raises:
        ConfigurationError: There is something beyond ASCII; it may be secret, and is not shown.
    """
    texts = {
        name: value if isinstance(value, str) else value.decode("latin-1")
        for name, value in headers.items()
    }
    for name, value in texts.items():
        if not value.isascii():
            raise ConfigurationError(
                f"the header {name} has a character beyond ASCII, which an AsyncSession cannot "
                "send; quote it, or use a Session"
            )
    return texts


def _unasked(request: Request) -> tuple[str, ...] | None:
    """What aiohttp must not add by itself; None, which costs nothing, where it adds nothing.

    It says of no body that it is `application/octet-stream`, and Kinto refuses that type (415).
    """
    is_bare = request.body is None and request.method not in ("GET", "HEAD", "DELETE")
    return ("Content-Type",) if is_bare else None


def _in_pieces(body: bytes | None) -> bytes | AsyncIterator[bytes] | None:
    """A body that is too large to be written at once, in pieces: others have their turn between."""
    return body if body is None or len(body) <= _LARGE else _pieces(body)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


@lru_cache
def _timeouts(connect: float, read: float, total: float) -> aiohttp.ClientTimeout:
    # Most calls have as long as the ones before. The default rounds up to whole seconds.
    return aiohttp.ClientTimeout(
        total=total, sock_connect=connect, sock_read=read, ceil_threshold=float("inf")
    )


# aiohttp sends a PUT or a DELETE again by itself when a connection broke. Whether that may be done
# depends on more than the method. Its own switch costs nothing; without it a middleware does it.
_has_switch = "_retry_connection" in aiohttp.ClientSession.ATTRS


class _Broken(aiohttp.ClientError):
    """A connection that broke, in a form that aiohttp does not take for a reason to send again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request once: whether it may be sent again depends on more than its method."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(error) from None


# They may repeat what came in the place of an answer.
_QUOTING = (aiohttp.ClientPayloadError, aiohttp.ClientResponseError)
_UNREACHABLE = "is the server running, and are host and port right?"
_TRANSPORT_ERRORS: tuple[tuple[tuple[type[Exception], ...], type[TransportError], str], ...] = (
    (
        (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError),
        ConnectFailed,
        "the TLS handshake failed",
    ),
    (
        (aiohttp.ConnectionTimeoutError,),
        ConnectFailed,
        "the server did not accept the connection in time",
    ),
    ((TimeoutError,), Timeout, "the server did not answer in time"),
    (
        _QUOTING,
        BadReply,
        "the answer was cut off in the middle, or was none",
    ),
    ((aiohttp.ClientError, OSError), ConnectFailed, _UNREACHABLE),
)
_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientProxyConnectionError,
)


def _options_of(route: Route, base_url: str) -> tuple[str | None, ssl.SSLContext | bool]:
    """The proxy, and how certificates are looked at and shown.

    Raises:
        ConfigurationError: The proxy is one that aiohttp does not know, or a certificate is none.
    """
    found = route.completed(base_url)
    proxy = select_proxy(base_url, found.proxies)
    if proxy is not None and not proxy.lower().startswith(("http://", "https://")):
        scheme = urlsplit(proxy).scheme
        raise ConfigurationError(
            f"an AsyncSession takes proxies of http and https, not one of {scheme!r}, as "
            "proxies= or the environment names; use a Session"
        )
    if not base_url.lower().startswith("https:"):
        return proxy, True
    if not found.verify and found.cert is None:
        return proxy, False
    return proxy, _context(found)


def _context(route: Route) -> ssl.SSLContext:
    trusted = DEFAULT_CA_BUNDLE_PATH if route.verify in (True, False, None) else str(route.verify)
    is_directory = os.path.isdir(trusted)
    try:
        context = ssl.create_default_context(
            cafile=None if is_directory else trusted, capath=trusted if is_directory else None
        )
        if route.cert is not None:
            shown = (route.cert,) if isinstance(route.cert, str) else route.cert
            context.load_cert_chain(*shown)
    except OSError as error:
        raise ConfigurationError(f"a certificate cannot be read: {error}") from error
    if not route.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
