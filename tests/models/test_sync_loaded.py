"""Making a collection equal to objects that were loaded earlier, and to rows that were dumped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, computed_field

from kinto_orm import Collection, InvalidData, Record, Session, SyncChange


class Todo(Record, collection="todos"):
    title: str
    nick: str | None = None


@pytest.fixture
def session() -> Iterator[Session]:
    with Session("memory://", bucket="b") as session:
        session.sync_schema(Todo)
        yield session


MINE = {
    "as it was": lambda todo: None,
    "changed here": lambda todo: todo.assign(title="mine"),
    "changed here by what it had": lambda todo: todo.assign(title="theirs").assign(title="a"),
}
THEIRS: dict[str, Any] = {
    "as it was": lambda todo: None,
    "changed there": lambda todo: Todo.patch(todo.id, title="theirs"),
    "deleted there": lambda todo: Todo.get(todo.id).delete(),
    "deleted there and made again": lambda todo: (
        Todo.get(todo.id).delete(),
        Todo(id=todo.id, title="theirs").save(),
    ),
    "deleted here": lambda todo: todo.delete(),
    "deleted here and made again": lambda todo: (
        todo.delete(),
        Todo(id=todo.id, title="theirs").save(),
    ),
}


@pytest.mark.parametrize("existing", ["update", "replace"])
@pytest.mark.parametrize("theirs", THEIRS)
@pytest.mark.parametrize("mine", MINE)
def test_loaded_objects_are_compared_with_what_is_there(
    session: Session, mine: str, theirs: str, existing: Any
) -> None:
    """What an object believes counts for nothing: it is as if a new one had its fields."""
    session.save_all([Todo(id="a", title="a"), Todo(id="more", title="x")])
    todo = Todo.get("a")
    THEIRS[theirs](Todo.get("a") if "there" in theirs else todo)
    MINE[mine](todo)
    told = Record.find(session=session.scoped(collection="todos")).all()
    fields = {"id": "a", "title": todo.title}
    twin = session.sync(
        Todo, [Todo(**fields)], delete_missing=True, existing=existing, dry_run=True
    )
    options: dict[str, Any] = {"delete_missing": True, "existing": existing}
    dry = session.sync(Todo, [todo], dry_run=True, **options)
    assert told == Record.find(session=session.scoped(collection="todos")).all()
    plan = session.sync(Todo, [todo], **options)
    assert not plan.failed
    assert plan.changes == dry.changes == twin.changes
    assert str(plan) == str(dry).replace(" (a dry run: nothing was written)", "")
    assert [each.model_dump() for each in Todo.find()] == [todo.model_dump()]
    assert not todo.diff()
    todo.title = "later"
    todo.save()
    assert str(session.sync(Todo, [todo])) == "Todo: 1 unchanged"


def test_an_object_that_was_made_here_is_found_again(session: Session) -> None:
    """Its random id is the server's by now."""
    made = Todo(title="a").save()
    Todo.patch(made.id, title="b")
    assert str(session.sync(Todo, [made])) == f"Todo: 1 updated\n  ~ {made.id}: title"


def test_what_was_asked_of_permissions_goes_with_a_creation(session: Session) -> None:
    """Those of an object that was deleted meanwhile are not those of who creates it."""
    todo = Todo(id="a", title="a", permissions={"read": ["r"]}).save()
    todo.permissions.grant("read", "s")
    Todo.get("a").delete()
    session.sync(Todo, [todo])
    assert Todo.get("a").permissions.read == {"r", "s"}


class Price(Record, collection="prices"):
    title: str = Field(alias="name")
    net: float

    @computed_field(alias="grossPrice")  # type: ignore[prop-decorator]
    @property
    def gross(self) -> float:
        return self.net * 2


@pytest.mark.parametrize("by_alias", [False, True])
@pytest.mark.parametrize("mode", ["python", "json"])
@pytest.mark.parametrize("existing", ["update", "replace"])
def test_dumps_are_rows(session: Session, mode: Any, existing: Any, *, by_alias: bool) -> None:
    """What the server and the model write into them is left out, and is no difference."""
    session.sync_schema(Price)
    session.save_all([Price(id=name, title=name, net=1.5) for name in "ab"])
    dumps = [each.model_dump(mode=mode, by_alias=by_alias) for each in Price.find()]
    assert "schema" in dumps[0]
    assert str(session.sync(Price, dumps, existing=existing)) == "Price: 2 unchanged"
    Price.patch("a", net=7)
    Price.get("b").delete()
    plan = session.sync(Price, dumps, existing=existing)
    assert [str(each) for each in plan.changes] == ["~ a: net", "+ b"]
    assert [each.net for each in Price.find()] == [1.5, 1.5]


def test_dumps_of_untyped_records_are_rows(session: Session) -> None:
    """They keep each field of their own, also one that is called as what the server adds."""
    here, there = session.scoped(collection="todos"), session.scoped(collection="copies")
    Collection(id="copies").save()
    there.sync(Record, [{"id": "a", "schema": "mine"}])
    here.sync(Record, [{"id": "a", "title": "x"}])
    for scope in (here, there):
        dumps = [each.model_dump() for each in Record.find(session=scope)]
        options: Any = {"existing": "replace", "dry_run": True}
        assert str(scope.sync(Record, dumps, **options)).startswith("Record: 1 unchanged")
    assert Record.get("a", session=there)["schema"] == "mine"


class Held(Record, collection="held", discriminator="kind"):
    kind: str
    seen: ClassVar[list[str]] = []


class Plain(Held):
    kind: Literal["plain"] = "plain"


class Locked(Held):
    kind: Literal["locked"] = "locked"
    by: str = ""

    def before_delete(self) -> None:
        if self.by:
            raise PermissionError(f"locked by {self.by}")
        self.seen.append(self.id)


def test_hooks_of_deletion_see_whole_objects(session: Session) -> None:
    """Also those of one kind among others; a dry run calls none, and loads the same."""
    Collection(id="held").save()
    session.save_all([Plain(id="p"), Locked(id="l"), Locked(id="m", by="me")])
    raw = session.scoped(collection="held")
    Record(id="u", kind="locked", by=5).save(session=raw)
    for dry_run, deleted, errors in (
        (True, "lmp", {"u": InvalidData}),
        (False, "lp", {"m": PermissionError, "u": InvalidData}),
    ):
        Held.seen.clear()
        plan = session.sync(Held, [], delete_missing=True, dry_run=dry_run)
        assert plan.changes == [SyncChange("delete", id) for id in deleted]
        failed = {getattr(each.target, "id", each.target): each.error for each in plan.failed}
        assert {id: type(error) for id, error in failed.items()} == errors
        assert Held.seen == ([] if dry_run else ["l"])
    assert [each.id for each in Record.find(session=raw)] == ["m", "u"]


def test_without_hooks_ids_are_enough(session: Session) -> None:
    """What does not fit the model is deleted, too."""

    class Loose(Todo, collection="loose"):
        pass

    Collection(id="loose").save()
    Record(id="u", title=5).save(session=session.scoped(collection="loose"))
    assert str(session.sync(Loose, [], delete_missing=True)) == "Loose: 1 deleted\n  - u"


def test_a_plan_says_why_something_failed(session: Session) -> None:
    """The first five, a line each, and how many more; what somebody gave is not repeated."""
    rows: list[Any] = [{"id": f"t{n}", "title": ["hunter2"]} for n in range(7)]
    reason = "ValidationError: title: Input should be a valid string"
    lines = [f"  ! t{n}: {reason}" for n in range(5)]
    plan = session.sync(Todo, [{"id": "a", "title": "a"}, *rows])
    assert str(plan).splitlines() == [
        "Todo: 1 created, 7 failed",
        "  + a",
        *lines,
        "  and 2 more failed",
    ]
    assert plan.counted == "1 created, 7 failed"
    plan = session.sync(Todo, [*rows[:1], Todo(title="x"), 5, {"titel": "y"}])
    first, *rest = str(plan).splitlines()
    assert first == "Todo: 4 failed"
    assert [each.split(":")[0] for each in rest] == [
        "  ! t0",
        f"  ! {plan.failed[1].target.id}",
        "  ! int",
        "  ! dict",
    ]


def test_a_summary_says_why_something_failed(session: Session) -> None:
    """In one line each, however many the error has."""

    class Strict(Todo):
        def before_save(self) -> None:
            raise ValueError("no\n  way" * 100)

    Todo(id="a", title="a").save()
    summary = session.save_all([Todo(id="a", title="b"), Strict(id="s", title="s")])
    head, conflict, strict = str(summary).splitlines()
    assert head == summary.counted == "2 failed"
    assert conflict.startswith("  ! a: Conflict: cannot save Todo 'a'")
    assert strict.startswith("  ! s: ValueError: no wayno way")
    assert strict.endswith("...")
