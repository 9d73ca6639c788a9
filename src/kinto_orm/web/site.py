"""The page as a whole: which server it shows, to whom, and how."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from kinto_orm.async_session import AsyncSession
from kinto_orm.web.seals import Seal
from kinto_orm.web.visits import Visit, Visits
from kinto_orm.wire.attempts import Retry
from kinto_orm.wire.renewing import AsyncAuth

# Somebody waits before the screen: it is said soon that a server is down.
_TIMEOUT = (3.05, 20.0)
_RETRY = Retry(3, deadline=25.0)


@dataclass(eq=False)
class Site:
    """What all pages have in common.

    Attributes:
        server_url: As `AsyncSession` takes it.
        auth: Credentials with which everybody is logged in; None: each logs in.
        bucket: With which the page begins; None: the list of buckets.
        read_only: Whether everything that writes is refused.
        hosts: The names by which the page may be reached.
        idle: Seconds after which a visit is over of which nothing is heard.
        seal: Signs what forms carry.
        visits: Who is looking.
        address: The server's URL, without credentials.
    """

    server_url: str | None = field(repr=False)
    auth: AsyncAuth | None = field(repr=False)
    bucket: str | None
    read_only: bool
    hosts: tuple[str, ...]
    idle: float
    seal: Seal = field(default_factory=Seal, repr=False)
    visits: Visits = field(init=False, repr=False)
    address: str = field(init=False)

    def __post_init__(self) -> None:
        if not self.server_url:
            self.server_url = os.environ.get("KINTO_ORM_SERVER")
            self.auth = self.auth or os.environ.get("KINTO_ORM_AUTH") or None
        if self.server_url == "memory://":
            # Each session would have a server of its own.
            self.server_url = f"memory://page-{secrets.token_hex(8)}"
        # An embedded server goes on as long as this is open, whoever comes and goes.
        self._kept = self.open(None)
        self._kept.require_kinto("show it on a page")
        self.address = self._kept.server_url
        self._take_credentials(self.server_url or "")
        self.visits = Visits(self.open, self.idle)
        self.hosts = tuple(map(_host, self.hosts))
        # One session for all whom nobody asks who they are: they may be many.
        self._everybody: tuple[AsyncSession, str | None] | None = None
        self._entering = asyncio.Lock()
        self._turns: WeakKeyDictionary[AsyncSession, asyncio.Semaphore] = WeakKeyDictionary()

    def turn(self, session: AsyncSession) -> asyncio.Semaphore:
        """What lets somebody do one thing at a time that others would have to wait for."""
        return self._turns.setdefault(session, asyncio.Semaphore())

    def _take_credentials(self, url: str) -> None:
        """Let credentials in the URL be those of everybody: who opens a session has others."""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and "@" in parts.netloc:
            self.auth = self.auth or unquote(parts.netloc.rpartition("@")[0])
            self.server_url = self.address

    async def close(self) -> None:
        """Forget who was looking, and close all connections."""
        await self.visits.close()
        if self._everybody is not None:
            await self._everybody[0].close()
        await self._kept.close()

    def open(self, auth: AsyncAuth | None) -> AsyncSession:
        """A session with these credentials; nothing is sent yet.

        Raises:
            ConfigurationError: They cannot be sent, or the server's URL is wrong.
        """
        return AsyncSession(
            self.server_url,
            auth=auth,
            timeout=_TIMEOUT,
            retry=_RETRY,
            # The library makes what is missing of a personal bucket, also for what only reads.
            dry_run=self.read_only,
        )

    async def entered(self, visit: Visit) -> Visit:
        """The visit with which somebody goes on who is not logged in.

        Raises:
            KintoError: The credentials that everybody has do not serve.
        """
        if self.auth is None:
            return visit
        async with self._entering:
            if self._everybody is None:
                self._everybody = await self.visits.entering(self.auth)
        visit.session, visit.principal = self._everybody
        visit.name = _user_in(self.auth) or visit.principal
        return visit


def _host(name: str) -> str:
    """A name as a browser writes it."""
    return f"[{name}]".lower() if ":" in name and not name.startswith("[") else name.lower()


def _user_in(auth: AsyncAuth) -> str | None:
    """The user of a pair, as far as it is plain."""
    if isinstance(auth, str) and not auth.lower().startswith("bearer"):
        return auth.partition(":")[0]
    pair = auth if isinstance(auth, tuple) else ("",)
    return pair[0] if isinstance(pair[0], str) and pair[0] else None
