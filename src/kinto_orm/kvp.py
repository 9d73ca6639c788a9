"""The client side of kvp.io's REST API: keys, templates and the account of an API key.

The protocol has GET, POST and DELETE on `account/`, `bucket/{path}` and `templates/{name}`, and
little else: no collections, no permissions, no preconditions. It answers 200 with an empty body
for what is not there, sends strings bare, and says 404 to an unknown API key. Below these, the
same things mean the same as on Kinto.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NoReturn, TypeVar
from urllib.parse import quote

from pydantic import JsonValue

from kinto_orm import errors, keypath
from kinto_orm.encoding import decode, encode
from kinto_orm.errors import (
    BadReply,
    KeyNotFound,
    NotFound,
    PathError,
    ResponseError,
    TemplateError,
    Unauthorized,
)
from kinto_orm.jsonvalues import is_storable
from kinto_orm.kv import KeyValues
from kinto_orm.protocol import Call, Reply, Request, query_string
from kinto_orm.session import Session

T = TypeVar("T")

Endpoint = Literal["account", "bucket", "templates"]

_FIRST_INDEX: Final = 1
"""A list's first item is `1` in a path of kvp.io, and only there."""

_TEMPLATE_ERRORS: Final[Mapping[str, type[TemplateError]]] = {
    each.__name__: each
    for each in (
        errors.TemplateError,
        errors.TemplateSyntaxError,
        errors.UndefinedVariable,
        errors.RenderLimit,
        errors.RenderBusy,
    )
}


def request(
    method: Literal["GET", "POST", "DELETE"],
    endpoint: Endpoint,
    path_segments: Sequence[str],
    *,
    params: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Request:
    """Make a request of kvp.io's protocol.

    Args:
        method: In capitals.
        endpoint: What it is about.
        path_segments: The way below the endpoint, quoted here; empty for the endpoint itself.
        params: The query.
        body: JSON, as `protocol.encode` writes it; None for none. A GET may have one.
    """
    path = "/".join(quote(segment, safe="") for segment in path_segments)
    query = query_string((params or {}).items())
    return Request(method, f"/{endpoint}/{path}", query, body, alone=True)


def account(session: Session) -> dict[str, JsonValue]:
    """Fetch `{id, email, reads, size}` of the API key's account (`GET account/`).

    Raises:
        Unauthorized: The server knows no account of this API key.
    """
    asked = request("GET", "account", ())
    return _run(session, asked, _figures, "read the account")


def _figures(reply: Reply) -> dict[str, JsonValue]:
    if not isinstance(reply.json.get("id"), str):
        raise BadReply(reply.complaint())
    return reply.json


# Templates


def list_templates(session: Session) -> list[str]:
    """Fetch the names of all templates (`GET templates/`)."""
    return _run(session, request("GET", "templates", ()), _names, "list the templates")


def get_template(session: Session, name: str) -> str | None:
    """Fetch a template as it was written (`GET templates/{name}?raw=True`).

    An empty answer stands for an empty template, too: then the list of all names tells.

    Args:
        session: Which session to use.
        name: The template's name.

    Returns:
        Its source, None when there is no such template.
    """
    asked = request("GET", "templates", _template(name), params={"raw": "True"})
    doing = f"get the template {name!r}"
    source = _run(session, asked, _text, doing)
    if source:
        return source
    # In the list it is empty, or came into being between the two answers.
    return _run(session, asked, _text, doing) if name in list_templates(session) else None


def render_template(
    session: Session,
    name: str,
    overrides: Mapping[str, JsonValue] | None = None,
    undefined: Literal["strict", "lenient"] = "strict",
) -> str:
    """Let the server render a template from the values of its keys (`GET templates/{name}`).

    Args:
        session: Which session to use.
        name: The template's name.
        overrides: Values to use instead of the bucket's, by root key. They are the body of the
            GET, as in kvp.io's own clients.
        undefined: What a value that is not there does: "strict" is an error, "lenient" shows
            nothing. Sent as a parameter, which a server other than ours may ignore.

    Raises:
        NotFound: There is no such template.
        TemplateError: It does not render; the subclass says why.
    """
    asked = request(
        "GET",
        "templates",
        _template(name),
        params={"raw": "False", "undefined": undefined},
        body=encode(dict(overrides), "the overrides") if overrides else None,
    )
    text = _run(session, asked, _text, f"render the template {name!r}")
    if not text and name not in list_templates(session):
        raise NotFound(
            f"cannot render the template {name!r}: there is none of this name",
            details={"id": name, "resource_name": "record"},
        )
    return text


def set_template(session: Session, name: str, source: str) -> None:
    """Store a template (`POST templates/{name}`), over the one that has the name already.

    Raises:
        TemplateSyntaxError: The server cannot parse it.
    """
    body = encode(source, f"the template {name!r}")
    sent = request("POST", "templates", _template(name), body=body)
    _run(session, sent, _done, f"save the template {name!r}")


def delete_template(session: Session, name: str) -> None:
    """Delete a template (`DELETE templates/{name}`); one that is not there is no error."""
    _run(
        session,
        request("DELETE", "templates", _template(name)),
        _done,
        f"delete the template {name!r}",
    )


def _template(name: str) -> tuple[str]:
    """A template's name as a path segment; refused when the protocol would change it."""
    keypath.record_id(name)
    if name in ("", ".", "..") or name.endswith("/"):
        raise PathError(
            f"{name!r} cannot be the name of a template on a kvp.io server: its path would be "
            "taken for another one"
        )
    return (name,)


# Keys


def key_values(session: Session, _: str) -> KeyValues:
    """Give the key values of the API key's account; a kvp.io server has no buckets of a name."""
    return KeyValues(KvpStore(session))


class KvpStore:
    """The keys of one API key on a kvp.io server.

    A read fetches the whole root key and goes down in it here: only there can a missing value be
    told from an empty string, a string from a number, and a list from an object.

    Args:
        session: Runs the calls.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._labels: bool | None = None

    def read(self, key: str) -> JsonValue:
        """Fetch a root key's value (`GET bucket/{key}`).

        Raises:
            KeyNotFound: There is none.
        """
        reply = self._get(key)
        if not reply.body:
            if key not in self._keys():
                raise KeyNotFound(f"there is no key {key!r}")
            # It is an empty string, or came into being between the two answers.
            reply = self._get(key)
        return self._value(reply)

    def read_many(self, keys: Iterable[str]) -> dict[str, JsonValue]:
        """Fetch several root keys, each with a request of its own; missing ones are left out."""
        return dict(self._present(keys))

    def keys(self, prefix: str) -> Iterator[str]:
        """List root keys (`GET bucket/`), sorted as the server sorts them."""
        return (key for key in self._keys() if key.startswith(prefix))

    def items(self, prefix: str) -> Iterator[tuple[str, JsonValue]]:
        """Fetch root keys with their values, each with a request of its own."""
        return self._present(self.keys(prefix))

    def count(self, prefix: str) -> int:
        """Count root keys (`GET bucket/`)."""
        return sum(1 for _ in self.keys(prefix))

    def write(self, key: str, segments: Sequence[str], value: JsonValue) -> None:
        """Store a value (`POST bucket/{path}`); below a root key after a read of that key.

        Raises:
            PathError: The path goes through a value that is no container.
        """
        body = encode(value, f"the value of {key!r}")
        path, listed = _bucket(key, *segments), False
        if segments:
            found = self._found(key)
            keypath.check_appends({} if found is None else found[0], segments, key)
            if found:
                keypath.write_operations(found[0], segments, value, key=key)
                path = _bucket(key, *_one_based(found[0], segments))
                listed = keypath.meets_list(found[0], segments)
        sent = request("POST", "bucket", path, body=body)
        # Items of a list may have moved before it is sent again, and an append would be twice.
        sent.repeatable = not listed
        self._run(sent, _done, f"set {'/'.join((key, *segments))!r}")

    def add(self, key: str, segments: Sequence[str], value: JsonValue) -> JsonValue:
        """Store a value where there is none yet; not atomic, since there are no preconditions."""
        try:
            return keypath.read(self.read(key), segments, key)
        except KeyNotFound:
            self.write(key, segments, value)
            return value

    def delete(self, key: str, segments: Sequence[str], missing_ok: bool) -> None:
        """Remove a value and all below it (`DELETE bucket/{path}`), after a read of its root key.

        Raises:
            KeyNotFound: Nothing is there, and that is not `missing_ok`.
        """
        try:
            self.pop(key, segments)
        except KeyNotFound:
            if not missing_ok:
                raise

    def pop(self, key: str, segments: Sequence[str]) -> JsonValue:
        """Remove a value, and give what was read just before.

        Raises:
            KeyNotFound: Nothing is there.
        """
        value = self.read(key)
        removed = keypath.read(value, segments, key)
        sent = request("DELETE", "bucket", _bucket(key, *_one_based(value, segments)))
        # Items of a list move up: a second sending would remove another one.
        sent.repeatable = not segments
        self._run(sent, _done, f"delete {'/'.join((key, *segments))!r}")
        return removed

    def clear(self) -> None:
        """Remove every key, each with a request of its own."""
        for key in self._keys():
            self._run(request("DELETE", "bucket", _bucket(key)), _done, f"delete {key!r}")

    def __repr__(self) -> str:
        return self._session.server_url

    def _run(self, sent: Request, receive: Callable[[Reply], T], doing: str) -> T:
        return _run(self._session, sent, receive, doing)

    def _get(self, key: str) -> Reply:
        asked = request("GET", "bucket", _bucket(key))
        return self._run(asked, lambda reply: reply, f"read the key {key!r}")

    def _keys(self) -> list[str]:
        return self._run(request("GET", "bucket", ()), _names, "list the keys")

    def _found(self, key: str) -> tuple[JsonValue] | None:
        try:
            return (self.read(key),)
        except KeyNotFound:
            return None

    def _present(self, keys: Iterable[str]) -> Iterator[tuple[str, JsonValue]]:
        for key in keys:
            found = self._found(key)
            if found is not None:
                yield key, found[0]

    def _value(self, reply: Reply) -> JsonValue:
        """Tell a bare string from JSON."""
        text = _text(reply)
        try:
            value = _parsed(text)
        except ValueError:
            return text
        labelled = reply.headers.get("Content-Type", "").startswith("application/json")
        return value if labelled or not self._labels_strings() else text

    def _labels_strings(self) -> bool:
        """Whether the server sends strings as text/plain and everything else as JSON.

        kinto-orm's own plugin does, and is seen on Kinto's root page; of kvp.io nothing is known.
        """
        if self._labels is None:
            try:
                self._labels = "kvp" in self._session.server_info().capabilities
            except (ResponseError, BadReply):
                self._labels = False
        return self._labels


def _bucket(*segments: str) -> tuple[str, ...]:
    for each in segments:
        if "/" in each:
            raise PathError(
                f"segment {each!r} cannot be sent: a kvp.io server takes a slash in a key for a "
                "separator"
            )
    return segments


def _one_based(value: JsonValue, segments: Sequence[str]) -> Iterator[str]:
    """Write the indices of lists as kvp.io counts them; all else stays."""
    for depth, segment in enumerate(segments):
        if isinstance(value, dict):
            yield segment
            value = value.get(segment)
        elif isinstance(value, list) and segment != keypath.APPEND:
            yield str(int(segment) + _FIRST_INDEX)
            value = value[int(segment)]
        else:
            yield from segments[depth:]
            return


# Replies


def _run(session: Session, sent: Request, receive: Callable[[Reply], T], doing: str) -> T:
    reply = session.send(sent, doing)
    if reply.status == 404:
        raise Unauthorized(
            f"cannot {doing}: {session.server_url} knows no account of this API key, or is no "
            'kvp.io server (it said 404); check auth=("the-api-key", "") and the URL',
            status=reply.status,
            request=sent,
        )
    return Call(sent, lambda reply: receive(_whole(reply)), doing, _refused).complete(reply)


def _refused(error: ResponseError, _: Reply) -> NoReturn:
    problem = _TEMPLATE_ERRORS.get(str(error.details.get("type")))
    if problem is None:
        raise error
    lineno = error.details.get("lineno")
    raise problem(
        str(error),
        name=str(error.details.get("name")),
        lineno=lineno if isinstance(lineno, int) else None,
    )


def _whole(reply: Reply) -> Reply:
    """The same reply, if it has the one status with which kvp.io answers."""
    if reply.status != 200:
        raise BadReply(reply.complaint())
    return reply


def _done(reply: Reply) -> None:
    """Make sure that a write was done: kvp.io answers nothing then."""
    if reply.body.strip():
        raise BadReply(f"{reply.complaint()} A kvp.io server answers nothing to a write.")


def _text(reply: Reply) -> str:
    try:
        return reply.body.decode()
    except UnicodeDecodeError:
        raise BadReply(reply.complaint()) from None


def _names(reply: Reply) -> list[str]:
    try:
        found = decode(reply.body)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(map(_is_name, found)):
        raise BadReply(reply.complaint())
    return found


def _is_name(name: object) -> bool:
    """Whether a key or a template can have this name."""
    return isinstance(name, str) and is_storable(name)


def _parsed(text: str) -> JsonValue:
    """JSON as its standard has it: NaN and Infinity are texts.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)  # type: ignore[no-any-return]
    except RecursionError:
        raise ValueError("too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
