"""The records of key values: where they are, how they are listed, and what their keys are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from kinto_orm.errors import PathError
from kinto_orm.kv import keypath
from kinto_orm.queries.conditions import Condition, compile_conditions, field
from kinto_orm.queries.pager import Asked, Listing, Pager
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.jsonvalues import as_stored
from kinto_orm.wire.messages import Reply, segment
from kinto_orm.wire.places import Place, place_at
from kinto_orm.wire.scope import Scope

COLLECTION: Final = "kv"

_KEYS_IN_A_REQUEST: Final = 100
_LENGTH_OF_KEYS: Final = 3500  # characters in a URL: some servers take no more than 4,000
_QUOTES: Final = len("%22%22%2C")  # around each of them
_VALUES_IN_A_PAGE: Final = 100

Entry = Mapping[str, Any]
"""The data of a root key's record, as it was read."""


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """The record of a root key in a list.

    Attributes:
        id: The record's id.
        data: What of it was asked for.
    """

    id: str
    data: Entry


@dataclass(frozen=True, slots=True)
class Entries:
    """A question about the records of a bucket's keys.

    A record that was put there by hand may have no value: it is no key.

    Attributes:
        scope: In which bucket.
        conditions: In addition to that.
        values: Whether the values are asked for, too.
    """

    scope: Scope
    conditions: tuple[Condition, ...] = ()
    values: bool = False

    def asked(self) -> Asked:
        """What is asked of the server."""
        ids = None if self.values else frozenset({"id", "last_modified"})
        return Asked(
            filters=(compile_conditions((field("value").exists(), *self.conditions)),),
            sort="id",
            by_default="id",
            most=None,
            fields=ids,
            stored=ids,
            size=_VALUES_IN_A_PAGE if self.values else None,
            doing="find the keys",
        )

    def listing(self) -> Flow[Listing[ListedEntry]]:
        """Find where the records are; reading makes nothing."""
        place = yield from home_of(self.scope)
        return Listing(place.explaining(), _listed, unmade=True)

    def opening(self) -> Flow[Pager[ListedEntry]]:
        """Find where to read the pages."""
        return Pager((yield from self.listing()), self.asked())


def _listed(reply: Reply, _: frozenset[str] | None) -> list[ListedEntry]:
    return [ListedEntry(each["id"], each) for each in reply.objects]


def home_of(scope: Scope) -> Flow[Place]:
    """Find the collection of the keys of a bucket."""
    bucket = segment(scope.bucket, "bucket")
    return place_at(scope, f"/buckets/{bucket}/collections/{COLLECTION}/records")


def with_ids(scope: Scope, ids: Iterable[str], *, values: bool) -> Entries:
    """The question for the records of these ids."""
    return Entries(scope, (field("id").in_(list(ids)),), values)


def keyed(entries: Iterable[ListedEntry]) -> Iterator[tuple[str, ListedEntry]]:
    """Entries with their keys, without those that were put there by hand under other ids."""
    for entry in entries:
        key = key_of(entry.id)
        if key is not None:
            yield key, entry


def key_of(id: str) -> str | None:
    """The key of a record; None when it was put there by hand, under an id that no key has."""
    try:
        (key,) = keypath.parse((keypath.key_of(id),))
    except PathError:
        return None
    return key


def present(entries: Iterable[tuple[str, ListedEntry]]) -> Iterator[tuple[str, JsonValue]]:
    """Keys with their values, without the records that have none."""
    return (
        (key, as_stored(entry.data["value"])) for key, entry in entries if "value" in entry.data
    )


def lists_for_urls(ids: Iterable[str]) -> Iterator[list[str]]:
    """Cut a list of ids into parts that fit into a URL."""
    chunk: list[str] = []
    length = 0
    for each in ids:
        length += len(each) + _QUOTES
        if chunk and (len(chunk) == _KEYS_IN_A_REQUEST or length > _LENGTH_OF_KEYS):
            yield chunk
            chunk, length = [], len(each) + _QUOTES
        chunk.append(each)
    if chunk:
        yield chunk
