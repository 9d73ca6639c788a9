"""Fetching what is linked, answered by hand: which requests, and what each link is given."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from feeding import NOW, asked, fails, feed, is_missing, nowhere, object_of, requests_of, says
from kinto_orm import BadReply, InvalidData, Link, NotFound, Record
from kinto_orm.models.links import fetching
from kinto_orm.queries.many import asked_for, getting_many
from kinto_orm.queries.pager import reading_all
from kinto_orm.queries.prefetching import Known, prefetching
from kinto_orm.wire.messages import Reply

SCOPE = nowhere()


class Author(Record, collection="authors", bucket="people"):
    name: str


class Topic(Record, collection="topics"):
    title: str


class Note(Record, collection="notes"):
    author: Link[Author]
    topics: list[Link[Topic]] = []


def note(id: str, author: str, *topics: str) -> dict[str, Any]:
    return object_of(id, NOW, author=author, topics=list(topics))


def authors(*ids: str) -> Reply:
    return says(200, {"data": [object_of(id, NOW, name=id.title()) for id in ids]})


def topics(*ids: str) -> Reply:
    return says(200, {"data": [object_of(id, NOW, title=id) for id in ids]})


def prefetched(*names: str, answers: list[Any]) -> tuple[list[Note], list[str]]:
    query = Note.find(session=SCOPE).prefetch(*names)
    found, steps = feed(requests_of(reading_all(query)), *answers)
    return found, [unquote(each) for each in asked(steps)]


def test_a_thousand_that_link_to_fifty_take_two_requests() -> None:
    """The page, and one for all that is linked."""
    names = [f"a{n:02}" for n in range(50)]
    page = says(200, {"data": [note(f"n{n}", names[n % 50]) for n in range(1000)]})
    found, sent = prefetched("author", answers=[page, authors(*names)])
    assert len(sent) == 2
    assert all(each.author.loaded.id == each.author.id for each in found)


def test_each_object_is_fetched_once_for_all_that_link_to_it() -> None:
    """Links to the same object are given the same one; a missing one is None."""
    page = says(200, {"data": [note("a", "ada"), note("b", "ada"), note("c", "gone")]})
    (a, b, c), sent = prefetched("author", answers=[page, authors("ada")])
    assert sent[1:] == [
        'GET /buckets/people/collections/authors/records?in_id="ada","gone"&_sort=id&_limit=2'
    ]
    assert (a.author.loaded.name, a.author.loaded.last_modified) == ("Ada", NOW)
    assert a.author.loaded is b.author.loaded
    assert c.author.loaded is None


def test_several_fields_and_classes() -> None:
    """Each class is asked where it lives: by its own keywords, or in the scope."""
    page = says(200, {"data": [note("a", "ada", "x", "y"), note("b", "bob", "y")]})
    (a, b), sent = prefetched(
        "author", "topics", answers=[page, authors("ada", "bob"), topics("y")]
    )
    assert sorted(each.split("?")[0] for each in sent[1:]) == [
        "GET /buckets/b/collections/topics/records",
        "GET /buckets/people/collections/authors/records",
    ]
    assert [each.loaded and each.loaded.title for each in a.topics] == [None, "y"]
    assert b.topics[0].loaded is a.topics[1].loaded


def test_a_hundred_ids_with_each_request() -> None:
    """Of 201 ids there are three requests, whatever the number of links."""
    ids = [f"n{number:03}" for number in range(201)]
    links = [Link(Author, id) for id in ids * 3]
    _, steps = feed(
        requests_of(prefetching(links, SCOPE)),
        authors(*ids[:100]),
        authors(*ids[100:200]),
        authors(),
    )
    assert len(asked(steps)) == 3
    assert [each.loaded is None for each in links] == [id == "n200" for id in ids] * 3


def test_what_was_found_is_not_asked_for_again() -> None:
    """Those of the pages before, missing ones too, as far as they are kept."""
    known: Known = {}
    _, steps = feed(
        requests_of(prefetching([Link(Author, "ada"), Link(Author, "gone")], SCOPE, known=known)),
        authors("ada"),
    )
    links = [Link(Author, id) for id in ("ada", "gone", "bob")]
    _, more = feed(requests_of(prefetching(links, SCOPE, known=known)), authors("bob"))
    assert [unquote(each).split("?")[1].split("&")[0] for each in asked([*steps, *more])] == [
        'in_id="ada","gone"',
        'eq_id="bob"',
    ]
    assert [each.loaded and each.loaded.name for each in links] == ["Ada", None, "Bob"]
    many = [f"n{number:04}" for number in range(1000)]
    answers = [authors(*many[start : start + 100]) for start in range(0, 1000, 100)]
    again = [Link(Author, id) for id in many]
    feed(requests_of(prefetching(again, SCOPE, known=known)), *answers)
    assert list(known) == [(Author, id) for id in many]


def test_nothing_is_asked_where_nothing_is_linked() -> None:
    """An empty page, a page without links, and ids that there cannot be."""
    assert prefetched("author", answers=[says(200, {"data": []})])[0] == []
    page = says(200, {"data": [note("a", "ada"), note("b", "no such/id")]})
    (a,), _ = prefetched("topics", answers=[says(200, {"data": [note("a", "ada")]})])
    assert a.author.loaded is None
    (a, b), sent = prefetched("author", answers=[page, authors("ada")])
    assert 'in_id="ada"' in sent[1] or 'eq_id="ada"' in sent[1]
    assert b.author.loaded is None


def test_an_answer_about_others() -> None:
    """Objects that nobody asked for become nobody's."""
    page = says(200, {"data": [note("a", "ada")]})
    query = Note.find(session=SCOPE).prefetch("author")
    assert feed(requests_of(reading_all(query)), page, authors("bob"))[0][0].author.loaded is None
    fails(requests_of(reading_all(query)), BadReply, page, says(200, {"data": "x"}))


UNFIT = says(200, {"data": [object_of("ada", NOW, name="Ada"), object_of("bob", NOW, name=5)]})
PAGE = says(200, {"data": [note("a", "ada"), note("b", "bob", "x")]})


def test_what_is_linked_does_not_fit() -> None:
    """It is an error, or none is loaded, or what a function gives."""
    query = Note.find(session=SCOPE)
    strict = query.on_invalid("skip").prefetch("author")
    error, _ = fails(requests_of(reading_all(strict)), InvalidData, PAGE, UNFIT)
    assert "Author" in str(error)
    left_out = query.prefetch("author", on_invalid="skip")
    (a, b), _ = feed(requests_of(reading_all(left_out)), PAGE, UNFIT)
    assert (a.author.loaded.name, b.author.loaded) == ("Ada", None)

    def mended(raw: dict[str, Any], error: InvalidData) -> Author:
        return Author(id=raw["id"], name=str(raw["name"]))

    both = query.prefetch("author", on_invalid=mended).prefetch(Note.topics)
    (a, b), sent = feed(requests_of(reading_all(both)), PAGE, UNFIT, topics("x"))
    assert (b.author.loaded.name, b.topics[0].loaded.title) == ("5", "x")
    assert len(asked(sent)) == 3
    last = query.prefetch("author", on_invalid=mended).prefetch("author")
    fails(requests_of(reading_all(last)), InvalidData, PAGE, UNFIT)
    with pytest.raises(TypeError, match="on_invalid takes"):
        query.prefetch("author", on_invalid="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("links", ["author", Note.author, ["author"], [Note.author]])
def test_many_with_what_they_link_to(links: Any) -> None:
    """By their ids, in the same way."""
    query = asked_for(Note.find(session=SCOPE), "raise", links)
    found, _ = feed(requests_of(getting_many(query, ["a", "b"])), PAGE, authors("ada"))
    assert (found["a"].author.loaded.name, found["b"].author.loaded) == ("Ada", None)


def test_a_missing_collection_is_an_error() -> None:
    """It is no missing object: the message says what is to be made."""
    page = says(200, {"data": [note("a", "ada")]})
    query = Note.find(session=SCOPE).prefetch("author")
    error, _ = fails(requests_of(reading_all(query)), NotFound, page, is_missing("collection"))
    assert "fetch the Author objects that are linked" in str(error)


def test_a_page_can_be_asked_for_again() -> None:
    """The pages stand still until one was taken: a forked child asks for the same once more."""
    query = Note.find(session=SCOPE).prefetch("author").page_size(1)
    pages, _ = feed(query.opening())
    first = says(200, {"data": [note("a", "ada")]}, {"Next-Page": "http://x/v1?_token=t"})
    feed(requests_of(pages.fetching()), first, authors("ada"))
    answer, steps = feed(requests_of(pages.fetching()), first)
    assert "gt_id" not in asked(steps)[0]
    (only,) = pages.take(answer)
    assert (only.id, only.author.loaded.id) == ("a", "ada")
    assert pages.has_more


def test_fetching_one() -> None:
    """It asks each time; when it is gone, none is loaded any more."""
    link = Link(Author, "ada")
    found, steps = feed(fetching(link, SCOPE), says(200, {"data": object_of("ada", NOW, name="A")}))
    assert asked(steps) == ["GET /buckets/people/collections/authors/records/ada"]
    assert link.loaded is found
    fails(fetching(link, SCOPE), NotFound, is_missing())
    assert link.loaded is None
