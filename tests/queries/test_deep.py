"""Records that are nested deeper than this library writes them hide no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import JsonValue

from deep import nested, put_nested, put_text
from kinto_orm import Bucket, Collection, InvalidData, Record, Session
from kinto_orm.server import open_memory, serve

# With the object around the field, what is written has two levels more.
MOST_WRITTEN = 198


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    user = ("tom", "s3cret-p4ss")
    with (
        open_memory() as server,
        serve(server) as http,
        Session(http.url, auth=user, bucket="deep", collection="todos") as session,
    ):
        Bucket(id="deep").save()
        Collection(id="todos").save()
        Record(id="a", title="fits").save()
        Record(id="z", title="fits").save()
        yield session


@pytest.fixture
def deep(session: Session, levels: int) -> Iterator[str]:
    put_nested(session, "deep", levels)
    yield "deep"
    session.request("DELETE", "/buckets/deep/collections/todos/records/deep")


@pytest.mark.parametrize("levels", range(MOST_WRITTEN - 4, MOST_WRITTEN + 1))
def test_what_is_written_is_read(session: Session, levels: int) -> None:
    """In whatever the server puts around it: a list, a batch, the history."""
    written = Record(id="written", v=nested(levels)).save()
    assert session.get(Record, "written")["v"] == nested(levels)
    assert [each.id for each in Record.find()] == ["a", "written", "z"]
    with session.batch() as batch:
        outcome = batch.get(Record, "written")
    assert outcome.result is not None
    assert outcome.result["v"] == nested(levels)
    assert session.get_many(Record, ["a", "written"])["written"]["v"] == nested(levels)
    assert Bucket(id="deep").history().first()
    written.delete()


@pytest.mark.parametrize("levels", [204, 255, 256, 300, 400])
def test_what_others_wrote_deeper(session: Session, deep: str, levels: int) -> None:
    """It is named as what does not fit, and may be left out or read as JSON."""
    for ask in (
        lambda: Record.find().all(),
        lambda: Record.find().only("v").all(),
        lambda: session.get(Record, deep),
    ):
        with pytest.raises(InvalidData, match=r"'deep'.*nested deeper than 200") as caught:
            ask()
        assert caught.value.status is None
    assert [each.id for each in Record.find().on_invalid("skip")] == ["a", "z"]
    assert [each.id for each in Record.find().only("id")] == ["a", "deep", "z"]
    path = "/buckets/deep/collections/todos/records/deep"
    assert session.request("GET", path).json["data"]["v"] == nested(levels)


@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_one_limit(session: Session, opened: str) -> None:
    """What is loaded whole is loaded with some fields only, and the other way round."""
    closed = "]" if opened == "[" else "}"
    fits = []
    for levels in range(MOST_WRITTEN, 207):
        put_text(session, "deep", f"{opened * levels}1{closed * levels}")
        told = [
            isinstance(caught(ask), InvalidData)
            for ask in (
                lambda: session.get(Record, "deep"),
                lambda: Record.find().all(),
                lambda: Record.find().only("v").all(),
                lambda: Deep.find().all(),
                lambda: Deep.find().only(Deep.v).all(),
            )
        ]
        assert len(set(told)) == 1, levels
        fits.append(not told[0])
    session.request("DELETE", "/buckets/deep/collections/todos/records/deep")
    assert fits[0]
    assert not fits[-1]


class Deep(Record, collection="todos"):
    v: JsonValue = None


def caught(ask: Callable[[], object]) -> Exception | None:
    try:
        ask()
    except InvalidData as error:
        return error
    return None


@pytest.mark.parametrize("levels", [204, 300, 400])
def test_what_takes_its_place(session: Session, deep: str, levels: int) -> None:
    """A function is given its data, and what it gives has them, too."""
    given = []

    def instead(raw: dict[str, object], error: InvalidData) -> Record:
        given.append(raw)
        return Record(id=str(raw["id"]))

    found = Record.find().on_invalid(instead).all()  # type: ignore[arg-type]
    assert [each.id for each in found] == ["a", "deep", "z"]
    assert found[1]["v"] == nested(levels)
    assert [each["v"] for each in given] == [nested(levels)]
