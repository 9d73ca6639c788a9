"""Key values for an AsyncSession: the same flows, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pydantic import JsonValue

from kinto_orm.errors import ConfigurationError, KeyNotFound
from kinto_orm.kv.history import KeysAt, KeyVersion
from kinto_orm.kv.values import MISSING, KeyPath, KeyValues, RootKey, Write
from kinto_orm.queries.awaiting import aitems_of
from kinto_orm.wire.awaiting import arun, arun_each
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

T = TypeVar("T")


class AsyncKeyValues:
    """JSON values by key path: `session.kv` of an AsyncSession, or the `akv` of a bucket.

    Paths and errors are those of `KeyValues`. It is no mapping, since brackets cannot be awaited:
    `await kv.get(path)`, `await kv.set(path, value)`, `async for key in kv`.
    """

    def __init__(self, scope: Scope, bucket: str) -> None:
        """Use `session.kv` or `bucket.akv` instead.

        Args:
            scope: Over whose connection it goes.
            bucket: The bucket's id; "default" is the user's personal one.
        """
        self._scope = scope
        self._values = KeyValues(scope, bucket)

    @overload
    async def get(self, path: KeyPath, /) -> JsonValue | None: ...
    @overload
    async def get(self, path: KeyPath, /, default: JsonValue | T) -> JsonValue | T: ...
    async def get(self, path: KeyPath, /, default: Any = None) -> Any:
        """Read a value (`GET`), or give the default when nothing is there."""
        try:
            return await self._run(self._values.reading(path))
        except KeyNotFound:
            return default

    async def has(self, path: KeyPath) -> bool:
        """Whether something is there: what `path in kv` says of a KeyValues."""
        return await self.get(path, MISSING) is not MISSING

    async def set(self, path: KeyPath, value: JsonValue) -> None:
        """Store a value; see `KeyValues.set`."""
        await self._run(self._values.setting(path, value).flow())

    async def delete(self, path: KeyPath, missing_ok: bool = False) -> None:
        """Remove a value and all below it; see `KeyValues.delete`."""
        await self._run(self._values.removing(path, missing_ok).flow())

    @overload
    async def pop(self, path: KeyPath, /) -> JsonValue: ...
    @overload
    async def pop(self, path: KeyPath, /, default: JsonValue | T) -> JsonValue | T: ...
    async def pop(self, path: KeyPath, /, default: Any = MISSING) -> Any:
        """Remove a value and return it; see `KeyValues.pop`."""
        return await self._run(self._values.popping(path, default))

    async def setdefault(self, path: KeyPath, default: JsonValue = None, /) -> JsonValue:
        """Store a value if nothing is there yet; see `KeyValues.setdefault`."""
        return await self._run(self._values.adding(path, default))

    async def get_many(self, paths: Iterable[KeyPath]) -> dict[KeyPath, JsonValue]:
        """Read several values; see `KeyValues.get_many`."""
        return await self._run(self._values.getting_many(paths))

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """The root keys that begin so, for `async for`; see `KeyValues.keys`."""
        async with aclosing(aitems_of(self._scope, self._values.key_pages(prefix))) as keys:
            async for key in keys:
                yield RootKey(key)

    async def items(self, prefix: str = "") -> AsyncIterator[tuple[str, JsonValue]]:
        """The root keys that begin so, with their values; see `KeyValues.items`."""
        async with aclosing(aitems_of(self._scope, self._values.item_pages(prefix))) as items:
            async for key, value in items:
                yield RootKey(key), value

    async def values(self) -> AsyncIterator[JsonValue]:
        """The values of the root keys; see `KeyValues.values`."""
        async with aclosing(aitems_of(self._scope, self._values.item_pages(""))) as items:
            async for _, value in items:
                yield value

    async def clear(self) -> None:
        """Delete all root keys."""
        await self._run(self._values.clearing())

    async def count(self, prefix: str = "") -> int:
        """How many root keys there are that begin so."""
        return await self._run(self._values.counting(prefix))

    def history(self, path: KeyPath) -> AsyncIterator[KeyVersion]:
        """What was at a path, for `async for`; see `KeyValues.history`."""
        return arun_each(self._scope, self._values.versions(path))

    async def at(self, when: int | datetime) -> KeysAt:
        """All key values as they were at a time; see `KeyValues.at`."""
        return await self._run(self._values.as_they_were(when))

    async def revert(self, path: KeyPath, when: int | datetime) -> JsonValue:
        """Store what was at a path at a time; see `KeyValues.revert`."""
        return await self._run(self._values.reverting(path, when))

    def uri(self, path: KeyPath) -> str:
        """The server path of the record that has the root key; see `KeyValues.uri`."""
        return self._values.uri(path)

    def __aiter__(self) -> AsyncIterator[str]:
        return self.keys()

    if not TYPE_CHECKING:

        def __getitem__(self, path):
            raise ConfigurationError("key values are awaited here: write `await kv.get(path)`")

        def __setitem__(self, path, value):
            raise ConfigurationError(
                "key values are awaited here: write `await kv.set(path, value)`"
            )

        def __delitem__(self, path):
            raise ConfigurationError("key values are awaited here: write `await kv.delete(path)`")

        def __contains__(self, path):
            raise ConfigurationError("key values are awaited here: write `await kv.has(path)`")

        def __len__(self):
            raise ConfigurationError("key values are awaited here: write `await kv.count()`")

        def __iter__(self):
            raise ConfigurationError("key values are awaited here: write `async for key in kv`")

    # What a batch needs.

    def setting(self, path: KeyPath, value: JsonValue) -> Write:
        """Check what `set` is given."""
        return self._values.setting(path, value)

    def removing(self, path: KeyPath, missing_ok: bool) -> Write:
        """Check what `delete` is given."""
        return self._values.removing(path, missing_ok)

    async def _run(self, flow: Flow[T]) -> T:
        return await arun(self._scope, flow)

    def __repr__(self) -> str:
        return f"<Async{repr(self._values)[1:]}"
