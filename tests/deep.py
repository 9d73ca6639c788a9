"""Records nested deeper than this library writes them, as other clients may."""

from __future__ import annotations

from typing import Any

import httpx

from kinto_orm import Session
from kinto_orm.kv.keypath import record_id

_USER = ("tom", "s3cret-p4ss")


def nested(levels: int) -> Any:
    """A value of so many levels."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def text_of(levels: int) -> str:
    """The JSON of the same; `json` itself cannot write all of them."""
    opened = "".join("[" if level % 2 else '{"a":' for level in reversed(range(levels)))
    closed = "".join("]" if level % 2 else "}" for level in range(levels))
    return f"{opened}1{closed}"


def put_nested(session: Session, id: str, levels: int, collection: str = "todos") -> None:
    """Another client stores a record whose field `v` has so many levels."""
    put_text(session, id, text_of(levels), collection)


def put_text(session: Session, id: str, text: str, collection: str = "todos") -> None:
    """Another client stores a record whose field `v` is this JSON."""
    _put(session, f"{collection}/records/{id}", f'{{"v": {text}}}')


def put_value(session: Session, key: str, text: str) -> None:
    """Another client stores a key whose value is this JSON."""
    _put(session, f"kv/records/{key}", f'{{"key": "{key}", "value": {text}}}')


def put_template(session: Session, name: str, source: str, text: str) -> None:
    """Another client stores a template that has a field `v` which is this JSON."""
    data = f'{{"name": "{name}", "source": "{source}", "v": {text}}}'
    _put(session, f"templates/records/{record_id(name)}", data)


def _put(session: Session, inside: str, data: str) -> None:
    path = f"/buckets/{session.bucket}/collections/{inside}"
    body = f'{{"data": {data}}}'
    headers = {"Content-Type": "application/json"}
    url = f"{session.server_url}{path}"
    httpx.put(url, content=body, headers=headers, auth=_USER).raise_for_status()
