"""One request of the program's own, for what the library does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain

from pydantic import JsonValue

from kinto_orm.errors import InvalidData
from kinto_orm.wire.authentication import as_headers
from kinto_orm.wire.flows import Flow, ask
from kinto_orm.wire.jsonvalues import encode, is_storable
from kinto_orm.wire.messages import Reply, Request, query_string

Query = Mapping[str, object] | Iterable[tuple[str, object]]

_METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS")
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
# What says how a request is sent, and to whom: that is not the program's.
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})
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
        _headers(headers),
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
    try:
        texts = [(name, _text(value)) for name, value in pairs]
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidData):
            raise  # a value is no JSON
        texts = [(None, "")]
    if isinstance(query, str) or not all(map(_can_be_quoted, chain.from_iterable(texts))):
        raise InvalidData(
            "query= is a dict of parameters, or pairs of a name and a value: {'_limit': 5}, "
            f"without NUL and lone surrogates, not {query!r:.80}"
        )
    return query_string(texts)


def _can_be_quoted(text: object) -> bool:
    return isinstance(text, str) and is_storable(text)


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    checked = as_headers(headers)
    if framing := sorted(_FRAMING.intersection(map(str.lower, checked))):
        raise InvalidData(f"the header {framing[0]} is set by what sends the request")
    return {
        name: text if isinstance(text, str) else text.decode() for name, text in checked.items()
    }


def _text(value: object) -> str:
    """A value as Kinto reads it: JSON, but for texts that it cannot take for something else."""
    return value if isinstance(value, str) else encode(value).decode()
