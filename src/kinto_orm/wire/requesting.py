"""One request of the program's own, for what the library does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from kinto_orm.errors import InvalidData
from kinto_orm.wire.flows import Flow, ask
from kinto_orm.wire.jsonvalues import encode
from kinto_orm.wire.messages import Reply, Request, query_string

Query = Mapping[str, object] | Iterable[tuple[str, object]]

_METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS")
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_PATH = re.compile(r"/[!-~]*")


def requesting(
    method: str,
    path: str,
    query: Query | None,
    json: JsonValue,
    headers: Mapping[str, str] | None,
) -> Flow[Reply]:
    """Send one request; see `Session.request`."""
    request = Request(
        _method(method),
        _path(path),
        "" if query is None else _query(query),
        None if json is None else encode(json),
        dict(headers or {}),
        repeatable=method.upper() in _REPEATABLE,
    )
    return ask(request, f"send {request!r}")


def _method(method: object) -> str:
    if not isinstance(method, str) or method.upper() not in _METHODS:
        raise InvalidData(f"{method!r} is no method: one of {', '.join(_METHODS)}")
    return method.upper()


def _path(path: object) -> str:
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise InvalidData(
            f"{path!r} is no path below the server's URL: it begins with a slash, as in "
            "/buckets/blog, and is quoted (urllib.parse.quote)"
        )
    if "?" in path or "#" in path:
        raise InvalidData(f"{path!r}: what follows '?' is given as query={{...}}")
    return path


def _query(query: Query) -> str:
    pairs = query.items() if isinstance(query, Mapping) else query
    return query_string((name, _text(value)) for name, value in pairs)


def _text(value: object) -> str:
    """A value as Kinto reads it: JSON, but for texts that it cannot take for something else."""
    return value if isinstance(value, str) else encode(value).decode()
