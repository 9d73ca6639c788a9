"""What a command works on: `collection`, `collection/record`, or a whole path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kinto_orm import (
    Bucket,
    Collection,
    Forbidden,
    Group,
    HistoryEntry,
    NotFound,
    Query,
    Record,
    Session,
)
from kinto_orm.cli.failing import Misuse

Stored = Bucket | Collection | Group | Record

# Kinto's rule for ids: https://docs.kinto-storage.org/en/stable/api/1.x/
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")

MODELS: dict[str, type[Stored]] = {
    "buckets": Bucket,
    "collections": Collection,
    "groups": Group,
    "records": Record,
}

NOT_DATA = frozenset({"id", "last_modified"})
"""What an object has that nobody gave it as data."""

PERMISSIONS: dict[str, tuple[str, ...]] = {
    "buckets": ("read", "write", "collection:create", "group:create"),
    "collections": ("read", "write", "record:create"),
    "groups": ("read", "write"),
    "records": ("read", "write"),
}
"""What may be permitted, by the plural of what it is."""

BELOW = {"buckets": ("collections", "groups"), "collections": ("records",)}
"""What may live in what, by plurals."""


@dataclass(frozen=True)
class Target:
    """An object of a server, or all objects of a kind that live in another one.

    Attributes:
        steps: The kinds and ids on the way, such as (("buckets", "blog"), ("collections", None)).
            An id of None means all of them.
    """

    steps: tuple[tuple[str, str | None], ...]

    @property
    def kind(self) -> str:
        """The plural of what it is: "buckets", "collections", "groups" or "records"."""
        return self.steps[-1][0]

    @property
    def id(self) -> str | None:
        """Its id; None for all of a kind."""
        return self.steps[-1][1]

    def id_of(self, kind: str) -> str | None:
        """The id of what it lives in, or its own."""
        return dict(self.steps).get(kind)

    def inside(self, kind: str) -> str:
        """The path in what it lives in; empty for that itself."""
        return str(self).partition(f"/{kind}/{self.id_of(kind)}")[2].lstrip("/")

    @property
    def bucket(self) -> Target:
        """The bucket that it lives in, or itself."""
        return Target(self.steps[:1])

    @property
    def parent(self) -> Target | None:
        """What it lives in; None for buckets."""
        return Target(self.steps[:-1]) if self.steps[:-1] else None

    def at(self, id: str) -> Target:
        """The object of its kind that has this id."""
        return Target((*self.steps[:-1], (self.kind, id)))

    def child(self, kind: str, id: str | None) -> Target:
        """Something inside of it, or all of a kind."""
        return Target((*self.steps, (kind, id)))

    def __str__(self) -> str:
        return "".join(f"/{kind}" + (f"/{id}" if id else "") for kind, id in self.steps)


def target_of(text: str, session: Session) -> Target:
    """What a command's argument means.

    Args:
        text: `collection` or `collection/record`, in the session's bucket; or a whole path such
            as `/buckets/blog/groups/writers`.
        session: Whose bucket a short one is in.

    Raises:
        Misuse: It is neither.
    """
    if text.startswith("/"):
        return possible(path_of(text))
    collection, slash, record = text.partition("/")
    if not collection or (slash and not record) or "/" in record:
        raise Misuse(
            f"{text!r} is no target: write `collection`, `collection/record`, or a whole path such "
            "as /buckets/blog/collections/articles/records/first"
        )
    ids = {"buckets": session.bucket, "collections": collection}
    return possible(Target((*ids.items(), *([("records", record)] if slash else []))))


def possible(target: Target) -> Target:
    """The same target, if there can be one of these ids.

    Raises:
        Misuse: Kinto would refuse one of them.
    """
    for kind, id in target.steps:
        if id is not None and not _ID.fullmatch(id):
            raise Misuse(
                f"{id!r} cannot be the id of a {kind.removesuffix('s')}: an id starts with a "
                "letter or digit, then come letters, digits, - and _"
            )
    return target


def path_of(path: str) -> Target:
    """What a whole path means, such as `/buckets/blog/groups/writers`.

    Raises:
        Misuse: It is none.
    """
    return Target(tuple(_steps(path)))


def model_of(target: Target, session: Session) -> tuple[type[Stored], Session]:
    """The class of a target, and the session in whose scope it is."""
    model = MODELS[target.kind]
    bucket = target.id_of("buckets")
    if bucket is None:
        return model, session
    return model, session.scoped(bucket=bucket, collection=target.id_of("collections"))


def listed(target: Target, session: Session) -> Target:
    """All that lives in a target; it has to be there where it is a collection.

    Raises:
        Misuse: Nothing lives in it.
        NotFound: There is no such collection in the personal bucket.
    """
    found = inside(target)
    if found.kind == "records" and found.parent:
        require_there(found.parent, session)
    return found


def inside(target: Target) -> Target:
    """All that lives in a target: collections in a bucket, records in a collection.

    Raises:
        Misuse: Nothing lives in it.
    """
    if target.id is None:
        return target
    if target.kind not in BELOW:
        raise Misuse(f"nothing is inside of {target}: kinto-orm get {target}")
    return target.child(BELOW[target.kind][0], None)


def single(target: Target) -> Target:
    """The same target, if it is one object.

    Raises:
        Misuse: It is all objects of a kind.
    """
    if target.id is None:
        raise Misuse(f"{target} is no single object: kinto-orm ls {target}")
    return target


def real(target: Target, session: Session) -> Target:
    """The same target, with the real id of the personal bucket (`GET /`, the first time)."""
    if target.id_of("buckets") != "default":
        return target
    return Target((("buckets", session.resolve_bucket("default")), *target.steps[1:]))


def require_there(holder: Target, session: Session) -> None:
    """Refuse what is not there of the personal bucket (`GET`); of others the server says so.

    Of it Kinto says that one may not look, and the library makes what is missing at its first
    use: whoever only looks would be shown nothing where the name is wrong.

    Args:
        holder: A bucket or a collection.
        session: Of the server.

    Raises:
        NotFound: It is not there.
    """
    if holder.id_of("buckets") != "default":
        return
    try:
        session.request("GET", str(real(holder, session)))
    except (NotFound, Forbidden):
        raise NotFound(
            f"there is no collection {holder.id!r} in your personal bucket"
            if holder.kind == "collections"
            else "nothing was ever put into your personal bucket"
        ) from None


def inside_of(found: Stored) -> dict[str, Query[Any]]:
    """What is inside of an object, by its kind; nothing is sent yet."""
    if isinstance(found, Bucket):
        return {"collections": found.collections.find(), "groups": found.groups.find()}
    return {"records": found.records.find()} if isinstance(found, Collection) else {}


def stored(found: Stored | HistoryEntry) -> dict[str, Any]:
    """An object's data as it is stored."""
    return found.model_dump(mode="json", by_alias=True)


def _steps(path: str) -> list[tuple[str, str | None]]:
    parts = path.strip("/").split("/") if path != "/" else ["buckets"]
    steps: list[tuple[str, str | None]] = []
    allowed: tuple[str, ...] = ("buckets",)
    for kind, id in zip(parts[::2], [*parts[1::2], None], strict=False):
        if kind not in allowed or id == "":
            raise Misuse(
                f"{path!r} is no path: {' or '.join(allowed) or 'nothing'} may stand where "
                f"{kind!r} does, as in /buckets/blog/collections/articles/records/first"
            )
        steps.append((kind, id))
        allowed = BELOW.get(kind, ())
    return steps
