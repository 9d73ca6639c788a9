"""How a kvp.io server keeps key values, seen from a client."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NoReturn

from pydantic import JsonValue

from kinto_orm.errors import BadReply, KeyNotFound, PathError, ResponseError
from kinto_orm.kv import keypath
from kinto_orm.queries.pager import Known, Pages
from kinto_orm.wire.flows import ANEW, Flow, side_by_side
from kinto_orm.wire.jsonvalues import encode
from kinto_orm.wire.kvp import ask_kvp, done, names_in, request, text_of
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.places import info_of
from kinto_orm.wire.scope import Scope

_FIRST_INDEX: Final = 1
"""A list's first item is `1` in a path of kvp.io, and only there."""


class KvpStore:
    """The keys of one API key on a kvp.io server, which has no buckets of a name.

    A read fetches the whole root key and goes down in it here: only there can a missing value be
    told from an empty string, a string from a number, and a list from an object.

    Args:
        scope: Over whose connection.
    """

    def __init__(self, scope: Scope, _: str) -> None:
        self._scope = scope
        self._labels: bool | None = None

    def reading(self, key: str) -> Flow[JsonValue]:
        """Fetch a root key's value (`GET bucket/{key}`).

        Raises:
            KeyNotFound: There is none.
        """
        reply = yield from self._get(key)
        if not reply.body:
            if key not in (yield from self._names()):
                raise KeyNotFound(f"there is no key {key!r}")
            # It is an empty string, or came into being between the two answers.
            reply = yield from self._get(key)
        return (yield from self._value(reply))

    def reading_many(self, keys: Iterable[str]) -> Flow[dict[str, JsonValue]]:
        """Fetch several root keys, each with a request of its own; missing ones are left out."""
        asked = list(keys)
        found = yield from side_by_side(self._found(key) for key in asked)
        return {key: value[0] for key, value in zip(asked, found, strict=True) if value}

    def reading_all(self) -> Flow[dict[str, JsonValue]]:
        """Fetch all root keys with their values, each with a request of its own."""
        return (yield from self.reading_many((yield from self._names())))

    def keys(self, prefix: str) -> Iterator[Flow[Pages[Sequence[str]]]]:
        """List root keys (`GET bucket/`), sorted as the server sorts them."""

        def opening() -> Flow[Pages[Sequence[str]]]:
            return Known((yield from self._names(prefix)))

        yield opening()

    def items(self, prefix: str) -> Iterator[Flow[Pages[Sequence[tuple[str, JsonValue]]]]]:
        """Fetch root keys with their values, each with a request of its own."""

        def opening() -> Flow[Pages[Sequence[tuple[str, JsonValue]]]]:
            return _Items((yield from self._names(prefix)), self._found)

        yield opening()

    def counting(self, prefix: str) -> Flow[int]:
        """Count root keys (`GET bucket/`)."""
        return len((yield from self._names(prefix)))

    def writing(self, key: str, segments: Sequence[str], value: JsonValue) -> Flow[None]:
        """Store a value (`POST bucket/{path}`); below a root key after a read of that key.

        Raises:
            PathError: The path goes through a value that is no container.
        """
        body = encode(value, f"the value of {key!r}")
        path, listed = _bucket(key, *segments), False
        if segments:
            found = yield from self._found(key)
            keypath.check_appends({} if found is None else found[0], segments, key)
            if found:
                keypath.write_operations(found[0], segments, value, key=key)
                path = _bucket(key, *_one_based(found[0], segments))
                listed = keypath.meets_list(found[0], segments)
        sent = request("POST", "bucket", path, body=body)
        # Items of a list may have moved before it is sent again, and an append would be twice.
        sent.repeatable = not listed
        done((yield from ask_kvp(self._scope, sent, f"set {'/'.join((key, *segments))!r}")))

    def adding(self, key: str, segments: Sequence[str], value: JsonValue) -> Flow[JsonValue]:
        """Store a value where there is none yet; not atomic, since there are no preconditions."""
        try:
            return keypath.read((yield from self.reading(key)), segments, key)
        except KeyNotFound:
            yield from self.writing(key, segments, value)
            return value

    def deleting(self, key: str, segments: Sequence[str], missing_ok: bool) -> Flow[None]:
        """Remove a value and all below it (`DELETE bucket/{path}`), after a read of its root key.

        Raises:
            KeyNotFound: Nothing is there, and that is not `missing_ok`.
        """
        try:
            yield from self.popping(key, segments)
        except KeyNotFound:
            if not missing_ok:
                raise

    def popping(self, key: str, segments: Sequence[str]) -> Flow[JsonValue]:
        """Remove a value, and give what was read just before.

        Raises:
            KeyNotFound: Nothing is there.
        """
        value = yield from self.reading(key)
        removed = keypath.read(value, segments, key)
        sent = request("DELETE", "bucket", _bucket(key, *_one_based(value, segments)))
        # Items of a list move up: a second sending would remove another one.
        sent.repeatable = not segments
        done((yield from ask_kvp(self._scope, sent, f"delete {'/'.join((key, *segments))!r}")))
        return removed

    def clearing(self) -> Flow[None]:
        """Remove every key, each with a request of its own."""
        for key in (yield from self._names()):
            sent = request("DELETE", "bucket", _bucket(key))
            done((yield from ask_kvp(self._scope, sent, f"delete {key!r}")))
            yield ANEW

    def __repr__(self) -> str:
        return self._scope.server_url

    def _get(self, key: str) -> Flow[Reply]:
        sent = request("GET", "bucket", _bucket(key))
        return ask_kvp(self._scope, sent, f"read the key {key!r}")

    def _names(self, prefix: str = "") -> Flow[list[str]]:
        sent = request("GET", "bucket", ())
        names = names_in((yield from ask_kvp(self._scope, sent, "list the keys")))
        return [each for each in names if each.startswith(prefix)]

    def _found(self, key: str) -> Flow[tuple[JsonValue] | None]:
        try:
            return ((yield from self.reading(key)),)
        except KeyNotFound:
            return None

    def _value(self, reply: Reply) -> Flow[JsonValue]:
        """Tell a bare string from JSON."""
        text = text_of(reply)
        try:
            value = _parsed(text)
        except ValueError:
            return text
        labelled = reply.headers.get("Content-Type", "").startswith("application/json")
        return value if labelled or not (yield from self._labels_strings()) else text

    def _labels_strings(self) -> Flow[bool]:
        """Whether the server sends strings as text/plain and everything else as JSON.

        kinto-orm's own plugin does, and is seen on Kinto's root page; of kvp.io nothing is known.
        """
        if self._labels is None:
            try:
                self._labels = "kvp" in (yield from info_of(self._scope)).capabilities
            except (ResponseError, BadReply):
                self._labels = False
        return self._labels


class _Items:
    """Root keys with their values; a page is one of them, or nothing for one that is gone."""

    def __init__(
        self, keys: list[str], reading: Callable[[str], Flow[tuple[JsonValue] | None]]
    ) -> None:
        self._keys = deque(keys)
        self._reading = reading

    @property
    def has_more(self) -> bool:
        return bool(self._keys)

    def fetching(self) -> Flow[tuple[JsonValue] | None]:
        return self._reading(self._keys[0])

    def take(self, answer: tuple[JsonValue] | None, /) -> list[tuple[str, JsonValue]]:
        key = self._keys.popleft()
        return [] if answer is None else [(key, answer[0])]


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
