"""Records nested deeper than this library writes them, as other clients may."""

from __future__ import annotations

from typing import Any

import httpx

from kinto_orm import Session

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
    path = f"/buckets/{session.bucket}/collections/{collection}/records/{id}"
    body = f'{{"data": {{"v": {text}}}}}'
    headers = {"Content-Type": "application/json"}
    url = f"{session.server_url}{path}"
    httpx.put(url, content=body, headers=headers, auth=_USER).raise_for_status()
