"""Key paths: where a value lives inside a record, and the operations that change it there.

A key path such as `my_key/baz/faz` names a root key, `my_key`, and the way down into its JSON
value. Each root key is one record `{"key": ..., "value": ...}`. Everything here is a pure
function of its arguments: nothing reads or writes the network.

The rules:

- A tuple of segments is not split, so that a key may contain a slash.
- Below an object a segment is a member's name, digits too.
- Below a list it is an index: canonical decimal, no sign, no leading zero. `base` says what the
  first item is called: 0, and 1 on the kvp.io surface.
- A write makes missing parents as objects, never as lists. `-` appends to a list.
- Nothing can be written below a string, a number, a boolean or null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, NotRequired, TypedDict

from pydantic import JsonValue

from kinto_orm.errors import KeyNotFound, PathError

MAX_ID_LENGTH: Final = 2000
"""The longest record id that is made, in characters.

PostgreSQL refuses index rows over about 2,700 bytes, and the id shares its row with the names of
the bucket, of the collection and of one principal.
"""

ENCODED: Final = "x--"
"""What the record ids of encoded keys begin with."""

MAX_SEGMENTS: Final = 100
"""The longest key path: each segment is a level of nesting, and Kinto bears about 400 in all."""

APPEND: Final = "-"
"""The segment that stands for the place after a list's last item, as in JSON Pointer."""

_ROOT: Final = "/data/value"
_LEGAL_ID: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_UNSAFE_BYTE: Final = re.compile(rb"[^a-zA-Z0-9_]")
_ESCAPED_BYTE: Final = re.compile(rb"-([0-9a-f]{2})")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_REFUSED_SEGMENTS: Final = {"": "is empty", ".": "is not allowed", "..": "is not allowed"}


class JsonPatchOp(TypedDict):
    """One operation of a JSON Patch (RFC 6902)."""

    op: Literal["add", "remove", "replace"]
    path: str
    value: NotRequired[JsonValue]


class _Reach(NamedTuple):
    """How far a path leads into a value."""

    value: JsonValue  # the deepest value that is there
    parent: JsonValue  # what holds it; None at the root
    pointer: str  # its JSON Pointer inside the record
    rest: Sequence[str]  # the segments that lead nowhere


class ListPlace(NamedTuple):
    """Where a path meets a list, to tell whether the items moved."""

    length: int  # of the list; 0 for an append, which is right at any length
    item: list[JsonValue]  # the item that the path goes on to; empty when there is none


def parse(path: str | tuple[str, ...]) -> tuple[str, ...]:
    """Split a key path into its segments: the root key first.

    Args:
        path: `"my_key/baz/faz"`, or a tuple of segments, which is not split.

    Raises:
        PathError: A segment is empty, `.` or `..`, or holds what no server can store; or there
            is no segment at all; or there are more than `MAX_SEGMENTS`.
    """
    segments = tuple(path.split("/")) if isinstance(path, str) else path
    if not segments:
        raise PathError("a key path needs at least one segment")
    if len(segments) > MAX_SEGMENTS:
        raise PathError(
            f"the key path {'/'.join(segments)[:40]!r}... has {len(segments)} segments, and "
            f"{MAX_SEGMENTS} is the most"
        )
    for segment in segments:
        _check_segment(segment, path)
    return segments


def record_id(key: str) -> str:
    """Give the record id of a key or of a template's name.

    The id is the key itself where Kinto allows that: letters, digits, `-` and `_`, the first one
    a letter or a digit. Else it is `x--` and the key's UTF-8 bytes, all but letters, digits and
    `_` written as `-` and two hexadecimal digits: `nginx.conf` gives `x--nginx-2econf`. No two
    keys share an id.

    Raises:
        PathError: The key is no text, holds a NUL or half of a surrogate pair, which servers
            cannot store, or is too long for an id of `MAX_ID_LENGTH` characters.
    """
    if not isinstance(key, str):
        raise PathError(f"a name is a text, not {key!r:.80}: write str(...)")
    _check_text(key)
    # A legal key that looks like an encoded one would collide with what it stands for.
    if _LEGAL_ID.fullmatch(key) and not key.startswith(ENCODED):
        encoded = key
    else:
        encoded = ENCODED + _UNSAFE_BYTE.sub(_escape_byte, key.encode()).decode()
    if len(encoded) > MAX_ID_LENGTH:
        raise PathError(
            f"the key {key[:40]!r}... is too long: its record id would have {len(encoded)} "
            f"characters, and {MAX_ID_LENGTH} is the most"
        )
    return encoded


def key_of(record_id: str) -> str:
    """Give the key that a record id stands for: the inverse of `record_id`.

    Raises:
        PathError: No key has this id.
    """
    key = _decode(record_id) if record_id.startswith(ENCODED) else record_id
    if key is None or _id_or_none(key) != record_id:
        raise PathError(f"{record_id[:60]!r} is not the record id of any key")
    return key


def id_prefixes(prefix: str) -> tuple[str, ...]:
    """Give what the record ids of all keys with a prefix begin with.

    There are two ways, since a key is its own id where Kinto allows that, else encoded. Some other
    keys' ids begin so, too, but only one of these takes each key: an id that begins with `x--` is
    only of the last one.

    Args:
        prefix: What the keys begin with; nothing is found for an empty one.

    Raises:
        PathError: No key has this prefix.
    """
    _check_text(prefix)
    if not prefix:
        return ()
    encoded = ENCODED + _UNSAFE_BYTE.sub(_escape_byte, prefix.encode()).decode()
    own = _LEGAL_ID.fullmatch(prefix) and not prefix.startswith(ENCODED)
    return (prefix, encoded) if own else (encoded,)


def read(value: JsonValue, segments: Sequence[str], key: str, *, base: int = 0) -> JsonValue:
    """Give the value below a root key's value.

    Args:
        value: The root key's JSON value.
        segments: The way down, without the root key; empty for the value itself.
        key: The root key, for messages.
        base: The index of a list's first item: 0 or 1.

    Raises:
        KeyNotFound: The path leads nowhere: a missing member, an index that the list does not
            have, or a segment below a value that is no container.
    """
    reach = _follow(value, segments, base)
    if reach.rest:
        raise _not_found(key, segments, reach)
    return reach.value


def write_operations(
    value: JsonValue, segments: Sequence[str], new: JsonValue, *, key: str, base: int = 0
) -> list[JsonPatchOp]:
    """Give the JSON Patch that stores `new` at a path of an existing record.

    Apply it under If-Match with the record's ETag: an index is only right for the list that was
    read.

    Args:
        value: The root key's JSON value, as read.
        segments: The way down, without the root key; empty to replace the whole value.
        new: The JSON value to store.
        key: The root key, for messages.
        base: The index of a list's first item: 0 or 1.

    Raises:
        PathError: The path goes through a value that is no container, or a segment is no index
            of the list that it meets.
    """
    reach = _follow(value, segments, base)
    if not reach.rest:
        op: Literal["add", "replace"] = "replace" if isinstance(reach.parent, list) else "add"
        return [{"op": op, "path": reach.pointer, "value": new}]
    first, *others = reach.rest
    _check_can_hold(reach, key, segments)
    return [{"op": "add", "path": _join(reach.pointer, first), "value": nest(others, new)}]


def delete_operations(
    value: JsonValue, segments: Sequence[str], *, key: str, base: int = 0
) -> list[JsonPatchOp]:
    """Give the JSON Patch that removes what is at a path of an existing record.

    Apply it under If-Match with the record's ETag, since the items after a removed one move up. A
    `test` of the item would add nothing to that, and fail where Kinto's parser of floats, which
    changes last digits, reads the item otherwise than it wrote it.

    Args:
        value: The root key's JSON value, as read.
        segments: The way down, without the root key; at least one.
        key: The root key, for messages.
        base: The index of a list's first item: 0 or 1.

    Raises:
        KeyNotFound: There is nothing at the path.
        PathError: There is no segment: the record itself has to be deleted.
    """
    if not segments:
        raise PathError(f"{key!r} is a root key: delete its record")
    reach = _follow(value, segments, base)
    if reach.rest:
        raise _not_found(key, segments, reach)
    return [{"op": "remove", "path": reach.pointer}]


def written(value: JsonValue, segments: Sequence[str], new: JsonValue) -> JsonValue:
    """Give what a root key holds after `write_operations` with the same arguments."""
    if not segments:
        return new
    first, *rest = segments
    if isinstance(value, list):
        items, index = list(value), _index(first, 0)
        if first == APPEND:
            return [*items, nest(rest, new)]
        items[index] = written(items[index], rest, new)
        return items
    members = value if isinstance(value, dict) else {}
    inner = written(members[first], rest, new) if first in members else nest(rest, new)
    return members | {first: inner}


def removed(value: JsonValue, segments: Sequence[str]) -> JsonValue:
    """Give what a root key holds after `delete_operations` with the same arguments."""
    first, *rest = segments
    if isinstance(value, list):
        index = _index(first, 0)
        inner = [removed(value[index], rest)] if rest else []
        return [*value[:index], *inner, *value[index + 1 :]]
    members = value if isinstance(value, dict) else {}
    if rest:
        return members | {first: removed(members[first], rest)}
    return {name: item for name, item in members.items() if name != first}


def meets_list(value: JsonValue, segments: Sequence[str]) -> bool:
    """Whether a path that leads to something leads through a list, whose items may move."""
    for segment in segments:
        if isinstance(value, list):
            return True
        value = value.get(segment) if isinstance(value, dict) else None
    return False


def list_place(value: JsonValue, segments: Sequence[str]) -> ListPlace | None:
    """Give where a path meets its first list; None when it meets none."""
    for segment in segments:
        if isinstance(value, list):
            index = _index(segment, 0)
            length = 0 if segment == APPEND else len(value)
            return ListPlace(length, value[index : index + 1] if index >= 0 else [])
        value = value.get(segment) if isinstance(value, dict) else None
    return None


def appends(value: JsonValue, segments: Sequence[str]) -> bool:
    """Whether a write at this path makes a new item of a list."""
    reach = _follow(value, segments, 0)
    return isinstance(reach.value, list) and list(reach.rest[:1]) == [APPEND]


def check_appends(value: JsonValue, segments: Sequence[str], key: str) -> None:
    """Refuse to make a member `-`, which whoever appends to a list that is not there would make.

    Args:
        value: The root key's JSON value; an empty object when there is none.
        segments: The way down, without the root key.
        key: The root key, for messages.

    Raises:
        PathError: A `-` stands where no list is, and no member of this name.
    """
    reach = _follow(value, segments, 0)
    others = reach.rest[1:] if isinstance(reach.value, list) else reach.rest
    if APPEND in others and isinstance(reach.value, dict | list):
        depth = len(segments) - len(others) + others.index(APPEND)
        holder = (key, *segments[:depth])
        if APPEND in holder[1:]:
            raise PathError(
                f"{_shown(key, segments)} appends to a list that it would have to make: append "
                "the whole item"
            )
        raise PathError(
            f"{_shown(key, segments)} appends to a list, and there is none: store a list first, "
            f"as in kv[{'/'.join(holder)!r}] = []. For a member of the name '-' store the object."
        )


def nest(segments: Sequence[str], value: JsonValue) -> JsonValue:
    """Wrap a value into one object for each segment: `(["a", "b"], 1)` gives `{"a": {"b": 1}}`.

    This is what a root key holds after a write below it when it did not exist.
    """
    for segment in reversed(segments):
        value = {segment: value}
    return value


def _follow(value: JsonValue, segments: Sequence[str], base: int) -> _Reach:
    """Go down as far as the path leads."""
    parent: JsonValue = None
    pointer = _ROOT
    for depth, segment in enumerate(segments):
        if isinstance(value, dict) and segment in value:
            token, child = segment, value[segment]
        elif isinstance(value, list) and (index := _index(segment, base)) in range(len(value)):
            token, child = str(index), value[index]
        else:
            return _Reach(value, parent, pointer, segments[depth:])
        parent, value, pointer = value, child, _join(pointer, token)
    return _Reach(value, parent, pointer, ())


def _index(segment: str, base: int) -> int:
    """Give the 0-based index that a segment names, -1 when it names none."""
    return int(segment) - base if _INDEX.fullmatch(segment) else -1


def _join(pointer: str, token: str) -> str:
    return f"{pointer}/{token.replace('~', '~0').replace('/', '~1')}"


def _check_can_hold(reach: _Reach, key: str, segments: Sequence[str]) -> None:
    """Refuse to write below a scalar, and at a place that a list does not have."""
    first = reach.rest[0]
    if isinstance(reach.value, list) and first != APPEND:
        raise PathError(
            f"segment {first!r} of {_shown(key, segments)} is not an index of the list there, "
            f"which has {len(reach.value)} items; '-' appends"
        )
    if not isinstance(reach.value, dict | list):
        depth = len(segments) - len(reach.rest)
        holder = segments[depth - 1] if depth else key
        raise PathError(
            f"segment {first!r} of {_shown(key, segments)} cannot be set: "
            f"{holder!r} holds {_kind(reach.value)}"
        )


def _not_found(key: str, segments: Sequence[str], reach: _Reach) -> KeyNotFound:
    return KeyNotFound(
        f"there is nothing at {_shown(key, segments)}: no {reach.rest[0]!r} in {_kind(reach.value)}"
    )


def _shown(key: str, segments: Sequence[str]) -> str:
    return repr("/".join((key, *segments)))


def _kind(value: JsonValue) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _check_segment(segment: str, path: str | tuple[str, ...]) -> None:
    if segment in _REFUSED_SEGMENTS:
        raise PathError(f"segment {segment!r} of {path!r} {_REFUSED_SEGMENTS[segment]}")
    _check_text(segment)


def _check_text(text: str) -> None:
    """Refuse what PostgreSQL or UTF-8 cannot hold."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise PathError(
            f"segment {text[:40]!r} cannot be stored: it holds a NUL or half a surrogate pair"
        )


def _escape_byte(match: re.Match[bytes]) -> bytes:
    return b"-%02x" % match[0][0]


def _decode(encoded: str) -> str | None:
    """Undo the encoding; None when it is no encoding of a text."""
    raw = encoded[len(ENCODED) :].encode("utf-8", "replace")
    try:
        return _ESCAPED_BYTE.sub(lambda match: bytes.fromhex(match[1].decode()), raw).decode()
    except UnicodeDecodeError:
        return None


def _id_or_none(key: str) -> str | None:
    try:
        return record_id(key)
    except PathError:
        return None
