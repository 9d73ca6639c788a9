"""Links between records, and records of several kinds."""

from __future__ import annotations

from typing import Any, Literal

from kinto_orm import Link, Record
from trust.operation import ONE, operation
from trust.world import World, seen


class Author(Record, collection="authors"):
    name: str = ""


class Page(Record, collection="todos"):
    title: str
    author: Link[Author] | None = None
    readers: list[Link[Author]] = []


def _linked(world: World) -> None:
    world.put("collections/authors", {})
    for name in ("ada", "bob"):
        world.put(f"collections/authors/records/{name}", {"name": name})
    for number, author in enumerate(("ada", "bob", "nobody")):
        data = {"title": f"p{number}", "author": author, "readers": ["ada", "bob"]}
        world.put(f"collections/todos/records/p{number}", data)


async def _page(world: World) -> Page:
    _linked(world)
    return await world.do(Page).get("p0", session=world.session)  # type: ignore[no-any-return]


def _authors(page: Page) -> Any:
    author = page.author.loaded if page.author is not None else None
    return [
        page.id,
        author and author.name,
        [each.loaded and each.loaded.name for each in page.readers],
    ]


@operation(prepare=_page)
async def link_fetch(world: World, page: Page) -> Any:
    assert page.author is not None
    return seen(await world.do(page.author).fetch())


@operation(prepare=_linked)
async def link_prefetch(world: World, _: None) -> Any:
    found = Page.find(session=world.session).prefetch(Page.author, Page.readers)
    return [_authors(each) for each in await world.do(found).all()]


@operation(prepare=_linked)
async def link_prefetch_pages(world: World, _: None) -> Any:
    found = Page.find(session=world.session).prefetch(Page.author).page_size(2)
    return [[_authors(each) for each in page] async for page in world.do(found).pages()]


def _unfit_author(world: World) -> None:
    _linked(world)
    world.put("collections/authors/records/bob", {"name": 5})


@operation(prepare=_unfit_author)
async def link_prefetch_on_invalid(world: World, _: None) -> Any:
    found = Page.find(session=world.session).prefetch(Page.author, on_invalid="skip")
    return [_authors(each) for each in await world.do(found).all()]


@operation(prepare=_linked)
async def link_backlinks(world: World, _: None) -> Any:
    author = Author(id="ada")
    found = author.backlinks(Page.author)
    return seen(await world.do(Page.find(*found.conditions, session=world.session)).all())


async def _author(world: World) -> Author:
    _linked(world)
    return await world.do(Author).get("ada", session=world.session)  # type: ignore[no-any-return]


@operation(prepare=_author)
async def link_backlinks_of_lists(world: World, author: Author) -> Any:
    return seen(await world.do(author.backlinks(Page.readers)).all())


@operation(prepare=_linked, skips=1)
async def get_many_prefetch(world: World, _: None) -> Any:
    links = (Page.author, Page.readers)
    found = await world.do(world.session).get_many(Page, ["p0", "p1", "none"], prefetch=links)
    return [_authors(each) for each in found.values()]


@operation(ONE, prepare=_linked)
async def link_save(world: World, _: None) -> Any:
    page = Page(id="one", title="x", author="bob", readers=["ada"])
    return seen(await world.do(page).save(session=world.session))


# Kinds


class Animal(Record, collection="todos", discriminator="kind"):
    kind: str
    name: str = ""


class Cat(Animal):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(Animal):
    kind: Literal["dog"] = "dog"


def _zoo(world: World) -> None:
    for number, kind in enumerate(("cat", "dog", "cat")):
        data = {"kind": kind, "name": f"{kind} {number}", "lives": number}
        world.put(f"collections/todos/records/a{number}", data)


async def _cat(world: World) -> Animal:
    _zoo(world)
    cat = await world.do(Animal).get("a0", session=world.session)
    cat.lives = 3
    return cat  # type: ignore[no-any-return]


def _kinds(found: Any) -> Any:
    return [[type(each).__name__, seen(each)] for each in found]


@operation(prepare=_zoo)
async def kinds_find(world: World, _: None) -> Any:
    return _kinds(await world.do(Animal.find(session=world.session)).all())


@operation(prepare=_zoo)
async def kinds_find_one_kind(world: World, _: None) -> Any:
    return _kinds(await world.do(Cat.find(session=world.session)).all())


@operation(prepare=_zoo)
async def kinds_get(world: World, _: None) -> Any:
    return _kinds([await world.do(Animal).get("a1", session=world.session)])


@operation(prepare=_zoo)
async def kinds_get_many(world: World, _: None) -> Any:
    found = await world.do(world.session).get_many(Animal, ["a0", "a1", "none"])
    return _kinds(found.values())


@operation("collections/todos/records/a0", prepare=_cat)
async def kinds_save_changed(world: World, cat: Animal) -> Any:
    return _kinds([await world.do(cat).save()])


@operation(ONE, prepare=lambda world: Cat(id="one", name="Tom"))
async def kinds_save_new(world: World, cat: Cat) -> Any:
    return _kinds([await world.do(cat).save(session=world.session)])


# What does not fit


def _unfit(world: World) -> None:
    _zoo(world)
    world.put("collections/todos/records/a1", {"kind": "cat", "lives": "many"})


@operation(prepare=_unfit)
async def get_many_on_invalid(world: World, _: None) -> Any:
    ids = ["a0", "a1", "a2"]
    found = await world.do(world.session).get_many(Cat, ids, on_invalid="skip")
    return _kinds(found.values())


@operation(prepare=_unfit)
async def changes_on_invalid(world: World, _: None) -> Any:
    found = Animal.find(session=world.session).on_invalid("skip")
    return sorted([each.id async for each in world.do(found).changes()])
