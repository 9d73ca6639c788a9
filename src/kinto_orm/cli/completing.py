"""What a shell offers when Tab is pressed, beside commands and options.

Nobody waits long for it, and it says nothing: where the server does not answer at once, or wants a
password that is not kept, there is nothing to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from typer import Context

from kinto_orm import Bucket, Collection, KintoError, Query, Session, Template, col
from kinto_orm.cli.profiles import Profile, Profiles
from kinto_orm.cli.settings import Settings
from kinto_orm.cli.targets import BELOW, Target, model_of, path_of

_MOST = 50
_TIMEOUT = (0.5, 1.5)
# Others are opened by a request only when they run already: starting a Kinto takes too long.
_SCHEMES = ("http://", "https://", "kvp+")


def profiles(incomplete: str) -> list[str]:
    """The profiles that `login` has kept."""
    with suppress(KintoError):
        return [each for each in Profiles.read().named if each.startswith(incomplete)]
    return []


def buckets(ctx: Context, incomplete: str) -> list[str]:
    """The buckets that the user may read."""
    return _offered(ctx, incomplete, lambda _: (each.id for each in Bucket.find()))


def collections(ctx: Context, incomplete: str) -> list[str]:
    """The collections of the bucket."""
    return _offered(ctx, incomplete, lambda _: (each.id for each in Collection.find()))


def targets(ctx: Context, incomplete: str) -> list[str]:
    """Targets: what is in the bucket, in a collection of it, or along a whole path."""
    return _offered(ctx, incomplete, lambda session: _targets(incomplete, session))


def keys(ctx: Context, incomplete: str) -> list[str]:
    """The root keys that begin so."""
    return _offered(ctx, incomplete, lambda session: iter(session.kv.keys(incomplete)))


def templates(ctx: Context, incomplete: str) -> list[str]:
    """The templates by name."""
    return _offered(ctx, incomplete, lambda _: (each.name for each in Template.find()))


def _targets(begun: str, session: Session) -> Iterator[str]:
    above, slash, name = begun.rpartition("/")
    if slash and not above:
        yield "/buckets/"
        return
    place = path_of(above) if begun.startswith("/") else _short(above, session)
    if place.id is not None:
        yield from (f"{above}/{kind}/" for kind in BELOW.get(place.kind, ()))
        return
    model, scope = model_of(place, session)
    found: Query[Any] = scope.find(model).where(col(model.id).like(f"{name}*")).limit(_MOST)
    yield from (f"{above}{slash}{each.id}" for each in found)


def _short(collection: str, session: Session) -> Target:
    """All collections of the bucket, or all records of one."""
    bucket = Target((("buckets", session.bucket),))
    if not collection:
        return bucket.child("collections", None)
    return bucket.child("collections", collection).child("records", None)


def _offered(ctx: Context, incomplete: str, list_: Callable[[Session], Iterator[str]]) -> list[str]:
    with suppress(KintoError):
        given = ctx.find_root().params
        settings = Settings(
            given.get("server"),
            given.get("auth"),
            given.get("bucket"),
            profile=given.get("profile"),
        )
        found = settings.found()
        if found is not None and found.server.startswith(_SCHEMES):
            with _session(settings, found) as session:
                fitting = (each for each in list_(session) if each.startswith(incomplete))
                return list(islice(fitting, _MOST))
    return []


def _session(settings: Settings, found: Profile) -> Session:
    auth = settings.auth or (found.auth.get_secret_value() if found.auth else None)
    return Session(
        found.server,
        auth=auth if auth and (":" in auth or " " in auth) else None,
        bucket=settings.bucket or found.bucket or "default",
        timeout=_TIMEOUT,
        dry_run=not found.server.startswith("kvp"),  # Tab makes no collection
        retry=None,
    )
