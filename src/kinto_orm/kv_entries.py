"""The records of key values in lists: found by their ids, by the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Self, TypeVar

from pydantic import JsonValue

from kinto_orm import keypath
from kinto_orm.errors import Forbidden, NotFound, PathError, ResponseError
from kinto_orm.jsonvalues import as_stored
from kinto_orm.protocol import Parents, Reply, is_hidden
from kinto_orm.query import Listing, Query
from kinto_orm.record import Record
from kinto_orm.session import Session

T = TypeVar("T")
E = TypeVar("E", bound=Record)

COLLECTION: Final = "kv"

_KEYS_IN_A_REQUEST: Final = 100
_LENGTH_OF_KEYS: Final = 3500  # characters in a URL: some servers take no more than 4,000
_QUOTES: Final = len("%22%22%2C")  # around each of them


class ListedEntry(Record, collection=COLLECTION):
    """The record of one root key, as far as it is needed for lists of them."""

    value: JsonValue = None

    @classmethod
    def _home(cls, session: Session) -> tuple[str, Parents | None]:
        path, parents = super()._home(session)
        # Reading makes nothing.
        return path, parents and parents.explaining()

    @classmethod
    def find(cls, *conditions: Any, session: Session | None = None) -> Query[Self]:
        """A query that finds nothing where no key was ever written."""
        return _Keys(cls, session).where(*conditions)

    @classmethod
    def _synced_by(cls) -> str:
        return ""  # the program knows no such class


class UnmadeQuery(Query[E]):
    """A query of a collection that the first write makes: it finds nothing before that."""

    def count(self) -> int:
        """How many there are."""
        return self._or_nothing(super().count, 0)

    def delete(self) -> int:
        """Delete all of them that you may write."""
        return self._or_nothing(super().delete, 0)

    def _fetch(self, listing: Listing[E], query: str) -> Reply:
        nothing = Reply(200, {}, b'{"data":[]}')
        return self._or_nothing(lambda: super(UnmadeQuery, self)._fetch(listing, query), nothing)

    def _or_nothing(self, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except (NotFound, Forbidden) as error:
            if not self._is_absent(error):
                raise
            return nothing

    def _is_absent(self, error: ResponseError) -> bool:
        if error.request is not None and error.request.method == "HEAD":
            # Without a body it does not show whether Kinto said it.
            return not self.exists()
        listing = self._listing()
        return is_absent(error, listing.session, listing.path.split("/")[2])


class _Keys(UnmadeQuery[E]):
    """What a program asked for was keys: so messages call it."""

    def __repr__(self) -> str:
        return "the keys"


def is_absent(error: ResponseError, session: Session, bucket: str) -> bool:
    """Whether nothing is there: Kinto says 403 of a personal bucket that was never used."""
    return isinstance(error, NotFound) or (is_hidden(error) and session.is_personal(bucket))


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
        (key, as_stored(entry.value)) for key, entry in entries if "value" in entry.model_fields_set
    )


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
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
