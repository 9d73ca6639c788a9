"""Mistakes in constructors and assignments."""

from datetime import datetime

from kinto_orm import Bucket, Collection, Group, Permissions, Record
from models import Counter, Named, Todo, Urgent

Todo()  # refused: mypy pyright
Todo("x")  # refused: mypy pyright
Todo(title=3)  # refused: mypy pyright
Todo(title="x", prio="high")  # refused: mypy pyright
Todo(title="x", titel="y")  # refused: mypy pyright
Todo(title="x", address="Lyon")  # refused: mypy pyright
Todo(title="x", id=3)  # refused: mypy pyright
Todo(title=None)  # refused: mypy pyright
Urgent(until=datetime.now())  # refused: mypy pyright
Urgent(title="x")  # refused: mypy pyright

# The Python name, not the stored one.
Todo(title="x", nickName="al")  # refused: mypy pyright
Todo(title="x", nick=3)  # refused: mypy pyright

Todo(title="x", permissions=3)  # refused: mypy pyright
Todo(title="x", permissions={"read": 3})  # refused: mypy pyright
Todo(title="x", permissions=["system.Everyone"])  # refused: mypy pyright
Permissions(reed={"system.Everyone"})  # refused: mypy pyright
Permissions(read=3)  # refused: mypy pyright

todo = Todo(title="x")
todo.title = 3  # refused: mypy pyright
todo.titel = "y"  # refused: mypy pyright
todo.tags = "urgent"  # refused: mypy pyright
todo.tags.append(3)  # refused: mypy pyright
todo.permissions = 3  # refused: mypy pyright
todo.permissions.reed = {"x"}  # refused: mypy pyright
print(todo.titel)  # refused: mypy pyright

Bucket("blog")  # refused: mypy pyright
Bucket(id=3)  # refused: mypy pyright
Group(id="writers", members="alice")  # refused: mypy pyright
Group(id="writers", bucket=3)  # refused: mypy pyright
Collection(id="articles", json_schema=3)  # refused: mypy pyright

Counter(count="x")  # refused: mypy pyright
Counter(counts=1)  # refused: mypy pyright
Named(name=3)  # refused: mypy pyright
Named()  # refused: pyright


# What checkers cannot see, since the metaclass of every model takes any keyword: these are refused
# when the class is defined.
class Misspelt(Record, colection="x"):
    pass


class Wrong(Record, collection=3):
    pass
