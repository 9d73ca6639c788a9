"""Conditions, orders and what queries give."""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_type

from pydantic import JsonValue

from kinto_orm import (
    Change,
    Column,
    Condition,
    Created,
    Deleted,
    InvalidData,
    Page,
    Query,
    Record,
    Session,
    Updated,
    any_of,
    col,
    field,
    read_condition,
    read_conditions,
    read_order,
)
from models import Color, Level, Shirt, Size, Todo, Urgent

now = datetime.now()

late = Todo.find(Todo.done == False, col(Todo.due) < now).order_by(Todo.title)
assert_type(late, Query[Todo])
for todo in late:
    assert_type(todo, Todo)
for page in late.pages():
    assert_type(page, Page[Todo])
    assert_type(page.position, str | None)
    for todo in page:
        assert_type(todo, Todo)

assert_type(late.all(), list[Todo])
assert_type(late.first(), Todo | None)
assert_type(late.one(), Todo)
assert_type(late.count(), int)
assert_type(late.exists(), bool)
assert_type(late.delete(), int)
assert_type(iter(late), Iterator[Todo])
assert_type(late.where(Todo.prio > 3).limit(5).page_size(100), Query[Todo])
assert_type(Urgent.find(Urgent.prio != 3, Urgent.until < now), Query[Urgent])
assert_type(Todo.find(session=Session("memory://")), Query[Todo])

# One of several conditions, or of several that have to hold together.
assert_type(any_of(Todo.prio == 3, col(Todo.due) < now), Condition)
Todo.find(any_of(Todo.done == False, [Todo.prio > 3, col(Todo.tags).has("x")]), Todo.title != "")
Todo.find().where(any_of((Todo.prio == 1, Todo.title == "x"), any_of(Todo.prio == 2)))


# Conditions as texts.
assert_type(read_condition("prio>=3", Todo), Condition)
Record.find(*read_conditions("prio>=3 done=false")).order_by(*read_order("-prio"))
Todo.find().follow("now")


# What does not fit.
def mended(raw: dict[str, JsonValue], error: InvalidData) -> Todo | None:
    return Todo(title=str(raw["title"])) if error.status is None else None


assert_type(late.on_invalid("skip"), Query[Todo])
assert_type(late.on_invalid("raise").on_invalid(mended), Query[Todo])
assert_type(late.on_invalid(lambda raw, error: print(raw["id"], error)), Query[Todo])
assert_type(Session("memory://").get_many(Todo, ["a"], on_invalid=mended), dict[str, Todo])
assert_type(Session("memory://").get_many(Todo, ["a"], prefetch=["author"]), dict[str, Todo])

# Methods of a column; an Optional field is the column of its type.
assert_type(col(Todo.title), Column[str])
assert_type(col(Todo.due), Column[datetime])
assert_type(col(Todo.tags), Column[list[str]])
assert_type(col(Todo.title).like("*report*"), Condition)
assert_type(col(Todo.title).in_(["a", "b"]), Condition)
assert_type(col(Todo.prio).not_in({1, 2}), Condition)
assert_type(col(Todo.tags).has("urgent"), Condition)
assert_type(col(Todo.tags).has_any(["urgent", "late"]), Condition)
assert_type(col(Todo.due).exists(), Condition)
assert_type(col(Todo.due).eq(None), Condition)
assert_type(col(Todo.due) >= now, Condition)
assert_type(col(Todo.address)["city"] == "Lyon", Condition)
Todo.find(col(Todo.nick).like("al*"), col(Todo.address)["city"].in_(["Lyon", "Metz"]))

Todo.find().order_by(col(Todo.due).desc(), Todo.prio, col(Todo.title).asc())
assert_type(Todo.find().only(Todo.title, "done", col(Todo.due)), Query[Todo])

# Members of enums; by its value one of a StrEnum or an IntEnum, as in Python.
Shirt.find(Shirt.color == Color.RED, Shirt.trim != Color.BLUE, Shirt.level >= Level.HIGH)
Shirt.find(Shirt.size == "l", Shirt.size != "xl", Shirt.level == 1, Shirt.level > 5)
Shirt.find(Shirt.size < "m", Shirt.cut == "slim", col(Shirt.cut).in_(["slim", "wide"]))
Shirt.find(col(Shirt.size).eq(Size.L), col(Shirt.color).in_([Color.RED]))
Shirt.find(col(Shirt.sizes).has(Size.L), col(Shirt.color).not_in([Color.RED, Color.BLUE]))
# The column of a literal is one of texts, so that another word is refused only when it is called.
col(Shirt.cut).eq("long")
# What takes fields by keyword takes any value: it is looked at when it is called.
Shirt.find().update(color="red", size=Size.XL)
Shirt.patch("x", color="red", level=10)
Shirt().assign(color="red")
Shirt.get_or_create("x", color="red")

# Untyped records name their fields.
assert_type(Record.find(field("status") == "done", field("stars") > 3), Query[Record])
Record.find(field("address")["city"].like("L*")).order_by(field("stars").desc())

# What happened to an object: only what is gone has none.
for change in Todo.find().changes():
    if isinstance(change, Deleted):
        assert_type(change.object, None)
    else:
        assert_type(change.object, Todo)
    match change:
        case Created(object=todo) | Updated(object=todo):
            assert_type(todo.title, str)
        case Deleted(id=id):
            assert_type(id, str)
seen: list[Change[Todo]] = list(Todo.find().changes())
assert_type(seen[0].object, Todo | None)
created = next(each for each in Todo.find().follow() if isinstance(each, Created))
assert_type(created.object, Todo)
