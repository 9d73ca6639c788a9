"""What is missing is what Kinto itself says is missing; no other answer makes anything vanish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge import both_drivers
from faults import Answer, FaultyServer, says
from kinto_orm import (
    BadReply,
    BatchError,
    Bucket,
    Collection,
    Forbidden,
    Group,
    KintoError,
    NotFound,
    Record,
    Session,
    Template,
    Unsupported,
)

driver = both_drivers(__name__)

Act = Callable[[Session], Any]


class Todo(Record, collection="todos"):
    """A typed record."""

    title: str = ""


NOT_OF_KINTO: dict[str, Answer] = {
    "html": says(404, b"<html><body>nginx</body></html>", Content_Type="text/html"),
    "empty": says(404, b""),
    "list": says(404, []),
    "gateway": says(404, {"message": "no Route matched with those values"}),
    "text": says(404, {"code": 404, "errno": "110", "error": "Not Found"}),
    "float": says(404, {"errno": 110.0}),
    "true": says(404, {"errno": True}),
}

READS: dict[str, Act] = {
    "kv get": lambda session: session.kv.get("a", "DEFAULT"),
    "kv in": lambda session: "a" in session.kv,
    "kv list": lambda session: list(session.kv),
    "kv len": lambda session: len(session.kv),
    "kv items": lambda session: dict(session.kv.items()),
    "kv get_many": lambda session: session.kv.get_many(["a", "b"]),
    "Template.get": lambda session: Template.get("t"),
    "Template.get_or_none": lambda session: Template.get_or_none("t"),
    "Template.find": lambda session: Template.find().all(),
    "Template.count": lambda session: Template.find().count(),
    "Template.exists": lambda session: Template.find().exists(),
    "Template.render": lambda session: Template(name="new", source="{{ a }}").render(),
    "Record.get": lambda session: Todo.get("one"),
    "Record.get_or_none": lambda session: Todo.get_or_none("one"),
    "Record.find": lambda session: Todo.find().all(),
    "Collection.get_or_none": lambda session: Collection.get_or_none("todos"),
    "Group.get_or_none": lambda session: Group.get_or_none("writers"),
    "Bucket.get_or_none": lambda session: Bucket.get_or_none(session.bucket),
    "schema": lambda session: session.sync_schema(Todo, dry_run=True),
}
WRITES: dict[str, Act] = {
    "kv set": lambda session: session.kv.set("a", 2),
    "kv set below": lambda session: session.kv.set("a/b", 2),
    "kv delete": lambda session: session.kv.delete("a", missing_ok=True),
    "kv delete below": lambda session: session.kv.delete("a/b", missing_ok=True),
    "kv pop": lambda session: session.kv.pop("a", "DEFAULT"),
    "kv setdefault": lambda session: session.kv.setdefault("a", 2),
    "kv clear": lambda session: session.kv.clear(),
    "Template.save": lambda session: Template(name="t", source="new").save(),
    "Template.get_or_create": lambda session: Template.get_or_create("t", source="new"),
    "Record.get_or_create": lambda session: Todo.get_or_create("one", title="new"),
    "Record.save": lambda session: Todo(title="new").save(),
}
HELD: dict[str, Callable[[Any], Any]] = {
    "refresh": lambda held: held.refresh(),
    "save": lambda held: held.save(),
    "delete": lambda held: held.delete(missing_ok=True),
}


@pytest.fixture
def through(proxy: FaultyServer, session: Session) -> Iterator[Session]:
    """A session through the proxy, in a bucket where everything is there."""
    session.kv["a"] = {"b": 1}
    Template(name="t", source="x").save()
    Todo(id="one", title="x").save()
    Group(id="writers", members=[]).save()
    with Session(proxy.url, auth=("a", "b"), bucket=session.bucket, retry=None) as through:
        Bucket.get(session.bucket, session=session).permissions.grant(
            "write", through.account().id
        ).save()
        proxy.received.clear()
        yield through


def everything(session: Session) -> Any:
    return (
        dict(session.kv),
        [each.source for each in Template.find(session=session)],
        [each.title for each in Todo.find(session=session)],
    )


def meets(proxy: FaultyServer, answer: Answer, act: Callable[[], Any]) -> KintoError:
    """The error of an act to which something before the server gives all answers."""
    proxy.answers.extend([answer] * 20)
    try:
        with pytest.raises(KintoError) as raised:
            act()
    finally:
        proxy.answers.clear()
    error: KintoError = raised.value
    return error.exceptions[0] if isinstance(error, BatchError) else error  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("act", "answer"),
    [(act, "html") for act in READS | WRITES]
    + [(act, answer) for act in ("kv get", "Record.get_or_none") for answer in NOT_OF_KINTO],
)
def test_a_404_of_something_else(
    through: Session, proxy: FaultyServer, act: str, answer: str
) -> None:
    """It is an answer that is no answer: nothing is taken for missing, nothing for done."""
    error = meets(proxy, NOT_OF_KINTO[answer], lambda: (READS | WRITES)[act](through))
    assert isinstance(error, BadReply)
    assert "does a proxy answer instead" in str(error)
    assert everything(through) == ({"a": {"b": 1}}, ["x"], ["x"])


@pytest.mark.parametrize("act", HELD)
@pytest.mark.parametrize("model", [Template, Todo])
def test_objects_in_hand(through: Session, proxy: FaultyServer, model: Any, act: str) -> None:
    """They are neither gone nor deleted."""
    held = model.get("t" if model is Template else "one")
    held["source" if model is Template else "title"] = "changed"
    error = meets(proxy, NOT_OF_KINTO["html"], lambda: HELD[act](held))
    assert isinstance(error, BadReply)
    assert held.diff()
    held.save()
    assert everything(through)[1 if model is Template else 2] == ["changed"]


def test_in_a_batch(through: Session, proxy: FaultyServer) -> None:
    """The whole batch, and each object when they are sent one by one."""
    held = Todo.get("one")

    def delete() -> None:
        with through.batch() as batch:
            batch.delete(held, missing_ok=True)
            batch.get(Todo, "one")

    assert isinstance(meets(proxy, NOT_OF_KINTO["html"], delete), BadReply)
    assert not held.is_new
    assert Todo.get("one")


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("act", HELD | WRITES)
def test_a_conflict_with_something_else(
    through: Session, proxy: FaultyServer, act: str, status: int
) -> None:
    """A gateway's 412 says neither that an object was changed nor that it is gone."""
    held = Todo.get("one")
    held.title = "changed"
    answer = says(status, b"<h1>Precondition Failed</h1>", Content_Type="text/html")
    error = meets(proxy, answer, lambda: WRITES[act](through) if act in WRITES else HELD[act](held))
    assert isinstance(error, BadReply)


FORBIDDEN = {
    "html": says(403, b"<h1>Forbidden</h1>", Content_Type="text/html"),
    "firewall": says(403, {"message": "Forbidden"}),
}


@pytest.mark.parametrize("answer", FORBIDDEN)
@pytest.mark.parametrize(
    "act",
    [
        "kv get",
        "kv in",
        "kv list",
        "kv len",
        "kv get_many",
        "Template.get_or_none",
        "Template.find",
        "Template.count",
        "Bucket.get_or_none",
        "schema",
        "kv delete",
        "kv pop",
        "kv clear",
    ],
)
def test_a_403_of_something_else(proxy: FaultyServer, act: str, answer: str) -> None:
    """A firewall's 403 is no personal bucket that was never used."""
    with Session(proxy.url, auth=("somebody", "else"), retry=None) as session:
        session.kv["a"] = {"b": 1}
        error = meets(proxy, FORBIDDEN[answer], lambda: (READS | WRITES)[act](session))
        assert isinstance(error, Forbidden)
        assert session.kv["a"] == {"b": 1}
        session.kv.clear()


def test_kintos_own_answers(through: Session) -> None:
    """What Kinto says of records, collections, buckets and paths that are not there."""
    for missing in (
        lambda: Todo.get("nope"),
        lambda: Collection.get("nope"),
        lambda: Record.get("nope", session=through.scoped(collection="nope")),
        lambda: Template.get("nope"),
        lambda: Bucket.get("nope"),
    ):
        with pytest.raises((NotFound, Forbidden)):
            missing()
    assert Todo.get_or_none("nope") is None
    assert Bucket.get_or_none("nope") is None
    assert through.kv.get("nope") is None
    assert "nope" not in through.kv


def test_a_version_that_the_server_does_not_have(proxy: FaultyServer, through: Session) -> None:
    """Kinto's 404 of another API version is no missing object, either."""
    said = {"code": 404, "errno": 116, "message": "The requested API version is not available"}
    error = meets(proxy, says(404, said), lambda: Todo.get_or_none("one"))
    assert isinstance(error, Unsupported)
    assert "API version is not available" in str(error)
