"""Links to other objects, from end to end, on both sessions."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from both import AnySession, do, either, either_wire, entered
from conftest import Wire
from kinto_orm import (
    Bucket,
    ConfigurationError,
    Conflict,
    InvalidData,
    Link,
    ModelError,
    NotFound,
    Query,
    Record,
    Session,
    Template,
    any_of,
    col,
    field,
)

session = either
wire = either_wire


class Author(Record, collection="authors"):
    name: str


class Sheet(BaseModel):
    signer: Link[Author]


class Todo(Record, collection="todos"):
    model_config = ConfigDict(str_to_lower=True)

    title: str = "x"
    author: Link[Author]
    editor: Link[Author] | None = None
    reviewers: list[Link[Author]] = Field(
        default=[], validation_alias="readBy", serialization_alias="readBy"
    )
    sheet: Sheet | None = None


class Person(Record, collection="todos"):
    friend: Link[Person] | None = None
    chief: Link[Person] | None = None
    team: Link[Team] | None = None


class Team(Record, collection="todos"):
    lead: Link[Person]


class Other(Record, collection="others"):
    name: str = ""


async def saved_ada(session: AnySession) -> Author:
    """An author, in the collection that is made for her."""
    await do(Bucket(id=session.bucket).collections.new(id="authors").save)
    return await do(Author(id="Ada", name="Ada").save)


async def again(stored: Any) -> Any:
    """The same as the server has it."""
    return await do(type(stored).get, stored.id)


# Reading and writing


async def test_what_is_stored_is_the_id(session: AnySession) -> None:
    """An object, a link and an id are stored alike, and as they are."""
    ada = await saved_ada(session)
    for given in (ada, Link.to(ada), Link(Author, "Ada"), "Ada"):
        todo = await do(Todo(author=given, reviewers=[given]).save)
        raw = await do(Record.get, todo.id, session=session.scoped(collection="todos"))
        assert (raw["author"], raw["readBy"]) == ("Ada", ["Ada"])
        read = await again(todo)
        assert read == todo
        assert read.author.loaded is None
        assert not read.diff()


async def test_fetching(session: AnySession) -> None:
    """It is fetched when that is asked for, and then it is there."""
    ada = await saved_ada(session)
    todo = await again(await do(Todo(author=ada).save))
    assert (todo.author.id, todo.author.model, todo.author.loaded) == ("Ada", Author, None)
    assert await do(todo.author.fetch) == ada
    assert todo.author.loaded == ada
    todo.author = "nobody"
    with pytest.raises(NotFound, match="Author 'nobody'"):
        await do(todo.author.fetch)
    assert todo.author.loaded is None


async def test_what_was_assigned_is_loaded(session: AnySession) -> None:
    """An object that is given need not be fetched; an id has to be."""
    ada = await saved_ada(session)
    todo = Todo(author=ada)
    assert todo.author.loaded is ada
    await do(todo.save)
    assert todo.author.loaded is ada
    todo.author = "Bob"
    assert (todo.author.id, todo.author.loaded) == ("Bob", None)


async def test_the_session_of_a_link(session: AnySession) -> None:
    """A link is followed over the session of its object, be it loaded, saved or refreshed."""
    ada = await saved_ada(session)
    todo = await do(Todo(author="Ada").save)
    await do(Todo(id="t", author="nobody").save)
    stale = await do(Todo.get, "t")
    fresh = await do(Todo.get, "t")
    fresh.author = ada
    await do(fresh.save)
    await do(stale.refresh)
    found = await do(Todo.find().all)
    link = Link(Author, "Ada")
    session.leave()
    try:
        for each in (todo, stale, *found):
            assert await do(each.author.fetch) == ada
        assert await do(link.fetch, session=session) == ada
        with pytest.raises(Exception, match="needs a session"):
            await do(Link(Author, "Ada").fetch)
    finally:
        session.enter()


async def test_a_fetched_link_is_no_change(wire: Wire) -> None:
    """Nothing is sent of it, and nothing is shown."""
    ada = await saved_ada(wire.session)
    todo = await again(await do(Todo(author=ada, reviewers=[ada]).save))
    await do(todo.author.fetch)
    todo.author = ada
    todo.reviewers = [ada.id]
    assert todo.diff() == {}
    wire.clear()
    await do(todo.save)
    assert wire.methods == []
    todo.author = bob = Author(id="Bob", name="Bob")
    assert todo.diff() == {"author": ("Ada", bob)}
    await do(todo.save)
    assert wire.body == {"data": {"author": "Bob"}}


async def test_conflicts_compare_ids(session: AnySession) -> None:
    """Both sides that link to the same do not contest it."""
    ada = await saved_ada(session)
    todo = await do(Todo(author="Bob").save)
    other = await again(todo)
    other.author, other.title = ada, "y"
    await do(other.save)
    todo.author, todo.reviewers = "Ada", [ada]
    with pytest.raises(Conflict) as caught:
        await do(todo.save)
    assert caught.value.fields == frozenset()
    assert caught.value.remote.author == ada
    assert await do(caught.value.remote.author.fetch) == ada
    merged = await do(caught.value.merge().save)
    assert (merged.title, merged.author, merged.reviewers) == ("y", "Ada", ["Ada"])
    todo, other = await again(merged), await again(merged)
    other.author = "Bob"
    await do(other.save)
    todo.author = "Eve"
    with pytest.raises(Conflict) as caught:
        await do(todo.save)
    assert caught.value.fields == {"author"}


async def test_every_way_of_writing(session: AnySession) -> None:
    """They take links as constructors do."""
    ada = await saved_ada(session)
    todo = Todo(id="t", author="Bob")
    await do(session.save_all, [todo])
    summary = await do(Todo.find().update, author=ada, reviewers=[ada])
    assert summary.updated == 1
    assert (await again(todo)).reviewers == [ada]
    async with entered(session.batch()) as batch:
        batch.save(Todo(id="b", author=ada))
        got = batch.get(Todo, "t")
    assert got.result.author == ada
    made, created = await do(Todo.get_or_create, "c", author=ada)
    assert created
    made.author = "Bob"
    await do(made.save, force=True)
    assert (await again(made)).author == "Bob"


async def test_copies_to_another_scope(session: AnySession) -> None:
    """The links of a copy lead to what is there."""
    ada = await saved_ada(session)
    todo = await do(Todo(author=ada).save)
    target = session.scoped(collection="authors")
    copied = await do(todo.copy_to, target)
    assert (copied.author, copied.author.loaded, todo.author.loaded) == ("Ada", None, ada)
    assert await do(copied.author.fetch) == ada


async def test_untyped_records(session: AnySession) -> None:
    """They take a link, and give the id."""
    ada = await saved_ada(session)
    scope = session.scoped(collection="todos")
    record = await do(Record(author=Link.to(ada)).save, session=scope)
    assert (await do(Record.get, record.id, session=scope))["author"] == "Ada"
    assert await do(Record.find(field("author") == Link.to(ada), session=scope).count) == 1


# Questions


async def test_conditions(session: AnySession) -> None:
    """By object, link or id; what is found is what Python finds on the loaded objects."""
    ada = await saved_ada(session)
    bob = Link(Author, "Bob")
    for id, author, reviewers in (("1", ada, [ada, bob]), ("2", "Bob", []), ("3", "Eve", [bob])):
        await do(Todo(id=id, author=author, reviewers=reviewers, editor=author).save)
    todos = await do(Todo.find().all)

    async def ids(*conditions: Any) -> list[str]:
        return [each.id for each in await do(Todo.find(*conditions).all)]

    for given in (ada, Link.to(ada), "Ada"):
        assert (
            await ids(Todo.author == given) == [t.id for t in todos if t.author == given] == ["1"]
        )
        assert await ids(Todo.author != given) == [t.id for t in todos if t.author != given]
        assert await ids(col(Todo.reviewers).has(given)) == ["1"]
        assert await ids(col(Todo.editor).eq(given)) == ["1"]
    assert await ids(col(Todo.author).in_([ada, bob, "Eve"])) == ["1", "2", "3"]
    assert await ids(col(Todo.author).not_in([ada, "Bob"])) == ["3"]
    assert await ids(col(Todo.reviewers).has_any([ada, bob])) == ["1", "3"]
    assert await ids(col(Todo.author).exists()) == ["1", "2", "3"]
    found = await do(Todo.find().order_by(col(Todo.author).desc()).only(Todo.author).all)
    assert [each.author.id for each in found] == ["Eve", "Bob", "Ada"]


@pytest.mark.parametrize("wrong", [Other(), Link(Other, "x"), 3, None])
def test_conditions_on_what_it_cannot_be(wrong: Any) -> None:
    """They are refused before anything is sent."""
    for ask in (lambda: Todo.author == wrong, lambda: col(Todo.reviewers).has(wrong)):
        with pytest.raises(InvalidData, match="cannot be compared with"):
            ask()


def test_the_server_looks_at_no_fields_of_what_is_linked() -> None:
    """A condition on them is refused, and says what to write."""
    with pytest.raises(InvalidData, match="keeps the id only"):
        col(Todo.author)["name"]


async def test_prefetching_costs_a_request_for_each_hundred(wire: Wire) -> None:
    """Whatever the number of records, and in each way of reading them."""
    await do(Bucket(id=wire.session.bucket).collections.new(id="authors").save)
    await do(wire.session.save_all, [Author(id=f"a{n}", name=f"{n}") for n in range(120)])
    todos = [
        Todo(id=f"t{n:03}", author=f"a{n % 50}", reviewers=[f"a{n % 120}", "gone"])
        for n in range(300)
    ]
    await do(wire.session.save_all, todos)

    wire.clear()
    found = await do(Todo.find().prefetch(Todo.author).all)
    assert len(wire.requests) == 2
    assert all(each.author.loaded.name == each.author.id[1:] for each in found)
    assert all(each.reviewers[0].loaded is None for each in found)

    wire.clear()
    found = await do(Todo.find().prefetch(Todo.author, Todo.reviewers))
    assert len(wire.requests) == 3
    assert [each.loaded and each.loaded.id for each in found[119].reviewers] == ["a119", None]
    assert found[0].author.loaded is found[0].reviewers[0].loaded is found[50].author.loaded

    wire.clear()
    pages = await do(Todo.find().prefetch("author").page_size(100).pages)
    assert [len(each) for each in pages] == [100, 100, 100]
    assert all(each.author.loaded for page in pages for each in page)
    # Each id is asked for once, however many pages there are.
    assert len(wire.requests) == 4
    assert pages[0][0].author.loaded is pages[2][0].author.loaded

    wire.clear()
    query = Todo.find(Todo.id == "t007").prefetch(Todo.author)
    assert (await do(query.first)).author.loaded.id == "a7"
    assert (await do(query.one)).author.loaded.id == "a7"
    assert len(wire.requests) == 4


async def test_prefetching_does_not_burden_other_verbs(wire: Wire) -> None:
    """Counting, deleting and updating follow no links."""
    query = Todo.find().prefetch(Todo.author)
    await do(Todo(author="x").save)
    wire.clear()
    assert await do(query.count) == 1
    assert await do(query.exists)
    assert [each for each in await do(query.only(Todo.title).all) if each.title]
    await do(query.update, title="y")
    await do(query.delete)
    assert not [each for each in wire.requests if "authors" in str(each.url)]


async def test_prefetching_what_is_inside_of_a_field(session: AnySession) -> None:
    """Links in nested models are followed with the field that holds them."""
    ada = await saved_ada(session)
    todo = await do(Todo(author="x", sheet=Sheet(signer=ada)).save)
    assert await do(Todo.find(col(Todo.sheet)["signer"] == ada).count) == 1
    found = await do(Todo.find(Todo.id == todo.id).prefetch(Todo.sheet).one)
    assert found.sheet.signer.loaded == ada
    assert await do(found.sheet.signer.fetch) == ada


def test_prefetching_what_is_no_link() -> None:
    """It is refused, and the message names those that are."""
    with pytest.raises(InvalidData, match=r"Todo.title holds no links \(.*: author, editor"):
        Todo.find().prefetch(Todo.title)
    with pytest.raises(InvalidData, match="those that do: none"):
        Author.find().prefetch("name")
    with pytest.raises(TypeError, match=r"prefetch\(\) takes fields"):
        Todo.find().prefetch(3)
    with pytest.raises(InvalidData, match=r"prefetch\(\)"):
        next(Todo.find(session=Session("memory://")).prefetch("author").changes())


async def test_backlinks(session: AnySession) -> None:
    """The other way is a query."""
    ada = await saved_ada(session)
    await do(Todo(id="1", author=ada, reviewers=["Bob"]).save)
    await do(Todo(id="2", author="Bob", reviewers=[ada], editor=ada).save)
    for linked, id in ((Todo.author, "1"), (Todo.reviewers, "2"), (Todo.editor, "2")):
        query = ada.backlinks(linked)
        assert isinstance(query, Query)
        assert [each.id for each in await do(query.prefetch("author").all)] == [id]


def test_backlinks_by_what_does_not_link_here() -> None:
    """It is refused before anything is sent."""
    ada = Author(name="Ada")
    for wrong in (Todo.title, Person.friend, col(Todo.sheet)["signer"]):
        with pytest.raises(InvalidData):
            ada.backlinks(wrong)
    with pytest.raises(TypeError, match="a field of a model class"):
        ada.backlinks("author")


# The type


async def test_self_links_and_links_forward(session: AnySession) -> None:
    """A class may link to itself, and to one that is defined later."""
    person = Person(id="p")
    person.friend = person
    await do(person.save)
    await do(Person(id="q", friend=person, chief="p", team=Team(id="t", lead=person)).save)
    await do(Team(id="t", lead="q").save)
    found = await do(
        Person.find(Person.chief == person).prefetch(Person.friend, Person.chief, Person.team).one
    )
    assert found.friend.loaded is found.chief.loaded
    assert found.friend.loaded.friend == person
    assert (await do(found.team.loaded.lead.fetch)).id == "q"
    assert person.backlinks(Person.chief).model is Person


def test_equality_and_hash() -> None:
    """By id and class; and as conditions compare, with objects and ids."""
    ada, link = Author(id="Ada", name="x"), Link(Author, "Ada")
    assert link == Link.to(ada) == ada == link == "Ada" == link
    assert link != Link(Other, "Ada")
    assert link != Link(Author, "Bob")
    assert link != Other(id="Ada")
    assert link != 3
    assert {link, Link.to(ada), "Ada"} == {link}
    assert repr(link) == "Link(Author, 'Ada')"


def test_dumps() -> None:
    """JSON has the id, Python the link; both are read again."""
    ada = Author(id="Ada", name="x")
    todo = Todo(author=ada, reviewers=[ada])
    dumped = todo.model_dump()
    assert dumped["author"].loaded is ada
    assert todo.model_dump(mode="json")["reviewers"] == ["Ada"]
    assert Todo(**dumped) == Todo(**todo.model_dump(mode="json")) == todo
    assert Todo.model_validate_json(todo.model_dump_json()) == todo


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_json_schema(mode: Any) -> None:
    """A link is a text."""
    properties = Todo.model_json_schema(mode=mode)["properties"]
    assert properties["author"] == {"type": "string", "title": "Author"}
    assert properties["readBy"]["items"] == {"type": "string"}
    assert TypeAdapter(Link[Author]).json_schema(mode=mode) == {"type": "string"}


async def test_sync_schema(session: AnySession) -> None:
    """The server checks that it is a text, and a second sync has nothing to do."""
    await do(session.sync_schema, Todo)
    assert not await do(session.sync_schema, Todo)
    todo = await do(Todo(author="Ada").save)
    assert (await again(todo)).author == "Ada"


def test_copies_and_pickles() -> None:
    """A copy leads to the same object; a pickle carries what was fetched."""
    person = Person(id="p")
    person.friend = person
    for made in (copy.copy(person), copy.deepcopy(person), person.model_copy(deep=True)):
        assert made == person
        assert made.friend.loaded is person
    deep = copy.deepcopy(person)
    assert deep.friend is not person.friend
    kept = pickle.loads(pickle.dumps(person))
    assert kept == person
    assert kept.friend.loaded is kept
    assert pickle.loads(pickle.dumps(Link(Author, "Ada"))) == "Ada"


@pytest.mark.parametrize("wrong", [Other(), Link(Other, "x"), 3, None, {"id": "x"}])
def test_what_is_no_link(wrong: Any) -> None:
    """Constructors, assignments and lists refuse it, and say what they take."""
    todo = Todo(author="Ada")
    with pytest.raises(ValidationError, match=r"an Author, a Link\[Author\] or an id"):
        Todo(author=wrong)
    with pytest.raises(ValidationError, match=r"an Author, a Link\[Author\] or an id"):
        todo.author = wrong
    with pytest.raises(ValidationError, match=r"an Author, a Link\[Author\] or an id"):
        Todo(author="x", reviewers=[wrong])
    assert todo.author == "Ada"
    with pytest.raises(TypeError):
        Link.to(wrong if not isinstance(wrong, Record) else "x")  # type: ignore[type-var]


def test_subclasses() -> None:
    """An object of a subclass, and a link to one, are links to the class that is declared."""

    class Poet(Author):
        verse: str = ""

    poet = Poet(id="p", name="x")
    for given in (poet, Link.to(poet)):
        todo = Todo(author=given)
        assert todo.author == Link(Author, "p")
        assert todo.author.loaded is poet


def test_classes_that_nothing_links_to() -> None:
    """They are refused where the link is declared."""
    for wrong in (int, Sheet, Template):
        with pytest.raises(ModelError, match="there is no Link"):
            Link[wrong]  # type: ignore[valid-type]
    with pytest.raises(ModelError, match="needs the class"):
        TypeAdapter(Link)


T = TypeVar("T", bound=Record)


def test_generic_models() -> None:
    """The class may be a parameter of the model."""

    class Box(Record, Generic[T], collection="boxes"):
        item: Link[T]

    assert Box[Author](item="x").item == Link(Author, "x")


async def test_placed_elsewhere(session: AnySession) -> None:
    """The linked class says where its objects live."""

    class Far(Record, collection="far", bucket=session.bucket + "-far"):
        name: str

    class Near(Record, collection="todos"):
        far: Link[Far]

    await do(session.sync_schema, Far)
    far = await do(Far(name="x").save)
    near = await again(await do(Near(far=far).save))
    assert await do(near.far.fetch) == far
    assert (await do(Near.find().prefetch(Near.far).one)).far.loaded.uri == far.uri


# Where a link leads, and where its id would


async def two_places(session: AnySession) -> tuple[AnySession, Author]:
    """Another bucket with an author of the same id as the one that is given."""
    ada = await saved_ada(session)
    other = session.scoped(bucket=session.bucket + "-2")
    await do(other.sync_schema, Author, Todo, Person)
    await do(Author(id="Ada", name="another").save, session=other)
    return other, ada


async def unsent(other: AnySession, ada: Author) -> list[Any]:
    """Every way to use a link in a place where its id means another object."""
    link = Todo(author=ada).author
    loose = Todo(author="Ada", reviewers=["Ada"])
    await do(loose.save, session=other)
    assigned, mutated = copy.copy(loose), copy.deepcopy(loose)
    assigned.author = ada
    mutated.reviewers.append(Link.to(ada))
    many = [ada, "x"]
    return [
        lambda: do(Todo(author=ada).save, session=other),
        lambda: do(Todo(author=link).save, session=other),
        lambda: do(Todo(author="Ada", sheet={"signer": ada}).save, session=other),
        lambda: do(Todo(author=ada).save, session=other, force=True),
        lambda: do(Todo(author=ada).save, session=other, existing="update"),
        lambda: do(Todo(author=ada).save, session=other, existing="skip"),
        lambda: do(assigned.save, existing="replace"),
        lambda: do(assigned.save),
        lambda: do(mutated.save),
        lambda: do(Todo.patch, loose.id, author=ada, session=other),
        lambda: do(Todo.find(Todo.author == ada, session=other).count),
        lambda: do(Todo.find(Todo.author == link, session=other).all),
        lambda: do(Todo.find(Todo.author != ada, session=other).all),
        lambda: do(Todo.find(col(Todo.author).in_(iter(many)), session=other).all),
        lambda: do(Todo.find(col(Todo.reviewers).has(ada), session=other).all),
        lambda: do(Todo.find(col(Todo.reviewers).has_any([ada]), session=other).delete),
        lambda: do(Todo.find(any_of(Todo.author == ada, Todo.title == "x"), session=other).all),
        lambda: do(Todo.find(col(Todo.sheet)["signer"] == ada, session=other).all),
    ]


async def test_a_link_means_what_it_leads_to(wire: Wire) -> None:
    """What would mean another object of the same id is refused, and nothing is written."""
    other, ada = await two_places(wire.session)
    for act in await unsent(other, ada):
        wire.clear()
        with pytest.raises(ConfigurationError, match=r"'Ada' in .*, which here means what is in "):
            await act()
        assert {each.method for each in wire.requests} <= {"GET"}  # existing= looks first


async def test_many_links_to_another_place(session: AnySession) -> None:
    """Those of a bulk write are among what failed."""
    other, ada = await two_places(session)
    await do(Todo(author="Ada").save, session=other)
    summary = await do(Todo.find(session=other).update, author=ada)
    assert [type(each.error) for each in summary.failed] == [ConfigurationError]
    summary = await do(other.save_all, [Todo(author=ada), Todo(author="Ada")])
    assert (summary.created, [type(e.error) for e in summary.failed]) == (1, [ConfigurationError])


async def test_links_that_are_taken_anywhere(session: AnySession) -> None:
    """An id, what was never saved, and what the class itself places."""
    other, ada = await two_places(session)
    for author in (ada.id, Link(Author, "Ada"), Author(id="Ada", name="new")):
        todo = await do(Todo(author=author).save, session=other)
        assert await do(Todo.find(Todo.author == author, session=other).count) >= 1
        assert (await do(todo.author.fetch)).name == "another"
    todo.title = "fetched from elsewhere"
    assert await do(todo.author.fetch, session=session) == ada
    assert (await do(todo.save)).author == "Ada"
    moved = await do((await do(Todo(author=ada).save)).copy_to, other)
    assert (await do(moved.author.fetch)).name == "another"


def test_a_link_to_another_server() -> None:
    """Both are named."""
    with Session("memory://", bucket="x") as session, Session("memory://", bucket="x") as other:
        session.sync_schema(Author)
        ada = Author(name="Ada").save(session=session)
        with pytest.raises(
            ConfigurationError, match=r"authors/records on .*which here means .* on"
        ):
            Todo(author=ada).save(session=other)


# What no link can be


NO_IDS = ["", "bad id!", "-x", "a/b", "ä", "a\n"]


@pytest.mark.parametrize("wrong", NO_IDS)
def test_what_is_no_id(wrong: str) -> None:
    """No such object can be: refused wherever a program gives it."""
    todo = Todo(author="x")
    acts = [
        lambda: Todo(author=wrong),
        lambda: Todo(author="x", reviewers=["x", wrong]),
        lambda: Todo(author="x", sheet={"signer": wrong}),
        lambda: Todo.model_validate({"author": wrong}),
        lambda: setattr(todo, "author", wrong),
        lambda: todo.assign(author=wrong),
        lambda: todo.assign(author=wrong, title="y"),
    ]
    for act in acts:
        with pytest.raises(ValidationError, match="cannot be the id of a record"):
            act()
    with Session("memory://"):
        for act in (
            lambda: Todo.patch("x", author=wrong),
            lambda: Todo.find().update(author=wrong, title="y"),
        ):
            with pytest.raises(ValidationError, match="cannot be the id of a record"):
                act()
    for ask in (
        lambda: Todo.author == wrong,
        lambda: col(Todo.author).in_(["x", wrong]),
        lambda: col(Todo.reviewers).has(wrong),
        lambda: Link(Author, wrong),
    ):
        with pytest.raises(InvalidData):
            ask()
    assert todo.author == "x"


async def test_what_is_no_id_and_stored(session: AnySession) -> None:
    """What others wrote is read, leads nowhere, and is kept."""
    await saved_ada(session)
    scope = session.scoped(collection="todos")
    await do(Record(id="a", author="", readBy=["bad id!"]).save, session=scope)
    todo = await do(Todo.find().prefetch(Todo.author, Todo.reviewers).one)
    assert (todo.author.id, todo.author.loaded, todo.diff()) == ("", None, {})
    todo.title = "y"
    await do(todo.save)
    assert copy.deepcopy(pickle.loads(pickle.dumps(todo))).reviewers[0].id == "bad id!"
    assert (await do(Todo.get, "a")).author.id == ""


# What is put into a list


class Album(Record, collection="todos"):
    many: list[Link[Author]] = []
    maybe: list[Link[Author] | None] | None = None
    several: set[Link[Author]] = set()
    named: dict[str, Link[Author]] = {}


@pytest.mark.parametrize("is_new", [True, False])
async def test_what_is_appended_becomes_a_link(session: AnySession, *, is_new: bool) -> None:
    """Once it is compared or saved."""
    ada = await saved_ada(session)
    album = Album(many=[ada], maybe=[None])
    if not is_new:
        await do(album.save)
    kept = album.many
    album.many.extend([ada, "Ada"])
    album.maybe.append(ada)
    album.several.update({"Ada", "Bob"})
    album.named["first"] = ada
    await do(album.save)
    found = [*kept, *album.maybe[1:], *album.several, *album.named.values()]
    assert all(isinstance(each, Link) for each in found)
    assert album.many is kept
    assert album.many[1].loaded is ada
    assert await do(album.many[2].fetch) == ada
    assert album.diff() == {}


def test_an_object_inside_of_its_own_links() -> None:
    """It is refused as any other that is no link."""
    with Session("memory://", bucket="work"):
        album = Album(many=["a"])
        album.many.append(album)
        with pytest.raises(InvalidData, match=r"many\.1: "):
            album.save()


@pytest.mark.parametrize("wrong", [Other(id="x"), 3, "bad id!", Link(Other, "x")])
def test_what_is_appended_and_no_link(wrong: Any) -> None:
    """The field and the place are named; nothing else of Pydantic's."""
    album = Album(many=["a", "b"])
    album.many.append(wrong)
    with pytest.raises(InvalidData, match=r"Album '.*': many\.2: ") as caught:
        album.diff()
    assert "PydanticCustomError" not in str(caught.value)


def test_what_to_write_instead() -> None:
    """Habits of other mappers are met with it."""
    with pytest.raises(AttributeError, match=r"\.fetch\(\)\.name.*\.loaded\.name"):
        _ = Todo(author="x").author.name
    with pytest.raises(AttributeError, match="has no 'nothing'"):
        _ = Todo(author="x").author.nothing
    with pytest.raises(InvalidData, match="more than one level"):
        Todo.find().prefetch("author.mentor")
    with pytest.raises(TypeError, match=r"order_by\(col\(Todo\.title\)\.desc\(\)\)"):
        Todo.find().order_by("-title")
    with pytest.raises(TypeError, match=r"order_by\(Todo\.title\)"):
        Todo.find().order_by("title")


def test_how_conditions_are_shown() -> None:
    """As what is asked, without what the library needs for it."""
    assert repr(Todo.author == "x") == '<condition eq_author="x">'
    either = any_of(Todo.title == "x", (Todo.title == "y", Todo.author == "z"))
    assert repr(either).startswith("any_of(")
    assert "0x" not in repr(either)
