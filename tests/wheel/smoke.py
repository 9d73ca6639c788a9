"""A small program for the installed wheel: it must work where nothing else is installed.

Run by `make wheel`, with warnings as errors, outside of the checkout.
"""

import sys
from importlib.metadata import metadata, version
from importlib.resources import files

import kinto_orm
from kinto_orm import Record, Session
from kinto_orm.web import app


class Todo(Record, collection="todos"):
    """A typed record."""

    title: str
    done: bool = False


def main() -> None:
    """Check the package, then save and read a record on an embedded Kinto."""
    package = files("kinto_orm")
    if "site-packages" not in str(package):
        sys.exit(f"not the installed wheel: {package}")
    if not package.joinpath("py.typed").is_file():
        sys.exit("py.typed is missing from the wheel")
    for file in ("web/templates/base.html", "web/static/page.css", "web/static/page.js"):
        if not package.joinpath(file).is_file():
            sys.exit(f"{file} is missing from the wheel")
    if version("kinto-orm") != kinto_orm.__version__:
        sys.exit("the version of the wheel is not the version of the package")
    if metadata("kinto-orm")["License-Expression"] != "Apache-2.0":
        sys.exit("the licence is missing from the wheel")
    if "](docs/" in str(metadata("kinto-orm").get_payload()):
        sys.exit("a link of the package's page leads nowhere on a package index")
    with Session("memory://"):
        todo = Todo(title="Write the report").save()
        todo.done = True
        todo.save()
        if not Todo.get(todo.id).done or Todo.find(Todo.title == "Write the report").count() != 1:
            sys.exit("the record was not stored")
    app("memory://")
    print("ok")


main()
