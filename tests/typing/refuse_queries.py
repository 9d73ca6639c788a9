"""Mistakes in conditions, orders and the use of results."""

from datetime import datetime

from kinto_orm import (
    Record,
    Session,
    any_of,
    col,
    field,
    read_condition,
    read_conditions,
    read_order,
)
from models import Shirt, Todo

Todo.find(Todo.titel == "x")  # refused: mypy pyright
Todo.find(Todo.prio > "high")  # refused: mypy pyright
Todo.find(Todo.title == 3)  # refused: mypy pyright
Todo.find("title")  # refused: mypy pyright
Todo.find(title="x")  # refused: mypy pyright
Todo.find(Todo.title)  # refused: mypy pyright

# An Optional field is compared by col().
Todo.find(Todo.due < datetime.now())  # refused: mypy pyright
Todo.find(col(Todo.due) < 3)  # refused: mypy pyright
Todo.find(col(Todo.due).eq("today"))  # refused: mypy pyright

Todo.find(Todo.title.like("x"))  # refused: mypy pyright
Todo.find(col(Todo.titel).like("x"))  # refused: mypy pyright
Todo.find(col(Todo.title).like(3))  # refused: mypy pyright
Todo.find(col(Todo.title).lik("x"))  # refused: mypy pyright
Todo.find(col(Todo.prio).eq("high"))  # refused: mypy pyright
Todo.find(col(Todo.prio).in_(["high"]))  # refused: mypy pyright
Todo.find(col(Todo.prio).not_in(3))  # refused: mypy pyright
Todo.find(col(Todo.title).has("x"))  # refused: mypy pyright
Todo.find(col(Todo.tags).has(3))  # refused: mypy pyright
Todo.find(col(Todo.tags).has_any([3]))  # refused: mypy pyright
Todo.find(col(Todo.address)[0] == "Lyon")  # refused: mypy pyright
Record.find(field(3) == "x")  # refused: mypy pyright

# A member by its value: what is refused when it is called is refused here, and some more.
Shirt.find(Shirt.color == "red")  # refused: mypy pyright
Shirt.find(Shirt.trim != "red")  # refused: mypy pyright
Shirt.find(Shirt.cut == "long")  # refused: mypy pyright
Shirt.find(Shirt.size == "m")  # refused: pyright
Shirt.find(col(Shirt.color).eq("red"))  # refused: mypy pyright
Shirt.find(col(Shirt.size).eq("l"))  # refused: mypy pyright
Shirt.find(col(Shirt.size).in_(["l"]))  # refused: mypy pyright
Shirt.find(col(Shirt.color).not_in(["red"]))  # refused: mypy pyright
Shirt.find(col(Shirt.sizes).has("l"))  # refused: mypy pyright
Shirt(color="red")  # refused: mypy pyright
Shirt().color = "red"  # refused: mypy pyright

Todo.find(any_of(Todo.title))  # refused: mypy pyright
Todo.find(any_of(Todo.prio == 1, "x"))  # refused: mypy pyright
any_of([Todo.title])  # refused: mypy pyright
print(any_of(Todo.prio == 1).find())  # refused: mypy pyright

Todo.find(read_conditions("prio>=3"))  # refused: mypy pyright
read_condition(Todo.prio >= 3)  # refused: mypy pyright
read_order(["prio"])  # refused: mypy pyright

Todo.find().on_invalid("ignore")  # refused: mypy pyright
Todo.find().on_invalid(lambda raw: None)  # refused: mypy pyright
Todo.find().on_invalid(lambda raw, error: raw)  # refused: mypy pyright
Session("memory://").get_many(Todo, ["a"], on_invalid=True)  # refused: mypy pyright

Todo.find().limit("5")  # refused: mypy pyright
Todo.find().order_by(-Todo.title)  # refused: mypy pyright
Todo.find().where(field("x"))  # refused: mypy pyright
print(Todo.find().first().title)  # refused: mypy pyright
print(Todo.find().title)  # refused: mypy pyright
print(Todo.find()[0])  # refused: mypy pyright
for todo in Todo.find():
    print(todo.titel)  # refused: mypy pyright
for page in Todo.find().pages():
    print(page.title)  # refused: mypy pyright
Todo.find().filter(done=True)  # refused: mypy pyright
Todo.find()[0]  # refused: mypy pyright
len(Todo.find())  # refused: mypy pyright
