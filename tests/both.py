"""Tests that run on both sessions from one source: the verb is named, and `do` does it.

A module takes the fixtures that it needs under the names that its tests use:

    from both import do, either, entered

    session = either

    async def test_get(session: AnySession) -> None:
        todo = await do(Todo(title="x").save)
        assert await do(Todo.get, todo.id) == todo
        async with entered(session.batch()) as batch:
            batch.save(todo)

Under a Session `do` calls the verb. Under an AsyncSession it awaits its twin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import Context, ContextVar
from inspect import isawaitable
from itertools import count
from typing import Any, TypeAlias

import pytest

from conftest import Wire, emptied_by_each_file
from kinto_orm import AsyncBatch, AsyncKeyValues, AsyncSession, Bucket, KeyNotFound, Query, Session
from kinto_orm.server import serve
from kinto_orm.server.named import open_named

AnySession: TypeAlias = Any
"""A Session or an AsyncSession: that of the test."""

_is_awaited: ContextVar[bool] = ContextVar("is_awaited")
_numbers = count(1)
_NOTHING = object()


# Doing


async def do(verb: Any, *args: Any, **kwargs: Any) -> Any:
    """Do what a verb says, by the session of the test; what is iterated comes as a list.

    Args:
        verb: A bound method, such as `todo.save`; any other function; a query, which is iterated;
            or a list of what was found already.
        *args: As the verb takes them.
        **kwargs: As the verb takes them.
    """
    if isinstance(verb, list):
        return verb
    if isinstance(verb, Query):
        return [each async for each in each_of(verb)]
    given = twin(verb)(*args, **kwargs)
    if isawaitable(given):
        return await given
    if isinstance(given, AsyncIterator):
        return [each async for each in given]
    return list(given) if is_streamed(given) else given


async def some(most: int, verb: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """The first of what a verb, or a query, gives one by one; then it is left."""
    found: list[Any] = []
    async with aclosing(each_of(verb, *args, **kwargs)) as streamed:
        async for each in streamed:
            found.append(each)
            if len(found) == most:
                break
    return found


async def each_of(verb: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    """What a verb, or a query, gives, one by one as it comes."""
    given = twin(verb)
    if not isinstance(given, Query):
        given = given(*args, **kwargs)
    if not _is_awaited.get():
        for each in given:
            yield each
        return
    streamed = aiter(given)
    async with aclosing(streamed):  # type: ignore[type-var]
        async for each in streamed:
            yield each


def streamed(objects: AsyncIterator[Any]) -> Any:
    """An iterable for bulk writes: an AsyncSession takes it as it is, a Session one that blocks."""
    return objects if _is_awaited.get() else _driven(objects)


def _driven(objects: AsyncIterator[Any]) -> Iterator[Any]:
    """What an async generator gives that never waits, as none does under a Session."""
    while True:
        try:
            objects.__anext__().send(None)  # type: ignore[attr-defined]
        except StopIteration as given:
            yield given.value
        except StopAsyncIteration:
            return


def twin(verb: Any) -> Any:
    """What is called for a verb under the session of the test: itself, or its twin."""
    if isinstance(verb, Query) or not _is_awaited.get():
        return verb
    owner = getattr(verb, "__self__", None)
    if isinstance(owner, AsyncSession | AsyncBatch | AsyncKeyValues):
        return verb
    # What has no twin sends nothing; if it did, it would be refused under an AsyncSession.
    return getattr(owner, f"a{verb.__name__}", verb)


def is_streamed(value: object) -> bool:
    """Whether it is iterated only to be read, as iterators and the views of key values are."""
    is_view = type(value).__name__ in ("_Keys", "_Items", "_Values")
    return is_view or isinstance(value, Iterator)


async def read(kv: Any, path: Any) -> Any:
    """What is at a path: `kv[path]`, and without brackets where they cannot be awaited.

    Raises:
        KeyNotFound: Nothing is there.
    """
    if not _is_awaited.get():
        return kv[path]
    found = await kv.get(path, _NOTHING)
    if found is _NOTHING:
        raise KeyNotFound(path)
    return found


async def has(kv: Any, path: Any) -> bool:
    """Whether something is at a path: `path in kv`, where `in` cannot be awaited by `has`."""
    return await kv.has(path) if _is_awaited.get() else path in kv


def kv_of(bucket: Bucket) -> Any:
    """The key values of a bucket, for the session of the test."""
    return bucket.akv if _is_awaited.get() else bucket.kv


@asynccontextmanager
async def entered(managed: Any) -> AsyncIterator[Any]:
    """Work inside of a session, a batch or anything else that has a `with` block of either kind."""
    if isinstance(managed, AsyncSession | AsyncBatch) or not hasattr(managed, "__enter__"):
        async with managed as inside:
            yield inside
    else:
        with managed as inside:
            yield inside


@contextmanager
def told_kind(*, awaits: bool) -> Iterator[None]:
    """Let `do` await, or not, for a test that opens its sessions itself."""
    before = _is_awaited.set(awaits)
    yield
    _is_awaited.reset(before)


def blocking_from_here() -> None:
    """Let `do` call verbs that block, where no fixture says which session the test has."""
    _is_awaited.set(False)


def same_kind(context: Context) -> None:
    """Let `do` do the same in another context as in this one."""
    context.run(_is_awaited.set, _is_awaited.get())


# Where


class Place:
    """A running Kinto, and how programs of one kind get there.

    Attributes:
        name: "memory", "http", "sqlite" or "postgres".
        url: What a session is opened with.
        is_awaited: Whether sessions there are awaited.
    """

    def __init__(self, name: str, url: str, is_awaited: bool) -> None:
        self.name = name
        self.url = url
        self.is_awaited = is_awaited

    def session(self, url: str = "", **options: Any) -> AnySession:
        """A session on this server, or on another way there; over HTTP somebody has to ask."""
        if self.name == "http":
            options.setdefault("auth", ("tests", "s3cret"))
        kind = AsyncSession if self.is_awaited else Session
        return kind(url or self.url, **options)

    def new_id(self, prefix: str = "e") -> str:
        """An id that no test has used on this server."""
        return f"{prefix}{next(_numbers)}"


@pytest.fixture(scope="session")
def served() -> Iterator[str]:
    """The URL of a Kinto in memory that listens on a port."""
    with (
        open_named("served") as server,
        emptied_by_each_file(server),
        serve(server) as listening,
    ):
        yield listening.url


@pytest.fixture(params=["memory", "http", "sqlite", "postgres"])
def server_name(request: pytest.FixtureRequest) -> str:
    """Which server."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["blocking", "awaited"])
def place(request: pytest.FixtureRequest, server_name: str) -> Iterator[Place]:
    """A Kinto in memory, over HTTP, in a file or on PostgreSQL; see `_LEFT_OUT` of conftest."""
    if server_name == "memory":
        request.getfixturevalue("memory")
        url = "memory://tests"
    elif server_name == "http":
        url = request.getfixturevalue("served")
    else:
        url = request.getfixturevalue(server_name).url
    before = _is_awaited.set(request.param)
    yield Place(server_name, url, request.param)
    _is_awaited.reset(before)


@pytest.fixture
async def either(place: Place) -> AsyncIterator[AnySession]:
    """The current session, of either kind, in a bucket of its own with the collection `todos`."""
    async with in_a_bucket(place) as session:
        yield session


@pytest.fixture
async def either_wire(place: Place) -> AsyncIterator[Wire]:
    """What the current session sends, of either kind, as the user alice; in a bucket of its own."""
    wire = Wire()
    async with in_a_bucket(place, auth=wire) as session:
        wire.session = session
        wire.clear()
        yield wire


@asynccontextmanager
async def in_a_bucket(place: Place, **options: Any) -> AsyncIterator[AnySession]:
    """A session that is current, in a bucket of its own with the collection `todos`."""
    async with entered(place.session(bucket=place.new_id(), **options)) as session:
        await do(Bucket(id=session.bucket).save)
        await do(Bucket(id=session.bucket).collections.new(id="todos").save)
        yield session
