"""Options and fields in one call: a field is never taken for an option, nor the other way round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

import kinto_orm
from conftest import Wire
from kinto_orm import (
    Bucket,
    Collection,
    Conflict,
    Group,
    InvalidData,
    Record,
    Session,
    Template,
    http_status,
    retry_on_conflict,
)


class Job(Record, collection="todos"):
    """A model whose fields are called like options and like Python's own arguments."""

    workers: int = 0
    session: str = ""
    cls_: str = Field(default="", validation_alias="cls", serialization_alias="cls")
    self_: str = Field(default="", validation_alias="self", serialization_alias="self")
    fields: str = ""
    defaults: str = ""
    values: str = ""
    more: str = ""
    title: str = ""


NAMES = ["cls", "self", "fields", "defaults", "values", "more", "title"]


@pytest.mark.parametrize("name", NAMES)
def test_a_field_may_be_called_like_an_argument(session: Session, name: str) -> None:
    """Arguments that are given by place take no keyword."""
    job, created = Job.get_or_create("x", **{name: "v"})
    assert created
    assert job[name] == "v"
    assert Job.find().update(**{name: "w"}).updated == 1
    assert Job.get("x")[name] == "w"
    untyped = Collection(id="todos").records.new(**{name: "u"}).save()
    assert Record.get(untyped.id, session=session.scoped(collection="todos"))[name] == "u"


@pytest.mark.parametrize("value", [3, 0, "three"])
def test_a_field_that_is_called_like_an_option(wire: Wire, value: Any) -> None:
    """As a keyword it is refused, and the error says how it is given; nothing is sent."""
    for act, form in (
        (lambda: Job.find().update(workers=value), r"update\(\{'workers': \.\.\.\}\)"),
        (
            lambda: Job.get_or_create("x", session=value),
            r"get_or_create\('x', \{'session': \.\.\.\}\)",
        ),
    ):
        with pytest.raises(TypeError, match=form):
            act()
    assert wire.methods == []


def test_fields_in_a_mapping_and_options_beside_it(wire: Wire) -> None:
    """In the mapping every name is a field's; then a keyword is the option."""
    job, _ = Job.get_or_create("x", {"session": "v", "workers": 1}, session=wire.session, title="t")
    assert (job.session, job.workers, job.title) == ("v", 1, "t")
    assert Job.find().update({"workers": 3}, workers=2, title="u").updated == 1
    assert Job.find().update({"workers": 3, "title": "u"}).unchanged == 1
    assert (Job.get("x").workers, Job.get("x").title) == (3, "u")


def test_options_of_untyped_records(wire: Wire) -> None:
    """They have any field: an option that cannot be one is refused, as is an update of nothing."""
    records = Collection(id="todos").records
    records.new(id="x").save()
    wire.clear()
    with pytest.raises(TypeError, match=r"update\(\{'workers': \.\.\.\}\)"):
        records.find().update(workers=3)
    with wire.session.scoped(collection="todos"):
        with pytest.raises(TypeError, match=r"get_or_create\('y', \{'session': \.\.\.\}\)"):
            Record.get_or_create("y", session="v")  # type: ignore[arg-type]
        assert wire.methods == []
        assert Record.get_or_create("y", {"session": "v"})[0]["session"] == "v"
    assert records.find().update({"workers": 3}).updated == 2
    assert records.get("x")["workers"] == 3


def test_an_update_does_not_open_what_it_finds(wire: Wire) -> None:
    """Permissions are no field; the error says how they are changed, and nothing is sent."""
    Job(id="x").save()
    wire.clear()
    everybody = {"read": ["system.Everyone"]}
    with pytest.raises(TypeError, match=r"each\.permissions\.grant"):
        Job.find().update(permissions=everybody)
    with pytest.raises(ValidationError, match="permissions"):
        Job.find().update({"permissions": everybody})
    assert wire.methods == []


def test_a_stored_field_called_permissions(session: Session) -> None:
    """In a mapping it is a field of untyped records, and opens nothing."""
    records = Collection(id="todos").records
    data = {"permissions": {"read": ["system.Everyone"]}}
    with session.scoped(collection="todos"):
        Record.get_or_create("a", data)
    records.new({"id": "b", **data}).save()
    records.new(id="c").save()
    assert records.find().update(data).total == 3
    for each in records.find():
        assert each["permissions"] == {"read": ["system.Everyone"]}
        assert each.refresh().permissions.read == set()


def test_permissions_of_what_is_created(session: Session) -> None:
    """As a keyword of what creates they are the new object's permissions, as in a constructor."""
    job, _ = Job.get_or_create("x", permissions={"read": {"system.Everyone"}})
    assert job.refresh().permissions.read == {"system.Everyone"}
    made = Collection(id="todos").records.new(
        {"n": 1, "permissions": "a field"}, permissions={"read": {"system.Everyone"}}
    )
    assert made.save().refresh().permissions.read == {"system.Everyone"}
    assert made["permissions"] == "a field"


@pytest.mark.parametrize("kind", [Group, Collection])
def test_a_bucket_is_a_place(session: Session, kind: Any) -> None:
    """What is no bucket is refused with the way to store it; a mapping stores it."""
    with pytest.raises(TypeError, match=r"\['bucket'\] = "):
        kind(id="x", bucket=5)
    with pytest.raises(TypeError, match="bucket"):
        getattr(Bucket(id="b"), f"{kind.__kinto_kind__}s").new(id="x", bucket="other")
    made, _ = kind.get_or_create("x", {"bucket": "data"})
    assert (made["bucket"], made.bucket) == ("data", session.bucket)
    assert kind.get("x")["bucket"] == "data"


GIVEN: dict[str, Any] = {
    "id twice": lambda: Job.get_or_create("x", id="y"),
    "id in the mapping": lambda: Job.get_or_create("x", {"id": "y"}),
    "a field twice": lambda: Job.get_or_create("x", {"title": "a"}, title="b"),
    "no mapping": lambda: Job.get_or_create("x", "title"),  # type: ignore[arg-type]
    "an update's id": lambda: Job.find().update(id="y"),
    "an update's last_modified": lambda: Job.find().update({"last_modified": 1}),
    "an update twice": lambda: Job.find().update({"title": "a"}, title="b"),
    "an update of nothing": lambda: Job.find().update(),
    "a template's name": lambda: Template.get_or_create("x", {"name": "y"}),
    "a template's id": lambda: Template.get_or_create("x", id="y"),
    "a new one twice": lambda: Collection(id="todos").records.new({"n": 1}, n=2),
}


@pytest.mark.parametrize("act", GIVEN.values(), ids=list(GIVEN))
def test_what_cannot_be_meant(wire: Wire, act: Any) -> None:
    """It is a TypeError, before anything is sent."""
    with pytest.raises(TypeError):
        act()
    assert wire.methods == []


WRONG: dict[str, Callable[[Session], Any]] = {
    "save existing": lambda s: Job(id="a").save(existing="upsert"),  # type: ignore[arg-type]
    "save_all existing": lambda s: s.save_all([], existing="upsert"),  # type: ignore[call-overload]
    "sync existing": lambda s: s.sync(Job, [], existing="skip"),  # type: ignore[arg-type]
    "sync workers": lambda s: s.sync(Job, [], workers=-1),
    "save_all on_error": lambda s: s.save_all([], on_error="x"),  # type: ignore[arg-type]
    "save_all workers": lambda s: s.save_all([], workers=0),
    "delete_all workers": lambda s: s.delete_all([], workers=0),
    "update workers": lambda s: Job.find().update({"title": "x"}, workers=0),
    "restore workers": lambda s: Bucket(id="b").restore(1, workers=0),
    "batch existing": lambda s: s.batch().save(Job(id="a"), existing="x"),  # type: ignore[call-overload]
    "modify times": lambda s: Job.modify("a", print, times=-1),
    "retry times": lambda s: retry_on_conflict(-1),
    "retry unconfirmed": lambda s: retry_on_conflict(unconfirmed="x"),  # type: ignore[call-overload]
    "merge prefer": lambda s: Conflict("x").merge(prefer="mine"),  # type: ignore[arg-type]
    "on_invalid": lambda s: Job.find().on_invalid("x"),  # type: ignore[arg-type]
    "get_many on_invalid": lambda s: s.get_many(Job, ["a"], on_invalid="x"),  # type: ignore[arg-type]
    "page_size": lambda s: Job.find().page_size(0),
    "limit": lambda s: Job.find().limit(-1),
    "follow since": lambda s: next(iter(Job.find().follow(since="yesterday"))),
    "isolation": lambda s: Template(id="a", source="").render(isolation="y"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("act", WRONG.values(), ids=list(WRONG))
def test_a_wrong_value_of_an_option(wire: Wire, act: Any) -> None:
    """It is what the contract allows, and mostly an InvalidData; nothing is sent."""
    with pytest.raises((InvalidData, TypeError)) as caught:
        act(wire.session)
    assert http_status(caught.value) == (422 if isinstance(caught.value, InvalidData) else 500)
    assert wire.methods == []


# What these raise is caught where it is known what was being done.
_CAUGHT = (
    "cli/",
    "server/",
    "web/",
    "kv/kvp.py",
    "models/expressions.py",
    "queries/written.py",
    "rendering/documents.py",
    "wire/jsonvalues.py",
    "wire/patches.py",
    "wire/pretence.py",
)


def test_no_bare_value_error() -> None:
    """A wrong value of an option has one class, by one function: `wrong_option`."""
    root = Path(kinto_orm.__file__).parent
    bare = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "raise ValueError" in path.read_text(encoding="utf-8")
    ]
    assert [path for path in bare if not path.startswith(_CAUGHT)] == []


def test_templates_by_name(session: Session) -> None:
    """The same for templates; what overrides root keys called like an option is a mapping."""
    made, created = Template.get_or_create("a.txt", {"source": "{{ undefined }} {{ isolation }}"})
    assert created
    with pytest.raises(ValueError, match=r"render\(\{'undefined'"):
        made.render(undefined="x", isolation="y")  # type: ignore[arg-type]
    assert made.render({"undefined": "x", "isolation": "y"}) == "x y"


# Several fields at once


class Span(Record, collection="todos"):
    start: int = 0
    end: int = 10
    note: str = ""
    length: int | None = None
    seen: ClassVar[list[tuple[int, int]]] = []

    @field_validator("end")
    @classmethod
    def _end_after_start(cls, value: int, info: Any) -> int:
        if value < info.data["start"]:
            raise ValueError("ends before it starts")
        return value

    @model_validator(mode="after")
    def _measure(self) -> Span:
        if self.end - self.start > 200:
            raise ValueError("too long")
        self.length = self.end - self.start
        return self


def test_an_update_is_validated_together(session: Session) -> None:
    """A pair that is valid together is set, whatever the old values are, in either order."""
    session.save_all(Span(id=f"s{n}", start=n, end=n + 1) for n in range(30))
    assert Span.find().update(start=200, end=300).updated == 30
    assert Span.find().update(end=9, start=8).updated == 30
    assert {(each.start, each.end, each.length) for each in Span.find()} == {(8, 9, 1)}


def test_what_does_not_fit_one_object_stops_no_other(session: Session) -> None:
    """It is a failure in the summary, the object is its target and as it was before."""
    session.save_all(Span(id=f"s{n:02}", start=n * 10, end=n * 10 + 1) for n in range(59))
    summary = Span.find().update(end=300, note="x")
    assert summary.counted == "21 updated, 38 failed"
    failed = {each.target.id: each for each in summary.failed}
    assert sorted(failed) == [f"s{n:02}" for n in range(59) if n * 10 > 300 or 300 - n * 10 > 200]
    assert all(isinstance(each.error, ValidationError) for each in summary.failed)
    assert all(each.target.diff() == {} for each in summary.failed)
    assert {each.id for each in Span.find(Span.note == "")} == set(failed)
    assert Span.find(Span.start == 0).update(end=500).counted == "1 failed"


def test_a_value_that_is_wrong_for_all_is_an_error_at_once(wire: Wire) -> None:
    """Before anything is read or written."""
    for values in ({"start": "many"}, {"start": 1, "end": None}, {"strat": 1}):
        with pytest.raises(ValidationError):
            Span.find().update(values)
    assert wire.methods == []


def test_update_by_stored_names(session: Session) -> None:
    """A field is named as the constructor takes it, together with undeclared ones of the record."""
    Job(id="x").save()
    assert Job.find().update({"cls": "a", "self_": "b", "title": "c"}).updated == 1
    job = Job.get("x")
    assert (job.cls_, job.self_, job.title) == ("a", "b", "c")
    records = Collection(id="todos").records
    assert records.find().update(n=1, any_name=[2]).updated == 1
    assert (records.get("x")["n"], records.get("x")["any_name"]) == (1, [2])
