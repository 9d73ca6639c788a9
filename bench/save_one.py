"""Save one changed field with If-Match: CPU time of the client for a call, beside kinto-http."""

from __future__ import annotations

import itertools

from _both import Article, Goal, Side, article_data, both_clients, show, take_turns

numbers = itertools.count(1000)

with both_clients() as (client, session):
    article = Article(**article_data(1)).save()
    unchanged = Article(**article_data(2)).save()
    raw = client.create_record(data=article_data(3))["data"]

    def save_by_kinto_http() -> None:
        """The same request: a PATCH of one field, if nobody else was first."""
        changes = {"views": next(numbers)}
        raw.update(client.patch_record(original=raw, data=changes, safe=True)["data"])

    def save() -> None:
        article.views = next(numbers)
        article.save()

    sides = [
        Side("kinto-http", save_by_kinto_http),
        Side("kinto-orm", save),
        Side("kinto-orm, nothing changed", unchanged.save),
    ]
    medians = take_turns(sides, rounds=15, calls=100)

show("save one changed field", medians, [Goal("kinto-orm", "kinto-http", at_most=0.6)])
