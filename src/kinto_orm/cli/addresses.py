"""Where objects are on any server: a target, or such as `https://host/v1/buckets/blog`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from kinto_orm import Session
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.settings import Settings
from kinto_orm.cli.targets import Target, path_of, target_of

_PATH = "/buckets"


@dataclass(frozen=True)
class Address:
    """An object, and its server.

    Attributes:
        session: Of that server.
        target: The object; None where only the server is said.
    """

    session: Session
    target: Target | None


class Servers:
    """The servers that a command works with, each opened once.

    Args:
        settings: What the options of the program say.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[tuple[str | None, str | None], Session] = {}
        self._known: dict[tuple[str | None, str | None], str | None] = {}
        self._stack = ExitStack()

    @contextmanager
    def opened(self) -> Iterator[Servers]:
        """Close at the end what was opened."""
        with self._stack:
            yield self

    def address(self, text: str, auth: str | None, *, makes: bool = False) -> Address:
        """Find what a command's argument means.

        Args:
            text: A target, a URL with a path, or the URL of a server.
            auth: Who one is there; None: as the options of the program, the profile of this
                server or the environment say.
            makes: Whether a Kinto in a file that is not there is made.

        Raises:
            Misuse: It is none of these.
        """
        if "://" not in text:
            session = self._session(None, auth, makes)
            return Address(session, target_of(text, session))
        server, target = parted(text)
        return Address(self._session(server, auth, makes), target)

    def _session(self, server: str | None, auth: str | None, makes: bool) -> Session:
        if server is not None and auth is None and server == self._settings.server:
            server = None  # that of --server, with its --auth
        key = server, auth
        if key not in self._open:
            told = self._with_password(self._told(server, auth))
            self._open[key] = self._stack.enter_context(told.opened(makes=makes))
        return self._open[key]

    def _with_password(self, told: Settings) -> Settings:
        """The same; who was asked for a password is not asked for it again."""
        found = told.found()
        kept = None if found is None or found.auth is None else found.auth.get_secret_value()
        who = None if found is None else found.server.rstrip("/"), told.auth or kept
        full = replace(told, auth=self._known.get(who, told.auth)).resolved()
        self._known[who] = full.auth
        return full

    def _told(self, server: str | None, auth: str | None) -> Settings:
        if server is None:
            return replace(self._settings, auth=auth or self._settings.auth)
        # Credentials and defaults are those of the server that the options name.
        return Settings(server=server, auth=auth, as_json=self._settings.as_json)


def parted(url: str) -> tuple[str, Target | None]:
    """The URL of a server, and what is meant there.

    The path begins at the first /buckets behind which there is one: a directory may have that
    name, too.
    """
    at = url.find(_PATH, url.index("://") + 3)
    while at != -1:
        try:
            return url[:at], path_of(url[at:])
        except Misuse:
            at = url.find(_PATH, at + 1)
    return url, None
