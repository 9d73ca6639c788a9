"""Stored records that do not fit the model: raised, left out, or given to a function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from both import AnySession, do, either
from kinto_orm import (
    Account,
    Bucket,
    ConfigurationError,
    Conflict,
    Deleted,
    InvalidData,
    Record,
    Updated,
    any_of,
    field,
)

session = either


class Todo(Record, collection="todos"):
    title: str
    prio: int = Field(default=0, alias="priority")
    tags: list[str] = []

    @model_validator(mode="after")
    def _even(self) -> Todo:
        if self.title == "odd" and self.prio % 2 == 0:
            raise ValueError("an odd todo has an odd priority")
        return self


class Broken(Record, collection="todos"):
    @model_validator(mode="after")
    def _fail(self) -> Broken:
        if self["title"] == 0:
            raise ZeroDivisionError("a validator of the model")
        return self


def ids(objects: Any) -> list[str]:
    return [each.id for each in objects]


GOOD: dict[str, Any] = {"title": "x", "priority": 1}
BAD: list[dict[str, Any]] = [
    {"title": 3},
    {"priority": 1},
    {"title": "x", "priority": "many"},
    {"title": "x", "tags": [1]},
    {"title": "odd", "priority": 2},
]
# Those at even places fit.
IDS = [f"r{number}" for number in range(2 * len(BAD))]
FITTING = IDS[::2]


@pytest.fixture
async def stored(session: AnySession) -> None:
    """Each second one does not fit, each for another reason."""
    rows = [row for each in BAD for row in (GOOD, each)]
    records = [Record(id=id, **row) for id, row in zip(IDS, rows, strict=True)]
    summary = await do(session.scoped(collection="todos").save_all, records)
    assert summary.created == len(records)


class Noted:
    """A function that notes what it is given."""

    def __init__(self, instead: Any = None) -> None:
        self.given: list[tuple[dict[str, Any], InvalidData]] = []
        self._instead = instead

    def __call__(self, raw: dict[str, Any], error: InvalidData) -> Any:
        self.given.append((raw, error))
        return self._instead(raw) if self._instead else None

    @property
    def ids(self) -> list[str]:
        return [raw["id"] for raw, _ in self.given]


# Finding


@pytest.mark.usefixtures("stored")
async def test_raise_is_as_without() -> None:
    """The first that does not fit is an error."""
    for query in (Todo.find(), Todo.find().on_invalid("raise")):
        with pytest.raises(InvalidData, match=r"'r1' does not fit the model: title.*\(1 problem"):
            await do(query)


@pytest.mark.usefixtures("stored")
async def test_skip() -> None:
    """They are left out, and the rest is loaded as ever."""
    found = await do(Todo.find().on_invalid("skip"))
    assert ids(found) == FITTING
    assert all(each.diff() == {} for each in found)
    found[0].prio = 5
    await do(found[0].save)
    assert (await do(Todo.get, found[0].id)).prio == 5


@pytest.mark.usefixtures("stored")
async def test_a_function() -> None:
    """It is given each that does not fit, once, as the server has it, with the error of it."""
    noted = Noted()
    assert ids(await do(Todo.find().on_invalid(noted))) == FITTING
    assert noted.ids == IDS[1::2]
    for raw, error in noted.given:
        assert f"the stored Todo {raw['id']!r} does not fit the model" in str(error)
        assert {name: raw[name] for name in raw.keys() - {"id", "last_modified"}} in BAD


@pytest.mark.usefixtures("stored")
async def test_an_object_instead() -> None:
    """It comes where the record would."""
    noted = Noted(lambda raw: Todo(id=raw["id"], title="instead"))
    found = await do(Todo.find().on_invalid(noted))
    assert ids(found) == IDS
    assert [each.title for each in found[1::2]] == ["instead"] * len(BAD)
    assert ids(await do(Todo.find().on_invalid(noted).limit(4))) == IDS[:4]


@pytest.mark.usefixtures("stored")
async def test_what_is_mended_is_saved() -> None:
    """It is the stored object: what differs is sent, if nobody changed it since."""

    def mend(raw: dict[str, Any], error: InvalidData) -> Todo:
        return Todo(id=raw["id"], title=str(raw.get("title", "?")), prio=1)

    found = await do(Todo.find().on_invalid(mend))
    mended = dict(zip(IDS, found, strict=True))
    assert [each.is_new for each in found] == [False] * len(IDS)
    assert mended["r1"].diff() == {"title": (3, "3"), "prio": (None, 1)}
    assert mended["r3"].diff() == {"title": (None, "?")}
    assert mended["r5"].diff() == {"prio": ("many", 1)}
    late = (await do(Todo.find(Todo.id == "r1").on_invalid(mend)))[0]
    for each in found:
        await do(each.save)
        assert each.diff() == {}
    assert [each.title for each in await do(Todo.find())] == [each.title for each in found]
    late.title = "late"
    with pytest.raises(Conflict) as caught:
        await do(late.save)
    assert caught.value.remote.title == "3"
    assert caught.value.fields == {"title"}
    await do(caught.value.merge(prefer="local").save)
    assert (await do(Todo.get, "r1")).title == "late"


@pytest.mark.usefixtures("stored")
async def test_updating_what_is_mended() -> None:
    """It is written with the rest; what the class does not declare stays."""
    summary = await do(
        Todo.find().on_invalid(lambda raw, _: Todo(id=raw["id"], title="x")).update, tags=["a"]
    )
    assert (summary.updated, summary.failed) == (len(IDS), [])
    assert {tuple(each.tags) for each in await do(Todo.find())} == {("a",)}


async def test_mending_keeps_what_is_not_declared(session: AnySession) -> None:
    """Only what is mended changes."""
    scope = session.scoped(collection="todos")
    await do(Record(id="a", title=3, colour="red").save, session=scope)
    [found] = await do(Todo.find().on_invalid(lambda raw, _: Todo(id="a", title="3")))
    assert (found["colour"], found.diff()) == ("red", {"title": (3, "3")})
    await do(found.save)
    assert (await do(Todo.get, "a"))["colour"] == "red"


@pytest.mark.usefixtures("stored")
async def test_what_is_awaited() -> None:
    """It is refused, at once where it can be seen."""

    async def mend(raw: dict[str, Any], error: InvalidData) -> None: ...

    with pytest.raises(ConfigurationError, match="plain function"):
        Todo.find().on_invalid(mend)
    with pytest.raises(ConfigurationError, match="plain function"):
        await do(Todo.find().on_invalid(lambda raw, error: mend(raw, error)))


@pytest.mark.usefixtures("stored")
async def test_what_the_function_changes_is_its_own() -> None:
    """Neither paging nor what comes after depends on it."""
    noted = Noted(lambda raw: raw.clear())
    assert ids(await do(Todo.find().on_invalid(noted).page_size(2))) == FITTING


@pytest.mark.usefixtures("stored")
async def test_what_the_function_raises() -> None:
    """It is what the program sees."""

    def refuse(raw: dict[str, Any], error: InvalidData) -> None:
        raise KeyError(raw["id"]) from error

    with pytest.raises(KeyError, match="r1"):
        await do(Todo.find().on_invalid(refuse))


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("wrong", [True, {"title": "x"}, Record(id="x")], ids=repr)
async def test_what_the_function_may_not_give(wrong: Any) -> None:
    """Something that is no object of the model would be met much later."""
    with pytest.raises(TypeError, match="has to give a Todo, or None"):
        await do(Todo.find().on_invalid(lambda raw, error: wrong))


@pytest.mark.parametrize("wrong", [None, "ignore", True, 3], ids=repr)
def test_what_on_invalid_takes(wrong: Any) -> None:
    """Anything else is refused at once."""
    with pytest.raises(TypeError, match=r'takes "raise", "skip" or a function'):
        Todo.find().on_invalid(wrong)


@pytest.mark.usefixtures("stored")
async def test_limits_and_pages_go_on() -> None:
    """What is left out counts for nothing."""
    query = Todo.find(field("id") != "r0").on_invalid("skip")
    assert (await do(query.first)).id == "r2"
    assert ids(await do(query.limit(3))) == ["r2", "r4", "r6"]
    assert ids(await do(query.limit(3).page_size(1))) == ["r2", "r4", "r6"]
    assert (await do(query.where(field("id").in_(["r1", "r2", "r3"])).one)).id == "r2"
    assert await do(query.where(field("id") == "r3").first) is None
    assert await do(query.where(field("id") == "r3").exists)
    assert await do(query.count) == len(IDS) - 1


@pytest.mark.usefixtures("stored")
async def test_only_what_is_loaded_has_to_fit() -> None:
    """Of partial objects the fields that are fetched."""
    noted = Noted()
    found = await do(Todo.find().only("prio").on_invalid(noted))
    assert ids(found) == [each for each in IDS if each != "r5"]
    assert noted.ids == ["r5"]


@pytest.mark.usefixtures("stored")
async def test_a_validator_that_breaks(session: AnySession) -> None:
    """Whatever it raises, the record does not fit."""
    await do(Record(id="zero", title=0).save, session=session.scoped(collection="todos"))
    noted = Noted()
    found = await do(Broken.find(field("title").exists()).on_invalid(noted))
    assert noted.ids == ["zero"]
    assert "ZeroDivisionError" in str(noted.given[0][1])
    assert len(found) == len(IDS) - 1


@given(fits=st.lists(st.booleans(), max_size=8), data=st.data())
@settings(max_examples=settings.default.max_examples // 8)
async def test_what_is_left_is_what_python_leaves(
    session: AnySession, fits: list[bool], data: Any
) -> None:
    """For any records, page size and limit, in any order, with and without branches."""
    name = f"fits-{next(_numbers)}"
    await do(Bucket(id=session.bucket).collections.new(id=name).save)
    here = session.scoped(collection=name)

    class Item(Record):
        n: int
        k: int

    keys = data.draw(st.permutations(range(len(fits))))
    rows = [{"n": 1 if fit else "x", "k": k} for fit, k in zip(fits, keys, strict=True)]
    await do(here.save_all, [Record(id=f"r{at}", **row) for at, row in enumerate(rows)])
    query, expected = here.find(Item), [f"r{at}" for at, fit in enumerate(fits) if fit]
    if data.draw(st.booleans()):
        query = query.order_by(Item.k)
        expected.sort(key=lambda id: keys[int(id[1:])])
    if data.draw(st.booleans()):
        query = query.where(any_of(Item.k < 5, Item.k >= 3))
    noted = Noted()
    query = query.page_size(data.draw(st.integers(1, 3))).on_invalid(noted)
    assert ids(await do(query)) == expected
    assert sorted(noted.ids) == [f"r{at}" for at, fit in enumerate(fits) if not fit]
    most = data.draw(st.integers(1, 4))
    assert ids(await do(query.limit(most))) == expected[:most]
    given: list[str] = []
    for page in await do(query.limit(most).pages):
        given += ids(page)
        if page.position:
            assert ids(await do(query.resume(page.position))) == expected[len(given) :]
    found = await do(query.update, k=0)
    assert (found.total, found.failed) == (len(expected), [])


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


_numbers = _count()


# Fetching many


@pytest.mark.usefixtures("stored")
async def test_get_many(session: AnySession) -> None:
    """What is left out is missing, as what is not there."""
    with pytest.raises(InvalidData, match="'r1'"):
        await do(session.get_many, Todo, IDS)
    found = await do(session.get_many, Todo, [*IDS, "nobody"], on_invalid="skip")
    assert list(found) == FITTING
    noted = Noted(lambda raw: Todo(id=raw["id"], title="instead"))
    found = await do(session.get_many, Todo, IDS, on_invalid=noted)
    assert sorted(found) == IDS
    with pytest.raises(TypeError, match="on_invalid takes"):
        await do(session.get_many, Todo, IDS, on_invalid="ignore")


# Changes


@pytest.mark.usefixtures("stored")
async def test_changes(session: AnySession) -> None:
    """They are nothing to tell, and reading goes on after them."""
    with pytest.raises(InvalidData, match="does not fit"):
        await do(Todo.find().changes)
    query = Todo.find().on_invalid("skip")
    first = await do(query.changes)
    assert ids(first) == FITTING
    here = session.scoped(collection="todos")
    bad, good = await do(here.get, Record, "r1"), await do(here.get, Record, "r2")
    bad["title"], good["title"] = 4, "y"
    await do(bad.save)
    await do(good.save)
    await do((await do(here.get, Record, "r3")).delete)
    mended = await do(here.get, Record, "r5")
    mended["priority"] = 3
    await do(mended.save)
    noted = Noted()
    later = await do(Todo.find().on_invalid(noted).changes, first[-1].token)
    assert [(type(each), each.id) for each in later] == [
        (Updated, "r2"), (Deleted, "r3"), (Updated, "r5"),
    ]  # fmt: skip
    assert set(noted.ids) >= {"r1"}
    assert await do(query.changes, later[-1].token) == []
    # From a change in the middle on, too.
    assert ids(await do(query.changes, first[1].token))[:1] == ["r4"]


@pytest.mark.usefixtures("stored")
async def test_an_object_instead_in_changes() -> None:
    """It is the object of the change."""
    noted = Noted(lambda raw: Todo(id=raw["id"], title="instead"))
    found = await do(Todo.find().on_invalid(noted).changes)
    assert ids(found) == IDS
    assert found[1].object.title == "instead"


# Secrets


def test_no_password_is_shown() -> None:
    """What a class hides from programs is hidden from the function too."""
    from feeding import feed, nowhere, object_of, says

    class Strict(Account):
        limit: int

    noted = Noted()
    query = Strict.find(session=nowhere()).on_invalid(noted)
    listing, _ = feed(query.listing(), says(200, {"capabilities": {"accounts": {}}}))
    reply = says(200, {"data": [object_of("ada", password="$2b$12$hash", limit="x")]})
    assert listing.loaded(reply, None) == [None]
    assert noted.ids == ["ada"]
    assert "hash" not in repr(noted.given)
