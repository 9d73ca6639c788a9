"""The connection: what the sessions on one server as one user share, opened by its URL."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from requests.adapters import BaseAdapter

from kinto_orm.errors import ConfigurationError
from kinto_orm.wire.attempts import Backoff, Retry, as_retry
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.messages import Request
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.pretence import Pretence
from kinto_orm.wire.pretending import ReadingTransport
from kinto_orm.wire.route import route_of
from kinto_orm.wire.serverinfo import ServerInfo
from kinto_orm.wire.watching import OnRequest

Options = Mapping[str, Any]
"""What a session was given besides, by name, and `transport`: what makes one that sends."""

Opener = Callable[[str, Any, Options], "Connection"]

_BREAK = re.compile(r"[\t\r\n\0]")


class Transport(Protocol):
    """Sends a request once, and gives a Reply or raises a TransportError; or is awaited for it."""

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing on its requests says who asks."""

    @property
    def timeout(self) -> tuple[float | None, float | None]:
        """Seconds, (to connect, to wait for the next bytes); None for any time."""

    def send(self, request: Request, until: float) -> Any:
        """Send a request; its answer is there by `until`, by `time.monotonic()`."""

    def close(self) -> Any:
        """Close all connections."""


class Connection:
    """What a session shares with those scoped from it.

    Args:
        transport: Sends the requests.
        url: The server's as it was given, without credentials.
        dialect: What the server speaks: "kinto" or "kvp".
        policy: How often and how long to try again.
        owned: Closes what was started for it.
        server: Equal for connections to one server. By default the URL tells them apart.
        on_request: Is told of each sending.
        pretence: What a dry run has pretended; None where writes are sent.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        dialect: str,
        policy: Retry,
        owned: Callable[[], None] | None = None,
        *,
        server: object = None,
        on_request: OnRequest | None = None,
        pretence: Pretence | None = None,
    ) -> None:
        self.transport: Transport = transport if pretence is None else ReadingTransport(transport)
        self.url = url
        self.dialect = dialect
        self.policy = policy
        self.backoff = Backoff()
        self.pretence = pretence
        # What a dry run believes of its objects holds nowhere else.
        self.server = pretence or (url if server is None else server)
        self.owned = owned
        self.on_request = on_request
        self.info: ServerInfo | None = None
        self.lock = threading.RLock()
        self.entered = 0
        self.closed = False
        # Plural paths with what must exist for them, as they were resolved for a model.
        self.resolved: dict[tuple[str, str], tuple[str, Parents | None]] = {}
        renew_in_children(self)

    def after_fork(self) -> None:
        """Make the lock anew, in a forked child."""
        self.lock = threading.RLock()

    def is_personal(self, bucket: str) -> bool:
        """Whether this is known to be the user's personal bucket, which is made on first use."""
        info = self.info
        return info is not None and info.user is not None and info.user.get("bucket") == bucket

    @contextmanager
    def through(self, wrap: Callable[[Transport], Transport]) -> Iterator[None]:
        """Send by a transport around the one of now, until the end of a `with` block.

        Args:
            wrap: Is given the one of now.
        """
        inner = self.transport
        self.transport = wrap(inner)
        try:
            yield
        finally:
            self.transport = inner

    def close(self) -> None:
        """Close the sockets and what was started for them."""
        if not self.closed:
            self.closed = True
            self.transport.close()
            self.release()

    async def aclose(self) -> None:
        """Close the sockets and what was started for them, of a transport that is awaited."""
        if not self.closed:
            self.closed = True
            try:
                await self.transport.close()
            finally:
                self.release()

    def release(self) -> None:
        """Close what was started for it."""
        if self.owned is not None:
            self.owned()


def open_connection(
    url: str | None, auth: Any, options: Options, others: Mapping[str, Opener]
) -> Connection:
    """Open the connection that a URL names.

    Args:
        url: As `Session` takes it; None for that of the environment.
        auth: As `Session` takes it; None for that of the environment when the URL is, too.
        options: What the session was given besides.
        others: Who opens URLs of other schemes than those of HTTP.

    Raises:
        ConfigurationError: No server is given, the URL is wrong, or an extra is missing.
    """
    if not url:
        url = _server_of_environment()
        auth = auth if auth is not None else os.environ.get("KINTO_ORM_AUTH") or None
    _check_text(url)
    openers: dict[str, Opener] = {**_OPENERS, **others}
    opener = openers.get(_parsed(url).scheme)
    if opener is None:
        raise ConfigurationError(
            f"{shown(url)!r} is no server URL: it starts with one of "
            + ", ".join(f"{scheme}://" for scheme in openers)
        )
    return opener(url, auth, options)


def _server_of_environment() -> str:
    url = os.environ.get("KINTO_ORM_SERVER")
    if not url:
        raise ConfigurationError(
            'no server: give one, Session("https://host/v1") or Session("memory://"), or set the '
            "variable KINTO_ORM_SERVER (and KINTO_ORM_AUTH to user:password)"
        )
    return url


def _check_text(url: object) -> None:
    if not isinstance(url, str):
        raise ConfigurationError(
            f'a server URL is a text, such as "https://host/v1", not a {type(url).__name__}'
        )
    if url != url.strip() or _BREAK.search(url):
        raise ConfigurationError(
            f"{shown(url)!r} is no server URL: it has a line break in it, or a space at an end; "
            "strip() what comes from a file"
        )


def shown(url: str) -> str:
    """A URL, however misspelt, without what may be a password."""
    scheme, colon, rest = url.partition(":")
    if "@" not in url:
        return url
    known = f"{scheme}://" if colon and rest.startswith("/") else ""
    return known + url.rsplit("@", 1)[1]


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        wrong = "the port is no number" if "ort" in str(error) else "the brackets do not match"
        raise ConfigurationError(f"{shown(url)!r} is no server URL: {wrong}") from None
    return parts


def _split_secret(url: str) -> tuple[str, str | None]:
    """The URL without credentials, and the credentials."""
    parts = _parsed(url)
    if not parts.hostname:
        raise ConfigurationError(f"{shown(url)!r} is no server URL: it has no host")
    if " " in url:
        raise ConfigurationError(
            f"{shown(url)!r} is no server URL: it has a space in it; write %20 for one in a "
            "password or a path"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"the URL of {parts.hostname} is no server URL: leave away what follows '?' or '#'; "
            "credentials are given by auth=..."
        )
    if "@" not in parts.netloc:
        return url, None
    secret, host = parts.netloc.rsplit("@", 1)
    return parts._replace(netloc=host).geturl(), unquote(secret)


def _open_http(url: str, auth: Any, options: Options) -> Connection:
    base, secret = _split_secret(url.rstrip("/"))
    path = urlsplit(base).path.rsplit("/", 1)[-1]
    if not (path.startswith("v") and path[1:].isdecimal()):
        raise ConfigurationError(
            f"{base!r} is no URL of a Kinto API: it ends in its version, as in {base}/v1"
        )
    return connected(base, base, "kinto", secret if auth is None else auth, options)


def _open_kvp(url: str, auth: Any, options: Options) -> Connection:
    given, secret = _split_secret(url.rstrip("/"))
    base = given.removeprefix("kvp+")
    if urlsplit(base).path in ("", "/"):
        base += "/v1"
    return connected(base, given, "kvp", secret if auth is None else auth, options)


def connected(
    base: str,
    url: str,
    dialect: str,
    auth: Any,
    options: Options,
    *,
    adapter: BaseAdapter | None = None,
    owned: Callable[[], None] | None = None,
    server: object = None,
) -> Connection:
    """Make the connection to a server.

    Args:
        base: The URL of its API, over HTTP.
        url: The same as it was given, without credentials.
        dialect: What it speaks: "kinto" or "kvp".
        auth: As `Session` takes it.
        options: What the session was given besides.
        adapter: What speaks HTTP; None for sockets.
        owned: Closes what was started for it.
        server: Equal for connections to one server; None when the URL tells them apart.

    Raises:
        ConfigurationError: One of the options is wrong.
    """
    policy = as_retry(options["retry"])
    on_request = options["on_request"]
    if on_request is not None and not callable(on_request):
        raise ConfigurationError(f"on_request= takes a function of one event, not {on_request!r}")
    pretence = _pretence_of(options["dry_run"], dialect)
    transport = options["transport"](
        base,
        auth=auth,
        timeout=options["timeout"],
        headers=options["headers"],
        adapter=adapter,
        route=route_of(options["verify"], options["cert"], options["proxies"]),
    )
    return Connection(
        transport,
        url,
        dialect,
        policy,
        owned,
        server=server,
        on_request=on_request,
        pretence=pretence,
    )


def _pretence_of(dry_run: object, dialect: str) -> Pretence | None:
    """What a dry run starts with.

    Raises:
        ConfigurationError: The server speaks a protocol that does not say what a write would do.
    """
    if not isinstance(dry_run, bool):
        raise ConfigurationError(f"dry_run= takes True or False, not {dry_run!r:.80}")
    if dry_run and dialect != "kinto":
        raise ConfigurationError(
            "dry_run=True works with Kinto only: kvp.io's protocol does not show what a write "
            "would do. Try the program on a server of its own instead, such as memory://"
        )
    return Pretence() if dry_run else None


_OPENERS: dict[str, Opener] = {
    "http": _open_http,
    "https": _open_http,
    "kvp+http": _open_kvp,
    "kvp+https": _open_kvp,
}
