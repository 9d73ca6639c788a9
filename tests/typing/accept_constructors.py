"""What constructors take, and the types of what is made."""

import uuid
from datetime import datetime
from typing import assert_type

from kinto_orm import Authenticated, Bucket, Collection, Everyone, Group, Permissions, Record
from models import Address, Counter, Todo, Urgent


class Note(Record):
    text: str


class Page(Record, collection="pages", bucket="wiki", id_factory=lambda: uuid.uuid4().hex):
    text: str


todo = Todo(title="Write the report", due=datetime.now(), address=Address(city="Lyon"))
assert_type(todo, Todo)
assert_type(todo.id, str)
assert_type(todo.last_modified, int | None)
assert_type(todo.due, datetime | None)
assert_type(todo.tags, list[str])
Todo(id="report", title="Write the report", done=True, tags=["urgent"], prio=3)
Note(text="x")
Page(id="home", text="Welcome")

# Inherited fields.
urgent = Urgent(title="Now", until=datetime.now())
assert_type(urgent.title, str)

# A field with another stored name takes its Python name.
assert_type(Todo(title="x", nick="al").nick, str | None)

# A default beside constraints. Pyright wants it written as default=, in any model of Pydantic.
Counter(count=1, label="x")
Counter()  # refused: pyright
Counter.model_validate({"count": 1})

# Permissions are given as such or as a dict, and read as such.
Todo(title="x", permissions=Permissions(read={Everyone}, record_create={Authenticated}))
Todo(title="x", permissions={"read": [Everyone], "write": {"account:alice"}})
assert_type(todo.permissions, Permissions)
assert_type(urgent.permissions, Permissions)
assert_type(todo.permissions.read, set[str])
assert_type(todo.permissions.grant("read", Everyone).save(), Permissions)
todo.permissions = Permissions()
todo.permissions = {"read": [Everyone]}

# Untyped records take any field.
untyped = Record(title="x", status="done", count=3, permissions={"read": [Everyone]})
untyped["any name"] = [1, {"nested": None}]
assert_type(untyped.permissions, Permissions)

bucket = Bucket(id="blog", permissions={"collection:create": [Authenticated]}, owner="alice")
group = Group(id="writers", bucket=bucket, members=["account:alice"])
assert_type(group.members, list[str])
assert_type(group.principal, str)
collection = Collection(id="articles", bucket="blog", json_schema={"type": "object"})
assert_type(bucket.collections.new(id="articles"), Collection)
assert_type(bucket.groups.get("writers"), Group)
assert_type(collection.records.new(title="x", stars=5), Record)
