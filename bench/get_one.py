"""Fetch one record: CPU time of the client for a call, beside kinto-http."""

from __future__ import annotations

from _both import Article, Goal, Side, article_data, both_clients, show, take_turns

with both_clients() as (client, session):
    id = Article(**article_data(1)).save(session=session).id
    sides = [
        Side("kinto-http", lambda: client.get_record(id=id)),
        Side("kinto-orm", lambda: Article.get(id, session=session)),
    ]
    medians = take_turns(sides, rounds=15, calls=100)

show("get one record of 12 fields", medians, [Goal("kinto-orm", "kinto-http", at_most=0.45)])
