"""Key values: JSON values by key path, as a mapping."""

from __future__ import annotations

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    Sequence,
    ValuesView,
)
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar, overload

from pydantic import JsonValue

from kinto_orm.errors import KeyNotFound, PathError
from kinto_orm.kv import keypath
from kinto_orm.kv.history import KeyHistory, KeysAt, KeyVersion, uri_of
from kinto_orm.kv.kinto import KintoStore
from kinto_orm.kv.kvp import KvpStore
from kinto_orm.queries.ahead import items_of
from kinto_orm.queries.pager import Pages
from kinto_orm.wire.clock import milliseconds
from kinto_orm.wire.driving import run, run_each
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.jsonvalues import sent
from kinto_orm.wire.scope import Scope

T = TypeVar("T")

KeyPath = str | tuple[str, ...]

MISSING: Final[Any] = object()


class RootKey(str):
    """A root key as it is listed: taken as a path it is not split, even with a slash in it."""

    __slots__ = ()


class Store(Protocol):
    """Where the values are: root keys, and segments below them. See `KeyValues`."""

    def reading(self, key: str) -> Flow[JsonValue]: ...  # noqa: D102
    def reading_many(self, keys: Iterable[str]) -> Flow[dict[str, JsonValue]]: ...  # noqa: D102
    def reading_all(self) -> Flow[dict[str, JsonValue]]: ...  # noqa: D102
    def keys(self, prefix: str) -> Iterator[Flow[Pages[Sequence[str]]]]: ...  # noqa: D102
    def items(self, prefix: str) -> Iterator[Flow[Pages[Sequence[tuple[str, JsonValue]]]]]: ...  # noqa: D102
    def counting(self, prefix: str) -> Flow[int]: ...  # noqa: D102
    def writing(self, key: str, segments: Sequence[str], value: JsonValue) -> Flow[None]: ...  # noqa: D102
    def adding(self, key: str, segments: Sequence[str], value: JsonValue) -> Flow[JsonValue]: ...  # noqa: D102
    def deleting(self, key: str, segments: Sequence[str], missing_ok: bool) -> Flow[None]: ...  # noqa: D102
    def popping(self, key: str, segments: Sequence[str]) -> Flow[JsonValue]: ...  # noqa: D102
    def clearing(self) -> Flow[None]: ...  # noqa: D102


_STORES: Mapping[str, Callable[[Scope, str], Store]] = {"kinto": KintoStore, "kvp": KvpStore}


def store_of(scope: Scope, bucket: str) -> Store:
    """The store of a bucket on the server that a scope speaks to."""
    return _STORES[scope.dialect](scope, bucket)


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was checked, and not begun.

    Attributes:
        key: The root key.
        flow: Makes the flow that does it; a new one each time.
    """

    key: str
    flow: Callable[[], Flow[None]]


class KeyValues(MutableMapping[KeyPath, JsonValue]):
    """A mapping of JSON values by key path: `session.kv`, or the `kv` of a bucket.

    A path is `"my_key/baz/faz"`: a root key, and the way down into its value. A tuple of segments
    is not split: `("my_key", "a/b")`. Below a list a segment is an index, 0-based; `-` appends.
    Iterating and `len` are about the root keys.

    A path that is not well formed, or that goes through a value that is no container, is a
    PathError.
    """

    def __init__(self, scope: Scope, bucket: str) -> None:
        """Use `session.kv` or `bucket.kv` instead.

        Args:
            scope: Over whose connection it goes.
            bucket: The bucket's id; "default" is the user's personal one.
        """
        self._scope = scope
        self._bucket = bucket
        self._store = store_of(scope, bucket)

    def __getitem__(self, path: KeyPath) -> JsonValue:
        return self._run(self.reading(path))

    def __setitem__(self, path: KeyPath, value: JsonValue) -> None:
        self.set(path, value)

    def __delitem__(self, path: KeyPath) -> None:
        self.delete(path)

    def __iter__(self) -> Iterator[str]:
        return self.root_keys("")

    def __len__(self) -> int:
        return self.count("")

    def set(self, path: KeyPath, value: JsonValue) -> None:
        """Store a value: the same as `kv[path] = value`.

        A root key's value is replaced whole, whatever was there (`PUT` without a precondition).
        Below a root key only that place is written: the record is read, and one JSON-Patch with
        `If-Match` is sent, and both again when another writer was first; so that writers at
        different places of one key lose nothing. Missing parents are made as objects.

        Args:
            path: The key path.
            value: Any JSON value; None is stored as null. What Python's `json` writes as JSON is
                taken, too, and read back as that: a tuple as a list, an enum of texts as a text.

        Raises:
            PathError: The path is not well formed, goes through a value that is no container,
                names no place of a list, or appends (`-`) where there is none.
            InvalidData: The server would change the value or cannot store it.
            Conflict: Other writers were first each time, or moved the items of a list that the
                path goes through: `.base` is the item that was read, `.remote` the one that is
                there now. `unconfirmed` when the answer to a write through a list was lost and
                the key has changed since.
        """
        self._run(self.setting(path, value).flow())

    def setting(self, path: KeyPath, value: JsonValue) -> Write:
        """Check what `set` is given."""
        key, *segments = _segments(path)
        return Write(key, partial(self._store.writing, key, segments, _sent(key, value)))

    def delete(self, path: KeyPath, missing_ok: bool = False) -> None:
        """Remove a value and all below it: the same as `del kv[path]`.

        Deleting a root key is a `DELETE` without a precondition. Below it one JSON-Patch with
        `If-Match` is sent. The items of a list move up when one is removed: if another writer
        moves them meanwhile, nothing is removed, and it is a Conflict.

        Args:
            path: The key path.
            missing_ok: Be content when nothing is there.

        Raises:
            KeyNotFound: Nothing is there.
            Conflict: The list was changed meanwhile; `.base` is the item that was read,
                `.remote` the one that is in its place now. `unconfirmed`: an answer was lost, and
                whether this call or another writer removed it cannot be told.
        """
        self._run(self.removing(path, missing_ok).flow())

    def removing(self, path: KeyPath, missing_ok: bool) -> Write:
        """Check what `delete` is given."""
        key, *segments = _segments(path)
        return Write(key, partial(self._store.deleting, key, segments, missing_ok))

    @overload
    def pop(self, path: KeyPath, /) -> JsonValue: ...
    @overload
    def pop(self, path: KeyPath, /, default: JsonValue | T) -> JsonValue | T: ...
    def pop(self, path: KeyPath, /, default: Any = MISSING) -> Any:
        """Remove a value and return it; of several who pop an item of a list each gets another.

        Args:
            path: The key path.
            default: What to return when nothing is there.

        Raises:
            KeyNotFound: Nothing is there, and no default is given.
            Conflict: Other writers were first each time; `unconfirmed` when an answer was lost and
                whether this call took the value away cannot be told: `.base` is the value.
        """
        return self._run(self.popping(path, default))

    def setdefault(self, path: KeyPath, default: JsonValue = None, /) -> JsonValue:  # type: ignore[override]
        """Store a value if nothing is there yet, and return what is there now.

        On a Kinto server another writer's value is never overwritten.

        Args:
            path: The key path.
            default: The JSON value to store.

        Raises:
            InvalidData: The server would change the value or cannot store it.
        """
        return self._run(self.adding(path, default))

    def get_many(self, paths: Iterable[KeyPath]) -> dict[KeyPath, JsonValue]:
        """Read several values with one request for a hundred root keys (`GET ?in_id=a,b,c`).

        Args:
            paths: Key paths.

        Returns:
            The values by path, as the paths were given; those where nothing is are left out.
        """
        return self._run(self.getting_many(paths))

    def keys(self, prefix: str = "") -> KeysView[str]:
        """The root keys, streamed: 1,000 with each request, without their values.

        Args:
            prefix: Only those that begin with it; the server chooses them.
        """
        return _Keys(self, prefix)

    def items(self, prefix: str = "") -> ItemsView[str, JsonValue]:
        """The root keys with their values, streamed: 100 with each request.

        Args:
            prefix: Only those whose key begins with it.
        """
        return _Items(self, prefix)

    def values(self) -> ValuesView[JsonValue]:
        """The values of the root keys, streamed: 100 with each request."""
        return _Values(self)

    def clear(self) -> None:
        """Delete all root keys."""
        self._run(self.clearing())

    def root_keys(self, prefix: str) -> Iterator[str]:
        """List the root keys that begin so; see `keys`."""
        return map(RootKey, items_of(self._scope, self._store.keys(prefix)))

    def pairs(self, prefix: str) -> Iterator[tuple[str, JsonValue]]:
        """List the root keys that begin so, with their values; see `items`."""
        pairs = items_of(self._scope, self._store.items(prefix))
        return ((RootKey(key), value) for key, value in pairs)

    def count(self, prefix: str = "") -> int:
        """How many root keys there are that begin so."""
        return self._run(self.counting(prefix))

    # What was; on a Kinto server with the history plugin

    def history(self, path: KeyPath) -> Iterator[KeyVersion]:
        """What was at a path, the newest first; streamed.

        Versions of other places of the same root key are left out.

        Args:
            path: The key path.

        Raises:
            Unsupported: The server has no history.
        """
        return run_each(self._scope, self.versions(path))

    def at(self, when: int | datetime) -> KeysAt:
        """All key values as they were at a time, in memory (one `GET` of a snapshot).

        Args:
            when: Milliseconds, or a datetime.

        Raises:
            Unsupported: The server has no history.
        """
        return self._run(self.as_they_were(when))

    def revert(self, path: KeyPath, when: int | datetime) -> JsonValue:
        """Store what was at a path at a time, as `set` does, and return it.

        Args:
            path: The key path.
            when: Milliseconds, or a datetime.

        Raises:
            KeyNotFound: Nothing was there at that time.
            Conflict: As for `set`.
            Unsupported: The server has no history.
        """
        return self._run(self.reverting(path, when))

    def uri(self, path: KeyPath) -> str:
        """The server path of the record that has the root key; nothing is sent.

        In the personal bucket it has the word "default" until the first request of the session.

        Raises:
            Unsupported: A kvp.io server has no records.
        """
        self._scope.require_kinto("say where a key is")
        return uri_of(self._scope, self._bucket, _segments(path)[0])

    # The same as flows, for whoever drives them.

    def versions(self, path: KeyPath) -> Iterator[Flow[list[KeyVersion]]]:
        """What was at a path, page by page; see `history`."""
        key, *segments = _segments(path)
        return KeyHistory(self._scope, self._bucket).versions(key, segments)

    def as_they_were(self, when: int | datetime) -> Flow[KeysAt]:
        """All key values as they were; see `at`."""
        past = KeyHistory(self._scope, self._bucket)
        return KeysAt((yield from past.snapshot(milliseconds(when))), _segments)

    def reverting(self, path: KeyPath, when: int | datetime) -> Flow[JsonValue]:
        """Store what was at a path; see `revert`."""
        key, *segments = _segments(path)
        past = KeyHistory(self._scope, self._bucket)
        value = yield from past.reading_at(key, segments, milliseconds(when))
        yield from self._store.writing(key, segments, value)
        return value

    def reading(self, path: KeyPath) -> Flow[JsonValue]:
        """Read a value; a KeyNotFound when nothing is there."""
        key, *segments = _segments(path)
        return keypath.read((yield from self._store.reading(key)), segments, key)

    def popping(self, path: KeyPath, default: Any) -> Flow[Any]:
        """Remove a value; see `pop`."""
        key, *segments = _segments(path)
        try:
            return (yield from self._store.popping(key, segments))
        except KeyNotFound:
            if default is MISSING:
                raise
            return default

    def adding(self, path: KeyPath, default: JsonValue) -> Flow[JsonValue]:
        """Store a value if nothing is there yet; see `setdefault`."""
        key, *segments = _segments(path)
        return self._store.adding(key, segments, _sent(key, default))

    def getting_many(self, paths: Iterable[KeyPath]) -> Flow[dict[KeyPath, JsonValue]]:
        """Read several values; see `get_many`."""
        if isinstance(paths, str):
            raise PathError(f"get_many takes several key paths, as in get_many([{paths!r}])")
        wanted = {path: _segments(path) for path in paths}
        keys = dict.fromkeys(key for key, *_ in wanted.values())
        found = yield from self._store.reading_many(keys)
        values: dict[KeyPath, JsonValue] = {}
        for path, (key, *segments) in wanted.items():
            if key in found:
                try:
                    values[path] = keypath.read(found[key], segments, key)
                except KeyNotFound:
                    continue
        return values

    def key_pages(self, prefix: str) -> Iterator[Flow[Pages[Sequence[str]]]]:
        """Open the pages of the root keys that begin so."""
        return self._store.keys(prefix)

    def item_pages(self, prefix: str) -> Iterator[Flow[Pages[Sequence[tuple[str, JsonValue]]]]]:
        """Open the pages of the root keys that begin so, with their values."""
        return self._store.items(prefix)

    def clearing(self) -> Flow[None]:
        """Delete all root keys."""
        return self._store.clearing()

    def counting(self, prefix: str) -> Flow[int]:
        """Count the root keys that begin so."""
        return self._store.counting(prefix)

    def _run(self, flow: Flow[T]) -> T:
        return run(self._scope, flow)

    def __repr__(self) -> str:
        return f"<KeyValues of {self._store!r}>"


def _segments(path: KeyPath) -> tuple[str, ...]:
    if isinstance(path, RootKey):
        return keypath.parse((str(path),))
    parts = path if isinstance(path, tuple) else (path,)
    for each in parts:
        if not isinstance(each, str):
            raise PathError(
                f"{each!r} cannot be a part of a key path: a path is a text or a tuple of texts, "
                'as in "my_key/0" or ("my_key", "0")'
            )
    return keypath.parse(path)


def _sent(key: str, value: JsonValue) -> JsonValue:
    # What answers are compared with, what is put into a read value, and what the caller gets.
    return sent(value, f"the value of {key!r}")


class _Keys(KeysView[str]):
    def __init__(self, kv: KeyValues, prefix: str) -> None:
        super().__init__(kv)
        self._kv = kv
        self._prefix = prefix

    def __iter__(self) -> Iterator[str]:
        return self._kv.root_keys(self._prefix)

    def __len__(self) -> int:
        return self._kv.count(self._prefix)

    def __contains__(self, key: object) -> bool:
        return str(key).startswith(self._prefix) and key in self._kv


class _Items(ItemsView[str, JsonValue]):
    def __init__(self, kv: KeyValues, prefix: str) -> None:
        super().__init__(kv)
        self._kv = kv
        self._prefix = prefix

    def __iter__(self) -> Iterator[tuple[str, JsonValue]]:
        return self._kv.pairs(self._prefix)

    def __len__(self) -> int:
        return self._kv.count(self._prefix)


class _Values(ValuesView[JsonValue]):
    def __init__(self, kv: KeyValues) -> None:
        super().__init__(kv)
        self._kv = kv

    def __iter__(self) -> Iterator[JsonValue]:
        return (value for _, value in self._kv.pairs(""))

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)
