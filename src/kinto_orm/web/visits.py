"""Who is looking at the page: credentials are in here, in memory, and nowhere else."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import Unauthorized
from kinto_orm.wire.renewing import AsyncAuth
from kinto_orm.wire.serverinfo import ServerInfo

# Whoever opens the page without a cookie is a visitor, so that these are many soon.
MOST_VISITS: Final = 1000
_MOST_PLACES: Final = 500


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(eq=False)
class Visit:
    """One browser that looks at the page.

    Attributes:
        id: What its cookie says; it tells nothing.
        token: What its forms carry, so that no other site can send them.
        session: Over which it asks the server; None before somebody logged in.
        owns: Whether the session is this visit's alone, and ends with it.
        name: How whoever logged in is called; None for nobody.
        principal: The same as the server has it.
        seen: When it was last heard of, by `time.monotonic()`.
        told: What the next page says of what was done.
        before: The position of the page before, by that of a page of a table.
        streams: How many pages are told of changes.
    """

    id: str = field(default_factory=_random, repr=False)
    token: str = field(default_factory=_random, repr=False)
    session: AsyncSession | None = field(default=None, repr=False)
    owns: bool = False
    name: str | None = None
    principal: str | None = None
    seen: float = field(default_factory=time.monotonic)
    told: list[str] = field(default_factory=list)
    before: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)
    streams: int = 0

    def tell(self, what: str) -> None:
        """Say something on the next page."""
        self.told.append(what)

    def hear(self) -> list[str]:
        """What is to be said, which then was."""
        told, self.told = self.told, []
        return told

    def follow(self, position: str, following: str) -> None:
        """Remember which page of a table comes before which."""
        self.before[following] = position
        while len(self.before) > _MOST_PLACES:
            self.before.popitem(last=False)


class Visits:
    """All of them.

    Args:
        opening: Opens a session with credentials.
        idle: Seconds after which a visit is over of which nothing is heard.
    """

    def __init__(self, opening: Callable[[AsyncAuth | None], AsyncSession], idle: float) -> None:
        self._opening = opening
        self._idle = idle
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._over: list[AsyncSession] = []

    def find(self, id: str | None, *, by_itself: bool = False) -> Visit | None:
        """The visit with this id, if it is not over.

        Args:
            id: What the cookie says.
            by_itself: The browser asks, and nobody has done anything: that keeps no visit alive.
        """
        self._expire()
        visit = self._visits.get(id or "")
        if visit is not None and not by_itself:
            visit.seen = time.monotonic()
            self._visits.move_to_end(visit.id)
        return visit

    def begin(self) -> Visit:
        """A visit of somebody who is not logged in."""
        visit = Visit()
        self._visits[visit.id] = visit
        while len(self._visits) > MOST_VISITS:
            self._drop(self._least())
        return visit

    def _least(self) -> Visit:
        """The visit that is missed least: another site can make many of nobody, and no others."""
        found = (each for each in self._visits.values() if not each.owns)
        return next(found, next(iter(self._visits.values())))

    async def log_in(self, auth: AsyncAuth | None, name: str | None) -> Visit:
        """Try credentials, and begin a visit with them if they serve; see `entering`."""
        session, principal = await self.entering(auth)
        visit = self.begin()
        visit.session, visit.principal, visit.owns = session, principal, True
        visit.name = name or principal
        return visit

    async def entering(self, auth: AsyncAuth | None) -> tuple[AsyncSession, str | None]:
        """Try credentials.

        Returns:
            A session with them, and whom the server knows by them; None for nobody.

        Raises:
            Unauthorized: The server knows nobody by them.
            KintoError: It cannot be asked.
        """
        session = self._opening(auth)
        try:
            info = await session.server_info()
            if auth is not None and info.user is None:
                raise Unauthorized("the server knows nobody by these credentials", status=401)
        except BaseException:
            await session.close()
            raise
        return session, _id_in(info)

    def end(self, visit: Visit) -> None:
        """Forget a visit, and its credentials."""
        self._drop(visit)

    async def sweep(self) -> None:
        """Forget those that are over, and close their connections."""
        self._expire()
        over, self._over = self._over, []
        for each in over:
            await each.close()

    async def close(self) -> None:
        """Forget all."""
        for each in list(self._visits.values()):
            self._drop(each)
        await self.sweep()

    def _expire(self) -> None:
        since = time.monotonic() - self._idle
        for each in [each for each in self._visits.values() if each.seen < since]:
            self._drop(each)

    def _drop(self, visit: Visit) -> None:
        self._visits.pop(visit.id, None)
        if visit.session is not None and visit.owns:
            self._over.append(visit.session)
        visit.session = None


def _id_in(info: ServerInfo) -> str | None:
    """What the server calls who is logged in; None for nobody."""
    id = (info.user or {}).get("id")
    return str(id) if id is not None else None
