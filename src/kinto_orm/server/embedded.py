"""A Kinto inside this process: its settings, its life, and the way in."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from requests.adapters import BaseAdapter
from requests.exceptions import ConnectionError as NotReachable

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.adapter import EmbeddedAdapter
from kinto_orm.server.quiet import extra, hushed
from kinto_orm.wire.forking import call_in_children

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

    from kinto_orm.server.application import Application

BASE_URL = "http://kinto.embedded/v1"
USER = "embedded"

_SETTINGS = {
    "includes": "kinto.plugins.default_bucket kinto.plugins.history kinto.plugins.accounts "
    "kinto.plugins.flush",
    "experimental_collection_schema_validation": "true",
    "experimental_permissions_endpoint": "true",
    # The accounts plugin refuses to start after basicauth, which accepts any password.
    "multiauth.policies": "account basicauth",
    "multiauth.policy.account.use": "kinto.plugins.accounts.AccountsPolicy",
    "account_create_principals": "system.Everyone",
    # A lost race is over at once: the client's own short wait is enough.
    "retry_after_seconds": "0",
}

# Memory Kintos that were closed, by their settings, empty. Building one takes half a second, and
# Kinto's modules never let go of it: so the next to be opened is one of these.
_spare: dict[frozenset[tuple[str, str]], list[tuple[Application, str]]] = {}

# Building a Kinto changes lists of the process, and which warnings it shows.
_building = threading.Lock()


@call_in_children
def _begin_anew() -> None:
    """Take over nothing in a forked child: a thread of the parent may have been at work on it."""
    global _building  # noqa: PLW0603
    _building = threading.Lock()
    _spare.clear()


class EmbeddedServer:
    """A Kinto in this process. Close it, or use it in a `with` statement.

    Attributes:
        base_url: What the URLs of requests to it begin with. No such host exists; the
            adapter answers.
        auth: User and password of its own user, for HTTP Basic. It may manage accounts.
    """

    base_url = BASE_URL

    def __init__(
        self,
        application: Application,
        auth: tuple[str, str],
        *,
        turn: threading.Lock | None = None,
        concurrent: bool = False,
        one_at_a_time: bool = True,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """Use `open_memory`, `open_sqlite` or `open_local` instead.

        Args:
            application: The Kinto.
            auth: User and password of its own user.
            turn: Held while a request is answered.
            concurrent: Whether the WSGI application may answer several requests at a time.
            one_at_a_time: Whether requests through the adapter wait for each other; else the
                application may answer several at a time in any way.
            on_close: Called once, when this server is closed.
        """
        self.auth = auth
        self._application: Application | None = application
        self._turn = turn or threading.Lock()
        self._concurrent = concurrent or not one_at_a_time
        self._one_at_a_time = one_at_a_time
        self._on_close = on_close
        self._process = os.getpid()

    def wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request: the WSGI application.

        Raises:
            requests.exceptions.ConnectionError: The server is closed.
        """
        if self._concurrent:
            return self._open()(environ, start_response)
        return self._answer(environ, start_response)

    def adapter(self) -> BaseAdapter:
        """Make the adapter to mount on a `requests.Session`; it opens no sockets.

        Requests through it are answered one at a time, so that threads never meet a writer
        of their own process, which would cost them a 409 or a 503. In a file writers wait for
        each other without that.
        """
        return EmbeddedAdapter(self._answer)

    def shared(self, *, on_close: Callable[[], None]) -> EmbeddedServer:
        """Make another way into the same Kinto, with an end of its own."""
        return EmbeddedServer(
            self._open(),
            self.auth,
            turn=self._turn,
            concurrent=self._concurrent,
            one_at_a_time=self._one_at_a_time,
            on_close=on_close,
        )

    def flush(self) -> None:
        """Delete everything: objects, permissions, accounts, history.

        Raises:
            requests.exceptions.ConnectionError: The server is closed.
        """
        self._check_process()
        with self._turn:
            self._open().flush()

    def close(self) -> None:
        """Let requests under way finish, then close; what `memory://` held is gone.

        A second call does nothing, and in a forked child the first one neither.
        """
        if self._process != os.getpid():
            return
        with self._turn:
            if self._application is None:
                return
            self._application = None
        if self._on_close is not None:
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._application is None else "open"
        return f"<{type(self).__name__} {self.base_url} {state}>"

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not self._one_at_a_time:
            return self._open()(environ, start_response)
        self._check_process()
        with self._turn:
            return self._open()(environ, start_response)

    def _check_process(self) -> None:
        """Refuse a forked child, before it waits for a lock that no thread of its own holds."""
        if self._process != os.getpid():
            raise ConfigurationError(
                "this embedded Kinto belongs to the process that opened it, and this is a forked "
                "child: open a Session of its own in the child. Processes share what is kept in "
                "sqlite:///file or local:///directory, or a memory:// that "
                "kinto_orm.server.serve_process serves; "
                "what a child wrote into its copy of a memory:// would be lost. Nothing was sent."
            )

    def _open(self) -> Application:
        self._check_process()
        if self._application is None:
            raise NotReachable(
                "the embedded Kinto is closed: keep its session open for as long as it is used"
            )
        return self._application


def open_memory(*, settings: Mapping[str, str] | None = None) -> EmbeddedServer:
    """Open a new Kinto that keeps its data in this process's memory.

    It serves one request at a time, so that a precondition (If-Match) holds: the memory
    backend checks it and writes in two steps.

    Args:
        settings: Kinto's settings by name, merged over the server's own;
            `kinto.includes` adds plugins to its own.

    Raises:
        ConfigurationError: The extra `server` is not installed, or Kinto refuses the settings.
    """
    with extra():
        from kinto_orm.server.application import MEMORY
    given = plain(settings)
    spare = _spare.setdefault(frozenset(given.items()), [])
    try:
        application, secret = spare.pop()
    except IndexError:
        secret = given.get("userid_hmac_secret") or secrets.token_urlsafe(32)
        application = build(MEMORY, secret, given)

    def retire() -> None:
        application.flush()
        spare.append((application, secret))

    return EmbeddedServer(application, own_user(secret), on_close=retire)


def build(backends: Mapping[str, Any], secret: str, given: Mapping[str, str]) -> Application:
    """Build a Kinto.

    Args:
        backends: The settings that say where the data is.
        secret: Kinto's `userid_hmac_secret`: user ids derive from it.
        given: The caller's settings, as `plain` returns them.

    Raises:
        ConfigurationError: Kinto, or a plugin that the settings name, refuses them.
    """
    with extra():
        from pyramid.exceptions import ConfigurationError as Refused

        from kinto_orm.server.application import Application
    settings = {**_SETTINGS, **backends, "userid_hmac_secret": secret, **given}
    plugins = f"{_SETTINGS['includes']} {given.get('includes', '')}".split()
    settings["includes"] = " ".join(dict.fromkeys(plugins))
    try:
        with _building, hushed():
            return Application(settings, ":".join(own_user(secret)))
    except (Refused, ModuleNotFoundError) as error:
        raise ConfigurationError(f"Kinto refuses these settings: {error}") from error


def plain(settings: Mapping[str, str] | None) -> dict[str, str]:
    """Strip the prefix `kinto.`, with or without which Kinto knows its settings."""
    return {name.removeprefix("kinto."): value for name, value in (settings or {}).items()}


def own_user(secret: str) -> tuple[str, str]:
    """Derive the server's own user and password: the same as long as its secret is."""
    password = hmac.new(secret.encode(), USER.encode(), hashlib.sha256).hexdigest()
    return USER, password[:32]
