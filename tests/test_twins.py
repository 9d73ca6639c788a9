"""Every verb that asks a server has a twin that is awaited, and each says so of the other.

Which verbs ask is read from the code, so that a new verb without a twin fails here.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import textwrap
from collections.abc import AsyncIterator, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

import kinto_orm
from kinto_orm import (
    AsyncBatch,
    AsyncKeyValues,
    AsyncSession,
    Batch,
    Bucket,
    Collection,
    ConfigurationError,
    HistoryEntry,
    KeyValues,
    Permissions,
    Query,
    Session,
    Template,
)
from kinto_orm.models.record import Children
from kinto_orm.wire import driving

# What has the same names on both sessions, and the one that is awaited.
SAME_NAMES = {Session: AsyncSession, Batch: AsyncBatch, KeyValues: AsyncKeyValues}
# The others have twins of their own: all public classes with a verb that asks, and one more.
FACES = [
    each
    for each in (*(getattr(kinto_orm, name) for name in kinto_orm.__all__), Children)
    if isinstance(each, type) and each not in (*SAME_NAMES, *SAME_NAMES.values())
]

# Names that one side lacks, each with the reason.
ONE_SIDED = {
    "KeyValues.popitem": "of MutableMapping; awaited programs write pop(key)",
    "KeyValues.update": "of MutableMapping; awaited programs write set(path, value), or a batch",
    "KeyValues.root_keys": "keys() of the awaited one gives them itself",
    "KeyValues.pairs": "items() of the awaited one gives them itself",
    "KeyValues.reading": "a flow, for whoever drives it",
    "KeyValues.popping": "a flow, for whoever drives it",
    "KeyValues.adding": "a flow, for whoever drives it",
    "KeyValues.getting_many": "a flow, for whoever drives it",
    "KeyValues.key_pages": "a flow, for whoever drives it",
    "KeyValues.item_pages": "a flow, for whoever drives it",
    "KeyValues.clearing": "a flow, for whoever drives it",
    "KeyValues.counting": "a flow, for whoever drives it",
    "KeyValues.versions": "flows, for whoever drives them",
    "KeyValues.as_they_were": "a flow, for whoever drives it",
    "KeyValues.reverting": "a flow, for whoever drives it",
    "AsyncKeyValues.has": "`in` cannot be awaited",
}
# Parameters that one side lacks, each with the reason.
ONE_SIDED_PARAMETERS = {
    ("Query.follow", "stop"): "a task is cancelled instead",
}

# Whose parameters differ in more than that, each with the reason.
OTHER_PARAMETERS = {"KeyValues.get": "Mapping.get names its path `key`"}

# What everything that asks goes through.
DRIVERS = frozenset({driving.run, driving.run_each, driving.blocking})


# Which functions ask a server


def own(value: object) -> FunctionType | None:
    """The function of the library behind a method, a class method, a property or a decorator."""
    value = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)))
    is_own = isinstance(value, FunctionType) and value.__module__.startswith("kinto_orm")
    return value if is_own else None  # type: ignore[return-value]


@functools.cache
def parsed(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def names_in(function: FunctionType) -> Iterator[object]:
    """What the names in a function stand for: those of its module, and what it imports itself."""
    names: dict[str, object] = dict(function.__globals__)
    for each in ast.walk(parsed(function)):
        if isinstance(each, ast.ImportFrom):
            module: ModuleType = __import__(str(each.module), fromlist=["*"])
            names |= {a.asname or a.name: getattr(module, a.name) for a in each.names}
    for each in ast.walk(parsed(function)):
        if isinstance(each, ast.Name) and each.id in names:
            yield names[each.id]


def root_of(node: ast.expr) -> str | None:
    """What a chain of attributes and calls begins with: `self` of `self.limit(1).all()`."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else None


def attributes_in(function: FunctionType) -> Iterator[str]:
    """The attributes of the object itself, and those of others that are called with it."""
    for each in ast.walk(parsed(function)):
        if isinstance(each, ast.Attribute) and root_of(each) in ("self", "cls", "super"):
            yield each.attr


def verbs_given_itself(function: FunctionType) -> Iterator[str]:
    """The verbs of models that a session calls with itself: `each.save(session=self)`."""
    for each in ast.walk(parsed(function)):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            for given in each.keywords:
                if given.arg == "session" and ast.unparse(given.value) == "self":
                    yield each.func.attr


def asks(function: FunctionType, cls: type, seen: frozenset[object] = frozenset()) -> bool:
    """Whether a function asks a server, by itself or through others."""
    if function in seen or own(function) is None or inspect.iscoroutinefunction(function):
        return False
    seen |= {function}
    for each in names_in(function):
        if isinstance(each, FunctionType) and (each in DRIVERS or asks(each, cls, seen)):
            return True
    for name in attributes_in(function):
        for each in cls.__mro__:
            called = own(each.__dict__.get(name))
            if called is not None and asks(called, cls, seen):
                return True
    return any(
        asks(called, kinto_orm.Record, seen)
        for name in verbs_given_itself(function)
        if (called := own(inspect.getattr_static(kinto_orm.Record, name, None))) is not None
    )


def public(cls: type) -> dict[str, FunctionType]:
    """The methods of a class that programs call."""
    found = {}
    for name in dir(cls):
        function = own(inspect.getattr_static(cls, name))
        if function is not None and not name.startswith("_"):
            found[name] = function
    return found


@functools.cache
def verbs(cls: type) -> tuple[str, ...]:
    """The names of what asks."""
    methods = public(cls).items()
    return tuple(name for name, function in methods if asks(function, cls))


VERBS = [(cls, name) for cls in FACES for name in verbs(cls)]
SAME = [(cls, name) for cls in SAME_NAMES for name in dir(cls) if not name.startswith("_")]


def named(value: object) -> str | None:
    if isinstance(value, type):
        return value.__name__
    return value if isinstance(value, str) else None


# The walk itself


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (kinto_orm.Record, "get get_or_none get_or_create save delete refresh copy_to history at"),
        (Bucket, "history save"),
        (Collection, "snapshot refresh"),
        (Template, "get render render_json render_yaml variables save"),
        (HistoryEntry, "get"),
        (Permissions, "save refresh delete"),
        (Query, "pages all first one count exists delete update changes follow"),
        (Children, "get"),
        (Session, "server_info get save delete refresh save_all delete_all get_many account"),
        (Session, "sync_schema permissions resolve_bucket"),
        (Batch, "run"),
        (KeyValues, "set delete pop setdefault get_many clear count root_keys pairs"),
    ],
    ids=named,
)
def test_what_asks_is_found(cls: type, names: str) -> None:
    """The walk sees the verbs that are known to ask, however many calls lie between."""
    assert {*names.split()} <= {*verbs(cls)}


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (kinto_orm.Record, "find diff bind model_copy model_dump"),
        (Query, "where order_by limit only page_size resume opening counting"),
        (Children, "new find"),
        (Permissions, "grant revoke patch"),
        (Session, "find batch scoped close"),
        (KeyValues, "reading setting"),
    ],
    ids=named,
)
def test_what_does_not_ask_is_let_be(cls: type, names: str) -> None:
    """What sends nothing needs no twin."""
    assert not {*names.split()} & {*verbs(cls)}


# Twins


def parameters(function: Any, without: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    """Names, kinds and defaults; self and cls left out."""
    found = inspect.signature(function).parameters.values()
    left = [each for each in found if each.name not in ("self", "cls", *without)]
    return [(each.name, each.kind, each.default) for each in left]


def is_awaited(function: FunctionType) -> bool:
    """Whether it gives what is awaited, or what is for `async for`."""
    gives = inspect.signature(function).return_annotation
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or str(gives).startswith("AsyncIterator[")
    )


def lacking(cls: type, name: str) -> tuple[str, ...]:
    """The parameters that the twin of a verb need not have."""
    owners = [each.__name__ for each in cls.__mro__]
    return tuple(p for (verb, p) in ONE_SIDED_PARAMETERS if verb in [f"{o}.{name}" for o in owners])


@pytest.mark.parametrize(("cls", "name"), VERBS, ids=named)
def test_each_verb_has_a_twin(cls: type, name: str) -> None:
    """It is called the same with an `a`, takes the same, is awaited, and says what it is."""
    methods = public(cls)
    assert f"a{name}" in methods, f"{cls.__name__}.{name} asks a server, and has no twin"
    twin = methods[f"a{name}"]
    assert is_awaited(twin)
    assert parameters(twin) == parameters(methods[name], lacking(cls, name))
    said = str(twin.__doc__)
    assert said.startswith((f"`{name}`, awaited", f"`{name}`, for `async for`")), said
    static, of_twin = (inspect.getattr_static(cls, each) for each in (name, f"a{name}"))
    assert isinstance(static, classmethod) is isinstance(of_twin, classmethod)


@pytest.mark.parametrize("cls", FACES, ids=named)
def test_each_twin_has_a_verb(cls: type) -> None:
    """What is awaited can be done with a Session, too."""
    twins = {name for name, each in public(cls).items() if is_awaited(each)}
    assert twins == {f"a{name}" for name in verbs(cls)}


@pytest.mark.parametrize(("cls", "name"), SAME, ids=named)
def test_the_other_session_has_the_same_names(cls: type, name: str) -> None:
    """What a session, a batch and key values offer, those that are awaited offer, too."""
    other = SAME_NAMES[cls]
    if f"{cls.__name__}.{name}" in ONE_SIDED:
        assert not hasattr(other, name)
        return
    assert hasattr(other, name), f"{other.__name__} has no {name}"
    if not callable(getattr(cls, name)):
        return
    if f"{cls.__name__}.{name}" not in OTHER_PARAMETERS:
        assert parameters(getattr(other, name)) == parameters(getattr(cls, name))
    twin = own(inspect.getattr_static(other, name))
    assert twin is not None
    assert is_awaited(twin) is (name in verbs(cls) or name in ("close", *inherited(cls)))


def inherited(cls: type) -> set[str]:
    """What a mapping has of its base, and what gives views: both ask."""
    return {"get", "keys", "items", "values"} if cls is KeyValues else set()


@pytest.mark.parametrize("cls", SAME_NAMES, ids=named)
def test_the_awaited_one_has_no_more(cls: type) -> None:
    """No verb is awaited only."""
    other = SAME_NAMES[cls]
    more = {name for name in dir(other) if not name.startswith("_")} - {*dir(cls)}
    assert more == {n.split(".")[1] for n in ONE_SIDED if n.split(".")[0] == other.__name__}


def test_the_exceptions_are_still_some() -> None:
    """Nothing stands in the tables that is not there any more."""
    for each in (*ONE_SIDED, *OTHER_PARAMETERS):
        cls, name = each.split(".")
        assert hasattr(getattr(kinto_orm, cls), name), each
    for verb, parameter in ONE_SIDED_PARAMETERS:
        cls, name = verb.split(".")
        function = getattr(getattr(kinto_orm, cls), name)
        assert parameter in inspect.signature(function).parameters


# The session of the other kind


class Note(kinto_orm.Record, collection="notes"):
    text: str = ""


def objects() -> dict[type, Any]:
    """An object of each class; all of them are new, so that nothing was asked yet."""
    note = Note(id="n")
    return {
        kinto_orm.Record: note,
        Bucket: Bucket(id="b"),
        Collection: Collection(id="c"),
        kinto_orm.Group: kinto_orm.Group(id="g"),
        kinto_orm.Account: kinto_orm.Account(id="someone", password="s3cret"),
        Template: Template(name="t", source="x"),
        HistoryEntry: HistoryEntry.model_construct(id="h"),
        Permissions: note.permissions.grant("read", "system.Everyone"),
        Query: Note.find(),
        kinto_orm.Link: kinto_orm.Link(Note, "n"),
        Children: Bucket(id="b").collections,
    }


# What the parameters without defaults are given.
GIVEN: dict[str, Any] = {"id": "n", "name": "t", "when": 1, "function": repr}


async def call(cls: type, name: str, session: Any) -> None:
    """Call a verb or a twin, and take what it gives first."""
    function = getattr(objects()[cls], name)
    needed = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    more = {"text": "x"} if name.endswith(("update", "patch")) else {}
    done = function(*(session if p == "target" else GIVEN[p] for p in needed), **more)
    if inspect.isawaitable(done):
        await done
    elif isinstance(done, AsyncIterator):
        await anext(done)
    elif isinstance(done, Iterator):
        next(done)


ITERATED = {"pages", "changes", "follow"}


@pytest.mark.parametrize(("cls", "name"), VERBS, ids=named)
def test_a_verb_under_an_async_session_names_its_twin(cls: type, name: str) -> None:
    """Who blocks where it is to be awaited is told what to write."""

    async def program() -> None:
        async with AsyncSession("memory://", collection="notes") as session:
            await call(cls, name, session)

    wanted = f"async for ... in query.a{name}()" if name in ITERATED else f"await a{name}(...)"
    assert refusal(program) == (
        f"{name}() blocks, and <AsyncSession memory:// bucket='default', collection='notes'> is "
        f"awaited: write {wanted}"
    )


@pytest.mark.parametrize(("cls", "name"), VERBS, ids=named)
def test_a_twin_under_a_session_names_its_verb(cls: type, name: str) -> None:
    """Who awaits where nothing is to be awaited is told what to write."""

    async def program() -> None:
        with Session("memory://", collection="notes") as session:
            await call(cls, f"a{name}", session)

    assert refusal(program) == (
        f"a{name}() is awaited, and <Session memory:// bucket='default', collection='notes'> "
        f"blocks: write {name}(...)"
    )


def refusal(program: Any) -> str:
    """What a program is told."""
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(program())
    return str(caught.value)


async def test_loops_under_the_other_session_say_what_to_write() -> None:
    """A query is iterated the same way on both, but for one word."""
    blocking = r"^async for .* blocks: write for \.\.\. in query$"
    with Session("memory://"), pytest.raises(ConfigurationError, match=blocking):
        await anext(aiter(Note.find()))
    async with AsyncSession("memory://"):
        with pytest.raises(ConfigurationError, match=r"awaited: write async for \.\.\. in query$"):
            next(iter(Note.find()))


async def test_key_values_of_a_bucket_say_which_to_take() -> None:
    """A bucket has both kinds; the wrong one is refused before its first use."""
    of_session = r"^bucket\.akv is awaited.* blocks: write bucket\.kv$"
    with Session("memory://"), pytest.raises(ConfigurationError, match=of_session):
        await Bucket(id="b").akv.get("key")
    async with AsyncSession("memory://"):
        with pytest.raises(ConfigurationError, match=r"^bucket\.kv blocks.*: write bucket\.akv$"):
            Bucket(id="b").kv["key"]


# Subclasses


def every_class() -> set[type]:
    """All classes of the library that have verbs with twins."""
    todo, found = [Query, kinto_orm.Record.__mro__[1], Permissions, Children], set()
    while todo:
        cls = todo.pop()
        if cls not in found and cls.__module__.startswith("kinto_orm"):
            found.add(cls)
            todo += cls.__subclasses__()
    return found


def test_who_overrides_a_verb_overrides_its_twin() -> None:
    """A subclass that does something else does the same else when it is awaited."""
    lonely = [
        f"{cls.__name__}.{name}"
        for cls in every_class()
        for name in vars(cls)
        if hasattr(cls, f"a{name}") and not name.startswith("_")
        if f"a{name}" not in vars(cls)
        # The twins of these stand in a class of their own, which is their base.
        if cls not in (Query, kinto_orm.Record.__mro__[1])
    ]
    assert lonely == []
