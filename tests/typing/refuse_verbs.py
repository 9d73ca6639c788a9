"""Mistakes in the arguments and results of verbs."""

from datetime import datetime

from kinto_orm import Bucket, Conflict, Session
from models import Address, Todo

session = Session("memory://")
Session(3)  # refused: mypy pyright
Session("memory://", "user:password")  # refused: mypy pyright
Session("memory://", auth=3)  # refused: mypy pyright
Session("memory://", timeout="5")  # refused: mypy pyright
Session("memory://", retry=3)  # refused: mypy pyright
Session("memory://", on_request=lambda: None)  # refused: mypy pyright
Session("memory://", dry_run="yes")  # refused: mypy pyright
Session("memory://", verify=3)  # refused: mypy pyright
session.request("GET")  # refused: mypy pyright
session.request("GET", "/", {"_limit": 1})  # refused: mypy pyright
session.bucket = "other"  # refused: mypy pyright
session.scoped("work")  # refused: mypy pyright

Todo.get(3)  # refused: mypy pyright
Todo.get("x", session="memory://")  # refused: mypy pyright
print(Todo.get_or_none("x").title)  # refused: mypy pyright
print(Todo.get_or_create("x", title="y").title)  # refused: mypy pyright
Todo.bind("memory://")  # refused: mypy pyright

todo = Todo(title="x")
todo.save(froce=True)  # refused: mypy pyright
todo.save(True)  # refused: mypy pyright
todo.save(existing="upsert")  # refused: mypy pyright
session.save_all([todo], existing="merge")  # refused: mypy pyright
session.save_all([todo], progress="yes")  # refused: mypy pyright
session.save_all([todo], progress=lambda: None)  # refused: mypy pyright
session.sync(Address, [])  # refused: mypy pyright
session.sync(Todo, [Address(city="Lyon")])  # refused: mypy pyright
session.sync(Todo, [todo], True)  # refused: mypy pyright
session.sync(Todo, [todo], existing="skip")  # refused: mypy pyright
print(session.sync(Todo, [todo]).create)  # refused: mypy pyright
Bucket.get("work").restore("yesterday")  # refused: mypy pyright
Bucket.get("work").restore(5, True)  # refused: mypy pyright
Bucket.get("work").restore(5, within=3)  # refused: mypy pyright
Todo.restore(3)  # refused: mypy pyright
Todo.restore("x", at="yesterday")  # refused: mypy pyright
print([each.object.title for each in Todo.deleted()])  # refused: mypy pyright
session.kv.revert("a", "yesterday")  # refused: mypy pyright
session.kv.at(5)["a"] = 1  # refused: mypy pyright
todo.refresh(keep_change=True)  # refused: mypy pyright
todo.delete(missing_ok="yes")  # refused: mypy pyright
todo.delete().title  # refused: mypy pyright
todo.sve()  # refused: mypy pyright
todo.modified_at = 5  # refused: mypy pyright
todo.assign(3)  # refused: mypy pyright
todo.assign(done=True).titel  # refused: mypy pyright
Todo.patch(3, done=True)  # refused: mypy pyright
Todo.patch("x", if_match="5")  # refused: mypy pyright
Todo.patch("x", done=True).titel  # refused: mypy pyright
Todo.modify("x", 3)  # refused: mypy pyright
Todo.modify("x", lambda each: each.titel)  # refused: mypy pyright
Todo.modify("x", repr, times="3")  # refused: mypy pyright


class Stamped(Todo, collection="stamped"):
    # It is taken when the program runs; to pyright it stands for the property.
    modified_at: datetime  # refused: pyright


class Hooked(Todo, collection="hooked"):
    def before_save(self) -> int:  # refused: mypy pyright
        return 1

    def after_save(self, created: bool) -> None:  # refused: mypy pyright
        pass


todo.is_new = True  # refused: mypy pyright

session.get("Todo", "x")  # refused: mypy pyright
session.get(Address, "x")  # refused: mypy pyright
session.find(Todo, "x")  # refused: mypy pyright
session.save(Address(city="Lyon"))  # refused: mypy pyright
session.save([todo])  # refused: mypy pyright

batch = session.batch()
batch.kv.set(3, 1)  # refused: mypy pyright
batch.kv.set("a", object())  # refused: mypy pyright
batch.kv.delete("a", missing_ok="yes")  # refused: mypy pyright
batch.kv.get("a")  # refused: mypy pyright

try:
    todo.save()
except Conflict as conflict:
    conflict.merge(prefer="mine")  # refused: mypy pyright
    conflict.merge(perfer="local")  # refused: mypy pyright
    conflict.decided["title"] = "local"  # refused: mypy pyright
