"""The history where it shows what another client nested too deeply: the rest is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from deep import nested, put_nested, put_template
from kinto_orm import Bucket, Collection, HistoryEntry, InvalidData, Record, Session, Template
from kinto_orm.server import open_memory, serve

PATH = "/buckets/past/collections/todos/records/deep"
TOO_DEEP = "nested deeper than 200"


@pytest.fixture
def session() -> Iterator[Session]:
    with (
        open_memory() as server,
        serve(server) as http,
        Session(
            http.url, auth=("tom", "s3cret-p4ss"), bucket="past", collection="todos"
        ) as session,
    ):
        Bucket(id="past").save()
        Collection(id="todos").save()
        Record(id="a", n=1).save()
        yield session


@pytest.fixture
def then(session: Session) -> int:
    """When the record was nested too deeply; before and after it was well."""
    Record(id="deep", n=1).save()
    put_nested(session, "deep", 300)
    found: int = session.request("GET", PATH).json["data"]["last_modified"]
    put_nested(session, "deep", 2)
    return found


def test_what_was_deleted_is_told(session: Session) -> None:
    """All of it: what was nested too deeply without an object, and with the reason."""
    put_nested(session, "deep", 300)
    put_nested(session, "again", 300)
    for id in ("a", "deep", "again"):
        session.request("DELETE", f"/buckets/past/collections/todos/records/{id}")
    put_nested(session, "again", 300)
    found = {each.id: each for each in Record.deleted()}
    assert list(found) == ["deep", "a"]
    assert found["a"].object is not None
    assert found["a"].object["n"] == 1
    assert found["deep"].object is None
    assert TOO_DEEP in str(found["deep"].error)
    assert PATH in str(found["deep"].error)
    assert Record.restore("a")["n"] == 1
    with pytest.raises(InvalidData, match=f"Record 'deep'.*{TOO_DEEP}"):
        Record.restore("deep")
    assert Record.get_or_none("deep") is None


class Animal(Record, collection="todos", discriminator="kind"):
    name: str = ""


class Cat(Animal):
    kind: Literal["cat"] = "cat"


def test_of_one_kind(session: Session) -> None:
    """Whether it was of that kind the history does not show: it is told of all kinds only."""
    Cat(id="mog", name="Mog").save()
    put_nested(session, "deep", 300)
    for id in ("mog", "deep"):
        session.request("DELETE", f"/buckets/past/collections/todos/records/{id}")
    assert [each.id for each in Cat.deleted()] == ["mog"]
    assert [each.id for each in Animal.deleted()] == ["deep", "mog"]


def test_its_history(session: Session, then: int) -> None:
    """The error names the entry and the record; `on_invalid` leaves it out, or gets it as JSON."""
    record = Record.get("deep")
    for ask in (record.history().all, Bucket.get("past").history().all):
        with pytest.raises(InvalidData, match=f"HistoryEntry '.*' of {PATH} .*{TOO_DEEP}"):
            ask()
    first = record.history().first()
    assert first is not None
    assert first.target["data"]["last_modified"] == record.last_modified  # type: ignore[index, call-overload]
    known = record.history().on_invalid("skip").all()
    assert [each.action for each in known] == ["update", "create"]
    assert record.history().count() == 3
    assert len(record.history().only("action").all()) == 3
    shown = []

    def keep(raw: dict[str, object], error: InvalidData) -> None:
        shown.append(raw["target"]["data"]["v"])  # type: ignore[index]

    assert len(record.history().on_invalid(keep).all()) == 2  # type: ignore[arg-type]
    assert shown == [nested(300)]


@pytest.mark.parametrize(
    "act",
    [
        lambda record, when: record.at(when),
        lambda record, when: record.revert(when),
        lambda record, when: Record.restore(record.id, at=when),
    ],
)
def test_going_back_to_it(
    session: Session, then: int, act: Callable[[Record, int], Record]
) -> None:
    """It is refused; going back to before it is not."""
    record = Record.get("deep")
    with pytest.raises(InvalidData, match=f"Record 'deep'.*{TOO_DEEP}"):
        act(record, then)
    assert Record.get("deep") == record
    created = record.history().where(HistoryEntry.action == "create").first()
    assert created is not None
    assert act(record, created.target["data"]["last_modified"])["n"] == 1  # type: ignore[index, call-overload, arg-type]


def test_a_template(session: Session) -> None:
    """It is as with any record: its well states are there."""
    Template(name="motd", source="Hello").save()
    put_template(session, "motd", "Bye", "[" * 300 + "]" * 300)
    with pytest.raises(InvalidData, match=f"Template 'motd'.*{TOO_DEEP}"):
        Template.get("motd")
    found = Template(name="motd", source="?").history().on_invalid("skip")
    assert [each.action for each in found] == ["create"]
    session.request("DELETE", "/buckets/past/collections/templates/records/motd")
    (gone,) = Template.deleted()
    assert TOO_DEEP in str(gone.error)
