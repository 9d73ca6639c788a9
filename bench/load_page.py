"""Load 10,000 typed records in one page, beside kinto-http's untyped dicts and the mere parser.

A turn is several loads in a row, so that what one of them leaves to the garbage collector counts.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from _both import Article, Goal, Side, article_data, both_clients, show, take_turns
from pydantic import ConfigDict, create_model

from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import ask
from kinto_orm.wire.messages import Reply, Request

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--records", type=int, default=10_000)
arguments.add_argument("--rounds", type=int, default=9)
given = arguments.parse_args()

LOADS = 5


# The same fields in models that know nothing of Kinto.
fields: Any = {name: (info.annotation, info) for name, info in Article.model_fields.items()}
PlainArticle = create_model("PlainArticle", __config__=ConfigDict(extra="allow"), **fields)
Page = create_model("Page", data=(list[PlainArticle], ...))

with both_clients() as (client, session):
    session.save_all(Article(**article_data(number)) for number in range(given.records))
    listing = run(session, Article.find(session=session).listing())
    request = Request("GET", listing.place.path, f"_limit={given.records}")
    body = run(session, ask(request, "bench")).body
    reply = Reply(200, {}, body)
    assert len(json.loads(body)["data"]) == given.records

    def by_hand() -> list[Any]:
        """What a program writes that wants typed objects of the official client."""
        return [PlainArticle(**each) for each in client.get_records(_limit=given.records)]

    over_the_wire = take_turns(
        [
            Side("kinto-http, Model(**each)", by_hand),
            Side("kinto-orm", lambda: Article.find().page_size(given.records).all()),
        ],
        rounds=given.rounds,
        calls=LOADS,
    )
    parsing = take_turns(
        [
            Side("json.loads", lambda: json.loads(body)),
            Side("validate_json", lambda: Page.model_validate_json(body)),
            Side("kinto-orm", lambda: listing.load(reply, None)),
        ],
        rounds=given.rounds,
        calls=LOADS,
    )

title = f"{given.records} records of 12 fields, {len(body) / 1e6:.1f} MB"
show(f"load {title}", over_the_wire, [Goal("kinto-orm", "kinto-http, Model(**each)", at_most=0.5)])
show(f"parse {title}", parsing, [Goal("kinto-orm", "validate_json", at_most=1.0)])
