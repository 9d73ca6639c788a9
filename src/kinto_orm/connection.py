"""The connection: what the sessions on one server as one user share, opened by its URL."""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from kinto_orm.authentication import Auth, authenticator
from kinto_orm.errors import BadReply, ConfigurationError
from kinto_orm.forking import renew_in_children
from kinto_orm.protocol import Call, Parents, Reply, Request
from kinto_orm.transport import Transport

_BREAK = re.compile(r"[\t\r\n\0]")


class ServerInfo(BaseModel):
    """What the server says of itself on its root page.

    Attributes:
        version: The version of the server's software.
        settings: What Kinto shows of its settings, `batch_max_requests` and `readonly` among them.
        capabilities: What its plugins offer, by plugin.
        user: The authenticated user: id, principals, bucket (the real id of the default
            bucket); None for the anonymous and after a wrong password.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    version: str = Field(default="", validation_alias="project_version")
    settings: dict[str, JsonValue] = {}
    capabilities: dict[str, JsonValue] = {}
    user: dict[str, JsonValue] | None = None


# What tells Kinto's root page from the JSON of another service.
_ROOT = ("project_version", "http_api_version", "settings", "capabilities", "user")


def root_page(url: str) -> Call[ServerInfo]:
    """The call that reads what a server says of itself (`GET /`).

    Args:
        url: The server's, for messages.
    """

    def receive(reply: Reply) -> ServerInfo:
        # A null says as much as nothing, but for the plugins: every Kinto has some.
        page = {
            name: value
            for name, value in reply.json.items()
            if value is not None or name == "capabilities"
        }
        if not any(name in page for name in _ROOT) or _is_nameless(page.get("user")):
            raise BadReply(reply.complaint())
        try:
            return ServerInfo.model_validate(page)
        except ValidationError as error:
            wrong = ", ".join(str(each["loc"][0]) for each in error.errors(include_input=False))
            raise BadReply(f"{reply.complaint()} What is wrong: {wrong}.") from None

    return Call(Request("GET", "/"), receive, f"read the root page of {url}")


def _is_nameless(user: object) -> bool:
    """Whether a root page speaks of a user without saying who it is."""
    if not isinstance(user, dict):
        return False
    id, bucket = user.get("id"), user.get("bucket", "")
    return not isinstance(id, str) or not id or not isinstance(bucket, str)


class Connection:
    """What a session shares with those scoped from it."""

    def __init__(
        self,
        transport: Transport,
        shown: str,
        dialect: str,
        owned: Callable[[], None] | None,
        *,
        server: object = None,
    ) -> None:
        self.transport = transport
        # Equal for connections to one server. By default the URL tells them apart.
        self.server = shown if server is None else server
        self.shown = shown
        self.dialect = dialect
        self.owned = owned
        self.info: ServerInfo | None = None
        self.lock = threading.RLock()
        self.entered = 0
        self.closed = False
        self.resolved: dict[tuple[str, str], tuple[str, Parents | None]] = {}
        renew_in_children(self)

    def after_fork(self) -> None:
        """Make the lock anew, in a forked child."""
        self.lock = threading.RLock()

    def close(self) -> None:
        """Close the sockets and what was started for them."""
        if self.closed:
            return
        self.closed = True
        self.transport.close()
        if self.owned is not None:
            self.owned()


def open_connection(url: str | None, auth: Auth | None, options: Mapping[str, Any]) -> Connection:
    """Open the connection that a URL names.

    Args:
        url: As `Session` takes it; None for that of the environment.
        auth: As `Session` takes it; None for that of the environment when the URL is, too.
        options: The transport's.

    Raises:
        ConfigurationError: No server is given, the URL is wrong, or an extra is missing.
    """
    if not url:
        url = _server_of_environment()
        auth = auth if auth is not None else os.environ.get("KINTO_ORM_AUTH") or None
    _check_text(url)
    opener = _OPENERS.get(_parsed(url).scheme)
    if opener is None:
        raise ConfigurationError(
            f"{_shown(url)!r} is no server URL: it starts with one of "
            + ", ".join(f"{scheme}://" for scheme in _OPENERS)
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
            f"{_shown(url)!r} is no server URL: it has a line break in it, or a space at an end; "
            "strip() what comes from a file"
        )


def _shown(url: str) -> str:
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
        raise ConfigurationError(f"{_shown(url)!r} is no server URL: {wrong}") from None
    return parts


def _split_secret(url: str) -> tuple[str, str | None]:
    """The URL without credentials, and the credentials."""
    parts = _parsed(url)
    if not parts.hostname:
        raise ConfigurationError(f"{_shown(url)!r} is no server URL: it has no host")
    if " " in url:
        raise ConfigurationError(
            f"{_shown(url)!r} is no server URL: it has a space in it; write %20 for one in a "
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


def _open_http(url: str, auth: Auth | None, options: Mapping[str, Any]) -> Connection:
    shown, secret = _split_secret(url.rstrip("/"))
    path = urlsplit(shown).path.rsplit("/", 1)[-1]
    if not (path.startswith("v") and path[1:].isdecimal()):
        raise ConfigurationError(
            f"{shown!r} is no URL of a Kinto API: it ends in its version, as in {shown}/v1"
        )
    transport = Transport(shown, auth=authenticator(secret if auth is None else auth), **options)
    return Connection(transport, shown, "kinto", None)


def _open_kvp(url: str, auth: Auth | None, options: Mapping[str, Any]) -> Connection:
    shown, secret = _split_secret(url.rstrip("/"))
    base = shown.removeprefix("kvp+")
    if urlsplit(base).path in ("", "/"):
        base += "/v1"
    transport = Transport(base, auth=authenticator(secret if auth is None else auth), **options)
    return Connection(transport, shown, "kvp", None)


def _open_memory(url: str, auth: Auth | None, options: Mapping[str, Any]) -> Connection:
    name = urlsplit(url).netloc
    if "@" in name:
        raise ConfigurationError(
            f"{_shown(url)!r}: user and password of a memory:// server are given by auth=..."
        )
    opened = above("server.named").open_named(name)
    return _embedded(opened, url, auth, options, server=url if name else opened)


def _open_local(url: str, auth: Auth | None, options: Mapping[str, Any]) -> Connection:
    parts = urlsplit(url)
    directory = unquote(parts.path)
    if parts.netloc or not directory.strip("/"):
        raise ConfigurationError(
            f"{_shown(url)!r} names no directory: write local:///absolute/path, with three slashes"
        )
    return _embedded(above("server").open_local(directory), url, auth, options)


def _embedded(
    opened: Any,
    url: str,
    auth: Auth | None,
    options: Mapping[str, Any],
    *,
    server: object = None,
) -> Connection:
    try:
        transport = Transport(
            opened.base_url,
            auth=authenticator(opened.auth if auth is None else auth),
            adapter=opened.adapter(),
            **options,
        )
    except BaseException:
        opened.close()
        raise
    return Connection(transport, url, "kinto", opened.close, server=server)


@cache
def above(module: str) -> Any:
    """A module of a layer above, loaded when it is first needed."""
    return importlib.import_module(f"kinto_orm.{module}")


_OPENERS: dict[str, Callable[[str, Auth | None, Mapping[str, Any]], Connection]] = {
    "http": _open_http,
    "https": _open_http,
    "memory": _open_memory,
    "local": _open_local,
    "kvp+http": _open_kvp,
    "kvp+https": _open_kvp,
}
