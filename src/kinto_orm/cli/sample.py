"""Sample data for a server to try things on: something of everything that a Kinto keeps."""

from __future__ import annotations

from datetime import date

from pydantic import JsonValue

from kinto_orm import (
    Authenticated,
    Bucket,
    Collection,
    Everyone,
    Group,
    Permissions,
    Record,
    Session,
    Template,
)

BUCKET = "demo"
OWNER, EDITOR, READER = "demo:demo", "ada:ada", "bob:bob"


class Todo(Record, collection="todos"):
    """A collection with a schema."""

    title: str
    done: bool = False
    priority: int = 3
    due: date | None = None
    tags: list[str] = []


_TODOS = {
    "milk": {"title": "Buy milk", "priority": 1, "due": date(2026, 12, 1), "tags": ["home"]},
    "taxes": {"title": "File the taxes", "priority": 1, "due": date(2027, 5, 31)},
    "bike": {"title": "Repair the bike", "done": True, "tags": ["home", "tools"]},
    "call": {"title": "Call Ada", "priority": 2},
    "garden": {"title": "Plant tulips", "priority": 4, "tags": ["home"]},
}
_BOOKS = (
    ("emma", "Emma", "Jane Austen", 1815, 9.5),
    ("frankenstein", "Frankenstein", "Mary Shelley", 1818, 7.9),
    ("walden", "Walden", "Henry David Thoreau", 1854, 8.25),
    ("middlemarch", "Middlemarch", "George Eliot", 1871, 12.0),
    ("dracula", "Dracula", "Bram Stoker", 1897, 6.5),
    ("lighthouse", "To the Lighthouse", "Virginia Woolf", 1927, 10.75),
)
_VALUES: dict[str, JsonValue] = {
    "site": {"name": "Example", "host": "example.org", "ports": [80, 443]},
    "greeting": "Good morning",
    "features": {"search": True, "comments": False},
}
_TEMPLATES = {
    "motd": "{{ greeting }} from {{ site.name }}.\n",
    "nginx.conf": (
        "server {\n    server_name {{ site.host }};\n"
        "{% for port in site.ports %}    listen {{ port }};\n{% endfor %}}\n"
    ),
}


def fill(url: str, *, key: str | None = None) -> None:
    """Put in the sample data; what is there already stays as it is.

    Args:
        url: The server's, at which any user and password will do.
        key: An API key of kvp.io's, whose user gets the key values and templates, too.
    """
    with Session(url, auth=OWNER, bucket=BUCKET) as session:
        _bucket(session, editor=_principal(url, EDITOR))
        _todos(session)
        _books(session)
        _values(session)
    if key is not None:
        with Session(url, auth=(key, "")) as session:
            _values(session)


def _principal(url: str, auth: str) -> str:
    with Session(url, auth=auth) as session:
        return session.account().principal


def _bucket(session: Session, *, editor: str) -> None:
    """The bucket, and who may do what there: everyone reads, a group writes."""
    if Bucket.get_or_none(BUCKET) is None:
        writers = f"/buckets/{BUCKET}/groups/editors"
        readable = Permissions(read={Everyone, Authenticated}, write={writers})
        Bucket(id=BUCKET, about="sample data", permissions=readable).save()
    if Group.get_or_none("editors") is None:
        Group(id="editors", members=[editor]).save()


def _todos(session: Session) -> None:
    """Records with a schema; one of them with a history, and one that was deleted."""
    session.sync_schema(Todo)
    for id, fields in _TODOS.items():
        Todo.get_or_create(id, fields)
    report, is_new = Todo.get_or_create("report", {"title": "Write the report", "priority": 1})
    if is_new:
        report.assign(title="Write the annual report", due=date(2026, 12, 24)).save()
        report.assign(tags=["work", "urgent"], done=True).save()
        Todo(id="umbrella", title="Find the umbrella").save().delete()


def _books(session: Session) -> None:
    """Records of any form, in a collection that users may add to."""
    if Collection.get_or_none("books") is None:
        open_to_all = Permissions(record_create={Authenticated})
        Collection(id="books", about="no schema", permissions=open_to_all).save()
    books = session.scoped(collection="books")
    books.save_all(
        (
            Record(id=id, title=title, author=author, year=year, price=price)
            for id, title, author, year, price in _BOOKS
        ),
        existing="skip",
    )


def _values(session: Session) -> None:
    for path, value in _VALUES.items():
        session.kv.setdefault(path, value)
    for name, source in _TEMPLATES.items():
        Template.get_or_create(name, source=source)
