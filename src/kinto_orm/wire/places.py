"""Where something lives on a server, and what the server says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from kinto_orm.errors import NotFound, ResponseError, Unauthorized, Unsupported
from kinto_orm.wire.flows import Flow, ask
from kinto_orm.wire.messages import Request, segment
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.refusals import is_hidden
from kinto_orm.wire.scope import Scope
from kinto_orm.wire.serverinfo import ServerInfo, read_root


class Place(NamedTuple):
    """A plural endpoint of a server.

    Attributes:
        scope: Over which connection it is reached.
        path: Such as `/buckets/blog/collections/articles/records`, with the personal bucket's
            real id.
        parents: What must exist for it; None for buckets and accounts.
    """

    scope: Scope
    path: str
    parents: Parents | None

    def of(self, id: str, kind: str) -> str:
        """The path of the object with this id.

        Raises:
            InvalidData: There can be none of this id.
        """
        return f"{self.path}/{segment(id, kind)}"

    def making(self) -> Place:
        """The same, where the first write makes the collection, in whatever bucket."""
        return self._replace(parents=self.parents and replace(self.parents, permitted=True))

    def explaining(self, *, loaded: bool = False) -> Place:
        """The same, where nothing is to be made: an object was there already, or is only read."""
        return self._replace(parents=self.parents and self.parents.explaining(loaded=loaded))


def place_at(scope: Scope, path: str, model: str = "") -> Flow[Place]:
    """Find the place that a path names, in which the personal bucket is "default".

    Sends `GET /` the first time that "default" is asked for. A batch shows the real id while
    paths keep "default", so that the real one is used everywhere.

    Args:
        scope: Where.
        path: Of a plural endpoint.
        model: The name of the class that `sync_schema` takes, for explanations.

    Raises:
        Unauthorized: The personal bucket is asked for and nobody is logged in.
        Unsupported: The server has no personal buckets.
    """
    known = scope.connection.resolved.get((path, model))
    if known is None:
        known = yield from _resolve(scope, path, model)
        scope.connection.resolved[path, model] = known
    return Place(scope, *known)


def _resolve(scope: Scope, path: str, model: str) -> Flow[tuple[str, Parents | None]]:
    parts = path.split("/")
    if len(parts) < 4:
        return path, None
    asked, parts[2] = parts[2], (yield from bucket_id(scope, parts[2]))
    collection = parts[4] if len(parts) > 5 else None
    personal = asked == "default" or scope.connection.is_personal(parts[2])
    return "/".join(parts), Parents(parts[2], collection, personal, model, personal=personal)


def bucket_id(scope: Scope, bucket: str | None = None) -> Flow[str]:
    """Find the real id of a bucket: for "default" that of the user's personal bucket (`GET /`).

    Raises:
        Unauthorized: The personal bucket is asked for and nobody is logged in.
        Unsupported: The server has no personal buckets.
    """
    bucket = bucket or scope.bucket
    if bucket != "default":
        return bucket
    info = yield from _info_that(
        scope, lambda info: info.user is not None and "bucket" in info.user
    )
    if info.user is None:
        raise Unauthorized(
            "the bucket 'default' belongs to a user, and the server recognises none (is the "
            "name, the password or the token wrong?): check the session's auth, or name a bucket: "
            'Session(..., bucket="blog")',
            status=401,
        )
    own = info.user.get("bucket")
    if not isinstance(own, str):
        raise Unsupported(
            "this server has no personal buckets (the plugin default_bucket is off): name a "
            'bucket: Session(..., bucket="blog")'
        )
    return own


def info_of(scope: Scope) -> Flow[ServerInfo]:
    """Fetch what the server says of itself, once (`GET /`).

    An answer that recognises nobody is not kept when the session has credentials: the account
    may be made, or the token renewed, later.

    Raises:
        BadReply: What answers is no Kinto server.
    """
    known = scope.connection.info
    return known if known is not None else (yield from fetch_info(scope))


def fetch_info(scope: Scope) -> Flow[ServerInfo]:
    """Fetch what the server says of itself anew (`GET /`); see `info_of`."""
    doing = f"read the root page of {scope.server_url}"
    info = read_root((yield from ask(Request("GET", "/", alone=True), doing)))
    if info.user is not None or scope.connection.transport.is_anonymous:
        scope.connection.info = info
    return info


def require(scope: Scope, capability: str, what: str) -> Flow[None]:
    """Make sure that the server has a capability.

    Raises:
        Unsupported: It does not; the message says what it is needed for.
    """
    if scope.dialect == "kvp":
        raise Unsupported(f"{what}: a kvp.io server keeps keys and templates only")
    info = yield from _info_that(scope, lambda info: capability in info.capabilities)
    if capability not in info.capabilities:
        raise Unsupported(
            f"{what}: the server {scope.server_url} lacks the capability {capability!r}; "
            "its administrator can enable the plugin"
        )


def _info_that(scope: Scope, serves: Callable[[ServerInfo], bool]) -> Flow[ServerInfo]:
    """What is known if it serves, else asked anew: what was missing may be there by now."""
    known = scope.connection.info
    return known if known is not None and serves(known) else (yield from fetch_info(scope))


def is_absent(error: ResponseError, place: Place) -> bool:
    """Whether nothing is in a place: Kinto says 403 of a personal bucket that was never used."""
    if isinstance(error, NotFound):
        return True
    bucket = place.path.split("/")[2]
    return is_hidden(error) and place.scope.connection.is_personal(bucket)


def known_path(scope: Scope, path: str) -> str:
    """A path with the personal bucket's real id, if that is known already."""
    parts = path.split("/")
    user = scope.connection.info.user if scope.connection.info is not None else None
    own = user.get("bucket") if user is not None else None
    if len(parts) > 2 and parts[2] == "default" and isinstance(own, str):
        parts[2] = own
    return "/".join(parts)
