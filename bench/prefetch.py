"""Follow the links of many records: prefetched, one by one, and by hand with kinto-http.

The Kinto is a process of its own. Requests are counted where they are sent.
"""

from __future__ import annotations

import argparse
from typing import Any

from _counting import Counting, shown
from kinto_http import Client

from kinto_orm import Link, Record, Session
from kinto_orm.server import serve_process

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--records", type=int, default=1000)
arguments.add_argument("--links", type=int, default=50, help="how many of them are distinct")
given = arguments.parse_args()


class Author(Record, collection="authors"):
    """What is linked."""

    name: str


class Note(Record, collection="notes"):
    """What links."""

    text: str
    author: Link[Author]


def prefetched() -> list[str]:
    return [
        note.author.loaded.name for note in Note.find().prefetch(Note.author) if note.author.loaded
    ]


def one_by_one() -> list[str]:
    return [note.author.fetch().name for note in Note.find()]


def by_hand(client: Client) -> list[str]:
    """With kinto-http: the distinct ids, asked for with one request."""
    notes: list[dict[str, Any]] = client.get_records(collection="notes")
    ids = sorted({each["author"] for each in notes})
    wanted = ",".join(f'"{each}"' for each in ids)
    found = client.get_records(collection="authors", in_id=wanted)
    names = {each["id"]: each["name"] for each in found}
    return [names[each["author"]] for each in notes]


def one_by_one_by_hand(client: Client) -> list[str]:
    """With kinto-http: a request for each record."""
    notes: list[dict[str, Any]] = client.get_records(collection="notes")
    return [client.get_record(id=n["author"], collection="authors")["data"]["name"] for n in notes]


counting = Counting()
with serve_process("memory://") as server:
    client = Client(server_url=server.url, auth=counting, bucket="bench")
    with Session(server.url, auth=counting, bucket="bench") as session:
        session.sync_schema(Author, Note)
        session.save_all(Author(id=f"a{n}", name=f"Author {n}") for n in range(given.links))
        session.save_all(
            Note(text=f"Note {n}", author=f"a{n % given.links}") for n in range(given.records)
        )
        Note.find().prefetch(Note.author).first()  # what is asked and built once
        client.get_records(collection="authors")
        names = sorted(shown("prefetch", counting, prefetched))
        requests = counting.sent.total()
        for what, act in (
            ("kinto-http by hand", lambda: by_hand(client)),
            ("one by one", one_by_one),
            ("kinto-http one by one", lambda: one_by_one_by_hand(client)),
        ):
            assert sorted(shown(what, counting, act)) == names

wanted = 1 + -(-given.links // 100)
print(f"{'met   ' if requests == wanted else 'MISSED'} {requests} requests; goal: {wanted}")
