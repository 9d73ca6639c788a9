"""What an object was when it was loaded is its own: right after a load nothing has changed."""

from __future__ import annotations

import copy
import itertools
import pickle
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from conftest import Wire
from kinto_orm import Collection, Conflict, Record, Session

numbers = itertools.count(1)


class Part(BaseModel):
    """A part whose older ones have neither key nor time."""

    name: str = ""
    key: uuid.UUID = Field(default_factory=uuid.uuid4)
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Stamped(BaseModel):
    name: str = ""
    read: int = 0

    @model_validator(mode="after")
    def _stamp(self) -> Stamped:
        self.read = next(numbers)
        return self


class Initialized(BaseModel):
    name: str = ""
    read: int = 0
    _own: int = PrivateAttr(default=0)

    def model_post_init(self, context: object, /) -> None:
        """Count the loads."""
        self.read = next(numbers)


class Unsteady(Record, collection="todos"):
    """A record of which two loads never give the same."""

    title: str = ""
    part: Part = Part()
    parts: list[Part] = []
    by_name: dict[str, Part] = {}
    keys: list[str] = Field(default_factory=lambda: [uuid.uuid4().hex])
    token: str = Field(default_factory=lambda: uuid.uuid4().hex)
    stamped: Stamped = Stamped()
    initialized: Initialized | None = None
    read: int = 0
    counted: Annotated[int, AfterValidator(lambda value: value + next(numbers))] = 0
    filled: str | None = None
    slug: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return {"filled": uuid.uuid4().hex, **data} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _count(self) -> Unsteady:
        self.read = next(numbers)
        self.slug = self.title.lower()
        return self


OLD: dict[str, Any] = {
    "title": "A",
    "part": {"name": "a"},
    "parts": [{"name": "b"}, {"name": "c", "key": str(uuid.uuid4())}],
    "by_name": {"d": {}},
    "stamped": {},
    "initialized": {"name": "e"},
    "counted": 1,
}

LOADS: dict[str, Callable[[Session], Unsteady]] = {
    "get": lambda session: Unsteady.get("old"),
    "find": lambda session: Unsteady.find().one(),
    "page": lambda session: next(iter(Unsteady.find().pages()))[0],
    "get_many": lambda session: session.get_many(Unsteady, ["old"])["old"],
    "refresh": lambda session: Unsteady.get("old").refresh(),
    "changes": lambda session: next(iter(Unsteady.find().changes())).object,  # type: ignore[return-value]
}


@pytest.fixture
def old(wire: Wire) -> Wire:
    """A stored record that lacks what its model makes anew at each load."""
    Collection(id="todos").records.new(id="old", **OLD).save()
    wire.clear()
    return wire


@pytest.mark.parametrize("load", LOADS)
def test_right_after_a_load_nothing_has_changed(old: Wire, load: str) -> None:
    """However it was loaded: there is no difference, and a save sends nothing."""
    loaded = LOADS[load](old.session)
    old.clear()
    assert loaded.diff() == {}
    loaded.save()
    for copied in (copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert copied.diff() == {}
    assert old.methods == []
    # Once more, and with a change that is taken back.
    loaded.part.name = "x"
    assert set(loaded.diff()) == {"part"}
    loaded.part.name = "a"
    assert loaded.diff() == {}


def test_some_fields_only(old: Wire) -> None:
    """The same holds for what `only` loads."""
    part = Unsteady.find().only(Unsteady.part, Unsteady.keys, Unsteady.counted).one()
    assert part.diff() == {}
    part.part.name = "x"
    assert set(part.diff()) == {"part"}
    part.refresh(keep_changes=True)
    assert set(part.diff()) == {"part"}


@pytest.mark.parametrize("load", LOADS)
def test_a_change_is_sent_alone(old: Wire, load: str) -> None:
    """What the loads make anew does not go with it, and two programs do not conflict over it."""
    mine, theirs = LOADS[load](old.session), LOADS[load](old.session)
    mine.title = "B"
    changed = set(mine.diff())
    assert {"title", "slug"} <= changed <= {"title", "slug", "read"}  # the last one by assigning
    mine.save()
    assert set(old.body["data"]) == changed
    assert mine.diff() == {}
    theirs.by_name["d"].name = "x"
    with pytest.raises(Conflict) as raised:
        theirs.save()
    assert raised.value.fields <= {"read"}
    merged = raised.value.merge(prefer="remote")
    assert "by_name" in merged.diff()
    assert merged.title == "B"


def test_changes_of_what_is_made_anew_are_sent(old: Wire) -> None:
    """A value that was made by a load counts once the program changes it."""
    loaded = Unsteady.get("old")
    key = uuid.uuid4()
    loaded.part.key = key
    loaded.keys.append("mine")
    before = loaded.keys[0]
    assert {name: loaded.diff()[name] for name in ("keys",)} == {
        "keys": ([before], [before, "mine"])
    }
    loaded.parts[0].name = "z"
    names = set(loaded.diff())
    assert names == {"part", "keys", "parts"}
    old_part, new_part = loaded.diff()["part"]
    assert (old_part.made, new_part.key) == (new_part.made, key)


def test_a_refresh_without_news_drops_the_changes(old: Wire) -> None:
    """The server has nothing new; the object becomes what it was when it was loaded."""
    loaded = Unsteady.get("old")
    token, part = loaded.token, loaded.part.model_copy(deep=True)
    loaded.title = "B"
    loaded.part.name = "x"
    loaded.token = "mine"
    old.clear()
    loaded.refresh(keep_changes=True)
    assert {"title", "part", "token"} <= set(loaded.diff())
    loaded.refresh()
    assert old.methods == ["GET", "GET"]
    assert loaded.diff() == {}
    assert (loaded.title, loaded.token, loaded.part) == ("A", token, part)
    old.clear()
    loaded.save()
    assert old.methods == []


def test_right_after_a_save_nothing_has_changed(wire: Wire) -> None:
    """A model whose validators fill in what is missing is saved once."""

    class Filled(Record, collection="todos"):
        title: str = ""
        part: Part = Field(default_factory=Part)
        made: datetime | None = None
        slug: str = ""

        @model_validator(mode="after")
        def _fill(self) -> Filled:
            self.made = self.made or datetime.now(UTC)
            self.slug = self.title.lower()
            return self

        @field_validator("title", mode="before")
        @classmethod
        def _tidy(cls, value: Any, info: ValidationInfo) -> Any:
            return value.strip() if isinstance(value, str) else value

    filled = Filled(id="x", title=" A ").save()
    for title in ("B", "C"):
        assert filled.diff() == {}
        assert filled == Filled.get("x")
        filled.title = title
        filled.save()
        assert set(wire.body["data"]) == {"title", "slug"}
    filled.save(force=True)
    assert filled.diff() == {}


def test_a_value_that_each_load_changes_is_not_written_by_others(wire: Wire) -> None:
    """Loading it is no change; saving it beside a changed field leaves it as it is stored."""

    class Counted(Record, collection="todos"):
        n: Annotated[int, BeforeValidator(lambda value: value + 1)] = 0
        title: str = ""

    records = Collection(id="todos").records
    records.new(id="x", n=1, title="a").save()
    counted = Counted.get("x")
    assert (counted.n, counted.diff()) == (2, {})
    counted.title = "b"
    counted.save()
    counted.title = "c"
    counted.save(force=True)
    assert records.get("x").model_extra == {"n": 1, "title": "c"}
    assert counted.refresh().diff() == {}


# What others took away


class Maybe(Record, collection="todos"):
    n: int | None = None
    title: str = ""


def test_a_null_that_another_writer_removed_stays_removed(wire: Wire) -> None:
    """After a refresh it is nobody's any more."""
    records = Collection(id="todos").records
    raw = records.new(id="x", n=None, title="a").save()
    maybe = Maybe.get("x")
    del raw["n"]
    raw.save()
    maybe.refresh()
    assert maybe.diff() == {}
    wire.clear()
    maybe.save()
    assert wire.methods == []
    maybe.title = "b"
    maybe.save()
    assert "n" not in (records.get("x").model_extra or {})


def test_a_null_that_another_writer_removed_before_a_merge(wire: Wire) -> None:
    """A merge keeps the own changes, and no more."""
    records = Collection(id="todos").records
    raw = records.new(id="x", n=None, title="a").save()
    maybe = Maybe.get("x")
    del raw["n"]
    raw.save()
    maybe.title = "b"
    with pytest.raises(Conflict) as raised:
        maybe.save()
    raised.value.merge().save()
    assert wire.body == {"data": {"title": "b"}}
    assert maybe.diff() == {}


def test_an_own_null_is_kept(wire: Wire) -> None:
    """A null that was assigned is a change of one's own."""
    Collection(id="todos").records.new(id="x", title="a").save()
    maybe = Maybe.get("x")
    maybe.n = None
    assert maybe.refresh(keep_changes=True).diff() == {"n": (None, None)}
    assert maybe.refresh().diff() == {}


# Objects that were never loaded


class Todo(Record, collection="todos"):
    title: str = ""
    done: bool = False
    tags: list[str] = []
    token: str = Field(default_factory=lambda: uuid.uuid4().hex)


def test_a_new_object_keeps_what_it_was_given(wire: Wire) -> None:
    """Its defaults are not its own; what was changed in place is."""
    Todo(id="c", title="theirs", done=True, tags=["a"], token="t").save()
    mine = Todo(id="c", title="mine").refresh(keep_changes=True)
    assert (mine.title, mine.done, mine.tags, mine.token) == ("mine", True, ["a"], "t")
    assert mine.diff() == {"title": ("theirs", "mine")}
    mine.save()
    assert wire.body == {"data": {"title": "mine"}}
    other = Todo(id="c")
    other.tags.append("b")
    other.refresh(keep_changes=True)
    assert other.diff() == {"tags": (["a"], ["b"])}
    assert Todo(id="c", title="gone").refresh().title == "mine"


def test_an_untyped_new_object_keeps_what_it_was_given(wire: Wire) -> None:
    """All of its fields were given."""
    records = Collection(id="todos").records
    records.new(id="c", a=1, b=2).save()
    mine = records.new(id="c", a=5).refresh(keep_changes=True)
    assert mine.diff() == {"a": (1, 5)}
    assert mine["b"] == 2
