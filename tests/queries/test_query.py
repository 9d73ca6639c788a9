"""Queries: lazy and immutable; they stream pages while others write."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydantic import AliasChoices, Field

from both import AnySession, Place, do, each_of, either, either_wire, entered, some
from conftest import Wire
from faults import FaultyServer, answer_halved, answer_lost, passed_on, says
from kinto_orm import (
    Collection,
    Forbidden,
    InvalidData,
    MultipleFound,
    NotFound,
    NotLoaded,
    Record,
    Session,
    TransportError,
    col,
    field,
)
from kinto_orm.server import open_memory, serve

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    number: int = 0
    title: str = ""
    due_on: str = Field(default="", validation_alias="due-on", serialization_alias="due-on")
    renamed: int = Field(
        default=0, validation_alias=AliasChoices("new", "old"), serialization_alias="new"
    )
    tags: list[str] = []


@pytest.fixture
async def ten(wire: Wire) -> Wire:
    """Ten records, r0 to r9; what was sent for them is forgotten."""
    for number in range(10):
        await do(
            Todo(id=f"r{number}", number=number, title="even" if number % 2 == 0 else "odd").save
        )
    wire.clear()
    return wire


async def numbers(found: Any) -> list[int]:
    """Of what a query finds, or of what was found."""
    return [todo.number for todo in await do(found)]


# Lazy and immutable


async def test_a_query_sends_nothing_until_it_is_used(ten: Wire) -> None:
    """Asking, chaining and showing are free."""
    query = Todo.find(Todo.number > 3).where(Todo.title == "odd").order_by(Todo.title)
    query = query.limit(3).page_size(2).only(Todo.title).resume(None)
    repr(query)
    iter(query)
    query.pages()
    aiter(query)
    query.apages()
    assert ten.methods == []


async def test_each_method_gives_a_new_query(ten: Wire) -> None:
    """The first one stays as it was and can be used again."""
    query = Todo.find(Todo.title == "even")
    query.where(Todo.number == 2)
    query.limit(1)
    query.order_by(col(Todo.number).desc())
    assert await numbers(query) == await numbers(query) == [0, 2, 4, 6, 8]


def test_repr_shows_what_is_asked() -> None:
    """The model and the parameters."""
    assert repr(Todo.find(Todo.title == "x")) == 'Todo.find(eq_title="x")'


async def test_a_query_uses_the_session_of_when_it_runs(ten: Wire, place: Place) -> None:
    """Or the one that it was given."""
    query = Todo.find()
    given = Todo.find(session=ten.session)
    async with entered(ten.session.scoped(bucket=place.new_id("gone"))):
        with pytest.raises(Forbidden):
            await do(query.all)
        assert len(await do(given.all)) == 10


# Answers


async def test_answers(ten: Wire) -> None:
    """Each way to read a query."""
    odd = Todo.find(Todo.title == "odd")
    assert await numbers(odd) == await numbers(await do(odd.all)) == [1, 3, 5, 7, 9]
    assert await do(odd.first) == await do(Todo.get, "r1")
    assert await do(odd.count) == 5
    assert await do(odd.exists)
    assert (await do(odd.where(Todo.number == 3).one)).id == "r3"
    assert await numbers(odd.limit(2)) == [1, 3]
    assert await numbers(odd.order_by(col(Todo.number).desc()).limit(2)) == [9, 7]


async def test_answers_when_there_is_nothing(ten: Wire) -> None:
    """None, zero, an empty list; one() is NotFound and names the query."""
    nothing = Todo.find(Todo.title == "neither")
    assert (
        await do(nothing.all),
        await do(nothing.first),
        await do(nothing.count),
        await do(nothing.exists),
    ) == (
        [],
        None,
        0,
        False,
    )
    assert list(await do(nothing.pages)) == []
    with pytest.raises(NotFound, match="neither"):
        await do(nothing.one)


async def test_one_of_several(ten: Wire) -> None:
    """An error of its own; two are fetched at most."""
    with pytest.raises(MultipleFound, match="odd"):
        await do(Todo.find(Todo.title == "odd").one)
    assert "_limit=2" in ten.last.path_url


async def test_count_is_one_head(ten: Wire) -> None:
    """HEAD, and the header Total-Objects; tombstones do not count."""
    await do((await do(Todo.get, "r1")).delete)
    ten.clear()
    assert await do(Todo.find().count) == 9
    assert ten.methods == ["HEAD"]


async def test_exists_fetches_one_id(ten: Wire) -> None:
    """Little is sent for it."""
    assert await do(Todo.find().exists)
    assert ten.methods == ["GET"]
    assert "_limit=1" in ten.last.path_url
    assert "_fields=id" in ten.last.path_url


async def test_find_goes_by_id_unless_told_otherwise(ten: Wire) -> None:
    """The only order in which nobody else's writes skip or repeat an object."""
    await do(Todo.find().all)
    assert "_sort=id" in ten.last.path_url


# Pages


async def test_all_pages_are_read(ten: Wire) -> None:
    """Whatever the size of a page, each object comes once."""
    for size in (1, 2, 3, 5, 9, 10, 11):
        ten.clear()
        assert await numbers(Todo.find().page_size(size)) == list(range(10))
        # The server offers a next page only when there is one.
        assert len(ten.methods) == -(-10 // size)


async def test_limit_ends_across_pages(ten: Wire) -> None:
    """No more objects than asked for, and no request for pages that are not needed."""
    for size, most in itertools.product((1, 3, 10), (1, 2, 3, 4, 10, 11)):
        ten.clear()
        assert await numbers(Todo.find().page_size(size).limit(most)) == list(range(min(most, 10)))
        assert len(ten.methods) <= -(-most // size)


async def test_pages_are_lists_with_a_position(ten: Wire) -> None:
    """Each knows where the next one starts; the last one knows that there is none."""
    pages = list(await do(Todo.find().page_size(4).pages))
    assert [len(page) for page in pages] == [4, 4, 2]
    assert pages[-1].position is None
    assert all(page.position for page in pages[:-1])


async def test_resume_goes_on_after_a_page(ten: Wire) -> None:
    """A position is a text that can be kept; the same query goes on with it, later or elsewhere."""
    query = Todo.find(Todo.number >= 1).page_size(4)
    [first] = await some(1, query.pages)
    position = str(first.position)
    rest = query.resume(position)
    assert await numbers(first) + await numbers(rest) == list(range(1, 10))
    assert await numbers(query.resume(None)) == list(range(1, 10))


ODD_IDS = ["0", "007", "10", "1e5", "9", "A", "Z", "a", "b-", "b_", "false", "null", "true", "z"]


async def test_pages_by_id_begin_after_the_last_id(wire: Wire) -> None:
    """So the server need not look for its place; ids that look like other JSON are texts."""
    await do(wire.session.save_all, (Todo(id=id, number=n) for n, id in enumerate(ODD_IDS)))
    in_order = [todo.id for todo in await do(Todo.find().all)]
    assert sorted(in_order) == ODD_IDS
    wire.clear()
    for size in (1, 2, 5):
        assert [todo.id for todo in await do(Todo.find().page_size(size))] == in_order
    assert not any("_token" in str(each.url) for each in wire.requests)
    after = Todo.find(col(Todo.id) > in_order[3], col(Todo.id) < in_order[11])
    assert [todo.id for todo in await do(after.page_size(2))] == in_order[4:11]
    page, *_ = await do(after.page_size(3).pages)
    assert [todo.id for todo in await do(after.resume(page.position))] == in_order[7:11]
    by_number = [todo.number for todo in await do(Todo.find().order_by(Todo.number).page_size(3))]
    assert by_number == list(range(len(ODD_IDS)))


async def test_one_page_ahead_and_no_more(ten: Wire) -> None:
    """Who stops early has not fetched everything."""
    assert len(await some(2, Todo.find().page_size(1))) == 2
    assert len(ten.methods) <= 3


async def test_iteration_is_stable_while_others_write(ten: Wire) -> None:
    """Objects that are changed, added or deleted meanwhile make no other be skipped or repeated."""
    seen = []
    async for todo in each_of(Todo.find().page_size(2)):
        seen.append(todo.id)
        todo.title = "seen"
        await do(todo.save)
        if todo.id == "r2":
            await do((await do(Todo.get, "r8")).delete)
            await do(Todo(id="r55", number=55).save)
            await do(Todo(id="a0", number=-1).save)
            last = await do(Todo.get, "r9")
            last.title = "changed"
            await do(last.save)
    assert seen == ["r0", "r1", "r2", "r3", "r4", "r5", "r55", "r6", "r7", "r9"]


async def test_deleting_what_is_iterated_over(ten: Wire) -> None:
    """Each object is met once."""
    async for todo in each_of(Todo.find().page_size(3)):
        await do(todo.delete)
    assert await do(Todo.find().count) == 0


async def test_saving_what_was_found(ten: Wire) -> None:
    """The objects of a page save their own changes."""
    for todo in await do(Todo.find(Todo.title == "odd")):
        todo.tags.append("o")
        await do(todo.save)
    assert await do(Todo.find(col(Todo.tags).has("o")).count) == 5


# Some fields only


async def test_only_some_fields(ten: Wire) -> None:
    """The others are not loaded; such objects say so and cannot be saved."""
    [todo] = await do(Todo.find(Todo.id == "r3").only(Todo.number))
    assert (todo.id, todo.number, todo.is_partial) == ("r3", 3, True)
    assert isinstance(todo.last_modified, int)
    with pytest.raises(NotLoaded, match="'title'"):
        todo.title
    with pytest.raises(NotLoaded, match="refresh"):
        await do(todo.save)
    assert not hasattr(todo, "title")
    repr(todo)


async def test_only_by_name_and_by_stored_name(ten: Wire) -> None:
    """Fields are given as expressions or names; aliased ones are fetched by their stored names."""
    await do(Todo(id="x", due_on="later", renamed=7).save)
    x = Todo.find(Todo.id == "x")
    assert (await do(x.only("due_on").one)).due_on == "later"
    assert (await do(x.only("due-on").one)).due_on == "later"
    assert (await do(x.only(Todo.due_on).one)).due_on == "later"
    assert "_fields=due-on%2Cid%2Clast_modified" in ten.last.path_url
    assert (await do(x.only(Todo.renamed).one)).renamed == 7
    assert (await do(x.only("new").one)).renamed == 7
    with pytest.raises(InvalidData, match="old"):
        x.only("old")


async def test_only_of_untyped_records(ten: Wire) -> None:
    """By name."""
    records = Collection(id="todos").records
    [record] = await do(records.find(field("number") == 3).only("title"))
    assert record["title"] == "odd"
    assert "number" not in record


async def test_only_keeps_types(session: AnySession) -> None:
    """Values are what the model says, validated."""
    await do(Todo(id="x", tags=["a"]).save)
    assert (await do(Todo.find().only("tags").one)).tags == ["a"]


# Deleting


async def test_delete_deletes_all_that_meet_the_conditions(ten: Wire) -> None:
    """Not the first page only; the number comes back."""
    assert await do(Todo.find(Todo.title == "odd").delete) == 5
    assert await numbers(Todo.find()) == [0, 2, 4, 6, 8]
    assert await do(Todo.find().delete) == 5
    assert await do(Todo.find().delete) == 0


def test_delete_of_more_than_a_page() -> None:
    """A server that deletes page by page is asked until nothing is left."""
    with (
        open_memory(settings={"paginate_by": "3"}) as kinto,
        serve(kinto) as served,
        Session(served.url, auth="a:b"),
    ):
        for number in range(8):
            Todo(number=number).save()
        assert sorted(each.number for each in Todo.find()) == list(range(8))
        assert Todo.find(Todo.number != 0).delete() == 7
        assert [each.number for each in Todo.find()] == [0]


async def test_delete_leaves_what_one_may_not_write(ten: Wire, place: Place) -> None:
    """What belongs to others is neither deleted nor counted."""
    collection = await do(Collection.get, "todos")
    async with entered(place.session(auth="bob:pw", bucket=ten.session.bucket)) as theirs:
        bob = str((await do(theirs.server_info)).user["id"])  # type: ignore[index]
        await do(collection.permissions.grant("read", bob).grant("record:create", bob).save)
        await do(Todo(id="bobs").save)
        assert await do(Todo.find().delete) == 1
    assert await do(Todo.find().count) == 10


async def test_what_cannot_be_deleted(ten: Wire) -> None:
    """The server would delete more than what the query says: refused."""
    [page] = await some(1, Todo.find().page_size(1).pages)
    position = page.position
    ten.clear()
    for query in (
        Todo.find().limit(1),
        Todo.find().order_by(Todo.number),
        Todo.find().resume(position),
    ):
        with pytest.raises(InvalidData, match="Nothing was sent"):
            await do(query.delete)
    assert ten.methods == []


# What is refused before anything is sent


REFUSED: dict[str, Any] = {
    "limit 0": (lambda: Todo.find().limit(0), InvalidData),
    "limit text": (lambda: Todo.find().limit("1"), InvalidData),  # type: ignore[arg-type]
    "page size": (lambda: Todo.find().page_size(-1), InvalidData),
    "a bool": (lambda: Todo.find(True), TypeError),
    "a field": (lambda: Todo.find(Todo.title), TypeError),  # type: ignore[arg-type]
    "a foreign field": (lambda: Todo.find(field("nobody") == 1), InvalidData),
    "a misspelt order": (lambda: Todo.find().order_by(field("titel")), InvalidData),
    "a text as order": (lambda: Todo.find().order_by("title"), TypeError),
    "a misspelt only": (lambda: Todo.find().only("titel"), InvalidData),
    "a number as only": (lambda: Todo.find().only(1), TypeError),
    "or": (lambda: Todo.find((Todo.title == "a") | (Todo.number == 1)), Exception),
    "chained": (lambda: Todo.find(1 < Todo.number < 3), Exception),
    "misspelt": (lambda: Todo.find(Todo.titel == 1), AttributeError),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize(("act", "error"), REFUSED.values(), ids=list(REFUSED))
def test_refused_before_anything_is_sent(act: Any, error: type[Exception]) -> None:
    """Mistakes in a query are errors where it is written."""
    with pytest.raises(error):
        act()


async def test_impossible_conditions_are_answered_here(ten: Wire) -> None:
    """A choice of nothing needs no server."""
    nothing = Todo.find(col(Todo.number).in_([]))
    assert (
        await do(nothing.all),
        await do(nothing.count),
        await do(nothing.delete),
        await do(nothing.first),
    ) == ([], 0, 0, None)
    assert ten.methods == []


# What is not known for certain


def test_a_lost_answer_makes_no_wrong_number(proxy: FaultyServer, blocking_wire: Wire) -> None:
    """How many were deleted cannot be told then; what is known is said, and all are deleted."""
    with Session(proxy.url, auth="alice:s3cret", bucket=blocking_wire.session.bucket) as session:
        for lose in (answer_lost, answer_halved):
            session.save_all(Todo(id=f"r{n}", title="x" if n < 5 else "y") for n in range(7))
            proxy.answers.append(lose)
            with pytest.raises(TransportError, match="0 were deleted for certain") as caught:
                Todo.find(Todo.title == "x").delete()
            assert caught.value.lost
            assert [todo.id for todo in Todo.find()] == ["r5", "r6"]
            assert Todo.find().delete() == 2


def test_a_refusal_that_came_is_no_lost_answer(proxy: FaultyServer, blocking_wire: Wire) -> None:
    """Nothing was done when the server said so; the number is right."""
    blocking_wire.session.save_all(Todo(id=f"r{n}") for n in range(5))
    with Session(proxy.url, auth="alice:s3cret", bucket=blocking_wire.session.bucket):
        proxy.answers.append(says(409, {"code": 409, "errno": 122}))
        assert Todo.find().delete() == 5


def test_an_error_after_a_part_says_how_much_is_gone(
    proxy: FaultyServer, blocking_wire: Wire
) -> None:
    """The rest is as it was."""
    blocking_wire.session.save_all(Todo(id=f"r{n}") for n in range(5))
    with Session(proxy.url, auth="alice:s3cret", bucket=blocking_wire.session.bucket):
        proxy.answers.extend([passed_on, says(403, {"code": 403, "errno": 121})])
        with pytest.raises(Forbidden) as caught:
            Todo.find().delete()
    assert any("5 were deleted" in note for note in caught.value.__notes__)
